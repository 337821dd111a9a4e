//! Counters that cost nothing to read.

use std::sync::Mutex;

use vpnkit::traffic::{Counter, Epoch, OnlineKey, Reading, TrafficSource};
use vpnkit::{DeviceName, KeyId, NodeId, Result, ServerId, Traffic, async_trait};

#[derive(Debug)]
pub(crate) struct BenchSource {
    server: ServerId,
    counters: Mutex<Vec<Counter>>,
}

impl Default for BenchSource {
    fn default() -> Self {
        Self { server: ServerId::new(&NodeId::main(), "fake"), counters: Mutex::default() }
    }
}

impl BenchSource {
    /// Bytes pass for keys 1 to `keys`.
    pub(crate) fn move_all(&self, keys: usize) {
        let mut counters = self.counters.lock().unwrap();
        let known = counters.len();
        counters.extend((known..keys).map(|i| Counter::of(KeyId(i as i64 + 1), Traffic::default())));
        for counter in counters.iter_mut() {
            counter.traffic = counter.traffic.plus(Traffic { up: 1_000, down: 9_000 });
        }
    }
}

impl BenchSource {
    /// Bytes pass for the first `keys` of those that are known.
    pub(crate) fn move_some(&self, keys: usize) {
        for counter in self.counters.lock().unwrap().iter_mut().take(keys) {
            counter.traffic = counter.traffic.plus(Traffic { up: 1_000, down: 9_000 });
        }
    }
}

#[async_trait]
impl TrafficSource for BenchSource {
    fn server(&self) -> &ServerId {
        &self.server
    }

    async fn read(&self, _last: Option<Epoch>) -> Result<Reading> {
        let epoch = Epoch { id: "one".into(), evidence: String::new() };
        Ok(Reading { epoch, counters: self.counters.lock().unwrap().clone(), foreign: 0 })
    }

    async fn read_keys(&self, epoch: &Epoch, accounts: &[(KeyId, DeviceName)]) -> Result<Option<Reading>> {
        let mut reading = self.read(Some(epoch.clone())).await?;
        reading.counters.retain(|counter| accounts.iter().any(|(key, _)| *key == counter.key));
        Ok(Some(reading))
    }

    async fn online(&self) -> Result<Vec<OnlineKey>> {
        Ok(Vec::new())
    }

    async fn online_key(&self, _key: KeyId) -> Result<Option<OnlineKey>> {
        Ok(None)
    }
}
