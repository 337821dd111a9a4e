//! Pure rules: from cumulative readings to bytes that are counted once. No I/O, no clock.
//!
//! | last reading | this reading | counted |
//! |---|---|---|
//! | none: the server is seen for the first time | anything | nothing, it becomes the baseline |
//! | same epoch | larger | the difference |
//! | same epoch | smaller: somebody reset the counter | all of it, and the tally says so |
//! | another epoch: the server was restarted | anything | all of it |

use crate::model::{KeyId, Traffic};
use crate::traffic::{Counter, Epoch, Reading};

/// The newest stored reading of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Baseline {
    /// The lifetime of its counters.
    pub epoch: Epoch,
    /// How many readings were stored. A reading is stored only on top of the one it was computed from.
    pub sequence: u64,
    /// Sorted by key, one a key.
    pub counters: Vec<Counter>,
}

/// A counter that moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Whose bytes.
    pub key: KeyId,
    /// The cumulative counter now.
    pub counter: Traffic,
    /// What it adds.
    pub delta: Traffic,
}

/// What a reading adds to what was known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Counters that moved, sorted by key.
    pub moved: Vec<Moved>,
    /// The server's counters began anew: older ones are void.
    pub new_epoch: bool,
    /// Counters that went counter_resets within one epoch: somebody else resets them.
    pub counter_resets: usize,
    /// All counters now, sorted by key: the next baseline.
    pub counters: Vec<Counter>,
}

/// What `reading` adds to `last`.
#[must_use]
pub fn account(last: Option<&Baseline>, reading: Reading) -> Tally {
    let counters = normalise(reading.counters);
    let new_epoch = last.is_none_or(|last| last.epoch.id != reading.epoch.id);
    let mut before = match last {
        Some(last) if !new_epoch => last.counters.iter().copied().peekable(),
        _ => [].iter().copied().peekable(),
    };
    let first_sight = last.is_none();
    let mut moved = Vec::new();
    let mut counter_resets = 0;
    for counter in &counters {
        while before.next_if(|b| b.key < counter.key).is_some() {}
        let old = before.next_if(|b| b.key == counter.key).map_or_else(Traffic::default, |b| b.traffic);
        let now = counter.traffic;
        if now == old {
            continue;
        }
        if now.up < old.up || now.down < old.down {
            counter_resets += 1;
        }
        let step = |now: u64, old: u64| if now < old { now } else { now - old };
        let delta = if first_sight {
            Traffic::default()
        } else {
            Traffic { up: step(now.up, old.up), down: step(now.down, old.down) }
        };
        moved.push(Moved { key: counter.key, counter: now, delta });
    }
    // A counter that is no longer listed keeps its last value: it may be listed again within the epoch.
    let counters = match last {
        Some(last) if !new_epoch => union(&last.counters, counters),
        _ => counters,
    };
    Tally { moved, new_epoch, counter_resets, counters }
}

fn normalise(mut counters: Vec<Counter>) -> Vec<Counter> {
    counters.sort_unstable_by_key(|c| c.key);
    counters.dedup_by(|later, first| {
        let same = later.key == first.key;
        if same {
            first.traffic = first.traffic.plus(later.traffic);
        }
        same
    });
    counters
}

fn union(old: &[Counter], new: Vec<Counter>) -> Vec<Counter> {
    let missing: Vec<Counter> =
        old.iter().filter(|o| new.binary_search_by_key(&o.key, |n| n.key).is_err()).copied().collect();
    if missing.is_empty() {
        return new;
    }
    let mut all = new;
    all.extend(missing);
    all.sort_unstable_by_key(|c| c.key);
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn reading(epoch: u32, counters: &BTreeMap<i64, Traffic>) -> Reading {
        Reading {
            epoch: Epoch { id: epoch.to_string(), evidence: String::new() },
            counters: counters.iter().map(|(k, t)| Counter { key: KeyId(*k), traffic: *t }).collect(),
            foreign: 0,
        }
    }

    fn next(last: Option<Baseline>, reading: &Reading) -> (Baseline, Tally) {
        let tally = account(last.as_ref(), reading.clone());
        let sequence = last.map_or(0, |l| l.sequence) + 1;
        (Baseline { epoch: reading.epoch.clone(), sequence, counters: tally.counters.clone() }, tally)
    }

    #[derive(Clone, Debug)]
    enum Step {
        Pass { key: i64, up: u64, down: u64 },
        Read,
        Restart,
        Hide { key: i64 },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (1i64..6, 0u64..1000, 0u64..1000).prop_map(|(key, up, down)| Step::Pass { key, up, down }),
            3 => Just(Step::Read),
            1 => Just(Step::Restart),
            1 => (1i64..6).prop_map(|key| Step::Hide { key }),
        ]
    }

    proptest! {
        /// Every byte that passed before the last reading of its epoch is counted exactly once.
        #[test]
        fn bytes_are_conserved(steps in proptest::collection::vec(step(), 0..80)) {
            let mut server: BTreeMap<i64, Traffic> = BTreeMap::new();
            let mut epoch = 0;
            let mut hidden = None;
            let (mut baseline, _) = next(None, &reading(epoch, &server));
            let mut unread: BTreeMap<i64, Traffic> = BTreeMap::new();
            let mut expected: BTreeMap<i64, Traffic> = BTreeMap::new();
            let mut counted: BTreeMap<i64, Traffic> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Pass { key, up, down } => {
                        let passed = Traffic { up, down };
                        for map in [&mut server, &mut unread] {
                            let entry = map.entry(key).or_default();
                            *entry = entry.plus(passed);
                        }
                    }
                    Step::Hide { key } => hidden = Some(key),
                    Step::Restart => {
                        server.clear();
                        unread.clear();
                        epoch += 1;
                    }
                    Step::Read => {
                        let mut shown = server.clone();
                        let kept = hidden.take().and_then(|key| shown.remove(&key).map(|_| key));
                        let (next_baseline, tally) = next(Some(baseline), &reading(epoch, &shown));
                        baseline = next_baseline;
                        prop_assert_eq!(tally.counter_resets, 0);
                        for moved in tally.moved {
                            let entry = counted.entry(moved.key.0).or_default();
                            *entry = entry.plus(moved.delta);
                        }
                        let later = kept.and_then(|key| unread.remove(&key).map(|t| (key, t)));
                        for (key, passed) in std::mem::take(&mut unread) {
                            let entry = expected.entry(key).or_default();
                            *entry = entry.plus(passed);
                        }
                        unread.extend(later);
                    }
                }
            }
            expected.retain(|_, t| *t != Traffic::default());
            counted.retain(|_, t| *t != Traffic::default());
            prop_assert_eq!(counted, expected);
        }

        #[test]
        fn the_same_reading_again_adds_nothing(values in proptest::collection::btree_map(1i64..50, (0u64..9, 0u64..9), 0..20)) {
            let server: BTreeMap<i64, Traffic> =
                values.into_iter().map(|(k, (up, down))| (k, Traffic { up, down })).collect();
            let (baseline, _) = next(None, &reading(1, &BTreeMap::new()));
            let (baseline, _) = next(Some(baseline), &reading(1, &server));
            let (_, tally) = next(Some(baseline), &reading(1, &server));
            prop_assert!(tally.moved.is_empty());
        }
    }

    #[test]
    fn the_first_sight_of_a_server_is_a_baseline() {
        let server = BTreeMap::from([(1, Traffic { up: 5, down: 7 })]);
        let (baseline, tally) = next(None, &reading(1, &server));
        assert_eq!(tally.moved.iter().map(|m| m.delta.total()).sum::<u64>(), 0);
        let server = BTreeMap::from([(1, Traffic { up: 6, down: 7 })]);
        let (_, tally) = next(Some(baseline), &reading(1, &server));
        assert_eq!(tally.moved[0].delta, Traffic { up: 1, down: 0 });
    }

    #[test]
    fn a_counter_that_somebody_reset_is_counted_from_zero_and_reported() {
        let (baseline, _) = next(None, &reading(1, &BTreeMap::from([(1, Traffic { up: 100, down: 100 })])));
        let (_, tally) =
            next(Some(baseline), &reading(1, &BTreeMap::from([(1, Traffic { up: 3, down: 4 })])));
        assert_eq!(tally.moved[0].delta, Traffic { up: 3, down: 4 });
        assert_eq!(tally.counter_resets, 1);
    }

    #[test]
    fn several_counters_of_one_key_are_one() {
        let one = |up| Counter { key: KeyId(1), traffic: Traffic { up, down: 0 } };
        let reading = Reading {
            epoch: Epoch { id: "1".into(), evidence: String::new() },
            counters: vec![one(1), one(2), one(4)],
            foreign: 0,
        };
        assert_eq!(account(None, reading).counters, vec![one(7)]);
    }
}
