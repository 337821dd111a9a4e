//! Which servers have taken a key over.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::leases::of_server;
use super::server::Server;
use super::{ServerCondition, Shared};
use vpnkit_core::backend::ServerState;
use vpnkit_core::model::{EventKind, EventSubject, Inbound, InboundTag, Key, KeyId, ServerId};
use vpnkit_core::store::{Lease, StoreChange};
use vpnkit_core::{ErrorKind, Result};

/// So many changes that another process has still before it are looked through.
const LOOKED_AT: usize = 1_000;

/// Whether a server has taken a key over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PlacementState {
    /// What the store says of the key stands on the server too.
    Installed,
    /// The server does not answer, or has not got to it yet.
    Pending,
    /// The server refuses the key, or an inbound that it is on.
    Rejected,
    /// Another process drives the server and does not tell: it has an older vpnkit.
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
    pub(super) async fn placement(&self, key: &Key) -> Result<Vec<Placement>> {
        let (servers, leases) = (self.servers(), self.elsewhere().await?);
        let mut all: Vec<Placement> = Vec::new();
        for inbound in self.inbounds().iter().filter(|inbound| inbound.serves(key.id, &key.inbounds)) {
            let Some(id) = &inbound.server else { continue };
            if let Some(known) = all.iter_mut().find(|placement| placement.server == *id) {
                known.inbounds.push(inbound.tag.clone());
                continue;
            }
            let (state, reason) = (PlacementState::Unknown, None);
            all.push(Placement { server: id.clone(), inbounds: vec![inbound.tag.clone()], state, reason });
        }
        for placement in &mut all {
            let own = servers.iter().find(|server| *server.id() == placement.server);
            if let Some(server) = own.filter(|server| !server.is_elsewhere()) {
                (placement.state, placement.reason) = server.has(key.id, &placement.inbounds);
            } else {
                let lease = leases.get(&of_server(&placement.server));
                (placement.state, placement.reason) = self.has_elsewhere(key.id, placement, lease).await?;
            }
            if placement.state == PlacementState::Installed
                && let Some(tag) = self.lacks_credential(key, placement)
            {
                placement.state = PlacementState::Pending;
                placement.reason = Some(format!("the key has no credential for {tag} yet"));
            }
        }
        all.sort_by(|a, b| a.server.cmp(&b.server));
        Ok(all)
    }

    /// What the process that drives a server tells of a key.
    async fn has_elsewhere(
        &self,
        key: KeyId,
        placement: &Placement,
        lease: Option<&Lease>,
    ) -> Result<(PlacementState, Option<String>)> {
        let Some(lease) = lease else {
            return Ok((PlacementState::Pending, Some("no process drives the server".to_owned())));
        };
        let Some(told) = Self::told(lease) else { return Ok((PlacementState::Unknown, None)) };
        if told.status.state != ServerCondition::Up {
            return Ok((PlacementState::Pending, told.status.reason));
        }
        if told.behind {
            return Ok((PlacementState::Pending, None));
        }
        let aside = placement.inbounds.iter().find_map(|tag| told.status.set_aside.get(tag));
        if let Some(reason) = told.refused.get(&key).or(aside) {
            return Ok((PlacementState::Rejected, Some(reason.clone())));
        }
        // What has not come to that process yet is little.
        let since = match self.store.changes(lease.progress, LOOKED_AT, lease.holder.origin).await {
            Ok(since) if since.more => return Ok((PlacementState::Pending, None)),
            Ok(since) => since.changes,
            Err(e) if e.kind() == ErrorKind::CursorExpired => return Ok((PlacementState::Pending, None)),
            Err(e) => return Err(e),
        };
        let of_key = |change: &StoreChange| {
            matches!(change.subject, EventSubject::Key { id, .. } if id == key)
                && change.kind != EventKind::KeyRejected
        };
        let waits = since.iter().any(of_key);
        Ok((if waits { PlacementState::Pending } else { PlacementState::Installed }, None))
    }

    /// Returns an inbound of a server that gives each key a credential of its own, but has not given this one any.
    fn lacks_credential(&self, key: &Key, placement: &Placement) -> Option<InboundTag> {
        let inbounds = self.inbounds();
        let lacking = |inbound: &&Arc<Inbound>| {
            inbound.runs_on(&placement.server)
                && inbound.own_credentials()
                && placement.inbounds.contains(&inbound.tag)
                && !key.credentials.iter().any(|c| !c.is_replaced() && c.opens(inbound))
        };
        inbounds.iter().find(lacking).map(|inbound| inbound.tag.clone())
    }
}

impl Server {
    fn has(&self, key: KeyId, inbounds: &[InboundTag]) -> (PlacementState, Option<String>) {
        if let ServerState::Down { reason } = self.state() {
            return (PlacementState::Pending, Some(reason));
        }
        let rejected = self.rejected.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let aside = self.set_aside.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let aside = inbounds.iter().find_map(|tag| aside.get(tag));
        match rejected.as_ref().or(aside) {
            Some(reason) => (PlacementState::Rejected, Some(reason.clone())),
            None if !self.is_up() || self.behind.load(Ordering::Acquire) || self.queue.awaits(key) => {
                (PlacementState::Pending, None)
            }
            None => (PlacementState::Installed, None),
        }
    }
}
