//! Contents that the agent makes itself: its own events, new ids of a body that changed, records out of quarantine.

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

/// A content to be stored, and to whom it is owed.
pub(super) struct Own<'a> {
    pub stream: i64,
    /// Not yet used in its stream.
    pub name: &'a str,
    /// Content type and content id that its records came with.
    pub of: Option<(&'a str, &'a str)>,
    /// When it was published: of records that came with another content, when that was.
    pub created: Millis,
    pub sinks: &'a [i64],
}

/// The body of such a content, cut into chunks of the usual size.
#[derive(Default)]
pub(super) struct Body {
    builder: ChunkBuilder,
    chunks: Vec<(Vec<u8>, u32)>,
}

impl Body {
    pub(super) fn push(&mut self, frame: &Frame<'_>) -> Result<(), LedgerError> {
        if self.builder.is_full() {
            self.cut()?;
        }
        self.builder.push(frame);
        Ok(())
    }

    fn cut(&mut self) -> Result<(), LedgerError> {
        let full = |error: std::io::Error| LedgerError::Broken(format!("a chunk can't be compressed: {error}"));
        self.chunks.extend(self.builder.take().map_err(full)?);
        Ok(())
    }
}

impl Ledger {
    /// Owes every sink an event about a gap, and notes that it was announced, in one transaction.
    pub async fn announce_gap(&self, news: &GapNews, event: OwnEvent, now: Millis) -> Result<(), LedgerError> {
        let (gap, what) = (news.gap.id, news.what);
        self.write("own event", move |connection| {
            owe_everybody(connection, &format!("gap-{gap}-{what}-{now}"), &event, now)?;
            gaps::announced(connection, gap, what, now)
        })
        .await
    }
}

/// Owes every sink an event of the agent; part of the transaction that notes that it was said.
pub(super) fn owe_everybody(
    connection: &Connection,
    name: &str,
    event: &OwnEvent,
    now: Millis,
) -> Result<(), LedgerError> {
    let stream = streams::own_stream(connection, None, "agent", now)?;
    let mut body = Body::default();
    let frame = Frame { id: event.id, second: now / 1000, unreadable: false, no_id: true, record: &event.record };
    body.push(&frame)?;
    let sinks: Vec<i64> = connection
        .prepare_cached("SELECT sink FROM account WHERE stream = ? AND active = 1")?
        .query_map([stream], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    store(connection, &Own { stream, name, of: None, created: now, sinks: &sinks }, body, now)
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
               AND NOT EXISTS (SELECT 1 FROM sink k WHERE k.id = a.sink AND k.retired_at IS NOT NULL)
               AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.sink = a.sink AND d.content = ?1)",
        )?
        .query_map([content], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    if finished.is_empty() {
        return Ok(());
    }
    let own = streams::own_stream(connection, Some(tenant), "requeue", now)?;
    let mut body = Body::default();
    let mut statement = connection.prepare_cached(
        "SELECT k.first, k.body FROM chunk k WHERE k.content = ?1 AND EXISTS (SELECT 1 FROM newcomer n WHERE n.content = ?1
           AND n.position >= k.first AND n.position < k.first + k.records) ORDER BY k.seq",
    )?;
    let mut wanted =
        connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM newcomer WHERE content = ?1 AND position = ?2)")?;
    let mut rows = statement.query([content])?;
    while let Some(row) = rows.next()? {
        let (first, stored): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
        let opened = chunk::open(&stored).map_err(damaged)?;
        for (offset, frame) in chunk::frames(&opened).enumerate() {
            if wanted.query_row([content, first + offset as i64], |row| row.get::<_, bool>(0))? {
                body.push(&frame.map_err(damaged)?)?;
            }
        }
    }
    for sink in &finished {
        open_account(connection, own, *sink)?;
    }
    let (content_id, generation, created, content_type): (String, i64, Millis, String) = connection
        .prepare_cached(
            "SELECT c.content_id, c.generation, c.created, s.content_type FROM content c JOIN stream s ON s.id = c.stream WHERE c.id = ?",
        )?
        .query_row([content], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    let name = format!("{content_id}+{generation}@{stream}");
    let of = Some((content_type.as_str(), content_id.as_str()));
    store(connection, &Own { stream: own, name: &name, of, created, sinks: &finished }, body, now)
}

/// The account of a sink on a stream of our own; nothing that is stored there is too old for it.
pub(super) fn open_account(connection: &Connection, stream: i64, sink: i64) -> Result<(), LedgerError> {
    connection
        .prepare_cached("INSERT INTO account (stream, sink, since) VALUES (?1, ?2, 0) ON CONFLICT DO NOTHING")?
        .execute([stream, sink])?;
    Ok(())
}

/// Stores a content of our own. It has been through `seen` already, or never goes: no record in it is ever skipped as a copy.
pub(super) fn store(connection: &Connection, own: &Own<'_>, mut body: Body, now: Millis) -> Result<(), LedgerError> {
    body.cut()?;
    let records: i64 = body.chunks.iter().map(|(_, records)| i64::from(*records)).sum();
    if records == 0 {
        return Ok(());
    }
    let kept = if own.sinks.is_empty() { Vec::new() } else { body.chunks };
    let bytes: i64 = kept.iter().map(|(chunk, _)| chunk.len() as i64).sum();
    let state = if own.sinks.is_empty() { 3 } else { 2 };
    let (of_type, of_content) = own.of.unzip();
    connection
        .prepare_cached(
            "INSERT INTO content (stream, content_id, uri, created, expires, admitted, fetched, state, records, bytes, of_type, of_content)
             VALUES (?1, ?2, '', ?3, ?4, ?5, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![own.stream, own.name, own.created, NEVER, now, state, records, bytes, of_type, of_content])?;
    let content = connection.last_insert_rowid();
    connection
        .prepare_cached("UPDATE stream SET read = read + ?2, accepted = accepted + ?2 WHERE id = ?1")?
        .execute(params![own.stream, records])?;
    let mut first = 0;
    for (seq, (chunk, count)) in kept.iter().enumerate() {
        connection
            .prepare_cached("INSERT INTO chunk (content, seq, first, records, body) VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![content, seq as i64, first, count, chunk])?;
        first += i64::from(*count);
    }
    contents::add_stored(connection, bytes)?;
    for sink in own.sinks {
        connection
            .prepare_cached("INSERT INTO delivery (sink, content, stream, created, ready) VALUES (?1, ?2, ?3, ?4, 1)")?
            .execute(params![sink, content, own.stream, own.created])?;
        connection
            .prepare_cached("UPDATE account SET owed = owed + ?3 WHERE stream = ?1 AND sink = ?2")?
            .execute(params![own.stream, sink, records])?;
        connection.prepare_cached("UPDATE sink SET ahead = ahead + ?2 WHERE id = ?1")?.execute(params![sink, bytes])?;
    }
    Ok(())
}
