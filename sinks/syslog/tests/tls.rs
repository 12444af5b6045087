//! TLS: who is let in, and what is said to whoever is not. Over TLS 1.2, too, since half of the receivers out there speak that.

use std::{sync::Arc, time::Duration};

use auditferry_conformance::{
    TestEnv, batch,
    fakes::{
        Arrivals,
        certificates::{Certificates, Identity},
        syslog::{Manner, Syslog},
    },
};
use auditferry_contract::{Format, Options, Sink, SinkError, toml_span};
use auditferry_sink_syslog::KIND;
use rustls::{ServerConfig, version};

struct Scene {
    certificates: Certificates,
    env: Arc<TestEnv>,
    arrivals: Arc<Arrivals>,
}

impl Scene {
    fn new() -> Scene {
        let certificates = Certificates::new();
        let mut env = TestEnv::default();
        let mut file = |name: &str, text: &str| drop(env.files.insert(name.into(), text.to_string().into()));
        file("ca.pem", &certificates.ca);
        file("other_ca.pem", &certificates.other_ca);
        for (name, Identity { certificate, key }) in
            [("client", &certificates.client), ("stranger", &certificates.stranger)]
        {
            file(&format!("{name}.pem"), certificate);
            file(&format!("{name}.key"), key);
        }
        Scene { certificates, env: Arc::new(env), arrivals: Arc::new(Arrivals::with_bodies()) }
    }

    fn receiver(&self, config: Arc<ServerConfig>) -> Syslog {
        Syslog::local(Some(config), self.arrivals.clone()).expect("a port")
    }

    async fn open(&self, receiver: &Syslog, options: &str) -> Result<Arc<dyn Sink>, SinkError> {
        self.open_at(&receiver.url(), options).await
    }

    async fn open_at(&self, url: &str, options: &str) -> Result<Arc<dyn Sink>, SinkError> {
        let options = format!("address = '{url}'\n{options}");
        let mut value = toml_span::parse(&options).expect("valid TOML");
        let format = Format { codec: "ocsf", schema: "ocsf/1.8.0".into(), media_type: "application/json" };
        let checked = (KIND.check)(Options::new(&mut value).expect("a table"), &format)
            .unwrap_or_else(|_| panic!("good options"));
        checked.open(self.env.clone()).await
    }

    /// What keeps it from opening; a person must act.
    async fn blocked(&self, receiver: &Syslog, options: &str) -> String {
        match self.open(receiver, options).await {
            Err(SinkError::Blocked { cause }) => cause.0,
            Err(error) => panic!("nobody is told to act: {error}"),
            Ok(_) => panic!("it opens"),
        }
    }

    async fn taken(&self, sink: &dyn Sink, count: u64) {
        let bodies: Vec<_> = (0..count).map(|n| format!("{{\"n\":{n}}}").into_bytes()).collect();
        sink.deliver(batch(&bodies)).await.expect("taken");
        sink.close().await.expect("everything is read");
        assert_eq!(self.arrivals.messages(), count, "closed before the peer had read everything");
    }
}

const CA: &str = "ca = 'ca.pem'";

#[tokio::test]
async fn servers_that_are_not_trusted() {
    let scene = Scene::new();
    let good = scene.receiver(scene.certificates.open());
    let words = scene.blocked(&good, "ca = 'other_ca.pem'").await;
    assert!(words.contains("unknown issuer: set `ca`") && words.starts_with(&good.url()), "{words}");
    let shown = |name: &str| {
        format!(
            "; the certificate is for `CN={name}` and was issued by `CN=auditferry test CA`, which was not shown with it"
        )
    };
    assert!(words.ends_with(&(shown("server") + " [TlsIssuer]")), "{words}");
    let words = scene.blocked(&good, "ca = 'ca.pem'\nserver_name = 'elsewhere.example'").await;
    assert!(words.contains("not for elsewhere.example but for 127.0.0.1"), "{words}");
    let words = scene.blocked(&good, "ca = 'missing.pem'").await;
    assert!(words.contains("missing.pem"), "{words}");

    let elsewhere = scene.receiver(scene.certificates.elsewhere.config(None));
    let words = scene.blocked(&elsewhere, CA).await;
    assert!(words.contains("not for 127.0.0.1 but for elsewhere.example"), "{words}");
    assert!(words.ends_with(&(shown("elsewhere") + " [TlsName]")), "{words}");
    let sink =
        scene.open(&elsewhere, "ca = 'ca.pem'\nserver_name = 'elsewhere.example'").await.expect("that is its name");
    scene.taken(sink.as_ref(), 3).await;

    let expired = scene.receiver(scene.certificates.expired.config(None));
    let words = scene.blocked(&expired, CA).await;
    assert!(words.contains("has expired") && words.ends_with(&(shown("expired") + " [TlsTime]")), "{words}");
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the receiver lives on a thread of its own")]
async fn who_is_not_trusted_gets_nothing_but_the_handshake() {
    let scene = Scene::new();
    for versions in [&[&version::TLS12][..], &[&version::TLS13]] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        let url = format!("tls://{}", listener.local_addr().expect("bound"));
        let server = scene.certificates.server.config_with(None, versions);
        let receiver = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut tls = rustls::ServerConnection::new(server).expect("a good configuration");
            let error = tls.complete_io(&mut stream).expect_err("nobody trusts this one");
            assert!(tls.is_handshaking(), "nothing can be said before the handshake is over");
            error.downcast::<rustls::Error>().expect("an alert")
        });
        let error = scene.open_at(&url, "ca = 'other_ca.pem'").await.err();
        assert!(matches!(&error, Some(SinkError::Blocked { cause }) if cause.0.ends_with(" [TlsIssuer]")), "{error:?}");
        let said = receiver.join().expect("the receiver is content");
        assert_eq!(said, rustls::Error::AlertReceived(rustls::AlertDescription::UnknownCA));
    }
}

#[tokio::test]
async fn client_certificates_are_shown_and_refusals_told_before_anything_is_sent() {
    for versions in [&[&version::TLS12][..], &[&version::TLS13]] {
        let scene = Scene::new();
        let config = scene.certificates.server.config_with(Some(&scene.certificates.ca), versions);
        let receiver = scene.receiver(config);
        let words = scene.blocked(&receiver, CA).await;
        assert!(words.contains("the server wants a client certificate: set `certificate` and `key`"), "{words}");
        let stranger = "ca = 'ca.pem'\ncertificate = 'stranger.pem'\nkey = 'stranger.key'";
        let words = scene.blocked(&receiver, stranger).await;
        assert!(words.contains("client certificate"), "{words}");
        assert_eq!(scene.arrivals.messages(), 0);
        let client = "ca = 'ca.pem'\ncertificate = 'client.pem'\nkey = 'client.key'";
        let sink = scene.open(&receiver, client).await.expect("a known client");
        scene.taken(sink.as_ref(), 5).await;
        assert_eq!(receiver.faults(), [""; 0]);
    }
}

#[tokio::test]
async fn a_server_that_sends_no_tickets_is_not_waited_for_long() {
    let scene = Scene::new();
    let mut config = Arc::unwrap_or_clone(scene.certificates.server.config_with(None, &[&version::TLS13]));
    config.send_tls13_tickets = 0;
    let receiver = scene.receiver(Arc::new(config));
    let opening = tokio::time::timeout(Duration::from_secs(5), scene.open(&receiver, CA)).await;
    let sink = opening.expect("within a moment").expect("a good server");
    scene.taken(sink.as_ref(), 2).await;
}

#[tokio::test]
async fn a_server_without_tls_and_one_that_wants_it() {
    let scene = Scene::new();
    // plain, and it waits for the client to speak first: what it gets is no frame, so it closes
    let plain = Syslog::local(None, scene.arrivals.clone()).expect("a port");
    let options = format!("address = 'tls://{}'\nca = 'ca.pem'", plain.address());
    let mut value = toml_span::parse(&options).expect("valid TOML");
    let format = Format { codec: "ocsf", schema: "ocsf/1.8.0".into(), media_type: "application/json" };
    let checked =
        (KIND.check)(Options::new(&mut value).expect("a table"), &format).unwrap_or_else(|_| panic!("good options"));
    match checked.open(scene.env.clone()).await {
        Err(SinkError::Retry { cause, .. }) => {
            assert!(cause.0.starts_with("the TLS handshake with tls://127.0.0.1:"), "{cause}")
        }
        Err(error) => panic!("it is told otherwise: {error}"),
        Ok(_) => panic!("it opens"),
    }
}

#[tokio::test]
async fn a_half_closed_and_a_reset_connection_are_lost() {
    let scene = Scene::new();
    for (manner, orderly) in [(Manner::HalfCloses, true), (Manner::Resets, false)] {
        let receiver = scene.receiver(scene.certificates.open());
        let sink = scene.open(&receiver, CA).await.expect("a good server");
        receiver.be(manner);
        if manner == Manner::Resets {
            let _ = sink.deliver(batch(&[b"{}".to_vec()])).await;
        }
        let lost = tokio::time::timeout(Duration::from_secs(10), sink.lost()).await.expect("it is noticed");
        assert_eq!(lost.orderly, orderly, "{lost:?}");
        let error = sink.deliver(batch(&[b"{}".to_vec()])).await.expect_err("the connection is gone");
        assert!(matches!(error, SinkError::Retry { .. }), "{error}");
    }
}
