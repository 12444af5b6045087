//! Copies of the ledger: made beside a writer, and put back.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use rusqlite::Connection;

use super::{
    backup::{Name, copy},
    open, *,
};

fn sql(file: &Path, statements: &str) {
    Connection::open(file).unwrap().execute_batch(statements).unwrap();
}

fn tenants(file: &Path) -> Vec<String> {
    let connection = Connection::open(file).unwrap();
    let mut statement = connection.prepare("SELECT guid FROM tenant ORDER BY guid").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap()
}

#[test]
fn a_copy_beside_a_writer_holds_what_is_in_the_log_only_and_is_private() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, file) = open::writer(dir.path()).unwrap();
    writer.execute("INSERT INTO tenant (guid) VALUES ('committed')", []).unwrap();
    writer.execute_batch("BEGIN IMMEDIATE; INSERT INTO tenant (guid) VALUES ('not committed')").unwrap();
    let copy = dir.path().join("copy");
    let copied = backup(dir.path(), &copy).unwrap();
    assert_eq!((copied.schema, copied.bytes), (SCHEMA, fs::metadata(&copy).unwrap().len()));
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(tenants(&copy), ["committed"]);
    writer.execute_batch("COMMIT").unwrap();
    // why a copy of the file alone is none
    fs::copy(&file, dir.path().join("plain")).unwrap();
    let plain = Connection::open(dir.path().join("plain")).unwrap();
    assert!(plain.query_row("SELECT count(*) FROM tenant", [], |row| row.get::<_, i64>(0)).is_err());
    let twice = backup(dir.path(), &copy).unwrap_err().to_string();
    assert_eq!(twice, format!("{} is there already: give another name, or move it away", copy.display()));
    let nowhere = backup(dir.path(), &dir.path().join("gone/copy")).unwrap_err().to_string();
    assert!(nowhere.contains("can't be written: No such file or directory"), "{nowhere}");
    let missing = backup(&dir.path().join("gone"), &dir.path().join("c")).unwrap_err().to_string();
    assert!(missing.starts_with("there is no ledger in "), "{missing}");
}

#[test]
fn a_copy_is_put_back_whole_and_what_was_there_is_kept_with_its_log() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, file) = open::writer(dir.path()).unwrap();
    writer.execute("INSERT INTO tenant (guid) VALUES ('old')", []).unwrap();
    let copy = dir.path().join("copy");
    backup(dir.path(), &copy).unwrap();
    writer.execute("INSERT INTO tenant (guid) VALUES ('new')", []).unwrap();
    // the process died: its log stays
    std::mem::forget(writer);
    assert!(dir.path().join("ledger.sqlite-wal").exists());
    let held = lock(dir.path()).unwrap();
    let restored = restore(dir.path(), &copy, &held).unwrap();
    let aside = dir.path().join("replaced.sqlite");
    assert_eq!(restored.replaced.as_deref(), Some(aside.as_path()));
    assert!(!dir.path().join("ledger.sqlite-wal").exists(), "the log of another file would destroy this one");
    assert_eq!((tenants(&file), tenants(&aside)), (vec!["old".to_owned()], vec!["new".to_owned(), "old".to_owned()]));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    drop(open::writer(dir.path()).unwrap());
    let again = restore(dir.path(), &copy, &held).unwrap_err().to_string();
    assert_eq!(again, left(dir.path()));
}

/// What a restore says that would mix its files with those of an earlier one.
fn left(dir: &Path) -> String {
    let file = dir.join("replaced.sqlite").display().to_string();
    let words = "of FILE, FILE-wal, FILE-shm and FILE-journal something is left of an earlier restore: delete them, or move them away together";
    words.replace("FILE", &file)
}

#[test]
fn what_is_no_whole_ledger_of_this_or_an_older_version_is_not_put_back() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, file) = open::writer(dir.path()).unwrap();
    writer.execute("INSERT INTO tenant (guid) VALUES ('here')", []).unwrap();
    let held = lock(dir.path()).unwrap();
    let copy = dir.path().join("copy");
    backup(dir.path(), &copy).unwrap();
    let whole = fs::read(&copy).unwrap();
    for (content, words) in [
        (b"not a database, but longer than its head would be".to_vec(), "file is not a database"),
        (whole[..whole.len() / 2].to_vec(), "malformed"),
        (Vec::new(), "it holds no schema of auditferry"),
    ] {
        fs::write(&copy, content).unwrap();
        let refused = restore(dir.path(), &copy, &held).unwrap_err().to_string();
        assert!(refused.contains("is no whole ledger: ") && refused.contains(words), "{refused}");
    }
    fs::write(&copy, whole).unwrap();
    sql(&copy, "PRAGMA user_version = 9");
    let refused = restore(dir.path(), &copy, &held).unwrap_err().to_string();
    assert!(refused.contains("has schema 9, this auditferry knows up to"), "{refused}");
    let refused = restore(dir.path(), &dir.path().join("gone"), &held).unwrap_err().to_string();
    assert!(refused.contains("there is no such file"), "{refused}");
    assert_eq!(tenants(&file), ["here"], "nothing was changed");
    assert!(!dir.path().join("replaced.sqlite").exists());
}

/// A ledger with `old`, a copy of it, and `new` that stands in its log only, as a process that died leaves it.
fn died(dir: &Path) -> std::path::PathBuf {
    let (writer, _) = open::writer(dir).unwrap();
    writer.execute("INSERT INTO tenant (guid) VALUES ('old')", []).unwrap();
    let copy = dir.join("copy");
    backup(dir, &copy).unwrap();
    writer.execute("INSERT INTO tenant (guid) VALUES ('new')", []).unwrap();
    std::mem::forget(writer);
    copy
}

#[test]
fn a_restore_that_was_interrupted_opens_no_ledger_and_goes_on() {
    for (moved, gone) in [(0, false), (1, false), (3, false), (3, true)] {
        let dir = tempfile::tempdir().unwrap();
        let copy = died(dir.path());
        let (place, aside, new) =
            (dir.path().join("ledger.sqlite"), dir.path().join("replaced.sqlite"), dir.path().join("restored.sqlite"));
        // what is on disk after the copy, and after each of the renames
        fs::copy(&copy, &new).unwrap();
        for end in &["", "-wal", "-shm"][..moved] {
            let name = |name: &str| dir.path().join(format!("{name}.sqlite{end}"));
            fs::rename(name("ledger"), name("replaced")).unwrap();
        }
        let words = format!(
            "in {} a restore was interrupted: run it again, it goes on where it stopped [RestoreInterrupted]",
            dir.path().display()
        );
        assert_eq!(open::writer(dir.path()).unwrap_err().to_string(), words, "{moved}");
        assert_eq!(open::command_reader(dir.path()).unwrap_err().to_string(), words);
        assert_eq!(open::asker(dir.path()).unwrap_err().to_string(), words);
        assert_eq!(backup(dir.path(), &dir.path().join("other")).unwrap_err().to_string(), words);
        assert_eq!(place.exists(), moved == 0, "no other ledger was begun");
        let held = lock(dir.path()).unwrap();
        // a person whose copy is gone has the one that was begun with
        let from = if gone { &new } else { &copy };
        let restored = restore(dir.path(), from, &held).unwrap();
        assert_eq!(restored.replaced.as_deref(), Some(aside.as_path()));
        assert!(!new.exists() && !dir.path().join("ledger.sqlite-wal").exists());
        assert_eq!(
            (tenants(&place), tenants(&aside)),
            (vec!["old".to_owned()], vec!["new".to_owned(), "old".to_owned()])
        );
        drop(open::writer(dir.path()).unwrap());
    }
}

#[test]
fn a_restore_that_can_not_go_on_keeps_what_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let copy = died(dir.path());
    let name = |name: &str| dir.path().join(name);
    fs::copy(&copy, name("restored.sqlite")).unwrap();
    fs::rename(name("ledger.sqlite"), name("replaced.sqlite")).unwrap();
    fs::write(name("replaced.sqlite-wal"), b"of another").unwrap();
    let held = lock(dir.path()).unwrap();
    let words = restore(dir.path(), &copy, &held).unwrap_err().to_string();
    assert!(words.contains("stopped half-way") && words.ends_with("[RestoreInterrupted]"), "{words}");
    assert_eq!(fs::read(name("replaced.sqlite-wal")).unwrap(), b"of another");
    assert!(open::writer(dir.path()).is_err() && !name("ledger.sqlite").exists());
    fs::remove_file(name("replaced.sqlite-wal")).unwrap();
    restore(dir.path(), &copy, &held).unwrap();
    assert_eq!(tenants(&name("replaced.sqlite")), ["new", "old"]);
}

#[test]
fn the_log_of_a_ledger_that_is_gone_is_not_played_into_the_restored_one() {
    let (dir, host) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let copy = died(dir.path());
    let log = fs::read(dir.path().join("ledger.sqlite-wal")).unwrap();
    fs::write(host.path().join("ledger.sqlite-wal"), &log).unwrap();
    let restored = restore(host.path(), &copy, &lock(host.path()).unwrap()).unwrap();
    assert_eq!(tenants(&host.path().join("ledger.sqlite")), ["old"]);
    assert_eq!(fs::read(host.path().join("replaced.sqlite-wal")).unwrap(), log);
    assert_eq!(restored.replaced, Some(host.path().join("replaced.sqlite")));
}

#[test]
fn what_an_earlier_restore_left_is_never_overwritten() {
    for end in ["", "-wal", "-shm", "-journal"] {
        let dir = tempfile::tempdir().unwrap();
        let copy = died(dir.path());
        let earlier = dir.path().join(format!("replaced.sqlite{end}"));
        fs::write(&earlier, b"earlier").unwrap();
        let refused = restore(dir.path(), &copy, &lock(dir.path()).unwrap()).unwrap_err().to_string();
        assert_eq!(refused, left(dir.path()), "{end}");
        assert_eq!(fs::read(&earlier).unwrap(), b"earlier");
        assert!(!dir.path().join("restored.sqlite").exists());
        assert_eq!(tenants(&dir.path().join("ledger.sqlite")), ["new", "old"]);
    }
}

#[test]
fn what_restore_itself_moves_is_not_what_it_puts_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let copy = died(dir.path());
    let held = lock(dir.path()).unwrap();
    let (place, other) = (dir.path().join("ledger.sqlite"), dir.path().join("other"));
    fs::hard_link(&place, &other).unwrap();
    for from in [&place, &other] {
        let refused = restore(dir.path(), from, &held).unwrap_err().to_string();
        assert!(refused.starts_with(&format!("{} is what restore itself moves: ", from.display())), "{refused}");
    }
    // one that lies where the next copy is made is not deleted by that
    let new = dir.path().join("restored.sqlite");
    fs::rename(&copy, &new).unwrap();
    restore(dir.path(), &new, &held).unwrap();
    assert_eq!(tenants(&place), ["old"]);
}

#[test]
fn a_copy_replaces_nothing_that_came_meanwhile_and_shares_no_file_with_another() {
    let dir = tempfile::tempdir().unwrap();
    let (connection, _) = open::writer(dir.path()).unwrap();
    let names = || fs::read_dir(dir.path()).unwrap().count();
    let (to, part) = (dir.path().join("to"), dir.path().join("to.part"));
    fs::write(&to, b"of another").unwrap();
    fs::write(&part, b"of another").unwrap();
    let before = names();
    let refused = copy(&connection, &to, Name::New).unwrap_err().to_string();
    assert_eq!(refused, format!("{} is there already: give another name, or move it away", to.display()));
    assert_eq!((fs::read(&to).unwrap(), fs::read(&part).unwrap()), (b"of another".to_vec(), b"of another".to_vec()));
    assert_eq!(names(), before, "nothing is left of it");
    fs::remove_file(&to).unwrap();
    // left by a process of the same number, or being written by one in another container
    let ours = dir.path().join(format!("to.{}-0.part", std::process::id()));
    fs::write(&ours, b"of another").unwrap();
    copy(&connection, &to, Name::New).unwrap();
    assert_eq!(fs::read(&ours).unwrap(), b"of another");
    assert_eq!(tenants(&to), [""; 0]);
}

#[test]
fn the_lock_changes_nothing_outside_of_its_directory() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let victim = elsewhere.path().join("victim");
    fs::write(&victim, b"precious").unwrap();
    std::os::unix::fs::symlink(&victim, dir.path().join("lock")).unwrap();
    let refused = lock(dir.path()).unwrap_err().to_string();
    assert!(refused.contains("/lock is no regular file: delete it; "), "{refused}");
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
    // the marker of a restore is one as a link, too
    std::os::unix::fs::symlink("nowhere", elsewhere.path().join("restored.sqlite")).unwrap();
    assert!(matches!(open::writer(elsewhere.path()), Err(OpenError::Restoring { .. })));
}
