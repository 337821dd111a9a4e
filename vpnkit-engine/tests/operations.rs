//! Operations as data: called by name, with the one JSON form of each record.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

use std::sync::Arc;
use std::time::Duration;

use vpnkit_core::model::{CreateKey, Key, KeyQuery};
use vpnkit_core::store::memory::MemoryStore;
use vpnkit_core::{Clock as _, ErrorKind, ManualClock, Secret};
use vpnkit_engine::engine::{Engine, EngineOptions};
use vpnkit_engine::operation::Operation;

async fn open(clock: &ManualClock) -> Engine {
    let options = EngineOptions { background: false, ..EngineOptions::default() };
    Engine::open(Arc::new(MemoryStore::new()), Arc::new(clock.clone()), options, Vec::new()).await.unwrap()
}

#[tokio::test]
async fn operations_are_called_by_name_with_the_one_form_in_json() {
    let engine = open(&ManualClock::default()).await;
    let call = async |name: &str, arguments: &str| {
        let call = (Operation::named(name)?.parse)(arguments)?;
        Ok::<_, vpnkit_core::Error>(call(&engine).await?.to_json())
    };
    let request = r#"{"request": {"name": "alice", "data_limit": "1 GiB", "expires_in": "30 days"}}"#;
    let made = call("keys.create", request).await.unwrap();
    let key: serde_json::Value = serde_json::from_str(&made).unwrap();
    assert_eq!(key["expires_at"], "2026-01-31T00:00:00.000Z");
    assert_eq!((&key["data_limit"], &key["remaining"]), (&(1 << 30).into(), &(1 << 30).into()));
    assert_eq!(key["inbounds"], serde_json::Value::Null);
    // What came out goes in again: also the secrets, which an operation's answer has.
    let read: Key = serde_json::from_str(&made).unwrap();
    assert_eq!(Some(&read), engine.keys().get("alice").await.unwrap().as_ref());
    // Every identity of a key, and a patch in which null takes a value away.
    for key in [r#""alice""#, "1", r#""id:1""#, &format!(r#""{}""#, read.uid)] {
        let patch = format!(r#"{{"key": {key}, "patch": {{"data_limit": null, "label": "l"}}}}"#);
        let patched: Key = serde_json::from_str(&call("keys.update", &patch).await.unwrap()).unwrap();
        assert_eq!(
            (patched.data_limit, patched.label.as_deref(), patched.expires_at),
            (None, Some("l"), read.expires_at)
        );
    }
    for (name, arguments, field) in [
        ("keys.create", r#"{"request": {"nmae": "x"}}"#, "nmae"),
        ("keys.create", r#"{"request": {"device_limit": -1}}"#, "device_limit"),
        ("keys.find", r#"{"query": {"status": ["gone"]}}"#, "status[0]"),
        ("keys.get", r#"{"key": true}"#, "key"),
        ("subscriptions.rotate_secret", r#"{"keep": 5}"#, "keep"),
    ] {
        let error = call(name, arguments).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.operation(), error.get("field")),
            (ErrorKind::InvalidInput, name, Some(field))
        );
    }
    assert_eq!(call("keys.steal", "{}").await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(call("now", "{}").await.unwrap(), r#""2026-01-01T00:00:00.000Z""#);
    engine.close().await.unwrap();
}

#[tokio::test]
async fn a_key_in_json_shows_no_secret_unless_it_is_asked_for() {
    let engine = open(&ManualClock::default()).await;
    let key = engine.keys().create(CreateKey::named("alice")).await.unwrap();
    let secret = key.credentials[0].secret.expose();
    let (shown, whole) =
        (serde_json::to_string(&key).unwrap(), Secret::reveal(|| serde_json::to_string(&key)).unwrap());
    assert!(!shown.contains(&secret) && whole.contains(&secret));
    assert!(serde_json::from_str::<Key>(&shown).is_err(), "a key without its secrets is no key");
    assert!(!serde_json::to_string(&key).unwrap().contains(&secret), "revealing ends with its closure");
    engine.close().await.unwrap();
}

#[tokio::test]
async fn what_was_looked_up_is_told_and_pages_are_walked() {
    let engine = open(&ManualClock::default()).await;
    let requests = (0..25).map(|i| CreateKey::named(format!("k{i:02}"))).collect();
    let made = engine.keys().create_many(requests, Some("batch".into())).await.unwrap();
    let mut walk = engine.keys().iterate(KeyQuery::default().limit(4));
    let mut seen = Vec::new();
    while let Some(key) = walk.next().await.unwrap() {
        seen.push(key.id);
    }
    assert_eq!(seen, made.iter().map(|key| key.id).collect::<Vec<_>>());
    let error = engine.keys().require("1").await.unwrap_err();
    assert_eq!((error.message(), error.operation()), ("no key is named \"1\"", "keys.require"));
    assert!(error.hint_text().unwrap().contains("number"));
    // A replay is judged before anything else: the second request would be refused today.
    let clock = ManualClock::default();
    let engine = open(&clock).await;
    let day = clock.now().plus(Duration::from_secs(86_400));
    let request = CreateKey::named("late").expires_at(day).idempotency_key("pay:1");
    let first = engine.keys().create(request.clone()).await.unwrap();
    clock.advance(Duration::from_secs(10 * 86_400));
    let again = engine.keys().create(request).await.unwrap();
    assert_eq!((again.id, first.replayed, again.replayed), (first.id, false, true));
    engine.close().await.unwrap();
}

/// Two stores with connections of their own on one file, as two processes have it: a webhook that reaches both at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_that_two_engines_get_at_once_is_one_key() {
    use vpnkit_sqlite::{SqliteOptions, SqliteStore};

    let directory = tempfile::tempdir().unwrap();
    let clock = ManualClock::default();
    let mut engines = Vec::new();
    for _ in 0..2 {
        let store =
            SqliteStore::open(directory.path().join("keys.db"), SqliteOptions::default()).await.unwrap();
        let options = EngineOptions { background: false, ..EngineOptions::default() };
        engines
            .push(Engine::open(Arc::new(store), Arc::new(clock.clone()), options, Vec::new()).await.unwrap());
    }
    for payment in 0..20 {
        let request = || CreateKey::named(format!("k{payment}")).idempotency_key(format!("pay:{payment}"));
        let (first, second) = (engines[0].keys(), engines[1].keys());
        let (first, second) = tokio::join!(first.create(request()), second.create(request()));
        let (first, second) = (first.unwrap(), second.unwrap());
        assert_eq!(first.id, second.id);
        assert!(first.replayed != second.replayed, "one of them created it: {first:?} {second:?}");
        let keys = engines[payment % 2].keys();
        let other = keys.create(request().note("another")).await;
        assert_eq!(other.unwrap_err().kind(), ErrorKind::IdempotencyMismatch);
    }
    let keys = engines[0].keys().find(KeyQuery::default()).await.unwrap().keys;
    assert_eq!(keys.len(), 20);
    for engine in engines {
        engine.close().await.unwrap();
    }
}
