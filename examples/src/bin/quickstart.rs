//! The quickstart of the README: a key, its link, its traffic.
//!
//! `cargo run -p vpnkit-examples --bin quickstart -- DIRECTORY` (needs Xray: `make xray`)
#![allow(clippy::print_stdout, reason = "a program for a terminal")]

use std::time::Duration;

use vpnkit::{
    ByteSize, Config, CreateKey, Inbound, InboundTag, RealityKeys, Result, Security, VpnKit, VpnProtocol,
    XrayConfig,
};

#[tokio::main]
async fn main() -> Result<()> {
    let directory = std::env::args().nth(1).unwrap_or_else(|| "/var/lib/vpnkit".into());
    let xray =
        XrayConfig::managed("vpn.example.com", format!("{directory}/xray")).binary(testbed::xray_binary());
    let kit = VpnKit::open(Config::sqlite(format!("{directory}/keys.db")).xray(xray)).await?;

    // Once: the keys of an inbound that exists are kept.
    let tag = InboundTag::new("reality")?;
    if kit.inbounds().get(&vpnkit::NodeId::main(), &tag).await?.is_none() {
        let reality = RealityKeys::generate().reality("www.example.com:443", "www.example.com");
        let inbound = Inbound::new(tag, 8443, VpnProtocol::Vless { vision: true });
        kit.inbounds().ensure(inbound.security(Security::Reality(reality))).await?;
    }

    let request =
        CreateKey::default().data_limit(ByteSize::gib(50)).expires_in(Duration::from_secs(30 * 86_400));
    let key = kit.keys().create(request).await?;
    println!("key {}: {}", key.id, kit.keys().links(key.id).await?.join("\n"));
    println!("used {} of {:?}", ByteSize::from_bytes(key.used), key.data_limit);
    kit.close().await
}
