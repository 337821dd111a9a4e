//! The engine over a server that fails in every way.
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
    ByteSize, CreateKey, Credential, CredentialKind, Cursor, DeviceName, EventKind, Inbound, InboundTag,
    KeyId, KeyPatch, KeyQuery, KeyStatus, NodeId, Patch, Protocol, ServerId, Traffic,
};
use vpnkit_core::store::memory::MemoryStore;
use vpnkit_core::{ErrorKind, ManualClock};
use vpnkit_engine::engine::{Engine, EngineOptions, ServerParts};
use vpnkit_testkit::{FakeServer, Fault};

async fn engine(server: &Arc<FakeServer>) -> Engine {
    let options = EngineOptions { background: false, ..EngineOptions::default() };
    let parts = ServerParts { backend: server.clone(), source: server.clone(), address: "192.0.2.1".into() };
    let clock = Arc::new(ManualClock::default());
    let engine = Engine::open(Arc::new(MemoryStore::new()), clock, options, vec![parts]).await.unwrap();
    engine.inbounds().ensure(inbound("main", 443)).await.unwrap();
    engine
}

fn inbound(tag: &str, port: u16) -> Inbound {
    Inbound::new(InboundTag::new(tag).unwrap(), port, Protocol::Vless { vision: false })
}

fn id() -> ServerId {
    ServerId::new(&NodeId::main(), "fake")
}

#[tokio::test]
async fn a_refused_key_is_told_once_and_installed_when_the_server_relents() {
    let server = Arc::new(FakeServer::new());
    let engine = engine(&server).await;
    server.fail(Fault::Refuse(KeyId(1)));
    let refused = engine.keys().create(CreateKey::named("refused")).await.unwrap();
    let fine = engine.keys().create(CreateKey::named("fine")).await.unwrap();
    for _ in 0..3 {
        assert_eq!(engine.servers().reconcile(&id()).await.unwrap_err().kind(), ErrorKind::Rejected);
    }
    assert!(!server.lets_in(refused.id, "main") && server.lets_in(fine.id, "main"));
    let events = engine.events().read(Cursor::START, 100).await.unwrap().events;
    let told: Vec<_> = events.iter().filter(|e| e.kind == EventKind::KeyRejected).collect();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].key(), told[0].detail.as_str()), (Some(refused.id), "main/fake: told to refuse"));
    server.heal();
    engine.servers().reconcile(&id()).await.unwrap();
    assert!(server.lets_in(refused.id, "main"));
}

#[tokio::test]
async fn an_answer_that_was_lost_is_made_up_for() {
    let server = Arc::new(FakeServer::new());
    let engine = engine(&server).await;
    server.fail(Fault::AnswerLost);
    let key = engine.keys().create(CreateKey::named("k")).await.unwrap();
    server.heal();
    assert_eq!(engine.servers().reconcile(&id()).await.unwrap(), 0, "it had been carried out");
    assert!(server.lets_in(key.id, "main"));
}

#[tokio::test]
async fn what_leaves_active_is_cut_and_nobody_else() {
    let server = Arc::new(FakeServer::new());
    let engine = engine(&server).await;
    let keys = engine.keys();
    let create = |name: &str| keys.create(CreateKey::named(name).data_limit(ByteSize::mib(1)));
    let limited = create("limited").await.unwrap().id;
    let stays = create("stays").await.unwrap().id;
    let deleted = create("deleted").await.unwrap().id;
    engine.tick().await.unwrap();
    for key in [limited, stays, deleted] {
        server.pass(key, Traffic { up: 1, down: 1 });
    }
    server.pass(limited, Traffic { up: 0, down: 2 << 20 });
    engine.tick().await.unwrap();
    assert_eq!(server.cut(), [limited]);
    engine.keys().delete(deleted, None).await.unwrap();
    assert_eq!(server.cut(), [limited, deleted]);
}

#[tokio::test]
async fn every_device_of_a_deleted_key_leaves_the_server() {
    let server = Arc::new(FakeServer::new());
    let engine = engine(&server).await;
    let key = engine.keys().create(CreateKey::named("k")).await.unwrap();
    let phone = Credential {
        device: DeviceName::new("phone").unwrap(),
        ..Credential::generate(CredentialKind::Vless)
    };
    let patch = KeyPatch { credentials: vec![phone], ..KeyPatch::default() };
    engine.keys().update(key.id, patch, None, None).await.unwrap();
    engine.keys().delete(key.id, None).await.unwrap();
    assert!(!server.lets_in(key.id, "main"));
}

#[tokio::test]
async fn keys_that_are_there_get_a_credential_for_a_new_protocol() {
    let server = Arc::new(FakeServer::new());
    let engine = engine(&server).await;
    engine.keys().create_many(vec![CreateKey::default(); 2_500], None).await.unwrap();
    let trojan = Inbound { protocol: Protocol::Trojan, ..inbound("trojan", 444) };
    engine.inbounds().ensure(trojan).await.unwrap();
    let query = KeyQuery { limit: 10_000, ..KeyQuery::default() };
    let keys = engine.keys().find(query).await.unwrap().keys;
    assert!(keys.iter().all(|k| k.credentials.len() == 2));
    assert!(server.lets_in(keys[2_499].id, "trojan"));
}

#[tokio::test]
async fn a_stream_of_events_waits_and_ends_with_the_engine() {
    let server = Arc::new(FakeServer::new());
    let engine = engine(&server).await;
    let mut stream = engine.events().stream(engine.events().newest().await.unwrap());
    let keys = engine.keys();
    let (event, created) = tokio::join!(stream.next(), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        keys.create(CreateKey::named("k")).await.unwrap()
    });
    let event = event.unwrap().unwrap();
    assert_eq!((event.kind, event.key()), (EventKind::KeyCreated, Some(created.id)));
    let closing = engine.clone();
    let (end, closed) = tokio::join!(stream.next(), async move { closing.close().await });
    closed.unwrap();
    assert!(end.unwrap().is_none());
    assert_eq!(engine.keys().get("k").await.unwrap_err().kind(), ErrorKind::Closed);
}

/// A future that borrows a lock while it waits is not `Send`, and holds up all who want the lock.
#[tokio::test]
async fn every_call_can_be_spawned() {
    fn spawnable<F: Future + Send>(future: F) -> F {
        future
    }
    let server = Arc::new(FakeServer::new());
    let engine = engine(&server).await;
    spawnable(engine.servers().status()).await.unwrap();
    spawnable(engine.servers().reconcile(&id())).await.unwrap();
    spawnable(engine.traffic().online()).await.unwrap();
    spawnable(engine.traffic().collect()).await.unwrap();
    spawnable(engine.keys().create(CreateKey::default())).await.unwrap();
    spawnable(engine.inbounds().list()).await.unwrap();
    spawnable(engine.events().newest()).await.unwrap();
    spawnable(engine.tick()).await.unwrap();
    spawnable(engine.close()).await.unwrap();
}

#[tokio::test]
async fn a_change_ends_also_when_nobody_waits_for_it() {
    let server = Arc::new(FakeServer::new());
    let engine = engine(&server).await;
    for i in 0..50 {
        let keys = engine.keys();
        let mut create = Box::pin(keys.create(CreateKey::named(format!("k{i}"))));
        // Begun, then dropped: a client that timed out.
        assert!(futures_util::poll!(&mut create).is_pending());
    }
    let all = async {
        while !(1..=50).all(|id| server.lets_in(KeyId(id), "main")) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), all).await.expect("the servers have heard of every key");
}

#[tokio::test]
async fn events_come_in_batches_too() {
    let engine = engine(&Arc::new(FakeServer::new())).await;
    let all = (0..25).map(|i| CreateKey::named(format!("k{i}"))).collect();
    engine.keys().create_many(all, None).await.unwrap();
    let inbound_changed = Cursor(1);
    let mut stream = engine.events().stream(inbound_changed);
    let mut sizes = Vec::new();
    while sizes.iter().sum::<usize>() < 25 {
        sizes.push(stream.next_batch(10).await.unwrap().len());
    }
    assert_eq!(sizes, [10, 10, 5]);
    engine.close().await.unwrap();
    assert!(stream.next_batch(10).await.unwrap().is_empty());
}

/// A cut that fails is remembered, and no change has to come for it to be tried again.
#[tokio::test]
async fn a_cut_that_failed_is_made_up_for() {
    let server = Arc::new(FakeServer::new());
    let engine = engine(&server).await;
    let [disabled, deleted] = ["disabled", "deleted"].map(CreateKey::named);
    let disabled = engine.keys().create(disabled).await.unwrap().id;
    let deleted = engine.keys().create(deleted).await.unwrap().id;
    for key in [disabled, deleted] {
        server.pass(key, Traffic { up: 1, down: 1 });
    }
    server.fail(Fault::Disconnect);
    engine.keys().disable(disabled).await.unwrap();
    engine.keys().delete(deleted, None).await.unwrap();
    assert!(server.is_online(disabled) && server.is_online(deleted));
    assert!(engine.servers().reconcile(&id()).await.is_err(), "it says that something is left to do");
    server.heal();
    assert_eq!(engine.servers().reconcile(&id()).await.unwrap(), 0);
    assert!(!server.is_online(disabled) && !server.is_online(deleted));
}

/// One that was enabled again before the cut could be made keeps its connections.
#[tokio::test]
async fn a_key_that_is_enabled_again_is_not_cut_late() {
    let server = Arc::new(FakeServer::new());
    let engine = engine(&server).await;
    let key = engine.keys().create(CreateKey::named("k")).await.unwrap().id;
    server.pass(key, Traffic { up: 1, down: 1 });
    server.fail(Fault::Disconnect);
    engine.keys().disable(key).await.unwrap();
    engine.keys().enable(key).await.unwrap();
    server.heal();
    engine.servers().reconcile(&id()).await.unwrap();
    assert!(server.is_online(key));
}

/// The process that removed an account ended before it cut the connections: the next one finds them.
#[tokio::test]
async fn connections_that_an_earlier_process_left_are_cut() {
    let server = Arc::new(FakeServer::new());
    let engine = engine(&server).await;
    let [stray, rightful] = ["stray", "rightful"].map(CreateKey::named);
    let stray = engine.keys().create(stray).await.unwrap().id;
    let rightful = engine.keys().create(rightful).await.unwrap().id;
    server.pass(rightful, Traffic { up: 1, down: 1 });
    engine.keys().disable(stray).await.unwrap();
    server.pass(stray, Traffic { up: 1, down: 1 });
    assert_eq!(engine.servers().reconcile(&id()).await.unwrap(), 0, "its account is gone already");
    assert!(!server.is_online(stray) && server.is_online(rightful));
    assert_eq!(server.cut(), [stray]);
}

/// Those who were connected through an inbound that is gone, or has left its port, are cut.
#[tokio::test]
async fn nobody_stays_on_an_inbound_that_is_gone() {
    let server = Arc::new(FakeServer::new());
    let engine = engine(&server).await;
    let key = engine.keys().create(CreateKey::named("k")).await.unwrap().id;
    let own = inbound("own", 500).dedicated_to(key);
    for change in ["port", "removal"] {
        engine.inbounds().ensure(own.clone()).await.unwrap();
        server.pass(key, Traffic { up: 1, down: 1 });
        match change {
            "port" => drop(engine.inbounds().ensure(Inbound { port: 501, ..own.clone() }).await.unwrap()),
            _ => engine.inbounds().remove(&NodeId::main(), &own.tag).await.unwrap(),
        }
        engine.tick().await.unwrap();
        assert!(!server.is_online(key), "{change}");
    }
}

/// One call of a key is one step on its own inbound, however many others are dedicated to other keys.
#[tokio::test]
async fn a_thousand_dedicated_inbounds_cost_a_key_nothing() {
    let server = Arc::new(FakeServer::new());
    let engine = engine(&server).await;
    let keys = engine.keys().create_many(vec![CreateKey::default(); 1_000], None).await.unwrap();
    for key in &keys {
        let port = 1_000 + u16::try_from(key.id.0).unwrap();
        let own = inbound(&format!("own-{}", key.id), port).dedicated_to(key.id);
        engine.inbounds().ensure(own).await.unwrap();
    }
    let before = server.steps();
    engine.keys().disable(keys[500].id).await.unwrap();
    assert_eq!(server.steps() - before, 2, "the shared inbound and its own");
    engine.keys().enable(keys[500].id).await.unwrap();
    assert_eq!(server.steps() - before, 4);
    assert_eq!(engine.servers().reconcile(&id()).await.unwrap(), 0);
    engine.keys().delete_many(keys.iter().map(|key| key.id).collect()).await.unwrap();
    engine.tick().await.unwrap();
    assert_eq!(engine.inbounds().list().await.unwrap().len(), 1);
    assert_eq!(engine.servers().reconcile(&id()).await.unwrap(), 0);
}

/// A question about one key asks each server about one key.
#[tokio::test]
async fn one_key_that_is_online_is_found_without_the_others() {
    let server = Arc::new(FakeServer::new());
    let engine = engine(&server).await;
    let keys = engine.keys().create_many(vec![CreateKey::default(); 3], None).await.unwrap();
    server.pass(keys[1].id, Traffic { up: 1, down: 1 });
    assert_eq!(engine.traffic().online_key(keys[0].id).await.unwrap(), None);
    let online = engine.traffic().online_key(keys[1].id).await.unwrap();
    assert_eq!(online.map(|online| online.key), Some(keys[1].id));
    assert_eq!(engine.traffic().online().await.unwrap().len(), 1);
    server.fail(Fault::Down);
    assert_eq!(engine.traffic().online_key(keys[1].id).await.unwrap(), None);
}

/// At 100 MB a second, with a reading of all keys in ten seconds, a key is limited within a fraction of a second. Only keys that
/// are near their limit are read by themselves.
#[tokio::test(start_paused = true)]
async fn a_key_at_full_speed_overruns_its_limit_by_little() {
    const STEP: u64 = 1_000_000;
    let server = Arc::new(FakeServer::new());
    let parts = ServerParts { backend: server.clone(), source: server.clone(), address: "192.0.2.1".into() };
    let clock = Arc::new(ManualClock::default());
    let options = EngineOptions { collect_every: Duration::from_secs(10), ..EngineOptions::default() };
    let engine = Engine::open(Arc::new(MemoryStore::new()), clock, options, vec![parts]).await.unwrap();
    engine.inbounds().ensure(inbound("main", 443)).await.unwrap();
    for limit in [ByteSize::mib(40), ByteSize::gib(1), ByteSize::gib(20)] {
        let limited = engine.keys().create(CreateKey::default().data_limit(limit)).await.unwrap().id;
        let free = engine.keys().create(CreateKey::default()).await.unwrap().id;
        server.pass(free, Traffic { up: 1, down: 1 });
        let mut passed = 0;
        while engine.keys().require(limited).await.unwrap().status == KeyStatus::Active {
            server.pass(limited, Traffic { up: 0, down: STEP });
            passed += STEP;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let overrun = passed.saturating_sub(limit.bytes());
        assert!(overrun < 40 * STEP, "{limit} was overrun by {overrun} bytes");
        assert!(server.cut().contains(&limited));
        let used = engine.keys().require(limited).await.unwrap().used;
        assert!(used >= limit.bytes() && used <= passed, "{used} of {passed}");
        assert!(!server.asked().contains(&free), "a key without a limit is read with all others");
    }
    // Nobody is near a limit any more: nothing is asked.
    let asked = server.asked().len();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(server.asked().len(), asked);
    // Keys that end in another way are not asked about for ever.
    let request = CreateKey::default().data_limit(ByteSize::mib(10));
    let ends = engine.keys().create_many(vec![request; 3], None).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(server.asked().len() > asked);
    engine.keys().disable(ends[0].id).await.unwrap();
    engine.keys().delete(ends[1].id, None).await.unwrap();
    let unlimited = KeyPatch { data_limit: Patch::Clear, ..KeyPatch::default() };
    engine.keys().update(ends[2].id, unlimited, None, None).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let asked = server.asked().len();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(server.asked().len(), asked);
    // Many keys that are near and do not move: the work has a bound.
    let near = vec![CreateKey::default().data_limit(ByteSize::mib(10)); 1_000];
    engine.keys().create_many(near, None).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let rate = (server.asked().len() - asked) / 10;
    assert!((100..=1_400).contains(&rate), "{rate} keys a second");
    engine.close().await.unwrap();
}
