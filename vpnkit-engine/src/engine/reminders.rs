//! Reminds of keys that end soon.

use std::time::Duration;

use super::Shared;
use vpnkit_core::Result;
use vpnkit_core::store::{Fence, StoreOp};

/// Between two looks: a reminder is no use to the second.
pub(super) const EVERY: Duration = Duration::from_secs(30);
/// Keys of one transaction.
const STEP: usize = 500;

impl Shared {
    /// Tells of all keys whose end has come near since the last look. As background work it is fenced.
    pub(super) async fn remind(&self, fence: Option<Fence>) -> Result<()> {
        let mut all = self.options.reminders.days_left.clone();
        all.sort_unstable();
        all.dedup();
        let nearer = [0].into_iter().chain(all.iter().copied());
        for (days, above) in all.iter().copied().zip(nearer) {
            loop {
                let step = StoreOp::RemindOfEnd { days, above, limit: STEP };
                let receipt = self.store.commit(self.txn([step]).under(fence.clone())).await?;
                if receipt.reminded < STEP || self.stop.is_cancelled() {
                    break;
                }
            }
        }
        Ok(())
    }
}
