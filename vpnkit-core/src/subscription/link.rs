//! Share links, by the published share-link standard of the Xray project and SIP002/SIP022 for Shadowsocks.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::model::{ClientSecurity, Endpoint, Proxy, ShadowsocksMethod, Transport, WireGuardPeer, XhttpMode};

/// What `encodeURIComponent` leaves as it is.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// A share link under construction. Writing to a text does not fail.
struct Link<'t> {
    text: &'t mut String,
    query: bool,
}

impl Link<'_> {
    fn plain(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn encoded(&mut self, text: &str) {
        let _ = write!(self.text, "{}", utf8_percent_encode(text, COMPONENT));
    }

    fn place(&mut self, endpoint: &Endpoint) {
        let _ = match endpoint.address.contains(':') {
            true => write!(self.text, "@[{}]:{}", endpoint.address, endpoint.port),
            false => write!(self.text, "@{}:{}", endpoint.address, endpoint.port),
        };
    }

    /// Empty values are left out.
    fn add(&mut self, name: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        self.text.push(if std::mem::replace(&mut self.query, true) { '&' } else { '?' });
        self.text.push_str(name);
        self.text.push('=');
        self.encoded(value);
    }
}

/// The share link of an endpoint. It contains the secret.
#[must_use]
pub fn link(endpoint: &Endpoint) -> String {
    let mut text = String::with_capacity(320);
    write(endpoint, &mut text);
    text
}

/// Writes the share link of an endpoint.
pub(super) fn write(endpoint: &Endpoint, text: &mut String) {
    let mut link = Link { text, query: false };
    match &endpoint.proxy {
        Proxy::Vless { id, vision } => {
            link.plain("vless://");
            link.plain(id.expose());
            link.place(endpoint);
            link.add("encryption", "none");
            link.add("flow", if *vision { "xtls-rprx-vision" } else { "" });
            carrier(&mut link, endpoint);
        }
        Proxy::Vmess { id } => {
            link.plain("vmess://");
            link.plain(id.expose());
            link.place(endpoint);
            link.add("encryption", "auto");
            carrier(&mut link, endpoint);
        }
        Proxy::Trojan { password } => {
            link.plain("trojan://");
            link.encoded(password.expose());
            link.place(endpoint);
            carrier(&mut link, endpoint);
        }
        Proxy::Shadowsocks { method, password } => {
            link.plain("ss://");
            shadowsocks_user(&mut link, *method, password.expose());
            link.place(endpoint);
            // SIP002 knows no more; every client reads this form.
            if endpoint.transport != Transport::Tcp || endpoint.security != ClientSecurity::None {
                carrier(&mut link, endpoint);
            }
        }
        Proxy::Hysteria2 { password, obfs } => {
            link.plain("hysteria2://");
            link.encoded(password.expose());
            link.place(endpoint);
            link.plain("/");
            if let ClientSecurity::Tls { sni, pinned_sha256, allow_insecure, .. } = &endpoint.security {
                link.add("sni", sni);
                link.add("pinSHA256", pinned_sha256.as_deref().unwrap_or_default());
                // A pinned certificate is checked by its hash alone.
                link.add("insecure", if *allow_insecure || pinned_sha256.is_some() { "1" } else { "" });
            }
            if let Some(obfs) = obfs {
                link.add("obfs", "salamander");
                link.add("obfs-password", obfs.expose());
            }
        }
        Proxy::WireGuard(peer) => wireguard(&mut link, endpoint, peer),
    }
    link.plain("#");
    link.encoded(&endpoint.remark);
}

fn shadowsocks_user(link: &mut Link<'_>, method: ShadowsocksMethod, password: &str) {
    if method.key_length().is_some() {
        // SIP022: percent-encoded, never base64.
        link.plain(method.code());
        link.plain(":");
        link.encoded(password);
    } else {
        URL_SAFE_NO_PAD.encode_string(format!("{}:{password}", method.code()), link.text);
    }
}

fn wireguard(link: &mut Link<'_>, endpoint: &Endpoint, peer: &WireGuardPeer) {
    link.plain("wireguard://");
    link.encoded(peer.private_key.expose());
    link.place(endpoint);
    link.add("publickey", &peer.public_key);
    link.add("presharedkey", peer.preshared_key.as_ref().map_or("", |key| key.expose()));
    link.add("address", &peer.prefixes().join(","));
    link.add("mtu", &peer.mtu.to_string());
    if peer.keepalive > 0 {
        link.add("keepalive", &peer.keepalive.to_string());
    }
}

fn carrier(link: &mut Link<'_>, endpoint: &Endpoint) {
    let mut http = |name: &str, path: &str, host: &Option<String>| {
        link.add("type", name);
        link.add("path", path);
        link.add("host", host.as_deref().unwrap_or_default());
    };
    let transport = &endpoint.transport;
    match transport {
        Transport::Tcp => link.add("type", transport.code()),
        Transport::WebSocket { path, host } | Transport::HttpUpgrade { path, host } => {
            http(transport.code(), path, host);
        }
        Transport::Xhttp { path, host, mode } => {
            http(transport.code(), path, host);
            if *mode != XhttpMode::Auto {
                link.add("mode", mode.code());
            }
        }
        Transport::Grpc { service_name } => {
            link.add("type", transport.code());
            link.add("serviceName", service_name);
        }
    }
    link.add("security", endpoint.security.code());
    match &endpoint.security {
        ClientSecurity::None => {}
        ClientSecurity::Tls { sni, alpn, fingerprint, pinned_sha256, allow_insecure } => {
            link.add("sni", sni);
            link.add("fp", fingerprint);
            link.add("alpn", &alpn.join(","));
            link.add("pcs", pinned_sha256.as_deref().unwrap_or_default());
            link.add("allowInsecure", if *allow_insecure && pinned_sha256.is_none() { "1" } else { "" });
        }
        ClientSecurity::Reality { sni, public_key, short_id, fingerprint } => {
            link.add("sni", sni);
            link.add("fp", fingerprint);
            link.add("pbk", public_key);
            link.add("sid", short_id);
        }
    }
}

/// Links as most clients read them: one a line, all of it in standard base64 with padding.
#[must_use]
pub fn base64_list(endpoints: &[Endpoint]) -> String {
    STANDARD.encode(plain_list(endpoints))
}

/// Links, one a line.
#[must_use]
pub fn plain_list(endpoints: &[Endpoint]) -> String {
    let mut text = String::with_capacity(320 * endpoints.len());
    for endpoint in endpoints {
        if !text.is_empty() {
            text.push('\n');
        }
        write(endpoint, &mut text);
    }
    text
}
