//! Opening the ledger: lock, permissions, pragmas, schema version.

use std::{
    fs::{self, File, Metadata, OpenOptions, Permissions},
    io::{self, Read, Seek, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags, config::DbConfig};
use rustix::fs::FlockOperation;

use super::{
    ground,
    open_error::OpenError,
    upgrade::{self, SCHEMA},
};

/// More than there are different statements in `ledger/`: each is compiled once per connection.
pub(super) const STATEMENTS: usize = 128;
pub(super) const FILE: &str = "ledger.sqlite";
/// There while a restore is under way, whole: what has the ledger's name meanwhile is not the ledger, or is about to be replaced.
pub(super) const RESTORED: &str = "restored.sqlite";

/// Held while the agent lives; the system frees it at death, however it comes.
#[derive(Debug)]
pub struct DirectoryLock(#[expect(dead_code, reason = "its life is its purpose")] File);

/// Makes the directory and takes its lock.
pub fn lock(dir: &Path) -> Result<DirectoryLock, OpenError> {
    let directory = |cause| OpenError::of_directory(dir, cause);
    std::fs::create_dir_all(dir).map_err(|cause| directory(ground::in_the_way(dir).unwrap_or(cause)))?;
    if let Some(kind) = network(dir).map_err(directory)? {
        return Err(OpenError::Network { dir: dir.to_owned(), kind });
    }
    let place = dir.join("lock");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = regular(&mut options, &place).map_err(directory)?;
    // made by root, who restores a copy: the agent's user must be able to take it, too
    fs::metadata(dir).and_then(|owner| give(&file, &owner)).map_err(directory)?;
    if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut holder = String::new();
        let _ = (&file).take(200).read_to_string(&mut holder);
        let holder = if holder.trim().is_empty() { "not known".into() } else { holder.trim().to_owned() };
        return Err(OpenError::Held { dir: dir.to_owned(), holder });
    }
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "process {} on {host}", std::process::id()))
        .map_err(directory)?;
    Ok(DirectoryLock(file))
}

/// Opens what must be a file. Root works in a directory of the agent's user, who must not have it change a file elsewhere by a link.
pub(super) fn regular(options: &mut OpenOptions, place: &Path) -> io::Result<File> {
    let other = || io::Error::other(format!("{} is no regular file: delete it", place.display()));
    let opened = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(place);
    let file = opened.map_err(|error| if error.raw_os_error() == Some(libc::ELOOP) { other() } else { error })?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(other()) }
}

/// Gives an open file to an owner, where this user may.
pub(super) fn give(file: &File, owner: &Metadata) -> io::Result<()> {
    let now = file.metadata()?;
    if (now.uid(), now.gid()) != (owner.uid(), owner.gid()) {
        let _ = fchown(file, Some(owner.uid()), Some(owner.gid()));
    }
    Ok(())
}

/// True when something has this name, a broken link too. That it can't be told is not that nothing is there.
pub(super) fn there(file: &Path) -> io::Result<bool> {
    match file.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Refuses while a restore is under way.
fn settled(dir: &Path) -> Result<(), OpenError> {
    match there(&dir.join(RESTORED)) {
        Ok(false) => Ok(()),
        Ok(true) => Err(OpenError::Restoring { dir: dir.to_owned() }),
        Err(cause) => Err(OpenError::Directory { dir: dir.to_owned(), cause }),
    }
}

/// The name of the network file system that `dir` lies on, if it does. Numbers: statfs(2).
pub(super) fn network(dir: &Path) -> std::io::Result<Option<&'static str>> {
    Ok(network_name(rustix::fs::statfs(dir)?.f_type as u64 & 0xffff_ffff))
}

fn network_name(kind: u64) -> Option<&'static str> {
    Some(match kind {
        0x6969 => "NFS",
        0xff53_4d42 => "CIFS",
        0xfe53_4d42 => "SMB2",
        0x517b => "SMB",
        0x00c3_6400 => "Ceph",
        0x5346_414f => "AFS",
        0x0102_1997 => "9P",
        0x0bd0_0bd0 => "Lustre",
        0x0116_1970 => "GFS2",
        0x7461_636f => "OCFS2",
        _ => return None,
    })
}

/// Opens the ledger for the one agent that holds the lock.
pub(super) fn writer(dir: &Path) -> Result<(Connection, PathBuf), OpenError> {
    settled(dir)?;
    let file = dir.join(FILE);
    let sqlite = |cause| OpenError::of(&file, cause);
    let private = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&file);
    private
        .and_then(|opened| opened.set_permissions(Permissions::from_mode(0o600)))
        .map_err(|cause| OpenError::of_directory(dir, cause))?;
    let connection = Connection::open(&file).map_err(sqlite)?;
    // the version first: of a newer file nothing may be changed
    let found = version(&connection, &file)?;
    prepare(&connection, &file)?;
    match found {
        0 => upgrade::create(&connection).map_err(sqlite)?,
        SCHEMA => {}
        _ => upgrade::bring(&connection, &file, found, upgrade::STEPS).map_err(|cause| OpenError::Upgrade {
            file: file.clone(),
            found,
            cause,
        })?,
    }
    Ok((connection, file))
}

/// Sets what durability rests on, and reads each back: SQLite ignores a pragma that it can't follow.
fn prepare(connection: &Connection, file: &Path) -> Result<(), OpenError> {
    let sqlite = |cause| OpenError::of(file, cause);
    let wanted: [(&str, &str, &str); 8] = [
        ("page_size", "16384", "16384"),
        ("journal_mode", "WAL", "wal"),
        ("synchronous", "FULL", "2"),
        ("journal_size_limit", "67108864", "67108864"),
        ("foreign_keys", "ON", "1"),
        ("cache_size", "-16384", "-16384"),
        ("temp_store", "MEMORY", "2"),
        ("wal_autocheckpoint", "1000", "1000"),
    ];
    connection.busy_timeout(std::time::Duration::from_secs(10)).map_err(sqlite)?;
    keep_plans(connection).map_err(sqlite)?;
    for (name, value, expected) in wanted {
        let set = || -> rusqlite::Result<String> {
            connection.pragma_update(None, name, value)?;
            connection.pragma_query_value(None, name, |row| {
                Ok(match row.get_ref(0)? {
                    rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                    other => other.as_str().unwrap_or_default().to_owned(),
                })
            })
        };
        let found = set().map_err(sqlite)?;
        if found != expected {
            let cause = format!("PRAGMA {name} is {found}, but {expected} is needed for durability");
            return Err(OpenError::Sqlite { file: file.to_owned(), cause });
        }
    }
    Ok(())
}

/// Each statement is planned once. Without SQLite's query planner stability guarantee a statement is planned anew at each run whose
/// parameters differ where a plan could hang on one (a `LIMIT`, the condition of an index): that was 40 % of the time of a run of the crash test.
pub(super) fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// A read-only connection beside a running agent, or to the ledger of a stopped one.
pub(super) fn reader(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    keep_plans(&connection)?;
    connection.pragma_update(None, "cache_size", "-4096")?;
    Ok(connection)
}

/// A reader for whoever copies it, of an older schema too, with the checks that `run` makes; and the schema.
pub(super) fn copied(dir: &Path) -> Result<(Connection, PathBuf, i64), OpenError> {
    settled(dir)?;
    let file = dir.join(FILE);
    // a directory that this user may not look into is not one without a ledger
    let there = file.try_exists().map_err(|cause| OpenError::of_directory(dir, cause))?;
    if !there {
        return Err(OpenError::Missing { dir: dir.to_owned() });
    }
    let sqlite = |cause| OpenError::of(&file, cause);
    let connection = reader(&file).map_err(sqlite)?;
    let found = version(&connection, &file)?;
    Ok((connection, file, found))
}

/// A reader for a command that reads what is in it.
pub(super) fn command_reader(dir: &Path) -> Result<(Connection, PathBuf), OpenError> {
    let (connection, file, found) = copied(dir)?;
    if found < SCHEMA {
        return Err(OpenError::Older { file, found });
    }
    Ok((connection, file))
}

/// A connection for a command that writes one row. It makes no ledger and migrates none: that is the agent's.
pub(super) fn asker(dir: &Path) -> Result<(Connection, PathBuf), OpenError> {
    // the same checks, before anything could be changed
    let (looked, file) = command_reader(dir)?;
    drop(looked);
    let sqlite = |cause| OpenError::of(&file, cause);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&file, flags).map_err(sqlite)?;
    prepare(&connection, &file)?;
    Ok((connection, file))
}

/// The ledger's schema version; a newer one is refused.
///
/// Schema 1 grew in place until there was a second one: a ledger of an early build has the number and lacks tables. That is said in
/// plain words here, instead of as a broken ledger by the first call that misses something. Since then `schema.sql` changes with a
/// step in [`upgrade::STEPS`] only.
pub(super) fn version(connection: &Connection, file: &Path) -> Result<i64, OpenError> {
    let sqlite = |cause| OpenError::of(file, cause);
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(sqlite)?;
    if found > SCHEMA {
        return Err(OpenError::Newer { file: file.to_owned(), found });
    }
    let last = "SELECT EXISTS (SELECT 1 FROM pragma_table_info('stream') WHERE name = 'configured')";
    if found == 1 && !connection.query_row(last, [], |row| row.get::<_, bool>(0)).map_err(sqlite)? {
        let cause = "it was made by an unreleased auditferry whose schema was never published; move state_dir away and start anew";
        return Err(OpenError::Sqlite { file: file.to_owned(), cause: cause.into() });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_named() {
        // the numbers of statfs(2): a test can't mount one, so the table is what is held
        assert_eq!(network_name(0x6969), Some("NFS"));
        assert_eq!(network_name(0xff53_4d42), Some("CIFS"));
        assert_eq!(network_name(0xef53), None, "ext4 is local");
        let words = OpenError::Network { dir: "/mnt/state".into(), kind: "NFS" }.to_string();
        assert_eq!(
            words,
            "state_dir /mnt/state lies on a network file system (NFS), where the ledger can't be kept safe; use a local disk [NetworkFileSystem]"
        );
    }

    #[test]
    fn a_second_agent_is_told_who_holds_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let _first = lock(dir.path()).unwrap();
        let words = lock(dir.path()).unwrap_err().to_string();
        assert!(words.contains(&format!("in use by another agent (process {} on ", std::process::id())), "{words}");
    }

    #[test]
    fn a_lock_that_root_makes_belongs_to_the_owner_of_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        // only root can give something away; for others there is nothing to prove
        if std::os::unix::fs::chown(dir.path(), Some(4711), Some(4712)).is_err() {
            return;
        }
        drop(lock(dir.path()).unwrap());
        let made = std::fs::metadata(dir.path().join("lock")).unwrap();
        assert_eq!((made.uid(), made.gid()), (4711, 4712));
    }

    #[test]
    fn a_newer_schema_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        drop(writer(dir.path()).unwrap());
        let raw = Connection::open(dir.path().join(FILE)).unwrap();
        raw.pragma_update(None, "user_version", SCHEMA + 1).unwrap();
        drop(raw);
        let words = writer(dir.path()).unwrap_err().to_string();
        assert!(words.ends_with("has schema 3, this auditferry knows up to 2; use the newer auditferry that wrote it, or restore the backup made before the upgrade [NewerLedger]"), "{words}");
    }

    #[test]
    fn the_file_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let (_connection, file) = writer(dir.path()).unwrap();
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
