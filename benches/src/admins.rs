//! What admins, backups and audits cost: readings of keys that have owners beside keys that have none, and a store of a million keys that
//! is backed up and checked while it is read.

use std::time::{Duration, Instant};

use vpnkit::{AdminId, AuditQuery, ByteSize, CallContext, CreateAdmin, CreateKey};

use crate::subject::Subject;
use crate::{BULK, ROUNDS, median, ms, percentile, row};

const MILLION: usize = 1_000_000;

/// Keys of so many resellers, each below one that is above all; with none, keys without owners.
async fn subject(keys: usize, resellers: usize) -> Subject {
    let s = Subject::open().await;
    let mut owners: Vec<AdminId> = Vec::new();
    if resellers > 0 {
        let above =
            CreateAdmin::named("above").admin_limit(resellers as u32).used_limit(ByteSize::gib(1 << 20));
        let above = s.engine.admins().create(above, None).await.unwrap().id;
        for i in 0..resellers {
            let one = CreateAdmin::named(format!("r{i}")).below(above).used_limit(ByteSize::gib(1 << 18));
            owners.push(s.engine.admins().create(one, None).await.unwrap().id);
        }
    }
    let request = |i: usize| CreateKey {
        owner: owners.get(i % owners.len().max(1)).copied(),
        ..CreateKey::named(format!("k{i}"))
    };
    s.with_keys(keys, request).await
}

async fn tick(s: &Subject, keys: usize) -> Duration {
    s.source.move_all(keys);
    let start = Instant::now();
    assert_eq!(s.engine.traffic().collect().await.unwrap()[0].keys_updated, keys);
    start.elapsed()
}

/// All of them.
pub(crate) async fn measure() {
    let (owned, free) = (subject(BULK, 100).await, subject(BULK, 0).await);
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let (a, b) = (tick(&owned, BULK).await, tick(&free, BULK).await);
        if round > 0 {
            ours.push(a);
            theirs.push(b);
            ratios.push(a.as_secs_f64() / b.as_secs_f64());
        }
    }
    let what =
        format!("traffic tick, {BULK} keys of 100 resellers below another, beside keys without owners");
    row(&what, &ms(median(&mut ours)), &ms(median(&mut theirs)), Some(median(&mut ratios)), "");
    owned.engine.close().await.unwrap();
    free.engine.close().await.unwrap();

    let s = subject(MILLION, 100).await;
    let caller = s.engine.with_context(CallContext::default().acting_as("support").unwrap());
    for i in 0..100 {
        caller.keys().disable(format!("k{i}")).await.unwrap();
    }
    let mut times = Vec::new();
    for _ in 0..200 {
        let start = Instant::now();
        let query = AuditQuery { actor: Some("support".into()), ..AuditQuery::default() };
        assert_eq!(s.engine.events().audit(query).await.unwrap().len(), 100);
        times.push(start.elapsed());
    }
    row("audit of an actor, 100 of 1,000,000 events, p50", &ms(median(&mut times)), "", None, "");
    for what in ["back_up", "check"] {
        let engine = s.engine.clone();
        let to = s.directory.path().join("copy.db").to_str().unwrap().to_owned();
        let start = Instant::now();
        let work = tokio::spawn(async move {
            match what {
                "back_up" => drop(engine.store().back_up(&to).await.unwrap()),
                _ => assert!(engine.store().check().await.unwrap().faults.is_empty()),
            }
        });
        let mut times = Vec::new();
        while !work.is_finished() {
            let start = Instant::now();
            s.engine.keys().get(format!("k{}", times.len() % MILLION)).await.unwrap();
            times.push(start.elapsed());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        work.await.unwrap();
        let took = start.elapsed();
        row(&format!("store.{what} of 1,000,000 keys"), &ms(took), "", None, "");
        row(
            &format!("get by name meanwhile, p99 of {}", times.len()),
            &ms(percentile(&mut times, 99)),
            "",
            None,
            "5 ms",
        );
    }
    s.engine.close().await.unwrap();
}
