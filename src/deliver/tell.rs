//! What the ledger, and through it `status` and the other sinks, are told of a sink: beside all else that its loop does, since the ledger may be slow or
//! locked, and answers of the sink are waited for meanwhile.

use std::sync::Arc;

use futures_util::{FutureExt, future::BoxFuture};

use super::{Deliver, LEDGER_PAUSE, block::Block, course::Course};
use crate::{
    agent::millis,
    ledger::{BlockTold, Ledger, LedgerError},
    own_events,
    world::World,
};

/// What is told now.
pub(super) struct Told {
    /// What the sinks heard last; `None`: the ledger is to be asked.
    block: Option<BlockTold>,
    /// Why the sink fails, or that it does not, when that was told.
    trouble: Option<Option<String>>,
}

impl Deliver {
    /// Starts telling what is new; `None`: nothing is. The future's `None`: the ledger can't be written, and a while has passed since.
    pub(super) fn tell(&self, course: &mut Course) -> Option<BoxFuture<'static, Result<Option<Told>, LedgerError>>> {
        let (now, words) = (millis(&self.world), self.activity.sink_error(&self.name));
        let about_block = course.block.is_due(course.taken > 0, &self.name, now);
        // nothing is known before the first attempt
        let unknown = words.is_none() && course.taken == 0 && course.told.is_none();
        let trouble = (!unknown && course.told.as_ref() != Some(&words)).then_some(words);
        if !about_block && trouble.is_none() {
            return None;
        }
        let (world, ledger, hints) = (self.world.clone(), self.ledger.clone(), Arc::clone(&self.activity.hints));
        let (sink, name, block) = (self.sink, self.name.clone(), course.block.clone());
        if about_block {
            // until it is known that it was said, the ledger is asked
            course.block.told = None;
        }
        Some(
            async move {
                let telling = async {
                    if let Some(words) = &trouble {
                        ledger.trouble("sink", name.clone(), words.clone(), millis(&world)).await?;
                    }
                    let block = match about_block {
                        true => {
                            announce(&world, &ledger, sink, &name, &block, || hints.deliver.notify_waiters()).await?
                        }
                        false => block.told,
                    };
                    Ok(Told { block, trouble })
                };
                match telling.await {
                    // it is said elsewhere that the ledger can't be written
                    Err(error) if LedgerError::passes(&error) => {
                        world.sleep(LEDGER_PAUSE).await;
                        Ok(None)
                    }
                    told => told.map(Some),
                }
            }
            .boxed(),
        )
    }

    /// Takes note of what is told.
    pub(super) fn told(&self, course: &mut Course, told: Told) {
        course.block.told = told.block;
        if let Some(words) = told.trouble {
            course.told = Some(words);
        }
    }
}

/// Says that a sink is blocked, or that it is over, when that is not said yet.
async fn announce(
    world: &World,
    ledger: &Ledger,
    sink: i64,
    name: &str,
    block: &Block,
    wake: impl FnOnce(),
) -> Result<Option<BlockTold>, LedgerError> {
    let told = match block.told {
        Some(told) => told,
        None => ledger.block_told(sink).await?,
    };
    let now = millis(world);
    let Some(news) = block.news(told, name, now) else { return Ok(Some(told)) };
    ledger.announce_block(sink, &news, own_events::block_event(&news, now), now).await?;
    wake();
    Ok(None)
}
