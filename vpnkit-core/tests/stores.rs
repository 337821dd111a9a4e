//! Every store passes the one suite.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking"
)]

use std::sync::Arc;

use vpnkit_core::store::memory::MemoryStore;
use vpnkit_testkit::store::Subject;

mod memory {
    use super::{Arc, MemoryStore, Subject};

    async fn subject() -> Subject {
        Subject { store: Arc::new(MemoryStore::new()), keep: Box::new(()) }
    }

    vpnkit_testkit::store_conformance!(subject);
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use vpnkit_core::store::sqlite::{SqliteOptions, SqliteStore};

    use super::{Arc, Subject};

    async fn subject() -> Subject {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys.db");
        let store = SqliteStore::open(path, SqliteOptions::default()).await.unwrap();
        Subject { store: Arc::new(store), keep: Box::new(directory) }
    }

    vpnkit_testkit::store_conformance!(subject);
}
