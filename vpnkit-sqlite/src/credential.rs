//! Credentials as they are written, with what the store assigns: addresses, serial numbers, revocations.

use rusqlite::{OptionalExtension as _, params};

use crate::apply::{Batch, sql};
use crate::convert_error::violates;
use crate::row::number;
use vpnkit_core::model::{CertificateTerm, Credential, Inbound, InboundId, Key, KeyId, Revocation};
use vpnkit_core::store::{Made, errors as answer};
use vpnkit_core::{Error, Result};

impl Batch<'_> {
    /// Writes the credentials of a key that it did not have before, assigns their addresses, and revokes certificates that
    /// are no longer held.
    pub(crate) fn put_credentials(&mut self, before: &[Credential], key: &mut Key) -> Result<()> {
        for old in before.iter().filter(|old| !key.credentials.iter().any(|c| c.holds_certificate_of(old))) {
            self.revoke(key.id, old)?;
        }
        for old in before.iter().filter(|old| !key.credentials.iter().any(|c| c.place() == old.place())) {
            self.remove_credential(key.id, old)?;
        }
        for i in 0..key.credentials.len() {
            let Some(new) = key.credentials.get(i).filter(|c| !before.contains(c)) else { continue };
            let slot = self.slot(key, new)?;
            if let Some(new) = key.credentials.get_mut(i) {
                new.slot = slot;
            }
            if let Some(new) = key.credentials.get(i) {
                self.put_credential(key.id, new)?;
            }
        }
        Ok(())
    }

    /// Removes the credentials that a key has held for inbounds that it is no longer on.
    pub(crate) fn leave_inbounds(&self, before: &Key, key: &mut Key) -> Result<()> {
        if before.inbounds == key.inbounds {
            return Ok(());
        }
        let mut stays = Vec::with_capacity(key.credentials.len());
        for credential in std::mem::take(&mut key.credentials) {
            if let Some(of) = credential.inbound.as_ref().filter(|_| before.credentials.contains(&credential))
                && !self.inbound(of)?.is_some_and(|inbound| inbound.serves(key.id, &key.inbounds))
            {
                continue;
            }
            stays.push(credential);
        }
        key.credentials = stays;
        Ok(())
    }

    fn remove_credential(&self, id: KeyId, credential: &Credential) -> Result<()> {
        let (protocol, device, inbound) = credential.place();
        let inbound = inbound.map(InboundId::to_string).unwrap_or_default();
        self.run(
            "DELETE FROM credentials WHERE key_id = ?1 AND protocol = ?2 AND device = ?3 AND inbound = ?4",
            params![id.0, protocol.code(), device.as_str(), inbound],
        )
        .map(drop)
        .map_err(sql)
    }

    fn put_credential(&self, id: KeyId, credential: &Credential) -> Result<()> {
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

    /// Returns the address of a new credential: the one that it asks for, or the next free one.
    fn slot(&self, key: &Key, credential: &Credential) -> Result<Option<u32>> {
        let Some(id) = &credential.inbound else { return Ok(None) };
        let inbound = self.inbound(id)?.ok_or_else(|| answer::no_inbound_of_credential(id))?;
        if !credential.is_for(&inbound) || !inbound.serves(key.id, &key.inbounds) {
            return Err(answer::not_of_inbound(id));
        }
        let Some(pool) = inbound.addresses else { return Ok(None) };
        let capacity = pool.capacity();
        if let Some(slot) = credential.slot {
            // Whether it is free, the index says.
            return if slot < capacity { Ok(Some(slot)) } else { Err(answer::no_address(id, slot)) };
        }
        let next = self.number("SELECT slot FROM inbound_numbers WHERE inbound = ?1", [id.to_string()])?;
        let next = next.unwrap_or(0);
        let free = match self.free_slot(id, next)?.filter(|slot| *slot < capacity) {
            Some(slot) => Some(slot),
            None => self.free_slot(id, 0)?.filter(|slot| *slot < capacity),
        };
        let slot = free.ok_or_else(|| answer::addresses_taken(id, capacity))?;
        self.run(
            "INSERT INTO inbound_numbers (inbound, slot) VALUES (?1, ?2)
             ON CONFLICT (inbound) DO UPDATE SET slot = excluded.slot",
            params![id.to_string(), i64::from(slot) + 1],
        )
        .map_err(sql)?;
        Ok(Some(slot))
    }

    /// Returns the first free slot from `first` on: mostly `first` itself, since slots are given round and round.
    fn free_slot(&self, inbound: &InboundId, first: u32) -> Result<Option<u32>> {
        self.number(
            "SELECT CASE WHEN NOT EXISTS (SELECT 1 FROM credentials WHERE inbound = ?1 AND slot = ?2) THEN ?2 ELSE
               (SELECT one.slot + 1 FROM credentials one WHERE one.inbound = ?1 AND one.slot >= ?2
                  AND NOT EXISTS (SELECT 1 FROM credentials two
                                  WHERE two.inbound = ?1 AND two.slot = one.slot + 1)
                ORDER BY one.slot LIMIT 1) END",
            params![inbound.to_string(), first],
        )
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
                "INSERT INTO inbound_numbers (inbound, serial) VALUES (?1, ?2)
                 ON CONFLICT (inbound) DO UPDATE SET serial = serial + excluded.serial RETURNING serial",
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

    /// Removes the credentials for an inbound that do not fit it, all of them without one, and revokes their certificates.
    pub(crate) fn drop_credentials(&self, id: &InboundId, inbound: Option<&Inbound>) -> Result<()> {
        let fits = inbound.filter(|i| i.own_credentials()).map(|i| i.protocol.credential().code());
        let id = id.to_string();
        const GO: &str = "inbound = ?1 AND inbound <> '' AND protocol IS NOT ?2";
        self.run(
            &format!(
                "INSERT INTO revocations (inbound, serial, key_id, expires_at, revoked_at)
                 SELECT inbound, serial, key_id, expires_at, ?3 FROM credentials WHERE {GO} AND serial IS NOT NULL
                 ON CONFLICT DO NOTHING"
            ),
            params![id, fits, self.at.as_millis()],
        )
        .map_err(sql)?;
        self.run(&format!("DELETE FROM credentials WHERE {GO}"), params![id, fits]).map(drop).map_err(sql)
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
