//! The same measurements in Rust, Python and Node, each in a process of its own, in turns.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::Value;
use vpnkit::{Config, CreateKey, Cursor, VpnKit};

use crate::{BULK, ROUNDS, median, percentile, requests};

const GETS: usize = 20_000;
const MEASURED: [&str; 4] = ["get_us", "memory_us", "create_many_s", "events_per_s"];

fn installed(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target").join(path);
    assert!(path.exists(), "{} is missing: run `make python node`", path.display());
    path
}

/// Prints the table of the bindings.
pub(crate) fn compare() {
    let script = |path: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    let mut programs = [
        ("Rust", std::env::current_exe().unwrap(), "rust".into()),
        ("Python", installed("venv/bin/python"), script("benches/bench.py")),
        ("Node", "node".into(), installed("npm/test/bench.mjs")),
    ];
    let mut results: BTreeMap<(&str, &str), Vec<f64>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        for (name, program, role) in &programs {
            let directory = tempfile::tempdir().unwrap();
            let output = Command::new(program).arg(role).arg(directory.path()).output().unwrap();
            assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
            let found: Value = serde_json::from_slice(&output.stdout).unwrap();
            for measured in MEASURED {
                results.entry((name, measured)).or_default().push(found[measured].as_f64().unwrap());
            }
        }
        // Nobody is always the first after a pause.
        programs.rotate_left(1);
    }
    let mut of = |name, measured| median(results.get_mut(&(name, measured)).unwrap());
    println!("\n| what | Rust | Python | Node | to reach |");
    println!("|---|---|---|---|---|");
    let [rust, python, node] = ["Rust", "Python", "Node"].map(|name| of(name, "get_us"));
    println!(
        "| get by id among 100,000, p50 | {rust:.0} µs | {:+.0} µs | {:+.0} µs | +20 µs |",
        python - rust,
        node - rust
    );
    let [rust, python, node] = ["Rust", "Python", "Node"].map(|name| of(name, "memory_us"));
    println!(
        "| get by id from a store in memory, p50 | {rust:.1} µs | {:+.1} µs | {:+.1} µs | +20 µs |",
        python - rust,
        node - rust
    );
    let [rust, python, node] = ["Rust", "Python", "Node"].map(|name| of(name, "create_many_s"));
    println!(
        "| create 100,000 keys in bulk | {rust:.2} s | × {:.2} | × {:.2} | × 1.3 |",
        python / rust,
        node / rust
    );
    let [rust, python, node] = ["Rust", "Python", "Node"].map(|name| of(name, "events_per_s"));
    println!("| events streamed a second | {rust:.0} | {python:.0} | {node:.0} | 50,000 |");
}

/// The measurements in Rust.
pub(crate) async fn measure(directory: &Path) {
    let kit = VpnKit::open(Config::sqlite(directory.join("keys.db"))).await.unwrap();
    let all: Vec<CreateKey> = requests("k", BULK);
    let start = Instant::now();
    let made = kit.keys().create_many(all, None).await.unwrap();
    let create_many = start.elapsed().as_secs_f64();
    let mut gets = Vec::new();
    for i in 0..GETS {
        let id = made[i * 7919 % BULK].id;
        let start = Instant::now();
        assert!(kit.keys().get(id).await.unwrap().is_some());
        gets.push(start.elapsed().as_secs_f64() * 1e6);
    }
    let memory = VpnKit::open(Config::memory()).await.unwrap();
    let id = memory.keys().create(CreateKey::default()).await.unwrap().id;
    let mut own = Vec::new();
    for _ in 0..GETS {
        let start = Instant::now();
        assert!(memory.keys().get(id).await.unwrap().is_some());
        own.push(start.elapsed().as_secs_f64() * 1e6);
    }
    memory.close().await.unwrap();
    let mut stream = kit.events().stream(Cursor::START);
    let start = Instant::now();
    for _ in 0..BULK {
        stream.next().await.unwrap().unwrap();
    }
    let events = BULK as f64 / start.elapsed().as_secs_f64();
    kit.close().await.unwrap();
    let (get, memory) = (percentile(&mut gets, 50), percentile(&mut own, 50));
    let found = serde_json::json!({
        "get_us": get, "memory_us": memory, "create_many_s": create_many, "events_per_s": events,
    });
    println!("{found}");
}
