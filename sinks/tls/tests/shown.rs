//! What a peer presented is in the words where it is refused, and it gets nothing but the handshake.

use std::{io, sync::Arc};

use auditferry_conformance::{
    TestEnv,
    fakes::certificates::{Certificates, Identity},
};
use auditferry_contract::{Options, toml_span};
use auditferry_tls::{Client, Inspection, Tls};
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::{
    AlertDescription, ClientConfig, ServerConfig, ServerConnection,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    join,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

const FOR: &str = "the certificate is for `CN=server` and was issued by `CN=auditferry test CA`";

async fn client(ca: &str, more: &str) -> Client {
    let mut env = TestEnv::default();
    env.files.insert("ca.pem".into(), ca.to_string().into());
    let text = format!("ca = 'ca.pem'\n{more}");
    let mut value = toml_span::parse(&text).expect("valid TOML");
    let mut table = Options::new(&mut value).expect("a table");
    let tls = Tls::read(&mut table);
    table.finalize(None).expect("good options");
    tls.client(&env).await.expect("a good file")
}

/// A server that shows these certificates, in PEM, one after the other.
fn showing(chain: &[&str], key: &str) -> Arc<ServerConfig> {
    let der = |pem: &&str| CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate in PEM");
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key in PEM");
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("versions that ring knows");
    let config = builder.with_no_client_auth().with_single_cert(chain.iter().map(der).collect(), key);
    Arc::new(config.expect("they belong together"))
}

async fn connect(config: Arc<ClientConfig>, host: &str, near: DuplexStream) -> io::Error {
    let host = ServerName::try_from(host.to_string()).expect("a name");
    TlsConnector::from(config).connect(host, near).await.expect_err("it must be refused")
}

/// The client's error, and the server's: the alert.
async fn refused(config: Arc<ClientConfig>, host: &str, server: Arc<ServerConfig>) -> (io::Error, AlertDescription) {
    let (near, far) = duplex(1 << 16);
    let (error, accepted) = join!(connect(config, host, near), TlsAcceptor::from(server).accept(far));
    let error_there = accepted.expect_err("a handshake that fails ends before anything is sent");
    match error_there.downcast::<rustls::Error>() {
        Ok(rustls::Error::AlertReceived(alert)) => (error, alert),
        other => panic!("no alert: {other:?}"),
    }
}

async fn words(client: &Client, server: Arc<ServerConfig>) -> (String, AlertDescription) {
    let (error, alert) = refused(client.config(), "localhost", server).await;
    (client.explain(&error).unwrap_or_else(|| panic!("no words for: {error:?}")), alert)
}

#[tokio::test]
async fn each_refusal_names_who_was_refused_and_the_alert_is_the_usual_one() {
    let certificates = Certificates::new();
    let Certificates { ca, other_ca, server, expired, .. } = &certificates;
    let alone = format!("{FOR}, which was not shown with it");

    let unknown = client(other_ca, "").await;
    let (found, alert) = words(&unknown, server.config(None)).await;
    assert!(found.starts_with("the server's certificate is from an unknown issuer: set `ca` to the file"), "{found}");
    assert!(found.ends_with(&format!("; {alone} [TlsIssuer]")), "{found}");
    assert_eq!(alert, AlertDescription::UnknownCA);

    let (found, _) = words(&client(ca, "server_name = 'elsewhere.example'").await, server.config(None)).await;
    assert!(found.starts_with("the server's certificate is not for elsewhere.example but for "), "{found}");
    assert!(found.ends_with(&format!("; {alone} [TlsName]")), "{found}");

    let (found, _) = words(&client(ca, "").await, expired.config(None)).await;
    assert!(found.starts_with("the server's certificate has expired"), "{found}");
    assert!(found.contains("`CN=expired`") && found.ends_with(" [TlsTime]"), "{found}");

    // what was shown before is not said of another refusal
    let other = rustls::Error::InvalidCertificate(rustls::CertificateError::Revoked);
    assert_eq!(unknown.explain(&other), auditferry_tls::explain(&other));
}

#[tokio::test]
async fn what_the_last_of_a_chain_is_tells_what_ca_must_hold() {
    let Certificates { ca, other_ca, server, elsewhere, .. } = Certificates::new();
    let unknown = client(&other_ca, "").await;
    let (found, _) = words(&unknown, showing(&[&server.certificate, &ca], &server.key)).await;
    let root =
        format!("; {FOR}; the last of 2 certificates shown, `CN=auditferry test CA`, is self-signed [TlsIssuer]");
    assert!(found.ends_with(&root), "{found}");
    let (found, _) = words(&unknown, showing(&[&server.certificate, &elsewhere.certificate], &server.key)).await;
    let missing = "; the last of 2 certificates shown was issued by `CN=auditferry test CA`, which is not among them";
    assert!(found.ends_with(&format!("; {FOR}{missing} [TlsIssuer]")), "{found}");
}

#[tokio::test]
async fn a_strangers_names_are_harmless() {
    let mut params = CertificateParams::new(vec!["localhost".into()]).expect("a name");
    let name = format!("a\u{1b}[2J\u{202e}\r\n` [Dns]{}", "x".repeat(500));
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().expect("random bytes");
    let certificate = params.self_signed(&key).expect("a certificate").pem();
    let (found, _) =
        words(&client(&Certificates::new().ca, "").await, showing(&[&certificate], &key.serialize_pem())).await;
    let shown =
        format!("; the certificate is for `CN=a?[2J???? [Dns]{}…` and self-signed [TlsIssuer]", "x".repeat(102));
    assert!(found.ends_with(&shown), "{found}");
}

#[tokio::test]
async fn a_server_that_ends_the_connection_after_its_certificate_is_named() {
    let Certificates { other_ca, server, .. } = Certificates::new();
    let client = client(&other_ca, "").await;
    for versions in [&[&rustls::version::TLS12][..], &[&rustls::version::TLS13]] {
        let (near, mut far) = duplex(1 << 16);
        let mut side = ServerConnection::new(server.config_with(None, versions)).expect("a good configuration");
        let hangs_up = async {
            let mut hello = vec![0; 1 << 14];
            let length = far.read(&mut hello).await.expect("a hello");
            side.read_tls(&mut &hello[..length]).expect("it fits");
            side.process_new_packets().expect("a good hello");
            let mut flight = Vec::new();
            while side.wants_write() {
                side.write_tls(&mut flight).expect("memory");
            }
            far.write_all(&flight).await.expect("room");
            drop(far);
        };
        let (error, ()) = join!(connect(client.config(), "localhost", near), hangs_up);
        let found = client.explain(&error).unwrap_or_else(|| panic!("no words for: {error:?}"));
        assert!(found.contains(FOR) && found.ends_with(" [TlsIssuer]"), "{found}");
    }
}

#[tokio::test]
async fn an_inspected_host_is_refused_whoever_vouches_for_it_and_others_are_not() {
    let Certificates { ca, server: Identity { certificate, key }, .. } = Certificates::new();
    let server = || showing(&[&certificate], &key);
    for (ca, expected) in [(Some(ca.as_bytes()), AlertDescription::AccessDenied), (None, AlertDescription::UnknownCA)] {
        let inspection = Inspection::of("localhost", ca).await.expect("a name");
        assert_eq!(inspection.shown(), None);
        let (_, alert) = refused(Arc::new(inspection.config()), "localhost", server()).await;
        assert_eq!(alert, expected);
        let shown = inspection.shown().expect("it was shown").to_string();
        assert_eq!(shown, format!("{FOR}, which was not shown with it"));
    }
    // a proxy on the way: trusted as ever, or not, and not what is looked for
    let inspection = Inspection::of("manage.example", Some(ca.as_bytes())).await.expect("a name");
    let (near, far) = duplex(1 << 16);
    let proxy = ServerName::try_from("localhost").expect("a name");
    let connector = TlsConnector::from(Arc::new(inspection.config()));
    let (there, here) = join!(connector.connect(proxy, near), TlsAcceptor::from(server()).accept(far));
    assert!(there.is_ok() && here.is_ok());
    let inspection = Inspection::of("manage.example", None).await.expect("a name");
    let (_, alert) = refused(Arc::new(inspection.config()), "localhost", server()).await;
    assert_eq!((alert, inspection.shown()), (AlertDescription::UnknownCA, None));
    assert!(Inspection::of("not a name", None).await.is_err());
}
