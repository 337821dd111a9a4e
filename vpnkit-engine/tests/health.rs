//! How vpnkit itself does: jobs, metrics, spans, and drift of servers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use vpnkit_core::ManualClock;
use vpnkit_core::model::{
    ByteSize, CreateAdmin, CreateKey, Cursor, EventKind, Inbound, InboundTag, Protocol, Traffic,
};
use vpnkit_core::store::KeyStore;
use vpnkit_core::store::memory::MemoryStore;
use vpnkit_engine::engine::{CallContext, Engine, EngineOptions, JobStatus, ServerParts};
use vpnkit_sqlite::{SqliteOptions, SqliteStore};
use vpnkit_testkit::{FakeServer, Fault};

fn fast() -> EngineOptions {
    EngineOptions {
        collect_every: Duration::from_millis(20),
        expiry_check_every: Duration::from_millis(20),
        ..EngineOptions::default()
    }
}

async fn open(server: &Arc<FakeServer>, options: EngineOptions) -> Engine {
    open_on(Arc::new(MemoryStore::new()), server, options).await
}

async fn open_on(store: Arc<dyn KeyStore>, server: &Arc<FakeServer>, options: EngineOptions) -> Engine {
    let parts =
        ServerParts { backend: server.clone(), source: server.clone(), address: "vpn.example".into() };
    Engine::open(store, Arc::new(ManualClock::default()), options, vec![parts]).await.unwrap()
}

/// The store as a process of its own opens it.
async fn file(directory: &tempfile::TempDir) -> Arc<dyn KeyStore> {
    let path = directory.path().join("keys.db");
    Arc::new(SqliteStore::open(path, SqliteOptions::default()).await.unwrap())
}

async fn served(engine: &Engine) {
    let inbound = Inbound::new(InboundTag::new("main").unwrap(), 443, Protocol::Vless { vision: false });
    engine.inbounds().ensure(inbound).await.unwrap();
}

async fn job(engine: &Engine, name: &str) -> JobStatus {
    let jobs = engine.health().jobs().await.unwrap();
    jobs.into_iter().find(|job| job.name == name).unwrap_or_else(|| panic!("no job {name}"))
}

/// The value of a metric with these labels.
async fn metric(engine: &Engine, name: &str) -> f64 {
    let text = engine.health().metrics().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}

async fn eventually(what: &str, is_so: impl AsyncFn() -> bool) {
    for _ in 0..2_000 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not come about");
}

#[tokio::test]
async fn a_job_that_fails_tells_why_until_it_works_again() {
    let server = Arc::new(FakeServer::new());
    let engine = open(&server, fast()).await;
    served(&engine).await;
    let reads = async |failing: bool| {
        let job = job(&engine, "readings").await;
        job.runs > 0 && job.failing_since.is_some() == failing
    };
    eventually("a reading", async || reads(false).await).await;
    let healthy = job(&engine, "readings").await;
    assert_eq!((healthy.server.as_deref(), healthy.here, &healthy.error), (Some("main/fake"), true, &None));
    assert!(healthy.succeeded_at.is_some() && healthy.duration.is_some());

    server.fail(Fault::Read);
    eventually("a failure", async || reads(true).await).await;
    let failing = job(&engine, "readings").await;
    assert!(failing.error.unwrap().contains("told to fail"));
    let gauge = r#"vpnkit_job_failing{job="readings",subject="main/fake"}"#;
    assert_eq!(metric(&engine, gauge).await, 1.0);
    // Its neighbours go on.
    let runs = job(&engine, "settle").await.runs;
    eventually("another review", async || job(&engine, "settle").await.runs > runs).await;
    assert_eq!(job(&engine, "settle").await.failing_since, None);

    server.heal();
    eventually("a good reading", async || reads(false).await).await;
    assert_eq!(metric(&engine, gauge).await, 0.0);
    engine.close().await.unwrap();
}

#[tokio::test]
async fn of_two_processes_one_keeps_the_store_and_the_other_stands_by() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (Arc::new(FakeServer::new()), Arc::new(FakeServer::new()));
    let one = open_on(file(&directory).await, &first, fast()).await;
    let two = open_on(file(&directory).await, &second, fast()).await;
    let here = async |engine: &Engine, name: &str| {
        let jobs = engine.health().jobs().await.unwrap();
        jobs.iter().any(|job| job.name == name && job.here)
    };
    eventually("the first", async || here(&one, "settle").await).await;
    assert!(!here(&two, "settle").await);
    let driven = r#"vpnkit_server_driven{server="main/fake"}"#;
    assert_eq!((metric(&one, driven).await, metric(&two, driven).await), (1.0, 0.0));
    one.close().await.unwrap();
    eventually("the second", async || here(&two, "settle").await && here(&two, "readings").await).await;
    let takeovers = r#"vpnkit_takeovers_total{server="main/fake"}"#;
    assert_eq!((metric(&two, takeovers).await, metric(&two, driven).await), (1.0, 1.0));
    two.close().await.unwrap();
}

#[tokio::test]
async fn drift_is_told_and_what_vpnkit_has_changed_is_none() {
    let directory = tempfile::tempdir().unwrap();
    let (first, other) =
        (Arc::new(FakeServer::new()), Arc::new(FakeServer::named("main/other".parse().unwrap())));
    let options = EngineOptions { background: false, ..EngineOptions::default() };
    let one = open_on(file(&directory).await, &first, options.clone()).await;
    let two = open_on(file(&directory).await, &other, options).await;
    served(&one).await;
    let mut keys = Vec::new();
    for name in ["a", "b", "c"] {
        keys.push(one.keys().create(CreateKey::named(name)).await.unwrap().id);
    }
    let reconcile = async || one.servers().reconcile(&"main/fake".parse().unwrap()).await.unwrap();
    let told = async || {
        let events = one.events().read(Cursor::START, 1_000).await.unwrap().events;
        let drift = events.into_iter().filter(|event| event.kind == EventKind::ServerDrift);
        drift.map(|event| event.detail).collect::<Vec<_>>()
    };
    reconcile().await;
    // Changes of this process and of another one, a deletion and one that is not applied yet are no drift.
    two.keys().disable(keys[2]).await.unwrap();
    one.keys().delete("c", None).await.unwrap();
    first.fail(Fault::Refuse(keys[1]));
    one.keys().disable(keys[1]).await.unwrap();
    let _ = one.keys().enable(keys[1]).await;
    let _ = one.servers().reconcile(&"main/fake".parse().unwrap()).await;
    first.heal();
    reconcile().await;
    // Nor is a restart of the program that has lost everything.
    first.restart().await;
    first.lose(keys[0]);
    eventually("the accounts", async || {
        reconcile().await;
        first.lets_in(keys[0], "main")
    })
    .await;
    assert_eq!(told().await, Vec::<String>::new());

    reconcile().await;
    first.lose(keys[0]);
    reconcile().await;
    assert!(first.lets_in(keys[0], "main"), "it is put right");
    assert_eq!(told().await, ["accounts: 1, inbounds: 0"]);
    assert_eq!(metric(&one, r#"vpnkit_drift_steps_total{server="main/fake"}"#).await, 1.0);
    reconcile().await;
    assert_eq!(told().await.len(), 1, "once");
    one.close().await.unwrap();
    two.close().await.unwrap();
}

#[tokio::test]
async fn the_document_lists_every_metric() {
    let server = Arc::new(FakeServer::new());
    let engine = open(&server, fast()).await;
    served(&engine).await;
    let key =
        engine.keys().create(CreateKey::named("a").data_limit(ByteSize::from_bytes(1_000))).await.unwrap();
    server.pass(key.id, Traffic { up: 0, down: 51_000 });
    engine.tick().await.unwrap();
    assert!(engine.keys().delete("nobody", None).await.is_err());
    engine
        .subscriptions()
        .for_request("nonsense", &[("User-Agent".into(), "Happ/3".into())], None)
        .await
        .unwrap();
    assert!(engine.keys().create(CreateKey::named("a")).await.is_err());
    let mut bot = engine.events().consume("bot", Some(Cursor::START)).unwrap();
    bot.next().await.unwrap();
    server.fail(Fault::Read);
    eventually("a failure", async || job(&engine, "readings").await.error.is_some()).await;
    let text = engine.health().metrics().await.unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");

    let document = include_str!("../../docs/metrics.md");
    let listed: BTreeSet<(String, String, String)> = document
        .lines()
        .filter(|line| line.starts_with("| `vpnkit_"))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [name, kind, _, help] = cells[..] else { panic!("{line}") };
            (name.trim_matches('`').to_owned(), kind.to_owned(), help.to_owned())
        })
        .collect();
    let after = |line: &str, start: &str| line.strip_prefix(start).map(str::to_owned);
    let told: BTreeSet<(String, String, String)> = text
        .lines()
        .filter_map(|line| after(line, "# TYPE "))
        .map(|line| {
            let (name, kind) = line.split_once(' ').unwrap();
            let help = text.lines().find_map(|line| after(line, &format!("# HELP {name} "))).unwrap();
            (name.to_owned(), kind.to_owned(), help.trim_end_matches('.').to_owned())
        })
        .collect();
    // What nothing was counted of is not told: this one has a test of its own.
    let takeovers = BTreeSet::from(["vpnkit_takeovers".to_owned()]);
    let names =
        |of: &BTreeSet<(String, String, String)>| of.iter().map(|one| one.0.clone()).collect::<BTreeSet<_>>();
    assert_eq!((&told - &listed, &names(&listed) - &names(&told)), (BTreeSet::new(), takeovers));
    for (name, value) in [
        (r#"vpnkit_subscriptions_total{client="Happ",status="404"}"#, 1.0),
        (r#"vpnkit_operation_failures_total{operation="keys.delete",kind="not_found"}"#, 1.0),
        (r#"vpnkit_traffic_bytes_total{server="main/fake"}"#, 51_000.0),
        ("vpnkit_overrun_bytes_sum", 50_000.0),
        ("vpnkit_overrun_bytes_count", 1.0),
    ] {
        assert_eq!(metric(&engine, name).await, value, "{name}\n{text}");
    }
    // Every job that runs is listed, and no other.
    let jobs: BTreeSet<String> =
        engine.health().jobs().await.unwrap().into_iter().map(|job| job.name).collect();
    let section = document.split("## Metrics").next().unwrap();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let listed: BTreeSet<String> = cells.map(|(name, _)| name.to_owned()).collect();
    let optional = BTreeSet::from(["webhooks".to_owned(), "near_limits".to_owned()]);
    assert_eq!(&listed - &optional, &jobs - &optional);
    engine.close().await.unwrap();
}

/// A client that fetches a subscription chooses what it says it is: that makes no metric of its own.
#[tokio::test]
async fn a_stranger_makes_no_metrics() {
    let server = Arc::new(FakeServer::new());
    let engine = open(&server, EngineOptions { background: false, ..fast() }).await;
    let ask = async |i: usize| {
        let headers = [("user-agent".to_owned(), format!("App{i}/{i}"))];
        engine.subscriptions().for_request(&format!("token{i}"), &headers, None).await.unwrap();
        let _ = engine.keys().get(format!("key{i}")).await;
        engine.health().metrics().await.unwrap()
    };
    ask(0).await;
    let before = ask(1).await;
    for i in 2..100 {
        ask(i).await;
    }
    let after = engine.health().metrics().await.unwrap();
    assert_eq!(after.lines().count(), before.lines().count(), "{after}");
    assert!(after.contains(r#"vpnkit_subscriptions_total{client="other",status="404"} 100"#), "{after}");
    engine.close().await.unwrap();
}

/// The spans of calls, as a line each.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0 += &format!(" {}={value:?}", field.name());
    }
}

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        if attributes.metadata().name() == "operation" {
            let mut line = Line(String::new());
            attributes.record(&mut line);
            self.0.lock().unwrap().push(line.0);
        }
    }

    fn on_record(&self, _: &Id, values: &tracing::span::Record<'_>, _: Context<'_, S>) {
        let mut line = Line(String::new());
        values.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
}

#[tokio::test]
async fn each_call_is_a_span_without_its_arguments() {
    let spans = Spans::default();
    let _on = tracing::subscriber::set_default(tracing_subscriber::registry().with(spans.clone()));
    let server = Arc::new(FakeServer::new());
    let engine = open(&server, EngineOptions { background: false, ..fast() }).await;
    let bob = engine.admins().create(CreateAdmin::named("bob"), None).await.unwrap();
    let context = CallContext::default().acting_as("support:alice").unwrap().as_admin(bob.id, None).unwrap();
    engine.with_context(context).keys().delete("secret-name", None).await.unwrap_err();
    let told = spans.0.lock().unwrap().clone();
    let get = format!(r#" name="keys.delete" actor="support:alice" admin={}"#, bob.id.0);
    assert!(told.contains(&get), "{told:?}");
    assert_eq!(told.last().unwrap(), r#" error="not_found""#);
    assert!(!told.concat().contains("secret-name"), "{told:?}");
    engine.close().await.unwrap();
}
