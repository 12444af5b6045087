//! The file itself, synchronously: open, mend, append, make durable. No tokio here.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use auditferry_contract::{Cause, SinkError};

/// How far back the last line break is looked for: no torn write of this sink is longer than one batch.
const TAIL: u64 = 64 << 20;
const BLOCK: u64 = 64 << 10;

/// An open file that ends with a line break, and that nobody else writes.
#[derive(Debug)]
pub struct Appender {
    path: PathBuf,
    mode: u32,
    file: File,
    /// Its length after what was written last: shorter means that somebody cut it.
    length: u64,
}

impl Appender {
    /// Opens or creates the file, takes the lock, cuts a torn tail off. What it returns is durable, name included.
    pub fn open(path: PathBuf, mode: u32) -> Result<Self, SinkError> {
        let in_words = |doing: &str, error: io::Error| words(&path, doing, &error);
        // looked at before it is opened: opening a pipe waits for its reader
        let existed = match fs::metadata(&path) {
            Ok(meta) if !meta.is_file() => {
                let what =
                    format!("{} is not a regular file: give another path, or use sink kind stdout", path.display());
                return Err(SinkError::blocked(what));
            }
            Ok(_) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(in_words("look at", error)),
        };
        let file = OpenOptions::new().read(true).append(true).create(true).mode(mode).open(&path);
        let mut file = file.map_err(|error| in_words("open", error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let what = format!(
                    "{} is being written by another process, or by a call that has not ended yet: two agents need two files",
                    path.display()
                );
                return Err(SinkError::retry(what));
            }
            Err(TryLockError::Error(error)) => return Err(in_words("lock", error)),
        }
        if !same_file(&path, &file).map_err(|error| in_words("look at", error))? {
            return Err(SinkError::retry(format!("{} was replaced while it was opened", path.display())));
        }
        let length = file.metadata().map_err(|error| in_words("look at", error))?.len();
        let whole = whole_lines(&mut file, length).map_err(|error| in_words("read", error))?;
        let Some(whole) = whole else {
            let what = format!(
                "the last {} MiB of {} hold no line break, so it is not a file of lines and is left alone: give another path",
                TAIL >> 20,
                path.display()
            );
            return Err(SinkError::blocked(what));
        };
        if whole < length {
            file.set_len(whole)
                .and_then(|()| file.sync_all())
                .map_err(|error| in_words("cut the torn end of", error))?;
        }
        if !existed || length == 0 {
            // a new file's name is durable only with its folder, the one that a symbolic link leads to
            let folder = fs::canonicalize(&path).map(|real| real.parent().unwrap_or(Path::new("/")).to_path_buf());
            let synced = folder.and_then(File::open).and_then(|folder| folder.sync_all());
            synced.map_err(|error| in_words("make durable the name of", error))?;
        }
        Ok(Appender { path, mode, file, length: whole })
    }

    /// Appends `lines` (whole ones) and makes them durable. A file that was moved away or deleted since the last call is rotation, no
    /// failure: a new one is begun. After an error the file holds what it held before, as far as the operating system lets that
    /// be restored; what it doesn't, the next `open` mends.
    pub fn append(&mut self, lines: &[u8]) -> Result<(), SinkError> {
        self.append_and(lines, || {})
    }

    /// `meanwhile` runs when the lines are written and nothing is said yet: where a test puts what others may do then.
    fn append_and(&mut self, lines: &[u8], meanwhile: impl FnOnce()) -> Result<(), SinkError> {
        if !self.is_here()? {
            *self = Appender::open(self.path.clone(), self.mode)?;
        }
        let before = self.now_long()?;
        if before < self.length {
            return Err(self.cut("since the last batch, and what was written between a copy and the cut is in neither"));
        }
        let written = self.file.write_all(lines).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // best effort: the agent drops this appender, and `open` cuts what is left of the line
            let _ = self.file.set_len(before);
            return Err(words(&self.path, "write", &error));
        }
        meanwhile();
        // moved away meanwhile: whoever compresses it may have read it before the lines were there, and delete it. Twice is better than never
        if !self.is_here()? {
            let what = format!("{} was moved away or deleted while it was written", self.path.display());
            return Err(SinkError::retry(what + ": the batch goes into a new file"));
        }
        self.length = self.now_long()?;
        if self.length < before + lines.len() as u64 {
            return Err(self.cut("while it was written: the batch is written again"));
        }
        Ok(())
    }

    fn is_here(&self) -> Result<bool, SinkError> {
        same_file(&self.path, &self.file).map_err(|error| words(&self.path, "look at", &error))
    }

    fn now_long(&self) -> Result<u64, SinkError> {
        Ok(self.file.metadata().map_err(|error| words(&self.path, "look at", &error))?.len())
    }

    /// Said once a cut, since the agent opens the file anew after an error.
    fn cut(&self, when: &str) -> SinkError {
        SinkError::retry(format!(
            "{} was cut by another program (copytruncate?) {when}; rotate by renaming it",
            self.path.display()
        ))
    }
}

/// True when `path` still leads to `file`.
fn same_file(path: &Path, file: &File) -> io::Result<bool> {
    let own = file.metadata()?;
    match fs::metadata(path) {
        Ok(meta) => Ok(meta.dev() == own.dev() && meta.ino() == own.ino()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Length of the file up to and with its last line break, read backwards, block by block; `None`: none within [`TAIL`].
fn whole_lines(file: &mut (impl Read + Seek), length: u64) -> io::Result<Option<u64>> {
    let mut block = vec![0; BLOCK as usize];
    let mut end = length;
    while end > 0 {
        if length - end >= TAIL {
            return Ok(None);
        }
        let start = end.saturating_sub(BLOCK);
        let block = &mut block[..(end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(block)?;
        if let Some(at) = block.iter().rposition(|b| *b == b'\n') {
            return Ok(Some(start + at as u64 + 1));
        }
        end = start;
    }
    Ok(Some(0))
}

/// An error as an instruction: what passes by itself is tried again, what takes a person is not hidden in retries.
pub(crate) fn words(path: &Path, doing: &str, error: &io::Error) -> SinkError {
    use io::ErrorKind::*;
    let place = path.display();
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).display();
    let blocked = match error.kind() {
        PermissionDenied => format!("can't {doing} {place}: permission denied; let the agent's user write in {folder}"),
        NotFound => format!("can't {doing} {place}: the folder {folder} is not there; create it"),
        NotADirectory => format!("can't {doing} {place}: a part of {folder} is not a folder"),
        ReadOnlyFilesystem => format!("can't {doing} {place}: its file system is mounted read-only"),
        InvalidFilename => format!("can't {doing} {place}: the name is not possible there ({error})"),
        FileTooLarge => format!("can't {doing} {place}: it has reached the largest size allowed; move it away"),
        StorageFull => {
            return SinkError::retry(Cause::coded(
                "DiskFull",
                format_args!("can't {doing} {place}: the disk is full; make room, it goes on by itself"),
            ));
        }
        QuotaExceeded => {
            return SinkError::retry(Cause::coded(
                "DiskFull",
                format_args!("can't {doing} {place}: the quota is used up; raise it, it goes on by itself"),
            ));
        }
        _ => return SinkError::retry(Cause(format!("can't {doing} {place}: {error}"))),
    };
    SinkError::blocked(Cause::coded("FilePath", blocked))
}

#[cfg(test)]
mod tests {
    use std::{io::Cursor, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn the_last_line_break_is_found_across_blocks() {
        let block = BLOCK as usize;
        for (content, whole) in [
            (b"".to_vec(), Some(0)),
            (b"torn".to_vec(), Some(0)),
            (b"a\nb\n".to_vec(), Some(4)),
            (b"a\nb\ntorn".to_vec(), Some(4)),
            ([b"a\n".to_vec(), vec![b'x'; block]].concat(), Some(2)),
            ([b"a\n".to_vec(), vec![b'x'; block - 1]].concat(), Some(2)),
            ([vec![b'x'; 3 * block], b"\n".to_vec(), vec![b'x'; block]].concat(), Some(3 * block as u64 + 1)),
            ([b"\n".to_vec(), vec![b'x'; TAIL as usize + block]].concat(), None),
        ] {
            let length = content.len() as u64;
            assert_eq!(whole_lines(&mut Cursor::new(content), length).expect("in memory"), whole, "{length}");
        }
    }

    fn read(folder: &tempfile::TempDir, name: &str) -> String {
        fs::read_to_string(folder.path().join(name)).expect("read")
    }

    /// A folder, the file in it with one line, and who writes it.
    fn begun() -> (tempfile::TempDir, PathBuf, Appender) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("events");
        let mut appender = Appender::open(path.clone(), 0o640).expect("opened");
        appender.append(b"one\n").expect("written");
        (folder, path, appender)
    }

    #[test]
    fn a_file_that_was_moved_away_is_begun_anew_in_the_same_call() {
        let (folder, path, mut appender) = begun();
        fs::rename(&path, folder.path().join("events.1")).expect("moved");
        appender.append(b"two\n").expect("rotation is no failure");
        appender.append(b"three\n").expect("written");
        assert_eq!((read(&folder, "events.1").as_str(), read(&folder, "events").as_str()), ("one\n", "two\nthree\n"));
        // the lock went along: the file that was moved away is free, the new one is not
        assert!(Appender::open(folder.path().join("events.1"), 0o640).is_ok());
        assert!(Appender::open(path, 0o640).is_err());
    }

    #[test]
    fn a_deleted_and_a_replaced_file_are_begun_anew_too() {
        let (folder, path, mut appender) = begun();
        fs::remove_file(&path).expect("deleted");
        appender.append(b"two\n").expect("written");
        assert_eq!(read(&folder, "events"), "two\n");
        // as `create` of logrotate does, with permissions of its own
        fs::rename(&path, folder.path().join("events.1")).expect("moved");
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).expect("created");
        appender.append(b"three\n").expect("written");
        assert_eq!((read(&folder, "events.1").as_str(), read(&folder, "events").as_str()), ("two\n", "three\n"));
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600, "they are kept");
        // another file put in its place, with a torn line of another program
        fs::write(folder.path().join("other"), "old\ntorn").expect("written");
        fs::rename(folder.path().join("other"), &path).expect("replaced");
        appender.append(b"four\n").expect("written");
        assert_eq!(read(&folder, "events"), "old\nfour\n");
    }

    #[test]
    fn what_is_moved_away_while_it_is_written_is_written_again() {
        let (folder, path, mut appender) = begun();
        let gone = || fs::rename(&path, folder.path().join("events.1")).expect("moved");
        let error = appender.append_and(b"two\n", gone).expect_err("who compresses it may not have seen the line");
        assert!(
            matches!(&error, SinkError::Retry { untaken, cause, .. } if untaken.is_empty() && cause.0.contains("moved away or deleted while it was written")),
            "{error}"
        );
        let mut appender = Appender::open(path.clone(), 0o640).expect("opened");
        appender.append(b"two\n").expect("written");
        let error = appender.append_and(b"three\n", || fs::remove_file(&path).expect("deleted")).expect_err("deleted");
        assert!(matches!(&error, SinkError::Retry { .. }), "{error}");
    }

    #[test]
    fn a_cut_is_said_once_and_no_batch_is_lost_in_it() {
        let (folder, path, mut appender) = begun();
        let cut = || OpenOptions::new().write(true).truncate(true).open(&path).map(drop).expect("cut");
        cut();
        let error = appender.append(b"two\n").expect_err("it was cut");
        assert!(
            matches!(&error, SinkError::Retry { cause, .. } if cause.0.contains("was cut by another program (copytruncate?) since")),
            "{error}"
        );
        assert_eq!(read(&folder, "events"), "", "the batch was not begun");
        drop(appender);
        let mut appender = Appender::open(path.clone(), 0o640).expect("opened");
        appender.append(b"two\n").expect("from its new beginning on, no hole before it");
        assert_eq!(read(&folder, "events"), "two\n");
        let error = appender.append_and(b"three\n", cut).expect_err("cut between the write and its end");
        assert!(error.to_string().contains("while it was written"), "{error}");
    }

    #[test]
    fn permissions_that_change_stop_nobody_who_writes_and_are_said_when_a_new_file_is_due() {
        let (folder, path, mut appender) = begun();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).expect("changed");
        appender.append(b"two\n").expect("it is open");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("changed");
        assert_eq!(read(&folder, "events"), "one\ntwo\n");
        // the folder is gone, and nothing can be begun in it
        fs::rename(folder.path(), folder.path().with_extension("away")).expect("moved");
        let error = appender.append(b"three\n").expect_err("no folder");
        fs::rename(folder.path().with_extension("away"), folder.path()).expect("moved back");
        assert!(
            matches!(&error, SinkError::Blocked { cause } if cause.0.ends_with("is not there; create it [FilePath]")),
            "{error}"
        );
        appender.append(b"three\n").expect("back again");
        assert_eq!(read(&folder, "events"), "one\ntwo\nthree\n");
    }

    #[test]
    fn a_link_is_followed_and_its_target_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, target) = (folder.path().join("link"), folder.path().join("target"));
        fs::write(&target, "one\ntorn").expect("written");
        std::os::unix::fs::symlink(&target, &path).expect("linked");
        Appender::open(path.clone(), 0o640).expect("opened").append(b"two\n").expect("written");
        assert_eq!(fs::read(&target).expect("read"), b"one\ntwo\n");
        assert!(fs::symlink_metadata(&path).expect("there").is_symlink());
    }

    #[test]
    fn a_second_writer_waits_and_the_lock_goes_with_the_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("events");
        let first = Appender::open(path.clone(), 0o640).expect("opened");
        let error = Appender::open(path.clone(), 0o640).expect_err("it is locked");
        assert!(matches!(&error, SinkError::Retry { cause, .. } if cause.0.contains("another process")), "{error}");
        drop(first);
        Appender::open(path, 0o640).expect("the lock is free");
    }

    #[test]
    fn a_new_file_has_the_mode_and_an_old_one_keeps_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("events");
        Appender::open(path.clone(), 0o600).expect("opened");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
        Appender::open(path.clone(), 0o640).expect("opened");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
    }

    #[test]
    fn a_full_disk_takes_nothing_and_says_so() {
        // the one file that is always full; it is no regular one, so it is opened past `open`
        let Ok(file) = OpenOptions::new().append(true).open("/dev/full") else { return };
        let mut appender = Appender { path: "/dev/full".into(), mode: 0o640, file, length: 0 };
        let error = appender.append(b"one\n").expect_err("full");
        assert!(matches!(&error, SinkError::Retry { cause, .. } if cause.0.contains("the disk is full")), "{error}");
    }

    #[test]
    fn what_takes_a_person_is_blocked_with_words() {
        let folder = tempfile::tempdir().expect("a folder");
        let gone = Appender::open(folder.path().join("gone/events"), 0o640).expect_err("no folder");
        assert!(
            matches!(&gone, SinkError::Blocked { cause } if cause.0.ends_with("is not there; create it [FilePath]")),
            "{gone}"
        );
        let not_a_file = Appender::open(folder.path().into(), 0o640).expect_err("a folder");
        assert!(
            matches!(&not_a_file, SinkError::Blocked { cause } if cause.0.contains("is not a regular file")),
            "{not_a_file}"
        );
        let device = Appender::open("/dev/null".into(), 0o640).expect_err("a device");
        assert!(matches!(&device, SinkError::Blocked { .. }), "{device}");
        let denied = words(Path::new("/a/b"), "open", &io::ErrorKind::PermissionDenied.into());
        assert_eq!(denied.cause().0, "can't open /a/b: permission denied; let the agent's user write in /a [FilePath]");
        let long = Appender::open(folder.path().join("x".repeat(300)), 0o640).expect_err("too long a name");
        assert!(matches!(&long, SinkError::Blocked { .. }), "{long}");
    }
}
