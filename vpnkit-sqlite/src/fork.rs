//! SQLite and `fork`.
//!
//! A child has none of the parent's threads, but everything that they were in the middle of: a mutex of SQLite's that one
//! of them held is held for ever. So a process that is about to fork pauses them ([`pause`], [`resume`]). And SQLite remembers
//! in each process which locks it has on a file; a child remembers its parent's, which are not its own. If it opened the same
//! file, the parent's close could take the write-ahead log away from under it. So that is refused.

use std::path::{Path, PathBuf};
use std::process::id as process;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use vpnkit_core::{Error, ErrorKind, Result};

/// Threads that are inside SQLite.
static WORKING: AtomicUsize = AtomicUsize::new(0);
/// The process that is about to fork, and in how many of its threads; in the child it is another process, so nothing is paused
/// there.
static PAUSED: AtomicU64 = AtomicU64::new(0);
const TICK: Duration = Duration::from_millis(1);

/// Files that are open, and in which process they were opened.
static OPEN: Mutex<Vec<(PathBuf, u32)>> = Mutex::new(Vec::new());

fn open() -> MutexGuard<'static, Vec<(PathBuf, u32)>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps SQLite's threads out of SQLite until [`resume`], so that this process can fork. Waits until they are, at most
/// `limit`; `false` when one of them took longer.
///
/// Only for processes that fork without `exec`, as Python's may; starting a program needs nothing of this.
pub fn pause(limit: Duration) -> bool {
    change(|pauses| pauses + 1);
    let deadline = Instant::now() + limit;
    while WORKING.load(Ordering::SeqCst) > 0 {
        if Instant::now() > deadline {
            return false;
        }
        sleep(TICK);
    }
    true
}

/// Lets the threads go on, in the process that has forked, when no other thread of it is about to.
pub fn resume() {
    change(|pauses| pauses.saturating_sub(1));
}

/// Changes how many threads of this process are about to fork. What a parent has left is not this process's.
fn change(by: impl Fn(u64) -> u64) {
    let own = u64::from(process()) << 32;
    let next = |held: u64| {
        let pauses = if held >> 32 == own >> 32 { held & 0xffff_ffff } else { 0 };
        Some(own | by(pauses))
    };
    let _ = PAUSED.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
}

/// Whether a thread of this process is about to fork.
fn paused() -> bool {
    let held = PAUSED.load(Ordering::SeqCst);
    held >> 32 == u64::from(process()) && held & 0xffff_ffff > 0
}

/// While it lives, this thread is inside SQLite.
pub(crate) struct Work(());

/// Waits while somebody is about to fork.
pub(crate) fn work() -> Work {
    loop {
        WORKING.fetch_add(1, Ordering::SeqCst);
        if !paused() {
            return Work(());
        }
        WORKING.fetch_sub(1, Ordering::SeqCst);
        sleep(TICK);
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        WORKING.fetch_sub(1, Ordering::SeqCst);
    }
}

/// While it lives, this process has the file open.
#[derive(Debug)]
pub(crate) struct Claim(PathBuf);

/// Errors: `Forked` when the parent had the file open when it forked.
pub(crate) fn claim(path: &Path) -> Result<Claim> {
    let real = real(path);
    // The list is not to be locked for ever in a child either.
    let _work = work();
    let mut open = open();
    if open.iter().any(|(file, owner)| *file == real && *owner != process()) {
        return Err(Error::new(
            ErrorKind::Forked,
            "store.open",
            "the store was open when this process was forked",
        )
        .with("path", path.display())
        .hint("open it after the fork only, or start children with spawn"));
    }
    open.push((real.clone(), process()));
    Ok(Claim(real))
}

/// The same for a file that does not exist yet and for the one that it becomes.
pub(crate) fn real(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (path.canonicalize(), parent.canonicalize(), path.file_name()) {
        (Ok(real), ..) => real,
        (Err(_), Ok(parent), Some(name)) => parent.join(name),
        _ => path.to_owned(),
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let _work = work();
        let mut open = open();
        if let Some(place) = open.iter().position(|(file, owner)| *file == self.0 && *owner == process()) {
            open.swap_remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_be_open_twice_here_and_once_elsewhere() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        let (first, second) = (claim(&path).unwrap(), claim(&path).unwrap());
        drop(first);
        assert!(open().iter().any(|(file, _)| *file == second.0));
        drop(second);
        let elsewhere = path.parent().unwrap().canonicalize().unwrap().join("a.db");
        open().push((elsewhere, process() + 1));
        assert_eq!(claim(&path).unwrap_err().kind(), ErrorKind::Forked);
    }

    #[test]
    fn a_file_has_one_name() {
        assert_eq!(real(Path::new("new.db")), real(Path::new("./new.db")));
        assert!(real(Path::new("new.db")).is_absolute());
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        let before = real(&path);
        std::fs::write(&path, "").unwrap();
        assert_eq!(real(&path), before);
        std::os::unix::fs::symlink(&path, directory.path().join("link.db")).unwrap();
        assert_eq!(real(&directory.path().join("link.db")), before);
    }

    #[test]
    fn a_pause_waits_for_work_and_holds_it_up() {
        let working = work();
        assert!(!pause(Duration::from_millis(5)));
        resume();
        drop(working);
        // Two threads that are about to fork: the one that was first does not let SQLite go on under the other.
        assert!(pause(Duration::from_secs(60)) && pause(Duration::from_secs(60)));
        let waiting = std::thread::spawn(|| drop(work()));
        resume();
        sleep(Duration::from_millis(20));
        assert!(!waiting.is_finished());
        resume();
        waiting.join().unwrap();
    }
}
