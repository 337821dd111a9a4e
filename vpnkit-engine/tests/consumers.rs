//! Named consumers: each event at least once, to one of the processes that consume under a name.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use vpnkit_core::model::{CreateKey, Cursor, EventKind, KeyId};
use vpnkit_core::{ErrorKind, SystemClock};
use vpnkit_engine::engine::{CallContext, Engine, EngineOptions};
use vpnkit_sqlite::{SqliteOptions, SqliteStore};

async fn open(directory: &tempfile::TempDir) -> Engine {
    let path = directory.path().join("keys.db");
    let store = Arc::new(SqliteStore::open(path, SqliteOptions::default()).await.unwrap());
    let options = EngineOptions { lease_time: Duration::from_secs(1), ..EngineOptions::default() };
    Engine::open(store, Arc::new(SystemClock), options, Vec::new()).await.unwrap()
}

async fn create(engine: &Engine) -> KeyId {
    engine.keys().create(CreateKey::default()).await.unwrap().id
}

#[tokio::test]
async fn a_place_is_kept_under_a_name() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(&directory).await;
    let before = create(&engine).await;
    // What was before it came is not told, unless it is asked for.
    let mut bot = engine.events().consume("bot", None).unwrap();
    let waits = tokio::time::timeout(Duration::from_millis(200), bot.next()).await;
    assert!(waits.is_err(), "{waits:?}");
    let one = create(&engine).await;
    let event = bot.next().await.unwrap().unwrap();
    assert_eq!((event.kind, event.key()), (EventKind::KeyCreated, Some(one)));
    let mut all = engine.events().consume("billing", Some(Cursor::START)).unwrap();
    assert_eq!(all.next().await.unwrap().unwrap().key(), Some(before));
    // Ended while an event is handled: it comes again.
    bot.close().await.unwrap();
    let mut bot = engine.events().consume("bot", None).unwrap();
    assert_eq!(bot.next().await.unwrap().unwrap().key(), Some(one));
    let two = create(&engine).await;
    assert_eq!(bot.next().await.unwrap().unwrap().key(), Some(two));
    bot.acknowledge().await.unwrap();
    drop(bot);
    let consumers = engine.events().consumers().await.unwrap();
    let names: Vec<_> = consumers.iter().map(|one| (one.name.as_str(), one.pending)).collect();
    assert_eq!(names, [("billing", 3), ("bot", 0)]);
    // Opened again, the place is known.
    engine.close().await.unwrap();
    let engine = open(&directory).await;
    let three = create(&engine).await;
    let mut bot = engine.events().consume("bot", None).unwrap();
    assert_eq!(bot.next_batch(10).await.unwrap()[0].key(), Some(three));
    engine.events().remove_consumer("billing").await.unwrap();
    let gone = engine.events().remove_consumer("billing").await.unwrap_err();
    assert_eq!((gone.kind(), gone.get("field")), (ErrorKind::NotFound, Some("name")));
    let wrong = engine.events().consume("two words", None).unwrap_err();
    assert_eq!((wrong.kind(), wrong.get("field")), (ErrorKind::InvalidInput, Some("name")));
    let context = CallContext::default().as_admin(vpnkit_core::model::AdminId(1), None).unwrap();
    let denied = engine.with_context(context).events().consume("bot", None).unwrap_err();
    assert_eq!(denied.kind(), ErrorKind::PermissionDenied);
    engine.close().await.unwrap();
    assert!(bot.next().await.is_err());
}

/// Two processes and two tasks of one of them under one name: each event is given to one of them, and when one goes another goes on.
#[tokio::test(flavor = "multi_thread")]
async fn each_event_is_given_to_one_of_many() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, other) = (open(&directory).await, open(&directory).await);
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let mut tasks = Vec::new();
    create(&engine).await;
    let (mut seen, mut twice, mut who_has) = (BTreeSet::new(), 0, BTreeSet::new());
    for (who, of) in [&engine, &engine, &other].into_iter().enumerate() {
        let (of, tell) = (of.clone(), tell.clone());
        tasks.push(tokio::spawn(async move {
            let mut consumer = of.events().consume("bot", Some(Cursor::START)).unwrap();
            // Each goes after some events, the last one stays.
            let mut left = if who == 2 { usize::MAX } else { 40 };
            while left > 0 {
                let Ok(Some(event)) = consumer.next().await else { return };
                tell.send((who, event.cursor)).unwrap();
                left -= 1;
            }
            if who == 0 { consumer.close().await.unwrap() } else { drop(consumer) }
        }));
        if who == 0 {
            // It has the turn before the others come.
            let (by, cursor) = told.recv().await.unwrap();
            seen.insert(cursor);
            who_has.insert(by);
        }
    }
    let mut created = 1;
    for _ in 0..30 {
        for _ in 0..5 {
            create(&engine).await;
            created += 1;
        }
    }
    while seen.len() < created {
        let (by, cursor) = tokio::time::timeout(Duration::from_secs(60), told.recv()).await.unwrap().unwrap();
        if !seen.insert(cursor) {
            twice += 1;
        }
        who_has.insert(by);
    }
    assert_eq!(
        seen.iter().map(|cursor| cursor.0).collect::<Vec<_>>(),
        (1_i64..).take(created).collect::<Vec<_>>()
    );
    assert!(twice <= 200, "{twice}");
    assert!(who_has.contains(&0) && who_has.contains(&2), "{who_has:?}");
    engine.close().await.unwrap();
    other.close().await.unwrap();
    for task in tasks {
        task.await.unwrap();
    }
}
