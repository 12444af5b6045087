//! What a state directory stands on, looked at without touching it.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
};

use super::{
    open::{copied, network},
    open_error::OpenError,
};

/// What a state directory stands on, looked at without touching it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ground {
    /// Bytes that this user may still write there.
    pub free: u64,
    /// Who holds it, as the lock file says.
    pub holder: Option<String>,
    /// It is there.
    pub exists: bool,
}

/// Who holds a lock file. Asked of the system's list, since a lock taken to find out could be in the way of an agent that starts.
fn holder(lock: &Path) -> Option<String> {
    let inode = std::fs::metadata(lock).ok()?.ino();
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    // `1: FLOCK  ADVISORY  WRITE 4242 fe:00:131 0 EOF` (proc_locks(5))
    let held = locks.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next() == Some("FLOCK")
            && fields.nth(3).and_then(|file| file.rsplit(':').next()) == Some(&inode.to_string())
    });
    let mut words = String::new();
    let _ = File::open(lock).ok()?.take(200).read_to_string(&mut words);
    held.then(|| words.trim().to_owned())
}

/// What stands where a folder is wanted, if something does: the system would only say that it exists.
pub(super) fn in_the_way(dir: &Path) -> Option<io::Error> {
    let standing = dir.ancestors().find(|place| place.symlink_metadata().is_ok()).filter(|place| !place.is_dir())?;
    Some(io::Error::new(io::ErrorKind::NotADirectory, format!("{} is not a folder", standing.display())))
}

/// Looks at a state directory, or at the nearest folder above it that is there.
pub fn ground(dir: &Path) -> Result<Ground, OpenError> {
    let directory = |cause| OpenError::of_directory(dir, cause);
    if let Some(cause) = in_the_way(dir) {
        return Err(directory(cause));
    }
    let exists = dir.is_dir();
    let standing = dir.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("."));
    if let Some(kind) = network(standing).map_err(directory)? {
        return Err(OpenError::Network { dir: dir.to_owned(), kind });
    }
    rustix::fs::access(standing, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)
        .map_err(|error| directory(error.into()))?;
    let disk = rustix::fs::statvfs(standing).map_err(|error| directory(error.into()))?;
    let holder = holder(&dir.join("lock"));
    // an older ledger is brought up to date when the agent starts
    match copied(dir) {
        Ok(_) | Err(OpenError::Missing { .. }) => {}
        Err(error) => return Err(error),
    }
    Ok(Ground { free: disk.f_bavail.saturating_mul(disk.f_frsize), holder, exists })
}
