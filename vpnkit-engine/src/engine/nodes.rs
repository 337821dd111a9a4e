//! Nodes: told when none of the servers of one answers, and when one does again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use super::Shared;
use super::servers::ServerCondition;
use vpnkit_core::backend::ServerState;
use vpnkit_core::model::{EventKind, EventSubject, NewEvent, NodeId, Record, RecordQuery, ServerId};
use vpnkit_core::store::{Fence, RecordOp, StoreOp};
use vpnkit_core::{ErrorKind, Result, Secret};

/// Between two looks.
pub(super) const EVERY: std::time::Duration = std::time::Duration::from_secs(5);
/// The kind of records of nodes that are told to be down.
const DOWN: &str = "node_down";

/// How the servers of a node do, as far as processes that drive them say.
#[derive(Debug, Default)]
struct Node {
    answers: bool,
    down: Vec<ServerId>,
}

impl Node {
    fn is_down(&self) -> bool {
        !self.answers && !self.down.is_empty()
    }

    /// One that was stopped by hand, or that nobody drives, says nothing.
    fn take(&mut self, server: ServerId, condition: ServerCondition) {
        match condition {
            ServerCondition::Up => self.answers = true,
            ServerCondition::Down => self.down.push(server),
            _ => {}
        }
    }
}

/// Nodes that were down at the last look: one whose only server is starting, or starts again, is not told to be down.
#[derive(Debug, Default)]
pub(super) struct NodesDown(Mutex<BTreeSet<NodeId>>);

impl NodesDown {
    /// Leaves only those down that were down before.
    fn confirm(&self, nodes: &mut BTreeMap<NodeId, Node>) {
        let mut before = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = nodes.iter().filter(|(_, node)| node.is_down()).map(|(id, _)| id.clone()).collect();
        nodes.retain(|id, node| !node.is_down() || before.contains(id));
        *before = now;
    }
}

impl Shared {
    /// Tells of nodes that have been down for two looks, and of those that are up again: each once, in whichever process. As background work it is fenced.
    pub(super) async fn tell_nodes(&self, fence: Option<Fence>) -> Result<()> {
        let mut nodes = self.nodes().await?;
        self.nodes_down.confirm(&mut nodes);
        let told = self.store.records(&RecordQuery::of(DOWN)).await?;
        let mut outcome = Ok(());
        for (node, servers) in &nodes {
            let record = told.iter().find(|record| record.id == node.as_str());
            let Some(steps) = steps(node, servers, record) else { continue };
            match self.store.commit(self.txn(steps).under(fence.clone())).await {
                // Somebody else has told it.
                Err(e) if e.kind() == ErrorKind::Conflict => {}
                told => outcome = outcome.and(told.map(drop)),
            }
        }
        outcome
    }

    async fn nodes(&self) -> Result<BTreeMap<NodeId, Node>> {
        let mut nodes = BTreeMap::<NodeId, Node>::new();
        for server in self.servers().iter().filter(|server| server.is_driven()) {
            let condition = match server.state() {
                ServerState::Up { .. } => ServerCondition::Up,
                ServerState::Down { .. } => ServerCondition::Down,
                ServerState::Stopped => ServerCondition::Stopped,
            };
            nodes.entry(server.backend.node().clone()).or_default().take(server.id().clone(), condition);
        }
        for lease in self.elsewhere().await?.values() {
            if let Some(told) = Self::told(lease) {
                nodes.entry(told.status.node).or_default().take(told.status.id, told.status.state);
            }
        }
        Ok(nodes)
    }
}

/// The steps that tell of a change, if there is one.
fn steps(node: &NodeId, servers: &Node, told: Option<&Record>) -> Option<[StoreOp; 2]> {
    let place = (DOWN.to_owned(), node.as_str().to_owned());
    // The same, whichever process tells it.
    let mut names: Vec<&str> = servers.down.iter().map(ServerId::as_str).collect();
    names.sort_unstable();
    let (record, kind, detail) = match told {
        None if servers.is_down() => {
            let body = Secret::new("{}");
            let put = RecordOp::Put { place, expected: Some(0), index: None, body };
            (put, EventKind::NodeDown, names.join(", "))
        }
        Some(record) if servers.answers => {
            (RecordOp::Remove { place, expected: Some(record.version) }, EventKind::NodeUp, String::new())
        }
        _ => return None,
    };
    let subject = EventSubject::Node(node.clone());
    Some([record.into(), StoreOp::Emit(NewEvent { kind, subject, detail })])
}
