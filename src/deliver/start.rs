//! What is started at each turn: confirming, reading, opening, handing over.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use auditferry_contract::{Batch, Sink, SinkError};
use futures_util::{FutureExt, future::BoxFuture};
use tokio::sync::Semaphore;

use super::{
    Deliver,
    course::{Course, Ending, Open},
    flight::{Flown, lost},
    turn::until_due,
};
use crate::{agent::millis, ledger::LedgerError};

/// How long a clean end may take.
const CLOSING: Duration = Duration::from_secs(5);
/// How often what a sink was opened with is looked at.
const WATCH: Duration = Duration::from_secs(30);

impl Deliver {
    /// Starts all that can be started.
    pub(super) fn start(&self, course: &mut Course) -> Result<(), LedgerError> {
        self.end(course);
        self.free(course);
        if course.confirming.is_none() && course.ledger_pause.is_none() {
            course.confirming = self.confirm(course);
            course.launched = 0;
        }
        let may_change = course.open.is_some() || course.pause.is_some();
        if may_change && course.watching.is_none() && course.closing.is_none() && self.env.watches() {
            let (env, sleep) = (Arc::clone(&self.env), self.sleep(WATCH));
            course.watching = Some(
                async move {
                    sleep.await;
                    env.changed().await
                }
                .boxed(),
            );
        }
        if course.holds_back() {
            return Ok(());
        }
        if course.made.is_some() {
            self.hand_over(course);
        }
        // what is taken while a confirmation is under way comes again after a crash: one window of it, however slow the disk is, and none but
        // what was made already while the ledger can't be written (I4)
        let batch = self.limits.batch_messages.max(1);
        let window = self.limits.in_flight.max(1).saturating_mul(batch);
        let full = course.unwritten || course.launched.saturating_add(batch) > window;
        let ahead =
            course.confirming.is_some() && full && !self.world.gate.mutant("sends on while nothing can be confirmed");
        let room = course.flight.running() < self.limits.in_flight.max(1) && !ahead;
        // with the memory full, only what is in it already goes out: that is what empties it
        let fresh = course.tracks.positions() < self.positions || course.trust.probes();
        // after a failure one batch shows whether the sink is in order again: else a connection that is lost every so often would have
        // everything that had not settled go out again, and never settle. One message alone decides about a row of refusals
        let careful = course.failures > 0 || course.trust.probes();
        let alone = !careful || course.flight.is_empty() && course.confirming.is_none();
        let nothing_under_way = course.made.is_none() && course.reading.is_none() && course.linger.is_none();
        if room && alone && nothing_under_way && !course.idle {
            if course.permit.is_none() {
                if course.acquiring.is_none() {
                    course.acquiring = Some(acquire(Arc::clone(&course.permits)));
                }
            } else {
                course.tracks.tidy();
                course.reading = Some(self.read(course.turn, &course.tracks, &course.trust, course.failures, fresh));
            }
        }
        if course.idle && course.due.is_none() {
            course.due = until_due(&course.tracks, millis(&self.world)).map(|time| self.sleep(time));
        }
        Ok(())
    }

    /// Sends what was made, on a sink that is opened for it when none is.
    fn hand_over(&self, course: &mut Course) {
        let Some(open) = &course.open else {
            if course.opening.is_none() {
                course.opening = Some(self.open());
            }
            return;
        };
        let (Some(permit), Some(mut made)) = (course.permit.take(), course.made.take()) else { return };
        let keys = made.start(&mut course.tracks);
        if self.world.gate.mutant("confirm before deliver") {
            keys.iter().for_each(|key| {
                course.tracks.taken(*key);
            });
        }
        let own = made.is_own();
        course.launched += keys.len();
        let batch = Batch::new(std::mem::take(&mut made.messages), Some(Box::new(permit)));
        let flown = Flown::new(keys, made.bytes, made.newest, own, made.hold.take());
        course.flight.launch(&self.world, Arc::clone(&open.sink), batch, self.limits.deadline, flown);
        course.lingered = false;
    }

    fn open(&self) -> BoxFuture<'static, Result<Arc<dyn Sink>, SinkError>> {
        let (world, checked, deadline) = (self.world.clone(), Arc::clone(&self.checked), self.limits.deadline);
        let env = Arc::clone(&self.env);
        async move {
            if !world.gate.pass("sink", "open") {
                return Err(SinkError::retry("dead"));
            }
            env.begin();
            tokio::select! {
                biased;
                opened = AssertUnwindSafe(checked.open(env)).catch_unwind() => match opened {
                    Ok(opened) => opened,
                    Err(_) => Err(SinkError::retry("the sink panicked while it was opened")),
                },
                () = world.sleep(deadline) => {
                    Err(SinkError::retry(format!("it could not be opened within {} s", deadline.as_secs())))
                }
            }
        }
        .boxed()
    }

    /// The sink is open.
    pub(super) fn opened(&self, course: &mut Course, sink: Arc<dyn Sink>) {
        // a panic in a sink's own code must not end the agent, here neither
        let confirmation = std::panic::catch_unwind(AssertUnwindSafe(|| sink.confirmation())).ok();
        self.activity.sink(&self.name, |known| known.confirmation = confirmation);
        let lost = lost(Arc::clone(&sink)).boxed();
        course.open = Some(Open { sink, lost });
    }

    /// Ends an open sink that failed, or that has to be opened anew, once nothing runs on it any more.
    fn end(&self, course: &mut Course) {
        if course.flight.running() > 0 || course.closing.is_some() {
            return;
        }
        match course.ending.take() {
            None => {}
            Some(Ending::Failed(verdict)) => {
                self.unsettle(course, false);
                self.discard(course);
                course.pause = self.pause_after(course, &verdict);
            }
            Some(Ending::Changed(what)) => {
                tracing::info!(sink = self.name, "{what} has changed: the sink is opened anew");
                match &course.open {
                    Some(open) => course.closing = Some(self.close(Arc::clone(&open.sink))),
                    None => {
                        // what was waited for has happened, perhaps
                        course.pause = None;
                        self.discard(course);
                    }
                }
            }
        }
    }

    /// A clean end: true when the sink says that all that went out was read; a time that is over says nothing.
    pub(super) fn close(&self, sink: Arc<dyn Sink>) -> BoxFuture<'static, bool> {
        let (world, name) = (self.world.clone(), self.name.clone());
        async move {
            if !world.gate.pass("sink", "close") {
                return false;
            }
            let closed = tokio::select! {
                biased;
                closed = AssertUnwindSafe(sink.close()).catch_unwind() => {
                    closed.unwrap_or_else(|_| Err("the sink panicked while it was closed".into()))
                }
                () = world.sleep(CLOSING) => Err("no end within 5 s".into()),
            };
            if let Err(cause) = &closed {
                tracing::debug!(sink = name, "not closed cleanly, what had not settled goes out again: {cause}");
            }
            closed.is_ok() && world.gate.pass("sink", "closed")
        }
        .boxed()
    }

    /// Drops a sink where a blocking drop holds up nobody. A sink that failed is never used again: it may be anywhere.
    pub(super) fn discard(&self, course: &mut Course) {
        course.made = None;
        course.opening = None;
        course.watching = None;
        course.look();
        let Some(Open { sink, lost }) = course.open.take() else { return };
        drop(lost);
        if !self.world.gate.in_place() {
            // tidy: dropping a librdkafka producer blocks for half a second, and nobody waits for it
            drop(tokio::task::spawn_blocking(move || drop(sink)));
        }
    }
}

fn acquire(permits: Arc<Semaphore>) -> BoxFuture<'static, Option<tokio::sync::OwnedSemaphorePermit>> {
    // never closed
    async move { permits.acquire_owned().await.ok() }.boxed()
}
