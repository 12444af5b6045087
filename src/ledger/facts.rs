//! What can be said of the ledger's file without looking into a record: for whoever helps from afar.

use std::{fmt::Write as _, path::Path};

use rusqlite::Connection;

use super::{OpenError, open};

/// Pragmas, and what is counted: one a line. Times and numbers only.
const FACTS: [(&str, &str); 26] = [
    ("SQLite", "SELECT sqlite_version()"),
    ("schema", "PRAGMA user_version"),
    ("journal_mode", "PRAGMA journal_mode"),
    ("page_size", "PRAGMA page_size"),
    ("page_count", "PRAGMA page_count"),
    ("freelist_count", "PRAGMA freelist_count"),
    ("tenants", "SELECT count(*) FROM tenant"),
    ("streams", "SELECT count(*) FROM stream"),
    ("streams configured", "SELECT count(*) FROM stream WHERE configured"),
    ("sinks", "SELECT count(*) FROM sink"),
    ("sinks configured", "SELECT count(*) FROM sink WHERE configured AND retired_at IS NULL"),
    ("contents owed, no body here", "SELECT count(*) FROM content WHERE state = 0"),
    ("contents whose ids are being entered", "SELECT count(*) FROM content WHERE state = 1"),
    ("contents stored", "SELECT count(*) FROM content WHERE state = 2"),
    ("contents done", "SELECT count(*) FROM content WHERE state = 3"),
    ("contents lost", "SELECT count(*) FROM content WHERE state = 4"),
    ("contents that failed", "SELECT count(*) FROM content WHERE state = 0 AND attempts > 0"),
    ("deliveries open", "SELECT count(*) FROM delivery WHERE lost = 0"),
    ("deliveries lost", "SELECT count(*) FROM delivery WHERE lost = 1"),
    ("chunks", "SELECT count(*) FROM chunk"),
    ("bytes of bodies", "SELECT value FROM meta WHERE key = 'stored_bytes'"),
    ("ids", "SELECT value FROM meta WHERE key = 'seen'"),
    ("copies", "SELECT count(*) FROM copy"),
    ("quarantine", "SELECT count(*) FROM quarantine"),
    ("gaps", "SELECT count(*) FROM gap"),
    ("requests", "SELECT count(*) FROM request"),
];

/// Counts what is in the ledger of `dir`, of an older schema too; what can't be told stands there with the reason.
///
/// # Errors
/// There is no ledger, or it can't be opened.
pub fn facts(dir: &Path) -> Result<String, OpenError> {
    let (connection, ..) = open::copied(dir)?;
    let mut text = String::new();
    for (name, sql) in FACTS {
        // writing into a String can't fail
        let _ = match value(&connection, sql) {
            Ok(value) => writeln!(text, "{name}: {value}"),
            Err(error) => writeln!(text, "{name}: can't be told: {error}"),
        };
    }
    Ok(text)
}

fn value(connection: &Connection, sql: &str) -> rusqlite::Result<String> {
    connection.query_row(sql, [], |row| {
        Ok(match row.get_ref(0)? {
            rusqlite::types::ValueRef::Integer(number) => number.to_string(),
            other => other.as_str().unwrap_or_default().to_owned(),
        })
    })
}
