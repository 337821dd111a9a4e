//! How many keys several processes create a second in one file.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use vpnkit::{Config, CreateKey, VpnKit};

const LASTS: Duration = Duration::from_secs(3);
/// Callers of a process that wait side by side share a transaction.
const CALLERS: [usize; 2] = [1, 32];

/// Prints the table.
pub(crate) fn compare() {
    println!();
    println!(
        "| processes | keys a second, one caller each | p99 of a caller | keys a second, 32 callers each | p99 of a caller |"
    );
    println!("|---|---|---|---|---|");
    for processes in [1, 2, 4, 8, 16] {
        let measured = CALLERS.map(|callers| measure(processes, callers));
        let columns = measured.map(|(a_second, p99)| format!("{a_second:.0} | {p99:.1} ms"));
        println!("| {processes} | {} |", columns.join(" | "));
    }
}

/// Keys a second of all together, and the 99th percentile of the slowest process in milliseconds.
fn measure(processes: usize, callers: usize) -> (f64, f64) {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("keys.db");
    let mut children: Vec<_> = (0..processes)
        .map(|_| {
            Command::new(std::env::current_exe().unwrap())
                .arg("writer")
                .arg(&store)
                .arg(callers.to_string())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut answers: Vec<_> =
        children.iter_mut().map(|child| BufReader::new(child.stdout.take().unwrap()).lines()).collect();
    for lines in &mut answers {
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
    }
    for child in &mut children {
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    }
    let (mut all, mut slowest) = (0.0, 0.0f64);
    for lines in &mut answers {
        let line = lines.next().unwrap().unwrap();
        let (count, p99) = line.split_once(' ').unwrap();
        all += count.parse::<f64>().unwrap();
        slowest = slowest.max(p99.parse().unwrap());
    }
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    (all / LASTS.as_secs_f64(), slowest)
}

/// One of the processes.
pub(crate) async fn write(store: &Path, callers: usize) {
    let kit = VpnKit::open(Config::sqlite(store)).await.unwrap();
    println!("ready");
    std::io::stdin().lines().next().unwrap().unwrap();
    let begun = Instant::now();
    let writing: Vec<_> = (0..callers)
        .map(|_| {
            let keys = kit.keys();
            tokio::spawn(async move {
                let mut took = Vec::new();
                while begun.elapsed() < LASTS {
                    let start = Instant::now();
                    keys.create(CreateKey::default()).await.unwrap();
                    took.push(start.elapsed());
                }
                took
            })
        })
        .collect();
    let mut took = Vec::new();
    for caller in writing {
        took.extend(caller.await.unwrap());
    }
    println!("{} {}", took.len(), crate::percentile(&mut took, 99).as_secs_f64() * 1e3);
    kit.close().await.unwrap();
}
