//! One server as the engine holds it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::cuts::Cuts;
use super::drift::Compared;
use super::leases::{Held, Wanted};
use super::near_limits::NearLimits;
use super::plan::Difference;
use super::queue::Queue;
use super::rates::Measured;
use super::{ServerParts, Shared, plan, rotation};
use vpnkit_core::accounting::Baseline;
use vpnkit_core::backend::{
    Account, Change, Desired, DesiredState, ProtocolBackend, ServerRules, ServerState,
};
use vpnkit_core::model::{Inbound, InboundTag, Key, KeyId, KeyQuery, KeyStatus, ServerId};
use vpnkit_core::store::{KeyStore, StoreOp, StoreTxn};
use vpnkit_core::traffic::TrafficSource;
use vpnkit_core::{Clock, Error, ErrorKind, Result};

#[derive(Debug)]
pub(super) struct Server {
    pub(super) backend: Arc<dyn ProtocolBackend>,
    pub(super) rules: Arc<dyn ServerRules>,
    pub(super) source: Arc<dyn TrafficSource>,
    pub(super) address: String,
    /// The right to drive it.
    pub(super) lease: Arc<Wanted>,
    pub(super) queue: Queue,
    pub(super) cuts: Cuts,
    pub(super) near: NearLimits,
    pub(super) rates: Measured,
    /// Keys that the server refuses, and why: told once as an event, not at every try.
    pub(super) rejected: Mutex<HashMap<KeyId, String>>,
    /// Inbounds that the server refuses, and why: told once, tried again at each reconcile.
    pub(super) set_aside: Mutex<HashMap<InboundTag, String>>,
    /// The newest stored reading; `None` until it was loaded. The lock also keeps readings one after the other.
    pub(super) baseline: tokio::sync::Mutex<Option<Option<Baseline>>>,
    /// Why it could not be started; empty once it was.
    failure: Mutex<Option<String>>,
    /// Something of it has changed that other processes are told of.
    pub(super) news: Notify,
    /// Somebody has stopped it by hand.
    pub(super) stopped: watch::Sender<bool>,
    /// It was ended because somebody has stopped it.
    pub(super) halted: AtomicBool,
    /// It was compared with the store since this process drives it.
    pub(super) compared: AtomicBool,
    /// The comparison that was carried out last, if it was in this term.
    pub(super) compared_at: Mutex<Option<Compared>>,
    /// A step failed, and nothing was compared since: what the server has is not known.
    pub(super) behind: AtomicBool,
    /// It was started, and its counters were read before any account was added.
    ready: AtomicBool,
    /// Ends its work, and with the engine's that of every server.
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl Server {
    pub(super) fn new(parts: ServerParts, lease: Arc<Wanted>, stop: CancellationToken) -> Self {
        Self {
            rules: parts.backend.rules(),
            backend: parts.backend,
            source: parts.source,
            address: parts.address,
            lease,
            queue: Queue::default(),
            cuts: Cuts::default(),
            near: NearLimits::default(),
            rates: Measured::default(),
            rejected: Mutex::default(),
            set_aside: Mutex::default(),
            news: Notify::new(),
            stopped: watch::Sender::new(false),
            halted: AtomicBool::new(false),
            compared: AtomicBool::new(false),
            baseline: tokio::sync::Mutex::new(None),
            failure: Mutex::default(),
            compared_at: Mutex::default(),
            behind: AtomicBool::new(false),
            ready: AtomicBool::new(false),
            stop,
            tasks: TaskTracker::new(),
        }
    }

    pub(super) fn id(&self) -> &ServerId {
        self.backend.id()
    }

    /// Waits for an answer of it, but not for ever: a machine that has gone dark neither answers nor refuses. Only while this
    /// process drives it: one that was frozen in between sends nothing more.
    ///
    /// Errors: `Timeout`; `LeaseLost`; those of the call.
    pub(super) async fn answer<T>(
        &self,
        operation: &'static str,
        limit: Duration,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let held = self.lease.require(operation)?;
        let answer = tokio::select! {
            biased;
            () = held.over() => return Err(Held::lost(operation, &held.fence.lease)),
            answer = tokio::time::timeout(limit, call) => answer,
        };
        answer.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Timeout, operation, "the server does not answer in time")
                .with("server", self.id()))
        })
    }

    /// Takes in whether it is to be stopped.
    pub(super) fn stop_if(&self, stopped: bool) {
        self.stopped.send_if_modified(|held| std::mem::replace(held, stopped) != stopped);
    }

    /// Whether another process drives it, as far as is known.
    pub(super) fn is_elsewhere(&self) -> bool {
        !self.is_driven() && self.lease.other().is_some_and(|lease| lease.is_held())
    }

    /// Whether what has to be done on it is this process's to do, also while its lease is over and is about to be prolonged.
    pub(super) fn is_ours(&self) -> bool {
        self.lease.last_held().is_some()
    }

    /// Whether this process drives it.
    pub(super) fn is_driven(&self) -> bool {
        self.lease.held().is_some()
    }

    /// A batch of its background work: refused when another process drives it by now.
    ///
    /// Errors: `LeaseLost`.
    pub(super) fn txn<S: Into<StoreOp>>(
        &self,
        shared: &Shared,
        ops: impl IntoIterator<Item = S>,
    ) -> Result<StoreTxn> {
        let held = self.lease.require("store.commit")?;
        Ok(shared.txn(ops).under(Some(held.fence.clone())))
    }

    /// This process drives it from now on: what it knew of it from before is old.
    pub(super) async fn begin(&self) {
        *self.baseline.lock().await = None;
        self.rejected.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.set_aside.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.cuts.forget();
        self.near.clear();
        *self.compared_at.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.behind.store(false, Ordering::Release);
        self.compared.store(false, Ordering::Release);
        self.halted.store(false, Ordering::Release);
    }

    /// Reads the counters a last time and ends the program, until somebody starts it again.
    pub(super) async fn halt(&self, shared: &Shared) {
        self.read_last(shared).await;
        self.stop_backend().await;
        self.ready.store(false, Ordering::Release);
        self.begin().await;
        self.halted.store(true, Ordering::Release);
    }

    /// Another process drives it from now on.
    pub(super) async fn let_go(&self) {
        self.ready.store(false, Ordering::Release);
        *self.baseline.lock().await = None;
        self.close_backend().await;
    }

    /// Whether it takes work.
    pub(super) fn is_up(&self) -> bool {
        self.ready.load(Ordering::Acquire)
            && self.is_driven()
            && matches!(*self.backend.state().borrow(), ServerState::Up { .. })
    }

    /// Whether it answers; one that could not be started is down.
    pub(super) fn state(&self) -> ServerState {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match failure {
            Some(reason) => ServerState::Down { reason },
            None => match self.backend.state().borrow().clone() {
                // Its counters are to be read first.
                ServerState::Up { .. } if !self.ready.load(Ordering::Acquire) => ServerState::Stopped,
                state => state,
            },
        }
    }

    /// It could not be started; says whether that is new.
    pub(super) fn failed(&self, reason: String) -> bool {
        self.news.notify_one();
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).replace(reason).is_none()
    }

    /// It was started, and takes work from now on.
    pub(super) fn started(&self) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.ready.store(true, Ordering::Release);
        self.news.notify_one();
    }

    /// Whether a key belongs on it.
    pub(super) fn serves(&self, key: &Key, inbounds: &[Arc<Inbound>]) -> bool {
        inbounds.iter().any(|inbound| inbound.runs_on(self.id()) && inbound.serves(key.id, &key.inbounds))
    }

    /// Its inbounds among all.
    pub(super) fn own(&self, inbounds: &[Arc<Inbound>]) -> Vec<Arc<Inbound>> {
        inbounds.iter().filter(|inbound| inbound.runs_on(self.id())).cloned().collect()
    }

    pub(super) fn desired(&self, shared: &Shared) -> StoreDesired {
        StoreDesired {
            store: Arc::clone(&shared.store),
            store_id: shared.store_id.clone(),
            server: self.id().clone(),
            lease: Arc::clone(&self.lease),
            clock: Arc::clone(&shared.clock),
        }
    }

    /// What is no longer different is no longer refused: the server may have taken it over at a start.
    pub(super) fn forget_what_is_over(&self, difference: &Difference) {
        let keys: HashSet<KeyId> = difference.accounts.iter().filter_map(plan::key_of).collect();
        let tags: HashSet<&InboundTag> = difference
            .inbounds
            .iter()
            .filter_map(|change| match change {
                Change::PutInbound(inbound, _) => Some(&inbound.tag),
                Change::RemoveInbound(tag) => Some(tag),
                Change::PutAccount(..) | Change::RemoveAccount(..) | Change::Revoke(..) => None,
            })
            .collect();
        self.rejected.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| keys.contains(key));
        self.set_aside.lock().unwrap_or_else(PoisonError::into_inner).retain(|tag, _| tags.contains(tag));
    }

    /// Ends its work: reads the counters a last time and stops what was started; `ends`: also a program that is to keep running.
    pub(super) async fn finish(&self, shared: &Shared, ends: bool) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.read_last(shared).await;
        if ends && self.is_driven() {
            self.stop_backend().await;
        } else {
            self.close_backend().await;
        }
        shared.leases.give_up(shared.store.as_ref(), &self.lease).await;
    }

    async fn read_last(&self, shared: &Shared) {
        const LAST_READING: Duration = Duration::from_secs(5);
        if self.is_up() {
            match tokio::time::timeout(LAST_READING, shared.collect(self)).await {
                Ok(Ok(_)) => {}
                Ok(Err(e)) => tracing::warn!(server = %self.id(), error = %e, "the last reading failed"),
                Err(_) => tracing::warn!(server = %self.id(), "the last reading took too long"),
            }
        }
    }

    async fn stop_backend(&self) {
        match tokio::time::timeout(CLOSE, self.backend.stop()).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => tracing::warn!(server = %self.id(), error = %e, "stopping failed"),
            Err(_) => tracing::warn!(server = %self.id(), "stopping took too long"),
        }
    }

    async fn close_backend(&self) {
        match tokio::time::timeout(CLOSE, self.backend.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => tracing::warn!(server = %self.id(), error = %e, "closing failed"),
            Err(_) => tracing::warn!(server = %self.id(), "closing took too long"),
        }
    }
}

/// How long ending a server may take.
const CLOSE: Duration = Duration::from_secs(60);

/// What a server should hold, read from the store at the moment of asking.
#[derive(Debug)]
pub(super) struct StoreDesired {
    store: Arc<dyn KeyStore>,
    store_id: String,
    server: ServerId,
    lease: Arc<Wanted>,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Desired for StoreDesired {
    fn store_id(&self) -> &str {
        &self.store_id
    }

    async fn desired(&self) -> Result<DesiredState> {
        // Who has lost the server starts nothing any more.
        self.lease.require("server.start")?;
        // Before the rest is read: what happens meanwhile has a newer revision.
        let revision = self.store.newest_event().await?;
        let mut state = DesiredState { revision, ..DesiredState::default() };
        for mut inbound in self.store.inbounds().await? {
            if inbound.runs_on(&self.server) {
                rotation::end_previous(&mut inbound, self.clock.now());
                if inbound.certificate_lifetime.is_some() {
                    state.revoked.extend(self.store.revocations(&inbound.id(), self.clock.now()).await?);
                }
                state.inbounds.push((Arc::new(inbound), Vec::new()));
            }
        }
        if state.inbounds.is_empty() {
            return Ok(state);
        }
        // A thousand inbounds may be dedicated to a key each: every key is looked at with its own and the shared ones only.
        let (mut shared, mut dedicated) = (Vec::new(), HashMap::<KeyId, Vec<usize>>::new());
        for (place, (inbound, _)) in state.inbounds.iter().enumerate() {
            match inbound.dedicated_to {
                Some(owner) => dedicated.entry(owner).or_default().push(place),
                None => shared.push(place),
            }
        }
        let mut query = KeyQuery {
            status: KeyStatus::MAY_CONNECT.to_vec(),
            limit: KeyQuery::MAX_LIMIT,
            ..KeyQuery::default()
        };
        loop {
            let page = self.store.find(&query).await?;
            for key in &page.keys {
                let own = dedicated.get(&key.id).into_iter().flatten();
                for place in shared.iter().chain(own) {
                    if let Some((inbound, accounts)) = state.inbounds.get_mut(*place) {
                        accounts.extend(plan::accounts(key, inbound).collect::<Vec<Account>>());
                    }
                }
            }
            match page.next {
                Some(next) => query.page = Some(next),
                None => return Ok(state),
            }
        }
    }
}
