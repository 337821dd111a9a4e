//! What only a file can get wrong.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking"
)]

#[path = "../../tests/src/root.rs"]
#[allow(unreachable_pub, reason = "it is public in the test bed")]
mod root;

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use vpnkit_core::backend::Fingerprint;
use vpnkit_core::model::{
    AddressPool, CreateKey, Credential, CredentialKind, Cursor, EventKind, Inbound, InboundTag, KeyId,
    KeyQuery, KeyRef, KeyStatus, NodeId, Protocol, RecordQuery, ServerId, Traffic, UsageQuery,
};
use vpnkit_core::store::{
    Claim, Claimed, Holder, InboundOp, KeyOp, KeyStore as _, Made, Origin, Request, StoreOp, StoreTxn,
};
use vpnkit_core::traffic::Counter;
use vpnkit_core::{Clock as _, ErrorKind, ManualClock, Timestamp};
use vpnkit_sqlite::{SqliteOptions, SqliteStore};

fn create(name: &str) -> StoreTxn {
    let now = ManualClock::default().now();
    let key = CreateKey::named(name).validate(now).unwrap();
    StoreTxn::new(now, vec![KeyOp::Create(Box::new(key))])
}

async fn open(path: &Path) -> vpnkit_core::Result<SqliteStore> {
    SqliteStore::open(
        path,
        SqliteOptions { busy_timeout: Duration::from_millis(200), readers: 1, ..SqliteOptions::default() },
    )
    .await
}

async fn refusal(path: &Path) -> ErrorKind {
    let before = std::fs::read(path).ok();
    let error = open(path).await.unwrap_err();
    assert_eq!(std::fs::read(path).ok(), before, "a file that is refused is not touched");
    assert!(error.get("path").is_some(), "{error}");
    error.kind()
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes.txt");
    std::fs::write(&path, "not a database, but long enough to have a header of a hundred bytes ".repeat(20))
        .unwrap();
    assert_eq!(refusal(&path).await, ErrorKind::StoreNotRecognized);
}

#[tokio::test]
async fn another_programs_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bot.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE users (id INTEGER)").unwrap();
    assert_eq!(refusal(&path).await, ErrorKind::StoreNotRecognized);
}

/// A store of the first schema, with a key in it, is brought up to date; nothing of it is lost.
#[tokio::test]
async fn an_older_schema_is_brought_up_to_date() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.db");
    // The application id of a new store: the file itself tells it.
    let model = directory.path().join("model.db");
    open(&model).await.unwrap().close().await.unwrap();
    let pragma = |connection: &Connection, name: &str| -> i64 {
        connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0)).unwrap()
    };
    let newest = pragma(&Connection::open(&model).unwrap(), "user_version");
    let application = pragma(&Connection::open(&model).unwrap(), "application_id");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(include_str!("../migrations/0001_initial.sql")).unwrap();
    old.execute_batch(&format!(
        "PRAGMA application_id = {application}; PRAGMA user_version = 1; PRAGMA journal_mode = WAL;
         INSERT INTO keys VALUES (7, x'0198c5d5aaaa7bbb8cccddddeeeeffff', 3, 'alice', NULL, 'n', NULL, 'active', NULL,
                                  NULL, 1000, 2000);
         INSERT INTO meters VALUES (7, 50, 20, 15, 5, 1500);
         INSERT INTO credentials VALUES (7, 'trojan', 'default', 'password', x'00');
         INSERT INTO events VALUES (1, 1000, 'server.refused', 7, NULL, x'0198c5d5aaaa7bbb8cccddddeeeeffff', 'why');
         INSERT INTO requests VALUES ('keys.create:pay:1', 1000, '[7]', 1);
         INSERT INTO inbounds VALUES ('main', 'ws', 443, NULL,
           '{{\"node\":\"main\",\"tag\":\"ws\",\"listen\":\"0.0.0.0\",\"port\":443,\"protocol\":{{\"type\":\"vmess\"}}}}');
         INSERT INTO requests VALUES ('keys.create_many:pay:2', 1000, '[7, 8]', 1);
         INSERT INTO sources VALUES (1, 'main/xray', 'e', '{{}}', 4);
         INSERT INTO counters VALUES (1, 7, 15, 5);
         INSERT INTO nodes VALUES (1, 'main');
         INSERT INTO usage_hours VALUES (500000, 1, 7, 8, 2), (500000, 1, 8, 90, 10), (500001, 1, 7, 3, 1);"
    ))
    .unwrap();
    drop(old);

    let store = open(&path).await.unwrap();
    let key = store.key(&KeyRef::from("Alice")).await.unwrap().unwrap();
    assert_eq!((key.id.0, key.version, key.used, key.note.as_deref()), (7, 3, 20, Some("n")));
    assert_eq!((key.device_limit, key.link_revision, key.credentials.len()), (None, 0, 1));
    assert_eq!(store.records(&RecordQuery::default()).await.unwrap(), []);
    // A node had one server, an Xray.
    let xray = ServerId::new(&NodeId::main(), "xray");
    let [inbound] = &store.inbounds().await.unwrap()[..] else { panic!("one inbound") };
    assert_eq!((inbound.server.as_ref(), inbound.port), (Some(&xray), 443));
    let baseline = store.baseline(&xray).await.unwrap().unwrap();
    assert_eq!(baseline.counters, [Counter::of(key.id, Traffic { up: 15, down: 5 })]);
    // The hours of each key, and their sums, which are a table of their own now.
    let hour = |hour: i64| Timestamp::from_secs(hour * 3600);
    for (of, first) in [(Some(key.id), 10), (None, 110)] {
        let (from, to) = (hour(500_000), hour(500_002));
        let query = UsageQuery { key: of, owners: None, node: None, from, to };
        let points = store.usage(&query).await.unwrap();
        let seen: Vec<_> = points.iter().map(|point| (point.at, point.traffic.total())).collect();
        assert_eq!(seen, [(hour(500_000), first), (hour(500_001), 4)]);
    }
    let events = store.events(Cursor::START, 10).await.unwrap().events;
    assert_eq!(events.iter().map(|event| event.kind).collect::<Vec<_>>(), [EventKind::KeyRejected]);
    // What was asked for then is not known, so nothing of it is refused.
    let request = Request::grant("pay:1", Fingerprint::of(["anything"]));
    assert_eq!(store.receipt(&request).await.unwrap().unwrap().keys, [key]);
    let many = Request::grant("pay:2", Fingerprint::of(["anything"]));
    let made = store.receipt(&many).await.unwrap().unwrap().made;
    assert_eq!(made, [Made::key(KeyId(7)), Made::key(KeyId(8))]);
    store.commit(create("bob")).await.unwrap();
    store.close().await.unwrap();
    assert_eq!(pragma(&Connection::open(&path).unwrap(), "user_version"), newest);
}

/// An older program that has the store open while a newer one changes it.
#[tokio::test]
async fn a_store_that_was_migrated_meanwhile_is_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.db");
    let store = open(&path).await.unwrap();
    store.commit(create("alice")).await.unwrap();
    let newer = Connection::open(&path).unwrap();
    newer.execute_batch("PRAGMA user_version = 1000").unwrap();
    let refused = store.commit(create("bob")).await.unwrap_err();
    assert_eq!((refused.kind(), refused.get("schema")), (ErrorKind::StoreTooNew, Some("1000")));
    assert_eq!(store.count(&KeyQuery::default()).await.unwrap().total, 1, "it is still read");
    store.close().await.unwrap();
}

/// What a newer program has written, and this one does not know, is no reason to fail on the rest.
#[tokio::test]
async fn one_unknown_value_does_not_fail_a_page() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.db");
    let store = open(&path).await.unwrap();
    for name in ["alice", "bob"] {
        store.commit(create(name)).await.unwrap();
    }
    let tag = |tag| InboundTag::new(tag).unwrap();
    let inbounds = ["a", "b"].map(|t| Inbound::new(tag(t), u16::from(t.as_bytes()[0]), Protocol::Vmess));
    let now = ManualClock::default().now();
    let puts = inbounds.map(|inbound| InboundOp::Put(Box::new(inbound)));
    store.commit(StoreTxn::new(now, puts)).await.unwrap();
    let newer = Connection::open(&path).unwrap();
    newer
        .execute_batch(
            "UPDATE keys SET status = 'frozen' WHERE name = 'bob';
             INSERT INTO credentials VALUES (1, 'quantum', 'default', '', 'secret', x'0102', NULL, NULL, NULL);
             INSERT INTO events (at, kind, key_id, uid, detail) VALUES (1, 'key.teleported', 1, zeroblob(16), '');
             UPDATE inbounds SET spec = '{\"protocol\":{\"type\":\"quantum\"}}' WHERE tag = 'a';",
        )
        .unwrap();
    let page = store.find(&KeyQuery::default()).await.unwrap();
    let seen: Vec<_> = page.keys.iter().map(|key| (key.status, key.credentials.len())).collect();
    assert_eq!(seen, [(KeyStatus::Active, 0), (KeyStatus::Disabled, 0)]);
    let counts = store.count(&KeyQuery::default()).await.unwrap();
    assert_eq!((counts.total, counts.active), (2, 1));
    let batch = store.events(Cursor::START, 100).await.unwrap();
    assert_eq!((batch.events.len(), batch.next), (4, Cursor(5)));
    assert_eq!(store.inbounds().await.unwrap().iter().map(|i| i.tag.as_str()).collect::<Vec<_>>(), ["b"]);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.db");
    open(&path).await.unwrap().close().await.unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("PRAGMA user_version = 999").unwrap();
    drop(other);
    assert_eq!(refusal(&path).await, ErrorKind::StoreTooNew);
}

#[tokio::test]
async fn a_damaged_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.db");
    let store = open(&path).await.unwrap();
    store.commit(create("a")).await.unwrap();
    store.close().await.unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100..4096].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(refusal(&path).await, ErrorKind::StoreCorrupt);
}

#[tokio::test]
async fn a_missing_directory_is_told() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(refusal(&directory.path().join("none/keys.db")).await, ErrorKind::NotFound);
}

#[tokio::test]
async fn a_lock_that_is_held_is_told_and_passes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.db");
    let store = open(&path).await.unwrap();
    store.commit(create("a")).await.unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.commit(create("b")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StoreLocked);
    assert!(error.is_temporary());
    assert!(store.key(&KeyRef::from("a")).await.unwrap().is_some(), "reading goes on");
    other.execute_batch("ROLLBACK").unwrap();
    store.commit(create("b")).await.unwrap();
}

/// Needs root, for a file system of its own.
#[tokio::test]
async fn a_read_only_file_system_is_told() {
    if !root::is_root("a_read_only_file_system_is_told") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().to_str().unwrap().to_owned();
    let run = |line: String| {
        let mut words = line.split(' ');
        let status = std::process::Command::new(words.next().unwrap()).args(words).status().unwrap();
        assert!(status.success(), "{line}");
    };
    run(format!("mount -t tmpfs tmpfs {place}"));
    let path = directory.path().join("keys.db");
    let store = open(&path).await.unwrap();
    store.commit(create("a")).await.unwrap();
    store.close().await.unwrap();
    run(format!("mount -o remount,ro {place}"));
    let errors = [
        open(&path).await.unwrap_err().kind(),
        open(&directory.path().join("new.db")).await.unwrap_err().kind(),
    ];
    run(format!("umount {place}"));
    assert_eq!(errors, [ErrorKind::StoreReadOnly; 2]);
}

/// Needs root, for a file system of its own.
#[tokio::test]
async fn a_full_disk_fails_the_commit_and_nothing_else() {
    if !root::is_root("a_full_disk_fails_the_commit_and_nothing_else") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().to_str().unwrap().to_owned();
    let run = |line: String| {
        let mut words = line.split(' ');
        assert!(
            std::process::Command::new(words.next().unwrap()).args(words).status().unwrap().success(),
            "{line}"
        );
    };
    run(format!("mount -t tmpfs -o size=1m tmpfs {place}"));
    let path = directory.path().join("keys.db");
    let store = open(&path).await.unwrap();
    let mut created = 0;
    let error = loop {
        match store.commit(create(&format!("k{created}"))).await {
            Ok(_) => created += 1,
            Err(e) => break e,
        }
    };
    // Those that share a transaction: who is told that it failed finds nothing, and who is told that it did not finds it.
    let names: Vec<String> = (0..200).map(|i| format!("g{i}")).collect();
    let answers = futures_util::future::join_all(names.iter().map(|name| store.commit(create(name)))).await;
    for (name, answer) in names.iter().zip(answers) {
        let held = store.key(&KeyRef::from(name.as_str())).await.unwrap();
        assert_eq!(held.is_some(), answer.is_ok(), "{name}");
    }
    let last = store.key(&KeyRef::from(format!("k{}", created - 1).as_str())).await.unwrap();
    let failed = store.key(&KeyRef::from(format!("k{created}").as_str())).await.unwrap();
    run(format!("mount -o remount,size=16m {place}"));
    store.commit(create("after")).await.unwrap();
    store.close().await.unwrap();
    run(format!("umount {place}"));
    assert_eq!(error.kind(), ErrorKind::StoreFull);
    assert!(last.is_some() && failed.is_none());
}

#[tokio::test]
async fn closing_releases_the_file_and_opening_again_finds_everything() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.db");
    for round in 0..3 {
        let store = open(&path).await.unwrap();
        assert_eq!(store.find(&KeyQuery::default()).await.unwrap().keys.len(), round);
        store.commit(create(&format!("k{round}"))).await.unwrap();
        store.close().await.unwrap();
        let names: Vec<_> =
            std::fs::read_dir(directory.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["keys.db"], "no journal is left");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_on_one_file_see_each_others_keys() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.db");
    let options = SqliteOptions::default;
    let (a, b) = tokio::join!(SqliteStore::open(&path, options()), SqliteStore::open(&path, options()));
    let (a, b) = (a.unwrap(), b.unwrap());
    let (one, two) = tokio::join!(
        async {
            for i in 0..100 {
                a.commit(create(&format!("a{i}"))).await.unwrap();
            }
        },
        async {
            for i in 0..100 {
                b.commit(create(&format!("b{i}"))).await.unwrap();
            }
        }
    );
    let ((), ()) = (one, two);
    for store in [&a, &b] {
        let query = KeyQuery { limit: 1000, ..KeyQuery::default() };
        assert_eq!(store.find(&query).await.unwrap().keys.len(), 200);
    }
    assert_eq!(a.commit(create("B7")).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
}

/// Two processes give addresses and serial numbers of one inbound at the same time: each is given once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_on_one_file_give_each_address_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.db");
    let (a, b) = (open(&path).await.unwrap(), open(&path).await.unwrap());
    let pool = AddressPool { v4: Some("10.0.0.0/16".parse().unwrap()), v6: None };
    let inbound = Inbound::new(InboundTag::new("wg").unwrap(), 1, Protocol::Vmess).addresses(pool);
    let now = ManualClock::default().now();
    a.commit(StoreTxn::new(now, [InboundOp::Put(Box::new(inbound.clone()))])).await.unwrap();
    let id = inbound.id();
    let fill = async |store: &SqliteStore| {
        let mut given = Vec::new();
        for _ in 0..100 {
            let credential = Credential::generate(CredentialKind::Vmess).only_on(id.clone());
            let request = CreateKey { credentials: vec![credential], ..CreateKey::default() };
            let key = KeyOp::Create(Box::new(request.validate(now).unwrap()));
            let serial = StoreOp::TakeSerials { inbound: id.clone(), count: 1 };
            let receipt = store.commit(StoreTxn::new(now, [key.into(), serial])).await.unwrap();
            let serial = receipt.made.iter().find_map(Made::as_serial).unwrap();
            given.push((receipt.keys[0].credentials[0].slot.unwrap(), serial));
        }
        given
    };
    let (one, two) = tokio::join!(fill(&a), fill(&b));
    let (mut slots, mut serials): (Vec<u32>, Vec<u64>) = one.into_iter().chain(two).unzip();
    slots.sort_unstable();
    serials.sort_unstable();
    assert_eq!(slots, (0..200).collect::<Vec<_>>());
    assert_eq!(serials, (1..=200).collect::<Vec<_>>());
}

/// Whatever the number of those that are given: each look-up is by an index.
#[tokio::test]
async fn giving_an_address_reads_no_others() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.db");
    open(&path).await.unwrap().close().await.unwrap();
    let file = Connection::open(&path).unwrap();
    for statement in [
        "SELECT max(slot) FROM credentials WHERE inbound = ?1 AND slot IS NOT NULL",
        "DELETE FROM credentials WHERE inbound = ?1 AND inbound <> '' AND protocol IS NOT ?2",
        "SELECT one.slot + 1 FROM credentials one WHERE one.inbound = ?1 AND one.slot >= ?2
           AND NOT EXISTS (SELECT 1 FROM credentials two WHERE two.inbound = ?1 AND two.slot = one.slot + 1)
         ORDER BY one.slot LIMIT 1",
        "SELECT serial FROM revocations WHERE inbound = ?1 AND expires_at > ?2 ORDER BY serial",
        "DELETE FROM revocations WHERE expires_at < ?1",
    ] {
        let mut plan = file.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).unwrap();
        let values = plan.parameter_count();
        let steps: Vec<String> = plan
            .query_map(rusqlite::params_from_iter(vec![1; values]), |row| row.get(3))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let scans = steps.iter().any(|step| step.starts_with("SCAN") || step.contains("TEMP B-TREE"));
        assert!(!scans && steps.iter().any(|step| step.starts_with("SEARCH")), "{statement}: {steps:?}");
    }
}

/// Commits that wait together share a transaction; one that fails leaves the others alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grouped_commits_succeed_and_fail_each_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let store = std::sync::Arc::new(open(&directory.path().join("keys.db")).await.unwrap());
    let mut tasks = Vec::new();
    for i in 0..400 {
        let store = std::sync::Arc::clone(&store);
        tasks.push(tokio::spawn(async move { store.commit(create(&format!("k{}", i % 200))).await }));
    }
    let mut outcomes = [0, 0];
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => outcomes[0] += 1,
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::AlreadyExists);
                outcomes[1] += 1;
            }
        }
    }
    assert_eq!(outcomes, [200, 200]);
}

#[tokio::test]
async fn a_file_that_everybody_may_open_is_closed_to_them() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.db");
    open(&path).await.unwrap().close().await.unwrap();
    for (before, after) in [(0o644, 0o640), (0o666, 0o660), (0o600, 0o600), (0o660, 0o660)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(before)).unwrap();
        let store = open(&path).await.unwrap();
        for name in ["keys.db", "keys.db-wal"] {
            let mode = std::fs::metadata(directory.path().join(name)).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, after, "{name}");
        }
        store.close().await.unwrap();
    }
}

/// Nobody can prolong a lease while another process writes for long; it is not over for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_long_write_takes_nobodys_lease() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.db");
    let store = async || SqliteStore::open(&path, SqliteOptions::default()).await.unwrap();
    let (holder, writer, waiter) = (store().await, store().await, store().await);
    let time = Duration::from_millis(500);
    let claim = |origin, number| Claim {
        name: "server".into(),
        holder: Holder { origin: Origin(origin), process: 1, host: "here".into(), mark: None },
        number,
        instead_of: None,
        time,
        progress: Cursor::START,
        note: None,
    };
    let mut number = None;
    for count in (1..6).map(|round| 20_000 << round) {
        let now = ManualClock::default().now();
        let keys = (0..count).map(|i| CreateKey::named(format!("k{count}-{i}")).validate(now).unwrap());
        let import = StoreTxn::new(now, keys.map(|key| KeyOp::Create(Box::new(key))));
        let Claimed::Held(held) = holder.claim(&[claim(1, number)]).await.unwrap().remove(0) else {
            panic!("nobody else has asked")
        };
        assert_eq!(number.replace(held).unwrap_or(held), held);
        let begun = std::time::Instant::now();
        writer.commit(import).await.unwrap();
        let took = begun.elapsed();
        let asked = waiter.claim(&[claim(2, None)]).await.unwrap().remove(0);
        assert!(matches!(asked, Claimed::Taken(_)), "taken behind a write of {took:?}");
        if took > 2 * time {
            return;
        }
    }
    panic!("this machine is too fast for the test");
}
