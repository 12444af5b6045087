//! Whether the file could be written, without writing or making it: `check` may run as another user than the agent.

use std::{
    fs::{self, OpenOptions},
    io,
    path::Path,
};

use auditferry_contract::{Cause, SinkError};
use rustix::fs::{Access, access};

use crate::append::words;

pub fn look(path: &Path) -> Result<(), SinkError> {
    match fs::metadata(path) {
        Ok(meta) if !meta.is_file() => {
            let what = format!("{} is not a regular file: give another path, or use sink kind stdout", path.display());
            Err(SinkError::blocked(Cause::coded("FilePath", what)))
        }
        Ok(_) => {
            let opened = OpenOptions::new().append(true).open(path);
            opened.map(|_| ()).map_err(|error| words(path, "open", &error))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            access(folder, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| words(path, "open", &error.into()))
        }
        Err(error) => Err(words(path, "look at", &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_made_and_what_is_wrong_is_said() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("events");
        assert_eq!(look(&path), Ok(()));
        assert!(!path.exists(), "looking made the file");
        fs::write(&path, "torn").expect("written");
        assert_eq!(look(&path), Ok(()));
        assert_eq!(fs::read(&path).expect("there"), b"torn", "looking mended the file");
        let error = look(folder.path()).expect_err("a folder is no file");
        assert!(error.cause().0.ends_with("or use sink kind stdout [FilePath]"), "{error}");
        let error = look(&folder.path().join("gone/events")).expect_err("no such folder");
        assert!(error.cause().0.ends_with("is not there; create it [FilePath]"), "{error}");
    }
}
