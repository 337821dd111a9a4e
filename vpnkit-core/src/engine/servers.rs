//! Servers.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vpnkit_macros::operations;

use super::{Engine, Server};
use crate::backend::{Capabilities, ServerState};
use crate::model::{DurationText, NodeId, ServerId};
use crate::{Error, ErrorKind, Result};

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
    /// `node/program`.
    pub id: ServerId,
    /// Its node.
    pub node: NodeId,
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
    #[serde(with = "crate::model::optional_duration_text")]
    #[schemars(with = "Option<DurationText>")]
    pub uptime: Option<Duration>,
    /// Keys and inbounds that it has not taken over yet.
    pub pending: usize,
}

/// Status, log and reconcile of servers.
#[derive(Clone, Debug)]
pub struct Servers {
    pub(super) engine: Engine,
}

#[operations(noun = "servers", handle = Engine::servers)]
impl Servers {
    /// How every server does.
    #[operation(read)]
    pub async fn status(&self) -> Result<Vec<ServerStatus>> {
        self.engine.shared.open("servers.status")?;
        let mut all = Vec::new();
        for server in &self.engine.shared.servers {
            // In a statement of its own: whoever waits while it borrows the state holds up who changes it.
            let state = server.backend.state().borrow().clone();
            let health = match state {
                ServerState::Up { .. } => server.backend.health().await.ok(),
                _ => None,
            };
            let (state, reason, lifetime) = match state {
                ServerState::Stopped => (ServerCondition::Stopped, None, None),
                ServerState::Up { lifetime } => (ServerCondition::Up, None, Some(lifetime)),
                ServerState::Down { reason } => (ServerCondition::Down, Some(reason), None),
            };
            let (version, uptime) = health.map(|health| (health.version, health.uptime)).unzip();
            all.push(ServerStatus {
                id: server.id().clone(),
                node: server.backend.node().clone(),
                state,
                reason,
                lifetime,
                capabilities: server.backend.capabilities(),
                version,
                uptime,
                pending: server.queue.len(),
            });
        }
        Ok(all)
    }

    /// Compares a server with the store now and applies the difference; returns how many steps that took.
    ///
    /// Errors: `NotFound`; `Unavailable` when it does not answer; `Rejected` when it refuses some of it.
    #[operation(change)]
    pub async fn reconcile(&self, id: &ServerId) -> Result<usize> {
        const OP: &str = "servers.reconcile";
        let server = self.server(OP, id)?;
        server.queue.reconcile().await.map_err(|_| Error::new(ErrorKind::Closed, OP, "vpnkit is closed"))?
    }

    /// The newest lines of a managed server's log, oldest first.
    #[operation(read)]
    pub fn log(&self, id: &ServerId, #[arg(positional, default = 100)] lines: usize) -> Result<Vec<String>> {
        Ok(self.server("servers.log", id)?.backend.log(lines))
    }

    fn server(&self, op: &'static str, id: &ServerId) -> Result<&Server> {
        self.engine.shared.open(op)?;
        let found = self.engine.shared.servers.iter().find(|s| s.id() == id);
        found
            .map(AsRef::as_ref)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, op, "no such server").with("server", id))
    }
}
