//! Close and drop leave no process, socket, lock or thread's file behind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking"
)]

use std::time::Duration;

use testbed::{Bed, children_of, eventually, xray_binary};
use vpnkit::{Config, CreateKey, ErrorKind, VpnKit, XrayConfig};

const PATIENCE: Duration = Duration::from_secs(30);

fn files(directory: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap().flatten();
    let mut names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_leaves_the_store_and_nothing_else() {
    let bed = Bed::open().await;
    bed.add_reality().await;
    bed.kit.keys().create(CreateKey::named("alice")).await.unwrap();
    let xray = bed.xray_directory();
    let mode = |path: &std::path::Path| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode(&xray), 0o700);
    let there = ["api.sock", "api.sock.lock", "process.json", "vpnkit.lock"];
    assert_eq!(files(&xray), there, "the config, with its secrets, is gone");
    assert_eq!(mode(&xray.join("process.json")), 0o600);
    assert_eq!(mode(&xray.join("api.sock")), 0o600);
    assert_eq!(mode(&bed.directory.path().join("keys.db")), 0o600);
    assert_eq!(mode(&bed.directory.path().join("keys.db-wal")), 0o600);
    assert_eq!(children_of(xray.to_str().unwrap()).len(), 1);

    bed.kit.close().await.unwrap();
    assert!(children_of(xray.to_str().unwrap()).is_empty());
    assert!(files(&xray).is_empty(), "{:?}", files(&xray));
    assert_eq!(files(bed.directory.path()), ["keys.db", "xray"]);
    assert_eq!(bed.kit.keys().get("alice").await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(bed.kit.close().await.map_err(|e| e.kind()), Ok(()), "closing twice is fine");
    assert!(bed.kit.events().stream(vpnkit::Cursor::START).next().await.unwrap().is_none());

    let again = Config::sqlite(bed.directory.path().join("keys.db"))
        .xray(XrayConfig::managed("127.0.0.1", &xray).binary(xray_binary()));
    let kit = VpnKit::open(again).await.unwrap();
    assert_eq!(kit.keys().links("alice").await.unwrap().len(), 1);
    kit.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_the_last_clone_stops_xray() {
    let bed = Bed::open().await;
    let xray = bed.xray_directory();
    let keys = bed.kit.keys();
    let Bed { kit, directory, .. } = bed;
    drop(kit);
    assert_eq!(children_of(xray.to_str().unwrap()).len(), 1, "a handle still holds it");
    drop(keys);
    eventually("Xray is gone", PATIENCE, async || children_of(xray.to_str().unwrap()).is_empty()).await;
    eventually("its files are gone", PATIENCE, async || files(&xray).is_empty()).await;
    drop(directory);
}

/// A user who may read `/proc/PID/environ` of Xray does not learn the tokens of the bot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn xray_does_not_get_the_applications_environment() {
    use std::io::{BufRead as _, BufReader};
    let directory = tempfile::tempdir().unwrap();
    let mut owner = std::process::Command::new(env!("CARGO_BIN_EXE_owner"))
        .arg("hold")
        .arg(directory.path())
        .env("BOT_TOKEN", "123:secret")
        .env("XRAY_LOCATION_ASSET", "/nowhere")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(owner.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let config = directory.path().join("xray/config.json");
    let children = children_of(config.to_str().unwrap());
    assert!(!children.is_empty());
    for child in children {
        let environment = std::fs::read(format!("/proc/{child}/environ")).unwrap();
        let environment = String::from_utf8_lossy(&environment);
        assert!(!environment.contains("BOT_TOKEN") && !environment.contains("123:secret"));
        assert!(environment.contains("XRAY_LOCATION_ASSET=/nowhere"));
    }
    owner.kill().unwrap();
    owner.wait().unwrap();
    eventually("Xray is gone", PATIENCE, async || children_of(config.to_str().unwrap()).is_empty()).await;
}
