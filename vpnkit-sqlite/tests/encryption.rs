//! Credentials and inbounds at rest under a passphrase.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

use std::path::Path;

use vpnkit_core::model::{
    AddressPool, CreateKey, Credential, CredentialKind, Inbound, InboundTag, Key, KeyRef, Protocol, Reality,
    RecordQuery, Security, ShortId,
};
use vpnkit_core::store::{InboundOp, KeyOp, KeyStore as _, RecordOp, StoreOp, StoreTxn};
use vpnkit_core::{Clock as _, ErrorKind, ManualClock, Secret};
use vpnkit_sqlite::{SqliteOptions, SqliteStore};

const PRIVATE_KEY: &str = "kDlS2rpqbWyMelj1Lk6eWZZnv5Z7_zDUeZJ6ZjLgKEc";
const SIGNING: &str = "what signs tokens";

async fn open(path: &Path, passphrase: Option<&str>) -> vpnkit_core::Result<SqliteStore> {
    let passphrase = passphrase.map(Secret::new);
    SqliteStore::open(path, SqliteOptions { passphrase, ..SqliteOptions::default() }).await
}

async fn change(path: &Path, previous: &str, passphrase: &str) -> vpnkit_core::Result<SqliteStore> {
    let (passphrase, previous) = (Some(Secret::new(passphrase)), Some(Secret::new(previous)));
    let options = SqliteOptions { passphrase, previous_passphrase: previous, ..SqliteOptions::default() };
    SqliteStore::open(path, options).await
}

/// A key with a Trojan password and a REALITY inbound.
async fn fill(store: &SqliteStore) -> Key {
    let now = ManualClock::default().now();
    let request = CreateKey {
        credentials: vec![Credential::generate(CredentialKind::Trojan)],
        ..CreateKey::named("alice")
    };
    let reality = Reality {
        dest: "site.test:443".into(),
        server_names: vec!["site.test".into()],
        private_key: Secret::new(PRIVATE_KEY),
        public_key: "public".into(),
        short_ids: vec![ShortId::new("0123").unwrap()],
        ..Reality::at("site.test:443", "site.test")
    };
    let inbound = Inbound::new(InboundTag::new("reality").unwrap(), 443, Protocol::Vless { vision: true })
        .security(Security::Reality(reality));
    let create = KeyOp::Create(Box::new(request.validate(now).unwrap()));
    let (place, body) = (("signing".into(), String::new()), Secret::new(SIGNING));
    let record = RecordOp::Put { place, expected: None, index: None, body };
    let ops: [StoreOp; 3] = [create.into(), InboundOp::Put(Box::new(inbound)).into(), record.into()];
    store.commit(StoreTxn::new(now, ops)).await.unwrap().keys.remove(0)
}

/// Whether any file of the store contains the text.
fn stands_in(directory: &Path, text: &str) -> bool {
    std::fs::read_dir(directory).unwrap().any(|entry| {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

#[tokio::test]
async fn secrets_of_an_encrypted_store_stand_in_no_file_and_come_back_with_the_passphrase() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.db");
    let store = open(&path, Some("correct horse")).await.unwrap();
    let key = fill(&store).await;
    let secret = key.credentials[0].secret.expose();
    for text in [&secret, PRIVATE_KEY, SIGNING] {
        assert!(!stands_in(directory.path(), text));
    }
    store.close().await.unwrap();
    for text in [&secret, PRIVATE_KEY, SIGNING] {
        assert!(!stands_in(directory.path(), text));
    }

    assert_eq!(open(&path, None).await.unwrap_err().kind(), ErrorKind::PassphraseMissing);
    let wrong = open(&path, Some("incorrect horse")).await.unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::PassphraseWrong);
    assert!(!format!("{wrong:?}").contains("horse"));
    let store = open(&path, Some("correct horse")).await.unwrap();
    assert_eq!(store.key(&KeyRef::from("alice")).await.unwrap(), Some(key));
    assert_eq!(store.records(&RecordQuery::default()).await.unwrap()[0].body.expose(), SIGNING);
    let inbounds = store.inbounds().await.unwrap();
    let Security::Reality(reality) = &inbounds[0].security else { panic!("REALITY") };
    assert_eq!(reality.private_key.expose(), PRIVATE_KEY);
}

#[tokio::test]
async fn a_store_that_was_plain_is_encrypted_when_it_is_opened_with_a_passphrase() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.db");
    let store = open(&path, None).await.unwrap();
    let key = fill(&store).await;
    store.close().await.unwrap();
    let secret = key.credentials[0].secret.expose();
    assert!(stands_in(directory.path(), &secret) && stands_in(directory.path(), PRIVATE_KEY));

    let store = open(&path, Some("correct horse")).await.unwrap();
    assert_eq!(store.key(&KeyRef::Id(key.id)).await.unwrap(), Some(key));
    store.close().await.unwrap();
    for text in [&secret, PRIVATE_KEY, SIGNING] {
        assert!(!stands_in(directory.path(), text));
    }
    assert_eq!(open(&path, None).await.unwrap_err().kind(), ErrorKind::PassphraseMissing);
}

#[tokio::test]
async fn a_sealed_secret_that_was_moved_to_another_key_is_not_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.db");
    let store = open(&path, Some("correct horse")).await.unwrap();
    let thief = fill(&store).await;
    let now = ManualClock::default().now();
    let victim =
        CreateKey { credentials: vec![Credential::generate(CredentialKind::Trojan)], ..CreateKey::default() };
    let op = KeyOp::Create(Box::new(victim.validate(now).unwrap()));
    let victim = store.commit(StoreTxn::new(now, vec![op])).await.unwrap().keys.remove(0);
    store.close().await.unwrap();
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute(
        "UPDATE credentials SET secret = (SELECT secret FROM credentials WHERE key_id = ?1) WHERE key_id = ?2",
        [victim.id.0, thief.id.0],
    )
    .unwrap();
    drop(file);
    let store = open(&path, Some("correct horse")).await.unwrap();
    assert_eq!(store.key(&KeyRef::Id(thief.id)).await.unwrap_err().kind(), ErrorKind::StoreCorrupt);
    assert!(store.key(&KeyRef::Id(victim.id)).await.unwrap().is_some());
}

/// Also within a key: each inbound has a credential of its own.
#[tokio::test]
async fn a_sealed_secret_that_was_moved_to_another_inbound_is_not_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.db");
    let store = open(&path, None).await.unwrap();
    let now = ManualClock::default().now();
    let inbounds = ["a", "b"].map(|tag| {
        let port = u16::from(tag.as_bytes()[0]);
        let pool = AddressPool { v4: Some(format!("10.{port}.0.0/16").parse().unwrap()), v6: None };
        Inbound::new(InboundTag::new(tag).unwrap(), port, Protocol::Trojan).addresses(pool)
    });
    let bound = |inbound: &Inbound| Credential::generate(CredentialKind::Trojan).only_on(inbound.id());
    let request = CreateKey { credentials: inbounds.iter().map(bound).collect(), ..CreateKey::named("k") };
    let mut ops: Vec<StoreOp> = inbounds.map(|inbound| InboundOp::Put(Box::new(inbound)).into()).into();
    ops.push(KeyOp::Create(Box::new(request.validate(now).unwrap())).into());
    let key = store.commit(StoreTxn::new(now, ops)).await.unwrap().keys.remove(0);
    store.close().await.unwrap();
    // What was plain is sealed, each in its place.
    let store = open(&path, Some("correct horse")).await.unwrap();
    assert_eq!(store.key(&KeyRef::Id(key.id)).await.unwrap().as_ref(), Some(&key));
    for credential in &key.credentials {
        assert!(!stands_in(directory.path(), &credential.secret.expose()));
    }
    store.close().await.unwrap();
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute(
        "UPDATE credentials SET secret = (SELECT secret FROM credentials WHERE inbound = 'main/a')
         WHERE inbound = 'main/b'",
        [],
    )
    .unwrap();
    drop(file);
    let store = open(&path, Some("correct horse")).await.unwrap();
    assert_eq!(store.key(&KeyRef::Id(key.id)).await.unwrap_err().kind(), ErrorKind::StoreCorrupt);
}

/// Without its row a passphrase would seal what is sealed already, and the first one would open nothing any more.
#[tokio::test]
async fn a_store_that_has_lost_its_vault_is_not_sealed_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.db");
    let store = open(&path, Some("correct horse")).await.unwrap();
    fill(&store).await;
    store.close().await.unwrap();
    rusqlite::Connection::open(&path).unwrap().execute("DELETE FROM vault", []).unwrap();
    for passphrase in [None, Some("correct horse"), Some("another")] {
        assert_eq!(open(&path, passphrase).await.unwrap_err().kind(), ErrorKind::StoreCorrupt);
    }
}

#[tokio::test]
async fn a_passphrase_changes_and_the_previous_one_opens_nothing_any_more() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.db");
    let store = open(&path, Some("first")).await.unwrap();
    let key = fill(&store).await;
    let wrapped = || -> String {
        let file = rusqlite::Connection::open(&path).unwrap();
        file.query_row("SELECT wrapped FROM vault", [], |row| row.get(0)).unwrap()
    };
    let before = wrapped();
    let wrong = change(&path, "neither", "nor").await.unwrap_err();
    assert_eq!((wrong.kind(), wrapped() == before), (ErrorKind::PassphraseWrong, true));

    // Also while another process has the store open, which goes on with it.
    let changed = change(&path, "first", "second").await.unwrap();
    assert!(!stands_in(directory.path(), &before), "it would open with the previous passphrase");
    assert_eq!(changed.key(&KeyRef::from("alice")).await.unwrap().as_ref(), Some(&key));
    let now = ManualClock::default().now();
    let request = CreateKey { credentials: key.credentials.clone(), ..CreateKey::named("bob") };
    let twice = KeyOp::Create(Box::new(request.validate(now).unwrap()));
    let taken = store.commit(StoreTxn::new(now, vec![twice])).await.unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AlreadyExists, "secrets are still told apart");
    let bob = KeyOp::Create(Box::new(CreateKey::named("bob").validate(now).unwrap()));
    store.commit(StoreTxn::new(now, vec![bob])).await.unwrap();
    store.close().await.unwrap();
    assert!(changed.key(&KeyRef::from("bob")).await.unwrap().is_some());
    changed.close().await.unwrap();

    assert_ne!(wrapped(), before);
    // A process that was configured with both, and started later, or again.
    for _ in 0..2 {
        change(&path, "first", "second").await.unwrap().close().await.unwrap();
    }
    assert_eq!(open(&path, Some("first")).await.unwrap_err().kind(), ErrorKind::PassphraseWrong);
    let store = open(&path, Some("second")).await.unwrap();
    assert_eq!(store.key(&KeyRef::from("alice")).await.unwrap(), Some(key));
    assert_eq!(store.records(&RecordQuery::default()).await.unwrap()[0].body.expose(), SIGNING);
    store.close().await.unwrap();
}

/// Of several that open a store at the same time one seals it or changes its passphrase, and the others see that.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_passphrase_is_set_and_changed_by_one_of_several_at_once() {
    for _ in 0..5 {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys.db");
        let plain = open(&path, None).await.unwrap();
        let key = fill(&plain).await;
        plain.close().await.unwrap();
        let same = (0..4).map(|_| {
            let path = path.clone();
            tokio::spawn(async move { open(&path, Some("first")).await })
        });
        for opened in same.collect::<Vec<_>>() {
            let store = opened.await.unwrap().unwrap();
            assert_eq!(store.key(&KeyRef::Id(key.id)).await.unwrap().as_ref(), Some(&key));
            store.close().await.unwrap();
        }
        let each = (0..4).map(|i| {
            let path = path.clone();
            tokio::spawn(async move { change(&path, "first", &format!("of {i}")).await })
        });
        let mut won = 0;
        for (i, opened) in each.collect::<Vec<_>>().into_iter().enumerate() {
            match opened.await.unwrap() {
                Ok(store) => {
                    won += 1;
                    store.close().await.unwrap();
                    open(&path, Some(&format!("of {i}"))).await.unwrap().close().await.unwrap();
                }
                Err(e) => assert_eq!(e.kind(), ErrorKind::PassphraseWrong),
            }
        }
        assert_eq!(won, 1);
    }
}

/// All inbounds are sealed for one place; what stands inside says whose it is.
#[tokio::test]
async fn a_sealed_inbound_that_was_moved_is_not_accepted_and_the_others_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.db");
    let store = open(&path, Some("correct horse")).await.unwrap();
    let now = ManualClock::default().now();
    let put = |(tag, port)| {
        InboundOp::Put(Box::new(Inbound::new(InboundTag::new(tag).unwrap(), port, Protocol::Trojan)))
    };
    store.commit(StoreTxn::new(now, [("a", 1), ("b", 2), ("c", 3)].map(put))).await.unwrap();
    store.close().await.unwrap();
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute(
        "UPDATE inbounds SET spec = (SELECT spec FROM inbounds WHERE tag = 'b') WHERE tag = 'a'",
        [],
    )
    .unwrap();
    drop(file);
    let store = open(&path, Some("correct horse")).await.unwrap();
    let inbounds = store.inbounds().await.unwrap();
    let tags: Vec<_> = inbounds.iter().map(|inbound| inbound.tag.as_str()).collect();
    assert_eq!(tags, ["b", "c"]);
    store.close().await.unwrap();
}

/// It would stay in plain, and nobody could open it any more.
#[tokio::test]
async fn a_store_with_an_inbound_that_cannot_be_read_is_not_sealed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.db");
    let store = open(&path, None).await.unwrap();
    let key = fill(&store).await;
    store.close().await.unwrap();
    let file = rusqlite::Connection::open(&path).unwrap();
    let newer = r#"{"node":"main","tag":"newer","protocol":{"type":"quantum"}}"#;
    file.execute("INSERT INTO inbounds (node, tag, port, spec) VALUES ('main', 'newer', 1, ?1)", [newer])
        .unwrap();
    drop(file);
    let refused = open(&path, Some("correct horse")).await.unwrap_err();
    assert_eq!((refused.kind(), refused.to_string().contains("inbounds")), (ErrorKind::StoreCorrupt, true));
    let store = open(&path, None).await.unwrap();
    assert_eq!(store.key(&KeyRef::Id(key.id)).await.unwrap(), Some(key));
    store.close().await.unwrap();
}

/// By one process, while another one has the store open: both go on, and both passphrases are told apart from then on.
#[tokio::test]
async fn the_passphrase_of_a_store_in_use_is_changed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.db");
    let (old, new) = (Secret::new("old passphrase"), Secret::new("new passphrase"));
    let under = |passphrase: &Secret| SqliteOptions {
        passphrase: Some(passphrase.clone()),
        ..SqliteOptions::default()
    };
    let one = SqliteStore::open(&path, under(&old)).await.unwrap();
    let two = SqliteStore::open(&path, under(&old)).await.unwrap();
    let create = async |store: &SqliteStore, name: &str| {
        let now = ManualClock::default().now();
        let create = KeyOp::Create(Box::new(CreateKey::named(name).validate(now).unwrap()));
        store.commit(StoreTxn::new(now, [create])).await.unwrap();
    };
    create(&one, "before").await;
    let wrong = one.change_passphrase(&new, &Secret::new("another")).await.unwrap_err();
    assert_eq!((wrong.kind(), wrong.get("field")), (ErrorKind::PassphraseWrong, Some("previous")));
    assert!(!format!("{wrong:?} {wrong}").contains("another"), "{wrong:?}");
    one.change_passphrase(&old, &new).await.unwrap();
    // Made again, as after an answer that was lost, by the other process too.
    two.change_passphrase(&old, &new).await.unwrap();
    create(&one, "by-one").await;
    create(&two, "by-two").await;
    let refused = SqliteStore::open(&path, under(&old)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PassphraseWrong);
    one.close().await.unwrap();
    two.close().await.unwrap();
    // Who starts with both opens it, whichever it has.
    let both = SqliteOptions { previous_passphrase: Some(old), ..under(&new) };
    let store = SqliteStore::open(&path, both).await.unwrap();
    assert_eq!(store.find(&Default::default()).await.unwrap().keys.len(), 3);
    store.close().await.unwrap();

    let plain = SqliteStore::open(directory.path().join("plain.db"), SqliteOptions::default()).await.unwrap();
    let refused = plain.change_passphrase(&new, &Secret::new("x")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    plain.close().await.unwrap();
}

/// Two processes change it at once, each to its own: one wins, and the other is told that its passphrase is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_changes_of_the_passphrase_one_wins() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.db");
    let old = Secret::new("old");
    let options = SqliteOptions { passphrase: Some(old.clone()), ..SqliteOptions::default() };
    let one = SqliteStore::open(&path, options.clone()).await.unwrap();
    let two = SqliteStore::open(&path, options).await.unwrap();
    let (a, b) = (Secret::new("a"), Secret::new("b"));
    let (first, second) = tokio::join!(one.change_passphrase(&old, &a), two.change_passphrase(&old, &b));
    let (won, lost) = match (&first, &second) {
        (Ok(()), Err(e)) => (a, e),
        (Err(e), Ok(())) => (b, e),
        both => panic!("{both:?}"),
    };
    assert_eq!(lost.kind(), ErrorKind::PassphraseWrong);
    one.close().await.unwrap();
    two.close().await.unwrap();
    let options = SqliteOptions { passphrase: Some(won), ..SqliteOptions::default() };
    SqliteStore::open(&path, options).await.unwrap().close().await.unwrap();
}

/// While somebody reads for long, as a backup does: others go on writing, and the passphrase is changed.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_passphrase_keeps_nobody_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.db");
    let options = SqliteOptions { passphrase: Some(Secret::new("old")), ..SqliteOptions::default() };
    let store = SqliteStore::open(&path, options.clone()).await.unwrap();
    let other = SqliteStore::open(&path, options).await.unwrap();
    let reader = rusqlite::Connection::open(&path).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM keys;").unwrap();
    let (old, new) = (Secret::new("old"), Secret::new("new"));
    let change = store.change_passphrase(&old, &new);
    let write = async {
        let mut written = 0;
        for i in 0..200 {
            let now = ManualClock::default().now();
            let create = CreateKey::named(format!("k{i}")).validate(now).unwrap();
            other.commit(StoreTxn::new(now, [KeyOp::Create(Box::new(create))])).await.unwrap();
            written += 1;
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        written
    };
    let (changed, written) = tokio::join!(change, write);
    changed.unwrap();
    assert_eq!(written, 200);
    drop(reader);
    store.close().await.unwrap();
    other.close().await.unwrap();
}

/// A process that has it open without a passphrase while another one encrypts it writes nothing in plain, and is told why.
#[tokio::test]
async fn a_process_from_before_the_passphrase_writes_nothing_in_plain() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.db");
    let plain = open(&path, None).await.unwrap();
    let key = fill(&plain).await;
    let sealed = open(&path, Some("pass")).await.unwrap();
    let now = ManualClock::default().now();
    let create = CreateKey {
        credentials: vec![Credential::generate(CredentialKind::Trojan)],
        ..CreateKey::named("later")
    };
    let create = KeyOp::Create(Box::new(create.validate(now).unwrap()));
    let refused = plain.commit(StoreTxn::new(now, [create])).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PassphraseMissing);
    let refused = plain.key(&KeyRef::Id(key.id)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PassphraseMissing);
    assert_eq!(sealed.key(&KeyRef::Id(key.id)).await.unwrap().unwrap().credentials, key.credentials);
    assert_eq!(sealed.find(&Default::default()).await.unwrap().keys.len(), 1);
    plain.close().await.unwrap();
    sealed.close().await.unwrap();
}
