//! Readings of counters in memory.

use std::collections::{BTreeMap, BTreeSet};

use super::State;
use crate::accounting::{Baseline, Moved, crossed};
use crate::model::{AdminId, KeyId, Traffic};
use crate::store::{Receipt, TrafficBatch, consequence, errors};
use crate::traffic::{Counter, Series};
use crate::{Result, Timestamp, lifecycle};

impl State {
    pub(super) fn traffic(
        &mut self,
        batch: TrafficBatch,
        at: Timestamp,
        receipt: &mut Receipt,
    ) -> Result<()> {
        let known = self.baselines.get(&batch.server).map_or(&[][..], Vec::as_slice);
        if known.last().map_or(0, |b| b.sequence) != batch.after {
            return Err(errors::reading_outdated(&batch.server));
        }
        let last = known.iter().find(|b| b.epoch.id == batch.epoch.id).filter(|_| !batch.new_epoch);
        let mut counters: BTreeMap<(KeyId, Option<Series>), Counter> = match last {
            Some(last) => last.counters.iter().map(|c| ((c.key, c.series.clone()), c.clone())).collect(),
            None => BTreeMap::new(),
        };
        for (key, series) in batch.forgotten {
            counters.remove(&(key, Some(series)));
        }
        let (mut connected, mut owners) = (BTreeSet::new(), BTreeMap::<AdminId, u64>::new());
        for moved in batch.moved {
            let Some(before) = self.keys.get(&moved.key).cloned() else { continue };
            let Moved { key, series, counter: traffic, ended, .. } = moved.clone();
            counters.insert((key, series.clone()), Counter { key, series, traffic, ended });
            if moved.delta == Traffic::default() {
                continue;
            }
            let before_used = before.used;
            let mut counted = before;
            counted.traffic = counted.traffic.plus(moved.delta);
            let weighed = batch.coefficient.weigh(moved.delta.total());
            counted.used = counted.used.saturating_add(weighed);
            if let Some(owner) = counted.owner {
                let used = owners.entry(owner).or_default();
                *used = used.saturating_add(weighed);
                let hour = self.owner_hours.entry((at.hour(), batch.node.clone(), owner)).or_default();
                *hour = hour.plus(moved.delta);
            }
            counted.seen_at = Some(at);
            counted.first_seen_at.get_or_insert(at);
            let hour = self.hours.entry((at.hour(), batch.node.clone(), moved.key)).or_default();
            *hour = hour.plus(moved.delta);
            let all = self.node_hours.entry((at.hour(), batch.node.clone())).or_default();
            *all = all.plus(moved.delta);
            connected.insert(key);
            let share = counted
                .data_limit
                .and_then(|limit| crossed(before_used, counted.used, limit.bytes(), &batch.usage_percents));
            if let Some(percent) = share.filter(|percent| *percent < 100) {
                self.emit(consequence::of_share(&counted, percent), at);
            }
            if let Some(left) = counted.remaining().filter(|left| (1..=batch.near_within).contains(left)) {
                receipt.near.push((key, left));
            }
            self.keys.insert(key, counted);
        }
        for id in connected {
            let Some(before) = self.keys.get(&id).cloned() else { continue };
            let mut after = before.clone();
            let happened = lifecycle::connect(&mut after, at);
            lifecycle::stamp(&before, &mut after, at);
            self.replace(&before, after, &happened, at, receipt)?;
        }
        for (owner, used) in owners {
            self.count_used(owner, used)?;
        }
        let counters = counters.into_values().collect();
        let known = self.baselines.entry(batch.server).or_default();
        known.retain(|baseline| baseline.epoch.id != batch.epoch.id);
        known.push(Baseline { epoch: batch.epoch, sequence: batch.after + 1, counters });
        let surplus = known.len().saturating_sub(Baseline::EPOCHS_KEPT);
        known.drain(..surplus);
        Ok(())
    }
}
