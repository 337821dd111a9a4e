//! A managed Xray with a site behind it.

use std::path::PathBuf;

use tempfile::TempDir;
use vpnkit::{
    Config, Egress, Endpoint, Inbound, InboundTag, KeyId, NodeId, Protocol, RealityKeys, Security, ServerId,
    Tls, VpnKit, XrayConfig,
};

use crate::{Certificate, Site, XrayClient, free_ports, xray_binary};

/// A kit with one managed Xray on loopback, everything in a directory that goes away.
#[derive(Debug)]
pub struct Bed {
    /// The kit.
    pub kit: VpnKit,
    /// A plain site to reach through it.
    pub site: Site,
    /// A TLS 1.3 site, the destination of REALITY.
    pub destination: Site,
    /// The certificate of both TLS sites and TLS inbounds.
    pub certificate: Certificate,
    /// Store and Xray's files.
    pub directory: TempDir,
}

impl Bed {
    /// Opens it without inbounds.
    pub async fn open() -> Self {
        Self::open_with(|xray| xray, 1).await
    }

    /// Opens it with changes to the Xray's description, and counters read every so many seconds.
    pub async fn open_with(change: impl FnOnce(XrayConfig) -> XrayConfig, collect_secs: u64) -> Self {
        crate::log();
        let directory = tempfile::tempdir().unwrap();
        let certificate = Certificate::new("site.test");
        let (destination, site) = (Site::destination(&certificate).await, Site::plain().await);
        let xray = XrayConfig::managed("127.0.0.1", directory.path().join("xray")).binary(xray_binary());
        // Sites of tests are on loopback or in namespaces, where customers come only when it is allowed.
        let sites = ["127.0.0.1", "10.99.0.0/16"].map(|range| range.parse().unwrap());
        let xray = change(xray.egress(Egress::allowing(sites)));
        let config = Config::sqlite(directory.path().join("keys.db"))
            .xray(xray)
            .collect_every(std::time::Duration::from_secs(collect_secs));
        let kit = VpnKit::open(config).await.unwrap();
        Self { kit, site, destination, certificate, directory }
    }

    /// Xray's directory, which stands on its command line.
    pub fn xray_directory(&self) -> PathBuf {
        self.directory.path().join("xray")
    }

    /// REALITY in front of this bed's destination.
    pub fn reality(&self) -> Security {
        Security::Reality(RealityKeys::generate().reality(self.destination.address.to_string(), "site.test"))
    }

    /// TLS with this bed's certificate.
    pub fn tls(&self) -> Security {
        Security::Tls(Tls {
            server_name: "site.test".into(),
            certificate_file: self.certificate.certificate_file.clone(),
            key_file: self.certificate.key_file.clone(),
            alpn: Vec::new(),
            pinned_sha256: Some(self.certificate.sha256.clone()),
        })
    }

    /// Adds VLESS + TCP + REALITY with vision under the tag `reality`.
    pub async fn add_reality(&self) -> Inbound {
        let inbound = inbound("reality", Protocol::Vless { vision: true }).security(self.reality());
        self.kit.inbounds().ensure(inbound).await.unwrap()
    }

    /// The key's endpoint on an inbound.
    pub async fn endpoint(&self, key: KeyId, tag: &str) -> Endpoint {
        let all = self.kit.keys().endpoints(key).await.unwrap();
        all.into_iter().find(|e| e.inbound.as_str() == tag).unwrap()
    }

    /// A client of the key on an inbound, which has connected once if it can.
    pub async fn client(&self, key: KeyId, tag: &str) -> XrayClient {
        let client = XrayClient::start(&self.endpoint(key, tag).await).await;
        // The first connection of a new REALITY inbound may have to wait; tests begin after it.
        client.tunnel.connects(&self.site).await;
        client
    }

    /// Reads the counters until they stand still: Xray adds some bytes when a connection ends.
    pub async fn settle_counters(&self) {
        let mut before = None;
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(250)).await;
            self.kit.tick().await.unwrap();
            let keys = self.kit.keys().find(vpnkit::KeyQuery::default()).await.unwrap().keys;
            let now: Vec<u64> = keys.iter().map(|k| k.traffic.total()).collect();
            if before.as_ref() == Some(&now) {
                return;
            }
            before = Some(now);
        }
    }
}

/// An inbound on a free port of loopback.
pub fn inbound(tag: &str, protocol: Protocol) -> Inbound {
    let [port] = free_ports();
    let inbound = Inbound::new(InboundTag::new(tag).unwrap(), port, protocol);
    inbound.on(ServerId::new(&NodeId::main(), "xray")).listen("127.0.0.1".parse().unwrap())
}
