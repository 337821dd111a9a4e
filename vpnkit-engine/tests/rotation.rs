//! Keys and secrets that are changed now and then.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

use std::sync::Arc;
use std::time::Duration;

use vpnkit_core::model::{
    CreateKey, Cursor, EventKind, Inbound, InboundTag, KeyRotation, NodeId, Patch, PreviousKeys, Protocol,
    Reality, Security,
};
use vpnkit_core::store::KeyStore;
use vpnkit_core::{Clock as _, ErrorKind, ManualClock};
use vpnkit_engine::engine::{CallContext, Engine, EngineOptions, ServerParts};
use vpnkit_sqlite::{SqliteOptions, SqliteStore};
use vpnkit_subscription::SettingsPatch;
use vpnkit_testkit::{FakeRules, FakeServer, Fault};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

struct Bed {
    directory: tempfile::TempDir,
    clock: ManualClock,
    server: Arc<FakeServer>,
    engine: Engine,
}

fn tag(tag: &str) -> InboundTag {
    InboundTag::new(tag).unwrap()
}

fn described(name: &str, port: u16, rotation: Option<KeyRotation>) -> Inbound {
    let reality = Reality { rotation, ..Reality::at("site.test:443", "site.test") };
    Inbound::new(tag(name), port, Protocol::Vless { vision: true }).security(Security::Reality(reality))
}

fn reality(inbound: &Inbound) -> &Reality {
    match &inbound.security {
        Security::Reality(reality) => reality,
        other => panic!("{other:?}"),
    }
}

impl Bed {
    async fn new() -> Self {
        let (directory, clock) = (tempfile::tempdir().unwrap(), ManualClock::default());
        let server = Arc::new(FakeServer::new());
        let engine = Self::open(&directory, &clock, &server).await;
        Self { directory, clock, server, engine }
    }

    async fn open(directory: &tempfile::TempDir, clock: &ManualClock, server: &Arc<FakeServer>) -> Engine {
        let path = directory.path().join("keys.db");
        let store: Arc<dyn KeyStore> =
            Arc::new(SqliteStore::open(path, SqliteOptions::default()).await.unwrap());
        let parts =
            ServerParts { backend: server.clone(), source: server.clone(), address: "192.0.2.1".into() };
        let options = EngineOptions {
            background: false,
            programs: vec![Arc::new(FakeRules)],
            apply_wait: Duration::from_millis(200),
            ..EngineOptions::default()
        };
        Engine::open(store, Arc::new(clock.clone()), options, vec![parts]).await.unwrap()
    }

    async fn inbound(&self, name: &str) -> Inbound {
        self.engine.inbounds().get(&NodeId::main(), &tag(name)).await.unwrap().unwrap()
    }

    async fn after(&self, time: Duration) {
        self.clock.advance(time);
        self.engine.tick().await.unwrap();
    }
}

#[tokio::test]
async fn keys_are_changed_when_it_is_time_and_the_old_ones_end() {
    let bed = Bed::new().await;
    let rotation = KeyRotation::every(30 * DAY).keep_old(7 * DAY);
    let made = bed.engine.inbounds().ensure(described("a", 443, Some(rotation))).await.unwrap();
    let untouched = bed.engine.inbounds().ensure(described("b", 444, None)).await.unwrap();
    let first = reality(&made).clone();
    let begun = bed.clock.now();
    assert_eq!(reality(&bed.inbound("a").await).keys_since, Some(begun));
    bed.after(29 * DAY).await;
    assert_eq!(reality(&bed.inbound("a").await).public_key, first.public_key);

    bed.after(DAY).await;
    let rotated = reality(&bed.inbound("a").await).clone();
    assert_ne!(rotated.public_key, first.public_key);
    let until = bed.clock.now().plus(7 * DAY);
    let (private_key, public_key) = (first.private_key.clone(), first.public_key.clone());
    assert_eq!(rotated.previous, Some(PreviousKeys { private_key, public_key, until }));
    assert_eq!((rotated.short_ids, rotated.rotation), (first.short_ids.clone(), Some(rotation)));
    // An application that describes it again, as at every start, changes nothing of it.
    let steps = bed.server.steps();
    bed.engine.inbounds().ensure(described("a", 443, Some(rotation))).await.unwrap();
    let given = described("a", 443, Some(rotation));
    let kept =
        Security::Reality(Reality { public_key: rotated.public_key.clone(), ..reality(&given).clone() });
    bed.engine.inbounds().ensure(given.security(kept)).await.unwrap();
    assert_eq!(bed.server.steps(), steps);
    assert!(reality(&bed.inbound("a").await).previous.is_some());

    // Nor does one that was read before, whatever else is changed of it.
    bed.engine.inbounds().ensure(Inbound { port: 8_443, ..made.clone() }).await.unwrap();
    let changed = bed.inbound("a").await;
    assert_eq!((changed.port, &reality(&changed).public_key), (8_443, &rotated.public_key));
    assert!(reality(&changed).previous.is_some());
    bed.after(7 * DAY).await;
    let ended = bed.inbound("a").await;
    assert_eq!((&reality(&ended).previous, &reality(&ended).public_key), (&None, &rotated.public_key));
    bed.after(23 * DAY).await;
    let third = reality(&bed.inbound("a").await).clone();
    assert_ne!(third.public_key, rotated.public_key);
    // Nor does a description with the keys that it began with, however long ago that is.
    bed.engine.inbounds().ensure(Inbound { port: 8_443, ..made.clone() }).await.unwrap();
    assert_eq!(reality(&bed.inbound("a").await), &third);
    assert_eq!(bed.inbound("b").await, untouched);
    let events = bed.engine.events().read(Cursor::START, 1_000).await.unwrap().events;
    let told = events.iter().filter(|event| event.kind == EventKind::InboundChanged);
    let told: Vec<&str> = told.map(|event| event.detail.as_str()).collect();
    let (new, end) = ("REALITY keys", "end of old REALITY keys");
    assert_eq!(told, ["added", "added", new, "port", end, new]);
    bed.engine.close().await.unwrap();
}

#[tokio::test]
async fn keys_are_changed_by_a_call_and_what_it_cannot_do_is_told() {
    let bed = Bed::new().await;
    let inbounds = bed.engine.inbounds();
    let first = inbounds.ensure(described("a", 443, None)).await.unwrap();
    let plain = Inbound::new(tag("plain"), 445, Protocol::Vless { vision: false });
    inbounds.ensure(plain).await.unwrap();
    let main = NodeId::main();
    let rotate = |name: &str, keep| {
        let (inbounds, name) = (inbounds.clone(), tag(name));
        async move { inbounds.rotate_keys(&NodeId::main(), &name, keep).await }
    };
    let second = rotate("a", HOUR).await.unwrap();
    assert_eq!(reality(&second).previous.as_ref().unwrap().public_key, reality(&first).public_key);
    assert_eq!(inbounds.get(&main, &tag("a")).await.unwrap().unwrap(), second);
    // Again: one pair of old keys is kept. After a leak: none.
    let third = rotate("a", HOUR).await.unwrap();
    assert_eq!(reality(&third).previous.as_ref().unwrap().public_key, reality(&second).public_key);
    let fourth = rotate("a", Duration::ZERO).await.unwrap();
    assert_eq!(reality(&fourth).previous, None);
    // A leaked key does not come back with the program that has always described the inbound with it.
    for leaked in [&first, &second, &third] {
        assert_eq!(inbounds.ensure(leaked.clone()).await.unwrap(), fourth);
    }
    for (name, keep, kind) in [
        ("none", HOUR, ErrorKind::NotFound),
        ("plain", HOUR, ErrorKind::Unsupported),
        ("a", 400 * DAY, ErrorKind::InvalidInput),
    ] {
        assert_eq!(rotate(name, keep).await.unwrap_err().kind(), kind, "{name}");
    }
    bed.server.fail(Fault::Down);
    assert_eq!(rotate("a", HOUR).await.unwrap_err().kind(), ErrorKind::Unavailable);
    bed.server.heal();
    let trying = bed.engine.with_context(CallContext::default().dry_run());
    trying.inbounds().rotate_keys(&main, &tag("a"), HOUR).await.unwrap();
    assert_eq!(inbounds.get(&main, &tag("a")).await.unwrap().unwrap(), fourth);
    let rotations = [
        (KeyRotation::every(Duration::from_secs(60)), "security.rotation.every"),
        (KeyRotation::every(DAY).keep_old(2 * DAY), "security.rotation.keep_old"),
    ];
    for (rotation, field) in rotations {
        let refused = inbounds.ensure(described("a", 443, Some(rotation))).await.unwrap_err();
        assert_eq!((refused.kind(), refused.get("field")), (ErrorKind::InvalidInput, Some(field)));
    }
    // Secrets are not in what is logged.
    let debug = format!("{second:?}");
    assert!(!debug.contains(reality(&first).private_key.expose()), "{debug}");
    bed.engine.close().await.unwrap();
}

/// One inbound that its server refuses keeps the keys that it has; its neighbours are changed, and it is tried again.
#[tokio::test]
async fn a_refused_inbound_keeps_its_keys_and_its_neighbours_are_changed() {
    let bed = Bed::new().await;
    let rotation = Some(KeyRotation::every(DAY));
    for (name, port) in [("a", 443), ("b", 444), ("c", 445)] {
        bed.engine.inbounds().ensure(described(name, port, rotation)).await.unwrap();
    }
    bed.after(Duration::ZERO).await;
    let keys = async |name: &str| reality(&bed.inbound(name).await).public_key.clone();
    let (a, b, c) = (keys("a").await, keys("b").await, keys("c").await);
    bed.server.fail(Fault::RefuseInbound(tag("b")));
    bed.clock.advance(DAY);
    assert!(bed.engine.tick().await.is_err());
    assert_eq!((keys("a").await == a, keys("b").await == b, keys("c").await == c), (false, true, false));
    // Not at once: each try makes new keys, and tells every process.
    let events = bed.engine.events().newest().await.unwrap();
    for _ in 0..5 {
        bed.engine.tick().await.unwrap();
    }
    assert_eq!(bed.engine.events().newest().await.unwrap(), events);
    bed.server.heal();
    bed.after(Duration::from_secs(901)).await;
    assert_ne!(keys("b").await, b);
    bed.engine.close().await.unwrap();
}

/// Two processes at once: no rotation is done twice when it is due, and none that is asked for is lost.
#[tokio::test(flavor = "multi_thread")]
async fn two_processes_change_keys_at_once() {
    let bed = Bed::new().await;
    let other = Arc::new(FakeServer::named("main/other".parse().unwrap()));
    let two = Bed::open(&bed.directory, &bed.clock, &other).await;
    let rotation = KeyRotation::every(DAY).keep_old(DAY);
    bed.engine.inbounds().ensure(described("a", 443, Some(rotation))).await.unwrap();
    bed.after(Duration::ZERO).await;
    for _ in 0..5 {
        let before = reality(&bed.inbound("a").await).public_key.clone();
        bed.clock.advance(DAY);
        // Both find it due, and an application describes it again at the same time.
        let inbounds = two.inbounds();
        let (one, both, again) =
            tokio::join!(bed.engine.tick(), two.tick(), inbounds.ensure(described("a", 443, Some(rotation))));
        one.unwrap();
        both.unwrap();
        again.unwrap();
        let after = reality(&bed.inbound("a").await).clone();
        assert_eq!(after.previous.unwrap().public_key, before, "once");
    }
    bed.engine.close().await.unwrap();
    two.close().await.unwrap();
}

#[tokio::test]
async fn the_signing_secret_is_changed_when_it_is_time() {
    let bed = Bed::new().await;
    let subscriptions = bed.engine.subscriptions();
    bed.engine.keys().create(CreateKey::named("alice")).await.unwrap();
    let patch = SettingsPatch {
        base_url: Patch::Set("https://sub.example/s".into()),
        secret_rotation: Patch::Set(KeyRotation::every(30 * DAY).keep_old(10 * DAY)),
        ..SettingsPatch::default()
    };
    subscriptions.update(patch).await.unwrap();
    let refused = SettingsPatch {
        secret_rotation: Patch::Set(KeyRotation::every(Duration::ZERO)),
        ..SettingsPatch::default()
    };
    let refused = subscriptions.update(refused).await.unwrap_err();
    assert_eq!(refused.get("field"), Some("secret_rotation.every"));
    let first = subscriptions.token("alice").await.unwrap();
    let status = async |token: &str| {
        let headers =
            [("user-agent".to_owned(), "Mozilla".to_owned()), ("accept".into(), "text/html".into())];
        subscriptions.for_request(token, &headers, None).await.unwrap()
    };
    bed.after(Duration::ZERO).await;
    bed.after(29 * DAY).await;
    assert_eq!(subscriptions.token("alice").await.unwrap(), first);
    let newest = bed.engine.events().newest().await.unwrap();
    bed.after(DAY).await;
    let second = subscriptions.token("alice").await.unwrap();
    assert_ne!(second, first);
    let told = bed.engine.events().read(newest, 10).await.unwrap().events;
    let told: Vec<String> = told.iter().map(|event| format!("{} {:?}", event.kind, event.subject)).collect();
    assert_eq!(told, [r#"settings.changed Settings("signing")"#]);
    // Its page has the URL that goes on.
    let page = status(&first).await;
    assert_eq!(page.status, 200);
    let page = String::from_utf8(page.body.into()).unwrap();
    assert!(page.contains(&second) && !page.contains(&first));
    bed.after(10 * DAY).await;
    assert_eq!((status(&first).await.status, status(&second).await.status), (404, 200));
    bed.after(20 * DAY).await;
    assert_ne!(subscriptions.token("alice").await.unwrap(), second);
    bed.engine.close().await.unwrap();
}
