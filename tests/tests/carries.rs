//! Data goes through, and is counted.

use std::time::Duration;

use testbed::{Certificate, Site, XrayClient, free_ports, xray_binary};
use vpnkit::{Config, CreateKey, Inbound, InboundTag, RealityKeys, Security, VpnKit, VpnProtocol, XrayConfig};

const MIB: usize = 1 << 20;

fn local(inbound: Inbound) -> Inbound {
    inbound.listen("127.0.0.1".parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_mebibytes_through_reality_and_vision_are_counted() {
    testbed::log();
    let directory = tempfile::tempdir().unwrap();
    let certificate = Certificate::new("site.test");
    let (destination, site) = (Site::tls(&certificate).await, Site::plain().await);
    let config = Config::sqlite(directory.path().join("keys.db"))
        .xray(XrayConfig::managed("127.0.0.1", directory.path().join("xray")).binary(xray_binary()));
    let kit = VpnKit::open(config).await.unwrap();
    let [port] = free_ports();
    let reality = RealityKeys::generate().reality(destination.address.to_string(), "site.test");
    let tag = InboundTag::new("reality").unwrap();
    let inbound = Inbound::new(tag, port, VpnProtocol::Vless { vision: true }).security(Security::Reality(reality));
    kit.inbounds().ensure(local(inbound)).await.unwrap();
    let key = kit.keys().create(CreateKey::named("alice")).await.unwrap();
    let endpoints = kit.keys().endpoints(key.id).await.unwrap();
    assert_eq!(endpoints.len(), 1);
    let client = XrayClient::start(&endpoints[0]).await;

    assert_eq!(client.tunnel.download(&site, 10 * MIB).await.unwrap(), 10 * MIB);
    client.tunnel.upload(&site, 10 * MIB).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    kit.tick().await.unwrap();

    let key = kit.keys().require(key.id).await.unwrap();
    for counted in [key.traffic.up, key.traffic.down] {
        let passed = 10.0 * MIB as f64;
        let share = counted as f64 / passed;
        assert!((0.98..1.02).contains(&share), "counted {counted} of {passed}");
    }
    kit.close().await.unwrap();
}
