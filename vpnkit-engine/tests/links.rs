//! Links that are replaced, and keys that are shared: over several processes and servers, beside what is broken.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use vpnkit_core::model::{
    CreateKey, Credential, CredentialKind, Cursor, EventKind, Inbound, InboundTag, Key, KeyPatch, KeyStatus,
    NodeId, Protocol, SharingAction, SharingPolicy,
};
use vpnkit_core::store::{KeyOp, KeyStore as _, Origin, StoreTxn};
use vpnkit_core::{Clock as _, ErrorKind, ManualClock};
use vpnkit_engine::engine::{Engine, EngineOptions, ServerParts};
use vpnkit_sqlite::{SqliteOptions, SqliteStore};
use vpnkit_subscription::SubscriptionSettings;
use vpnkit_testkit::{FakeRules, FakeServer, Fault};

const DAY: Duration = Duration::from_secs(86_400);

async fn open(
    directory: &Path,
    clock: &ManualClock,
    sharing: SharingPolicy,
    servers: &[&Arc<FakeServer>],
) -> Engine {
    let store = SqliteStore::open(directory.join("keys.db"), SqliteOptions::default()).await.unwrap();
    let options = EngineOptions {
        background: false,
        programs: vec![Arc::new(FakeRules)],
        sharing,
        ..EngineOptions::default()
    };
    let parts = servers.iter().map(|server| ServerParts {
        backend: (*server).clone(),
        source: (*server).clone(),
        address: "192.0.2.1".into(),
    });
    Engine::open(Arc::new(store), Arc::new(clock.clone()), options, parts.collect()).await.unwrap()
}

fn server(id: &str) -> Arc<FakeServer> {
    Arc::new(FakeServer::named(id.parse().unwrap()))
}

fn inbound(tag: &str, port: u16) -> Inbound {
    Inbound::new(InboundTag::new(tag).unwrap(), port, Protocol::Vless { vision: false })
}

async fn body(engine: &Engine, token: &str) -> Option<String> {
    let answer = engine.subscriptions().for_request(token, &[], Some("plain")).await.unwrap();
    (answer.status == 200).then_some(answer.body)
}

fn secret(key: &Key, replaced: bool) -> String {
    key.credentials.iter().find(|c| c.is_replaced() == replaced).unwrap().secret.expose()
}

async fn kinds(engine: &Engine) -> Vec<EventKind> {
    let events = engine.events().read(Cursor::START, 1_000).await.unwrap().events;
    events.into_iter().filter(|event| event.key().is_some()).map(|event| event.kind).collect()
}

/// On a second server and on that of another process, one of them down, and for who has only the old link.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_links_end_everywhere_and_never_show_the_new_ones() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), ManualClock::default());
    let (here, second, there) = (server("main/fake"), server("main/second"), server("other/fake"));
    let policy = SharingPolicy::default;
    let engine = open(directory.path(), &clock, policy(), &[&here, &second]).await;
    let driver = open(directory.path(), &clock, policy(), &[&there]).await;
    engine.inbounds().ensure(inbound("a", 443)).await.unwrap();
    engine.inbounds().ensure(inbound("b", 444).on("main/second".parse().unwrap())).await.unwrap();
    let other = Inbound { node: NodeId::new("other").unwrap(), ..inbound("c", 443) };
    driver.inbounds().ensure(other).await.unwrap();
    let settings = SubscriptionSettings { base_url: Some("https://s.example".into()), ..Default::default() };
    engine.subscriptions().configure(settings).await.unwrap();
    let key = engine.keys().create(CreateKey::named("alice")).await.unwrap();
    let old = engine.subscriptions().token("alice").await.unwrap();
    let accounts = |devices: usize| {
        let held = [here.devices(key.id, "a"), second.devices(key.id, "b"), there.devices(key.id, "c")];
        assert!(held.iter().all(|held| held.len() == devices), "{held:?}");
    };
    accounts(1);
    let revoked = engine.subscriptions().revoke("alice", true, Some(DAY)).await.unwrap();
    assert_eq!(secret(&revoked, true), secret(&key, false));
    accounts(2);
    let new = engine.subscriptions().token("alice").await.unwrap();
    let html = [("accept".to_owned(), "text/html".to_owned())];
    for process in [&engine, &driver] {
        let (shown, current) = (body(process, &old).await.unwrap(), body(process, &new).await.unwrap());
        assert!(shown.contains(&secret(&key, false)) && !shown.contains(&secret(&revoked, false)));
        assert!(current.contains(&secret(&revoked, false)) && !current.contains(&secret(&key, false)));
        let page = process.subscriptions().for_request(&old, &html, None).await.unwrap().body;
        assert!(page.contains(&old), "{page}");
        assert!(!page.contains(&new));
        assert!(!page.contains(&secret(&revoked, false)));
    }
    assert_eq!(engine.keys().links("alice").await.unwrap().len(), 3, "only the new ones are given out");
    // What is pasted finds the key by what is valid.
    let find = async |text: &str, revoked: bool| {
        driver.keys().lookup(text, revoked).await.unwrap().map(|key| key.id)
    };
    let link = engine.keys().links("alice").await.unwrap().remove(0);
    assert_eq!(find(&link, false).await, Some(key.id));
    for stolen in [format!("https://s.example/{old}"), body(&engine, &old).await.unwrap()] {
        assert_eq!((find(&stolen, false).await, find(&stolen, true).await), (None, Some(key.id)));
    }
    for anybody in ["alice", "1", &key.uid.to_string()] {
        assert_eq!(find(anybody, true).await, None, "{anybody}");
    }

    // A server that is down has it later, the others at once.
    for fake in [&here, &there] {
        fake.set_online(key.id, &addresses(["192.0.2.1"]));
    }
    clock.advance(DAY);
    assert_eq!(body(&driver, &old).await, None, "before anybody has looked");
    second.fail(Fault::Down);
    engine.tick().await.unwrap();
    driver.tick().await.unwrap();
    assert_eq!((here.devices(key.id, "a").len(), there.devices(key.id, "c").len()), (1, 1));
    second.heal();
    engine.servers().reconcile(&"main/second".parse().unwrap()).await.unwrap();
    accounts(1);
    let ended = engine.keys().require("alice").await.unwrap();
    assert_eq!((ended.credentials.len(), ended.old_links_until), (1, None));
    assert!(here.cut().contains(&key.id) && there.cut().contains(&key.id));
    assert_eq!(kinds(&engine).await, [EventKind::KeyCreated, EventKind::KeyUpdated, EventKind::KeyRevoked]);
    // The next one that gets the old secret is let in with it: it is free.
    let credentials = vec![key.credentials[0].clone()];
    let next = CreateKey { credentials, ..CreateKey::named("next") };
    driver.keys().create(next).await.unwrap();
    driver.close().await.unwrap();
    engine.close().await.unwrap();
}

/// Revoked again while the old ones still work: those of before end at once, and the process that dies in between leaves nothing.
#[tokio::test]
async fn a_second_revocation_ends_the_first_ones_time() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), ManualClock::default());
    let fake = server("main/fake");
    let engine = open(directory.path(), &clock, SharingPolicy::default(), &[&fake]).await;
    engine.inbounds().ensure(inbound("a", 443)).await.unwrap();
    let key = engine.keys().create(CreateKey::named("alice")).await.unwrap();
    let first = engine.subscriptions().token("alice").await.unwrap();
    let second = engine.subscriptions().revoke("alice", true, Some(DAY)).await.unwrap();
    let second_token = engine.subscriptions().token("alice").await.unwrap();
    clock.advance(DAY / 2);
    let third = engine.subscriptions().revoke("alice", true, Some(DAY)).await.unwrap();
    assert_eq!(third.credentials.len(), 2);
    assert_eq!((secret(&third, true), secret(&second, true)), (secret(&second, false), secret(&key, false)));
    assert_eq!(body(&engine, &first).await, None);
    assert!(body(&engine, &second_token).await.is_some());
    assert_eq!(fake.devices(key.id, "a").len(), 2);
    // Disabled meanwhile: the time goes on all the same.
    engine.keys().disable("alice").await.unwrap();
    engine.close().await.unwrap();
    clock.advance(DAY);
    let engine = open(directory.path(), &clock, SharingPolicy::default(), &[&fake]).await;
    engine.tick().await.unwrap();
    let enabled = engine.keys().enable("alice").await.unwrap();
    assert_eq!((enabled.credentials.len(), fake.devices(key.id, "a").len()), (1, 1));
    for (field, keep) in [("keep_old", Duration::ZERO), ("keep_old", 367 * DAY)] {
        let error = engine.subscriptions().revoke("alice", true, Some(keep)).await.unwrap_err();
        assert_eq!((error.kind(), error.get("field")), (ErrorKind::InvalidInput, Some(field)));
    }
    engine.close().await.unwrap();
}

fn addresses<const N: usize>(all: [&str; N]) -> Vec<IpAddr> {
    all.iter().map(|address| address.parse().unwrap()).collect()
}

/// One address at each of two servers, the second one driven by another process; a damaged key beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_are_counted_over_all_servers_and_processes() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), ManualClock::default());
    let (here, there) = (server("main/fake"), server("other/fake"));
    let sharing = SharingPolicy { action: SharingAction::Lock, ..SharingPolicy::default() };
    let engine = open(directory.path(), &clock, sharing.clone(), &[&here]).await;
    let driver = open(directory.path(), &clock, sharing, &[&there]).await;
    engine.inbounds().ensure(inbound("a", 443)).await.unwrap();
    let other = Inbound { node: NodeId::new("other").unwrap(), ..inbound("c", 443) };
    driver.inbounds().ensure(other).await.unwrap();
    let limited = |name: &str| CreateKey { address_limit: Some(1), ..CreateKey::named(name) };
    let shared = engine.keys().create(limited("shared")).await.unwrap();
    let broken = engine.keys().create(limited("broken")).await.unwrap();
    let free = engine.keys().create(CreateKey::named("free")).await.unwrap();
    for key in [&shared, &broken, &free] {
        here.set_online(key.id, &addresses(["192.0.2.1"]));
        there.set_online(key.id, &addresses(["192.0.2.2", "192.0.2.3"]));
    }
    let file = rusqlite::Connection::open(directory.path().join("keys.db")).unwrap();
    file.execute("UPDATE keys SET life = '{\"hold\":7}' WHERE id = ?1", [broken.id.0]).unwrap();
    let status = async |key: &Key| engine.keys().require(key.id).await.unwrap().status;
    engine.tick().await.unwrap();
    assert_eq!(status(&shared).await, KeyStatus::Active, "once is not enough");
    engine.tick().await.unwrap();
    let locked = engine.keys().require(shared.id).await.unwrap();
    assert_eq!(locked.status, KeyStatus::Locked);
    assert_eq!(status(&free).await, KeyStatus::Active);
    driver.tick().await.unwrap();
    assert!(!here.lets_in(shared.id, "a") && !there.lets_in(shared.id, "c"));
    assert!(here.cut().contains(&shared.id) && there.cut().contains(&shared.id));
    file.execute("UPDATE keys SET life = NULL WHERE id = ?1", [broken.id.0]).unwrap();
    // Its time is over by itself, and the same once more is told once more.
    clock.advance(Duration::from_secs(600));
    engine.tick().await.unwrap();
    assert_eq!(status(&shared).await, KeyStatus::Active);
    let told = kinds(&engine).await.into_iter().filter(|kind| *kind == EventKind::KeyAddressLimit).count();
    assert!(told >= 1, "{told}");
    driver.close().await.unwrap();
    engine.close().await.unwrap();
}

#[tokio::test]
async fn a_key_that_is_shared_gets_new_links() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), ManualClock::default());
    let fake = server("main/fake");
    let sharing = SharingPolicy { action: SharingAction::Rotate, checks: 1, ..SharingPolicy::default() };
    let engine = open(directory.path(), &clock, sharing, &[&fake]).await;
    engine.inbounds().ensure(inbound("a", 443)).await.unwrap();
    let request = CreateKey { address_limit: Some(2), ..CreateKey::named("shared") };
    let key = engine.keys().create(request).await.unwrap();
    let token = engine.subscriptions().token("shared").await.unwrap();
    // An IPv6 network is one address.
    fake.set_online(key.id, &addresses(["2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1"]));
    engine.tick().await.unwrap();
    assert!(body(&engine, &token).await.is_some());
    fake.set_online(key.id, &addresses(["2001:db8::1", "2001:db8:1::2", "192.0.2.1"]));
    engine.tick().await.unwrap();
    assert_eq!(body(&engine, &token).await, None);
    let renewed = engine.keys().require("shared").await.unwrap();
    assert_eq!(renewed.status, KeyStatus::Active);
    assert_ne!(secret(&renewed, false), secret(&key, false));
    assert_eq!(fake.cut(), [key.id]);
    let events = engine.events().read(Cursor::START, 100).await.unwrap().events;
    let over = events.iter().find(|event| event.kind == EventKind::KeyAddressLimit).unwrap();
    assert_eq!(over.detail, "3 addresses at once, 2 allowed, credentials and links replaced");
    engine.close().await.unwrap();
}

async fn one_process(directory: &Path, clock: &ManualClock, fake: &Arc<FakeServer>) -> Engine {
    open(directory, clock, SharingPolicy::default(), &[fake]).await
}

#[tokio::test]
async fn who_has_an_old_link_learns_nothing_that_came_since() {
    let (directory, clock, fake) =
        (tempfile::tempdir().unwrap(), ManualClock::default(), server("main/fake"));
    let engine = one_process(directory.path(), &clock, &fake).await;
    engine.inbounds().ensure(inbound("a", 443)).await.unwrap();
    let key =
        engine.keys().create(CreateKey { device_limit: Some(2), ..CreateKey::named("alice") }).await.unwrap();
    let old = engine.subscriptions().token("alice").await.unwrap();
    let asks = async |token: &str, device: &str| {
        let headers = [("x-hwid".to_owned(), device.to_owned())];
        let answer = engine.subscriptions().for_request(token, &headers, Some("plain")).await.unwrap();
        answer.body.contains("vless://") && !answer.body.contains("too%20many")
    };
    assert!(asks(&old, "own").await);
    engine.subscriptions().revoke("alice", true, Some(DAY)).await.unwrap();
    let new = engine.subscriptions().token("alice").await.unwrap();
    engine.inbounds().ensure(Inbound { protocol: Protocol::Trojan, ..inbound("b", 444) }).await.unwrap();
    let (shown, current) = (body(&engine, &old).await.unwrap(), body(&engine, &new).await.unwrap());
    assert!(!shown.contains("trojan://") && current.contains("trojan://"), "{shown}");
    // Nor do devices with the old link take the room of those with the new one.
    assert!(asks(&old, "own").await);
    for forged in ["one", "two", "three"] {
        asks(&old, forged).await;
    }
    assert_eq!(engine.subscriptions().devices("alice").await.unwrap().len(), 1);
    assert!(asks(&new, "second").await);
    clock.advance(DAY);
    engine.tick().await.unwrap();
    assert!(
        engine.subscriptions().devices("alice").await.unwrap().is_empty(),
        "they fetch again with the new one"
    );
    assert!(asks(&new, "own").await);
    engine.subscriptions().revoke("alice", true, None).await.unwrap();
    assert!(engine.subscriptions().devices("alice").await.unwrap().is_empty());
    assert_eq!(engine.keys().require("alice").await.unwrap().id, key.id);
    engine.close().await.unwrap();
}

/// As after a `kill -9` between the commit and its application: the next comparison finds other accounts than there should be.
#[tokio::test]
async fn a_revocation_that_an_earlier_process_did_not_apply_ends_connections_too() {
    let (directory, clock, fake) =
        (tempfile::tempdir().unwrap(), ManualClock::default(), server("main/fake"));
    let engine = one_process(directory.path(), &clock, &fake).await;
    engine.inbounds().ensure(inbound("a", 443)).await.unwrap();
    let key = engine.keys().create(CreateKey::named("alice")).await.unwrap();
    let neighbour = engine.keys().create(CreateKey::named("bob")).await.unwrap();
    for key in [&key, &neighbour] {
        fake.set_online(key.id, &addresses(["192.0.2.1"]));
    }
    // Committed by this process, which did not come to apply it: so it is not told of it either.
    let file = rusqlite::Connection::open(directory.path().join("keys.db")).unwrap();
    let own: i64 =
        file.query_row("SELECT origin FROM events ORDER BY cursor DESC", [], |row| row.get(0)).unwrap();
    let credentials = vec![Credential::generate(CredentialKind::Vless)];
    let revoke = KeyPatch { revoke_links: true, credentials, ..KeyPatch::default() };
    let step = KeyOp::Patch { key: key.id, expected: None, patch: Box::new(revoke) };
    let store = SqliteStore::open(directory.path().join("keys.db"), SqliteOptions::default()).await.unwrap();
    store.commit(StoreTxn::new(clock.now(), [step]).by(Origin(own))).await.unwrap();
    engine.servers().reconcile(&"main/fake".parse().unwrap()).await.unwrap();
    assert_eq!(fake.cut(), [key.id]);
    // What could not be cut is cut later, also when the key is changed in between.
    fake.set_online(key.id, &addresses(["192.0.2.1"]));
    fake.fail(Fault::Disconnect);
    engine.subscriptions().revoke("alice", true, None).await.unwrap();
    engine.keys().disable("alice").await.unwrap();
    engine.keys().enable("alice").await.unwrap();
    assert!(fake.is_online(key.id));
    fake.heal();
    engine.servers().reconcile(&"main/fake".parse().unwrap()).await.unwrap();
    assert!(!fake.is_online(key.id) && fake.is_online(neighbour.id));
    engine.close().await.unwrap();
}

#[tokio::test]
async fn a_certificate_ends_with_its_link_and_one_that_is_renewed_cuts_nobody() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), ManualClock::default());
    let (vpn, xray) = (server("main/vpn"), server("other/xray"));
    let policy = SharingPolicy { action: SharingAction::Rotate, checks: 1, ..SharingPolicy::default() };
    let engine = open(directory.path(), &clock, policy.clone(), &[&vpn]).await;
    let driver = open(directory.path(), &clock, policy, &[&xray]).await;
    engine.inbounds().ensure(inbound("vpn", 1).certificate_lifetime(30 * DAY)).await.unwrap();
    let other = Inbound { node: NodeId::new("other").unwrap(), ..inbound("x", 443) };
    driver.inbounds().ensure(other).await.unwrap();
    let request = CreateKey { address_limit: Some(1), ..CreateKey::named("alice") };
    let key = engine.keys().create(request).await.unwrap();
    let serial = |key: &Key, replaced: bool| {
        let mut held = key.credentials.iter().filter(|c| c.is_replaced() == replaced);
        held.find_map(|c| c.certificate).unwrap().serial
    };
    let first = serial(&key, false);
    engine.subscriptions().revoke("alice", true, Some(DAY)).await.unwrap();
    assert!(vpn.lets_in_certificate(first, "vpn"));
    clock.advance(DAY);
    engine.tick().await.unwrap();
    assert!(!vpn.lets_in_certificate(first, "vpn"), "with the old links");
    let told = kinds(&engine).await.len();
    // A renewal is no revocation.
    for fake in [&vpn, &xray] {
        fake.set_online(key.id, &addresses(["192.0.2.1"]));
    }
    clock.advance(25 * DAY);
    engine.servers().reconcile(&"main/vpn".parse().unwrap()).await.unwrap();
    driver.tick().await.unwrap();
    assert!(xray.is_online(key.id) && vpn.is_online(key.id));
    assert!(!kinds(&engine).await[told..].contains(&EventKind::KeyRevoked));
    // The process that drives no server with certificates tells of a shared key, and replaces what it can.
    xray.set_online(key.id, &addresses(["192.0.2.1", "192.0.2.2"]));
    let before = engine.keys().require("alice").await.unwrap();
    driver.tick().await.unwrap();
    assert!(kinds(&engine).await[told..].contains(&EventKind::KeyAddressLimit));
    let after = engine.keys().require("alice").await.unwrap();
    assert_eq!(serial(&after, false), serial(&before, false));
    assert_eq!(after.link_revision, before.link_revision + 1);
    driver.close().await.unwrap();
    engine.close().await.unwrap();
}
