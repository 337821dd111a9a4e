//! What the life of keys costs: extensions, resets of all keys at once, first connections of all keys at once, look-ups by label.

use std::time::{Duration, Instant};

use vpnkit::{ByteSize, CreateKey, DataReset, Extension, KeyQuery, KeyStatus, ResetPeriod};

use crate::subject::Subject;
use crate::{BULK, ROUNDS, median, ms, percentile, row};

const MILLION: usize = 1_000_000;
const DAY: Duration = Duration::from_secs(86_400);

/// All of them.
pub(crate) async fn measure() {
    let only = std::env::args().nth(2);
    let runs = |name: &str| only.as_deref().is_none_or(|only| only == name);
    if runs("extend") {
        extend().await;
    }
    if runs("start") {
        start().await;
    }
    if runs("million") {
        million().await;
    }
}

/// One durable extension after the other, each with a payment of its own.
async fn extend() {
    let s = Subject::open()
        .await
        .with_keys(1_000, |i| CreateKey::named(format!("k{i}")).expires_in(30 * DAY))
        .await;
    let mut times = Vec::new();
    for i in 0..2_000 {
        let month = Extension::days(30).data_limit(ByteSize::gib(50));
        let start = Instant::now();
        s.engine
            .keys()
            .extend(format!("k{}", i % 1_000).as_str(), month, Some(format!("p:{i}")), None)
            .await
            .unwrap();
        times.push(start.elapsed());
    }
    row("extend a key durably, p50", &ms(percentile(&mut times, 50)), "", None, "0.5 ms");
    row("extend a key durably, p99", &ms(percentile(&mut times, 99)), "", None, "");
    s.engine.close().await.unwrap();
}

/// A reading in which every key connects for the first time, beside one in which all have connected before.
async fn start() {
    let (mut first, mut later, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let s = Subject::open()
            .await
            .with_keys(BULK, |i| CreateKey::named(format!("k{i}")).expires_in(30 * DAY).on_hold())
            .await;
        let reading = async || {
            s.source.move_all(BULK);
            let start = Instant::now();
            s.engine.traffic().collect().await.unwrap();
            start.elapsed()
        };
        let started = reading().await;
        assert_eq!(s.engine.keys().count(KeyQuery::default()).await.unwrap().active as usize, BULK);
        let mut ordinary = [reading().await, reading().await, reading().await];
        let ordinary = median(&mut ordinary);
        ratios.push(started.as_secs_f64() / ordinary.as_secs_f64());
        first.push(started);
        later.push(ordinary);
        s.engine.close().await.unwrap();
    }
    let (first, later) = (median(&mut first), median(&mut later));
    let what = format!("100,000 keys on hold start in one reading (an ordinary one: {})", ms(later));
    row(&what, &ms(first), "", Some(median(&mut ratios)), "2");
}

/// A reset of a million keys while readings and reads go on; a key among them by its label.
async fn million() {
    let reset = DataReset::each(ResetPeriod::Day);
    let s = Subject::open()
        .await
        .with_keys(MILLION, |i| {
            let key = CreateKey::named(format!("k{i}")).data_limit(ByteSize::gib(1)).reset(reset.clone());
            key.labelled("telegram", format!("{}", 100_000_000 + i))
        })
        .await;
    let mut times = Vec::new();
    for i in 0..2_000 {
        let query = KeyQuery::default().label("telegram", format!("{}", 100_000_000 + i * 7919 % MILLION));
        let start = Instant::now();
        assert_eq!(s.engine.keys().find(query).await.unwrap().keys.len(), 1);
        times.push(start.elapsed());
    }
    row("find by label among 1,000,000, p50", &ms(percentile(&mut times, 50)), "", None, "0.2 ms");
    s.source.move_all(MILLION);
    s.engine.traffic().collect().await.unwrap();
    s.clock.advance(DAY);
    let (engine, begun) = (s.engine.clone(), Instant::now());
    let resetting = tokio::spawn(async move {
        engine.tick().await.unwrap();
        begun.elapsed()
    });
    let (mut gets, mut readings) = (Vec::new(), Vec::new());
    while !resetting.is_finished() {
        s.source.move_some(1_000);
        let start = Instant::now();
        s.engine.traffic().collect().await.unwrap();
        readings.push(start.elapsed());
        for i in 0..200 {
            let start = Instant::now();
            s.engine.keys().get(format!("k{}", i * 7919 % MILLION).as_str()).await.unwrap();
            gets.push(start.elapsed());
        }
    }
    let time = resetting.await.unwrap();
    let query = KeyQuery { limit: 1, sort: vpnkit::Sort::Used, ..KeyQuery::default() };
    let least = s.engine.keys().find(query).await.unwrap().keys.remove(0);
    assert!(least.reset_at.is_some() && least.status == KeyStatus::Active);
    row("usage of 1,000,000 keys reset, in steps", &ms(time), "", None, "30 s");
    row("get by name meanwhile, p99", &ms(percentile(&mut gets, 99)), "", None, "5 ms");
    row("a reading of 1,000 keys meanwhile, p99", &ms(percentile(&mut readings, 99)), "", None, "");
    s.engine.close().await.unwrap();
}
