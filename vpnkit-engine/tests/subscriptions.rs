//! Subscriptions over the engine: hosts, tokens, answers, devices, templates.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use vpnkit_core::model::{
    ByteSize, CreateKey, Host, Inbound, InboundTag, Key, KeyPatch, NodeId, Patch, Protocol,
    ShadowsocksMethod, Traffic, Transport,
};
use vpnkit_core::store::memory::MemoryStore;
use vpnkit_core::store::{KeyStore, RecordOp, StoreTxn};
use vpnkit_core::{Clock as _, ErrorKind, ManualClock, Secret};
use vpnkit_engine::engine::{Engine, EngineOptions, RenderOptions, ServerParts, Subscriptions};
use vpnkit_subscription::{
    ClientRule, Format, Language, SubscriptionResponse, SubscriptionSettings, SubscriptionTemplate,
};
use vpnkit_testkit::FakeServer;

struct Bed {
    engine: Engine,
    clock: ManualClock,
    server: Arc<FakeServer>,
    key: Key,
}

async fn open(store: Arc<dyn KeyStore>, clock: &ManualClock, server: &Arc<FakeServer>) -> Engine {
    let options = EngineOptions { background: false, ..EngineOptions::default() };
    let parts =
        ServerParts { backend: server.clone(), source: server.clone(), address: "vpn.example".into() };
    Engine::open(store, Arc::new(clock.clone()), options, vec![parts]).await.unwrap()
}

fn tag(tag: &str) -> InboundTag {
    InboundTag::new(tag).unwrap()
}

/// Alice, a VLESS inbound over WebSocket and a Shadowsocks one.
async fn bed() -> Bed {
    let (clock, server) = (ManualClock::default(), Arc::new(FakeServer::new()));
    let engine = open(Arc::new(MemoryStore::new()), &clock, &server).await;
    let websocket = Transport::WebSocket { path: "/ws".into(), host: None };
    let inbound = Inbound::new(tag("ws"), 443, Protocol::Vless { vision: false }).transport(websocket);
    engine.inbounds().ensure(inbound).await.unwrap();
    let method = ShadowsocksMethod::ChaCha20Poly1305;
    let ss = Inbound::new(tag("ss"), 8388, Protocol::Shadowsocks { method, server_key: None });
    engine.inbounds().ensure(ss).await.unwrap();
    let settings = SubscriptionSettings {
        base_url: Some("https://sub.example/s/".into()),
        title: "Сеть {USERNAME}".into(),
        ..SubscriptionSettings::default()
    };
    engine.subscriptions().configure(settings).await.unwrap();
    let request =
        CreateKey::named("alice").data_limit(ByteSize::gib(1)).expires_in(Duration::from_secs(864_000));
    let key = engine.keys().create(request).await.unwrap();
    Bed { engine, clock, server, key }
}

impl Bed {
    fn subscriptions(&self) -> Subscriptions {
        self.engine.subscriptions()
    }

    async fn ask(&self, headers: &[(&str, &str)]) -> SubscriptionResponse {
        let token = self.subscriptions().token(self.key.id).await.unwrap();
        self.ask_with(&token, headers).await
    }

    async fn ask_with(&self, token: &str, headers: &[(&str, &str)]) -> SubscriptionResponse {
        let headers: Vec<(String, String)> =
            headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        self.subscriptions().for_request(token, &headers, None).await.unwrap()
    }

    async fn configure(&self, change: impl FnOnce(&mut SubscriptionSettings)) {
        let mut settings = self.subscriptions().settings().await.unwrap();
        change(&mut settings);
        self.subscriptions().configure(settings).await.unwrap();
    }

    async fn plain(&self) -> String {
        let options = RenderOptions::format(Format::Plain);
        self.subscriptions().render(self.key.id, options).await.unwrap().body
    }
}

fn remarks(links: &str) -> Vec<String> {
    let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned();
    links.lines().map(|link| decode(link.rsplit_once('#').unwrap().1)).collect()
}

#[tokio::test]
async fn an_inbound_has_the_servers_address_until_it_has_hosts() {
    let bed = bed().await;
    assert_eq!(remarks(&bed.plain().await), ["vpn.example shadowsocks tcp", "vpn.example vless ws"]);

    let mut front = Host::new("{USERNAME} {DATA_LEFT}", "front.example");
    front.port = Some(8443);
    let hidden = Host { disabled: true, ..Host::new("hidden", "h.example") };
    let hosts = vec![front, Host::new("direct", "{SERVER_IP}"), hidden.clone()];
    let (main, ws) = (NodeId::main(), tag("ws"));
    let previewed = bed.engine.hosts().preview("alice", &main, &ws, hosts.clone()).await.unwrap();
    assert_eq!(remarks(&bed.plain().await).len(), 2, "a preview stores nothing");
    bed.engine.hosts().set(&main, &ws, hosts.clone()).await.unwrap();
    let endpoints = bed.engine.keys().endpoints("alice").await.unwrap();
    assert_eq!(endpoints[1..], previewed[..]);
    let seen: Vec<_> = endpoints.iter().map(|e| (e.remark.as_str(), e.address.as_str(), e.port)).collect();
    assert_eq!(seen[1..], [("alice 1 GiB", "front.example", 8443), ("direct", "vpn.example", 443)]);
    assert_eq!(bed.engine.hosts().list().await.unwrap()[0].hosts, hosts);

    bed.engine.hosts().set(&main, &ws, vec![hidden]).await.unwrap();
    assert_eq!(remarks(&bed.plain().await), ["vpn.example shadowsocks tcp"]);
    bed.engine.hosts().set(&main, &ws, Vec::new()).await.unwrap();
    assert_eq!(remarks(&bed.plain().await).len(), 2);

    let missing = bed.engine.hosts().set(&main, &tag("none"), Vec::new()).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let mut broken = Host::new("r", "a.example");
    broken.alpn = vec!["spdy".into()];
    let error = bed.engine.hosts().set(&main, &ws, vec![Host::new("r", "a"), broken]).await.unwrap_err();
    assert_eq!(error.get("field"), Some("hosts[1].alpn"));
}

#[tokio::test]
async fn hosts_go_with_their_inbound() {
    let bed = bed().await;
    let (main, ws) = (NodeId::main(), tag("ws"));
    bed.engine.hosts().set(&main, &ws, vec![Host::new("r", "a.example")]).await.unwrap();
    bed.engine.inbounds().remove(&main, &ws).await.unwrap();
    assert_eq!(bed.engine.hosts().list().await.unwrap(), []);
    let own = Inbound::new(tag("own"), 9000, Protocol::Vmess).dedicated_to(bed.key.id);
    bed.engine.inbounds().ensure(own).await.unwrap();
    bed.engine.hosts().set(&main, &tag("own"), vec![Host::new("r", "a.example")]).await.unwrap();
    bed.engine.keys().delete("alice", None).await.unwrap();
    assert_eq!(bed.engine.hosts().list().await.unwrap(), []);
}

#[tokio::test]
async fn clients_get_what_they_read_with_the_headers_they_read() {
    let bed = bed().await;
    bed.configure(|s| {
        s.support_url = Some("tg://resolve?domain=help".into());
        s.announce = Some("Привет, {USERNAME}".into());
        s.routing = Some("happ://routing/onadd/e30=".into());
    })
    .await;
    bed.server.pass(bed.key.id, Traffic { up: 10, down: 20 });
    bed.engine.tick().await.unwrap();
    let answer = bed.ask(&[("user-agent", "v2rayNG/2.3.5"), ("accept", "*/*")]).await;
    assert_eq!(answer.status, 200);
    let links = String::from_utf8(STANDARD.decode(&answer.body).unwrap()).unwrap();
    assert_eq!(links.lines().count(), 2);
    let ends = bed.key.expires_at.unwrap().as_secs();
    let title = format!("base64:{}", STANDARD.encode("Сеть alice"));
    let announce = format!("base64:{}", STANDARD.encode("Привет, alice"));
    let token = bed.subscriptions().token("alice").await.unwrap();
    for (name, value) in [
        ("content-type", "text/plain; charset=utf-8".to_owned()),
        ("profile-title", title),
        ("profile-update-interval", "12".to_owned()),
        ("subscription-userinfo", format!("upload=10; download=20; total={}; expire={ends}", 1u64 << 30)),
        ("support-url", "tg://resolve?domain=help".to_owned()),
        ("profile-web-page-url", format!("https://sub.example/s/{token}")),
        ("announce", announce),
        ("routing", "happ://routing/onadd/e30=".to_owned()),
    ] {
        assert_eq!(answer.header(name), Some(value.as_str()), "{name}");
    }
    assert!(answer.header("content-disposition").unwrap().contains("filename*=UTF-8''%D0%A1"));
    let visible = |text: &str| text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    assert!(answer.headers.iter().all(|(name, value)| visible(value) && *name == name.to_lowercase()));
    let names: std::collections::BTreeSet<_> = answer.headers.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), answer.headers.len(), "each once");

    let tag = answer.header("etag").unwrap().to_owned();
    let again = bed.ask(&[("If-None-Match", &tag), ("User-Agent", "v2rayNG/2.3.5")]).await;
    assert_eq!((again.status, again.body.as_str(), again.header("etag")), (304, "", Some(tag.as_str())));
    bed.server.pass(bed.key.id, Traffic { up: 1, down: 0 });
    bed.engine.tick().await.unwrap();
    let moved = bed.ask(&[("if-none-match", &tag), ("user-agent", "v2rayNG/2.3.5")]).await;
    assert_eq!(moved.status, 200, "traffic is told in a header");

    for (agent, content_type, start) in [
        ("clash-verge/v2.4.2", "text/yaml", "mixed-port: 7890"),
        ("SFA/1.14.0 (1; sing-box 1.14.0)", "application/json", "{\"log\""),
        ("Happ/3.4.0", "application/json", "[{"),
        ("Outline/1.17", "application/json", "{\"server\":"),
    ] {
        let answer = bed.ask(&[("user-agent", agent)]).await;
        assert!(answer.header("content-type").unwrap().starts_with(content_type), "{agent}");
        assert!(answer.body.starts_with(start), "{agent}: {}", &answer.body[..60]);
    }
    let unlimited = KeyPatch { expires_at: Patch::Clear, ..KeyPatch::default() };
    bed.engine.keys().update("alice", unlimited, None, None).await.unwrap();
    let info = |answer: SubscriptionResponse| answer.header("subscription-userinfo").unwrap().to_owned();
    assert!(info(bed.ask(&[]).await).ends_with("; expire=0"));
    assert!(!info(bed.ask(&[("user-agent", "Stash/3.1.1 Clash/1.9.0")]).await).contains("expire"));
    bed.engine.keys().reset_usage("alice").await.unwrap();
    assert!(info(bed.ask(&[]).await).starts_with("upload=0; download=0; "));
}

#[tokio::test]
async fn a_browser_gets_a_page_that_asks_nobody() {
    let bed = bed().await;
    let html =
        [("accept", "text/html"), ("user-agent", "Mozilla/5.0"), ("accept-language", "fa-IR,fa;q=0.9")];
    let page = bed.ask(&html).await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.body.contains("<html lang=\"fa\" dir=\"rtl\">"));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(page.header("content-disposition"), None);
    for forbidden in [" src=", "@import", "url(", " style=", " onclick="] {
        assert!(!page.body.contains(forbidden), "{forbidden}");
    }

    let evil = "<script>alert(1)</script>\"'&";
    bed.engine.hosts().set(&NodeId::main(), &tag("ws"), vec![Host::new(evil, "a.example")]).await.unwrap();
    bed.configure(|s| s.title = evil.into()).await;
    let page = bed.ask(&html).await;
    assert!(!page.body.contains("<script>alert"), "what an operator or a customer writes is text");
    assert!(page.body.contains("&lt;script&gt;"));
}

#[tokio::test]
async fn a_key_that_may_not_connect_says_so_in_every_format() {
    let bed = bed().await;
    bed.configure(|s| {
        s.language = Language::Ru;
        s.notices.limited = vec!["Израсходовано {DATA_USAGE}".into(), "t.me/example".into()];
    })
    .await;
    bed.engine.keys().disable("alice").await.unwrap();
    assert_eq!(remarks(&bed.plain().await), ["⛔ Подписка отключена"]);
    bed.engine.keys().enable("alice").await.unwrap();
    bed.server.pass(bed.key.id, Traffic { up: 0, down: 1 << 30 });
    bed.engine.tick().await.unwrap();
    assert_eq!(remarks(&bed.plain().await), ["Израсходовано 1 GiB", "t.me/example"]);
    for format in Format::ALL {
        let options = RenderOptions::format(format.clone());
        let answer = bed.subscriptions().render("alice", options).await.unwrap();
        let said = match format {
            Format::Links => String::from_utf8(STANDARD.decode(&answer.body).unwrap()).unwrap(),
            _ => answer.body,
        };
        assert!(said.contains("t.me"), "{format}: {said}");
        assert!(!said.contains("vpn.example"), "{format}");
    }
    bed.engine.keys().reset_usage("alice").await.unwrap();
    bed.clock.advance(Duration::from_secs(864_001));
    bed.engine.tick().await.unwrap();
    assert_eq!(remarks(&bed.plain().await), ["⌛ Срок подписки истёк"]);
    assert_eq!(bed.ask(&[]).await.status, 200);
}

#[tokio::test]
async fn a_revoked_token_is_worthless_at_once() {
    let bed = bed().await;
    let old = bed.subscriptions().token("alice").await.unwrap();
    let secrets = |key: &Key| key.credentials.clone();
    let revoked = bed.subscriptions().revoke("alice", false, None).await.unwrap();
    assert_eq!(secrets(&revoked), secrets(&bed.key));
    assert_eq!(bed.ask_with(&old, &[]).await.status, 404);
    assert_eq!(bed.ask(&[]).await.status, 200);
    let renewed = bed.subscriptions().revoke("alice", true, None).await.unwrap();
    assert!(secrets(&renewed).iter().all(|c| !bed.key.credentials.contains(c)));
    assert_eq!(secrets(&renewed).len(), secrets(&bed.key).len());
    assert!(bed.server.lets_in(bed.key.id, "ws"));
    let token = bed.subscriptions().token("alice").await.unwrap();
    bed.engine.keys().delete("alice", None).await.unwrap();
    for nothing in [token.as_str(), "", "x", "../../etc/passwd", &"A".repeat(28), &"A".repeat(5_000)] {
        let answer = bed.ask_with(nothing, &[("accept", "text/html")]).await;
        assert_eq!((answer.status, answer.body.as_str()), (404, "not found\n"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_rotated_secret_is_honoured_for_its_time_in_every_process() {
    let (clock, server) = (ManualClock::default(), Arc::new(FakeServer::new()));
    let store: Arc<dyn KeyStore> = Arc::new(MemoryStore::new());
    let engine = open(Arc::clone(&store), &clock, &server).await;
    let other = open(store, &clock, &Arc::new(FakeServer::new())).await;
    engine.keys().create(CreateKey::named("alice")).await.unwrap();
    let first = engine.subscriptions().token("alice").await.unwrap();
    assert_eq!(other.subscriptions().token("alice").await.unwrap(), first, "both sign with one secret");
    let hour = Duration::from_secs(3_600);
    engine.subscriptions().rotate_secret(hour).await.unwrap();
    let second = engine.subscriptions().token("alice").await.unwrap();
    assert_ne!(first, second);
    let status = async |engine: &Engine, token: &str| {
        engine.subscriptions().for_request(token, &[], None).await.unwrap().status
    };
    assert_eq!((status(&engine, &first).await, status(&engine, &second).await), (200, 200));
    clock.advance(hour);
    assert_eq!((status(&engine, &first).await, status(&engine, &second).await), (404, 200));
    assert_eq!((status(&other, &first).await, status(&other, &second).await), (404, 200));
}

/// What a newer vpnkit has written and this one cannot read leaves it with what it had.
#[tokio::test(start_paused = true)]
async fn a_document_that_cannot_be_read_does_not_end_subscriptions() {
    let (clock, server) = (ManualClock::default(), Arc::new(FakeServer::new()));
    let store: Arc<dyn KeyStore> = Arc::new(MemoryStore::new());
    let engine = open(Arc::clone(&store), &clock, &server).await;
    let settings = SubscriptionSettings { title: "Before".into(), ..SubscriptionSettings::default() };
    engine.subscriptions().configure(settings).await.unwrap();
    engine.keys().create(CreateKey::named("alice")).await.unwrap();
    let token = engine.subscriptions().token("alice").await.unwrap();
    let body = Secret::new("{\"title\": \"After\", \"unheard_of\": 1}");
    let put = RecordOp::Put { place: ("settings".into(), String::new()), expected: None, index: None, body };
    store.commit(StoreTxn::new(clock.now(), vec![put])).await.unwrap();
    tokio::time::advance(Duration::from_secs(5)).await;
    let answer = engine.subscriptions().for_request(&token, &[], None).await.unwrap();
    assert_eq!((answer.status, answer.header("profile-title")), (200, Some("Before")));
    // Who asks for the settings themselves is told.
    assert_eq!(engine.subscriptions().settings().await.unwrap_err().kind(), ErrorKind::StoreCorrupt);
}

/// A title whose last variable is empty would end in a blank, which HTTP does not allow.
#[tokio::test]
async fn no_header_has_blanks_around_it() {
    let bed = bed().await;
    bed.configure(|s| s.title = "VPN {LABEL}".into()).await;
    let answer = bed.ask(&[("user-agent", "Happ/3")]).await;
    assert_eq!(answer.header("profile-title"), Some("VPN"));
    for (name, value) in &answer.headers {
        assert_eq!(value.trim(), value, "{name}");
    }
}

/// Another program holds the write lock: what would be written can wait, the customer cannot.
#[tokio::test]
async fn a_store_that_cannot_be_written_still_serves_subscriptions() {
    use vpnkit_sqlite::{SqliteOptions, SqliteStore};
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.db");
    let options = SqliteOptions { busy_timeout: Duration::from_millis(100), ..SqliteOptions::default() };
    let store: Arc<dyn KeyStore> = Arc::new(SqliteStore::open(&path, options).await.unwrap());
    let (clock, server) = (ManualClock::default(), Arc::new(FakeServer::new()));
    let engine = open(store, &clock, &server).await;
    let inbound = Inbound::new(tag("main"), 443, Protocol::Vless { vision: false });
    engine.inbounds().ensure(inbound).await.unwrap();
    engine.keys().create(CreateKey::named("alice").device_limit(1)).await.unwrap();
    let token = engine.subscriptions().token("alice").await.unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let headers = [("x-hwid".to_owned(), "one".to_owned())];
    let answer = engine.subscriptions().for_request(&token, &headers, Some("plain")).await.unwrap();
    assert!(answer.status == 200 && answer.body.starts_with("vless://"), "{}", answer.body);
    assert_eq!(engine.subscriptions().devices("alice").await.unwrap(), []);
    other.execute_batch("ROLLBACK").unwrap();
    engine.subscriptions().for_request(&token, &headers, Some("plain")).await.unwrap();
    assert_eq!(engine.subscriptions().devices("alice").await.unwrap().len(), 1);
    engine.close().await.unwrap();
}

#[tokio::test]
async fn devices_are_counted_and_can_be_forgotten() {
    let bed = bed().await;
    bed.engine
        .keys()
        .update("alice", KeyPatch { device_limit: Patch::Set(2), ..KeyPatch::default() }, None, None)
        .await
        .unwrap();
    let from = async |id: &str| {
        bed.clock.advance(Duration::from_secs(1));
        bed.ask(&[
            ("X-HWID", id),
            ("x-device-os", "Android"),
            ("x-ver-os", "16"),
            ("x-device-model", "P9"),
            ("user-agent", "Happ/3"),
        ])
        .await
    };
    for id in ["one", "two", "one"] {
        let answer = from(id).await;
        assert_eq!(answer.header("x-hwid-active"), Some("true"));
        assert!(answer.body.contains("vpn.example") && answer.header("x-hwid-limit").is_none());
    }
    let refused = from("three").await;
    assert_eq!((refused.status, refused.header("x-hwid-max-devices-reached")), (200, Some("true")));
    assert!(refused.body.contains("Too many devices") && !refused.body.contains("vpn.example"));
    let devices = bed.subscriptions().devices("alice").await.unwrap();
    let seen: Vec<_> = devices.iter().map(|d| (d.id.as_str(), d.os.as_deref(), d.model.as_deref())).collect();
    assert_eq!(seen, [("one", Some("Android"), Some("P9")), ("two", Some("Android"), Some("P9"))]);

    bed.subscriptions().forget_device("alice", Some("one".into())).await.unwrap();
    assert!(from("three").await.body.contains("vpn.example"));
    assert!(!from("one").await.body.contains("vpn.example"));
    // A limit that is lowered keeps those that came first.
    bed.engine
        .keys()
        .update("alice", KeyPatch { device_limit: Patch::Set(1), ..KeyPatch::default() }, None, None)
        .await
        .unwrap();
    assert!(from("two").await.body.contains("vpn.example"));
    assert!(!from("three").await.body.contains("vpn.example"));

    // Who names no device: as the settings say. A browser has no device.
    assert!(bed.ask(&[("user-agent", "Happ/3")]).await.body.contains("vpn.example"));
    bed.configure(|s| s.require_device = true).await;
    let unnamed = bed.ask(&[("user-agent", "Happ/3")]).await;
    assert_eq!(unnamed.header("x-hwid-not-supported"), Some("true"));
    // Its page has the subscription, which counts devices, and not the links of servers, which anybody could pass on.
    let page = bed.ask(&[("user-agent", "Mozilla"), ("accept", "text/html")]).await.body;
    assert!(page.contains("sub.example") && !page.contains("vpn.example"));
    bed.subscriptions().forget_device("alice", None).await.unwrap();
    assert_eq!(bed.subscriptions().devices("alice").await.unwrap(), []);

    // One that says something else of itself with every request does not write with every request.
    bed.ask(&[("X-HWID", "two"), ("user-agent", "Happ/3")]).await;
    for agent in ["Happ/4", "v2rayNG/1"] {
        bed.ask(&[("X-HWID", "two"), ("user-agent", agent)]).await;
    }
    let devices = bed.subscriptions().devices("alice").await.unwrap();
    assert_eq!(devices[0].user_agent.as_deref(), Some("Happ/3"));

    // Without a limit devices are remembered, but not without end.
    bed.engine
        .keys()
        .update("alice", KeyPatch { device_limit: Patch::Clear, ..KeyPatch::default() }, None, None)
        .await
        .unwrap();
    for i in 0..60 {
        assert!(from(&format!("d{i}")).await.body.contains("vpn.example"));
    }
    assert_eq!(bed.subscriptions().devices("alice").await.unwrap().len(), 50);
}

#[tokio::test]
async fn templates_and_rules_of_the_operator() {
    let bed = bed().await;
    let subscriptions = bed.subscriptions();
    let template =
        |source: &str| SubscriptionTemplate { content_type: "text/x-own".into(), source: source.into() };
    let broken = subscriptions.put_template("own", template("{% for %}")).await.unwrap_err();
    assert_eq!((broken.kind(), broken.get("field")), (ErrorKind::InvalidInput, Some("source")));
    assert_eq!(
        subscriptions.put_template("Own!", template("")).await.unwrap_err().get("field"),
        Some("name")
    );
    let rule = ClientRule { user_agent: "Own/".into(), format: Format::Template("own".into()) };
    let mut settings = subscriptions.settings().await.unwrap();
    settings.clients.push(rule);
    let early = subscriptions.configure(settings.clone()).await.unwrap_err();
    assert_eq!(early.get("field"), Some("clients[0].format"));
    subscriptions
        .put_template("own", template("{{ key.name }}:{{ endpoints|length }}:{{ notice|join }}"))
        .await
        .unwrap();
    subscriptions.configure(settings).await.unwrap();
    let answer = bed.ask(&[("user-agent", "own/1.0")]).await;
    assert_eq!((answer.header("content-type"), answer.body.as_str()), (Some("text/x-own"), "alice:2:"));
    assert_eq!(subscriptions.remove_template("own").await.unwrap_err().kind(), ErrorKind::Conflict);
    bed.configure(|s| s.clients.clear()).await;
    subscriptions.remove_template("own").await.unwrap();
    assert_eq!(subscriptions.remove_template("own").await.unwrap_err().kind(), ErrorKind::NotFound);
    let token = subscriptions.token("alice").await.unwrap();
    for (format, status) in
        [("template:own", 404), ("nothing", 404), ("sing-box", 200), ("v2ray", 200), ("", 200)]
    {
        let answer = subscriptions.for_request(&token, &[], Some(format)).await.unwrap();
        assert_eq!(answer.status, status, "{format}");
    }
}

#[tokio::test]
async fn settings_and_faults() {
    let bed = bed().await;
    let mut settings = bed.subscriptions().settings().await.unwrap();
    settings.base_url = None;
    bed.subscriptions().configure(settings.clone()).await.unwrap();
    let error = bed.subscriptions().url("alice").await.unwrap_err();
    assert_eq!((error.kind(), error.get("field")), (ErrorKind::InvalidConfig, Some("base_url")));
    settings.title = String::new();
    assert_eq!(bed.subscriptions().configure(settings).await.unwrap_err().get("field"), Some("title"));
    let missing = bed.subscriptions().render("bob", RenderOptions::client("Happ/3")).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let chart = bed.engine.traffic().chart("alice", 30).await.unwrap();
    assert!(chart.to_svg(Default::default()).contains("<svg"));
    assert_eq!(bed.engine.traffic().chart("alice", 0).await.unwrap_err().get("field"), Some("days"));
}

/// An app that was installed again names another device: the old one makes room, in a month.
#[tokio::test]
async fn a_device_that_does_not_come_back_makes_room() {
    const DAY: u64 = 86_400;
    let bed = bed().await;
    let limit = KeyPatch {
        device_limit: Patch::Set(1),
        expires_at: Patch::Set(bed.clock.now().plus(Duration::from_secs(365 * DAY))),
        ..KeyPatch::default()
    };
    bed.engine.keys().update("alice", limit, None, None).await.unwrap();
    let served = async |id: &str| {
        bed.ask(&[("X-HWID", id), ("user-agent", "Happ/3")]).await.body.contains("vpn.example")
    };
    assert!(served("old").await && !served("new").await);
    bed.clock.advance(Duration::from_secs(29 * DAY));
    assert!(!served("new").await);
    bed.clock.advance(Duration::from_secs(2 * DAY));
    assert!(served("new").await && !served("old").await);
}

/// What has not changed is not made again, and what the browser has already is not sent.
#[tokio::test]
async fn a_page_that_has_not_changed_is_made_once() {
    let bed = bed().await;
    let browser = [("user-agent", "Mozilla"), ("accept", "text/html")];
    let first = bed.ask(&browser).await;
    let tag = first.header("etag").unwrap().to_owned();
    assert_eq!(bed.ask(&browser).await, first);
    let again = [browser[0], browser[1], ("if-none-match", tag.as_str())];
    let known = bed.ask(&again).await;
    assert_eq!((known.status, known.body.len(), known.header("etag")), (304, 0, Some(tag.as_str())));
    // A tag of something else costs no more than none.
    let forged = bed.ask(&[browser[0], browser[1], ("if-none-match", "\"forged\"")]).await;
    assert_eq!(forged, first);
    // The language, the minutes that are left, traffic, a host: each is another page.
    let other = bed.ask(&[browser[0], browser[1], ("accept-language", "ru")]).await;
    assert!(other.header("etag") != Some(&tag) && other.body != first.body);
    bed.clock.advance(Duration::from_secs(61));
    assert_eq!(bed.ask(&again).await.status, 200);
    bed.server.pass(bed.key.id, Traffic { up: 1 << 20, down: 1 << 20 });
    let before = bed.ask(&browser).await;
    bed.engine.tick().await.unwrap();
    assert_ne!(bed.ask(&browser).await.header("etag"), before.header("etag"));
    let before = bed.ask(&browser).await;
    bed.engine
        .hosts()
        .set(&NodeId::main(), &InboundTag::new("ws").unwrap(), vec![Host::new("r", "h.example")])
        .await
        .unwrap();
    let now = bed.ask(&browser).await;
    assert!(now.body.contains("h.example") && now.header("etag") != before.header("etag"));
    bed.engine.keys().disable(bed.key.id).await.unwrap();
    let disabled = bed.ask(&browser).await;
    assert!(!disabled.body.contains("h.example") && disabled.header("etag") != now.header("etag"));
}

/// A flood of pages takes turns; other answers do not wait for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_pages_keeps_nobody_from_a_subscription() {
    let bed = Arc::new(bed().await);
    let keys = bed.engine.keys().create_many(vec![CreateKey::default(); 200], None).await.unwrap();
    let mut pages = tokio::task::JoinSet::new();
    for key in keys {
        let bed = Arc::clone(&bed);
        pages.spawn(async move {
            let page = RenderOptions::format(Format::Page);
            bed.subscriptions().render(key.id, page).await.unwrap().status
        });
    }
    assert!(bed.plain().await.contains("vpn.example"));
    assert!(pages.join_all().await.into_iter().all(|status| status == 200));
}

/// A template that fails for one key does not leave it without a connection.
#[tokio::test]
async fn a_template_that_fails_sends_the_links() {
    let bed = bed().await;
    let source = "{{ 1 // (key.id - 2) }} {{ endpoints|length }}";
    let template = SubscriptionTemplate { content_type: "text/plain".into(), source: source.into() };
    bed.subscriptions().put_template("odd", template).await.unwrap();
    let of = async |key| {
        let options = RenderOptions::format("template:odd".parse().unwrap());
        bed.subscriptions().render(key, options).await.unwrap()
    };
    assert_eq!(of(bed.key.id).await.body, "-1 2");
    let unlucky = bed.engine.keys().create(CreateKey::named("bob")).await.unwrap().id;
    let links = bed.subscriptions().render(unlucky, RenderOptions::format(Format::Links)).await.unwrap();
    assert_eq!(of(unlucky).await.body, links.body);
}
