//! What is known to be lost, and what has been said about it.

use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;

use super::{Ledger, LedgerError, Millis};

/// A gap closes when it was not extended for this long.
const QUIET: Millis = 3_600_000;
/// A gap that grows is spoken of at most this often.
const REPEAT: Millis = 3_600_000;
/// And not before it has become older by this part: a loss that goes on for a week is told of some thirty times, not 170 times per sink.
const PART: Millis = 8;

/// A loss just found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub stream: i64,
    pub sink: Option<i64>,
    pub content: Option<i64>,
    pub from: Millis,
    pub to: Millis,
    pub records: Option<i64>,
    pub reason: &'static str,
    pub suspected: bool,
    /// The request by which a person decided it.
    pub request: Option<i64>,
}

impl Found {
    pub(super) fn window(stream: i64, from: Millis, to: Millis, reason: &'static str, suspected: bool) -> Found {
        Found { stream, sink: None, content: None, from, to, records: None, reason, suspected, request: None }
    }
}

/// A row of the gap table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// Key.
    pub id: i64,
    /// The stream, as `tenant/content type`.
    pub tenant: Option<String>,
    /// As `Audit.General`.
    pub content_type: String,
    /// The sink that lost it; `None`: all.
    pub sink: Option<String>,
    /// The content's id, when it is one.
    pub content_id: Option<String>,
    /// Publication time of the first thing lost.
    pub from: Millis,
    /// Publication time up to which things are lost.
    pub to: Millis,
    /// How many records; `None`: not known.
    pub records: Option<u64>,
    /// In plain words.
    pub reason: String,
    /// Nothing may be missing at all.
    pub suspected: bool,
    /// When it was found.
    pub found_at: Millis,
    /// When it was over.
    pub closed_at: Option<Millis>,
    /// Who decided it, when a person did (`quarantine drop`, `retire-sink`).
    pub asked_by: Option<String>,
}

/// A gap that every sink must hear about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GapNews {
    /// The gap as it stands.
    pub gap: Gap,
    /// `opened`, `grown` or `closed`.
    pub what: &'static str,
}

/// Writes a gap; one that adjoins the last of the same stream, sink and reason extends it, and so does all that one request decides.
pub(super) fn record(connection: &Connection, found: &Found, now: Millis) -> Result<(), LedgerError> {
    let last: Option<(i64, Millis, Option<i64>)> = connection
        .prepare_cached(
            "SELECT id, to_time, records FROM gap WHERE stream = ?1 AND reason = ?2 AND ifnull(sink, 0) = ifnull(?3, 0)
               AND ifnull(request, 0) = ifnull(?4, 0) AND closed_at IS NULL
             ORDER BY id DESC LIMIT 1",
        )?
        .query_row(params![found.stream, found.reason, found.sink, found.request], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    // contents are minutes apart: what is lost within an hour of the last loss is one gap to a person
    if let Some((id, to, records)) = last
        && (found.from <= to + QUIET || found.request.is_some())
    {
        let records = records.zip(found.records).map(|(before, more)| before + more);
        connection
            .prepare_cached(
                "UPDATE gap SET from_time = min(from_time, ?2), to_time = max(to_time, ?3), records = ?4, content = NULL, changed_at = ?5 WHERE id = ?1",
            )?
            .execute(params![id, found.from, found.to, records, now])?;
        return Ok(());
    }
    connection
        .prepare_cached(
            "INSERT INTO gap (stream, sink, content, from_time, to_time, records, reason, suspected, found_at, changed_at, request)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?10)",
        )?
        .execute(params![
            found.stream,
            found.sink,
            found.content,
            found.from,
            found.to,
            found.records,
            found.reason,
            found.suspected,
            now,
            found.request
        ])?;
    Ok(())
}

/// Counts a content that was lost before it was read: how many records it had is not known.
pub(super) fn lost_content(connection: &Connection, stream: i64, sink: i64, reason: &str) -> Result<(), LedgerError> {
    connection
        .prepare_cached(
            "INSERT INTO lost_content (stream, sink, reason, contents) VALUES (?1, ?2, ?3, 1)
             ON CONFLICT (stream, sink, reason) DO UPDATE SET contents = contents + 1",
        )?
        .execute(params![stream, sink, reason])?;
    Ok(())
}

const GAP: &str = "SELECT g.id, t.guid, s.content_type, k.name, c.content_id, g.from_time, g.to_time, g.records, g.reason, g.suspected,
  g.found_at, g.closed_at, g.announced_at, r.who FROM gap g JOIN stream s ON s.id = g.stream LEFT JOIN tenant t ON t.id = s.tenant
  LEFT JOIN sink k ON k.id = g.sink LEFT JOIN content c ON c.id = g.content LEFT JOIN request r ON r.id = g.request";

fn gap(row: &rusqlite::Row<'_>) -> rusqlite::Result<Gap> {
    Ok(Gap {
        id: row.get(0)?,
        tenant: row.get(1)?,
        content_type: row.get(2)?,
        sink: row.get(3)?,
        content_id: row.get(4)?,
        from: row.get(5)?,
        to: row.get(6)?,
        records: row.get::<_, Option<i64>>(7)?.map(|records| records.max(0) as u64),
        reason: row.get(8)?,
        suspected: row.get(9)?,
        found_at: row.get(10)?,
        closed_at: row.get(11)?,
        asked_by: row.get(13)?,
    })
}

impl Ledger {
    /// The latest gaps, newest first.
    pub async fn gaps(&self, limit: usize) -> Result<Vec<Gap>, LedgerError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!("{GAP} ORDER BY g.id DESC LIMIT ?"))?;
            Ok(statement.query_map([limit as i64], gap)?.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// Closes gaps that are over, and says which of them every sink must hear about now.
    pub async fn gap_news(&self, now: Millis) -> Result<Vec<GapNews>, LedgerError> {
        self.write("gap news", move |connection| {
            connection.prepare_cached("UPDATE gap SET closed_at = ?1 WHERE announced_closed = 0 AND closed_at IS NULL AND changed_at <= ?1 - ?2")?.execute(params![now, QUIET],
            )?;
            let mut statement = connection.prepare_cached(&format!(
                "{GAP} WHERE g.announced_closed = 0 AND (g.announced_at IS NULL OR g.closed_at IS NOT NULL
                   OR (g.changed_at > g.announced_at AND g.announced_at <= ?1 - max(?2, (?1 - g.found_at) / ?3))) ORDER BY g.id LIMIT 100"
            ))?;
            let news = statement.query_map(params![now, REPEAT, PART], |row| {
                let gap = gap(row)?;
                let announced: Option<Millis> = row.get(12)?;
                let what = match (announced, gap.closed_at) {
                    (None, _) => "opened",
                    (_, Some(_)) => "closed",
                    _ => "grown",
                };
                Ok(GapNews { gap, what })
            })?;
            Ok(news.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }
}

/// Notes that every sink is owed the news; part of the transaction that owes it.
pub(super) fn announced(connection: &Connection, gap: i64, what: &str, now: Millis) -> Result<(), LedgerError> {
    connection
        .prepare_cached("UPDATE gap SET announced_at = ?2, announced_closed = ?3 WHERE id = ?1")?
        .execute(params![gap, now, what == "closed"])?;
    Ok(())
}
