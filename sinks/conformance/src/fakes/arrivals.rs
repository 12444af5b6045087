//! What a fake receiver took.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

use auditferry_contract::EventId;
use bytes::Bytes;

/// What arrived at one receiver, in order. Shared by its connections.
#[derive(Debug, Default)]
pub struct Arrivals {
    keep: bool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    bodies: Vec<Bytes>,
    counts: BTreeMap<EventId, u32>,
    nameless: u64,
    messages: u64,
}

impl Arrivals {
    /// Keeps every body: for short tests.
    pub fn with_bodies() -> Self {
        Arrivals { keep: true, inner: Mutex::default() }
    }

    /// Keeps how often each event came, some 20 bytes each: for long runs.
    pub fn counting() -> Self {
        Arrivals::default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A message was taken. `id`: the event's, where the wire carries one outside the body.
    pub fn push(&self, id: Option<EventId>, body: &[u8]) {
        let mut inner = self.lock();
        inner.messages += 1;
        match id {
            Some(id) => *inner.counts.entry(id).or_default() += 1,
            None => inner.nameless += 1,
        }
        if self.keep {
            inner.bodies.push(Bytes::copy_from_slice(body));
        }
    }

    /// The bodies, in the order of arrival; empty when they are not kept.
    pub fn bodies(&self) -> Vec<Vec<u8>> {
        self.lock().bodies.iter().map(|body| body.to_vec()).collect()
    }

    /// How often each event came.
    pub fn counts(&self) -> BTreeMap<EventId, u32> {
        self.lock().counts.clone()
    }

    /// Different events.
    pub fn events(&self) -> usize {
        self.lock().counts.len()
    }

    /// Messages without a readable event id.
    pub fn nameless(&self) -> u64 {
        self.lock().nameless
    }

    /// Messages in all, repeats included.
    pub fn messages(&self) -> u64 {
        self.lock().messages
    }
}
