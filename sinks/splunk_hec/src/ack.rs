//! Waiting until Splunk has indexed what it took.
//!
//! Every taken batch has a number. One question asks for all that wait, and whichever waiting call is polled drives it: the
//! question belongs to all of them, so that a call that is abandoned in the middle leaves it to the others. Splunk forgets a
//! `true` once it was read; a question without a readable answer therefore fails everybody it asked for.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use auditferry_contract::SinkError;
use futures_util::future::{FutureExt as _, Shared};
use tokio::time::{Instant, sleep_until, timeout_at};

/// How long a batch may wait: Splunk's advice to clients is 30 questions, one every 10 s, then to send again.
pub const GIVE_UP: Duration = Duration::from_secs(300);

/// The numbers among the asked ones that are indexed; an error means that all asked ones are to be sent again.
pub type Indexed = Result<Vec<u64>, SinkError>;

/// One question on its way.
type Question = Pin<Box<dyn Future<Output = Indexed> + Send>>;

/// Asks for these numbers.
pub type Ask = Box<dyn Fn(Vec<u64>) -> Question + Send + Sync>;

/// A pause, a question, and what came of it; polled by every call that waits.
type Round = Shared<Pin<Box<dyn Future<Output = ()> + Send>>>;

/// All batches of one channel at one endpoint that wait.
pub struct Acks {
    ask: Ask,
    /// Longest pause between two questions.
    interval: Duration,
    waiting: Mutex<Waiting>,
}

struct Waiting {
    /// `None`: still waits.
    batches: BTreeMap<u64, Option<Result<(), SinkError>>>,
    /// The highest number so far; `None`: none came.
    highest: Option<u64>,
    /// When the next question is due, and the pause that led there.
    next: Instant,
    pause: Duration,
    round: Option<Round>,
}

impl Acks {
    /// `interval`: longest pause between two questions. The first comes after a tenth of it, the pauses double.
    pub fn new(interval: Duration, ask: Ask) -> Arc<Self> {
        let pause = interval / 10;
        Arc::new(Acks {
            ask,
            interval,
            waiting: Mutex::new(Waiting {
                batches: BTreeMap::new(),
                highest: None,
                next: Instant::now(),
                pause,
                round: None,
            }),
        })
    }

    /// The highest number that has come so far: asked before a batch is sent.
    pub fn highest(&self) -> Option<u64> {
        self.lock().highest
    }

    /// A batch was taken under this number; `known` was the highest when it was sent. Splunk counts the batches of a channel from 0, so its number is
    /// higher, in whatever order the answers to calls that run side by side come: another one is of another count, and splunk was started anew.
    ///
    /// # Errors
    /// Another batch waits under the same number: two indexers answer, or one was started anew, and a `true` would not
    /// tell for which. Both are to be sent again.
    pub fn register(self: &Arc<Self>, number: u64, known: Option<u64>) -> Result<Ticket, SinkError> {
        let twice = || {
            SinkError::retry(
                "two batches wait under one acknowledgement number: splunk was started anew, or a load balancer spreads one \
                 client over several indexers; keep its sessions sticky (cookie), or set `ack = \"off\"`",
            )
        };
        let mut waiting = self.lock();
        if known.is_some_and(|known| number <= known) {
            // what waits was taken by the one before: a `true` for its number would be for another batch
            waiting.highest = Some(number);
            let anew = "splunk counts its acknowledgements anew, so it was started anew: what it had not acknowledged goes out again";
            for end in waiting.batches.values_mut().filter(|end| end.is_none()) {
                *end = Some(Err(SinkError::retry(anew)));
            }
        }
        waiting.highest = waiting.highest.max(Some(number));
        if let Some(other) = waiting.batches.get_mut(&number) {
            *other = Some(Err(twice()));
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

    /// The round that is on, or a new one.
    fn round(self: &Arc<Self>) -> Round {
        let mut waiting = self.lock();
        if let Some(round) = waiting.round.as_ref().filter(|round| round.peek().is_none()) {
            return round.clone();
        }
        // weak, or the round would keep alive what keeps it
        let (acks, next) = (Arc::downgrade(self), waiting.next);
        let round = (Box::pin(Acks::ask(acks, next)) as Pin<Box<dyn Future<Output = ()> + Send>>).shared();
        waiting.round = Some(round.clone());
        round
    }

    async fn ask(acks: Weak<Self>, due: Instant) {
        sleep_until(due).await;
        let Some((asked, question)) = acks.upgrade().and_then(|acks| acks.question()) else { return };
        let answer = question.await;
        if let Some(acks) = acks.upgrade() {
            acks.settle(&asked, answer);
        }
    }

    /// Asks for all that wait; `None`: nobody does.
    fn question(&self) -> Option<(Vec<u64>, Question)> {
        let waiting = self.lock();
        let numbers: Vec<_> = waiting.batches.iter().filter(|(_, end)| end.is_none()).map(|(n, _)| *n).collect();
        drop(waiting);
        if numbers.is_empty() { None } else { Some((numbers.clone(), (self.ask)(numbers))) }
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
        loop {
            if let Some(Some(end)) = self.acks.lock().batches.get(&self.number) {
                return end.clone();
            }
            if timeout_at(self.until, self.acks.round()).await.is_err() {
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
