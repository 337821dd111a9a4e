//! Workers as bots and shops run them: gunicorn, `node:cluster`, a cron job, all on one file with a real Xray.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking"
)]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use testbed::{
    Certificate, Site, children_of, compiled_examples, eventually, free_ports, installed, repository,
    standalone, within, xray_binary,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

const PATIENCE: Duration = Duration::from_secs(60);

struct Shop {
    directory: tempfile::TempDir,
    destination: Site,
    port: u16,
}

impl Shop {
    async fn new() -> Self {
        let certificate = Certificate::new("localhost");
        let [port] = free_ports();
        let destination = Site::destination(&certificate).await;
        Self { directory: tempfile::tempdir().unwrap(), destination, port }
    }

    fn run(&self, program: &Path, arguments: &[&str], web: u16) -> Child {
        Command::new(program)
            .args(arguments)
            .current_dir(repository().join("examples/python"))
            .env("VPN_DIRECTORY", self.directory.path())
            .env("VPN_ADDRESS", "127.0.0.1")
            .env("VPN_PORT", self.port.to_string())
            // A name, since clients send it.
            .env("VPN_SITE", format!("localhost:{}", self.destination.address.port()))
            .env("XRAY", xray_binary())
            .env("PORT", web.to_string())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdout(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    fn gunicorn(&self, workers: &str, web: u16) -> Child {
        let bind = format!("127.0.0.1:{web}");
        // A SIGTERM that a worker gets while it boots is lost, and gunicorn waits for it: 30 seconds by default.
        let soon = ["--graceful-timeout", "5"];
        let arguments = ["-k", "asgi", "-w", workers, "-b", &bind, "--no-control-socket", "shop_app:app"];
        let arguments: Vec<&str> = soon.into_iter().chain(arguments).collect();
        self.run(&installed("venv/bin/gunicorn"), &arguments, web)
    }

    fn process(&self) -> Vec<u32> {
        children_of(self.directory.path().join("xray/config.json").to_str().unwrap())
    }

    async fn accounts(&self) -> Vec<i64> {
        let api = format!("unix://{}", self.directory.path().join("xray/api.sock").display());
        let names = standalone::user_names(&api, "reality").await;
        names.iter().filter_map(|name| name.rsplit_once('-')?.1.parse().ok()).collect()
    }

    /// Waits until Xray has an account, or has not; returns how long that took after the answer.
    async fn has(&self, key: i64, wanted: bool) -> Duration {
        eventually("Xray follows", PATIENCE, async || self.accounts().await.contains(&key) == wanted).await
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        for pid in self.process() {
            let _ = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
    }
}

/// One request on a connection of its own: another worker may take the next one.
async fn ask(web: u16, method: &str, path: &str) -> Option<(u16, Value)> {
    let mut stream = TcpStream::connect(("127.0.0.1", web)).await.ok()?;
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let status = answer.split_whitespace().nth(1)?.parse().ok()?;
    let body = answer.split_once("\r\n\r\n")?.1;
    // Perhaps in pieces; the JSON is the longest line.
    let body = body.lines().max_by_key(|line| line.len())?;
    Some((status, serde_json::from_str(body).unwrap_or_default()))
}

async fn ok(web: u16, method: &str, path: &str) -> Value {
    let (status, body) = within(path, PATIENCE, ask(web, method, path)).await.expect(path);
    assert_eq!(status, 200, "{path}: {body}");
    body
}

async fn answers(web: u16, path: &str) {
    eventually("the shop opens", PATIENCE, async || {
        ask(web, "GET", path).await.is_some_and(|(status, _)| status < 500)
    })
    .await;
}

async fn terminate(mut child: Child) {
    let pid = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    within("it ends", PATIENCE, child.wait()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_gunicorn_workers_and_a_cron_job() {
    let shop = Shop::new().await;
    let [web] = free_ports();
    let gunicorn = shop.gunicorn("4", web);
    answers(web, "/servers").await;
    let (mut slowest, mut keys) = (Duration::ZERO, Vec::new());
    for i in 0..12 {
        // Twice, as payments come: it is one key, in whichever worker.
        let path = format!("/keys/k{i}?payment=p{i}");
        let (one, two) = tokio::join!(ok(web, "POST", &path), ok(web, "POST", &path));
        assert_eq!(one, two);
        let key = one["id"].as_i64().unwrap();
        slowest = slowest.max(shop.has(key, true).await);
        ok(web, "POST", &format!("/keys/k{i}/disable")).await;
        slowest = slowest.max(shop.has(key, false).await);
        ok(web, "POST", &format!("/keys/k{i}/enable")).await;
        slowest = slowest.max(shop.has(key, true).await);
        ok(web, "POST", &format!("/keys/k{i}/renew?payment=r{i}")).await;
        keys.push(key);
    }
    println!("every change was on Xray {slowest:?} after its answer at the latest");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");

    // A cron job, which drives nothing.
    let python = installed("venv/bin/python");
    let nightly = shop.run(&python, &["nightly.py", "k0", "k1"], web);
    let status = within("the job ends", PATIENCE, nightly.wait_with_output()).await.unwrap().status;
    assert!(status.success());
    for key in &keys[..2] {
        shop.has(*key, false).await;
    }
    // The worker that drives is killed; another one goes on, with the same Xray.
    let process = shop.process();
    let drives = async || {
        let servers = ok(web, "GET", "/servers").await;
        servers[0]["process"].as_u64().map(|pid| pid.to_string())
    };
    let before = drives().await.expect("a worker drives");
    assert!(std::process::Command::new("kill").args(["-9", &before]).status().unwrap().success());
    let killed = Instant::now();
    eventually("another one drives", PATIENCE, async || {
        matches!(ask(web, "GET", "/servers").await, Some((200, servers))
            if servers[0]["process"].as_u64().is_some_and(|pid| pid.to_string() != before))
    })
    .await;
    println!("another worker drives {:?} after the death of the one that did", killed.elapsed());
    // Redeployed: every worker is replaced.
    let master = gunicorn.id().unwrap().to_string();
    let before = drives().await;
    assert!(std::process::Command::new("kill").args(["-HUP", &master]).status().unwrap().success());
    let replaced = eventually("new workers", PATIENCE, async || drives().await != before).await;
    ok(web, "POST", "/keys/k2/disable").await;
    let followed = shop.has(keys[2], false).await;
    println!(
        "redeployed: another worker drives after {replaced:?}, a change is on Xray {followed:?} after its answer"
    );
    assert_eq!(shop.process(), process, "the same Xray all the time");

    terminate(gunicorn).await;
    assert_eq!(shop.process(), process, "it runs on");
    let directory = shop.directory.path().join("xray");
    let stop = shop.run(&python, &["-m", "vpnkit", "stop", directory.to_str().unwrap()], web);
    assert!(stop.wait_with_output().await.unwrap().status.success());
    assert!(shop.process().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_in_python_and_two_in_node() {
    let shop = Shop::new().await;
    let [python, node] = free_ports();
    let gunicorn = shop.gunicorn("2", python);
    answers(python, "/servers").await;
    let program: PathBuf = compiled_examples().await.join("cluster.mjs");
    let cluster = shop.run(Path::new("node"), &[program.to_str().unwrap()], node);
    answers(node, "/nothing").await;
    let mut slowest = Duration::ZERO;
    for i in 0..10 {
        let key = match i % 2 {
            0 => ok(python, "POST", &format!("/keys/p{i}?payment=p{i}")).await,
            _ => ok(node, "POST", &format!("/keys/p{i}")).await,
        };
        let key = key["id"].as_i64().unwrap();
        slowest = slowest.max(shop.has(key, true).await);
        // Each by the other language.
        let other = if i % 2 == 0 { node } else { python };
        ok(other, "POST", &format!("/keys/p{i}/disable")).await;
        slowest = slowest.max(shop.has(key, false).await);
        ok(other, "POST", &format!("/keys/p{i}/enable")).await;
        slowest = slowest.max(shop.has(key, true).await);
        ok(other, "POST", &format!("/keys/p{i}/renew?payment=r{i}")).await;
    }
    println!("every change was on Xray {slowest:?} after its answer at the latest");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    // The language that drives goes away; the other one takes over.
    let process = shop.process();
    terminate(gunicorn).await;
    let key = ok(node, "POST", "/keys/last").await["id"].as_i64().unwrap();
    shop.has(key, true).await;
    assert_eq!(shop.process(), process);
    terminate(cluster).await;
    let directory = shop.directory.path().join("xray");
    let stop =
        shop.run(&installed("npm/node_modules/.bin/vpnkit"), &["stop", directory.to_str().unwrap()], node);
    assert!(stop.wait_with_output().await.unwrap().status.success());
    assert!(shop.process().is_empty());
}
