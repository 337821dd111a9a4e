//! Several processes on one store, with a real Xray: killed, frozen, all at once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking"
)]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::{Flow, Owner, SharedBed, alive, eventually, standalone, traffic, within};

const PATIENCE: Duration = Duration::from_secs(60);
const OWNER: &str = env!("CARGO_BIN_EXE_owner");

/// So often the driver is killed.
const KILLS: usize = 50;

/// The process that drives the server, as a process says.
async fn driver(owner: &Owner) -> Option<u64> {
    let status = owner.call("servers.status", json!({})).await.ok()?;
    status[0]["driver"]["process"].as_u64()
}

async fn create(owner: &Owner, request: Value) -> i64 {
    owner.ok("keys.create", json!({ "request": request })).await["id"].as_i64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_that_is_killed_again_and_again_loses_nothing() {
    let bed = Arc::new(SharedBed::new(OWNER).await);
    let mut owners = vec![bed.open().await, bed.open().await];
    let (key, client) = bed.add(&owners[0], json!({ "name": "alice" })).await;
    let [process] = bed.process()[..] else { panic!("one Xray") };
    let flow = Arc::new(Flow::default());
    let bytes = (20 * KILLS) << 20;
    let download = tokio::spawn({
        let (bed, flow) = (Arc::clone(&bed), Arc::clone(&flow));
        async move { bed.download(&client, bytes, &flow).await }
    });
    let (mut there, mut slowest) = (vec![key], Duration::ZERO);
    for kill in 0..KILLS {
        eventually("somebody drives", PATIENCE, async || {
            let now = driver(&owners[0]).await;
            owners.iter().any(|owner| Some(u64::from(owner.pid())) == now)
        })
        .await;
        let drives = driver(&owners[0]).await;
        let place = owners.iter().position(|owner| Some(u64::from(owner.pid())) == drives).unwrap();
        // In the middle of changes of its own, at another time each time.
        let dying = owners.remove(place);
        for i in 0..20 {
            drop(
                dying
                    .call_later("keys.create", json!({ "request": { "name": format!("k{kill}-{i}") } }))
                    .await,
            );
        }
        tokio::time::sleep(Duration::from_millis(u64::try_from(kill * 37 % 60).unwrap())).await;
        dying.kill().await;
        let killed = Instant::now();
        // The one that stood by goes on, and what it commits meanwhile is not lost either.
        let next = &owners[0];
        there.push(create(next, json!({ "name": format!("meanwhile{kill}") })).await);
        let own = Some(u64::from(next.pid()));
        eventually("the takeover", PATIENCE, async || driver(next).await == own).await;
        slowest = slowest.max(killed.elapsed());
        owners.push(bed.open().await);
    }
    assert_eq!(bed.process(), [process], "the same Xray all the time");
    flow.fast.store(true, Ordering::Relaxed);
    assert_eq!(within("the download", 2 * PATIENCE, download).await.unwrap().unwrap(), bytes);
    println!("{} takeovers, the slowest took {slowest:?}", KILLS);

    let owner = &owners[0];
    let active = async || {
        let mut all = std::collections::BTreeSet::new();
        let mut page = json!({ "limit": 1000 });
        loop {
            let found = owner.ok("keys.find", json!({ "query": page })).await;
            all.extend(found["keys"].as_array().unwrap().iter().map(|key| key["id"].as_i64().unwrap()));
            match &found["next"] {
                Value::Null => break all,
                next => page["page"] = next.clone(),
            }
        }
    };
    let keys = active().await;
    assert!(there.iter().all(|key| keys.contains(key)), "nothing that was acknowledged is lost");
    eventually("every key has its account, and nobody else", PATIENCE, async || {
        let names = standalone::user_names(&bed.api(), "reality").await;
        let ids = names.iter().filter_map(|name| name.rsplit_once('-')?.1.parse().ok());
        ids.collect::<std::collections::BTreeSet<i64>>() == keys
    })
    .await;
    let mut before = (0, 0);
    let drives = driver(owner).await;
    let driving = owners.iter().find(|owner| Some(u64::from(owner.pid())) == drives).unwrap();
    eventually("the counters stand still", PATIENCE, async || {
        driving.ok("tick", json!({})).await;
        std::mem::replace(&mut before, bed.counted().await) == before && traffic(owner, key).await == before
    })
    .await;
    println!("counted to the byte: {before:?}");

    // A limit that is passed while nobody drives bites once somebody does.
    let limited = create(owner, json!({ "name": "limited", "data_limit": 1_000_000 })).await;
    let client = bed.client(owner, limited).await;
    let place = owners.iter().position(|owner| Some(u64::from(owner.pid())) == drives).unwrap();
    owners.remove(place).kill().await;
    let _ = bed.download(&client, 5 << 20, &flow).await;
    let status = async || owners[0].ok("keys.require", json!({ "key": limited })).await["status"].clone();
    eventually("the limit bites", PATIENCE, async || status().await == "limited").await;
    eventually("its account goes", PATIENCE, async || !bed.has_account(limited).await).await;
    for owner in owners {
        owner.close().await;
    }
}

/// Freezes a process in the middle of a change: it may have committed it, and not have applied it. Not in the moment in which it
/// has SQLite's lock: then nobody writes until it is gone.
async fn freeze(frozen: &Owner, other: &Owner, key: i64) {
    for round in 0u64.. {
        drop(frozen.call_later("keys.disable", json!({ "key": key })).await);
        tokio::time::sleep(Duration::from_micros(round * 300)).await;
        frozen.signal("-STOP");
        match other.call("keys.create", json!({ "request": { "name": "probe" } })).await {
            Err(e) if e["code"] == "store_locked" => frozen.signal("-CONT"),
            created => return drop(created.unwrap()),
        }
    }
}

/// Both have the same Xray: what the frozen one does late would be seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_that_is_frozen_for_three_lease_times_does_nothing_late() {
    for keep_running in [true, false] {
        let bed = Arc::new(SharedBed::new(OWNER).await);
        let config = bed.config(keep_running);
        let frozen = bed.open_with(&config).await;
        let (key, client) = bed.add(&frozen, json!({ "name": "alice" })).await;
        let flow = Flow::default();
        flow.fast.store(true, Ordering::Relaxed);
        bed.download(&client, 1 << 20, &flow).await.unwrap();
        let other = bed.open_with(&config).await;
        let first = bed.process();
        freeze(&frozen, &other, key).await;
        let own = Some(u64::from(other.pid()));
        eventually("the takeover", PATIENCE, async || driver(&other).await == own).await;
        if !keep_running {
            // One that is not to run on is started again, once what it has counted is stored.
            eventually("another Xray", PATIENCE, async || {
                let now = bed.process();
                now.len() == 1 && now != first
            })
            .await;
        }
        other.ok("keys.enable", json!({ "key": key })).await;
        eventually("the account", PATIENCE, async || bed.has_account(key).await).await;
        let second = bed.process();
        // Three lease times, of which the takeover was the first.
        tokio::time::sleep(Duration::from_secs(10)).await;
        let cursor = other.ok("events.newest", json!({})).await;
        frozen.signal("-CONT");
        eventually("it sees who drives", PATIENCE, async || driver(&frozen).await == own).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(bed.process(), second, "its end touches nothing");
        // The caller's change may have been committed only now; what is on the server is what the store says.
        let status = other.ok("keys.require", json!({ "key": key })).await["status"].clone();
        assert_eq!(bed.has_account(key).await, status == "active", "no late step");
        let events = other.ok("events.read", json!({ "after": cursor })).await;
        let kinds: Vec<&str> =
            events["events"].as_array().unwrap().iter().filter_map(|event| event["kind"].as_str()).collect();
        // The caller's change is its own: it was not background work, and comes when its process goes on.
        assert!(kinds.iter().all(|kind| *kind == "key.disabled" || *kind == "key.updated"), "{kinds:?}");
        other.ok("keys.enable", json!({ "key": key })).await;
        // And it speaks again, as one that stands by.
        let late = create(&frozen, json!({ "name": "late" })).await;
        eventually("the account", PATIENCE, async || bed.has_account(late).await).await;
        other.close().await;
        let own = Some(u64::from(frozen.pid()));
        eventually("the other takeover", PATIENCE, async || driver(&frozen).await == own).await;
        eventually("the account", PATIENCE, async || bed.has_account(late).await).await;
        frozen.close().await;
        assert_eq!(second.iter().any(|pid| alive(*pid)), keep_running);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_processes_write_at_once_and_nobody_sees_a_locked_store() {
    const EACH: usize = 40;
    let bed = Arc::new(SharedBed::new(OWNER).await);
    let mut owners = Vec::new();
    for _ in 0..10 {
        owners.push(Arc::new(bed.open().await));
    }
    let begun = Instant::now();
    let writing = owners.iter().enumerate().map(|(i, owner)| {
        let owner = Arc::clone(owner);
        tokio::spawn(async move {
            for n in 0..EACH {
                let key = create(&owner, json!({ "name": format!("k{i}-{n}") })).await;
                owner.ok("keys.disable", json!({ "key": key })).await;
            }
        })
    });
    for writing in writing.collect::<Vec<_>>() {
        within("all writes", 2 * PATIENCE, writing).await.unwrap();
    }
    println!("{} commits of ten processes in {:?}", 2 * 10 * EACH, begun.elapsed());
    let count = owners[9].ok("keys.count", json!({ "query": {} })).await;
    assert_eq!(count["total"], json!(10 * EACH), "{count}");
}
