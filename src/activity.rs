//! What the running agent knows beyond the ledger: pulses, attempts, last errors. Lost at a restart, and not missed.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use auditferry_contract::Confirmation;
use tokio::sync::Notify;

use crate::{
    budget::Sizes,
    ledger::Millis,
    status::{Bounds, Configured},
    underway::Underway,
};

/// A loop that has not turned for this long, and does not sleep until a time to come, hangs (milliseconds).
const HUNG: Millis = 5 * 60_000;

/// Wake-ups between loops. Losing one costs time, never data.
#[derive(Default)]
pub struct Hints {
    /// There may be contents to fetch.
    pub fetch: Notify,
    /// There may be stored bodies to deliver, or none any more.
    pub deliver: Notify,
    /// There may be something to drop, forget or announce.
    pub sweep: Notify,
    /// The loops have started.
    started: Notify,
}

/// How one sink fares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkActivity {
    /// Calls of `deliver`, by outcome: `taken`, `retry`, `refused`, `blocked`, `unanswered`.
    pub attempts: BTreeMap<&'static str, u64>,
    /// Messages taken.
    pub messages: u64,
    /// Bytes taken.
    pub bytes: u64,
    /// What mapping could not read.
    pub unreadable: u64,
    /// Messages that went out whole over three connections, each ended by the peer before they had settled: they count as taken.
    pub settled_unproven: u64,
    /// Failures since the last success.
    pub failures: u32,
    /// The last cause, while failing.
    pub error: Option<String>,
    /// What its `Ok` was worth when it was last opened; `None`: it was not open yet.
    pub confirmation: Option<Confirmation>,
    /// Last success.
    pub taken_at: Option<Millis>,
    /// Age of the newest event taken, from its time to its confirmation (milliseconds).
    pub lag: Option<Millis>,
    /// By file that it was opened with: when the first certificate in it ends.
    pub certificates: BTreeMap<String, Millis>,
}

/// How one stream fares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamActivity {
    /// The last complete listing, by this machine's clock.
    pub listed_at: Option<Millis>,
    /// The last error with its words, while failing.
    pub error: Option<String>,
    /// Its stable code.
    pub code: Option<String>,
}

/// When a loop last turned, and until when it said it would sleep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pulse {
    /// The last turn.
    pub turned: Millis,
    /// Sleeps until then at most.
    pub until: Millis,
}

impl Pulse {
    /// No turn for 5 minutes, and no sleep until a time to come.
    pub fn hangs(&self, now: Millis) -> bool {
        now - self.turned > HUNG && self.until < now
    }
}

/// Codes of failed fetches that are told apart: what a service says must not make a series each.
const CODES: usize = 100;

#[derive(Default)]
struct Known {
    sinks: BTreeMap<String, SinkActivity>,
    streams: BTreeMap<String, StreamActivity>,
    pulses: BTreeMap<String, Pulse>,
    ledger_error: Option<String>,
    /// When the log said so last.
    ledger_said: Millis,
    fetch_failures: BTreeMap<String, u64>,
    started: Option<Millis>,
    sizes: Sizes,
    configured: BTreeMap<String, Configured>,
    bounds: Option<Bounds>,
}

/// Shared by the loops, written by each for itself, read by whoever renders.
#[derive(Clone, Default)]
pub struct Activity {
    known: Arc<Mutex<Known>>,
    /// What is on its way to a sink.
    pub underway: Underway,
    /// The wake-ups.
    pub hints: Arc<Hints>,
}

impl Activity {
    fn lock(&self) -> MutexGuard<'_, Known> {
        // nothing here can be half written: a panic elsewhere while it was held leaves plain data
        self.known.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Changes what is known of a sink.
    pub fn sink(&self, name: &str, change: impl FnOnce(&mut SinkActivity)) {
        change(self.lock().sinks.entry(name.to_owned()).or_default());
    }

    /// Changes what is known of a stream, named `tenant/content type`.
    pub fn stream(&self, name: &str, change: impl FnOnce(&mut StreamActivity)) {
        change(self.lock().streams.entry(name.to_owned()).or_default());
    }

    /// Looks at, or adds to, the sizes of bodies that were dropped.
    pub fn sizes<T>(&self, look: impl FnOnce(&mut Sizes) -> T) -> T {
        look(&mut self.lock().sizes)
    }

    /// A loop turned, and sleeps until `until` at most.
    pub fn pulse(&self, name: &str, now: Millis, until: Millis) {
        self.lock().pulses.insert(name.to_owned(), Pulse { turned: now, until });
    }

    /// The ledger can't be written, or can again.
    pub fn ledger_error(&self, error: Option<String>) {
        self.lock().ledger_error = error;
    }

    /// The ledger can't be written. True when the log is to say so: at first, and then once a minute, however many loops notice.
    pub fn ledger_fails(&self, words: String, now: Millis) -> bool {
        let known = &mut *self.lock();
        let new = known.ledger_error.replace(words).is_none();
        let say = new || !(0..60_000).contains(&(now - known.ledger_said));
        if say {
            known.ledger_said = now;
        }
        say
    }

    /// The machine's clock was set back to `now`: what turned later than that turned now, so that a loop that hangs is noticed by this clock, too.
    pub fn set_back(&self, now: Millis) {
        for pulse in self.lock().pulses.values_mut().filter(|pulse| pulse.turned > now) {
            pulse.until = now + (pulse.until - pulse.turned).max(0);
            pulse.turned = now;
        }
    }

    /// Loops that hang: no turn for 5 minutes, and no sleep until a time to come.
    pub fn hung(&self, now: Millis) -> Vec<String> {
        self.lock().pulses.iter().filter(|(_, pulse)| pulse.hangs(now)).map(|(name, _)| name.clone()).collect()
    }

    /// The loops have started; the agent was started at `now`.
    pub fn started(&self, now: Millis) {
        self.lock().started = Some(now);
        self.hints.started.notify_waiters();
    }

    /// Resolves once the loops have started.
    pub async fn begun(&self) {
        // made before the look: it hears what is told after it was made
        let told = self.hints.started.notified();
        if self.start().is_none() {
            told.await;
        }
    }

    /// When the agent started.
    pub fn start(&self) -> Option<Millis> {
        self.lock().started
    }

    /// What a sink was configured as.
    pub fn configured(&self, sink: &str, configured: Configured) {
        self.lock().configured.insert(sink.to_owned(), configured);
    }

    /// What the sizes of the ledger's parts are held against.
    pub fn bounded(&self, bounds: Bounds) {
        self.lock().bounds = Some(bounds);
    }

    /// What every sink was configured as.
    pub fn configurations(&self) -> BTreeMap<String, Configured> {
        self.lock().configured.clone()
    }

    /// What the sizes of the ledger's parts are held against, where that is known.
    pub fn bounds(&self) -> Option<Bounds> {
        self.lock().bounds
    }

    /// A body could not be fetched.
    pub fn fetch_failed(&self, code: &str) {
        let failures = &mut self.lock().fetch_failures;
        let code = if failures.len() < CODES || failures.contains_key(code) { code } else { "others" };
        *failures.entry(code.to_owned()).or_default() += 1;
    }

    /// All sinks.
    pub fn sinks(&self) -> BTreeMap<String, SinkActivity> {
        self.lock().sinks.clone()
    }

    /// Why a sink fails, if it does.
    pub fn sink_error(&self, name: &str) -> Option<String> {
        self.lock().sinks.get(name).and_then(|known| known.error.clone())
    }

    /// All streams.
    pub fn streams(&self) -> BTreeMap<String, StreamActivity> {
        self.lock().streams.clone()
    }

    /// All loops.
    pub fn pulses(&self) -> BTreeMap<String, Pulse> {
        self.lock().pulses.clone()
    }

    /// Why the ledger can't be written, if so.
    pub fn ledger_state(&self) -> Option<String> {
        self.lock().ledger_error.clone()
    }

    /// Failed fetches by code.
    pub fn fetch_failures(&self) -> BTreeMap<String, u64> {
        self.lock().fetch_failures.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_hangs_after_5_minutes_unless_it_sleeps_until_a_time_to_come() {
        let activity = Activity::default();
        activity.pulse("fetch", 0, 60_000);
        activity.pulse("sink", 0, HUNG + 60_000);
        assert_eq!(activity.hung(HUNG), Vec::<String>::new());
        assert_eq!(activity.hung(HUNG + 1), ["fetch"]);
        assert_eq!(activity.hung(HUNG + 60_001), ["fetch", "sink"]);
    }

    #[test]
    fn a_ledger_that_fails_is_said_at_first_and_every_minute() {
        let activity = Activity::default();
        let said = |now| activity.ledger_fails("disk full".into(), now);
        assert_eq!([0, 1, 59_999, 60_000, 60_001].map(said), [true, false, false, true, false]);
        assert!(said(30_000), "a clock that was set back");
        activity.ledger_error(None);
        assert!(said(30_001), "it had worked meanwhile");
    }

    #[test]
    fn codes_that_a_service_makes_up_are_one_beyond_a_hundred() {
        let activity = Activity::default();
        for code in (0..1000).map(|n| n.to_string()).chain(["7".into()]) {
            activity.fetch_failed(&code);
        }
        let failures = activity.fetch_failures();
        assert_eq!((failures.len(), failures["others"], failures["7"]), (CODES + 1, 900, 2));
    }
}
