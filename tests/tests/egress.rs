//! What customers may reach: a real client tries to get at the server itself.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use serde_json::{Value, json};
use testbed::{Bed, Client, PublicAddress, StandaloneXray, Tunnel, free_ports, inbound, inside};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use vpnkit::{
    Config, CreateKey, Egress, Endpoint, KeyId, Protocol, RealityKeys, Security, ShadowsocksMethod, VpnKit,
    XrayConfig,
};

/// How long a client waits before it believes that nothing comes.
const SILENCE: Duration = Duration::from_millis(700);
/// How long what must come may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// A service on every address of this machine: answers `served` to whatever it is sent first.
async fn service() -> u16 {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 100]).await;
                let _ = stream.write_all(b"served").await;
            });
        }
    });
    port
}

/// Whether the service answers; what is expected to answer gets more time.
async fn says(tunnel: Tunnel, (host, port): (&str, u16), words: &[u8], expected: bool) -> bool {
    let ask = async {
        let mut stream = tunnel.connect_to(host, port).await.ok()?;
        stream.write_all(words).await.ok()?;
        let mut answer = [0; 6];
        stream.read_exact(&mut answer).await.ok()?;
        (&answer == b"served").then_some(())
    };
    let patience = if expected { PATIENCE } else { SILENCE };
    tokio::time::timeout(patience, ask).await.ok().flatten().is_some()
}

async fn reaches(tunnel: Tunnel, host: &str, port: u16) -> bool {
    says(tunnel, (host, port), b"hello", true).await
}

async fn is_kept_from(tunnel: Tunnel, host: &str, port: u16) -> bool {
    !says(tunnel, (host, port), b"hello", false).await
}

async fn bed(change: impl FnOnce(XrayConfig) -> XrayConfig) -> (Bed, KeyId) {
    let bed = Bed::open_with(|xray| change(xray.egress(Egress::default())), 60).await;
    bed.kit.inbounds().ensure(inbound("plain", Protocol::Vless { vision: false })).await.unwrap();
    let key = bed.kit.keys().create(CreateKey::named("stranger")).await.unwrap().id;
    (bed, key)
}

/// The ways to write an address of the server itself, of its networks, of the metadata service of a cloud.
fn private_forms() -> Vec<String> {
    let mut forms: Vec<String> = [
        "127.0.0.1",
        "127.0.0.2",
        "127.255.255.254",
        "0.0.0.0",
        "0.1.2.3",
        "::1",
        "::",
        "::ffff:127.0.0.1",
        "::ffff:0.0.0.0",
        "::ffff:7f00:1",
        "0:0:0:0:0:0:0:1",
        "localhost",
        "LOCALHOST",
        "LocalHost.",
        "localhost.localdomain",
        "ip6-localhost",
        "127.1",
        "127.0.1",
        "0",
        "2130706433",
        "017700000001",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "127.0.0.1.",
        "10.0.0.1",
        "192.168.0.1",
        "172.31.255.1",
        "100.64.0.1",
        "169.254.169.254",
        "fe80::1",
        "fd00::1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::1",
    ]
    .map(str::to_owned)
    .to_vec();
    let name = std::fs::read_to_string("/etc/hostname").unwrap_or_default().trim().to_owned();
    if !name.is_empty() {
        forms.push(name);
    }
    forms
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_reaches_neither_the_server_nor_its_networks() {
    if !testbed::is_root("a_customer_reaches_neither_the_server_nor_its_networks") {
        return;
    }
    let (bed, key) = bed(|xray| xray).await;
    let (port, public) = (service().await, PublicAddress::add());
    let control = Ipv4Addr::from(public.octets()).to_string();
    let method = ShadowsocksMethod::ChaCha20Poly1305;
    for (tag, protocol) in [
        ("plain", Protocol::Vless { vision: false }),
        ("vmess", Protocol::Vmess),
        ("trojan", Protocol::Trojan),
        ("ss", Protocol::Shadowsocks { method, server_key: None }),
    ] {
        if tag != "plain" {
            bed.kit.inbounds().ensure(inbound(tag, protocol)).await.unwrap();
        }
        let client = Client::start(&bed.endpoint(key, tag).await).await;
        assert!(reaches(client.tunnel, &control, port).await, "{tag}: the control is reached");
        let mut tries = tokio::task::JoinSet::new();
        for form in private_forms() {
            let tunnel = client.tunnel;
            tries.spawn(async move { (!is_kept_from(tunnel, &form, port).await, form) });
        }
        let reached: Vec<_> = tries.join_all().await.into_iter().filter(|(reached, _)| *reached).collect();
        assert!(reached.is_empty(), "{tag} reaches {reached:?}");
        assert!(reaches(client.tunnel, &control, port).await, "{tag}: the control is reached still");
    }
    bed.kit.close().await.unwrap();
}

/// Without the protection they are reached: what the test above sees is the protection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_allowed_is_reached_and_nothing_beside_it() {
    let port = service().await;
    let other = service().await;
    let allow = |all: &[&str]| Egress::allowing(all.iter().map(|text| text.parse().unwrap()));
    let reached = async |egress: Egress, tries: &[(&str, u16, bool)]| {
        let (bed, key) = bed(|xray| xray.egress(egress.clone())).await;
        let client = Client::start(&bed.endpoint(key, "plain").await).await;
        for (host, port, expected) in tries {
            let reached = says(client.tunnel, (host, *port), b"hello", *expected).await;
            assert_eq!(reached, *expected, "{host}:{port} {egress:?}");
        }
        bed.kit.close().await.unwrap();
    };
    reached(
        allow(&["0.0.0.0/0", "::/0"]),
        &[("127.0.0.1", port, true), ("localhost", port, true), ("::1", port, true), ("0.0.0.0", port, true)],
    )
    .await;
    reached(
        allow(&["127.0.0.1"]),
        &[
            ("127.0.0.1", port, true),
            ("127.0.0.1", other, true),
            ("127.0.0.2", port, false),
            ("::1", port, false),
        ],
    )
    .await;
    let on_a_port = format!("127.0.0.0/8:{port}");
    reached(allow(&[&on_a_port]), &[("127.0.0.9", port, true), ("127.0.0.9", other, false)]).await;
    let named = format!("localhost:{port}");
    reached(
        allow(&[&named]),
        &[("localhost", port, true), ("localhost", other, false), ("127.0.0.1", port, false)],
    )
    .await;
}

fn with_extra(extra: Value) -> impl FnOnce(XrayConfig) -> XrayConfig {
    |xray| {
        let XrayConfig::Managed(mut managed) = xray else { panic!("it is managed") };
        managed.extra = Some(extra);
        XrayConfig::Managed(managed)
    }
}

/// Outbounds that resolve by themselves, or send names on to something that does, and rules that lead to them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_of_the_operator_open_nothing() {
    if !testbed::is_root("rules_of_the_operator_open_nothing") {
        return;
    }
    let port = service().await;
    let public = PublicAddress::add();
    let control = Ipv4Addr::from(public.octets()).to_string();
    // A proxy on this machine that dials whatever it is asked for.
    let [proxy] = free_ports();
    let open = json!({
        "inbounds": [{ "listen": "127.0.0.1", "port": proxy, "protocol": "socks" }],
        "outbounds": [{ "protocol": "freedom" }]
    });
    let _proxy = Client::xray(&open, proxy).await;
    let socks = json!({ "tag": "own", "protocol": "socks", "settings": { "servers": [{ "address": "127.0.0.1", "port": proxy }] } });
    for own in [
        json!({ "tag": "own", "protocol": "freedom", "settings": { "domainStrategy": "UseIP" } }),
        json!({ "tag": "own", "protocol": "direct" }),
        json!({ "tag": "own", "protocol": "Freedom", "targetStrategy": "AsIs" }),
        socks,
    ] {
        let rule = json!({ "type": "field", "network": "tcp,udp", "outboundTag": "own" });
        let extra = json!({
            "outbounds": [{ "protocol": "freedom" }, own],
            "routing": { "domainStrategy": "AsIs", "rules": [rule] }
        });
        let (bed, key) = bed(with_extra(extra)).await;
        let client = Client::start(&bed.endpoint(key, "plain").await).await;
        assert!(reaches(client.tunnel, &control, port).await, "{own}");
        for form in ["127.0.0.1", "localhost", "::1", "0x7f000001"] {
            assert!(is_kept_from(client.tunnel, form, port).await, "{form} {own}");
        }
        bed.kit.close().await.unwrap();
    }
}

/// A resolver on loopback or in a private network is ordinary: its questions are not the customers' traffic.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn name_servers_of_the_operator_are_reached() {
    if !testbed::is_root("name_servers_of_the_operator_are_reached") {
        return;
    }
    let port = service().await;
    let public = PublicAddress::add();
    let address = Ipv4Addr::from(public.octets());
    let server = name_server(([127, 0, 0, 1], 0), move |_| address).await;
    for tag in [None, Some("own-dns")] {
        let mut dns =
            json!({ "servers": [{ "address": "127.0.0.1", "port": server }], "queryStrategy": "UseIPv4" });
        if let Some(tag) = tag {
            dns["tag"] = json!(tag);
        }
        let (bed, key) = bed(with_extra(json!({ "dns": dns }))).await;
        let client = Client::start(&bed.endpoint(key, "plain").await).await;
        assert!(reaches(client.tunnel, "named.test", port).await);
        assert!(is_kept_from(client.tunnel, "127.0.0.1", port).await);
        bed.kit.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bittorrent_is_blocked_when_it_is_asked_for() {
    if !testbed::is_root("bittorrent_is_blocked_when_it_is_asked_for") {
        return;
    }
    let port = service().await;
    let public = PublicAddress::add();
    let control = Ipv4Addr::from(public.octets()).to_string();
    let handshake = [&[19][..], b"BitTorrent protocol", &[0; 48]].concat();
    for block in [false, true] {
        let egress = Egress { block_bittorrent: block, ..Egress::default() };
        let (bed, key) = bed(|xray| xray.egress(egress)).await;
        let client = Client::start(&bed.endpoint(key, "plain").await).await;
        assert!(reaches(client.tunnel, &control, port).await);
        assert_eq!(says(client.tunnel, (&control, port), &handshake, !block).await, !block);
        bed.kit.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_is_blocked_when_it_is_asked_for() {
    if !testbed::is_root("mail_is_blocked_when_it_is_asked_for") {
        return;
    }
    let public = PublicAddress::add();
    let listener = TcpListener::bind((Ipv4Addr::from(public.octets()), 25)).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"served").await;
        }
    });
    let control = Ipv4Addr::from(public.octets()).to_string();
    for block in [false, true] {
        let egress = Egress { block_smtp: block, ..Egress::default() };
        let (bed, key) = bed(|xray| xray.egress(egress)).await;
        let client = Client::start(&bed.endpoint(key, "plain").await).await;
        assert_eq!(says(client.tunnel, (&control, 25), b"hello", !block).await, !block);
        bed.kit.close().await.unwrap();
    }
}

/// A client whose local UDP port leads to `host:port` behind the server.
async fn udp_client(endpoint: &Endpoint, host: &str, port: u16) -> (Client, u16) {
    let [socks, local] = free_ports();
    let mut config = vpnkit::subscription::xray_json::client(endpoint, socks);
    let inbounds = config["inbounds"].as_array_mut().unwrap();
    inbounds.push(json!({
        "tag": "udp", "listen": "127.0.0.1", "port": local, "protocol": "dokodemo-door",
        "settings": { "address": host, "port": port, "network": "udp" }
    }));
    (Client::xray(&config, socks).await, local)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn udp_is_judged_too() {
    if !testbed::is_root("udp_is_judged_too") {
        return;
    }
    let (bed, key) = bed(|xray| xray).await;
    let endpoint = bed.endpoint(key, "plain").await;
    let public = PublicAddress::add();
    let control = Ipv4Addr::from(public.octets()).to_string();
    let echo = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).await.unwrap();
    let port = echo.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut bytes = [0; 100];
        while let Ok((_, from)) = echo.recv_from(&mut bytes).await {
            let _ = echo.send_to(b"served", from).await;
        }
    });
    for (host, expected) in
        [(control.as_str(), true), ("127.0.0.1", false), ("localhost", false), ("::1", false)]
    {
        let (_client, local) = udp_client(&endpoint, host, port).await;
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(("127.0.0.1", local)).await.unwrap();
        let ask = async {
            // The first may come before the client listens.
            loop {
                let _ = socket.send(b"hello").await;
                let answer = tokio::time::timeout(SILENCE / 4, socket.recv(&mut [0; 100])).await;
                if answer.is_ok_and(|answer| answer.is_ok()) {
                    break;
                }
            }
        };
        let patience = if expected { PATIENCE } else { SILENCE * 2 };
        assert_eq!(tokio::time::timeout(patience, ask).await.is_ok(), expected, "{host}");
    }
    bed.kit.close().await.unwrap();
}

/// Answers questions for IPv4 addresses, the n-th (from 0) with `answers(n)`, not to be kept; returns its port once it listens.
async fn name_server(at: ([u8; 4], u16), answers: impl Fn(u32) -> Ipv4Addr + Send + 'static) -> u16 {
    let socket = UdpSocket::bind((Ipv4Addr::from(at.0), at.1)).await.unwrap();
    let port = socket.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut question, mut turn) = ([0; 512], 0);
        while let Ok((length, from)) = socket.recv_from(&mut question).await {
            // Header of 12 bytes, the name up to its empty label, type and class.
            let name = question[12..length].iter().position(|byte| *byte == 0).unwrap();
            let end = 12 + name + 5;
            let asks_ipv4 = question[12 + name + 1..12 + name + 3] == [0, 1];
            let mut answer = question[..2].to_vec();
            answer.extend([0x81, 0x80, 0, 1, 0, u8::from(asks_ipv4), 0, 0, 0, 0]);
            answer.extend(&question[12..end]);
            if asks_ipv4 {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
                answer.extend(answers(turn).octets());
                turn += 1;
            }
            let _ = socket.send_to(&answer, from).await;
        }
    });
    port
}

/// A service that says at which address it was reached.
async fn mirror() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let std::net::IpAddr::V4(at) = stream.local_addr().unwrap().ip() else { continue };
            let _ = stream.write_all(&at.octets()).await;
        }
    });
    port
}

/// In a network namespace of its own, with a resolver of its own; needs root.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_changes_its_answer_leads_to_no_private_address() {
    if inside("a_name_that_changes_its_answer_leads_to_no_private_address").is_none() {
        return;
    }
    let (public, port) = (PublicAddress::add(), mirror().await);
    let address = Ipv4Addr::from(public.octets());
    name_server(
        ([127, 0, 0, 53], 53),
        move |turn| if turn.is_multiple_of(2) { address } else { Ipv4Addr::LOCALHOST },
    )
    .await;
    let directory = tempfile::tempdir().unwrap();
    let resolver = directory.path().join("resolv.conf");
    std::fs::write(&resolver, "nameserver 127.0.0.53\n").unwrap();
    let mount =
        std::process::Command::new("mount").arg("--bind").arg(&resolver).arg("/etc/resolv.conf").status();
    assert!(mount.unwrap().success());

    let reached = async |egress: Egress| {
        let (bed, key) = bed(|xray| xray.egress(egress)).await;
        let client = Client::start(&bed.endpoint(key, "plain").await).await;
        let mut reached = std::collections::BTreeSet::new();
        for _ in 0..8 {
            let ask = async {
                let mut answer = [0; 4];
                let mut stream = client.tunnel.connect_to("changing.test", port).await.ok()?;
                // Clients connect when there is something to say.
                stream.write_all(b"hello").await.ok()?;
                stream.read_exact(&mut answer).await.ok()?;
                Some(Ipv4Addr::from(answer))
            };
            reached.extend(tokio::time::timeout(PATIENCE, ask).await.ok().flatten());
        }
        bed.kit.close().await.unwrap();
        reached
    };
    let open = Egress::allowing(["0.0.0.0/0", "::/0"].map(|range| range.parse().unwrap()));
    assert!(reached(open).await.contains(&Ipv4Addr::LOCALHOST), "the name server does what it shall");
    // A range with a port is no way to its other ports.
    let other = Egress::allowing(["127.0.0.0/8:9".parse().unwrap()]);
    for egress in [Egress::default(), other] {
        assert_eq!(reached(egress).await, [address].into());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_that_customers_may_reach_is_told() {
    let reality = Security::Reality(RealityKeys::generate().reality("127.0.0.1:9", "site.test"));
    let inbound = inbound("reality", Protocol::Vless { vision: true }).security(reality);
    let server = StandaloneXray::start(&inbound).await;
    let kit = VpnKit::open(Config::memory().xray(server.attached())).await.unwrap();
    let [status] = &kit.servers().status().await.unwrap()[..] else { panic!("one server") };
    assert!(status.warnings[0].contains("customers reach it"), "{status:?}");
    kit.close().await.unwrap();
    let (bed, _) = bed(|xray| xray).await;
    assert!(bed.kit.servers().status().await.unwrap()[0].warnings.is_empty());
    bed.kit.close().await.unwrap();
}
