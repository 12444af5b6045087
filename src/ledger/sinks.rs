//! Sinks as the ledger knows them: a sink is its name, until it is retired.

use rusqlite::{Connection, params};

use super::{Ledger, LedgerError, Millis};

/// A sink as configured.
#[derive(Clone, Debug)]
pub struct SinkSpec {
    /// The name is the sink.
    pub name: String,
    /// For a sink that is new, with a `start`: owed from there on.
    pub since: Option<Millis>,
    /// Tenants whose streams it takes; `None`: all.
    pub tenants: Option<Vec<String>>,
}

/// A sink as the loops know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkRow {
    /// Key.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// False: gone from the configuration; what it is owed is kept.
    pub configured: bool,
}

impl Ledger {
    /// All sinks that the ledger knows and that are not retired.
    pub async fn sinks(&self) -> Result<Vec<SinkRow>, LedgerError> {
        self.read(rows).await
    }
}

/// Brings the sinks of the configuration into the ledger; returns the keys of those that are new.
pub(super) fn register(connection: &Connection, sinks: &[SinkSpec], now: Millis) -> Result<Vec<i64>, LedgerError> {
    connection.prepare_cached("UPDATE sink SET configured = 0")?.execute([])?;
    let mut new = Vec::new();
    for sink in sinks {
        let inserted = connection
            .prepare_cached(
                "INSERT INTO sink (name, first_start, configured) VALUES (?1, ?2, 1) ON CONFLICT (name) WHERE retired_at IS NULL DO NOTHING",
            )?
            .execute(params![sink.name, now])?;
        if inserted == 1 {
            new.push(connection.last_insert_rowid());
        } else {
            connection
                .prepare_cached("UPDATE sink SET configured = 1 WHERE name = ? AND retired_at IS NULL")?
                .execute([&sink.name])?;
        }
    }
    Ok(new)
}

/// All sinks that are not retired.
pub(super) fn rows(connection: &Connection) -> Result<Vec<SinkRow>, LedgerError> {
    let mut statement =
        connection.prepare_cached("SELECT id, name, configured FROM sink WHERE retired_at IS NULL ORDER BY id")?;
    let rows =
        statement.query_map([], |row| Ok(SinkRow { id: row.get(0)?, name: row.get(1)?, configured: row.get(2)? }))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
