//! Reading Xray's counters.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Instant;

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _};
use vpnkit_core::backend::ServerState;
use vpnkit_core::model::{DeviceName, KeyId, ServerId, Traffic};
use vpnkit_core::traffic::{Counter, Epoch, OnlineAddress, OnlineKey, Reading, TrafficSource};
use vpnkit_core::{Clock as _, Error, ErrorKind, Result, SystemClock, Timestamp};

use crate::account::Names;
use crate::epoch::{self, Evidence};
use crate::inner::{Inner, Seen};
use crate::xray::Xray;

#[async_trait]
impl TrafficSource for Xray {
    fn server(&self) -> &ServerId {
        &self.inner.id
    }

    async fn read(&self, last: Option<Epoch>) -> Result<Reading> {
        if let Some(last) = &last {
            self.inner.see_stored(last);
        }
        // Xray may be restarted between two calls: then the counters are of another epoch than the rest.
        for _ in 0..3 {
            let before = Look::take(&self.inner).await?;
            let stats = self.inner.api().counters("user>>>").await?;
            let after = Look::take(&self.inner).await?;
            if !before.continues(&after) {
                continue;
            }
            let epoch = self.inner.epoch(last.as_ref(), &before);
            let names = self.inner.names();
            let (counters, foreign) = sum(&names, stats.into_iter().map(|stat| (stat.name, stat.value)));
            return Ok(Reading { epoch, counters, foreign });
        }
        Err(Error::new(ErrorKind::Unavailable, "xray.read", "Xray was restarted while it was read"))
    }

    async fn read_keys(&self, epoch: &Epoch, accounts: &[(KeyId, DeviceName)]) -> Result<Option<Reading>> {
        let look = Look::take(&self.inner).await?;
        let names = self.inner.names();
        let mut counters = Vec::with_capacity(2 * accounts.len());
        for (key, device) in accounts {
            let name = names.name(*key, device);
            counters.extend(["uplink", "downlink"].map(|way| format!("user>>>{name}>>>traffic>>>{way}")));
        }
        let api = self.inner.api();
        let asked = counters.into_iter().map(|name| {
            let api = api.clone();
            async move { Ok::<_, Error>((name.clone(), api.counter(name).await?)) }
        });
        let stats: Vec<_> = futures_util::stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
        // A restart in between shows as counters of another lifetime at the latest now.
        if !look.continues(&Look::take(&self.inner).await?) {
            return Ok(None);
        }
        let now = self.inner.epoch(Some(epoch), &look);
        let (counters, foreign) = sum(&names, stats.into_iter());
        Ok((now.id == epoch.id).then_some(Reading { epoch: now, counters, foreign }))
    }

    async fn online(&self) -> Result<Vec<OnlineKey>> {
        self.inner.online_keys(|_| true).await
    }

    async fn online_key(&self, key: KeyId) -> Result<Option<OnlineKey>> {
        Ok(self.inner.online_keys(|online| online == key).await?.pop())
    }
}

/// Questions that are under way at once: Xray is asked for the addresses of one name after the other.
const AT_ONCE: usize = 32;

impl Inner {
    /// Returns where the accounts of these keys are online from.
    pub(crate) async fn online(
        &self,
        wanted: impl Fn(KeyId) -> bool,
    ) -> Result<Vec<(KeyId, Vec<(IpAddr, Timestamp)>)>> {
        let api = self.api();
        let names = api.online().await?.into_iter();
        let known = self.names();
        let ours = names.filter_map(|name| known.parse(&name).map(|(key, _)| (key, name)));
        let asked = ours.filter(|(key, _)| wanted(*key)).map(|(key, name)| {
            let api = api.clone();
            async move { Ok((key, api.online_addresses(&name).await?)) }
        });
        futures_util::stream::iter(asked).buffered(AT_ONCE).try_collect().await
    }

    async fn online_keys(&self, wanted: impl Fn(KeyId) -> bool) -> Result<Vec<OnlineKey>> {
        let mut keys: BTreeMap<KeyId, OnlineKey> = BTreeMap::new();
        for (key, addresses) in self.online(wanted).await? {
            let addresses = addresses.into_iter().map(|(address, since)| OnlineAddress { address, since });
            let online = keys.entry(key).or_insert_with(|| OnlineKey { key, addresses: Vec::new() });
            online.addresses.extend(addresses);
        }
        Ok(keys.into_values().filter(|online| !online.addresses.is_empty()).collect())
    }
}

/// The process at one time.
pub(crate) struct Look {
    lifetime: Option<u64>,
    /// Of a managed Xray: what it was started with.
    epoch: Option<String>,
    evidence: Evidence,
    at: Instant,
}

impl Look {
    async fn take(inner: &Inner) -> Result<Self> {
        let lifetime = match (&*inner.state.borrow(), inner.managed) {
            (ServerState::Up { lifetime }, true) => Some(*lifetime),
            (_, true) => return Err(Error::new(ErrorKind::Unavailable, "xray.read", "Xray is not running")),
            (_, false) => None,
        };
        let epoch = inner.managed_epoch();
        let stats = inner.api().system().await?;
        Ok(Self { lifetime, epoch, evidence: Evidence { at: SystemClock.now(), stats }, at: Instant::now() })
    }

    fn continues(&self, later: &Self) -> bool {
        self.lifetime == later.lifetime
            && self.epoch == later.epoch
            && epoch::continues(&self.evidence, &later.evidence, Some(later.at.duration_since(self.at)))
    }
}

impl Inner {
    /// The store has this reading: what a process has counted until then is not lost with it.
    fn see_stored(&self, stored: &Epoch) {
        let last = self.last_reading.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let same =
            self.managed_epoch().as_ref() == Some(&stored.id) && last.as_ref() == Some(&stored.evidence);
        drop(last);
        if same {
            self.stored.send_replace(true);
        }
    }

    /// The epoch of what was just seen: of a managed Xray the one that it was started with, of an attached one the stored one if
    /// it is the same process, also when another vpnkit has read it.
    fn epoch(&self, last: Option<&Epoch>, look: &Look) -> Epoch {
        let evidence = serde_json::to_string(&look.evidence).unwrap_or_default();
        if let Some(id) = look.epoch.clone() {
            *self.last_reading.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
                Some(evidence.clone());
            return Epoch { id, evidence };
        }
        let stored = last.and_then(|e| Some((&e.id, serde_json::from_str::<Evidence>(&e.evidence).ok()?)));
        let mut seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // The clock decides that nobody sets.
        let same = |known: &&Seen| {
            let elapsed = Some(look.at.duration_since(known.at));
            epoch::continues(&known.evidence, &look.evidence, elapsed)
        };
        let mine = seen.as_ref().filter(same).map(|known| known.epoch.clone());
        let fresh = || uuid::Uuid::new_v4().to_string();
        let id = match (&*seen, mine, stored) {
            (Some(known), mine, Some((stored, _))) if known.epoch == *stored => mine.unwrap_or_else(fresh),
            (_, _, Some((stored, evidence))) if epoch::continues(&evidence, &look.evidence, None) => {
                stored.clone()
            }
            // Another Xray was read under this id meanwhile.
            (_, mine, _) => mine.unwrap_or_else(fresh),
        };
        *seen = Some(Seen { epoch: id.clone(), evidence: look.evidence, at: look.at });
        Epoch { id, evidence }
    }
}

/// Sums counters by key; counts the names that are not vpnkit's.
fn sum(names: &Names, stats: impl Iterator<Item = (String, i64)>) -> (Vec<Counter>, usize) {
    let mut keys: HashMap<KeyId, Traffic> = HashMap::new();
    let mut foreign = 0;
    for (name, value) in stats {
        let parts: Vec<&str> = name.split(">>>").collect();
        let ["user", email, "traffic", direction] = parts.as_slice() else { continue };
        let Some((key, _)) = names.parse(email) else {
            foreign += 1;
            continue;
        };
        let value = u64::try_from(value).unwrap_or(0);
        let traffic = keys.entry(key).or_default();
        match *direction {
            "uplink" => traffic.up = traffic.up.saturating_add(value),
            "downlink" => traffic.down = traffic.down.saturating_add(value),
            _ => {}
        }
    }
    (keys.into_iter().map(|(key, traffic)| Counter::of(key, traffic)).collect(), foreign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_summed_and_foreign_names_are_counted_only() {
        let stats = [
            ("user>>>vk0a1b2c3d-7>>>traffic>>>uplink", 1),
            ("user>>>vk0a1b2c3d-7>>>traffic>>>downlink", 10),
            ("user>>>vk0a1b2c3d-7.phone>>>traffic>>>downlink", 100),
            ("user>>>alice@example>>>traffic>>>downlink", 1000),
            ("inbound>>>vk0a1b2c3d-7>>>traffic>>>downlink", 10_000),
            ("user>>>vk0a1b2c3d-8>>>traffic>>>uplink", -1),
            ("user>>>vk7>>>traffic>>>uplink", 1),
            ("user>>>vk0a1b2c3e-7>>>traffic>>>uplink", 1),
        ];
        let (mut counters, foreign) = {
            let names = Names::of_store("0a1b2c3d");
            sum(&names, stats.into_iter().map(|(n, v)| (n.to_owned(), v)))
        };
        counters.sort_by_key(|c| c.key);
        let expected =
            [Counter::of(KeyId(7), Traffic { up: 1, down: 110 }), Counter::of(KeyId(8), Traffic::default())];
        assert_eq!(counters, expected);
        assert_eq!(foreign, 3);
    }
}
