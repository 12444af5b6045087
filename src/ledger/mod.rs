//! Everything the agent knows: one SQLite file.
//!
//! Promises: every method is one transaction, wholly and durably done or not at all; nobody is answered before COMMIT
//! returned; methods take and give owned plain data. All times are milliseconds since 1970 in UTC ([`Millis`]).

mod backup;
#[cfg(test)]
mod backup_tests;
mod blocked;
#[cfg(test)]
mod blocked_tests;
mod books;
mod confirm;
mod contents;
mod deliveries;
mod error;
mod facts;
mod gaps;
mod ground;
#[cfg(test)]
mod group_tests;
mod open;
mod open_error;
#[cfg(test)]
mod overlap_tests;
mod quarantine;
#[cfg(test)]
mod quarantine_tests;
mod remove;
#[cfg(test)]
mod remove_tests;
mod requests;
mod requeue;
mod retire;
#[cfg(test)]
mod retire_tests;
mod seen;
mod sinks;
mod streams;
#[cfg(test)]
mod tests;
mod troubles;
mod upgrade;
#[cfg(test)]
mod upgrade_tests;
mod upkeep;
mod writer;

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use rusqlite::Connection;

pub use backup::{BackupError, Copied, backup, restore};
pub use blocked::{BlockNews, BlockTold};
pub use books::{Account, Books, BudgetView, Imbalance, SinkView, StreamBooks};
pub use confirm::Progress;
pub use contents::{Counts, FetchTarget, Need};
pub use deliveries::{Ask, Piece, Place, Stored};
pub use error::LedgerError;
pub use facts::facts;
pub use gaps::{Gap, GapNews};
pub use ground::{Ground, ground};
pub use open::{DirectoryLock, lock};
pub use open_error::OpenError;
pub use quarantine::{Quarantined, Refused, Selection};
pub use requests::{Request, Wanted};
pub use requeue::OwnEvent;
pub use seen::Entered;
pub use sinks::{SinkRow, SinkSpec};
pub use streams::{Admission, Listed, StreamRow, StreamSpec};
pub use troubles::Trouble;
pub use upgrade::SCHEMA;
pub use upkeep::Due;
pub use writer::Commits;

use crate::world::Gate;

/// Milliseconds since 1970 in UTC.
pub type Millis = i64;

/// A handle on the ledger; cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    engine: Arc<writer::Engine>,
    /// The database; `None`: in memory.
    file: Option<Arc<Path>>,
}

impl Ledger {
    /// Opens the ledger in `dir` for writing. The caller holds its [`lock`].
    pub fn open(dir: &Path) -> Result<Ledger, OpenError> {
        let (connection, file) = open::writer(dir)?;
        let engine = writer::Engine::thread(connection, &file)
            .map_err(|cause| OpenError::Directory { dir: dir.to_owned(), cause })?;
        Ok(Ledger { engine: Arc::new(engine), file: Some(file.into()) })
    }

    /// Opens it for reading only: what commands do, beside a running agent too.
    pub fn open_for_reading(dir: &Path) -> Result<Ledger, OpenError> {
        let (connection, file) = open::command_reader(dir)?;
        let engine = writer::Engine::inline(Arc::new(Mutex::new(connection)), Gate::default());
        Ok(Ledger { engine: Arc::new(engine), file: Some(file.into()) })
    }

    /// A ledger in memory that outlives the handle, for the crash test: both sides of every transaction are a gate.
    #[cfg(any(test, feature = "testing"))]
    pub fn in_memory(memory: &Memory, gate: Gate) -> Ledger {
        Ledger { engine: Arc::new(writer::Engine::inline(Arc::clone(&memory.0), gate)), file: None }
    }

    /// Opens it for one thing only: to write down what a person wants, beside a running agent too. SQLite lets one process
    /// after the other write; the agent waits up to 10 s for its turn, and so does this.
    pub fn open_for_asking(dir: &Path) -> Result<Ledger, OpenError> {
        let (connection, file) = open::asker(dir)?;
        let engine = writer::Engine::inline(Arc::new(Mutex::new(connection)), Gate::default());
        Ok(Ledger { engine: Arc::new(engine), file: Some(file.into()) })
    }

    /// How many transactions this process has committed, and in how many COMMITs; zeros where every call is a COMMIT of its own.
    pub fn commits(&self) -> Commits {
        self.engine.commits()
    }

    async fn write<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        self.engine.write(name, work).await
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        self.engine.read(work).await
    }
}

/// What survives a crash in the crash test.
#[cfg(any(test, feature = "testing"))]
#[derive(Clone)]
pub struct Memory(Arc<Mutex<Connection>>);

#[cfg(any(test, feature = "testing"))]
impl Memory {
    /// An empty ledger.
    pub fn new() -> rusqlite::Result<Memory> {
        let connection = Connection::open_in_memory()?;
        connection.pragma_update(None, "foreign_keys", "ON")?;
        open::keep_plans(&connection)?;
        upgrade::create(&connection)?;
        Ok(Memory(Arc::new(Mutex::new(connection))))
    }

    /// Runs SQL on it, as a person with the file would.
    pub fn with<T>(&self, look: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        match self.0.lock() {
            Ok(connection) => look(&connection),
            Err(poisoned) => look(&poisoned.into_inner()),
        }
    }
}
