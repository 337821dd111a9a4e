//! Whatever is wrong gets an error of its own kind, and nothing is half done.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking"
)]

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use testbed::{Bed, children_of, free_ports, inbound, xray_binary};
use vpnkit::{
    Config, CreateKey, ErrorKind, EventKind, Inbound, InboundTag, KeyPatch, NodeId, Patch, Protocol, Secret,
    Security, ServerCondition, ShadowsocksMethod, Transport, VpnKit, XrayConfig,
};

fn config(directory: &Path) -> Config {
    let xray = XrayConfig::managed("127.0.0.1", directory.join("xray")).binary(xray_binary());
    Config::sqlite(directory.join("keys.db")).xray(xray)
}

fn script(directory: &Path, text: &str) -> std::path::PathBuf {
    let path = directory.join("xray.sh");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Why the only server of a kit that opens does not start.
async fn refusal(config: Config) -> String {
    let kit = VpnKit::open(config).await.unwrap();
    let reason = reason(&kit).await;
    kit.close().await.unwrap();
    reason
}

async fn reason(kit: &VpnKit) -> String {
    let [server] = &kit.servers().status().await.unwrap()[..] else { panic!("one server") };
    assert_eq!(server.state, ServerCondition::Down);
    server.reason.clone().unwrap()
}

/// The inbounds that the only server refuses.
async fn aside(kit: &VpnKit) -> Vec<String> {
    let [server] = &kit.servers().status().await.unwrap()[..] else { panic!("one server") };
    assert_eq!(server.state, ServerCondition::Up);
    server.set_aside.keys().map(ToString::to_string).collect()
}

async fn comes_up(kit: &VpnKit) {
    for _ in 0..300 {
        if kit.servers().status().await.unwrap()[0].state == ServerCondition::Up {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it is not tried again: {}", reason(kit).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_that_are_missing_too_old_or_not_xray_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let with = |binary: &Path| {
        Config::sqlite(place.join("keys.db"))
            .xray(XrayConfig::managed("127.0.0.1", place.join("x")).binary(binary))
    };
    let missing = refusal(with(Path::new("/nowhere/xray"))).await;
    assert!(missing.contains("binary=/nowhere/xray"), "{missing}");
    let old = refusal(with(&script(place, "echo 'Xray 1.8.4 (Xray, Penetrates Everything.)'"))).await;
    assert!(old.contains("version=1.8.4"), "{old}");
    let other = refusal(with(&script(place, "echo 'V2Ray 4.34.0'"))).await;
    assert!(other.contains("is not Xray"), "{other}");
    let plain = place.join("plain");
    std::fs::write(&plain, "").unwrap();
    let plain = refusal(with(&plain)).await;
    assert!(plain.contains("plain"), "{plain}");
    // The store was released each time.
    VpnKit::open(Config::sqlite(place.join("keys.db"))).await.unwrap().close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_is_told_when_an_inbound_is_added_and_when_xray_starts() {
    let bed = Bed::open().await;
    let [port] = free_ports();
    let squatter = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let taken = Inbound { port, ..inbound("taken", Protocol::Vmess) };
    let error = bed.kit.inbounds().ensure(taken.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PortInUse, "{error:?}");
    assert_eq!(bed.kit.inbounds().list().await.unwrap(), [], "nothing is half done");
    drop(squatter);
    bed.kit.inbounds().ensure(taken.clone()).await.unwrap();
    // A change to a port in use leaves the old one as it was.
    let [other] = free_ports();
    let squatter = TcpListener::bind(("127.0.0.1", other)).unwrap();
    let moved = Inbound { port: other, ..taken.clone() };
    assert_eq!(bed.kit.inbounds().ensure(moved).await.unwrap_err().kind(), ErrorKind::PortInUse);
    assert_eq!(bed.kit.inbounds().list().await.unwrap(), std::slice::from_ref(&taken));
    drop(squatter);
    bed.kit.close().await.unwrap();

    // At a start it is set aside, told once, and tried again; its neighbour serves.
    let squatter = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let kit = VpnKit::open(config(bed.directory.path())).await.unwrap();
    let before = kit.events().newest().await.unwrap();
    let fine = inbound("fine", Protocol::Vmess);
    kit.inbounds().ensure(fine.clone()).await.unwrap();
    kit.keys().create(CreateKey::named("early")).await.unwrap();
    testbed::eventually("the inbound is set aside", Duration::from_secs(60), async || {
        aside(&kit).await == ["taken"]
    })
    .await;
    assert!(TcpListener::bind(("127.0.0.1", fine.port)).is_err(), "the other inbound listens");
    drop(squatter);
    testbed::eventually("the inbound is tried again", Duration::from_secs(60), async || {
        aside(&kit).await.is_empty()
    })
    .await;
    testbed::eventually("it listens", Duration::from_secs(60), async || {
        TcpListener::bind(("127.0.0.1", port)).is_err()
    })
    .await;
    let events = kit.events().read(before, 1_000).await.unwrap().events;
    assert_eq!(events.iter().filter(|event| event.kind == EventKind::InboundRejected).count(), 1);
    kit.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_cannot_run_an_xray_in_one_directory() {
    let bed = Bed::open().await;
    let xray = XrayConfig::managed("127.0.0.1", bed.xray_directory()).binary(xray_binary());
    let second = Config::sqlite(bed.directory.path().join("second.db")).xray(xray);
    let second = VpnKit::open(second).await.unwrap();
    assert!(reason(&second).await.contains("a vpnkit of another store"), "{}", reason(&second).await);
    bed.add_reality().await;
    assert_eq!(children_of(bed.xray_directory().to_str().unwrap()).len(), 1, "the first one goes on");
    bed.kit.close().await.unwrap();
    comes_up(&second).await;
    second.close().await.unwrap();
}

/// As some network file systems and containers' mounts are: a store there would not be shared, or be destroyed.
#[tokio::test]
async fn a_file_system_without_shared_memory_is_refused() {
    if !testbed::is_root("a_file_system_without_shared_memory_is_refused") {
        return;
    }
    struct Mount(tempfile::TempDir);
    impl Drop for Mount {
        fn drop(&mut self) {
            let _ = std::process::Command::new("umount").arg(self.0.path().join("seen")).status();
        }
    }
    let mount = Mount(tempfile::tempdir().unwrap());
    let [real, seen] = ["real", "seen"].map(|name| mount.0.path().join(name));
    std::fs::create_dir(&real).unwrap();
    std::fs::create_dir(&seen).unwrap();
    let mut bindfs = std::process::Command::new("bindfs");
    assert!(bindfs.args(["-o", "direct_io"]).args([&real, &seen]).status().unwrap().success());
    let error = VpnKit::open(Config::sqlite(seen.join("bot.db"))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    assert!(error.to_string().contains("no locks and memory that processes share"), "{error}");
    // On a disk the same store opens.
    let kit = VpnKit::open(Config::sqlite(real.join("bot.db"))).await.unwrap();
    kit.keys().create(vpnkit::CreateKey::named("alice")).await.unwrap();
    kit.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inbounds_that_xray_does_not_allow_are_refused_by_field() {
    let bed = Bed::open().await;
    let vless = |vision| Protocol::Vless { vision };
    let websocket = |path: &str| Transport::WebSocket { path: path.into(), host: None };
    let Security::Reality(reality) = bed.reality() else { unreachable!() };
    let with = |change: &dyn Fn(&mut vpnkit::Reality)| {
        let mut reality = reality.clone();
        change(&mut reality);
        inbound("x", vless(false)).security(Security::Reality(reality))
    };
    let cases = [
        (inbound("x", vless(true)), "protocol.vision"),
        (inbound("x", vless(true)).transport(websocket("/")).security(bed.tls()), "protocol.vision"),
        (inbound("x", vless(false)).transport(websocket("no-slash")), "transport.path"),
        (inbound("x", vless(false)).transport(websocket("/")).security(bed.reality()), "security"),
        (with(&|r| r.server_names.clear()), "security.server_names"),
        (with(&|r| r.dest = "no-port".into()), "security.dest"),
        (with(&|r| r.public_key = "AAAA".into()), "security.public_key"),
        (with(&|r| r.private_key = Secret::new("AAAA")), "private_key"),
        (
            inbound(
                "x",
                Protocol::Shadowsocks { method: ShadowsocksMethod::Blake3Aes128Gcm, server_key: None },
            ),
            "protocol.server_key",
        ),
        (Inbound { port: 0, ..inbound("x", vless(false)) }, "port"),
        (inbound("vpnkit-api", vless(false)), "tag"),
    ];
    for (inbound, field) in cases {
        let error = bed.kit.inbounds().ensure(inbound).await.unwrap_err();
        assert_eq!((error.kind(), error.get("field")), (ErrorKind::InvalidInput, Some(field)), "{error}");
    }
    let mut missing = inbound("x", Protocol::Trojan).security(bed.tls());
    if let Security::Tls(tls) = &mut missing.security {
        tls.certificate_file = "/nowhere/cert.pem".into();
    }
    let error = bed.kit.inbounds().ensure(missing).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error:?}");
    let node = NodeId::new("elsewhere").unwrap();
    let elsewhere = Inbound { node, server: None, ..inbound("x", vless(false)) };
    assert_eq!(bed.kit.inbounds().ensure(elsewhere).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(bed.kit.inbounds().list().await.unwrap(), [], "nothing is half done");
    bed.add_reality().await;
    bed.kit.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_tags_and_texts_that_are_none_are_refused() {
    let kit = VpnKit::open(Config::memory()).await.unwrap();
    let nowhere = || vec![InboundTag::new("nowhere").unwrap()];
    let error = kit.keys().create(CreateKey::named("a").only(nowhere())).await.unwrap_err();
    assert_eq!((error.kind(), error.get("inbound")), (ErrorKind::NotFound, Some("nowhere")));
    assert!(kit.keys().get("a").await.unwrap().is_none());
    let key = kit.keys().create(CreateKey::named("a")).await.unwrap();
    let patch = KeyPatch {
        inbounds: Some(vpnkit::InboundSelection::Only(nowhere())),
        note: Patch::Set("n".into()),
        ..KeyPatch::default()
    };
    assert_eq!(kit.keys().update(key.id, patch, None, None).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(kit.keys().require(key.id).await.unwrap(), key);
    let many = vec![CreateKey::named("b"), CreateKey::named("no spaces")];
    let error = kit.keys().create_many(many, None).await.unwrap_err();
    assert_eq!((error.get("field"), error.get("index")), (Some("name"), Some("1")));
    assert!(kit.keys().get("b").await.unwrap().is_none(), "all or none");
    let gone = vpnkit::KeyId(99);
    assert_eq!(kit.keys().delete_many(vec![key.id, gone]).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(kit.keys().delete_many(vec![key.id]).await.unwrap(), 1);
    for text in ["", "a b", &"x".repeat(65)] {
        assert!(InboundTag::new(text).is_err());
    }
    kit.close().await.unwrap();
}

#[test]
fn every_fault_of_a_configuration_is_listed_with_its_path() {
    let config = Config::sqlite("k.db")
        .collect_every(std::time::Duration::from_secs(0))
        .xray(XrayConfig::attached("", "nonsense"))
        .xray(XrayConfig::managed("x", "relative"));
    let faults: Vec<String> = config.faults().into_iter().map(|(path, _)| path).collect();
    assert_eq!(faults, ["collect_every", "servers[0].address", "servers[0].api", "servers[1].directory"]);
    assert_eq!(config.validate().unwrap_err().kind(), ErrorKind::InvalidConfig);
    for text in [r#"{}"#, r#"{ "store": "mysql:x" }"#, r#"{ "store": "memory:", "servers": [{ "wg": {} }] }"#]
    {
        assert_eq!(Config::from_json(text).unwrap_err().kind(), ErrorKind::InvalidConfig, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_in_no_debug_text_and_no_log_of_xray() {
    let bed = Bed::open().await;
    bed.add_reality().await;
    let key = bed.kit.keys().create(CreateKey::named("alice")).await.unwrap();
    let secret = key.credentials[0].secret.expose();
    let inbounds = bed.kit.inbounds().list().await.unwrap();
    let Security::Reality(reality) = &inbounds[0].security else { unreachable!() };
    let status = bed.kit.servers().status().await.unwrap();
    let log = bed.kit.servers().log(&status[0].id, 1000).await.unwrap();
    assert!(log.iter().any(|line| line.contains("started")), "the log is there: {log:?}");
    let endpoint = bed.endpoint(key.id, "reality").await;
    let texts =
        [format!("{key:?}"), format!("{inbounds:?}"), format!("{endpoint:?} {bed:?}"), log.join("\n")];
    for text in texts {
        assert!(!text.contains(&secret), "{text}");
        assert!(!text.contains(reality.private_key.expose()), "{text}");
    }
    bed.kit.close().await.unwrap();
}
