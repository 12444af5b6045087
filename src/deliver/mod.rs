//! Loop 3, one task per sink: hands over what the sink is owed (design §3 and §4, 5 and 6).
//!
//! No sink retries or reconnects: what happens after an error is decided here, and only here (I7).

mod batch;
mod verdict;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use auditferry_contract::{Batch, Cause, CheckedSink, Env, Limits, Sink, SinkError};
use futures_util::FutureExt;
use tracing::{error, info, warn};

use verdict::Verdict;

use crate::{
    activity::Activity,
    agent::{Stop, millis},
    codec::Codec,
    config::Filter,
    fetch::LIVE,
    ledger::{Ledger, LedgerError, Millis, Piece, Place, Progress},
    retry,
    world::World,
};

/// Chunks read for one batch: a chunk is at most 256 KiB or one record, so this bounds what a batch holds in memory.
const PIECES: usize = 16;

/// What is needed to serve one sink.
pub struct Deliver {
    pub(crate) world: World,
    pub(crate) ledger: Ledger,
    /// The sink's key in the ledger.
    pub(crate) sink: i64,
    pub(crate) name: String,
    pub(crate) checked: Box<dyn CheckedSink>,
    pub(crate) limits: Limits,
    pub(crate) env: Arc<dyn Env>,
    pub(crate) codec: Arc<dyn Codec>,
    pub(crate) filter: Filter,
    pub(crate) activity: Activity,
}

/// Whose turn it is: three live batches, then one of those that have waited.
#[derive(Default)]
struct Turn {
    count: u64,
    live: Place,
    past: Place,
}

impl Deliver {
    /// Runs until `stop`; ends early only when the ledger is broken.
    pub async fn run(self, mut stop: Stop) -> Result<(), LedgerError> {
        let mut turn = Turn::default();
        let mut open: Option<Arc<dyn Sink>> = None;
        let mut failures = 0;
        // what the ledger says of this sink: from an earlier life, not known
        let mut told: Option<Option<String>> = None;
        while !stop.is_set() {
            self.pulse(Duration::from_secs(60));
            // registered before the ledger is read: what is stored meanwhile still wakes this loop
            let woken = self.activity.hints.deliver.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            let step = self.step(&mut turn, &mut open, &mut stop).await;
            let wait = match step {
                Ok(Step::Delivered) => {
                    self.recovered(&mut failures);
                    if told != Some(None) {
                        self.tell(&mut told).await?;
                    }
                    continue;
                }
                Ok(Step::Idle) => None,
                Ok(Step::Failed(verdict)) => {
                    // a sink that failed once is never used again: it may be anywhere
                    self.discard(open.take()).await;
                    failures += 1;
                    Some(self.failed(&verdict, failures))
                }
                Err(error) if error.passes() => {
                    error!(sink = self.name, "{error}");
                    self.activity.ledger_error(Some(error.to_string()));
                    Some(Duration::from_secs(30))
                }
                Err(error) => return Err(error),
            };
            if wait.is_some() {
                self.tell(&mut told).await?;
            }
            match wait {
                Some(wait) => {
                    self.pulse(wait);
                    stop.sleep(&self.world, wait).await;
                }
                None => {
                    let idle = Duration::from_secs(60);
                    self.pulse(idle);
                    tokio::select! {
                        biased;
                        () = stop.wait() => {}
                        cause = lost(open.as_deref()) => {
                            info!(sink = self.name, "the connection is gone while nothing was owed: {cause}");
                            self.discard(open.take()).await;
                        }
                        () = woken => {}
                        () = self.world.sleep(idle) => {}
                    }
                }
            }
        }
        if let Some(sink) = open {
            let close = AssertUnwindSafe(sink.close()).catch_unwind();
            tokio::select! {
                biased;
                _ = close => {}
                () = self.world.sleep(Duration::from_secs(5)) => {}
            }
        }
        Ok(())
    }

    /// Writes into the ledger why this sink fails, or that it does not, when that has changed: `status` is another process.
    async fn tell(&self, told: &mut Option<Option<String>>) -> Result<(), LedgerError> {
        let words = self.activity.sinks().get(&self.name).and_then(|known| known.error.clone());
        if told.as_ref() == Some(&words) {
            return Ok(());
        }
        match self.ledger.trouble("sink", self.name.clone(), words.clone(), millis(&self.world)).await {
            Ok(()) => *told = Some(words),
            // it is said elsewhere that the ledger can't be written
            Err(error) if error.passes() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn pulse(&self, wait: Duration) {
        let now = millis(&self.world);
        self.activity.pulse(&format!("deliver {}", self.name), now, now + wait.as_millis() as Millis);
    }

    /// One batch, from the ledger to its confirmation.
    async fn step(
        &self,
        turn: &mut Turn,
        open: &mut Option<Arc<dyn Sink>>,
        stop: &mut Stop,
    ) -> Result<Step, LedgerError> {
        let pieces = self.next(turn).await?;
        if pieces.is_empty() {
            return Ok(Step::Idle);
        }
        let mut made = batch::make(pieces, &self.codec, &self.filter, &self.limits)?;
        self.activity.sink(&self.name, |known| known.unreadable += made.unreadable);
        if made.messages.is_empty()
            && let Some(words) = made.too_large.take()
        {
            if !made.progress().is_empty() {
                self.confirm(made.progress(), stop).await?;
            }
            return Ok(Step::Failed(Verdict::too_large(words)));
        }
        if made.messages.is_empty() {
            self.confirm(made.progress(), stop).await?;
            self.activity.hints.fetch.notify_one();
            return Ok(Step::Delivered);
        }
        let mutant = self.world.gate.mutant("confirm before deliver");
        if mutant {
            self.confirm(made.progress(), stop).await?;
        }
        let sink = match open {
            Some(sink) => Arc::clone(sink),
            None => match self.open().await {
                Ok(sink) => Arc::clone(open.insert(sink)),
                Err(error) => return Ok(Step::Failed(Verdict::of(error, made.messages.len()))),
            },
        };
        let (count, bytes) = (made.messages.len(), made.bytes);
        let newest = made.messages.iter().map(|message| message.time.as_millisecond()).max();
        match self.deliver(&*sink, Batch::new(std::mem::take(&mut made.messages), None)).await {
            Ok(()) => {
                if !mutant {
                    self.confirm(made.progress(), stop).await?;
                }
                let now = millis(&self.world);
                self.activity.sink(&self.name, |known| {
                    *known.attempts.entry("taken").or_default() += 1;
                    known.messages += count as u64;
                    known.bytes += bytes as u64;
                    known.taken_at = Some(now);
                    known.lag = newest.map(|time| now - time);
                });
                self.activity.hints.fetch.notify_one();
                Ok(Step::Delivered)
            }
            Err(verdict) => {
                // what lies before the first message that was not taken is settled: it is not sent again
                let prefix = made.progress_up_to(verdict.taken);
                if !prefix.is_empty() && !mutant {
                    self.confirm(prefix, stop).await?;
                }
                Ok(Step::Failed(verdict))
            }
        }
    }

    /// Confirms what the sink has settled. While the ledger can't be written this waits: to send it again would only repeat it.
    async fn confirm(&self, progress: Vec<Progress>, stop: &mut Stop) -> Result<(), LedgerError> {
        loop {
            match self.ledger.confirm(self.sink, progress.clone(), Vec::new(), millis(&self.world)).await {
                Err(error) if error.passes() && !stop.is_set() => {
                    error!(sink = self.name, "{error}");
                    self.activity.ledger_error(Some(error.to_string()));
                    let wait = Duration::from_secs(30);
                    self.pulse(wait);
                    stop.sleep(&self.world, wait).await;
                }
                result => return result,
            }
        }
    }

    async fn next(&self, turn: &mut Turn) -> Result<Vec<Piece>, LedgerError> {
        let border = millis(&self.world) - LIVE;
        let live_first = turn.count % 4 != 3;
        turn.count += 1;
        for live in [live_first, !live_first] {
            let place = if live { turn.live } else { turn.past };
            let pieces = self.ledger.pieces(self.sink, live, border, place, PIECES).await?;
            if let Some(first) = pieces.first() {
                // the others may not have fitted: they are next
                *(if live { &mut turn.live } else { &mut turn.past }) = Place { stream: first.stream };
                return Ok(pieces);
            }
        }
        Ok(Vec::new())
    }

    async fn open(&self) -> Result<Arc<dyn Sink>, SinkError> {
        if !self.world.gate.pass("sink", "open") {
            return Err(SinkError::Retry { untaken: vec![], after: None, cause: Cause("dead".into()) });
        }
        let deadline = self.limits.deadline;
        let opened = tokio::select! {
            biased;
            opened = AssertUnwindSafe(self.checked.open(Arc::clone(&self.env))).catch_unwind() => opened,
            () = self.world.sleep(deadline) => {
                let cause = Cause(format!("it could not be opened within {} s", deadline.as_secs()));
                return Err(SinkError::Retry { untaken: vec![], after: None, cause });
            }
        };
        match opened {
            Ok(opened) => opened,
            Err(_) => Err(SinkError::Retry {
                untaken: vec![],
                after: None,
                cause: Cause("the sink panicked while it was opened".into()),
            }),
        }
    }

    async fn deliver(&self, sink: &dyn Sink, batch: Batch) -> Result<(), Verdict> {
        let count = batch.len();
        let retry =
            |words: String| Verdict::of(SinkError::Retry { untaken: vec![], after: None, cause: Cause(words) }, count);
        if !self.world.gate.pass("sink", "deliver") {
            return Err(retry("dead".into()));
        }
        let deadline = self.limits.deadline;
        let answer = tokio::select! {
            biased;
            answer = AssertUnwindSafe(sink.deliver(batch)).catch_unwind() => answer,
            cause = lost(Some(sink)) => return Err(retry(format!("the connection was lost: {cause}")).unanswered()),
            () = self.world.sleep(deadline) => {
                return Err(retry(format!("no answer within {} s", deadline.as_secs())).unanswered());
            }
        };
        if !self.world.gate.pass("sink", "answered") {
            return Err(retry("dead".into()));
        }
        match answer {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Verdict::of(error, count)),
            Err(_) => Err(retry("the sink panicked; it is opened again".into())),
        }
    }

    /// Drops a sink where a blocking drop holds up nobody.
    async fn discard(&self, sink: Option<Arc<dyn Sink>>) {
        if let Some(sink) = sink
            && !self.world.gate.in_place()
        {
            let dropped = tokio::task::spawn_blocking(move || drop(sink));
            tokio::select! {
                biased;
                _ = dropped => {}
                () = self.world.sleep(Duration::from_secs(5)) => {}
            }
        }
    }

    fn failed(&self, verdict: &Verdict, failures: u32) -> Duration {
        let policy = if verdict.blocked { retry::BLOCKED } else { retry::SINK };
        let delay = verdict.after.unwrap_or_else(|| policy.after(failures, &*self.world.random));
        let mut changed = false;
        self.activity.sink(&self.name, |known| {
            *known.attempts.entry(verdict.outcome).or_default() += 1;
            changed = known.error.as_deref() != Some(verdict.cause.as_str());
            known.failures = failures;
            known.error = Some(verdict.cause.clone());
        });
        // the same words over and over are folded; `status` and /metrics have the state
        if changed && verdict.blocked {
            error!(
                sink = self.name,
                "blocked, a person must act: {}; tried again in {} s",
                verdict.cause,
                delay.as_secs()
            );
        } else if changed {
            warn!(sink = self.name, "not taken: {}; tried again in {} s", verdict.cause, delay.as_secs());
        }
        delay
    }

    fn recovered(&self, failures: &mut u32) {
        self.activity.ledger_error(None);
        if std::mem::take(failures) > 0 {
            info!(sink = self.name, "takes events again");
            self.activity.sink(&self.name, |known| {
                known.failures = 0;
                known.error = None;
            });
        }
    }
}

enum Step {
    Delivered,
    Idle,
    Failed(Verdict),
}

/// Resolves when an open sink's connection is gone.
async fn lost(sink: Option<&dyn Sink>) -> Cause {
    match sink {
        Some(sink) => match AssertUnwindSafe(sink.lost()).catch_unwind().await {
            Ok(cause) => cause,
            Err(_) => Cause("the sink panicked".into()),
        },
        None => std::future::pending().await,
    }
}
