//! Many servers: of one node, of fifty nodes, broken ones, ones that come and go, ones of another process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

use std::sync::Arc;
use std::time::Duration;

use vpnkit_core::backend::ProtocolBackend as _;
use vpnkit_core::model::{
    CreateKey, Cursor, EventKind, Inbound, InboundTag, NodeId, Protocol, Reality, Security, ServerId,
    ShortId, Traffic,
};
use vpnkit_core::store::memory::MemoryStore;
use vpnkit_core::store::{KeyStore, RecordOp, StoreTxn};
use vpnkit_core::{ErrorKind, ManualClock, Secret};
use vpnkit_engine::engine::{Engine, EngineOptions, PlacementState, ServerCondition, ServerParts};
use vpnkit_subscription::SettingsPatch;
use vpnkit_testkit::{Counting, FakeRules, FakeServer, Fault};

fn server(id: &str) -> Arc<FakeServer> {
    Arc::new(FakeServer::named(id.parse().unwrap()))
}

fn parts(server: &Arc<FakeServer>) -> ServerParts {
    let address = format!("{}.example", server.id().as_str().replace('/', "-"));
    ServerParts { backend: server.clone(), source: server.clone(), address }
}

async fn over(store: &Arc<MemoryStore>, servers: &[&Arc<FakeServer>]) -> Engine {
    let options =
        EngineOptions { background: false, programs: vec![Arc::new(FakeRules)], ..EngineOptions::default() };
    let parts = servers.iter().map(|server| parts(server)).collect();
    Engine::open(store.clone(), Arc::new(ManualClock::default()), options, parts).await.unwrap()
}

async fn engine(servers: &[&Arc<FakeServer>]) -> Engine {
    over(&Arc::default(), servers).await
}

fn inbound(tag: &str, port: u16) -> Inbound {
    Inbound::new(InboundTag::new(tag).unwrap(), port, Protocol::Vless { vision: false })
}

fn id(text: &str) -> ServerId {
    text.parse().unwrap()
}

#[tokio::test]
async fn an_inbound_runs_on_the_server_that_it_names() {
    let (first, second) = (server("main/first"), server("main/second"));
    let engine = engine(&[&first, &second]).await;
    let key = engine.keys().create(CreateKey::named("alice")).await.unwrap();
    let chosen = engine.inbounds().ensure(inbound("a", 443)).await.unwrap();
    assert_eq!(chosen.server, Some(id("main/first")));
    let named = engine.inbounds().ensure(inbound("b", 444).on(id("main/second"))).await.unwrap();
    assert_eq!(named.server, Some(id("main/second")));
    engine.tick().await.unwrap();
    assert!(first.lets_in(key.id, "a") && !first.lets_in(key.id, "b"));
    assert!(second.lets_in(key.id, "b") && !second.lets_in(key.id, "a"));
    let addresses: Vec<_> =
        engine.keys().endpoints(key.id).await.unwrap().into_iter().map(|endpoint| endpoint.address).collect();
    assert_eq!(addresses, ["main-first.example", "main-second.example"]);

    // Without a server it stays where it is; with another one it moves, and the old one lets it go.
    let kept = engine.inbounds().ensure(inbound("b", 445)).await.unwrap();
    assert_eq!(kept.server, Some(id("main/second")));
    engine.inbounds().ensure(inbound("b", 445).on(id("main/first"))).await.unwrap();
    engine.tick().await.unwrap();
    assert!(first.lets_in(key.id, "b") && !second.lets_in(key.id, "b"));

    let nowhere = engine.inbounds().ensure(inbound("c", 446).on(id("main/third"))).await.unwrap_err();
    assert_eq!((nowhere.kind(), nowhere.get("server")), (ErrorKind::NotFound, Some("main/third")));
    let mut torn = inbound("c", 446).on(id("main/first"));
    torn.node = NodeId::new("elsewhere").unwrap();
    let torn = engine.inbounds().ensure(torn).await.unwrap_err();
    assert_eq!((torn.kind(), torn.get("field")), (ErrorKind::InvalidInput, Some("server")));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_start_is_down_and_tried_again() {
    let (broken, fine) = (server("main/broken"), server("main/fine"));
    broken.fail(Fault::Start);
    let engine = engine(&[&broken, &fine]).await;
    let [first, second] = &engine.servers().status().await.unwrap()[..] else { panic!("two servers") };
    assert_eq!((first.state, second.state), (ServerCondition::Down, ServerCondition::Up));
    assert!(first.reason.as_deref().unwrap().contains("told not to start"), "{first:?}");

    // Its neighbour takes keys, and nobody waits for it.
    engine.inbounds().ensure(inbound("good", 443).on(id("main/fine"))).await.unwrap();
    let key = engine.keys().create(CreateKey::named("alice")).await.unwrap();
    assert!(fine.lets_in(key.id, "good"));
    engine.inbounds().ensure(inbound("bad", 444).on(id("main/broken"))).await.unwrap();
    let placed = engine.keys().placement(key.id).await.unwrap();
    let states: Vec<_> = placed.iter().map(|one| (one.server.as_str(), one.state)).collect();
    assert_eq!(states, [("main/broken", PlacementState::Pending), ("main/fine", PlacementState::Installed)]);
    assert!(placed[0].reason.as_deref().unwrap().contains("told not to start"));

    tokio::time::sleep(Duration::from_secs(600)).await;
    let events = engine.events().read(Cursor::START, 100).await.unwrap().events;
    assert_eq!(events.iter().filter(|event| event.kind == EventKind::ServerDown).count(), 1, "told once");
    broken.heal();
    tokio::time::sleep(Duration::from_secs(120)).await;
    engine.tick().await.unwrap();
    assert!(broken.lets_in(key.id, "bad"));
    let placed = engine.keys().placement(key.id).await.unwrap();
    assert!(placed.iter().all(|one| one.state == PlacementState::Installed && one.reason.is_none()));
}

#[tokio::test]
async fn servers_come_and_go_while_the_kit_is_open() {
    let (first, second) = (server("main/first"), server("de/second"));
    let engine = engine(&[&first]).await;
    let key = engine.keys().create(CreateKey::named("alice")).await.unwrap();
    assert_eq!(
        engine.inbounds().ensure(inbound("b", 443).on(id("de/second"))).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    let status = engine.servers().add_parts(parts(&second)).await.unwrap();
    assert_eq!((status.state, status.address.as_str()), (ServerCondition::Up, "de-second.example"));
    assert_eq!(
        engine.servers().add_parts(parts(&second)).await.unwrap_err().kind(),
        ErrorKind::InvalidConfig
    );
    engine.inbounds().ensure(inbound("b", 443).on(id("de/second"))).await.unwrap();
    engine.tick().await.unwrap();
    assert!(second.lets_in(key.id, "b"));
    // What passed before it is removed is counted.
    second.pass(key.id, Traffic { up: 1, down: 2 });
    engine.servers().remove(&id("de/second")).await.unwrap();
    assert_eq!(engine.keys().require(key.id).await.unwrap().used, 3);
    assert!(engine.keys().endpoints(key.id).await.unwrap().is_empty());
    assert_eq!(engine.servers().remove(&id("de/second")).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(engine.servers().status().await.unwrap().len(), 1);
    // Its inbounds are there again with it.
    engine.servers().add_parts(parts(&second)).await.unwrap();
    assert_eq!(engine.keys().endpoints(key.id).await.unwrap().len(), 1);
}

#[tokio::test]
async fn fifty_servers_are_served_side_by_side() {
    let servers: Vec<_> = (0..50).map(|i| server(&format!("n{i}/fake"))).collect();
    let engine = engine(&servers.iter().collect::<Vec<_>>()).await;
    for i in 0..50 {
        let mut inbound = inbound("main", 443);
        inbound.node = NodeId::new(format!("n{i}")).unwrap();
        engine.inbounds().ensure(inbound).await.unwrap();
    }
    servers[7].fail(Fault::Down);
    let key = engine.keys().create(CreateKey::named("alice")).await.unwrap();
    let placed = engine.keys().placement(key.id).await.unwrap();
    assert_eq!(placed.iter().filter(|one| one.state == PlacementState::Installed).count(), 49);
    assert_eq!(engine.keys().endpoints(key.id).await.unwrap().len(), 50);
    for server in &servers {
        server.pass(key.id, Traffic { up: 1, down: 1 });
    }
    // One that does not answer does not keep the others.
    assert_eq!(engine.traffic().collect().await.unwrap().len(), 49);
    assert_eq!(engine.keys().require(key.id).await.unwrap().used, 98);
    assert_eq!(engine.traffic().online().await.unwrap().len(), 1);
    let status = engine.servers().status().await.unwrap();
    assert_eq!(status.iter().filter(|one| one.state == ServerCondition::Up).count(), 49);
    servers[7].heal();
    engine.servers().reconcile(&id("n7/fake")).await.unwrap();
    assert!(servers[7].lets_in(key.id, "main"));
    engine.close().await.unwrap();
}

#[tokio::test]
async fn a_call_waits_only_for_the_servers_of_the_key() {
    let (near, far) = (server("near/fake"), server("far/fake"));
    let engine = engine(&[&near, &far]).await;
    for node in ["near", "far"] {
        let mut inbound = inbound(node, 443);
        inbound.node = NodeId::new(node).unwrap();
        engine.inbounds().ensure(inbound).await.unwrap();
    }
    let request = CreateKey::named("alice").only(vec![InboundTag::new("near").unwrap()]);
    let key = engine.keys().create(request).await.unwrap();
    assert!(near.lets_in(key.id, "near") && !far.lets_in(key.id, "far"));
    let placed = engine.keys().placement(key.id).await.unwrap();
    assert_eq!(placed.iter().map(|one| one.server.as_str()).collect::<Vec<_>>(), ["near/fake"]);
    near.fail(Fault::Refuse(key.id));
    engine.keys().disable(key.id).await.unwrap();
    engine.keys().enable(key.id).await.unwrap();
    let [placed] = &engine.keys().placement(key.id).await.unwrap()[..] else { panic!("one server") };
    assert_eq!((placed.state, placed.reason.as_deref()), (PlacementState::Rejected, Some("told to refuse")));
}

#[tokio::test]
async fn a_process_without_servers_writes_the_links() {
    let store: Arc<MemoryStore> = Arc::default();
    let driver = server("main/fake");
    let driving = over(&store, &[&driver]).await;
    driving.inbounds().ensure(inbound("main", 443)).await.unwrap();
    let other = over(&store, &[]).await;
    let key = other.keys().create(CreateKey::named("alice")).await.unwrap();
    let links = other.keys().links(key.id).await.unwrap();
    assert!(links[0].contains("@main-fake.example:443"), "{links:?}");
    assert_eq!(links, driving.keys().links(key.id).await.unwrap());
    // The process that drives the server has told so.
    let [placed] = &other.keys().placement(key.id).await.unwrap()[..] else { panic!("one server") };
    assert_eq!((placed.server.as_str(), placed.state), ("main/fake", PlacementState::Installed));
    assert!(driver.lets_in(key.id, "main"));
    assert_eq!(store.newest_event().await.unwrap(), other.events().newest().await.unwrap());
}

#[tokio::test]
async fn reality_keys_that_are_left_out_are_kept() {
    let server = server("main/fake");
    let engine = engine(&[&server]).await;
    let keyed = Reality {
        private_key: Secret::new("private"),
        public_key: "public".into(),
        short_ids: vec![ShortId::generate()],
        ..Reality::at("site.test:443", "site.test")
    };
    let with = |reality: &Reality| inbound("r", 443).security(Security::Reality(reality.clone()));
    let first = engine.inbounds().ensure(with(&keyed)).await.unwrap();
    let again = engine.inbounds().ensure(with(&Reality::at("site.test:443", "site.test"))).await.unwrap();
    assert_eq!(first, again);
    let newest = engine.events().newest().await.unwrap();
    engine.inbounds().ensure(with(&Reality::at("site.test:443", "site.test"))).await.unwrap();
    assert_eq!(engine.events().newest().await.unwrap(), newest, "nothing was changed");
}

#[tokio::test]
async fn a_batch_says_which_of_its_requests_is_at_fault() {
    let engine = engine(&[]).await;
    engine.keys().create(CreateKey::named("taken")).await.unwrap();
    let requests = ["a", "b", "taken"].map(CreateKey::named).to_vec();
    let error = engine.keys().create_many(requests, None).await.unwrap_err();
    assert_eq!((error.kind(), error.get("index")), (ErrorKind::AlreadyExists, Some("2")));
}

#[tokio::test]
async fn settings_are_changed_a_field_at_a_time() {
    let engine = engine(&[]).await;
    let subscriptions = engine.subscriptions();
    let patch = |json: &str| serde_json::from_str::<SettingsPatch>(json).unwrap();
    subscriptions.update(patch(r#"{"title": "One", "support_url": "https://t.me/x"}"#)).await.unwrap();
    let both = [
        subscriptions.update(patch(r#"{"title": "Two", "support_url": null}"#)),
        subscriptions.update(patch(r#"{"device_limit": 3}"#)),
    ];
    for outcome in futures_util::future::join_all(both).await {
        outcome.unwrap();
    }
    let settings = subscriptions.settings().await.unwrap();
    assert_eq!(
        (settings.title.as_str(), settings.support_url, settings.device_limit),
        ("Two", None, Some(3))
    );
    let bad = subscriptions.update(patch(r#"{"title": ""}"#)).await.unwrap_err();
    assert_eq!((bad.kind(), bad.get("field")), (ErrorKind::InvalidInput, Some("title")));
}

#[tokio::test]
async fn a_cursor_of_a_store_that_was_restored_is_told() {
    let engine = engine(&[]).await;
    let ahead = engine.events().read(Cursor(1_000), 10).await.unwrap_err();
    assert_eq!((ahead.kind(), ahead.get("newest")), (ErrorKind::CursorExpired, Some("0")));
    assert_eq!(
        engine.events().stream(Cursor(1_000)).next().await.unwrap_err().kind(),
        ErrorKind::CursorExpired
    );
}

#[tokio::test]
async fn sessions_are_counted_once() {
    let server = Arc::new(FakeServer::new().counting(Counting::Sessions));
    let engine = engine(&[&server]).await;
    let key = engine.keys().create(CreateKey::named("alice")).await.unwrap().id;
    let used = async || {
        engine.tick().await.unwrap();
        engine.keys().require(key).await.unwrap().used
    };
    server.pass(key, Traffic { up: 3, down: 4 });
    assert_eq!(used().await, 7);
    // Its last bytes pass between two readings, and a new session comes and goes.
    server.pass(key, Traffic { up: 1, down: 1 });
    server.end_session(key);
    server.pass(key, Traffic { up: 10, down: 0 });
    server.end_session(key);
    assert_eq!(used().await, 19);
    // What has ended is told until it is known to be stored: it stays counted once.
    for _ in 0..3 {
        assert_eq!(used().await, 19);
    }
    server.pass(key, Traffic { up: 1, down: 0 });
    assert_eq!(used().await, 20);
}

#[tokio::test(start_paused = true)]
async fn the_comparison_comes_while_traffic_flows() {
    let server = server("main/fake");
    let options = EngineOptions {
        collect_every: Duration::from_millis(100),
        reconcile_every: Duration::from_secs(3),
        ..EngineOptions::default()
    };
    let store: Arc<MemoryStore> = Arc::default();
    let engine =
        Engine::open(store, Arc::new(ManualClock::default()), options, vec![parts(&server)]).await.unwrap();
    engine.inbounds().ensure(inbound("main", 443)).await.unwrap();
    let key = engine.keys().create(CreateKey::named("alice")).await.unwrap();
    server.lose(key.id);
    for _ in 0..100 {
        server.pass(key.id, Traffic { up: 1, down: 1 });
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(server.lets_in(key.id, "main"), "an account that was removed by hand comes back");
    engine.close().await.unwrap();
}

#[tokio::test]
async fn a_refused_inbound_is_set_aside_and_everything_else_goes_on() {
    let server = server("main/fake");
    let engine = engine(&[&server]).await;
    for (tag, port) in [("bad", 443), ("good", 444)] {
        engine.inbounds().ensure(inbound(tag, port)).await.unwrap();
    }
    let early = engine.keys().create(CreateKey::named("early")).await.unwrap();
    let bad = InboundTag::new("bad").unwrap();
    server.fail(Fault::RefuseInbound(bad.clone()));
    server.restart().await;
    for _ in 0..3 {
        let refused = engine.servers().reconcile(&id("main/fake")).await.unwrap_err();
        assert_eq!((refused.kind(), refused.get("inbounds")), (ErrorKind::Rejected, Some("bad")));
    }
    // What was there stays, what is new comes, what ends goes.
    let late = engine.keys().create(CreateKey::named("late")).await.unwrap();
    assert!(server.lets_in(early.id, "good") && server.lets_in(late.id, "good"));
    engine.keys().disable(early.id).await.unwrap();
    assert!(!server.lets_in(early.id, "good"));
    let [status] = &engine.servers().status().await.unwrap()[..] else { panic!("one server") };
    assert_eq!(status.state, ServerCondition::Up);
    assert!(status.set_aside[&bad].contains("told to refuse the inbound"), "{status:?}");
    let events = engine.events().read(Cursor::START, 100).await.unwrap().events;
    assert_eq!(events.iter().filter(|e| e.kind == EventKind::InboundRejected).count(), 1, "told once");
    server.heal();
    engine.servers().reconcile(&id("main/fake")).await.unwrap();
    assert!(server.lets_in(late.id, "bad"));
    assert!(engine.servers().status().await.unwrap()[0].set_aside.is_empty());
}

#[tokio::test]
async fn settings_that_cannot_be_read_keep_no_other_record() {
    let store: Arc<MemoryStore> = Arc::default();
    let engine = over(&store, &[]).await;
    let key = engine.keys().create(CreateKey::named("alice")).await.unwrap();
    let old = engine.subscriptions().token(key.id).await.unwrap();
    let place = ("settings".to_owned(), String::new());
    let newer =
        RecordOp::Put { place, expected: None, index: None, body: Secret::new("{\"unheard_of\": 1}") };
    store.commit(StoreTxn::new(engine.now().unwrap(), [newer])).await.unwrap();
    // After a leak the old secret ends everywhere, whatever else cannot be read.
    engine.subscriptions().rotate_secret(Duration::ZERO).await.unwrap();
    let answer = engine.subscriptions().for_request(&old, &[], None).await.unwrap();
    assert_eq!(answer.status, 404);
    let new = engine.subscriptions().token(key.id).await.unwrap();
    assert_eq!(engine.subscriptions().for_request(&new, &[], None).await.unwrap().status, 200);
    assert_eq!(engine.subscriptions().settings().await.unwrap_err().kind(), ErrorKind::StoreCorrupt);
}

#[tokio::test]
async fn an_inbound_of_another_process_is_seen_whatever_was_called_before() {
    let store: Arc<MemoryStore> = Arc::default();
    let (first, second) = (server("main/first"), server("main/second"));
    let (one, other) = (over(&store, &[&first]).await, over(&store, &[&second]).await);
    let key = one.keys().create(CreateKey::named("alice")).await.unwrap();
    other.inbounds().ensure(inbound("late", 443)).await.unwrap();
    // Reading the settings reads the store's revision too: it must not hide that inbounds have changed.
    one.subscriptions().settings().await.unwrap();
    other.subscriptions().update(serde_json::from_str(r#"{"title": "Two"}"#).unwrap()).await.unwrap();
    one.subscriptions().update(serde_json::from_str(r#"{"device_limit": 3}"#).unwrap()).await.unwrap();
    assert_eq!(one.subscriptions().settings().await.unwrap().title, "Two");
    assert_eq!(one.keys().endpoints(key.id).await.unwrap().len(), 1);

    // Left to itself an inbound stays where it is, also when this process does not drive that server.
    let stays = one.inbounds().ensure(inbound("late", 444)).await.unwrap();
    assert_eq!(stays.server, Some(id("main/second")));
    assert!(second.lets_in(key.id, "late"));
    let moved = one.inbounds().ensure(inbound("late", 444).on(id("main/first"))).await.unwrap();
    assert_eq!(moved.server, Some(id("main/first")));
    assert!(first.lets_in(key.id, "late") && !second.lets_in(key.id, "late"));
}

#[tokio::test]
async fn hosts_that_cannot_be_read_hide_one_inbound() {
    let store: Arc<MemoryStore> = Arc::default();
    let driver = server("main/fake");
    let engine = over(&store, &[&driver]).await;
    for (tag, port) in [("bad", 443), ("good", 444)] {
        engine.inbounds().ensure(inbound(tag, port)).await.unwrap();
        let host = vpnkit_core::model::Host::new(tag, format!("{tag}.example"));
        let node = NodeId::main();
        engine.hosts().set(&node, &InboundTag::new(tag).unwrap(), vec![host]).await.unwrap();
    }
    let records = store.records(&vpnkit_core::model::RecordQuery::default()).await.unwrap();
    let bad = records.into_iter().find(|record| record.body.expose().contains("bad.example")).unwrap();
    let newer = RecordOp::Put {
        place: (bad.kind, bad.id),
        expected: None,
        index: bad.index,
        body: Secret::new("{\"unheard_of\": 1}"),
    };
    store.commit(StoreTxn::new(engine.now().unwrap(), [newer])).await.unwrap();
    let key = engine.keys().create(CreateKey::named("alice")).await.unwrap();
    let fresh = over(&store, &[&driver]).await;
    // Nobody knows how `bad` is reached; its server's own address would be a guess.
    let endpoints = fresh.keys().endpoints(key.id).await.unwrap();
    assert_eq!(endpoints.iter().map(|one| one.address.as_str()).collect::<Vec<_>>(), ["good.example"]);
    assert!(driver.lets_in(key.id, "bad"), "its customers stay connected");
}

#[tokio::test]
async fn a_refused_inbound_still_loses_the_keys_that_end() {
    let driver = server("main/fake");
    let engine = engine(&[&driver]).await;
    engine.inbounds().ensure(inbound("bad", 443)).await.unwrap();
    let key = engine.keys().create(CreateKey::named("alice")).await.unwrap();
    assert!(driver.lets_in(key.id, "bad"));
    // It serves as it was; what it shall be now is refused.
    driver.fail(Fault::RefuseInbound(InboundTag::new("bad").unwrap()));
    engine.inbounds().ensure(inbound("bad", 444)).await.unwrap_err();
    engine.keys().disable(key.id).await.unwrap();
    assert!(!driver.lets_in(key.id, "bad"));
}

#[tokio::test]
async fn a_call_is_answered_when_its_server_goes_away() {
    let driver = server("main/fake");
    let engine = engine(&[&driver]).await;
    engine.inbounds().ensure(inbound("main", 443)).await.unwrap();
    driver.fail(Fault::Down);
    let (main, alice) = (id("main/fake"), CreateKey::named("alice"));
    let keys = engine.keys();
    let servers = engine.servers();
    let (removed, created) = tokio::time::timeout(
        Duration::from_secs(30),
        futures_util::future::join(servers.remove(&main), keys.create(alice)),
    )
    .await
    .expect("nobody waits for a server that is gone");
    removed.unwrap();
    created.unwrap();
}

/// A machine that has gone dark neither refuses nor answers: nobody waits for it for ever, and its neighbour serves.
#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_keeps_nobody() {
    let (dark, fine) = (server("main/dark"), server("main/fine"));
    let options = EngineOptions { programs: vec![Arc::new(FakeRules)], ..EngineOptions::default() };
    let engine = Engine::open(
        Arc::new(MemoryStore::new()),
        Arc::new(ManualClock::default()),
        options,
        vec![parts(&dark), parts(&fine)],
    )
    .await
    .unwrap();
    engine.inbounds().ensure(inbound("there", 443).on(id("main/dark"))).await.unwrap();
    engine.inbounds().ensure(inbound("here", 444).on(id("main/fine"))).await.unwrap();
    dark.fail(Fault::Silent);
    let work = async {
        let key = engine.keys().create(CreateKey::named("alice")).await.unwrap();
        assert!(fine.lets_in(key.id, "here"));
        let placed = engine.keys().placement(key.id).await.unwrap();
        let states: Vec<_> = placed.iter().map(|one| (one.server.as_str(), one.state)).collect();
        let expected = [("main/dark", PlacementState::Pending), ("main/fine", PlacementState::Installed)];
        assert_eq!(states, expected);
        let status = engine.servers().status().await.unwrap();
        assert_eq!(status[0].version, None);
        fine.pass(key.id, Traffic { up: 1, down: 1 });
        assert_eq!(engine.traffic().collect().await.unwrap().len(), 1);
        assert_eq!(engine.keys().require(key.id).await.unwrap().used, 2);
        assert_eq!(
            engine.servers().reconcile(&id("main/dark")).await.unwrap_err().kind(),
            ErrorKind::Timeout
        );
        engine.keys().delete(key.id, None).await.unwrap();
        assert!(!fine.lets_in(key.id, "here"));
        engine.servers().remove(&id("main/dark")).await.unwrap();
        engine.close().await.unwrap();
    };
    tokio::time::timeout(Duration::from_secs(900), work).await.expect("everything that waits has a limit");
}

#[tokio::test]
async fn a_refused_new_inbound_leaves_keys_as_they_were() {
    let driver = server("main/fake");
    let engine = engine(&[&driver]).await;
    engine.inbounds().ensure(inbound("good", 443)).await.unwrap();
    let key = engine.keys().create(CreateKey::named("alice")).await.unwrap();
    driver.fail(Fault::RefuseInbound(InboundTag::new("bad").unwrap()));
    let bad = Inbound::new(InboundTag::new("bad").unwrap(), 444, Protocol::Trojan);
    assert_eq!(engine.inbounds().ensure(bad.clone()).await.unwrap_err().kind(), ErrorKind::Rejected);
    assert_eq!(engine.keys().require(key.id).await.unwrap(), key, "no credential for what is not there");
    let events = engine.events().read(Cursor::START, 100).await.unwrap().events;
    assert!(!events.iter().any(|event| event.kind == EventKind::KeyUpdated));
    // The server is not behind: the next key is told to be where it is.
    let next = engine.keys().create(CreateKey::named("bob")).await.unwrap();
    assert_eq!(engine.keys().placement(next.id).await.unwrap()[0].state, PlacementState::Installed);
    driver.heal();
    engine.inbounds().ensure(bad).await.unwrap();
    engine.tick().await.unwrap();
    assert!(driver.lets_in(key.id, "bad") && driver.lets_in(next.id, "bad"));
}

#[tokio::test]
async fn an_inbound_without_a_server_goes_to_one_that_answers() {
    let (broken, fine) = (server("main/broken"), server("main/fine"));
    broken.fail(Fault::Start);
    let engine = engine(&[&broken, &fine]).await;
    let chosen = engine.inbounds().ensure(inbound("a", 443)).await.unwrap();
    assert_eq!(chosen.server, Some(id("main/fine")));
    let missing = engine.servers().reconcile(&id("main/third")).await.unwrap_err();
    assert!(missing.hint_text().unwrap_or_default().contains("main/broken, main/fine"), "{missing}");
    let down = engine.servers().reconcile(&id("main/broken")).await.unwrap_err();
    assert_eq!(down.operation(), "servers.reconcile");
    assert!(down.get("reason").unwrap().contains("told not to start"), "{down}");
}

#[test]
fn null_takes_nothing_away_that_must_be_there() {
    for json in [r#"{"title": null}"#, r#"{"require_device": null}"#, r#"{"clients": null}"#] {
        assert!(serde_json::from_str::<SettingsPatch>(json).is_err(), "{json}");
    }
    assert!(serde_json::from_str::<vpnkit_core::model::KeyPatch>(r#"{"enabled": null}"#).is_err());
}
