//! The keys of owners: all of them are changed, or stop when their owner has used what it may.

use super::Shared;
use super::admins::owned;
use vpnkit_core::model::{AdminId, KeyId, KeyPatch, KeyStatus};
use vpnkit_core::store::{AdminOp, Fence, KeyOp, StoreOp};
use vpnkit_core::{ErrorKind, Result};

/// Keys of one transaction.
const STEP: u32 = 500;

impl Shared {
    /// Lets all keys follow the quotas of their owners that have not yet. As background work it is fenced.
    pub(super) async fn follow_owners(&self, fence: Option<Fence>) -> Result<()> {
        let step = usize::try_from(STEP).unwrap_or(usize::MAX);
        let mut last = Vec::new();
        while !self.stop.is_cancelled() {
            let next = self.store.owners_to_follow(step).await?;
            // What cannot be done now is tried again at the next review.
            if next.keys.is_empty() && next.done.is_empty() || !next.keys.is_empty() && next.keys == last {
                break;
            }
            last.clone_from(&next.keys);
            let done =
                next.done.into_iter().map(|(admin, mark)| StoreOp::from(AdminOp::Followed { admin, mark }));
            let keys = next.keys.into_iter().map(|key| StoreOp::from(KeyOp::FollowOwner(key)));
            let receipt = self.store.commit(self.txn(keys.chain(done)).under(fence.clone())).await?;
            self.queue_transitions(&receipt.transitions);
        }
        Ok(())
    }

    /// Changes all keys of an owner that have one of these statuses, any without; returns how many.
    pub(super) async fn change_owned(
        &self,
        op: &'static str,
        owner: AdminId,
        status: &[KeyStatus],
        patch: &KeyPatch,
    ) -> Result<usize> {
        let mut changed = 0;
        let mut after = KeyId(0);
        loop {
            let query = vpnkit_core::model::KeyQuery { limit: STEP, ..owned(owner, status) };
            let (keys, _) = self.keys_after(op, &query, after).await?;
            let Some(last) = keys.last().map(|key| key.id) else { return Ok(changed) };
            after = last;
            let mut ids: Vec<KeyId> = keys.iter().map(|key| key.id).collect();
            let mut full = None;
            while !ids.is_empty() {
                let step =
                    |key: &KeyId| KeyOp::Patch { key: *key, expected: None, patch: Box::new(patch.clone()) };
                match self.store.commit(self.txn(ids.iter().map(step))).await {
                    Ok(receipt) => {
                        changed += ids.len();
                        if receipt.took_effect() {
                            self.queue_transitions(&receipt.transitions);
                        }
                        match full {
                            Some(e) => return Err(vpnkit_core::Error::during(e, op).with("changed", changed)),
                            None => break,
                        }
                    }
                    // One that was deleted meanwhile: the others go on.
                    Err(e) if e.kind() == ErrorKind::NotFound && e.get("key").is_some() => {
                        let place = e.get("index").and_then(|index| index.parse().ok()).unwrap_or(0);
                        let _ = ids.remove(place.min(ids.len() - 1));
                    }
                    // Those before it fit.
                    Err(e)
                        if e.kind() == ErrorKind::LimitReached
                            && e.get("index").is_some_and(|i| i != "0") =>
                    {
                        let place = e.get("index").and_then(|index| index.parse().ok()).unwrap_or(0);
                        ids.truncate(place);
                        full = Some(e);
                    }
                    Err(e) => return Err(e.during(op).with("changed", changed)),
                }
            }
        }
    }

    /// Deletes all keys of an owner.
    pub(super) async fn delete_owned(&self, op: &'static str, owner: AdminId) -> Result<()> {
        loop {
            let query = vpnkit_core::model::KeyQuery { limit: STEP, ..owned(owner, &[]) };
            let (keys, _) = self.keys_after(op, &query, KeyId(0)).await?;
            if keys.is_empty() {
                return Ok(());
            }
            match self.delete(op, keys, |_| None, None).await {
                // One that was deleted meanwhile: the others are looked for again.
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                outcome => outcome?,
            }
        }
    }
}
