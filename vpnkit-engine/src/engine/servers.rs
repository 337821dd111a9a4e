//! Servers.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vpnkit_macros::operations;

use super::server::Server;
use super::{Engine, ServerParts, side_by_side};
use vpnkit_core::backend::{Capabilities, ServerState};
use vpnkit_core::model::{DurationText, InboundTag, NodeId, ServerId};
use vpnkit_core::{Error, ErrorKind, Result};

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
}

/// How a server does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ServerStatus {
    /// `node/name`.
    pub id: ServerId,
    /// Its node.
    pub node: NodeId,
    /// Its program: `xray`.
    pub program: String,
    /// Name or IP that clients dial, unless an inbound has hosts of its own.
    pub address: String,
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
    /// Tells how every server of this process does.
    #[operation(read)]
    pub async fn status(&self) -> Result<Vec<ServerStatus>> {
        self.engine.shared.open("servers.status")?;
        let servers = self.engine.shared.servers().to_vec();
        Ok(side_by_side(servers, |server| async move { server.status().await }).await)
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
            self.let_go(&server).await;
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

    async fn let_go(&self, server: &Arc<Server>) {
        let shared = &self.engine.shared;
        {
            let mut servers = shared.servers.write().unwrap_or_else(PoisonError::into_inner);
            Arc::make_mut(&mut servers).retain(|other| !Arc::ptr_eq(other, server));
        }
        server.finish(shared).await;
    }

    /// Reads the counters of a server a last time and stops driving it; a managed one ends. Its inbounds stay in the store,
    /// and nobody is told of them until the server is added again.
    ///
    /// Errors: `NotFound`.
    #[operation(change)]
    pub async fn remove(&self, id: &ServerId) -> Result<()> {
        let (servers, id) = (self.clone(), id.clone());
        self.engine.run_to_completion("servers.remove", async move { servers.take(&id).await }).await
    }

    async fn take(&self, id: &ServerId) -> Result<()> {
        const OP: &str = "servers.remove";
        let server = self.server(OP, id)?;
        // First, so that one that is added again meanwhile is told of.
        self.engine.shared.forget_address(OP, id).await?;
        self.let_go(&server).await;
        Ok(())
    }

    /// Compares a server with the store now and applies the difference; returns how many steps that took.
    ///
    /// Errors: `NotFound`; `Unavailable` when it does not answer; `Rejected` when it refuses some of it.
    #[operation(change)]
    pub async fn reconcile(&self, id: &ServerId) -> Result<usize> {
        const OP: &str = "servers.reconcile";
        let server = self.server(OP, id)?;
        let outcome = server.queue.reconcile().await;
        outcome.map_err(|_| Error::new(ErrorKind::Closed, OP, "vpnkit is closed"))?.map_err(|e| e.during(OP))
    }

    /// The newest lines of a managed server's log, oldest first.
    #[operation(read)]
    pub fn log(&self, id: &ServerId, #[arg(positional, default = 100)] lines: usize) -> Result<Vec<String>> {
        Ok(self.server("servers.log", id)?.backend.log(lines))
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

impl Server {
    async fn status(&self) -> ServerStatus {
        /// A server that does not tell how it does is no reason to wait for the others.
        const LIMIT: Duration = Duration::from_secs(5);
        let state = self.state();
        let health = match state {
            ServerState::Up { .. } => {
                tokio::time::timeout(LIMIT, self.backend.health()).await.ok().and_then(Result::ok)
            }
            _ => None,
        };
        let (state, reason, lifetime) = match state {
            ServerState::Stopped => (ServerCondition::Stopped, None, None),
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
