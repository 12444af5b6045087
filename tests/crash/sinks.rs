//! The destinations of the scenario: a real file, and a fake that fails in every way that a sink can.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use auditferry_contract::{
    Batch, Cause, CheckedSink, Confirmation, Env, EventId, ExposeSecret, Limits, Lost, Message, Refusal, SecretRef,
    Sink, SinkError,
};
use tokio::sync::Notify;

use crate::{seeds::moody::pass, strikes::Strikes};

/// What a fake destination keeps of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    pub id: EventId,
    pub operation: Arc<str>,
    /// The encoded event.
    pub body: String,
}

/// What a fake destination holds; it outlives the agent.
#[derive(Clone, Default)]
pub struct Destination {
    taken: Arc<Mutex<Vec<Taken>>>,
    /// The ids of `taken`.
    known: Arc<Mutex<BTreeSet<EventId>>>,
    calls: Arc<AtomicU64>,
    blocked: Arc<AtomicBool>,
    poison: Arc<Mutex<Option<Poison>>>,
    lossy: Arc<Mutex<Option<Lossy>>>,
    opening: Arc<Mutex<Duration>>,
    answering: Arc<Mutex<Duration>>,
    closing: Arc<Mutex<Duration>>,
    closes: Arc<AtomicU64>,
    tokens: Arc<Mutex<Vec<String>>>,
    /// So many of the messages that were ever offered are refused by name, and which these are.
    first: Arc<Mutex<(usize, Vec<EventId>)>>,
    deaf: Arc<Mutex<Option<Deaf>>>,
    pub failures: Arc<AtomicU64>,
    pub strikes: Strikes,
    /// How many repeats its failures, and the agent's deaths, explain.
    allowed: Arc<AtomicU64>,
}

/// Messages that this destination does not take, and how it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Poison {
    /// Those whose id begins with a multiple of this; 1: all.
    pub every: u8,
    pub says: Says,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// Which one it refuses; the ones behind it were not looked at.
    Which,
    /// That the batch is refused.
    Refused,
    /// `Retry`, as if it were not there.
    Retry,
    /// `Retry` for those alone; the others are taken.
    Alone,
}

/// Every so many calls the connection ends after `Ok`, and what had not settled on it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lossy {
    pub every: u64,
    /// The peer ends it in an orderly way, and has what was sent.
    pub orderly: bool,
}

/// `Ok`, and nothing of it is ever read: how a close ends then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deaf {
    /// The peer never ends.
    Hangs,
    /// The peer breaks off.
    Breaks,
}

impl Poison {
    pub fn spoils(&self, id: &EventId) -> bool {
        id.0[0].is_multiple_of(self.every)
    }
}

impl Destination {
    pub fn taken(&self) -> Vec<EventId> {
        self.taken.lock().unwrap().iter().map(|message| message.id).collect()
    }

    /// Takes nothing while it is on: a person must act.
    pub fn block(&self, on: bool) {
        self.blocked.store(on, Ordering::Relaxed);
    }

    /// Refuses some messages from now on, or none.
    pub fn poison(&self, poison: Option<Poison>) {
        *self.poison.lock().unwrap() = poison;
    }

    /// Refuses the first so many messages that it is ever offered, by name, for ever.
    pub fn refuse_first(&self, messages: usize) {
        self.first.lock().unwrap().0 = messages;
    }

    /// Loses connections from now on, or none.
    pub fn lossy(&self, lossy: Option<Lossy>) {
        *self.lossy.lock().unwrap() = lossy;
    }

    /// It takes so long to be opened from now on.
    pub fn opens_within(&self, time: Duration) {
        *self.opening.lock().unwrap() = time;
    }

    /// Two answers of three take so long from now on, in two steps; the others are quick.
    pub fn answers_within(&self, time: Duration) {
        *self.answering.lock().unwrap() = time;
    }

    /// It takes so long to be closed from now on.
    pub fn closes_within(&self, time: Duration) {
        *self.closing.lock().unwrap() = time;
    }

    /// How many closes have begun.
    pub fn closes(&self) -> u64 {
        self.closes.load(Ordering::Relaxed)
    }

    /// Reads nothing from now on, or everything again.
    pub fn deaf(&self, deaf: Option<Deaf>) {
        *self.deaf.lock().unwrap() = deaf;
    }

    /// The token of each opening, for sinks that have one.
    pub fn tokens(&self) -> Vec<String> {
        self.tokens.lock().unwrap().clone()
    }

    /// It is offered something; returns the number of the call, from 0.
    pub fn called(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }

    /// Keeps the ids of what it takes, nothing else.
    pub fn take(&self, ids: impl Iterator<Item = EventId>) {
        let nothing: Arc<str> = Arc::from("");
        self.keep(ids.map(|id| Taken { id, operation: Arc::clone(&nothing), body: String::new() }));
    }

    fn keep(&self, messages: impl Iterator<Item = Taken>) {
        let (mut taken, mut known) = (self.taken.lock().unwrap(), self.known.lock().unwrap());
        for message in messages {
            known.insert(message.id);
            taken.push(message);
        }
    }

    pub fn knows(&self, id: EventId) -> bool {
        self.known.lock().unwrap().contains(&id)
    }

    /// The ids of what was taken.
    pub fn known(&self) -> BTreeSet<EventId> {
        self.known.lock().unwrap().clone()
    }

    /// How many messages came again.
    pub fn repeats(&self) -> u64 {
        (self.taken.lock().unwrap().len() - self.known.lock().unwrap().len()) as u64
    }

    /// A failure, or a death of the agent, explains so many repeats.
    pub fn may_repeat(&self, messages: u64) {
        self.allowed.fetch_add(messages, Ordering::Relaxed);
    }

    pub fn allowed_repeats(&self) -> u64 {
        self.allowed.load(Ordering::Relaxed)
    }

    /// How often something was offered.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// The messages of one operation, in the order in which they were taken.
    pub fn of_operation(&self, operation: &str) -> Vec<Taken> {
        self.taken.lock().unwrap().iter().filter(|message| *message.operation == *operation).cloned().collect()
    }
}

/// Fails every third call, each time in another way.
pub struct Shaky {
    pub destination: Destination,
    pub faulty: bool,
    pub settle: Duration,
    pub age: Duration,
    /// It logs in with a secret.
    pub token: bool,
}

pub const BATCH: usize = 7;
pub const IN_FLIGHT: usize = 3;

#[async_trait]
impl CheckedSink for Shaky {
    fn limits(&self) -> Limits {
        Limits {
            message_bytes: 1 << 20,
            batch_bytes: 1 << 20,
            batch_messages: BATCH,
            batch_age: self.age,
            in_flight: IN_FLIGHT,
            in_hand: 2,
            deadline: Duration::from_secs(20),
            settle: self.settle,
        }
    }

    async fn open(&self, env: Arc<dyn Env>) -> Result<Arc<dyn Sink>, SinkError> {
        if self.token {
            let token = env.secret(&SecretRef::Env("TOKEN".into())).await.map_err(SinkError::blocked)?;
            self.destination.tokens.lock().unwrap().push(token.expose_secret().to_owned());
        }
        let opening = *self.destination.opening.lock().unwrap();
        pass(opening).await;
        let (destination, faulty) = (self.destination.clone(), self.faulty);
        Ok(Arc::new(Open { destination, faulty, lost: Notify::new(), closed: AtomicBool::new(false) }))
    }
}

struct Open {
    destination: Destination,
    faulty: bool,
    lost: Notify,
    /// A close has begun; a second one proves nothing.
    closed: AtomicBool,
}

impl Open {
    fn take(&self, batch: &[Message]) {
        self.destination.keep(batch.iter().map(|message| Taken {
            id: message.id,
            operation: Arc::clone(&message.operation),
            body: String::from_utf8_lossy(&message.body).into_owned(),
        }));
    }
}

#[async_trait]
impl Sink for Open {
    fn confirmation(&self) -> Confirmation {
        Confirmation::Stored
    }

    async fn lost(&self) -> Lost {
        self.lost.notified().await;
        let lossy = *self.destination.lossy.lock().unwrap();
        match lossy {
            Some(Lossy { orderly: true, .. }) => Lost::orderly("the peer closed"),
            _ => Lost::broken("reset by the peer"),
        }
    }

    async fn close(&self) -> Result<(), Cause> {
        self.destination.closes.fetch_add(1, Ordering::Relaxed);
        if self.closed.swap(true, Ordering::Relaxed) {
            return Err("it was closed before".into());
        }
        let closing = *self.destination.closing.lock().unwrap();
        pass(closing).await;
        let deaf = *self.destination.deaf.lock().unwrap();
        match deaf {
            None => Ok(()),
            Some(Deaf::Hangs) => std::future::pending().await,
            Some(Deaf::Breaks) => Err("reset by the peer".into()),
        }
    }

    async fn deliver(&self, batch: Batch) -> Result<(), SinkError> {
        let call = self.destination.calls.fetch_add(1, Ordering::Relaxed);
        if self.destination.blocked.load(Ordering::Relaxed) {
            self.destination.failures.fetch_add(1, Ordering::Relaxed);
            return Err(SinkError::Blocked { cause: Cause("the index is gone".into()) });
        }
        if self.destination.deaf.lock().unwrap().is_some() {
            return Ok(());
        }
        if let Some(error) = self.spoiled(&batch) {
            self.destination.failures.fetch_add(1, Ordering::Relaxed);
            return Err(error);
        }
        let lossy = *self.destination.lossy.lock().unwrap();
        if let Some(lossy) = lossy
            && call % lossy.every == lossy.every - 1
        {
            self.destination.failures.fetch_add(1, Ordering::Relaxed);
            if lossy.orderly {
                self.take(&batch);
            }
            // whatever had not settled comes again: at most all since the last time
            self.destination.may_repeat(lossy.every * BATCH as u64);
            self.lost.notify_one();
            return Ok(());
        }
        let retry = |untaken, words: &str| SinkError::Retry { untaken, after: None, cause: Cause(words.into()) };
        if self.faulty && call % 3 == 2 {
            self.destination.failures.fetch_add(1, Ordering::Relaxed);
            let half = batch.len() / 2;
            return match call / 3 % 6 {
                0 => Err(retry(vec![], "refused the connection")),
                1 => {
                    self.take(&batch[..half]);
                    Err(retry((half..batch.len()).collect(), "took a prefix"))
                }
                2 => {
                    self.take(&batch[..half]);
                    self.destination.may_repeat(half as u64);
                    Err(retry(vec![], "took a prefix, the answer was lost"))
                }
                3 => {
                    self.take(&batch);
                    self.destination.may_repeat(batch.len() as u64);
                    Err(retry(vec![], "took all, the answer was lost"))
                }
                4 => {
                    self.take(&batch);
                    self.destination.may_repeat(batch.len() as u64);
                    // never answers
                    std::future::pending().await
                }
                _ => Err(SinkError::Blocked { cause: Cause("a person must act".into()) }),
            };
        }
        self.take(&batch);
        let answering = *self.destination.answering.lock().unwrap();
        // as a client that has more to do than to wait once
        for step in if call.is_multiple_of(3) { [answering / 100; 2] } else { [answering / 2; 2] } {
            pass(step).await;
        }
        Ok(())
    }
}

impl Open {
    /// Refuses one by name, has taken those before it, and has not looked at those behind it.
    fn refuses(&self, batch: &[Message], first: usize) -> SinkError {
        self.take(&batch[..first]);
        let cause = Cause("no such field".into());
        let refused = vec![Refusal { position: first, cause: cause.clone() }];
        SinkError::Refused { refused, untaken: (first + 1..batch.len()).collect(), cause }
    }

    /// What the destination says to a batch with poison in it. What lies before the first is taken.
    fn spoiled(&self, batch: &[Message]) -> Option<SinkError> {
        let mut known = self.destination.first.lock().unwrap();
        for message in batch {
            if known.1.len() < known.0 && !known.1.contains(&message.id) {
                known.1.push(message.id);
            }
        }
        if let Some(first) = batch.iter().position(|message| known.1.contains(&message.id)) {
            return Some(self.refuses(batch, first));
        }
        let poison = (*self.destination.poison.lock().unwrap())?;
        let first = batch.iter().position(|message| poison.spoils(&message.id))?;
        let cause = Cause("no such field".into());
        Some(match poison.says {
            Says::Which => self.refuses(batch, first),
            Says::Refused => SinkError::Refused { refused: vec![], untaken: vec![], cause },
            Says::Retry => SinkError::retry("busy"),
            Says::Alone => {
                let (bad, good): (Vec<_>, Vec<_>) = (0..batch.len()).partition(|at| poison.spoils(&batch[*at].id));
                self.take(&good.into_iter().map(|at| batch[at].clone()).collect::<Vec<_>>());
                SinkError::Retry { untaken: bad, after: None, cause }
            }
        })
    }
}
