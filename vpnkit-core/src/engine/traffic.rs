//! Traffic.

use std::time::Duration;

use super::{Collected, Engine};
use crate::model::{KeyRef, UsagePoint, UsageQuery, UsageStep};
use crate::subscription::UsageChart;
use crate::traffic::OnlineKey;
use crate::{Error, Result};

/// History and who is online.
#[derive(Clone, Debug)]
pub struct TrafficView {
    pub(super) engine: Engine,
}

impl TrafficView {
    /// Traffic over time, oldest first; steps without traffic are left out.
    pub async fn history(&self, query: UsageQuery) -> Result<Vec<UsagePoint>> {
        const OP: &str = "traffic.history";
        self.engine.shared.open(OP)?;
        self.engine.shared.store.usage(&query).await.map_err(|e| e.during(OP))
    }

    /// A chart of a key's traffic over the last `days`, today included, for bots to send.
    ///
    /// Errors: `NotFound`; `InvalidInput` about `days` unless it is 1 to 366.
    pub async fn chart(&self, key: impl Into<KeyRef>, days: u32) -> Result<UsageChart> {
        const OP: &str = "traffic.chart";
        const DAY: u64 = 86_400;
        self.engine.shared.open(OP)?;
        if !(1..=366).contains(&days) {
            return Err(Error::invalid(OP, "days", "must be 1 to 366").with("value", days));
        }
        let key = self.engine.shared.resolve(OP, &key.into()).await?.id;
        let to = self.engine.shared.clock.now().day().plus(Duration::from_secs(DAY));
        let from = to.minus(Duration::from_secs(u64::from(days) * DAY));
        let query = UsageQuery { key: Some(key), node: None, from, to, step: UsageStep::Day };
        UsageChart::new(&self.history(query).await?, from, to, UsageStep::Day)
    }

    /// Reads every server that answers now, instead of at the next interval.
    pub async fn collect(&self) -> Result<Vec<Collected>> {
        const OP: &str = "traffic.collect";
        self.engine.shared.open(OP)?;
        let mut all = Vec::new();
        for server in self.engine.shared.servers.iter().filter(|s| s.is_up()) {
            all.push(self.engine.shared.collect(server).await.map_err(|e| e.during(OP))?);
        }
        Ok(all)
    }

    /// Keys with open connections on any server that answers, sorted by id.
    pub async fn online(&self) -> Result<Vec<OnlineKey>> {
        const OP: &str = "traffic.online";
        self.engine.shared.open(OP)?;
        let mut all: Vec<OnlineKey> = Vec::new();
        for server in self.engine.shared.servers.iter().filter(|s| s.is_up()) {
            for online in server.source.online().await.map_err(|e| e.during(OP))? {
                match all.iter_mut().find(|known| known.key == online.key) {
                    Some(known) => known.addresses.extend(online.addresses),
                    None => all.push(online),
                }
            }
        }
        all.sort_by_key(|online| online.key);
        Ok(all)
    }

    /// Where one key is online from; `None` when it is not.
    ///
    /// Errors: `NotFound`.
    pub async fn online_key(&self, key: impl Into<KeyRef>) -> Result<Option<OnlineKey>> {
        let key = self.engine.shared.resolve("traffic.online_key", &key.into()).await?.id;
        Ok(self.online().await?.into_iter().find(|online| online.key == key))
    }
}
