//! Merging keys.

use std::slice;
use std::sync::Arc;

use super::ask::Asked;
use super::inbounds::forget_hosts;
use super::payment::{grant_request, only_key};
use super::revision::FromInbounds;
use super::{Collected, Keys, context};
use vpnkit_core::model::{Inbound, Key, KeyRef};
use vpnkit_core::store::{KeyOp, StoreOp};
use vpnkit_core::{Error, Result, lifecycle};

impl Keys {
    pub(super) async fn merge_one(
        &self,
        op: &'static str,
        key: KeyRef,
        into: KeyRef,
        idempotency_key: Option<String>,
        expected: Option<u64>,
    ) -> Result<Key> {
        let shared = self.shared(op)?;
        // As they are named: the one that goes cannot be looked up when the call comes again.
        let asked = [key.to_string(), into.to_string()];
        let request = idempotency_key.as_deref().map(|id| grant_request(op, id, asked)).transpose()?;
        if let Some(replay) = shared.replay(op, request.as_ref()).await? {
            return only_key(op, idempotency_key.as_deref(), replay);
        }
        let (gone, into) = (shared.resolve(op, &key).await?, shared.resolve(op, &into).await?.id);
        // Before anybody is asked for anything: most that cannot be merged are seen at once.
        let stays = shared.resolve(op, &into.into()).await?;
        let (mut stays, mut goes, now) = (stays, gone.clone(), shared.clock.now());
        for key in [&mut stays, &mut goes] {
            lifecycle::settle(key, now);
        }
        lifecycle::merge(&mut stays, &goes, None, now).map_err(|e| e.during(op))?;
        if !self.engine.context().is_dry_run() {
            // What has passed and was not read yet would be given again, and what is due of both is done first.
            context::by_itself(async {
                let _ = shared.collect_all().await;
                let _ = shared.ask_all::<Collected>(op, &Asked::Collect).await;
                let settled = shared.txn([KeyOp::Settle(gone.id), KeyOp::Settle(into)]);
                let settled = shared.store.commit(settled).await.map_err(|e| e.during(op))?;
                shared.revoked(&settled.revoked);
                shared.replace_later(&settled.replaced).await;
                shared.queue_transitions(&settled.transitions);
                Ok::<(), Error>(())
            })
            .await?;
        }
        let mut from = FromInbounds::new(shared, op);
        let (receipt, dedicated) = loop {
            let inbounds = shared.inbounds();
            let dedicated: Vec<Arc<Inbound>> =
                inbounds.iter().filter(|i| i.dedicated_to == Some(gone.id)).cloned().collect();
            let steps = [StoreOp::from(KeyOp::Merge { key: gone.id, into, expected })]
                .into_iter()
                .chain(dedicated.iter().map(|inbound| forget_hosts(&inbound.node, &inbound.tag)));
            let txn = shared.txn(steps).for_request(request.clone());
            if let Some(receipt) = from.commit(txn).await? {
                break (receipt, dedicated);
            }
        };
        if receipt.took_effect() {
            shared.revoked(&receipt.revoked);
            shared.let_go(slice::from_ref(&gone), &dedicated).await?;
            shared.applied(&receipt.keys, false, receipt.cursor).await;
        }
        only_key(op, idempotency_key.as_deref(), receipt)
    }
}
