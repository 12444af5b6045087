//! The confirmation: what is settled becomes delivered, what is refused goes to quarantine, in one transaction (design §4, 6).

use std::sync::Arc;

use futures_util::{FutureExt, future::BoxFuture};

use super::{
    Deliver,
    batch::{self, Made},
    course::Course,
    track::Refusal,
};
use crate::{
    agent::millis,
    fetch::chunk,
    ledger::{Ledger, LedgerError, Progress, Refused},
};

/// What the ledger made of it.
pub(super) struct Confirmed {
    steps: Vec<Progress>,
    /// For each step, whether it was applied; otherwise the content was lost meanwhile, or its body dropped.
    applied: Vec<bool>,
    /// What was refused does not fit into the quarantine: nothing was confirmed.
    pub(super) full: bool,
    refused: u64,
}

impl Deliver {
    /// Confirms what is settled, when there is something. The bodies of what is taken stay until that succeeds.
    pub(super) fn confirm(&self, course: &mut Course) -> Option<BoxFuture<'static, Result<Confirmed, LedgerError>>> {
        let (steps, refusals) = course.tracks.ready(course.holds_refusals(), course.room.at_once());
        course.held = vec![Arc::new(self.activity.underway.hold(course.tracks.unconfirmed()))];
        if steps.is_empty() {
            return None;
        }
        let (ledger, sink, now, most) = (self.ledger.clone(), self.sink, millis(&self.world), self.quarantine);
        Some(
            async move {
                let refused = read(&ledger, sink, &refusals).await?;
                let count = refused.len() as u64;
                if count > 0 {
                    let bytes: usize = refused.iter().map(Refused::bytes_at_most).sum();
                    let held = ledger.quarantine_bytes(sink).await?;
                    // one record fits into an empty quarantine, however large it is
                    let full = held + bytes as u64 > most && (held > 0 || count > 1);
                    if full {
                        return Ok(Confirmed { steps: Vec::new(), applied: Vec::new(), full, refused: 0 });
                    }
                }
                let applied = ledger.confirm(sink, steps.clone(), refused, now).await?;
                Ok(Confirmed { steps, applied, full: false, refused: count })
            }
            .boxed(),
        )
    }

    /// The ledger has confirmed.
    pub(super) fn confirmed(&self, course: &mut Course, confirmed: Confirmed) {
        self.activity.ledger_error(None);
        self.say(course.voice.ledger_works());
        if confirmed.full {
            self.no_room(course);
            return;
        }
        let made = course.made.as_ref().map(Made::contents).unwrap_or_default();
        for (step, applied) in confirmed.steps.iter().zip(&confirmed.applied) {
            if *applied {
                course.tracks.confirmed(step, made.contains(&step.content));
            } else {
                course.tracks.refuted(step);
                course.look();
            }
        }
        if confirmed.refused > 0 {
            course.room.took();
            self.say(course.voice.quarantined(confirmed.refused, millis(&self.world)));
        }
        // what is held back may be all that is left; and there is room in the memory again
        if course.trust.holds() || course.crowded {
            course.look();
        }
        // room for other bodies
        self.activity.hints.fetch.notify_one();
    }
}

/// The records as stored. One whose body is gone is left out: its step will not be applied either.
async fn read(ledger: &Ledger, sink: i64, refusals: &[Refusal]) -> Result<Vec<Refused>, LedgerError> {
    let mut refused = Vec::new();
    for refusal in refusals {
        for piece in ledger.piece_of(sink, refusal.content, refusal.position).await? {
            let damaged = |damage: chunk::Damaged| LedgerError::Broken(format!("content {}: {damage}", piece.content));
            let opened = chunk::open(&piece.body).map_err(damaged)?;
            let offset = usize::try_from(refusal.position - piece.first).unwrap_or(usize::MAX);
            let Some(frame) = chunk::frames(&opened).nth(offset) else { continue };
            let frame = frame.map_err(damaged)?;
            refused.push(Refused {
                content: refusal.content,
                position: refusal.position,
                id: frame.id,
                operation: batch::operation(&piece, &frame),
                words: refusal.words.to_string(),
                record: frame.record.to_vec(),
                second: frame.second,
                unreadable: frame.unreadable,
                no_id: frame.no_id,
            });
        }
    }
    Ok(refused)
}
