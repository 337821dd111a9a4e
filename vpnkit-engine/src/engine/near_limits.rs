//! Keys that could reach their limit before the next reading: they are read more often.
//!
//! At one reading in ten seconds a key at 1 Gbit/s overruns its limit by more than a gigabyte. So a key is read again before it
//! could pass what is left to it at that speed; the work grows with the keys that are near, and has a bound.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Shared;
use super::server::Server;
use vpnkit_core::Result;
use vpnkit_core::accounting;
use vpnkit_core::model::{DeviceName, Key, KeyId, KeyStatus};
use vpnkit_core::store::{StoreOp, StoreTxn, TrafficBatch};

/// Bytes a second that a key may pass: 1 Gbit/s.
const FASTEST: u64 = 125_000_000;
/// The shortest time between two readings of a key.
const SOONEST: Duration = Duration::from_millis(100);
/// The same of a key that does not move.
const SOONEST_IDLE: Duration = Duration::from_millis(250);
/// Keys of one reading: with more of them each is read less often.
const AT_ONCE: usize = 32;
/// How long a reading of a few keys may take.
const READ: Duration = Duration::from_secs(5);

/// The keys of a server that are near their limit.
#[derive(Debug, Default)]
pub(super) struct NearLimits {
    keys: Mutex<HashMap<KeyId, Near>>,
    pub(super) changed: tokio::sync::Notify,
}

#[derive(Debug)]
struct Near {
    devices: Vec<DeviceName>,
    remaining: u64,
    moving: bool,
    due: Instant,
}

impl Near {
    /// Half of the time that the key needs at least for what is left to it.
    fn pause(&self) -> Duration {
        let soonest = if self.moving { SOONEST } else { SOONEST_IDLE };
        Duration::from_millis(self.remaining.saturating_mul(500) / FASTEST).max(soonest)
    }
}

/// Returns what is left to a key that could pass it before the next reading.
pub(super) fn within(interval: Duration) -> u64 {
    u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).saturating_mul(FASTEST / 1_000)
}

impl NearLimits {
    fn keys(&self) -> MutexGuard<'_, HashMap<KeyId, Near>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a key as it stands now, or forgets it if it is not near its limit.
    pub(super) fn look_at(&self, key: &Key, interval: Duration) {
        let near =
            key.remaining().filter(|left| *left <= within(interval) && key.status == KeyStatus::Active);
        let mut keys = self.keys();
        let Some(remaining) = near else {
            keys.remove(&key.id);
            return;
        };
        let devices = key.credentials.iter().map(|credential| credential.device.clone());
        let mut devices: Vec<DeviceName> = devices.collect();
        devices.sort();
        devices.dedup();
        let moving = keys.get(&key.id).is_some_and(|near| near.moving);
        let mut near = Near { devices, remaining, moving, due: Instant::now() };
        near.due += near.pause();
        keys.insert(key.id, near);
        drop(keys);
        self.changed.notify_one();
    }

    /// Returns which of these keys are not known to be near yet; what is left to the others is brought up to date.
    pub(super) fn unknown(&self, near: &[(KeyId, u64)]) -> Vec<KeyId> {
        let mut keys = self.keys();
        let mut update = |(key, remaining): &(KeyId, u64)| match keys.get_mut(key) {
            Some(known) => {
                known.remaining = *remaining;
                None
            }
            None => Some(*key),
        };
        near.iter().filter_map(&mut update).collect()
    }

    /// Takes those whose time has come, those that move first.
    fn take_due(&self, now: Instant) -> Vec<(KeyId, DeviceName)> {
        let mut keys = self.keys();
        let mut due: Vec<(bool, Instant, KeyId)> = keys
            .iter()
            .filter(|(_, near)| near.due <= now)
            .map(|(key, near)| (!near.moving, near.due, *key))
            .collect();
        due.sort_unstable();
        due.truncate(AT_ONCE);
        let mut accounts = Vec::with_capacity(due.len());
        for (_, _, key) in due {
            if let Some(near) = keys.get_mut(&key) {
                near.due = now + near.pause();
                accounts.extend(near.devices.iter().map(|device| (key, device.clone())));
            }
        }
        accounts
    }

    /// Takes in what a reading has added to the keys that it was of.
    fn moved(&self, read: &[(KeyId, DeviceName)], added: &HashMap<KeyId, u64>, now: Instant) {
        let mut keys = self.keys();
        for (key, _) in read {
            if let Some(near) = keys.get_mut(key) {
                let bytes = added.get(key).copied().unwrap_or(0);
                near.moving = bytes > 0;
                near.remaining = near.remaining.saturating_sub(bytes);
                near.due = now + near.pause();
            }
        }
    }

    fn forget(&self, key: KeyId) {
        self.keys().remove(&key);
    }

    fn next(&self) -> Option<Instant> {
        self.keys().values().map(|near| near.due).min()
    }
}

/// Reads keys that are near their limit until the server is stopped.
pub(super) async fn run(shared: Arc<Shared>, server: Arc<Server>) {
    loop {
        let next = server.near.next();
        let wait = async {
            match next {
                Some(due) => tokio::time::sleep_until(due.max(Instant::now() + SOONEST / 4)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = server.stop.cancelled() => return,
            () = server.near.changed.notified() => continue,
            () = wait => {}
        }
        // Not raced against the stop: a commit that is under way is waited for, so that its receipt is not lost.
        if server.is_up()
            && let Err(e) = shared.collect_near(&server).await
        {
            tracing::debug!(server = %server.id(), error = %e, "keys near their limit were not read");
            tokio::time::sleep(SOONEST).await;
        }
    }
}

impl Shared {
    /// Reads the keys of a server whose time has come.
    async fn collect_near(&self, server: &Server) -> Result<()> {
        let now = Instant::now();
        let accounts = server.near.take_due(now);
        if accounts.is_empty() {
            return Ok(());
        }
        let mut last = server.baseline.lock().await;
        let Some(Some(baseline)) = last.as_mut() else { return Ok(()) };
        let reading = server.source.read_keys(&baseline.epoch, &accounts);
        // Of another lifetime: the next reading of all keys begins it.
        let Some(reading) = server.answer("traffic.collect", READ, reading).await? else { return Ok(()) };
        let moved = accounting::account_some(baseline, reading.counters);
        let mut added: HashMap<KeyId, u64> = HashMap::new();
        for one in &moved {
            let bytes = added.entry(one.key).or_default();
            *bytes = bytes.saturating_add(one.delta.total());
        }
        server.near.moved(&accounts, &added, now);
        if moved.is_empty() {
            return Ok(());
        }
        let batch = TrafficBatch {
            server: server.id().clone(),
            node: server.backend.node().clone(),
            after: baseline.sequence,
            epoch: reading.epoch.clone(),
            new_epoch: false,
            moved: moved.clone(),
            forgotten: Vec::new(),
            near_within: 0,
        };
        let txn = StoreTxn::new(self.clock.now(), vec![StoreOp::Traffic(Box::new(batch))]);
        match self.store.commit(txn).await {
            Ok(receipt) => {
                baseline.take(reading.epoch, &moved);
                for transition in &receipt.transitions {
                    server.near.forget(transition.key);
                }
                self.queue_keys(receipt.transitions.iter().map(|t| t.key));
                Ok(())
            }
            Err(e) => {
                // Whether it was stored or not, the store knows.
                *last = None;
                Err(e)
            }
        }
    }

    /// Looks at keys that were created or changed, on the servers that count them.
    pub(super) fn look_at_limits(&self, keys: &[Key]) {
        for server in self.servers().iter().filter(|server| server.backend.capabilities().live_counters) {
            for key in keys {
                server.near.look_at(key, self.options.collect_every);
            }
        }
    }

    /// Looks at keys that a reading has found near their limit and that were not known to be.
    pub(super) async fn look_at_near(&self, server: &Server, near: &[(KeyId, u64)]) -> Result<()> {
        let unknown = server.near.unknown(near);
        if !unknown.is_empty() {
            for key in self.store.keys(&unknown).await? {
                server.near.look_at(&key, self.options.collect_every);
            }
        }
        Ok(())
    }
}
