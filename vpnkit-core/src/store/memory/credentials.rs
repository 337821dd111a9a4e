//! Credentials in memory: secrets, addresses and serials that are each taken once.

use std::collections::BTreeSet;

use super::State;
use crate::model::{Credential, Inbound, InboundId, Key, KeyId, Revocation};
use crate::store::{Receipt, errors};
use crate::{Result, Timestamp};

impl State {
    /// Assigns addresses to new credentials, and revokes certificates that are no longer held.
    pub(super) fn put_credentials(
        &mut self,
        before: &[Credential],
        key: &mut Key,
        at: Timestamp,
        receipt: &mut Receipt,
    ) -> Result<()> {
        self.leave_inbounds(before, key);
        self.take_secrets(before, key)?;
        for old in before.iter().filter(|old| !key.credentials.iter().any(|c| c.holds_certificate_of(old))) {
            self.revoke(key.id, old, at, receipt);
        }
        for i in 0..key.credentials.len() {
            let Some(new) = key.credentials.get(i).filter(|c| !before.contains(c)) else { continue };
            let slot = self.slot(key, new)?;
            if let (Some(inbound), Some(certificate)) = (&new.inbound, &new.certificate) {
                self.take_serial(inbound, certificate.serial, key.id, &key.credentials, i)?;
            }
            if let Some(new) = key.credentials.get_mut(i) {
                new.slot = slot;
            }
        }
        Ok(())
    }

    /// Removes the credentials that a key has held for inbounds that it is no longer on.
    pub(super) fn leave_inbounds(&self, before: &[Credential], key: &mut Key) {
        let Key { id, inbounds: selection, credentials, .. } = key;
        credentials.retain(|credential| match &credential.inbound {
            Some(of) if before.contains(credential) => {
                self.inbound(of).is_some_and(|inbound| inbound.serves(*id, selection))
            }
            _ => true,
        });
    }

    /// Returns the address of a new credential: the one that it asks for, or the next free one.
    pub(super) fn slot(&mut self, key: &Key, new: &Credential) -> Result<Option<u32>> {
        let Some(id) = &new.inbound else { return Ok(None) };
        let inbound = self.inbound(id).ok_or_else(|| errors::no_inbound_of_credential(id))?;
        if !new.is_for(inbound) || !inbound.serves(key.id, &key.inbounds) {
            return Err(errors::not_of_inbound(id));
        }
        let Some(pool) = &inbound.addresses else { return Ok(None) };
        let capacity = pool.capacity();
        let others = self.bound(id).filter(|(owner, _)| *owner != key.id).filter_map(|(_, c)| c.slot);
        let own =
            key.credentials.iter().filter(|c| c.inbound.as_ref() == Some(id) && c.place() != new.place());
        let taken: BTreeSet<u32> = others.chain(own.filter_map(|c| c.slot)).collect();
        let next = self.next_slots.get(id).copied().unwrap_or(0);
        match new.slot {
            Some(slot) if slot >= capacity => Err(errors::no_address(id, slot)),
            Some(slot) if taken.contains(&slot) => Err(errors::address_taken(id, slot)),
            Some(slot) => Ok(Some(slot)),
            None => {
                let free = (next..capacity).chain(0..next.min(capacity)).find(|slot| !taken.contains(slot));
                let slot = free.ok_or_else(|| errors::addresses_taken(id, capacity))?;
                self.next_slots.insert(id.clone(), slot.saturating_add(1));
                Ok(Some(slot))
            }
        }
    }

    pub(super) fn bound<'a>(
        &'a self,
        inbound: &'a InboundId,
    ) -> impl Iterator<Item = (KeyId, &'a Credential)> {
        let of = |key: &'a Key| key.credentials.iter().map(|credential| (key.id, credential));
        self.keys.values().flat_map(of).filter(move |(_, c)| c.inbound.as_ref() == Some(inbound))
    }

    pub(super) fn take_serial(
        &self,
        inbound: &InboundId,
        serial: u64,
        key: KeyId,
        own: &[Credential],
        index: usize,
    ) -> Result<()> {
        let same = |c: &Credential| {
            c.inbound.as_ref() == Some(inbound) && c.certificate.is_some_and(|held| held.serial == serial)
        };
        let others = self.bound(inbound).any(|(owner, credential)| owner != key && same(credential));
        let twice = own.iter().enumerate().any(|(i, credential)| i != index && same(credential));
        if others || twice || self.revocations.contains_key(&(inbound.clone(), serial)) {
            return Err(errors::serial_taken(inbound, serial));
        }
        Ok(())
    }

    pub(super) fn revoke(
        &mut self,
        key: KeyId,
        credential: &Credential,
        at: Timestamp,
        receipt: &mut Receipt,
    ) {
        let (Some(inbound), Some(certificate)) = (&credential.inbound, credential.certificate) else {
            return;
        };
        let revocation = Revocation { inbound: inbound.clone(), key, certificate, revoked_at: at };
        self.revocations.insert((inbound.clone(), certificate.serial), revocation.clone());
        receipt.revoked.push(revocation);
    }

    /// Removes the credentials for an inbound that do not fit it any more, and revokes their certificates.
    pub(super) fn drop_credentials(&mut self, id: &InboundId, inbound: Option<&Inbound>, at: Timestamp) {
        let goes = |credential: &Credential| {
            credential.inbound.as_ref() == Some(id) && !inbound.is_some_and(|i| credential.is_for(i))
        };
        let gone: Vec<(KeyId, Credential)> =
            self.bound(id).filter(|(_, c)| goes(c)).map(|(key, c)| (key, c.clone())).collect();
        for (key, credential) in gone {
            self.secrets.remove(&(credential.protocol(), credential.secret.identity()));
            self.revoke(key, &credential, at, &mut Receipt::default());
            if let Some(key) = self.keys.get_mut(&key) {
                key.credentials.retain(|held| *held != credential);
            }
        }
    }

    /// Two keys with one secret would lock each other out on a server.
    pub(super) fn take_secrets(&mut self, before: &[Credential], key: &Key) -> Result<()> {
        let place = |c: &Credential| (c.protocol(), c.secret.identity());
        for old in before.iter().filter(|c| !key.credentials.contains(c)) {
            self.secrets.remove(&place(old));
        }
        for new in key.credentials.iter().filter(|c| !before.contains(c)) {
            if self.secrets.insert(place(new), key.id).is_some() {
                return Err(errors::secret_taken(new.protocol()));
            }
        }
        Ok(())
    }
}
