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

mod sqlite {
    use vpnkit_sqlite::{SqliteOptions, SqliteStore};

    use super::{Arc, Subject};

    async fn open(options: SqliteOptions) -> Subject {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path().join("keys.db"), options).await.unwrap();
        Subject { store: Arc::new(store), keep: Box::new(directory) }
    }

    mod plain {
        use super::*;

        async fn subject() -> Subject {
            open(SqliteOptions::default()).await
        }

        vpnkit_testkit::store_conformance!(subject);
    }

    mod encrypted {
        use super::*;

        async fn subject() -> Subject {
            let passphrase = Some(vpnkit_core::Secret::new("correct horse"));
            open(SqliteOptions { passphrase, ..SqliteOptions::default() }).await
        }

        vpnkit_testkit::store_conformance!(subject);
    }
}
