//! Ids enter `seen` here and nowhere else (design §4, 4); the last step makes a content *stored* and settles the books.

use rusqlite::{Connection, OptionalExtension, params};

use super::{Ledger, LedgerError, Millis, gaps, requeue};
use crate::fetch::chunk;

/// At most this many ids enter in one transaction: more hold the writer for too long.
const STEP: usize = 1000;

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    /// There are more ids in this body.
    More,
    /// The content is stored.
    Stored,
}

/// Faults that the crash test builds in.
#[derive(Clone, Copy)]
struct Mutant {
    ownerless: bool,
    unowed: bool,
}

struct Body {
    stream: i64,
    tenant: i64,
    generation: i64,
    entered: i64,
    records: i64,
}

impl Ledger {
    /// Enters the next ids of a complete content; with the last ones the content is stored.
    pub async fn enter_ids(&self, content: i64, now: Millis) -> Result<Entered, LedgerError> {
        let is = |name| self.engine.mutant(name);
        let mutant =
            Mutant { ownerless: is("seen without owner"), unowed: is("new ids of a changed body are not owed") };
        self.write("ids", move |connection| enter(connection, content, now, mutant)).await
    }
}

fn enter(connection: &Connection, content: i64, now: Millis, mutant: Mutant) -> Result<Entered, LedgerError> {
    let body = connection
        .prepare_cached(
            "SELECT c.stream, s.tenant, c.generation, c.entered, c.new_records FROM content c JOIN stream s ON s.id = c.stream WHERE c.id = ? AND c.state = 1",
        )?
        .query_row([content], |row| {
            Ok(Body { stream: row.get(0)?, tenant: row.get(1)?, generation: row.get(2)?, entered: row.get(3)?, records: row.get(4)? })
        })
        .optional()?;
    let Some(body) = body else { return Ok(Entered::Stored) };
    let mut position = body.entered;
    if position < body.records {
        position = enter_chunk(connection, content, &body, mutant)?;
        connection
            .prepare_cached("UPDATE content SET entered = ?2 WHERE id = ?1")?
            .execute(params![content, position])?;
    }
    if position < body.records {
        return Ok(Entered::More);
    }
    settle(connection, content, &body, mutant, now)?;
    Ok(Entered::Stored)
}

/// What the mutant does that does not wait for the whole body.
pub(super) fn enter_early(connection: &Connection, content: i64, body: &[u8]) -> Result<(), LedgerError> {
    let opened = chunk::open(body).map_err(damaged)?;
    for frame in chunk::frames(&opened) {
        let frame = frame.map_err(damaged)?;
        let new = connection
            .prepare_cached(
                "INSERT INTO seen (tenant, second, id, content, generation)
                 SELECT s.tenant, ?2, ?3, c.id, c.generation FROM content c JOIN stream s ON s.id = c.stream WHERE c.id = ?1 ON CONFLICT DO NOTHING",
            )?
            .execute(params![content, frame.second, frame.id.0.as_slice()])?;
        add_seen(connection, new as i64)?;
    }
    Ok(())
}

/// Enters up to [`STEP`] ids of the chunk that holds the next position; returns the position after them.
fn enter_chunk(connection: &Connection, content: i64, body: &Body, mutant: Mutant) -> Result<i64, LedgerError> {
    let (first, stored): (i64, Vec<u8>) = connection
        .prepare_cached("SELECT first, body FROM chunk WHERE content = ?1 AND first <= ?2 ORDER BY seq DESC LIMIT 1")?
        .query_row(params![content, body.entered], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let opened = chunk::open(&stored).map_err(damaged)?;
    let mut position = body.entered;
    for frame in chunk::frames(&opened).skip((body.entered - first) as usize).take(STEP) {
        let frame = frame.map_err(damaged)?;
        if !frame.no_id {
            enter_one(connection, content, position, body, &frame, mutant)?;
        }
        position += 1;
    }
    if position == body.entered {
        return Err(LedgerError::Broken(format!("content {content} has fewer records than it was stored with")));
    }
    Ok(position)
}

fn enter_one(
    connection: &Connection,
    content: i64,
    position: i64,
    body: &Body,
    frame: &chunk::Frame<'_>,
    mutant: Mutant,
) -> Result<(), LedgerError> {
    let id = frame.id.0.as_slice();
    let owner: Option<(i64, i64)> = connection
        .prepare_cached("SELECT content, generation FROM seen WHERE tenant = ?1 AND second = ?2 AND id = ?3")?
        .query_row(params![body.tenant, frame.second, id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match owner {
        None => {
            add_seen(connection, 1)?;
            connection
                .prepare_cached(
                    "INSERT INTO seen (tenant, second, id, content, generation) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![body.tenant, frame.second, id, content, body.generation])?;
            if body.generation > 0 {
                connection
                    .prepare_cached("INSERT INTO newcomer (content, position) VALUES (?1, ?2)")?
                    .execute([content, position])?;
            }
        }
        // the first time that a body fetched again shows an id of its own
        Some((owner, generation)) if owner == content && generation < body.generation => {
            connection
                .prepare_cached("UPDATE seen SET generation = ?4 WHERE tenant = ?1 AND second = ?2 AND id = ?3")?
                .execute(params![body.tenant, frame.second, id, body.generation])?;
        }
        Some((owner, _)) => {
            let owner = if mutant.ownerless { content } else { owner };
            connection
                .prepare_cached("INSERT INTO copy (content, position, owner) VALUES (?1, ?2, ?3)")?
                .execute([content, position, owner])?;
        }
    }
    Ok(())
}

fn settle(connection: &Connection, content: i64, body: &Body, mutant: Mutant, now: Millis) -> Result<(), LedgerError> {
    let (known, bytes, created): (Option<i64>, i64, Millis) = connection
        .prepare_cached("SELECT records, bytes, created FROM content WHERE id = ?")?
        .query_row([content], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let count =
        |sql: &str| -> rusqlite::Result<i64> { connection.prepare_cached(sql)?.query_row([content], |row| row.get(0)) };
    match known {
        None => first_store(connection, content, body, count("SELECT count(*) FROM copy WHERE content = ?")?)?,
        Some(known) => {
            let vanished = connection
                .prepare_cached("DELETE FROM seen WHERE content = ?1 AND generation < ?2")?
                .execute([content, body.generation])?;
            add_seen(connection, -(vanished as i64))?;
            let newcomers = count("SELECT count(*) FROM newcomer WHERE content = ?")?;
            if vanished > 0 || newcomers > 0 || known != body.records {
                connection
                    .prepare_cached("UPDATE stream SET differing = differing + 1 WHERE id = ?")?
                    .execute([body.stream])?;
                connection
                    .prepare_cached("UPDATE stream SET read = read + ?2, accepted = accepted + ?2 WHERE id = ?1")?
                    .execute([body.stream, newcomers])?;
                owe_more(connection, content, body.stream, body.records - known)?;
            }
            if vanished > 0 {
                let mut found =
                    gaps::Found::window(body.stream, created, created + 1, "gone when fetched again", false);
                found.content = Some(content);
                found.records = Some(vanished as i64);
                gaps::record(connection, &found, now)?;
            }
            if newcomers > 0 && !mutant.unowed {
                requeue::owe_newcomers(connection, content, body.stream, body.tenant, now)?;
                connection.prepare_cached("DELETE FROM newcomer WHERE content = ?")?.execute([content])?;
            }
        }
    }
    connection
        .prepare_cached("UPDATE content SET state = 2, records = new_records, attempts = 0, retry_at = 0 WHERE id = ?")?
        .execute([content])?;
    connection
        .prepare_cached("UPDATE sink SET ahead = ahead + ?2 WHERE id IN (SELECT sink FROM delivery WHERE content = ?1 AND lost = 0)")?
        .execute([content, bytes])?;
    connection.prepare_cached("UPDATE delivery SET ready = 1 WHERE content = ? AND lost = 0")?.execute([content])?;
    close_if_settled(connection, content, body.records)
}

/// The books of a content's first store: each record once.
fn first_store(connection: &Connection, content: i64, body: &Body, copies: i64) -> Result<(), LedgerError> {
    connection
        .prepare_cached(
            "UPDATE stream SET read = read + c.new_read, unselected = unselected + c.new_unselected, unreadable = unreadable + c.new_unreadable,
               copies = copies + ?2, accepted = accepted + c.new_records - c.new_unreadable - ?2
             FROM content c WHERE c.id = ?1 AND stream.id = c.stream",
        )?
        .execute([content, copies])?;
    owe_more(connection, content, body.stream, body.records)
}

fn owe_more(connection: &Connection, content: i64, stream: i64, records: i64) -> Result<(), LedgerError> {
    connection
        .prepare_cached(
            "UPDATE account SET owed = owed + ?3 WHERE stream = ?2 AND sink IN (SELECT sink FROM delivery WHERE content = ?1 AND lost = 0)",
        )?
        .execute([content, stream, records])?;
    Ok(())
}

/// Nothing in the body, or nobody owed: the content is done.
fn close_if_settled(connection: &Connection, content: i64, records: i64) -> Result<(), LedgerError> {
    if records == 0 {
        connection.prepare_cached("DELETE FROM delivery WHERE content = ? AND lost = 0")?.execute([content])?;
    }
    super::deliveries::finish_content(connection, content)?;
    Ok(())
}

/// Keeps the number of remembered ids.
pub(super) fn add_seen(connection: &Connection, ids: i64) -> Result<(), LedgerError> {
    connection.prepare_cached("UPDATE meta SET value = value + ? WHERE key = 'seen'")?.execute([ids])?;
    Ok(())
}

pub(super) fn damaged(damage: chunk::Damaged) -> LedgerError {
    LedgerError::Broken(damage.to_string())
}
