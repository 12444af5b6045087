//! That a sink is blocked is an event to every sink, and so is its end (design §1, origin `agent`).
//!
//! At most once an hour, whatever the sink does, and kept in the ledger with the event: a restart repeats nothing and forgets no end. What only
//! the agent's own events ran into is not spoken of, so that no event about a blocked sink makes another one.

use super::{Deliver, course::Course};
use crate::{
    agent::millis,
    ledger::{BlockNews, BlockTold, LedgerError, Millis},
    own_events,
};

/// A time further ahead than any pause comes from a clock that was set back.
const LONGEST: Millis = 3_600_000;

/// What is known of a block, and what was said of it.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// Since when it is blocked, and why.
    begun: Option<(Millis, String)>,
    /// `None`: the ledger was not asked yet.
    told: Option<BlockTold>,
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

    /// What every sink is to hear now, when `told` is what they heard last.
    fn news(&self, told: BlockTold, sink: &str, now: Millis) -> Option<BlockNews> {
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

impl Deliver {
    /// Says that this sink is blocked, or that it is over, when that is not said yet.
    pub(super) async fn tell_block(&self, course: &mut Course) -> Result<(), LedgerError> {
        // after a start nothing is known before the first attempt
        if course.block.begun.is_none() && course.taken == 0 {
            return Ok(());
        }
        match self.announce(course).await {
            // it is said elsewhere that the ledger can't be written, and this is tried again
            Err(error) if error.passes() => Ok(()),
            other => other,
        }
    }

    async fn announce(&self, course: &mut Course) -> Result<(), LedgerError> {
        let told = match course.block.told {
            Some(told) => told,
            None => self.ledger.block_told(self.sink).await?,
        };
        course.block.told = Some(told);
        let now = millis(&self.world);
        let Some(news) = course.block.news(told, &self.name, now) else { return Ok(()) };
        // until it is known that it was said, the ledger is asked
        course.block.told = None;
        self.ledger.announce_block(self.sink, &news, own_events::block_event(&news, now), now).await?;
        self.activity.hints.deliver.notify_waiters();
        Ok(())
    }
}
