//! TLS: whom the sink trusts, and what it says when it does not.

use std::{path::PathBuf, sync::Arc};

use auditferry_conformance::{
    SECRET, batch,
    fakes::{certificates::Certificates, hec::Behaviour},
};
use auditferry_contract::SinkError;

use crate::common::{Collector, bodies};

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
        (certificates.open(), other, "issuer"),
        (certificates.elsewhere.config(None), ca.clone(), "name"),
        (certificates.expired.config(None), ca.clone(), "expired"),
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
