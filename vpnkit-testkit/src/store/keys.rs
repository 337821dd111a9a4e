//! Cases of keys: created, changed, deleted, each at most once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::{Subject, admins, at, batch, commit, create, created, get, kinds, moved, patch, request, server};
use vpnkit_core::model::{
    ByteSize, CreateAdmin, CreateKey, Credential, CredentialKind, CredentialSecret, EventKind, Inbound,
    InboundTag, KeyId, KeyName, KeyPatch, KeyRef, KeyStatus, Patch, Protocol,
};
use vpnkit_core::store::{InboundOp, KeyOp, StoreOp, StoreTxn};
use vpnkit_core::{Clock as _, ErrorKind, ManualClock};

/// All three identities lead to the same key, with everything that was given.
pub async fn a_created_key_is_found_by_id_uid_and_name(s: Subject) {
    let request = CreateKey::named("Alice")
        .label("Алиса 🦊")
        .note("line\nline")
        .data_limit(ByteSize::gib(3))
        .expires_in(Duration::from_secs(60))
        .only(vec![InboundTag::new("a").unwrap(), InboundTag::new("b").unwrap()]);
    let owner = admins::admin(&s, CreateAdmin::named("bob")).await.id;
    let key = created(&s, CreateKey { owner: Some(owner), ..request }).await;
    assert_eq!(key.version, 1);
    assert_eq!(key.expires_at, Some(at().plus(Duration::from_secs(60))));
    for by in [KeyRef::Id(key.id), KeyRef::Uid(key.uid), KeyRef::Name("aLICE".into())] {
        assert_eq!(s.store.key(&by).await.unwrap().as_ref(), Some(&key), "{by}");
    }
    assert_eq!(s.store.key(&KeyRef::Name("bob".into())).await.unwrap(), None);
    assert_eq!(s.store.keys(&[KeyId(99), key.id, key.id]).await.unwrap(), vec![key]);
}

/// Also when a key is renamed; a name that was given up is free.
pub async fn names_are_unique_without_regard_to_case(s: Subject) {
    let alice = created(&s, CreateKey::named("alice")).await;
    let bob = created(&s, CreateKey::named("bob")).await;
    let clash = commit(&s, vec![create(CreateKey::named("ALICE"))]).await.unwrap_err();
    assert_eq!((clash.kind(), clash.get("field")), (ErrorKind::AlreadyExists, Some("name")));
    let rename =
        |name: &str| KeyPatch { name: Patch::Set(KeyName::new(name).unwrap()), ..KeyPatch::default() };
    let clash = commit(&s, vec![patch(bob.id, rename("Alice"))]).await.unwrap_err();
    assert_eq!(clash.kind(), ErrorKind::AlreadyExists);
    commit(&s, vec![patch(alice.id, rename("ALICE"))]).await.unwrap();
    commit(&s, vec![patch(alice.id, rename("carol")), patch(bob.id, rename("alice"))]).await.unwrap();
    assert_eq!(s.store.key(&KeyRef::Name("alice".into())).await.unwrap().unwrap().id, bob.id);
    // Any number of keys has no name.
    created(&s, CreateKey::default()).await;
    created(&s, CreateKey::default()).await;
}

/// Two users with one secret would lock each other out on a server.
pub async fn uids_and_secrets_are_unique(s: Subject) {
    let secret = Credential::generate(CredentialKind::Vless);
    let with = |c: &Credential| CreateKey { credentials: vec![c.clone()], ..CreateKey::default() };
    let first = created(&s, with(&secret)).await;
    let clash = commit(&s, vec![create(with(&secret))]).await.unwrap_err();
    assert_eq!((clash.kind(), clash.get("field")), (ErrorKind::AlreadyExists, Some("credentials")));
    // Servers ignore two bytes of a VLESS UUID: those that differ there only are one.
    let CredentialSecret::Vless(uuid) = secret.secret else { panic!("a VLESS UUID") };
    let mut bytes = *uuid.as_bytes();
    bytes[7] ^= 1;
    let alike = CredentialSecret::Vless(uuid::Uuid::from_bytes(bytes));
    let alike = Credential::new(secret.device.clone(), alike);
    assert_eq!(commit(&s, vec![create(with(&alike))]).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    let KeyOp::Create(mut twin) = create(CreateKey::default()) else { panic!("a create") };
    twin.uid = first.uid;
    let clash = commit(&s, vec![KeyOp::Create(twin)]).await.unwrap_err();
    assert_eq!((clash.kind(), clash.get("field")), (ErrorKind::AlreadyExists, Some("uid")));
    // Given up, it may be used again.
    let other =
        KeyPatch { credentials: vec![Credential::generate(CredentialKind::Vless)], ..KeyPatch::default() };
    commit(&s, vec![patch(first.id, other)]).await.unwrap();
    created(&s, with(&secret)).await;
}

/// The first steps of it neither.
pub async fn a_batch_that_fails_writes_nothing(s: Subject) {
    created(&s, CreateKey::named("taken")).await;
    let before = s.store.newest_event().await.unwrap();
    let ops = vec![create(CreateKey::named("new")), create(CreateKey::named("taken"))];
    assert_eq!(commit(&s, ops).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(s.store.key(&KeyRef::Name("new".into())).await.unwrap(), None);
    assert_eq!(s.store.newest_event().await.unwrap(), before);
    created(&s, CreateKey::named("new")).await;
}

/// The second time nothing is written and the first receipt comes back.
pub async fn the_same_request_commits_once(s: Subject) {
    let txn = |name: &str| {
        StoreTxn::new(at(), [create(CreateKey::named(name))]).for_request(Some(request("pay:1", "one")))
    };
    assert_eq!(s.store.receipt(&request("pay:1", "one")).await.unwrap(), None);
    let first = s.store.commit(txn("one")).await.unwrap();
    let second = s.store.commit(txn("two")).await.unwrap();
    assert!(!first.replayed && second.replayed);
    assert_eq!(s.store.receipt(&request("pay:1", "one")).await.unwrap().as_ref(), Some(&second));
    assert_eq!((first.keys, first.cursor), (second.keys, second.cursor));
    // Who asks for something else under the same id is told so.
    let other = StoreTxn { request: Some(request("pay:1", "another")), ..txn("two") };
    assert_eq!(s.store.commit(other).await.unwrap_err().kind(), ErrorKind::IdempotencyMismatch);
    let asked = s.store.receipt(&request("pay:1", "another")).await;
    assert_eq!(asked.unwrap_err().kind(), ErrorKind::IdempotencyMismatch);
    assert_eq!(s.store.key(&KeyRef::Name("two".into())).await.unwrap(), None);
    // A failed one is not remembered.
    let failing = StoreTxn { request: Some(request("pay:2", "one")), ..txn("one") };
    assert_eq!(s.store.commit(failing).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    let retried = StoreTxn { request: Some(request("pay:2", "one")), ..txn("three") };
    assert!(!s.store.commit(retried).await.unwrap().replayed);
}

/// And its version grows only when something is different.
pub async fn a_patch_changes_what_it_names_and_nothing_else(s: Subject) {
    let before = created(&s, CreateKey::named("k").label("l").note("n").data_limit(ByteSize::gib(1))).await;
    let nothing = KeyPatch { label: Patch::Set("l".into()), ..KeyPatch::default() };
    let receipt = commit(&s, vec![patch(before.id, nothing)]).await.unwrap();
    assert_eq!(receipt.keys, vec![before.clone()]);
    let rotated = Credential {
        secret: CredentialSecret::generate(CredentialKind::Vless),
        ..before.credentials[0].clone()
    };
    let change = KeyPatch {
        label: Patch::Clear,
        data_limit: Patch::Set(ByteSize::gib(2)),
        device_limit: Patch::Set(3),
        revoke_links: true,
        credentials: vec![rotated.clone(), Credential::generate(CredentialKind::Trojan)],
        ..KeyPatch::default()
    };
    let after = commit(&s, vec![patch(before.id, change)]).await.unwrap().keys.remove(0);
    assert_eq!((after.version, after.label.as_deref(), after.note.as_deref()), (2, None, Some("n")));
    assert_eq!((after.device_limit, after.link_revision), (Some(3), 1));
    assert_eq!(after.credentials.len(), 2);
    assert_eq!(after.credentials[0], rotated);
    assert_eq!(get(&s, before.id).await.unwrap(), after);
}

/// For patches and deletions.
pub async fn an_expected_version_that_is_old_writes_nothing(s: Subject) {
    let key = created(&s, CreateKey::named("k")).await;
    commit(&s, vec![patch(key.id, KeyPatch::enabled(false))]).await.unwrap();
    let old = Some(key.version);
    let patch = KeyOp::Patch { key: key.id, expected: old, patch: Box::new(KeyPatch::enabled(true)) };
    for op in [patch, KeyOp::Delete { key: key.id, expected: old }] {
        let error = commit(&s, vec![create(CreateKey::named("other")), op]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
    }
    assert_eq!(get(&s, key.id).await.unwrap().status, KeyStatus::Disabled);
    assert_eq!(s.store.key(&KeyRef::Name("other".into())).await.unwrap(), None);
    let missing = commit(&s, vec![KeyOp::Delete { key: KeyId(999), expected: None }]).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

/// Several write at the same time: no change overwrites another.
pub async fn concurrent_patches_are_all_kept(s: Subject) {
    let key = created(&s, CreateKey::named("k")).await;
    let mut tasks = Vec::new();
    for i in 0..40u64 {
        let store = Arc::clone(&s.store);
        let change = match i % 2 {
            0 => KeyPatch { label: Patch::Set(i.to_string()), ..KeyPatch::default() },
            _ => KeyPatch { data_limit: Patch::Set(ByteSize::mib(i)), ..KeyPatch::default() },
        };
        let txn = StoreTxn::new(at(), vec![patch(key.id, change)]);
        tasks.push(tokio::spawn(async move { store.commit(txn).await.unwrap() }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let key = get(&s, key.id).await.unwrap();
    assert_eq!(key.version, 41);
    assert!(key.label.is_some() && key.data_limit.is_some());
}

/// As the pure rules say, with one event and one transition each.
pub async fn statuses_follow_limit_time_and_hand(s: Subject) {
    let clock = ManualClock::at(at());
    let limit = ByteSize::from_bytes(100);
    let key = created(&s, CreateKey::default().data_limit(limit).expires_in(Duration::from_secs(10))).await;
    let cursor = s.store.newest_event().await.unwrap();
    let run =
        async |ops: Vec<StoreOp>| s.store.commit(StoreTxn::new(clock.now(), ops)).await.unwrap().transitions;
    let used = vec![batch(0, "1", true, vec![moved(key.id, (60, 40), (60, 40))])];
    let transitions = run(used).await;
    assert_eq!((transitions[0].from, transitions[0].to), (KeyStatus::Active, KeyStatus::Limited));
    clock.advance(Duration::from_secs(10));
    assert_eq!(run(vec![KeyOp::Settle(key.id).into()]).await[0].to, KeyStatus::Expired);
    assert!(run(vec![KeyOp::Settle(key.id).into(), KeyOp::Settle(KeyId(999)).into()]).await.is_empty());
    let longer = KeyPatch { expires_at: Patch::Clear, ..KeyPatch::default() };
    assert_eq!(run(vec![patch(key.id, longer).into()]).await[0].to, KeyStatus::Limited);
    let reset = KeyPatch { reset_usage: true, ..KeyPatch::default() };
    assert_eq!(run(vec![patch(key.id, reset).into()]).await[0].to, KeyStatus::Active);
    assert_eq!(run(vec![patch(key.id, KeyPatch::enabled(false)).into()]).await[0].to, KeyStatus::Disabled);
    assert_eq!(run(vec![patch(key.id, KeyPatch::enabled(true)).into()]).await[0].to, KeyStatus::Active);
    let key = get(&s, key.id).await.unwrap();
    assert_eq!((key.used, key.traffic.total()), (0, 100));
    use EventKind::{KeyActivated, KeyDisabled, KeyExpired, KeyLimited, KeyReset, KeyUpdated};
    let expected =
        [KeyLimited, KeyExpired, KeyUpdated, KeyLimited, KeyReset, KeyActivated, KeyDisabled, KeyActivated];
    assert_eq!(kinds(&s, cursor).await, expected);
}

/// Its name is free, its dedicated inbounds are gone.
pub async fn a_deleted_key_is_gone_with_all_that_belongs_to_it(s: Subject) {
    let key = created(&s, CreateKey::named("k")).await;
    let tag = |t: &str| InboundTag::new(t).unwrap();
    let own = Inbound::new(tag("own"), 1001, Protocol::Trojan).dedicated_to(key.id);
    let shared = Inbound::new(tag("shared"), 1002, Protocol::Trojan);
    let put = [own, shared].map(|i| InboundOp::Put(Box::new(i)));
    commit(&s, put).await.unwrap();
    commit(&s, vec![batch(0, "1", true, vec![moved(key.id, (1, 1), (1, 1))])]).await.unwrap();
    commit(&s, vec![KeyOp::Delete { key: key.id, expected: Some(1) }]).await.unwrap();
    assert_eq!(get(&s, key.id).await, None);
    let left: Vec<_> = s.store.inbounds().await.unwrap().into_iter().map(|i| i.tag).collect();
    assert_eq!(left, vec![tag("shared")]);
    assert!(s.store.baseline(&server()).await.unwrap().unwrap().counters.is_empty());
    let credentials = key.credentials.clone();
    created(&s, CreateKey { credentials, ..CreateKey::named("K") }).await;
}

/// Counters on servers outlive keys, so an id that came back would inherit traffic.
pub async fn ids_are_never_used_again(s: Subject) {
    let mut seen = BTreeSet::new();
    for _ in 0..5 {
        let key = created(&s, CreateKey::default()).await;
        assert!(seen.insert(key.id));
        assert!(seen.iter().all(|id| *id <= key.id));
        commit(&s, vec![KeyOp::Delete { key: key.id, expected: None }]).await.unwrap();
    }
}
