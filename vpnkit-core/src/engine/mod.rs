//! The only place with side effects: commits to the store, then brings servers to what the store says.

mod collect;
mod events;
mod expiry;
mod hosts;
mod inbounds;
mod keys;
mod plan;
mod queue;
mod server;
mod servers;
mod subscription_cache;
mod subscriptions;
mod traffic;
mod work;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use vpnkit_macros::operations;

pub use collect::Collected;
pub use events::{EventStream, Events};
pub use hosts::{Hosts, InboundHosts};
pub use inbounds::Inbounds;
pub use keys::{KeyIterator, Keys};
pub use plan::{Difference, difference};
pub use servers::{ServerCondition, ServerStatus, Servers};
pub use subscriptions::{RenderOptions, Subscriptions};
pub use traffic::{Image, ImageFormat, TrafficView};

use self::server::Server;
use crate::backend::ProtocolBackend;
use crate::model::Inbound;
use crate::operation::Operation;
use crate::store::KeyStore;
use crate::traffic::TrafficSource;
use crate::{Clock, Error, ErrorKind, Result, Timestamp};

/// How often the engine does what by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineOptions {
    /// Between two readings of a server's counters. A limit can be overrun by what passes in this time.
    pub collect_every: Duration,
    /// Between two looks for keys whose time is over.
    pub expiry_check_every: Duration,
    /// Between two full comparisons of a server with the store.
    pub reconcile_every: Duration,
    /// How long a call waits for servers to take over what was committed; the change itself is never undone.
    pub apply_wait: Duration,
    /// How long events and idempotency keys are kept.
    pub keep_events: Duration,
    /// Whether background work runs. Without it nothing happens but what [`Engine::tick`] does: for tests.
    pub background: bool,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            collect_every: Duration::from_secs(10),
            expiry_check_every: Duration::from_secs(1),
            reconcile_every: Duration::from_secs(300),
            apply_wait: Duration::from_secs(2),
            keep_events: Duration::from_secs(30 * 86_400),
            background: true,
        }
    }
}

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
    _stop: Arc<DropGuard>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<_> = self.shared.servers.iter().map(|s| s.id().as_str()).collect();
        f.debug_struct("Engine").field("servers", &servers).finish_non_exhaustive()
    }
}

pub(crate) struct Shared {
    store: Arc<dyn KeyStore>,
    clock: Arc<dyn Clock>,
    options: EngineOptions,
    servers: Vec<Arc<Server>>,
    inbounds: RwLock<Arc<Vec<Inbound>>>,
    cache: RwLock<subscription_cache::Held>,
    reloading: tokio::sync::Mutex<()>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Engine {
    /// Starts the servers and the background work.
    ///
    /// Errors: those of [`ProtocolBackend::start`] (a missing binary, a port in use), after everything that had
    /// been started was stopped again. A server elsewhere that does not answer is no error: it is found later.
    pub async fn open(
        store: Arc<dyn KeyStore>,
        clock: Arc<dyn Clock>,
        options: EngineOptions,
        servers: Vec<ServerParts>,
    ) -> Result<Self> {
        for (i, server) in servers.iter().enumerate() {
            if servers.iter().skip(i + 1).any(|s| s.backend.id() == server.backend.id()) {
                return Err(Error::new(
                    ErrorKind::InvalidConfig,
                    "open",
                    "two servers of one node and program",
                )
                .with("server", server.backend.id()));
            }
        }
        let inbounds = Arc::new(store.inbounds().await?);
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            store,
            clock,
            options,
            servers: servers.into_iter().map(|parts| Arc::new(Server::new(parts))).collect(),
            inbounds: RwLock::new(inbounds),
            cache: RwLock::default(),
            reloading: tokio::sync::Mutex::new(()),
            stop: stop.clone(),
            tasks: TaskTracker::new(),
        });
        let engine = Self { shared, _stop: Arc::new(stop.drop_guard()) };
        engine.shared.reload_subscriptions().await?;
        if let Err(e) = engine.start().await {
            engine.stop_everything().await;
            return Err(e);
        }
        Ok(engine)
    }

    async fn start(&self) -> Result<()> {
        let shared = &self.shared;
        for server in &shared.servers {
            server.backend.start(Arc::new(server.desired(&shared.store))).await?;
            // The first sight of a server is the baseline: taken before any account is added.
            if server.is_up()
                && let Err(e) = shared.collect(server).await
            {
                tracing::warn!(server = %server.id(), error = %e, "the first reading failed");
            }
            shared.tasks.spawn(work::run(Arc::clone(shared), Arc::clone(server)));
            server.queue.reconcile();
            if shared.options.background {
                shared.tasks.spawn(server::watch(Arc::clone(shared), Arc::clone(server)));
                shared.tasks.spawn(collect::run(Arc::clone(shared), Arc::clone(server)));
            }
        }
        if shared.options.background {
            shared.tasks.spawn(expiry::run(Arc::clone(shared)));
        }
        Ok(())
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

    /// Traffic: history, who is online.
    #[must_use]
    pub fn traffic(&self) -> TrafficView {
        TrafficView { engine: self.clone() }
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
        self.shared.tasks.spawn(change).await.unwrap_or_else(|e| {
            let kind = if e.is_cancelled() { ErrorKind::Closed } else { ErrorKind::Unexpected };
            Err(Error::new(kind, operation, "the change did not end").caused_by(e))
        })
    }

    async fn stop_everything(&self) {
        const LAST_READING: Duration = Duration::from_secs(5);
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        for server in &self.shared.servers {
            if server.is_up() {
                match tokio::time::timeout(LAST_READING, self.shared.collect(server)).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(e)) => {
                        tracing::warn!(server = %server.id(), error = %e, "the last reading failed")
                    }
                    Err(_) => tracing::warn!(server = %server.id(), "the last reading took too long"),
                }
            }
            if let Err(e) = server.backend.close().await {
                tracing::warn!(server = %server.id(), error = %e, "closing failed");
            }
        }
    }
}

/// Calls of the kit itself.
#[operations(noun = "", handle = Engine::clone)]
impl Engine {
    /// Returns the time as vpnkit sees it: in a sandbox that of its own clock. Compute with it, not with the machine's.
    #[operation(read, inline, anyone)]
    pub fn now(&self) -> Result<Timestamp> {
        self.shared.open("now")?;
        Ok(self.shared.clock.now())
    }

    /// Does at once what background work does in its intervals: reads the counters of every server that answers,
    /// ends keys whose time is over, and waits until servers have taken the changes over. For tests and scripts.
    #[operation(change)]
    pub async fn tick(&self) -> Result<()> {
        for server in self.shared.servers.iter().filter(|server| server.is_up()) {
            self.shared.collect(server).await?;
        }
        self.shared.check_expiry().await?;
        self.shared.settled().await;
        Ok(())
    }
}

/// The operations of every noun.
pub(crate) const OPERATIONS: &[&[Operation]] = &[
    Keys::OPERATIONS,
    Inbounds::OPERATIONS,
    Hosts::OPERATIONS,
    Subscriptions::OPERATIONS,
    TrafficView::OPERATIONS,
    Events::OPERATIONS,
    Servers::OPERATIONS,
    Engine::OPERATIONS,
];

impl Shared {
    fn inbounds(&self) -> Arc<Vec<Inbound>> {
        Arc::clone(&self.inbounds.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn reload_inbounds(&self) -> Result<()> {
        // One after the other: a list that was read earlier must not replace one that was read later.
        let _turn = self.reloading.lock().await;
        let inbounds = Arc::new(self.store.inbounds().await?);
        *self.inbounds.write().unwrap_or_else(PoisonError::into_inner) = inbounds;
        Ok(())
    }

    fn open(&self, operation: &'static str) -> Result<()> {
        if self.stop.is_cancelled() {
            return Err(Error::new(ErrorKind::Closed, operation, "vpnkit is closed"));
        }
        Ok(())
    }

    /// Waits until every server's queue is empty, at most [`EngineOptions::apply_wait`].
    async fn settled(&self) {
        let all = async {
            for server in &self.servers {
                server.queue.idle().await;
            }
        };
        let _ = tokio::time::timeout(self.options.apply_wait, all).await;
    }
}
