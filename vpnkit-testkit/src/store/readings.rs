//! Cases of readings: counters, epochs, limits, usage over time.

use std::time::Duration;

use super::{Subject, at, batch, commit, created, get, moved, server};
use vpnkit_core::accounting::{Coefficient, Moved, by_calendar};
use vpnkit_core::model::{
    ByteSize, CreateKey, KeyId, KeyStatus, NodeId, ServerId, TimeZoneName, Traffic, UsageQuery, UsageStep,
};
use vpnkit_core::store::{KeyOp, Retention, StoreOp, StoreTxn};
use vpnkit_core::traffic::{Counter, Series};
use vpnkit_core::{ErrorKind, Timestamp};

/// Counters, totals, usage and the baseline move together.
pub async fn a_reading_is_counted_in_one_step(s: Subject) {
    let key = created(&s, CreateKey::default()).await;
    assert_eq!(s.store.baseline(&server()).await.unwrap(), None);
    commit(&s, vec![batch(0, "1", true, vec![moved(key.id, (50, 70), (0, 0))])]).await.unwrap();
    assert_eq!(get(&s, key.id).await.unwrap(), key, "a first sight counts nothing");
    commit(&s, vec![batch(1, "1", false, vec![moved(key.id, (60, 90), (10, 20))])]).await.unwrap();
    let counted = get(&s, key.id).await.unwrap();
    assert_eq!((counted.used, counted.traffic), (30, Traffic { up: 10, down: 20 }));
    assert_eq!((counted.seen_at, counted.version), (Some(at()), 1));
    let baseline = s.store.baseline(&server()).await.unwrap().unwrap();
    assert_eq!(
        (baseline.sequence, baseline.epoch.id.as_str(), baseline.epoch.evidence.as_str()),
        (2, "1", "e")
    );
    assert_eq!(baseline.counters.len(), 1);
    assert_eq!(baseline.counters[0].traffic, Traffic { up: 60, down: 90 });
}

/// Two processes that count the same bytes: the second is told, and nothing is counted twice.
pub async fn a_reading_on_an_old_baseline_is_refused(s: Subject) {
    let key = created(&s, CreateKey::default()).await;
    commit(&s, vec![batch(0, "1", true, vec![])]).await.unwrap();
    let reading = || batch(1, "1", false, vec![moved(key.id, (5, 0), (5, 0))]);
    commit(&s, vec![reading()]).await.unwrap();
    assert_eq!(commit(&s, vec![reading()]).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(get(&s, key.id).await.unwrap().used, 5);
}

/// What was counted stays.
pub async fn a_new_epoch_voids_old_counters(s: Subject) {
    let a = created(&s, CreateKey::default()).await;
    let b = created(&s, CreateKey::default()).await;
    let both = vec![moved(a.id, (5, 5), (5, 5)), moved(b.id, (7, 7), (7, 7))];
    commit(&s, vec![batch(0, "1", true, both)]).await.unwrap();
    commit(&s, vec![batch(1, "2", true, vec![moved(a.id, (1, 1), (1, 1))])]).await.unwrap();
    let baseline = s.store.baseline(&server()).await.unwrap().unwrap();
    assert_eq!(baseline.epoch.id, "2");
    assert_eq!(baseline.counters.iter().map(|c| c.key).collect::<Vec<_>>(), [a.id]);
    assert_eq!((get(&s, a.id).await.unwrap().used, get(&s, b.id).await.unwrap().used), (12, 14));
}

/// With its own counters; so many lifetimes are remembered.
pub async fn an_epoch_that_returns_goes_on_where_it_was(s: Subject) {
    let key = created(&s, CreateKey::default()).await;
    let read = async |after, epoch, fresh, up, delta| {
        commit(&s, vec![batch(after, epoch, fresh, vec![moved(key.id, (up, 0), (delta, 0))])]).await.unwrap();
    };
    read(0, "1", true, 5, 5).await;
    read(1, "2", true, 7, 7).await;
    assert_eq!(s.store.baseline_of(&server(), "3").await.unwrap(), None);
    let first = s.store.baseline_of(&server(), "1").await.unwrap().unwrap();
    assert_eq!((first.sequence, first.counters[0].traffic.up), (2, 5));
    read(2, "1", false, 6, 1).await;
    let newest = s.store.baseline(&server()).await.unwrap().unwrap();
    assert_eq!((newest.epoch.id.as_str(), newest.sequence, newest.counters[0].traffic.up), ("1", 3, 6));
    let second = s.store.baseline_of(&server(), "2").await.unwrap().unwrap();
    assert_eq!((second.sequence, second.counters[0].traffic.up), (3, 7));
    assert_eq!(get(&s, key.id).await.unwrap().used, 13);
    for (after, epoch) in (3..).zip(["3", "4", "5"]) {
        read(after, epoch, true, 1, 1).await;
    }
    assert_eq!(s.store.baseline_of(&server(), "2").await.unwrap(), None, "the oldest is forgotten");
    assert!(s.store.baseline_of(&server(), "1").await.unwrap().is_some());
    commit(&s, vec![KeyOp::Delete { key: key.id, expected: None }]).await.unwrap();
    for epoch in ["1", "5"] {
        assert!(s.store.baseline_of(&server(), epoch).await.unwrap().unwrap().counters.is_empty());
    }
}

/// A key may have several counters; one that has ended is remembered until it is forgotten.
pub async fn sessions_of_a_key_are_kept_apart_and_forgotten(s: Subject) {
    let key = created(&s, CreateKey::default()).await;
    let session =
        |name: &str, up, ended| Moved { series: Series::new(name), ended, ..moved(key.id, (up, 0), (up, 0)) };
    let both = vec![session("a", 5, false), session("b", 7, true)];
    commit(&s, vec![batch(0, "1", true, both)]).await.unwrap();
    assert_eq!(get(&s, key.id).await.unwrap().used, 12);
    let counters = async || {
        let baseline = s.store.baseline(&server()).await.unwrap().unwrap();
        let shown = |c: &Counter| (c.series.as_ref().map(|s| s.as_str().to_owned()), c.traffic.up, c.ended);
        baseline.counters.iter().map(shown).collect::<Vec<_>>()
    };
    assert_eq!(counters().await, [(Some("a".into()), 5, false), (Some("b".into()), 7, true)]);
    let StoreOp::Traffic(mut forgetting) = batch(1, "1", false, vec![session("a", 6, true)]) else {
        unreachable!()
    };
    forgetting.forgotten.extend(Series::new("b").map(|series| (key.id, series)));
    commit(&s, vec![StoreOp::Traffic(forgetting)]).await.unwrap();
    assert_eq!(counters().await, [(Some("a".into()), 6, true)]);
    commit(&s, vec![KeyOp::Delete { key: key.id, expected: None }]).await.unwrap();
    assert_eq!(counters().await, []);
}

/// In the same batch, exactly at the limit, and a disabled key stays disabled.
pub async fn a_reading_that_reaches_the_limit_limits_the_key(s: Subject) {
    let limit = ByteSize::from_bytes(100);
    let a = created(&s, CreateKey::default().data_limit(limit)).await;
    let b = created(&s, CreateKey::default().data_limit(limit)).await;
    let c = created(&s, CreateKey { disabled: true, ..CreateKey::default().data_limit(limit) }).await;
    let reading =
        vec![moved(a.id, (99, 0), (99, 0)), moved(b.id, (50, 50), (50, 50)), moved(c.id, (500, 0), (500, 0))];
    let receipt = commit(&s, vec![batch(0, "1", true, reading)]).await.unwrap();
    assert_eq!(receipt.transitions.iter().map(|t| t.key).collect::<Vec<_>>(), [b.id]);
    assert_eq!(get(&s, a.id).await.unwrap().status, KeyStatus::Active);
    assert_eq!(get(&s, b.id).await.unwrap().status, KeyStatus::Limited);
    assert_eq!(get(&s, c.id).await.unwrap().status, KeyStatus::Disabled);
}

/// A key that was deleted while the server still counted it.
pub async fn counters_of_unknown_keys_are_passed_over(s: Subject) {
    let key = created(&s, CreateKey::default()).await;
    let reading = vec![moved(key.id, (1, 0), (1, 0)), moved(KeyId(999), (5, 5), (5, 5))];
    commit(&s, vec![batch(0, "1", true, reading)]).await.unwrap();
    assert_eq!(get(&s, key.id).await.unwrap().used, 1);
    let baseline = s.store.baseline(&server()).await.unwrap().unwrap();
    assert_eq!(baseline.counters.iter().map(|c| c.key).collect::<Vec<_>>(), [key.id]);
}

/// By key, by node and for all, within the asked time only.
pub async fn usage_is_summed_by_hour_and_day(s: Subject) {
    let a = created(&s, CreateKey::default()).await;
    let b = created(&s, CreateKey::default()).await;
    let hour = |h: u64| at().hour().plus(Duration::from_secs(h * 3600));
    for (i, h) in [0u64, 0, 1, 26].into_iter().enumerate() {
        let n = u64::try_from(i).unwrap();
        let both = vec![moved(a.id, (n + 1, 0), (1, 10)), moved(b.id, (n + 1, 0), (2, 20))];
        let txn = StoreTxn::new(hour(h).plus(Duration::from_secs(60)), vec![batch(n, "1", n == 0, both)]);
        s.store.commit(txn).await.unwrap();
    }
    let all = UsageQuery { key: None, owners: None, node: None, from: Timestamp::default(), to: hour(1000) };
    let usage_by = async |query: UsageQuery, step: UsageStep| {
        let points = by_calendar(&s.store.usage(&query).await.unwrap(), step, &TimeZoneName::default());
        points.iter().map(|p| (p.at, p.traffic.up, p.traffic.down)).collect::<Vec<_>>()
    };
    let usage = async |query: UsageQuery| usage_by(query, UsageStep::Hour).await;
    let key = Some(a.id);
    let expected = [(hour(0), 2, 20), (hour(1), 1, 10), (hour(26), 1, 10)];
    assert_eq!(usage(UsageQuery { key, ..all.clone() }).await, expected);
    let node = Some(NodeId::main());
    assert_eq!(usage(UsageQuery { key, node, ..all.clone() }).await, expected);
    let node = Some(NodeId::new("other").unwrap());
    assert!(usage(UsageQuery { key, node, ..all.clone() }).await.is_empty());
    let days = [(hour(0).day(), 9, 90), (hour(26).day(), 3, 30)];
    assert_eq!(usage_by(all.clone(), UsageStep::Day).await, days);
    let part = UsageQuery { key, from: hour(1), to: hour(26), ..all.clone() };
    assert_eq!(usage(part).await, [(hour(1), 1, 10)]);
    assert!(usage(UsageQuery { from: hour(30), to: hour(2), ..all }).await.is_empty());
}

/// Totals stay what has passed.
pub async fn bytes_count_against_limits_by_the_coefficient(s: Subject) {
    let key = created(&s, CreateKey::default().data_limit(ByteSize::from_bytes(1_000))).await;
    let read = async |after: u64, percent: u32, bytes: u64, near_within: u64| {
        let StoreOp::Traffic(mut reading) =
            batch(after, "1", after == 0, vec![moved(key.id, (after + 1, 0), (0, bytes))])
        else {
            unreachable!()
        };
        reading.coefficient = Coefficient::percent("test", percent).unwrap();
        reading.near_within = near_within;
        s.store.commit(StoreTxn::new(at(), vec![StoreOp::Traffic(reading)])).await.unwrap()
    };
    let stands = async || {
        let key = get(&s, key.id).await.unwrap();
        (key.used, key.traffic.down, key.status)
    };
    read(0, 50, 301, 0).await;
    assert_eq!(stands().await, (150, 301, KeyStatus::Active));
    read(1, 0, 5_000, 0).await;
    assert_eq!(stands().await, (150, 5_301, KeyStatus::Active));
    let near = read(2, 200, 400, 50).await.near;
    assert_eq!((near, stands().await), (vec![(key.id, 50)], (950, 5_701, KeyStatus::Active)));
    let receipt = read(3, 150, 34, 0).await;
    assert_eq!((receipt.transitions.len(), stands().await), (1, (1_001, 5_735, KeyStatus::Limited)));
    let all =
        UsageQuery { key: None, owners: None, node: None, from: Timestamp::default(), to: Timestamp::MAX };
    assert_eq!(s.store.usage(&all).await.unwrap()[0].traffic.down, 5_735);
}

/// A key's traffic becomes wider steps with the time; not a byte more or less, by key and by node.
pub async fn summing_up_keeps_every_byte(s: Subject) {
    const HOURS: u64 = 24 * 100;
    let keys = [created(&s, CreateKey::default()).await, created(&s, CreateKey::default()).await];
    let nodes = ["main", "de"].map(|name| NodeId::new(name).unwrap());
    let time = |hour: u64| at().day().plus(Duration::from_secs(hour * 3_600));
    let mut after = [0, 0];
    let mut read = async |hour: u64| {
        for (i, node) in nodes.iter().enumerate() {
            let n = u64::try_from(i).unwrap() + 1;
            let all = keys.iter().map(|key| moved(key.id, (after[i] + 1, 0), (hour + n, n))).collect();
            let StoreOp::Traffic(mut reading) = batch(after[i], "1", after[i] == 0, all) else {
                unreachable!()
            };
            (reading.node, reading.server) = (node.clone(), ServerId::new(node, "fake"));
            let txn = StoreTxn::new(time(hour), vec![StoreOp::Traffic(reading)]);
            s.store.commit(txn).await.unwrap();
            after[i] += 1;
        }
    };
    for hour in (0..HOURS).step_by(7) {
        read(hour).await;
    }
    let query = |key: Option<KeyId>, node: Option<&NodeId>, step: UsageStep| {
        (UsageQuery { key, owners: None, node: node.cloned(), from: time(0), to: time(HOURS + 48) }, step)
    };
    let usage = async |(query, step): (UsageQuery, UsageStep)| {
        by_calendar(&s.store.usage(&query).await.unwrap(), step, &TimeZoneName::default())
    };
    let sum = |points: &[vpnkit_core::model::UsagePoint]| {
        points.iter().fold(Traffic::default(), |sum, point| sum.plus(point.traffic))
    };
    let (key, day, hour) = (Some(keys[0].id), UsageStep::Day, UsageStep::Hour);
    let (days, all_hours) = (usage(query(key, None, day)).await, usage(query(None, None, hour)).await);
    let through =
        [usage(query(None, Some(&nodes[0]), hour)).await, usage(query(None, Some(&nodes[1]), hour)).await];
    let of_node = sum(&usage(query(key, Some(&nodes[1]), day)).await);
    let check = async |widest: usize| {
        for one in &keys {
            let total = get(&s, one.id).await.unwrap().traffic;
            for step in [hour, day] {
                assert_eq!(sum(&usage(query(Some(one.id), None, step)).await), total, "{widest} days");
            }
        }
        assert_eq!(sum(&usage(query(key, Some(&nodes[1]), day)).await), of_node);
        assert_eq!(usage(query(None, None, hour)).await, all_hours, "hours of all keys stay");
        for (node, hours) in nodes.iter().zip(&through) {
            assert_eq!(&usage(query(None, Some(node), hour)).await, hours);
        }
    };
    check(0).await;
    let sum_up = async |hours: u64, days: u64| {
        let retention = Retention {
            events: Timestamp::default(),
            timelines: Timestamp::default(),
            hours: time(hours),
            days: time(days),
        };
        while s.store.prune(&retention, None).await.unwrap().more {}
    };
    // In the middle of a day: that day stays as it is.
    sum_up(24 * 60 + 5, 0).await;
    check(1).await;
    assert_eq!(usage(query(key, None, day)).await, days);
    let hours = usage(query(key, None, hour)).await;
    assert!(hours.iter().filter(|point| point.at < time(24 * 60)).all(|point| point.at == point.at.day()));
    assert!(hours.iter().any(|point| point.at > time(24 * 60) && point.at != point.at.day()));
    sum_up(24 * 60 + 5, 24 * 60).await;
    check(2).await;
    let months = usage(query(key, None, day)).await;
    assert!(months.iter().filter(|p| p.at < time(24 * 60).month()).all(|p| p.at == p.at.month()));
    // Again, over everything, and with traffic that comes later than it should.
    sum_up(HOURS + 24, HOURS + 24).await;
    sum_up(HOURS + 24, HOURS + 24).await;
    check(3).await;
    let before = sum(&usage(query(key, None, day)).await);
    let late = moved(keys[0].id, (after[0] + 1, 0), (5, 0));
    let txn = StoreTxn::new(
        time(3),
        vec![{
            let StoreOp::Traffic(mut reading) = batch(after[0], "1", false, vec![late]) else {
                unreachable!()
            };
            (reading.node, reading.server) = (nodes[0].clone(), ServerId::new(&nodes[0], "fake"));
            StoreOp::Traffic(reading)
        }],
    );
    s.store.commit(txn).await.unwrap();
    sum_up(HOURS + 24, HOURS + 24).await;
    let now = sum(&usage(query(key, None, day)).await);
    assert_eq!(now.total(), before.total() + 5);
}
