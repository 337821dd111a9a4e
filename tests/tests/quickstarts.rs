//! The quickstarts of all languages do the same thing, with a real Xray, and a real client gets through with the link.
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

use testbed::{
    Certificate, Client, PublicAddress, Site, built_example, compiled_examples, free_ports, installed,
    repository, within, xray_binary,
};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

const MIB: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the program twice: with a client that downloads, and again, when all must be as it was.
async fn runs(program: &Path, arguments: &[PathBuf]) {
    if !testbed::is_root(&program.display().to_string()) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let certificate = Certificate::new("localhost");
    // The programs do not let customers reach this machine's private addresses.
    let public = PublicAddress::add();
    let (destination, site) = (Site::destination(&certificate).await, Site::plain_at(public.octets()).await);
    let [port] = free_ports();
    // A name, since clients send it.
    let destination = format!("localhost:{}", destination.address.port());
    let mut links = Vec::new();
    for round in 0..2 {
        let mut child = Command::new(program)
            .args(arguments)
            .env("VPN_DIRECTORY", directory.path())
            .env("VPN_ADDRESS", "127.0.0.1")
            .env("VPN_PORT", port.to_string())
            .env("VPN_SITE", &destination)
            .env("XRAY", xray_binary())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut line =
            async || within("a line", PATIENCE, lines.next_line()).await.unwrap().unwrap_or_default();
        let link = line().await.strip_prefix("link ").unwrap().to_owned();
        assert_eq!(line().await, "press Enter to stop");
        if round == 0 {
            let client = Client::of_link(&link).await;
            assert!(client.tunnel.connects(&site).await);
            assert_eq!(client.tunnel.download(&site, 10 * MIB).await.unwrap(), 10 * MIB);
        }
        links.push(link);
        child.stdin.take().unwrap().write_all(b"\n").await.unwrap();
        let used = line().await;
        let share = used.strip_prefix("used 10").and_then(|rest| rest.strip_suffix(" MiB of 50 GiB"));
        assert!(share.is_some(), "{used}");
        let status = within("the program ends", PATIENCE, child.wait()).await.unwrap();
        assert!(status.success(), "{status}");
    }
    assert_eq!(links[0], links[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust() {
    runs(&built_example("quickstart").await, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python() {
    runs(&installed("venv/bin/python"), &[repository().join("examples/python/quickstart.py")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node() {
    runs(Path::new("node"), &[compiled_examples().await.join("quickstart.mjs")]).await;
}
