//! A Splunk HTTP Event Collector on loopback, as far as a client can see one.
//!
//! What it answers follows Splunk's code table and what was measured on real servers (pages "Troubleshoot HTTP Event
//! Collector" and "About HTTP Event Collector Indexer Acknowledgment"; partial acceptance: moby issue 35862; code 7
//! counting from 1 and code 15 for a bad time: the clone mockdr, measured against Splunk 10.4.2). **Assumed**, having no
//! source: that `/ack` looks at the token, the channel and `useACK` in this order, and that 23 comes with a 503.
//! Left out: `/raw`, arrays of envelopes, Basic logins, tokens in the query.

mod ack;
mod connection;
mod envelopes;
mod serve;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustls::ServerConfig;
use tokio::{net::TcpListener, task::JoinHandle};

use super::Arrivals;
use crate::SECRET;

/// When a batch that was taken counts as indexed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Indexing {
    /// The token has no acknowledgement.
    Off,
    /// With the first question.
    AtOnce,
    /// With the question that comes after this many.
    After(u32),
    /// Never.
    Never,
}

/// An answer given as it stands, whatever was asked.
#[derive(Clone, Debug)]
pub struct Canned {
    /// HTTP status.
    pub status: u16,
    /// Headers beside `Content-Length`.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: String,
    /// Take the events all the same.
    pub take: bool,
}

impl Canned {
    /// Splunk's own form: JSON with text and code. Nothing is taken.
    pub fn code(status: u16, code: u16) -> Self {
        let body = format!("{{\"text\":\"canned\",\"code\":{code}}}");
        Canned { status, headers: vec![("content-type", "application/json".into())], body, take: false }
    }

    /// A page, as of proxies and of Splunk itself for 413 and 415. Nothing is taken.
    pub fn html(status: u16) -> Self {
        let body =
            format!("<!doctype html><html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>");
        Canned { status, headers: vec![("content-type", "text/html; charset=UTF-8".into())], body, take: false }
    }
}

/// What the collector does. Changed while it runs through [`Hec::change`].
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// Tokens that it takes.
    pub tokens: Vec<String>,
    /// All tokens are disabled.
    pub disabled: bool,
    /// Acknowledgement of the tokens.
    pub indexing: Indexing,
    /// Indexes that the tokens may write; `None`: all.
    pub indexes: Option<Vec<String>>,
    /// Largest body after decompression, bytes.
    pub max_bytes: usize,
    /// Most events in one request: stands in for `max_bytes` where a test counts events.
    pub max_events: usize,
    /// Refuses events that hold this text, as malformed (code 6).
    pub poison: Option<String>,
    /// Answers every post of events so.
    pub canned: Option<Canned>,
    /// Answers every question for acknowledgements so; what was asked for is forgotten as if it had been told.
    pub canned_ack: Option<Canned>,
    /// So many posts are taken and never answered: the connection ends.
    pub lose: u32,
    /// So many questions are worked off and never answered: the connection ends.
    pub lose_ack: u32,
    /// So many posts are taken, and the answer makes no sense.
    pub garble: u32,
    /// How long every answer takes longer than usual.
    pub delay: Duration,
    /// Takes requests and never answers.
    pub hang: bool,
    /// Ends every connection at once.
    pub down: bool,
    /// Indexers behind one address. A cookie keeps a client at one; without it the next request meets the next.
    pub nodes: usize,
    /// The load balancer sets its cookie.
    pub sticky: bool,
}

impl Default for Behaviour {
    /// Healthy, with [`SECRET`] as its token, without acknowledgement.
    fn default() -> Self {
        Behaviour {
            tokens: vec![SECRET.to_string()],
            disabled: false,
            indexing: Indexing::Off,
            indexes: None,
            // Splunk's own default of max_content_length is 838,860,800; this is enough to notice a body out of hand
            max_bytes: 64 << 20,
            max_events: usize::MAX,
            poison: None,
            canned: None,
            canned_ack: None,
            lose: 0,
            lose_ack: 0,
            garble: 0,
            delay: Duration::ZERO,
            hang: false,
            down: false,
            nodes: 1,
            sticky: true,
        }
    }
}

/// A collector that runs until it is dropped.
#[derive(Debug)]
pub struct Hec {
    address: SocketAddr,
    state: Arc<State>,
    server: JoinHandle<()>,
}

/// What its connections share.
#[derive(Debug)]
struct State {
    arrivals: Arc<Arrivals>,
    behaviour: Mutex<Behaviour>,
    acks: Mutex<ack::Channels>,
    errors: Mutex<Vec<String>>,
    posts: AtomicUsize,
    questions: AtomicUsize,
    requests: AtomicUsize,
}

impl Hec {
    /// Serves `listener`, with TLS where `tls` is given. Call it inside a tokio runtime.
    ///
    /// # Panics
    /// When the listener has no address.
    #[expect(clippy::disallowed_methods, reason = "a receiver for tests is no part of the agent")]
    pub fn start(
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
        arrivals: Arc<Arrivals>,
        behaviour: Behaviour,
    ) -> Hec {
        let address = listener.local_addr().expect("a listener that is bound");
        let state = Arc::new(State {
            arrivals,
            behaviour: Mutex::new(behaviour),
            acks: Mutex::default(),
            errors: Mutex::default(),
            posts: AtomicUsize::new(0),
            questions: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
        });
        let server = tokio::spawn(serve::serve(connection::Door::new(listener, tls, state.clone()), state.clone()));
        Hec { address, state, server }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what it does, from the next request on.
    pub fn change(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.state.behaviour());
    }

    /// What clients did that no client should: one line each. Empty after a well-behaved one.
    pub fn errors(&self) -> Vec<String> {
        self.state.errors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Posts with events, also those that were not answered.
    pub fn posts(&self) -> usize {
        self.state.posts.load(Ordering::SeqCst)
    }

    /// Questions for acknowledgements.
    pub fn questions(&self) -> usize {
        self.state.questions.load(Ordering::SeqCst)
    }
}

impl Drop for Hec {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl State {
    fn behaviour(&self) -> MutexGuard<'_, Behaviour> {
        self.behaviour.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn acks(&self) -> MutexGuard<'_, ack::Channels> {
        self.acks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn protocol_error(&self, what: String) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        // bounded: a client that is wrong once is wrong a thousand times
        if errors.len() < 1000 {
            errors.push(what);
        }
    }
}
