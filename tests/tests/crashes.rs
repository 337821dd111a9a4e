//! The process that owns the engine is killed in the middle of its work.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking"
)]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use testbed::{CounterClient, CounterServer, alive, children_of, eventually};
use vpnkit::engine::{Engine, EngineOptions, ServerParts};
use vpnkit::sqlite::{SqliteOptions, SqliteStore};
use vpnkit::store::KeyStore;
use vpnkit::{CreateKey, HistoryQuery, KeyRef, SystemClock, Timestamp, Traffic};
use vpnkit_testkit::FakeServer;

const KILLS: u32 = 50;
const COUNTED: usize = 20;
const PATIENCE: Duration = Duration::from_secs(30);

async fn engine(store: Arc<dyn KeyStore>, socket: &Path) -> Engine {
    let options = EngineOptions { background: false, ..EngineOptions::default() };
    let backend = Arc::new(FakeServer::new());
    let parts = vec![ServerParts {
        backend,
        source: Arc::new(CounterClient::new(socket)),
        address: "127.0.0.1".into(),
    }];
    Engine::open(store, Arc::new(SystemClock), options, parts).await.unwrap()
}

async fn store(directory: &Path) -> Arc<dyn KeyStore> {
    Arc::new(SqliteStore::open(directory.join("keys.db"), SqliteOptions::default()).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_kills_lose_no_acknowledged_key_and_count_every_byte_once() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("counters");
    let server = CounterServer::start(&socket, COUNTED);
    {
        // The keys that have traffic, and the first sight of the server, from which on bytes are counted.
        let engine = engine(store(directory.path()).await, &socket).await;
        engine.keys().create_many(vec![CreateKey::default(); COUNTED], None).await.unwrap();
        engine.close().await.unwrap();
    }
    let first: Vec<Traffic> = server.counters.lock().unwrap().clone();
    let mut acknowledged = Vec::new();
    for kill in 0..KILLS {
        let mut owner = Command::new(env!("CARGO_BIN_EXE_owner"))
            .args(["work".as_ref(), directory.path(), &socket])
            .arg(kill.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(owner.stdout.take().unwrap()).lines();
        let reading = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<String>>());
        // At different times: before the first key, in the middle of commits, later.
        tokio::time::sleep(Duration::from_millis(20 + u64::from(kill * 37 % 110))).await;
        owner.kill().unwrap();
        owner.wait().unwrap();
        acknowledged.extend(reading.join().unwrap());
    }
    println!("{} keys were acknowledged before {KILLS} kills", acknowledged.len());
    assert!(acknowledged.len() > 100, "the owner got to work");

    let store = store(directory.path()).await;
    for name in &acknowledged {
        assert!(store.key(&KeyRef::from(name.as_str())).await.unwrap().is_some(), "{name} is lost");
    }
    let engine = engine(Arc::clone(&store), &socket).await;
    engine.tick().await.unwrap();
    let query = vpnkit::KeyQuery { limit: 20, ..Default::default() };
    let keys = engine.keys().find(query).await.unwrap().keys;
    let now = server.counters.lock().unwrap().clone();
    // The store's first reading was the first of all; what the counters stood at then was not counted.
    let uncounted: Vec<Traffic> = now
        .iter()
        .zip(&keys)
        .map(|(now, key)| Traffic { up: now.up - key.traffic.up, down: now.down - key.traffic.down })
        .collect();
    let one_reading: Vec<Traffic> =
        (0..COUNTED as u64).map(|step| Traffic { up: step * 3 + 1, down: step * 7 + 2 }).collect();
    assert_eq!(uncounted, one_reading, "after {first:?}");
    // Hours were summed up to days and months all the while, and were killed in the middle of it.
    for key in &keys {
        let query = HistoryQuery { until: Some(Timestamp::MAX), ..HistoryQuery::of(key.id) };
        let points = engine.traffic().history(query).await.unwrap();
        let sum = points.iter().fold(Traffic::default(), |sum, point| sum.plus(point.traffic));
        assert_eq!(sum, key.traffic, "{points:?}");
    }
    let query = HistoryQuery { until: Some(Timestamp::MAX), ..HistoryQuery::default() };
    let points = engine.traffic().history(query).await.unwrap();
    let all = points.iter().fold(Traffic::default(), |sum, point| sum.plus(point.traffic));
    assert_eq!(all, keys.iter().fold(Traffic::default(), |sum, key| sum.plus(key.traffic)));
    engine.close().await.unwrap();
}

/// However the owner goes, Xray goes with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_or_interrupted_owner_leaves_no_xray() {
    for signal in ["-KILL", "-INT", "-TERM"] {
        let directory = tempfile::tempdir().unwrap();
        for round in 0..2 {
            let mut owner = Command::new(env!("CARGO_BIN_EXE_owner"))
                .args(["hold".as_ref(), directory.path()])
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut line = String::new();
            BufReader::new(owner.stdout.take().unwrap()).read_line(&mut line).unwrap();
            assert_eq!(line, "ready\n", "the second time too, over what the first one left ({round})");
            let config = directory.path().join("xray/config.json");
            let children = children_of(config.to_str().unwrap());
            assert_eq!(children.len(), 1);
            Command::new("kill").args([signal, &owner.id().to_string()]).status().unwrap();
            eventually("the owner is gone", PATIENCE, async || owner.try_wait().unwrap().is_some()).await;
            eventually("Xray is gone", PATIENCE, async || !children.iter().any(|pid| alive(*pid))).await;
        }
    }
}

/// The kernel forgets that an Xray with file capabilities is to die with its owner when the owner is not root.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_owner_that_is_not_root_leaves_no_xray_with_capabilities() {
    use std::os::unix::fs::{PermissionsExt, chown};
    const NOBODY: u32 = 65_534;
    if !testbed::is_root("a_killed_owner_that_is_not_root_leaves_no_xray_with_capabilities") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    // Where another user may execute them.
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_owner"), path("owner")).unwrap();
    std::fs::copy(testbed::xray_binary(), path("xray")).unwrap();
    let mut capable = Command::new("setcap");
    capable.arg("cap_net_bind_service=ep").arg(path("xray"));
    assert!(capable.status().unwrap().success(), "file capabilities can be set");
    std::fs::create_dir(path("home")).unwrap();
    chown(path("home"), Some(NOBODY), Some(NOBODY)).unwrap();
    for round in 0..2 {
        let mut owner = Command::new("setpriv")
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set", "+all"])
            .arg(path("owner"))
            .args(["hold".as_ref(), path("home").as_os_str()])
            .env("VPNKIT_XRAY_BIN", path("xray"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(owner.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "round {round}");
        let config = path("home").join("xray/config.json");
        let children = children_of(config.to_str().unwrap());
        assert_eq!(children.len(), 1);
        let status = std::fs::read_to_string(format!("/proc/{}/status", children[0])).unwrap();
        let gained = status.lines().find_map(|line| line.strip_prefix("CapPrm:")).unwrap().trim();
        assert_ne!(u64::from_str_radix(gained, 16).unwrap(), 0, "Xray has the capability");
        owner.kill().unwrap();
        owner.wait().unwrap();
        eventually("Xray is gone", PATIENCE, async || !children.iter().any(|pid| alive(*pid))).await;
    }
}
