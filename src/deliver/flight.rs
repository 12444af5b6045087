//! Batches on their way: in flight until the sink answers, settling until its answer can't be disproved any more.

use std::{collections::BTreeMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use auditferry_contract::{Batch, Lost, Sink};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};

use super::{track::Key, verdict::Verdict};
use crate::{ledger::Millis, underway::Hold, world::World};

/// What is known of a batch once its bytes are the sink's.
pub(super) struct Flown {
    /// Its messages, in their order.
    pub keys: Vec<Key>,
    /// Bytes of all bodies.
    pub bytes: usize,
    /// Time of the newest event.
    pub newest: Option<Millis>,
    /// All of them were said by the agent itself.
    pub own: bool,
    /// The sink said `Ok`, and may still prove wrong.
    settling: bool,
    /// Their bodies stay meanwhile.
    pub hold: Option<Arc<Hold>>,
}

impl Flown {
    /// A batch of these messages.
    pub fn new(keys: Vec<Key>, bytes: usize, newest: Option<Millis>, own: bool, hold: Option<Arc<Hold>>) -> Flown {
        Flown { keys, bytes, newest, own, settling: false, hold }
    }
}

/// What happened to a batch.
pub(super) enum Landing {
    /// The sink answered, or nobody waits for it any longer.
    Answered(Flown, Result<(), Verdict>),
    /// `Ok` is final.
    Settled(Flown),
}

/// All batches of one open sink.
#[derive(Default)]
pub(super) struct Flight {
    calls: FuturesUnordered<BoxFuture<'static, (u64, Result<(), Verdict>)>>,
    settling: FuturesUnordered<BoxFuture<'static, u64>>,
    flown: BTreeMap<u64, Flown>,
    last: u64,
}

impl Flight {
    /// Calls that run.
    pub fn running(&self) -> usize {
        self.calls.len()
    }

    /// Nothing is out and nothing settles.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.settling.is_empty()
    }

    /// Hands a batch over.
    pub fn launch(&mut self, world: &World, sink: Arc<dyn Sink>, batch: Batch, deadline: Duration, flown: Flown) {
        self.last += 1;
        let (id, world) = (self.last, world.clone());
        self.flown.insert(id, flown);
        self.calls.push(async move { (id, call(&world, &*sink, batch, deadline).await) }.boxed());
    }

    /// The sink has taken a batch, and may still prove wrong.
    pub fn settle(&mut self, world: &World, flown: Flown, settle: Duration) {
        self.last += 1;
        let (id, world) = (self.last, world.clone());
        self.flown.insert(id, Flown { settling: true, ..flown });
        let settled = async move {
            world.sleep(settle).await;
            id
        };
        self.settling.push(settled.boxed());
    }

    /// Forgets all calls; what was out, and what had not settled.
    pub fn clear(&mut self) -> (Vec<Flown>, Vec<Flown>) {
        self.calls = FuturesUnordered::new();
        let unsettled = self.settle_all();
        (std::mem::take(&mut self.flown).into_values().collect(), unsettled)
    }

    /// Everything that settles: a clean close proves it.
    pub fn settle_all(&mut self) -> Vec<Flown> {
        self.settling = FuturesUnordered::new();
        let settling: Vec<u64> = self.flown.iter().filter(|(_, flown)| flown.settling).map(|(id, _)| *id).collect();
        settling.iter().filter_map(|id| self.flown.remove(id)).collect()
    }

    /// The next thing that happens; never, while nothing is under way.
    pub async fn next(&mut self) -> Landing {
        loop {
            let landed = tokio::select! {
                biased;
                Some((id, answer)) = self.calls.next() => self.flown.remove(&id).map(|flown| Landing::Answered(flown, answer)),
                Some(id) = self.settling.next() => self.flown.remove(&id).map(Landing::Settled),
                else => std::future::pending().await,
            };
            if let Some(landing) = landed {
                return landing;
            }
        }
    }
}

async fn call(world: &World, sink: &dyn Sink, batch: Batch, deadline: Duration) -> Result<(), Verdict> {
    let count = batch.len();
    if !world.gate.pass("sink", "deliver") {
        return Err(Verdict::unanswered("dead".into(), count));
    }
    let answer = tokio::select! {
        biased;
        answer = AssertUnwindSafe(sink.deliver(batch)).catch_unwind() => answer,
        () = world.sleep(deadline) => {
            return Err(Verdict::unanswered(format!("no answer within {} s", deadline.as_secs()), count));
        }
    };
    if !world.gate.pass("sink", "answered") {
        return Err(Verdict::unanswered("dead".into(), count));
    }
    match answer {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Verdict::of(error, count)),
        Err(_) => Err(Verdict::unanswered("the sink panicked; it is opened again".into(), count)),
    }
}

/// Resolves when an open sink's connection is gone.
pub(super) async fn lost(sink: Arc<dyn Sink>) -> Lost {
    match AssertUnwindSafe(sink.lost()).catch_unwind().await {
        Ok(lost) => lost,
        Err(_) => Lost::broken("the sink panicked while its connection was watched"),
    }
}
