//! The world of the crash test: one simulated service, a paused clock, seeded randomness, gates in front of all.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use auditferry::{
    simulator::InProcess,
    world::{Body, Clock, Gate, Http, HttpError, HttpFactory, Random, Transport, World},
};
use bytes::Bytes;
use jiff::Timestamp;

use crate::keeper::Keeper;

/// Virtual time: goes on from life to life, within a life with tokio's paused clock. The machine may be wrong about it.
pub struct VirtualClock {
    base: AtomicI64,
    begun: Mutex<Option<tokio::time::Instant>>,
    /// How far the machine's clock is ahead (milliseconds).
    ahead: AtomicI64,
}

impl VirtualClock {
    pub fn new(start: Timestamp) -> Arc<VirtualClock> {
        Arc::new(VirtualClock {
            base: AtomicI64::new(start.as_millisecond()),
            begun: Mutex::new(None),
            ahead: AtomicI64::new(0),
        })
    }

    /// The true time.
    pub fn millis(&self) -> i64 {
        let elapsed = self.begun.lock().unwrap().map_or(Duration::ZERO, |begun| begun.elapsed());
        self.base.load(Ordering::Relaxed) + elapsed.as_millis() as i64
    }

    /// The machine's clock jumps.
    pub fn jump(&self, by: i64) {
        self.ahead.fetch_add(by, Ordering::Relaxed);
    }

    /// What the machine takes for the time.
    pub fn machine(&self) -> i64 {
        self.millis() + self.ahead.load(Ordering::Relaxed)
    }

    /// A new runtime begins: time goes on from here.
    pub fn begin(&self) {
        *self.begun.lock().unwrap() = Some(tokio::time::Instant::now());
    }

    /// Time goes by between two lives.
    pub fn pass(&self, time: Duration) {
        self.base.fetch_add(time.as_millis() as i64, Ordering::Relaxed);
    }

    /// The runtime ends; the next one begins `pause` later.
    pub fn end(&self, pause: Duration) {
        let now = self.millis();
        *self.begun.lock().unwrap() = None;
        self.base.store(now + pause.as_millis() as i64, Ordering::Relaxed);
    }
}

#[async_trait]
impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.millis()).unwrap()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the clock of the test")]
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// The agent's clock: the machine's.
struct Machine(Arc<VirtualClock>);

#[async_trait]
impl Clock for Machine {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.0.machine()).unwrap()
    }

    async fn sleep(&self, duration: Duration) {
        self.0.sleep(duration).await;
    }
}

/// SplitMix64.
struct Seeded(AtomicU64);

impl Random for Seeded {
    fn next(&self) -> u64 {
        let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Every origin that got a bearer token.
pub type Origins = Arc<Mutex<BTreeSet<String>>>;

/// The simulated service behind a gate.
struct Gated {
    service: InProcess,
    gate: Gate,
    told: Origins,
}

#[async_trait]
impl HttpFactory for Gated {
    fn client(&self, transport: &Transport) -> Result<Arc<dyn Http>, HttpError> {
        Ok(Arc::new(GatedClient {
            http: self.service.client(transport)?,
            gate: self.gate.clone(),
            told: Arc::clone(&self.told),
        }))
    }
}

struct GatedClient {
    http: Arc<dyn Http>,
    gate: Gate,
    told: Origins,
}

#[async_trait]
impl Http for GatedClient {
    async fn send(&self, request: http::Request<Bytes>, timeout: Duration) -> Result<http::Response<Body>, HttpError> {
        if request.headers().contains_key(http::header::AUTHORIZATION) {
            let uri = request.uri();
            let (scheme, authority) = (uri.scheme_str().unwrap_or_default(), uri.authority().map(|it| it.as_str()));
            self.told.lock().unwrap().insert(format!("{scheme}://{}", authority.unwrap_or_default()));
        }
        let path = request.uri().path();
        let operation = match path {
            _ if path.ends_with("/token") => "token",
            _ if path.contains("/audit/") => "fetch",
            _ if path.ends_with("/content") => "collect",
            _ => "subscriptions",
        };
        if !self.gate.pass("http", operation) {
            return Err(HttpError::Dead);
        }
        let answer = self.http.send(request, timeout).await;
        // the request was served, and the agent may never learn of it
        if !self.gate.pass("http answered", operation) {
            return Err(HttpError::Dead);
        }
        answer
    }
}

/// The world of one life.
pub fn world(service: InProcess, clock: &Arc<VirtualClock>, keeper: &Arc<Keeper>, seed: u64, told: &Origins) -> World {
    let gate = Gate::watched(Arc::clone(keeper) as _);
    World {
        http: Arc::new(Gated { service, gate: gate.clone(), told: Arc::clone(told) }),
        clock: Arc::new(Machine(Arc::clone(clock))),
        random: Arc::new(Seeded(AtomicU64::new(seed))),
        gate,
    }
}
