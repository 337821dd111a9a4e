//! Writing credentials, and what the store gives them: addresses, serial numbers, revocations.

use rusqlite::{OptionalExtension as _, params};

use crate::apply::{Batch, sql};
use crate::convert_error::violates;
use crate::row::number;
use vpnkit_core::model::{CertificateTerm, Credential, Inbound, InboundId, Key, KeyId, Revocation};
use vpnkit_core::store::{Made, errors as answer};
use vpnkit_core::{Error, Result};

impl Batch<'_> {
    /// Writes the credentials of a key that it did not have before, gives them what is theirs, and takes back what belonged
    /// to those that they replace.
    pub(crate) fn put_credentials(&mut self, before: &[Credential], key: &mut Key) -> Result<()> {
        for old in before.iter().filter(|old| !key.credentials.contains(old)) {
            self.revoke(key.id, old)?;
        }
        let id = key.id;
        for credential in key.credentials.iter_mut().filter(|c| !before.contains(c)) {
            self.put_credential(id, credential)?;
        }
        Ok(())
    }

    fn put_credential(&self, id: KeyId, credential: &mut Credential) -> Result<()> {
        credential.slot = self.slot(credential)?;
        let inbound = credential.inbound.as_ref().map(InboundId::to_string).unwrap_or_default();
        if let (Some(inbound), Some(certificate)) = (&credential.inbound, credential.certificate)
            && self.is_revoked(inbound, certificate.serial)?
        {
            return Err(answer::serial_taken(inbound, certificate.serial));
        }
        self.run(
            "INSERT INTO credentials (key_id, protocol, device, inbound, secret, mark, slot, serial, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT (key_id, protocol, device, inbound) DO UPDATE SET secret = excluded.secret,
               mark = excluded.mark, slot = excluded.slot, serial = excluded.serial,
               expires_at = excluded.expires_at",
            params![
                id.0,
                credential.protocol().code(),
                credential.device.as_str(),
                inbound,
                self.vault.seal_credential(id, credential)?,
                self.vault.mark(&credential.secret),
                credential.slot,
                credential.certificate.map(|c| number(c.serial)),
                credential.certificate.map(|c| c.expires_at.as_millis()),
            ],
        )
        .map(drop)
        .map_err(|e| refused(credential, e))
    }

    /// The address of a credential: the one that it asks for, or a free one.
    fn slot(&self, credential: &Credential) -> Result<Option<u32>> {
        let Some(id) = &credential.inbound else { return Ok(None) };
        let inbound = self.inbound(id)?.ok_or_else(|| answer::no_inbound_of_credential(id))?;
        let Some(pool) = inbound.addresses else { return Ok(None) };
        let capacity = pool.capacity();
        if let Some(slot) = credential.slot {
            // Whether it is free, the index says.
            return if slot < capacity { Ok(Some(slot)) } else { Err(answer::no_address(id, slot)) };
        }
        let next = self.needed(id)?;
        if next < u64::from(capacity) {
            return Ok(u32::try_from(next).ok());
        }
        // The last one is taken: the first gap.
        let gap: Option<u32> = self.number(
            "SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM credentials WHERE inbound = ?1 AND slot = 0)
             UNION ALL
             SELECT * FROM (SELECT slot + 1 FROM credentials one WHERE inbound = ?1 AND slot IS NOT NULL
                AND NOT EXISTS (SELECT 1 FROM credentials two WHERE inbound = ?1 AND two.slot = one.slot + 1)
              ORDER BY slot LIMIT 1)",
            params![id.to_string()],
        )?;
        gap.filter(|slot| *slot < capacity).map(Some).ok_or_else(|| answer::addresses_taken(id, capacity))
    }

    fn number(&self, text: &str, values: impl rusqlite::Params) -> Result<Option<u32>> {
        self.connection
            .prepare_cached(text)
            .and_then(|mut s| s.query_row(values, |r| r.get::<_, Option<u32>>(0)).optional())
            .map(Option::flatten)
            .map_err(sql)
    }

    /// How many addresses a pool must hold for those that were given to stay.
    fn needed(&self, inbound: &InboundId) -> Result<u64> {
        let last = self.number(
            "SELECT max(slot) FROM credentials WHERE inbound = ?1 AND slot IS NOT NULL",
            [inbound.to_string()],
        )?;
        Ok(last.map_or(0, |last| u64::from(last) + 1))
    }

    /// Checks that an inbound keeps room for the addresses that it has given.
    pub(crate) fn check_addresses(&self, inbound: &Inbound) -> Result<()> {
        let Some(pool) = &inbound.addresses else { return Ok(()) };
        let (id, capacity) = (inbound.id(), pool.capacity());
        match self.needed(&id)? {
            needed if needed > u64::from(capacity) => Err(answer::addresses_too_few(&id, capacity, needed)),
            _ => Ok(()),
        }
    }

    /// Takes serial numbers that nobody had.
    pub(crate) fn take_serials(&mut self, inbound: &InboundId, count: u32) -> Result<()> {
        let newest: i64 = self
            .connection
            .prepare_cached(
                "INSERT INTO serials (inbound, newest) VALUES (?1, ?2)
                 ON CONFLICT (inbound) DO UPDATE SET newest = newest + excluded.newest RETURNING newest",
            )
            .and_then(|mut s| s.query_row(params![inbound.to_string(), count], |r| r.get(0)))
            .map_err(sql)?;
        let newest = newest.unsigned_abs();
        let first = newest.saturating_sub(u64::from(count)) + 1;
        self.receipt.made.extend((first..=newest).map(Made::serial));
        Ok(())
    }

    fn is_revoked(&self, inbound: &InboundId, serial: u64) -> Result<bool> {
        self.connection
            .prepare_cached("SELECT 1 FROM revocations WHERE inbound = ?1 AND serial = ?2")
            .and_then(|mut s| s.exists(params![inbound.to_string(), number(serial)]))
            .map_err(sql)
    }

    /// Revokes the certificate of a credential that goes, if it has one.
    pub(crate) fn revoke(&mut self, key: KeyId, credential: &Credential) -> Result<()> {
        let (Some(inbound), Some(certificate)) = (&credential.inbound, credential.certificate) else {
            return Ok(());
        };
        let CertificateTerm { serial, expires_at } = certificate;
        self.run(
            "INSERT INTO revocations (inbound, serial, key_id, expires_at, revoked_at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO NOTHING",
            params![
                inbound.to_string(),
                number(serial),
                key.0,
                expires_at.as_millis(),
                self.at.as_millis()
            ],
        )
        .map_err(sql)?;
        let (inbound, revoked_at) = (inbound.clone(), self.at);
        self.receipt.revoked.push(Revocation { inbound, key, certificate, revoked_at });
        Ok(())
    }

    /// Forgets what is for an inbound that goes.
    pub(crate) fn forget_credentials_of(&self, inbound: &InboundId) -> Result<()> {
        let id = inbound.to_string();
        self.run("DELETE FROM credentials WHERE inbound = ?1 AND inbound <> ''", [&id]).map_err(sql)?;
        self.run("DELETE FROM revocations WHERE inbound = ?1", [&id]).map(drop).map_err(sql)
    }
}

/// Says which uniqueness a credential violates.
fn refused(credential: &Credential, error: rusqlite::Error) -> Error {
    let slot = (credential.inbound.as_ref(), credential.slot);
    let serial = (credential.inbound.as_ref(), credential.certificate);
    match (slot, serial) {
        _ if violates(&error, "credentials.mark") => answer::secret_taken(credential.protocol()),
        ((Some(inbound), Some(slot)), _) if violates(&error, "credentials.slot") => {
            answer::address_taken(inbound, slot)
        }
        (_, (Some(inbound), Some(certificate))) if violates(&error, "credentials.serial") => {
            answer::serial_taken(inbound, certificate.serial)
        }
        _ => sql(error),
    }
}
