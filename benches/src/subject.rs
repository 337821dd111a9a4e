//! An engine over a store of its own, with one server whose counters the program moves.

use std::sync::Arc;

use vpnkit::engine::{Engine, EngineOptions, ServerParts};
use vpnkit::sqlite::{SqliteOptions, SqliteStore};
use vpnkit::{CreateKey, ManualClock};
use vpnkit_testkit::FakeServer;

use crate::BULK;
use crate::source::BenchSource;

/// What is measured.
pub(crate) struct Subject {
    pub(crate) engine: Engine,
    pub(crate) source: Arc<BenchSource>,
    pub(crate) clock: ManualClock,
    pub(crate) directory: tempfile::TempDir,
}

impl Subject {
    /// Opens it without keys.
    pub(crate) async fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store =
            SqliteStore::open(directory.path().join("ours.db"), SqliteOptions::default()).await.unwrap();
        let (source, clock) = (Arc::new(BenchSource::default()), ManualClock::default());
        let parts = ServerParts {
            backend: Arc::new(FakeServer::new()),
            source: source.clone(),
            address: "127.0.0.1".into(),
        };
        let options = EngineOptions { background: false, ..EngineOptions::default() };
        let engine =
            Engine::open(Arc::new(store), Arc::new(clock.clone()), options, vec![parts]).await.unwrap();
        Self { engine, source, clock, directory }
    }

    /// Creates so many keys.
    pub(crate) async fn with_keys(self, keys: usize, request: impl Fn(usize) -> CreateKey) -> Self {
        for chunk in (0..keys).step_by(BULK) {
            let requests = (chunk..keys.min(chunk + BULK)).map(&request).collect();
            self.engine.keys().create_many(requests, None).await.unwrap();
        }
        self
    }
}
