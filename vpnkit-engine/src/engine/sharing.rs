//! Finds keys that are used at too many addresses at once, and does what the policy says.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::MissedTickBehavior;

use super::ask::Asked;
use super::leases::Wanted;
use super::{Shared, side_by_side};
use vpnkit_core::model::{EventKind, Key, KeyId, KeyPatch, NewEvent, Patch, SharingAction};
use vpnkit_core::store::{Fence, KeyOp, StoreOp};
use vpnkit_core::traffic::OnlineKey;
use vpnkit_core::{ErrorKind, Result};

const OP: &str = "sharing";
/// Keys that are read at once.
const AT_ONCE: usize = 500;

/// How many times in a row each key was at too many addresses.
#[derive(Debug, Default)]
pub(super) struct Sharing(Mutex<HashMap<KeyId, u32>>);

impl Sharing {
    /// Counts the keys that are at too many addresses now, and forgets the others. Returns those that have been so often enough,
    /// once until they are not.
    fn count(&self, over: &HashSet<KeyId>, checks: u32) -> HashSet<KeyId> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.retain(|key, _| over.contains(key));
        let often = |key: &&KeyId| {
            let count = counts.entry(**key).or_default();
            *count = count.saturating_add(1);
            *count == checks
        };
        over.iter().filter(often).copied().collect()
    }

    /// Lets keys be told of again at the next check: what was to be done with them was not.
    fn again(&self, keys: impl IntoIterator<Item = KeyId>) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys {
            if let Some(count) = counts.get_mut(&key) {
                *count = count.saturating_sub(1);
            }
        }
    }
}

/// Checks in its interval until the engine stops.
pub(super) async fn run(shared: Arc<Shared>, upkeep: Arc<Wanted>) {
    let mut checks = tokio::time::interval(shared.options.sharing.check_every);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            _ = checks.tick() => {}
        }
        // Another process does it.
        let Some(held) = upkeep.held() else { continue };
        if let Err(e) = shared.check_sharing(Some(held.fence.clone())).await {
            tracing::warn!(error = %e, "who is online where could not be checked; the next check makes up for it");
        }
    }
}

/// How many addresses somebody is at: an IPv6 network of 64 bits is one.
fn places(online: &OnlineKey) -> usize {
    let place = |address: IpAddr| match address {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => IpAddr::V4(address),
            None => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        },
    };
    online.addresses.iter().map(|one| place(one.address)).collect::<HashSet<_>>().len()
}

impl Shared {
    /// Asks all servers who is online where, in whichever process. The work grows with the keys that are online; read are those
    /// that are at more than one address.
    pub(super) async fn check_sharing(self: &Arc<Self>, fence: Option<Fence>) -> Result<()> {
        if !self.store.limits_addresses().await? {
            return Ok(());
        }
        let here =
            side_by_side(self.up(), |server| async move { server.online(OP).await.unwrap_or_default() });
        let (here, others) = tokio::join!(here, self.ask_all::<Vec<OnlineKey>>(OP, &Asked::Online));
        let online = super::traffic::by_key(here.into_iter().chain(others?).flatten());
        let several: HashMap<KeyId, usize> =
            online.iter().map(|one| (one.key, places(one))).filter(|(_, places)| *places > 1).collect();
        let mut over = HashMap::new();
        let ids: Vec<KeyId> = several.keys().copied().collect();
        for some in ids.chunks(AT_ONCE) {
            for key in self.those_that_can_be_read(some).await? {
                let places = several.get(&key.id).copied().unwrap_or(0);
                let limit = key.address_limit.and_then(|limit| usize::try_from(limit).ok());
                if key.status.may_connect() && limit.is_some_and(|limit| places > limit) {
                    over.insert(key.id, (key, places));
                }
            }
        }
        let now_over: HashSet<KeyId> = over.keys().copied().collect();
        let told = self.sharing.count(&now_over, self.options.sharing.checks);
        for (key, places) in over.into_values().filter(|(key, _)| told.contains(&key.id)) {
            let id = key.id;
            match self.tell_shared(key, places, fence.clone()).await {
                Ok(()) => {}
                // Deleted or changed meanwhile: the next check sees it as it is.
                Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => {
                    self.sharing.again([id]);
                }
                Err(e) => {
                    self.sharing.again([id]);
                    tracing::warn!(key = id.0, error = %e, "a key that is shared could not be stopped");
                }
            }
        }
        Ok(())
    }

    async fn those_that_can_be_read(&self, ids: &[KeyId]) -> Result<Vec<Key>> {
        match self.store.keys(ids).await {
            Err(e) if e.kind() == ErrorKind::StoreCorrupt => {}
            keys => return keys,
        }
        let mut keys = Vec::new();
        for id in ids {
            match self.store.keys(&[*id]).await {
                // It is told where it is due.
                Err(e) if e.kind() == ErrorKind::StoreCorrupt => {}
                found => keys.extend(found?),
            }
        }
        Ok(keys)
    }

    /// Tells of a key that is shared, and does what the policy says.
    async fn tell_shared(&self, key: Key, places: usize, fence: Option<Fence>) -> Result<()> {
        let policy = &self.options.sharing;
        let until = self.clock.now().plus(policy.lock_for);
        let mut patch = KeyPatch::default();
        let done = match policy.action {
            SharingAction::Warn => String::new(),
            SharingAction::Lock => {
                patch.locked_until = Patch::Set(until);
                format!(", locked until {until}")
            }
            SharingAction::Rotate => {
                patch.revoke_links = true;
                for old in key.credentials.iter().filter(|credential| !credential.is_replaced()) {
                    patch.credentials.push(self.renewed(OP, old).await?);
                }
                ", credentials and links replaced".to_owned()
            }
        };
        let limit = key.address_limit.unwrap_or_default();
        let detail = format!("{places} addresses at once, {limit} allowed{done}");
        let event = NewEvent { kind: EventKind::KeyAddressLimit, subject: key.subject(), detail };
        let mut steps = vec![StoreOp::Emit(event)];
        if patch != KeyPatch::default() {
            let (key, expected) = (key.id, Some(key.version));
            steps.push(KeyOp::Patch { key, expected, patch: Box::new(patch) }.into());
        }
        tracing::info!(key = key.id.0, places, limit, "a key is used at too many addresses at once");
        let receipt = self.store.commit(self.txn(steps).under(fence)).await?;
        self.revoked(&receipt.revoked);
        self.replaced(&receipt.replaced);
        self.queue_transitions(&receipt.transitions);
        self.queue_keys(receipt.replaced.iter().copied());
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use vpnkit_core::traffic::OnlineAddress;

    use super::*;

    #[test]
    fn a_network_of_64_bits_is_one_place() {
        let at = |addresses: &[&str]| {
            let address = |text: &&str| OnlineAddress {
                address: text.parse().unwrap(),
                since: vpnkit_core::Timestamp::default(),
            };
            places(&OnlineKey { key: KeyId(1), addresses: addresses.iter().map(address).collect() })
        };
        assert_eq!(at(&["192.0.2.1", "192.0.2.1", "::ffff:192.0.2.1"]), 1);
        assert_eq!(at(&["2001:db8::1", "2001:db8::2:3", "2001:db8:0:1::1"]), 2);
        assert_eq!(at(&["192.0.2.1", "192.0.2.2", "2001:db8::1"]), 3);
        assert_eq!(at(&[]), 0);
    }

    #[test]
    fn it_is_told_once_until_it_is_over() {
        let (sharing, one) = (Sharing::default(), HashSet::from([KeyId(1)]));
        let told = |over: &HashSet<KeyId>| !sharing.count(over, 2).is_empty();
        assert!(!told(&one) && told(&one) && !told(&one) && !told(&one));
        assert!(!told(&HashSet::new()) && !told(&one));
        // What was not done is tried again.
        assert!(told(&one));
        sharing.again(one.clone());
        assert!(told(&one));
    }
}
