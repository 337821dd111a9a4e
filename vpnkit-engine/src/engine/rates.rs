//! How fast bytes pass, by what the last readings have counted.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vpnkit_core::Timestamp;
use vpnkit_core::accounting::Moved;
use vpnkit_core::model::{ByteSize, KeyId, NodeId, ServerId, Traffic};

/// How fast bytes pass for a key, over all servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyRate {
    /// Which key.
    pub key: KeyId,
    /// Bytes a second from the client.
    pub up: ByteSize,
    /// Bytes a second to the client.
    pub down: ByteSize,
}

/// How fast bytes pass through a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServerRate {
    /// Which server.
    pub server: ServerId,
    /// Its node.
    pub node: NodeId,
    /// Bytes a second from clients.
    pub up: ByteSize,
    /// Bytes a second to clients.
    pub down: ByteSize,
    /// Keys that bytes have passed for.
    pub keys: usize,
}

/// How fast bytes pass now: between the last two readings of each server.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Rates {
    /// The servers that answer, sorted by id.
    pub servers: Vec<ServerRate>,
    /// The fastest keys, the fastest first.
    pub keys: Vec<KeyRate>,
}

/// Readings that follow each other faster are one: of a moment there is no rate.
const SHORTEST: Duration = Duration::from_secs(1);

/// What the readings of a server have counted.
#[derive(Debug, Default)]
pub(super) struct Measured(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// When all counters were read last.
    read: Option<Timestamp>,
    /// What was counted since then, of keys that are read more often.
    since: BTreeMap<KeyId, Traffic>,
    /// What the last reading of all has counted, by key, and in which time: of a million keys, so no map.
    last: Vec<(KeyId, Traffic)>,
    span: Duration,
}

/// Sums up by key what a reading, which is sorted by key, has counted.
pub(super) fn counted(moved: &[Moved]) -> Vec<(KeyId, Traffic)> {
    let of = |counters: &[Moved]| {
        let sum = counters.iter().fold(Traffic::default(), |sum, moved| sum.plus(moved.delta));
        counters.first().filter(|_| sum != Traffic::default()).map(|first| (first.key, sum))
    };
    moved.chunk_by(|a, b| a.key == b.key).filter_map(of).collect()
}

fn add(to: &mut BTreeMap<KeyId, Traffic>, counted: Vec<(KeyId, Traffic)>) {
    for (key, traffic) in counted {
        let sum = to.entry(key).or_default();
        *sum = sum.plus(traffic);
    }
}

impl Measured {
    /// Takes a reading of all counters in.
    pub(super) fn read(&self, mut counted: Vec<(KeyId, Traffic)>, now: Timestamp) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.read.is_some_and(|before| now >= before && now.since(before) < SHORTEST) {
            add(&mut state.since, counted);
            return;
        }
        let sorted = counted.len();
        for (key, traffic) in std::mem::take(&mut state.since) {
            let all = counted.get_mut(..sorted).unwrap_or_default();
            match all.binary_search_by_key(&key, |(key, _)| *key).ok().and_then(|place| all.get_mut(place)) {
                Some((_, sum)) => *sum = sum.plus(traffic),
                None => counted.push((key, traffic)),
            }
        }
        // The first reading of a process tells what has passed since some other one has read: nobody knows how long that was.
        (state.span, state.last) = match state.read {
            Some(before) => (now.since(before), counted),
            None => (Duration::ZERO, Vec::new()),
        };
        state.read = Some(now);
    }

    /// Takes a reading of some keys in.
    pub(super) fn read_some(&self, moved: &[Moved]) {
        add(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).since, counted(moved));
    }

    /// Returns how fast bytes pass: of the server, and of so many of its fastest keys.
    pub(super) fn rates(&self, server: &ServerId, node: &NodeId, most: usize) -> Rates {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = state.span.as_secs_f64();
        let rate = |bytes: u64| per_second(bytes, seconds);
        let mut all = Traffic::default();
        let mut keys = Vec::with_capacity(state.last.len());
        for (key, traffic) in &state.last {
            all = all.plus(*traffic);
            keys.push(KeyRate { key: *key, up: rate(traffic.up), down: rate(traffic.down) });
        }
        let servers = vec![ServerRate {
            server: server.clone(),
            node: node.clone(),
            up: rate(all.up),
            down: rate(all.down),
            keys: keys.len(),
        }];
        Rates { servers, keys: fastest(keys, most) }
    }
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is no count"
)]
fn per_second(bytes: u64, seconds: f64) -> ByteSize {
    if seconds <= 0.0 {
        return ByteSize::default();
    }
    ByteSize::from_bytes((bytes as f64 / seconds).round() as u64)
}

fn fastest(mut keys: Vec<KeyRate>, most: usize) -> Vec<KeyRate> {
    let both = |rate: &KeyRate| rate.up.bytes().saturating_add(rate.down.bytes());
    keys.sort_by_key(|rate| (std::cmp::Reverse(both(rate)), rate.key));
    keys.truncate(most);
    keys
}

/// Joins what several servers say.
pub(super) fn joined(all: impl IntoIterator<Item = Rates>, most: usize) -> Rates {
    let mut rates = Rates::default();
    let mut keys: BTreeMap<KeyId, KeyRate> = BTreeMap::new();
    for one in all {
        rates.servers.extend(one.servers);
        for rate in one.keys {
            match keys.get_mut(&rate.key) {
                Some(sum) => {
                    sum.up = sum.up.plus(rate.up.bytes());
                    sum.down = sum.down.plus(rate.down.bytes());
                }
                None => drop(keys.insert(rate.key, rate)),
            }
        }
    }
    rates.servers.sort_by(|a, b| a.server.cmp(&b.server));
    rates.keys = fastest(keys.into_values().collect(), most);
    rates
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use vpnkit_core::traffic::Counter;

    use super::*;

    fn moved(key: i64, down: u64) -> Moved {
        let delta = Traffic { up: 0, down };
        Moved {
            key: KeyId(key),
            series: None,
            counter: Counter::of(KeyId(key), delta).traffic,
            delta,
            ended: false,
        }
    }

    #[test]
    fn rates_are_those_between_two_readings() {
        let (measured, node) = (Measured::default(), NodeId::main());
        let server = ServerId::new(&node, "fake");
        let down =
            |rates: &Rates| rates.keys.iter().map(|rate| (rate.key.0, rate.down.bytes())).collect::<Vec<_>>();
        let at = Timestamp::from_secs;
        measured.read(counted(&[moved(1, 1_000_000)]), at(100));
        assert_eq!(down(&measured.rates(&server, &node, 9)), [], "since when, nobody knows");
        measured.read_some(&[moved(2, 100), moved(4, 30)]);
        measured.read(counted(&[moved(1, 500), moved(2, 900), moved(3, 0)]), at(110));
        let rates = measured.rates(&server, &node, 9);
        assert_eq!(down(&rates), [(2, 100), (1, 50), (4, 3)]);
        assert_eq!((rates.servers[0].down.bytes(), rates.servers[0].keys), (153, 3));
        assert_eq!(down(&measured.rates(&server, &node, 1)), [(2, 100)]);
        // Several counters of one key.
        assert_eq!(counted(&[moved(1, 5), moved(1, 6), moved(2, 0), moved(3, 7)]).len(), 2);
        assert_eq!(counted(&[moved(1, 5), moved(1, 6)])[0].1.down, 11);
        let both = joined([rates.clone(), rates], 9);
        assert_eq!((down(&both), both.servers.len()), (vec![(2, 200), (1, 100), (4, 6)], 2));
        measured.read(Vec::new(), at(120));
        assert_eq!(down(&measured.rates(&server, &node, 9)), []);
    }
}
