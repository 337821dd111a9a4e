//! A small application around vpnkit, for tests that kill it.
//!
//! `owner hold DIRECTORY`: opens a managed Xray with one key, says `ready`, waits for ever.
//! `owner capabilities DIRECTORY`: says whether a managed Xray that is asked to cut connections does.
//! `owner drive CONFIG`: opens what the JSON says and says `ready`; takes calls from its input, a line each, and answers them by
//! their ids; closes when the input ends.
//! `owner work DIRECTORY SOCKET NUMBER`: creates keys and counts traffic as fast as it can; says the name of each
//! key once its creation is acknowledged. The counters come from the test, over a socket.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::exit,
    clippy::panic,
    clippy::print_stdout,
    reason = "part of a test"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};

use testbed::{CounterClient, inbound, xray_binary};
use vpnkit::engine::{Engine, EngineOptions, ServerParts};
use vpnkit::sqlite::{SqliteOptions, SqliteStore};
use vpnkit::store::{KeyStore, Retention};
use vpnkit::{Clock as _, Config, CreateKey, Protocol, SystemClock, Timestamp, VpnKit, XrayConfig};
use vpnkit_testkit::FakeServer;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [_, "hold", directory] => hold(Path::new(directory)).await,
        [_, "drive", config] => drive(config).await,
        [_, "capabilities", directory] => capabilities(Path::new(directory)).await,
        [_, "work", directory, socket, number] => work(Path::new(directory), Path::new(socket), number).await,
        _ => panic!("see the source"),
    }
}

async fn hold(directory: &Path) {
    let xray = XrayConfig::managed("127.0.0.1", directory.join("xray")).binary(xray_binary());
    let kit = VpnKit::open(Config::sqlite(directory.join("keys.db")).xray(xray)).await.unwrap();
    kit.inbounds().ensure(inbound("plain", Protocol::Vless { vision: false })).await.unwrap();
    // Of its own, because tests that are started in the background ignore it. Nothing is closed or dropped.
    let mut interrupted = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt()).unwrap();
    println!("ready");
    interrupted.recv().await;
    std::process::exit(130);
}

/// A call: `[7, "keys.create", { "name": "alice" }]`; its answer: `[7, { … }, null]`.
async fn drive(config: &str) {
    let kit = VpnKit::open(Config::from_json(config).unwrap()).await.unwrap();
    println!("ready");
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        let (id, name, arguments): (u64, String, serde_json::Value) = serde_json::from_str(&line).unwrap();
        let kit = kit.clone();
        tokio::spawn(async move {
            let call = || -> vpnkit::Result<_> {
                let operation = vpnkit::operation::named(&name)?;
                Ok((operation.parse)(&arguments.to_string())?(kit.engine()))
            };
            let answer = match call() {
                Ok(running) => running.await,
                Err(e) => Err(e),
            };
            let (value, error) = match answer {
                Ok(answer) => (answer.to_json(), "null".to_owned()),
                Err(e) => ("null".to_owned(), serde_json::to_string(&e).unwrap()),
            };
            println!("[{id},{value},{error}]");
        });
    }
    kit.close().await.unwrap();
}

async fn capabilities(directory: &Path) {
    let xray =
        XrayConfig::managed("127.0.0.1", directory.join("xray")).binary(xray_binary()).cut_connections(true);
    let kit = VpnKit::open(Config::memory().xray(xray)).await.unwrap();
    for server in kit.servers().status().await.unwrap() {
        println!("cut_live={}", server.capabilities.cut_live);
    }
    kit.close().await.unwrap();
}

async fn work(directory: &Path, socket: &Path, number: &str) {
    let path: PathBuf = directory.join("keys.db");
    let store = Arc::new(SqliteStore::open(path, SqliteOptions::default()).await.unwrap());
    let backend = Arc::new(FakeServer::new());
    let source = Arc::new(CounterClient::new(socket));
    let options = EngineOptions { background: false, ..EngineOptions::default() };
    let parts = vec![ServerParts { backend, source, address: "127.0.0.1".into() }];
    let summing: Arc<dyn KeyStore> = store.clone();
    let engine = Engine::open(store, Arc::new(SystemClock), options, parts).await.unwrap();
    // As if years passed: every hour becomes a day, and every day a month, while more is counted.
    tokio::spawn(async move {
        for round in 0u64.. {
            let ahead = |days: u64| SystemClock.now().plus(Duration::from_secs(days * 86_400));
            let days = if round % 2 == 0 { 0 } else { 40 };
            let retention = Retention {
                events: Timestamp::default(),
                timelines: Timestamp::default(),
                hours: ahead(2),
                days: ahead(days),
            };
            summing.prune(&retention, None).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let ticking = engine.clone();
    tokio::spawn(async move {
        loop {
            ticking.traffic().collect().await.unwrap();
        }
    });
    for i in 0.. {
        let name = format!("k{number}-{i}");
        engine.keys().create(CreateKey::named(&name)).await.unwrap();
        println!("{name}");
    }
}
