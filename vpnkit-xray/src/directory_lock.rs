//! The lock on a directory: one process at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::process;

/// The file, in the directory.
pub(crate) const FILE: &str = "vpnkit.lock";

/// A directory that is locked for this process until it is dropped.
///
/// The file says for whom. Processes of one store decide by their lease who of them has the directory, so one that has the lease
/// takes the lock away from one that has lost it and does not know yet: it puts another file in the place of the locked one.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    path: PathBuf,
    file: File,
    process: u32,
}

impl DirectoryLock {
    /// Locks a directory that exists. `None`: somebody else has locked it.
    pub(crate) fn take(directory: &Path, owner: &str) -> std::io::Result<Option<Self>> {
        let path = directory.join(FILE);
        // Each round somebody else has put a new file there.
        for _ in 0..100 {
            let mut file = process::open(
                OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600),
                &path,
            )?;
            match file.try_lock() {
                Ok(()) => {
                    let lock = Self { path: path.clone(), file, process: std::process::id() };
                    if !is_same(&lock.file, &path) {
                        continue;
                    }
                    lock.file.set_len(0)?;
                    (&lock.file).write_all(owner.as_bytes())?;
                    return Ok(Some(lock));
                }
                Err(TryLockError::WouldBlock) => {
                    let mut held = String::new();
                    file.read_to_string(&mut held)?;
                    if held != owner {
                        return Ok(None);
                    }
                    if is_same(&file, &path) {
                        std::fs::remove_file(&path)?;
                    }
                }
                Err(TryLockError::Error(e)) => return Err(e),
            }
        }
        Ok(None)
    }

    /// Whether nobody else has the directory by now: who takes it puts a file there, so one that somebody has tidied away is no
    /// one's.
    pub(crate) fn is_ours(&self) -> bool {
        is_same(&self.file, &self.path) || !self.path.exists()
    }
}

fn is_same(file: &File, path: &Path) -> bool {
    let place = |of: std::fs::Metadata| (of.dev(), of.ino());
    file.metadata().ok().map(place) == std::fs::metadata(path).ok().map(place)
}

impl Drop for DirectoryLock {
    /// A child that another thread forks has the file too until it executes its program: closing it here would not end
    /// the lock then. What was forked does not own the lock, and leaves it.
    fn drop(&mut self) {
        if self.process == std::process::id() {
            if self.is_ours() {
                // While it is locked: who opens it now sees afterwards that it is not the directory's any more.
                let _ = std::fs::remove_file(&self.path);
            }
            let _ = self.file.unlock();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_lock_ends_when_it_is_dropped_also_while_a_forked_child_has_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let take = |owner| DirectoryLock::take(directory.path(), owner).unwrap();
        let lock = take("a").unwrap();
        assert!(take("b").is_none());
        // What a child gets by a fork: the same open file under another number.
        let of_child = lock.file.try_clone().unwrap();
        drop(lock);
        let again = take("b").unwrap();
        // In a forked child.
        let inherited =
            DirectoryLock { path: again.path.clone(), file: again.file.try_clone().unwrap(), process: 0 };
        drop((inherited, of_child));
        assert!(take("a").is_none());
    }

    #[test]
    fn who_has_the_lease_takes_the_lock_from_who_has_lost_it() {
        let directory = tempfile::tempdir().unwrap();
        let take = |owner| DirectoryLock::take(directory.path(), owner).unwrap();
        let frozen = take("store server").unwrap();
        let next = take("store server").unwrap();
        assert!(next.is_ours() && !frozen.is_ours());
        assert!(take("another").is_none());
        drop(frozen);
        assert!(next.is_ours() && take("another").is_none());
    }
}
