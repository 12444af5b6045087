//! What fails now, in the words that a person needs; written when it changes.

use rusqlite::{Connection, params};

use super::{Ledger, LedgerError, Millis};

/// A stream or a sink that fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// `stream` or `sink`.
    pub kind: String,
    /// `tenant/content type`, or the sink's name.
    pub name: String,
    /// What happened and what to do.
    pub words: String,
    /// Since when, with these words.
    pub since: Millis,
}

impl Ledger {
    /// Notes that the `kind` (`stream`, `sink`) of this name fails, or works again.
    pub async fn trouble(
        &self,
        kind: &'static str,
        name: String,
        words: Option<String>,
        now: Millis,
    ) -> Result<(), LedgerError> {
        self.write("trouble", move |connection| {
            match words {
                Some(words) => connection
                    .prepare_cached(
                        "INSERT INTO trouble (kind, name, words, since) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (kind, name) DO UPDATE
                         SET since = iif(words = excluded.words, since, excluded.since), words = excluded.words",
                    )?
                    .execute(params![kind, name, words, now])?,
                None => connection
                    .prepare_cached("DELETE FROM trouble WHERE kind = ?1 AND name = ?2")?
                    .execute(params![kind, name])?,
            };
            Ok(())
        })
        .await
    }
}

pub(super) fn troubles(connection: &Connection) -> Result<Vec<Trouble>, LedgerError> {
    let mut statement = connection.prepare_cached("SELECT kind, name, words, since FROM trouble ORDER BY since")?;
    let rows = statement.query_map([], |row| {
        Ok(Trouble { kind: row.get(0)?, name: row.get(1)?, words: row.get(2)?, since: row.get(3)? })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
