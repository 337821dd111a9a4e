//! Does what is due of keys, and forgets old events.

use std::time::Duration;

use super::Shared;
use vpnkit_core::model::{Key, KeyId};
use vpnkit_core::store::{Fence, KeyOp, Retention, StoreTxn};
use vpnkit_core::{ErrorKind, Result, lifecycle};

/// Keys that are judged in one transaction.
const BATCH: usize = 1_000;
/// Keys that are deleted in one transaction.
const DELETED_AT_ONCE: usize = 100;
/// Between two steps of a pruning.
const BETWEEN_STEPS: Duration = Duration::from_millis(5);
/// Between two prunings.
pub(super) const PRUNE_EVERY: Duration = Duration::from_secs(3_600);

impl Shared {
    /// Forgets old events and sums up old traffic, step by step: between two of them others write.
    pub(super) async fn prune(&self, fence: Fence) -> Result<()> {
        let now = self.clock.now();
        let retention = Retention {
            events: now.minus(self.options.keep_events),
            timelines: now.minus(self.options.keep_timelines),
            hours: now.minus(self.options.keep_hourly),
            days: now.minus(self.options.keep_daily),
        };
        while self.store.prune(&retention, Some(fence.clone())).await?.more {
            if self.stop.is_cancelled() {
                break;
            }
            // Others want to write too.
            tokio::time::sleep(BETWEEN_STEPS).await;
        }
        Ok(())
    }

    /// Does what is due of keys: ends those whose time is over, sets usage to nothing, begins plans, deletes what has ended for
    /// long enough. Returns how many have come to another status. As background work it is fenced.
    pub(super) async fn check_expiry(&self, fence: Option<Fence>) -> Result<usize> {
        let (mut ended, mut last) = (0, Vec::new());
        loop {
            let now = self.clock.now();
            let due = self.store.due(now, BATCH).await?;
            // What cannot be done now is tried again at the next review.
            if due.is_empty() || due == last {
                return Ok(ended);
            }
            last.clone_from(&due);
            let full = due.len() == BATCH;
            let ops = due.into_iter().map(KeyOp::Settle);
            let txn = StoreTxn { at: now, ..self.txn(ops) }.under(fence.clone());
            let receipt = self.store.commit(txn).await?;
            ended += receipt.transitions.len();
            self.revoked(&receipt.revoked);
            self.replace_later(&receipt.replaced).await;
            self.queue_transitions(&receipt.transitions);
            self.delete_over(&receipt.over, fence.as_ref()).await?;
            if !full || self.stop.is_cancelled() {
                return Ok(ended);
            }
        }
    }

    /// Returns these keys, but for those that cannot be read: they are looked at again later.
    async fn readable(&self, ids: &[KeyId], fence: Option<&Fence>) -> Result<Vec<Key>> {
        match self.store.keys(ids).await {
            Err(e) if e.kind() == ErrorKind::StoreCorrupt => {}
            keys => return keys,
        }
        let mut keys = Vec::new();
        for id in ids {
            match self.store.keys(&[*id]).await {
                Err(e) if e.kind() == ErrorKind::StoreCorrupt => {
                    tracing::warn!(key = id.0, error = %e, "a key cannot be read; it is deleted when it can");
                    self.store.commit(self.txn([KeyOp::SetAside(*id)]).under(fence.cloned())).await?;
                }
                found => keys.extend(found?),
            }
        }
        Ok(keys)
    }

    /// Deletes keys, all of them or none; `false` when one was changed or deleted meanwhile.
    async fn delete_unchanged(&self, keys: Vec<Key>, fence: Option<&Fence>) -> Result<bool> {
        match self.delete("expiry", keys, |key| Some(key.version), fence.cloned()).await {
            Err(e) if matches!(e.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => Ok(false),
            deleted => deleted.map(|()| true),
        }
    }

    /// Deletes keys that have ended for as long as they are kept. One that was renewed meanwhile stays.
    async fn delete_over(&self, over: &[KeyId], fence: Option<&Fence>) -> Result<()> {
        for some in over.chunks(DELETED_AT_ONCE) {
            let keys = self.readable(some, fence).await?;
            let now = self.clock.now();
            let keys: Vec<Key> = keys.into_iter().filter(|key| lifecycle::is_over(key, now)).collect();
            if !self.delete_unchanged(keys.clone(), fence).await? {
                for key in keys {
                    self.delete_unchanged(vec![key], fence).await?;
                }
            }
        }
        Ok(())
    }
}
