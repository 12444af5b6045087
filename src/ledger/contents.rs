//! Contents on their way in: what to fetch, chunks as they arrive, failures, losses.

use rusqlite::{Connection, OptionalExtension, params};

use super::{Ledger, LedgerError, Millis, deliveries, gaps, seen};
use crate::retry;

/// A content whose body is to be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchTarget {
    /// Key.
    pub content: i64,
    /// Its stream.
    pub stream: i64,
    /// Tenant GUID.
    pub tenant: String,
    /// As `Audit.General`.
    pub content_type: String,
    /// Opaque name given by the service.
    pub content_id: String,
    /// Where the body is.
    pub uri: String,
    /// `contentCreated`.
    pub created: Millis,
    /// `contentExpiration`.
    pub expires: Millis,
    /// Failed attempts so far.
    pub attempts: u32,
}

/// What to look for when asking what to fetch.
#[derive(Clone, Debug)]
pub enum Need {
    /// Everything owed of these streams, in this order.
    Everything {
        /// Contents created from here on are live.
        live: Millis,
        /// Streams of which something can be fetched now.
        streams: Vec<i64>,
        /// At most so many live ones of a stream, and as many of the rest.
        each: usize,
    },
    /// Without room: these contents only.
    Only(Vec<i64>),
}

/// What a body was made of; selected records are counted when their ids are entered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Elements of the array.
    pub read: u64,
    /// Not selected, and so not kept.
    pub unselected: u64,
    /// Kept as unreadable.
    pub unreadable: u64,
    /// Kept: readable and unreadable.
    pub records: u64,
}

/// Of a content `c`, at the time `?2`; see [`crate::retry::is_due`].
pub(super) fn due() -> String {
    format!("(c.retry_at <= ?2 OR c.retry_at > ?2 + {})", retry::LONGEST)
}
const TARGET: &str =
    "SELECT c.id, c.stream, t.guid, s.content_type, c.content_id, c.uri, c.created, c.expires, c.attempts
  FROM content c JOIN stream s ON s.id = c.stream JOIN tenant t ON t.id = s.tenant";

/// Contents of a stream that can be fetched now, in the order of an index: what is read is what is asked for, however much is owed.
pub(super) fn owed(live_ones: bool) -> String {
    // without the plus SQLite may choose the index by `created`, and read and sort the whole past at each turn
    let (condition, order) =
        if live_ones { ("c.created >= ?3", "c.created") } else { ("+c.created < ?3", "c.expires") };
    format!("{TARGET} WHERE c.stream = ?1 AND c.state = 0 AND {} AND {condition} ORDER BY {order} LIMIT ?4", due())
}

fn target(row: &rusqlite::Row<'_>) -> rusqlite::Result<FetchTarget> {
    Ok(FetchTarget {
        content: row.get(0)?,
        stream: row.get(1)?,
        tenant: row.get(2)?,
        content_type: row.get(3)?,
        content_id: row.get(4)?,
        uri: row.get(5)?,
        created: row.get(6)?,
        expires: row.get(7)?,
        attempts: row.get(8)?,
    })
}

impl Ledger {
    /// Contents to fetch now: of each stream live ones oldest first and the rest by expiry, alternately (catch-up is never starved).
    pub async fn to_fetch(&self, need: Need, now: Millis, limit: usize) -> Result<Vec<FetchTarget>, LedgerError> {
        self.read(move |connection| match need {
            Need::Only(contents) => {
                let mut one =
                    connection.prepare_cached(&format!("{TARGET} WHERE c.id = ?1 AND c.state = 0 AND {}", due()))?;
                let mut found = Vec::new();
                for content in contents.into_iter().take(limit) {
                    found.extend(one.query_row(params![content, now], target).optional()?);
                }
                Ok(found)
            }
            Need::Everything { live, streams, each } => {
                let query = |stream: i64, live_ones: bool| -> rusqlite::Result<Vec<FetchTarget>> {
                    connection
                        .prepare_cached(&owed(live_ones))?
                        .query_map(params![stream, now, live, each as i64], target)?
                        .collect()
                };
                let (mut recent, mut past) = (Vec::new(), Vec::new());
                for stream in streams {
                    recent.extend(query(stream, true)?);
                    past.extend(query(stream, false)?);
                    if recent.len().min(past.len()) >= limit {
                        break;
                    }
                }
                past.sort_by_key(|target| target.expires);
                Ok(alternate(recent, past, limit))
            }
        })
        .await
    }

    /// Contents whose body is whole and whose ids are not all entered: what a crash left half done.
    pub async fn complete_contents(&self) -> Result<Vec<i64>, LedgerError> {
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT id FROM content WHERE state = 1 ORDER BY id LIMIT 256")?;
            let rows = statement.query_map([], |row| row.get(0))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// When the next failed content may be tried again that may not be tried yet.
    pub async fn next_retry(&self, now: Millis) -> Result<Option<Millis>, LedgerError> {
        self.read(move |connection| {
            Ok(connection
                .prepare_cached("SELECT min(retry_at) FROM content WHERE state = 0 AND retry_at > ?")?
                .query_row([now], |row| row.get(0))?)
        })
        .await
    }

    /// Writes one chunk of a body that is being fetched; the first one clears what an earlier attempt left.
    pub async fn store_chunk(
        &self,
        content: i64,
        seq: u32,
        first: u64,
        records: u32,
        body: Vec<u8>,
    ) -> Result<(), LedgerError> {
        let early = self.engine.mutant("an id in `seen` before the body is complete");
        self.write("chunk", move |connection| {
            if seq == 0 && is_owed(connection, content)? {
                drop_body(connection, content)?;
            }
            let bytes = body.len() as i64;
            // it may have expired, or been settled, while it was fetched: nobody wants it any more
            let wanted = connection
                .prepare_cached("UPDATE content SET bytes = bytes + ?2 WHERE id = ?1 AND state = 0")?
                .execute(params![content, bytes])?;
            if wanted == 0 {
                return Ok(());
            }
            connection
                .prepare_cached("INSERT INTO chunk (content, seq, first, records, body) VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![content, seq, first as i64, records, body])?;
            if early {
                seen::enter_early(connection, content, &body)?;
            }
            add_stored(connection, bytes)
        })
        .await
    }

    /// The body is whole. Its ids are entered next; a crash from here on resumes there.
    pub async fn complete(&self, content: i64, counts: Counts, now: Millis) -> Result<(), LedgerError> {
        self.write("complete", move |connection| {
            if !is_owed(connection, content)? {
                return Ok(());
            }
            if counts.records == 0 {
                drop_body(connection, content)?;
            }
            connection.prepare_cached("DELETE FROM copy WHERE content = ?")?.execute([content])?;
            connection.prepare_cached("DELETE FROM newcomer WHERE content = ?")?.execute([content])?;
            connection
                .prepare_cached(
                    "UPDATE content SET state = 1, entered = 0, fetched = ?2, new_records = ?3, new_read = ?4,
                       new_unselected = ?5, new_unreadable = ?6, error = NULL WHERE id = ?1 AND state = 0",
                )?
                .execute(params![
                    content,
                    now,
                    counts.records as i64,
                    counts.read as i64,
                    counts.unselected as i64,
                    counts.unreadable as i64
                ])?;
            Ok(())
        })
        .await
    }

    /// An attempt failed; the content waits until `retry_at` and holds up nobody.
    pub async fn fetch_failed(&self, content: i64, error: String, retry_at: Millis) -> Result<(), LedgerError> {
        self.write("fetch failed", move |connection| {
            if !is_owed(connection, content)? {
                return Ok(());
            }
            drop_body(connection, content)?;
            connection
                .prepare_cached(
                    "UPDATE content SET attempts = attempts + 1, error = ?2, retry_at = ?3 WHERE id = ?1 AND state = 0",
                )?
                .execute(params![content, error, retry_at])?;
            Ok(())
        })
        .await
    }

    /// What the mutant does that gives up: the content is done, and nobody learns of it.
    pub(crate) async fn give_up(&self, content: i64) -> Result<(), LedgerError> {
        self.write("give up", move |connection| {
            connection.prepare_cached("DELETE FROM delivery WHERE content = ?")?.execute([content])?;
            connection.prepare_cached("UPDATE content SET state = 3 WHERE id = ?")?.execute([content])?;
            Ok(())
        })
        .await
    }

    /// The service will never give this body: a gap for every sink that is owed it.
    pub async fn lose(&self, content: i64, reason: &'static str, now: Millis) -> Result<(), LedgerError> {
        if self.engine.mutant("what is lost is no gap") {
            return self.give_up(content).await;
        }
        self.write("lose", move |connection| lose(connection, content, reason, now)).await
    }
}

/// Whether a content still waits for its body.
fn is_owed(connection: &Connection, content: i64) -> Result<bool, LedgerError> {
    Ok(connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM content WHERE id = ? AND state = 0)")?
        .query_row([content], |row| row.get(0))?)
}

fn alternate(live: Vec<FetchTarget>, past: Vec<FetchTarget>, limit: usize) -> Vec<FetchTarget> {
    let mut found = Vec::with_capacity(limit.min(live.len() + past.len()));
    let (mut live, mut past) = (live.into_iter(), past.into_iter());
    while found.len() < limit {
        // three live ones, then one that is waiting: design §4
        let before = found.len();
        found.extend(live.by_ref().take(3));
        found.extend(past.by_ref().take(1));
        if found.len() == before {
            break;
        }
    }
    found.truncate(limit);
    found
}

pub(super) fn add_stored(connection: &Connection, bytes: i64) -> Result<(), LedgerError> {
    connection.prepare_cached("UPDATE meta SET value = value + ? WHERE key = 'stored_bytes'")?.execute([bytes])?;
    Ok(())
}

/// Deletes the stored body of a content that no delivery counts on.
pub(super) fn drop_body(connection: &Connection, content: i64) -> Result<(), LedgerError> {
    let bytes: i64 = connection
        .prepare_cached("SELECT bytes FROM content WHERE id = ?")?
        .query_row([content], |row| row.get(0))
        .optional()?
        .unwrap_or(0);
    connection.prepare_cached("DELETE FROM chunk WHERE content = ?")?.execute([content])?;
    if bytes != 0 {
        connection.prepare_cached("UPDATE content SET bytes = 0 WHERE id = ?")?.execute([content])?;
        add_stored(connection, -bytes)?;
    }
    Ok(())
}

/// Ends every open delivery of a content without a stored body as lost.
pub(super) fn lose(
    connection: &Connection,
    content: i64,
    reason: &'static str,
    now: Millis,
) -> Result<(), LedgerError> {
    let Some((stream, created, records, state)) = connection
        .prepare_cached("SELECT stream, created, records, state FROM content WHERE id = ?")?
        .query_row([content], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Millis>(1)?, row.get::<_, Option<i64>>(2)?, row.get::<_, i64>(3)?))
        })
        .optional()?
    else {
        return Ok(());
    };
    if state != 0 {
        return Ok(());
    }
    let owed: Vec<(i64, i64)> = connection
        .prepare_cached("SELECT sink, progress FROM delivery WHERE content = ? AND lost = 0")?
        .query_map([content], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (sink, progress) in owed {
        let lost = records.map(|records| records - progress);
        deliveries::mark_lost(connection, sink, content, stream, lost)?;
        let mut found = gaps::Found::window(stream, created, created + 1, reason, false);
        found.sink = Some(sink);
        found.content = Some(content);
        found.records = lost;
        gaps::record(connection, &found, now)?;
        if lost.is_none() {
            gaps::lost_content(connection, stream, sink, reason)?;
        }
    }
    drop_body(connection, content)?;
    connection.prepare_cached("UPDATE content SET state = 4 WHERE id = ?")?.execute([content])?;
    Ok(())
}
