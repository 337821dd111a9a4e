//! Servers whose accounts come with an address or a certificate of their own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use vpnkit_core::model::{
    AddressPool, CertificateTerm, CreateKey, Credential, CredentialKind, Cursor, DeviceName, Inbound,
    InboundSelection, InboundTag, Key, KeyId, KeyPatch, Protocol, ServerId, Traffic,
};
use vpnkit_core::store::KeyStore;
use vpnkit_core::store::memory::MemoryStore;
use vpnkit_core::{ErrorKind, ManualClock};
use vpnkit_engine::engine::{Engine, EngineOptions, PlacementState, ServerParts};
use vpnkit_testkit::{Counting, FakeServer, Fault};

const DAY: Duration = Duration::from_secs(86_400);

fn id(text: &str) -> ServerId {
    text.parse().unwrap()
}

fn server(name: &str) -> Arc<FakeServer> {
    Arc::new(FakeServer::named(id(name)).counting(Counting::Peers))
}

async fn over(store: &Arc<MemoryStore>, servers: &[&Arc<FakeServer>]) -> Engine {
    let options = EngineOptions { background: false, ..EngineOptions::default() };
    let parts = |server: &&Arc<FakeServer>| ServerParts {
        backend: Arc::clone(server) as _,
        source: Arc::clone(server) as _,
        address: "192.0.2.1".into(),
    };
    let parts = servers.iter().map(parts).collect();
    Engine::open(store.clone(), Arc::new(ManualClock::default()), options, parts).await.unwrap()
}

fn plain(tag: &str, port: u16) -> Inbound {
    Inbound::new(InboundTag::new(tag).unwrap(), port, Protocol::Vless { vision: false })
}

fn tunnel(tag: &str, port: u16, network: &str) -> Inbound {
    plain(tag, port).addresses(AddressPool { v4: Some(network.parse().unwrap()), v6: None })
}

fn address(text: &str) -> Vec<IpAddr> {
    vec![text.parse().unwrap()]
}

fn serial(key: &Key) -> u64 {
    key.credentials.iter().find_map(|c| c.certificate).unwrap().serial
}

#[tokio::test]
async fn a_key_has_an_address_on_each_inbound_and_connects_with_its_own_credential() {
    let (one, two) = (server("main/one"), server("main/two"));
    let engine = over(&Arc::default(), &[&one, &two]).await;
    engine.inbounds().ensure(plain("plain", 1).on(id("main/one"))).await.unwrap();
    engine.inbounds().ensure(tunnel("wg-1", 2, "10.1.0.0/24").on(id("main/one"))).await.unwrap();
    let old = engine.keys().create(CreateKey::named("old")).await.unwrap();
    // One that comes later: keys that are there get their address too.
    engine.inbounds().ensure(tunnel("wg-2", 3, "10.2.0.0/24").on(id("main/two"))).await.unwrap();
    let new = engine.keys().create(CreateKey::named("new")).await.unwrap();
    assert_eq!(one.addresses(old.id, "wg-1"), address("10.1.0.2"));
    assert_eq!(one.addresses(new.id, "wg-1"), address("10.1.0.3"));
    assert_eq!(two.addresses(old.id, "wg-2"), address("10.2.0.2"));
    assert_eq!(two.addresses(new.id, "wg-2"), address("10.2.0.3"));
    assert!(one.lets_in(old.id, "plain") && one.lets_in(new.id, "plain"));
    // Three credentials of one protocol, each for its inbounds.
    let endpoints = engine.keys().endpoints(new.id).await.unwrap();
    assert_eq!(endpoints.len(), 3);
    let secrets: std::collections::HashSet<String> =
        engine.keys().links(new.id).await.unwrap().into_iter().map(|link| link[..44].to_owned()).collect();
    assert_eq!(secrets.len(), 3, "each inbound has a secret of its own");
    // A comparison finds nothing to do, also after a restart.
    for server in [&one, &two] {
        server.restart().await;
    }
    for name in ["main/one", "main/two"] {
        assert_eq!(engine.servers().reconcile(&id(name)).await.unwrap(), 0);
    }
    engine.keys().delete(old.id, None).await.unwrap();
    assert!(one.addresses(old.id, "wg-1").is_empty() && two.addresses(old.id, "wg-2").is_empty());
    let next = engine.keys().create(CreateKey::named("next")).await.unwrap();
    assert_eq!(two.addresses(next.id, "wg-2"), address("10.2.0.4"));
    // Another inbound of the node cannot give the same addresses.
    let overlapping = tunnel("wg-3", 4, "10.2.128.0/20").on(id("main/one"));
    let overlapping = Inbound { addresses: tunnel("x", 1, "10.0.0.0/8").addresses, ..overlapping };
    let refused = engine.inbounds().ensure(overlapping).await.unwrap_err();
    assert_eq!((refused.kind(), refused.get("field")), (ErrorKind::InvalidInput, Some("addresses")));
}

#[tokio::test]
async fn a_server_that_does_not_answer_keeps_no_key_from_the_others() {
    let (fine, dark) = (server("de/fine"), server("fr/dark"));
    let engine = over(&Arc::default(), &[&fine, &dark]).await;
    engine.inbounds().ensure(plain("plain", 1).on(id("de/fine"))).await.unwrap();
    engine.inbounds().ensure(tunnel("wg", 1, "10.1.0.0/24").on(id("fr/dark"))).await.unwrap();
    dark.fail(Fault::Down);
    let key = engine.keys().create(CreateKey::named("k")).await.unwrap();
    assert!(fine.lets_in(key.id, "plain"));
    let placed = engine.keys().placement(key.id).await.unwrap();
    let states: Vec<_> = placed.iter().map(|placement| placement.state).collect();
    assert_eq!(states, [PlacementState::Installed, PlacementState::Pending]);
    // It is back: the comparison gives the key what it lacks.
    dark.heal();
    let placed = engine.keys().placement(key.id).await.unwrap();
    assert_eq!(placed[1].state, PlacementState::Pending, "{placed:?}");
    engine.servers().reconcile(&id("fr/dark")).await.unwrap();
    assert_eq!(dark.addresses(key.id, "wg"), address("10.1.0.2"));
    let placed = engine.keys().placement(key.id).await.unwrap();
    assert_eq!(placed[1].state, PlacementState::Installed);
}

#[tokio::test]
async fn callers_do_not_choose_certificates() {
    let server = server("main/ovpn");
    let engine = over(&Arc::default(), &[&server]).await;
    engine.inbounds().ensure(plain("vpn", 1).certificate_lifetime(DAY)).await.unwrap();
    let key = engine.keys().create(CreateKey::named("k")).await.unwrap();
    // As it came it may be given back.
    let same = KeyPatch { credentials: key.credentials.clone(), ..KeyPatch::default() };
    assert_eq!(engine.keys().update(key.id, same, None, None).await.unwrap(), key);
    let mut other = key.credentials[0].clone();
    other.certificate = other.certificate.map(|term| CertificateTerm { serial: 99, ..term });
    let mut without = key.credentials[0].clone();
    without.certificate = None;
    without.secret = vpnkit_core::model::CredentialSecret::generate(without.protocol());
    for bad in [other, without] {
        let patch = KeyPatch { credentials: vec![bad.clone()], ..KeyPatch::default() };
        let create = CreateKey { credentials: vec![bad], ..CreateKey::default() };
        for refused in [
            engine.keys().update(key.id, patch, None, None).await.unwrap_err(),
            engine.keys().create(create.clone()).await.unwrap_err(),
            engine.keys().create_many(vec![create], None).await.unwrap_err(),
        ] {
            assert_eq!(
                (refused.kind(), refused.get("field")),
                (ErrorKind::InvalidInput, Some("credentials"))
            );
        }
    }
    let short = plain("vpn", 1).certificate_lifetime(Duration::from_secs(60));
    let refused = engine.inbounds().ensure(short).await.unwrap_err();
    assert_eq!(refused.get("field"), Some("certificate_lifetime"));
}

#[tokio::test]
async fn a_certificate_that_ends_soon_is_renewed() {
    let server = server("main/ovpn");
    let clock = Arc::new(ManualClock::default());
    let options = EngineOptions { background: false, ..EngineOptions::default() };
    let parts = ServerParts { backend: server.clone(), source: server.clone(), address: "192.0.2.1".into() };
    let store = Arc::new(MemoryStore::new());
    let engine = Engine::open(store, clock.clone(), options, vec![parts]).await.unwrap();
    engine.inbounds().ensure(plain("vpn", 1).certificate_lifetime(30 * DAY)).await.unwrap();
    let key = engine.keys().create(CreateKey::named("k")).await.unwrap();
    clock.advance(19 * DAY);
    engine.servers().reconcile(&id("main/ovpn")).await.unwrap();
    assert_eq!(engine.keys().require(key.id).await.unwrap(), key);
    clock.advance(2 * DAY);
    engine.servers().reconcile(&id("main/ovpn")).await.unwrap();
    let renewed = engine.keys().require(key.id).await.unwrap();
    let end = renewed.credentials[0].certificate.unwrap().expires_at;
    assert_eq!(end, engine.clock().now().plus(30 * DAY));
    assert!(!server.lets_in_certificate(serial(&key), "vpn") && server.lets_in(key.id, "vpn"));
}

#[tokio::test]
async fn a_leaked_credential_is_replaced_or_the_call_fails() {
    let server = server("main/ovpn");
    let store: Arc<MemoryStore> = Arc::default();
    let engine = over(&store, &[&server]).await;
    engine.inbounds().ensure(plain("vpn", 1).certificate_lifetime(DAY)).await.unwrap();
    let key = engine.keys().create(CreateKey::named("k")).await.unwrap();
    // Where the server is not driven nothing can be made: that is told, and nothing is half done.
    let other = over(&store, &[]).await;
    let refused = other.subscriptions().revoke(key.id, true, None).await.unwrap_err();
    assert_eq!((refused.kind(), refused.get("inbound")), (ErrorKind::Unavailable, Some("main/vpn")));
    assert_eq!(engine.keys().require(key.id).await.unwrap(), key);
    // One that is created there gets its certificate from the process that can make it.
    let late = other.keys().create(CreateKey::named("late")).await.unwrap();
    assert!(late.credentials.iter().all(|credential| credential.inbound.is_none()));
    engine.servers().reconcile(&id("main/ovpn")).await.unwrap();
    assert!(server.lets_in(late.id, "vpn"));
}

#[tokio::test]
async fn a_renewal_reaches_every_device() {
    let server = server("main/wg");
    let engine = over(&Arc::default(), &[&server]).await;
    let wg = engine.inbounds().ensure(tunnel("wg", 1, "10.1.0.0/24")).await.unwrap();
    let key = engine.keys().create(CreateKey::named("k")).await.unwrap();
    let phone = Credential {
        device: DeviceName::new("phone").unwrap(),
        ..Credential::generate(CredentialKind::Vless).only_on(wg.id())
    };
    let patch = KeyPatch { credentials: vec![phone], ..KeyPatch::default() };
    engine.keys().update(key.id, patch, None, None).await.unwrap();
    assert_eq!(server.addresses(key.id, "wg").len(), 2);
    engine.inbounds().ensure(tunnel("wg", 1, "10.1.0.0/24").certificate_lifetime(DAY)).await.unwrap();
    let both = engine.keys().require(key.id).await.unwrap();
    assert!(both.credentials.iter().all(|credential| credential.certificate.is_some()));
    assert_eq!(server.addresses(key.id, "wg").len(), 2);
}

#[tokio::test]
async fn a_network_that_moves_takes_its_clients_along() {
    let server = server("main/wg");
    let engine = over(&Arc::default(), &[&server]).await;
    engine.inbounds().ensure(tunnel("wg", 1, "10.1.0.0/24")).await.unwrap();
    let key = engine.keys().create(CreateKey::named("k")).await.unwrap();
    engine.inbounds().ensure(tunnel("wg", 1, "10.7.0.0/16")).await.unwrap();
    assert_eq!(server.addresses(key.id, "wg"), address("10.7.0.2"));
}

#[tokio::test]
async fn an_inbound_without_room_for_the_keys_is_not_added() {
    let server = server("main/wg");
    let store = Arc::default();
    let engine = over(&store, &[&server]).await;
    engine.inbounds().ensure(plain("plain", 1)).await.unwrap();
    engine.keys().create_many(vec![CreateKey::default(); 6], None).await.unwrap();
    let before = engine.keys().require(KeyId(1)).await.unwrap();
    let newest = engine.events().read(Cursor::START, 100).await.unwrap().next;
    let small = engine.inbounds().ensure(tunnel("wg", 2, "10.1.0.0/29")).await.unwrap_err();
    assert_eq!(engine.events().read(newest, 100).await.unwrap().events, [], "nothing was begun");
    assert_eq!((small.kind(), small.get("inbound")), (ErrorKind::LimitReached, Some("main/wg")));
    assert_eq!(engine.inbounds().list().await.unwrap().len(), 1);
    assert_eq!(engine.keys().require(KeyId(1)).await.unwrap().credentials, before.credentials);
    assert_eq!(engine.servers().reconcile(&id("main/wg")).await.unwrap(), 0);
    // Keys that are not on it need no address.
    let bad = engine.inbounds().ensure(tunnel("wg", 2, "10.1.0.0/31")).await.unwrap_err();
    assert_eq!((bad.kind(), bad.get("field")), (ErrorKind::InvalidInput, Some("addresses")));
    let only = InboundSelection::Only(vec![InboundTag::new("plain").unwrap()]);
    let patch = KeyPatch { inbounds: Some(only), ..KeyPatch::default() };
    engine.keys().update(KeyId(1), patch, None, None).await.unwrap();
    engine.inbounds().ensure(tunnel("wg", 2, "10.1.0.0/29")).await.unwrap();
    // It is full now: a key on it is refused with the inbound's name, one on the other is not.
    let full = engine.keys().create(CreateKey::named("full")).await.unwrap_err();
    assert_eq!((full.kind(), full.get("inbound")), (ErrorKind::LimitReached, Some("main/wg")));
    let other = CreateKey::named("fine").only(vec![InboundTag::new("plain").unwrap()]);
    let fine = engine.keys().create(other).await.unwrap();
    assert!(server.lets_in(fine.id, "plain"));
}

#[tokio::test]
async fn peers_are_counted_one_after_the_other() {
    let server = server("main/wg");
    let engine = over(&Arc::default(), &[&server]).await;
    engine.inbounds().ensure(tunnel("wg", 1, "10.1.0.0/24")).await.unwrap();
    let key = engine.keys().create(CreateKey::named("k")).await.unwrap();
    let used = async |engine: &Engine| {
        engine.traffic().collect().await.unwrap();
        engine.keys().require(key.id).await.unwrap().used
    };
    server.pass(key.id, Traffic { up: 10, down: 100 });
    assert_eq!(used(&engine).await, 110);
    // The peer goes and comes again: its counter begins at nothing.
    server.pass(key.id, Traffic { up: 1, down: 1 });
    engine.keys().disable(key.id).await.unwrap();
    engine.keys().enable(key.id).await.unwrap();
    server.pass(key.id, Traffic { up: 5, down: 5 });
    assert_eq!(used(&engine).await, 122);
    assert_eq!(used(&engine).await, 122);
}

#[tokio::test]
async fn a_certificate_that_goes_is_refused_by_the_server() {
    let server = server("main/ovpn");
    let store: Arc<MemoryStore> = Arc::default();
    let engine = over(&store, &[&server]).await;
    let inbound = engine.inbounds().ensure(plain("vpn", 1).certificate_lifetime(30 * DAY)).await.unwrap();
    let (kept, gone) = (CreateKey::named("kept"), CreateKey::named("gone"));
    let kept = engine.keys().create(kept).await.unwrap();
    let gone = engine.keys().create(gone).await.unwrap();
    assert_ne!(serial(&kept), serial(&gone));
    let term = kept.credentials[0].certificate.unwrap();
    assert_eq!(term.expires_at, engine.clock().now().plus(30 * DAY));
    assert!(server.lets_in(gone.id, "vpn") && server.lets_in_certificate(serial(&gone), "vpn"));
    // Disabled, its account is away; its certificate is not revoked, since it comes back.
    engine.keys().disable(gone.id).await.unwrap();
    assert!(!server.lets_in(gone.id, "vpn") && server.lets_in_certificate(serial(&gone), "vpn"));
    engine.keys().enable(gone.id).await.unwrap();
    engine.keys().delete(gone.id, None).await.unwrap();
    assert!(!server.lets_in_certificate(serial(&gone), "vpn"));
    // All who have the old profile are out.
    engine.subscriptions().revoke(kept.id, true, None).await.unwrap();
    let renewed = engine.keys().require(kept.id).await.unwrap();
    assert_ne!(serial(&renewed), serial(&kept));
    assert!(!server.lets_in_certificate(serial(&kept), "vpn"));
    assert!(server.lets_in_certificate(serial(&renewed), "vpn") && server.lets_in(kept.id, "vpn"));
    // A server that restarts is told what is refused.
    server.restart().await;
    assert!(!server.lets_in_certificate(serial(&gone), "vpn"));
    assert_eq!(engine.servers().reconcile(&id("main/ovpn")).await.unwrap(), 0);
    // Another process on the same store deletes a key.
    let other = over(&store, &[]).await;
    other.keys().delete(kept.id, None).await.unwrap();
    assert!(!server.lets_in_certificate(serial(&renewed), "vpn"));
    assert_eq!(store.revocations(&inbound.id(), engine.clock().now()).await.unwrap().len(), 3);
}

#[tokio::test]
async fn serial_numbers_differ_over_processes() {
    let server = server("main/ovpn");
    let store: Arc<MemoryStore> = Arc::default();
    let mut serials = std::collections::BTreeSet::new();
    for name in ["a", "b", "c"] {
        // Each takes numbers of its own; those that it does not use are lost.
        let engine = over(&store, &[&server]).await;
        engine.inbounds().ensure(plain("vpn", 1).certificate_lifetime(DAY)).await.unwrap();
        let keys = engine.keys().create_many(vec![CreateKey::default(); 100], None).await.unwrap();
        let named = engine.keys().create(CreateKey::named(name)).await.unwrap();
        serials.extend(keys.iter().chain([&named]).map(serial));
    }
    assert_eq!(serials.len(), 303);
}

#[tokio::test]
async fn keys_that_are_there_get_certificates_when_an_inbound_asks_for_them() {
    let server = server("main/ovpn");
    let engine = over(&Arc::default(), &[&server]).await;
    engine.inbounds().ensure(plain("vpn", 1)).await.unwrap();
    let key = engine.keys().create(CreateKey::named("k")).await.unwrap();
    engine.inbounds().ensure(plain("vpn", 1).certificate_lifetime(DAY)).await.unwrap();
    let certified = engine.keys().require(key.id).await.unwrap();
    assert!(server.lets_in(key.id, "vpn") && serial(&certified) > 0);
    // With addresses on top, the certificate is another one, and the first is revoked.
    let both = tunnel("vpn", 1, "10.1.0.0/24").certificate_lifetime(DAY);
    engine.inbounds().ensure(both).await.unwrap();
    let addressed = engine.keys().require(key.id).await.unwrap();
    assert_eq!(server.addresses(key.id, "vpn"), address("10.1.0.2"));
    assert_ne!(serial(&addressed), serial(&certified));
    assert!(!server.lets_in_certificate(serial(&certified), "vpn"));
}
