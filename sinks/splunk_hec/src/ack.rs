//! Waiting until Splunk has indexed what it took.
//!
//! Every taken batch has a number. One question asks for all that wait, and whichever waiting call is polled drives it: the
//! question belongs to all of them, so that a call that is abandoned in the middle leaves it to the next one. Splunk forgets a
//! `true` once it was read; a question without a readable answer therefore fails everybody it asked for.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use auditferry_contract::SinkError;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until, timeout_at},
};

/// How long a batch may wait: Splunk's advice to clients is 30 questions, one every 10 s, then to send again.
pub const GIVE_UP: Duration = Duration::from_secs(300);

/// The numbers among the asked ones that are indexed; an error means that all asked ones are to be sent again.
pub type Indexed = Result<Vec<u64>, SinkError>;

/// One question on its way.
type Question = Pin<Box<dyn Future<Output = Indexed> + Send>>;

/// Asks for these numbers.
pub type Ask = Box<dyn Fn(Vec<u64>) -> Question + Send + Sync>;

/// All batches of one channel at one endpoint that wait.
pub struct Acks {
    ask: Ask,
    /// Longest pause between two questions.
    interval: Duration,
    waiting: Mutex<Waiting>,
    /// Held by the call that drives; what it was doing when it was abandoned.
    driving: tokio::sync::Mutex<Option<(Vec<u64>, Question)>>,
    changed: Notify,
}

struct Waiting {
    /// `None`: still waits.
    batches: BTreeMap<u64, Option<Result<(), SinkError>>>,
    /// When the next question is due, and the pause that led there.
    next: Instant,
    pause: Duration,
}

impl Acks {
    /// `interval`: longest pause between two questions. The first comes after a tenth of it, the pauses double.
    pub fn new(interval: Duration, ask: Ask) -> Arc<Self> {
        let pause = interval / 10;
        Arc::new(Acks {
            ask,
            interval,
            waiting: Mutex::new(Waiting { batches: BTreeMap::new(), next: Instant::now(), pause }),
            driving: tokio::sync::Mutex::new(None),
            changed: Notify::new(),
        })
    }

    /// A batch was taken under this number.
    ///
    /// # Errors
    /// Another batch waits under the same number: two indexers answer, or one was started anew, and a `true` would not
    /// tell for which. Both are to be sent again.
    pub fn register(self: &Arc<Self>, number: u64) -> Result<Ticket, SinkError> {
        let twice = || {
            SinkError::retry(
                "two batches wait under one acknowledgement number: splunk was started anew, or a load balancer spreads one \
                 client over several indexers; keep its sessions sticky (cookie), or set `ack = \"off\"`",
            )
        };
        let mut waiting = self.lock();
        if let Some(other) = waiting.batches.get_mut(&number) {
            *other = Some(Err(twice()));
            drop(waiting);
            self.changed.notify_waiters();
            return Err(twice());
        }
        if waiting.batches.is_empty() {
            waiting.pause = self.interval / 10;
            waiting.next = Instant::now() + waiting.pause;
        }
        waiting.batches.insert(number, None);
        drop(waiting);
        Ok(Ticket { acks: self.clone(), number, until: Instant::now() + GIVE_UP })
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One turn of whoever drives: wait until a question is due, ask, say what came of it. Abandoned at any await it leaves
    /// the question to the next.
    async fn drive(&self, question: &mut Option<(Vec<u64>, Question)>) {
        if question.is_none() {
            let next = self.lock().next;
            sleep_until(next).await;
            let numbers: Vec<_> =
                self.lock().batches.iter().filter(|(_, end)| end.is_none()).map(|(n, _)| *n).collect();
            if numbers.is_empty() {
                return;
            }
            *question = Some((numbers.clone(), (self.ask)(numbers)));
        }
        let Some((asked, running)) = question else { return };
        let answer = running.as_mut().await;
        self.settle(asked, answer);
        *question = None;
    }

    fn settle(&self, asked: &[u64], answer: Indexed) {
        let mut waiting = self.lock();
        let ends: Vec<_> = match answer {
            Ok(indexed) => indexed.into_iter().filter(|n| asked.contains(n)).map(|n| (n, Ok(()))).collect(),
            Err(error) => asked.iter().map(|n| (*n, Err(error.clone()))).collect(),
        };
        let some = !ends.is_empty();
        for (number, end) in ends {
            if let Some(batch @ None) = waiting.batches.get_mut(&number) {
                *batch = Some(end);
            }
        }
        waiting.pause = if some { self.interval / 10 } else { (waiting.pause * 2).min(self.interval) };
        waiting.next = Instant::now() + waiting.pause;
        drop(waiting);
        self.changed.notify_waiters();
    }
}

/// One batch that waits. Dropped, it waits no longer.
pub struct Ticket {
    acks: Arc<Acks>,
    number: u64,
    until: Instant,
}

impl Ticket {
    /// Waits until the batch is indexed.
    ///
    /// # Errors
    /// It was not within [`GIVE_UP`], or nobody can tell.
    pub async fn indexed(&self) -> Result<(), SinkError> {
        let acks = &*self.acks;
        loop {
            // listening before looking: what changes in between is not missed
            let mut changed = std::pin::pin!(acks.changed.notified());
            changed.as_mut().enable();
            if let Some(Some(end)) = acks.lock().batches.get(&self.number) {
                return end.clone();
            }
            let turn = async {
                tokio::select! {
                    biased;
                    () = changed => {}
                    // when something changes meanwhile, whoever drives looks up too, and the question waits for the next
                    () = async { acks.drive(&mut *acks.driving.lock().await).await } => {}
                }
            };
            if timeout_at(self.until, turn).await.is_err() {
                return Err(SinkError::retry(format!(
                    "splunk took the batch but did not say within {} s that it is indexed: are its indexing queues full, or \
                     does a load balancer spread one client over several indexers?",
                    GIVE_UP.as_secs()
                )));
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.acks.lock().batches.remove(&self.number);
    }
}

#[cfg(test)]
mod tests;
