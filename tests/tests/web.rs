//! The examples for web frameworks serve subscriptions: each is started as its reader would, asked as clients would, and
//! stopped.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use testbed::{built_example, compiled_examples, eventually, free_ports, installed, repository, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use vpnkit::{Config, CreateKey, Inbound, InboundTag, Protocol, VpnKit, XrayConfig};

const PATIENCE: Duration = Duration::from_secs(60);

/// Status, head and body of an answer.
async fn asked(port: u16, path: &str, headers: &str) -> (u16, String, String) {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within("an answer", PATIENCE, stream.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), body.to_owned())
}

/// Serves a store with one key from the program, and asks as a client, a browser and a stranger.
async fn serves(program: &Path, arguments: &[PathBuf]) {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("bot.db");
    // Nobody answers there: a key has its links all the same.
    let xray = XrayConfig::attached("vpn.example.com", "127.0.0.1:1");
    let kit = VpnKit::open(Config::sqlite(&store).xray(xray)).await.unwrap();
    let inbound = Inbound::new(InboundTag::new("plain").unwrap(), 443, Protocol::Vless { vision: false });
    kit.inbounds().ensure(inbound).await.unwrap();
    let key = kit.keys().create(CreateKey::named("alice")).await.unwrap();
    let token = kit.subscriptions().token(key.id).await.unwrap();
    kit.close().await.unwrap();

    let [port] = free_ports();
    let mut child = Command::new(program)
        .args(arguments)
        .args(program.ends_with("uvicorn").then(|| format!("--port={port}")))
        .current_dir(directory.path())
        .env("VPN_STORE", format!("sqlite:{}", store.display()))
        .env("PORT", port.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    eventually("it listens", PATIENCE, async || {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
    })
    .await;
    let path = format!("/s/{token}");
    // The example drives no server of its own, so the subscription says that there is none yet.
    let (status, head, body) = asked(port, &format!("{path}/plain"), "User-Agent: v2rayNG/2.3.5\r\n").await;
    assert_eq!((status, body.contains("ss://")), (200, true), "{head}\n{body}");
    let said = |head: &str, line: &str| head.to_lowercase().contains(line);
    assert!(
        said(&head, "profile-title: example") && said(&head, "content-type: text/plain; charset=utf-8"),
        "{head}"
    );
    let (status, head, body) = asked(port, &path, "User-Agent: clash-verge/v2.4\r\n").await;
    assert_eq!((status, body.contains("mixed-port: 7890")), (200, true), "{head}\n{body}");
    assert_eq!(head.to_lowercase().matches("content-type:").count(), 1, "{head}");
    let tag = head.lines().find(|line| line.to_lowercase().starts_with("etag:")).unwrap();
    let tag = tag.split_once(':').unwrap().1;
    let (status, head, body) =
        asked(port, &path, &format!("If-None-Match:{tag}\r\nUser-Agent: clash-verge/v2.4\r\n")).await;
    assert_eq!((status, body.as_str()), (304, ""), "{head}");
    let (status, head, body) = asked(port, &path, "Accept: text/html\r\n").await;
    assert_eq!((status, body.contains("<!doctype html>")), (200, true), "{head}");
    assert!(said(&head, "content-security-policy: default-src 'none'"), "{head}");
    assert_eq!(asked(port, "/s/nobody", "").await.0, 404);
    assert_eq!(asked(port, &format!("{path}/nothing"), "").await.0, 404);

    let pid = child.id().unwrap();
    let told = Command::new("kill").args(["-TERM", &pid.to_string()]).status().await.unwrap();
    assert!(told.success());
    within("it ends", PATIENCE, child.wait()).await.unwrap();
    // It has released the store.
    VpnKit::open(Config::sqlite(&store)).await.unwrap().close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axum() {
    serves(&built_example("axum_server").await, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fastapi() {
    let examples = repository().join("examples/python");
    let arguments = ["--app-dir".into(), examples, "--log-level=critical".into(), "fastapi_app:app".into()];
    serves(&installed("venv/bin/uvicorn"), &arguments).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aiohttp() {
    serves(&installed("venv/bin/python"), &[repository().join("examples/python/aiohttp_app.py")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn express() {
    serves(Path::new("node"), &[compiled_examples().await.join("express.mjs")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fastify() {
    serves(Path::new("node"), &[compiled_examples().await.join("fastify.mjs")]).await;
}
