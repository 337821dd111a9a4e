//! Links that were replaced, and keys that are used at too many addresses, at a real Xray.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking"
)]

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use testbed::{Bed, Site, XrayClient, eventually, inside, xray_binary};
use vpnkit::{
    Config, CreateKey, Cursor, Egress, EventKind, KeyStatus, Protocol, SharingAction, SharingPolicy, VpnKit,
    XrayConfig,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// Both work until the time is over; then the old one is out, within two seconds, and the new one goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_links_work_for_their_time_beside_the_new_ones() {
    let bed = Bed::open().await;
    bed.add_reality().await;
    for (tag, protocol) in [("vmess", Protocol::Vmess), ("trojan", Protocol::Trojan)] {
        bed.kit.inbounds().ensure(testbed::inbound(tag, protocol)).await.unwrap();
    }
    let key = bed.kit.keys().create(CreateKey::named("alice")).await.unwrap().id;
    let tags = ["reality", "vmess", "trojan"];
    let mut old = Vec::new();
    for tag in tags {
        old.push(bed.client(key, tag).await);
    }
    let keep = Duration::from_secs(6);
    bed.kit.subscriptions().revoke(key, true, Some(keep)).await.unwrap();
    let mut new = Vec::new();
    for (tag, client) in tags.iter().zip(&old) {
        new.push(bed.client(key, tag).await);
        assert!(client.tunnel.connects(&bed.site).await, "the old link of {tag}");
        assert!(new.last().unwrap().tunnel.connects(&bed.site).await, "the new link of {tag}");
    }
    eventually("the old links end", PATIENCE, async || {
        bed.kit.keys().require(key).await.unwrap().old_links_until.is_none()
    })
    .await;
    // A VMess server does not refuse: it lets who is not known wait.
    for (tag, client) in tags.iter().zip(&old).filter(|(tag, _)| **tag != "vmess") {
        let took =
            eventually("it is refused", PATIENCE, async || !client.tunnel.connects(&bed.site).await).await;
        println!("{tag}: refused {took:?} after the store had it");
    }
    for client in &new {
        assert!(client.tunnel.connects(&bed.site).await);
    }
    // Both have counted for the one key.
    let before = bed.kit.keys().require(key).await.unwrap().traffic.total();
    new[0].tunnel.download(&bed.site, 1 << 20).await.unwrap();
    bed.settle_counters().await;
    assert!(bed.kit.keys().require(key).await.unwrap().traffic.total() >= before + (1 << 20));
    // At once.
    bed.kit.subscriptions().revoke(key, true, None).await.unwrap();
    assert!(!new[0].tunnel.connects(&bed.site).await);
    assert!(!new[2].tunnel.connects(&bed.site).await);
    assert!(bed.client(key, "reality").await.tunnel.connects(&bed.site).await);
    let health = bed.kit.servers().status().await.unwrap().remove(0);
    assert_eq!(health.lifetime, Some(1), "Xray was not restarted");
    bed.kit.close().await.unwrap();
}

/// A kit whose customers come from the namespaces.
async fn open(bed: &Bed, sharing: SharingPolicy) -> VpnKit {
    let sites = ["127.0.0.1", "10.99.0.0/16"].map(|range| range.parse().unwrap());
    let xray = XrayConfig::managed("127.0.0.1", bed.directory.path().join("shared"))
        .binary(xray_binary())
        .cut_connections(true)
        .egress(Egress::allowing(sites));
    let store = bed.directory.path().join("shared.db");
    let mut config = Config::sqlite(store).xray(xray).collect_every(Duration::from_secs(1));
    config.sharing = sharing;
    let kit = VpnKit::open(config).await.unwrap();
    let inbound = testbed::inbound("reality", Protocol::Vless { vision: true })
        .security(bed.reality())
        .listen("0.0.0.0".parse().unwrap());
    kit.inbounds().ensure(inbound).await.unwrap();
    kit
}

/// Downloads without end through a client in a namespace.
async fn download(
    kit: &VpnKit,
    key: &str,
    namespaces: &[String; 2],
    number: usize,
    site: &Site,
) -> (Child, XrayClient) {
    let mut endpoint = kit.keys().endpoints(key).await.unwrap().remove(0);
    endpoint.address = format!("10.99.{}.1", number + 1);
    let client = XrayClient::start_in(&endpoint, Some(&namespaces[number])).await;
    let proxy = format!("socks5://{}", client.tunnel.proxy);
    let url = format!("https://{}/endless", site.address);
    let tries = ["--retry", "20", "--retry-connrefused", "--retry-delay", "1", "--connect-timeout", "7"];
    let download = Command::new("ip")
        .args(["netns", "exec", &namespaces[number], "curl", "-sk"])
        .args(tries)
        .args(["--proxy", &proxy, "-o", "/dev/null", &url])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    (download, client)
}

/// Needs root.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_two_use_at_once_is_locked_and_its_connections_end() {
    let Some(namespaces) = inside("a_key_that_two_use_at_once_is_locked_and_its_connections_end") else {
        return;
    };
    let bed = Bed::open().await;
    let sharing = SharingPolicy {
        action: SharingAction::Lock,
        lock_for: Duration::from_secs(4),
        check_every: Duration::from_secs(1),
        checks: 2,
    };
    let kit = open(&bed, sharing).await;
    let site = Site::tls(&bed.certificate).await;
    let request = CreateKey { address_limit: Some(1), ..CreateKey::named("shared") };
    kit.keys().create(request).await.unwrap();
    let (mut first, one) = download(&kit, "shared", &namespaces, 0, &site).await;
    eventually("one is online", PATIENCE, async || {
        kit.traffic().online_key("shared").await.unwrap().is_some_and(|online| online.addresses.len() == 1)
    })
    .await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(first.try_wait().unwrap().is_none(), "one alone goes on");
    let (mut second, two) = download(&kit, "shared", &namespaces, 1, &site).await;
    eventually("both are cut", PATIENCE, async || {
        first.try_wait().unwrap().is_some() && second.try_wait().unwrap().is_some()
    })
    .await;
    let told = async |kind: EventKind| {
        let events = kit.events().read(Cursor::START, 1_000).await.unwrap().events;
        events.into_iter().filter(|event| event.kind == kind).collect::<Vec<_>>()
    };
    let over = told(EventKind::KeyAddressLimit).await;
    assert!(over[0].detail.starts_with("2 addresses at once, 1 allowed, locked until "), "{over:?}");
    assert_eq!(told(EventKind::KeyLocked).await.len(), 1);
    // It opens again by itself.
    eventually("it may connect again", PATIENCE, async || {
        kit.keys().require("shared").await.unwrap().status == KeyStatus::Active
    })
    .await;
    drop((one, two));
    let (mut again, _client) = download(&kit, "shared", &namespaces, 0, &site).await;
    eventually("it connects", PATIENCE, async || kit.traffic().online_key("shared").await.unwrap().is_some())
        .await;
    assert!(again.try_wait().unwrap().is_none());
    again.kill().unwrap();
    again.wait().unwrap();
    kit.close().await.unwrap();
    bed.kit.close().await.unwrap();
}

/// A download over the old link ends with it; that over the new one goes on after it has connected again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_over_a_link_that_was_revoked_ends() {
    let Some(namespaces) = inside("a_connection_over_a_link_that_was_revoked_ends") else { return };
    let bed = Bed::open().await;
    let kit = open(&bed, SharingPolicy::default()).await;
    let site = Site::tls(&bed.certificate).await;
    kit.keys().create(CreateKey::named("leaked")).await.unwrap();
    kit.keys().create(CreateKey::named("neighbour")).await.unwrap();
    let (mut thief, _one) = download(&kit, "leaked", &namespaces, 0, &site).await;
    let (mut neighbour, _two) = download(&kit, "neighbour", &namespaces, 1, &site).await;
    eventually("both are online", PATIENCE, async || kit.traffic().online().await.unwrap().len() == 2).await;
    kit.subscriptions().revoke("leaked", true, None).await.unwrap();
    eventually("it is cut", PATIENCE, async || thief.try_wait().unwrap().is_some()).await;
    assert!(neighbour.try_wait().unwrap().is_none());
    neighbour.kill().unwrap();
    neighbour.wait().unwrap();
    kit.close().await.unwrap();
    bed.kit.close().await.unwrap();
}
