//! Pure rules: what a server should hold, and what differs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vpnkit_core::backend::{Account, Change, DesiredState, Observed, ServerRules};
use vpnkit_core::model::{DeviceName, Inbound, InboundTag, Key, KeyId, Revocation};

/// The accounts that `key` should have on `inbound`.
pub(super) fn accounts<'a>(key: &'a Key, inbound: &'a Inbound) -> impl Iterator<Item = Account> + 'a {
    let wanted = key.status.may_connect() && inbound.serves(key.id, &key.inbounds);
    key.credentials.iter().filter(move |c| wanted && c.opens(inbound)).map(|c| Account {
        key: key.id,
        device: c.device.clone(),
        secret: c.secret.clone(),
        slot: c.slot,
        certificate: c.certificate,
        expires_at: key.expires_at,
        remaining: key.remaining(),
    })
}

/// The steps that bring one key's accounts to what the store says. `key` is `None` once it is deleted; `devices`
/// are those that it had then.
pub(super) fn sync(
    id: KeyId,
    key: Option<&Key>,
    devices: &[DeviceName],
    inbounds: &[Arc<Inbound>],
) -> Vec<Change> {
    let mut changes = Vec::new();
    // Nobody else is on the inbounds that are dedicated to a key: there may be a thousand of them.
    for inbound in inbounds.iter().filter(|inbound| inbound.dedicated_to.is_none_or(|owner| owner == id)) {
        let wanted: Vec<Account> = key.map(|key| accounts(key, inbound).collect()).unwrap_or_default();
        let known = key.into_iter().flat_map(|key| &key.credentials);
        // Of one whose links were revoked, the server may have those that have ended since.
        let revoked = key.is_some_and(|key| key.link_revision > 0);
        let current = known.filter(|c| c.is_for(inbound)).map(|c| c.device.clone());
        let mut devices: Vec<DeviceName> = current.chain(devices.iter().cloned()).collect();
        if revoked {
            devices.extend(devices.iter().map(DeviceName::replaced).collect::<Vec<_>>());
        }
        devices.sort();
        devices.dedup();
        for device in devices {
            if !wanted.iter().any(|account| account.device == device) {
                changes.push(Change::RemoveAccount(inbound.tag.clone(), id, device));
            }
        }
        changes.extend(wanted.into_iter().map(|account| Change::PutAccount(Arc::clone(inbound), account)));
    }
    changes
}

/// What differs between what a server should hold and what it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Difference {
    /// Inbounds to add, replace or remove, in the order to do it.
    pub inbounds: Vec<Change>,
    /// Accounts to add, replace or remove and certificates to revoke on inbounds that stay, removals first.
    pub accounts: Vec<Change>,
}

impl Difference {
    /// Whether the server holds what it should.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inbounds.is_empty() && self.accounts.is_empty()
    }

    /// How many steps there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inbounds.len() + self.accounts.len()
    }
}

/// The steps from `observed` to `desired`. Applying them all makes the next difference empty.
#[must_use]
pub fn difference(rules: &dyn ServerRules, desired: &DesiredState, observed: &Observed) -> Difference {
    let mut removals = Vec::new();
    let mut additions = Vec::new();
    let mut inbounds = Vec::new();
    for (tag, held) in &observed.inbounds {
        if desired.inbounds.iter().any(|(inbound, _)| inbound.tag == *tag) {
            continue;
        }
        if held.fingerprint.is_some() {
            inbounds.push(Change::RemoveInbound(tag.clone()));
        } else {
            // Not vpnkit's to remove; its accounts are.
            let account = |(key, device): &(KeyId, DeviceName)| {
                Change::RemoveAccount(tag.clone(), *key, device.clone())
            };
            removals.extend(held.accounts.keys().map(account));
        }
    }
    let mut revoked: BTreeMap<&InboundTag, Vec<&Revocation>> = BTreeMap::new();
    for revocation in &desired.revoked {
        revoked.entry(revocation.inbound.tag()).or_default().push(revocation);
    }
    for (inbound, accounts) in &desired.inbounds {
        let tag = &inbound.tag;
        let held = observed.inbounds.get(tag);
        for revocation in revoked.remove(tag).into_iter().flatten() {
            if held.is_none_or(|held| !held.revoked.contains(&revocation.certificate.serial)) {
                removals.push(Change::Revoke(tag.clone(), revocation.clone()));
            }
        }
        let same = held.is_some_and(|held| {
            held.fingerprint.is_none_or(|fingerprint| fingerprint == rules.inbound_fingerprint(inbound))
        });
        let wanted: BTreeMap<(KeyId, &DeviceName), &Account> =
            accounts.iter().map(|account| ((account.key, &account.device), account)).collect();
        // Also of one that is to be replaced: the server may refuse that, and go on with what it has.
        for (key, device) in held.iter().flat_map(|held| held.accounts.keys()) {
            if !wanted.contains_key(&(*key, device)) {
                removals.push(Change::RemoveAccount(tag.clone(), *key, device.clone()));
            }
        }
        let Some(held) = held.filter(|_| same) else {
            inbounds.push(Change::PutInbound(Arc::clone(inbound), accounts.clone()));
            continue;
        };
        for account in accounts {
            let installed = held.accounts.get(&(account.key, account.device.clone()));
            if installed != Some(&rules.account_fingerprint(inbound, account)) {
                additions.push(Change::PutAccount(Arc::clone(inbound), account.clone()));
            }
        }
    }
    removals.append(&mut additions);
    Difference { inbounds, accounts: removals }
}

/// Keys whose accounts on the server are replaced by others, and whose former ones work no longer. A certificate is replaced when it is
/// renewed.
pub(super) fn replaced(difference: &Difference, desired: &DesiredState, observed: &Observed) -> Vec<KeyId> {
    let kept: BTreeSet<(&InboundTag, KeyId)> = desired
        .inbounds
        .iter()
        .flat_map(|(inbound, accounts)| accounts.iter().map(move |account| (&inbound.tag, account)))
        .filter(|(_, account)| account.device.is_replaced())
        .map(|(tag, account)| (tag, account.key))
        .collect();
    let replaces = |change: &Change| match change {
        Change::PutAccount(inbound, account) if account.certificate.is_none() => {
            let held = observed.inbounds.get(&inbound.tag)?;
            let other = held.accounts.contains_key(&(account.key, account.device.clone()));
            (other && !kept.contains(&(&inbound.tag, account.key))).then_some(account.key)
        }
        _ => None,
    };
    difference.accounts.iter().filter_map(replaces).collect()
}

/// The key that a step is about.
pub(super) fn key_of(change: &Change) -> Option<KeyId> {
    match change {
        Change::PutAccount(_, account) => Some(account.key),
        Change::RemoveAccount(_, key, _) => Some(*key),
        Change::Revoke(_, revocation) => Some(revocation.key),
        Change::PutInbound(..) | Change::RemoveInbound(_) => None,
    }
}
