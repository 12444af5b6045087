//! `retire-sink`: a sink that is gone from the configuration is ended, and what it was owed becomes gaps.

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    LedgerError, Millis, deliveries,
    gaps::{self, Found},
    quarantine,
    requests::Step,
};

/// At most so many deliveries, and about so many bytes of bodies, are ended in one transaction.
const SLICE: usize = 100;
const SLICE_BYTES: i64 = 8 << 20;

/// Why a person had something given up.
pub(super) struct Reasons {
    /// Its records are known.
    pub(super) stored: &'static str,
    /// It was never read: nobody knows what was in it.
    pub(super) unread: &'static str,
}

const REASONS: Reasons = Reasons {
    stored: "its sink was retired by an operator",
    unread: "its sink was retired by an operator, and it was never read",
};

/// One bounded step. The first one decides, and marks the sink as retired: from there on its name is free for a new one, and only
/// this request goes on with it.
pub(super) fn step(
    connection: &Connection,
    request: i64,
    name: &str,
    begun: Option<i64>,
    now: Millis,
) -> Result<Step, LedgerError> {
    let Some(sink) = begun else { return begin(connection, request, name, now) };
    let ended = deliveries_of(connection, sink)?;
    if ended.is_empty() {
        let records = quarantine::drop_all(connection, (quarantine::OF_SINK, sink), REASONS.stored, request, now)?;
        return Ok(Step { records, contents: 0, end: (records == 0).then_some(Ok(String::new())) });
    }
    let mut step = Step::default();
    for owed in &ended {
        end(connection, request, sink, owed, now)?;
        match owed.records {
            Some(records) => step.records += (records - owed.progress).max(0) as u64,
            None => step.contents += 1,
        }
    }
    Ok(step)
}

fn begin(connection: &Connection, request: i64, name: &str, now: Millis) -> Result<Step, LedgerError> {
    let found: Option<(i64, bool)> = connection
        .prepare_cached("SELECT id, configured FROM sink WHERE name = ? AND retired_at IS NULL")?
        .query_row([name], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let sink = match found {
        None => return Ok(Step::refused(format!("there is no sink `{name}` that could be retired"))),
        Some((_, true)) => {
            return Ok(Step::refused(format!(
                "the agent runs with sink `{name}`: take it out of the configuration, start the agent again, and ask once more"
            )));
        }
        Some((sink, false)) => sink,
    };
    connection.prepare_cached("UPDATE sink SET retired_at = ?2 WHERE id = ?1")?.execute([sink, now])?;
    connection.prepare_cached("UPDATE request SET sink = ?2 WHERE id = ?1")?.execute([request, sink])?;
    connection.prepare_cached("DELETE FROM trouble WHERE kind = 'sink' AND name = ?")?.execute([name])?;
    Ok(Step::default())
}

/// An open delivery.
pub(super) struct Owed {
    content: i64,
    stream: i64,
    created: Millis,
    pub(super) progress: i64,
    ready: bool,
    state: i64,
    bytes: i64,
    /// `None`: not known, it was never stored.
    pub(super) records: Option<i64>,
}

impl Owed {
    /// From the columns content, stream, created, progress, ready, state, bytes, records, the first of them number `at`.
    pub(super) fn read(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Owed> {
        Ok(Owed {
            content: row.get(at)?,
            stream: row.get(at + 1)?,
            created: row.get(at + 2)?,
            progress: row.get(at + 3)?,
            ready: row.get(at + 4)?,
            state: row.get(at + 5)?,
            bytes: row.get(at + 6)?,
            records: row.get(at + 7)?,
        })
    }
}

fn deliveries_of(connection: &Connection, sink: i64) -> Result<Vec<Owed>, LedgerError> {
    let mut statement = connection.prepare_cached(
        "SELECT d.content, d.stream, d.created, d.progress, d.ready, c.state, c.bytes, c.records FROM delivery d JOIN content c ON c.id = d.content
         WHERE d.sink = ?1 AND d.lost = 0 LIMIT ?2",
    )?;
    let mut rows = statement.query(params![sink, SLICE as i64])?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    while bytes < SLICE_BYTES
        && let Some(row) = rows.next()?
    {
        let owed = Owed::read(row, 0)?;
        bytes += owed.bytes;
        found.push(owed);
    }
    Ok(found)
}

fn end(connection: &Connection, request: i64, sink: i64, owed: &Owed, now: Millis) -> Result<(), LedgerError> {
    lose(connection, request, sink, owed, &REASONS, now)?;
    // one whose ids are being entered ends with the last of them: they must not be left half entered
    if owed.state != ENTERING {
        deliveries::finish_content(connection, owed.content)?;
    }
    Ok(())
}

/// Ends a delivery as lost, with its gap. What becomes of the content is the caller's.
pub(super) fn lose(
    connection: &Connection,
    request: i64,
    sink: i64,
    owed: &Owed,
    reasons: &Reasons,
    now: Millis,
) -> Result<(), LedgerError> {
    let lost = owed.records.map(|records| records - owed.progress);
    deliveries::mark_lost(connection, sink, owed.content, owed.stream, lost)?;
    if owed.ready {
        connection.prepare_cached("UPDATE sink SET ahead = ahead - ?2 WHERE id = ?1")?.execute([sink, owed.bytes])?;
    }
    let reason = if lost.is_some() { reasons.stored } else { reasons.unread };
    let window = Found::window(owed.stream, owed.created, owed.created + 1, reason, false);
    let found =
        Found { sink: Some(sink), content: Some(owed.content), records: lost, request: Some(request), ..window };
    gaps::record(connection, &found, now)?;
    if lost.is_none() {
        gaps::lost_content(connection, owed.stream, sink, reason)?;
    }
    Ok(())
}

/// The content's body is whole, its ids are on their way into `seen`.
const ENTERING: i64 = 1;
