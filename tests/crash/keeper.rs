//! The gates: every call through the world, a sink and both sides of every ledger transaction.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use auditferry::world::GateKeeper;
use tokio::sync::Notify;

/// Counts gates, kills at one of them, and carries the mutant that the agent is.
pub struct Keeper {
    passed: AtomicU64,
    kill_at: Option<u64>,
    dead: AtomicBool,
    died: Notify,
    mutant: Option<&'static str>,
    by_seam: Mutex<BTreeMap<String, u64>>,
    log: Mutex<Vec<String>>,
}

impl Keeper {
    pub fn new(kill_at: Option<u64>, mutant: Option<&'static str>) -> Keeper {
        Keeper {
            passed: AtomicU64::new(0),
            kill_at,
            dead: AtomicBool::new(false),
            died: Notify::new(),
            mutant,
            by_seam: Mutex::new(BTreeMap::new()),
            log: Mutex::new(Vec::new()),
        }
    }

    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// Resolves when the agent has died.
    pub async fn death(&self) {
        while !self.is_dead() {
            self.died.notified().await;
        }
    }

    pub fn by_seam(&self) -> BTreeMap<String, u64> {
        self.by_seam.lock().unwrap().clone()
    }

    /// The last gates before the end, for a person who looks for the cause.
    pub fn last(&self, number: usize) -> Vec<String> {
        let log = self.log.lock().unwrap();
        log[log.len().saturating_sub(number)..].to_vec()
    }
}

impl GateKeeper for Keeper {
    fn pass(&self, seam: &'static str, detail: &str) -> bool {
        if self.is_dead() {
            return false;
        }
        let gate = self.passed.fetch_add(1, Ordering::Relaxed) + 1;
        *self.by_seam.lock().unwrap().entry(format!("{seam}: {detail}")).or_default() += 1;
        self.log.lock().unwrap().push(format!("{gate} {seam}: {detail}"));
        if Some(gate) == self.kill_at {
            self.dead.store(true, Ordering::Relaxed);
            self.died.notify_waiters();
            return false;
        }
        true
    }

    fn mutant(&self, name: &str) -> bool {
        self.mutant == Some(name)
    }
}
