//! Reads counters and counts what they add.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::MissedTickBehavior;

use super::Shared;
use super::server::Server;
use crate::accounting::{self, Baseline};
use crate::model::Traffic;
use crate::store::{StoreOp, StoreTxn, TrafficBatch};
use crate::{ErrorKind, Result};

/// What one reading added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Collected {
    /// Keys whose traffic was updated.
    pub keys_updated: usize,
    /// Bytes that were added.
    pub traffic: Traffic,
    /// Keys that reached their limit.
    pub limited: usize,
    /// Counters that somebody else reset: their first bytes after that may be lost.
    pub counter_resets: usize,
}

/// Reads the server in its interval until the engine stops.
pub(super) async fn run(shared: Arc<Shared>, server: Arc<Server>) {
    let mut ticks = tokio::time::interval(shared.options.collect_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        // Not raced against the stop: a commit that is under way is waited for, so that its receipt is not lost.
        if server.is_up()
            && let Err(e) = shared.collect(&server).await
        {
            tracing::warn!(server = %server.id(), error = %e, "a reading failed; the next one makes up for it");
        }
    }
}

impl Shared {
    /// Reads the server once; the reading and all that follows from it is one transaction.
    pub(super) async fn collect(&self, server: &Server) -> Result<Collected> {
        let mut last = server.baseline.lock().await;
        // Another process may have counted meanwhile: then load what it stored, read again, once.
        for attempt in 0..2 {
            if last.is_none() {
                *last = Some(self.store.baseline(server.id()).await?);
            }
            let baseline = last.as_ref().and_then(Option::as_ref);
            let reading = server.source.read(baseline.map(|b| &b.epoch)).await?;
            let epoch = reading.epoch.clone();
            let tally = accounting::account(baseline, reading);
            if tally.moved.is_empty() && !tally.new_epoch {
                return Ok(Collected::default());
            }
            let after = baseline.map_or(0, |b| b.sequence);
            let mut collected = Collected {
                keys_updated: tally.moved.len(),
                counter_resets: tally.counter_resets,
                ..Collected::default()
            };
            for moved in &tally.moved {
                collected.traffic = collected.traffic.plus(moved.delta);
            }
            if tally.counter_resets > 0 {
                tracing::warn!(server = %server.id(), counters = tally.counter_resets, "another program resets counters");
            }
            let batch = TrafficBatch {
                server: server.id().clone(),
                node: server.backend.node().clone(),
                after,
                epoch: epoch.clone(),
                new_epoch: tally.new_epoch,
                moved: tally.moved,
            };
            let txn = StoreTxn::new(self.clock.now(), vec![StoreOp::Traffic(Box::new(batch))]);
            match self.store.commit(txn).await {
                Ok(receipt) => {
                    *last = Some(Some(Baseline { epoch, sequence: after + 1, counters: tally.counters }));
                    collected.limited = receipt.transitions.len();
                    for server in &self.servers {
                        server.queue.keys(receipt.transitions.iter().map(|t| t.key));
                    }
                    return Ok(collected);
                }
                Err(e) => {
                    // Whether it was stored or not, the store knows.
                    *last = None;
                    if e.kind() != ErrorKind::Conflict || attempt > 0 {
                        return Err(e);
                    }
                }
            }
        }
        Ok(Collected::default())
    }
}
