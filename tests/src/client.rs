//! A real Xray as a client.

use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Stdio;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use vpnkit::Endpoint;

use crate::{Tunnel, free_ports, xray_binary};

/// An Xray that connects with one endpoint. Killed on drop.
#[derive(Debug)]
pub struct XrayClient {
    /// Its SOCKS port.
    pub tunnel: Tunnel,
    _child: Child,
    _directory: tempfile::TempDir,
}

impl XrayClient {
    /// Starts one and waits until its SOCKS port is open.
    pub async fn start(endpoint: &Endpoint) -> Self {
        Self::start_in(endpoint, None).await
    }

    /// The same in a network namespace, where only that namespace's processes reach the SOCKS port.
    pub async fn start_in(endpoint: &Endpoint, namespace: Option<&str>) -> Self {
        let [port] = free_ports();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("client.json");
        let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
        serde_json::to_writer(file, &vpnkit::subscription::xray_json::client(endpoint, port)).unwrap();
        let mut command = match namespace {
            None => Command::new(xray_binary()),
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(xray_binary());
                command
            }
        };
        command.args(["run", "-c"]).arg(&path).stdin(Stdio::null());
        if std::env::var_os("VPNKIT_LOG").is_none() {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
        let child = command.kill_on_drop(true).spawn().unwrap();
        let proxy = SocketAddr::from(([127, 0, 0, 1], port));
        if namespace.is_none() {
            let open = async {
                while TcpStream::connect(proxy).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            crate::within("the client's SOCKS port opens", Duration::from_secs(20), open).await;
        }
        Self { tunnel: Tunnel { proxy }, _child: child, _directory: directory }
    }
}
