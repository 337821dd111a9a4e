//! A key that may not connect does not.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking"
)]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use testbed::{Bed, Certificate, Site, StandaloneXray, XrayClient, eventually, inside, within};
use vpnkit::{
    ByteSize, Clock as _, Config, CreateKey, Cursor, EventKind, Inbound, KeyId, KeyPatch, KeyStatus, Patch,
    Protocol, RealityKeys, Security, SystemClock, VpnKit,
};

const PATIENCE: Duration = Duration::from_secs(30);

async fn status(kit: &VpnKit, key: KeyId) -> KeyStatus {
    kit.keys().require(key).await.unwrap().status
}

/// When a change returns, servers have it: so the very next connection decides, and no clock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_or_deleted_key_makes_no_new_connection_and_an_enabled_one_does() {
    let bed = Bed::open().await;
    bed.add_reality().await;
    let key = bed.kit.keys().create(CreateKey::named("alice")).await.unwrap();
    let neighbour = bed.kit.keys().create(CreateKey::named("bob")).await.unwrap();
    let client = bed.client(key.id, "reality").await;
    let next_door = bed.client(neighbour.id, "reality").await;
    assert!(client.tunnel.connects(&bed.site).await);

    bed.kit.keys().disable(key.id).await.unwrap();
    assert!(!client.tunnel.connects(&bed.site).await);
    bed.kit.keys().enable(key.id).await.unwrap();
    assert!(client.tunnel.connects(&bed.site).await);
    bed.kit.keys().delete(key.id, None).await.unwrap();
    assert!(!client.tunnel.connects(&bed.site).await);

    assert!(next_door.tunnel.connects(&bed.site).await);
    let health = bed.kit.servers().status().await.unwrap().remove(0);
    assert_eq!(health.lifetime, Some(1), "Xray was not restarted");
    bed.kit.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_over_its_limit_makes_no_new_connection_until_the_limit_is_raised() {
    let bed = Bed::open().await;
    bed.add_reality().await;
    let key = bed.kit.keys().create(CreateKey::named("alice").data_limit(ByteSize::mib(1))).await.unwrap();
    let client = bed.client(key.id, "reality").await;
    client.tunnel.download(&bed.site, 2 << 20).await.unwrap();
    let took = eventually("the limit ends the key", PATIENCE, async || {
        status(&bed.kit, key.id).await == KeyStatus::Limited && !client.tunnel.connects(&bed.site).await
    })
    .await;
    println!("limited {took:?} after the download ended");
    let raise = KeyPatch { data_limit: Patch::Set(ByteSize::mib(10)), ..KeyPatch::default() };
    let key = bed.kit.keys().update(key.id, raise, None, None).await.unwrap();
    assert_eq!(key.status, KeyStatus::Active);
    assert!(client.tunnel.connects(&bed.site).await);
    bed.kit.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_over_its_time_makes_no_new_connection() {
    let bed = Bed::open().await;
    bed.add_reality().await;
    let key = bed.kit.keys().create(CreateKey::named("alice")).await.unwrap();
    let client = bed.client(key.id, "reality").await;
    assert!(client.tunnel.connects(&bed.site).await);
    let soon = SystemClock.now().plus(Duration::from_secs(2));
    let patch = KeyPatch { expires_at: Patch::Set(soon), ..KeyPatch::default() };
    assert_eq!(bed.kit.keys().update(key.id, patch, None, None).await.unwrap().status, KeyStatus::Active);
    let mut events = bed.kit.events().stream(Cursor::START);
    within("the event", PATIENCE, async {
        while events.next().await.unwrap().unwrap().kind != EventKind::KeyExpired {}
    })
    .await;
    let took = eventually("it is refused", PATIENCE, async || !client.tunnel.connects(&bed.site).await).await;
    println!("refused {took:?} after the event");
    let forever = KeyPatch { expires_at: Patch::Clear, ..KeyPatch::default() };
    bed.kit.keys().update(key.id, forever, None, None).await.unwrap();
    assert!(client.tunnel.connects(&bed.site).await);
    bed.kit.close().await.unwrap();
}

/// Without the right to close connections the setting is refused by nobody and holds nothing: the capability says so.
#[test]
fn without_the_right_to_cut_the_capability_is_off() {
    if !testbed::is_root("without_the_right_to_cut_the_capability_is_off") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let owner = |program: &str, arguments: &[&str]| {
        let output = Command::new(program)
            .args(arguments)
            .arg(env!("CARGO_BIN_EXE_owner"))
            .args(["capabilities".as_ref(), directory.path()])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(owner("env", &[]), "cut_live=true\n");
    assert_eq!(owner("setpriv", &["--bounding-set=-net_admin", "--inh-caps=-net_admin"]), "cut_live=false\n");
}

/// A TLS download through vision, each client in a network namespace of its own; needs root.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_is_cut_at_the_limit_and_the_neighbours_goes_on() {
    let Some(namespaces) = inside("a_download_is_cut_at_the_limit_and_the_neighbours_goes_on") else {
        return;
    };
    let bed = Bed::open_with(|xray| xray.live_accounting(true).cut_connections(true), 10).await;
    bed.kit.inbounds().ensure(open_reality(bed.reality())).await.unwrap();
    limited_beside_unlimited(&bed.kit, &bed.certificate, &namespaces).await;
    bed.kit.close().await.unwrap();
}

/// The same with an Xray that vpnkit does not run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_through_an_attached_xray_is_cut_too() {
    let Some(namespaces) = inside("a_download_through_an_attached_xray_is_cut_too") else { return };
    let certificate = Certificate::new("site.test");
    let destination = Site::destination(&certificate).await;
    let reality = RealityKeys::generate().reality(destination.address.to_string(), "site.test");
    let inbound = open_reality(Security::Reality(reality));
    let server = StandaloneXray::start(&inbound).await;
    let attached = server.attached().live_accounting(true).cut_connections(true);
    let kit = VpnKit::open(Config::memory().xray(attached).collect_every(std::time::Duration::from_secs(1)))
        .await
        .unwrap();
    kit.inbounds().ensure(inbound).await.unwrap();
    limited_beside_unlimited(&kit, &certificate, &namespaces).await;
    kit.close().await.unwrap();
}

/// A vpnkit that removed an account ends before it has cut: the next one does, on an Xray that ran on meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_earlier_process_did_not_cut_is_cut_by_the_next_one() {
    let name = "what_an_earlier_process_did_not_cut_is_cut_by_the_next_one";
    let Some(namespaces) = inside(name) else { return };
    let certificate = Certificate::new("site.test");
    let destination = Site::destination(&certificate).await;
    let reality = RealityKeys::generate().reality(destination.address.to_string(), "site.test");
    let inbound = open_reality(Security::Reality(reality));
    let server = StandaloneXray::start(&inbound).await;
    let directory = tempfile::tempdir().unwrap();
    let open = async |cut: bool| {
        let xray = server.attached().live_accounting(true).cut_connections(cut);
        VpnKit::open(Config::sqlite(directory.path().join("keys.db")).xray(xray)).await.unwrap()
    };
    let kit = open(false).await;
    kit.inbounds().ensure(inbound).await.unwrap();
    let site = Site::tls(&certificate).await;
    let [ended, goes_on] = ["ended", "goes-on"].map(CreateKey::named);
    let (ended, goes_on) =
        (kit.keys().create(ended).await.unwrap().id, kit.keys().create(goes_on).await.unwrap().id);
    let (mut first, _one) = download(&kit, ended, &namespaces, 0, &site).await;
    let (mut second, _two) = download(&kit, goes_on, &namespaces, 1, &site).await;
    eventually("both are online", PATIENCE, async || kit.traffic().online().await.unwrap().len() == 2).await;
    // Without the right to cut, as if the process had died between the two.
    kit.keys().disable(ended).await.unwrap();
    kit.close().await.unwrap();
    assert!(first.try_wait().unwrap().is_none());
    let kit = open(true).await;
    eventually("it is cut", PATIENCE, async || first.try_wait().unwrap().is_some()).await;
    assert!(second.try_wait().unwrap().is_none());
    second.kill().unwrap();
    second.wait().unwrap();
    kit.close().await.unwrap();
}

/// A customer who writes somebody else's address into a header is not taken for being there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_forwarded_address_is_not_believed() {
    let bed = Bed::open().await;
    let transports = [
        vpnkit::Transport::WebSocket { path: "/ws".into(), host: None },
        vpnkit::Transport::HttpUpgrade { path: "/up".into(), host: None },
        vpnkit::Transport::Xhttp { path: "/x".into(), host: None, mode: vpnkit::XhttpMode::PacketUp },
    ];
    let key = bed.kit.keys().create(CreateKey::named("alice")).await.unwrap().id;
    for (i, transport) in transports.into_iter().enumerate() {
        let tag = format!("t{i}");
        let inbound = testbed::inbound(&tag, Protocol::Vless { vision: false }).transport(transport);
        bed.kit.inbounds().ensure(inbound).await.unwrap();
        let endpoint = bed.endpoint(key, &tag).await;
        let [port] = testbed::free_ports();
        let mut config = vpnkit::subscription::xray_json::client(&endpoint, port);
        let stream = &mut config["outbounds"][0]["streamSettings"];
        for settings in ["wsSettings", "httpupgradeSettings", "xhttpSettings"] {
            if stream[settings].is_object() {
                stream[settings]["headers"] = serde_json::json!({ "X-Forwarded-For": "198.51.100.9" });
            }
        }
        let client = XrayClient::xray(&config, port).await;
        assert!(client.tunnel.connects(&bed.site).await, "{tag}");
        let held = tokio::net::TcpStream::connect(client.tunnel.proxy).await.unwrap();
        client.tunnel.download(&bed.site, 1 << 20).await.unwrap();
        let online = bed.kit.traffic().online().await.unwrap();
        let forged =
            online.iter().flat_map(|key| &key.addresses).any(|one| one.address.to_string() == "198.51.100.9");
        assert!(!forged, "{tag}: {online:?}");
        drop(held);
    }
    bed.kit.close().await.unwrap();
}

/// On every address of the server's namespace.
fn open_reality(security: Security) -> Inbound {
    testbed::inbound("reality", Protocol::Vless { vision: true })
        .security(security)
        .listen("0.0.0.0".parse().unwrap())
}

async fn limited_beside_unlimited(kit: &VpnKit, certificate: &Certificate, namespaces: &[String; 2]) {
    let capabilities = kit.servers().status().await.unwrap()[0].capabilities;
    assert!(capabilities.cut_live && capabilities.live_counters);
    let site = Site::tls(certificate).await;
    let limit = ByteSize::mib(40);
    let limited = kit.keys().create(CreateKey::named("alice").data_limit(limit)).await.unwrap();
    let neighbour = kit.keys().create(CreateKey::named("bob")).await.unwrap();

    let (limited_download, _limited) = download(kit, limited.id, namespaces, 0, &site).await;
    let (neighbours_download, _neighbour) = download(kit, neighbour.id, namespaces, 1, &site).await;
    let mut downloads = vec![limited_download, neighbours_download];
    eventually("both are online, each from its own address", PATIENCE, async || {
        let online = kit.traffic().online().await.unwrap();
        let from: Vec<String> =
            online.iter().flat_map(|k| &k.addresses).map(|online| online.address.to_string()).collect();
        from == ["10.99.1.2", "10.99.2.2"]
    })
    .await;
    let start = Instant::now();
    eventually("the limit cuts the download", PATIENCE, async || downloads[0].try_wait().unwrap().is_some())
        .await;
    let ended = start.elapsed();
    let output = downloads.remove(0).wait_with_output().unwrap();
    let got: u64 = String::from_utf8(output.stdout).unwrap().parse().unwrap();
    assert!(!output.status.success(), "curl saw its connection die");
    assert_eq!(status(kit, limited.id).await, KeyStatus::Limited);
    let overrun = ByteSize::from_bytes(got.saturating_sub(limit.bytes()));
    println!("cut {ended:?} after both were online; limit {limit}, overrun {overrun}");

    let mut next_door = downloads.remove(0);
    let before = kit.keys().require(neighbour.id).await.unwrap().used;
    eventually("the neighbour's download goes on", PATIENCE, async || {
        kit.keys().require(neighbour.id).await.unwrap().used > before + (10 << 20)
    })
    .await;
    assert!(next_door.try_wait().unwrap().is_none());
    next_door.kill().unwrap();
    next_door.wait().unwrap();
}

/// Downloads without end through a client in the namespace of this number; says how many bytes came once it ends.
async fn download(
    kit: &VpnKit,
    key: KeyId,
    namespaces: &[String; 2],
    number: usize,
    site: &Site,
) -> (std::process::Child, XrayClient) {
    let mut endpoint = kit.keys().endpoints(key).await.unwrap().remove(0);
    endpoint.address = format!("10.99.{}.1", number + 1);
    let namespace = &namespaces[number];
    let client = XrayClient::start_in(&endpoint, Some(namespace)).await;
    // The SOCKS port is in the namespace, so the downloader is too.
    let proxy = format!("socks5://{}", client.tunnel.proxy);
    let url = format!("https://{}/endless", site.address);
    let curl = [
        "curl",
        "-sk",
        "--retry",
        "20",
        "--retry-connrefused",
        "--retry-delay",
        "1",
        "--connect-timeout",
        "7",
    ];
    let download = Command::new("ip")
        .args(["netns", "exec", namespace])
        .args(curl)
        .args(["--proxy", &proxy, "-o", "/dev/null", "-w", "%{size_download}", &url])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    (download, client)
}
