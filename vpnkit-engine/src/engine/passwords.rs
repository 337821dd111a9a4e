//! Passwords of admins: Argon2id hashes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::Shared;
use vpnkit_core::model::{AdminId, Record, RecordQuery};
use vpnkit_core::store::RecordOp;
use vpnkit_core::{Error, ErrorKind, Result, Secret, Timestamp};

/// Passwords that are checked at once: each takes 19 MiB and some of a core, which a stranger asks for.
const AT_ONCE: usize = 2;
/// How many may wait for their turn.
const WAITING: usize = 100;
/// The hash of nothing: what an unknown name is checked against, so that it takes as long.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5LW5vYm9keQ$3pnPt5pUrVoiEPUK2wx5hkfqk1RzWeUbv7YTz4k8FHQ";

/// What is kept of a password.
#[derive(Serialize, Deserialize)]
struct Held {
    hash: Secret,
    changed_at: Timestamp,
}

fn place(admin: AdminId) -> (String, String) {
    (Record::ADMIN_PASSWORD.to_owned(), admin.to_string())
}

/// Checks a password.
///
/// Errors: `InvalidInput` about `password`.
pub(super) fn check(op: &'static str, password: &Secret) -> Result<()> {
    match password.expose().len() {
        8..=1_024 => Ok(()),
        _ => Err(Error::invalid(op, "password", "must have 8 to 1024 bytes")),
    }
}

/// Turns of those who hash, and how many wait for one.
#[derive(Clone, Debug)]
pub(super) struct Turns {
    turns: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(AT_ONCE)), waiting: Arc::default() }
    }
}

/// One that waits.
struct Waits(Arc<AtomicUsize>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Turns {
    /// Works on a thread that may be busy, when it is its turn. The turn is over when the work is, also for who no longer waits.
    ///
    /// Errors: `Unavailable` when too many wait.
    async fn work<T: Send + 'static>(
        &self,
        op: &'static str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let waits = Waits(Arc::clone(&self.waiting));
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING {
            return Err(Error::new(ErrorKind::Unavailable, op, "too many passwords are checked already")
                .hint("try again"));
        }
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|e| unexpected(op).caused_by(e))?;
        drop(waits);
        let work = move || {
            let done = work();
            drop(turn);
            done
        };
        tokio::task::spawn_blocking(work).await.map_err(|e| unexpected(op).caused_by(e))
    }
}

/// Hashes a password that was checked.
pub(super) async fn hash(op: &'static str, turns: &Turns, password: Secret) -> Result<Secret> {
    let hashed =
        move || Argon2::default().hash_password(password.expose().as_bytes()).map(|hash| hash.to_string());
    turns.work(op, hashed).await?.map(Secret::new).map_err(|_| unexpected(op))
}

fn unexpected(op: &'static str) -> Error {
    Error::new(ErrorKind::Unexpected, op, "the password could not be hashed")
}

/// The step that writes a hash down.
pub(super) fn record(admin: AdminId, hash: Secret, now: Timestamp) -> RecordOp {
    let held = Held { hash, changed_at: now };
    let body = Secret::new(Secret::reveal(|| serde_json::to_string(&held)).unwrap_or_default());
    RecordOp::Put { place: place(admin), expected: None, index: Some(admin.to_string()), body }
}

/// The step that takes a password away.
pub(super) fn remove(admin: AdminId) -> RecordOp {
    RecordOp::Remove { place: place(admin), expected: None }
}

/// The hash of an admin's password.
pub(super) async fn of_admin(shared: &Shared, op: &'static str, admin: AdminId) -> Result<Option<Secret>> {
    let query = RecordQuery { index: Some(admin.to_string()), ..RecordQuery::of(Record::ADMIN_PASSWORD) };
    let records = shared.store.records(&query).await.map_err(|e| e.during(op))?;
    let held = records.first().and_then(|record| serde_json::from_str::<Held>(record.body.expose()).ok());
    Ok(held.map(|held| held.hash))
}

/// Returns whether a password is right; without a hash it never is, and takes as long.
pub(super) async fn verify(
    op: &'static str,
    turns: &Turns,
    hash: Option<Secret>,
    password: Secret,
) -> Result<bool> {
    if password.expose().len() > 1_024 {
        return Ok(false);
    }
    let known = hash.is_some();
    let hash = hash.unwrap_or_else(|| Secret::new(NOBODY));
    let right = move || {
        PasswordHash::new(hash.expose())
            .is_ok_and(|hash| Argon2::default().verify_password(password.expose().as_bytes(), &hash).is_ok())
    };
    Ok(turns.work(op, right).await? && known)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise an unknown name would be told by how fast it is.
    #[test]
    fn the_hash_of_nobody_is_as_slow_as_others() {
        let nobody = PasswordHash::new(NOBODY).unwrap();
        let other = Argon2::default().hash_password(b"somebody").unwrap();
        assert_eq!((nobody.algorithm.as_str(), &nobody.params), (other.algorithm.as_str(), &other.params));
        assert!(Argon2::default().verify_password(b"nobody", &nobody).is_err());
    }
}
