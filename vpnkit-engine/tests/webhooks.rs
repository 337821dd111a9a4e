//! Webhooks: signed, in order by key, at least once, whatever the receiver does and whichever process delivers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use vpnkit_core::model::{
    CreateAdmin, CreateKey, CreateWebhook, Cursor, EventKind, KeyId, KeyPatch, WebhookPatch, WebhookStatus,
};
use vpnkit_core::{ErrorKind, Secret, SystemClock};
use vpnkit_engine::engine::{CallContext, Engine, EngineOptions};
use vpnkit_engine::webhook::{WebhookRequest, signature};
use vpnkit_sqlite::{SqliteOptions, SqliteStore};
use vpnkit_testkit::receiver::{FakeReceiver, event, status};

async fn open(directory: &tempfile::TempDir, receiver: &Arc<FakeReceiver>) -> Engine {
    let path = directory.path().join("keys.db");
    let store = Arc::new(SqliteStore::open(path, SqliteOptions::default()).await.unwrap());
    let options = EngineOptions {
        lease_time: Duration::from_secs(1),
        webhooks: Some(receiver.clone()),
        webhook_retry: Duration::from_millis(5),
        ..EngineOptions::default()
    };
    Engine::open(store, Arc::new(SystemClock), options, Vec::new()).await.unwrap()
}

async fn create(engine: &Engine) -> KeyId {
    engine.keys().create(CreateKey::default()).await.unwrap().id
}

/// Waits for something that happens soon.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..3_000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} has not come");
}

async fn only(engine: &Engine) -> WebhookStatus {
    engine.webhooks().status().await.unwrap().remove(0)
}

fn header(request: &WebhookRequest, name: &str) -> String {
    request.headers.iter().find(|(n, _)| *n == name).unwrap().1.clone()
}

#[tokio::test]
async fn events_are_signed_and_filtered() {
    let (directory, receiver) = (tempfile::tempdir().unwrap(), Arc::new(FakeReceiver::default()));
    let engine = open(&directory, &receiver).await;
    create(&engine).await;
    let made = engine.webhooks().create(CreateWebhook::to("https://shop.example/events")).await.unwrap();
    assert!(
        made.secret.expose().starts_with("whsec_") && !format!("{made:?}").contains(made.secret.expose())
    );
    let key = create(&engine).await;
    until("the event", async || receiver.events().iter().any(|event| event.key == Some(key))).await;
    let requests = receiver.requests();
    // What was before it came is not told.
    assert!(requests.iter().all(|request| event(request).unwrap().key != Some(KeyId(1))));
    let request = requests.iter().find(|request| event(request).unwrap().key == Some(key)).unwrap();
    let (id, sent) = (header(request, "webhook-id"), header(request, "webhook-timestamp"));
    let at = vpnkit_core::Timestamp::from_millis(sent.parse::<i64>().unwrap() * 1_000);
    let signed = signature(std::slice::from_ref(&made.secret), &id, at, &request.body);
    assert_eq!(
        (header(request, "webhook-signature"), request.url.as_str()),
        (signed, "https://shop.example/events")
    );
    let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(
        (body["type"].as_str(), body["data"]["kind"].as_str()),
        (Some("key.created"), Some("key.created"))
    );

    // With two secrets for some time, then with the new one.
    let rotated =
        engine.webhooks().rotate_secret(&made.webhook.id, Duration::from_secs(3_600)).await.unwrap();
    engine.webhooks().ping(&made.webhook.id).await.unwrap();
    let request =
        receiver.requests().into_iter().find(|request| request.body.contains("webhook.ping")).unwrap();
    assert_eq!(header(&request, "webhook-signature").split(' ').count(), 2);
    let newest = engine.webhooks().rotate_secret(&made.webhook.id, Duration::ZERO).await.unwrap();
    engine.webhooks().ping(&made.webhook.id).await.unwrap();
    let last =
        receiver.requests().into_iter().rfind(|request| request.body.contains("webhook.ping")).unwrap();
    let at = vpnkit_core::Timestamp::from_millis(
        header(&last, "webhook-timestamp").parse::<i64>().unwrap() * 1_000,
    );
    let signed = signature(&[newest.secret], &header(&last, "webhook-id"), at, &last.body);
    assert_eq!(header(&last, "webhook-signature"), signed);
    assert_ne!(rotated.secret, made.secret);

    // Only some kinds, only of an admin and those below.
    engine.webhooks().delete(&made.webhook.id).await.unwrap();
    let boss = engine.admins().create(CreateAdmin::named("boss").admin_limit(1), None).await.unwrap().id;
    let low = engine.admins().create(CreateAdmin::named("low").below(boss), None).await.unwrap().id;
    let request = CreateWebhook {
        admin: Some(boss),
        ..CreateWebhook::to("http://b.example").kinds(["key.disabled", "admin.*"])
    };
    let some = engine.webhooks().create(request).await.unwrap().webhook;
    let own = engine.keys().create(CreateKey { owner: Some(low), ..CreateKey::default() }).await.unwrap().id;
    for key in [key, own] {
        engine.keys().disable(key).await.unwrap();
    }
    engine.admins().update(low, vpnkit_core::model::AdminPatch::default().key_limit(5), None).await.unwrap();
    let of_it =
        || receiver.requests().into_iter().filter(|request| request.url == some.url).collect::<Vec<_>>();
    until("both", async || of_it().len() >= 2).await;
    let told: Vec<_> =
        of_it().iter().map(|request| event(request).unwrap()).map(|event| (event.kind, event.key)).collect();
    assert_eq!(
        BTreeSet::from_iter(told.iter().map(|(kind, key)| (kind.code(), *key))),
        BTreeSet::from([("key.disabled", Some(own)), ("admin.updated", None)])
    );
    until("its place", async || only(&engine).await.pending == 0).await;

    let fault = async |request: CreateWebhook| {
        let e = engine.webhooks().create(request).await.unwrap_err();
        (e.kind(), e.get("field").map(str::to_owned))
    };
    let invalid = |field: &str| (ErrorKind::InvalidInput, Some(field.to_owned()));
    assert_eq!(fault(CreateWebhook::to("ftp://x")).await, invalid("url"));
    assert_eq!(fault(CreateWebhook::to("http://private")).await, invalid("url"));
    assert_eq!(fault(CreateWebhook::to("http://x").kinds(["key.eaten"])).await, invalid("kinds"));
    assert_eq!(fault(CreateWebhook::to("http://x").kinds(["dog.*"])).await, invalid("kinds"));
    assert_eq!(engine.webhooks().ping("x").await.unwrap_err().kind(), ErrorKind::NotFound);
    let reseller = engine.with_context(CallContext::default().as_admin(boss, None).unwrap());
    assert_eq!(reseller.webhooks().list().await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    engine.close().await.unwrap();
}

/// Down for a while, refusing one event for good, failing at another: everything else arrives, in order by key.
#[tokio::test]
async fn every_event_arrives_in_order_by_key() {
    let (directory, receiver) = (tempfile::tempdir().unwrap(), Arc::new(FakeReceiver::default()));
    let engine = open(&directory, &receiver).await;
    let webhook = engine.webhooks().create(CreateWebhook::to("https://a.example")).await.unwrap().webhook.id;
    receiver.down();
    let mut keys = Vec::new();
    for _ in 0..10 {
        keys.push(create(&engine).await);
    }
    until("a failure", async || only(&engine).await.failing_since.is_some()).await;
    assert_eq!(only(&engine).await.error.as_deref(), Some("nobody answers"));
    for round in 0..40 {
        for key in &keys {
            engine
                .keys()
                .update(*key, KeyPatch::default().note(format!("{round}")), None, None)
                .await
                .unwrap();
        }
    }
    // The window is bounded, whatever waits.
    assert!(receiver.requests().len() < 200, "{}", receiver.requests().len());
    let refused = engine.events().read(Cursor::START, 10_000).await.unwrap().events;
    let refused: Vec<Cursor> =
        refused.iter().filter(|event| event.key() == Some(keys[3])).map(|event| event.cursor).collect();
    let bad = refused[5];
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let accepted = seen.clone();
    let failures = std::sync::Mutex::new(BTreeMap::new());
    receiver.answer(move |request| {
        let mut failures = failures.lock().unwrap();
        let event = event(request).unwrap();
        if event.cursor == bad {
            return Ok(status(400));
        }
        // Less often than an event is given up at.
        let failed = failures.entry(event.cursor).or_insert(0);
        if event.cursor.0 % 17 == 0 && *failed < 3 {
            *failed += 1;
            return Ok(status(503));
        }
        accepted.lock().unwrap().push((event.key, event.cursor));
        Ok(status(200))
    });
    until("all of them", async || only(&engine).await.pending == 0).await;
    let newest = engine.events().newest().await.unwrap();
    let all: BTreeSet<Cursor> = seen.lock().unwrap().iter().map(|(_, cursor)| *cursor).collect();
    // From the first key on, but for the one that was refused.
    let first = refused[0].0 - 3;
    let missing: Vec<i64> = (first..=newest.0).filter(|cursor| !all.contains(&Cursor(*cursor))).collect();
    assert_eq!(missing, [bad.0]);
    let mut by_key: BTreeMap<Option<KeyId>, Vec<Cursor>> = BTreeMap::new();
    for (key, cursor) in seen.lock().unwrap().iter() {
        by_key.entry(*key).or_default().push(*cursor);
    }
    for (key, mut cursors) in by_key {
        cursors.dedup();
        assert!(cursors.is_sorted(), "{key:?}: {cursors:?}");
    }
    let letters = engine.webhooks().dead_letters(&webhook, None, 10).await.unwrap();
    let letter = letters.first().unwrap();
    assert_eq!(
        (letters.len(), letter.cursor(), letter.attempts, letter.error.as_str()),
        (1, bad, 5, "HTTP 400")
    );
    assert_eq!(only(&engine).await.dead_letters, 1);

    // Sent again: not accepted, then accepted.
    let again = engine.webhooks().resend(&webhook, Some(bad)).await.unwrap_err();
    assert_eq!((again.kind(), again.get("answer")), (ErrorKind::Unavailable, Some("HTTP 400")));
    receiver.up();
    assert_eq!(engine.webhooks().resend(&webhook, None).await.unwrap(), 1);
    assert_eq!(only(&engine).await.dead_letters, 0);
    let gone = engine.webhooks().resend(&webhook, Some(bad)).await.unwrap_err();
    assert_eq!((gone.kind(), gone.get("field")), (ErrorKind::NotFound, Some("cursor")));
    // Switched off, then on: what was meanwhile comes.
    let off = |disabled| WebhookPatch { disabled: Some(disabled), ..WebhookPatch::default() };
    engine.webhooks().update(&webhook, off(true)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let key = create(&engine).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let came = || {
        receiver.events().iter().any(|event| event.key == Some(key) && event.kind == EventKind::KeyCreated)
    };
    assert!(!came());
    engine.webhooks().update(&webhook, off(false)).await.unwrap();
    until("it", async || came()).await;
    engine.close().await.unwrap();
}

/// Two processes: one delivers, the other one goes on where it was when it ends, and nothing is lost between them.
#[tokio::test(flavor = "multi_thread")]
async fn another_process_goes_on() {
    let (directory, receiver) = (tempfile::tempdir().unwrap(), Arc::new(FakeReceiver::default()));
    let other_receiver = Arc::new(FakeReceiver::default());
    let engine = open(&directory, &receiver).await;
    engine.webhooks().create(CreateWebhook::to("https://a.example")).await.unwrap();
    let first = create(&engine).await;
    until("the first", async || receiver.events().iter().any(|event| event.key == Some(first))).await;
    let other = open(&directory, &other_receiver).await;
    let mut keys = Vec::new();
    for _ in 0..100 {
        keys.push(create(&other).await);
    }
    engine.close().await.unwrap();
    for _ in 0..100 {
        keys.push(create(&other).await);
    }
    let all = || {
        let events = [receiver.events(), other_receiver.events()].concat();
        events.iter().filter_map(|event| event.key).collect::<BTreeSet<_>>()
    };
    until("all of them", async || keys.iter().all(|key| all().contains(key))).await;
    assert!(!other_receiver.events().is_empty());
    // What is told with the lease is seen by all.
    assert!(only(&other).await.delivered_at.is_some());
    other.close().await.unwrap();
    let _ = Secret::new("");
}
