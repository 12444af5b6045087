//! Reads the ledger as a person with SQLite would.

use auditferry_contract::EventId;

use crate::stage::Stage;

pub fn blob(row: &rusqlite::Row<'_>) -> rusqlite::Result<EventId> {
    let bytes: Vec<u8> = row.get(0)?;
    Ok(EventId(bytes.try_into().expect("16 bytes")))
}

pub fn sql<T>(
    stage: &Stage,
    query: &str,
    read: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> Result<T, String> {
    stage.memory.with(|connection| connection.query_row(query, [], read)).map_err(|error| format!("{error} in {query}"))
}

pub fn column<T>(
    stage: &Stage,
    query: &str,
    read: impl Fn(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, String> {
    stage
        .memory
        .with(|connection| connection.prepare_cached(query)?.query_map([], |row| read(row))?.collect())
        .map_err(|error| format!("{error} in {query}"))
}
