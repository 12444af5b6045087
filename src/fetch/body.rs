//! One body: streamed, split, selected, written to the ledger chunk by chunk as it arrives.

use super::{
    Origin, Trouble,
    chunk::ChunkBuilder,
    select::{Judge, Verdict},
    split::{Limits, Piece, SplitError, Splitter},
};
use crate::{
    agent::millis,
    ledger::{Counts, FetchTarget, Ledger, LedgerError},
    world::World,
};

/// Chunks that are full and wait to be written while one network buffer is worked off.
struct Out<'a> {
    judge: Judge<'a>,
    builder: ChunkBuilder,
    full: Vec<(Vec<u8>, u32)>,
    counts: Counts,
    failed: Option<std::io::Error>,
}

/// Fetches and stores the body of `target`; when this returns `Ok`, the last chunk is on disk and the content is complete.
pub(super) async fn store(
    world: &World,
    ledger: &Ledger,
    origin: &Origin,
    target: &FetchTarget,
) -> Result<(), Trouble> {
    let mut blob = origin.source.fetch(&target.uri).await?;
    let mut splitter = Splitter::new(Limits::default());
    let mut out = Out {
        judge: Judge::new(origin.select, &target.tenant, &target.content_id),
        builder: ChunkBuilder::default(),
        full: Vec::new(),
        counts: Counts::default(),
        failed: None,
    };
    let (mut seq, mut first) = (0, 0);
    while let Some(bytes) = blob.next().await? {
        splitter.push(&bytes, &mut |piece| out.take(piece)).map_err(malformed)?;
        out.write(ledger, target.content, &mut seq, &mut first).await?;
    }
    splitter.finish().map_err(malformed)?;
    out.close();
    out.write(ledger, target.content, &mut seq, &mut first).await?;
    ledger.complete(target.content, out.counts, millis(world)).await?;
    Ok(())
}

/// A body that is not the array it should be is fetched again, until it expires.
fn malformed(error: SplitError) -> Trouble {
    Trouble::Malformed(format!("the body can't be read: {error}"))
}

impl Out<'_> {
    fn take(&mut self, piece: Piece<'_>) {
        self.counts.read += 1;
        let frame = match piece {
            Piece::Record(record) => match self.judge.look(record) {
                Verdict::Kept(frame) => frame,
                Verdict::Unselected => {
                    self.counts.unselected += 1;
                    return;
                }
            },
            Piece::TooDeep(record) => self.judge.unreadable(record),
            Piece::Oversize { head, .. } => self.judge.unreadable(head),
        };
        self.counts.unreadable += u64::from(frame.unreadable);
        self.counts.records += 1;
        self.builder.push(&frame);
        if self.builder.is_full() {
            self.close();
        }
    }

    fn close(&mut self) {
        match self.builder.take() {
            Ok(chunk) => self.full.extend(chunk),
            Err(error) => self.failed = Some(error),
        }
    }

    async fn write(
        &mut self,
        ledger: &Ledger,
        content: i64,
        seq: &mut u32,
        first: &mut u64,
    ) -> Result<(), LedgerError> {
        if let Some(error) = self.failed.take() {
            return Err(LedgerError::Broken(format!("a chunk can't be compressed: {error}")));
        }
        for (body, records) in std::mem::take(&mut self.full) {
            ledger.store_chunk(content, *seq, *first, records, body).await?;
            *seq += 1;
            *first += u64::from(records);
        }
        Ok(())
    }
}
