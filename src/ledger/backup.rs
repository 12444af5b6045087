//! A copy of the ledger that can be kept, and its way back.
//!
//! The ledger is three files while an agent runs, and a copy of one of them is none: what is committed may stand in the log beside it
//! only. So the copy is SQLite's own (`VACUUM INTO`): one file, as the ledger was at one instant, beside a running agent too.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt, chown},
    path::{Path, PathBuf},
};

use rusqlite::Connection;
use thiserror::Error;

use super::open::{self, DirectoryLock, OpenError};

/// Why there is no copy, or why it was not put in place. Nothing that was there before was changed.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The ledger or the copy can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Never overwritten: it may be the only one.
    #[error("{} is there already: give another name, or move it away", file.display())]
    Exists {
        /// What is there.
        file: PathBuf,
    },
    /// The copy can't be written.
    #[error("{} can't be written: {cause}", file.display())]
    Write {
        /// The copy.
        file: PathBuf,
        /// What the system or SQLite said.
        cause: String,
    },
    /// Not a ledger, or not a whole one.
    #[error("{} is no whole ledger: {cause}; nothing was changed", file.display())]
    Damaged {
        /// What was to be copied.
        file: PathBuf,
        /// What SQLite said of it.
        cause: String,
    },
}

/// A copy that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Its size (bytes).
    pub bytes: u64,
    /// Its schema.
    pub schema: i64,
    /// What was in the way of a restored ledger, and where it lies now.
    pub replaced: Option<PathBuf>,
}

/// Copies the ledger in `dir` into the new file `to`, which is whole and on stable storage when this returns, or not there.
pub fn backup(dir: &Path, to: &Path) -> Result<Copied, BackupError> {
    if to.symlink_metadata().is_ok() {
        return Err(BackupError::Exists { file: to.to_owned() });
    }
    let (connection, _, schema) = open::copied(dir)?;
    let bytes = copy(&connection, to)?;
    Ok(Copied { bytes, schema, replaced: None })
}

/// Puts a copy in the place of the ledger in `dir`; what was there is kept beside it. The caller holds the directory's lock: no agent runs.
pub fn restore(dir: &Path, from: &Path, _lock: &DirectoryLock) -> Result<Copied, BackupError> {
    let damaged = |cause: String| BackupError::Damaged { file: from.to_owned(), cause };
    if !from.is_file() {
        return Err(damaged("there is no such file".into()));
    }
    let connection = open::reader(from).map_err(|error| damaged(error.to_string()))?;
    whole(&connection).map_err(damaged)?;
    let schema = open::version(&connection, from)?;
    if schema == 0 {
        return Err(damaged("it holds no schema of auditferry".into()));
    }
    let place = dir.join(open::FILE);
    let aside = dir.join("replaced.sqlite");
    if aside.symlink_metadata().is_ok() {
        return Err(BackupError::Exists { file: aside });
    }
    let failed = |cause: io::Error| BackupError::Write { file: place.clone(), cause: cause.to_string() };
    let new = dir.join("restored.sqlite");
    // left by one that was interrupted
    let _ = fs::remove_file(&new);
    let bytes = copy(&connection, &new)?;
    // root restores, the agent's user must be able to use it; any other user can only own what it makes
    let owner = fs::metadata(&place).or_else(|_| fs::metadata(dir)).map_err(failed)?;
    let _ = chown(&new, Some(owner.uid()), Some(owner.gid()));
    let had = place.exists();
    if had {
        // the ledger first: a log without its file is thrown away by SQLite, a file with the log of another is destroyed by it
        fs::rename(&place, &aside).map_err(failed)?;
        for end in ["-wal", "-shm"] {
            match fs::rename(beside(&place, end), beside(&aside, end)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
        }
    }
    fs::rename(&new, &place).and_then(|()| File::open(dir)?.sync_all()).map_err(failed)?;
    Ok(Copied { bytes, schema, replaced: had.then_some(aside) })
}

/// Writes the copy under another name first, so that what has the name is whole. Returns its size (bytes).
pub(super) fn copy(connection: &Connection, to: &Path) -> Result<u64, BackupError> {
    let part = beside(to, ".part");
    let copied = copy_to(connection, &part).and_then(|bytes| {
        fs::rename(&part, to).map_err(|error| error.to_string())?;
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| error.to_string())?;
        Ok(bytes)
    });
    copied.map_err(|cause| {
        let _ = fs::remove_file(&part);
        BackupError::Write { file: to.to_owned(), cause }
    })
}

fn copy_to(connection: &Connection, part: &Path) -> Result<u64, String> {
    let io = |error: io::Error| error.to_string();
    let _ = fs::remove_file(part);
    // SQLite takes an empty file, and leaves it private
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(part).map_err(io)?;
    let name = part.to_str().ok_or("its name is no UTF-8")?;
    connection.execute("VACUUM INTO ?", [name]).map_err(|error| error.to_string())?;
    file.sync_all().map_err(io)?;
    let written = open::reader(part).map_err(|error| error.to_string())?;
    whole(&written)?;
    Ok(file.metadata().map_err(io)?.len())
}

/// Reads all of it once.
fn whole(connection: &Connection) -> Result<(), String> {
    let found: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(|error| error.to_string())?;
    if found == "ok" { Ok(()) } else { Err(found) }
}

fn beside(file: &Path, end: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(end);
    name.into()
}
