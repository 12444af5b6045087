//! A disk without space.

use crate::stage::Stage;

/// Leaves SQLite no page: the file may not grow, and what is free in it is taken.
pub fn fill(stage: &Stage) {
    stage
        .memory
        .with(|connection| {
            connection.execute_batch("CREATE TABLE IF NOT EXISTS filler (bytes BLOB)")?;
            let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
            for size in [20_000, 3_000, 300] {
                while connection.execute("INSERT INTO filler VALUES (zeroblob(?))", [size]).is_ok() {}
            }
            Ok(())
        })
        .unwrap();
}

pub fn make_room(stage: &Stage) {
    stage
        .memory
        .with(|connection| {
            connection.query_row("PRAGMA max_page_count = 1000000000", [], |_| Ok(()))?;
            connection.execute_batch("DROP TABLE IF EXISTS filler")
        })
        .unwrap();
}
