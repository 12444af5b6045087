//! That a sink is blocked is an event to every sink, and so is its end (design §1, origin `agent`).
//!
//! At most once an hour, whatever the sink does, and kept in the ledger with the event: a restart repeats nothing and forgets no end. What only
//! the agent's own events ran into is not spoken of, so that no event about a blocked sink makes another one.

use crate::ledger::{BlockNews, BlockTold, Millis};

/// A time further ahead than any pause comes from a clock that was set back.
const LONGEST: Millis = 3_600_000;

/// What is known of a block, and what was said of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Block {
    /// Since when it is blocked, and why.
    begun: Option<(Millis, String)>,
    /// `None`: the ledger was not asked yet.
    pub told: Option<BlockTold>,
}

impl Block {
    /// A person must act.
    pub fn begins(&mut self, words: &str, now: Millis) {
        self.begun.get_or_insert_with(|| (now, words.to_owned()));
    }

    /// The sink takes events.
    pub fn ends(&mut self) {
        self.begun = None;
    }

    /// Whether the ledger is to be asked, or the sinks are to hear of it. `taken`: the sink has taken something in this life; before the first
    /// attempt nothing is known.
    pub fn is_due(&self, taken: bool, sink: &str, now: Millis) -> bool {
        (self.begun.is_some() || taken) && self.told.is_none_or(|told| self.news(told, sink, now).is_some())
    }

    /// What every sink is to hear now, when `told` is what they heard last.
    pub fn news(&self, told: BlockTold, sink: &str, now: Millis) -> Option<BlockNews> {
        let (since, words) = match (&self.begun, told) {
            (Some((since, words)), BlockTold::Works { not_before })
                if now >= not_before || not_before > now.saturating_add(LONGEST) =>
            {
                (*since, Some(words.clone()))
            }
            (None, BlockTold::Blocked { since }) => (since, None),
            _ => return None,
        };
        Some(BlockNews { sink: sink.to_owned(), since, words })
    }
}
