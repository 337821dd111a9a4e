//! Between rows and the model.

use rusqlite::types::Value;
use rusqlite::{Connection, Row};
use uuid::Uuid;

use crate::convert_error::{convert, damaged};
use crate::life::Life;
use crate::vault::Vault;
use vpnkit_core::model::{
    AdminId, ByteSize, CertificateTerm, Credential, CredentialKind, DeviceName, InboundId, InboundSelection,
    InboundTag, Key, KeyId, KeyName, KeyStatus, Labels, Traffic,
};
use vpnkit_core::{Error, Result, Timestamp};

/// The columns that [`key`] reads, from `keys k JOIN meters m`.
pub(crate) const KEY_COLUMNS: &str = "k.id, k.uid, k.version, k.name, k.label, k.note, k.owner, k.status, \
     k.expires_at, k.inbounds, k.created_at, k.updated_at, m.data_limit, m.used, m.up, m.down, m.seen_at, \
     k.device_limit, k.link_revision, k.life, k.labels, m.first_seen_at, k.address_limit, k.suspended";

/// How many they are.
pub(crate) const KEY_WIDTH: usize = 24;

/// Where they come from.
pub(crate) const KEY_TABLES: &str = "keys k JOIN meters m ON m.key_id = k.id";

/// The columns that [`HeldInbound::read`] reads, from `inbounds`.
pub(crate) const INBOUND_COLUMNS: &str = "node, tag, server, spec";

/// An inbound as it stands there. `server` stands beside the rest: older programs knew of none.
pub(crate) struct HeldInbound {
    pub node: String,
    pub tag: String,
    pub server: Option<String>,
    pub spec: String,
}

impl HeldInbound {
    pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { node: row.get(0)?, tag: row.get(1)?, server: row.get(2)?, spec: row.get(3)? })
    }
}

/// A number of bytes as SQLite holds it.
pub(crate) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn bytes(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// One key of many, its credentials still missing. What cannot be read of its life or labels is left out: the others, and what servers let
/// in, do not depend on it.
pub(crate) fn key_of_many(row: &Row<'_>) -> rusqlite::Result<Result<Key>> {
    read_key(row, |what, error| {
        tracing::warn!(what, %error, "a key of this store cannot be read in whole");
        Ok(())
    })
}

/// One key, its credentials still missing.
pub(crate) fn key(row: &Row<'_>) -> rusqlite::Result<Result<Key>> {
    read_key(row, |_, error| Err(error))
}

fn read_key(
    row: &Row<'_>,
    damaged_part: impl Fn(&'static str, Error) -> Result<()>,
) -> rusqlite::Result<Result<Key>> {
    let uid: Vec<u8> = row.get(1)?;
    let name: Option<String> = row.get(3)?;
    let status: String = row.get(7)?;
    let inbounds: Option<String> = row.get(9)?;
    let time = |i: usize| row.get::<_, Option<i64>>(i).map(|t| t.map(Timestamp::from_millis));
    let (created_at, updated_at) = (time(10)?.unwrap_or_default(), time(11)?.unwrap_or_default());
    let (life, labels): (Option<String>, Option<String>) = (row.get(19)?, row.get(20)?);
    let mut key = Key {
        id: KeyId(row.get(0)?),
        uid: match Uuid::from_slice(&uid) {
            Ok(uid) => uid,
            Err(_) => return Ok(Err(damaged("keys.uid"))),
        },
        version: bytes(row.get(2)?),
        name: match name.map(KeyName::new).transpose() {
            Ok(name) => name,
            Err(_) => return Ok(Err(damaged("keys.name"))),
        },
        label: row.get(4)?,
        labels: match labels.as_deref().map_or(Ok(Labels::new()), serde_json::from_str) {
            Ok(labels) => labels,
            Err(_) => match damaged_part("keys.labels", damaged("keys.labels")) {
                Ok(()) => Labels::new(),
                Err(e) => return Ok(Err(e)),
            },
        },
        note: row.get(5)?,
        owner: row.get::<_, Option<i64>>(6)?.map(AdminId),
        // A status of a newer vpnkit: whatever it means, this one lets nobody in for it.
        status: status.parse().unwrap_or(KeyStatus::Disabled),
        data_limit: row.get::<_, Option<i64>>(12)?.map(|b| ByteSize::from_bytes(bytes(b))),
        used: bytes(row.get(13)?),
        traffic: Traffic { up: bytes(row.get(14)?), down: bytes(row.get(15)?) },
        expires_at: time(8)?,
        hold: None,
        paused_at: None,
        reset: None,
        resets_at: None,
        reset_at: None,
        next_plan: None,
        delete_after: None,
        ended_at: None,
        started_at: None,
        first_seen_at: time(21)?,
        device_limit: row.get(17)?,
        address_limit: row.get(22)?,
        locked_until: None,
        suspended: row.get(23)?,
        link_revision: row.get(18)?,
        old_links_until: None,
        inbounds: match selection(inbounds.as_deref()) {
            Ok(inbounds) => inbounds,
            Err(e) => return Ok(Err(e)),
        },
        credentials: Vec::new(),
        created_at,
        updated_at,
        seen_at: time(16)?,
        replayed: false,
    };
    let read = Life::read(life.as_deref(), &mut key).or_else(|e| damaged_part("keys.life", e));
    Ok(read.map(|()| key))
}

/// The column `inbounds`.
pub(crate) fn selection_text(inbounds: &InboundSelection) -> Option<String> {
    match inbounds {
        InboundSelection::All => None,
        InboundSelection::Only(tags) => serde_json::to_string(tags).ok(),
    }
}

fn selection(text: Option<&str>) -> Result<InboundSelection> {
    match text {
        None => Ok(InboundSelection::All),
        Some(text) => serde_json::from_str::<Vec<InboundTag>>(text)
            .map(InboundSelection::Only)
            .map_err(|_| damaged("keys.inbounds")),
    }
}

/// Fills in the credentials of keys that are sorted by id.
pub(crate) fn credentials(connection: &Connection, vault: &Vault, keys: &mut [Key]) -> Result<()> {
    const OP: &str = "store.credentials";
    let sql = |e| convert(OP, e);
    let one = format!("SELECT c.key_id, {CREDENTIAL_COLUMNS} FROM credentials c WHERE c.key_id = ?1");
    let many = format!(
        "SELECT c.key_id, {CREDENTIAL_COLUMNS} FROM credentials c
         WHERE c.key_id IN (SELECT value FROM json_each(?1)) ORDER BY c.key_id"
    );
    let (text, value): (_, Value) = match &*keys {
        [] => return Ok(()),
        [key] => (one, key.id.0.into()),
        keys => {
            let ids: Vec<i64> = keys.iter().map(|k| k.id.0).collect();
            (many, serde_json::to_string(&ids).unwrap_or_default().into())
        }
    };
    let mut statement = connection.prepare_cached(&text).map_err(sql)?;
    let mut rows = statement.query([value]).map_err(sql)?;
    while let Some(row) = rows.next().map_err(sql)? {
        let id = KeyId(row.get(0).map_err(sql)?);
        if let Some(credential) = credential(row, id, 1, vault)?
            && let Ok(i) = keys.binary_search_by_key(&id, |k| k.id)
            && let Some(key) = keys.get_mut(i)
        {
            key.credentials.push(credential);
        }
    }
    keys.iter_mut().for_each(sort_credentials);
    Ok(())
}

/// The columns that [`credential`] reads.
pub(crate) const CREDENTIAL_COLUMNS: &str =
    "c.protocol, c.device, c.secret, c.inbound, c.slot, c.serial, c.expires_at";

/// The credential in [`CREDENTIAL_COLUMNS`] from column `first` on; `None` when there is none.
pub(crate) fn credential(
    row: &Row<'_>,
    key: KeyId,
    first: usize,
    vault: &Vault,
) -> Result<Option<Credential>> {
    let text = |i: usize| row.get_ref(first + i).map_err(|e| convert("store.credentials", e));
    let (protocol, device, secret) = (text(0)?, text(1)?, text(2)?);
    let (Ok(protocol), Ok(device), Ok(secret)) = (protocol.as_str(), device.as_str(), secret.as_str()) else {
        return Ok(None);
    };
    // One of a newer vpnkit opens nothing here.
    let Ok(protocol) = protocol.parse::<CredentialKind>() else { return Ok(None) };
    let device = DeviceName::stored(device).map_err(|_| damaged("credentials.device"))?;
    let inbound = match text(3)?.as_str() {
        Ok("") => None,
        Ok(inbound) => Some(inbound.parse::<InboundId>().map_err(|_| damaged("credentials.inbound"))?),
        Err(_) => return Err(damaged("credentials.inbound")),
    };
    let place = (protocol, &device, inbound.as_ref());
    let secret = vault.open_credential(key, place, secret)?;
    let mut credential = Credential::new(device, secret);
    credential.inbound = inbound;
    let number = |i: usize| row.get::<_, Option<i64>>(first + i).map_err(|e| convert("store.credentials", e));
    credential.slot = number(4)?.map(u32::try_from).transpose().map_err(|_| damaged("credentials.slot"))?;
    if let (Some(serial), Some(expires_at)) = (number(5)?, number(6)?) {
        let expires_at = Timestamp::from_millis(expires_at);
        credential.certificate = Some(CertificateTerm { serial: serial.unsigned_abs(), expires_at });
    }
    Ok(Some(credential))
}

pub(crate) fn sort_credentials(key: &mut Key) {
    key.credentials.sort_by(|a, b| a.place().cmp(&b.place()));
}

/// Reads what has passed: bytes up, and in the next column down.
pub(crate) fn traffic(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Traffic> {
    let bytes = |i| row.get::<_, i64>(i).map(|b| u64::try_from(b).unwrap_or(0));
    Ok(Traffic { up: bytes(first)?, down: bytes(first + 1)? })
}
