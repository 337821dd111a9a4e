//! Backups while others write, what a check finds, and stores that are put back.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::Connection;
use vpnkit_core::model::{CreateKey, Cursor, KeyId, KeyRef};
use vpnkit_core::store::{Claim, Claimed, Holder, KeyOp, KeyStore as _, Origin, Progress, StoreTxn};
use vpnkit_core::{Clock as _, ErrorKind, ManualClock};
use vpnkit_sqlite::{SqliteOptions, SqliteStore};

async fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, SqliteOptions::default()).await.unwrap()
}

async fn create(store: &SqliteStore, name: &str) -> KeyId {
    let now = ManualClock::default().now();
    let key = CreateKey::named(name).note("x".repeat(3_000)).validate(now).unwrap();
    let steps = vec![KeyOp::Create(Box::new(key))];
    store.commit(StoreTxn::new(now, steps)).await.unwrap().keys[0].id
}

async fn create_many(store: &SqliteStore, count: usize) {
    let now = ManualClock::default().now();
    let steps = (0..count).map(|n| {
        let key = CreateKey::named(format!("many-{n}")).note("x".repeat(3_000)).validate(now).unwrap();
        KeyOp::Create(Box::new(key))
    });
    store.commit(StoreTxn::new(now, steps.collect::<Vec<_>>())).await.unwrap();
}

fn names(directory: &Path) -> Vec<String> {
    let all = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> =
        all.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

async fn restore(from: &Path, to: &Path) -> vpnkit_core::Result<vpnkit_core::model::Backup> {
    SqliteStore::restore(from, to, &Progress::default()).await
}

/// Two openings of the store write as fast as they can while it is backed up again and again: every backup has what was
/// acknowledged before it began, and nothing half done.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_whole_while_others_write() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.db");
    let stores = [Arc::new(open(&path).await), Arc::new(open(&path).await)];
    create_many(&stores[0], 2_000).await;
    let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(2_000)));
    let writers = stores.clone().into_iter().enumerate().map(|(number, store)| {
        let (stop, acknowledged) = (stop.clone(), acknowledged.clone());
        tokio::spawn(async move {
            let mut made = 0;
            while !stop.load(Ordering::Relaxed) {
                create(&store, &format!("k{number}-{made}")).await;
                made += 1;
                acknowledged.fetch_add(1, Ordering::SeqCst);
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    for round in 0..4 {
        let to = directory.path().join(format!("backup-{round}.db"));
        let (before, progress) = (acknowledged.load(Ordering::SeqCst), Progress::default());
        let backup = stores[round % 2].back_up(&to, &progress).await.unwrap();
        assert!(backup.keys >= before, "{} of {before}", backup.keys);
        assert_eq!((progress.done(), progress.total() > 100), (progress.total(), true));
        let metadata = std::fs::metadata(&to).unwrap();
        assert_eq!((metadata.permissions().mode() & 0o777, metadata.len()), (0o600, backup.bytes));
        let again = stores[0].back_up(&to, &Progress::default()).await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        assert!(stores[1].check(&Progress::default()).await.unwrap().faults.is_empty());

        let restored = directory.path().join(format!("restored-{round}.db"));
        assert_eq!(restore(&to, &restored).await.unwrap().keys, backup.keys);
        let store = open(&restored).await;
        assert_eq!(store.newest_event().await.unwrap(), backup.newest_event);
        assert_eq!(store.id().await.unwrap(), stores[0].id().await.unwrap());
        create(&store, "after").await;
        store.close().await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(acknowledged.load(Ordering::SeqCst) > 2_010, "nobody wrote meanwhile");
    let elsewhere = stores[0].back_up(&directory.path().join("no/b.db"), &Progress::default()).await;
    assert_eq!(elsewhere.unwrap_err().kind(), ErrorKind::NotFound);
    for store in &stores {
        store.close().await.unwrap();
    }
    // No file is left of all this but the stores and their backups.
    let left: Vec<_> = names(directory.path());
    assert_eq!(left.len(), 1 + 2 * 4, "{left:?}");
}

/// What was used since the backup is not used again: a bot that remembers an id or a cursor is not told of another key.
#[tokio::test]
async fn ids_and_cursors_go_on_behind_those_of_the_store_that_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let (path, saved) = (directory.path().join("keys.db"), directory.path().join("b.db"));
    let store = open(&path).await;
    let first = create(&store, "first").await;
    let claim = Claim {
        name: "a-server".to_owned(),
        holder: Holder { origin: Origin(7), process: 1, host: "here".into(), mark: None },
        number: None,
        instead_of: None,
        time: Duration::from_secs(100_000),
        progress: Cursor::START,
        note: None,
    };
    store.claim(std::slice::from_ref(&claim)).await.unwrap();
    store.back_up(&saved, &Progress::default()).await.unwrap();
    let lost = create(&store, "lost").await;
    let told = store.newest_event().await.unwrap();

    // Open, here: refused, and nothing happens to it.
    let refused = restore(&saved, &path).await.unwrap_err();
    assert_eq!((refused.kind(), refused.get("path").is_some()), (ErrorKind::InUse, true));
    assert!(store.key(&KeyRef::from("lost")).await.unwrap().is_some());
    store.close().await.unwrap();

    restore(&saved, &path).await.unwrap();
    let store = open(&path).await;
    assert!(store.key(&KeyRef::from("lost")).await.unwrap().is_none());
    assert_eq!(store.key(&KeyRef::from("first")).await.unwrap().unwrap().id, first);
    // The time of leases begins with each start of a machine, and this may be another one.
    let other = Claim { holder: Holder { origin: Origin(8), ..claim.holder.clone() }, ..claim };
    assert!(matches!(store.claim(&[other]).await.unwrap()[..], [Claimed::Held(2)]));
    let next = create(&store, "next").await;
    assert!(next > lost, "{next:?}");
    assert!(store.newest_event().await.unwrap() > told);
    store.close().await.unwrap();
    assert_eq!(names(directory.path()), ["b.db", "keys.db"]);
}

#[tokio::test]
async fn what_is_no_backup_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let store = open(&at("keys.db")).await;
    create_many(&store, 500).await;
    store.back_up(&at("good.db"), &Progress::default()).await.unwrap();
    store.close().await.unwrap();

    std::fs::write(at("text.db"), "not a database ".repeat(300)).unwrap();
    std::fs::write(at("empty.db"), "").unwrap();
    Connection::open(at("other.db")).unwrap().execute_batch("CREATE TABLE users (id INTEGER)").unwrap();
    let mut bytes = std::fs::read(at("good.db")).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 4096].fill(0x5a);
    std::fs::write(at("damaged.db"), bytes).unwrap();
    let before = std::fs::read(at("keys.db")).unwrap();
    for (name, kind) in [
        ("text.db", ErrorKind::StoreNotRecognized),
        ("empty.db", ErrorKind::StoreNotRecognized),
        ("other.db", ErrorKind::StoreNotRecognized),
        ("damaged.db", ErrorKind::StoreCorrupt),
        ("nowhere.db", ErrorKind::NotFound),
        ("keys.db", ErrorKind::InvalidInput),
    ] {
        let error = restore(&at(name), &at("keys.db")).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{name}: {error}");
    }
    assert!(std::fs::read(at("keys.db")).unwrap() == before);
    // Nor is another program's database replaced.
    let error = restore(&at("good.db"), &at("other.db")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StoreNotRecognized);
}

/// A damaged store is found out, is not backed up, and is kept when a backup takes its place.
#[tokio::test]
async fn a_damaged_store_is_told_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let store = open(&at("keys.db")).await;
    create_many(&store, 500).await;
    store.back_up(&at("good.db"), &Progress::default()).await.unwrap();
    store.close().await.unwrap();
    let mut bytes = std::fs::read(at("keys.db")).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 4096].fill(0x5a);
    std::fs::write(at("keys.db"), &bytes).unwrap();

    let store = open(&at("keys.db")).await;
    let found = store.check(&Progress::default()).await.unwrap();
    assert!(!found.faults.is_empty() && found.tables > 10);
    let error = store.back_up(&at("bad.db"), &Progress::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StoreCorrupt);
    assert!(!at("bad.db").exists());
    store.close().await.unwrap();

    // It can be opened: so it can be replaced.
    restore(&at("good.db"), &at("keys.db")).await.unwrap();
    let store = open(&at("keys.db")).await;
    assert!(store.check(&Progress::default()).await.unwrap().faults.is_empty());
    assert!(store.key(&KeyRef::from("many-499")).await.unwrap().is_some());
    store.close().await.unwrap();

    // Its first page, too: nobody can tell whether it was a store, nor whether it is open somewhere.
    bytes[..200].fill(0);
    std::fs::write(at("keys.db"), &bytes).unwrap();
    let refused = restore(&at("good.db"), &at("keys.db")).await.unwrap_err();
    assert_eq!((refused.kind(), refused.hint_text().is_some()), (ErrorKind::StoreNotRecognized, true));
    assert!(std::fs::read(at("keys.db")).unwrap() == bytes);
    std::fs::rename(at("keys.db"), at("kept.db")).unwrap();
    restore(&at("good.db"), &at("keys.db")).await.unwrap();
    open(&at("keys.db")).await.close().await.unwrap();
}

/// What is wrong with pages that no table has is found, too.
#[tokio::test]
async fn damage_of_the_free_pages_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.db");
    open(&path).await.close().await.unwrap();
    let file = Connection::open(&path).unwrap();
    file.execute_batch(
        "PRAGMA journal_mode = DELETE; CREATE TABLE gone (x); INSERT INTO gone VALUES (zeroblob(400000)); DROP TABLE gone;",
    )
    .unwrap();
    drop(file);
    let mut bytes = std::fs::read(&path).unwrap();
    let trunk = u32::from_be_bytes(bytes[32..36].try_into().unwrap()) as usize;
    // Five free pages that tables have.
    let list: Vec<u8> = [0_u32, 5, 3, 4, 5, 6, 7].iter().flat_map(|n| n.to_be_bytes()).collect();
    bytes[(trunk - 1) * 4096..][..list.len()].copy_from_slice(&list);
    std::fs::write(&path, bytes).unwrap();
    let store = open(&path).await;
    assert!(!store.check(&Progress::default()).await.unwrap().faults.is_empty());
    store.close().await.unwrap();
}

/// A store of before, with nothing in it: what the store that it replaces has used stays used.
#[tokio::test]
async fn a_backup_of_an_older_schema_with_nothing_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let store = open(&at("keys.db")).await;
    let application = {
        let file = Connection::open(at("keys.db")).unwrap();
        file.query_row("PRAGMA application_id", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    let (last, told) = (create(&store, "a").await, store.newest_event().await.unwrap());
    store.close().await.unwrap();
    let old = Connection::open(at("old.db")).unwrap();
    old.execute_batch(include_str!("../migrations/0001_initial.sql")).unwrap();
    old.execute_batch(&format!("PRAGMA application_id = {application}; PRAGMA user_version = 1;")).unwrap();
    drop(old);
    // By another name of it, as where a volume is mounted.
    std::os::unix::fs::symlink(at("keys.db"), at("link.db")).unwrap();
    assert_eq!(restore(&at("old.db"), &at("link.db")).await.unwrap().keys, 0);
    assert!(at("link.db").is_symlink());
    let store = open(&at("keys.db")).await;
    assert!(store.key(&KeyRef::from("a")).await.unwrap().is_none());
    assert!(create(&store, "b").await > last);
    assert!(store.newest_event().await.unwrap() > told);
    store.close().await.unwrap();
}

/// SQLite would take the backup for a part of a store, or what is left of another store for a part of the backup.
#[tokio::test]
async fn names_that_belong_to_a_store_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let store = open(&at("keys.db")).await;
    for part in ["keys.db-wal", "keys.db-shm", "keys.db-journal"] {
        let error = store.back_up(&at(part), &Progress::default()).await.unwrap_err();
        assert_eq!((error.kind(), error.get("field")), (ErrorKind::InvalidInput, Some("path")), "{part}");
    }
    std::fs::write(at("b.db-wal"), "of another store").unwrap();
    let error = store.back_up(&at("b.db"), &Progress::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    store.close().await.unwrap();
}

/// A backup that nobody waits for any more ends and leaves no file; so does one when the store is closed.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_cancelled_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.db");
    let store = Arc::new(open(&path).await);
    create_many(&store, 20_000).await;
    let (progress, to) = (Progress::default(), directory.path().join("b.db"));
    {
        let backup = store.back_up(&to, &progress);
        tokio::pin!(backup);
        while progress.done() == 0 {
            let _ = tokio::time::timeout(Duration::from_millis(1), &mut backup).await;
        }
    }
    let progress = Progress::default();
    let other = tokio::spawn({
        let (store, progress, to) = (store.clone(), progress.clone(), to.clone());
        async move { store.back_up(&to, &progress).await }
    });
    while progress.done() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    store.close().await.unwrap();
    assert_eq!(other.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(names(directory.path()), ["keys.db"]);
}
