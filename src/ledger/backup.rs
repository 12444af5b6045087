//! A copy of the ledger that can be kept, and its way back.
//!
//! The ledger is three files while an agent runs, and a copy of one of them is none: what is committed may stand in the log beside it
//! only. So the copy is SQLite's own (`VACUUM INTO`): one file, as the ledger was at one instant, beside a running agent too.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rusqlite::Connection;
use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};
use thiserror::Error;

use super::{
    open::{self, DirectoryLock},
    open_error::OpenError,
};

/// What SQLite keeps beside a file, and would play into whatever has the file's name.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Why there is no copy, or why it was not put in place. But for [`BackupError::HalfWay`], nothing that was there before was changed.
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
    /// Never overwritten either, and not mixed with the files of another ledger.
    #[error("of {0}, {0}-wal, {0}-shm and {0}-journal something is left of an earlier restore: delete them, or move them away together", aside.display())]
    Left {
        /// Where the ledger that was there would go.
        aside: PathBuf,
    },
    /// What is to be put in place would be moved by that, and may be only a part of a ledger.
    #[error("{} is what restore itself moves: move it away first, with its -wal and -shm, and give the new name; nothing was changed", file.display())]
    Own {
        /// What was to be put in place.
        file: PathBuf,
    },
    /// Some of what was there has been moved already. The next restore goes on from here.
    #[error("the restore into {} stopped half-way: {cause}; run it again, the agent does not start before [RestoreInterrupted]", dir.display())]
    HalfWay {
        /// The state directory.
        dir: PathBuf,
        /// What happened.
        cause: String,
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
    let bytes = copy(&connection, to, Name::New)?;
    Ok(Copied { bytes, schema, replaced: None })
}

/// Puts a copy in the place of the ledger in `dir`; what was there is kept beside it. The caller holds the directory's lock: no agent runs.
///
/// From the first change on until the last, `restored.sqlite` is there, whole and on stable storage: nothing opens a ledger beside it, and the next
/// restore goes on where this one was interrupted.
pub fn restore(dir: &Path, from: &Path, _lock: &DirectoryLock) -> Result<Copied, BackupError> {
    let damaged = |cause: String| BackupError::Damaged { file: from.to_owned(), cause };
    if !from.is_file() {
        return Err(damaged("there is no such file".into()));
    }
    let (place, aside, new) = (dir.join(open::FILE), dir.join("replaced.sqlite"), dir.join(open::RESTORED));
    if same(from, &place) || same(from, &aside) {
        return Err(BackupError::Own { file: from.to_owned() });
    }
    let connection = open::reader(from).map_err(|error| damaged(error.to_string()))?;
    whole(&connection).map_err(damaged)?;
    let schema = open::version(&connection, from)?;
    if schema == 0 {
        return Err(damaged("it holds no schema of auditferry".into()));
    }
    let failed = |cause: io::Error| BackupError::Write { file: place.clone(), cause: cause.to_string() };
    let resumed = open::there(&new).map_err(failed)? && !open::there(&place).map_err(failed)?;
    if !resumed && any(&aside).map_err(failed)? {
        return Err(BackupError::Left { aside });
    }
    // given by a person who has no other copy: it is never deleted
    let only = same(from, &new);
    let mut moved = resumed;
    let done = copy(&connection, &new, Name::Ours).and_then(|bytes| {
        swap(dir, [&place, &aside, &new], &mut moved).map_err(failed)?;
        Ok(bytes)
    });
    let bytes = match done {
        Ok(bytes) => bytes,
        Err(cause) if moved => return Err(BackupError::HalfWay { dir: dir.to_owned(), cause: cause.to_string() }),
        Err(cause) => {
            if !only {
                let _ = fs::remove_file(&new);
            }
            return Err(cause);
        }
    };
    sync(dir).map_err(failed)?;
    let replaced = any(&aside).map_err(failed)?.then_some(aside);
    Ok(Copied { bytes, schema, replaced })
}

/// Moves what is at `place` aside, with its logs, and `new` there. `moved`: something has another name now.
fn swap(dir: &Path, [place, aside, new]: [&Path; 3], moved: &mut bool) -> io::Result<()> {
    // root restores, the agent's user must be able to use it; any other user can only own what it makes
    let owner = fs::metadata(place).or_else(|_| fs::metadata(aside)).or_else(|_| fs::metadata(dir))?;
    open::give(&open::regular(OpenOptions::new().read(true), new)?, &owner)?;
    // the ledger first: a log without its file is thrown away by SQLite, a file with the log of another is destroyed by it. So a log
    // is moved without a ledger, too
    for end in ["", BESIDE[0], BESIDE[1], BESIDE[2]] {
        let (from, to) = (beside(place, end), beside(aside, end));
        if !open::there(&from)? {
            continue;
        }
        if open::there(&to)? {
            return Err(io::Error::other(format!("{} is in the way of {}", to.display(), from.display())));
        }
        fs::rename(from, to)?;
        *moved = true;
    }
    sync(dir)?;
    fs::rename(new, place)
}

/// True when something has this name, or the name of what SQLite keeps beside it.
fn any(file: &Path) -> io::Result<bool> {
    let mut found = open::there(file)?;
    for end in BESIDE {
        found |= open::there(&beside(file, end))?;
    }
    Ok(found)
}

/// True for two names of one file.
fn same(one: &Path, other: &Path) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Whose the name of a copy is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    /// A person's: nothing that has it is replaced, and others may write to it at the same time.
    New,
    /// The agent's own, in a directory that is locked: what has it is replaced at once.
    Ours,
}

/// Writes the copy under another name first, so that what has the name is whole. Returns its size (bytes).
pub(super) fn copy(connection: &Connection, to: &Path, name: Name) -> Result<u64, BackupError> {
    let failed = |cause: String| BackupError::Write { file: to.to_owned(), cause };
    let (part, file) = part(to, name).map_err(|error| failed(error.to_string()))?;
    let copied = copy_to(connection, &part, &file).map_err(failed).and_then(|bytes| {
        match name {
            Name::Ours => fs::rename(&part, to),
            Name::New => publish(&part, to),
        }
        .map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists if name == Name::New => BackupError::Exists { file: to.to_owned() },
            _ => failed(error.to_string()),
        })?;
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        sync(folder).map_err(|error| failed(error.to_string()))?;
        Ok(bytes)
    });
    copied.inspect_err(|_| {
        let _ = fs::remove_file(&part);
    })
}

/// Makes the file that is written first. SQLite takes an empty one, and leaves it private.
fn part(to: &Path, name: Name) -> io::Result<(PathBuf, File)> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    if name == Name::Ours {
        // left by one that was interrupted: nobody else writes here
        let part = beside(to, ".part");
        let _ = fs::remove_file(&part);
        return options.open(&part).map(|file| (part, file));
    }
    let mut tries = 0;
    loop {
        // processes in different containers may have the same number
        let part = beside(to, &format!(".{}-{tries}.part", std::process::id()));
        match options.open(&part) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries < 100 => tries += 1,
            opened => return opened.map(|file| (part, file)),
        }
    }
}

/// Gives a file its name, unless something has it.
fn publish(part: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, part, CWD, to, RenameFlags::NOREPLACE) {
        // not every file system can; a link never replaces either
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            fs::hard_link(part, to)?;
            fs::remove_file(part)
        }
        done => Ok(done?),
    }
}

fn copy_to(connection: &Connection, part: &Path, file: &File) -> Result<u64, String> {
    let io = |error: io::Error| error.to_string();
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
