//! Inbounds.

use std::collections::BTreeSet;

use vpnkit_macros::operations;

use super::subscription_cache::hosts_name;
use super::{Engine, Shared};
use crate::model::{Credential, Inbound, InboundTag, KeyPatch, KeyQuery, NodeId};
use crate::store::{StoreOp, StoreTxn};
use crate::{Error, ErrorKind, Result};

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
    /// the port; `PortInUse` and `Rejected` when the server refuses it, and then nothing is changed. When the server
    /// does not answer, the inbound is committed and comes with the next reconcile.
    #[operation(change)]
    pub async fn ensure(&self, #[arg(record)] inbound: Inbound) -> Result<Inbound> {
        let inbounds = self.clone();
        self.engine.run_to_completion("inbounds.ensure", async move { inbounds.put(inbound).await }).await
    }

    async fn put(&self, inbound: Inbound) -> Result<Inbound> {
        const OP: &str = "inbounds.ensure";
        let shared = self.shared(OP)?;
        let server = shared.servers.iter().find(|s| *s.backend.node() == inbound.node).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, OP, "no server on this node").with("node", &inbound.node)
        })?;
        if inbound.port == 0 {
            return Err(Error::invalid(OP, "port", "must be 1 to 65535"));
        }
        server.backend.check(&inbound).map_err(|e| e.during(OP))?;
        let before =
            shared.inbounds().iter().find(|i| i.node == inbound.node && i.tag == inbound.tag).cloned();
        shared.commit(OP, StoreOp::PutInbound(Box::new(inbound.clone()))).await?;
        shared.reload_inbounds().await?;
        shared.give_credentials(&inbound).await?;
        if before.as_ref() == Some(&inbound) {
            return Ok(inbound);
        }
        let applied = server.queue.inbound(inbound.tag.clone());
        match tokio::time::timeout(shared.options.apply_wait.max(super::inbounds::APPLY), applied).await {
            Ok(Ok(Err(e))) if matches!(e.kind(), ErrorKind::PortInUse | ErrorKind::Rejected) => {
                let undo = match before {
                    Some(before) => StoreOp::PutInbound(Box::new(before)),
                    None => StoreOp::RemoveInbound(inbound.node.clone(), inbound.tag.clone()),
                };
                shared.commit(OP, undo).await?;
                shared.reload_inbounds().await?;
                drop(server.queue.inbound(inbound.tag.clone()));
                Err(e.during(OP))
            }
            _ => Ok(inbound),
        }
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
    #[operation(change)]
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
        let txn =
            StoreTxn::new(shared.clock.now(), vec![StoreOp::RemoveInbound(node.clone(), tag.clone()), hosts]);
        shared.store.commit(txn).await.map_err(|e| e.during(OP))?;
        shared.reload_inbounds().await?;
        shared.reload_subscriptions().await?;
        for server in shared.servers.iter().filter(|s| s.backend.node() == node) {
            let applied = server.queue.inbound(tag.clone());
            let _ = tokio::time::timeout(shared.options.apply_wait, applied).await;
        }
        Ok(())
    }

    fn shared(&self, operation: &'static str) -> Result<&Shared> {
        self.engine.shared.open(operation)?;
        Ok(&self.engine.shared)
    }
}

/// A server needs longer for an inbound than for an account.
const APPLY: std::time::Duration = std::time::Duration::from_secs(10);

/// An inbound's hosts go with it.
pub(super) fn forget_hosts(node: &NodeId, tag: &InboundTag) -> StoreOp {
    StoreOp::PutDocument { name: hosts_name(node, tag), expected: None, body: None }
}

impl Shared {
    async fn commit(&self, op: &'static str, step: StoreOp) -> Result<()> {
        let txn = StoreTxn::new(self.clock.now(), vec![step]);
        self.store.commit(txn).await.map(drop).map_err(|e| e.during(op))
    }

    /// Gives every key on the inbound that has no credential of its protocol one, a page at a time.
    async fn give_credentials(&self, inbound: &Inbound) -> Result<()> {
        let protocol = inbound.protocol.credential();
        let mut query = KeyQuery { limit: 1_000, ..KeyQuery::default() };
        loop {
            let page = self.store.find(&query).await?;
            let mut ops = Vec::new();
            for key in page.keys.iter().filter(|key| inbound.serves(key.id, &key.inbounds)) {
                let has: BTreeSet<_> = key.credentials.iter().map(Credential::protocol).collect();
                if !has.contains(&protocol) {
                    let credential =
                        Credential { device: Default::default(), secret: self.issue(protocol).await? };
                    let patch = KeyPatch { credentials: vec![credential], ..KeyPatch::default() };
                    ops.push(StoreOp::Patch {
                        key: key.id,
                        expected: Some(key.version),
                        patch: Box::new(patch),
                    });
                }
            }
            if !ops.is_empty() {
                match self.store.commit(StoreTxn::new(self.clock.now(), ops)).await {
                    // A key of this page was changed or deleted meanwhile: look at the page again.
                    Err(e) if matches!(e.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => continue,
                    outcome => drop(outcome?),
                }
            }
            match page.next {
                Some(next) => query.page = Some(next),
                None => return Ok(()),
            }
        }
    }
}
