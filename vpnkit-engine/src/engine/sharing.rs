//! Finds keys that are used at too many addresses at once, and does what the policy says.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::ask::Asked;
use super::{Shared, side_by_side};
use vpnkit_core::model::{EventKind, Key, KeyId, KeyPatch, NewEvent, Patch, SharingAction, SharingPolicy};
use vpnkit_core::store::{Fence, KeyOp, StoreOp};
use vpnkit_core::traffic::OnlineKey;
use vpnkit_core::{ErrorKind, Result};

const OP: &str = "sharing";
/// Keys that are read at once.
const AT_ONCE: usize = 500;

/// How often each key was at too many addresses lately.
#[derive(Debug, Default)]
pub(super) struct Sharing(Mutex<HashMap<KeyId, Seen>>);

#[derive(Debug)]
struct Seen {
    /// Two more with each check that finds too many, one less with each that does not.
    count: u32,
    /// When it was seen so last.
    last: Instant,
    /// When it was told of last.
    told: Option<Instant>,
}

/// A key that goes on being shared is told of so often.
const AGAIN: Duration = Duration::from_secs(3_600);

impl Sharing {
    /// Counts the keys that are at too many addresses now. Returns those that have been so often enough, each once an hour. What servers
    /// that have not answered would have said is not known: with `complete` unset nobody is counted down, only forgotten after a while.
    fn count(&self, over: &HashSet<KeyId>, policy: &SharingPolicy, complete: bool) -> HashSet<KeyId> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, enough) = (Instant::now(), policy.checks.saturating_mul(2));
        let long_ago = policy.check_every.saturating_mul(policy.checks.saturating_mul(4));
        seen.retain(|key, seen| {
            if complete && !over.contains(key) {
                seen.count = seen.count.saturating_sub(1);
            }
            if now.duration_since(seen.last) > long_ago {
                seen.count = 0;
            }
            seen.count > 0 || seen.told.is_some_and(|told| now.duration_since(told) < AGAIN)
        });
        let often = |key: &&KeyId| {
            let seen = seen.entry(**key).or_insert(Seen { count: 0, last: now, told: None });
            seen.last = now;
            seen.count = seen.count.saturating_add(2).min(enough.saturating_add(2));
            seen.count >= enough && seen.told.is_none_or(|told| now.duration_since(told) >= AGAIN)
        };
        over.iter().filter(often).copied().collect()
    }

    /// Remembers that a key was told of. One that was stopped begins from nothing: if it goes on afterwards it is stopped again.
    fn told(&self, key: KeyId, stopped: bool) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if stopped {
            seen.remove(&key);
        } else if let Some(seen) = seen.get_mut(&key) {
            seen.told = Some(Instant::now());
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
        let here = side_by_side(self.up(), |server| async move {
            let online = server.online(OP).await;
            online
                .inspect_err(
                    |e| tracing::warn!(server = %server.id(), error = %e, "who is online is not known"),
                )
                .ok()
        });
        let (here, others) = tokio::join!(here, self.ask_all::<Vec<OnlineKey>>(OP, &Asked::Online));
        let complete = here.iter().all(Option::is_some);
        let online = super::traffic::by_key(here.into_iter().flatten().chain(others?).flatten());
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
        let told = self.sharing.count(&now_over, &self.options.sharing, complete);
        for (key, places) in over.into_values().filter(|(key, _)| told.contains(&key.id)) {
            let id = key.id;
            match self.tell_shared(key, places, fence.clone()).await {
                Ok(stopped) => self.sharing.told(id, stopped),
                // Deleted or changed meanwhile: the next check sees it as it is.
                Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => {}
                Err(e) => tracing::warn!(key = id.0, error = %e, "a key that is shared could not be stopped"),
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

    /// Tells of a key that is shared, and does what the policy says; returns whether it was stopped.
    async fn tell_shared(&self, key: Key, places: usize, fence: Option<Fence>) -> Result<bool> {
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
                for old in key.credentials.iter().filter(|credential| !credential.is_replaced()) {
                    match self.renewed(OP, old).await {
                        Ok(new) => patch.credentials.push(new),
                        // Only the process that drives its server can make it; the others are replaced.
                        Err(e) if e.kind() == ErrorKind::Unavailable => {
                            tracing::warn!(key = key.id.0, error = %e, "one credential of a shared key stays");
                        }
                        Err(e) => return Err(e),
                    }
                }
                patch.revoke_links = !patch.credentials.is_empty();
                match patch.revoke_links {
                    true => ", credentials and links replaced".to_owned(),
                    false => ", only another process can replace its credentials".to_owned(),
                }
            }
        };
        let limit = key.address_limit.unwrap_or_default();
        let detail = format!("{places} addresses at once, {limit} allowed{done}");
        let event = NewEvent { kind: EventKind::KeyAddressLimit, subject: key.subject(), detail };
        let mut steps = vec![StoreOp::Emit(event)];
        let stops = patch != KeyPatch::default();
        if stops {
            let (key, expected) = (key.id, Some(key.version));
            steps.push(KeyOp::Patch { key, expected, patch: Box::new(patch) }.into());
        }
        tracing::info!(key = key.id.0, places, limit, "a key is used at too many addresses at once");
        let receipt = self.store.commit(self.txn(steps).under(fence)).await?;
        self.revoked(&receipt.revoked);
        self.replace_later(&receipt.replaced).await;
        self.queue_transitions(&receipt.transitions);
        Ok(stops)
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

    #[tokio::test(start_paused = true)]
    async fn it_is_told_once_an_hour() {
        let (sharing, one, none) = (Sharing::default(), HashSet::from([KeyId(1)]), HashSet::new());
        let policy = SharingPolicy::default();
        let over = |sharing: &Sharing, over: &HashSet<KeyId>| !sharing.count(over, &policy, true).is_empty();
        assert!(!over(&sharing, &one) && over(&sharing, &one), "the second time");
        // It was not told: something failed.
        assert!(over(&sharing, &one));
        sharing.told(KeyId(1), false);
        for _ in 0..10 {
            assert!(!over(&sharing, &one) && !over(&sharing, &none));
        }
        tokio::time::advance(AGAIN).await;
        over(&sharing, &one);
        assert!(over(&sharing, &one));
        // Each other check is enough in the long run; one in three is not.
        let sharing = Sharing::default();
        let often = (0..20).any(|i| over(&sharing, if i % 2 == 0 { &one } else { &none }));
        let sharing = Sharing::default();
        let seldom = (0..20).any(|i| over(&sharing, if i % 3 == 0 { &one } else { &none }));
        assert!(often && !seldom);
        // Servers that do not answer excuse nobody, and two checks that are far apart are no sharing.
        let sharing = Sharing::default();
        assert!(
            !over(&sharing, &one) && sharing.count(&none, &policy, false).is_empty() && over(&sharing, &one)
        );
        let sharing = Sharing::default();
        assert!(!over(&sharing, &one));
        tokio::time::advance(policy.check_every * 9).await;
        assert!(sharing.count(&one, &policy, false).is_empty());
        // One that was stopped and goes on is stopped again, after as many checks.
        assert!(over(&sharing, &one));
        sharing.told(KeyId(1), true);
        assert!(!over(&sharing, &one) && over(&sharing, &one));
    }
}
