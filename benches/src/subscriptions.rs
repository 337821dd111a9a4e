//! Subscriptions of ten endpoints, from the store to bytes, on one core.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use testbed::inbound;
use vpnkit::engine::{Engine, EngineOptions, ServerParts};
use vpnkit::sqlite::{SqliteOptions, SqliteStore};
use vpnkit::store::KeyStore;
use vpnkit::store::memory::MemoryStore;
use vpnkit::subscription::Format;
use vpnkit::{
    ByteSize, CreateKey, Host, KeyId, Protocol, RealityKeys, RenderOptions, Security, SystemClock, Transport,
    VpnKit,
};
use vpnkit_testkit::FakeServer;

const KEYS: i64 = 1_000;
const FORMATS: [(&str, Option<&str>); 7] = [
    ("links", Some("20,000")),
    ("plain", Some("20,000")),
    ("clash-meta", Some("5,000")),
    ("stash", Some("5,000")),
    ("sing-box", Some("5,000")),
    ("xray", Some("5,000")),
    ("html", Some("2,000")),
];

/// Runs [`measure`] in a process that has one core.
pub(crate) fn compare() {
    let program = std::env::current_exe().unwrap();
    let status = Command::new("taskset").args(["-c", "0"]).arg(program).arg("subscriptions-here").status();
    assert!(status.unwrap().success());
}

/// Prints the table.
pub(crate) fn measure() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        println!("| a subscription of 10 endpoints as | bytes | a second, from SQLite | a second, from memory | to reach |");
        println!("|---|---|---|---|---|");
        let directory = tempfile::tempdir().unwrap();
        let sqlite = kit(store(&directory.path().join("keys.db")).await).await;
        let memory = kit(Arc::new(MemoryStore::new())).await;
        for (code, target) in FORMATS {
            let format: Format = code.parse().unwrap();
            let bytes = render(&sqlite, 1, &format).await;
            let (from_sqlite, from_memory) = (rate(&sqlite, &format).await, rate(&memory, &format).await);
            println!("| {code} | {bytes} | {from_sqlite:.0} | {from_memory:.0} | {} |", target.unwrap_or_default());
        }
        let warm = 100_000;
        many(&sqlite, &Format::Links, warm).await;
        let before = super::resident_kib();
        many(&sqlite, &Format::Links, 1_000_000).await;
        let grown = super::resident_kib().saturating_sub(before);
        println!("\nresident memory grew by {grown} KiB over 1,000,000 subscriptions");
        sqlite.close().await.unwrap();
        memory.close().await.unwrap();
    });
}

async fn store(path: &Path) -> Arc<dyn KeyStore> {
    Arc::new(SqliteStore::open(path, SqliteOptions::default()).await.unwrap())
}

/// Ten inbounds of the kinds that are in use, each with a host whose remark has variables.
async fn kit(store: Arc<dyn KeyStore>) -> VpnKit {
    let server = Arc::new(FakeServer::named("main/xray".parse().unwrap()));
    let parts = ServerParts { backend: server.clone(), source: server, address: "vpn.example.com".into() };
    let options = EngineOptions { background: false, ..EngineOptions::default() };
    let engine = Engine::open(store, Arc::new(SystemClock), options, vec![parts]).await.unwrap();
    let kit = VpnKit::from_engine(engine);
    let reality = || Security::Reality(RealityKeys::generate().reality("site.test:443", "site.test"));
    for i in 0..10 {
        let vless = Protocol::Vless { vision: i % 2 == 0 };
        let inbound = inbound(&format!("in{i}"), vless);
        let inbound = match i % 2 {
            0 => inbound.security(reality()),
            _ => inbound.transport(Transport::WebSocket { path: "/tunnel".into(), host: None }),
        };
        kit.inbounds().ensure(inbound.clone()).await.unwrap();
        let host = Host::new(format!("{i} {{USERNAME}} {{DATA_LEFT}} {{DAYS_LEFT}}"), "*.cdn.example.com");
        kit.hosts().set(&inbound.node, &inbound.tag, vec![host]).await.unwrap();
    }
    let request = |i| {
        let month = Duration::from_secs(30 * 86_400);
        CreateKey::named(format!("key{i}")).data_limit(ByteSize::gib(50)).expires_in(month)
    };
    kit.keys().create_many((0..KEYS).map(request).collect(), None).await.unwrap();
    kit
}

async fn render(kit: &VpnKit, key: i64, format: &Format) -> usize {
    let answer = kit.subscriptions().render(KeyId(key), RenderOptions::format(format.clone())).await.unwrap();
    answer.body.len()
}

/// Sixteen at a time, as a web server would ask.
async fn many(kit: &VpnKit, format: &Format, count: i64) {
    let mut tasks = tokio::task::JoinSet::new();
    for part in 0..16 {
        let (kit, format) = (kit.clone(), format.clone());
        tasks.spawn(async move {
            for i in (part..count).step_by(16) {
                render(&kit, i % KEYS + 1, &format).await;
            }
        });
    }
    tasks.join_all().await;
}

/// The median of five rounds.
async fn rate(kit: &VpnKit, format: &Format) -> f64 {
    let count = if *format == Format::Page { 500 } else { 5_000 };
    let mut rates = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        many(kit, format, count).await;
        rates.push(count as f64 / start.elapsed().as_secs_f64());
    }
    super::median(&mut rates)
}
