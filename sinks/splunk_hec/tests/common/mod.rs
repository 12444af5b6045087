//! What the tests of this crate share: a collector, and a sink that delivers to it.
#![allow(dead_code, reason = "each test binary uses its own part of this module")]

use std::{future::Future, pin::Pin, sync::Arc};

use auditferry_conformance::{
    TestEnv,
    fakes::{
        Arrivals,
        hec::{Behaviour, Hec},
    },
};
use auditferry_contract::{CheckedSink, Confirmation, Format, Options, Sink, SinkError, toml_span};

pub struct Collector {
    pub hec: Hec,
    pub arrivals: Arc<Arrivals>,
    tls: bool,
}

impl Collector {
    pub fn plain(behaviour: Behaviour) -> Self {
        Collector::start(behaviour, None)
    }

    pub fn start(behaviour: Behaviour, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        listener.set_nonblocking(true).expect("a socket");
        let listener = tokio::net::TcpListener::from_std(listener).expect("a runtime");
        let arrivals = Arc::new(Arrivals::with_bodies());
        let (secure, tls) = (tls.is_some(), tls);
        Collector { hec: Hec::start(listener, tls, arrivals.clone(), behaviour), arrivals, tls: secure }
    }

    /// Endpoint and token.
    pub fn options(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("endpoint = '{scheme}://{}'\ntoken = {{ env = 'SPLUNK_TOKEN' }}", self.hec.address())
    }

    /// A sink that leads here, opened.
    pub async fn sink(&self, more: &str) -> Arc<dyn Sink> {
        self.try_sink(more).await.unwrap_or_else(|error| panic!("open: {error}"))
    }

    pub async fn try_sink(&self, more: &str) -> Result<Arc<dyn Sink>, SinkError> {
        self.checked(more).open(Arc::new(TestEnv::default())).await
    }

    pub fn checked(&self, more: &str) -> Box<dyn CheckedSink> {
        checked(&format!("{}\n{more}", self.options()), json())
    }
}

pub fn checked(options: &str, format: Format) -> Box<dyn CheckedSink> {
    let mut value = toml_span::parse(options).expect("valid TOML");
    let check = auditferry_sink_splunk_hec::KIND.check;
    check(Options::new(&mut value).expect("a table"), &format).unwrap_or_else(|error| panic!("options: {error}"))
}

pub fn json() -> Format {
    Format { codec: "ocsf", schema: "ocsf/1.8.0".into(), media_type: "application/json" }
}

pub fn bodies(label: &str, count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|n| format!("{{\"{label}\":{n}}}").into_bytes()).collect()
}

pub type Call<'a> = Pin<Box<dyn Future<Output = Result<(), SinkError>> + Send + 'a>>;

/// The error's kind and what it says, for a table of expectations.
pub fn short(result: &Result<(), SinkError>) -> String {
    let positions = |p: &[usize]| format!("{p:?}").replace(' ', "");
    match result {
        Ok(()) => "taken".into(),
        Err(SinkError::Retry { untaken, after, .. }) => match after {
            Some(after) => format!("retry {} after {}", positions(untaken), after.as_secs()),
            None => format!("retry {}", positions(untaken)),
        },
        Err(SinkError::Blocked { .. }) => "blocked".into(),
        Err(SinkError::Refused { refused, untaken, .. }) => {
            let refused: Vec<_> = refused.iter().map(|r| r.position).collect();
            format!("refused {} untaken {}", positions(&refused), positions(untaken))
        }
    }
}

pub fn words(result: Result<(), SinkError>) -> String {
    result.expect_err("an error").cause().0.clone()
}

pub fn stored(sink: &Arc<dyn Sink>) -> bool {
    sink.confirmation() == Confirmation::Stored
}
