//! How records lie in the ledger: a version byte, then zstd over frames of id, second, flags, length, record.

use auditferry_contract::EventId;

/// A chunk is closed when it holds this much before compression (bytes).
pub const CHUNK_BYTES: usize = 256 * 1024;
const VERSION: u8 = 1;
const HEAD: usize = 16 + 8 + 1 + 4;
const UNREADABLE: u8 = 1;
const NO_ID: u8 = 2;

/// One record as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Computed at fetch, before redaction.
    pub id: EventId,
    /// The record's `CreationTime` in seconds since 1970; 0 when it has none.
    pub second: i64,
    /// Not JSON, too deep, too large, or a panic inside: delivered as an unreadable event.
    pub unreadable: bool,
    /// Without `Id`: never compared with other records.
    pub no_id: bool,
    /// The bytes as Microsoft sent them.
    pub record: &'a [u8],
}

/// Why a stored chunk can't be read: a damaged file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stored chunk is damaged: {0}")]
pub struct Damaged(pub String);

/// Collects frames until a chunk is full.
#[derive(Default)]
pub struct ChunkBuilder {
    frames: Vec<u8>,
    records: u32,
}

impl ChunkBuilder {
    /// Adds a record.
    pub fn push(&mut self, frame: &Frame<'_>) {
        let flags = u8::from(frame.unreadable) * UNREADABLE | u8::from(frame.no_id) * NO_ID;
        self.frames.extend_from_slice(&frame.id.0);
        self.frames.extend_from_slice(&frame.second.to_le_bytes());
        self.frames.push(flags);
        self.frames.extend_from_slice(&(frame.record.len() as u32).to_le_bytes());
        self.frames.extend_from_slice(frame.record);
        self.records += 1;
    }

    /// True when the next record belongs to the next chunk.
    pub fn is_full(&self) -> bool {
        self.frames.len() >= CHUNK_BYTES
    }

    /// The chunk and how many records it has; `None` when there are none. The builder is empty again.
    pub fn take(&mut self) -> std::io::Result<Option<(Vec<u8>, u32)>> {
        if self.records == 0 {
            return Ok(None);
        }
        let mut body = vec![VERSION];
        body.extend(zstd::bulk::compress(&self.frames, 1)?);
        let records = std::mem::take(&mut self.records);
        self.frames.clear();
        self.frames.shrink_to(4 * CHUNK_BYTES);
        Ok(Some((body, records)))
    }
}

/// The frames of a stored chunk, decompressed; read them with [`frames`].
pub fn open(body: &[u8]) -> Result<Vec<u8>, Damaged> {
    match body.split_first() {
        Some((&VERSION, compressed)) => {
            zstd::stream::decode_all(compressed).map_err(|error| Damaged(error.to_string()))
        }
        Some((version, _)) => Err(Damaged(format!("version {version} is not known"))),
        None => Err(Damaged("it is empty".into())),
    }
}

/// Walks the frames of an opened chunk.
pub fn frames(mut bytes: &[u8]) -> impl Iterator<Item = Result<Frame<'_>, Damaged>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let frame = read(&mut bytes);
        if frame.is_none() {
            bytes = &[];
        }
        Some(frame.ok_or_else(|| Damaged("a frame is cut".into())))
    })
}

fn read<'a>(bytes: &mut &'a [u8]) -> Option<Frame<'a>> {
    let (head, rest) = bytes.split_at_checked(HEAD)?;
    let length = u32::from_le_bytes(head[25..29].try_into().ok()?) as usize;
    let (record, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    Some(Frame {
        id: EventId(head[..16].try_into().ok()?),
        second: i64::from_le_bytes(head[16..24].try_into().ok()?),
        unreadable: head[24] & UNREADABLE != 0,
        no_id: head[24] & NO_ID != 0,
        record,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_and_damage_is_an_error() {
        let mut builder = ChunkBuilder::default();
        let frame =
            |n: u8, record| Frame { id: EventId([n; 16]), second: -5, unreadable: n == 2, no_id: n == 3, record };
        let written = [frame(1, b"{}".as_slice()), frame(2, b""), frame(3, b"\xff")];
        written.iter().for_each(|frame| builder.push(frame));
        let (body, records) = builder.take().unwrap().unwrap();
        assert_eq!(records, 3);
        let opened = open(&body).unwrap();
        let read: Vec<_> = frames(&opened).map(Result::unwrap).collect();
        assert_eq!(read, written);
        assert!(frames(&opened[..opened.len() - 1]).any(|frame| frame.is_err()));
        assert!(open(&body[..body.len() - 3]).is_err());
        assert_eq!(builder.take().unwrap(), None);
    }
}
