//! `make bench`: the table of the README. vpnkit through its facade, beside a bare rusqlite program (`bare.rs`) that
//! writes the same rows in one transaction; medians, and ratios of runs that alternate.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a program that measures"
)]

mod admins;
mod bare;
mod languages;
mod lifecycle;
mod processes;
mod source;
mod subject;
mod subscriptions;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use source::BenchSource;
use testbed::Bed;
use vpnkit::engine::{Engine, EngineOptions, ServerParts};
use vpnkit::sqlite::{SqliteOptions, SqliteStore};
use vpnkit::{Config, CreateKey, KeyQuery, Sort, SystemClock, VpnKit};
use vpnkit_testkit::FakeServer;

const BULK: usize = 100_000;
const ROUNDS: usize = 5;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    // A runtime of its own, with one thread.
    if arguments.get(1).is_some_and(|only| only == "subscriptions-here") {
        return subscriptions::measure();
    }
    all(&arguments);
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn all(arguments: &[String]) {
    if arguments.get(1).is_some_and(|only| only == "lifecycle") {
        return lifecycle::measure().await;
    }
    if arguments.get(1).is_some_and(|only| only == "admins") {
        return admins::measure().await;
    }
    if let [_, role, path] = arguments
        && role == "memory"
    {
        return resident(Path::new(path)).await;
    }
    if let [_, role, directory] = arguments
        && role == "rust"
    {
        return languages::measure(Path::new(directory)).await;
    }
    if let [_, role, store, callers] = arguments
        && role == "writer"
    {
        return processes::write(Path::new(store), callers.parse().unwrap()).await;
    }
    if arguments.get(1).is_some_and(|only| only == "processes") {
        return processes::compare();
    }
    if arguments.get(1).is_some_and(|only| only == "languages") {
        return languages::compare();
    }
    if arguments.get(1).is_some_and(|only| only == "subscriptions") {
        return subscriptions::compare();
    }
    println!("| what | vpnkit | bare rusqlite | ratio | to reach |");
    println!("|---|---|---|---|---|");
    one_key().await;
    one_key_live().await;
    bulk().await;
    get().await;
    for keys in [1_000, 10_000, 100_000, 1_000_000] {
        tick(keys).await;
    }
    memory().await;
    lifecycle::measure().await;
    admins::measure().await;
    processes::compare();
    languages::compare();
    subscriptions::compare();
}

fn row(what: &str, ours: &str, bare: &str, ratio: Option<f64>, target: &str) {
    let ratio = ratio.map_or(String::new(), |r| format!("{r:.2}"));
    println!("| {what} | {ours} | {bare} | {ratio} | {target} |");
}

fn median<T: Copy + PartialOrd>(values: &mut [T]) -> T {
    percentile(values, 50)
}

fn percentile<T: Copy + PartialOrd>(values: &mut [T], percent: usize) -> T {
    values.sort_by(|a, b| a.partial_cmp(b).unwrap());
    values[(values.len() - 1) * percent / 100]
}

fn ms(time: Duration) -> String {
    match time.as_secs_f64() * 1e3 {
        ms if ms < 1.0 => format!("{ms:.3} ms"),
        ms if ms < 100.0 => format!("{ms:.2} ms"),
        ms => format!("{:.2} s", ms / 1e3),
    }
}

async fn open(path: &Path) -> VpnKit {
    VpnKit::open(Config::sqlite(path)).await.unwrap()
}

fn requests(prefix: &str, count: usize) -> Vec<CreateKey> {
    (0..count).map(|i| CreateKey::named(format!("{prefix}{i}"))).collect()
}

/// One durable create after the other.
async fn one_key() {
    let directory = tempfile::tempdir().unwrap();
    let kit = open(&directory.path().join("ours.db")).await;
    let mut bare = bare::Store::create(&directory.path().join("bare.db"));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for i in 0..2_000 {
        let start = Instant::now();
        kit.keys().create(CreateKey::named(format!("k{i}"))).await.unwrap();
        ours.push(start.elapsed());
        let start = Instant::now();
        bare.insert_keys("k", i..i + 1);
        theirs.push(start.elapsed());
    }
    for (percent, target) in [(50, "0.5 ms"), (99, "")] {
        let (a, b) = (percentile(&mut ours, percent), percentile(&mut theirs, percent));
        let ratio = a.as_secs_f64() / b.as_secs_f64();
        row(&format!("create one key durably, p{percent}"), &ms(a), &ms(b), Some(ratio), target);
    }
    kit.close().await.unwrap();
}

/// The same with a real Xray that has the key when the call returns.
async fn one_key_live() {
    let bed = Bed::open().await;
    bed.add_reality().await;
    let mut ours = Vec::new();
    for i in 0..1_000 {
        let start = Instant::now();
        bed.kit.keys().create(CreateKey::named(format!("k{i}"))).await.unwrap();
        ours.push(start.elapsed());
    }
    for (percent, target) in [(50, "3 ms"), (99, "")] {
        let time = ms(percentile(&mut ours, percent));
        row(&format!("create one key, live in Xray, p{percent}"), &time, "", None, target);
    }
    bed.kit.close().await.unwrap();
}

async fn bulk() {
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let directory = tempfile::tempdir().unwrap();
        let kit = open(&directory.path().join("ours.db")).await;
        let requests = requests("k", BULK);
        let start = Instant::now();
        assert_eq!(kit.keys().create_many(requests, None).await.unwrap().len(), BULK);
        let a = start.elapsed();
        kit.close().await.unwrap();
        let mut bare = bare::Store::create(&directory.path().join("bare.db"));
        let start = Instant::now();
        bare.insert_keys("k", 0..BULK);
        let b = start.elapsed();
        ratios.push(a.as_secs_f64() / b.as_secs_f64());
        ours.push(a);
        theirs.push(b);
    }
    let (a, b) = (median(&mut ours), median(&mut theirs));
    row("create 100,000 keys in bulk", &ms(a), &ms(b), Some(median(&mut ratios)), "1.5");
}

async fn get() {
    let directory = tempfile::tempdir().unwrap();
    let kit = open(&directory.path().join("ours.db")).await;
    kit.keys().create_many(requests("k", BULK), None).await.unwrap();
    let bare = bare::Store::open(&directory.path().join("ours.db"));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for i in 0..20_000 {
        let name = format!("K{}", i * 7919 % BULK);
        let start = Instant::now();
        assert!(kit.keys().get(name.as_str()).await.unwrap().is_some());
        ours.push(start.elapsed());
        let start = Instant::now();
        assert!(bare.get(&name));
        theirs.push(start.elapsed());
    }
    for percent in [50, 99] {
        let (a, b) = (percentile(&mut ours, percent), percentile(&mut theirs, percent));
        let ratio = a.as_secs_f64() / b.as_secs_f64();
        row(&format!("get by name among 100,000, p{percent}"), &ms(a), &ms(b), Some(ratio), "");
    }
    kit.close().await.unwrap();
}

/// Read, account, and commit counters, totals and hour buckets of so many keys that moved.
async fn tick(keys: usize) {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path().join("ours.db"), SqliteOptions::default()).await.unwrap();
    let source = Arc::new(BenchSource::default());
    let parts = ServerParts {
        backend: Arc::new(FakeServer::new()),
        source: source.clone(),
        address: "127.0.0.1".into(),
    };
    let options = EngineOptions { background: false, ..EngineOptions::default() };
    let engine = Engine::open(Arc::new(store), Arc::new(SystemClock), options, vec![parts]).await.unwrap();
    let mut bare = bare::Store::create(&directory.path().join("bare.db"));
    for chunk in (0..keys).step_by(BULK) {
        let count = BULK.min(keys - chunk);
        engine.keys().create_many(requests(&format!("c{chunk}-"), count), None).await.unwrap();
        bare.insert_keys("k", chunk..chunk + count);
    }
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        source.move_all(keys);
        let start = Instant::now();
        let collected = engine.traffic().collect().await.unwrap();
        let a = start.elapsed();
        assert_eq!(collected[0].keys_updated, keys);
        let start = Instant::now();
        bare.tick(keys, round);
        let b = start.elapsed();
        if round > 0 {
            ratios.push(a.as_secs_f64() / b.as_secs_f64());
            ours.push(a);
            theirs.push(b);
        }
    }
    let (a, b) = (median(&mut ours), median(&mut theirs));
    row(&format!("traffic tick, {keys} keys moved"), &ms(a), &ms(b), Some(median(&mut ratios)), "2");
    if keys == 1_000_000 {
        pages(&engine, &source, keys).await;
    }
    engine.close().await.unwrap();
}

/// Pages of 50 among all keys in each order, while a tick runs.
async fn pages(engine: &Engine, source: &Arc<BenchSource>, keys: usize) {
    for (name, sort) in
        [("id", Sort::Id), ("name", Sort::Name), ("expiry", Sort::ExpiresAt), ("bytes used", Sort::Used)]
    {
        source.move_all(keys);
        let ticking = engine.clone();
        let tick = tokio::spawn(async move { ticking.traffic().collect().await.unwrap() });
        let mut times = Vec::new();
        let mut query = KeyQuery { sort, limit: 50, ..KeyQuery::default() };
        for _ in 0..500 {
            let start = Instant::now();
            let page = engine.keys().find(query.clone()).await.unwrap();
            times.push(start.elapsed());
            query.page = page.next;
        }
        tick.await.unwrap();
        row(
            &format!("page of 50 among {keys}, by {name}, during a tick, p99"),
            &ms(percentile(&mut times, 99)),
            "",
            None,
            "5 ms",
        );
    }
}

/// Resident memory of a process of its own that holds a kit over 100,000 keys that have all moved.
async fn memory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ours.db");
    let kit = open(&path).await;
    kit.keys().create_many(requests("k", BULK), None).await.unwrap();
    kit.close().await.unwrap();
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["memory".as_ref(), path.as_os_str()])
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    row("resident memory with 100,000 keys, after 3 ticks of all", text.trim(), "", None, "60 MB");
}

/// The resident memory of this process.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

async fn resident(path: &Path) {
    let store = SqliteStore::open(path, SqliteOptions::default()).await.unwrap();
    let source = Arc::new(BenchSource::default());
    let parts = ServerParts {
        backend: Arc::new(FakeServer::new()),
        source: source.clone(),
        address: "127.0.0.1".into(),
    };
    let options = EngineOptions { background: false, ..EngineOptions::default() };
    let engine = Engine::open(Arc::new(store), Arc::new(SystemClock), options, vec![parts]).await.unwrap();
    for _ in 0..3 {
        source.move_all(BULK);
        engine.traffic().collect().await.unwrap();
    }
    for i in 0..1_000 {
        engine.keys().get(format!("k{}", i * 97).as_str()).await.unwrap();
    }
    println!("{:.0} MB", resident_kib() as f64 * 1024.0 / 1e6);
    engine.close().await.unwrap();
}
