//! A destination with moods: what it does at a time is written down before the scenario begins.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use async_trait::async_trait;
use auditferry::ledger::Millis;
use auditferry_contract::{
    Batch, Cause, CheckedSink, Confirmation, Env, EventId, Limits, Lost, Message, Refusal, Sink, SinkError,
};
use tokio::sync::Notify;

use super::dice::Dice;
use crate::{
    sinks::{Destination, Poison, Says},
    world::VirtualClock,
};

/// How a destination behaves for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Well,
    /// Healthy, but takes its time.
    Slow(Duration),
    /// Nobody listens.
    Down,
    /// Takes nothing and never answers.
    Hangs,
    /// Panics at each call.
    Panics,
    /// A person must act.
    Blocked,
    /// Refuses everything, by name or as a whole: a setting is wrong.
    Wrong(Says),
    /// So many of 100 calls fail, each in another way.
    Flaky(u64),
}

/// What one destination does over time. The last entry that covers the time counts.
#[derive(Clone, Debug, Default)]
pub struct Script {
    pub seed: u64,
    pub moods: Vec<(Millis, Millis, Mood)>,
    pub poison: Vec<(Millis, Millis, Poison)>,
}

impl Script {
    pub fn mood(&self, now: Millis) -> Mood {
        let found = self.moods.iter().rev().find(|(from, until, _)| (*from..*until).contains(&now));
        found.map_or(Mood::Well, |(_, _, mood)| *mood)
    }

    fn poison(&self, now: Millis) -> Option<Poison> {
        self.poison.iter().find(|(from, until, _)| (*from..*until).contains(&now)).map(|(_, _, poison)| *poison)
    }

    /// Whether a call may take longer than the agent waits for it at its end.
    pub fn is_slow(&self) -> bool {
        self.moods.iter().any(|(_, _, mood)| matches!(mood, Mood::Slow(time) if time.as_secs() >= 4))
    }

    /// It may refuse a record that is in order: all of them for a while, or one that goes alone.
    pub fn refuses_anything(&self) -> bool {
        self.moods.iter().any(|(_, _, mood)| matches!(mood, Mood::Wrong(_) | Mood::Flaky(_)))
    }

    /// It refuses this one at some time.
    pub fn spoils(&self, id: &EventId) -> bool {
        self.poison.iter().any(|(_, _, poison)| poison.spoils(id))
    }

    /// When the last trouble is over.
    pub fn calm_at(&self) -> Millis {
        let troubles = self.moods.iter().filter(|(_, _, mood)| !matches!(mood, Mood::Well | Mood::Slow(_)));
        let moods = troubles.map(|(_, until, _)| *until);
        // a poison that is refused stays; one that only ever gets `Retry` must end
        let poison = self
            .poison
            .iter()
            .filter(|(_, _, it)| matches!(it.says, Says::Retry | Says::Alone))
            .map(|(_, until, _)| *until);
        moods.chain(poison).max().unwrap_or(Millis::MIN)
    }

    /// How long its longest outage lasts.
    pub fn longest(&self) -> Millis {
        let away = |mood: &Mood| !matches!(mood, Mood::Well | Mood::Slow(_) | Mood::Flaky(_));
        self.moods.iter().filter(|(_, _, mood)| away(mood)).map(|(from, until, _)| until - from).max().unwrap_or(0)
    }

    /// It never gives a reason to wait.
    pub fn is_healthy(&self) -> bool {
        self.poison.is_empty() && self.moods.iter().all(|(_, _, mood)| matches!(mood, Mood::Well | Mood::Slow(_)))
    }
}

/// A sink to such a destination.
pub struct Moody {
    pub script: Arc<Script>,
    pub destination: Destination,
    pub clock: Arc<VirtualClock>,
    pub limits: Limits,
}

#[async_trait]
impl CheckedSink for Moody {
    fn limits(&self) -> Limits {
        self.limits.clone()
    }

    async fn open(&self, _: Arc<dyn Env>) -> Result<Arc<dyn Sink>, SinkError> {
        let now = self.clock.millis();
        let mut dice = Dice::new(&[self.script.seed, self.destination.calls(), now as u64, 1]);
        let mood = self.script.mood(now);
        if matches!(mood, Mood::Down | Mood::Hangs) {
            self.destination.strikes.note(format_args!("sink {mood:?}"));
        }
        let failed = match mood {
            Mood::Down => Err(SinkError::retry("connection refused")),
            Mood::Hangs => std::future::pending().await,
            Mood::Blocked if dice.percent(50) => Err(SinkError::blocked("the token is not known here")),
            Mood::Flaky(chance) if dice.percent(chance / 2) => match dice.below(3) {
                0 => Err(SinkError::retry("connection refused")),
                1 => std::future::pending().await,
                _ => panic!("the sink panics"),
            },
            _ => Ok(()),
        };
        if failed.is_err() {
            self.destination.failures.fetch_add(1, Ordering::Relaxed);
        }
        failed?;
        Ok(Arc::new(Open {
            script: Arc::clone(&self.script),
            destination: self.destination.clone(),
            clock: Arc::clone(&self.clock),
            limits: self.limits.clone(),
            lost: Notify::new(),
            doomed: Mutex::new(None),
            recent: Mutex::new(VecDeque::new()),
        }))
    }
}

struct Open {
    script: Arc<Script>,
    destination: Destination,
    clock: Arc<VirtualClock>,
    limits: Limits,
    lost: Notify,
    /// The connection is gone, and this is how and after how long it is told. What is sent meanwhile goes nowhere.
    doomed: Mutex<Option<(Duration, bool)>>,
    /// When how many messages were taken lately: they may not have settled.
    recent: Mutex<VecDeque<(Millis, u64)>>,
}

#[async_trait]
impl Sink for Open {
    fn confirmation(&self) -> Confirmation {
        Confirmation::Stored
    }

    async fn lost(&self) -> Lost {
        self.lost.notified().await;
        self.destination.strikes.note("sink connection lost");
        let doomed = *self.doomed.lock().unwrap();
        let (after, orderly) = doomed.unwrap_or((Duration::ZERO, false));
        pass(after).await;
        match orderly {
            true => Lost::orderly("the peer closed"),
            false => Lost::broken("reset by the peer"),
        }
    }

    async fn deliver(&self, batch: Batch) -> Result<(), SinkError> {
        let call = self.destination.called();
        let now = self.clock.millis();
        let mut dice = Dice::new(&[self.script.seed, call, 2]);
        let doomed = *self.doomed.lock().unwrap();
        if let Some((_, orderly)) = doomed {
            // where `Ok` is final, none may come over a connection that is gone
            if self.limits.settle.is_zero() {
                return self.fails(SinkError::retry("connection reset"));
            }
            self.failed();
            if orderly {
                self.take(&batch);
            }
            return Ok(());
        }
        let mood = self.script.mood(now);
        match mood {
            Mood::Well | Mood::Flaky(_) => {}
            Mood::Slow(_) => self.destination.strikes.note("sink Slow"),
            mood => self.destination.strikes.note(format_args!("sink {mood:?}")),
        }
        match mood {
            Mood::Down => return self.fails(SinkError::retry("connection reset")),
            Mood::Hangs => {
                self.failed();
                std::future::pending().await
            }
            Mood::Panics => {
                self.failed();
                panic!("the sink panics");
            }
            Mood::Blocked => return self.fails(SinkError::blocked("the index is gone")),
            Mood::Wrong(says) => return self.fails(wrong(says, &batch)),
            Mood::Slow(time) => pass(time).await,
            Mood::Flaky(chance) if dice.percent(chance) => return self.trouble(&mut dice, &batch).await,
            Mood::Well | Mood::Flaky(_) => {}
        }
        if let Some(poison) = self.script.poison(now)
            && let Some(first) = batch.iter().position(|message| poison.spoils(&message.id))
        {
            self.destination.strikes.note(format_args!("sink poison {:?}", poison.says));
            return self.fails(self.spoiled(poison, &batch, first));
        }
        self.take(&batch);
        Ok(())
    }

    async fn close(&self) -> Result<(), Cause> {
        // an honest sink can't say that all went out when it did not
        match self.doomed.lock().unwrap().is_some() {
            true => Err("the connection is gone".into()),
            false => Ok(()),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the destination's own time")]
pub async fn pass(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

fn wrong(says: Says, batch: &[Message]) -> SinkError {
    let cause = Cause("no such index".into());
    match says {
        Says::Which => {
            let refused = (0..batch.len()).map(|position| Refusal { position, cause: cause.clone() }).collect();
            SinkError::Refused { refused, untaken: vec![], cause }
        }
        Says::Refused => SinkError::Refused { refused: vec![], untaken: vec![], cause },
        Says::Retry | Says::Alone => SinkError::retry("busy"),
    }
}

impl Open {
    fn take(&self, batch: &[Message]) {
        self.destination.take(batch.iter().map(|message| message.id));
        let mut recent = self.recent.lock().unwrap();
        let now = self.clock.millis();
        recent.push_back((now, batch.len() as u64));
        let settle = (self.limits.settle + self.limits.deadline).as_millis() as Millis;
        while recent.front().is_some_and(|(at, _)| *at < now - settle) {
            recent.pop_front();
        }
    }

    /// A failure may cost repeats of all that was in flight or had not settled.
    fn failed(&self) {
        self.destination.failures.fetch_add(1, Ordering::Relaxed);
        let flight = (self.limits.in_flight * self.limits.batch_messages) as u64;
        let unsettled: u64 = match self.limits.settle.is_zero() {
            true => 0,
            false => self.recent.lock().unwrap().iter().map(|(_, messages)| messages).sum(),
        };
        self.destination.may_repeat(flight + unsettled);
    }

    fn fails(&self, error: SinkError) -> Result<(), SinkError> {
        self.failed();
        Err(error)
    }

    fn spoiled(&self, poison: Poison, batch: &[Message], first: usize) -> SinkError {
        match poison.says {
            Says::Which => {
                self.take(&batch[..first]);
                let cause = Cause("no such field".into());
                let refused = vec![Refusal { position: first, cause: cause.clone() }];
                SinkError::Refused { refused, untaken: (first + 1..batch.len()).collect(), cause }
            }
            Says::Alone => {
                let (bad, good): (Vec<_>, Vec<_>) = (0..batch.len()).partition(|at| poison.spoils(&batch[*at].id));
                self.destination.take(good.into_iter().map(|at| batch[at].id));
                SinkError::Retry { untaken: bad, after: None, cause: Cause("busy".into()) }
            }
            says => wrong(says, batch),
        }
    }

    /// The connection ends; what went over it meanwhile arrived only when the peer ends it in an orderly way.
    fn doom(&self, after: Duration, orderly: bool) {
        *self.doomed.lock().unwrap() = Some((after, orderly));
        self.lost.notify_one();
    }

    async fn trouble(&self, dice: &mut Dice, batch: &[Message]) -> Result<(), SinkError> {
        self.failed();
        let retry = |untaken, words: &str| SinkError::Retry { untaken, after: None, cause: Cause(words.into()) };
        let some = dice.below(batch.len() as u64 + 1) as usize;
        let settles = !self.limits.settle.is_zero();
        // a connection that is lost after `Ok` costs nothing where `Ok` is final
        let kind = match dice.below(14) {
            11 if !settles => 13,
            kind => kind,
        };
        self.destination.strikes.note(format_args!("sink trouble {kind}"));
        match kind {
            0 => Err(retry(vec![], "refused the connection")),
            1 => {
                self.take(&batch[..some]);
                // nothing untaken means that nobody knows
                Err(retry((some..batch.len()).collect(), "took a prefix"))
            }
            2 => {
                self.take(&batch[..some]);
                Err(retry(vec![], "took a prefix, the answer was lost"))
            }
            3 => {
                self.take(batch);
                Err(retry(vec![], "took all, the answer was lost"))
            }
            4 => {
                self.take(batch);
                std::future::pending().await
            }
            5 => std::future::pending().await,
            6 => {
                let untaken: Vec<usize> = (0..batch.len()).filter(|_| dice.percent(50)).collect();
                let taken = batch.iter().enumerate().filter(|(position, _)| !untaken.contains(position));
                let taken: Vec<_> = taken.map(|(_, message)| message.id).collect();
                if !untaken.is_empty() {
                    self.destination.take(taken.into_iter());
                }
                Err(retry(untaken, "took some"))
            }
            7 => Err(SinkError::blocked("a person must act")),
            8 => {
                let after = Some(Duration::from_secs(dice.magnitude(1, 600)));
                Err(SinkError::Retry { untaken: vec![], after, cause: Cause("busy".into()) })
            }
            9 => panic!("the sink panics"),
            10 => Err(wrong(Says::Refused, batch)),
            11 => {
                let (after, orderly) = (self.limits.settle / dice.pick(&[2, 3, 10_000]), dice.percent(40));
                self.destination.strikes.note(if orderly {
                    "sink closes after Ok"
                } else {
                    "sink breaks off after Ok"
                });
                if orderly {
                    self.take(batch);
                }
                self.doom(after, orderly);
                Ok(())
            }
            12 => {
                self.take(&batch[..some]);
                self.doom(Duration::from_secs(dice.below(5)), false);
                std::future::pending().await
            }
            _ => {
                // the fault is in the messages, it says, and names one that is not there
                let cause = Cause("confused".into());
                let refused = vec![Refusal { position: batch.len() + 3, cause: cause.clone() }];
                Err(SinkError::Refused { refused, untaken: vec![], cause })
            }
        }
    }
}
