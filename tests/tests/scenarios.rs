//! The scenario files, on every store. Bindings run the same files.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking"
)]

use std::sync::Arc;

use vpnkit::sqlite::{SqliteOptions, SqliteStore};
use vpnkit::store::KeyStore;
use vpnkit::store::memory::MemoryStore;

fn files() -> Vec<std::path::PathBuf> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 6, "the scenarios are there");
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scenario_holds_in_memory() {
    for file in files() {
        let store: Arc<dyn KeyStore> = Arc::new(MemoryStore::new());
        vpnkit_testkit::scenario::run(&std::fs::read_to_string(file).unwrap(), store).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scenario_holds_on_sqlite() {
    for file in files() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys.db");
        let store: Arc<dyn KeyStore> =
            Arc::new(SqliteStore::open(path, SqliteOptions::default()).await.unwrap());
        vpnkit_testkit::scenario::run(&std::fs::read_to_string(file).unwrap(), store).await;
    }
}
