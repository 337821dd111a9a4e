//! One server as the engine holds it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::queue::Queue;
use super::{ServerParts, Shared, plan};
use crate::Result;
use crate::accounting::Baseline;
use crate::backend::{Account, Desired, DesiredState, ProtocolBackend, ServerState};
use crate::model::{EventKind, EventSubject, Host, KeyId, KeyQuery, KeyStatus, NewEvent, NodeId, ServerId};
use crate::store::{KeyStore, StoreOp, StoreTxn};
use crate::traffic::TrafficSource;

#[derive(Debug)]
pub(super) struct Server {
    pub(super) backend: Arc<dyn ProtocolBackend>,
    pub(super) source: Arc<dyn TrafficSource>,
    pub(super) address: String,
    /// What an inbound without hosts of its own has.
    pub(super) host: Host,
    pub(super) queue: Queue,
    /// Keys that the server refuses: told once as an event, not at every try.
    pub(super) rejected: Mutex<HashSet<KeyId>>,
    /// The newest stored reading; `None` until it was loaded. The lock also keeps readings one after the other.
    pub(super) baseline: tokio::sync::Mutex<Option<Option<Baseline>>>,
}

impl Server {
    pub(super) fn new(parts: ServerParts) -> Self {
        Self {
            backend: parts.backend,
            source: parts.source,
            host: Host::new("{SERVER_IP} {PROTOCOL} {TRANSPORT}", parts.address.clone()),
            address: parts.address,
            queue: Queue::default(),
            rejected: Mutex::default(),
            baseline: tokio::sync::Mutex::new(None),
        }
    }

    pub(super) fn id(&self) -> &ServerId {
        self.backend.id()
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(*self.backend.state().borrow(), ServerState::Up { .. })
    }

    pub(super) fn desired(&self, store: &Arc<dyn KeyStore>) -> StoreDesired {
        StoreDesired {
            store: Arc::clone(store),
            node: self.backend.node().clone(),
            backend: Arc::downgrade(&self.backend),
        }
    }
}

/// What a server should hold, read from the store at the moment of asking.
#[derive(Debug)]
pub(super) struct StoreDesired {
    store: Arc<dyn KeyStore>,
    node: NodeId,
    backend: std::sync::Weak<dyn ProtocolBackend>,
}

#[async_trait]
impl Desired for StoreDesired {
    async fn desired(&self) -> Result<DesiredState> {
        let mut state = DesiredState::default();
        let Some(backend) = self.backend.upgrade() else { return Ok(state) };
        for inbound in self.store.inbounds().await? {
            if inbound.node == self.node && backend.check(&inbound).is_ok() {
                state.inbounds.push((Arc::new(inbound), Vec::new()));
            }
        }
        if state.inbounds.is_empty() {
            return Ok(state);
        }
        let mut query =
            KeyQuery { status: vec![KeyStatus::Active], limit: KeyQuery::MAX_LIMIT, ..KeyQuery::default() };
        loop {
            let page = self.store.find(&query).await?;
            for key in &page.keys {
                for (inbound, accounts) in &mut state.inbounds {
                    accounts.extend(plan::accounts(key, inbound).collect::<Vec<Account>>());
                }
            }
            match page.next {
                Some(next) => query.page = Some(next),
                None => return Ok(state),
            }
        }
    }
}

/// Follows a server's state: tells it as events, and reconciles whenever it comes (back) up.
pub(super) async fn watch(shared: Arc<Shared>, server: Arc<Server>) {
    let mut state = server.backend.state();
    let mut before = ServerState::Stopped;
    loop {
        let now = state.borrow_and_update().clone();
        let event = match (&before, &now) {
            (ServerState::Up { lifetime: old }, ServerState::Up { lifetime: new }) if old == new => None,
            (ServerState::Up { .. }, ServerState::Up { .. }) => {
                Some((EventKind::ServerRestarted, String::new()))
            }
            (_, ServerState::Up { .. }) => Some((EventKind::ServerUp, String::new())),
            (ServerState::Down { .. }, ServerState::Down { .. }) => None,
            (_, ServerState::Down { reason }) => Some((EventKind::ServerDown, reason.clone())),
            (_, ServerState::Stopped) => None,
        };
        if let Some((kind, detail)) = event {
            if kind != EventKind::ServerDown {
                server.queue.reconcile();
            }
            let subject = EventSubject::Server(server.id().clone());
            let op = StoreOp::Emit(NewEvent { kind, subject, detail });
            if let Err(e) = shared.store.commit(StoreTxn::new(shared.clock.now(), vec![op])).await {
                tracing::warn!(server = %server.id(), error = %e, "an event could not be stored");
            }
        }
        before = now;
        tokio::select! {
            () = shared.stop.cancelled() => return,
            changed = state.changed() => if changed.is_err() { return },
        }
    }
}
