//! `remove-tenant`: what the ledger holds of a tenant that is gone from the configuration goes; what it was owed becomes gaps.
//!
//! Bodies, ids, quarantine and addresses go at once. Books, gaps and requests stay, which hold numbers, times and words, and nothing out of a record.
//! What is left of a content, its opaque id and its times, is forgotten with the others after ten days: a loop may be about to ask for it.

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    LedgerError, Millis, contents, quarantine,
    requests::Step,
    retire::{self, Owed, Reasons},
    seen,
};

/// At most so many contents are ended in one transaction, and no further one once so many ids went.
const SLICE: usize = 50;
const SLICE_IDS: usize = 10_000;

const REASONS: Reasons = Reasons {
    stored: "its tenant was removed by an operator",
    unread: "its tenant was removed by an operator, and it was never read",
};

/// One bounded step. The first one decides, and marks the tenant as removed.
pub(super) fn step(
    connection: &Connection,
    request: i64,
    tenant: &str,
    lose: bool,
    now: Millis,
) -> Result<Step, LedgerError> {
    let found: Option<(i64, bool, bool)> = connection
        .prepare_cached("SELECT t.id, EXISTS (SELECT 1 FROM stream s WHERE s.tenant = t.id AND s.configured), t.removed_at IS NOT NULL FROM tenant t WHERE t.guid = ?")?
        .query_row([tenant], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let key = match found {
        None => return Ok(Step::refused(format!("there is no tenant {tenant} in the ledger"))),
        Some((_, true, _)) => {
            return Ok(Step::refused(format!(
                "the agent runs with tenant {tenant}: take its source out of the configuration, start the agent again, and ask once more"
            )));
        }
        Some((key, _, false)) => return begin(connection, key, tenant, lose, now),
        Some((key, ..)) => key,
    };
    let contents = next(connection, key)?;
    if contents.is_empty() {
        let all = (quarantine::OF_TENANT, key);
        let records = quarantine::drop_all(connection, all, REASONS.stored, request, now)?;
        return Ok(Step { records, contents: 0, end: (records == 0).then_some(Ok(String::new())) });
    }
    let (mut step, mut ids) = (Step::default(), 0);
    for content in contents {
        ids += end(connection, request, content, &mut step, now)?;
        if ids >= SLICE_IDS {
            break;
        }
    }
    Ok(step)
}

/// Nothing is begun while a sink still waits for something, unless the operator has said that it may be lost.
fn begin(connection: &Connection, key: i64, tenant: &str, lose: bool, now: Millis) -> Result<Step, LedgerError> {
    let count = |sql: &str| connection.prepare_cached(sql)?.query_row([key], |row| row.get::<_, i64>(0));
    let owed = count(
        "SELECT count(DISTINCT content) FROM delivery WHERE lost = 0 AND stream IN (SELECT id FROM stream WHERE tenant = ?)",
    )?;
    let refused = count("SELECT count(*) FROM quarantine WHERE stream IN (SELECT id FROM stream WHERE tenant = ?)")?;
    if owed + refused > 0 && !lose {
        return Ok(Step::refused(format!(
            "{owed} contents of tenant {tenant} are still owed to sinks, and {refused} of its records are in quarantine: wait for the sinks, or ask with --lose-owed, which makes them gaps"
        )));
    }
    connection.prepare_cached("UPDATE tenant SET removed_at = ?2 WHERE id = ?1")?.execute([key, now])?;
    connection
        .prepare_cached("DELETE FROM trouble WHERE kind = 'stream' AND substr(name, 1, length(?1)) = ?1")?
        .execute([format!("{tenant}/")])?;
    Ok(Step::default())
}

/// The youngest first: a requeued copy must be gone before the content whose name it would get, should it end between the two.
fn next(connection: &Connection, tenant: i64) -> Result<Vec<i64>, LedgerError> {
    let mut statement = connection.prepare_cached(
        "SELECT id FROM content WHERE stream IN (SELECT id FROM stream WHERE tenant = ?1) AND (uri <> '' OR state < 3) ORDER BY id DESC LIMIT ?2",
    )?;
    let rows = statement.query_map([tenant, SLICE as i64], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Ends one content for every sink. Returns how many ids went with it.
pub(super) fn end(
    connection: &Connection,
    request: i64,
    content: i64,
    step: &mut Step,
    now: Millis,
) -> Result<usize, LedgerError> {
    for (sink, owed) in owed(connection, content)? {
        retire::lose(connection, request, sink, &owed, &REASONS, now)?;
        match owed.records {
            Some(records) => step.records += (records - owed.progress).max(0) as u64,
            None => step.contents += 1,
        }
    }
    contents::drop_body(connection, content)?;
    let ids = connection.prepare_cached("DELETE FROM seen WHERE content = ?")?.execute([content])?;
    seen::add_seen(connection, -(ids as i64))?;
    for sql in [
        "DELETE FROM copy WHERE content = ?",
        "DELETE FROM newcomer WHERE content = ?",
        // lost, not done: a sink that comes later must not be owed what nobody can fetch
        "UPDATE content SET state = 4, uri = '', error = NULL WHERE id = ?",
    ] {
        connection.prepare_cached(sql)?.execute([content])?;
    }
    Ok(ids)
}

fn owed(connection: &Connection, content: i64) -> Result<Vec<(i64, Owed)>, LedgerError> {
    let mut statement = connection.prepare_cached(
        "SELECT d.sink, d.content, d.stream, d.created, d.progress, d.ready, c.state, c.bytes, c.records FROM delivery d JOIN content c ON c.id = d.content
         WHERE d.content = ? AND d.lost = 0",
    )?;
    let rows = statement.query_map([content], |row| Ok((row.get(0)?, Owed::read(row, 1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// A tenant that is in the configuration again is new: listed from `since` on, and owed everything from there. Its books go on where they stopped.
pub(super) fn come_back(connection: &Connection, tenant: i64, since: Millis, now: Millis) -> Result<(), LedgerError> {
    let removed: bool = connection
        .prepare_cached("SELECT removed_at IS NOT NULL FROM tenant WHERE id = ?")?
        .query_row([tenant], |row| row.get(0))?;
    if !removed {
        return Ok(());
    }
    // no loop runs yet, so that what is left of its contents can go; what a removal had not come to is still owed, and stays
    // what was requeued and is done has no address either: its name would be in the way once its content is listed and changes again
    const GONE: &str =
        "SELECT id FROM content WHERE state >= 3 AND uri = '' AND stream IN (SELECT id FROM stream WHERE tenant = ?1)";
    for sql in [
        // a copy of what is gone is the record itself; and its number may be given to a content that never had it
        format!("DELETE FROM copy WHERE owner IN ({GONE}) OR content IN ({GONE})"),
        format!("DELETE FROM delivery WHERE lost = 1 AND content IN ({GONE})"),
        format!("UPDATE gap SET content = NULL WHERE content IN ({GONE})"),
        format!("DELETE FROM content WHERE id IN ({GONE})"),
        "UPDATE tenant SET removed_at = NULL WHERE id = ?1".to_owned(),
    ] {
        connection.execute(&sql, [tenant])?;
    }
    connection.execute("UPDATE stream SET registered = ?2 WHERE tenant = ?1", params![tenant, now])?;
    for sql in [
        "UPDATE stream SET since = ?2, cursor = ?2, listed = NULL, listed_past = NULL, enabled = 0, newest = NULL WHERE tenant = ?1 AND origin = 'listed'",
        // a sink that is owed from later on stays so
        "UPDATE account SET since = max(since, ?2) WHERE stream IN (SELECT id FROM stream WHERE tenant = ?1 AND origin = 'listed')",
    ] {
        connection.execute(sql, params![tenant, since])?;
    }
    Ok(())
}
