//! A hundred thousand keys in one Xray: larger messages than gRPC allows by default.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking"
)]

use std::time::{Duration, Instant};

use testbed::{Bed, children_of, eventually, inbound, standalone};
use vpnkit::{CreateKey, NodeId, Protocol, ServerId};

const KEYS: usize = 100_000;
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_keys_are_installed_and_compared_and_survive_a_restart() {
    let bed = Bed::open().await;
    let start = Instant::now();
    let requests = (0..KEYS).map(|i| CreateKey::named(format!("k{i}"))).collect();
    let keys = bed.kit.keys().create_many(requests, None).await.unwrap();
    println!("created after {:?}", start.elapsed());
    bed.kit.inbounds().ensure(inbound("plain", Protocol::Vless { vision: false })).await.unwrap();
    let api = format!("unix://{}", bed.xray_directory().join("api.sock").display());
    eventually("all are installed", PATIENCE, async || {
        standalone::user_count(&api, "plain").await == KEYS as u64
    })
    .await;
    println!("installed after {:?}", start.elapsed());
    let xray = ServerId::new(&NodeId::main(), "xray");
    assert_eq!(bed.kit.servers().reconcile(&xray).await.unwrap(), 0);
    println!("compared after {:?}", start.elapsed());

    let client = bed.client(keys[77_777].id, "plain").await;
    assert!(client.tunnel.connects(&bed.site).await);
    let mark = bed.xray_directory().join("config.json");
    for pid in children_of(mark.to_str().unwrap()) {
        std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    }
    eventually("it is back with all of them", PATIENCE, async || {
        standalone::user_count(&api, "plain").await == KEYS as u64
    })
    .await;
    println!("restarted after {:?}", start.elapsed());
    eventually("the client connects again", PATIENCE, async || client.tunnel.connects(&bed.site).await).await;
    bed.kit.keys().disable(keys[77_777].id).await.unwrap();
    // A call waits two seconds for a server, which is still busy with the comparison that follows its restart.
    eventually("the disabled key is refused", PATIENCE, async || !client.tunnel.connects(&bed.site).await)
        .await;
    bed.kit.close().await.unwrap();
}
