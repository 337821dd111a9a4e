//! New REALITY keys, while links with the old ones still work: on a real Xray, by clients that connect.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use testbed::{Bed, Flow, SharedBed, StandaloneXray, XrayClient, children_of, eventually, inbound};
use vpnkit::{
    Config, CreateKey, Endpoint, Inbound, KeyId, NodeId, Protocol, Security, Transport, VpnKit, XhttpMode,
};

const PATIENCE: Duration = Duration::from_secs(30);
const OWNER: &str = env!("CARGO_BIN_EXE_owner");
const MIB: usize = 1 << 20;

/// How many sockets of a process listen for old keys, as the kernel tells it.
fn hidden_sockets(pid: u32) -> usize {
    let own = |entry: std::io::Result<std::fs::DirEntry>| {
        let link = std::fs::read_link(entry.ok()?.path()).ok()?;
        Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
    };
    let own: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().filter_map(own).collect();
    let all = std::fs::read_to_string(format!("/proc/{pid}/net/unix")).unwrap();
    let listens = |line: &&str| {
        // Number, references, protocol, flags, type, state, inode, name: with this flag it listens.
        let cells: Vec<&str> = line.split_whitespace().collect();
        cells.len() == 8
            && cells[3] == "00010000"
            && (cells[7].starts_with("@vpnkit-") || cells[7].contains("/old-"))
            && own.iter().any(|inode| inode == cells[6])
    };
    all.lines().filter(listens).count()
}

async fn rotate(kit: &VpnKit, tag: &str, keep: Duration) -> Inbound {
    kit.inbounds().rotate_keys(&NodeId::main(), &tag.try_into().unwrap(), keep).await.unwrap()
}

/// A client that connects at each try with a link of its own.
async fn connects(bed: &Bed, endpoint: &Endpoint) -> bool {
    XrayClient::start(endpoint).await.tunnel.connects(&bed.site).await
}

async fn soon_connects(bed: &Bed, endpoint: &Endpoint, what: &str) {
    let client = XrayClient::start(endpoint).await;
    eventually(what, PATIENCE, async || client.tunnel.connects(&bed.site).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_links_work_until_their_time_and_not_longer() {
    let bed = Bed::open().await;
    bed.add_reality().await;
    let vless = || Protocol::Vless { vision: false };
    let xhttp = Transport::Xhttp { path: "/t".into(), host: None, mode: XhttpMode::Auto };
    let grpc = Transport::Grpc { service_name: "tunnel".into() };
    for (tag, transport) in [("xhttp", xhttp), ("grpc", grpc)] {
        let inbound = inbound(tag, vless()).transport(transport).security(bed.reality());
        bed.kit.inbounds().ensure(inbound).await.unwrap();
    }
    let trojan = inbound("trojan", Protocol::Trojan).security(bed.reality());
    bed.kit.inbounds().ensure(trojan).await.unwrap();
    let tags = ["reality", "xhttp", "grpc", "trojan"];
    let key = bed.kit.keys().create(CreateKey::named("alice")).await.unwrap().id;
    let mut old = Vec::new();
    for tag in tags {
        old.push(bed.endpoint(key, tag).await);
        rotate(&bed.kit, tag, Duration::from_secs(3_600)).await;
    }
    for (tag, old) in tags.iter().zip(&old) {
        let new = bed.endpoint(key, tag).await;
        assert_ne!(&new, old, "{tag}");
        soon_connects(&bed, old, &format!("an old link of {tag}")).await;
        soon_connects(&bed, &new, &format!("a new link of {tag}")).await;
    }
    // Both are counted for the key, exactly, and both are online from where the client is.
    let (with_old, with_new) =
        (XrayClient::start(&old[0]).await, XrayClient::start(&bed.endpoint(key, "reality").await).await);
    bed.settle_counters().await;
    let down = bed.kit.keys().require(key).await.unwrap().traffic.down;
    assert_eq!(with_old.tunnel.download(&bed.site, 3 * MIB).await.unwrap(), 3 * MIB);
    assert_eq!(with_new.tunnel.download(&bed.site, 2 * MIB).await.unwrap(), 2 * MIB);
    bed.settle_counters().await;
    let passed = bed.kit.keys().require(key).await.unwrap().traffic.down - down;
    assert!((0.98..1.02).contains(&(passed as f64 / (5 * MIB) as f64)), "{passed}");

    // A key that ends ends with both; one that comes has both.
    bed.kit.keys().disable(key).await.unwrap();
    for tag in tags {
        assert!(!connects(&bed, &bed.endpoint(key, tag).await).await, "{tag}");
    }
    assert!(!with_old.tunnel.connects(&bed.site).await && !with_new.tunnel.connects(&bed.site).await);
    bed.kit.keys().enable(key).await.unwrap();
    soon_connects(&bed, &old[0], "an old link of a key that was enabled again").await;

    // Killed, Xray comes back with both.
    let xray = || match children_of(bed.xray_directory().to_str().unwrap())[..] {
        [xray] => xray,
        ref all => panic!("one Xray: {all:?}"),
    };
    assert_eq!(hidden_sockets(xray()), tags.len());
    // Nobody else on this machine gets to them: they are told from where clients come.
    let modes = std::fs::read_dir(bed.xray_directory()).unwrap().flatten().filter_map(|entry| {
        let of_old_keys =
            entry.file_name().to_str()?.starts_with("old-") && entry.path().extension()? == "sock";
        of_old_keys.then(|| entry.metadata().unwrap().permissions().mode() & 0o777)
    });
    assert_eq!(modes.collect::<Vec<_>>(), vec![0o600; tags.len()]);
    kill(xray());
    eventually("the old link after a crash", PATIENCE, async || connects(&bed, &old[0]).await).await;
    assert_eq!(
        bed.kit.servers().reconcile(&"main/xray".parse().unwrap()).await.unwrap(),
        0,
        "nothing differs"
    );

    // The end: another rotation at once, which keeps none.
    let listening = bed.kit.inbounds().list().await.unwrap();
    for tag in tags {
        rotate(&bed.kit, tag, Duration::ZERO).await;
    }
    for (tag, old) in tags.iter().zip(&old) {
        assert!(!connects(&bed, old).await, "{tag}");
        soon_connects(&bed, &bed.endpoint(key, tag).await, &format!("the newest link of {tag}")).await;
    }
    assert_eq!(listening.len(), tags.len());
    assert_eq!(hidden_sockets(xray()), 0);
    let left: Vec<_> =
        std::fs::read_dir(bed.xray_directory()).unwrap().flatten().map(|e| e.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("old-")), "{left:?}");
    bed.kit.close().await.unwrap();
}

fn kill(pid: u32) {
    assert!(std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}

/// The time is over by itself, by a look of the background.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_of_old_links_ends_by_itself() {
    let bed = Bed::open().await;
    bed.add_reality().await;
    let key = bed.kit.keys().create(CreateKey::named("alice")).await.unwrap().id;
    let old = bed.endpoint(key, "reality").await;
    rotate(&bed.kit, "reality", Duration::from_secs(4)).await;
    soon_connects(&bed, &old, "the old link").await;
    let kept = async || {
        bed.kit.tick().await.unwrap();
        let inbounds = bed.kit.inbounds().list().await.unwrap();
        matches!(&inbounds[0].security, Security::Reality(reality) if reality.previous.is_some())
    };
    eventually("the end", PATIENCE, async || !kept().await).await;
    assert!(!connects(&bed, &old).await);
    soon_connects(&bed, &bed.endpoint(key, "reality").await, "the new link").await;
    bed.kit.close().await.unwrap();
}

/// The process that has rotated is killed, and another one takes the running Xray over: it ends keys on both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_takes_over_ends_old_links_too() {
    let bed = SharedBed::new(OWNER).await;
    let owner = bed.open().await;
    let (key, _) = bed.add(&owner, json!({ "name": "alice" })).await;
    let old = bed.client(&owner, key).await;
    owner.ok("inbounds.rotate_keys", json!({ "tag": "reality", "keep_old": "1 h" })).await;
    let new = bed.client(&owner, key).await;
    let flow = Flow::default();
    flow.fast.store(true, Ordering::Relaxed);
    let reaches = async |client: &XrayClient| {
        let come = bed.download(client, 1_000, &flow);
        matches!(tokio::time::timeout(Duration::from_secs(5), come).await, Ok(Ok(_)))
    };
    eventually("both", PATIENCE, async || reaches(&old).await && reaches(&new).await).await;
    let process = bed.process();
    owner.kill().await;
    let owner = bed.open().await;
    assert_eq!(bed.process(), process, "it was taken over");
    assert_eq!(owner.ok("servers.reconcile", json!({ "id": "main/xray" })).await, 0, "nothing differs");
    assert!(reaches(&old).await && reaches(&new).await);
    owner.ok("keys.disable", json!({ "key": key })).await;
    assert!(!reaches(&old).await && !reaches(&new).await);
    owner.ok("servers.stop", json!({ "id": "main/xray" })).await;
    owner.close().await;
}

/// An Xray that vpnkit does not run keeps what was added to it when vpnkit is opened again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attached_xray_is_told_by_the_next_process_too() {
    let bed = Bed::open().await;
    let inbound = bed.add_reality().await;
    // Only its API is used: what it was started with has another tag.
    let server = StandaloneXray::start(
        &testbed::inbound("base", Protocol::Vless { vision: true }).security(bed.reality()),
    )
    .await;
    let directory = tempfile::tempdir().unwrap();
    let config = || {
        let attached = server.attached().binary(testbed::xray_binary());
        Config::sqlite(directory.path().join("keys.db")).xray(attached)
    };
    let own = || testbed::inbound("own", Protocol::Vless { vision: true }).security(inbound.security.clone());
    let kit = VpnKit::open(config()).await.unwrap();
    kit.inbounds().ensure(own()).await.unwrap();
    let key = kit.keys().create(CreateKey::named("alice")).await.unwrap().id;
    let endpoint = async |kit: &VpnKit, key: KeyId| kit.keys().endpoints(key).await.unwrap().remove(0);
    let old = endpoint(&kit, key).await;
    rotate(&kit, "own", Duration::from_secs(3_600)).await;
    soon_connects(&bed, &old, "the old link").await;
    kit.close().await.unwrap();

    let kit = VpnKit::open(config()).await.unwrap();
    soon_connects(&bed, &old, "the old link with the next process").await;
    soon_connects(&bed, &endpoint(&kit, key).await, "the new link with the next process").await;
    kit.keys().disable(key).await.unwrap();
    assert!(!connects(&bed, &old).await);
    kit.keys().enable(key).await.unwrap();
    soon_connects(&bed, &old, "the old link of a key that was enabled again").await;
    kit.close().await.unwrap();

    // The time is over while nobody looks.
    let kit = VpnKit::open(config()).await.unwrap();
    rotate(&kit, "own", Duration::ZERO).await;
    assert!(!connects(&bed, &old).await);
    soon_connects(&bed, &endpoint(&kit, key).await, "the newest link").await;
    kit.close().await.unwrap();
    bed.kit.close().await.unwrap();
}

/// What the operator of an attached Xray has configured is not replaced: new keys are refused, and everything goes on as it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_an_attached_xray_was_configured_with_stay() {
    let bed = Bed::open().await;
    let theirs = testbed::inbound("configured", Protocol::Vless { vision: true }).security(bed.reality());
    let server = StandaloneXray::start(&theirs).await;
    let attached = server.attached().binary(testbed::xray_binary());
    let kit = VpnKit::open(Config::memory().xray(attached)).await.unwrap();
    let before = kit.inbounds().ensure(theirs.clone()).await.unwrap();
    let key = kit.keys().create(CreateKey::named("alice")).await.unwrap().id;
    let endpoint = kit.keys().endpoints(key).await.unwrap().remove(0);
    soon_connects(&bed, &endpoint, "the link").await;
    let tag = "configured".try_into().unwrap();
    for keep in [Duration::ZERO, Duration::from_secs(3_600)] {
        let refused = kit.inbounds().rotate_keys(&NodeId::main(), &tag, keep).await.unwrap_err();
        assert_eq!(refused.kind(), vpnkit::ErrorKind::Rejected, "{refused}");
        assert_eq!(kit.inbounds().get(&NodeId::main(), &tag).await.unwrap().unwrap(), before);
        assert!(connects(&bed, &endpoint).await);
    }
    // Nor is one described with other keys than that Xray has: its links would lead nowhere.
    let other = kit.inbounds().ensure(theirs.security(bed.reality())).await.unwrap_err();
    assert_eq!(other.kind(), vpnkit::ErrorKind::Rejected, "{other}");
    kit.close().await.unwrap();
    bed.kit.close().await.unwrap();
}
