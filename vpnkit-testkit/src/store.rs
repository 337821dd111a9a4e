//! The suite of stores.

mod admins;
mod bound_credentials;
mod histories;
mod lifecycle;
mod processes;

use std::any::Any;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

pub use admins::{
    a_call_tells_who_made_it, a_move_within_a_tree_changes_nothing_above, a_reseller_sells_what_it_may,
    a_reseller_touches_its_own_only, admins_are_a_tree, bytes_sold_are_counted, bytes_used_stop_all_keys,
    consumers_keep_their_place, counters_of_admins_follow_a_plain_model, quotas_of_keys_are_enforced,
    reminders_are_told_once, the_last_key_is_sold_once, what_is_due_is_not_refused_to_a_call,
};
pub use bound_credentials::{
    a_bound_secret_is_unique, a_certificate_is_revoked_when_it_goes,
    a_certificate_that_is_still_held_is_not_revoked, a_credential_is_only_for_an_inbound_that_takes_it,
    a_pool_that_is_full_gives_no_address, an_address_is_given_with_the_credential,
    an_address_may_be_asked_for, an_address_rests_before_it_is_given_again,
    concurrent_keys_get_different_addresses, credentials_go_with_their_inbound,
    serial_numbers_are_never_given_twice,
};
pub use histories::random_histories_follow_a_plain_model;
pub use lifecycle::{
    a_life_is_changed_by_patches, a_payment_grants_once_and_for_good,
    a_repeated_request_finds_what_was_merged, grants_are_kept_and_taken_back,
    keys_are_found_by_how_they_stand, keys_are_found_by_their_labels,
    the_first_bytes_begin_the_time_of_a_key, timelines_outlive_the_stream_and_the_key,
    what_is_due_is_settled, what_is_only_tried_leaves_nothing,
};
pub use processes::{
    a_batch_from_an_old_revision_is_refused, a_batch_under_an_old_lease_is_refused,
    a_lease_has_one_holder_until_it_is_over, a_lease_is_prolonged_by_its_holder,
    a_lease_of_a_holder_that_has_ended_is_free, a_question_has_one_answer, a_released_lease_is_free_at_once,
    changes_are_those_of_others, what_is_newest_is_told,
};
use vpnkit_core::accounting::{Coefficient, Moved, by_calendar};
use vpnkit_core::backend::Fingerprint;
use vpnkit_core::model::{
    AdminId, ByteSize, ClientDevice, CreateAdmin, CreateKey, Credential, CredentialKind, CredentialSecret,
    Cursor, EventKind, EventSubject, Inbound, InboundTag, Key, KeyCounts, KeyId, KeyName, KeyPatch, KeyQuery,
    KeyRef, KeyStatus, NewEvent, NodeId, PageToken, Patch, Protocol, RecordQuery, ServerId, Sort,
    TimeZoneName, Traffic, UsageQuery, UsageStep,
};
use vpnkit_core::store::{
    DeviceOp, InboundOp, KeyOp, KeyStore, Made, Receipt, RecordOp, Request, Retention, StoreOp, StoreTxn,
    TrafficBatch,
};
use vpnkit_core::traffic::{Counter, Epoch, Series};
use vpnkit_core::{Clock as _, ErrorKind, ManualClock, Result, Secret, Timestamp};

/// An empty store, and whatever must live as long as it (a temporary directory).
#[derive(Debug)]
pub struct Subject {
    /// The store.
    pub store: Arc<dyn KeyStore>,
    /// Dropped after the case.
    pub keep: Box<dyn Any + Send + Sync>,
}

crate::suite!($ store_conformance, store, "Tests that the stores of an `async fn() -> store::Subject` keep the promises.", [
    a_created_key_is_found_by_id_uid_and_name,
    names_are_unique_without_regard_to_case,
    uids_and_secrets_are_unique,
    a_batch_that_fails_writes_nothing,
    the_same_request_commits_once,
    a_patch_changes_what_it_names_and_nothing_else,
    an_expected_version_that_is_old_writes_nothing,
    concurrent_patches_are_all_kept,
    statuses_follow_limit_time_and_hand,
    a_deleted_key_is_gone_with_all_that_belongs_to_it,
    ids_are_never_used_again,
    find_filters_searches_and_sorts,
    pages_see_each_key_once_under_writes,
    pages_lead_back,
    page_tokens_of_another_order_are_refused,
    due_lists_what_is_over_and_only_that,
    a_reading_is_counted_in_one_step,
    a_reading_on_an_old_baseline_is_refused,
    a_new_epoch_voids_old_counters,
    an_epoch_that_returns_goes_on_where_it_was,
    sessions_of_a_key_are_kept_apart_and_forgotten,
    a_reading_that_reaches_the_limit_limits_the_key,
    counters_of_unknown_keys_are_passed_over,
    usage_is_summed_by_hour_and_day,
    bytes_count_against_limits_by_the_coefficient,
    inbounds_are_kept_and_ports_are_unique,
    records_are_replaced_by_version,
    a_revision_grows_with_inbounds_and_records,
    devices_are_bound_up_to_a_limit,
    a_device_that_is_gone_makes_room,
    events_tell_what_was_committed_in_order,
    pruned_events_expire_their_cursors,
    one_event_with_a_wrong_clock_forgets_no_others,
    summing_up_keeps_every_byte,
    what_is_newest_is_told,
    a_question_has_one_answer,
    a_lease_has_one_holder_until_it_is_over,
    a_lease_is_prolonged_by_its_holder,
    a_released_lease_is_free_at_once,
    a_lease_of_a_holder_that_has_ended_is_free,
    a_batch_under_an_old_lease_is_refused,
    a_batch_from_an_old_revision_is_refused,
    changes_are_those_of_others,
    a_store_has_an_id,
    a_closed_store_says_so,
    an_address_is_given_with_the_credential,
    a_pool_that_is_full_gives_no_address,
    an_address_may_be_asked_for,
    concurrent_keys_get_different_addresses,
    credentials_go_with_their_inbound,
    serial_numbers_are_never_given_twice,
    a_certificate_is_revoked_when_it_goes,
    a_bound_secret_is_unique,
    an_address_rests_before_it_is_given_again,
    a_credential_is_only_for_an_inbound_that_takes_it,
    a_certificate_that_is_still_held_is_not_revoked,
    the_first_bytes_begin_the_time_of_a_key,
    what_is_due_is_settled,
    a_life_is_changed_by_patches,
    grants_are_kept_and_taken_back,
    a_payment_grants_once_and_for_good,
    a_repeated_request_finds_what_was_merged,
    keys_are_found_by_their_labels,
    keys_are_found_by_how_they_stand,
    timelines_outlive_the_stream_and_the_key,
    what_is_only_tried_leaves_nothing,
    random_histories_follow_a_plain_model,
    admins_are_a_tree,
    quotas_of_keys_are_enforced,
    bytes_sold_are_counted,
    bytes_used_stop_all_keys,
    the_last_key_is_sold_once,
    a_reseller_touches_its_own_only,
    a_reseller_sells_what_it_may,
    counters_of_admins_follow_a_plain_model,
    reminders_are_told_once,
    consumers_keep_their_place,
    a_call_tells_who_made_it,
    what_is_due_is_not_refused_to_a_call,
    a_move_within_a_tree_changes_nothing_above,
]);

const START: &str = "2026-03-01T10:20:30Z";

fn at() -> Timestamp {
    START.parse().unwrap()
}

fn server() -> ServerId {
    ServerId::new(&NodeId::main(), "fake")
}

async fn commit<S: Into<StoreOp>>(s: &Subject, ops: impl IntoIterator<Item = S>) -> Result<Receipt> {
    s.store.commit(StoreTxn::new(at(), ops)).await
}

fn create(request: CreateKey) -> KeyOp {
    let mut new = request.validate(at()).unwrap();
    if new.credentials.is_empty() {
        new.credentials.push(Credential::generate(CredentialKind::Vless));
    }
    KeyOp::Create(Box::new(new))
}

async fn created(s: &Subject, request: CreateKey) -> Key {
    commit(s, vec![create(request)]).await.unwrap().keys.remove(0)
}

fn patch(key: KeyId, patch: KeyPatch) -> KeyOp {
    KeyOp::Patch { key, expected: None, patch: Box::new(patch) }
}

async fn get(s: &Subject, id: KeyId) -> Option<Key> {
    s.store.key(&KeyRef::Id(id)).await.unwrap()
}

fn batch(after: u64, epoch: &str, new_epoch: bool, moved: Vec<Moved>) -> StoreOp {
    StoreOp::Traffic(Box::new(TrafficBatch {
        server: server(),
        node: NodeId::main(),
        after,
        epoch: Epoch { id: epoch.into(), evidence: "e".into() },
        new_epoch,
        moved,
        forgotten: Vec::new(),
        coefficient: Coefficient::default(),
        near_within: 0,
        usage_percents: vec![80, 90],
    }))
}

fn moved(key: KeyId, counter: (u64, u64), delta: (u64, u64)) -> Moved {
    let traffic = |(up, down)| Traffic { up, down };
    Moved { key, series: None, counter: traffic(counter), ended: false, delta: traffic(delta) }
}

async fn kinds(s: &Subject, after: Cursor) -> Vec<EventKind> {
    s.store.events(after, 1000).await.unwrap().events.into_iter().map(|e| e.kind).collect()
}

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

fn request(id: &str, asked: &str) -> Request {
    Request { for_good: false, ..Request::grant(id, Fingerprint::of([asked])) }
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

/// In every combination.
pub async fn find_filters_searches_and_sorts(s: Subject) {
    for name in ["one", "two"] {
        admins::admin(&s, CreateAdmin::named(name)).await;
    }
    let mut ops = Vec::new();
    for (name, label, owner, expires) in [
        (Some("bob"), Some("Боб"), 1, Some(300)),
        (Some("Alice"), Some("second"), 2, None),
        (None, Some("third 100%_a"), 1, Some(100)),
        (Some("carol"), None, 1, Some(200)),
    ] {
        ops.push(create(CreateKey {
            name: name.map(str::to_owned),
            label: label.map(str::to_owned),
            owner: Some(AdminId(owner)),
            expires_in: expires.map(Duration::from_secs),
            ..CreateKey::default()
        }));
    }
    let ids: Vec<KeyId> = commit(&s, ops).await.unwrap().keys.iter().map(|k| k.id).collect();
    commit(&s, vec![patch(ids[1], KeyPatch::enabled(false))]).await.unwrap();
    let used = vec![moved(ids[0], (5, 0), (5, 0)), moved(ids[3], (9, 0), (9, 0))];
    commit(&s, vec![batch(0, "1", true, used)]).await.unwrap();
    let find = async |query: KeyQuery| {
        let page = s.store.find(&query).await.unwrap();
        assert_eq!(page.next, None);
        page.keys.iter().map(|k| ids.iter().position(|id| *id == k.id).unwrap()).collect::<Vec<_>>()
    };
    let all = KeyQuery::default;
    assert_eq!(find(all()).await, [0, 1, 2, 3]);
    assert_eq!(find(KeyQuery { status: vec![KeyStatus::Active], ..all() }).await, [0, 2, 3]);
    assert_eq!(find(KeyQuery { owner: Some(AdminId(1)), ..all() }).await, [0, 2, 3]);
    for (text, expected) in
        [("LIC", vec![1]), ("боб", vec![0]), ("100%_A", vec![2]), ("%", vec![2]), ("", vec![0, 1, 2, 3])]
    {
        assert_eq!(find(KeyQuery { search: Some(text.into()), ..all() }).await, expected, "{text}");
    }
    for (sort, expected) in [
        (Sort::Name, [1, 0, 3, 2]),
        (Sort::ExpiresAt, [2, 3, 0, 1]),
        (Sort::Used, [1, 2, 0, 3]),
        (Sort::Id, [0, 1, 2, 3]),
    ] {
        assert_eq!(find(KeyQuery { sort, ..all() }).await, expected, "{sort:?}");
        let mut backwards = expected.to_vec();
        backwards.reverse();
        assert_eq!(find(KeyQuery { sort, descending: true, ..all() }).await, backwards, "{sort:?}");
    }
    let both = KeyQuery { status: vec![KeyStatus::Disabled], search: Some("second".into()), ..all() };
    assert_eq!(find(both).await, [1]);
    let counted = async |query: KeyQuery| {
        let KeyCounts { total, active, disabled, .. } = s.store.count(&query).await.unwrap();
        (total, active, disabled)
    };
    assert_eq!(counted(all()).await, (4, 3, 1));
    assert_eq!(counted(KeyQuery { owner: Some(AdminId(1)), limit: 1, ..all() }).await, (3, 3, 0));
    assert_eq!(counted(KeyQuery { search: Some("ВТОР".into()), ..all() }).await, (0, 0, 0));
    assert_eq!(counted(KeyQuery { status: vec![KeyStatus::Disabled], ..all() }).await, (1, 0, 1));
    // What comes back is whole, whatever the order.
    let page = s.store.find(&KeyQuery { sort: Sort::Name, ..all() }).await.unwrap();
    for key in page.keys {
        assert_eq!(Some(key.clone()), get(&s, key.id).await);
    }
}

/// Keys that stay are seen once, in both directions and every order, while others come and go.
pub async fn pages_see_each_key_once_under_writes(s: Subject) {
    let ops = (0..50).map(|i| create(CreateKey::named(format!("k{:02}", i * 7 % 50))));
    let stay: BTreeSet<KeyId> = commit(&s, ops).await.unwrap().keys.iter().map(|k| k.id).collect();
    for (n, (sort, descending)) in [Sort::Id, Sort::Name, Sort::ExpiresAt, Sort::Used]
        .into_iter()
        .flat_map(|sort| [(sort, false), (sort, true)])
        .enumerate()
    {
        let mut query = KeyQuery { sort, descending, limit: 7, ..KeyQuery::default() };
        let mut seen = Vec::new();
        for i in 0.. {
            let page = s.store.find(&query).await.unwrap();
            seen.extend(page.keys.iter().map(|k| k.id).filter(|id| stay.contains(id)));
            let other = created(&s, CreateKey::named(format!("k{i:02}x{n}"))).await;
            if i % 2 == 0 {
                commit(&s, vec![KeyOp::Delete { key: other.id, expected: None }]).await.unwrap();
            }
            match page.next {
                // A token survives being written down.
                Some(token) => query.page = Some(PageToken::new(token.as_str())),
                None => break,
            }
        }
        assert_eq!(seen.len(), stay.len(), "{sort:?} descending={descending}");
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), stay);
    }
}

/// Forward to the last page and back to the first one, the same keys; names longer than a token can carry too.
pub async fn pages_lead_back(s: Subject) {
    let long = "n".repeat(40);
    let ops = (0..23).map(|i| create(CreateKey::named(format!("{long}{i:02}"))));
    commit(&s, ops).await.unwrap();
    for (sort, descending) in [Sort::Id, Sort::Name, Sort::ExpiresAt, Sort::Used]
        .into_iter()
        .flat_map(|sort| [(sort, false), (sort, true)])
    {
        let place = format!("{sort:?} descending={descending}");
        let mut query = KeyQuery { sort, descending, limit: 5, ..KeyQuery::default() };
        let mut pages = vec![s.store.find(&query).await.unwrap()];
        assert_eq!(pages[0].previous, None, "{place}");
        while let Some(next) = pages.last().unwrap().next.clone() {
            assert!(next.as_str().len() <= 40, "{next:?}");
            query.page = Some(next);
            pages.push(s.store.find(&query).await.unwrap());
        }
        let sizes: Vec<usize> = pages.iter().map(|page| page.keys.len()).collect();
        assert_eq!(sizes, [5, 5, 5, 5, 3], "{place}");
        let forward: Vec<Vec<Key>> = pages.iter().map(|page| page.keys.clone()).collect();
        let mut back = vec![pages.pop().unwrap()];
        while let Some(previous) = back.last().unwrap().previous.clone() {
            query.page = Some(previous);
            back.push(s.store.find(&query).await.unwrap());
            assert!(back.last().unwrap().next.is_some(), "{place}");
        }
        back.reverse();
        assert_eq!(back.into_iter().map(|page| page.keys).collect::<Vec<_>>(), forward, "{place}");
    }
}

/// And so are limits out of range and texts that are no tokens.
pub async fn page_tokens_of_another_order_are_refused(s: Subject) {
    for name in ["a", "b"] {
        created(&s, CreateKey::named(name)).await;
    }
    let token = s.store.find(&KeyQuery { limit: 1, ..KeyQuery::default() }).await.unwrap().next;
    let bad = [
        KeyQuery { page: token, sort: Sort::Name, ..KeyQuery::default() },
        KeyQuery { page: Some(PageToken::new("nonsense")), ..KeyQuery::default() },
        KeyQuery { limit: 0, ..KeyQuery::default() },
        KeyQuery { limit: 10_001, ..KeyQuery::default() },
    ];
    for query in bad {
        assert_eq!(s.store.find(&query).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

/// Oldest first; disabled and expired keys are not due.
pub async fn due_lists_what_is_over_and_only_that(s: Subject) {
    let mut ids = Vec::new();
    for secs in [30, 10, 20, 40] {
        ids.push(created(&s, CreateKey::default().expires_in(Duration::from_secs(secs))).await.id);
    }
    created(&s, CreateKey::default()).await;
    commit(&s, vec![patch(ids[3], KeyPatch::enabled(false))]).await.unwrap();
    let due = async |secs| s.store.due(at().plus(Duration::from_secs(secs)), 10).await.unwrap();
    assert!(due(9).await.is_empty());
    assert_eq!(due(10).await, [ids[1]]);
    assert_eq!(due(50).await, [ids[1], ids[2], ids[0]]);
    assert_eq!(s.store.due(at().plus(Duration::from_secs(50)), 2).await.unwrap(), [ids[1], ids[2]]);
    let later = StoreTxn::new(at().plus(Duration::from_secs(50)), ids.iter().map(|id| KeyOp::Settle(*id)));
    assert_eq!(s.store.commit(later).await.unwrap().transitions.len(), 3);
    assert!(due(50).await.is_empty());
}

/// Counters, totals, usage and the baseline move together.
pub async fn a_reading_is_counted_in_one_step(s: Subject) {
    let key = created(&s, CreateKey::default()).await;
    assert_eq!(s.store.baseline(&server()).await.unwrap(), None);
    commit(&s, vec![batch(0, "1", true, vec![moved(key.id, (50, 70), (0, 0))])]).await.unwrap();
    assert_eq!(get(&s, key.id).await.unwrap(), key, "a first sight counts nothing");
    commit(&s, vec![batch(1, "1", false, vec![moved(key.id, (60, 90), (10, 20))])]).await.unwrap();
    let counted = get(&s, key.id).await.unwrap();
    assert_eq!((counted.used, counted.traffic), (30, Traffic { up: 10, down: 20 }));
    assert_eq!((counted.seen_at, counted.version), (Some(at()), 1));
    let baseline = s.store.baseline(&server()).await.unwrap().unwrap();
    assert_eq!(
        (baseline.sequence, baseline.epoch.id.as_str(), baseline.epoch.evidence.as_str()),
        (2, "1", "e")
    );
    assert_eq!(baseline.counters.len(), 1);
    assert_eq!(baseline.counters[0].traffic, Traffic { up: 60, down: 90 });
}

/// Two processes that count the same bytes: the second is told, and nothing is counted twice.
pub async fn a_reading_on_an_old_baseline_is_refused(s: Subject) {
    let key = created(&s, CreateKey::default()).await;
    commit(&s, vec![batch(0, "1", true, vec![])]).await.unwrap();
    let reading = || batch(1, "1", false, vec![moved(key.id, (5, 0), (5, 0))]);
    commit(&s, vec![reading()]).await.unwrap();
    assert_eq!(commit(&s, vec![reading()]).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(get(&s, key.id).await.unwrap().used, 5);
}

/// What was counted stays.
pub async fn a_new_epoch_voids_old_counters(s: Subject) {
    let a = created(&s, CreateKey::default()).await;
    let b = created(&s, CreateKey::default()).await;
    let both = vec![moved(a.id, (5, 5), (5, 5)), moved(b.id, (7, 7), (7, 7))];
    commit(&s, vec![batch(0, "1", true, both)]).await.unwrap();
    commit(&s, vec![batch(1, "2", true, vec![moved(a.id, (1, 1), (1, 1))])]).await.unwrap();
    let baseline = s.store.baseline(&server()).await.unwrap().unwrap();
    assert_eq!(baseline.epoch.id, "2");
    assert_eq!(baseline.counters.iter().map(|c| c.key).collect::<Vec<_>>(), [a.id]);
    assert_eq!((get(&s, a.id).await.unwrap().used, get(&s, b.id).await.unwrap().used), (12, 14));
}

/// With its own counters; so many lifetimes are remembered.
pub async fn an_epoch_that_returns_goes_on_where_it_was(s: Subject) {
    let key = created(&s, CreateKey::default()).await;
    let read = async |after, epoch, fresh, up, delta| {
        commit(&s, vec![batch(after, epoch, fresh, vec![moved(key.id, (up, 0), (delta, 0))])]).await.unwrap();
    };
    read(0, "1", true, 5, 5).await;
    read(1, "2", true, 7, 7).await;
    assert_eq!(s.store.baseline_of(&server(), "3").await.unwrap(), None);
    let first = s.store.baseline_of(&server(), "1").await.unwrap().unwrap();
    assert_eq!((first.sequence, first.counters[0].traffic.up), (2, 5));
    read(2, "1", false, 6, 1).await;
    let newest = s.store.baseline(&server()).await.unwrap().unwrap();
    assert_eq!((newest.epoch.id.as_str(), newest.sequence, newest.counters[0].traffic.up), ("1", 3, 6));
    let second = s.store.baseline_of(&server(), "2").await.unwrap().unwrap();
    assert_eq!((second.sequence, second.counters[0].traffic.up), (3, 7));
    assert_eq!(get(&s, key.id).await.unwrap().used, 13);
    for (after, epoch) in (3..).zip(["3", "4", "5"]) {
        read(after, epoch, true, 1, 1).await;
    }
    assert_eq!(s.store.baseline_of(&server(), "2").await.unwrap(), None, "the oldest is forgotten");
    assert!(s.store.baseline_of(&server(), "1").await.unwrap().is_some());
    commit(&s, vec![KeyOp::Delete { key: key.id, expected: None }]).await.unwrap();
    for epoch in ["1", "5"] {
        assert!(s.store.baseline_of(&server(), epoch).await.unwrap().unwrap().counters.is_empty());
    }
}

/// A key may have several counters; one that has ended is remembered until it is forgotten.
pub async fn sessions_of_a_key_are_kept_apart_and_forgotten(s: Subject) {
    let key = created(&s, CreateKey::default()).await;
    let session =
        |name: &str, up, ended| Moved { series: Series::new(name), ended, ..moved(key.id, (up, 0), (up, 0)) };
    let both = vec![session("a", 5, false), session("b", 7, true)];
    commit(&s, vec![batch(0, "1", true, both)]).await.unwrap();
    assert_eq!(get(&s, key.id).await.unwrap().used, 12);
    let counters = async || {
        let baseline = s.store.baseline(&server()).await.unwrap().unwrap();
        let shown = |c: &Counter| (c.series.as_ref().map(|s| s.as_str().to_owned()), c.traffic.up, c.ended);
        baseline.counters.iter().map(shown).collect::<Vec<_>>()
    };
    assert_eq!(counters().await, [(Some("a".into()), 5, false), (Some("b".into()), 7, true)]);
    let StoreOp::Traffic(mut forgetting) = batch(1, "1", false, vec![session("a", 6, true)]) else {
        unreachable!()
    };
    forgetting.forgotten.extend(Series::new("b").map(|series| (key.id, series)));
    commit(&s, vec![StoreOp::Traffic(forgetting)]).await.unwrap();
    assert_eq!(counters().await, [(Some("a".into()), 6, true)]);
    commit(&s, vec![KeyOp::Delete { key: key.id, expected: None }]).await.unwrap();
    assert_eq!(counters().await, []);
}

/// In the same batch, exactly at the limit, and a disabled key stays disabled.
pub async fn a_reading_that_reaches_the_limit_limits_the_key(s: Subject) {
    let limit = ByteSize::from_bytes(100);
    let a = created(&s, CreateKey::default().data_limit(limit)).await;
    let b = created(&s, CreateKey::default().data_limit(limit)).await;
    let c = created(&s, CreateKey { disabled: true, ..CreateKey::default().data_limit(limit) }).await;
    let reading =
        vec![moved(a.id, (99, 0), (99, 0)), moved(b.id, (50, 50), (50, 50)), moved(c.id, (500, 0), (500, 0))];
    let receipt = commit(&s, vec![batch(0, "1", true, reading)]).await.unwrap();
    assert_eq!(receipt.transitions.iter().map(|t| t.key).collect::<Vec<_>>(), [b.id]);
    assert_eq!(get(&s, a.id).await.unwrap().status, KeyStatus::Active);
    assert_eq!(get(&s, b.id).await.unwrap().status, KeyStatus::Limited);
    assert_eq!(get(&s, c.id).await.unwrap().status, KeyStatus::Disabled);
}

/// A key that was deleted while the server still counted it.
pub async fn counters_of_unknown_keys_are_passed_over(s: Subject) {
    let key = created(&s, CreateKey::default()).await;
    let reading = vec![moved(key.id, (1, 0), (1, 0)), moved(KeyId(999), (5, 5), (5, 5))];
    commit(&s, vec![batch(0, "1", true, reading)]).await.unwrap();
    assert_eq!(get(&s, key.id).await.unwrap().used, 1);
    let baseline = s.store.baseline(&server()).await.unwrap().unwrap();
    assert_eq!(baseline.counters.iter().map(|c| c.key).collect::<Vec<_>>(), [key.id]);
}

/// By key, by node and for all, within the asked time only.
pub async fn usage_is_summed_by_hour_and_day(s: Subject) {
    let a = created(&s, CreateKey::default()).await;
    let b = created(&s, CreateKey::default()).await;
    let hour = |h: u64| at().hour().plus(Duration::from_secs(h * 3600));
    for (i, h) in [0u64, 0, 1, 26].into_iter().enumerate() {
        let n = u64::try_from(i).unwrap();
        let both = vec![moved(a.id, (n + 1, 0), (1, 10)), moved(b.id, (n + 1, 0), (2, 20))];
        let txn = StoreTxn::new(hour(h).plus(Duration::from_secs(60)), vec![batch(n, "1", n == 0, both)]);
        s.store.commit(txn).await.unwrap();
    }
    let all = UsageQuery { key: None, owners: None, node: None, from: Timestamp::default(), to: hour(1000) };
    let usage_by = async |query: UsageQuery, step: UsageStep| {
        let points = by_calendar(&s.store.usage(&query).await.unwrap(), step, &TimeZoneName::default());
        points.iter().map(|p| (p.at, p.traffic.up, p.traffic.down)).collect::<Vec<_>>()
    };
    let usage = async |query: UsageQuery| usage_by(query, UsageStep::Hour).await;
    let key = Some(a.id);
    let expected = [(hour(0), 2, 20), (hour(1), 1, 10), (hour(26), 1, 10)];
    assert_eq!(usage(UsageQuery { key, ..all.clone() }).await, expected);
    let node = Some(NodeId::main());
    assert_eq!(usage(UsageQuery { key, node, ..all.clone() }).await, expected);
    let node = Some(NodeId::new("other").unwrap());
    assert!(usage(UsageQuery { key, node, ..all.clone() }).await.is_empty());
    let days = [(hour(0).day(), 9, 90), (hour(26).day(), 3, 30)];
    assert_eq!(usage_by(all.clone(), UsageStep::Day).await, days);
    let part = UsageQuery { key, from: hour(1), to: hour(26), ..all.clone() };
    assert_eq!(usage(part).await, [(hour(1), 1, 10)]);
    assert!(usage(UsageQuery { from: hour(30), to: hour(2), ..all }).await.is_empty());
}

/// Totals stay what has passed.
pub async fn bytes_count_against_limits_by_the_coefficient(s: Subject) {
    let key = created(&s, CreateKey::default().data_limit(ByteSize::from_bytes(1_000))).await;
    let read = async |after: u64, percent: u32, bytes: u64, near_within: u64| {
        let StoreOp::Traffic(mut reading) =
            batch(after, "1", after == 0, vec![moved(key.id, (after + 1, 0), (0, bytes))])
        else {
            unreachable!()
        };
        reading.coefficient = Coefficient::percent("test", percent).unwrap();
        reading.near_within = near_within;
        s.store.commit(StoreTxn::new(at(), vec![StoreOp::Traffic(reading)])).await.unwrap()
    };
    let stands = async || {
        let key = get(&s, key.id).await.unwrap();
        (key.used, key.traffic.down, key.status)
    };
    read(0, 50, 301, 0).await;
    assert_eq!(stands().await, (150, 301, KeyStatus::Active));
    read(1, 0, 5_000, 0).await;
    assert_eq!(stands().await, (150, 5_301, KeyStatus::Active));
    let near = read(2, 200, 400, 50).await.near;
    assert_eq!((near, stands().await), (vec![(key.id, 50)], (950, 5_701, KeyStatus::Active)));
    let receipt = read(3, 150, 34, 0).await;
    assert_eq!((receipt.transitions.len(), stands().await), (1, (1_001, 5_735, KeyStatus::Limited)));
    let all =
        UsageQuery { key: None, owners: None, node: None, from: Timestamp::default(), to: Timestamp::MAX };
    assert_eq!(s.store.usage(&all).await.unwrap()[0].traffic.down, 5_735);
}

/// The same inbound again is no event.
pub async fn inbounds_are_kept_and_ports_are_unique(s: Subject) {
    let tag = |t: &str| InboundTag::new(t).unwrap();
    let put = |inbound: &Inbound| vec![InboundOp::Put(Box::new(inbound.clone()))];
    let a = Inbound::new(tag("a"), 1001, Protocol::Vless { vision: false });
    let b = Inbound::new(tag("b"), 1002, Protocol::Vmess);
    commit(&s, put(&b)).await.unwrap();
    commit(&s, put(&a)).await.unwrap();
    assert_eq!(s.store.inbounds().await.unwrap(), [a.clone(), b.clone()]);
    let cursor = s.store.newest_event().await.unwrap();
    commit(&s, put(&a)).await.unwrap();
    assert_eq!(s.store.newest_event().await.unwrap(), cursor);
    let clash = Inbound { tag: tag("c"), ..a.clone() };
    assert_eq!(commit(&s, put(&clash)).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    let moved = Inbound { port: 1003, ..a.clone() };
    commit(&s, put(&moved)).await.unwrap();
    commit(&s, put(&clash)).await.unwrap();
    // A port may be shared by nodes, by addresses, and by TCP and UDP; not where one address is all.
    let on = |t: &str, address: [u8; 4]| Inbound::new(tag(t), 1005, Protocol::Vmess).listen(address.into());
    let (one, two) = (on("one", [192, 0, 2, 1]), on("two", [192, 0, 2, 2]));
    commit(&s, put(&one)).await.unwrap();
    commit(&s, put(&two)).await.unwrap();
    let taken = commit(&s, put(&on("all", [0, 0, 0, 0]))).await.unwrap_err();
    assert_eq!((taken.kind(), taken.get("field")), (ErrorKind::AlreadyExists, Some("port")));
    let elsewhere = on("all", [0, 0, 0, 0]).on(ServerId::new(&NodeId::new("other").unwrap(), "fake"));
    commit(&s, put(&elsewhere)).await.unwrap();
    assert_eq!(s.store.inbounds().await.unwrap().last(), Some(&elsewhere));
    for gone in [&one, &two, &elsewhere] {
        let remove = InboundOp::Remove(gone.node.clone(), gone.tag.clone());
        commit(&s, vec![remove]).await.unwrap();
    }
    let orphan = Inbound::new(tag("d"), 1004, Protocol::Vmess).dedicated_to(KeyId(999));
    assert_eq!(commit(&s, put(&orphan)).await.unwrap_err().kind(), ErrorKind::NotFound);
    let remove = || vec![InboundOp::Remove(NodeId::main(), tag("b"))];
    commit(&s, remove()).await.unwrap();
    assert_eq!(commit(&s, remove()).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(s.store.inbounds().await.unwrap(), [moved, clash]);
}

/// A record that nobody has written has version 0. It is found by its kind and by its index.
pub async fn records_are_replaced_by_version(s: Subject) {
    let place = |kind: &str, id: &str| (kind.to_owned(), id.to_owned());
    let put = |expected, body: Option<&str>| match body {
        Some(body) => {
            let (index, body) = (Some("i".to_owned()), Secret::new(body));
            RecordOp::Put { place: place("hosts", "main/a"), expected, index, body }
        }
        None => RecordOp::Remove { place: place("hosts", "main/a"), expected },
    };
    let records = async |query: RecordQuery| s.store.records(&query).await.unwrap();
    let all = RecordQuery::default;
    assert_eq!(records(all()).await, []);
    assert_eq!(commit(&s, [put(Some(1), Some("x"))]).await.unwrap_err().kind(), ErrorKind::Conflict);
    let receipt = commit(&s, [put(Some(0), Some("1"))]).await.unwrap();
    assert_eq!(receipt.made, [Made { kind: "hosts".into(), id: "main/a".into() }]);
    assert_eq!(commit(&s, [put(Some(0), Some("x"))]).await.unwrap_err().kind(), ErrorKind::Conflict);
    commit(&s, [put(Some(1), Some("2"))]).await.unwrap();
    commit(&s, [put(None, Some("3"))]).await.unwrap();
    let other = RecordOp::Put { place: place("a", ""), expected: None, index: None, body: Secret::new("é") };
    commit(&s, [other]).await.unwrap();
    let held = records(all()).await;
    let seen: Vec<_> =
        held.iter().map(|r| (r.kind.as_str(), r.id.as_str(), r.version, r.body.expose())).collect();
    assert_eq!(seen, [("a", "", 1, "é"), ("hosts", "main/a", 3, "3")]);
    assert_eq!(records(RecordQuery::of("a")).await, held[..1]);
    assert_eq!(records(RecordQuery { index: Some("i".into()), ..all() }).await, held[1..]);
    assert_eq!(records(RecordQuery { index: Some("i".into()), ..RecordQuery::of("a") }).await, []);
    commit(&s, [put(None, None)]).await.unwrap();
    commit(&s, [put(None, None)]).await.unwrap();
    assert_eq!(records(all()).await.len(), 1);
    let half: [StoreOp; 2] =
        [put(None, Some("4")).into(), KeyOp::Delete { key: KeyId(999), expected: None }.into()];
    commit(&s, half).await.unwrap_err();
    assert_eq!(records(all()).await.len(), 1);
}

/// It stays while nothing is changed that it stands for, and grows with what is.
pub async fn a_revision_grows_with_inbounds_and_records(s: Subject) {
    let revision = async || s.store.revision().await.unwrap();
    let first = revision().await;
    let key = created(&s, CreateKey::default()).await;
    commit(&s, [batch(0, "1", true, vec![moved(key.id, (1, 1), (1, 1))])]).await.unwrap();
    assert_eq!(revision().await, first, "keys and traffic are told by events");
    let own = Inbound::new(InboundTag::new("own").unwrap(), 1001, Protocol::Vmess).dedicated_to(key.id);
    let mut last = first;
    let put = RecordOp::Put {
        place: ("a".into(), "b".into()),
        expected: None,
        index: None,
        body: Secret::new("{}"),
    };
    let steps: [StoreOp; 3] = [
        InboundOp::Put(Box::new(own)).into(),
        put.into(),
        KeyOp::Delete { key: key.id, expected: None }.into(),
    ];
    for step in steps {
        commit(&s, [step]).await.unwrap();
        let now = revision().await;
        assert!(now > last);
        last = now;
    }
}

/// A known one may always come again; they go with their key.
pub async fn devices_are_bound_up_to_a_limit(s: Subject) {
    let key = created(&s, CreateKey::named("k").device_limit(2)).await;
    assert_eq!(get(&s, key.id).await.unwrap().device_limit, Some(2));
    let see = |key, id: &str, secs: u64, limit| {
        let now = at().plus(Duration::from_secs(secs));
        let device = ClientDevice {
            key,
            id: id.into(),
            os: Some("Android".into()),
            os_version: None,
            model: Some("Пиксель".into()),
            user_agent: Some(format!("app/{secs}")),
            first_seen: now,
            last_seen: now,
        };
        vec![DeviceOp::See { device: Box::new(device), limit, gone_since: at() }]
    };
    commit(&s, see(key.id, "b", 1, Some(2))).await.unwrap();
    commit(&s, see(key.id, "a", 2, Some(2))).await.unwrap();
    let refused = commit(&s, see(key.id, "c", 3, Some(2))).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::LimitReached);
    commit(&s, see(key.id, "b", 4, Some(2))).await.unwrap();
    let devices = s.store.devices(key.id).await.unwrap();
    let seen: Vec<_> = devices
        .iter()
        .map(|d| (d.id.as_str(), d.last_seen.since(at()).as_secs(), d.user_agent.as_deref()))
        .collect();
    assert_eq!(seen, [("b", 4, Some("app/4")), ("a", 2, Some("app/2"))]);
    assert_eq!(devices[0].first_seen, at().plus(Duration::from_secs(1)));
    let forget = |id: Option<&str>| vec![DeviceOp::Forget { key: key.id, id: id.map(str::to_owned) }];
    assert_eq!(commit(&s, forget(Some("c"))).await.unwrap_err().kind(), ErrorKind::NotFound);
    commit(&s, forget(Some("b"))).await.unwrap();
    commit(&s, see(key.id, "c", 5, None)).await.unwrap();
    commit(&s, forget(None)).await.unwrap();
    assert_eq!(s.store.devices(key.id).await.unwrap(), []);
    commit(&s, see(key.id, "d", 6, None)).await.unwrap();
    commit(&s, vec![KeyOp::Delete { key: key.id, expected: None }]).await.unwrap();
    assert_eq!(s.store.devices(key.id).await.unwrap(), []);
    assert_eq!(commit(&s, see(key.id, "d", 7, None)).await.unwrap_err().kind(), ErrorKind::NotFound);
}

/// One that is known does not push others out.
pub async fn a_device_that_is_gone_makes_room(s: Subject) {
    let key = created(&s, CreateKey::named("k")).await;
    let see = |id: &str, secs: u64, gone: u64| {
        let time = |secs| at().plus(Duration::from_secs(secs));
        let device = ClientDevice {
            key: key.id,
            id: id.into(),
            os: None,
            os_version: None,
            model: None,
            user_agent: None,
            first_seen: time(secs),
            last_seen: time(secs),
        };
        vec![DeviceOp::See { device: Box::new(device), limit: Some(2), gone_since: time(gone) }]
    };
    let ids = async || {
        let devices = s.store.devices(key.id).await.unwrap();
        devices.into_iter().map(|device| device.id).collect::<Vec<_>>()
    };
    commit(&s, see("a", 10, 0)).await.unwrap();
    commit(&s, see("b", 20, 0)).await.unwrap();
    assert_eq!(commit(&s, see("c", 30, 10)).await.unwrap_err().kind(), ErrorKind::LimitReached);
    commit(&s, see("b", 40, 30)).await.unwrap();
    assert_eq!(ids().await, ["a", "b"]);
    commit(&s, see("c", 50, 30)).await.unwrap();
    assert_eq!(ids().await, ["b", "c"]);
}

/// With their subjects; a batch can be read in pieces.
pub async fn events_tell_what_was_committed_in_order(s: Subject) {
    let key = created(&s, CreateKey::named("k")).await;
    let note = KeyPatch { note: Patch::Set("n".into()), ..KeyPatch::default() };
    commit(&s, vec![patch(key.id, note), patch(key.id, KeyPatch::enabled(false))]).await.unwrap();
    let subject = EventSubject::Server(server());
    let down = NewEvent { kind: EventKind::ServerDown, subject: subject.clone(), detail: "why".into() };
    commit(&s, vec![StoreOp::Emit(down)]).await.unwrap();
    let receipt = commit(&s, vec![KeyOp::Delete { key: key.id, expected: None }]).await.unwrap();
    use EventKind::{KeyCreated, KeyDeleted, KeyDisabled, KeyUpdated, ServerDown};
    let expected = [KeyCreated, KeyUpdated, KeyDisabled, ServerDown, KeyDeleted];
    assert_eq!(kinds(&s, Cursor::START).await, expected);
    let mut cursor = Cursor::START;
    for kind in expected {
        let batch = s.store.events(cursor, 1).await.unwrap();
        assert_eq!(batch.events.len(), 1);
        let event = &batch.events[0];
        assert_eq!((event.kind, event.cursor, event.at), (kind, batch.next, at()));
        match kind {
            ServerDown => assert_eq!((&event.subject, event.detail.as_str()), (&subject, "why")),
            _ => assert_eq!(event.subject, EventSubject::Key { id: key.id, uid: key.uid, owner: None }),
        }
        cursor = batch.next;
    }
    assert_eq!(receipt.cursor, cursor);
    assert_eq!(s.store.events(cursor, 10).await.unwrap().next, cursor);
    assert_eq!(s.store.newest_event().await.unwrap(), cursor);
}

/// And request ids with them.
pub async fn pruned_events_expire_their_cursors(s: Subject) {
    let old = StoreTxn::new(at(), [create(CreateKey::named("old"))]).for_request(Some(request("r", "one")));
    let old = s.store.commit(old).await.unwrap();
    let later = at().plus(Duration::from_secs(100));
    let new = s.store.commit(StoreTxn::new(later, vec![create(CreateKey::named("new"))])).await.unwrap();
    let forget = async |before| s.store.prune(&Retention::of_events(before), None).await.unwrap().events;
    assert_eq!(forget(at()).await, 0);
    assert_eq!(forget(later).await, 1);
    assert_eq!(s.store.events(Cursor::START, 9).await.unwrap_err().kind(), ErrorKind::CursorExpired);
    assert_eq!(s.store.events(old.cursor, 9).await.unwrap().events.len(), 1);
    assert_eq!(s.store.newest_event().await.unwrap(), new.cursor);
    assert_eq!(s.store.events(new.cursor, 9).await.unwrap().events, []);
    // The cursor of a store that was newer than this one.
    let ahead = s.store.events(Cursor(new.cursor.0 + 1), 9).await.unwrap_err();
    assert_eq!(ahead.kind(), ErrorKind::CursorExpired);
    let again =
        StoreTxn::new(later, [create(CreateKey::named("again"))]).for_request(Some(request("r", "one")));
    assert!(!s.store.commit(again).await.unwrap().replayed);
}

/// Neither before nor behind it.
pub async fn one_event_with_a_wrong_clock_forgets_no_others(s: Subject) {
    for i in 0..40u64 {
        // One stands in the middle whose clock was years behind, and one whose clock was years ahead.
        let seconds = match i {
            20 => 0,
            30 => 400 * 86_400,
            i => 86_400 + i,
        };
        let txn = StoreTxn::new(at().plus(Duration::from_secs(seconds)), vec![create(CreateKey::default())]);
        s.store.commit(txn).await.unwrap();
    }
    let forget = async |seconds| {
        let retention = Retention::of_events(at().plus(Duration::from_secs(seconds)));
        s.store.prune(&retention, None).await.unwrap().events
    };
    assert_eq!(forget(3_600).await, 0);
    assert_eq!(s.store.events(Cursor::START, 100).await.unwrap().events.len(), 40);
    assert!(forget(2 * 86_400).await >= 39, "the one from the future does not keep the others");
}

/// A key's traffic becomes wider steps with the time; not a byte more or less, by key and by node.
pub async fn summing_up_keeps_every_byte(s: Subject) {
    const HOURS: u64 = 24 * 100;
    let keys = [created(&s, CreateKey::default()).await, created(&s, CreateKey::default()).await];
    let nodes = ["main", "de"].map(|name| NodeId::new(name).unwrap());
    let time = |hour: u64| at().day().plus(Duration::from_secs(hour * 3_600));
    let mut after = [0, 0];
    let mut read = async |hour: u64| {
        for (i, node) in nodes.iter().enumerate() {
            let n = u64::try_from(i).unwrap() + 1;
            let all = keys.iter().map(|key| moved(key.id, (after[i] + 1, 0), (hour + n, n))).collect();
            let StoreOp::Traffic(mut reading) = batch(after[i], "1", after[i] == 0, all) else {
                unreachable!()
            };
            (reading.node, reading.server) = (node.clone(), ServerId::new(node, "fake"));
            let txn = StoreTxn::new(time(hour), vec![StoreOp::Traffic(reading)]);
            s.store.commit(txn).await.unwrap();
            after[i] += 1;
        }
    };
    for hour in (0..HOURS).step_by(7) {
        read(hour).await;
    }
    let query = |key: Option<KeyId>, node: Option<&NodeId>, step: UsageStep| {
        (UsageQuery { key, owners: None, node: node.cloned(), from: time(0), to: time(HOURS + 48) }, step)
    };
    let usage = async |(query, step): (UsageQuery, UsageStep)| {
        by_calendar(&s.store.usage(&query).await.unwrap(), step, &TimeZoneName::default())
    };
    let sum = |points: &[vpnkit_core::model::UsagePoint]| {
        points.iter().fold(Traffic::default(), |sum, point| sum.plus(point.traffic))
    };
    let (key, day, hour) = (Some(keys[0].id), UsageStep::Day, UsageStep::Hour);
    let (days, all_hours) = (usage(query(key, None, day)).await, usage(query(None, None, hour)).await);
    let through =
        [usage(query(None, Some(&nodes[0]), hour)).await, usage(query(None, Some(&nodes[1]), hour)).await];
    let of_node = sum(&usage(query(key, Some(&nodes[1]), day)).await);
    let check = async |widest: usize| {
        for one in &keys {
            let total = get(&s, one.id).await.unwrap().traffic;
            for step in [hour, day] {
                assert_eq!(sum(&usage(query(Some(one.id), None, step)).await), total, "{widest} days");
            }
        }
        assert_eq!(sum(&usage(query(key, Some(&nodes[1]), day)).await), of_node);
        assert_eq!(usage(query(None, None, hour)).await, all_hours, "hours of all keys stay");
        for (node, hours) in nodes.iter().zip(&through) {
            assert_eq!(&usage(query(None, Some(node), hour)).await, hours);
        }
    };
    check(0).await;
    let sum_up = async |hours: u64, days: u64| {
        let retention = Retention {
            events: Timestamp::default(),
            timelines: Timestamp::default(),
            hours: time(hours),
            days: time(days),
        };
        while s.store.prune(&retention, None).await.unwrap().more {}
    };
    // In the middle of a day: that day stays as it is.
    sum_up(24 * 60 + 5, 0).await;
    check(1).await;
    assert_eq!(usage(query(key, None, day)).await, days);
    let hours = usage(query(key, None, hour)).await;
    assert!(hours.iter().filter(|point| point.at < time(24 * 60)).all(|point| point.at == point.at.day()));
    assert!(hours.iter().any(|point| point.at > time(24 * 60) && point.at != point.at.day()));
    sum_up(24 * 60 + 5, 24 * 60).await;
    check(2).await;
    let months = usage(query(key, None, day)).await;
    assert!(months.iter().filter(|p| p.at < time(24 * 60).month()).all(|p| p.at == p.at.month()));
    // Again, over everything, and with traffic that comes later than it should.
    sum_up(HOURS + 24, HOURS + 24).await;
    sum_up(HOURS + 24, HOURS + 24).await;
    check(3).await;
    let before = sum(&usage(query(key, None, day)).await);
    let late = moved(keys[0].id, (after[0] + 1, 0), (5, 0));
    let txn = StoreTxn::new(
        time(3),
        vec![{
            let StoreOp::Traffic(mut reading) = batch(after[0], "1", false, vec![late]) else {
                unreachable!()
            };
            (reading.node, reading.server) = (nodes[0].clone(), ServerId::new(&nodes[0], "fake"));
            StoreOp::Traffic(reading)
        }],
    );
    s.store.commit(txn).await.unwrap();
    sum_up(HOURS + 24, HOURS + 24).await;
    let now = sum(&usage(query(key, None, day)).await);
    assert_eq!(now.total(), before.total() + 5);
}

/// The same for every process, and another one for another store.
pub async fn a_store_has_an_id(s: Subject) {
    let id = s.store.id().await.unwrap();
    assert!(id.len() == 8 && id.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()), "{id}");
    created(&s, CreateKey::default()).await;
    assert_eq!(s.store.id().await.unwrap(), id);
}

/// For every call, without waiting.
pub async fn a_closed_store_says_so(s: Subject) {
    created(&s, CreateKey::named("k")).await;
    s.store.close().await.unwrap();
    s.store.close().await.unwrap();
    assert_eq!(s.store.key(&KeyRef::from("k")).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(s.store.find(&KeyQuery::default()).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(commit(&s, vec![create(CreateKey::default())]).await.unwrap_err().kind(), ErrorKind::Closed);
}
