//! API keys of admins: random tokens, of which a hash is kept.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Shared;
use vpnkit_core::model::{AdminId, Record, RecordQuery};
use vpnkit_core::store::RecordOp;
use vpnkit_core::{Error, ErrorKind, Result, Secret, Timestamp};

/// What tokens begin with: scanners of leaked secrets find them by it.
const PREFIX: &str = "vpnkit_";
/// The most API keys of an admin.
const MOST: usize = 100;

/// An API key, without its token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApiKey {
    /// Its id, part of its token.
    pub id: String,
    /// Whose it is.
    pub admin: AdminId,
    /// What people call it.
    pub name: String,
    /// What it is restricted to; `None` is everything that the admin may.
    pub scopes: Option<Vec<String>>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it ends; `None` is never.
    pub expires_at: Option<Timestamp>,
}

/// An API key that was created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewApiKey {
    /// The API key.
    pub key: ApiKey,
    /// What it is used with. It is kept nowhere: show it now.
    pub token: Secret,
}

/// What is kept.
#[derive(Serialize, Deserialize)]
struct Held {
    key: ApiKey,
    /// SHA-256 of the secret, which has 256 bits: there is nothing to guess.
    hash: String,
}

fn hash(secret: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(secret.as_bytes()))
}

fn random(bytes: usize) -> String {
    let mut random = vec![0; bytes];
    rand::Rng::fill_bytes(&mut rand::rng(), &mut random);
    URL_SAFE_NO_PAD.encode(random)
}

/// Its admin stands first: who may touch that one may touch it.
fn place(key: &ApiKey) -> (String, String) {
    (Record::API_KEY.to_owned(), format!("{}/{}", key.admin, key.id))
}

pub(super) async fn create(
    shared: &Shared,
    op: &'static str,
    admin: AdminId,
    name: &str,
    scopes: Option<Vec<String>>,
    expires_in: Option<Duration>,
) -> Result<NewApiKey> {
    if name.is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
        return Err(Error::invalid(op, "name", "must have 1 to 100 characters, none of control"));
    }
    if expires_in.is_some_and(|time| time.is_zero()) {
        return Err(Error::invalid(op, "expires_in", "must be longer than nothing"));
    }
    if of_admin(shared, op, admin).await?.len() >= MOST {
        return Err(Error::new(ErrorKind::LimitReached, op, "the admin has 100 API keys already")
            .with("admin", admin));
    }
    let (now, secret) = (shared.clock.now(), random(32));
    let id = random(9).replace(['-', '_'], "x");
    let expires_at = expires_in.map(|time| now.plus(time));
    let key = ApiKey { id, admin, name: name.to_owned(), scopes, created_at: now, expires_at };
    let held = Held { key: key.clone(), hash: hash(&secret) };
    let body = Secret::new(serde_json::to_string(&held).unwrap_or_default());
    let put = RecordOp::Put { place: place(&key), expected: Some(0), index: Some(key.id.clone()), body };
    shared.store.commit(shared.txn([put])).await.map_err(|e| e.during(op))?;
    let token = Secret::new(format!("{PREFIX}{}_{secret}", key.id));
    Ok(NewApiKey { key, token })
}

/// The step that removes one.
pub(super) fn remove(key: &ApiKey) -> RecordOp {
    RecordOp::Remove { place: place(key), expected: None }
}

fn read(record: &Record) -> Option<Held> {
    serde_json::from_str(record.body.expose()).ok()
}

pub(super) async fn of_admin(shared: &Shared, op: &'static str, admin: AdminId) -> Result<Vec<ApiKey>> {
    let query = RecordQuery { below: Some(admin.to_string()), ..RecordQuery::of(Record::API_KEY) };
    let records = shared.store.records(&query).await.map_err(|e| e.during(op))?;
    Ok(records.iter().filter_map(read).map(|held| held.key).collect())
}

async fn held(shared: &Shared, op: &'static str, id: &str) -> Result<Option<Held>> {
    let query = RecordQuery { index: Some(id.to_owned()), ..RecordQuery::of(Record::API_KEY) };
    let records = shared.store.records(&query).await.map_err(|e| e.during(op))?;
    Ok(records.first().and_then(read))
}

pub(super) async fn find(shared: &Shared, op: &'static str, id: &str) -> Result<Option<ApiKey>> {
    Ok(held(shared, op, id).await?.map(|held| held.key))
}

/// The API key that a token is of, if it has not expired.
pub(super) async fn check(shared: &Shared, op: &'static str, token: &Secret) -> Result<Option<ApiKey>> {
    let parts = token.expose().strip_prefix(PREFIX).and_then(|rest| rest.split_once('_'));
    let Some((id, secret)) = parts.filter(|(id, _)| id.len() <= 32) else { return Ok(None) };
    let Some(held) = held(shared, op, id).await? else { return Ok(None) };
    // Hashes of what nobody chooses: how far they agree tells nothing.
    let right = held.hash == hash(secret);
    let ended = held.key.expires_at.is_some_and(|end| end <= shared.clock.now());
    Ok(Some(held.key).filter(|_| right && !ended))
}
