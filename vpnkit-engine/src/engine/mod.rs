//! The only place with side effects: commits to the store, then brings servers to what the store says.

mod access;
mod admins;
mod api_keys;
mod ask;
mod bulk;
mod collect;
mod consumer;
mod context;
mod create;
mod credentials;
mod cuts;
mod delete;
mod deliveries;
mod devices;
mod drift;
mod drive;
mod elsewhere;
mod events;
mod expiry;
mod follow;
mod grants;
mod health;
mod hosts;
mod inbounds;
mod iterate;
mod jobs;
mod keys;
mod lanes;
mod leases;
mod lookup;
mod merge;
mod metrics;
mod near_limits;
mod nodes;
mod options;
mod owners;
mod page_cache;
mod passwords;
mod payment;
mod placement;
mod plan;
mod queue;
mod rates;
mod reminders;
mod revision;
mod rotation;
mod scoped_store;
mod selling;
mod server;
mod servers;
mod sharing;
mod store_view;
mod subscription_cache;
mod subscriptions;
mod tell;
mod templates;
mod tick;
mod traffic;
mod webhooks;
mod work;

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};

use futures_util::StreamExt as _;
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;
use vpnkit_macros::operations;

pub(crate) use access::enter;
pub use admins::{Admins, KeysOfDeleted};
pub use api_keys::{ApiKey, NewApiKey};
pub use bulk::{ExtendedStep, ExtendedSteps};
pub use collect::Collected;
pub use consumer::{ConsumerStatus, EventConsumer};
pub use context::CallContext;
pub use elsewhere::Driver;
pub use events::{EventStream, Events};
pub use grants::Grants;
pub use health::HealthView;
pub use hosts::{Hosts, InboundHosts};
pub use inbounds::Inbounds;
pub use iterate::KeyIterator;
pub use jobs::JobStatus;
pub use keys::Keys;
pub use options::EngineOptions;
pub use placement::{Placement, PlacementState};
pub use plan::{Difference, difference};
pub use rates::{KeyRate, Rates, ServerRate};
pub use servers::{ServerCondition, ServerStatus, Servers};
pub use store_view::StoreView;
pub use subscriptions::{RenderOptions, Subscriptions};
pub use templates::KeyTemplates;
pub use traffic::{Image, ImageFormat, TrafficView};
pub use webhooks::Webhooks;

use self::leases::Leases;
use self::server::Server;
use crate::operation::{Operation, OperationSchema};
use vpnkit_core::backend::ProtocolBackend;
use vpnkit_core::model::{DataReset, Inbound, Key, KeyId, KeyStatus};
use vpnkit_core::store::{KeyStore, Origin, Transition};
use vpnkit_core::traffic::TrafficSource;
use vpnkit_core::{Clock, Error, ErrorKind, Result, Timestamp};

/// A server to drive: its backend, the source of its counters, and how clients reach it.
#[derive(Debug)]
pub struct ServerParts {
    /// Drives the program.
    pub backend: Arc<dyn ProtocolBackend>,
    /// Reads its counters.
    pub source: Arc<dyn TrafficSource>,
    /// Name or IP that clients dial, unless an inbound has hosts of its own.
    pub address: String,
}

/// Keys, servers and everything between them. Cheap to clone; closes when [`Engine::close`] is called, and stops
/// its background work when the last clone is dropped.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
    context: CallContext,
    _stop: Arc<DropGuard>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers = self.shared.servers();
        let servers: Vec<_> = servers.iter().map(|s| s.id().as_str()).collect();
        f.debug_struct("Engine").field("servers", &servers).finish_non_exhaustive()
    }
}

pub(crate) struct Shared {
    store: Arc<dyn KeyStore>,
    store_id: String,
    /// Tells what this engine commits from what others do.
    origin: Origin,
    leases: Leases,
    asking: ask::Asking,
    others: elsewhere::Others,
    clock: Arc<dyn Clock>,
    options: EngineOptions,
    servers: RwLock<Arc<Vec<Arc<Server>>>>,
    inbounds: RwLock<Arc<Vec<Arc<Inbound>>>>,
    cache: RwLock<subscription_cache::Held>,
    serials: credentials::Serials,
    pages: Arc<page_cache::PageCache>,
    refused: devices::Refused,
    rotations: rotation::Rotations,
    nodes_down: nodes::NodesDown,
    sharing: sharing::Sharing,
    reloading: tokio::sync::Mutex<()>,
    starting: Semaphore,
    consuming: consumer::Consuming,
    /// Turns to check passwords.
    checking: passwords::Turns,
    under_way: store_view::UnderWay,
    jobs: jobs::Jobs,
    metrics: Arc<metrics::Metrics>,
    stop: CancellationToken,
    tasks: TaskTracker,
    /// Keeps the leases while servers are stopped.
    keeper: TaskTracker,
}

/// Servers that are asked, started or stopped at the same time.
const AT_ONCE: usize = 16;

/// Does the same for every server, [`AT_ONCE`] at a time; the answers are in the order of the servers.
async fn side_by_side<T, F: Future<Output = T>>(
    servers: impl IntoIterator<Item = Arc<Server>>,
    work: impl Fn(Arc<Server>) -> F,
) -> Vec<T> {
    futures_util::stream::iter(servers.into_iter().map(work)).buffered(AT_ONCE).collect().await
}

impl Engine {
    /// Starts the servers and the background work, and waits [`EngineOptions::start_wait`] for the servers.
    ///
    /// A server that does not start is no error: it is `down`, [`Servers::status`] and an event tell why, and it is tried
    /// again.
    ///
    /// Errors: `InvalidConfig` when two servers have one id; those of the store.
    pub async fn open(
        store: Arc<dyn KeyStore>,
        clock: Arc<dyn Clock>,
        options: EngineOptions,
        servers: Vec<ServerParts>,
    ) -> Result<Self> {
        let stop = CancellationToken::new();
        let metrics = Arc::<metrics::Metrics>::default();
        let store: Arc<dyn KeyStore> = Arc::new(scoped_store::ScopedStore(store, Arc::clone(&metrics)));
        let store_id = store.id().await.map_err(|e| e.during("open"))?;
        let origin = Origin::random();
        let shared = Arc::new(Shared {
            store,
            store_id,
            origin,
            leases: Leases::new(origin, options.lease_time),
            asking: ask::Asking::default(),
            others: elsewhere::Others::default(),
            clock,
            options,
            servers: RwLock::default(),
            inbounds: RwLock::default(),
            cache: RwLock::default(),
            serials: credentials::Serials::default(),
            pages: Arc::default(),
            refused: devices::Refused::default(),
            rotations: rotation::Rotations::default(),
            nodes_down: nodes::NodesDown::default(),
            sharing: sharing::Sharing::default(),
            reloading: tokio::sync::Mutex::new(()),
            starting: Semaphore::new(AT_ONCE),
            consuming: consumer::Consuming::default(),
            checking: passwords::Turns::default(),
            under_way: store_view::UnderWay::default(),
            jobs: jobs::Jobs::default(),
            metrics,
            stop: stop.clone(),
            tasks: TaskTracker::new(),
            keeper: TaskTracker::new(),
        });
        let engine = Self { shared, context: CallContext::default(), _stop: Arc::new(stop.drop_guard()) };
        // Before anything is read: what changes meanwhile is followed.
        let cursor = engine.shared.store.newest_event().await.map_err(|e| e.during("open"))?;
        engine.shared.reload().await?;
        let follower = follow::Follower::after(cursor, &engine.shared.inbounds());
        let job = engine.shared.jobs.begin("follow", None);
        engine.shared.tasks.spawn(follow::run(Arc::clone(&engine.shared), job, follower));
        let mut starting = Vec::new();
        for parts in servers {
            match engine.shared.take_server("open", parts) {
                Ok((_, first)) => starting.push(first),
                Err(e) => {
                    engine.stop_everything().await;
                    return Err(e);
                }
            }
        }
        if let Err(e) = engine.shared.remember_addresses("open").await {
            engine.stop_everything().await;
            return Err(e);
        }
        if engine.shared.options.background {
            let upkeep = engine.shared.leases.want(leases::UPKEEP.to_owned());
            engine.shared.keep_up(&upkeep);
            if let Some(sender) = engine.shared.options.webhooks.clone() {
                let job = engine.shared.jobs.begin("webhooks", None);
                engine.shared.tasks.spawn(deliveries::run(Arc::clone(&engine.shared), job, sender));
            }
        }
        let job = engine.shared.jobs.begin("leases", None);
        engine.shared.keeper.spawn(leases::run(Arc::clone(&engine.shared), job));
        let all = futures_util::future::join_all(starting);
        let _ = tokio::time::timeout(engine.shared.options.start_wait, all).await;
        tracing::info!(store = engine.shared.store_id, servers = engine.shared.servers().len(), "opened");
        Ok(engine)
    }

    /// Keys: create, find, change, delete.
    #[must_use]
    pub fn keys(&self) -> Keys {
        Keys { engine: self.clone() }
    }

    /// Inbounds: add, change, remove.
    #[must_use]
    pub fn inbounds(&self) -> Inbounds {
        Inbounds { engine: self.clone() }
    }

    /// Hosts: how clients reach inbounds.
    #[must_use]
    pub fn hosts(&self) -> Hosts {
        Hosts { engine: self.clone() }
    }

    /// Subscriptions: URLs, answers for clients, settings, templates, devices.
    #[must_use]
    pub fn subscriptions(&self) -> Subscriptions {
        Subscriptions { engine: self.clone() }
    }

    /// Grants: the ledger of what keys were given.
    #[must_use]
    pub fn grants(&self) -> Grants {
        Grants { engine: self.clone() }
    }

    /// Admins: who owns keys, and what they may.
    #[must_use]
    pub fn admins(&self) -> Admins {
        Admins { engine: self.clone() }
    }

    /// Templates: what keys are made of again and again.
    #[must_use]
    pub fn templates(&self) -> KeyTemplates {
        KeyTemplates { engine: self.clone() }
    }

    /// Traffic: history, who is online.
    #[must_use]
    pub fn traffic(&self) -> TrafficView {
        TrafficView { engine: self.clone() }
    }

    /// The store: backups, and whether it is sound.
    #[must_use]
    pub fn store(&self) -> StoreView {
        StoreView { engine: self.clone() }
    }

    /// Health: background jobs and metrics.
    #[must_use]
    pub fn health(&self) -> HealthView {
        HealthView { engine: self.clone() }
    }

    /// Webhooks: who is told of events over HTTP.
    #[must_use]
    pub fn webhooks(&self) -> Webhooks {
        Webhooks { engine: self.clone() }
    }

    /// Events: from a cursor on.
    #[must_use]
    pub fn events(&self) -> Events {
        Events { engine: self.clone() }
    }

    /// Servers: status, log, reconcile.
    #[must_use]
    pub fn servers(&self) -> Servers {
        Servers { engine: self.clone() }
    }

    /// Returns the clock.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.shared.clock)
    }

    /// Reads the counters a last time, stops managed servers, releases the store. Calls after it fail with
    /// [`ErrorKind::Closed`].
    pub async fn close(&self) -> Result<()> {
        self.stop_everything().await;
        self.shared.store.close().await
    }

    /// Runs a change to its end, also when the caller stops waiting for it: what was committed must reach the servers
    /// now, not at the next reconcile. [`Self::close`] waits for it.
    async fn run_to_completion<T: Send + 'static>(
        &self,
        operation: &'static str,
        change: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let engine = self.clone();
        // The task that carries it out knows nothing of this one.
        let judged = self.judged();
        let change = async move { engine.in_judged_context(judged, operation, change).await };
        self.shared.tasks.spawn(change.in_current_span()).await.unwrap_or_else(|e| {
            let kind = if e.is_cancelled() { ErrorKind::Closed } else { ErrorKind::Unexpected };
            Err(Error::new(kind, operation, "the change did not end").caused_by(e))
        })
    }

    async fn stop_everything(&self) {
        self.shared.leases.closing.store(true, Ordering::Release);
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        let servers = self.shared.servers().to_vec();
        side_by_side(servers, |server| async move { server.finish(&self.shared, false).await }).await;
        self.shared.leases.closed.cancel();
        self.shared.keeper.close();
        self.shared.keeper.wait().await;
    }
}

/// Calls of the kit itself.
#[operations(noun = "", handle = Engine::clone)]
impl Engine {
    /// Returns the time as vpnkit sees it: in a sandbox that of its own clock. Compute with it, not with the machine's.
    #[operation(read, inline, anyone, own)]
    pub fn now(&self) -> Result<Timestamp> {
        self.shared.open("now")?;
        Ok(self.shared.clock.now())
    }

    /// Does at once what background work does in its intervals: reads the counters of every server that answers, in whichever process,
    /// ends keys whose time is over, reminds, changes keys and secrets that are due, looks who is online at too many addresses, and waits
    /// until servers have taken the changes over. What fails keeps none of the rest; the first error is returned. For tests and scripts.
    #[operation(change)]
    pub async fn tick(&self) -> Result<()> {
        self.not_tried("tick")?;
        // What is done then has no caller.
        context::by_itself(self.tick_once()).await
    }
}

macro_rules! nouns {
    ($($noun:ident),*) => {
        /// The operations of every noun.
        pub(crate) const OPERATIONS: &[&[Operation]] = &[$($noun::OPERATIONS),*];
        /// Their schemas.
        pub(crate) const SCHEMAS: &[&[OperationSchema]] = &[$($noun::SCHEMAS),*];
    };
}

nouns!(
    Keys,
    Admins,
    Grants,
    KeyTemplates,
    Inbounds,
    Hosts,
    Subscriptions,
    TrafficView,
    StoreView,
    HealthView,
    Events,
    Webhooks,
    Servers,
    Engine
);

impl Shared {
    fn inbounds(&self) -> Arc<Vec<Arc<Inbound>>> {
        Arc::clone(&self.inbounds.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn servers(&self) -> Arc<Vec<Arc<Server>>> {
        Arc::clone(&self.servers.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The servers that take work.
    fn up(&self) -> Vec<Arc<Server>> {
        self.servers().iter().filter(|server| server.is_up()).cloned().collect()
    }

    /// To be called by who has the turn.
    async fn read_inbounds(&self) -> Result<()> {
        let inbounds = Arc::new(self.store.inbounds().await?.into_iter().map(Arc::new).collect());
        *self.inbounds.write().unwrap_or_else(PoisonError::into_inner) = inbounds;
        Ok(())
    }

    fn open(&self, operation: &'static str) -> Result<()> {
        if self.stop.is_cancelled() {
            return Err(Error::new(ErrorKind::Closed, operation, "vpnkit is closed"));
        }
        Ok(())
    }

    /// Takes a server in and begins to start it; the receiver completes when that was tried for the first time.
    fn take_server(
        self: &Arc<Self>,
        op: &'static str,
        parts: ServerParts,
    ) -> Result<(Arc<Server>, oneshot::Receiver<()>)> {
        let lease = self.leases.want(leases::of_server(parts.backend.id()));
        let server = Arc::new(Server::new(parts, lease, self.stop.child_token()));
        server.stop_if(self.cache().stopped.contains(server.id()));
        {
            let mut servers = self.servers.write().unwrap_or_else(PoisonError::into_inner);
            if servers.iter().any(|other| other.id() == server.id()) {
                return Err(Error::new(ErrorKind::InvalidConfig, op, "two servers of one node and name")
                    .with("server", server.id())
                    .hint("give the second one a `name`"));
            }
            Arc::make_mut(&mut servers).push(Arc::clone(&server));
        }
        let (first, heard) = oneshot::channel();
        server.tasks.spawn(drive::run(Arc::clone(self), Arc::clone(&server), first));
        Ok((server, heard))
    }

    /// Queues keys whose accounts may have changed on the servers that they belong on.
    fn queue_keys(&self, keys: impl Iterator<Item = KeyId> + Clone) {
        for server in self.servers().iter() {
            keys.clone().for_each(|key| server.near.forget(key));
            server.queue.keys(keys.clone());
        }
    }

    /// Names the calendar of resets that name none.
    fn with_time_zone(&self, reset: &mut DataReset) {
        reset.time_zone.get_or_insert_with(|| self.options.time_zone.clone());
    }

    /// Queues the keys that may connect now and could not before, and the other way round.
    fn queue_transitions(&self, transitions: &[Transition]) {
        let limited = transitions.iter().filter(|t| t.to == KeyStatus::Limited);
        limited.for_each(|t| self.metrics.overrun(t.overrun));
        let turned = |t: &&Transition| t.from.may_connect() != t.to.may_connect();
        self.queue_keys(transitions.iter().filter(turned).map(|t| t.key));
    }

    /// Remembers that keys had credentials which work no longer: their connections end once servers have the new accounts.
    fn replaced(&self, keys: &[KeyId]) {
        for server in self.servers().iter().filter(|_| !keys.is_empty()) {
            server.cuts.replaced(keys.iter().copied());
        }
    }

    /// The same for what nobody waits for: queues them, too.
    async fn replace_later(&self, keys: &[KeyId]) {
        if keys.is_empty() {
            return;
        }
        self.replaced(keys);
        self.queue_keys(keys.iter().copied());
        for server in self.servers().iter().filter(|server| server.backend.capabilities().live_counters) {
            if let Err(e) = self.look_at_keys(server, keys).await {
                tracing::warn!(error = %e, "keys near their limit are found later");
            }
        }
    }

    /// Waits until every server's queue is empty, at most [`EngineOptions::apply_wait`].
    async fn settled(&self) {
        let servers = self.servers();
        let here = servers.iter().filter(|server| !server.is_elsewhere());
        let all = futures_util::future::join_all(here.map(|server| server.queue.idle()));
        let _ = tokio::time::timeout(self.options.apply_wait, all).await;
    }

    /// The servers that a key belongs on, but for those that another process drives.
    fn servers_of(&self, key: &Key) -> Vec<Arc<Server>> {
        let inbounds = self.inbounds();
        let here = |server: &&Arc<Server>| server.serves(key, &inbounds) && !server.is_elsewhere();
        self.servers().iter().filter(here).cloned().collect()
    }
}
