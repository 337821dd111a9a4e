//! Ends keys whose time is over, and forgets old events.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::Shared;
use vpnkit_core::Result;
use vpnkit_core::store::{KeyOp, Retention, StoreTxn};

/// Keys that are judged in one transaction.
const BATCH: usize = 1_000;
/// Between two steps of a pruning.
const BETWEEN_STEPS: Duration = Duration::from_millis(5);
/// Between two prunings.
const PRUNE_EVERY: Duration = Duration::from_secs(3_600);

/// Reviews in its interval until the engine stops.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut reviews = tokio::time::interval(shared.options.expiry_check_every);
    reviews.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            _ = reviews.tick() => {}
        }
        if let Err(e) = shared.check_expiry().await {
            tracing::warn!(error = %e, "a review failed; the next one makes up for it");
        }
    }
}

/// Forgets and sums up in its interval until the engine stops: apart from the reviews, since it may take long.
pub(super) async fn run_pruning(shared: Arc<Shared>) {
    let mut prunings = tokio::time::interval(PRUNE_EVERY);
    prunings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            _ = prunings.tick() => {}
        }
        if let Err(e) = shared.prune().await {
            tracing::warn!(error = %e, "old events could not be forgotten; it is tried again in an hour");
        }
    }
}

impl Shared {
    /// Forgets old events and sums up old traffic, step by step: between two of them others write.
    async fn prune(&self) -> Result<()> {
        let now = self.clock.now();
        let retention = Retention {
            events: now.minus(self.options.keep_events),
            hours: now.minus(self.options.keep_hourly),
            days: now.minus(self.options.keep_daily),
        };
        while self.store.prune(&retention).await?.more {
            if self.stop.is_cancelled() {
                break;
            }
            // Others want to write too.
            tokio::time::sleep(BETWEEN_STEPS).await;
        }
        Ok(())
    }

    /// Ends every key whose time is over; returns how many.
    pub(super) async fn check_expiry(&self) -> Result<usize> {
        let mut ended = 0;
        loop {
            let now = self.clock.now();
            let due = self.store.due(now, BATCH).await?;
            if due.is_empty() {
                return Ok(ended);
            }
            let full = due.len() == BATCH;
            let ops = due.into_iter().map(KeyOp::RefreshStatus);
            let receipt = self.store.commit(StoreTxn::new(now, ops)).await?;
            ended += receipt.transitions.len();
            self.queue_keys(receipt.transitions.iter().map(|t| t.key));
            if !full || receipt.transitions.is_empty() {
                return Ok(ended);
            }
        }
    }
}
