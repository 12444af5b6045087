//! Everything that a test replaces, in one struct that is handed down: network, clock, randomness, gate.
//!
//! The agent asks for time, randomness and HTTP here and nowhere else (invariant I9), so that the crash test can run
//! the whole agent against one simulated service, on a paused clock, and kill it at every call.

pub mod http_client;
pub mod random;

use std::{fmt, pin::Pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use jiff::Timestamp;

/// What the agent may ask of the world outside. Cheap to clone.
#[derive(Clone)]
pub struct World {
    /// Makes HTTP clients, one per source.
    pub http: Arc<dyn HttpFactory>,
    /// Wall clock and sleeping.
    pub clock: Arc<dyn Clock>,
    /// Randomness: jitter, identifiers.
    pub random: Arc<dyn Random>,
    /// Where the crash test counts and kills; in production every gate is open.
    pub gate: Gate,
}

impl World {
    /// The same world, for the named loop: the crash test tells the loops apart by it.
    pub fn on(&self, name: &'static str) -> World {
        World { gate: Gate { keeper: self.gate.keeper.clone(), of: name }, ..self.clone() }
    }

    /// Sleeps; the dead never wake up.
    pub async fn sleep(&self, duration: Duration) {
        self.clock.sleep(duration).await;
        if !self.gate.pass("clock", self.gate.of) {
            std::future::pending::<()>().await;
        }
    }
}

/// How a source reaches its service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transport {
    /// PEM certificates added to the system's.
    pub ca: Option<Vec<u8>>,
    /// Proxy URL; `None` follows the usual environment variables. Never used for loopback.
    pub proxy: Option<String>,
}

/// Makes HTTP clients.
#[async_trait]
pub trait HttpFactory: Send + Sync {
    /// A client for one source. Fails on an unreadable certificate or proxy URL.
    fn client(&self, transport: &Transport) -> Result<Arc<dyn Http>, HttpError>;

    /// What the server at this address presents in a TLS handshake that is refused whoever vouches for it, so that nothing but the handshake is sent
    /// there; on the way, and with the proxy, of [`client`](Self::client). Within `timeout`. `None`: not to be had.
    async fn presented(&self, _transport: &Transport, _address: &str, _timeout: Duration) -> Option<Presented> {
        None
    }
}

/// What a server shows of itself, trusted or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    /// Subject, issuer, and what the last of its certificates is: `the certificate is for …`, harmless and on one line.
    pub words: String,
    /// Why this machine knows no CA at all, where that is so: then the server is not to blame.
    pub no_roots: Option<String>,
}

/// One HTTP exchange. No redirect is followed, no status is an error.
#[async_trait]
pub trait Http: Send + Sync {
    /// Sends the request; returns when the response's head is there. `timeout` bounds that wait.
    async fn send(&self, request: http::Request<Bytes>, timeout: Duration) -> Result<http::Response<Body>, HttpError>;
}

/// A response body as it arrives. The reader bounds what it takes.
pub type Body = Pin<Box<dyn Stream<Item = Result<Bytes, HttpError>> + Send>>;

/// Why no (whole) response came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// Name not resolved, connection refused, TLS refused, proxy refused: code and words say which.
    #[error("{words}")]
    Connect {
        /// As in the runbook: `Dns`, `ConnectionRefused`, `NoRoute`, `ProxyRefused`, `ProxyLogin`, `TlsIssuer`, `TlsName`, `TlsTime`, `Tls`, `Address`, `Connect`.
        code: &'static str,
        /// What happened.
        words: String,
    },
    /// Nothing came in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The connection broke before the body was complete.
    #[error("the connection ended before the body was complete: {0}")]
    Body(String),
    /// The process is dying (crash test only): nothing happens any more.
    #[error("dead")]
    Dead,
}

/// Wall clock and sleeping.
#[async_trait]
pub trait Clock: Send + Sync {
    /// The machine's time; the service's own `Date` is learned from its answers.
    fn now(&self) -> Timestamp;
    /// Sleeps. On a paused tokio clock this is virtual time.
    async fn sleep(&self, duration: Duration);
}

/// Randomness.
pub trait Random: Send + Sync {
    /// 64 random bits.
    fn next(&self) -> u64;
}

/// A point where the crash test may kill the agent.
#[derive(Clone, Default)]
pub struct Gate {
    keeper: Option<Arc<dyn GateKeeper>>,
    of: &'static str,
}

/// Decides at each gate whether the agent still lives.
pub trait GateKeeper: Send + Sync {
    /// Passes gate `seam` (`http`, `sink`, `clock`, `ledger`); `detail` says what is about to happen, or happened. False: dead from now on.
    fn pass(&self, seam: &'static str, detail: &str) -> bool;

    /// Whether the agent lives, without passing a gate.
    fn is_alive(&self) -> bool;

    /// Whether the agent has the named fault built in: the crash test must notice each of them.
    fn mutant(&self, _name: &str) -> bool {
        false
    }

    /// What goes wrong with this call of the ledger: the crash test's disk.
    fn fault(&self, _call: &str) -> Option<LedgerFault> {
        None
    }

    /// Whether the named loop is not to be polled any more: the crash test's loop that hangs.
    fn hangs(&self, _name: &str) -> bool {
        false
    }

    /// When a call of the ledger with this fault is done, or one that comes while another is under way; `None`: at once.
    fn busy(&self, _fault: Option<LedgerFault>) -> Option<tokio::time::Instant> {
        None
    }
}

/// How a call of the ledger fails in the crash test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerFault {
    /// Nothing is done.
    Call,
    /// The disk is full: nothing is done.
    Full,
    /// Everything is done, and then COMMIT fails.
    Commit,
    /// Nothing fails, and it takes so long: a disk that others write to.
    Slow(Duration),
    /// Another process has locked the file: nothing can be written, which turns out after so long. What is there can be read.
    Locked(Duration),
}

impl Gate {
    /// A gate that `keeper` watches.
    pub fn watched(keeper: Arc<dyn GateKeeper>) -> Self {
        Gate { keeper: Some(keeper), of: "agent" }
    }

    /// True while the agent lives. Always true in production.
    pub fn pass(&self, seam: &'static str, detail: &str) -> bool {
        match &self.keeper {
            None => true,
            Some(keeper) => keeper.pass(seam, detail),
        }
    }
}

impl Gate {
    /// True while the agent lives; not counted.
    pub fn is_alive(&self) -> bool {
        self.keeper.as_ref().is_none_or(|keeper| keeper.is_alive())
    }

    /// True in the crash test, which has one thread: what would run on another runs in place, so that a run repeats exactly.
    pub fn in_place(&self) -> bool {
        cfg!(any(test, feature = "testing")) && self.keeper.is_some()
    }

    /// What goes wrong with this call of the ledger. Never anything in a build without feature `testing`.
    pub fn fault(&self, call: &str) -> Option<LedgerFault> {
        let keeper = self.keeper.as_ref().filter(|_| cfg!(any(test, feature = "testing")))?;
        keeper.fault(call)
    }

    /// Waits as long as the crash test's disk takes; whatever comes meanwhile waits behind it. Nothing is held: a caller that is not polled holds up
    /// nobody, as with the ledger's thread.
    pub async fn queue(&self, fault: Option<LedgerFault>) {
        let Some(keeper) = self.keeper.as_ref().filter(|_| cfg!(any(test, feature = "testing"))) else { return };
        if let Some(free) = keeper.busy(fault) {
            tokio::time::sleep_until(free).await;
        }
    }

    /// Waits as long as the crash test's disk takes to give what was read, which others may have changed meanwhile.
    #[expect(clippy::disallowed_methods, reason = "the crash test's disk")]
    pub async fn linger(&self, fault: Option<LedgerFault>) {
        if let Some(LedgerFault::Slow(slow)) = fault {
            tokio::time::sleep(slow).await;
        }
    }

    /// True when the named loop is to hang. Never in a build without feature `testing`.
    pub fn hangs(&self, name: &str) -> bool {
        cfg!(any(test, feature = "testing")) && self.keeper.as_ref().is_some_and(|keeper| keeper.hangs(name))
    }

    /// True when this agent is the named mutant. Never in a build without feature `testing`.
    pub fn mutant(&self, name: &str) -> bool {
        cfg!(any(test, feature = "testing")) && self.keeper.as_ref().is_some_and(|keeper| keeper.mutant(name))
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.keeper.is_some() { "Gate(watched)" } else { "Gate(open)" })
    }
}

/// The machine's clock.
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
    #[expect(clippy::disallowed_methods, reason = "the one place that sleeps")]
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await
    }
}
