//! The row of the vault: how the store's key is found with its passphrase, and how that passphrase changes.

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rusqlite::{Connection, OptionalExtension as _, params};
use zeroize::Zeroizing;

use crate::convert_error::damaged;
use crate::erase;
use crate::vault::{Vault, sql};
use crate::worker::in_sqlite;
use vpnkit_core::{Error, ErrorKind, Result, Secret};

/// The store's key, of which the keys that seal and mark are made.
pub(crate) type Master = Zeroizing<[u8; 32]>;

/// What Argon2id is to spend: KiB of memory, passes, lanes.
type Cost = [u32; 3];

/// The one row of the table `vault`.
pub(crate) struct Lock {
    salt: Vec<u8>,
    cost: Cost,
    /// The store's key, sealed under the passphrase. `None`: it is made of the passphrase itself.
    wrapped: Option<String>,
    /// Something known, sealed under the store's key.
    proof: String,
}

impl Lock {
    /// Wraps the store's key under a passphrase.
    pub(crate) fn new(master: &Master, passphrase: &Secret) -> Result<Self> {
        let salt = rand::random::<[u8; 16]>().to_vec();
        let cost = [Params::DEFAULT_M_COST, Params::DEFAULT_T_COST, Params::DEFAULT_P_COST];
        let text = Zeroizing::new(STANDARD.encode(master));
        let wrapped = Vault::of(&derive(passphrase, &salt, cost)?).seal("key", &text)?;
        let proof = Vault::of(master).seal("proof", "vpnkit")?;
        Ok(Self { salt, cost, wrapped: Some(wrapped), proof })
    }

    /// As older programs made it.
    #[cfg(test)]
    pub(crate) fn derived(passphrase: &Secret) -> Result<(Self, Master)> {
        let (salt, cost) = (b"salt of an age..".to_vec(), [8, 1, 1]);
        let master = derive(passphrase, &salt, cost)?;
        let proof = Vault::of(&master).seal("proof", "vpnkit")?;
        Ok((Self { salt, cost, wrapped: None, proof }, master))
    }

    #[cfg(test)]
    pub(crate) fn salt(&self) -> &[u8] {
        &self.salt
    }

    pub(crate) fn read(connection: &Connection) -> Result<Option<Self>> {
        connection
            .query_row("SELECT salt, memory, passes, lanes, wrapped, proof FROM vault", [], |r| {
                let cost = [r.get(1)?, r.get(2)?, r.get(3)?];
                Ok(Self { salt: r.get(0)?, cost, wrapped: r.get(4)?, proof: r.get(5)? })
            })
            .optional()
            .map_err(sql)
    }

    pub(crate) fn insert(&self, connection: &Connection) -> Result<()> {
        let [memory, passes, lanes] = self.cost;
        connection
            .execute(
                "INSERT INTO vault (id, salt, memory, passes, lanes, wrapped, proof) VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6)",
                params![self.salt, memory, passes, lanes, self.wrapped, self.proof],
            )
            .map(drop)
            .map_err(sql)
    }

    /// Puts `new` in the place of this row. False: another process has changed it meanwhile.
    pub(crate) fn replace(&self, connection: &Connection, new: &Self) -> Result<bool> {
        let [memory, passes, lanes] = new.cost;
        connection
            .execute(
                "UPDATE vault SET salt = ?2, memory = ?3, passes = ?4, lanes = ?5, wrapped = ?6, proof = ?7
                 WHERE salt = ?1",
                params![self.salt, new.salt, memory, passes, lanes, new.wrapped, new.proof],
            )
            .map(|rows| rows == 1)
            .map_err(sql)
    }

    /// The store's key; `None`: this is not the passphrase.
    pub(crate) fn unlock(&self, passphrase: &Secret) -> Result<Option<Master>> {
        let derived = derive(passphrase, &self.salt, self.cost)?;
        let master = match &self.wrapped {
            None => derived,
            Some(wrapped) => {
                let Ok(text) = Vault::of(&derived).unseal("key", wrapped) else { return Ok(None) };
                let mut master = Master::default();
                match STANDARD.decode_slice(text.as_bytes(), master.as_mut()) {
                    Ok(32) => master,
                    _ => return Err(damaged("vault")),
                }
            }
        };
        Ok(Vault::of(&master).unseal("proof", &self.proof).is_ok().then_some(master))
    }
}

/// Changes the passphrase of a store that is in use: its key stays, so that everybody who has it open goes on.
pub(crate) fn change_in_use(
    connection: &mut Connection,
    previous: &Secret,
    passphrase: &Secret,
) -> Result<()> {
    const OP: &str = "store.change_passphrase";
    loop {
        let Some(lock) = in_sqlite(|| Lock::read(connection))? else {
            return Err(Error::new(ErrorKind::Unsupported, OP, "the store is not encrypted")
                .hint("give `passphrase` when it is opened, while no other process has it open"));
        };
        let Some(master) = lock.unlock(previous)? else {
            // Asked again, it has been changed already.
            if lock.unlock(passphrase)?.is_some() {
                return erase_in_use(connection);
            }
            let message = "this is not the store's passphrase";
            return Err(Error::new(ErrorKind::PassphraseWrong, OP, message).with("field", "previous"));
        };
        let new = Lock::new(&master, passphrase)?;
        // Otherwise another process was faster: what it made of it decides.
        if in_sqlite(|| change(connection, &lock, &new))? {
            return erase_in_use(connection);
        }
    }
}

/// Erases the passphrase of before from the log, in between what others do: while a checkpoint waits for somebody who reads, nobody writes,
/// so it waits for a moment, and begins again. What a backup keeps for longer is erased at the next opening.
fn erase_in_use(connection: &Connection) -> Result<()> {
    const TRIES: u32 = 20;
    let wait = std::time::Duration::from_millis(20);
    connection.busy_timeout(wait).map_err(sql)?;
    for _ in 0..TRIES {
        if in_sqlite(|| erase::try_erase(connection))?.is_none() {
            return Ok(());
        }
        std::thread::sleep(wait * 5);
    }
    in_sqlite(|| erase::erase(connection))
}

/// Changes the passphrase. False: another process has changed it meanwhile.
pub(crate) fn change(connection: &mut Connection, held: &Lock, new: &Lock) -> Result<bool> {
    // What stood there would still open the store with the previous passphrase: it is overwritten, here and in the file
    // when the log is carried over.
    connection.execute_batch("PRAGMA secure_delete = ON").map_err(sql)?;
    let changed = replace(connection, held, new);
    connection.execute_batch("PRAGMA secure_delete = OFF").map_err(sql)?;
    changed
}

fn replace(connection: &mut Connection, held: &Lock, new: &Lock) -> Result<bool> {
    let txn = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(sql)?;
    if !held.replace(&txn, new)? {
        return Ok(false);
    }
    erase::mark(&txn, erase::LOG)?;
    txn.commit().map_err(sql)?;
    Ok(true)
}

fn derive(passphrase: &Secret, salt: &[u8], [memory, passes, lanes]: Cost) -> Result<Master> {
    let fault = |_| damaged("vault");
    let params = Params::new(memory, passes, lanes, Some(32)).map_err(fault)?;
    let mut key = Master::default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.expose().as_bytes(), salt, key.as_mut())
        .map_err(fault)?;
    Ok(key)
}
