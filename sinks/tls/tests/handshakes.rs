//! The options against servers good and bad, over TLS 1.2 and 1.3.

use std::{io, sync::Arc};

use auditferry_conformance::{
    TestEnv,
    fakes::certificates::{Certificates, Identity},
};
use auditferry_contract::{Options, toml_span};
use auditferry_tls::{Client, Tls, earliest_end, explain};
use rustls::{ServerConfig, pki_types::ServerName, version};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::{TlsAcceptor, TlsConnector, server::TlsStream};

fn tls(options: &str) -> Tls {
    let mut value = toml_span::parse(options).expect("valid TOML");
    let mut table = Options::new(&mut value).expect("a table");
    let tls = Tls::read(&mut table);
    table.finalize(None).expect("good options");
    tls
}

/// The files that the options of these tests name.
fn env(certificates: &Certificates) -> TestEnv {
    let mut env = TestEnv::default();
    let mut file = |name: &str, text: &str| drop(env.files.insert(name.into(), text.to_string().into()));
    file("ca.pem", &certificates.ca);
    file("other_ca.pem", &certificates.other_ca);
    file("both_cas.pem", &format!("{}{}", certificates.other_ca, certificates.ca));
    for (name, identity) in [("client", &certificates.client), ("stranger", &certificates.stranger)] {
        file(&format!("{name}.pem"), &identity.certificate);
        file(&format!("{name}.key"), &identity.key);
    }
    env
}

/// One connection: the client says `ping`, the server answers `pong`. What the client found.
async fn talk(tls: &Tls, env: &TestEnv, server: Arc<ServerConfig>, host: &str) -> io::Result<()> {
    let client = tls.client(env).await.expect("the files are good");
    talk_as(&client, server, host).await
}

async fn talk_as(client: &Client, server: Arc<ServerConfig>, host: &str) -> io::Result<()> {
    let (near, far) = duplex(1 << 16);
    let host = ServerName::try_from(host.to_string()).expect("a name");
    let client = async {
        let mut stream = TlsConnector::from(client.config()).connect(host, near).await?;
        stream.write_all(b"ping").await?;
        stream.flush().await?;
        // with TLS 1.3 a refused client certificate shows only here
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await?;
        assert_eq!(&answer, b"pong");
        Ok(())
    };
    let server = async {
        let accepted: io::Result<TlsStream<DuplexStream>> = TlsAcceptor::from(server).accept(far).await;
        let Ok(mut stream) = accepted else { return };
        let mut question = [0; 4];
        if stream.read_exact(&mut question).await.is_ok() {
            let _ = stream.write_all(b"pong").await;
            let _ = stream.shutdown().await;
        }
    };
    tokio::join!(client, server).0
}

/// The words for it; each test says which ones it expects.
async fn words(tls: &Tls, env: &TestEnv, server: Arc<ServerConfig>, host: &str) -> String {
    let client = tls.client(env).await.expect("the files are good");
    let error = talk_as(&client, server, host).await.expect_err("it must not work");
    let words = client.explain(&error).unwrap_or_else(|| panic!("no words for: {error:?}"));
    assert!(!words.contains('\n') && words.starts_with(|c: char| c.is_lowercase()), "{words}");
    words
}

#[tokio::test]
async fn a_private_ca_is_trusted_and_no_other() {
    let certificates = Certificates::new();
    let env = env(&certificates);
    for version in [&[&version::TLS12][..], &[&version::TLS13]] {
        let server = || certificates.server.config_with(None, version);
        for host in ["127.0.0.1", "localhost", "::1"] {
            talk(&tls("ca = 'ca.pem'"), &env, server(), host).await.expect("a good server");
        }
        talk(&tls("ca = 'both_cas.pem'"), &env, server(), "localhost").await.expect("two CAs in one file");
        for unknown in ["", "ca = 'other_ca.pem'"] {
            if let Err(cause) = tls(unknown).client(&env).await {
                assert!(cause.0.starts_with("this system has no CA certificates"), "{cause}");
                continue;
            }
            let words = words(&tls(unknown), &env, server(), "localhost").await;
            assert!(words.starts_with("the server's certificate is from an unknown issuer: set `ca`"), "{words}");
        }
    }
}

#[tokio::test]
async fn the_name_is_checked_and_can_be_given() {
    let certificates = Certificates::new();
    let env = env(&certificates);
    let elsewhere = || certificates.elsewhere.config(None);
    let found = words(&tls("ca = 'ca.pem'"), &env, elsewhere(), "127.0.0.1").await;
    let expected = "the server's certificate is not for 127.0.0.1 but for elsewhere.example: connect by a name in it, set `server_name`";
    assert!(found.starts_with(expected), "{found}");
    let given = tls("ca = 'ca.pem'\nserver_name = 'elsewhere.example'");
    assert_eq!(given.server_name(), Some("elsewhere.example"));
    talk(&given, &env, elsewhere(), "127.0.0.1").await.expect("the name given is the one checked");
    // and it is the only one: the address's own name no longer counts
    let found = words(&given, &env, certificates.open(), "localhost").await;
    assert!(found.starts_with("the server's certificate is not for elsewhere.example but for 127.0.0.1, "), "{found}");
    // all else is still checked
    let given = tls("ca = 'other_ca.pem'\nserver_name = 'elsewhere.example'");
    assert!(words(&given, &env, elsewhere(), "127.0.0.1").await.contains("unknown issuer"));
}

#[tokio::test]
async fn an_expired_certificate_is_told() {
    let certificates = Certificates::new();
    let env = env(&certificates);
    let found = words(&tls("ca = 'ca.pem'"), &env, certificates.expired.config(None), "localhost").await;
    assert!(found.starts_with("the server's certificate has expired: renew it there"), "{found}");
}

#[tokio::test]
async fn client_certificates() {
    let certificates = Certificates::new();
    let env = env(&certificates);
    for version in [&[&version::TLS12][..], &[&version::TLS13]] {
        let mutual = || certificates.server.config_with(Some(&certificates.ca), version);
        let client = tls("ca = 'ca.pem'\ncertificate = 'client.pem'\nkey = 'client.key'");
        talk(&client, &env, mutual(), "localhost").await.expect("a known client");
        let found = words(&tls("ca = 'ca.pem'"), &env, mutual(), "localhost").await;
        assert!(found.starts_with("the server wants a client certificate: set `certificate` and `key`"), "{found}");
        let stranger = tls("ca = 'ca.pem'\ncertificate = 'stranger.pem'\nkey = 'stranger.key'");
        let found = words(&stranger, &env, mutual(), "localhost").await;
        assert!(found.contains("the client certificate"), "{found}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_told() {
    let certificates = Certificates::new();
    let client = tls("ca = 'ca.pem'").client(&env(&certificates)).await.expect("good files");
    let (near, mut far) = duplex(1 << 16);
    far.write_all(b"220 mail.example ESMTP\r\n").await.expect("room");
    let host = ServerName::try_from("localhost").expect("a name");
    let error = TlsConnector::from(client.config()).connect(host, near).await.expect_err("that is not TLS");
    let found = explain(&error);
    assert!(found.as_ref().is_some_and(|w| w.starts_with("the answer is not TLS")), "{found:?}: {error:?}");
}

#[tokio::test]
async fn what_is_no_fault_of_tls_has_no_words() {
    assert_eq!(explain(&io::Error::from(io::ErrorKind::ConnectionReset)), None);
    assert_eq!(explain(&io::Error::other("tls handshake eof")), None);
    assert_eq!(explain(&rustls::Error::AlertReceived(rustls::AlertDescription::InternalError)), None);
    // wrapped as HTTP clients wrap it
    let inner = rustls::Error::InvalidCertificate(rustls::CertificateError::Revoked);
    let wrapped = io::Error::other(io::Error::other(inner));
    assert!(explain(&wrapped).is_some_and(|w| w.contains("revoked")));
}

#[tokio::test]
async fn text_for_a_library_that_reads_pem_itself() {
    let certificates = Certificates::new();
    let env = env(&certificates);
    let pem = tls("ca = 'ca.pem'\ncertificate = 'client.pem'\nkey = 'client.key'").pem(&env).await.expect("good files");
    assert_eq!(pem.ca.as_deref(), Some(certificates.ca.as_str()));
    assert_eq!(pem.certificate.as_deref(), Some(certificates.client.certificate.as_str()));
    let key = pem.key.as_ref().map(auditferry_contract::ExposeSecret::expose_secret);
    assert_eq!(key, Some(certificates.client.key.as_str()));
    assert!(!format!("{pem:?}").contains("PRIVATE KEY"), "Debug shows the key");
    let none = tls("").pem(&env).await.expect("nothing to read");
    assert!(none.ca.is_none() && none.certificate.is_none() && none.key.is_none());
}

#[test]
fn the_first_certificate_to_end_is_the_one_that_counts() {
    let Certificates { ca, expired, client, .. } = Certificates::new();
    let end = |text: &str| earliest_end(text.as_bytes()).map(|end| end.to_string());
    assert_eq!(end(&ca).as_deref(), Some("2100-01-01T00:00:00Z"));
    assert_eq!(end(&format!("{ca}{}", expired.certificate)).as_deref(), Some("2021-01-01T00:00:00Z"));
    assert_eq!(end(&client.key), None);
    assert_eq!(end("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), None);
}

#[tokio::test]
async fn bad_files_are_told_and_keys_are_not_quoted() {
    let certificates = Certificates::new();
    let mut env = env(&certificates);
    let Identity { certificate, key } = &certificates.client;
    let half: String = certificate.chars().take(200).collect();
    let secret: String = key.lines().nth(1).expect("PEM has lines").into();
    let garbled = format!("-----BEGIN PRIVATE KEY-----\n{secret}!\n-----END PRIVATE KEY-----\n");
    for (name, text) in [
        ("empty.pem", ""),
        ("half.pem", half.as_str()),
        ("der.pem", "0\u{1}\u{2}"),
        ("no_ca.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        ("locked.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"),
        ("garbled.key", garbled.as_str()),
        ("nonsense.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
    ] {
        env.files.insert(name.into(), text.to_string().into());
    }
    for (options, expected) in [
        ("ca = 'missing.pem'", "can't read missing.pem: "),
        ("ca = 'empty.pem'", "empty.pem holds no certificate: expected PEM"),
        ("ca = 'half.pem'", "half.pem is damaged"),
        ("ca = 'der.pem'", "der.pem holds no certificate: it seems to be DER"),
        ("ca = 'client.key'", "client.key holds no certificate"),
        ("ca = 'no_ca.pem'", "certificate 1 in no_ca.pem can't be used as a CA"),
        ("certificate = 'client.pem'\nkey = 'client.pem'", "client.pem holds no private key"),
        ("certificate = 'client.pem'\nkey = 'locked.key'", "the key in locked.key is protected by a passphrase"),
        ("certificate = 'client.pem'\nkey = 'garbled.key'", "the key in garbled.key is damaged"),
        ("certificate = 'client.pem'\nkey = 'nonsense.key'", "the key in nonsense.key can't be used"),
        (
            "certificate = 'client.pem'\nkey = 'stranger.key'",
            "the key in stranger.key is not the one of the certificate",
        ),
        ("certificate = 'empty.pem'\nkey = 'client.key'", "empty.pem holds no certificate"),
    ] {
        // the client certificate comes after the CAs, which every machine of ours may lack
        let options = if options.starts_with("ca") { options.to_string() } else { format!("ca = 'ca.pem'\n{options}") };
        let config = tls(&options).client(&env).await.expect_err("a bad file").0;
        let pem = tls(&options).pem(&env).await.expect_err("a bad file").0;
        assert!(config.starts_with(expected), "{config}");
        assert_eq!(config, pem);
        assert!(!config.contains('\n') && !config.contains(&secret), "{config}");
    }
}

#[tokio::test]
async fn the_options_table() {
    fn mistakes(options: &str) -> Vec<String> {
        let mut value = toml_span::parse(options).expect("valid TOML");
        let mut table = Options::new(&mut value).expect("a table");
        let _ = Tls::read(&mut table);
        table.finalize(None).err().map_or(Vec::new(), |e| e.errors.iter().map(|e| e.to_string()).collect())
    }
    assert_eq!(mistakes("ca = 'a'\ncertificate = 'b'\nkey = 'c'\nserver_name = '10.0.0.5'"), [""; 0]);
    assert!(mistakes("certificate = 'b'")[0].starts_with("`certificate` needs its `key`"));
    assert!(mistakes("key = 'b'")[0].starts_with("`key` needs its `certificate`"));
    let empty = mistakes("certificate = ''\nkey = 'b'");
    assert!(empty.len() == 1 && empty[0].starts_with("`certificate` is empty\n"), "one mistake, told once: {empty:?}");
    for name in ["https://splunk.example", "splunk.example:8088", "a b", "-x.example-"] {
        assert!(mistakes(&format!("server_name = '{name}'"))[0].contains("neither a host name nor"), "{name}");
    }
    assert_eq!(mistakes("cas = 'a'").len(), 1, "unknown keys are the table's to report");
    let none = tls("");
    assert!(!none.is_set() && none.files().is_empty() && none.settings() == [("ca", "the system's".to_string())]);
    let all = tls("ca = 'a'\ncertificate = 'b'\nkey = 'c'\nserver_name = 'd'");
    assert!(all.is_set() && all.files().len() == 3 && all.settings().len() == 4);
}
