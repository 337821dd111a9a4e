//! A store and an Xray that several processes have open.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use vpnkit::{Protocol, RealityKeys, Security};

use crate::{
    Certificate, Owner, Site, XrayClient, children_of, eventually, get, inbound, standalone, xray_binary,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A store and a managed Xray in a directory that goes away, and a site behind it. What runs on is ended with it.
#[derive(Debug)]
pub struct SharedBed {
    /// Store and Xray's files.
    pub directory: TempDir,
    /// A TLS site to reach through it.
    pub site: Site,
    destination: Site,
    certificate: Certificate,
    program: &'static str,
}

impl SharedBed {
    /// Makes it; `program` is the owner of the calling suite.
    pub async fn new(program: &'static str) -> Self {
        crate::log();
        let certificate = Certificate::new("site.test");
        let (site, destination) = (Site::tls(&certificate).await, Site::destination(&certificate).await);
        Self { directory: tempfile::tempdir().unwrap(), site, destination, certificate, program }
    }

    /// Xray's directory.
    pub fn xray(&self) -> PathBuf {
        self.directory.path().join("xray")
    }

    /// What a process opens.
    pub fn config(&self, keep_running: bool) -> Value {
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

    /// Opens it in another process, with an Xray that is to run on.
    pub async fn open(&self) -> Owner {
        self.open_with(&self.config(true)).await
    }

    /// Opens it in another process.
    pub async fn open_with(&self, config: &Value) -> Owner {
        Owner::start(self.program, config).await
    }

    /// Opens it in another process that has no servers.
    pub async fn open_panel(&self) -> Owner {
        let mut config = self.config(true);
        config["servers"] = json!([]);
        self.open_with(&config).await
    }

    /// The Xrays that run in its directory.
    pub fn process(&self) -> Vec<u32> {
        children_of(self.xray().join("config.json").to_str().unwrap())
    }

    /// Adds REALITY with vision, and a key with a client.
    pub async fn add(&self, owner: &Owner, key: Value) -> (i64, XrayClient) {
        let address = self.destination.address.to_string();
        let reality = Security::Reality(RealityKeys::generate().reality(address, "site.test"));
        let inbound = inbound("reality", Protocol::Vless { vision: true }).security(reality);
        let inbound = vpnkit_core::Secret::reveal(|| serde_json::to_value(&inbound).unwrap());
        owner.ok("inbounds.ensure", json!({ "inbound": inbound })).await;
        let key = owner.ok("keys.create", json!({ "request": key })).await["id"].as_i64().unwrap();
        (key, self.client(owner, key).await)
    }

    /// A client of a key.
    pub async fn client(&self, owner: &Owner, key: i64) -> XrayClient {
        let links = owner.ok("keys.links", json!({ "key": key })).await;
        XrayClient::of_link(links[0].as_str().unwrap()).await
    }

    /// A download that goes on until it is told to finish; returns the bytes that came.
    pub async fn download(&self, client: &XrayClient, bytes: usize, flow: &Flow) -> std::io::Result<usize> {
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

    /// Where Xray's API is.
    pub fn api(&self) -> String {
        format!("unix://{}", self.xray().join("api.sock").display())
    }

    /// What Xray has counted itself, since it was started.
    pub async fn counted(&self) -> (u64, u64) {
        let all = standalone::counters(&self.api()).await;
        all.values().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// Whether Xray has an account of a key.
    pub async fn has_account(&self, key: i64) -> bool {
        let names = standalone::user_names(&self.api(), "reality").await;
        names.iter().any(|name| name.ends_with(&format!("-{key}")))
    }
}

impl Drop for SharedBed {
    fn drop(&mut self) {
        for pid in self.process() {
            let _ = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
    }
}

/// The traffic of a key, as a process says.
pub async fn traffic(owner: &Owner, key: i64) -> (u64, u64) {
    let key = owner.ok("keys.require", json!({ "key": key })).await;
    let traffic = &key["traffic"];
    (traffic["up"].as_u64().unwrap(), traffic["down"].as_u64().unwrap())
}

/// How a download goes.
#[derive(Debug, Default)]
pub struct Flow {
    /// As fast as it can; otherwise it takes as long as the test needs it to.
    pub fast: AtomicBool,
    /// So many bytes have come.
    pub came: AtomicUsize,
}

impl Flow {
    /// Waits until more bytes have come.
    pub async fn goes_on(&self) {
        let before = self.came.load(Ordering::Relaxed);
        eventually("more bytes come", PATIENCE, async || {
            self.came.load(Ordering::Relaxed) > before + 200_000
        })
        .await;
    }
}
