//! Servers.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vpnkit_macros::operations;

use super::ask::Asked;
use super::leases::of_server;
use super::server::Server;
use super::subscription_cache::SubscriptionCache;
use super::{Driver, Engine, ServerParts, Shared, side_by_side};
use vpnkit_core::backend::{Capabilities, Health, ServerState};
use vpnkit_core::machine::host_name;
use vpnkit_core::model::{DurationText, InboundTag, NodeId, ServerId};
use vpnkit_core::store::Lease;
use vpnkit_core::{Error, ErrorKind, Result};

/// Why a server is stopped that somebody has stopped.
const BY_HAND: &str = "stopped with `servers.stop`";

/// Whether a server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ServerCondition {
    /// Not started yet, or closed.
    Stopped,
    /// It answers.
    Up,
    /// It does not answer.
    Down,
    /// No process drives it. An Xray that keeps running may run on: nobody ends keys on it, or counts what passes.
    Unattended,
}

/// How a server does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServerStatus {
    /// `node/name`.
    pub id: ServerId,
    /// Its node.
    pub node: NodeId,
    /// Its program: `xray`.
    pub program: String,
    /// Name or IP that clients dial, unless an inbound has hosts of its own.
    pub address: String,
    /// The process that drives it, which says all this of it; `None` when there is none.
    pub driver: Option<Driver>,
    /// Whether it answers.
    pub state: ServerCondition,
    /// Why it is down, in one line.
    pub reason: Option<String>,
    /// How many of its lifetimes were seen, when it answers: grows with each restart that was noticed.
    pub lifetime: Option<u64>,
    /// What it can do.
    pub capabilities: Capabilities,
    /// The program's version, when it answers.
    pub version: Option<String>,
    /// How long it has been running, when it answers.
    #[serde(with = "vpnkit_core::model::optional_duration_text")]
    #[schemars(with = "Option<DurationText>")]
    pub uptime: Option<Duration>,
    /// Keys and inbounds that it has not taken over yet.
    pub pending: usize,
    /// Inbounds that it refuses, by tag, and why: they are tried again, and everything else goes on.
    pub set_aside: BTreeMap<InboundTag, String>,
    /// What its operator should change, when it answers: customers may reach the API of an attached Xray, for instance.
    pub warnings: Vec<String>,
}

/// Adds and removes servers, tells how they do, and compares them with the store.
#[derive(Clone, Debug)]
pub struct Servers {
    pub(super) engine: Engine,
}

#[operations(noun = "servers", handle = Engine::servers)]
impl Servers {
    /// Tells how every server does: those of this process in the order of the configuration, then those of other processes. Of
    /// one that another process drives it is what that process has told last.
    #[operation(read)]
    pub async fn status(&self) -> Result<Vec<ServerStatus>> {
        const OP: &str = "servers.status";
        let shared = &self.engine.shared;
        shared.open(OP)?;
        let leases = shared.elsewhere().await.map_err(|e| e.during(OP))?;
        let cache = shared.fresh_subscriptions().await.map_err(|e| e.during(OP))?;
        let servers = shared.servers().to_vec();
        let others = cache.servers.keys().filter(|id| !servers.iter().any(|server| server.id() == *id));
        let others = others.filter_map(|id| shared.status_elsewhere(id, leases.get(&of_server(id)), &cache));
        let others: Vec<ServerStatus> = others.collect();
        let own = side_by_side(servers, |server| {
            let lease = leases.get(&of_server(server.id())).filter(|_| !server.is_driven());
            let told = lease.and_then(|lease| shared.status_elsewhere(server.id(), Some(lease), &cache));
            async move {
                match told {
                    Some(told) => told,
                    None => server.status().await,
                }
            }
        });
        let mut all = own.await;
        all.extend(others);
        Ok(all)
    }

    /// Takes a server in and starts it; waits [`super::EngineOptions::start_wait`] for that. One that does not start is
    /// `down`, and tried again.
    ///
    /// It belongs to this kit until [`Self::remove`] or the end; the configuration is what the next one begins with.
    ///
    /// Errors: `InvalidConfig` when there is one of this id.
    pub async fn add_parts(&self, parts: ServerParts) -> Result<ServerStatus> {
        let servers = self.clone();
        self.engine.run_to_completion("servers.add", async move { servers.take_in(parts).await }).await
    }

    async fn take_in(&self, parts: ServerParts) -> Result<ServerStatus> {
        const OP: &str = "servers.add";
        let shared = &self.engine.shared;
        shared.open(OP)?;
        let (server, first) = shared.take_server(OP, parts)?;
        if let Err(e) = shared.remember_addresses(OP).await {
            self.let_go(&server, false).await;
            return Err(e);
        }
        tokio::select! {
            () = shared.stop.cancelled() => {}
            _ = tokio::time::timeout(shared.options.start_wait, first) => {}
        }
        if server.is_up() {
            // So that what it refuses is told with the answer.
            let _ = tokio::time::timeout(shared.options.apply_wait, server.queue.reconcile()).await;
        }
        Ok(server.status().await)
    }

    async fn let_go(&self, server: &Arc<Server>, ends: bool) {
        let shared = &self.engine.shared;
        {
            let mut servers = shared.servers.write().unwrap_or_else(PoisonError::into_inner);
            Arc::make_mut(&mut servers).retain(|other| !Arc::ptr_eq(other, server));
        }
        server.finish(shared, ends).await;
    }

    /// Reads the counters of a server a last time and stops driving it; a managed one ends, also one that is to keep running. Its
    /// inbounds stay in the store, and nobody is told of them until the server is added again. A process that only stands by for it
    /// does so no longer. One that no process has any more is forgotten.
    ///
    /// Errors: `NotFound`; `InUse` when only another process has it.
    #[operation(change)]
    pub async fn remove(&self, id: &ServerId) -> Result<()> {
        let (servers, id) = (self.clone(), id.clone());
        self.engine.run_to_completion("servers.remove", async move { servers.take(&id).await }).await
    }

    async fn take(&self, id: &ServerId) -> Result<()> {
        const OP: &str = "servers.remove";
        let shared = &self.engine.shared;
        let own = self.server(OP, id);
        let elsewhere = shared.elsewhere().await.map_err(|e| e.during(OP))?.get(&of_server(id)).cloned();
        if let (Err(_), Some(lease)) = (&own, &elsewhere) {
            return Err(Error::new(ErrorKind::InUse, OP, "another process drives the server")
                .with("server", id)
                .with("process", lease.holder.process)
                .with("host", &lease.holder.host)
                .hint("remove it there"));
        }
        let known = shared.fresh_subscriptions().await.map_err(|e| e.during(OP))?.servers.contains_key(id);
        if !known {
            own.as_ref().map_err(Clone::clone)?;
        }
        // First, so that one that is added again meanwhile is told of. What another process drives stays known.
        if elsewhere.is_none() {
            shared.forget_address(OP, id).await?;
        }
        if let Ok(server) = own {
            self.let_go(&server, true).await;
        }
        Ok(())
    }

    /// Ends a server's program, also one that is to keep running, whichever process drives it: it stays stopped until
    /// [`Self::start`], also over restarts of all processes. Its keys stay, and nobody connects.
    ///
    /// Errors: `NotFound`; `Unsupported` when its program is not vpnkit's to end; `Unavailable` when no process drives it;
    /// `Timeout` when it has not ended in time.
    #[operation(change)]
    pub async fn stop(&self, id: &ServerId) -> Result<()> {
        self.engine.in_context("servers.stop", self.put_stopped("servers.stop", id, true)).await
    }

    /// Starts a server again that was stopped with [`Self::stop`].
    ///
    /// Errors: `NotFound`; `Unavailable` when no process drives it; `Timeout` when it does not answer in time.
    #[operation(change)]
    pub async fn start(&self, id: &ServerId) -> Result<()> {
        self.engine.in_context("servers.start", self.put_stopped("servers.start", id, false)).await
    }

    async fn put_stopped(&self, op: &'static str, id: &ServerId, stopped: bool) -> Result<()> {
        /// How long the program may take.
        const LIMIT: Duration = Duration::from_secs(30);
        let shared = &self.engine.shared;
        let status = async || -> Result<ServerStatus> {
            let all = self.status().await.map_err(|e| e.during(op))?;
            let found = all.into_iter().find(|status| status.id == *id);
            found.ok_or_else(|| Error::new(ErrorKind::NotFound, op, "no such server").with("server", id))
        };
        let now = status().await?;
        if !now.capabilities.managed && now.driver.is_some() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                op,
                "the program is not vpnkit's to start and stop",
            )
            .with("server", id)
            .hint("its operator ends it; `servers.remove` only stops driving it"));
        }
        if now.driver.is_none() {
            return Err(
                Error::new(ErrorKind::Unavailable, op, "no process drives the server").with("server", id)
            );
        }
        shared.put_stopped(op, id, stopped).await?;
        let done = |now: &ServerStatus| match stopped {
            true => now.state == ServerCondition::Stopped && now.reason.as_deref() == Some(BY_HAND),
            false => now.state == ServerCondition::Up,
        };
        let waited = async {
            loop {
                let now = status().await?;
                if done(&now) {
                    break;
                }
                if let (false, ServerCondition::Down, Some(reason)) = (stopped, now.state, now.reason) {
                    return Err(Error::new(ErrorKind::Unavailable, op, "the server does not start")
                        .with("server", id)
                        .with("reason", reason));
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Ok(())
        };
        tokio::time::timeout(LIMIT, waited).await.unwrap_or_else(|_| {
            let driver = now.driver.map_or(0, |driver| driver.process);
            Err(Error::new(ErrorKind::Timeout, op, "the process that drives the server has not done it yet")
                .with("server", id)
                .with("process", driver)
                .hint("it is done once that process goes on"))
        })
    }

    /// Compares a server with the store now and applies the difference; returns how many steps that took.
    ///
    /// Errors: `NotFound`; `Unavailable` when it does not answer; `Rejected` when it refuses some of it; `Timeout` when the process
    /// that drives it does not answer.
    #[operation(change)]
    pub async fn reconcile(&self, id: &ServerId) -> Result<usize> {
        const OP: &str = "servers.reconcile";
        self.engine.not_tried(OP)?;

        let server = match self.driven(OP, id).await? {
            Some(server) => server,
            None => return self.engine.shared.ask(OP, id, &Asked::Reconcile).await,
        };
        let outcome = server.queue.reconcile().await;
        outcome.map_err(|_| Error::new(ErrorKind::Closed, OP, "vpnkit is closed"))?.map_err(|e| e.during(OP))
    }

    /// The newest lines of a managed server's log, oldest first.
    ///
    /// Errors: `NotFound`; `Timeout` when the process that drives it does not answer.
    #[operation(read)]
    pub async fn log(
        &self,
        id: &ServerId,
        #[arg(positional, default = 100)] lines: usize,
    ) -> Result<Vec<String>> {
        const OP: &str = "servers.log";
        match self.driven(OP, id).await? {
            Some(server) => Ok(server.backend.log(lines)),
            None => self.engine.shared.ask(OP, id, &Asked::Log(lines)).await,
        }
    }

    /// The server, if this process drives it or nobody does; `None` when another process drives it.
    async fn driven(&self, op: &'static str, id: &ServerId) -> Result<Option<Arc<Server>>> {
        let server = self.server(op, id);
        if server.as_ref().is_ok_and(|server| server.is_driven()) {
            return server.map(Some);
        }
        let leases = self.engine.shared.elsewhere().await.map_err(|e| e.during(op))?;
        match leases.contains_key(&of_server(id)) {
            true => Ok(None),
            false => server.map(Some),
        }
    }

    fn server(&self, op: &'static str, id: &ServerId) -> Result<Arc<Server>> {
        self.engine.shared.open(op)?;
        let servers = self.engine.shared.servers();
        let found = servers.iter().find(|server| server.id() == id);
        found.cloned().ok_or_else(|| {
            let known: Vec<&str> = servers.iter().map(|server| server.id().as_str()).collect();
            let hint = match known.is_empty() {
                true => "this process has no servers".to_owned(),
                false => format!("the servers of this process: {}", known.join(", ")),
            };
            Error::new(ErrorKind::NotFound, op, "no such server").with("server", id).hint(hint)
        })
    }
}

impl Shared {
    /// How a server does that this process does not drive.
    fn status_elsewhere(
        &self,
        id: &ServerId,
        lease: Option<&Lease>,
        cache: &SubscriptionCache,
    ) -> Option<ServerStatus> {
        let driver = lease.map(Driver::of);
        if let Some(told) = lease.and_then(Self::told) {
            // How long it runs by now it does not tell.
            return Some(ServerStatus { driver, uptime: None, ..told.status });
        }
        let known = cache.servers.get(id)?;
        let (state, reason) = match lease {
            None if cache.stopped.contains(id) => (ServerCondition::Stopped, BY_HAND),
            None => (ServerCondition::Unattended, "no process drives it"),
            Some(_) => (ServerCondition::Stopped, "the process that drives it has not told of it yet"),
        };
        Some(ServerStatus {
            id: id.clone(),
            node: id.node(),
            program: known.program.clone(),
            address: known.address.clone(),
            driver,
            state,
            reason: Some(reason.to_owned()),
            lifetime: None,
            capabilities: Capabilities::NONE,
            version: None,
            uptime: None,
            pending: 0,
            set_aside: BTreeMap::new(),
            warnings: Vec::new(),
        })
    }
}

impl Server {
    async fn status(&self) -> ServerStatus {
        self.status_with(self.health().await)
    }

    /// What it says of itself, when it answers.
    pub(super) async fn health(&self) -> Option<Health> {
        /// A server that does not tell how it does is no reason to wait for the others.
        const LIMIT: Duration = Duration::from_secs(5);
        match self.state() {
            ServerState::Up { .. } => {
                tokio::time::timeout(LIMIT, self.backend.health()).await.ok().and_then(Result::ok)
            }
            _ => None,
        }
    }

    pub(super) fn status_with(&self, health: Option<Health>) -> ServerStatus {
        let state = self.state();
        let (state, reason, lifetime) = match state {
            ServerState::Stopped => {
                let by_hand = self.halted.load(Ordering::Acquire);
                let reason = by_hand.then(|| BY_HAND.to_owned());
                (ServerCondition::Stopped, reason, None)
            }
            ServerState::Up { lifetime } => (ServerCondition::Up, None, Some(lifetime)),
            ServerState::Down { reason } => (ServerCondition::Down, Some(reason), None),
        };
        let (version, uptime, warnings) = match health {
            Some(health) => (Some(health.version), Some(health.uptime), health.warnings),
            None => (None, None, Vec::new()),
        };
        ServerStatus {
            id: self.id().clone(),
            node: self.backend.node().clone(),
            program: self.rules.program().to_owned(),
            address: self.address.clone(),
            driver: self.lease.held().map(|_| Driver {
                process: std::process::id(),
                host: host_name(),
                here: true,
            }),
            state,
            reason,
            lifetime,
            capabilities: self.backend.capabilities(),
            version,
            uptime,
            pending: self.queue.len(),
            set_aside: {
                let aside = self.set_aside.lock().unwrap_or_else(PoisonError::into_inner);
                aside.iter().map(|(tag, reason)| (tag.clone(), reason.clone())).collect()
            },
            warnings,
        }
    }
}
