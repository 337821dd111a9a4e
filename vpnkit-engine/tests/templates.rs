//! Templates: in every process, beside one that is damaged.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use vpnkit_core::model::{ByteSize, CreateKey, Extension, GrantQuery, KeyTemplate};
use vpnkit_core::store::KeyStore;
use vpnkit_core::{ErrorKind, ManualClock};
use vpnkit_engine::engine::{Engine, EngineOptions};
use vpnkit_sqlite::{SqliteOptions, SqliteStore};

async fn open(directory: &Path) -> (Engine, Arc<dyn KeyStore>) {
    let store = SqliteStore::open(directory.join("keys.db"), SqliteOptions::default()).await.unwrap();
    let store: Arc<dyn KeyStore> = Arc::new(store);
    let options = EngineOptions { background: false, ..EngineOptions::default() };
    let clock = Arc::new(ManualClock::default());
    (Engine::open(Arc::clone(&store), clock, options, Vec::new()).await.unwrap(), store)
}

fn product(gib: u64) -> KeyTemplate {
    KeyTemplate::named("month").data_limit(ByteSize::gib(gib)).expires_in(Duration::from_secs(30 * 86_400))
}

/// What one process has said holds in the very next call of another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_product_is_the_same_in_every_process() {
    let directory = tempfile::tempdir().unwrap();
    let ((one, store), (two, _)) = (open(directory.path()).await, open(directory.path()).await);
    for gib in 1..20 {
        one.templates().ensure(product(gib)).await.unwrap();
        let name = format!("k{gib}");
        let key = two.keys().create(CreateKey::named(name.clone()).template("month")).await.unwrap();
        assert_eq!(key.data_limit, Some(ByteSize::gib(gib)));
        let renewal = Extension::default().template("month");
        let renewed =
            two.keys().extend(name.as_str(), renewal, Some(format!("pay:{gib}")), None).await.unwrap();
        assert_eq!(renewed.data_limit, Some(ByteSize::gib(2 * gib)));
    }
    // A callback that comes again is the same, whatever the product has become, and whether it is there at all.
    one.templates().remove("month").await.unwrap();
    let again = Extension::default().template("month");
    assert!(two.keys().extend("k3", again.clone(), Some("pay:3".into()), None).await.unwrap().replayed);
    let gone = two.keys().extend("k3", again, Some("pay:new".into()), None).await.unwrap_err();
    assert_eq!((gone.kind(), gone.get("field")), (ErrorKind::NotFound, Some("template")));
    let sold = two.grants().find(GrantQuery::of("k3")).await.unwrap();
    assert!(sold.iter().all(|grant| grant.template.as_deref() == Some("month")));
    // The same call at every start is no change that anybody would have to read.
    one.templates().ensure(product(1)).await.unwrap();
    let revision = store.revision().await.unwrap();
    for engine in [&one, &two] {
        engine.templates().ensure(product(1)).await.unwrap();
    }
    assert_eq!(store.revision().await.unwrap(), revision);
    one.close().await.unwrap();
    two.close().await.unwrap();
}

#[tokio::test]
async fn a_template_that_cannot_be_read_does_not_keep_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, _) = open(directory.path()).await;
    engine.templates().ensure(product(1)).await.unwrap();
    engine.templates().ensure(KeyTemplate::named("broken")).await.unwrap();
    let file = rusqlite::Connection::open(directory.path().join("keys.db")).unwrap();
    file.execute("UPDATE records SET body = '{' WHERE kind = 'key_template' AND id = 'broken'", []).unwrap();
    file.execute("UPDATE meta SET value = value + 1 WHERE name = 'revision'", []).unwrap();
    let names: Vec<String> =
        engine.templates().list().await.unwrap().into_iter().map(|template| template.name).collect();
    assert_eq!(names, ["month"]);
    engine.keys().create(CreateKey::named("alice").template("month")).await.unwrap();
    let broken = engine.keys().create(CreateKey::named("bob").template("broken")).await.unwrap_err();
    assert_eq!((broken.kind(), broken.get("field")), (ErrorKind::NotFound, Some("template")));
    engine.templates().ensure(KeyTemplate::named("broken")).await.unwrap();
    engine.keys().create(CreateKey::named("bob").template("broken")).await.unwrap();
    engine.close().await.unwrap();
}
