//! TLS: whom the sink trusts, and what it says when it does not.

use std::{
    io::{Read, Write},
    path::PathBuf,
    sync::Arc,
    thread,
    time::Duration,
};

use auditferry_conformance::{
    SECRET, TestEnv, batch,
    fakes::{certificates::Certificates, hec::Behaviour},
};
use auditferry_contract::SinkError;

use crate::common::{Collector, bodies, checked, json};

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new(certificates: &Certificates) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in [
            ("ca.pem", &certificates.ca),
            ("other.pem", &certificates.other_ca),
            ("client.pem", &certificates.client.certificate),
            ("client.key", &certificates.client.key),
        ] {
            std::fs::write(folder.path().join(name), text).expect("a file");
        }
        Files { folder }
    }

    fn option(&self, key: &str, name: &str) -> String {
        let path: PathBuf = self.folder.path().join(name);
        format!("{key} = {path:?}\n")
    }
}

async fn delivers(tls: Arc<rustls::ServerConfig>, options: &str) -> Result<usize, SinkError> {
    let collector = Collector::start(Behaviour::default(), Some(tls));
    let sink = collector.try_sink(options).await?;
    sink.deliver(batch(&bodies("tls", 5))).await?;
    assert_eq!(collector.arrivals.bodies(), bodies("tls", 5));
    Ok(collector.hec.posts())
}

#[tokio::test]
async fn a_private_ca_and_a_client_certificate() {
    let certificates = Certificates::new();
    let files = Files::new(&certificates);
    let ca = files.option("ca", "ca.pem");
    assert_eq!(delivers(certificates.open(), &ca).await, Ok(1));
    let identity = files.option("certificate", "client.pem") + &files.option("key", "client.key");
    assert_eq!(delivers(certificates.mutual(), &(ca.clone() + &identity)).await, Ok(1));
    let named = format!("{ca}server_name = 'elsewhere.example'");
    assert_eq!(delivers(certificates.elsewhere.config(None), &named).await, Ok(1));
}

#[tokio::test]
async fn whom_it_does_not_trust_gets_no_token_and_the_words_say_why() {
    let certificates = Certificates::new();
    let files = Files::new(&certificates);
    let (ca, other) = (files.option("ca", "ca.pem"), files.option("ca", "other.pem"));
    for (server, options, expected) in [
        (
            certificates.open(),
            other,
            "is for `CN=server` and was issued by `CN=auditferry test CA`, which was not shown with it [TlsIssuer]",
        ),
        (
            certificates.elsewhere.config(None),
            ca.clone(),
            "is for `CN=elsewhere` and was issued by `CN=auditferry test CA`, which was not shown with it [TlsName]",
        ),
        (certificates.expired.config(None), ca.clone(), "has expired"),
        (
            certificates.expired.config(None),
            ca.clone(),
            "is for `CN=expired` and was issued by `CN=auditferry test CA`, which was not shown with it [TlsTime]",
        ),
        (certificates.mutual(), ca, "certificate"),
    ] {
        match delivers(server, &options).await {
            Err(SinkError::Blocked { cause }) => {
                assert!(cause.0.contains(expected), "{cause}");
                assert!(!cause.0.contains(SECRET) && !cause.0.contains('\n'), "{cause}");
            }
            other => panic!("{expected}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_ca_that_is_not_there_blocks() {
    let collector = Collector::start(Behaviour::default(), Some(Certificates::new().open()));
    let error = collector.try_sink("ca = '/nowhere/ca.pem'").await.err();
    assert!(matches!(&error, Some(SinkError::Blocked { cause }) if cause.0.contains("/nowhere/ca.pem")), "{error:?}");
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the proxy lives on a thread of its own")]
async fn a_proxy_that_opens_tls_is_named_and_gets_nothing_but_the_handshake() {
    let certificates = Certificates::new();
    let files = Files::new(&certificates);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    let server = certificates.open();
    let proxy = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
            head.push(byte[0]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").expect("it listens");
        let mut tls = rustls::ServerConnection::new(server).expect("a good configuration");
        let error = tls.complete_io(&mut stream).expect_err("nobody trusts this one");
        assert!(tls.is_handshaking(), "nothing can be said before the handshake is over");
        (String::from_utf8_lossy(&head).into_owned(), error.downcast::<rustls::Error>().expect("an alert"))
    });
    let options = format!(
        "endpoint = 'https://splunk.invalid:8088'\ntoken = {{ env = 'SPLUNK_TOKEN' }}\nproxy = 'http://{address}'\n{}",
        files.option("ca", "other.pem")
    );
    let opened = checked(&options, json()).open(Arc::new(TestEnv::default())).await;
    let cause = match opened {
        Err(SinkError::Blocked { cause }) => cause.0,
        other => panic!("{:?}", other.err()),
    };
    assert!(
        cause.starts_with("no TLS with splunk.invalid:8088: the server's certificate is from an unknown issuer"),
        "{cause}"
    );
    assert!(cause.contains("was issued by `CN=auditferry test CA`") && cause.ends_with(" [TlsIssuer]"), "{cause}");
    let (head, error) = proxy.join().expect("the proxy is content");
    assert!(head.starts_with("CONNECT splunk.invalid:8088 HTTP/1.1\r\n") && !head.contains(SECRET), "{head}");
    assert_eq!(error, rustls::Error::AlertReceived(rustls::AlertDescription::UnknownCA));
}

#[tokio::test(start_paused = true)]
async fn who_never_answers_is_left_in_time() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = silent.local_addr().expect("bound");
    let certificates = Certificates::new();
    let ca = Files::new(&certificates);
    let options =
        format!("endpoint = 'https://{address}'\ntoken = {{ env = 'SPLUNK_TOKEN' }}\n{}", ca.option("ca", "ca.pem"));
    let checked = checked(&options, json());
    let opening = checked.open(Arc::new(TestEnv::default()));
    let opened = tokio::time::timeout(Duration::from_secs(45), opening).await.expect("in limited time");
    assert!(matches!(opened.err(), Some(SinkError::Retry { cause, .. }) if cause.0.ends_with(" [Timeout]")));
}
