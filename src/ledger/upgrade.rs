//! The ledger's schema: made new, or brought up from an older one.

use std::path::Path;

use rusqlite::Connection;
use tracing::info;

use super::backup;

/// What brings schema n to n + 1, from 1 on. A step never changes once it was released; `schema.sql` is what the last one leads to.
pub(super) const STEPS: &[&str] = &["
    ALTER TABLE stream ADD COLUMN newest INTEGER;
    ALTER TABLE stream ADD COLUMN registered INTEGER;
    UPDATE stream SET registered = since WHERE origin = 'listed';
    UPDATE stream SET newest = (SELECT max(created) FROM content WHERE content.stream = stream.id) WHERE origin = 'listed';
"];
/// The newest schema that this build knows, kept in SQLite's `user_version`.
pub const SCHEMA: i64 = 1 + STEPS.len() as i64;

/// Brings an older ledger up to what the steps lead to: all of them or none, after a copy that an older auditferry can go on with.
pub(super) fn bring(connection: &Connection, file: &Path, found: i64, steps: &[&str]) -> Result<(), String> {
    let kept = file.with_file_name(format!("ledger-schema-{found}.sqlite"));
    let size = std::fs::metadata(file).map_or(0, |file| file.len()) >> 20;
    info!(
        "the ledger has schema {found} and {size} MiB: it is copied to {} and brought to schema {SCHEMA}, which takes about a minute for some GiB; let it end",
        kept.display()
    );
    // one that is there was made by a try that failed: the ledger may have gone on since
    backup::copy(connection, &kept, backup::Name::Ours).map_err(|error| error.to_string())?;
    let newest = 1 + steps.len() as i64;
    let steps: String = steps.iter().skip((found - 1).max(0) as usize).copied().collect();
    let done = connection.execute_batch(&format!("BEGIN IMMEDIATE;{steps}PRAGMA user_version = {newest}; COMMIT;"));
    if let Err(error) = done {
        if !connection.is_autocommit() {
            connection.execute_batch("ROLLBACK").map_err(|error| error.to_string())?;
        }
        return Err(error.to_string());
    }
    let copy = kept.display();
    info!(
        "the ledger was brought from schema {found} to {newest}; {copy} is what it was: delete it once you will not go back"
    );
    Ok(())
}

/// Makes an empty file a ledger of [`SCHEMA`], in one transaction.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<()> {
    let schema = include_str!("schema.sql");
    connection.execute_batch(&format!("BEGIN IMMEDIATE;{schema}PRAGMA user_version = {SCHEMA}; COMMIT;"))
}
