//! The suite of traffic sources.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use vpnkit_core::async_trait;
use vpnkit_core::model::{DeviceName, KeyId, Traffic};
use vpnkit_core::traffic::{Counter, Reading, TrafficSource};

/// How a suite makes traffic happen on a server.
#[async_trait]
pub trait Wire: Debug + Send + Sync {
    /// About so many bytes pass for a key of the suite (1 or 2), and are counted before this returns.
    async fn pass(&self, key: KeyId, traffic: Traffic);
    /// The server is restarted: its counters begin at nothing.
    async fn restart(&self);
    /// The session of a key ends; says `false` where the server counts by account.
    async fn end(&self, key: KeyId) -> bool;
}

/// A source whose server is up, and a way to make traffic.
#[derive(Debug)]
pub struct Subject {
    /// The source.
    pub source: Arc<dyn TrafficSource>,
    /// Makes traffic.
    pub wire: Arc<dyn Wire>,
    /// Dropped after the case.
    pub keep: Box<dyn Any + Send + Sync>,
}

crate::suite!($ traffic_conformance, traffic, "Tests that the sources of an `async fn() -> traffic::Subject` keep the promises.", [
    reading_resets_nothing,
    a_few_keys_are_read_by_themselves,
    counters_only_grow_within_an_epoch,
    a_restart_is_another_epoch,
    an_epoch_is_recognised_from_what_was_stored,
], needing [a_session_ends_once]);

const SOME: Traffic = Traffic { up: 20_000, down: 50_000 };

async fn read(s: &Subject, last: Option<&Reading>) -> Reading {
    s.source.read(last.map(|r| r.epoch.clone())).await.unwrap()
}

fn counter(reading: &Reading, key: i64) -> Traffic {
    let of = |c: &&Counter| c.key == KeyId(key);
    reading.counters.iter().filter(of).fold(Traffic::default(), |sum, c| sum.plus(c.traffic))
}

/// Two readings of a quiet server are the same.
pub async fn reading_resets_nothing(s: Subject) {
    s.wire.pass(KeyId(1), SOME).await;
    let first = read(&s, None).await;
    let second = read(&s, Some(&first)).await;
    assert_eq!(first.epoch.id, second.epoch.id);
    assert_eq!(counter(&first, 1), counter(&second, 1));
    assert!(counter(&first, 1).down >= SOME.down && counter(&first, 1).up >= SOME.up);
}

/// With the counters that a reading of all has, and of the same lifetime only.
pub async fn a_few_keys_are_read_by_themselves(s: Subject) {
    for key in [1, 2] {
        s.wire.pass(KeyId(key), SOME).await;
    }
    let all = read(&s, None).await;
    let one = [(KeyId(1), DeviceName::default()), (KeyId(7), DeviceName::default())];
    let some = s.source.read_keys(&all.epoch, &one).await.unwrap().expect("the same lifetime");
    assert_eq!(some.epoch.id, all.epoch.id);
    assert_eq!(counter(&some, 1), counter(&all, 1));
    let others = some.counters.iter().filter(|c| c.key != KeyId(1) && c.traffic != Traffic::default());
    assert_eq!(others.count(), 0, "nothing of the others");
    s.wire.restart().await;
    let after = s.source.read_keys(&some.epoch, &one).await;
    assert!(!matches!(after, Ok(Some(_))), "counters of another lifetime are not taken for this one's");
}

/// Each key's own counter.
pub async fn counters_only_grow_within_an_epoch(s: Subject) {
    let mut last = read(&s, None).await;
    for key in [1, 2, 1] {
        s.wire.pass(KeyId(key), SOME).await;
        let now = read(&s, Some(&last)).await;
        assert_eq!(now.epoch.id, last.epoch.id);
        for other in [1, 2] {
            let (before, after) = (counter(&last, other), counter(&now, other));
            assert_eq!(after.down > before.down && after.up > before.up, other == key);
        }
        last = now;
    }
}

/// And its counters begin at nothing.
pub async fn a_restart_is_another_epoch(s: Subject) {
    s.wire.pass(KeyId(1), SOME).await;
    let before = read(&s, None).await;
    s.wire.restart().await;
    let after = read(&s, Some(&before)).await;
    assert_ne!(before.epoch.id, after.epoch.id);
    assert_eq!(counter(&after, 1), Traffic::default());
}

/// As text, the way a store keeps it.
pub async fn an_epoch_is_recognised_from_what_was_stored(s: Subject) {
    let first = read(&s, None).await;
    let stored = serde_json::to_string(&first.epoch).unwrap();
    let epoch = serde_json::from_str(&stored).unwrap();
    assert_eq!(s.source.read(Some(epoch)).await.unwrap().epoch.id, first.epoch.id);
}

/// With its last bytes; and a reader that has not stored the reading that says so gets it again.
pub async fn a_session_ends_once(s: Subject) -> bool {
    s.wire.pass(KeyId(1), SOME).await;
    let open = read(&s, None).await;
    if !s.wire.end(KeyId(1)).await {
        return false;
    }
    let session = |reading: &Reading| reading.counters.iter().find(|c| c.key == KeyId(1)).cloned();
    let before = session(&open).unwrap();
    assert!(before.series.is_some() && !before.ended, "a session has a name and is open: {before:?}");
    let ended = read(&s, Some(&open)).await;
    let told = session(&ended).unwrap();
    assert!(told.ended && told.series == before.series && told.traffic.down >= before.traffic.down);
    // The reading was not stored: the epoch that comes back is the one before it.
    assert_eq!(session(&read(&s, Some(&open)).await), Some(told));
    // It was: the end need not be told again, and is counted once either way.
    let last = read(&s, Some(&ended)).await;
    assert!(session(&last).is_none_or(|again| again.ended), "what has ended does not go on");
    s.wire.pass(KeyId(1), SOME).await;
    let next = read(&s, Some(&last)).await;
    let next = next.counters.iter().find(|c| c.key == KeyId(1) && !c.ended).unwrap();
    assert_ne!(next.series, before.series, "a new session has a name of its own");
    true
}
