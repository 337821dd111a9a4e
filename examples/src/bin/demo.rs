//! `make demo`: from an empty directory to a customer who hits a limit, with a real Xray on both sides.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a program for a terminal that ends with its first fault"
)]

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use testbed::{Certificate, Site, XrayClient, free_ports, get, xray_binary};
use tokio::io::AsyncReadExt as _;
use vpnkit::{
    ByteSize, Config, CreateKey, Cursor, Egress, Inbound, InboundTag, Key, KeyId, KeyPatch, KeyStatus, Patch,
    Protocol, Qr, RealityKeys, Result, Security, VpnKit, XrayConfig,
};

const LIMIT: ByteSize = ByteSize::mib(32);
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<()> {
    let directory = tempfile::tempdir().unwrap();
    let certificate = Certificate::new("site.test");
    let (destination, site) = (Site::destination(&certificate).await, Site::plain().await);

    let xray = XrayConfig::managed("127.0.0.1", directory.path().join("xray"))
        .binary(xray_binary())
        // The site of this demo is on loopback, which customers cannot reach by default.
        .egress(Egress::allowing(["127.0.0.1".parse()?]))
        .live_accounting(true);
    let config = Config::sqlite(directory.path().join("keys.db"))
        .xray(xray)
        .collect_every(std::time::Duration::from_secs(1));
    let kit = VpnKit::open(config).await?;
    let status = kit.servers().status().await?;
    let version = status.first().and_then(|s| s.version.as_deref()).unwrap_or("?");
    println!("A SQLite store is open and Xray {version} is running, both of this process alone.\n");

    // Whatever happens in between, Xray goes with us.
    let outcome = tokio::select! {
        outcome = show(&kit, &destination, &site) => outcome,
        _ = tokio::signal::ctrl_c() => {
            println!("interrupted");
            Ok(())
        }
    };
    kit.close().await?;
    outcome?;
    println!("\nClosed: no process, no socket and no lock is left.");
    Ok(())
}

async fn show(kit: &VpnKit, destination: &Site, site: &Site) -> Result<()> {
    let reality = RealityKeys::generate().reality(destination.address.to_string(), "site.test");
    let [port] = free_ports();
    let inbound = Inbound::new(InboundTag::new("reality")?, port, Protocol::Vless { vision: true })
        .listen([127, 0, 0, 1].into())
        .security(Security::Reality(reality));
    kit.inbounds().ensure(inbound).await?;
    println!("An inbound listens on port {port}: VLESS + TCP + REALITY, vision flow.");

    let request = CreateKey::named("alice").data_limit(LIMIT).expires_in(Duration::from_secs(30 * 86_400));
    let key = kit.keys().create(request).await?;
    let link = kit.keys().links(key.id).await?.remove(0);
    println!("Key {} is `alice`:\n\n{link}\n\n{}", key.id, Qr::new(&link)?.to_terminal());
    limits(&key);

    let endpoint = kit.keys().endpoints(key.id).await?.remove(0);
    let client = XrayClient::start(&endpoint).await;
    wait("a client connects", || client.tunnel.connects(site)).await;
    println!("\nA real Xray client is connected and downloads; the store counts live:");
    download(kit, key.id, &client, site).await?;

    wait("the key is limited", async || status(kit, key.id).await == KeyStatus::Limited).await;
    limits(&kit.keys().require(key.id).await?);
    assert!(!client.tunnel.connects(site).await, "a limited key must not connect");
    println!("A new connection of it is refused.");

    let raise = KeyPatch { data_limit: Patch::Set(ByteSize::gib(1)), ..KeyPatch::default() };
    let key = kit.keys().update(key.id, raise, None, None).await?;
    println!("\nThe limit is raised, nothing is restarted:");
    limits(&key);
    assert!(client.tunnel.connects(site).await, "it must connect again");
    println!("It connects again.\n\nWhat happened, from the outbox:");
    for event in kit.events().read(Cursor::START, 100).await?.events {
        println!("  {}  {}", event.at, event.kind);
    }
    Ok(())
}

/// Downloads until the limit is passed, and shows what the store has counted meanwhile.
async fn download(kit: &VpnKit, key: KeyId, client: &XrayClient, site: &Site) -> Result<()> {
    let mut stream = client.tunnel.open(site.address, None).await.unwrap();
    get(stream.as_mut(), "/endless").await.unwrap();
    let style = ProgressStyle::with_template("  [{bar:40}] {bytes} of {total_bytes} counted").unwrap();
    let bar = ProgressBar::new(LIMIT.bytes()).with_style(style);
    let mut buffer = vec![0; 64 * 1024];
    let (mut received, mut shown, mut told) = (0u64, Instant::now(), 0);
    while received < LIMIT.bytes() + (1 << 20) {
        received += stream.read(&mut buffer).await.unwrap() as u64;
        if shown.elapsed() > Duration::from_millis(200) {
            shown = Instant::now();
            let used = kit.keys().require(key).await?.used;
            bar.set_position(used.min(LIMIT.bytes()));
            if bar.is_hidden() && used != told {
                told = used;
                println!("  counted {} of {LIMIT}", ByteSize::from_bytes(used));
            }
        }
    }
    bar.finish_and_clear();
    println!("  the client has received {}", ByteSize::from_bytes(received));
    Ok(())
}

fn limits(key: &Key) {
    let limit = key.data_limit.map_or("unlimited".to_owned(), |l| l.to_string());
    let end = key.expires_at.map_or("never".to_owned(), |t| t.to_string());
    println!("  status {}, used {} of {limit}, ends {end}", key.status, ByteSize::from_bytes(key.used));
}

async fn status(kit: &VpnKit, key: KeyId) -> KeyStatus {
    kit.keys().require(key).await.unwrap().status
}

async fn wait(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !ask().await {
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
