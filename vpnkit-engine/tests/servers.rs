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
    CreateKey, Cursor, EventKind, Inbound, InboundTag, NodeId, Protocol, ServerId, Traffic,
};
use vpnkit_core::store::KeyStore;
use vpnkit_core::store::memory::MemoryStore;
use vpnkit_core::{ErrorKind, ManualClock};
use vpnkit_engine::engine::{Engine, EngineOptions, PlacementState, ServerCondition, ServerParts};
use vpnkit_testkit::{FakeRules, FakeServer, Fault};

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
    // Whether a server of another process has taken the key is not known here.
    let [placed] = &other.keys().placement(key.id).await.unwrap()[..] else { panic!("one server") };
    assert_eq!((placed.server.as_str(), placed.state), ("main/fake", PlacementState::Unknown));
    assert_eq!(store.newest_event().await.unwrap(), other.events().newest().await.unwrap());
}
