//! Deleting keys.

use std::collections::HashSet;
use std::sync::Arc;

use super::Shared;
use super::inbounds::forget_hosts;
use super::revision::FromInbounds;
use vpnkit_core::Result;
use vpnkit_core::model::{Inbound, Key, KeyId};
use vpnkit_core::store::{Fence, KeyOp, StoreOp};

impl Shared {
    /// Deletes keys in one transaction; as background work it is fenced.
    pub(super) async fn delete(
        &self,
        op: &'static str,
        keys: Vec<Key>,
        expected: impl Fn(&Key) -> Option<u64>,
        fence: Option<Fence>,
    ) -> Result<()> {
        let owners: HashSet<KeyId> = keys.iter().map(|key| key.id).collect();
        let dedicated = || -> Vec<Arc<Inbound>> {
            let of_them = |inbound: &&Arc<Inbound>| inbound.dedicated_to.is_some_and(|o| owners.contains(&o));
            self.inbounds().iter().filter(of_them).cloned().collect()
        };
        let mut from = FromInbounds::new(self, op);
        let (receipt, own_inbounds) = loop {
            let own_inbounds = dedicated();
            let delete = |key: &Key| KeyOp::Delete { key: key.id, expected: expected(key) }.into();
            let mut ops: Vec<StoreOp> = keys.iter().map(delete).collect();
            ops.extend(own_inbounds.iter().map(|inbound| forget_hosts(&inbound.node, &inbound.tag)));
            if let Some(receipt) = from.commit(self.txn(ops).under(fence.clone())).await? {
                break (receipt, own_inbounds);
            }
        };
        if !receipt.took_effect() {
            return Ok(());
        }
        self.revoked(&receipt.revoked);
        self.let_go(&keys, &own_inbounds).await?;
        // Nobody waits for background work.
        if fence.is_none() {
            let others = self.others();
            tokio::join!(self.settled(), self.wait_elsewhere(&others, receipt.cursor));
        }
        Ok(())
    }

    /// Lets servers forget keys that were deleted, and the inbounds that were dedicated to them.
    pub(super) async fn let_go(&self, keys: &[Key], own_inbounds: &[Arc<Inbound>]) -> Result<()> {
        if !own_inbounds.is_empty() {
            self.reload().await?;
        }
        for server in self.servers().iter() {
            for key in keys {
                server.near.forget(key.id);
                server.queue.deleted(key);
            }
            for inbound in own_inbounds.iter().filter(|inbound| inbound.runs_on(server.id())) {
                drop(server.queue.inbound(inbound.tag.clone()));
            }
        }
        Ok(())
    }
}
