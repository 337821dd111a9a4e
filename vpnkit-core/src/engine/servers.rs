//! Servers.

use super::{Engine, Server};
use crate::backend::{Capabilities, Health, ServerState};
use crate::model::{NodeId, ServerId};
use crate::{Error, ErrorKind, Result};

/// How a server does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerStatus {
    /// `node/program`.
    pub id: ServerId,
    /// Its node.
    pub node: NodeId,
    /// Whether it answers.
    pub state: ServerState,
    /// What it can do.
    pub capabilities: Capabilities,
    /// Version and uptime, when it answers.
    pub health: Option<Health>,
    /// Keys and inbounds that it has not taken over yet.
    pub pending: usize,
}

/// Status, log and reconcile of servers.
#[derive(Clone, Debug)]
pub struct Servers {
    pub(super) engine: Engine,
}

impl Servers {
    /// How every server does.
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
            all.push(ServerStatus {
                id: server.id().clone(),
                node: server.backend.node().clone(),
                state,
                capabilities: server.backend.capabilities(),
                health,
                pending: server.queue.len(),
            });
        }
        Ok(all)
    }

    /// Compares a server with the store now and applies the difference; returns how many steps that took.
    ///
    /// Errors: `NotFound`; `Unavailable` when it does not answer; `Rejected` when it refuses some of it.
    pub async fn reconcile(&self, id: &ServerId) -> Result<usize> {
        const OP: &str = "servers.reconcile";
        let server = self.server(OP, id)?;
        server.queue.reconcile().await.map_err(|_| Error::new(ErrorKind::Closed, OP, "vpnkit is closed"))?
    }

    /// The newest lines of a managed server's log, oldest first.
    pub fn log(&self, id: &ServerId, lines: usize) -> Result<Vec<String>> {
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
