//! Devices that fetch subscriptions: who is recorded, and who is refused.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Shared;
use vpnkit_core::model::{ClientDevice, Key, KeyId};
use vpnkit_core::store::{DeviceOp, StoreTxn};
use vpnkit_core::{ErrorKind, Result, Timestamp};
use vpnkit_subscription::Devices;

/// How many devices are remembered for a key without a limit.
const REMEMBERED: u32 = 50;
/// How long a device may go unrecorded: not every fetch is a write.
const SEEN_EVERY: Duration = Duration::from_secs(3_600);
/// A device that has not fetched for so long makes room for another: an app that was installed again has another id.
const GONE_AFTER: Duration = Duration::from_secs(30 * 86_400);
/// The longest id of a device.
const DEVICE_ID_MAX: usize = 128;
/// Between two events that tell of refused devices of a key.
const TOLD_EVERY: Duration = Duration::from_secs(86_400);
/// So many keys are remembered whose refused devices were told of.
const TOLD_MAX: usize = 10_000;

/// Keys whose refused devices were told of, and when: one link could come with a new device every time, and each would be a write.
#[derive(Debug, Default)]
pub(super) struct Refused(Mutex<HashMap<KeyId, Timestamp>>);

impl Refused {
    /// Whether it is time to tell of a key; it is told of then.
    fn is_news(&self, key: KeyId, now: Timestamp) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.get(&key).is_some_and(|at| now.since(*at) < TOLD_EVERY) {
            return false;
        }
        if told.len() >= TOLD_MAX {
            told.retain(|_, at| now.since(*at) < TOLD_EVERY);
        }
        if told.len() >= TOLD_MAX
            && let Some(oldest) = told.iter().min_by_key(|(_, at)| **at).map(|(key, _)| *key)
        {
            told.remove(&oldest);
        }
        told.insert(key, now);
        true
    }

    fn forget(&self, key: KeyId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }
}

/// The device that a request names; `None` when it names none that could be one.
pub(super) fn device<'h>(
    key: &Key,
    header: &impl Fn(&str) -> Option<&'h str>,
    now: Timestamp,
) -> Option<ClientDevice> {
    let id = header("x-hwid")?;
    if id.is_empty() || id.len() > DEVICE_ID_MAX || !id.bytes().all(|b| b.is_ascii_graphic()) {
        return None;
    }
    let text = |name: &str| {
        let text: String = header(name)?.chars().filter(|c| !c.is_control()).take(128).collect();
        (!text.is_empty()).then_some(text)
    };
    Some(ClientDevice {
        key: key.id,
        id: id.to_owned(),
        os: text("x-device-os"),
        os_version: text("x-ver-os"),
        model: text("x-device-model"),
        user_agent: text("user-agent"),
        first_seen: now,
        last_seen: now,
    })
}

impl Shared {
    /// Whether a device has fetched before, of who comes with an old link: it takes no room from those that have the new one.
    pub(super) async fn was_seen(
        &self,
        device: Option<ClientDevice>,
        limit: Option<u32>,
        required: bool,
    ) -> Result<Devices> {
        let Some(limit) = limit else { return Ok(Devices::Free) };
        let Some(device) = device else {
            return Ok(if required { Devices::Unnamed } else { Devices::Free });
        };
        let known = self.store.devices(device.key).await?;
        match known.iter().any(|one| one.id == device.id) {
            true => Ok(Devices::Bound),
            false => Ok(self.full(device.key, limit, device.last_seen).await),
        }
    }

    /// Records a device, unless it was lately.
    pub(super) async fn seen(
        &self,
        device: Option<ClientDevice>,
        limit: Option<u32>,
        required: bool,
    ) -> Result<Devices> {
        let Some(device) = device else {
            return Ok(if required && limit.is_some() { Devices::Unnamed } else { Devices::Free });
        };
        let held = if limit.is_some() { Devices::Bound } else { Devices::Free };
        let mut known = self.store.devices(device.key).await?;
        let gone_since = device.last_seen.minus(GONE_AFTER);
        if !known.iter().any(|d| d.id == device.id) {
            known.retain(|d| d.last_seen >= gone_since);
        }
        // Not by what it says of itself: one link that alternates would write with every request.
        let fresh = |d: &ClientDevice| d.id == device.id && device.last_seen.since(d.last_seen) < SEEN_EVERY;
        // A limit that was lowered since lets those stay that came first.
        let most = usize::try_from(limit.unwrap_or(REMEMBERED)).unwrap_or(usize::MAX);
        let place = known.iter().position(|d| d.id == device.id).unwrap_or(known.len());
        let (key, at) = (device.key, device.last_seen);
        if place >= most {
            return Ok(self.no_room(key, limit, at).await);
        }
        if known.iter().any(fresh) {
            return Ok(held);
        }
        let see =
            DeviceOp::See { device: Box::new(device), limit: Some(limit.unwrap_or(REMEMBERED)), gone_since };
        match self.store.commit(StoreTxn { at, ..self.txn([see]) }).await {
            Ok(_) => Ok(held),
            Err(e) if e.kind() == ErrorKind::Closed => Err(e),
            Err(e) if e.kind() == ErrorKind::LimitReached => Ok(self.no_room(key, limit, at).await),
            Err(e) => {
                // A full or busy store must not keep customers out; the device is recorded when it comes again.
                tracing::warn!(error = %e, "a device could not be recorded");
                Ok(held)
            }
        }
    }

    /// A device that there is no room for: refused where there is a limit, and else not remembered.
    async fn no_room(&self, key: KeyId, limit: Option<u32>, now: Timestamp) -> Devices {
        match limit {
            Some(limit) => self.full(key, limit, now).await,
            None => Devices::Free,
        }
    }

    /// Refuses a device of a key that has as many as it may.
    async fn full(&self, key: KeyId, limit: u32, now: Timestamp) -> Devices {
        if self.refused.is_news(key, now) {
            let refused = DeviceOp::Refused { key, limit, told_since: now.minus(TOLD_EVERY) };
            let txn = StoreTxn { at: now, ..self.txn([refused]) };
            if let Err(e) = self.store.commit(txn).await {
                self.refused.forget(key);
                tracing::warn!(key = key.0, error = %e, "nobody is told of a refused device; it is tried again");
            }
        }
        Devices::Full
    }
}
