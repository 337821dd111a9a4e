//! Endpoints that show every protocol: for checking templates, and for tests of formats.

use vpnkit_core::model::{
    ByteSize, ClientSecurity, Endpoint, InboundTag, Key, KeyId, KeyName, NewKey, Proxy, ShadowsocksMethod,
    Transport, WireGuardPeer, XhttpMode,
};
use vpnkit_core::{Secret, Timestamp};

const UUID: &str = "11111111-2222-4333-8444-555555555555";
const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEA=";

/// An endpoint with this proxy over TCP.
pub fn endpoint(proxy: Proxy) -> Endpoint {
    Endpoint {
        key: KeyId(1),
        inbound: InboundTag::sample(),
        remark: "Привет & co".into(),
        address: "192.0.2.1".into(),
        port: 443,
        proxy,
        transport: Transport::Tcp,
        security: ClientSecurity::None,
        mux: false,
        fragment: None,
        noises: Vec::new(),
        user_agent: None,
    }
}

/// Every protocol.
pub(crate) fn proxies() -> Vec<Proxy> {
    let secret = |text: &str| Secret::new(text);
    let mut all = vec![
        Proxy::Vless { id: secret(UUID), vision: false },
        Proxy::Vless { id: secret(UUID), vision: true },
        Proxy::Vmess { id: secret(UUID) },
        Proxy::Trojan { password: secret("p@ss: word") },
    ];
    all.extend(ShadowsocksMethod::ALL.iter().map(|&method| Proxy::Shadowsocks {
        method,
        password: match method.key_length() {
            Some(16) => secret("MDEyMzQ1Njc4OWFiY2RlZg==:MDEyMzQ1Njc4OWFiY2RlZg=="),
            Some(_) => Secret::new(format!("{KEY}:{KEY}")),
            None => secret("p@ss: word"),
        },
    }));
    all.push(Proxy::Hysteria2 { password: secret("p@ss: word"), obfs: None });
    all.push(Proxy::Hysteria2 { password: secret("p@ss: word"), obfs: Some(secret("salty")) });
    all.push(Proxy::WireGuard(WireGuardPeer {
        private_key: secret(KEY),
        public_key: KEY.into(),
        preshared_key: None,
        addresses: vec!["10.8.0.2".parse().unwrap_or(std::net::Ipv4Addr::LOCALHOST.into())],
        dns: Vec::new(),
        mtu: 1_420,
        keepalive: 25,
    }));
    all
}

/// Every combination of protocol, transport and protection that servers can run.
#[must_use]
pub fn endpoints() -> Vec<Endpoint> {
    let (path, host) = (|| "/a b?ed=2560".to_owned(), || Some("front.test".to_owned()));
    let transports = [
        Transport::Tcp,
        Transport::WebSocket { path: path(), host: host() },
        Transport::Grpc { service_name: "svc".into() },
        Transport::HttpUpgrade { path: "/up".into(), host: None },
        Transport::Xhttp { path: "/x".into(), host: host(), mode: XhttpMode::PacketUp },
    ];
    let tls = |alpn: &[&str]| ClientSecurity::Tls {
        sni: "site.test".into(),
        alpn: alpn.iter().map(|&a| a.to_owned()).collect(),
        fingerprint: "chrome".into(),
        pinned_sha256: None,
        allow_insecure: false,
    };
    let reality = ClientSecurity::Reality {
        sni: "site.test".into(),
        public_key: "jNXHt1yRo0vDuchQlIP6Z0ZvjT3KtzVI-T4E7RoLJS0".into(),
        short_id: "0123".into(),
        fingerprint: "chrome".into(),
    };
    let mut all = Vec::new();
    for proxy in proxies() {
        let vision = matches!(proxy, Proxy::Vless { vision: true, .. });
        if matches!(proxy, Proxy::Hysteria2 { .. } | Proxy::WireGuard(_)) {
            let security =
                if matches!(proxy, Proxy::WireGuard(_)) { ClientSecurity::None } else { tls(&["h3"]) };
            all.push(Endpoint { security, ..endpoint(proxy) });
            continue;
        }
        for transport in &transports {
            for security in [&ClientSecurity::None, &tls(&["h2", "http/1.1"]), &reality] {
                let plain = *transport == Transport::Tcp;
                let with_reality =
                    plain || matches!(transport, Transport::Grpc { .. } | Transport::Xhttp { .. });
                let possible = match security {
                    ClientSecurity::Reality { .. } => with_reality,
                    _ => true,
                };
                if possible && !(vision && (!plain || *security == ClientSecurity::None)) {
                    all.push(Endpoint {
                        transport: transport.clone(),
                        security: security.clone(),
                        ..endpoint(proxy.clone())
                    });
                }
            }
        }
    }
    for (i, endpoint) in all.iter_mut().enumerate() {
        let (proxy, transport) = (endpoint.proxy.code(), endpoint.transport.code());
        endpoint.remark = format!("{i} {proxy} {transport} {}", endpoint.security.code());
    }
    all
}

/// A key with a name, a label, a limit and an end.
pub(crate) fn full_key() -> Key {
    Key {
        name: KeyName::new("sample").ok(),
        label: Some("label".to_owned()),
        data_limit: Some(ByteSize::gib(50)),
        expires_at: Some(Timestamp::from_secs(86_400)),
        ..bare_key()
    }
}

/// A key without any of them.
pub(crate) fn bare_key() -> Key {
    NewKey::default().into_key(KeyId(1), Timestamp::default())
}

/// What stands for servers when there are none to show.
pub(crate) fn notice() -> Vec<Endpoint> {
    vec![crate::respond::placeholder(KeyId(1), "notice")]
}
