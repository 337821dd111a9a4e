//! Real clients.

use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use vpnkit::Endpoint;

use crate::{Tunnel, free_ports, sing_box_binary, xray_binary};

/// A client program with one way out. Killed on drop.
#[derive(Debug)]
pub struct Client {
    /// Its SOCKS port.
    pub tunnel: Tunnel,
    _child: Child,
    _directory: tempfile::TempDir,
}

/// An Xray that connects with one endpoint.
pub type XrayClient = Client;

impl Client {
    /// Starts an Xray and waits until its SOCKS port is open.
    pub async fn start(endpoint: &Endpoint) -> Self {
        Self::start_in(endpoint, None).await
    }

    /// The same in a network namespace, where only that namespace's processes reach the SOCKS port.
    pub async fn start_in(endpoint: &Endpoint, namespace: Option<&str>) -> Self {
        let [port] = free_ports();
        let config = vpnkit::subscription::xray_json::client(endpoint, port);
        let mut command = match namespace {
            None => Command::new(xray_binary()),
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(xray_binary());
                command
            }
        };
        command.args(["run", "-c"]);
        Self::run(command, &config, port, namespace.is_none()).await
    }

    /// Starts an Xray with what an independent reader makes of a share link.
    pub async fn of_link(link: &str) -> Self {
        let [port] = free_ports();
        let config = read_links(&[link.to_owned()], port).remove(0);
        Self::xray(&config, port).await
    }

    /// Starts an Xray with a configuration whose SOCKS inbound is on `port`.
    pub async fn xray(config: &Value, port: u16) -> Self {
        let mut command = Command::new(xray_binary());
        command.args(["run", "-c"]);
        Self::run(command, config, port, true).await
    }

    /// Starts a sing-box with a subscription's configuration: its TUN inbound is replaced by SOCKS, its DNS by the
    /// machine's own.
    pub async fn sing_box(mut config: Value) -> Self {
        let [port] = free_ports();
        config["inbounds"] =
            json!([{ "type": "socks", "tag": "socks", "listen": "127.0.0.1", "listen_port": port }]);
        config["dns"] = json!({ "servers": [{ "type": "local", "tag": "local" }] });
        config["route"] = json!({ "final": "proxy", "default_domain_resolver": "local" });
        let mut command = Command::new(sing_box_binary());
        command.args(["run", "-c"]);
        Self::run(command, &config, port, true).await
    }

    async fn run(mut command: Command, config: &Value, port: u16, reachable: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("client.json");
        let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
        serde_json::to_writer(file, config).unwrap();
        command.arg(&path).stdin(Stdio::null()).current_dir(directory.path());
        if std::env::var_os("VPNKIT_LOG").is_none() {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
        let child = command.kill_on_drop(true).spawn().unwrap();
        let proxy = SocketAddr::from(([127, 0, 0, 1], port));
        if reachable {
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

/// What `judges/links.py` makes of share links: configurations of an Xray client with SOCKS on `port`.
pub fn read_links(links: &[String], port: u16) -> Vec<Value> {
    use std::io::Write as _;
    let script = crate::repository().join("tests/judges/links.py");
    let mut child = std::process::Command::new("python3")
        .arg(script)
        .arg(port.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(links.join("\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
