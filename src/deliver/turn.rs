//! What to read next: three live batches, then one of those that have waited, stream after stream.

use std::time::Duration;

use futures_util::{FutureExt, future::BoxFuture};

use super::{Deliver, track::Tracks, trust::Trust};
use crate::{
    agent::millis,
    fetch::LIVE,
    ledger::{Ask, Ledger, LedgerError, Millis, Piece, Place},
    underway::Reading,
};

/// Chunks read for one batch: a chunk is at most 256 KiB or one record, so this bounds what a batch holds in memory.
const PIECES: usize = 16;

/// Whose turn it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turn {
    count: u64,
    live: Place,
    past: Place,
}

/// What was read for the next batch.
pub(super) struct Read {
    pub pieces: Vec<Piece>,
    /// As asked for.
    pub now: Millis,
    pub eager: bool,
    /// At most so many messages.
    pub most: usize,
    /// What was never handed out was looked at, too.
    pub fresh: bool,
    /// Contents of which something was due when this was asked for.
    pub due: Vec<i64>,
    /// More is there than was read.
    pub cut: bool,
    /// What is dropped while this lasts is not sent.
    pub reading: Reading,
    turn: Turn,
}

impl Deliver {
    /// Reads what the sink gets next; without `fresh` only what has been out and waits. `failures`: since the sink last took something. Every second attempt after a failure offers something
    /// else than what failed, so that one batch that never succeeds can be told from a sink that takes nothing.
    pub(super) fn read(
        &self,
        turn: Turn,
        tracks: &Tracks,
        trust: &Trust,
        failures: u32,
        fresh: bool,
    ) -> BoxFuture<'static, Result<Read, LedgerError>> {
        let (ledger, sink, now) = (self.ledger.clone(), self.sink, millis(&self.world));
        let patient = trust.probes() || failures.is_multiple_of(2);
        let reading = self.activity.underway.reading();
        let left_out = reading.left_out();
        let begun = |eager| leave_out(tracks.begun(now, eager), left_out);
        let due = |eager| {
            let mut due = tracks.due(now, eager);
            due.retain(|content| left_out.binary_search(content).is_err());
            due
        };
        // only after a failure is that read which waits for its time
        let all = (patient && failures > 0).then(|| (begun(true), due(true)));
        let (begun, due) = (begun(!patient), due(!patient));
        let probe = trust.probes().then(|| trust.contents());
        async move {
            let read = Read {
                pieces: Vec::new(),
                now,
                eager: !patient,
                most: usize::MAX,
                fresh,
                due,
                cut: false,
                reading,
                turn,
            };
            if let Some(refused) = probe {
                return probing(&ledger, sink, refused, begun, read).await;
            }
            let read = next(&ledger, sink, begun, read).await?;
            match all {
                // nothing but what failed: then that
                Some((begun, due)) if read.pieces.is_empty() => {
                    next(&ledger, sink, begun, Read { eager: true, due, ..read }).await
                }
                _ => Ok(read),
            }
        }
        .boxed()
    }
}

/// As if all of these contents were out.
fn leave_out(mut begun: Vec<(i64, i64)>, contents: &[i64]) -> Vec<(i64, i64)> {
    begun.retain(|(content, _)| contents.binary_search(content).is_err());
    begun.extend(contents.iter().map(|content| (*content, i64::MAX)));
    begun.sort_unstable();
    begun
}

impl Read {
    /// The turn after this one.
    pub fn turn(&self) -> Turn {
        self.turn
    }
}

/// After a row of refusals: one message of another content, the newest; when there is none, one that was not offered yet.
async fn probing(
    ledger: &Ledger,
    sink: i64,
    refused: Vec<i64>,
    begun: Vec<(i64, i64)>,
    read: Read,
) -> Result<Read, LedgerError> {
    let pieces = ledger.newest_piece(sink, refused, begun.clone()).await?;
    if !pieces.is_empty() {
        return Ok(Read { pieces, most: 1, ..read });
    }
    let read = next(ledger, sink, begun, read).await?;
    Ok(Read { most: 1, ..read })
}

async fn next(ledger: &Ledger, sink: i64, begun: Vec<(i64, i64)>, mut read: Read) -> Result<Read, LedgerError> {
    let border = read.now - LIVE;
    let live_first = read.turn.count % 4 != 3;
    read.turn.count += 1;
    for live in [live_first, !live_first] {
        let place = if live { read.turn.live } else { read.turn.past };
        let waiting = (!read.fresh).then(|| read.due.clone());
        let ask = Ask { sink, live, border, place, limit: PIECES, begun: begun.clone(), only: waiting };
        let pieces = ledger.pieces(ask).await?;
        if let Some(first) = pieces.first() {
            // the others may not have fitted: they are next
            let place = Place { stream: first.stream };
            *(if live { &mut read.turn.live } else { &mut read.turn.past }) = place;
            read.cut = Piece::enough(&pieces, PIECES);
            read.pieces = pieces;
            break;
        }
    }
    Ok(read)
}

/// How long until the first message that waits for its time is due; `None`: none waits.
pub(super) fn until_due(tracks: &Tracks, now: Millis) -> Option<Duration> {
    let due = tracks.next_due()?;
    Some(Duration::from_millis((due - now).clamp(0, 600_000) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_is_being_dropped_is_read_as_if_all_of_it_were_out() {
        let left_out = leave_out(vec![(2, 5), (4, 0), (7, 1)], &[1, 4]);
        assert_eq!(
            left_out,
            [(1, i64::MAX), (2, 5), (4, i64::MAX), (7, 1)],
            "in the order of contents, as the ledger wants it"
        );
    }
}
