//! Which positions of which contents are out, came back, or are settled: what one sink's loop remembers ahead of the ledger.
//!
//! Pure, and all of it can be read from the ledger again: forgetting it costs repeats, never data. Confirmed is only the
//! settled front of each content; what was taken behind a hole is remembered here, so that it is not sent twice.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

pub(super) use super::history::History;
use crate::ledger::{Millis, Progress};

/// How a record was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// The sink has taken it.
    Delivered,
    /// Its filter does not want it.
    Filtered,
    /// A copy that it gets, or got, with another content.
    Skipped,
    /// The sink will never take it.
    Refused,
    /// No form of it is small enough for the sink: for the quarantine whatever else the sink refuses.
    TooLarge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In a batch on its way.
    Out(History),
    /// Came back.
    Waiting(History),
    Settled(Settled),
}

/// One message on its way. The serial tells a content's second time in memory from its first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// Key of the content.
    pub content: i64,
    /// Position in its body.
    pub position: i64,
    serial: u64,
}

impl Key {
    /// Stands for a message that is not waited for: keys are found by their place in the batch.
    pub const NOBODY: Key = Key { content: -1, position: 0, serial: 0 };
}

#[derive(Debug)]
struct Track {
    serial: u64,
    generation: i64,
    /// Where the ledger stands.
    front: i64,
    /// From `front` on; what lies behind them was never handed out.
    states: VecDeque<State>,
    refusals: BTreeMap<i64, Arc<str>>,
}

/// A refused position that is to be confirmed now, with the sink's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Key of the content.
    pub content: i64,
    /// Position in its body.
    pub position: i64,
    /// The sink's words.
    pub words: Arc<str>,
}

/// Everything of one sink.
#[derive(Debug, Default)]
pub(super) struct Tracks {
    tracks: BTreeMap<i64, Track>,
    serial: u64,
    positions: usize,
}

/// Whether a position is to be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// It is out, settled, or has to wait.
    No,
    /// Yes, in a batch of at most so many messages (0: any) of the same group.
    Yes { cap: u32, group: u64 },
}

/// Whether what was read fits what is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admitted {
    Yes,
    /// The ledger has moved on since: read it again.
    Again,
    /// Another body lies there now, and something of the earlier one is still out: what becomes of that is waited for.
    Later,
}

/// What is not there, of a content of which something else is out, is looked for again after this (milliseconds): at once would be over and over.
const ABSENT: Millis = 1_000;

impl Track {
    fn next(&self) -> i64 {
        self.front + self.states.len() as i64
    }

    fn first_wanted(&self, now: Millis, eager: bool) -> i64 {
        let wanted = self.states.iter().position(|state| matches!(state, State::Waiting(h) if h.is_due(now, eager)));
        wanted.map_or(self.next(), |offset| self.front + offset as i64)
    }

    /// Something of it is on its way.
    fn is_out(&self) -> bool {
        self.states.iter().any(|state| matches!(state, State::Out(_)))
    }

    fn at(&mut self, position: i64) -> Option<&mut State> {
        usize::try_from(position - self.front).ok().and_then(|offset| self.states.get_mut(offset))
    }
}

impl Tracks {
    /// Positions that are remembered: the bound of this memory.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// Where reading goes on in each content that is remembered.
    pub fn begun(&self, now: Millis, eager: bool) -> Vec<(i64, i64)> {
        self.tracks.iter().map(|(content, track)| (*content, track.first_wanted(now, eager))).collect()
    }

    /// Contents of which something waits and is due.
    pub fn due(&self, now: Millis, eager: bool) -> Vec<i64> {
        let due = |track: &Track| track.first_wanted(now, eager) < track.next();
        self.tracks.iter().filter(|(_, track)| due(track)).map(|(content, _)| *content).collect()
    }

    /// The ledger has no body to read for these any more (lost, or dropped): what nobody waits for is not remembered. True: that was something.
    /// The others are looked for again after a while.
    pub fn gone(&mut self, contents: &[i64], now: Millis) -> bool {
        let before = self.tracks.len();
        for content in contents {
            if self.tracks.get(content).is_some_and(|track| !track.is_out()) {
                self.forget(*content);
            }
        }
        self.later(contents, now);
        self.tracks.len() < before
    }

    /// What waits in these contents is looked for again after a while.
    pub fn later(&mut self, contents: &[i64], now: Millis) {
        for content in contents {
            let Some(track) = self.tracks.get_mut(content) else { continue };
            for state in &mut track.states {
                if let State::Waiting(history) = state {
                    history.retry_at = history.retry_at.max(now + ABSENT);
                }
            }
        }
    }

    /// Takes note of a content that was read at `progress`.
    pub fn admit(&mut self, content: i64, generation: i64, progress: i64, from: i64) -> Admitted {
        if let Some(track) = self.tracks.get(&content) {
            if track.generation == generation {
                // further: a confirmation is committed, and is heard of in a moment
                return if track.front >= progress { Admitted::Yes } else { Admitted::Again };
            }
            if track.is_out() {
                return Admitted::Later;
            }
            // its body was dropped and fetched again: the positions of the new one may be others
            self.forget(content);
        }
        match self.tracks.get(&content) {
            None if from == progress => {
                self.serial += 1;
                let track = Track {
                    serial: self.serial,
                    generation,
                    front: progress,
                    states: VecDeque::new(),
                    refusals: BTreeMap::new(),
                };
                self.tracks.insert(content, track);
                Admitted::Yes
            }
            _ => Admitted::Again,
        }
    }

    /// Whether to send this position now. `fresh`: also when it was never handed out.
    pub fn want(&self, content: i64, position: i64, now: Millis, eager: bool, fresh: bool) -> Want {
        let Some(track) = self.tracks.get(&content) else { return Want::No };
        let Ok(offset) = usize::try_from(position - track.front) else { return Want::No };
        match track.states.get(offset) {
            None if !fresh => Want::No,
            None => Want::Yes { cap: 0, group: 0 },
            Some(State::Waiting(history)) if history.is_due(now, eager) => {
                Want::Yes { cap: history.cap, group: history.group }
            }
            Some(_) => Want::No,
        }
    }

    /// The position goes out, or is settled without that (`settled`). `None`: out of order, it is not sent.
    pub fn start(&mut self, content: i64, position: i64, settled: Option<Settled>) -> Option<Key> {
        let track = self.tracks.get_mut(&content)?;
        let key = Key { content, position, serial: track.serial };
        let new = |history| settled.map_or(State::Out(history), State::Settled);
        if position == track.next() {
            track.states.push_back(new(History::default()));
            self.positions += 1;
            return Some(key);
        }
        match track.at(position)? {
            state @ State::Waiting(_) => {
                let State::Waiting(history) = *state else { return None };
                *state = new(history);
                Some(key)
            }
            _ => None,
        }
    }

    fn state(&mut self, key: Key) -> Option<&mut State> {
        self.tracks.get_mut(&key.content).filter(|track| track.serial == key.serial)?.at(key.position)
    }

    /// What happened to a message that is out.
    pub fn history(&mut self, key: Key) -> Option<History> {
        match self.state(key)? {
            State::Out(history) => Some(*history),
            _ => None,
        }
    }

    /// The sink has taken it. False: it was not waited for any more.
    pub fn taken(&mut self, key: Key) -> bool {
        match self.state(key) {
            Some(state @ State::Out(_)) => {
                *state = State::Settled(Settled::Delivered);
                true
            }
            _ => false,
        }
    }

    /// It was not taken, or nobody knows: it goes out again.
    pub fn back(&mut self, key: Key, change: impl FnOnce(&mut History)) {
        if let Some(state @ State::Out(_)) = self.state(key)
            && let State::Out(mut history) = *state
        {
            change(&mut history);
            *state = State::Waiting(history);
        }
    }

    /// It will never be taken. False: it was not waited for any more.
    pub fn refuse(&mut self, key: Key, words: &Arc<str>) -> bool {
        let Some(state @ State::Out(_)) = self.state(key) else { return false };
        *state = State::Settled(Settled::Refused);
        if let Some(track) = self.tracks.get_mut(&key.content) {
            track.refusals.insert(key.position, Arc::clone(words));
        }
        true
    }

    /// No form of it fits; said by the agent itself.
    pub fn too_large(&mut self, content: i64, position: i64, words: Arc<str>) {
        if self.start(content, position, Some(Settled::TooLarge)).is_some()
            && let Some(track) = self.tracks.get_mut(&content)
        {
            track.refusals.insert(position, words);
        }
    }

    /// What the sink refused goes out again at `retry_at`: the refusals said more of the sink than of the messages, until it has taken `doubted`
    /// batches.
    pub fn pardon(&mut self, retry_at: Millis, doubted: u64) {
        for track in self.tracks.values_mut() {
            for (offset, state) in track.states.iter_mut().enumerate() {
                if *state == State::Settled(Settled::Refused) {
                    *state = State::Waiting(History { cap: 1, retry_at, doubted, ..History::default() });
                    track.refusals.remove(&(track.front + offset as i64));
                }
            }
        }
    }

    /// The settled front of every content, and what is refused in it (at most `refusals`). `hold`: fronts end before what the
    /// sink refused.
    pub fn ready(&self, hold: bool, refusals: usize) -> (Vec<Progress>, Vec<Refusal>) {
        let (mut progress, mut refused) = (Vec::new(), Vec::new());
        for (content, track) in &self.tracks {
            let mut step = Progress {
                content: *content,
                generation: track.generation,
                from: track.front,
                to: track.front,
                delivered: 0,
                filtered: 0,
                skipped: 0,
                quarantined: 0,
            };
            for state in &track.states {
                let State::Settled(settled) = state else { break };
                match settled {
                    Settled::Delivered => step.delivered += 1,
                    Settled::Filtered => step.filtered += 1,
                    Settled::Skipped => step.skipped += 1,
                    Settled::Refused if hold => break,
                    Settled::Refused | Settled::TooLarge => {
                        if refused.len() == refusals {
                            break;
                        }
                        step.quarantined += 1;
                        let words = track.refusals.get(&step.to).cloned().unwrap_or_else(|| Arc::from("refused"));
                        refused.push(Refusal { content: *content, position: step.to, words });
                    }
                }
                step.to += 1;
            }
            if step.to > step.from {
                progress.push(step);
            }
        }
        (progress, refused)
    }

    /// Contents of which the sink has taken something that the ledger does not know yet.
    pub fn unconfirmed(&self) -> BTreeSet<i64> {
        let taken = |track: &Track| track.states.contains(&State::Settled(Settled::Delivered));
        self.tracks.iter().filter(|(_, track)| taken(track)).map(|(content, _)| *content).collect()
    }

    /// The ledger has confirmed `step`. `made`: more of this content is in a batch that was made and has not gone out; until then it stays known.
    pub fn confirmed(&mut self, step: &Progress, made: bool) {
        let Some(track) = self.tracks.get_mut(&step.content) else { return };
        let settled = (step.to - track.front).clamp(0, track.states.len() as i64) as usize;
        track.states.drain(..settled);
        self.positions -= settled;
        track.front = step.to.max(track.front);
        track.refusals = track.refusals.split_off(&track.front);
        if track.states.is_empty() && !made {
            self.tracks.remove(&step.content);
        }
    }

    /// The ledger knows the content otherwise now (lost, or its body dropped): nothing of it is remembered, but what is of its next body already.
    pub fn refuted(&mut self, step: &Progress) {
        if self.tracks.get(&step.content).is_some_and(|track| track.generation == step.generation) {
            self.forget(step.content);
        }
    }

    /// Nothing of this content is remembered.
    fn forget(&mut self, content: i64) {
        if let Some(track) = self.tracks.remove(&content) {
            self.positions -= track.states.len();
        }
    }

    /// Contents that were read and of which nothing is out or settled need no memory.
    pub fn tidy(&mut self) {
        self.tracks.retain(|_, track| !track.states.is_empty());
    }

    /// When the first that waits is due; `None`: nothing waits.
    pub fn next_due(&self) -> Option<Millis> {
        let waiting = |state: &State| match state {
            State::Waiting(history) => Some(history.retry_at),
            _ => None,
        };
        self.tracks.values().flat_map(|track| track.states.iter().filter_map(waiting)).min()
    }
}

#[cfg(test)]
#[path = "track_tests.rs"]
mod tests;
