//! Payments, ends and beginnings: over several processes, over several servers, beside what is broken.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

use std::sync::Arc;
use std::time::Duration;

use vpnkit_core::model::{
    ByteSize, CreateKey, DataReset, EventKind, Extension, GrantQuery, HistoryQuery, Host, Inbound,
    InboundTag, Key, KeyName, KeyPatch, KeyQuery, KeyStatus, NextPlan, NodeId, Patch, Protocol, RenewPolicy,
    ResetPeriod, Traffic, UsageStep,
};
use vpnkit_core::{Clock as _, ErrorKind, ManualClock};
use vpnkit_engine::engine::{Engine, EngineOptions, ServerParts};
use vpnkit_sqlite::{SqliteOptions, SqliteStore};
use vpnkit_testkit::{FakeRules, FakeServer, Fault};

const DAY: Duration = Duration::from_secs(86_400);

struct Bed {
    directory: tempfile::TempDir,
    clock: ManualClock,
}

impl Bed {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), clock: ManualClock::default() }
    }

    /// A process of its own, as far as the store can tell.
    async fn open(&self, servers: &[&Arc<FakeServer>]) -> Engine {
        let store =
            SqliteStore::open(self.directory.path().join("keys.db"), SqliteOptions::default()).await.unwrap();
        let options = EngineOptions {
            background: false,
            programs: vec![Arc::new(FakeRules)],
            time_zone: "Asia/Tehran".parse().unwrap(),
            ..EngineOptions::default()
        };
        let parts = servers.iter().map(|server| ServerParts {
            backend: (*server).clone(),
            source: (*server).clone(),
            address: "192.0.2.1".into(),
        });
        Engine::open(Arc::new(store), Arc::new(self.clock.clone()), options, parts.collect()).await.unwrap()
    }
}

fn server(id: &str) -> Arc<FakeServer> {
    Arc::new(FakeServer::named(id.parse().unwrap()))
}

fn inbound(tag: &str, port: u16) -> Inbound {
    Inbound::new(InboundTag::new(tag).unwrap(), port, Protocol::Vless { vision: false })
}

async fn get(engine: &Engine, key: &Key) -> Key {
    engine.keys().require(key.id).await.unwrap()
}

/// Each of a hundred payments arrives at both processes at once, and once more at one of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_that_get_one_payment_extend_once() {
    let bed = Bed::new();
    let (one, two) = (bed.open(&[]).await, bed.open(&[]).await);
    let key = one.keys().create(CreateKey::named("alice").expires_in(DAY)).await.unwrap();
    let extend = async |engine: &Engine, payment: usize| {
        let month = Extension::days(1).data_limit(ByteSize::gib(1));
        engine.keys().extend("alice", month, Some(format!("stars:{payment}")), None).await.unwrap().replayed
    };
    for payment in 0..100 {
        let (first, second) = tokio::join!(extend(&one, payment), extend(&two, payment));
        assert!(first != second, "one of them has given it");
        assert!(extend(&two, payment).await);
    }
    let end = key.expires_at.unwrap().plus(100 * DAY);
    assert_eq!(get(&one, &key).await.expires_at, Some(end));
    let ledger = two.grants().find(GrantQuery { limit: 1_000, ..GrantQuery::of(key.id) }).await.unwrap();
    assert_eq!(ledger.len(), 101);
    // Under the payment that created a key nothing else is given, whichever of them it is told.
    let made = CreateKey::named("bob").idempotency_key("stars:1");
    let twice = two.keys().create(made).await.unwrap_err();
    assert_eq!((twice.kind(), twice.get("field")), (ErrorKind::IdempotencyMismatch, Some("idempotency_key")));
    assert!(two.keys().get("bob").await.unwrap().is_none());
    // A refund is one, too.
    let undo = async |engine: &Engine| engine.grants().undo("stars:7", None, Some("refund:7".into())).await;
    let (first, second) = tokio::join!(undo(&one), undo(&two));
    assert!(first.unwrap().replayed != second.unwrap().replayed);
    assert_eq!(get(&two, &key).await.expires_at, Some(end.minus(DAY)));
    let again = one.grants().undo("stars:7", None, None).await.unwrap_err();
    assert_eq!((again.kind(), again.get("field")), (ErrorKind::Conflict, Some("grant")));
    one.close().await.unwrap();
    two.close().await.unwrap();
}

/// Also when the callback comes again after the plan has begun, when the key has another name, or when it went into another key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_that_get_one_payment_set_one_next_plan() {
    let bed = Bed::new();
    let (one, two) = (bed.open(&[]).await, bed.open(&[]).await);
    let key = one.keys().create(CreateKey::named("alice").expires_in(DAY)).await.unwrap();
    let sell = async |engine: &Engine, payment: usize| {
        let plan = NextPlan { duration: Some(30 * DAY), ..NextPlan::default() };
        // What is reckoned from now differs each time.
        bed.clock.advance(Duration::from_millis(1));
        let patch = KeyPatch {
            next_plan: Patch::Set(plan),
            locked_until: Patch::Set(bed.clock.now()),
            ..KeyPatch::default()
        };
        engine.keys().update(key.id, patch, Some(format!("stars:{payment}")), None).await.unwrap()
    };
    for payment in 0..30 {
        let (first, second) = tokio::join!(sell(&one, payment), sell(&two, payment));
        assert!(first.replayed != second.replayed, "one of them has set it");
        two.keys().begin_next_plan(key.id).await.unwrap();
        let late = sell(&one, payment).await;
        assert!(late.replayed && late.next_plan.is_none(), "{late:?}");
    }
    let ledger = two.grants().find(GrantQuery { limit: 1_000, ..GrantQuery::of(key.id) }).await.unwrap();
    assert_eq!(ledger.len(), 31);
    let renamed = KeyPatch { name: Patch::Set(KeyName::new("bob").unwrap()), ..KeyPatch::default() };
    two.keys().update("alice", renamed.clone(), Some("name:1".into()), None).await.unwrap();
    let again = one.keys().update("bob", renamed, Some("name:1".into()), None).await.unwrap();
    assert!(again.replayed && again.name == KeyName::new("bob").ok());
    let stays = one.keys().create(CreateKey::named("stays").expires_in(DAY)).await.unwrap();
    two.keys().merge("bob", "stays", None, None).await.unwrap();
    let late = sell(&one, 7).await;
    assert!(late.replayed && late.id == stays.id);
    one.close().await.unwrap();
    two.close().await.unwrap();
}

/// Bytes that pass while a key is sold more are kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn extensions_and_readings_of_two_processes_lose_nothing() {
    let bed = Bed::new();
    let fake = server("main/fake");
    let (driver, shop) = (bed.open(&[&fake]).await, bed.open(&[]).await);
    driver.inbounds().ensure(inbound("main", 443)).await.unwrap();
    let key = shop.keys().create(CreateKey::named("alice").data_limit(ByteSize::gib(1))).await.unwrap();
    let reads = async {
        for _ in 0..100 {
            fake.pass(key.id, Traffic { up: 1, down: 10 });
            driver.traffic().collect().await.unwrap();
        }
    };
    let sells = async {
        for _ in 0..100 {
            let more = Extension::default().data_limit(ByteSize::from_bytes(5));
            shop.keys().extend(key.id, more, None, None).await.unwrap();
        }
    };
    tokio::join!(reads, sells);
    let sold = get(&shop, &key).await;
    assert_eq!((sold.used, sold.data_limit), (1_100, Some(ByteSize::gib(1).plus(500))));
    driver.close().await.unwrap();
    shop.close().await.unwrap();
}

/// On every server of the key, also on one that another process drives, and later on one that was down.
#[tokio::test]
async fn a_renewal_lets_a_key_in_everywhere() {
    let bed = Bed::new();
    let (here, second, there) = (server("main/fake"), server("main/second"), server("other/fake"));
    let (engine, neighbour) = (bed.open(&[&here, &second]).await, bed.open(&[&there]).await);
    engine.inbounds().ensure(inbound("a", 443)).await.unwrap();
    engine.inbounds().ensure(inbound("b", 444).on("main/second".parse().unwrap())).await.unwrap();
    let other = Inbound { node: NodeId::new("other").unwrap(), ..inbound("c", 443) };
    neighbour.inbounds().ensure(other).await.unwrap();
    let key = engine.keys().create(CreateKey::named("alice").expires_in(DAY)).await.unwrap();
    let lets_in = || [here.lets_in(key.id, "a"), second.lets_in(key.id, "b"), there.lets_in(key.id, "c")];
    assert_eq!(lets_in(), [true; 3]);
    bed.clock.advance(DAY);
    engine.tick().await.unwrap();
    assert_eq!(get(&engine, &key).await.status, KeyStatus::Expired);
    for _ in 0..100 {
        if lets_in() == [false; 3] {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(lets_in(), [false; 3]);
    second.fail(Fault::Down);
    let renewed = engine.keys().extend("alice", Extension::days(30), None, None).await.unwrap();
    assert_eq!(renewed.status, KeyStatus::Active);
    assert_eq!(lets_in(), [true, false, true]);
    second.heal();
    engine.servers().reconcile(&"main/second".parse().unwrap()).await.unwrap();
    assert_eq!(lets_in(), [true; 3]);
    // Paused and resumed, it follows too.
    engine.keys().pause("alice").await.unwrap();
    assert_eq!(lets_in(), [false; 3]);
    neighbour.keys().resume("alice").await.unwrap();
    assert_eq!(lets_in(), [true; 3]);
    engine.close().await.unwrap();
    neighbour.close().await.unwrap();
}

/// With the inbounds that are its own, and their hosts; what was renewed meanwhile stays.
#[tokio::test]
async fn what_has_ended_for_long_enough_is_deleted() {
    let bed = Bed::new();
    let fake = server("main/fake");
    let engine = bed.open(&[&fake]).await;
    engine.inbounds().ensure(inbound("main", 443)).await.unwrap();
    let short = |name: &str| CreateKey::named(name).expires_in(DAY).delete_after(2 * DAY);
    let (gone, kept) = (short("gone"), short("kept"));
    let (gone, kept) = (engine.keys().create(gone).await.unwrap(), engine.keys().create(kept).await.unwrap());
    engine.inbounds().ensure(inbound("own", 500).dedicated_to(gone.id)).await.unwrap();
    let tag = InboundTag::new("own").unwrap();
    engine.hosts().set(&NodeId::main(), &tag, vec![Host::new("own", "a.example")]).await.unwrap();
    let many = (0..250).map(|i| short(&format!("m{i}"))).collect();
    engine.keys().create_many(many, None).await.unwrap();
    bed.clock.advance(DAY);
    engine.tick().await.unwrap();
    assert_eq!(engine.keys().count(KeyQuery::default()).await.unwrap().expired, 252);
    engine.keys().extend("kept", Extension::days(30), None, None).await.unwrap();
    bed.clock.advance(2 * DAY);
    engine.tick().await.unwrap();
    let left = engine.keys().find(KeyQuery::default()).await.unwrap().keys;
    assert_eq!(left.iter().map(|key| key.id).collect::<Vec<_>>(), [kept.id]);
    let tags: Vec<_> =
        engine.inbounds().list().await.unwrap().into_iter().map(|inbound| inbound.tag).collect();
    assert_eq!(tags, [InboundTag::new("main").unwrap()]);
    assert_eq!(fake.port("own"), None);
    assert!(engine.hosts().list().await.unwrap().iter().all(|hosts| hosts.tag != tag));
    // The ledger knows what they had.
    assert_eq!(engine.grants().find(GrantQuery::of(gone.id)).await.unwrap().len(), 1);
    engine.close().await.unwrap();
}

/// It is set aside, and the others are settled.
#[tokio::test]
async fn a_key_that_cannot_be_read_keeps_no_other_from_its_end() {
    let bed = Bed::new();
    let engine = bed.open(&[]).await;
    let request = |name: &str| CreateKey::named(name).expires_in(DAY);
    let broken = engine.keys().create(request("broken")).await.unwrap();
    let sound = engine.keys().create(request("sound")).await.unwrap();
    let file = rusqlite::Connection::open(bed.directory.path().join("keys.db")).unwrap();
    file.execute("UPDATE keys SET life = '{\"hold\":7}' WHERE id = ?1", [broken.id.0]).unwrap();
    bed.clock.advance(DAY);
    engine.tick().await.unwrap();
    assert_eq!(get(&engine, &sound).await.status, KeyStatus::Expired);
    assert_eq!(engine.keys().get(broken.id).await.unwrap_err().kind(), ErrorKind::StoreCorrupt);
    file.execute("UPDATE keys SET life = NULL WHERE id = ?1", [broken.id.0]).unwrap();
    bed.clock.advance(Duration::from_secs(3_600));
    engine.tick().await.unwrap();
    assert_eq!(get(&engine, &broken).await.status, KeyStatus::Expired);
    engine.close().await.unwrap();
}

/// Neither a page nor a reading nor the deletion of others fails for one row.
#[tokio::test]
async fn damage_of_a_row_stays_with_its_key() {
    let bed = Bed::new();
    let fake = server("main/fake");
    let engine = bed.open(&[&fake]).await;
    engine.inbounds().ensure(inbound("main", 443)).await.unwrap();
    let request = |name: &str| CreateKey::named(name).data_limit(ByteSize::from_bytes(100));
    let names = ["zone", "label", "credential", "sound"];
    let mut keys = Vec::new();
    for name in names {
        let request = request(name).reset(DataReset::each(ResetPeriod::Year)).expires_in(DAY);
        keys.push(engine.keys().create(request.delete_after(DAY)).await.unwrap());
    }
    let file = rusqlite::Connection::open(bed.directory.path().join("keys.db")).unwrap();
    let damage = |text: &str, key: &Key| assert_eq!(file.execute(text, [key.id.0]).unwrap(), 1);
    // Of a machine that knows more time zones, which is no damage.
    damage(
        "UPDATE keys SET life = json_set(life, '$.reset.time_zone', 'America/Newtown') WHERE id = ?1",
        &keys[0],
    );
    damage("UPDATE keys SET label = CAST(x'ff' AS TEXT) WHERE id = ?1", &keys[1]);
    damage("UPDATE credentials SET device = ' ' WHERE key_id = ?1", &keys[2]);
    assert_eq!(get(&engine, &keys[0]).await.reset.unwrap().time_zone.unwrap().as_str(), "America/Newtown");
    for key in &keys {
        fake.pass(key.id, Traffic { up: 0, down: 100 });
    }
    engine.traffic().collect().await.unwrap();
    assert_eq!(get(&engine, &keys[3]).await.status, KeyStatus::Limited, "the reading is counted");
    bed.clock.advance(DAY);
    engine.tick().await.unwrap();
    bed.clock.advance(DAY);
    engine.tick().await.unwrap();
    assert!(engine.keys().get("sound").await.unwrap().is_none());
    assert!(engine.keys().get("zone").await.unwrap().is_none());
    // What is repaired follows within the hour.
    damage("UPDATE credentials SET device = 'default' WHERE key_id = ?1", &keys[2]);
    damage("UPDATE keys SET label = NULL WHERE id = ?1", &keys[1]);
    bed.clock.advance(Duration::from_secs(3_600));
    engine.tick().await.unwrap();
    engine.tick().await.unwrap();
    bed.clock.advance(DAY);
    engine.tick().await.unwrap();
    assert_eq!(engine.keys().count(KeyQuery::default()).await.unwrap().total, 0);
    engine.close().await.unwrap();
}

/// Lengths that nobody could read again, and payments that look like others.
#[tokio::test]
async fn what_would_not_be_read_again_is_refused() {
    let bed = Bed::new();
    let engine = bed.open(&[]).await;
    let long = Duration::from_secs(3_650_001 * 86_400);
    let most = Duration::from_secs(3_650_000 * 86_400);
    let field = |e: vpnkit_core::Error| e.get("field").unwrap_or_default().to_owned();
    let refused = engine.keys().create(CreateKey::named("a").expires_in(long).on_hold()).await.unwrap_err();
    assert_eq!(field(refused), "expires_in");
    engine.keys().create(CreateKey::named("a").expires_in(most).on_hold()).await.unwrap();
    for _ in 0..5 {
        engine.keys().extend("a", Extension::default().expires_in(most), None, None).await.unwrap();
    }
    assert_eq!(engine.keys().require("a").await.unwrap().hold.unwrap().duration, most);
    assert_eq!(engine.keys().find(KeyQuery::default()).await.unwrap().keys.len(), 1);
    let refused =
        engine.keys().extend("a", Extension::default().expires_in(long), None, None).await.unwrap_err();
    assert_eq!(field(refused), "expires_in");
    for payment in ["", " ", "pay:1 ", "раy:1", "pay:\u{200b}1"] {
        let refused =
            engine.keys().extend("a", Extension::days(1), Some(payment.into()), None).await.unwrap_err();
        assert_eq!(field(refused), "idempotency_key", "{payment:?}");
    }
    let reason = Some("\u{1b}[31m".to_owned());
    assert_eq!(field(engine.grants().undo("pay:1", reason, None).await.unwrap_err()), "reason");
    engine.close().await.unwrap();
}

/// In the kit's time zone where none is named, which stands with the key from then on.
#[tokio::test]
async fn usage_is_reset_by_the_calendar_of_the_kit() {
    let bed = Bed::new();
    let fake = server("main/fake");
    let engine = bed.open(&[&fake]).await;
    engine.inbounds().ensure(inbound("main", 443)).await.unwrap();
    let request = CreateKey::named("alice").data_limit(ByteSize::from_bytes(100));
    let key = engine.keys().create(request.reset(DataReset::each(ResetPeriod::Month))).await.unwrap();
    assert_eq!(key.reset.as_ref().unwrap().time_zone.as_ref().unwrap().as_str(), "Asia/Tehran");
    // The clock begins on January 1, 2026; Tehran is three and a half hours ahead.
    assert_eq!(key.resets_at, Some("2026-01-31T20:30:00Z".parse().unwrap()));
    fake.pass(key.id, Traffic { up: 0, down: 100 });
    engine.tick().await.unwrap();
    assert!(!fake.lets_in(key.id, "main"));
    bed.clock.set("2026-01-31T20:30:00Z".parse().unwrap());
    engine.tick().await.unwrap();
    let reset = get(&engine, &key).await;
    assert_eq!((reset.status, reset.used, reset.traffic.total()), (KeyStatus::Active, 0, 100));
    assert!(fake.lets_in(key.id, "main"), "a limited key connects again");
    assert_eq!(reset.resets_at, Some("2026-02-28T20:30:00Z".parse().unwrap()));
    let weekly = KeyPatch { reset: Patch::Set(DataReset::each(ResetPeriod::Week)), ..KeyPatch::default() };
    let weekly = engine.keys().update("alice", weekly, None, None).await.unwrap();
    assert_eq!(weekly.reset.unwrap().time_zone.unwrap().as_str(), "Asia/Tehran");
    engine.close().await.unwrap();
}

/// Neither twice by one idempotency key, nor by a caller who has seen an older version.
#[tokio::test]
async fn what_is_sold_is_told_and_checked() {
    let bed = Bed::new();
    let engine = bed.open(&[]).await;
    let key = engine.keys().create(CreateKey::named("alice").expires_in(DAY)).await.unwrap();
    let cursor = engine.events().newest().await.unwrap();
    let month = Extension::days(30).policy(RenewPolicy::Reset).reason("sold");
    engine.keys().extend("alice", month.clone(), None, Some(key.version)).await.unwrap();
    let old = engine.keys().extend("alice", month.clone(), None, Some(key.version)).await.unwrap_err();
    assert_eq!(old.kind(), ErrorKind::Conflict);
    let kinds = engine.events().read(cursor, 10).await.unwrap().events;
    assert_eq!(kinds.iter().map(|event| event.kind).collect::<Vec<_>>(), [EventKind::KeyExtended]);
    let unknown = engine.keys().extend("bob", month, None, None).await.unwrap_err();
    assert_eq!((unknown.kind(), unknown.operation()), (ErrorKind::NotFound, "keys.extend"));
    let several = vec![CreateKey::named("x"), CreateKey::named("y")];
    engine.keys().create_many(several, Some("batch:1".into())).await.unwrap();
    let which = engine.grants().undo("batch:1", None, None).await.unwrap_err();
    assert_eq!((which.kind(), which.get("field")), (ErrorKind::InvalidInput, Some("grant")));
    let limit = engine.grants().find(GrantQuery { limit: 0, ..GrantQuery::default() }).await.unwrap_err();
    assert_eq!(limit.get("field"), Some("limit"));
    engine.close().await.unwrap();
}

/// In steps that each are done once: by two processes at the same time, and by one that begins again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_is_given_days_once() {
    let bed = Bed::new();
    let (one, two) = (bed.open(&[]).await, bed.open(&[]).await);
    let requests = (0..1_203).map(|i| match i % 401 {
        // They never end: nothing would be given.
        400 => CreateKey::named(format!("endless{i}")),
        _ => CreateKey::named(format!("k{i}")).expires_in(DAY),
    });
    let keys = one.keys().create_many(requests.collect(), None).await.unwrap();
    let other = one
        .keys()
        .create(CreateKey { disabled: true, ..CreateKey::named("off").expires_in(DAY) })
        .await
        .unwrap();
    let query = || Some(KeyQuery::default().status([KeyStatus::Active]));
    let three = || Extension::days(3).reason("an outage");
    let step = async |engine: &Engine, after| {
        engine.keys().extend_step(three(), "outage:7".into(), query(), after).await.unwrap()
    };
    let first = step(&one, None).await;
    assert_eq!((first.extended, first.skipped, first.replayed), (499, 1, false));
    // Each begins at the beginning, and goes on in the same steps.
    let all = async |engine: &Engine| {
        let (mut after, mut given) = (None, 0);
        loop {
            let done = step(engine, after).await;
            given += if done.replayed { 0 } else { done.extended };
            match done.next {
                Some(next) => after = Some(next),
                None => return given,
            }
        }
    };
    // Nobody who is gone keeps the others waiting.
    one.keys().delete(keys[3].id, None).await.unwrap();
    one.keys().delete(keys[700].id, None).await.unwrap();
    let (a, b) = tokio::join!(all(&one), all(&two));
    assert_eq!(a + b, 1_200 - 499 - 1);
    // A key that came later is not everybody's any more, nor where there was nobody.
    let late = two.keys().create(CreateKey::named("late").expires_in(DAY)).await.unwrap();
    assert_eq!(all(&two).await, 0);
    assert_eq!(get(&two, &late).await.expires_at, late.expires_at);
    let nobody = || Some(KeyQuery::default().label("telegram", "1"));
    let few = async || two.keys().extend_step(three(), "few".into(), nobody(), None).await.unwrap();
    assert_eq!((few().await.extended, few().await.replayed), (0, true));
    for key in &keys {
        if let Some(now) = two.keys().get(key.id).await.unwrap() {
            assert_eq!(now.expires_at, key.expires_at.map(|end| end.plus(3 * DAY)), "{:?}", key.name);
        }
    }
    assert_eq!(get(&two, &other).await.expires_at, other.expires_at);
    let entries = GrantQuery { limit: 1_000, ..GrantQuery::of_payment("outage:7") };
    assert_eq!(two.grants().find(entries).await.unwrap().len(), 1_000);
    let else_ =
        two.keys().extend_step(Extension::days(4), "outage:7".into(), query(), None).await.unwrap_err();
    assert_eq!(else_.kind(), ErrorKind::IdempotencyMismatch);
    let nothing = two.keys().extend_step(Extension::default(), "x".into(), None, None).await.unwrap_err();
    assert_eq!((nothing.get("field"), nothing.operation()), (Some("expires_in"), "keys.extend_step"));
    one.close().await.unwrap();
    two.close().await.unwrap();
}

/// In every process, also the one that drives the server, and only for the node that it is set for.
#[tokio::test]
async fn bytes_through_a_node_count_as_often_as_is_said_of_it() {
    let bed = Bed::new();
    let (here, there) = (server("main/fake"), server("other/fake"));
    let (shop, driver) = (bed.open(&[&here]).await, bed.open(&[&there]).await);
    shop.inbounds().ensure(inbound("a", 443)).await.unwrap();
    let other = NodeId::new("other").unwrap();
    driver.inbounds().ensure(Inbound { node: other.clone(), ..inbound("c", 443) }).await.unwrap();
    let key =
        shop.keys().create(CreateKey::named("alice").data_limit(ByteSize::from_bytes(10_000))).await.unwrap();
    shop.traffic().set_coefficient(&other, 250).await.unwrap();
    let error = shop.traffic().set_coefficient(&other, 10_001).await.unwrap_err();
    assert_eq!((error.kind(), error.get("field")), (ErrorKind::InvalidInput, Some("percent")));
    assert_eq!(driver.traffic().coefficients().await.unwrap(), [("other".to_owned(), 250)].into());
    let pass = async || {
        here.pass(key.id, Traffic { up: 0, down: 1_000 });
        there.pass(key.id, Traffic { up: 0, down: 1_000 });
        shop.tick().await.unwrap();
        driver.tick().await.unwrap();
        get(&shop, &key).await
    };
    let after = pass().await;
    assert_eq!((after.used, after.traffic.down), (3_500, 2_000));
    // What has passed is what it was, by month of the zone too.
    let query = HistoryQuery::of("alice").step(UsageStep::Month).node(other.clone());
    let months = shop.traffic().history(query).await.unwrap();
    assert_eq!(months.iter().map(|point| point.traffic.down).collect::<Vec<_>>(), [1_000]);
    // From midnight in Tehran on.
    assert_eq!(months[0].at.to_string(), "2025-12-31T20:30:00Z");
    bed.clock.advance(Duration::from_secs(10));
    let after = pass().await;
    assert_eq!((after.used, after.status), (7_000, KeyStatus::Active));
    // As fast as it was between two readings, over both servers, whichever process has them.
    let rates = shop.traffic().rates(10).await.unwrap();
    assert_eq!(
        rates.keys.iter().map(|rate| (rate.key, rate.down.bytes())).collect::<Vec<_>>(),
        [(key.id, 400)]
    );
    assert_eq!(rates.servers.iter().map(|rate| rate.down.bytes()).collect::<Vec<_>>(), [200, 200]);
    shop.traffic().set_coefficient(&other, 100).await.unwrap();
    assert!(driver.traffic().coefficients().await.unwrap().is_empty());
    assert_eq!(pass().await.used, 9_000);
    driver.close().await.unwrap();
    shop.close().await.unwrap();
}
