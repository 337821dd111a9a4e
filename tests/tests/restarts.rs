//! Xray dies, and nothing is lost.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking"
)]

use std::time::Duration;

use testbed::{Bed, Site, StandaloneXray, XrayClient, children_of, eventually, inbound, standalone};
use vpnkit::ServerCondition;
use vpnkit::{
    Config, CreateKey, Cursor, EventKind, KeyPatch, NodeId, Patch, Protocol, RealityKeys, Security, ServerId,
    VpnKit, XrayConfig,
};

const PATIENCE: Duration = Duration::from_secs(40);
const MIB: usize = 1 << 20;

fn xray() -> ServerId {
    ServerId::new(&NodeId::main(), "xray")
}

async fn lifetime(kit: &VpnKit) -> Option<u64> {
    kit.servers().status().await.unwrap().remove(0).lifetime
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_xray_comes_back_with_its_thousand_keys_and_totals_stand() {
    let bed = Bed::open().await;
    bed.add_reality().await;
    let requests = (0..1000).map(|i| CreateKey::named(format!("k{i}"))).collect();
    let keys = bed.kit.keys().create_many(requests, None).await.unwrap();
    let key = keys[500].id;
    let client = bed.client(key, "reality").await;
    client.tunnel.download(&bed.site, MIB).await.unwrap();
    bed.settle_counters().await;
    let before = bed.kit.keys().require(key).await.unwrap().traffic;

    let socket = bed.xray_directory().join("api.sock");
    let config = bed.xray_directory().join("config.json");
    for restart in 1..=2 {
        for pid in children_of(config.to_str().unwrap()) {
            assert!(
                std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success()
            );
        }
        eventually("Xray is back", PATIENCE, async || lifetime(&bed.kit).await == Some(1 + restart)).await;
        let api = format!("unix://{}", socket.display());
        assert_eq!(standalone::user_count(&api, "reality").await, 1000);
        assert_eq!(bed.kit.servers().reconcile(&xray()).await.unwrap(), 0, "nothing differs");
        bed.settle_counters().await;
        assert_eq!(bed.kit.keys().require(key).await.unwrap().traffic, before);
    }

    eventually("the old client connects again", PATIENCE, async || client.tunnel.connects(&bed.site).await)
        .await;
    client.tunnel.download(&bed.site, MIB).await.unwrap();
    bed.settle_counters().await;
    let more = bed.kit.keys().require(key).await.unwrap().traffic.down - before.down;
    assert!((MIB as u64..2 * MIB as u64).contains(&more), "{more}");
    let events = bed.kit.events().read(Cursor::START, 10_000).await.unwrap().events;
    assert!(events.iter().any(|e| e.kind == EventKind::ServerDown));
    bed.kit.close().await.unwrap();
}

/// One process runs an Xray, another one is attached to it under the same id: each reads it, and a byte is counted once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_xray_that_two_processes_read_is_counted_once() {
    let bed = Bed::open_with(|xray| xray, 3_600).await;
    bed.add_reality().await;
    let key = bed.kit.keys().create(CreateKey::named("k")).await.unwrap().id;
    let api = format!("unix://{}", bed.xray_directory().join("api.sock").display());
    let config = Config::sqlite(bed.directory.path().join("keys.db"))
        .xray(XrayConfig::attached("127.0.0.1", api))
        .collect_every(Duration::from_secs(3_600));
    let other = VpnKit::open(config).await.unwrap();
    let client = bed.client(key, "reality").await;
    for _ in 0..4 {
        client.tunnel.download(&bed.site, MIB).await.unwrap();
        other.tick().await.unwrap();
        bed.kit.tick().await.unwrap();
    }
    bed.settle_counters().await;
    let mut before = 0;
    for kit in [&other, &bed.kit, &other] {
        kit.tick().await.unwrap();
        let traffic = kit.keys().require(key).await.unwrap().traffic;
        assert!((4 * MIB as u64..5 * MIB as u64).contains(&traffic.down), "{traffic:?}");
        assert!(before == 0 || before == traffic.total());
        before = traffic.total();
    }
    other.close().await.unwrap();
    bed.kit.close().await.unwrap();
}

/// An attached Xray, with users and an inbound that are not vpnkit's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_done_while_an_attached_xray_was_down_is_right_when_it_returns() {
    testbed::log();
    let directory = tempfile::tempdir().unwrap();
    let certificate = testbed::Certificate::new("site.test");
    let (destination, site) = (Site::destination(&certificate).await, Site::plain().await);
    let reality = RealityKeys::generate().reality(destination.address.to_string(), "site.test");
    let inbound = inbound("reality", Protocol::Vless { vision: true }).security(Security::Reality(reality));
    let mut server = StandaloneXray::start(&inbound).await;
    let attached = server.attached();
    let config = || {
        Config::sqlite(directory.path().join("keys.db"))
            .xray(attached.clone())
            .collect_every(std::time::Duration::from_secs(1))
    };
    let kit = VpnKit::open(config()).await.unwrap();
    kit.inbounds().ensure(inbound.clone()).await.unwrap();
    let [stays, changes, goes] = ["stays", "changes", "goes"].map(CreateKey::named);
    let stays = kit.keys().create(stays).await.unwrap();
    let changes = kit.keys().create(changes).await.unwrap();
    let goes = kit.keys().create(goes).await.unwrap();
    let client = async |key| XrayClient::start(&kit.keys().endpoints(key).await.unwrap()[0]).await;
    let (staying, changing, going) =
        (client(stays.id).await, client(changes.id).await, client(goes.id).await);
    for client in [&staying, &changing, &going] {
        assert!(client.tunnel.connects(&site).await);
    }
    assert_eq!(standalone::user_count(&server.api, "reality").await, 4, "theirs is still there");

    server.kill().await;
    eventually("it is seen to be down", PATIENCE, async || lifetime(&kit).await.is_none()).await;
    let new = kit.keys().create(CreateKey::named("new")).await.unwrap();
    kit.keys().delete(goes.id, None).await.unwrap();
    let rotated = vpnkit::Credential::generate(vpnkit::CredentialKind::Vless);
    let patch = KeyPatch { credentials: vec![rotated], note: Patch::Set("n".into()), ..KeyPatch::default() };
    kit.keys().update(changes.id, patch, None, None).await.unwrap();
    let fresh = [client(new.id).await, client(changes.id).await];

    server.restart().await;
    eventually("it is seen to be back", PATIENCE, async || lifetime(&kit).await == Some(2)).await;
    eventually("all are installed", PATIENCE, async || {
        standalone::user_count(&server.api, "reality").await == 4
    })
    .await;
    for client in [&staying, &fresh[0], &fresh[1]] {
        assert!(client.tunnel.connects(&site).await);
    }
    for client in [&changing, &going] {
        assert!(!client.tunnel.connects(&site).await);
    }
    assert_eq!(
        kit.servers().reconcile(&xray()).await.unwrap(),
        0,
        "nothing differs, and theirs is no difference"
    );

    // vpnkit itself is restarted: the same Xray goes on counting, and what passed meanwhile is counted once.
    let used = async |kit: &VpnKit| {
        tokio::time::sleep(Duration::from_millis(500)).await;
        kit.tick().await.unwrap();
        let keys = kit.keys().find(vpnkit::KeyQuery::default()).await.unwrap().keys;
        keys.into_iter().map(|k| (k.id, k.traffic)).collect::<Vec<_>>()
    };
    let before = used(&kit).await;
    kit.close().await.unwrap();
    staying.tunnel.download(&site, MIB).await.unwrap();
    let kit = VpnKit::open(config()).await.unwrap();
    let after = used(&kit).await;
    let grown: u64 =
        after.iter().map(|(_, t)| t.down).sum::<u64>() - before.iter().map(|(_, t)| t.down).sum::<u64>();
    assert!((MIB as u64..MIB as u64 * 102 / 100).contains(&grown), "{grown}");
    // What was counted in both lifetimes of Xray together: its second one's counters, and the bytes before.
    let theirs = server.counters().await;
    let (_, traffic) = after.iter().find(|(key, _)| *key == new.id).unwrap();
    assert_eq!((traffic.up, traffic.down), standalone::of_key(&theirs, new.id));
    kit.close().await.unwrap();
    assert_eq!(standalone::user_count(&server.api, "reality").await, 4, "an attached Xray is left as it is");
}

/// Two stores on one Xray: each has a key 1, and neither takes the other's account for its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_on_one_xray_leave_each_others_accounts_alone() {
    testbed::log();
    let certificate = testbed::Certificate::new("site.test");
    let (destination, site) = (Site::destination(&certificate).await, Site::plain().await);
    let reality = RealityKeys::generate().reality(destination.address.to_string(), "site.test");
    let inbound = inbound("reality", Protocol::Vless { vision: true }).security(Security::Reality(reality));
    let server = StandaloneXray::start(&inbound).await;
    let mut kits = Vec::new();
    for _ in 0..2 {
        let kit = VpnKit::open(Config::memory().xray(server.attached())).await.unwrap();
        kit.inbounds().ensure(inbound.clone()).await.unwrap();
        let key = kit.keys().create(CreateKey::named("alice")).await.unwrap();
        assert_eq!(key.id.0, 1);
        let client = XrayClient::start(&kit.keys().endpoints(key.id).await.unwrap()[0]).await;
        kits.push((kit, client));
    }
    for (kit, client) in &kits {
        assert_eq!(kit.servers().reconcile(&xray()).await.unwrap(), 0);
        assert!(client.tunnel.connects(&site).await);
    }
    assert_eq!(standalone::user_count(&server.api, "reality").await, 3, "and theirs");
    let (first, second) = (&kits[0], &kits[1]);
    first.1.tunnel.download(&site, MIB).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    for (kit, _) in &kits {
        kit.tick().await.unwrap();
    }
    let down = async |kit: &VpnKit| kit.keys().require("alice").await.unwrap().traffic.down;
    assert!(down(&first.0).await >= MIB as u64 && down(&second.0).await < MIB as u64 / 10);
    first.0.keys().delete("alice", None).await.unwrap();
    assert!(!first.1.tunnel.connects(&site).await && second.1.tunnel.connects(&site).await);
    for (kit, _) in kits {
        kit.close().await.unwrap();
    }
}

/// Nobody answers at the address: that delays, and is told, and is no failure to open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attached_xray_that_is_down_at_the_start_is_found_later() {
    testbed::log();
    let certificate = testbed::Certificate::new("site.test");
    let destination = Site::destination(&certificate).await;
    let reality = RealityKeys::generate().reality(destination.address.to_string(), "site.test");
    let inbound = inbound("reality", Protocol::Vless { vision: true }).security(Security::Reality(reality));
    let mut server = StandaloneXray::start(&inbound).await;
    server.kill().await;
    let kit = VpnKit::open(Config::memory().xray(server.attached())).await.unwrap();
    let status = kit.servers().status().await.unwrap().remove(0);
    assert_eq!(status.state, ServerCondition::Down, "{status:?}");
    let error = kit.servers().reconcile(&xray()).await.unwrap_err();
    assert_eq!(error.kind(), vpnkit::ErrorKind::Unavailable);
    assert!(error.is_temporary());
    kit.inbounds().ensure(inbound).await.unwrap();
    kit.keys().create(CreateKey::named("early")).await.unwrap();
    server.restart().await;
    eventually("the key is installed", PATIENCE, async || {
        standalone::user_count(&server.api, "reality").await == 2
    })
    .await;
    kit.close().await.unwrap();
}
