//! The keys of owners: all of them are changed, or stop when their owner has used what it may.

use super::Shared;
use super::admins::owned;
use vpnkit_core::model::{AdminId, KeyId, KeyPatch, KeyQuery, KeyStatus};
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
    ///
    /// Errors: `LimitReached` when a quota allows no more; `changed` says how many were changed before that.
    pub(super) async fn change_owned(
        &self,
        op: &'static str,
        owner: AdminId,
        status: &[KeyStatus],
        patch: &KeyPatch,
    ) -> Result<usize> {
        let (mut changed, mut after) = (0, KeyId(0));
        loop {
            let query = KeyQuery { limit: STEP, ..owned(owner, status) };
            let (keys, _) = self.keys_after(op, &query, after).await?;
            let Some(last) = keys.last().map(|key| key.id) else { return Ok(changed) };
            after = last;
            let (some, outcome) = self.change_step(keys.iter().map(|key| key.id).collect(), patch).await;
            changed += some;
            outcome.map_err(|e| e.during(op).with("changed", changed))?;
        }
    }

    /// Changes these keys in one transaction, but for those that were deleted meanwhile, and those that no longer fit a quota: those before
    /// them are changed. Returns how many were, and what was in the way of the others.
    async fn change_step(&self, mut keys: Vec<KeyId>, patch: &KeyPatch) -> (usize, Result<()>) {
        let mut outcome = Ok(());
        while !keys.is_empty() {
            let step =
                |key: &KeyId| KeyOp::Patch { key: *key, expected: None, patch: Box::new(patch.clone()) };
            let error = match self.store.commit(self.txn(keys.iter().map(step))).await {
                Ok(receipt) => {
                    if receipt.took_effect() {
                        self.queue_transitions(&receipt.transitions);
                    }
                    return (keys.len(), outcome);
                }
                Err(error) => error,
            };
            // Of one key alone there is none.
            let place = error.get("index").and_then(|index| index.parse().ok()).unwrap_or(0);
            match error.kind() {
                ErrorKind::NotFound if error.get("key").is_some() && place < keys.len() => {
                    keys.remove(place);
                }
                ErrorKind::LimitReached => {
                    keys.truncate(place);
                    outcome = Err(error);
                }
                _ => return (0, Err(error)),
            }
        }
        (0, outcome)
    }

    /// Deletes all keys of an owner.
    pub(super) async fn delete_owned(&self, op: &'static str, owner: AdminId) -> Result<()> {
        loop {
            let query = KeyQuery { limit: STEP, ..owned(owner, &[]) };
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
