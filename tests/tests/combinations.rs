//! What vpnkit allows is what Xray allows, for every protocol, transport and protection.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking"
)]

use std::process::Command;

use serde_json::json;
use testbed::{Certificate, inbound, xray_binary};
use vpnkit::backend::ServerRules as _;
use vpnkit::xray::{RealityKeys, XrayRules};
use vpnkit::{
    PreviousKeys, Protocol, Reality, Secret, Security, ShadowsocksMethod, Timestamp, Tls, Transport,
    XhttpMode,
};

#[tokio::test]
async fn xray_accepts_exactly_the_inbounds_that_vpnkit_accepts() {
    let certificate = Certificate::new("site.test");
    let directory = tempfile::tempdir().unwrap();
    let path = || "/tunnel".to_owned();
    let transports = [
        Transport::Tcp,
        Transport::WebSocket { path: path(), host: Some("h.test".into()) },
        Transport::Grpc { service_name: "tunnel".into() },
        Transport::HttpUpgrade { path: path(), host: None },
        Transport::Xhttp { path: path(), host: None, mode: XhttpMode::StreamUp },
    ];
    let tls = Tls {
        server_name: "site.test".into(),
        certificate_file: certificate.certificate_file.clone(),
        key_file: certificate.key_file.clone(),
        alpn: vec!["h2".into(), "http/1.1".into()],
        pinned_sha256: None,
    };
    let old = RealityKeys::generate();
    let rotated = Reality {
        previous: Some(PreviousKeys {
            private_key: old.private,
            public_key: old.public,
            until: Timestamp::from_millis(0),
        }),
        ..RealityKeys::generate().reality("127.0.0.1:443", "site.test")
    };
    let securities = [
        Security::None,
        Security::Tls(tls),
        Security::Reality(RealityKeys::generate().reality("127.0.0.1:443", "site.test")),
        Security::Reality(rotated),
    ];
    let shadowsocks =
        |method, key: Option<&str>| Protocol::Shadowsocks { method, server_key: key.map(Secret::new) };
    let protocols = [
        Protocol::Vless { vision: false },
        Protocol::Vmess,
        Protocol::Trojan,
        shadowsocks(ShadowsocksMethod::Aes128Gcm, None),
        shadowsocks(ShadowsocksMethod::Blake3Aes128Gcm, Some("BwcHBwcHBwcHBwcHBwcHBw==")),
    ];
    let mut accepted = 0;
    for protocol in &protocols {
        for transport in &transports {
            for security in &securities {
                let inbound =
                    inbound("x", protocol.clone()).transport(transport.clone()).security(security.clone());
                let ours = XrayRules.check(&inbound);
                let file = directory.path().join("config.json");
                let config = json!({
                    "inbounds": vpnkit::xray::inbound_json(&inbound),
                    "outbounds": [{ "protocol": "freedom" }]
                });
                std::fs::write(&file, config.to_string()).unwrap();
                let theirs =
                    Command::new(xray_binary()).args(["run", "-test", "-c"]).arg(&file).output().unwrap();
                let told = String::from_utf8_lossy(&theirs.stdout).into_owned();
                assert_eq!(ours.is_ok(), theirs.status.success(), "{inbound:?}\n{ours:?}\n{told}");
                accepted += usize::from(ours.is_ok());
            }
        }
    }
    println!("{accepted} of 100 combinations are possible");
}

/// Keys that are made in Rust are those that Xray makes of the same private key.
#[test]
fn reality_keys_are_those_of_xray() {
    for _ in 0..5 {
        let keys = RealityKeys::generate();
        let output =
            Command::new(xray_binary()).args(["x25519", "-i", keys.private.expose()]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let value = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            line.rsplit(' ').next().unwrap().to_owned()
        };
        assert_eq!((value("PrivateKey"), value("Password")), (keys.private.expose().to_owned(), keys.public));
    }
}
