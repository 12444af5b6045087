//! What is under way between two turns of the loop.

use std::sync::Arc;

use auditferry_contract::{Limits, Lost, Sink, SinkError};
use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    batch::Made,
    block::Block,
    confirm::Confirmed,
    flight::{Flight, Landing},
    room::Room,
    tell::Told,
    track::Tracks,
    trust::Trust,
    turn::{Read, Turn},
    verdict::Verdict,
    voice::Voice,
};
use crate::{ledger::LedgerError, underway::Hold};

/// A sink that is open.
pub(super) struct Open {
    pub sink: Arc<dyn Sink>,
    pub lost: BoxFuture<'static, Lost>,
}

/// Why no new batch starts on the open sink.
pub(super) enum Ending {
    /// A call failed, or the connection is gone.
    Failed(Verdict),
    /// A file or a secret that it was opened with has changed.
    Changed(String),
}

/// Something that happened.
pub(super) enum Event {
    Landed(Landing),
    Lost(Lost),
    Opened(Result<Arc<dyn Sink>, SinkError>),
    Read(Result<Read, LedgerError>),
    Confirmed(Result<Confirmed, LedgerError>),
    /// The ledger knows what became of the sink; `None`: it can't be written.
    Told(Result<Option<Told>, LedgerError>),
    /// The sink lets go of a batch.
    Permit(OwnedSemaphorePermit),
    /// A pause is over: after a failure, for a batch to fill up, for a message's time, for the ledger.
    Continue,
    /// What the sink was opened with was looked at: what changed, if anything.
    Watched(Option<String>),
    Closed(bool),
    /// A hint from another loop, or time to look.
    Woken,
}

/// All that one sink's loop has under way.
pub(super) struct Course {
    pub tracks: Tracks,
    pub turn: Turn,
    pub trust: Trust,
    pub room: Room,
    /// Since the sink last took something.
    pub failures: u32,
    /// Batches taken since the start.
    pub taken: u64,
    /// Batches that came back since the start, to tell them apart.
    pub groups: u64,
    pub open: Option<Open>,
    pub opening: Option<BoxFuture<'static, Result<Arc<dyn Sink>, SinkError>>>,
    pub flight: Flight,
    pub reading: Option<BoxFuture<'static, Result<Read, LedgerError>>>,
    pub made: Option<Made>,
    pub confirming: Option<BoxFuture<'static, Result<Confirmed, LedgerError>>>,
    /// Messages that went out since the last confirmation began.
    pub launched: usize,
    /// The last confirmation failed: until one succeeds nothing more goes out.
    pub unwritten: bool,
    /// Bodies of what was taken and is not confirmed yet.
    pub held: Vec<Arc<Hold>>,
    pub permits: Arc<Semaphore>,
    pub permit: Option<OwnedSemaphorePermit>,
    pub acquiring: Option<BoxFuture<'static, Option<OwnedSemaphorePermit>>>,
    /// After a failure.
    pub pause: Option<BoxFuture<'static, ()>>,
    /// For a batch to fill up.
    pub linger: Option<BoxFuture<'static, ()>>,
    pub lingered: bool,
    /// Until the first message that waits for its time.
    pub due: Option<BoxFuture<'static, ()>>,
    pub ledger_pause: Option<BoxFuture<'static, ()>>,
    pub watching: Option<BoxFuture<'static, Option<String>>>,
    pub ending: Option<Ending>,
    /// The open sink is being closed, before it is opened with what has changed; true: it said that all went out.
    pub closing: Option<BoxFuture<'static, bool>>,
    /// Nothing was left to send at the last look.
    pub idle: bool,
    /// Since the look that is under way began there may be more: when it finds nothing, there is another.
    pub missed: bool,
    /// That look left out what was never handed out: the memory was full.
    pub crowded: bool,
    /// What the other sinks hear of it when it is blocked.
    pub block: Block,
    /// What the log says of this sink.
    pub voice: Voice,
    /// What the ledger says of this sink: from an earlier life, not known.
    pub told: Option<Option<String>>,
    /// The ledger is being told what it does not know of this sink, beside all else.
    pub telling: Option<BoxFuture<'static, Result<Option<Told>, LedgerError>>>,
}

impl Course {
    /// Nothing is known yet.
    pub fn new(limits: &Limits) -> Course {
        Course {
            tracks: Tracks::default(),
            turn: Turn::default(),
            trust: Trust::default(),
            room: Room::default(),
            failures: 0,
            taken: 0,
            groups: 0,
            open: None,
            opening: None,
            flight: Flight::default(),
            reading: None,
            made: None,
            confirming: None,
            launched: 0,
            unwritten: false,
            held: Vec::new(),
            permits: Arc::new(Semaphore::new(limits.in_hand.max(1))),
            permit: None,
            acquiring: None,
            pause: None,
            linger: None,
            lingered: false,
            due: None,
            ledger_pause: None,
            watching: None,
            ending: None,
            closing: None,
            idle: false,
            missed: false,
            crowded: false,
            block: Block::default(),
            voice: Voice::default(),
            told: None,
            telling: None,
        }
    }

    /// Waits for the next thing to happen.
    pub async fn next(&mut self) -> Event {
        let lost = async {
            match &mut self.open {
                Some(open) => (&mut open.lost).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            landing = self.flight.next() => Event::Landed(landing),
            lost = lost => Event::Lost(lost),
            confirmed = once(&mut self.confirming) => Event::Confirmed(confirmed),
            told = once(&mut self.telling) => Event::Told(told),
            opened = once(&mut self.opening) => Event::Opened(opened),
            Some(permit) = once(&mut self.acquiring) => Event::Permit(permit),
            read = once(&mut self.reading) => Event::Read(read),
            closed = once(&mut self.closing) => Event::Closed(closed),
            changed = once(&mut self.watching) => Event::Watched(changed),
            () = once(&mut self.linger) => {
                self.lingered = true;
                Event::Continue
            }
            () = once(&mut self.pause) => Event::Continue,
            () = once(&mut self.room.pause) => Event::Continue,
            () = once(&mut self.due) => {
                self.idle = false;
                Event::Continue
            }
            () = once(&mut self.ledger_pause) => Event::Continue,
        }
    }

    /// There may be something to send: the ledger is looked at again, also when a look that is under way finds nothing.
    pub fn look(&mut self) {
        self.idle = false;
        self.missed = self.reading.is_some();
    }

    /// No new batch starts on this sink. The first failure says why; one that a person must mend says more.
    pub fn fail(&mut self, verdict: Verdict) {
        match &mut self.ending {
            Some(Ending::Failed(first)) if first.blocked || !verdict.blocked => {}
            ending => *ending = Some(Ending::Failed(verdict)),
        }
    }

    /// True when no new batch may start now.
    pub fn holds_back(&self) -> bool {
        let pauses = self.pause.is_some() || self.ledger_pause.is_some() || self.room.is_full();
        pauses || self.ending.is_some() || self.closing.is_some()
    }
}

/// What the future gives, once; never, while there is none.
async fn once<T>(slot: &mut Option<BoxFuture<'static, T>>) -> T {
    let Some(future) = slot else { return std::future::pending().await };
    let value = future.await;
    *slot = None;
    value
}
