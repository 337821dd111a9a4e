//! An Xray that outlives the process that has started it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking"
)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use testbed::{
    Certificate, Owner, Site, XrayClient, alive, children_of, eventually, get, inbound, standalone, within,
    xray_binary,
};
use tokio::io::AsyncReadExt as _;
use vpnkit::{Protocol, RealityKeys, Security};

const PATIENCE: Duration = Duration::from_secs(60);
const OWNER: &str = env!("CARGO_BIN_EXE_owner");

struct Bed {
    directory: tempfile::TempDir,
    site: Site,
    destination: Site,
    certificate: Certificate,
}

impl Bed {
    async fn new() -> Self {
        testbed::log();
        let certificate = Certificate::new("site.test");
        let (site, destination) = (Site::tls(&certificate).await, Site::destination(&certificate).await);
        Self { directory: tempfile::tempdir().unwrap(), site, destination, certificate }
    }

    fn xray(&self) -> std::path::PathBuf {
        self.directory.path().join("xray")
    }

    fn config(&self, keep_running: bool) -> Value {
        json!({
            "store": format!("sqlite:{}", self.directory.path().join("keys.db").display()),
            "collect_every": "1 second",
            "servers": [{
                "type": "managed_xray",
                "address": "127.0.0.1",
                "binary": xray_binary(),
                "directory": self.xray(),
                "keep_running": keep_running,
                "live_accounting": true,
                "egress": { "allow": ["127.0.0.1"] },
            }],
        })
    }

    async fn open(&self) -> Owner {
        Owner::start(OWNER, &self.config(true)).await
    }

    fn process(&self) -> Vec<u32> {
        children_of(self.xray().join("config.json").to_str().unwrap())
    }

    /// Adds REALITY with vision, and a key.
    async fn add(&self, owner: &Owner, key: Value) -> (i64, XrayClient) {
        let address = self.destination.address.to_string();
        let reality = Security::Reality(RealityKeys::generate().reality(address, "site.test"));
        let inbound = inbound("reality", Protocol::Vless { vision: true }).security(reality);
        let inbound = vpnkit_core::Secret::reveal(|| serde_json::to_value(&inbound).unwrap());
        owner.ok("inbounds.ensure", json!({ "inbound": inbound })).await;
        let key = owner.ok("keys.create", json!({ "request": key })).await["id"].as_i64().unwrap();
        (key, self.client(owner, key).await)
    }

    async fn client(&self, owner: &Owner, key: i64) -> XrayClient {
        let links = owner.ok("keys.links", json!({ "key": key })).await;
        XrayClient::of_link(links[0].as_str().unwrap()).await
    }

    /// A download that goes on until it is told to finish; returns the bytes that came.
    async fn download(&self, client: &XrayClient, bytes: usize, flow: &Arc<Flow>) -> std::io::Result<usize> {
        let mut stream = client.tunnel.open(self.site.address, Some(&self.certificate)).await?;
        get(&mut stream, &format!("/bytes/{bytes}")).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let mut block = vec![0; 32 << 10];
        let mut came = 0;
        while came < bytes {
            // So fast that it takes as long as the test needs it to.
            if !flow.fast.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            match stream.read(&mut block).await? {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                read => came += read,
            }
            flow.came.store(came, Ordering::Relaxed);
        }
        Ok(came)
    }
}

#[derive(Default)]
struct Flow {
    fast: AtomicBool,
    came: AtomicUsize,
}

impl Flow {
    /// Waits until more bytes have come.
    async fn goes_on(&self) {
        let before = self.came.load(Ordering::Relaxed);
        eventually("more bytes come", PATIENCE, async || {
            self.came.load(Ordering::Relaxed) > before + 200_000
        })
        .await;
    }
}

async fn used(owner: &Owner, key: i64) -> (u64, u64) {
    let key = owner.ok("keys.require", json!({ "key": key })).await;
    let traffic = &key["traffic"];
    (traffic["up"].as_u64().unwrap(), traffic["down"].as_u64().unwrap())
}

/// What Xray has counted itself, since it was started.
async fn counted(directory: &Path) -> (u64, u64) {
    let all = standalone::counters(&format!("unix://{}", directory.join("api.sock").display())).await;
    all.values().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_outlives_redeploys_and_crashes_and_is_counted_exactly() {
    let bed = Arc::new(Bed::new().await);
    let mut owner = bed.open().await;
    let (key, client) = bed.add(&owner, json!({ "name": "alice" })).await;
    let [process] = bed.process()[..] else { panic!("one Xray") };
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
        std::mem::replace(&mut before, counted(&bed.xray()).await) == before
            && used(&owner, key).await == before
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
    let bed = Arc::new(Bed::new().await);
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
    let mut panel = bed.config(true);
    panel["servers"] = json!([]);
    let panel = Owner::start(OWNER, &panel).await;
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
    let account = async |name: &str| {
        let api = format!("unix://{}", bed.xray().join("api.sock").display());
        standalone::user_names(&api, "reality").await.iter().any(|user| user.ends_with(name))
    };
    eventually("the accounts are right", PATIENCE, async || {
        account(&format!("-{added}")).await
            && !account(&format!("-{deleted}")).await
            && !account(&format!("-{limited}")).await
    })
    .await;
    owner.ok("servers.stop", json!({ "id": "main/xray" })).await;
    assert!(process.iter().all(|pid| !alive(*pid)));
    owner.close().await;
}

/// One process after another that does not want what it finds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_configuration_replaces_the_process_once_it_was_read() {
    let bed = Bed::new().await;
    let owner = bed.open().await;
    let (key, client) = bed.add(&owner, json!({ "name": "alice" })).await;
    let flow = Arc::new(Flow::default());
    flow.fast.store(true, Ordering::Relaxed);
    bed.download(&client, 5 << 20, &flow).await.unwrap();
    let first = bed.process();
    owner.kill().await;
    let mut changed = bed.config(true);
    changed["servers"][0]["log_level"] = json!("error");
    let owner = Owner::start(OWNER, &changed).await;
    eventually("it is replaced", PATIENCE, async || {
        let now = bed.process();
        now.len() == 1 && now != first
    })
    .await;
    eventually("it was read before", PATIENCE, async || used(&owner, key).await.1 > 5 << 20).await;
    let second = bed.process();
    owner.kill().await;
    // Without the switch it ends with its process, as ever.
    let owner = Owner::start(OWNER, &bed.config(false)).await;
    eventually("it is replaced", PATIENCE, async || {
        let now = bed.process();
        now.len() == 1 && now != second
    })
    .await;
    owner.close().await;
    assert!(bed.process().is_empty());
}
