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
    link.add("address", &super::wireguard::addresses(peer).join(","));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;
    use crate::subscription::sample::endpoint;

    const UUID: &str = "11111111-2222-4333-8444-555555555555";

    fn tls(alpn: &[&str]) -> ClientSecurity {
        ClientSecurity::Tls {
            sni: "site.test".into(),
            alpn: alpn.iter().map(|&a| a.to_owned()).collect(),
            fingerprint: "chrome".into(),
            pinned_sha256: None,
            allow_insecure: false,
        }
    }

    #[test]
    fn links_follow_the_standard() {
        let mut vless = endpoint(Proxy::Vless { id: Secret::new(UUID), vision: true });
        vless.address = "2001:db8::1".into();
        vless.security = ClientSecurity::Reality {
            sni: "site.test".into(),
            public_key: "p-k_".into(),
            short_id: "0123".into(),
            fingerprint: "chrome".into(),
        };
        let mut vmess = endpoint(Proxy::Vmess { id: Secret::new(UUID) });
        vmess.transport = Transport::WebSocket { path: "/a b?ed=2560".into(), host: Some("h.test".into()) };
        let mut trojan = endpoint(Proxy::Trojan { password: Secret::new("p@ss/word+") });
        trojan.security = tls(&["h2", "http/1.1"]);
        trojan.transport = Transport::Grpc { service_name: "s".into() };
        let remark = "%D0%9F%D1%80%D0%B8%D0%B2%D0%B5%D1%82%20%26%20co";
        for (endpoint, expected) in [
            (
                vless,
                format!(
                    "vless://{UUID}@[2001:db8::1]:443?encryption=none&flow=xtls-rprx-vision&type=tcp\
                     &security=reality&sni=site.test&fp=chrome&pbk=p-k_&sid=0123#{remark}"
                ),
            ),
            (
                vmess,
                format!(
                    "vmess://{UUID}@192.0.2.1:443?encryption=auto&type=ws&path=%2Fa%20b%3Fed%3D2560&host=h.test\
                     &security=none#{remark}"
                ),
            ),
            (
                trojan,
                format!(
                    "trojan://p%40ss%2Fword%2B@192.0.2.1:443?type=grpc&serviceName=s&security=tls&sni=site.test\
                     &fp=chrome&alpn=h2%2Chttp%2F1.1#{remark}"
                ),
            ),
        ] {
            assert_eq!(link(&endpoint), expected);
        }
    }

    #[test]
    fn shadowsocks_links_are_base64_for_aead_and_plain_for_2022() {
        let ss =
            |method, password: &str| endpoint(Proxy::Shadowsocks { method, password: Secret::new(password) });
        let user = URL_SAFE_NO_PAD.encode("aes-256-gcm:pass");
        let aead = link(&ss(ShadowsocksMethod::Aes256Gcm, "pass"));
        assert!(aead.starts_with(&format!("ss://{user}@192.0.2.1:443#")));
        let new = link(&ss(ShadowsocksMethod::Blake3Aes128Gcm, "a+/=:b=="));
        assert!(new.starts_with("ss://2022-blake3-aes-128-gcm:a%2B%2F%3D%3Ab%3D%3D@192.0.2.1:443#"), "{new}");
    }

    #[test]
    fn udp_protocols_have_links_of_their_own() {
        let mut hysteria =
            endpoint(Proxy::Hysteria2 { password: Secret::new("a b"), obfs: Some(Secret::new("o&")) });
        hysteria.security = tls(&["h3"]);
        let remark = "%D0%9F%D1%80%D0%B8%D0%B2%D0%B5%D1%82%20%26%20co";
        let expected = format!(
            "hysteria2://a%20b@192.0.2.1:443/?sni=site.test&obfs=salamander&obfs-password=o%26#{remark}"
        );
        assert_eq!(link(&hysteria), expected);
        let peer = WireGuardPeer {
            private_key: Secret::new("priv+/="),
            public_key: "pub+/=".into(),
            preshared_key: None,
            addresses: vec!["10.8.0.2".parse().unwrap(), "fd00::2".parse().unwrap()],
            dns: Vec::new(),
            mtu: 1_420,
            keepalive: 25,
        };
        assert_eq!(
            link(&endpoint(Proxy::WireGuard(peer))),
            format!(
                "wireguard://priv%2B%2F%3D@192.0.2.1:443?publickey=pub%2B%2F%3D\
                 &address=10.8.0.2%2F32%2Cfd00%3A%3A2%2F128&mtu=1420&keepalive=25#{remark}"
            )
        );
    }
}
