//! Contents that the agent makes itself: its own events, and new ids of a body that changed.

use rusqlite::{Connection, params};

use super::{GapNews, Ledger, LedgerError, Millis, contents, gaps, seen::damaged, streams};
use crate::fetch::chunk::{self, ChunkBuilder, Frame};

/// Bodies that can't be fetched again expire in no time that matters.
const NEVER: Millis = i64::MAX / 4;

/// An event of the agent itself, as a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnEvent {
    /// Its EventId.
    pub id: auditferry_contract::EventId,
    /// The record, JSON.
    pub record: Vec<u8>,
}

impl Ledger {
    /// Owes every sink an event about a gap, and notes that it was announced, in one transaction.
    pub async fn announce_gap(&self, news: &GapNews, event: OwnEvent, now: Millis) -> Result<(), LedgerError> {
        let (gap, what) = (news.gap.id, news.what);
        self.write("own event", move |connection| {
            let stream = streams::own_stream(connection, None, "agent", now)?;
            let mut builder = ChunkBuilder::default();
            builder.push(&Frame {
                id: event.id,
                second: now / 1000,
                unreadable: false,
                no_id: true,
                record: &event.record,
            });
            let sinks: Vec<i64> = connection
                .prepare_cached("SELECT sink FROM account WHERE stream = ? AND active = 1")?
                .query_map([stream], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            let name = format!("gap-{gap}-{what}-{now}");
            store(connection, stream, &name, builder, &sinks, now)?;
            gaps::announced(connection, gap, what, now)
        })
        .await
    }
}

/// Owes the new ids of a changed body to the sinks that had finished with it.
pub(super) fn owe_newcomers(
    connection: &Connection,
    content: i64,
    stream: i64,
    tenant: i64,
    now: Millis,
) -> Result<(), LedgerError> {
    let finished: Vec<i64> = connection
        .prepare_cached(
            "SELECT a.sink FROM account a JOIN content c ON c.stream = a.stream WHERE c.id = ?1 AND a.since <= c.created
               AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.sink = a.sink AND d.content = ?1)",
        )?
        .query_map([content], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    if finished.is_empty() {
        return Ok(());
    }
    let own = streams::own_stream(connection, Some(tenant), "requeue", now)?;
    let mut builder = ChunkBuilder::default();
    let mut statement = connection.prepare_cached(
        "SELECT k.first, k.body FROM chunk k WHERE k.content = ?1 AND EXISTS (SELECT 1 FROM newcomer n WHERE n.content = ?1
           AND n.position >= k.first AND n.position < k.first + k.records) ORDER BY k.seq",
    )?;
    let mut wanted =
        connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM newcomer WHERE content = ?1 AND position = ?2)")?;
    let mut rows = statement.query([content])?;
    while let Some(row) = rows.next()? {
        let (first, body): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
        let opened = chunk::open(&body).map_err(damaged)?;
        for (offset, frame) in chunk::frames(&opened).enumerate() {
            if wanted.query_row([content, first + offset as i64], |row| row.get::<_, bool>(0))? {
                builder.push(&frame.map_err(damaged)?);
            }
        }
    }
    for sink in &finished {
        connection
            .prepare_cached("INSERT INTO account (stream, sink, since) VALUES (?1, ?2, 0) ON CONFLICT DO NOTHING")?
            .execute([own, *sink])?;
    }
    let (content_id, generation): (String, i64) = connection
        .prepare_cached("SELECT content_id, generation FROM content WHERE id = ?")?
        .query_row([content], |row| Ok((row.get(0)?, row.get(1)?)))?;
    store(connection, own, &format!("{content_id}+{generation}@{stream}"), builder, &finished, now)
}

/// Stores a content of our own, owed to `sinks`. It has been through `seen` already, or never goes.
fn store(
    connection: &Connection,
    stream: i64,
    name: &str,
    mut builder: ChunkBuilder,
    sinks: &[i64],
    now: Millis,
) -> Result<(), LedgerError> {
    let full = |error: std::io::Error| LedgerError::Broken(format!("a chunk can't be compressed: {error}"));
    let Some((body, records)) = builder.take().map_err(full)? else { return Ok(()) };
    let bytes = body.len() as i64;
    let state = if sinks.is_empty() { 3 } else { 2 };
    connection
        .prepare_cached(
            "INSERT INTO content (stream, content_id, uri, created, expires, admitted, fetched, state, records, bytes)
         VALUES (?1, ?2, '', ?3, ?4, ?3, ?3, ?5, ?6, 0)",
        )?
        .execute(params![stream, name, now, NEVER, state, records])?;
    let content = connection.last_insert_rowid();
    connection
        .prepare_cached("UPDATE stream SET read = read + ?2, accepted = accepted + ?2 WHERE id = ?1")?
        .execute(params![stream, records])?;
    if sinks.is_empty() {
        return Ok(());
    }
    connection
        .prepare_cached("INSERT INTO chunk (content, seq, first, records, body) VALUES (?1, 0, 0, ?2, ?3)")?
        .execute(params![content, records, body])?;
    connection.prepare_cached("UPDATE content SET bytes = ?2 WHERE id = ?1")?.execute(params![content, bytes])?;
    contents::add_stored(connection, bytes)?;
    for sink in sinks {
        connection
            .prepare_cached("INSERT INTO delivery (sink, content, stream, created, ready) VALUES (?1, ?2, ?3, ?4, 1)")?
            .execute(params![sink, content, stream, now])?;
        connection
            .prepare_cached("UPDATE account SET owed = owed + ?3 WHERE stream = ?1 AND sink = ?2")?
            .execute(params![stream, sink, records])?;
        connection.prepare_cached("UPDATE sink SET ahead = ahead + ?2 WHERE id = ?1")?.execute(params![sink, bytes])?;
    }
    Ok(())
}
