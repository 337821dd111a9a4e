//! Clash YAML: for mihomo (Clash.Meta), for Stash, and for the Clash that both come from.

use serde::Serialize;

use crate::names::{early_data, unique};
use crate::xray_json::PRIVATE;
use vpnkit_core::model::{ClientSecurity, Endpoint, Proxy, Transport, XhttpMode};
use vpnkit_core::{Error, ErrorKind, Result};

/// Which Clash reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Clash before Meta: VMess, Trojan and Shadowsocks with AEAD only.
    Clash,
    /// Stash: no XHTTP, no HTTP upgrade.
    Stash,
    /// mihomo.
    Mihomo,
}

/// The field names are Clash's own.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Config<'a> {
    mixed_port: u16,
    mode: &'static str,
    log_level: &'static str,
    ipv6: bool,
    dns: Dns,
    proxies: Vec<Entry<'a>>,
    proxy_groups: Vec<Group<'a>>,
    rules: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Dns {
    enable: bool,
    ipv6: bool,
    enhanced_mode: &'static str,
    fake_ip_range: &'static str,
    default_nameserver: [&'static str; 1],
    nameserver: [&'static str; 1],
}

#[derive(Serialize)]
struct Group<'a> {
    name: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    proxies: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<u32>,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "kebab-case")]
struct Entry<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    server: &'a str,
    port: u16,
    udp: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    uuid: Option<&'a str>,
    #[serde(rename = "alterId", skip_serializing_if = "Option::is_none")]
    alter_id: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cipher: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flow: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    packet_encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<bool>,
    /// VLESS and VMess.
    #[serde(skip_serializing_if = "Option::is_none")]
    servername: Option<&'a str>,
    /// Every other protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    sni: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alpn: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_fingerprint: Option<&'a str>,
    /// Of the certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    skip_cert_verify: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reality_opts: Option<RealityOpts<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ws_opts: Option<WsOpts<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grpc_opts: Option<GrpcOpts<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    xhttp_opts: Option<XhttpOpts<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    obfs: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    obfs_password: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pre_shared_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv6: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed_ips: Option<[&'static str; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    persistent_keepalive: Option<u16>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct RealityOpts<'a> {
    public_key: &'a str,
    short_id: &'a str,
    /// Servers since 26.9.8 want it; mihomo alone has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    support_x25519mlkem768: Option<bool>,
}

#[derive(Serialize)]
struct Headers<'a> {
    #[serde(rename = "Host", skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    #[serde(rename = "User-Agent", skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
}

impl<'a> Headers<'a> {
    fn of(host: Option<&'a str>, user_agent: Option<&'a str>) -> Option<Self> {
        (host.is_some() || user_agent.is_some()).then_some(Self { host, user_agent })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct WsOpts<'a> {
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Headers<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_early_data: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    early_data_header_name: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    v2ray_http_upgrade: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct GrpcOpts<'a> {
    grpc_service_name: &'a str,
}

#[derive(Serialize)]
struct XhttpOpts<'a> {
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Headers<'a>>,
}

/// Whether Clash of this dialect can use the endpoint.
#[must_use]
pub fn expresses(dialect: Dialect, endpoint: &Endpoint) -> bool {
    entry(dialect, endpoint, "").is_some()
}

/// The file for these endpoints; those that the dialect cannot use are left out.
pub fn config(dialect: Dialect, endpoints: &[Endpoint]) -> Result<String> {
    vpnkit_core::Secret::reveal(|| {
        const SELECT: &str = "Proxy";
        const AUTO: &str = "Auto";
        let usable: Vec<&Endpoint> = endpoints.iter().filter(|e| expresses(dialect, e)).collect();
        let names = unique(
            usable.iter().copied(),
            &[SELECT, AUTO, "DIRECT", "REJECT", "PASS", "COMPATIBLE", "GLOBAL"],
        );
        let proxies: Vec<Entry<'_>> =
            usable.iter().zip(&names).filter_map(|(endpoint, name)| entry(dialect, endpoint, name)).collect();
        let all = || names.iter().map(String::as_str);
        let mut groups = Vec::new();
        if names.is_empty() {
            groups.push(Group {
                name: SELECT,
                kind: "select",
                proxies: vec!["DIRECT"],
                url: None,
                interval: None,
            });
        } else {
            let choices = std::iter::once(AUTO).chain(all()).collect();
            groups.push(Group { name: SELECT, kind: "select", proxies: choices, url: None, interval: None });
            groups.push(Group {
                name: AUTO,
                kind: "url-test",
                proxies: all().collect(),
                url: Some("https://www.gstatic.com/generate_204"),
                interval: Some(300),
            });
        }
        let private = PRIVATE.iter().map(|net| {
            let kind = if net.contains(':') { "IP-CIDR6" } else { "IP-CIDR" };
            format!("{kind},{net},DIRECT,no-resolve")
        });
        let config = Config {
            mixed_port: 7890,
            mode: "rule",
            log_level: "warning",
            ipv6: true,
            dns: Dns {
                enable: true,
                ipv6: true,
                enhanced_mode: "fake-ip",
                fake_ip_range: "198.18.0.1/16",
                default_nameserver: ["1.1.1.1"],
                nameserver: ["https://1.1.1.1/dns-query"],
            },
            proxies,
            proxy_groups: groups,
            rules: private.chain(std::iter::once(format!("MATCH,{SELECT}"))).collect(),
        };
        serde_saphyr::to_string_with_options(&config, yaml()).map_err(|e| {
            Error::new(ErrorKind::Unexpected, "subscription.clash", "YAML was not written").caused_by(e)
        })
    })
}

/// One endpoint as templates see it; `None` when the dialect cannot use it.
pub(crate) fn value(dialect: Dialect, endpoint: &Endpoint) -> Option<serde_json::Value> {
    vpnkit_core::Secret::reveal(|| {
        entry(dialect, endpoint, &endpoint.remark).and_then(|entry| serde_json::to_value(entry).ok())
    })
}

fn entry<'a>(dialect: Dialect, endpoint: &'a Endpoint, name: &'a str) -> Option<Entry<'a>> {
    let mut entry =
        Entry { name, server: &endpoint.address, port: endpoint.port, udp: true, ..Entry::default() };
    let mut carried = true;
    match (&endpoint.proxy, dialect) {
        (Proxy::Vless { id, vision }, Dialect::Stash | Dialect::Mihomo) => {
            (entry.kind, entry.uuid) = ("vless", Some(id.expose()));
            entry.flow = vision.then_some("xtls-rprx-vision");
            entry.packet_encoding = (dialect == Dialect::Mihomo).then_some("xudp");
        }
        (Proxy::Vmess { id }, _) => {
            (entry.kind, entry.uuid) = ("vmess", Some(id.expose()));
            (entry.alter_id, entry.cipher) = (Some(0), Some("auto"));
        }
        (Proxy::Trojan { password }, _) => (entry.kind, entry.password) = ("trojan", Some(password.expose())),
        (Proxy::Shadowsocks { method, password }, _) => {
            if dialect == Dialect::Clash && method.key_length().is_some() {
                return None;
            }
            (entry.kind, entry.cipher) = ("ss", Some(method.code()));
            entry.password = Some(password.expose());
            carried = false;
        }
        (Proxy::Hysteria2 { password, obfs }, Dialect::Stash | Dialect::Mihomo) => {
            (entry.kind, entry.password) = ("hysteria2", Some(password.expose()));
            if let Some(obfs) = obfs {
                (entry.obfs, entry.obfs_password) = (Some("salamander"), Some(obfs.expose()));
            }
            carried = false;
        }
        (Proxy::WireGuard(peer), Dialect::Stash | Dialect::Mihomo) => {
            entry.kind = "wireguard";
            entry.private_key = Some(peer.private_key.expose());
            entry.public_key = Some(&peer.public_key);
            entry.pre_shared_key = peer.preshared_key.as_ref().map(|key| key.expose());
            let address =
                |v4: bool| peer.addresses.iter().find(|ip| ip.is_ipv4() == v4).map(ToString::to_string);
            (entry.ip, entry.ipv6) = (address(true), address(false));
            entry.allowed_ips = Some(["0.0.0.0/0", "::/0"]);
            entry.mtu = Some(peer.mtu);
            entry.persistent_keepalive = (peer.keepalive > 0).then_some(peer.keepalive);
            return Some(entry);
        }
        _ => return None,
    }
    match (&endpoint.transport, carried) {
        (Transport::Tcp, _) => {}
        // Shadowsocks over anything else needs a plugin on the server.
        (_, false) => return None,
        (transport, true) => carry(dialect, &mut entry, transport, endpoint.user_agent.as_deref())?,
    }
    protect(dialect, &mut entry, endpoint, carried)?;
    Some(entry)
}

fn carry<'a>(
    dialect: Dialect,
    entry: &mut Entry<'a>,
    transport: &'a Transport,
    user_agent: Option<&'a str>,
) -> Option<()> {
    match transport {
        Transport::Tcp => {}
        Transport::WebSocket { path, host } => {
            let (path, early) = early_data(path);
            entry.network = Some("ws");
            entry.ws_opts = Some(WsOpts {
                path,
                headers: Headers::of(host.as_deref(), user_agent),
                max_early_data: early,
                early_data_header_name: early.map(|_| "Sec-WebSocket-Protocol"),
                v2ray_http_upgrade: None,
            });
        }
        Transport::HttpUpgrade { path, host } if dialect == Dialect::Mihomo => {
            entry.network = Some("ws");
            entry.ws_opts = Some(WsOpts {
                path,
                headers: Headers::of(host.as_deref(), user_agent),
                max_early_data: None,
                early_data_header_name: None,
                v2ray_http_upgrade: Some(true),
            });
        }
        Transport::Grpc { service_name } => {
            entry.network = Some("grpc");
            entry.grpc_opts = Some(GrpcOpts { grpc_service_name: service_name });
        }
        Transport::Xhttp { path, host, mode } if dialect == Dialect::Mihomo && entry.kind == "vless" => {
            entry.network = Some("xhttp");
            entry.xhttp_opts = Some(XhttpOpts {
                path,
                host: host.as_deref(),
                mode: (*mode != XhttpMode::Auto).then(|| mode.code()),
                headers: Headers::of(None, user_agent),
            });
        }
        Transport::HttpUpgrade { .. } | Transport::Xhttp { .. } => return None,
    }
    Some(())
}

/// `ab:cd:…`, as certificates are shown.
fn with_colons(hex: &str) -> String {
    let pairs: Vec<&str> =
        hex.as_bytes().chunks(2).filter_map(|pair| std::str::from_utf8(pair).ok()).collect();
    pairs.join(":")
}

fn protect<'a>(dialect: Dialect, entry: &mut Entry<'a>, endpoint: &'a Endpoint, carried: bool) -> Option<()> {
    let by_name = matches!(entry.kind, "vless" | "vmess");
    let tls_inside = matches!(entry.kind, "trojan" | "hysteria2");
    let name = |entry: &mut Entry<'a>, sni: &'a str| {
        if by_name {
            entry.servername = Some(sni);
            entry.tls = Some(true);
        } else {
            entry.sni = Some(sni);
        }
    };
    match &endpoint.security {
        // Trojan and Hysteria are always inside TLS there.
        ClientSecurity::None if tls_inside => return None,
        // Its gRPC is always inside TLS too.
        ClientSecurity::None if dialect == Dialect::Clash && entry.grpc_opts.is_some() => return None,
        ClientSecurity::None => {
            // Without TLS mihomo has to be told that XHTTP speaks HTTP/1.1.
            entry.alpn = entry.xhttp_opts.is_some().then(|| vec!["http/1.1"]);
        }
        _ if entry.kind == "ss" => return None,
        ClientSecurity::Tls { sni, alpn, fingerprint, pinned_sha256, allow_insecure } => {
            name(entry, sni);
            entry.alpn = (!alpn.is_empty()).then(|| alpn.iter().map(String::as_str).collect());
            entry.client_fingerprint = (carried && dialect != Dialect::Clash).then_some(fingerprint.as_str());
            entry.skip_cert_verify = allow_insecure.then_some(true);
            if let Some(pin) = pinned_sha256 {
                if dialect == Dialect::Clash {
                    return None;
                }
                entry.fingerprint = Some(with_colons(pin));
            }
        }
        ClientSecurity::Reality { sni, public_key, short_id, fingerprint } => {
            if dialect == Dialect::Clash {
                return None;
            }
            name(entry, sni);
            entry.client_fingerprint = Some(fingerprint);
            let support_x25519mlkem768 = (dialect == Dialect::Mihomo).then_some(true);
            entry.reality_opts = Some(RealityOpts { public_key, short_id, support_x25519mlkem768 });
        }
    }
    Some(())
}

/// Texts on one line: some of the parsers in use do not know folded ones.
fn yaml() -> serde_saphyr::SerializerOptions {
    serde_saphyr::ser_options! { prefer_block_scalars: false }
}
