//! The lock on a directory: one process at a time.

use std::fs::{File, TryLockError};
use std::path::Path;

/// A directory that is locked for this process until it is dropped. The lock is on the directory itself, so there is no
/// file that could be left behind.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    directory: File,
    process: u32,
}

impl DirectoryLock {
    /// Locks a directory that exists. `None`: it is locked already.
    pub(crate) fn take(directory: &Path) -> std::io::Result<Option<Self>> {
        let directory = File::open(directory)?;
        match directory.try_lock() {
            Ok(()) => Ok(Some(Self { directory, process: std::process::id() })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(e),
        }
    }
}

impl Drop for DirectoryLock {
    /// A child that another thread forks has the file too until it executes its program: closing it here would not end
    /// the lock then. What was forked does not own the lock, and leaves it.
    fn drop(&mut self) {
        if self.process == std::process::id() {
            let _ = self.directory.unlock();
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
        let lock = DirectoryLock::take(directory.path()).unwrap().unwrap();
        assert!(DirectoryLock::take(directory.path()).unwrap().is_none());
        // What a child gets by a fork: the same open file under another number.
        let of_child = lock.directory.try_clone().unwrap();
        drop(lock);
        let again = DirectoryLock::take(directory.path()).unwrap();
        assert!(again.is_some());
        // In a forked child.
        let inherited =
            DirectoryLock { directory: again.as_ref().unwrap().directory.try_clone().unwrap(), process: 0 };
        drop((inherited, of_child));
        assert!(DirectoryLock::take(directory.path()).unwrap().is_none());
    }
}
