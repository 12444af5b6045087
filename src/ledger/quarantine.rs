//! Records that a sink refused: kept as stored, with the sink's words (design §3, Quarantine).

use auditferry_contract::EventId;
use rusqlite::{Connection, params};

use super::{Ledger, LedgerError, Millis};
use crate::fetch::chunk::{ChunkBuilder, Frame};

/// The sink's words are kept up to here (bytes).
const WORDS: usize = 2048;

/// A record that its sink will never take, as it lies in the stored body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Key of the content.
    pub content: i64,
    /// Its position among the records of the stored body.
    pub position: i64,
    /// Its EventId.
    pub id: EventId,
    /// The wire `Operation`, for a person who reads the list; may be empty.
    pub operation: String,
    /// The sink's words. Kept as one line, at most 2 KiB.
    pub words: String,
    /// The record's bytes, as in the stored frame.
    pub record: Vec<u8>,
    /// As in the stored frame: the record's `CreationTime` in seconds since 1970.
    pub second: i64,
    /// As in the stored frame: delivered as an unreadable event.
    pub unreadable: bool,
    /// As in the stored frame: never compared with other records.
    pub no_id: bool,
}

impl Ledger {
    /// What the quarantine of `sink` holds on disk (bytes): compressed records and the words beside them.
    pub async fn quarantine_bytes(&self, sink: i64) -> Result<u64, LedgerError> {
        self.read(move |connection| {
            let bytes: i64 = connection
                .prepare_cached("SELECT quarantine_bytes FROM sink WHERE id = ?")?
                .query_row([sink], |row| row.get(0))?;
            Ok(bytes.max(0) as u64)
        })
        .await
    }
}

/// Keeps what a sink refused; part of the transaction that moves its delivery past it.
pub(super) fn keep(connection: &Connection, sink: i64, refused: &[&Refused], now: Millis) -> Result<(), LedgerError> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO quarantine (sink, stream, content_type, content_id, position, created, event, operation, refused_at, words, record, bytes)
         SELECT ?1, c.stream, ifnull(c.of_type, s.content_type), ifnull(c.of_content, c.content_id), ?3, c.created, ?4, ?5, ?6, ?7, ?8, ?9
         FROM content c JOIN stream s ON s.id = c.stream WHERE c.id = ?2",
    )?;
    let mut sum = 0;
    for one in refused {
        let mut builder = ChunkBuilder::default();
        builder.push(&Frame {
            id: one.id,
            second: one.second,
            unreadable: one.unreadable,
            no_id: one.no_id,
            record: &one.record,
        });
        let full = |error: std::io::Error| LedgerError::Broken(format!("a record can't be compressed: {error}"));
        let Some((record, _)) = builder.take().map_err(full)? else { continue };
        let (words, operation) = (one_line(&one.words, WORDS), one_line(&one.operation, WORDS));
        let bytes = (record.len() + words.len() + operation.len()) as i64;
        insert.execute(params![sink, one.content, one.position, one.id.0, operation, now, words, record, bytes])?;
        sum += bytes;
    }
    add_bytes(connection, sink, sum)
}

/// Keeps `sink.quarantine_bytes`.
pub(super) fn add_bytes(connection: &Connection, sink: i64, bytes: i64) -> Result<(), LedgerError> {
    if bytes != 0 {
        connection
            .prepare_cached("UPDATE sink SET quarantine_bytes = quarantine_bytes + ?2 WHERE id = ?1")?
            .execute([sink, bytes])?;
    }
    Ok(())
}

/// One line of at most `most` bytes, cut between characters; what would break the line becomes a blank.
fn one_line(text: &str, most: usize) -> String {
    let mut line = String::with_capacity(text.len().min(most));
    for c in text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if line.len() + c.len_utf8() > most {
            break;
        }
        line.push(c);
    }
    line
}
