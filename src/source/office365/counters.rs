//! What the metrics show of the requests to one tenant.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use super::errors::Operation;

/// A snapshot of the counts since the start of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests by operation and result: `200`, a known code (`AF429`), a status, `Timeout`, `Connect`, `Body`.
    pub requests: BTreeMap<(&'static str, String), u64>,
    /// Answers that said "too many requests", whatever their status.
    pub throttled: u64,
    /// Tokens received.
    pub tokens: u64,
    /// Addresses in answers that led to another origin than the API's, and were not followed.
    pub foreign_addresses: u64,
}

/// The counts, shared by all requests of a source.
#[derive(Debug, Default)]
pub(super) struct Counters(Mutex<Counts>);

impl Counters {
    pub fn request(&self, operation: Operation, result: &str) {
        self.with(|counts| *counts.requests.entry((operation.name(), result.to_owned())).or_default() += 1);
    }

    pub fn throttled(&self) {
        self.with(|counts| counts.throttled += 1);
    }

    pub fn token(&self) {
        self.with(|counts| counts.tokens += 1);
    }

    pub fn foreign(&self) {
        self.with(|counts| counts.foreign_addresses += 1);
    }

    pub fn snapshot(&self) -> Counts {
        self.with(|counts| counts.clone())
    }

    fn with<T>(&self, f: impl FnOnce(&mut Counts) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
