//! Passwords of admins: Argon2id hashes.

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
pub(super) const AT_ONCE: usize = 2;
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

/// Hashes a password, on a thread that may be busy.
///
/// Errors: `InvalidInput` about `password`.
pub(super) async fn hash(op: &'static str, password: &Secret) -> Result<Secret> {
    if !(8..=1_024).contains(&password.expose().len()) {
        return Err(Error::invalid(op, "password", "must have 8 to 1024 bytes"));
    }
    let password = password.clone();
    let hashed =
        move || Argon2::default().hash_password(password.expose().as_bytes()).map(|hash| hash.to_string());
    let hashed = tokio::task::spawn_blocking(hashed).await.map_err(|e| unexpected(op).caused_by(e))?;
    hashed.map(Secret::new).map_err(|_| unexpected(op))
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
    let query =
        RecordQuery { kinds: vec![Record::ADMIN_PASSWORD.to_owned()], index: Some(admin.to_string()) };
    let records = shared.store.records(&query).await.map_err(|e| e.during(op))?;
    let held = records.first().and_then(|record| serde_json::from_str::<Held>(record.body.expose()).ok());
    Ok(held.map(|held| held.hash))
}

/// Returns whether a password is right; without a hash it never is, and takes as long.
pub(super) async fn verify(
    op: &'static str,
    checking: &Semaphore,
    hash: Option<Secret>,
    password: Secret,
) -> Result<bool> {
    if password.expose().len() > 1_024 {
        return Ok(false);
    }
    let _turn = checking.acquire().await.map_err(|e| unexpected(op).caused_by(e))?;
    let known = hash.is_some();
    let hash = hash.unwrap_or_else(|| Secret::new(NOBODY));
    let right = move || {
        PasswordHash::new(hash.expose())
            .is_ok_and(|hash| Argon2::default().verify_password(password.expose().as_bytes(), &hash).is_ok())
    };
    let right = tokio::task::spawn_blocking(right).await.map_err(|e| unexpected(op).caused_by(e))?;
    Ok(right && known)
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
