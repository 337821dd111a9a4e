//! sing-box JSON.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::names::{early_data, unique};
use crate::object::set;
use crate::xray_json::PRIVATE;
use vpnkit_core::model::{ClientSecurity, Endpoint, Proxy, Transport};

/// The forms of its configuration that are not read by each other's releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SingBoxForm {
    /// 1.10 and before: outbounds `dns` and `wireguard`, sniffing in inbounds, addresses of TUN by family.
    V1_10,
    /// 1.11: rule actions, WireGuard endpoints, DNS servers as addresses.
    V1_11,
    /// 1.12 and later, up to 1.14: typed DNS servers.
    #[default]
    V1_12,
}

impl SingBoxForm {
    /// The form that a release reads, `1.14.1`.
    #[must_use]
    pub fn of_release(version: &str) -> Self {
        let mut numbers = version.split(['.', '-', ' ']).map(|n| n.parse::<u32>().unwrap_or(u32::MAX));
        match (numbers.next(), numbers.next()) {
            (Some(1), Some(..=10)) => Self::V1_10,
            (Some(1), Some(11)) => Self::V1_11,
            _ => Self::V1_12,
        }
    }
}

const TUN_IPV4: &str = "172.19.0.1/30";
const TUN_IPV6: &str = "fdfe:dcba:9876::1/126";

/// Whether sing-box can use the endpoint.
#[must_use]
pub fn expresses(endpoint: &Endpoint) -> bool {
    outbound(SingBoxForm::V1_12, endpoint, "").is_some()
}

/// The configuration for these endpoints; those that sing-box cannot use are left out.
#[must_use]
pub fn config(form: SingBoxForm, endpoints: &[Endpoint]) -> Value {
    vpnkit_core::Secret::reveal(|| {
        let usable: Vec<&Endpoint> = endpoints.iter().filter(|e| expresses(e)).collect();
        let names = unique(usable.iter().copied(), &["proxy", "auto", "direct", "dns-out"]);
        let (mut outbounds, mut peers) = (Vec::new(), Vec::new());
        let mut choices: Vec<&str> = names.iter().map(String::as_str).collect();
        if names.is_empty() {
            choices.push("direct");
        } else {
            outbounds.push(json!({ "type": "urltest", "tag": "auto", "outbounds": choices }));
            choices.insert(0, "auto");
        }
        outbounds.insert(0, json!({ "type": "selector", "tag": "proxy", "outbounds": choices }));
        for (endpoint, name) in usable.iter().zip(&names) {
            let Some(value) = outbound(form, endpoint, name) else { continue };
            match (&endpoint.proxy, form) {
                (Proxy::WireGuard(_), SingBoxForm::V1_11 | SingBoxForm::V1_12) => peers.push(value),
                _ => outbounds.push(value),
            }
        }
        outbounds.push(json!({ "type": "direct", "tag": "direct" }));
        let mut route = json!({ "auto_detect_interface": true, "final": "proxy" });
        let mut tun = json!({
            "type": "tun", "tag": "tun-in", "mtu": 1420, "auto_route": true, "strict_route": true
        });
        let private = json!({ "ip_cidr": PRIVATE, "outbound": "direct" });
        match form {
            SingBoxForm::V1_10 => {
                outbounds.push(json!({ "type": "dns", "tag": "dns-out" }));
                set(&mut tun, "inet4_address", json!(TUN_IPV4));
                set(&mut tun, "inet6_address", json!(TUN_IPV6));
                set(&mut tun, "sniff", json!(true));
                set(&mut route, "rules", json!([{ "protocol": "dns", "outbound": "dns-out" }, private]));
            }
            SingBoxForm::V1_11 | SingBoxForm::V1_12 => {
                let rules =
                    json!([{ "action": "sniff" }, { "protocol": "dns", "action": "hijack-dns" }, private]);
                set(&mut route, "rules", rules);
            }
        }
        let dns = match form {
            SingBoxForm::V1_12 => {
                set(&mut route, "default_domain_resolver", json!("local"));
                json!({
                    "servers": [
                        { "type": "https", "tag": "remote", "server": "1.1.1.1", "detour": "proxy" },
                        { "type": "local", "tag": "local" }
                    ],
                    "final": "remote"
                })
            }
            SingBoxForm::V1_10 | SingBoxForm::V1_11 => json!({
                "servers": [
                    { "tag": "remote", "address": "https://1.1.1.1/dns-query", "detour": "proxy" },
                    { "tag": "local", "address": "local", "detour": "direct" }
                ],
                "rules": [{ "outbound": "any", "server": "local" }],
                "final": "remote"
            }),
        };
        let mut config = json!({
            "log": { "level": "warn" }, "dns": dns, "inbounds": [tun], "outbounds": outbounds, "route": route
        });
        if !peers.is_empty() {
            set(&mut config, "endpoints", Value::Array(peers));
        }
        config
    })
}

/// One endpoint; `None` when sing-box cannot use it.
pub(crate) fn outbound(form: SingBoxForm, endpoint: &Endpoint, tag: &str) -> Option<Value> {
    vpnkit_core::Secret::reveal(|| {
        let mut out = json!({ "tag": tag });
        let mut put = |name: &str, value: Value| set(&mut out, name, value);
        if let Proxy::WireGuard(_) = endpoint.proxy {
            return Some(peer(form, endpoint, tag));
        }
        put("server", json!(endpoint.address));
        put("server_port", json!(endpoint.port));
        match &endpoint.proxy {
            Proxy::Vless { id, vision } => {
                put("type", json!("vless"));
                put("uuid", json!(id));
                if *vision {
                    put("flow", json!("xtls-rprx-vision"));
                }
                put("packet_encoding", json!("xudp"));
            }
            Proxy::Vmess { id } => {
                put("type", json!("vmess"));
                put("uuid", json!(id));
                put("security", json!("auto"));
                put("packet_encoding", json!("xudp"));
            }
            Proxy::Trojan { password } => {
                put("type", json!("trojan"));
                put("password", json!(password));
            }
            Proxy::Shadowsocks { method, password } => {
                // Anything but plain TCP needs a plugin on the server.
                if endpoint.transport != Transport::Tcp || endpoint.security != ClientSecurity::None {
                    return None;
                }
                put("type", json!("shadowsocks"));
                put("method", json!(method.code()));
                put("password", json!(password));
            }
            Proxy::Hysteria2 { password, obfs } => {
                put("type", json!("hysteria2"));
                put("password", json!(password));
                if let Some(obfs) = obfs {
                    put("obfs", json!({ "type": "salamander", "password": obfs }));
                }
            }
            Proxy::WireGuard(_) => {}
        }
        if let Some(transport) = transport(endpoint)? {
            put("transport", transport);
        }
        if let Some(tls) = tls(form, endpoint)? {
            put("tls", tls);
        }
        Some(out)
    })
}

/// The outer `None`: sing-box has no such transport.
fn transport(endpoint: &Endpoint) -> Option<Option<Value>> {
    let headers = |value: &mut Value, host: Option<&String>| {
        let mut headers = json!({});
        if let Some(host) = host {
            set(&mut headers, "Host", json!(host));
        }
        if let Some(agent) = &endpoint.user_agent {
            set(&mut headers, "User-Agent", json!(agent));
        }
        if headers.as_object().is_some_and(|headers| !headers.is_empty()) {
            set(value, "headers", headers);
        }
    };
    Some(Some(match &endpoint.transport {
        Transport::Tcp => return Some(None),
        Transport::WebSocket { path, host } => {
            let (path, early) = early_data(path);
            let mut value = json!({ "type": "ws", "path": path });
            headers(&mut value, host.as_ref());
            if let Some(early) = early {
                set(&mut value, "max_early_data", json!(early));
                set(&mut value, "early_data_header_name", json!("Sec-WebSocket-Protocol"));
            }
            value
        }
        Transport::HttpUpgrade { path, host } => {
            let mut value = json!({ "type": "httpupgrade", "path": path });
            if let Some(host) = host {
                set(&mut value, "host", json!(host));
            }
            headers(&mut value, None);
            value
        }
        Transport::Grpc { service_name } => json!({ "type": "grpc", "service_name": service_name }),
        Transport::Xhttp { .. } => return None,
    }))
}

/// The outer `None`: sing-box cannot protect it so.
fn tls(form: SingBoxForm, endpoint: &Endpoint) -> Option<Option<Value>> {
    let mut tls = json!({ "enabled": true });
    let over_quic = matches!(endpoint.proxy, Proxy::Hysteria2 { .. });
    match &endpoint.security {
        ClientSecurity::None if over_quic => return None,
        ClientSecurity::None => return Some(None),
        ClientSecurity::Tls { sni, alpn, fingerprint, pinned_sha256, allow_insecure } => {
            // It pins public keys, not certificates.
            if pinned_sha256.is_some() && !allow_insecure {
                return None;
            }
            set(&mut tls, "server_name", json!(sni));
            if !alpn.is_empty() {
                set(&mut tls, "alpn", json!(alpn));
            }
            if *allow_insecure {
                set(&mut tls, "insecure", json!(true));
            }
            if !over_quic {
                set(&mut tls, "utls", json!({ "enabled": true, "fingerprint": fingerprint }));
                let cuts_hello = endpoint.fragment.as_ref().is_some_and(|f| f.packets == "tlshello");
                if cuts_hello && form == SingBoxForm::V1_12 {
                    set(&mut tls, "fragment", json!(true));
                }
            }
        }
        ClientSecurity::Reality { sni, public_key, short_id, fingerprint } => {
            set(&mut tls, "server_name", json!(sni));
            set(&mut tls, "utls", json!({ "enabled": true, "fingerprint": fingerprint }));
            let reality = json!({ "enabled": true, "public_key": public_key, "short_id": short_id });
            set(&mut tls, "reality", reality);
        }
    }
    Some(Some(tls))
}

/// WireGuard: an endpoint since 1.11, an outbound before.
fn peer(form: SingBoxForm, endpoint: &Endpoint, tag: &str) -> Value {
    let Proxy::WireGuard(peer) = &endpoint.proxy else { return Value::Null };
    let addresses = peer.prefixes();
    if form == SingBoxForm::V1_10 {
        let mut out = json!({
            "type": "wireguard", "tag": tag, "server": endpoint.address, "server_port": endpoint.port,
            "local_address": addresses, "private_key": peer.private_key, "peer_public_key": peer.public_key,
            "mtu": peer.mtu
        });
        if let Some(key) = &peer.preshared_key {
            set(&mut out, "pre_shared_key", json!(key));
        }
        return out;
    }
    let mut server = json!({
        "address": endpoint.address, "port": endpoint.port, "public_key": peer.public_key,
        "allowed_ips": ["0.0.0.0/0", "::/0"]
    });
    if let Some(key) = &peer.preshared_key {
        set(&mut server, "pre_shared_key", json!(key));
    }
    if peer.keepalive > 0 {
        set(&mut server, "persistent_keepalive_interval", json!(peer.keepalive));
    }
    json!({
        "type": "wireguard", "tag": tag, "address": addresses, "private_key": peer.private_key, "mtu": peer.mtu,
        "peers": [server]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_have_their_form() {
        for (version, form) in [
            ("1.8.0", SingBoxForm::V1_10),
            ("1.10.7", SingBoxForm::V1_10),
            ("1.11.0-beta.3", SingBoxForm::V1_11),
            ("1.12.0", SingBoxForm::V1_12),
            ("1.14.1", SingBoxForm::V1_12),
            ("2.0", SingBoxForm::V1_12),
            ("", SingBoxForm::V1_12),
        ] {
            assert_eq!(SingBoxForm::of_release(version), form, "{version}");
        }
    }
}
