//! The quickstart: an Xray of your own, a key, its link, its traffic. The same program as `examples/python/quickstart.py`
//! and `examples/node/quickstart.mts`.
//!
//! `cargo run -p vpnkit-examples --bin quickstart` (needs Xray: `make xray`). What is particular to your server comes from
//! the environment: VPN_DIRECTORY, VPN_ADDRESS, VPN_PORT, VPN_SITE, XRAY.
#![allow(clippy::print_stdout, reason = "a program for a terminal")]

use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use vpnkit::{
    ByteSize, Config, CreateKey, Error, Inbound, InboundTag, Protocol, Reality, Result, Security, VpnKit,
    XrayConfig,
};

fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

#[tokio::main]
async fn main() -> Result<()> {
    let directory = setting("VPN_DIRECTORY", "/var/lib/vpnkit");
    let site = setting("VPN_SITE", "www.example.com:443");
    let name = site.split(':').next().unwrap_or_default();
    let port =
        setting("VPN_PORT", "443").parse().map_err(|_| Error::invalid("start", "VPN_PORT", "no port"))?;

    // Starts Xray, restarts it when it dies, stops it when we close.
    let xray = XrayConfig::managed(setting("VPN_ADDRESS", "vpn.example.com"), format!("{directory}/xray"))
        .binary(setting("XRAY", "xray"));
    let kit = VpnKit::open(Config::sqlite(format!("{directory}/keys.db")).xray(xray)).await?;

    // REALITY's keys are made the first time and kept from then on: links contain them.
    let inbound = Inbound::new(InboundTag::new("reality")?, port, Protocol::Vless { vision: true });
    let reality = Reality::at(site.as_str(), name);
    kit.inbounds().ensure(inbound.security(Security::Reality(reality))).await?;

    // The same payment twice is one key.
    let month = Duration::from_secs(30 * 86_400);
    let request = CreateKey::named("alice").data_limit(ByteSize::gib(50)).expires_in(month);
    let key = kit.keys().create(request.idempotency_key("payment:1")).await?;
    for link in kit.keys().links(key.id).await? {
        println!("link {link}");
    }

    println!("press Enter to stop");
    let _ = BufReader::new(tokio::io::stdin()).read_line(&mut String::new()).await;
    kit.traffic().collect().await?;
    let key = kit.keys().require("alice").await?;
    println!("used {} of {}", ByteSize::from_bytes(key.used), key.data_limit.unwrap_or_default());
    kit.close().await
}
