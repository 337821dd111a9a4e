//! Several engines over one store, as several processes have it.
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
    ByteSize, CreateKey, Cursor, EventKind, Inbound, InboundTag, KeyStatus, NodeId, Protocol, ServerId,
    Traffic,
};
use vpnkit_core::store::KeyStore;
use vpnkit_core::store::memory::MemoryStore;
use vpnkit_core::{Clock as _, ErrorKind, ManualClock};
use vpnkit_engine::engine::{Engine, EngineOptions, PlacementState, ServerCondition, ServerParts};
use vpnkit_sqlite::{SqliteOptions, SqliteStore};
use vpnkit_testkit::{FakeRules, FakeServer, Fault};

/// A server as one process sees it.
fn server(id: &str) -> Arc<FakeServer> {
    Arc::new(FakeServer::named(id.parse().unwrap()))
}

/// A file, which each engine opens for itself, or one store in memory for all: where the time of the runtime is paused.
struct Bed {
    directory: Arc<tempfile::TempDir>,
    shared: Option<Arc<MemoryStore>>,
    clock: Arc<ManualClock>,
}

impl Bed {
    fn new() -> Self {
        Self { directory: Arc::new(tempfile::tempdir().unwrap()), shared: None, clock: Arc::default() }
    }

    async fn store(&self) -> Arc<dyn KeyStore> {
        match &self.shared {
            Some(shared) => shared.clone(),
            None => {
                let path = self.directory.path().join("keys.db");
                Arc::new(SqliteStore::open(path, SqliteOptions::default()).await.unwrap())
            }
        }
    }

    async fn open(&self, servers: &[&Arc<FakeServer>]) -> Engine {
        self.open_with(servers, EngineOptions { background: false, ..EngineOptions::default() }).await
    }

    async fn open_with(&self, servers: &[&Arc<FakeServer>], options: EngineOptions) -> Engine {
        let options = EngineOptions { programs: vec![Arc::new(FakeRules)], ..options };
        let parts = servers.iter().map(|server| ServerParts {
            backend: (*server).clone(),
            source: (*server).clone(),
            address: "192.0.2.1".into(),
        });
        Engine::open(self.store().await, self.clock.clone(), options, parts.collect()).await.unwrap()
    }
}

fn inbound(tag: &str, port: u16) -> Inbound {
    Inbound::new(InboundTag::new(tag).unwrap(), port, Protocol::Vless { vision: false })
}

fn id(text: &str) -> ServerId {
    text.parse().unwrap()
}

async fn eventually(what: &str, is_so: impl AsyncFn() -> bool) {
    for _ in 0..2_000 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not come about");
}

#[tokio::test]
async fn one_drives_a_server_and_the_next_takes_over_at_a_close() {
    let bed = Bed::new();
    // The same server as each process sees it, and one of another name that only the second process has.
    let (first, second, own) = (server("main/fake"), server("main/fake"), server("main/own"));
    let one = bed.open(&[&first]).await;
    let two = bed.open(&[&second, &own]).await;
    one.inbounds().ensure(inbound("main", 443)).await.unwrap();
    let key = two.keys().create(CreateKey::named("alice")).await.unwrap();
    assert!(first.lets_in(key.id, "main"), "what one process commits the other one applies");
    assert_eq!((first.is_running(), second.is_running(), own.is_running()), (true, false, true));

    let status = two.servers().status().await.unwrap();
    let [shared, theirs] = &status[..] else { panic!("{status:?}") };
    assert_eq!((shared.id.as_str(), shared.state), ("main/fake", ServerCondition::Up));
    let (elsewhere, here) = (shared.driver.as_ref().unwrap(), theirs.driver.as_ref().unwrap());
    assert_eq!((elsewhere.here, elsewhere.process, here.here), (false, std::process::id(), true));

    first.pass(key.id, Traffic { up: 1, down: 10 });
    one.close().await.unwrap();
    eventually("the takeover", async || second.is_running() && second.lets_in(key.id, "main")).await;
    let here = async || {
        let status = two.servers().status().await.unwrap().remove(0);
        status.state == ServerCondition::Up && status.driver.is_some_and(|driver| driver.here)
    };
    eventually("the word of it", here).await;
    second.pass(key.id, Traffic { up: 2, down: 20 });
    two.tick().await.unwrap();
    assert_eq!(
        two.keys().require(key.id).await.unwrap().used,
        33,
        "counted to the end, and from the beginning"
    );
    two.close().await.unwrap();
}

/// It falls silent with its lease held, as by a stop signal, and wakes up behind the next one.
#[tokio::test]
async fn a_process_that_was_frozen_writes_and_applies_nothing() {
    let bed = Bed::new();
    let (first, second) = (server("main/fake"), server("main/fake"));
    let options = EngineOptions {
        lease_time: Duration::from_millis(300),
        collect_every: Duration::from_millis(20),
        ..EngineOptions::default()
    };
    // In a runtime that can be stopped: nothing in it runs while its one thread sleeps.
    let (freeze, frozen) = std::sync::mpsc::channel::<Duration>();
    let (opened, ready) = tokio::sync::oneshot::channel();
    let (directory, clock, held) = (bed.directory.clone(), bed.clock.clone(), first.clone());
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let process = std::thread::spawn({
        let options = options.clone();
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let bed = Bed { directory, shared: None, clock };
                let engine = bed.open_with(&[&held], options).await;
                engine.inbounds().ensure(inbound("main", 443)).await.unwrap();
                opened.send(()).unwrap();
                let frozen = tokio::task::spawn_blocking(move || frozen.recv().unwrap()).await.unwrap();
                std::thread::sleep(frozen);
                ended.await.unwrap();
                engine.close().await.unwrap();
            });
        }
    });
    ready.await.unwrap();
    let two = bed.open_with(&[&second], options).await;
    let key = two.keys().create(CreateKey::named("alice")).await.unwrap();
    eventually("the key", async || first.lets_in(key.id, "main")).await;
    let store = bed.store().await;
    let number = async || {
        let leases = store.leases().await.unwrap();
        leases.into_iter().find(|lease| lease.name == "server:main/fake").unwrap().number
    };
    assert_eq!(number().await, 1);
    freeze.send(Duration::from_millis(1_500)).unwrap();
    eventually("the takeover", async || second.is_running() && number().await == 2).await;
    eventually("the key", async || second.lets_in(key.id, "main")).await;
    let (steps, events) = (first.steps(), store.newest_event().await.unwrap());
    // The first one wakes up: it lets go of its server, which it knows nothing to do with any more.
    two.keys().disable(key.id).await.unwrap();
    first.pass(key.id, Traffic { up: 1_000, down: 1_000 });
    eventually("the first to let go", async || !first.is_running()).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(first.steps(), steps, "no late step");
    assert!(!second.lets_in(key.id, "main"));
    assert_eq!(two.keys().require(key.id).await.unwrap().used, 0, "no late reading");
    let since = store.events(events, 100).await.unwrap().events;
    let by_two = [EventKind::KeyDisabled, EventKind::ServerUp];
    assert!(since.iter().all(|event| by_two.contains(&event.kind)), "{since:?}");
    assert_eq!(number().await, 2);
    end.send(()).unwrap();
    process.join().unwrap();
    two.close().await.unwrap();
}

/// Nobody else wants its server: what was changed while its lease was over is made up for.
#[tokio::test]
async fn a_lease_that_lapses_loses_nothing() {
    let bed = Bed::new();
    let fake = server("main/fake");
    let options = EngineOptions { lease_time: Duration::from_millis(200), ..EngineOptions::default() };
    let (freeze, frozen) = std::sync::mpsc::channel::<Duration>();
    let (opened, ready) = tokio::sync::oneshot::channel();
    let (directory, clock, held) = (bed.directory.clone(), bed.clock.clone(), fake.clone());
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let process = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let bed = Bed { directory, shared: None, clock };
            let engine = bed.open_with(&[&held], options).await;
            engine.inbounds().ensure(inbound("main", 443)).await.unwrap();
            opened.send(engine.keys().create(CreateKey::named("alice")).await.unwrap().id).unwrap();
            let frozen = tokio::task::spawn_blocking(move || frozen.recv().unwrap()).await.unwrap();
            std::thread::sleep(frozen);
            ended.await.unwrap();
            engine.close().await.unwrap();
        });
    });
    let key = ready.await.unwrap();
    assert!(fake.lets_in(key, "main"));
    let panel = bed.open(&[]).await;
    freeze.send(Duration::from_millis(1_000)).unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    panel.keys().disable(key).await.unwrap();
    let added = panel.keys().create(CreateKey::named("bob")).await.unwrap().id;
    panel.inbounds().ensure(inbound("late", 444)).await.unwrap();
    eventually("what was missed", async || {
        !fake.lets_in(key, "main") && fake.lets_in(added, "main") && fake.lets_in(added, "late")
    })
    .await;
    end.send(()).unwrap();
    process.join().unwrap();
}

/// More than is read at once, and an inbound behind them.
#[tokio::test]
async fn an_inbound_behind_many_changes_is_not_missed() {
    let bed = Bed::new();
    let (fake, other) = (server("main/fake"), server("far/fake"));
    let driver = bed.open(&[&fake, &other]).await;
    let panel = bed.open(&[]).await;
    // The same tag on another node, which is as it was.
    let mut far = inbound("main", 443);
    far.node = NodeId::new("far").unwrap();
    driver.inbounds().ensure(far).await.unwrap();
    let steps = other.steps();
    let keys = panel.keys().create_many(vec![CreateKey::default(); 2_500], None).await.unwrap();
    panel.inbounds().ensure(inbound("main", 443)).await.unwrap();
    let last = keys.last().unwrap().id;
    eventually("the inbound", async || fake.lets_in(last, "main") && other.lets_in(last, "main")).await;
    panel.inbounds().ensure(inbound("main", 444)).await.unwrap();
    eventually("its other port", async || fake.port("main") == Some(444)).await;
    assert!(other.steps() <= steps + 2 * 2_500, "the other node's inbound was not sent again");
    drop(driver);
}

#[tokio::test]
async fn a_process_without_servers_does_everything() {
    let bed = Bed::new();
    let fake = server("main/fake");
    let driver = bed.open(&[&fake]).await;
    let panel = bed.open(&[]).await;
    // An inbound, its removal, and one that the server refuses.
    panel.inbounds().ensure(inbound("main", 443)).await.unwrap();
    panel.inbounds().ensure(inbound("gone", 444)).await.unwrap();
    let key = panel.keys().create(CreateKey::named("alice")).await.unwrap();
    assert!(fake.lets_in(key.id, "main") && fake.lets_in(key.id, "gone"));
    panel.inbounds().remove(&id("main/fake").node(), &InboundTag::new("gone").unwrap()).await.unwrap();
    assert!(!fake.lets_in(key.id, "gone"));
    fake.fail(Fault::RefuseInbound(InboundTag::new("bad").unwrap()));
    let refused = panel.inbounds().ensure(inbound("bad", 445)).await.unwrap_err();
    assert_eq!((refused.kind(), refused.get("inbound")), (ErrorKind::Rejected, Some("bad")));
    assert_eq!(panel.inbounds().list().await.unwrap().len(), 1, "nothing of it is left");
    // A key that the server refuses, and one that it does not.
    fake.fail(Fault::Refuse(key.id));
    let other = panel.keys().create(CreateKey::named("bob")).await.unwrap();
    panel.keys().disable(key.id).await.unwrap();
    panel.keys().enable(key.id).await.unwrap();
    let state = async |key| panel.keys().placement(key).await.unwrap()[0].state;
    eventually("the refusal", async || state(key.id).await == PlacementState::Rejected).await;
    assert_eq!(state(other.id).await, PlacementState::Installed);
    // What is set in one process holds in the other at once.
    panel.subscriptions().update(serde_json::from_str(r#"{"title": "Panel"}"#).unwrap()).await.unwrap();
    assert_eq!(driver.subscriptions().settings().await.unwrap().title, "Panel");
    assert_eq!(panel.servers().status().await.unwrap()[0].state, ServerCondition::Up);
}

/// Any process answers; the one that drives the server is asked through the store.
#[tokio::test]
async fn what_only_the_driver_knows_is_told_in_every_process() {
    let bed = Bed::new();
    let (fake, own) = (server("main/fake"), server("main/own"));
    let driver = bed.open(&[&fake]).await;
    // One of its own, one that it only stands by for.
    let other = bed.open(&[&fake, &own]).await;
    let panel = bed.open(&[]).await;
    other.inbounds().ensure(inbound("main", 443).on(id("main/fake"))).await.unwrap();
    other.inbounds().ensure(inbound("own", 444).on(id("main/own"))).await.unwrap();
    let key = panel.keys().create(CreateKey::named("alice")).await.unwrap().id;
    fake.pass(key, Traffic { up: 1, down: 2 });
    for engine in [&driver, &other, &panel] {
        let online = engine.traffic().online().await.unwrap();
        assert_eq!(online.iter().map(|one| one.key).collect::<Vec<_>>(), [key]);
        assert_eq!(engine.traffic().online_key(key).await.unwrap().unwrap().key, key);
        assert_eq!(engine.servers().reconcile(&id("main/fake")).await.unwrap(), 0);
        assert!(engine.servers().log(&id("main/own"), 10).await.unwrap().is_empty());
        let collected = engine.traffic().collect().await.unwrap();
        let mut servers: Vec<_> = collected.iter().map(|one| one.server.as_str()).collect();
        servers.sort_unstable();
        assert_eq!(servers, ["main/fake", "main/own"]);
    }
    assert_eq!(panel.keys().require(key).await.unwrap().used, 3);
    let unknown = panel.servers().reconcile(&id("main/nothing")).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound);
    // What it cannot do there is told here; its neighbour answers.
    fake.fail(Fault::Down);
    let down = panel.servers().reconcile(&id("main/fake")).await.unwrap_err();
    assert_eq!((down.kind(), down.get("server")), (ErrorKind::Unavailable, Some("main/fake")));
    assert_eq!(panel.traffic().collect().await.unwrap().len(), 1);
    let store = bed.store().await;
    assert!(store.questions().await.unwrap().is_empty(), "nothing is left of it");
}

/// By anybody, for everybody, until somebody starts it.
#[tokio::test]
async fn a_server_that_is_stopped_stays_so() {
    let bed = Bed::new();
    let (first, second) = (server("main/fake"), server("main/fake"));
    let (one, two) = (bed.open(&[&first]).await, bed.open(&[&second]).await);
    one.inbounds().ensure(inbound("main", 443)).await.unwrap();
    let key = one.keys().create(CreateKey::named("alice")).await.unwrap().id;
    first.pass(key, Traffic { up: 1, down: 2 });
    two.servers().stop(&id("main/fake")).await.unwrap();
    assert!(!first.is_running() && !second.is_running());
    assert_eq!(two.keys().require(key).await.unwrap().used, 3, "it was read before");
    let status = two.servers().status().await.unwrap().remove(0);
    assert_eq!(
        (status.state, status.reason.as_deref()),
        (ServerCondition::Stopped, Some("stopped with `servers.stop`"))
    );
    // Whoever drives it next leaves it alone.
    one.close().await.unwrap();
    let here = async || {
        let status = two.servers().status().await.unwrap().remove(0);
        status.driver.is_some_and(|driver| driver.here)
    };
    eventually("the takeover", here).await;
    assert!(!second.is_running());
    let later = two.keys().create(CreateKey::named("bob")).await.unwrap().id;
    two.servers().start(&id("main/fake")).await.unwrap();
    eventually("its keys", async || second.lets_in(key, "main") && second.lets_in(later, "main")).await;
    let nobody = two.servers().stop(&id("main/nothing")).await.unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::NotFound);
    two.close().await.unwrap();
    let panel = bed.open(&[]).await;
    let nobody = panel.servers().stop(&id("main/fake")).await.unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::Unavailable, "{nobody:?}");
}

#[tokio::test]
async fn a_server_that_nobody_drives_is_not_waited_for() {
    let bed = Bed::new();
    let fake = server("main/fake");
    let driver = bed.open(&[&fake]).await;
    driver.inbounds().ensure(inbound("main", 443)).await.unwrap();
    driver.servers().remove(&id("main/fake")).await.unwrap();
    let key = driver.keys().create(CreateKey::named("alice")).await.unwrap();
    let [placed] = &driver.keys().placement(key.id).await.unwrap()[..] else { panic!("one server") };
    assert_eq!(placed.state, PlacementState::Pending);
    assert_eq!(placed.reason.as_deref(), Some("no process drives the server"));
    // Whoever drives it next brings it up to date.
    let next = bed.open(&[&fake]).await;
    eventually("the key", async || fake.lets_in(key.id, "main")).await;
    next.tick().await.unwrap();
    let state = async || driver.keys().placement(key.id).await.unwrap()[0].state;
    eventually("the word of it", async || state().await == PlacementState::Installed).await;
}

#[tokio::test(start_paused = true)]
async fn keys_are_ended_by_one_process_for_all_servers() {
    let bed = Bed { shared: Some(Arc::default()), ..Bed::new() };
    let (near, far) = (server("near/fake"), server("far/fake"));
    let (one, two) = (
        bed.open_with(&[&near], EngineOptions::default()).await,
        bed.open_with(&[&far], EngineOptions::default()).await,
    );
    for node in ["near", "far"] {
        let mut inbound = inbound(node, 443);
        inbound.node = NodeId::new(node).unwrap();
        one.inbounds().ensure(inbound).await.unwrap();
    }
    let timed = CreateKey::named("timed").expires_at(bed.clock.now().plus(Duration::from_secs(60)));
    let timed = two.keys().create(timed).await.unwrap();
    let limited = CreateKey::named("limited").data_limit(ByteSize::from_bytes(100));
    let limited = one.keys().create(limited).await.unwrap();
    for key in [timed.id, limited.id] {
        assert!(near.lets_in(key, "near") && far.lets_in(key, "far"));
    }
    // Its limit is reached on one server: it leaves both.
    far.pass(limited.id, Traffic { up: 0, down: 200 });
    bed.clock.advance(Duration::from_secs(61));
    tokio::time::sleep(Duration::from_secs(30)).await;
    for (key, status) in [(timed.id, KeyStatus::Expired), (limited.id, KeyStatus::Limited)] {
        assert_eq!(one.keys().require(key).await.unwrap().status, status);
        assert!(!near.lets_in(key, "near") && !far.lets_in(key, "far"), "{status:?}");
    }
    let events = one.events().read(Cursor::START, 1_000).await.unwrap().events;
    assert_eq!(events.iter().filter(|event| event.kind == EventKind::KeyExpired).count(), 1);
}

#[tokio::test]
async fn everybody_sees_everybodys_events_in_one_order() {
    let bed = Bed::new();
    let engines = [bed.open(&[]).await, bed.open(&[]).await, bed.open(&[]).await];
    let streams: Vec<_> = engines
        .iter()
        .map(|engine| {
            let mut stream = engine.events().stream(Cursor::START);
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while seen.len() < 30 {
                    seen.push(stream.next().await.unwrap().unwrap().cursor);
                }
                seen
            })
        })
        .collect();
    for round in 0..10 {
        for (i, engine) in engines.iter().enumerate() {
            engine.keys().create(CreateKey::named(format!("k{round}-{i}"))).await.unwrap();
        }
    }
    let mut seen = Vec::new();
    for stream in streams {
        seen.push(tokio::time::timeout(Duration::from_secs(60), stream).await.unwrap().unwrap());
    }
    assert!(seen.iter().all(|one| *one == seen[0] && one.is_sorted()));
}

/// It has not the program, or not the rights: another process that stands by has.
#[tokio::test(start_paused = true)]
async fn a_process_that_cannot_start_a_server_lets_another_one_try() {
    let bed = Bed { shared: Some(Arc::default()), ..Bed::new() };
    let (broken, fine) = (server("main/fake"), server("main/fake"));
    broken.fail(Fault::Start);
    let one = bed.open(&[&broken]).await;
    let two = bed.open(&[&fine]).await;
    let status = two.servers().status().await.unwrap().remove(0);
    assert_eq!(status.state, ServerCondition::Down, "{status:?}");
    assert!(status.reason.unwrap().contains("told not to start"));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(fine.is_running() && !broken.is_running());
    one.inbounds().ensure(inbound("main", 443)).await.unwrap();
    let key = one.keys().create(CreateKey::named("alice")).await.unwrap().id;
    assert!(fine.lets_in(key, "main"));
    assert_eq!(one.servers().status().await.unwrap()[0].state, ServerCondition::Up);
}

/// Two processes drive the two servers of a node: it is down when both are, told once by whichever looks, and up again with one.
#[tokio::test]
async fn a_node_is_down_when_none_of_its_servers_answers() {
    let bed = Bed::new();
    let (first, second, far) = (server("eu/a"), server("eu/b"), server("us/a"));
    let one = bed.open(&[&first, &far]).await;
    let two = bed.open(&[&second]).await;
    let told = async || {
        let events = one.events().read(Cursor::START, 1_000).await.unwrap().events;
        let of_nodes = events.into_iter().filter(|event| event.kind.code().starts_with("node."));
        of_nodes.map(|e| format!("{} {:?} {}", e.kind, e.subject, e.detail)).collect::<Vec<_>>()
    };
    let look = async || {
        // Until each has told the other how its server does.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let _ = tokio::join!(one.tick(), two.tick());
        told().await
    };
    first.fail(Fault::Down);
    assert_eq!(look().await, Vec::<String>::new(), "its other server answers");
    second.fail(Fault::Down);
    let down = r#"node.down Node(NodeId("eu")) eu/a, eu/b"#;
    eventually("the node is told to be down", async || look().await == [down]).await;
    assert_eq!(look().await, [down], "once");
    second.heal();
    let up = r#"node.up Node(NodeId("eu")) "#;
    eventually("the node is told to be up", async || look().await == [down, up]).await;
    first.heal();
    assert_eq!(look().await, [down, up]);
    one.close().await.unwrap();
    two.close().await.unwrap();
}
