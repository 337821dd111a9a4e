//! Share links, by the published share-link standard of the Xray project and SIP002/SIP022 for Shadowsocks.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::model::{ClientSecurity, CredentialSecret, Endpoint, Transport, VpnProtocol, XhttpMode};

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

fn encode(text: &str) -> String {
    utf8_percent_encode(text, COMPONENT).to_string()
}

/// The share link of an endpoint. It contains the secret.
#[must_use]
pub fn link(endpoint: &Endpoint) -> String {
    let place = format!("{}:{}", bracketed(&endpoint.address), endpoint.port);
    let name = encode(&endpoint.remark);
    let mut query = Query::default();
    let (scheme, user) = match (&endpoint.protocol, &endpoint.secret) {
        (VpnProtocol::Shadowsocks { method, server_key }, secret) => {
            ("ss", shadowsocks_user(method.code(), server_key.as_ref(), secret))
        }
        (VpnProtocol::Vless { vision }, secret) => {
            query.add("encryption", "none");
            if *vision {
                query.add("flow", "xtls-rprx-vision");
            }
            ("vless", secret.expose())
        }
        (VpnProtocol::Vmess, secret) => {
            query.add("encryption", "auto");
            ("vmess", secret.expose())
        }
        (VpnProtocol::Trojan, secret) => ("trojan", encode(&secret.expose())),
    };
    let plain = endpoint.transport == Transport::Tcp && endpoint.security == ClientSecurity::None;
    if scheme == "ss" && plain {
        // SIP002 knows no more; every client reads this form.
        return format!("{scheme}://{user}@{place}#{name}");
    }
    transport(&mut query, &endpoint.transport);
    security(&mut query, &endpoint.security);
    format!("{scheme}://{user}@{place}?{}#{name}", query.0)
}

fn shadowsocks_user(method: &str, server_key: Option<&crate::Secret>, secret: &CredentialSecret) -> String {
    match server_key {
        // SIP022: percent-encoded, never base64.
        Some(server) => {
            format!("{method}:{}", encode(&shadowsocks_password(method, server.expose(), secret)))
        }
        None => URL_SAFE_NO_PAD.encode(format!("{method}:{}", secret.expose())),
    }
}

/// The password of a Shadowsocks 2022 client: the server's key and its own, cut to the length of the method.
pub(super) fn shadowsocks_password(method: &str, server_key: &str, secret: &CredentialSecret) -> String {
    format!("{server_key}:{}", shadowsocks_key(method, secret))
}

/// A key of the length that the method wants, in standard base64.
pub(super) fn shadowsocks_key(method: &str, secret: &CredentialSecret) -> String {
    let key = secret.expose();
    if !method.contains("128") {
        return key;
    }
    STANDARD.decode(&key).map(|bytes| STANDARD.encode(bytes.get(..16).unwrap_or(&bytes))).unwrap_or(key)
}

fn bracketed(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}

#[derive(Default)]
struct Query(String);

impl Query {
    fn add(&mut self, name: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.push_str(name);
        self.0.push('=');
        self.0.push_str(&encode(value));
    }
}

fn transport(query: &mut Query, transport: &Transport) {
    let mut http = |name: &str, path: &str, host: &Option<String>| {
        query.add("type", name);
        query.add("path", path);
        query.add("host", host.as_deref().unwrap_or_default());
    };
    match transport {
        Transport::Tcp => query.add("type", "tcp"),
        Transport::WebSocket { path, host } => http("ws", path, host),
        Transport::HttpUpgrade { path, host } => http("httpupgrade", path, host),
        Transport::Xhttp { path, host, mode } => {
            http("xhttp", path, host);
            if *mode != XhttpMode::Auto {
                query.add("mode", mode.code());
            }
        }
        Transport::Grpc { service_name } => {
            query.add("type", "grpc");
            query.add("serviceName", service_name);
        }
    }
}

fn security(query: &mut Query, security: &ClientSecurity) {
    match security {
        ClientSecurity::None => query.add("security", "none"),
        ClientSecurity::Tls { sni, alpn, fingerprint, pinned_sha256 } => {
            query.add("security", "tls");
            query.add("sni", sni);
            query.add("fp", fingerprint);
            query.add("alpn", &alpn.join(","));
            query.add("pcs", pinned_sha256.as_deref().unwrap_or_default());
        }
        ClientSecurity::Reality { sni, public_key, short_id, fingerprint } => {
            query.add("security", "reality");
            query.add("sni", sni);
            query.add("fp", fingerprint);
            query.add("pbk", public_key);
            query.add("sid", short_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;
    use crate::model::{InboundTag, KeyId, ShadowsocksMethod};

    const UUID: &str = "11111111-2222-4333-8444-555555555555";

    fn endpoint(protocol: VpnProtocol, secret: &str) -> Endpoint {
        let secret = CredentialSecret::parse(protocol.credential(), secret).unwrap();
        Endpoint {
            key: KeyId(1),
            inbound: InboundTag::new("x").unwrap(),
            remark: "Привет & co".into(),
            address: "192.0.2.1".into(),
            port: 443,
            protocol,
            transport: Transport::Tcp,
            security: ClientSecurity::None,
            secret,
        }
    }

    fn tls(alpn: &[&str]) -> ClientSecurity {
        ClientSecurity::Tls {
            sni: "site.test".into(),
            alpn: alpn.iter().map(|&a| a.to_owned()).collect(),
            fingerprint: "chrome".into(),
            pinned_sha256: None,
        }
    }

    #[test]
    fn links_follow_the_standard() {
        let mut vless = endpoint(VpnProtocol::Vless { vision: true }, UUID);
        vless.address = "2001:db8::1".into();
        vless.security = ClientSecurity::Reality {
            sni: "site.test".into(),
            public_key: "p-k_".into(),
            short_id: "0123".into(),
            fingerprint: "chrome".into(),
        };
        let mut vmess = endpoint(VpnProtocol::Vmess, UUID);
        vmess.transport = Transport::WebSocket { path: "/a b?ed=2560".into(), host: Some("h.test".into()) };
        let mut trojan = endpoint(VpnProtocol::Trojan, "p@ss/word+");
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
        let aead = VpnProtocol::Shadowsocks { method: ShadowsocksMethod::Aes256Gcm, server_key: None };
        let user = URL_SAFE_NO_PAD.encode("aes-256-gcm:pass");
        assert!(link(&endpoint(aead, "pass")).starts_with(&format!("ss://{user}@192.0.2.1:443#")));
        let server_key = Some(Secret::new(STANDARD.encode([1u8; 16])));
        let new = VpnProtocol::Shadowsocks { method: ShadowsocksMethod::Blake3Aes128Gcm, server_key };
        let expected = format!(
            "ss://2022-blake3-aes-128-gcm:{}@192.0.2.1:443#",
            encode(&format!("{}:{}", STANDARD.encode([1u8; 16]), STANDARD.encode([2u8; 16])))
        );
        assert!(link(&endpoint(new, &STANDARD.encode([2u8; 32]))).starts_with(&expected));
    }
}
