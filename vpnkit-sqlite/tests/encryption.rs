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
