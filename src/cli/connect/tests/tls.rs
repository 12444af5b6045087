//! Over real sockets: a private CA in the way, and peers that say nothing.

use std::{net::TcpListener, thread};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::*;
use crate::world::http_client::ReqwestFactory;

/// Refused by both of these, and each time before anything but the handshake was sent: what the agent sends itself, and the look at the certificate.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the server lives on a thread of its own")]
async fn a_private_ca_in_the_way_is_named_and_gets_nothing_but_handshakes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let chain = CertificateDer::from_pem_slice(include_bytes!("../../../world/testdata/server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../../../world/testdata/server.key")).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .unwrap();
    let config = Arc::new(config);
    let server = thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut tls = rustls::ServerConnection::new(config.clone()).unwrap();
            let error = tls.complete_io(&mut stream).expect_err("the client shakes hands with a stranger");
            let alert = rustls::Error::AlertReceived(rustls::AlertDescription::UnknownCA);
            assert_eq!(error.downcast::<rustls::Error>().unwrap(), alert);
            assert!(tls.is_handshaking(), "nothing can be said before the handshake is over");
        }
    });
    let own_hosts = format!("cloud = \"commercial\"\nauthority = \"{host}\"\napi = \"{host}\"");
    let (complaints, _) =
        tried_over(Arc::new(ReqwestFactory), |text| text.replace("cloud = \"commercial\"", &own_hosts)).await;
    let line = complaints.lines().next().unwrap_or_default();
    assert!(line.starts_with("error: source `contoso`, sign-in host: asking for the tenant failed at "), "{line}");
    let parts = [
        "the server's certificate has an unknown issuer",
        "put the certificate of that authority into a file and name it in `ca` of this source; ",
        "the certificate is for `CN=localhost` and was issued by `CN=auditferry test ca`, which was not shown with it [TlsIssuer]",
    ];
    for part in parts {
        assert!(line.contains(part), "{part}: {line}");
    }
    // a machine without any CA says that instead
    assert!(
        ["; a private CA may be in the way: the", "; this system has no CA "].iter().any(|w| line.contains(w)),
        "{line}"
    );
    server.join().unwrap();
}

#[cfg(feature = "syslog")]
#[tokio::test(start_paused = true)]
async fn a_receiver_that_never_shakes_hands_is_left_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let service = InProcess::new(Arc::new(Mutex::new(Simulator::new(tenant(|_| {})))), Arc::new(Still));
    let (complaints, _) = tried_over(Arc::new(Net { service, broken: vec![] }), |text| {
        let (before, _) = text.split_once("kind = \"file\"").unwrap();
        let ca = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/world/testdata/ca.pem");
        format!("{before}kind = \"syslog\"\ncodec = \"ocsf\"\naddress = \"tls://{address}\"\nca = {ca:?}\n")
    })
    .await;
    assert!(
        complaints.starts_with("error: sink `siem`, open: no answer within 45 s: is its address right, and is a firewall in between? [Timeout]\n"),
        "{complaints}"
    );
}
