//! What the sinks were told of a sink that is blocked.

use rusqlite::{OptionalExtension, params};

use super::{Ledger, LedgerError, Millis, requeue::OwnEvent};

/// Of each sink this is said at most once within this time (milliseconds).
const REPEAT: Millis = 3_600_000;

/// A sink that is blocked, or not any more: news for every sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockNews {
    /// The sink that it is about.
    pub sink: String,
    /// Since when it is blocked, or was.
    pub since: Millis,
    /// Why, with what a person has to do; `None`: it is over.
    pub words: Option<String>,
}

/// What the sinks were told last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockTold {
    /// That it is blocked since then.
    Blocked {
        /// Since when.
        since: Millis,
    },
    /// Nothing, or that it is over; that it is blocked again is not said before then.
    Works {
        /// The earliest time.
        not_before: Millis,
    },
}

impl Ledger {
    /// What the sinks were told last of this one.
    pub async fn block_told(&self, sink: i64) -> Result<BlockTold, LedgerError> {
        self.read(move |connection| {
            let row: Option<(Millis, Millis, bool)> = connection
                .prepare_cached("SELECT since, said_at, over_at IS NOT NULL FROM blocked WHERE sink = ?")?
                .query_row([sink], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .optional()?;
            Ok(match row {
                None => BlockTold::Works { not_before: Millis::MIN },
                Some((_, said_at, true)) => BlockTold::Works { not_before: said_at + REPEAT },
                Some((since, _, false)) => BlockTold::Blocked { since },
            })
        })
        .await
    }

    /// Owes every sink the event about this one, and notes that it was said, in one transaction. Said already, it does nothing.
    pub async fn announce_block(
        &self,
        sink: i64,
        news: &BlockNews,
        event: OwnEvent,
        now: Millis,
    ) -> Result<(), LedgerError> {
        let (since, over) = (news.since, news.words.is_none());
        self.write("own event", move |connection| {
            let changed = if over {
                connection
                    .prepare_cached("UPDATE blocked SET over_at = ?2 WHERE sink = ?1 AND over_at IS NULL")?
                    .execute(params![sink, now])?
            } else {
                connection
                    .prepare_cached(
                        "INSERT INTO blocked (sink, since, said_at) VALUES (?1, ?2, ?3) ON CONFLICT (sink) DO UPDATE
                         SET since = excluded.since, said_at = excluded.said_at, over_at = NULL, times = times + 1 WHERE over_at IS NOT NULL",
                    )?
                    .execute(params![sink, since, now])?
            };
            if changed == 0 {
                return Ok(());
            }
            // by number: two ends may fall into one millisecond
            let times: i64 = connection
                .prepare_cached("SELECT times FROM blocked WHERE sink = ?")?
                .query_row([sink], |row| row.get(0))?;
            let what = if over { "over" } else { "blocked" };
            super::requeue::owe_everybody(connection, &format!("sink-{sink}-{what}-{times}"), &event, now)
        })
        .await
    }
}
