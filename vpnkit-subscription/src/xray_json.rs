//! Complete client configurations for Xray.

use serde_json::{Value, json};

use vpnkit_core::subscription::transport_settings;

use crate::object::set;
use crate::wireguard;
use vpnkit_core::model::{ClientSecurity, Endpoint, Proxy, Transport};

/// Addresses that stay outside the tunnel. Written out, because `geoip:private` needs a file that may be missing.
pub(crate) const PRIVATE: [&str; 9] = [
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
];

/// A configuration with a SOCKS inbound on `127.0.0.1:socks_port` and this endpoint as its only way out.
///
/// It contains the secret: write it to a file of mode 0600.
#[must_use]
pub fn client(endpoint: &Endpoint, socks_port: u16) -> Value {
    vpnkit_core::Secret::reveal(|| {
        json!({
            "log": { "loglevel": "warning" },
            "inbounds": [{
                "tag": "socks", "listen": "127.0.0.1", "port": socks_port, "protocol": "socks",
                "settings": { "udp": true }
            }],
            "outbounds": outbounds(endpoint)
        })
    })
}

/// The configurations of a subscription: a list, one for each endpoint.
#[must_use]
pub fn subscription(endpoints: &[Endpoint]) -> Value {
    vpnkit_core::Secret::reveal(|| endpoints.iter().map(full).collect())
}

fn full(endpoint: &Endpoint) -> Value {
    let mut ways = outbounds(endpoint);
    ways.push(json!({ "tag": "direct", "protocol": "freedom" }));
    ways.push(json!({ "tag": "block", "protocol": "blackhole" }));
    let sniffing = json!({ "enabled": true, "destOverride": ["http", "tls", "quic"], "routeOnly": true });
    json!({
        "remarks": endpoint.remark,
        "log": { "loglevel": "warning" },
        "dns": { "servers": ["https://1.1.1.1/dns-query", "1.1.1.1"], "queryStrategy": "UseIP" },
        "inbounds": [
            {
                "tag": "socks", "listen": "127.0.0.1", "port": 10808, "protocol": "socks",
                "settings": { "udp": true }, "sniffing": sniffing
            },
            { "tag": "http", "listen": "127.0.0.1", "port": 10809, "protocol": "http", "sniffing": sniffing }
        ],
        "outbounds": ways,
        "routing": {
            "domainStrategy": "IPIfNonMatch",
            "rules": [{ "type": "field", "ip": PRIVATE, "outboundTag": "direct" }]
        }
    })
}

/// The way out, and the one that cuts its first packets if there is one.
fn outbounds(endpoint: &Endpoint) -> Vec<Value> {
    let mut proxy = json!({ "tag": "proxy" });
    let (protocol, settings) = proxy_settings(endpoint);
    set(&mut proxy, "protocol", json!(protocol));
    set(&mut proxy, "settings", settings);
    if !matches!(endpoint.proxy, Proxy::WireGuard(_)) {
        set(&mut proxy, "streamSettings", stream(endpoint));
    }
    let vision = matches!(endpoint.proxy, Proxy::Vless { vision: true, .. });
    if endpoint.mux && !vision {
        set(&mut proxy, "mux", json!({ "enabled": true, "concurrency": 8, "xudpConcurrency": 8 }));
    }
    let mut all = vec![proxy];
    if endpoint.fragment.is_some() || !endpoint.noises.is_empty() {
        let mut settings = json!({});
        if let Some(fragment) = &endpoint.fragment {
            let fragment = json!({
                "packets": fragment.packets, "length": fragment.length.to_string(),
                "interval": fragment.interval.to_string()
            });
            set(&mut settings, "fragment", fragment);
        }
        if !endpoint.noises.is_empty() {
            let noise = |n: &vpnkit_core::model::Noise| json!({ "type": n.kind, "packet": n.packet, "delay": n.delay.to_string() });
            set(&mut settings, "noises", endpoint.noises.iter().map(noise).collect());
        }
        all.push(json!({ "tag": "fragment", "protocol": "freedom", "settings": settings }));
    }
    all
}

fn proxy_settings(endpoint: &Endpoint) -> (&'static str, Value) {
    let (address, port) = (&endpoint.address, endpoint.port);
    let user = |user: Value| json!({ "vnext": [{ "address": address, "port": port, "users": [user] }] });
    match &endpoint.proxy {
        Proxy::Vless { id, vision } => {
            let flow = if *vision { "xtls-rprx-vision" } else { "" };
            ("vless", user(json!({ "id": id, "encryption": "none", "flow": flow })))
        }
        Proxy::Vmess { id } => ("vmess", user(json!({ "id": id, "security": "auto" }))),
        Proxy::Trojan { password } => {
            ("trojan", json!({ "servers": [{ "address": address, "port": port, "password": password }] }))
        }
        Proxy::Shadowsocks { method, password } => {
            let server =
                json!({ "address": address, "port": port, "method": method.code(), "password": password });
            ("shadowsocks", json!({ "servers": [server] }))
        }
        Proxy::Hysteria2 { .. } => ("hysteria", json!({ "version": 2, "address": address, "port": port })),
        Proxy::WireGuard(peer) => {
            let mut server = json!({
                "publicKey": peer.public_key, "endpoint": wireguard::place(endpoint), "keepAlive": peer.keepalive
            });
            if let Some(key) = &peer.preshared_key {
                set(&mut server, "preSharedKey", json!(key));
            }
            let settings = json!({
                "secretKey": peer.private_key, "address": peer.prefixes(), "mtu": peer.mtu,
                "noKernelTun": true, "peers": [server]
            });
            ("wireguard", settings)
        }
    }
}

fn stream(endpoint: &Endpoint) -> Value {
    let mut stream = match &endpoint.proxy {
        Proxy::Hysteria2 { password, obfs } => {
            let mut stream = json!({
                "network": "hysteria", "hysteriaSettings": { "version": 2, "auth": password }
            });
            if let Some(obfs) = obfs {
                let mask = json!({ "udp": [{ "type": "salamander", "settings": { "password": obfs } }] });
                set(&mut stream, "finalmask", mask);
            }
            stream
        }
        _ => {
            let (network, key, mut settings) = transport_settings(&endpoint.transport);
            let mut stream = json!({ "network": network });
            if let Some(key) = key {
                if let Some(agent) = &endpoint.user_agent {
                    match endpoint.transport {
                        Transport::Grpc { .. } => set(&mut settings, "user_agent", json!(agent)),
                        _ => set(&mut settings, "headers", json!({ "User-Agent": agent })),
                    }
                }
                set(&mut stream, key, settings);
            }
            stream
        }
    };
    set(&mut stream, "security", json!(endpoint.security.code()));
    match &endpoint.security {
        ClientSecurity::None => {}
        // `allowInsecure` would be an error since 26.1.31.
        ClientSecurity::Tls { sni, alpn, fingerprint, pinned_sha256, .. } => {
            let mut tls = json!({ "serverName": sni });
            if !matches!(endpoint.proxy, Proxy::Hysteria2 { .. }) {
                set(&mut tls, "fingerprint", json!(fingerprint));
            }
            if !alpn.is_empty() {
                set(&mut tls, "alpn", json!(alpn));
            }
            if let Some(pin) = pinned_sha256 {
                set(&mut tls, "pinnedPeerCertSha256", json!(pin));
            }
            set(&mut stream, "tlsSettings", tls);
        }
        ClientSecurity::Reality { sni, public_key, short_id, fingerprint } => {
            let reality = json!({
                "serverName": sni, "fingerprint": fingerprint, "publicKey": public_key, "shortId": short_id
            });
            set(&mut stream, "realitySettings", reality);
        }
    }
    if endpoint.fragment.is_some() || !endpoint.noises.is_empty() {
        set(&mut stream, "sockopt", json!({ "dialerProxy": "fragment" }));
    }
    stream
}
