//! Keys that could reach their limit before the next reading: they are read more often.
//!
//! At one reading in ten seconds a key at 1 Gbit/s overruns its limit by more than a gigabyte. So a key is read again before it
//! could pass what is left to it at that speed; the work grows with the keys that are near, and has a bound.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::server::Server;
use vpnkit_core::Result;
use vpnkit_core::accounting::{self, Coefficient};
use vpnkit_core::backend::DesiredState;
use vpnkit_core::model::{DeviceName, Key, KeyId};
use vpnkit_core::store::{StoreOp, TrafficBatch};

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

/// So many keys are remembered; more of them are left to the readings of all.
const REMEMBERED: usize = 10_000;

/// The keys of a server that are near their limit.
#[derive(Debug, Default)]
pub(super) struct NearLimits {
    state: Mutex<State>,
    pub(super) changed: tokio::sync::Notify,
}

#[derive(Debug, Default)]
struct State {
    keys: HashMap<KeyId, Near>,
    /// By the time of their next reading: those that move, and the others.
    moving: BTreeSet<(Instant, KeyId)>,
    idle: BTreeSet<(Instant, KeyId)>,
}

#[derive(Clone, Debug)]
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

/// Returns what is left to a key that could pass it before the next reading of all, which may come late.
pub(super) fn within(interval: Duration) -> u64 {
    let longest = interval.mul_f64(1.5) + Duration::from_secs(2);
    u64::try_from(longest.as_millis()).unwrap_or(u64::MAX).saturating_mul(FASTEST / 1_000)
}

impl State {
    fn put(&mut self, key: KeyId, near: Near) {
        self.remove(key);
        let order = if near.moving { &mut self.moving } else { &mut self.idle };
        order.insert((near.due, key));
        self.keys.insert(key, near);
    }

    fn remove(&mut self, key: KeyId) -> Option<Near> {
        let near = self.keys.remove(&key)?;
        let order = if near.moving { &mut self.moving } else { &mut self.idle };
        order.remove(&(near.due, key));
        Some(near)
    }

    /// Changes what is known of a key, and when it is read next.
    fn change(&mut self, key: KeyId, now: Instant, change: impl FnOnce(&mut Near)) {
        if let Some(mut near) = self.remove(key) {
            change(&mut near);
            near.due = now + near.pause();
            self.put(key, near);
        }
    }
}

impl NearLimits {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a key as it stands now, or forgets it if it is not near its limit.
    fn look_at(&self, key: &Key, coefficient: Coefficient, interval: Duration) {
        // In bytes that pass here, however much they count.
        let left = key.remaining().map(|left| coefficient.reach(left));
        let near = left.filter(|left| *left <= within(interval) && key.status.may_connect());
        let mut state = self.state();
        let known = state.remove(key.id);
        let Some(remaining) = near else { return };
        if state.keys.len() >= REMEMBERED {
            return;
        }
        let devices = key.credentials.iter().map(|credential| credential.device.clone());
        let mut devices: Vec<DeviceName> = devices.collect();
        devices.sort();
        devices.dedup();
        let now = Instant::now();
        let mut near = Near { devices, remaining, moving: known.is_some_and(|near| near.moving), due: now };
        near.due += near.pause();
        state.put(key.id, near);
    }

    /// Takes in what a reading says of keys that have moved: what is left to them. Returns those that were not known.
    fn have_moved(&self, near: &[(KeyId, u64)]) -> Vec<KeyId> {
        let (mut state, now) = (self.state(), Instant::now());
        let mut unknown = Vec::new();
        for (key, remaining) in near {
            if state.keys.contains_key(key) {
                state.change(*key, now, |near| (near.remaining, near.moving) = (*remaining, true));
            } else {
                unknown.push(*key);
            }
        }
        unknown
    }

    /// Takes those whose time has come, those that move first.
    fn take_due(&self, now: Instant) -> Vec<(KeyId, DeviceName)> {
        let mut state = self.state();
        let due = |order: &BTreeSet<(Instant, KeyId)>| -> Vec<KeyId> {
            order.iter().take_while(|(due, _)| *due <= now).take(AT_ONCE).map(|(_, key)| *key).collect()
        };
        let mut keys = due(&state.moving);
        keys.extend(due(&state.idle));
        keys.truncate(AT_ONCE);
        let mut accounts = Vec::with_capacity(keys.len());
        for key in keys {
            // Until it was read it does not move.
            state.change(key, now, |near| near.moving = false);
            if let Some(near) = state.keys.get(&key) {
                accounts.extend(near.devices.iter().map(|device| (key, device.clone())));
            }
        }
        accounts
    }

    /// Forgets all keys.
    pub(super) fn clear(&self) {
        *self.state() = State::default();
    }

    /// Forgets a key that has ended.
    pub(super) fn forget(&self, key: KeyId) {
        self.state().remove(key);
    }

    /// Forgets keys that the server should not have any more.
    fn keep(&self, wanted: impl Fn(KeyId) -> bool) {
        let mut state = self.state();
        let gone: Vec<KeyId> = state.keys.keys().copied().filter(|key| !wanted(*key)).collect();
        for key in gone {
            state.remove(key);
        }
    }

    fn next(&self) -> Option<Instant> {
        let state = self.state();
        state.moving.first().into_iter().chain(state.idle.first()).map(|(due, _)| *due).min()
    }
}

/// Reads keys that are near their limit until the server is stopped.
pub(super) async fn run(shared: Arc<Shared>, server: Arc<Server>, stop: CancellationToken) {
    let job = shared.jobs.begin("near_limits", Some(server.id().as_str()));
    loop {
        let next = server.near.next();
        let wait = async {
            match next {
                Some(due) => tokio::time::sleep_until(due.max(Instant::now() + SOONEST / 4)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = server.near.changed.notified() => continue,
            () = wait => {}
        }
        // Not raced against the stop: a commit that is under way is waited for, so that its receipt is not lost.
        if server.is_up() && job.run(&shared, shared.collect_near(&server)).await.is_err() {
            tokio::time::sleep(SOONEST).await;
        }
    }
}

impl Shared {
    /// Reads the keys of a server whose time has come.
    async fn collect_near(&self, server: &Server) -> Result<()> {
        let mut last = server.baseline.lock().await;
        // Behind the lock: a device that came while others read is among them.
        let accounts = server.near.take_due(Instant::now());
        if accounts.is_empty() {
            return Ok(());
        }
        if last.is_none() {
            *last = Some(self.store.baseline(server.id()).await?);
        }
        let Some(Some(baseline)) = last.as_mut() else { return Ok(()) };
        let reading = server.source.read_keys(&baseline.epoch, &accounts);
        // Of another lifetime: the next reading of all keys begins it.
        let Some(reading) = server.answer("traffic.collect", READ, reading).await? else { return Ok(()) };
        let moved = accounting::account_some(baseline, reading.counters);
        if moved.is_empty() {
            return Ok(());
        }
        let coefficient = self.coefficient(server);
        let batch = TrafficBatch {
            coefficient,
            server: server.id().clone(),
            node: server.backend.node().clone(),
            after: baseline.sequence,
            epoch: reading.epoch.clone(),
            new_epoch: false,
            moved: moved.clone(),
            forgotten: Vec::new(),
            usage_percents: self.options.reminders.usage_percents.clone(),
            near_within: coefficient.weigh(within(self.options.collect_every)),
        };
        let txn = server.txn(self, [StoreOp::Traffic(Box::new(batch))])?;
        match self.store.commit(txn).await {
            Ok(receipt) => {
                self.metrics.passed(server.id(), moved.iter().map(|one| one.delta.total()).sum());
                server.rates.read_some(&moved);
                baseline.take(reading.epoch, &moved);
                drop(last);
                self.queue_transitions(&receipt.transitions);
                self.look_at_near(server, &receipt.near).await
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
                server.near.look_at(key, self.coefficient(server), self.options.collect_every);
            }
            server.near.changed.notify_one();
        }
    }

    /// Takes in which keys a reading has found near their limit.
    pub(super) async fn look_at_near(&self, server: &Server, near: &[(KeyId, u64)]) -> Result<()> {
        let coefficient = self.coefficient(server);
        let near: Vec<(KeyId, u64)> =
            near.iter().map(|(key, left)| (*key, coefficient.reach(*left))).collect();
        let unknown = server.near.have_moved(&near);
        self.look_at_keys(server, &unknown).await
    }

    /// Finds the keys of a server that are near their limit among all that it should have: they may have come near it, or have
    /// got another device, in another process.
    pub(super) async fn find_near_limits(&self, server: &Server, desired: &DesiredState) -> Result<()> {
        if !server.backend.capabilities().live_counters {
            return Ok(());
        }
        let within = self.coefficient(server).weigh(within(self.options.collect_every));
        let accounts = desired.inbounds.iter().flat_map(|(_, accounts)| accounts);
        let near = accounts.filter(|account| account.remaining.is_some_and(|left| left <= within));
        let near: BTreeSet<KeyId> = near.map(|account| account.key).collect();
        server.near.keep(|key| near.contains(&key));
        let near: Vec<KeyId> = near.into_iter().take(REMEMBERED).collect();
        self.look_at_keys(server, &near).await
    }

    pub(super) async fn look_at_keys(&self, server: &Server, keys: &[KeyId]) -> Result<()> {
        for keys in keys.chunks(500) {
            for key in self.store.keys(keys).await? {
                server.near.look_at(&key, self.coefficient(server), self.options.collect_every);
            }
        }
        if !keys.is_empty() {
            server.near.changed.notify_one();
        }
        Ok(())
    }
}
