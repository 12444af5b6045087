//! Records that a sink refused: kept as stored, with the sink's words (design §3, Quarantine).

use std::collections::BTreeMap;

use auditferry_contract::EventId;
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::{
    Ledger, LedgerError, Millis,
    gaps::{self, Found},
    requeue::{self, Body, Own},
    seen::damaged,
    streams,
};
use crate::fetch::chunk::{self, ChunkBuilder, Frame};

/// The sink's words are kept up to here (bytes).
const WORDS: usize = 2048;
/// What a frame adds to a record at most (bytes).
const HEAD: usize = 64;

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

impl Refused {
    /// What it takes in the quarantine at most, as [`Ledger::quarantine_bytes`] counts (bytes).
    pub fn bytes_at_most(&self) -> usize {
        let framed = HEAD + self.record.len();
        zstd::zstd_safe::compress_bound(framed) + self.words.len().min(WORDS) + self.operation.len().min(WORDS)
    }
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
    for c in text
        .trim_matches(|c: char| c.is_whitespace() || c.is_control())
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
    {
        if line.len() + c.len_utf8() > most {
            break;
        }
        line.push(c);
    }
    line
}

/// Which records of the quarantine a person means. It is fixed when it is asked, so that what is refused again meanwhile is not
/// among them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Of this sink only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink: Option<String>,
    /// These numbers only; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<i64>,
    /// None with a higher number.
    pub up_to: i64,
}

/// A record in quarantine, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Quarantined {
    /// Its number; never used again.
    pub id: i64,
    /// The sink that refused it.
    pub sink: String,
    /// Tenant GUID; `None`: an event of the agent itself.
    pub tenant: Option<String>,
    /// As `Audit.General`.
    pub content_type: String,
    /// The content that it came with.
    pub content_id: String,
    /// Its place in that body.
    pub position: i64,
    /// Its EventId.
    pub event: String,
    /// The wire `Operation`; may be empty.
    pub operation: String,
    /// When its content was published.
    pub created: Millis,
    /// When the sink refused it.
    pub refused_at: Millis,
    /// The sink's words.
    pub words: String,
    /// What it takes on disk (bytes).
    pub bytes: u64,
}

/// Slices that one transaction takes: more hold the writer for too long.
const SLICE: usize = 500;
const SLICE_BYTES: usize = 4 << 20;

const ROW: &str = "SELECT q.id, k.name, t.guid, q.content_type, q.content_id, q.position, q.event, q.operation, q.created, q.refused_at, q.words, q.bytes
  FROM quarantine q JOIN sink k ON k.id = q.sink JOIN stream s ON s.id = q.stream LEFT JOIN tenant t ON t.id = s.tenant";

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Quarantined> {
    let event: [u8; 16] = row.get(6)?;
    Ok(Quarantined {
        id: row.get(0)?,
        sink: row.get(1)?,
        tenant: row.get(2)?,
        content_type: row.get(3)?,
        content_id: row.get(4)?,
        position: row.get(5)?,
        event: EventId(event).to_string(),
        operation: row.get(7)?,
        created: row.get(8)?,
        refused_at: row.get(9)?,
        words: row.get(10)?,
        bytes: row.get::<_, i64>(11)?.max(0) as u64,
    })
}

impl Ledger {
    /// The quarantine of one sink, or of all, in the order of numbers, from behind `after`.
    pub async fn quarantined(
        &self,
        sink: Option<String>,
        after: i64,
        limit: usize,
    ) -> Result<Vec<Quarantined>, LedgerError> {
        self.read(move |connection| {
            let which = match sink {
                Some(_) => "q.sink = (SELECT id FROM sink WHERE name = ?1 AND retired_at IS NULL)",
                None => "k.retired_at IS NULL",
            };
            let sql = format!("{ROW} WHERE {which} AND q.id > ?2 ORDER BY q.id LIMIT ?3");
            let mut statement = connection.prepare_cached(&sql)?;
            Ok(statement.query_map(params![sink, after, limit as i64], row)?.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// One record in quarantine with its bytes as stored; `None`: there is none of this number (any more).
    pub async fn quarantined_record(&self, id: i64) -> Result<Option<(Quarantined, Vec<u8>)>, LedgerError> {
        self.read(move |connection| {
            let head = connection.prepare_cached(&format!("{ROW} WHERE q.id = ?"))?.query_row([id], row).optional()?;
            let Some(head) = head else { return Ok(None) };
            let stored: Vec<u8> = connection
                .prepare_cached("SELECT record FROM quarantine WHERE id = ?")?
                .query_row([id], |row| row.get(0))?;
            let opened = chunk::open(&stored).map_err(damaged)?;
            let record = match chunk::frames(&opened).next() {
                Some(frame) => frame.map_err(damaged)?.record.to_vec(),
                None => Vec::new(),
            };
            Ok(Some((head, record)))
        })
        .await
    }

    /// The number given last, 0 when there was none: what a selection of all is bounded by.
    pub async fn quarantine_last(&self) -> Result<i64, LedgerError> {
        self.read(|connection| {
            let last = connection
                .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'quarantine'")?
                .query_row([], |row| row.get(0))
                .optional()?;
            Ok(last.unwrap_or(0))
        })
        .await
    }
}

/// What is needed of a row to move or drop it.
struct Chosen {
    id: i64,
    sink: i64,
    stream: i64,
    tenant: Option<i64>,
    content_type: String,
    content_id: String,
    created: Millis,
    bytes: i64,
}

/// The next slice of a selection. `configured`: only of sinks that the configuration has.
fn choose(connection: &Connection, selection: &Selection, configured: bool) -> Result<Vec<Chosen>, LedgerError> {
    let which = match (&selection.sink, selection.ids.is_empty()) {
        (Some(_), true) => "q.sink = (SELECT id FROM sink WHERE name = ?1 AND retired_at IS NULL)",
        (None, true) => "k.retired_at IS NULL",
        _ => "q.id IN (SELECT value FROM json_each(?2)) AND (?1 IS NULL OR k.name = ?1) AND k.retired_at IS NULL",
    };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT q.id, q.sink, q.stream, s.tenant, q.content_type, q.content_id, q.created, q.bytes
         FROM quarantine q JOIN sink k ON k.id = q.sink JOIN stream s ON s.id = q.stream
         WHERE {which} AND q.id <= ?3 AND k.configured >= ?4 ORDER BY q.id LIMIT ?5"
    ))?;
    let ids = format!("{:?}", selection.ids);
    let rows = statement.query_map(params![selection.sink, ids, selection.up_to, configured, SLICE as i64], chosen)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Whether records of the selection are still there, for whatever reason.
pub(super) fn is_left(connection: &Connection, selection: &Selection) -> Result<bool, LedgerError> {
    Ok(!choose(connection, selection, false)?.is_empty())
}

fn chosen(row: &rusqlite::Row<'_>) -> rusqlite::Result<Chosen> {
    Ok(Chosen {
        id: row.get(0)?,
        sink: row.get(1)?,
        stream: row.get(2)?,
        tenant: row.get(3)?,
        content_type: row.get(4)?,
        content_id: row.get(5)?,
        created: row.get(6)?,
        bytes: row.get(7)?,
    })
}

/// Moves a slice of the selection back: owed again to the sink that refused it, as contents of their own. Returns how many; 0: none is left.
///
/// In the account that they leave, `owed` and `quarantined` fall and `requeued` rises; in that of the stream where they are requeued
/// `owed` rises, and so does what is pending.
pub(super) fn retry(connection: &Connection, selection: &Selection, now: Millis) -> Result<u64, LedgerError> {
    let mut groups: BTreeMap<(i64, i64, String), (Chosen, Body)> = BTreeMap::new();
    let (mut size, mut moved) = (0, 0);
    for one in choose(connection, selection, true)? {
        if size >= SLICE_BYTES {
            break;
        }
        let stored: Vec<u8> = connection
            .prepare_cached("SELECT record FROM quarantine WHERE id = ?")?
            .query_row([one.id], |row| row.get(0))?;
        let opened = chunk::open(&stored).map_err(damaged)?;
        size += opened.len();
        moved += 1;
        remove(connection, &one)?;
        connection
            .prepare_cached(
                "UPDATE account SET owed = owed - 1, quarantined = quarantined - 1, requeued = requeued + 1 WHERE stream = ?1 AND sink = ?2",
            )?
            .execute([one.stream, one.sink])?;
        let key = (one.sink, one.stream, one.content_id.clone());
        let (_, body) = groups.entry(key).or_insert_with(|| (one, Body::default()));
        for frame in chunk::frames(&opened) {
            body.push(&frame.map_err(damaged)?)?;
        }
    }
    for (first, body) in groups.into_values() {
        let origin = if first.tenant.is_some() { "requeue" } else { "agent" };
        let stream = streams::own_stream(connection, first.tenant, origin, now)?;
        requeue::open_account(connection, stream, first.sink)?;
        // a number is never given twice, so this name is new
        let name = format!("quarantine-{}", first.id);
        let of = Some((first.content_type.as_str(), first.content_id.as_str()));
        let own = Own { stream, name: &name, of, created: first.created, sinks: &[first.sink] };
        requeue::store(connection, &own, body, now)?;
    }
    Ok(moved)
}

/// Gives a slice of the selection up: each record is in a gap. Returns how many; 0: none is left.
pub(super) fn drop(
    connection: &Connection,
    selection: &Selection,
    request: i64,
    now: Millis,
) -> Result<u64, LedgerError> {
    lose(connection, choose(connection, selection, false)?, "dropped by an operator", request, now)
}

/// Whose records [`drop_all`] takes, by a key: all of a sink.
pub(super) const OF_SINK: &str = "q.sink = ?1";
/// All of a tenant.
pub(super) const OF_TENANT: &str = "q.stream IN (SELECT id FROM stream WHERE tenant = ?1)";

/// The same for whatever there is.
pub(super) fn drop_all(
    connection: &Connection,
    (which, key): (&str, i64),
    reason: &'static str,
    request: i64,
    now: Millis,
) -> Result<u64, LedgerError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT q.id, q.sink, q.stream, NULL, q.content_type, q.content_id, q.created, q.bytes FROM quarantine q WHERE {which} ORDER BY q.id LIMIT ?2"
    ))?;
    let rows = statement.query_map(params![key, SLICE as i64], chosen)?.collect::<rusqlite::Result<_>>()?;
    lose(connection, rows, reason, request, now)
}

fn lose(
    connection: &Connection,
    rows: Vec<Chosen>,
    reason: &'static str,
    request: i64,
    now: Millis,
) -> Result<u64, LedgerError> {
    let mut gaps: BTreeMap<(i64, i64), Found> = BTreeMap::new();
    for one in &rows {
        remove(connection, one)?;
        connection
            .prepare_cached(
                "UPDATE account SET quarantined = quarantined - 1, lost = lost + 1 WHERE stream = ?1 AND sink = ?2",
            )?
            .execute([one.stream, one.sink])?;
        let found = gaps.entry((one.stream, one.sink)).or_insert_with(|| Found {
            sink: Some(one.sink),
            records: Some(0),
            request: Some(request),
            ..Found::window(one.stream, one.created, one.created + 1, reason, false)
        });
        found.from = found.from.min(one.created);
        found.to = found.to.max(one.created + 1);
        found.records = found.records.map(|records| records + 1);
    }
    for found in gaps.values() {
        gaps::record(connection, found, now)?;
    }
    Ok(rows.len() as u64)
}

fn remove(connection: &Connection, one: &Chosen) -> Result<(), LedgerError> {
    connection.prepare_cached("DELETE FROM quarantine WHERE id = ?")?.execute([one.id])?;
    add_bytes(connection, one.sink, -one.bytes)
}
