//! Credentials and inbounds at rest: in plain, or sealed under a passphrase.
//!
//! The store has a key of its own, wrapped under its passphrase (`passphrase`). XChaCha20-Poly1305 seals each text under a nonce of its own, bound to its
//! place, so that a row cannot be moved to another key. A mark (HMAC-SHA-256) keeps secrets unique without showing
//! them. docs/decisions/encryption.md

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac as _};
use rusqlite::{Connection, params};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::convert_error::{convert, damaged};
use crate::erase;
use crate::passphrase::{Lock, Master, change};
use crate::row::HeldInbound;
use vpnkit_core::model::{
    Credential, CredentialKind, CredentialSecret, DeviceName, Inbound, InboundId, KeyId, RecordQuery,
};
use vpnkit_core::{Error, ErrorKind, Result, Secret};

const OP: &str = "store.open";
const SEALED: &str = "sealed:";
const NONCE: usize = 24;

/// What seals and opens; without keys, texts stay as they are.
pub(crate) struct Vault(Option<Keys>);

struct Keys {
    cipher: XChaCha20Poly1305,
    mark: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Vault(sealed)" } else { "Vault(plain)" })
    }
}

impl Vault {
    /// The vault of a store, made if there is a passphrase for the first time. A store that still has the previous
    /// passphrase gets the new one.
    pub(crate) fn open(
        connection: &mut Connection,
        passphrase: Option<&Secret>,
        previous: Option<&Secret>,
    ) -> Result<Self> {
        // Around again when another process was faster.
        loop {
            let held = {
                // One view of the store: another process may be sealing it.
                let txn = connection.transaction().map_err(sql)?;
                let held = Lock::read(&txn)?;
                if held.is_none() && has_sealed(&txn)? {
                    // Sealing what is sealed would lose it for good.
                    return Err(damaged("vault"));
                }
                held
            };
            let vault = match (held, passphrase) {
                (None, None) => return Ok(Self(None)),
                (Some(_), None) => {
                    return Err(Error::new(ErrorKind::PassphraseMissing, OP, "the store is encrypted")
                        .hint("give its passphrase"));
                }
                (Some(lock), Some(passphrase)) => match lock.unlock(passphrase)? {
                    Some(master) => Self::of(&master),
                    None => {
                        let master = previous.map(|previous| lock.unlock(previous)).transpose()?.flatten();
                        let Some(master) = master else {
                            let message = "this is not the store's passphrase";
                            return Err(Error::new(ErrorKind::PassphraseWrong, OP, message));
                        };
                        if !change(connection, &lock, &Lock::new(&master, passphrase)?)? {
                            continue;
                        }
                        Self::of(&master)
                    }
                },
                (None, Some(passphrase)) => {
                    let master = Master::new(rand::random());
                    let vault = Self::of(&master);
                    if !vault.establish(connection, &Lock::new(&master, passphrase)?)? {
                        continue;
                    }
                    vault
                }
            };
            // Also for a crash or a full disk that came between writing and this, at an opening before.
            erase::erase(connection)?;
            return Ok(vault);
        }
    }

    /// The vault that seals under this key.
    pub(crate) fn of(master: &Master) -> Self {
        let seal = Zeroizing::new(hmac(master, b"vpnkit seal"));
        let cipher = XChaCha20Poly1305::new((&*seal).into());
        Self(Some(Keys { cipher, mark: Zeroizing::new(hmac(master, b"vpnkit mark")) }))
    }

    /// Seals what stands there in plain, and marks the store: the pages in which it stood are to be cleared. False:
    /// another process has done so meanwhile.
    fn establish(&self, connection: &mut Connection, lock: &Lock) -> Result<bool> {
        let plain = Self(None);
        let txn =
            connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(sql)?;
        if Lock::read(&txn)?.is_some() {
            return Ok(false);
        }
        let ids: Vec<KeyId> = txn
            .prepare("SELECT DISTINCT key_id FROM credentials")
            .and_then(|mut s| s.query_map([], |r| r.get(0).map(KeyId))?.collect())
            .map_err(sql)?;
        let mut sealed = 0;
        for key in crate::query::keys(&txn, &plain, &ids)? {
            for credential in &key.credentials {
                let (protocol, device, inbound) = credential.place();
                txn.prepare_cached(
                    "UPDATE credentials SET secret = ?5, mark = ?6
                     WHERE key_id = ?1 AND protocol = ?2 AND device = ?3 AND inbound = ?4",
                )
                .and_then(|mut s| {
                    s.execute(params![
                        key.id.0,
                        protocol.code(),
                        device.as_str(),
                        inbound.map(InboundId::to_string).unwrap_or_default(),
                        self.seal_credential(key.id, credential)
                            .map_err(|_| rusqlite::Error::InvalidQuery)?,
                        self.mark(&credential.secret),
                    ])
                })
                .map_err(sql)?;
                sealed += 1;
            }
        }
        let inbounds = crate::inbound::inbounds(&txn, &plain)?;
        for inbound in &inbounds {
            txn.execute(
                "UPDATE inbounds SET spec = ?3 WHERE node = ?1 AND tag = ?2",
                params![inbound.node.as_str(), inbound.tag.as_str(), self.seal_inbound(inbound)?],
            )
            .map_err(sql)?;
        }
        // They are for a moment, and nobody waits for one for long.
        txn.execute("DELETE FROM questions", []).map_err(sql)?;
        let records = crate::record::records(&txn, &plain, &RecordQuery::default())?;
        for record in &records {
            txn.execute(
                "UPDATE records SET body = ?3 WHERE kind = ?1 AND id = ?2",
                params![record.kind, record.id, self.seal_record(&record.kind, &record.id, &record.body)?],
            )
            .map_err(sql)?;
        }
        // What this program cannot read, of a newer vpnkit perhaps, would stay in plain.
        for (table, sealed) in
            [("credentials", sealed), ("inbounds", inbounds.len()), ("records", records.len())]
        {
            let all: i64 =
                txn.query_row(&format!("SELECT count(*) FROM {table}"), [], |r| r.get(0)).map_err(sql)?;
            if usize::try_from(all) != Ok(sealed) {
                return Err(damaged(table));
            }
        }
        lock.insert(&txn)?;
        erase::mark(&txn, erase::PAGES)?;
        txn.commit().map_err(sql)?;
        Ok(true)
    }

    pub(crate) fn seal_credential(&self, key: KeyId, credential: &Credential) -> Result<String> {
        let text = Zeroizing::new(credential.secret.expose());
        self.seal(&place(key, credential.place()), &text)
    }

    pub(crate) fn open_credential(
        &self,
        key: KeyId,
        of: CredentialPlace<'_>,
        text: &str,
    ) -> Result<CredentialSecret> {
        let text = self.unseal(&place(key, of), text)?;
        CredentialSecret::parse(of.0, &text).map_err(|_| damaged("credentials.secret"))
    }

    pub(crate) fn seal_inbound(&self, inbound: &Inbound) -> Result<String> {
        let text = Secret::reveal(|| serde_json::to_string(inbound)).map(Zeroizing::new).map_err(|e| {
            Error::new(ErrorKind::Unexpected, "store.commit", "an inbound cannot be written").caused_by(e)
        })?;
        self.seal("inbound", &text)
    }

    pub(crate) fn open_inbound(&self, held: &HeldInbound) -> Result<Inbound> {
        let text = self.unseal("inbound", &held.spec)?;
        let mut inbound: Inbound = serde_json::from_str(&text).map_err(|_| damaged("inbounds.spec"))?;
        // All of them are sealed for one place: what says whose it is stands inside.
        if (inbound.node.as_str(), inbound.tag.as_str()) != (held.node.as_str(), held.tag.as_str()) {
            return Err(damaged("inbounds.spec"));
        }
        if let Some(server) = &held.server {
            inbound.server = Some(server.parse().map_err(|_| damaged("inbounds.server"))?);
        }
        Ok(inbound)
    }

    pub(crate) fn seal_record(&self, kind: &str, id: &str, body: &Secret) -> Result<String> {
        self.seal(&record_place(kind, id), body.expose())
    }

    pub(crate) fn open_record(&self, kind: &str, id: &str, text: &str) -> Result<Secret> {
        Ok(Secret::new(self.unseal(&record_place(kind, id), text)?.as_str()))
    }

    /// Equal exactly for secrets that a server could not tell apart.
    pub(crate) fn mark(&self, secret: &CredentialSecret) -> Vec<u8> {
        let key = self.0.as_ref().map_or(&[0; 32], |keys| &*keys.mark);
        let identity = Zeroizing::new(format!("{}:{}", secret.protocol(), secret.identity()));
        let mut mark = hmac(key, identity.as_bytes()).to_vec();
        mark.truncate(16);
        mark
    }

    pub(crate) fn seal(&self, place: &str, text: &str) -> Result<String> {
        let Some(keys) = &self.0 else { return Ok(text.to_owned()) };
        let nonce: [u8; NONCE] = rand::random();
        let payload = Payload { msg: text.as_bytes(), aad: place.as_bytes() };
        let sealed = keys
            .cipher
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| Error::new(ErrorKind::Unexpected, "store.commit", "a secret cannot be sealed"))?;
        Ok(format!("{SEALED}{}", STANDARD.encode([nonce.as_slice(), &sealed].concat())))
    }

    /// Checks that the store was not encrypted since it was opened without a passphrase: what this process would write in plain, others
    /// could not read.
    ///
    /// Errors: `PassphraseMissing`.
    pub(crate) fn still_opens(&self, connection: &Connection) -> Result<()> {
        if self.0.is_some() {
            return Ok(());
        }
        let encrypted: bool = connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM vault)")
            .and_then(|mut s| s.query_row([], |r| r.get(0)))
            .map_err(sql)?;
        if encrypted { Err(encrypted_meanwhile()) } else { Ok(()) }
    }

    pub(crate) fn unseal(&self, place: &str, text: &str) -> Result<Zeroizing<String>> {
        let Some(keys) = &self.0 else {
            let is_sealed = |sealed: &str| STANDARD.decode(sealed).is_ok_and(|bytes| bytes.len() > NONCE);
            return match text.strip_prefix(SEALED).is_some_and(is_sealed) {
                true => Err(encrypted_meanwhile()),
                false => Ok(Zeroizing::new(text.to_owned())),
            };
        };
        let open = || {
            let bytes = STANDARD.decode(text.strip_prefix(SEALED)?).ok()?;
            let (nonce, sealed) = bytes.split_first_chunk::<NONCE>()?;
            let payload = Payload { msg: sealed, aad: place.as_bytes() };
            String::from_utf8(keys.cipher.decrypt(&XNonce::from(*nonce), payload).ok()?).ok()
        };
        open().map(Zeroizing::new).ok_or_else(|| damaged("sealed text"))
    }
}

fn encrypted_meanwhile() -> Error {
    Error::new(
        ErrorKind::PassphraseMissing,
        "store.commit",
        "another process has encrypted the store meanwhile",
    )
    .hint("open it again with its passphrase")
}

/// Whether the store's secrets are sealed: all of them are, or none is.
fn has_sealed(connection: &Connection) -> Result<bool> {
    let samples = "SELECT secret FROM (SELECT secret FROM credentials LIMIT 1) UNION ALL
                 SELECT spec FROM (SELECT spec FROM inbounds LIMIT 1) UNION ALL
                 SELECT body FROM (SELECT body FROM records LIMIT 1)";
    let mut statement = connection.prepare(samples).map_err(sql)?;
    let values: Vec<String> =
        statement.query_map([], |r| r.get(0)).and_then(Iterator::collect).map_err(sql)?;
    Ok(values.iter().any(|value| value.starts_with(SEALED)))
}

fn hmac(key: &[u8; 32], text: &[u8]) -> [u8; 32] {
    // A key of 32 bytes is shorter than a block of SHA-256, so it is used as it is.
    let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new(&padded(key).into());
    mac.update(text);
    mac.finalize().into_bytes().into()
}

fn padded(key: &[u8; 32]) -> [u8; 64] {
    let mut block = [0; 64];
    let (start, _) = block.split_at_mut(32);
    start.copy_from_slice(key);
    block
}

/// What a credential is unique by on its key.
type CredentialPlace<'c> = (CredentialKind, &'c DeviceName, Option<&'c InboundId>);

fn place(key: KeyId, (protocol, device, inbound): CredentialPlace<'_>) -> String {
    match inbound {
        None => format!("credential:{key}:{protocol}:{device}"),
        Some(inbound) => format!("credential:{key}:{protocol}:{device}:{inbound}"),
    }
}

pub(crate) fn sql(error: rusqlite::Error) -> Error {
    convert(OP, error)
}

/// What a sealed record is bound to: the name that it had in the first schemas.
fn record_place(kind: &str, id: &str) -> String {
    if id.is_empty() { format!("document:{kind}") } else { format!("document:{kind}/{id}") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use vpnkit_core::Timestamp;
    use vpnkit_core::model::{CreateKey, Credential};
    use vpnkit_core::store::{KeyOp, KeyStore as _, StoreTxn};

    use super::*;
    use crate::{SqliteOptions, SqliteStore};

    /// Between sealing and clearing: the next opening makes up for it.
    #[tokio::test]
    async fn a_crash_while_a_store_is_sealed_leaves_no_secret_for_good() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys.db");
        let passphrase = Secret::new("correct horse");
        let store = SqliteStore::open(&path, SqliteOptions::default()).await.unwrap();
        let now = Timestamp::from_secs(1);
        let create = |_| {
            let credentials = vec![Credential::generate(CredentialKind::Trojan)];
            let key = CreateKey { credentials, ..CreateKey::default() }.validate(now).unwrap();
            KeyOp::Create(Box::new(key))
        };
        let keys = store.commit(StoreTxn::new(now, (0..200).map(create))).await.unwrap().keys;
        store.close().await.unwrap();
        let found = || {
            let files = std::fs::read_dir(directory.path()).unwrap();
            let bytes: Vec<u8> =
                files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            keys.iter().filter(|key| text.contains(&key.credentials.first().unwrap().secret.expose())).count()
        };
        {
            // As far as the process came that crashed.
            let mut connection = Connection::open(&path).unwrap();
            let master = Master::new([7; 32]);
            let lock = Lock::new(&master, &passphrase).unwrap();
            assert!(Vault::of(&master).establish(&mut connection, &lock).unwrap());
        }
        assert!(found() > 0, "what was plain stands in pages that are free");
        let options = SqliteOptions { passphrase: Some(passphrase), ..SqliteOptions::default() };
        // Another process reads meanwhile: the pages stay for it, and it is tried again.
        let reader = Connection::open(&path).unwrap();
        reader.execute_batch("BEGIN; SELECT count(*) FROM keys").unwrap();
        let store = SqliteStore::open(&path, options.clone()).await.unwrap();
        assert!(found() > 0);
        store.close().await.unwrap();
        drop(reader);
        let store = SqliteStore::open(&path, options).await.unwrap();
        assert_eq!(found(), 0);
        assert!(store.keys(&[keys.first().unwrap().id]).await.unwrap().len() == 1);
        store.close().await.unwrap();
        assert_eq!(found(), 0);
    }

    /// Between changing and clearing: the next opening makes up for it.
    #[tokio::test]
    async fn a_crash_while_a_passphrase_changes_leaves_no_way_in_for_the_previous_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys.db");
        let second = Some(Secret::new("second"));
        let options = |passphrase| SqliteOptions { passphrase, ..SqliteOptions::default() };
        let first = Some(Secret::new("first"));
        SqliteStore::open(&path, options(first)).await.unwrap().close().await.unwrap();
        // As far as the process came that crashed; to close would clear.
        let mut crashed = Connection::open(&path).unwrap();
        let held = Lock::read(&crashed).unwrap().unwrap();
        let master = held.unlock(&Secret::new("first")).unwrap().unwrap();
        let new = Lock::new(&master, second.as_ref().unwrap()).unwrap();
        assert!(change(&mut crashed, &held, &new).unwrap());
        assert!(!change(&mut crashed, &held, &new).unwrap(), "it is not the one that is held any more");
        assert!(files_hold(directory.path(), held.salt()));
        let store = SqliteStore::open(&path, options(second)).await.unwrap();
        assert!(!files_hold(directory.path(), held.salt()));
        store.close().await.unwrap();
    }

    fn files_hold(directory: &std::path::Path, bytes: &[u8]) -> bool {
        std::fs::read_dir(directory).unwrap().any(|file| {
            let text = std::fs::read(file.unwrap().path()).unwrap();
            text.windows(bytes.len()).any(|window| window == bytes)
        })
    }

    /// Stores of before made their key of the passphrase itself.
    #[tokio::test]
    async fn the_passphrase_of_an_older_store_changes_too() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys.db");
        let passphrase = |text| Some(Secret::new(text));
        let options = SqliteOptions { passphrase: passphrase("first"), ..SqliteOptions::default() };
        SqliteStore::open(&path, SqliteOptions::default()).await.unwrap().close().await.unwrap();
        let salt = {
            let mut connection = Connection::open(&path).unwrap();
            let (lock, master) = Lock::derived(&Secret::new("first")).unwrap();
            assert!(Vault::of(&master).establish(&mut connection, &lock).unwrap());
            lock.salt().to_vec()
        };
        let store = SqliteStore::open(&path, options.clone()).await.unwrap();
        let now = Timestamp::from_secs(1);
        let credentials = vec![Credential::generate(CredentialKind::Trojan)];
        let key = CreateKey { credentials, ..CreateKey::default() }.validate(now).unwrap();
        let txn = StoreTxn::new(now, [KeyOp::Create(Box::new(key))]);
        let key = store.commit(txn).await.unwrap().keys.remove(0);
        store.close().await.unwrap();

        let both = SqliteOptions {
            passphrase: passphrase("second"),
            previous_passphrase: passphrase("first"),
            ..SqliteOptions::default()
        };
        let changed = SqliteStore::open(&path, both.clone()).await.unwrap();
        // With it the previous passphrase would be the store's key.
        assert!(!files_hold(directory.path(), &salt));
        changed.close().await.unwrap();
        let refused = SqliteStore::open(&path, options).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PassphraseWrong);
        let second = SqliteOptions { previous_passphrase: None, ..both };
        let store = SqliteStore::open(&path, second).await.unwrap();
        assert_eq!(store.keys(&[key.id]).await.unwrap(), [key]);
        store.close().await.unwrap();
    }
}
