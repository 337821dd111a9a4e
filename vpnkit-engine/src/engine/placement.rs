//! Which servers have taken a key over.

use std::sync::PoisonError;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Shared;
use super::server::Server;
use vpnkit_core::backend::ServerState;
use vpnkit_core::model::{InboundTag, Key, KeyId, ServerId};

/// Whether a server has taken a key over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PlacementState {
    /// What the store says of the key stands on the server too.
    Installed,
    /// The server does not answer, or has not got to it yet.
    Pending,
    /// The server refuses the key.
    Rejected,
    /// Another process drives the server.
    Unknown,
}

/// A server that a key belongs on, and whether it has taken the key over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Placement {
    /// The server.
    pub server: ServerId,
    /// The key's inbounds there.
    pub inbounds: Vec<InboundTag>,
    /// Whether it has taken the key over.
    pub state: PlacementState,
    /// Why it has not, in one line.
    pub reason: Option<String>,
}

impl Shared {
    /// The servers of a key, sorted by id.
    pub(super) fn placement(&self, key: &Key) -> Vec<Placement> {
        let servers = self.servers();
        let mut all: Vec<Placement> = Vec::new();
        for inbound in self.inbounds().iter().filter(|inbound| inbound.serves(key.id, &key.inbounds)) {
            let Some(id) = &inbound.server else { continue };
            if let Some(known) = all.iter_mut().find(|placement| placement.server == *id) {
                known.inbounds.push(inbound.tag.clone());
                continue;
            }
            let server = servers.iter().find(|server| server.id() == id);
            let (state, reason) = server.map_or((PlacementState::Unknown, None), |server| server.has(key.id));
            all.push(Placement { server: id.clone(), inbounds: vec![inbound.tag.clone()], state, reason });
        }
        all.sort_by(|a, b| a.server.cmp(&b.server));
        all
    }
}

impl Server {
    fn has(&self, key: KeyId) -> (PlacementState, Option<String>) {
        if let ServerState::Down { reason } = self.state() {
            return (PlacementState::Pending, Some(reason));
        }
        let rejected = self.rejected.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        match rejected {
            Some(reason) => (PlacementState::Rejected, Some(reason)),
            None if !self.is_up() || self.queue.awaits(key) => (PlacementState::Pending, None),
            None => (PlacementState::Installed, None),
        }
    }
}
