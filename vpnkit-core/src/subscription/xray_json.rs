//! A complete client configuration for Xray.

use serde_json::{Value, json};

use super::link::shadowsocks_password;
use crate::model::{ClientSecurity, CredentialSecret, Endpoint, Transport, VpnProtocol};

/// A configuration with a SOCKS inbound on `127.0.0.1:socks_port` and this endpoint as its only way out.
///
/// It contains the secret: write it to a file of mode 0600.
#[must_use]
pub fn client(endpoint: &Endpoint, socks_port: u16) -> Value {
    json!({
        "log": { "loglevel": "warning" },
        "inbounds": [{
            "tag": "socks", "listen": "127.0.0.1", "port": socks_port, "protocol": "socks",
            "settings": { "udp": true }
        }],
        "outbounds": [outbound(endpoint)]
    })
}

fn outbound(endpoint: &Endpoint) -> Value {
    let (address, port, secret) = (&endpoint.address, endpoint.port, endpoint.secret.expose());
    let user = |user: Value| json!({ "vnext": [{ "address": address, "port": port, "users": [user] }] });
    let (protocol, settings) = match &endpoint.protocol {
        VpnProtocol::Vless { vision } => {
            let flow = if *vision { "xtls-rprx-vision" } else { "" };
            ("vless", user(json!({ "id": secret, "encryption": "none", "flow": flow })))
        }
        VpnProtocol::Vmess => ("vmess", user(json!({ "id": secret, "security": "auto" }))),
        VpnProtocol::Trojan => {
            ("trojan", json!({ "servers": [{ "address": address, "port": port, "password": secret }] }))
        }
        VpnProtocol::Shadowsocks { method, server_key } => {
            let password = match server_key {
                Some(server) => shadowsocks_password(method.code(), server.expose(), &endpoint.secret),
                None => secret,
            };
            let server =
                json!({ "address": address, "port": port, "method": method.code(), "password": password });
            ("shadowsocks", json!({ "servers": [server] }))
        }
    };
    json!({
        "tag": "proxy", "protocol": protocol, "settings": settings,
        "streamSettings": stream(&endpoint.transport, &endpoint.security)
    })
}

fn stream(transport: &Transport, security: &ClientSecurity) -> Value {
    let (network, key, settings) = transport_settings(transport);
    let mut stream = json!({ "network": network, "security": "none" });
    let mut set = |name: &str, value: Value| {
        if let Some(map) = stream.as_object_mut() {
            map.insert(name.to_owned(), value);
        }
    };
    if let Some(key) = key {
        set(key, settings);
    }
    match security {
        ClientSecurity::None => {}
        ClientSecurity::Tls { sni, alpn, fingerprint, pinned_sha256 } => {
            let mut tls = json!({ "serverName": sni, "fingerprint": fingerprint });
            if let Some(map) = tls.as_object_mut() {
                if !alpn.is_empty() {
                    map.insert("alpn".to_owned(), json!(alpn));
                }
                if let Some(pin) = pinned_sha256 {
                    map.insert("pinnedPeerCertSha256".to_owned(), json!(pin));
                }
            }
            set("security", json!("tls"));
            set("tlsSettings", tls);
        }
        ClientSecurity::Reality { sni, public_key, short_id, fingerprint } => {
            set("security", json!("reality"));
            set(
                "realitySettings",
                json!({
                    "serverName": sni, "fingerprint": fingerprint, "publicKey": public_key, "shortId": short_id
                }),
            );
        }
    }
    stream
}

/// The network's name, and name and value of its settings: the same in servers and clients.
#[must_use]
pub fn transport_settings(transport: &Transport) -> (&'static str, Option<&'static str>, Value) {
    let http = |path: &str, host: &Option<String>| {
        let mut settings = json!({ "path": path });
        if let (Some(map), Some(host)) = (settings.as_object_mut(), host) {
            map.insert("host".to_owned(), json!(host));
        }
        settings
    };
    match transport {
        Transport::Tcp => ("tcp", None, Value::Null),
        Transport::WebSocket { path, host } => ("ws", Some("wsSettings"), http(path, host)),
        Transport::HttpUpgrade { path, host } => {
            ("httpupgrade", Some("httpupgradeSettings"), http(path, host))
        }
        Transport::Grpc { service_name } => {
            ("grpc", Some("grpcSettings"), json!({ "serviceName": service_name }))
        }
        Transport::Xhttp { path, host, mode } => {
            let mut settings = http(path, host);
            if let Some(map) = settings.as_object_mut() {
                map.insert("mode".to_owned(), json!(mode.code()));
            }
            ("xhttp", Some("xhttpSettings"), settings)
        }
    }
}

/// The user's own key of a Shadowsocks 2022 method, as servers and clients write it.
#[must_use]
pub fn shadowsocks_user_key(method: crate::model::ShadowsocksMethod, secret: &CredentialSecret) -> String {
    super::link::shadowsocks_key(method.code(), secret)
}
