//! An Xray that vpnkit does not run.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::{Child, Command};
use vpnkit::{Inbound, Reality, Security, XrayConfig};

use crate::{free_ports, xray_binary};

/// An Xray with a hand-written config, as an operator would have it. Killed on drop.
#[derive(Debug)]
pub struct StandaloneXray {
    /// Where its API listens.
    pub api: String,
    path: PathBuf,
    child: Option<Child>,
    _directory: tempfile::TempDir,
}

impl StandaloneXray {
    /// Starts one with this REALITY inbound and a user that is not vpnkit's.
    pub async fn start(inbound: &Inbound) -> Self {
        let Security::Reality(reality) = &inbound.security else { panic!("a REALITY inbound") };
        let [port] = free_ports();
        let api = format!("127.0.0.1:{port}");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.json");
        std::fs::write(&path, config(&api, inbound, reality).to_string()).unwrap();
        let mut xray = Self { api, path, child: None, _directory: directory };
        xray.restart().await;
        xray
    }

    /// How vpnkit attaches to it.
    pub fn attached(&self) -> XrayConfig {
        XrayConfig::attached("127.0.0.1", &self.api)
    }

    /// Kills it and waits until it is gone.
    pub async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().await.unwrap();
        }
    }

    /// Starts it again, with nothing but its config.
    pub async fn restart(&mut self) {
        self.kill().await;
        let mut command = Command::new(xray_binary());
        command.args(["run", "-c"]).arg(&self.path).stdin(Stdio::null()).kill_on_drop(true);
        command.env("XRAY_BUF_SPLICE", "disable");
        if std::env::var_os("VPNKIT_LOG").is_none() {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
        self.child = Some(command.spawn().unwrap());
        crate::eventually("its API opens", Duration::from_secs(20), async || {
            tokio::net::TcpStream::connect(&self.api).await.is_ok()
        })
        .await;
    }

    /// Its own counters of vpnkit's users, by name: (uplink, downlink), as its own command line tells them.
    pub async fn counters(&self) -> BTreeMap<String, (u64, u64)> {
        counters(&self.api).await
    }
}

/// What the Xray behind this API has counted for vpnkit's users.
pub async fn counters(api: &str) -> BTreeMap<String, (u64, u64)> {
    let output = Command::new(xray_binary())
        .args(["api", "statsquery", "-s", api, "-pattern", "user>>>vk"])
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut all = BTreeMap::<String, (u64, u64)>::new();
    for stat in answer["stat"].as_array().into_iter().flatten() {
        let parts: Vec<&str> = stat["name"].as_str().unwrap().split(">>>").collect();
        let value = stat["value"].as_u64().unwrap_or(0);
        let entry = all.entry(parts[1].to_owned()).or_default();
        match parts[3] {
            "uplink" => entry.0 = value,
            _ => entry.1 = value,
        }
    }
    all
}

/// How many users the Xray behind this API has on an inbound, by its own word.
pub async fn user_count(api: &str, tag: &str) -> u64 {
    let output = Command::new(xray_binary())
        .args(["api", "inboundusercount", "-s", api, &format!("-tag={tag}")])
        .output()
        .await
        .unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    // protobuf's JSON writes an int64 as a text, and leaves zero out.
    match &answer["count"] {
        Value::String(text) => text.parse().unwrap(),
        number => number.as_u64().unwrap_or(0),
    }
}

/// The names of the users on an inbound of the Xray behind this API, by its own word.
pub async fn user_names(api: &str, tag: &str) -> Vec<String> {
    let mut command = Command::new(xray_binary());
    command.args(["api", "inbounduser", "-s", api, &format!("-tag={tag}")]);
    let output = command.output().await.unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let users = answer["users"].as_array().cloned().unwrap_or_default();
    users.iter().filter_map(|user| user["email"].as_str().map(str::to_owned)).collect()
}

fn config(api: &str, inbound: &Inbound, reality: &Reality) -> Value {
    json!({
        "log": { "loglevel": "warning" },
        "api": { "tag": "api", "listen": api, "services": ["HandlerService", "StatsService"] },
        "stats": {},
        "policy": { "levels": { "0": {
            "statsUserUplink": true, "statsUserDownlink": true, "statsUserOnline": true
        } } },
        "inbounds": [{
            "tag": inbound.tag, "listen": inbound.listen, "port": inbound.port, "protocol": "vless",
            "settings": {
                "clients": [{ "id": "11111111-2222-4333-8444-555555555555", "email": "alice@example" }],
                "decryption": "none"
            },
            "streamSettings": {
                "network": "tcp", "security": "reality",
                "realitySettings": {
                    "dest": reality.dest, "serverNames": reality.server_names,
                    "privateKey": reality.private_key.expose(), "shortIds": reality.short_ids
                }
            }
        }, {
            "tag": "theirs", "listen": "127.0.0.1", "port": free_ports::<1>()[0], "protocol": "trojan",
            "settings": { "clients": [{ "password": "theirs", "email": "bob@example" }] }
        }],
        "outbounds": [{ "protocol": "freedom" }]
    })
}

/// Of a key among counters by name: the names of a store's accounts end with the key's id.
pub fn of_key(counters: &BTreeMap<String, (u64, u64)>, key: vpnkit::KeyId) -> (u64, u64) {
    let ours = |name: &str| name.starts_with("vk") && name.ends_with(&format!("-{key}"));
    counters.iter().find(|(name, _)| ours(name)).map(|(_, traffic)| *traffic).unwrap()
}
