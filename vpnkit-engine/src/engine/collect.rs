//! Reads counters and counts what they add.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::drive::spread;
use super::server::Server;
use super::{Shared, near_limits, rates, side_by_side};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vpnkit_core::accounting::{self, Baseline};
use vpnkit_core::model::{KeyStatus, ServerId, Traffic};
use vpnkit_core::store::{StoreOp, TrafficBatch, Transition};
use vpnkit_core::{ErrorKind, Result};

/// What one reading added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Collected {
    /// Of which server.
    pub server: ServerId,
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
pub(super) async fn run(shared: Arc<Shared>, server: Arc<Server>, stop: CancellationToken) {
    let job = shared.jobs.begin("readings", Some(server.id().as_str()));
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(spread(shared.options.collect_every)) => {}
        }
        // Not raced against the stop: a commit that is under way is waited for, so that its receipt is not lost.
        if server.is_up() {
            let _ = job.run(&shared, shared.collect(&server)).await;
        }
    }
}

/// How long a reading may take.
const READ: Duration = Duration::from_secs(60);

impl Collected {
    fn of(server: &Server) -> Self {
        Self {
            server: server.id().clone(),
            keys_updated: 0,
            traffic: Traffic::default(),
            limited: 0,
            counter_resets: 0,
        }
    }
}

impl Shared {
    /// Reads the server once; the reading and all that follows from it is one transaction.
    pub(super) async fn collect(&self, server: &Server) -> Result<Collected> {
        let began = Instant::now();
        let collected = self.collect_once(server).await?;
        self.metrics.reading(began.elapsed(), &collected);
        Ok(collected)
    }

    async fn collect_once(&self, server: &Server) -> Result<Collected> {
        let mut last = server.baseline.lock().await;
        // Another process may have counted meanwhile: then load what it stored, read again, once.
        for attempt in 0..2 {
            if last.is_none() {
                *last = Some(self.store.baseline(server.id()).await?);
            }
            let baseline = last.as_ref().and_then(Option::as_ref);
            let reading = server.source.read(baseline.map(|b| b.epoch.clone()));
            // The commit that follows is not raced: its receipt must not be lost.
            let reading = server.answer("traffic.collect", READ, reading).await?;
            let epoch = reading.epoch.clone();
            // A lifetime that was taken for over may come back: then its counters go on where they were.
            let earlier = match baseline {
                Some(newest) if newest.epoch.id != epoch.id => {
                    self.store.baseline_of(server.id(), &epoch.id).await?
                }
                _ => None,
            };
            let returned = earlier.is_some();
            let tally = accounting::account(earlier.as_ref().or(baseline), reading);
            if tally.moved.is_empty() && tally.forgotten.is_empty() && !tally.new_epoch && !returned {
                server.rates.read(Vec::new(), self.clock.now());
                return Ok(Collected::of(server));
            }
            let after = baseline.map_or(0, |b| b.sequence);
            let mut collected = Collected {
                keys_updated: tally.moved.chunk_by(|a, b| a.key == b.key).count(),
                counter_resets: tally.counter_resets,
                ..Collected::of(server)
            };
            for moved in &tally.moved {
                collected.traffic = collected.traffic.plus(moved.delta);
            }
            if tally.counter_resets > 0 {
                tracing::warn!(server = %server.id(), counters = tally.counter_resets, "another program resets counters");
            }
            let (counted, coefficient) = (rates::counted(&tally.moved), self.coefficient(server));
            let batch = TrafficBatch {
                coefficient,
                server: server.id().clone(),
                node: server.backend.node().clone(),
                after,
                epoch: epoch.clone(),
                new_epoch: tally.new_epoch,
                moved: tally.moved,
                forgotten: tally.forgotten,
                usage_percents: self.options.reminders.usage_percents.clone(),
                near_within: match server.backend.capabilities().live_counters {
                    true => coefficient.weigh(near_limits::within(self.options.collect_every)),
                    false => 0,
                },
            };
            let txn = server.txn(self, [StoreOp::Traffic(Box::new(batch))])?;
            match self.store.commit(txn).await {
                Ok(receipt) => {
                    server.rates.read(counted, self.clock.now());
                    *last = Some(Some(Baseline { epoch, sequence: after + 1, counters: tally.counters }));
                    let limited = |t: &&Transition| t.to == KeyStatus::Limited;
                    collected.limited = receipt.transitions.iter().filter(limited).count();
                    self.queue_transitions(&receipt.transitions);
                    drop(last);
                    self.look_at_near(server, &receipt.near).await?;
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
        Ok(Collected::of(server))
    }

    /// Reads every server that answers, several at a time. One that fails does not keep the others; its error is returned
    /// when none else was read.
    pub(super) async fn collect_all(&self) -> Result<Vec<Collected>> {
        let readings = side_by_side(self.up(), |server| async move {
            let read = self.collect(&server).await;
            if let Err(e) = &read {
                tracing::warn!(server = %server.id(), error = %e, "a reading failed; the next one makes up for it");
            }
            read
        });
        let readings = readings.await;
        let (good, bad): (Vec<_>, Vec<_>) = readings.into_iter().partition(Result::is_ok);
        match bad.into_iter().next() {
            Some(Err(e)) if good.is_empty() => Err(e),
            _ => Ok(good.into_iter().flatten().collect()),
        }
    }
}
