//! Pure rules: from cumulative readings to bytes that are counted once. No I/O, no clock.
//!
//! | last reading | this reading | counted |
//! |---|---|---|
//! | none: the server is seen for the first time | anything | nothing, it becomes the baseline |
//! | same epoch | larger | the difference |
//! | same epoch | smaller: somebody reset the counter | all of it, and the tally says so |
//! | another epoch: the server was restarted | anything | all of it |
//! | an epoch before the last one, which comes back | larger | the difference to the last reading of that epoch |
//! | the series has ended | anything | nothing: its end was counted when it was first told |
//!
//! "Reading" is that of one counter: of a key, and where the server has several of a key, of a series. A series that has
//! ended is remembered for as long as the server tells of it, and forgotten then.

mod calendar;
mod coefficient;
mod crossed;

pub use calendar::by_calendar;
pub use coefficient::Coefficient;
pub use crossed::crossed;

use crate::model::{KeyId, Traffic};
use crate::traffic::{Counter, Epoch, Reading, Series};

/// The newest stored reading of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Baseline {
    /// The lifetime of its counters.
    pub epoch: Epoch,
    /// How many readings were stored. A reading is stored only on top of the one it was computed from.
    pub sequence: u64,
    /// Sorted by key and series, one each.
    pub counters: Vec<Counter>,
}

impl Baseline {
    /// How many lifetimes of a server's counters a store remembers: one that is taken for over may come back, as when two
    /// programs are read under one id.
    pub const EPOCHS_KEPT: usize = 4;

    /// Makes it the reading that comes from this one by what has moved: of a few keys, without touching the others.
    pub fn take(&mut self, epoch: Epoch, moved: &[Moved]) {
        self.epoch = epoch;
        self.sequence += 1;
        for one in moved {
            let counter =
                Counter { key: one.key, series: one.series.clone(), traffic: one.counter, ended: one.ended };
            match self.counters.binary_search_by(|held| held.place().cmp(&counter.place())) {
                Ok(place) => {
                    if let Some(held) = self.counters.get_mut(place) {
                        *held = counter;
                    }
                }
                Err(place) => self.counters.insert(place, counter),
            }
        }
    }
}

/// Returns what the counters of a few keys, read within the lifetime of `last`, add to it. The work does not grow with the
/// other keys.
///
/// A counter that is below what it stood at is passed over: the reading may have been of some of a key's devices only. Whether
/// somebody has reset it, the next reading of all tells.
#[must_use]
pub fn account_some(last: &Baseline, counters: Vec<Counter>) -> Vec<Moved> {
    let mut moved = Vec::new();
    for counter in normalise(counters) {
        let found = last.counters.binary_search_by(|held| held.place().cmp(&counter.place()));
        let held = found.ok().and_then(|place| last.counters.get(place));
        let below = |held: &&Counter| {
            counter.traffic.up < held.traffic.up || counter.traffic.down < held.traffic.down
        };
        if held.filter(below).is_some() {
            continue;
        }
        if let Some(step) = step(held, &counter) {
            moved.push(step);
        }
    }
    moved
}

/// Returns what a counter adds to what it stood at; `None` when nothing has moved.
fn step(held: Option<&Counter>, counter: &Counter) -> Option<Moved> {
    if held.is_some_and(|held| held.ended) {
        return None;
    }
    let (old, now) = (held.map_or_else(Traffic::default, |held| held.traffic), counter.traffic);
    if now == old && !counter.ended {
        return None;
    }
    let step = |now: u64, old: u64| if now < old { now } else { now - old };
    Some(Moved {
        key: counter.key,
        series: counter.series.clone(),
        counter: now,
        ended: counter.ended,
        delta: Traffic { up: step(now.up, old.up), down: step(now.down, old.down) },
    })
}

/// A counter that moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Whose bytes.
    pub key: KeyId,
    /// Which of the key's counters.
    pub series: Option<Series>,
    /// The cumulative counter now.
    pub counter: Traffic,
    /// It never moves again.
    pub ended: bool,
    /// What it adds.
    pub delta: Traffic,
}

/// What a reading adds to what was known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Counters that moved or ended, sorted by key and series.
    pub moved: Vec<Moved>,
    /// Series that had ended and that the server no longer tells of.
    pub forgotten: Vec<(KeyId, Series)>,
    /// The server began a new epoch: older counters are void.
    pub new_epoch: bool,
    /// Counters that went backwards within one epoch: somebody else resets them.
    pub counter_resets: usize,
    /// All counters now, sorted by key and series: the next baseline.
    pub counters: Vec<Counter>,
}

/// What `reading` adds to `last`.
#[must_use]
pub fn account(last: Option<&Baseline>, reading: Reading) -> Tally {
    let counters = normalise(reading.counters);
    let new_epoch = last.is_none_or(|last| last.epoch.id != reading.epoch.id);
    let mut before = match last {
        Some(last) if !new_epoch => last.counters.iter().peekable(),
        _ => [].iter().peekable(),
    };
    let first_sight = last.is_none();
    let mut moved = Vec::new();
    let mut counter_resets = 0;
    for counter in &counters {
        while before.next_if(|b| b.place() < counter.place()).is_some() {}
        let held = before.next_if(|b| b.place() == counter.place());
        let Some(mut one) = step(held, counter) else { continue };
        let old = held.map_or_else(Traffic::default, |held| held.traffic);
        if counter.traffic.up < old.up || counter.traffic.down < old.down {
            counter_resets += 1;
        }
        if first_sight {
            one.delta = Traffic::default();
        }
        moved.push(one);
    }
    let mut forgotten = Vec::new();
    let counters = match last {
        Some(last) if !new_epoch => union(&last.counters, counters, &mut forgotten),
        _ => counters,
    };
    Tally { moved, forgotten, new_epoch, counter_resets, counters }
}

fn normalise(mut counters: Vec<Counter>) -> Vec<Counter> {
    counters.sort_unstable_by(|a, b| a.place().cmp(&b.place()));
    counters.dedup_by(|later, first| {
        let same = later.place() == first.place();
        if same {
            first.traffic = first.traffic.plus(later.traffic);
            first.ended &= later.ended;
        }
        same
    });
    counters
}

/// The counters of both. One that is no longer listed keeps its last value, since it may be listed again within the epoch;
/// one that has ended keeps its end for as long as it is listed.
fn union(old: &[Counter], mut new: Vec<Counter>, forgotten: &mut Vec<(KeyId, Series)>) -> Vec<Counter> {
    let mut missing = Vec::new();
    for counter in old {
        match new.binary_search_by(|n| n.place().cmp(&counter.place())) {
            Ok(place) if counter.ended => {
                if let Some(listed) = new.get_mut(place) {
                    listed.clone_from(counter);
                }
            }
            Ok(_) => {}
            Err(_) => match &counter.series {
                Some(series) if counter.ended => forgotten.push((counter.key, series.clone())),
                _ => missing.push(counter.clone()),
            },
        }
    }
    if !missing.is_empty() {
        new.extend(missing);
        new.sort_unstable_by(|a, b| a.place().cmp(&b.place()));
    }
    new
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn reading(epoch: u32, counters: &BTreeMap<i64, Traffic>) -> Reading {
        Reading {
            epoch: Epoch { id: epoch.to_string(), evidence: String::new() },
            counters: counters.iter().map(|(k, t)| Counter::of(KeyId(*k), *t)).collect(),
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
        ReadOne { key: i64 },
        Restart,
        Hide { key: i64 },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (1i64..6, 0u64..1000, 0u64..1000).prop_map(|(key, up, down)| Step::Pass { key, up, down }),
            3 => Just(Step::Read),
            3 => (1i64..6).prop_map(|key| Step::ReadOne { key }),
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
                    // Of another lifetime than the last reading of all nothing is read by itself.
                    Step::ReadOne { key } if baseline.epoch.id == epoch.to_string() => {
                        let counters = server.get(&key).map(|traffic| Counter::of(KeyId(key), *traffic));
                        let moved = account_some(&baseline, counters.into_iter().collect());
                        baseline.take(baseline.epoch.clone(), &moved);
                        for moved in moved {
                            let entry = counted.entry(moved.key.0).or_default();
                            *entry = entry.plus(moved.delta);
                        }
                        if let Some(passed) = unread.remove(&key) {
                            let entry = expected.entry(key).or_default();
                            *entry = entry.plus(passed);
                        }
                    }
                    Step::ReadOne { .. } => {}
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
        let one = |up| Counter::of(KeyId(1), Traffic { up, down: 0 });
        let reading = Reading {
            epoch: Epoch { id: "1".into(), evidence: String::new() },
            counters: vec![one(1), one(2), one(4)],
            foreign: 0,
        };
        assert_eq!(account(None, reading).counters, vec![one(7)]);
    }

    fn session(key: i64, series: &str, up: u64, ended: bool) -> Counter {
        Counter { key: KeyId(key), series: Series::new(series), traffic: Traffic { up, down: 0 }, ended }
    }

    fn added(last: &mut Option<Baseline>, counters: Vec<Counter>) -> (Vec<(i64, u64)>, usize) {
        let epoch = Epoch { id: "1".into(), evidence: String::new() };
        let tally = account(last.as_ref(), Reading { epoch: epoch.clone(), counters, foreign: 0 });
        let sequence = last.as_ref().map_or(0, |l| l.sequence) + 1;
        *last = Some(Baseline { epoch, sequence, counters: tally.counters });
        (tally.moved.iter().map(|m| (m.key.0, m.delta.up)).collect(), tally.forgotten.len())
    }

    #[test]
    fn a_session_ends_once() {
        let mut last = None;
        added(&mut last, Vec::new());
        // Two sessions of one key, one of another.
        let open = vec![session(1, "a", 5, false), session(1, "b", 7, false), session(2, "c", 1, false)];
        assert_eq!(added(&mut last, open), (vec![(1, 5), (1, 7), (2, 1)], 0));
        // One ends with more than was seen; a new one came and went between two readings.
        let ended = vec![session(1, "a", 9, true), session(1, "b", 7, false), session(2, "d", 3, true)];
        assert_eq!(added(&mut last, ended.clone()), (vec![(1, 4), (2, 3)], 0));
        // The server does not know that this was stored, and says it again.
        assert_eq!(added(&mut last, ended), (vec![], 0));
        // Now it knows.
        assert_eq!(added(&mut last, vec![session(1, "b", 8, false)]), (vec![(1, 1)], 2));
        assert_eq!(last.unwrap().counters.len(), 2, "b, and c, which was not said to have ended");
    }
}
