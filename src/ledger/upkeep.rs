//! What `sweep` asks of the ledger: expiry, forgetting, dropping bodies.

use rusqlite::{Connection, OptionalExtension, params};

use super::{Ledger, LedgerError, Millis, contents, seen};
use crate::underway::Underway;

/// At most this many contents in one transaction.
const SLICE: usize = 200;

/// What there is for `sweep` to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Contents are old enough to be forgotten.
    pub old: bool,
    /// Gaps are open, or not everything about them is said.
    pub gaps: bool,
}

impl Ledger {
    /// Whether there is something to forget or to say: most of the time there is not, and nothing needs to be written.
    pub async fn due(&self, forget_before: Millis) -> Result<Due, LedgerError> {
        self.read(move |connection| {
            let ask = |sql: &str, parameter: Millis| -> rusqlite::Result<bool> {
                connection.prepare_cached(sql)?.query_row([parameter], |row| row.get(0))
            };
            Ok(Due {
                old: ask(
                    "SELECT EXISTS (SELECT 1 FROM content WHERE state >= 3 AND admitted < ?1 AND created < ?1)",
                    forget_before,
                )?,
                gaps: ask("SELECT EXISTS (SELECT 1 FROM gap WHERE announced_closed = 0 AND id > ?)", 0)?,
            })
        })
        .await
    }

    /// Ends contents of these streams (`inside`), or of all others, that expired by `before` without having been fetched as lost.
    /// Returns true when there may be more.
    pub async fn expire(
        &self,
        streams: Vec<i64>,
        inside: bool,
        before: Millis,
        now: Millis,
    ) -> Result<bool, LedgerError> {
        let of = format!("{streams:?}");
        let find = move |connection: &Connection| -> Result<Vec<i64>, LedgerError> {
            let mut statement = connection.prepare_cached(
                "SELECT id FROM content WHERE state = 0 AND expires <= ?1 AND (stream IN (SELECT value FROM json_each(?2))) = ?3
                 ORDER BY expires LIMIT ?4",
            )?;
            let rows = statement.query_map(params![before, of, inside, SLICE as i64], |row| row.get(0))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        };
        // most of the time there is nothing, and nothing needs to be written
        if self.read(find.clone()).await?.is_empty() {
            return Ok(false);
        }
        self.write("expire", move |connection| {
            let expired = find(connection)?;
            for content in &expired {
                contents::lose(connection, *content, "expired before it could be fetched", now)?;
            }
            Ok(expired.len() == SLICE)
        })
        .await
    }

    /// Forgets contents published and admitted before `before` that nobody is owed, with their ids. When the service published one is the service's time: a
    /// clock of this machine that was behind when it was admitted must not have it forgotten, listed again, and delivered again. Returns true when there may be more.
    pub async fn forget(&self, before: Millis) -> Result<bool, LedgerError> {
        self.write("forget", move |connection| {
            // an owner that a sink lost must be remembered while a copy of it may still be owed to that sink
            let old: Vec<i64> = connection
                .prepare_cached(
                    "SELECT id FROM content WHERE state >= 3 AND admitted < ?1 AND created < ?1
                       AND NOT EXISTS (SELECT 1 FROM copy p JOIN content c ON c.id = p.content WHERE p.owner = content.id AND c.state < 3 AND c.id <> content.id)
                     ORDER BY admitted LIMIT ?2",
                )?
                .query_map(params![before, SLICE as i64], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            for content in &old {
                contents::drop_body(connection, *content)?;
                let ids = connection.prepare_cached("DELETE FROM seen WHERE content = ?")?.execute([content])?;
                seen::add_seen(connection, -(ids as i64))?;
                for sql in [
                    "DELETE FROM copy WHERE content = ?",
                    "DELETE FROM delivery WHERE content = ?",
                    "DELETE FROM newcomer WHERE content = ?",
                    "UPDATE gap SET content = NULL WHERE content = ?",
                    "DELETE FROM content WHERE id = ?",
                ] {
                    connection.prepare_cached(sql)?.execute([content])?;
                }
            }
            Ok(old.len() == SLICE)
        })
        .await
    }

    /// Drops one body from the back of what `sink` is owed: not begun by any sink, fetchable again (by a stream that is still configured), and not needed by one
    /// that has less than `share` bytes before it, or no other; and not on its way to any, which `underway` is asked when the transaction's turn has
    /// come. Returns which, and the bytes freed.
    pub async fn drop_from_back(
        &self,
        sink: i64,
        share: u64,
        underway: Underway,
        now: Millis,
    ) -> Result<Option<(i64, u64)>, LedgerError> {
        let begun = self.engine.mutant("a body that a sink has begun is dropped");
        self.write("drop body", move |connection| {
            let Some((content, bytes)) = last(connection, sink, share, now, begun, &underway)? else { return Ok(None) };
            connection
                .prepare_cached("UPDATE sink SET ahead = ahead - ?2 WHERE id IN (SELECT sink FROM delivery WHERE content = ?1 AND lost = 0)")?
                .execute([content, bytes])?;
            connection.prepare_cached("UPDATE delivery SET ready = 0 WHERE content = ? AND lost = 0")?.execute([content])?;
            contents::drop_body(connection, content)?;
            connection
                .prepare_cached("UPDATE content SET state = 0, generation = generation + 1, entered = 0 WHERE id = ?")?
                .execute([content])?;
            Ok(Some((content, bytes.max(0) as u64)))
        })
        .await
    }
}

/// So many bodies in a row that a sink begins with at this moment, and the next drop comes later: a transaction must not take long.
const TRIES: u32 = 20;

/// The last body that may be dropped, and its bytes. `begun`: also one that a sink has begun, which no agent does.
fn last(
    connection: &Connection,
    sink: i64,
    share: u64,
    now: Millis,
    begun: bool,
    underway: &Underway,
) -> rusqlite::Result<Option<(i64, i64)>> {
    let mut statement = connection.prepare_cached(
        "SELECT c.id, c.bytes FROM delivery d JOIN content c ON c.id = d.content JOIN stream s ON s.id = c.stream
         WHERE d.sink = ?1 AND d.ready = 1 AND d.lost = 0 AND s.origin = 'listed' AND s.configured = 1 AND c.expires > ?3
           AND c.id NOT IN (SELECT value FROM json_each(?4))
           AND (?5 OR NOT EXISTS (SELECT 1 FROM delivery o WHERE o.content = c.id AND o.lost = 0 AND o.progress > 0))
           AND NOT EXISTS (SELECT 1 FROM delivery o JOIN sink k ON k.id = o.sink WHERE o.content = c.id AND o.lost = 0 AND (k.ahead < ?2 OR k.ahead <= c.bytes))
         ORDER BY d.created DESC, d.content DESC LIMIT 1",
    )?;
    for _ in 0..TRIES {
        let held = format!("{:?}", underway.held());
        let found = statement
            .query_row(params![sink, share as i64, now, held, begun], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)))
            .optional()?;
        match found {
            // somebody began with it in this moment
            Some((content, _)) if !underway.give_up(content) => {}
            found => return Ok(found),
        }
    }
    Ok(None)
}
