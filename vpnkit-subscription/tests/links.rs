//! Share links.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use vpnkit_core::Secret;
use vpnkit_core::model::*;
use vpnkit_subscription::sample::endpoint;
use vpnkit_subscription::*;

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
    let expected =
        format!("hysteria2://a%20b@192.0.2.1:443/?sni=site.test&obfs=salamander&obfs-password=o%26#{remark}");
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
