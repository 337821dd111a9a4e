//! An Xray that outlives the process that has started it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking"
)]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use testbed::{Flow, Owner, SharedBed, alive, eventually, traffic, within};

const PATIENCE: Duration = Duration::from_secs(60);
const OWNER: &str = env!("CARGO_BIN_EXE_owner");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_outlives_redeploys_and_crashes_and_is_counted_exactly() {
    let bed = Arc::new(SharedBed::new(OWNER).await);
    let mut owner = bed.open().await;
    let (key, client) = bed.add(&owner, json!({ "name": "alice" })).await;
    let [process] = bed.process()[..] else { panic!("one Xray: {:?}", bed.process()) };
    let flow = Arc::new(Flow::default());
    let download = tokio::spawn({
        let (bed, flow) = (Arc::clone(&bed), Arc::clone(&flow));
        async move {
            let came = bed.download(&client, 60 << 20, &flow).await;
            (client, came)
        }
    });
    for round in 0..3 {
        flow.goes_on().await;
        // Redeployed: closed in order, and opened again.
        owner.close().await;
        assert!(alive(process), "round {round}");
        flow.goes_on().await;
        owner = bed.open().await;
        assert_eq!(bed.process(), [process]);
        flow.goes_on().await;
        // Crashed.
        owner.kill().await;
        flow.goes_on().await;
        owner = bed.open().await;
        assert_eq!(bed.process(), [process]);
        assert_eq!(owner.ok("servers.reconcile", json!({ "id": "main/xray" })).await, 0, "nothing differs");
    }
    flow.fast.store(true, Ordering::Relaxed);
    let (client, came) = within("the download", PATIENCE, download).await.unwrap();
    assert_eq!(came.unwrap(), 60 << 20);
    drop(client);
    let mut before = (0, 0);
    eventually("the counters stand still", PATIENCE, async || {
        owner.ok("tick", json!({})).await;
        std::mem::replace(&mut before, bed.counted().await) == before && traffic(&owner, key).await == before
    })
    .await;
    assert!(before.1 > 60 << 20, "{before:?}");
    println!("Xray has counted {before:?}, and so has vpnkit, over three redeploys and three crashes");

    // It ends by hand, also while nobody drives it.
    owner.kill().await;
    let one_liner = vpnkit::xray::stop_left_running(&bed.xray()).await.unwrap();
    assert!(one_liner && !alive(process));
    assert!(!vpnkit::xray::stop_left_running(&bed.xray()).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happened_while_nobody_watched_is_made_up_for_within_a_reading() {
    let bed = Arc::new(SharedBed::new(OWNER).await);
    let owner = bed.open().await;
    let limited = json!({ "name": "limited", "data_limit": 20_000_000 });
    let (limited, client) = bed.add(&owner, limited).await;
    let deleted =
        owner.ok("keys.create", json!({ "request": { "name": "deleted" } })).await["id"].as_i64().unwrap();
    let process = bed.process();
    owner.kill().await;
    // Over its limit, while another process that drives nothing deletes a key and adds one.
    let flow = Arc::new(Flow::default());
    flow.fast.store(true, Ordering::Relaxed);
    assert_eq!(bed.download(&client, 30 << 20, &flow).await.unwrap(), 30 << 20, "nobody watches");
    let panel = bed.open_panel().await;
    panel.ok("keys.delete", json!({ "key": deleted })).await;
    let added =
        panel.ok("keys.create", json!({ "request": { "name": "added" } })).await["id"].as_i64().unwrap();
    let flow = Arc::new(Flow::default());
    let running = tokio::spawn({
        let (bed, flow) = (Arc::clone(&bed), Arc::clone(&flow));
        async move { bed.download(&client, 1 << 30, &flow).await }
    });
    flow.goes_on().await;

    let owner = bed.open().await;
    assert_eq!(bed.process(), process, "it was taken over");
    let status = async || owner.ok("keys.require", json!({ "key": limited })).await["status"].clone();
    let took = eventually("the limit bites", PATIENCE, async || status().await == "limited").await;
    println!("limited {took:?} after the next process had opened");
    running.abort();
    eventually("the accounts are right", PATIENCE, async || {
        bed.has_account(added).await && !bed.has_account(deleted).await && !bed.has_account(limited).await
    })
    .await;
    owner.ok("servers.stop", json!({ "id": "main/xray" })).await;
    assert!(process.iter().all(|pid| !alive(*pid)));
    owner.close().await;
}

/// One process after another that does not want what it finds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_configuration_replaces_the_process_once_it_was_read() {
    let bed = SharedBed::new(OWNER).await;
    let owner = bed.open().await;
    let (key, client) = bed.add(&owner, json!({ "name": "alice" })).await;
    let flow = Arc::new(Flow::default());
    flow.fast.store(true, Ordering::Relaxed);
    bed.download(&client, 5 << 20, &flow).await.unwrap();
    let first = bed.process();
    owner.kill().await;
    let mut changed = bed.config(true);
    changed["servers"][0]["log_level"] = json!("error");
    let owner = bed.open_with(&changed).await;
    eventually("it is replaced", PATIENCE, async || {
        let now = bed.process();
        now.len() == 1 && now != first
    })
    .await;
    eventually("it was read before", PATIENCE, async || traffic(&owner, key).await.1 > 5 << 20).await;
    let second = bed.process();
    owner.kill().await;
    // Without the switch it ends with its process, as ever.
    let owner = bed.open_with(&bed.config(false)).await;
    eventually("it is replaced", PATIENCE, async || {
        let now = bed.process();
        now.len() == 1 && now != second
    })
    .await;
    owner.close().await;
    assert!(bed.process().is_empty());
}

/// The kernel does not tell its own user where a program with capabilities works. It is recognised all the same, and nobody takes the
/// Xray of another directory for a leftover of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_xray_with_capabilities_is_recognised_and_nobody_elses_is_ended() {
    use std::os::unix::fs::{PermissionsExt as _, chown};
    const NOBODY: u32 = 65_534;
    if !testbed::is_root("an_xray_with_capabilities_is_recognised_and_nobody_elses_is_ended") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let open_to_all = || std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open_to_all()).unwrap();
    std::fs::copy(OWNER, path("owner")).unwrap();
    std::fs::copy(testbed::xray_binary(), path("xray")).unwrap();
    let mut capable = std::process::Command::new("setcap");
    assert!(capable.arg("cap_net_bind_service=ep").arg(path("xray")).status().unwrap().success());
    let program = path("as-nobody");
    let words = "exec setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set +all";
    // A file that the program leaves open for its children, as web servers do with their sockets.
    std::fs::write(path("shared"), "").unwrap();
    let (owner, shared) = (path("owner"), path("shared"));
    let script = format!("#!/bin/sh\nexec 9<{}\n{words} {} \"$@\"\n", shared.display(), owner.display());
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, open_to_all()).unwrap();
    let config = |home: &str| {
        json!({
            "store": format!("sqlite:{}", path(home).join("keys.db").display()),
            "servers": [{
                "type": "managed_xray", "address": "127.0.0.1", "binary": path("xray"),
                "directory": path(home).join("xray"), "keep_running": true,
            }],
        })
    };
    let process = |home: &str| testbed::children_of(path(home).join("xray/config.json").to_str().unwrap());
    let mut owners = Vec::new();
    for home in ["one", "two"] {
        std::fs::create_dir(path(home)).unwrap();
        chown(path(home), Some(NOBODY), Some(NOBODY)).unwrap();
        owners.push(Owner::start(program.to_str().unwrap(), &config(home)).await);
    }
    let (one, two) = (process("one"), process("two"));
    assert_eq!((one.len(), two.len()), (1, 1));
    let files = std::fs::read_dir(format!("/proc/{}/fd", one[0])).unwrap().flatten();
    let files: Vec<_> = files.filter_map(|file| std::fs::read_link(file.path()).ok()).collect();
    assert!(files.len() > 2 && !files.contains(&shared), "what is not Xray's is closed: {files:?}");
    let log = owners[0].ok("servers.log", json!({ "id": "main/xray" })).await;
    assert!(log.to_string().contains("started"), "its log is read through the pipe: {log}");
    owners.remove(0).kill().await;
    let again = Owner::start(program.to_str().unwrap(), &config("one")).await;
    assert_eq!((process("one"), process("two")), (one, two), "each has its own");
    again.ok("servers.stop", json!({ "id": "main/xray" })).await;
    owners[0].ok("servers.stop", json!({ "id": "main/xray" })).await;
    assert!(process("one").is_empty() && process("two").is_empty());
}
