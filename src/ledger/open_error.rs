//! Why a ledger can't be opened.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::{LedgerError, upgrade::SCHEMA};

/// A disk with less (bytes) is full, whatever SQLite calls its error: it says "disk I/O error" where a file beside the ledger can't be made longer.
const FULL: u64 = 256 << 10;

/// Why the ledger can't be opened. Exit code 3.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another agent owns the directory.
    #[error("{} is in use by another agent ({holder}); stop that one, or give this one a state_dir of its own [TwoAgents]", dir.display())]
    Held {
        /// The state directory.
        dir: PathBuf,
        /// What the lock file says of its holder.
        holder: String,
    },
    /// WAL does not work over a network.
    #[error("state_dir {} lies on a network file system ({kind}), where the ledger can't be kept safe; use a local disk [NetworkFileSystem]", dir.display())]
    Network {
        /// The state directory.
        dir: PathBuf,
        /// The file system's name.
        kind: &'static str,
    },
    /// Written by a newer auditferry.
    #[error("{} has schema {found}, this auditferry knows up to {SCHEMA}; use the newer auditferry that wrote it, or restore the backup made before the upgrade [NewerLedger]", file.display())]
    Newer {
        /// The ledger.
        file: PathBuf,
        /// Its schema version.
        found: i64,
    },
    /// Written by an older auditferry, and no agent of this one has run since.
    #[error("{} has schema {found}, older than {SCHEMA}: start this auditferry's agent once, which copies it and brings it up to date [OlderLedger]", file.display())]
    Older {
        /// The ledger.
        file: PathBuf,
        /// Its schema version.
        found: i64,
    },
    /// It could not be brought to this version's schema.
    #[error("the ledger {} can't be brought from schema {found} to {SCHEMA}, and is as it was: {cause}; go on with the auditferry that wrote it, and ask for help [LedgerUpgrade]", file.display())]
    Upgrade {
        /// The ledger.
        file: PathBuf,
        /// Its schema version.
        found: i64,
        /// What happened.
        cause: String,
    },
    /// Nothing there to read.
    #[error("there is no ledger in {}; has `auditferry run` been started with this state_dir?", dir.display())]
    Missing {
        /// The state directory.
        dir: PathBuf,
    },
    /// A restore has not come to its end. A ledger that was begun here now would know of nothing that is owed.
    #[error("in {} a restore was interrupted: run it again, it goes on where it stopped [RestoreInterrupted]", dir.display())]
    Restoring {
        /// The state directory.
        dir: PathBuf,
    },
    /// The directory or a file in it can't be used.
    #[error("state_dir {} can't be used: {cause}; it must exist or be creatable, and be writable by this user [StateDir]", dir.display())]
    Directory {
        /// The state directory.
        dir: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// There is no room even to open it.
    #[error("{} can't be used, the disk is full: {cause}; free some space there, then start again: nothing is lost [DiskFull]", file.display())]
    Full {
        /// The ledger, or the directory.
        file: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// Locked by another process, or an error of the disk.
    #[error("the ledger {} can't be used at the moment: {cause}; end what holds it (`fuser -v` names it) or mend the disk, then start again: nothing is lost [LedgerUnavailable]", file.display())]
    Unavailable {
        /// The ledger.
        file: PathBuf,
        /// What SQLite said.
        cause: String,
    },
    /// It was opened, and could not be read.
    #[error(transparent)]
    Call(#[from] LedgerError),
    /// It is damaged, or no ledger.
    #[error("the ledger {} can't be opened: {cause} [LedgerBroken]", file.display())]
    Sqlite {
        /// The ledger.
        file: PathBuf,
        /// What SQLite said.
        cause: String,
    },
}

impl OpenError {
    /// Of what SQLite says of `file`.
    pub(super) fn of(file: &Path, error: rusqlite::Error) -> OpenError {
        OpenError::ended(file, LedgerError::from(error))
    }

    /// Of an error that ends the process, whose own words would speak of an agent that goes on. A full disk or a lock is no damage:
    /// who takes it for one throws a good ledger away. `file`: the ledger, or its directory.
    pub fn ended(file: &Path, error: LedgerError) -> OpenError {
        let file = file.to_owned();
        match error {
            LedgerError::Full(cause) => OpenError::Full { file, cause },
            LedgerError::Unavailable(cause) if full(&file) => OpenError::Full { file, cause },
            LedgerError::Unavailable(cause) => OpenError::Unavailable { file, cause },
            LedgerError::Broken(cause) => OpenError::Sqlite { file, cause },
            LedgerError::Dead => OpenError::Call(LedgerError::Dead),
        }
    }

    /// Of what the system says of a state directory.
    pub(super) fn of_directory(dir: &Path, cause: io::Error) -> OpenError {
        match cause.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                OpenError::Full { file: dir.to_owned(), cause: cause.to_string() }
            }
            _ => OpenError::Directory { dir: dir.to_owned(), cause },
        }
    }
}

fn full(file: &Path) -> bool {
    let disk = rustix::fs::statvfs(file).ok();
    disk.is_some_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < FULL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_lock_are_no_damage() {
        let dir = tempfile::tempdir().unwrap();
        let sqlite = |code| rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
        let words = |code| OpenError::of(dir.path(), sqlite(code)).to_string();
        for (code, begins, ends) in [
            (rusqlite::ffi::SQLITE_FULL, "can't be used, the disk is full: ", "[DiskFull]"),
            (rusqlite::ffi::SQLITE_BUSY, "can't be used at the moment: ", "[LedgerUnavailable]"),
            (rusqlite::ffi::SQLITE_IOERR, "can't be used at the moment: ", "[LedgerUnavailable]"),
            (rusqlite::ffi::SQLITE_CORRUPT, "can't be opened: ", "[LedgerBroken]"),
            (rusqlite::ffi::SQLITE_NOTADB, "can't be opened: ", "[LedgerBroken]"),
        ] {
            let words = words(code);
            assert!(words.contains(&format!("{} {begins}", dir.path().display())) && words.ends_with(ends), "{words}");
        }
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(OpenError::of_directory(dir.path(), full).to_string().ends_with("[DiskFull]"));
    }
}
