//! Inbounds.

use std::sync::Arc;
use std::time::Duration;

use vpnkit_macros::operations;

use super::leases::of_server;
use super::server::Server;
use super::servers::ServerCondition;
use super::subscription_cache::hosts_place;
use super::{Engine, Shared, rotation};
use vpnkit_core::backend::ServerRules;
use vpnkit_core::model::{Cursor, Inbound, InboundTag, NodeId, ServerId};
use vpnkit_core::store::{InboundOp, Receipt, RecordOp, StoreOp};
use vpnkit_core::{Error, ErrorKind, Result};

/// Adds, changes and removes inbounds.
#[derive(Clone, Debug)]
pub struct Inbounds {
    pub(super) engine: Engine,
}

#[operations(noun = "inbounds", handle = Engine::inbounds)]
impl Inbounds {
    /// Makes sure that the inbound exists as described: adds it, replaces the one of its tag, or does nothing.
    /// Keys that lack a credential for it get one.
    ///
    /// Errors: `InvalidInput` for what the server program does not allow; `AlreadyExists` when another inbound has
    /// the port; `LimitReached` when it has fewer addresses than keys need; `PortInUse` and `Rejected` when the server
    /// refuses it, and then nothing of it is left. When the server
    /// does not answer, the inbound is committed and comes with the next reconcile.
    #[operation(change, dry_run)]
    pub async fn ensure(&self, #[arg(record)] inbound: Inbound) -> Result<Inbound> {
        let shared = Arc::clone(&self.engine.shared);
        self.engine.run_to_completion("inbounds.ensure", async move { shared.ensure(inbound).await }).await
    }

    /// Gives an inbound with REALITY new keys. Links with those that it has work for `keep_old` longer, up to 366 days: clients that
    /// fetch their subscription in that time notice nothing. Zero ends them at once, as after a leak. Keys of an earlier
    /// rotation end now: asked for again, as after an answer that was lost, it changes them again. Connections that are open may end;
    /// clients connect again. A description with keys of earlier does not bring them back.
    ///
    /// Errors: `NotFound`; `Unsupported` by an inbound without REALITY; `InvalidInput` about `keep_old`; `Unavailable` while its server
    /// does not answer; `Rejected` by an attached Xray that was configured with the inbound.
    #[operation(change, dry_run)]
    pub async fn rotate_keys(
        &self,
        #[arg(default = NodeId::main())] node: &NodeId,
        tag: &InboundTag,
        keep_old: Duration,
    ) -> Result<Inbound> {
        const OP: &str = "inbounds.rotate_keys";
        let (shared, node, tag) = (Arc::clone(&self.engine.shared), node.clone(), tag.clone());
        let rotate = async move {
            shared.open(OP)?;
            shared.rotate_keys(&node, &tag, keep_old).await
        };
        self.engine.run_to_completion(OP, rotate).await
    }

    /// All inbounds, sorted by node and tag.
    #[operation(read)]
    pub async fn list(&self) -> Result<Vec<Inbound>> {
        const OP: &str = "inbounds.list";
        self.shared(OP)?.store.inbounds().await.map_err(|e| e.during(OP))
    }

    /// The inbound, or `None`.
    #[operation(read)]
    pub async fn get(
        &self,
        #[arg(default = NodeId::main())] node: &NodeId,
        tag: &InboundTag,
    ) -> Result<Option<Inbound>> {
        Ok(self.list().await?.into_iter().find(|i| i.node == *node && i.tag == *tag))
    }

    /// Removes an inbound. Keys that were on it stay; nobody connects to it any more.
    ///
    /// Errors: `NotFound`.
    #[operation(change, dry_run)]
    pub async fn remove(
        &self,
        #[arg(default = NodeId::main())] node: &NodeId,
        tag: &InboundTag,
    ) -> Result<()> {
        let (inbounds, node, tag) = (self.clone(), node.clone(), tag.clone());
        self.engine
            .run_to_completion("inbounds.remove", async move { inbounds.take(&node, &tag).await })
            .await
    }

    async fn take(&self, node: &NodeId, tag: &InboundTag) -> Result<()> {
        const OP: &str = "inbounds.remove";
        let shared = self.shared(OP)?;
        let hosts = forget_hosts(node, tag);
        shared.reload().await?;
        let removed = shared.inbounds().iter().find(|i| i.node == *node && i.tag == *tag).cloned();
        let txn = shared.txn([InboundOp::Remove(node.clone(), tag.clone()).into(), hosts]);
        let receipt = shared.store.commit(txn).await.map_err(|e| e.during(OP))?;
        if !receipt.took_effect() {
            return Ok(());
        }
        let committed = receipt.cursor;
        shared.reload().await?;
        if let Some(removed) = removed {
            shared.apply_inbound(&removed, committed).await;
        }
        Ok(())
    }

    fn shared(&self, operation: &'static str) -> Result<&Shared> {
        self.engine.shared.open(operation)?;
        Ok(&self.engine.shared)
    }
}

/// A server needs longer for an inbound than for an account.
const APPLY: Duration = Duration::from_secs(10);

/// A server that an inbound may run on.
pub(super) struct ServerPlace {
    id: ServerId,
    pub(super) rules: Arc<dyn ServerRules>,
    /// Unless another process drives it.
    here: Option<Arc<Server>>,
}

/// An inbound's hosts go with it.
pub(super) fn forget_hosts(node: &NodeId, tag: &InboundTag) -> StoreOp {
    RecordOp::Remove { place: hosts_place(node, tag), expected: None }.into()
}

/// Returns `NotFound`.
pub(super) fn no_inbound(op: &'static str, node: &NodeId, tag: &InboundTag) -> Error {
    Error::new(ErrorKind::NotFound, op, "no such inbound")
        .with("field", "tag")
        .with("inbound", tag)
        .with("node", node)
}

impl Shared {
    /// The inbound as it was read last.
    pub(super) fn inbound(&self, node: &NodeId, tag: &InboundTag) -> Option<Arc<Inbound>> {
        self.inbounds().iter().find(|i| i.node == *node && i.tag == *tag).cloned()
    }

    async fn ensure(&self, given: Inbound) -> Result<Inbound> {
        const OP: &str = "inbounds.ensure";
        self.open(OP)?;
        given.check().map_err(|e| e.during(OP))?;
        loop {
            self.reload().await.map_err(|e| e.during(OP))?;
            let before = self.inbound(&given.node, &given.tag);
            let mut inbound = given.clone();
            let place = self.place_for(OP, &inbound, before.as_deref())?;
            inbound.server = Some(place.id.clone());
            place.rules.complete(&mut inbound, before.as_deref());
            rotation::keep(&mut inbound, before.as_deref(), self.clock.now());
            match self.replace(OP, &place, before, inbound).await {
                // Somebody else has changed it: this goes on top of that, with the keys that it has by now.
                Err(e) if e.kind() == ErrorKind::Conflict => {}
                outcome => return outcome,
            }
        }
    }

    /// Puts an inbound, which is complete, in the place of what was there, and lets its server run it.
    ///
    /// Errors: `Conflict` when something else is there by now; those of [`Inbounds::ensure`].
    pub(super) async fn replace(
        &self,
        op: &'static str,
        place: &ServerPlace,
        before: Option<Arc<Inbound>>,
        inbound: Inbound,
    ) -> Result<Inbound> {
        place.rules.check(&inbound).map_err(|e| e.during(op))?;
        self.check_overlap(op, &inbound)?;
        self.check_room(&inbound).await.map_err(|e| e.during(op))?;
        let step = InboundOp::Replace {
            before: before.as_deref().cloned().map(Box::new),
            inbound: Box::new(inbound.clone()),
        };
        let receipt = self.commit(op, step).await?;
        if !receipt.took_effect() {
            return Ok(inbound);
        }
        let committed = receipt.cursor;
        self.reload().await?;
        if before.as_deref() == Some(&inbound) {
            self.give(op, &inbound).await?;
            return Ok(inbound);
        }
        if let Some(old) = before.as_deref().filter(|before| before.server != inbound.server) {
            // Its port must be free before another server takes it.
            self.apply_inbound(old, committed).await;
        }
        let refused = match self.refused(place, &inbound, committed).await {
            None => match self.give(op, &inbound).await {
                Ok(()) => return Ok(inbound),
                // It has fewer addresses than there are keys by now.
                Err(e) if e.kind() == ErrorKind::LimitReached => e,
                Err(e) => return Err(e),
            },
            // Keys get nothing for an inbound that is refused.
            Some(refused) => refused,
        };
        self.take_back(op, &inbound, before.as_deref()).await;
        Err(refused.during(op))
    }

    /// The server that is to run the inbound: the one that it names, the one that has it, or the first one that can. Servers of
    /// this process come first, and of those that answer.
    pub(super) fn place_for(
        &self,
        op: &'static str,
        inbound: &Inbound,
        before: Option<&Inbound>,
    ) -> Result<ServerPlace> {
        let named = inbound.server.as_ref();
        if let Some(id) = named
            && id.node() != inbound.node
        {
            return Err(Error::invalid(op, "server", "is on another node")
                .with("server", id)
                .with("node", &inbound.node));
        }
        let held = before.and_then(|before| before.server.as_ref()).filter(|_| named.is_none());
        let mut places = self.places(&inbound.node);
        places.retain(|place| named.is_none_or(|id| *id == place.id));
        let mut fault = None;
        // It stays where it is: another server would take its clients' connections, and its links.
        let stays = places.into_iter().filter(|place| held.is_none_or(|held| *held == place.id));
        for place in stays {
            let mut whole = inbound.clone();
            place.rules.complete(&mut whole, before);
            match place.rules.check(&whole) {
                Ok(()) => return Ok(place),
                Err(e) => fault = fault.or(Some(e)),
            }
        }
        Err(match (fault, named.or(held)) {
            (Some(e), _) => e.during(op),
            (None, Some(id)) => Error::new(ErrorKind::NotFound, op, "no such server")
                .with("server", id)
                .hint("a server is known once a process has listed it in its configuration"),
            (None, None) => {
                Error::new(ErrorKind::NotFound, op, "no server on this node").with("node", &inbound.node)
            }
        })
    }

    /// The servers of a node, in the order in which they are asked to run an inbound.
    fn places(&self, node: &NodeId) -> Vec<ServerPlace> {
        let servers = self.servers();
        let mut own: Vec<&Arc<Server>> =
            servers.iter().filter(|server| server.backend.node() == node).collect();
        // In the order of the configuration.
        own.sort_by_key(|server| !server.is_up());
        let own = own.into_iter().map(|server| ServerPlace {
            id: server.id().clone(),
            rules: Arc::clone(&server.rules),
            here: (!server.is_elsewhere()).then(|| Arc::clone(server)),
        });
        let cache = self.cache();
        let others = cache.servers.keys().filter(|id| id.node() == *node);
        let others = others.filter(|id| !servers.iter().any(|server| server.id() == *id));
        let others = others.filter_map(|id| {
            Some(ServerPlace { id: id.clone(), rules: self.rules_elsewhere(id)?, here: None })
        });
        own.chain(others).collect()
    }

    /// Checks that a process drives the server, and that it answers: what it refuses is known then.
    ///
    /// Errors: `Unavailable`.
    pub(super) async fn require_driven(&self, op: &'static str, place: &ServerPlace) -> Result<()> {
        let up = match &place.here {
            Some(server) => server.is_up(),
            None => {
                let leases = self.elsewhere().await.map_err(|e| e.during(op))?;
                let told = leases.get(&of_server(&place.id)).and_then(Self::told);
                told.is_some_and(|told| told.status.state == ServerCondition::Up)
            }
        };
        match up {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Unavailable, op, "the server of the inbound does not answer")
                .with("server", &place.id)),
        }
    }

    /// Waits until the server has taken an inbound over; returns why it refuses it. One that does not answer has it later.
    async fn refused(&self, place: &ServerPlace, inbound: &Inbound, committed: Cursor) -> Option<Error> {
        if let Some(server) = &place.here {
            let applied = server.queue.inbound(inbound.tag.clone());
            return match tokio::time::timeout(self.options.apply_wait.max(APPLY), applied).await {
                Ok(Ok(Err(e))) if matches!(e.kind(), ErrorKind::PortInUse | ErrorKind::Rejected) => Some(e),
                _ => None,
            };
        }
        self.wait_elsewhere(std::slice::from_ref(&place.id), committed).await;
        let leases = self.elsewhere().await.ok()?;
        let lease = leases.get(&of_server(&place.id)).filter(|lease| lease.progress >= committed)?;
        let reason = Self::told(lease)?.status.set_aside.remove(&inbound.tag)?;
        Some(
            Error::new(ErrorKind::Rejected, "server.apply", "the server refuses the inbound")
                .with("inbound", &inbound.tag)
                .with("reason", reason),
        )
    }

    /// Waits until the server of an inbound has applied what the store says of it, or for as long as a call waits.
    async fn apply_inbound(&self, inbound: &Inbound, committed: Cursor) {
        let servers = self.servers();
        match servers.iter().find(|server| inbound.runs_on(server.id()) && !server.is_elsewhere()) {
            Some(server) => {
                let applied = server.queue.inbound(inbound.tag.clone());
                let _ = tokio::time::timeout(self.options.apply_wait, applied).await;
            }
            None => {
                let of = inbound.server.iter().cloned().collect::<Vec<_>>();
                self.wait_elsewhere(&of, committed).await;
            }
        }
    }

    /// Checks that no other inbound of the node gives the same addresses.
    fn check_overlap(&self, op: &'static str, inbound: &Inbound) -> Result<()> {
        let Some(pool) = &inbound.addresses else { return Ok(()) };
        let other = |other: &&Arc<Inbound>| {
            other.node == inbound.node
                && other.tag != inbound.tag
                && other.addresses.is_some_and(|theirs| theirs.overlaps(pool))
        };
        match self.inbounds().iter().find(other) {
            Some(other) => {
                Err(Error::invalid(op, "addresses", "another inbound of the node has these addresses")
                    .with("inbound", &other.tag))
            }
            None => Ok(()),
        }
    }

    /// Gives the keys of an inbound the credentials that they lack, and its server their accounts. A server that does not
    /// answer has them later.
    async fn give(&self, op: &'static str, inbound: &Inbound) -> Result<()> {
        match self.give_credentials(inbound, None).await {
            Ok(0) => {}
            Ok(_) => {
                let committed = self.store.newest_event().await.map_err(|e| e.during(op))?;
                self.apply_inbound(inbound, committed).await;
            }
            Err(e) if inbound.own_credentials() && e.is_temporary() => {
                tracing::warn!(inbound = %inbound.id(), error = %e, "keys get their credentials later");
            }
            Err(e) => return Err(e.during(op)),
        }
        Ok(())
    }

    /// Undoes a refused inbound, in the store and on its server.
    async fn take_back(&self, op: &'static str, refused: &Inbound, before: Option<&Inbound>) {
        match self.undo(op, refused, before).await {
            Ok(committed) => {
                self.apply_inbound(refused, committed).await;
                if let Some(before) = before {
                    self.apply_inbound(before, committed).await;
                }
            }
            Err(e) => {
                tracing::warn!(inbound = %refused.tag, error = %e, "a refused inbound could not be undone");
            }
        }
    }

    /// Gives the store what it had before a refused inbound, unless somebody has changed it since.
    async fn undo(&self, op: &'static str, refused: &Inbound, before: Option<&Inbound>) -> Result<Cursor> {
        self.reload().await?;
        let mut committed = Cursor::START;
        let same = |i: &&Arc<Inbound>| i.node == refused.node && i.tag == refused.tag;
        if self.inbounds().iter().find(same).is_some_and(|held| **held == *refused) {
            let undo = match before {
                Some(before) => InboundOp::Replace {
                    before: Some(Box::new(refused.clone())),
                    inbound: Box::new(before.clone()),
                },
                None => InboundOp::Remove(refused.node.clone(), refused.tag.clone()),
            };
            committed = match self.commit(op, undo).await {
                Err(e) if e.kind() == ErrorKind::Conflict => Cursor::START,
                undone => undone?.cursor,
            };
        }
        self.reload().await?;
        Ok(committed)
    }

    async fn commit(&self, op: &'static str, step: InboundOp) -> Result<Receipt> {
        self.store.commit(self.txn([step])).await.map_err(|e| e.during(op))
    }
}
