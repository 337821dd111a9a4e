//! The suite of stores.

mod admins;
mod bound_credentials;
mod devices;
mod events;
mod histories;
mod keys;
mod lifecycle;
mod pages;
mod processes;
mod readings;
mod records;

use std::any::Any;
use std::sync::Arc;

pub use admins::{
    a_call_tells_who_made_it, a_move_within_a_tree_changes_nothing_above, a_reseller_sells_what_it_may,
    a_reseller_touches_its_own_only, admins_are_a_tree, bytes_sold_are_counted, bytes_used_stop_all_keys,
    counters_of_admins_follow_a_plain_model, quotas_of_keys_are_enforced, the_last_key_is_sold_once,
    what_is_due_is_not_refused_to_a_call,
};
pub use bound_credentials::{
    a_bound_secret_is_unique, a_certificate_is_revoked_when_it_goes,
    a_certificate_that_is_still_held_is_not_revoked, a_credential_is_only_for_an_inbound_that_takes_it,
    a_pool_that_is_full_gives_no_address, an_address_is_given_with_the_credential,
    an_address_may_be_asked_for, an_address_rests_before_it_is_given_again,
    concurrent_keys_get_different_addresses, credentials_go_with_their_inbound,
    serial_numbers_are_never_given_twice,
};
pub use devices::{
    a_device_that_is_gone_makes_room, a_refused_device_is_told_once, devices_are_bound_up_to_a_limit,
};
pub use events::{
    consumers_keep_their_place, events_tell_what_was_committed_in_order,
    one_event_with_a_wrong_clock_forgets_no_others, pruned_events_expire_their_cursors,
    reminders_are_told_once,
};
pub use histories::random_histories_follow_a_plain_model;
pub use keys::{
    a_batch_that_fails_writes_nothing, a_created_key_is_found_by_id_uid_and_name,
    a_deleted_key_is_gone_with_all_that_belongs_to_it, a_patch_changes_what_it_names_and_nothing_else,
    an_expected_version_that_is_old_writes_nothing, concurrent_patches_are_all_kept,
    ids_are_never_used_again, names_are_unique_without_regard_to_case, statuses_follow_limit_time_and_hand,
    the_same_request_commits_once, uids_and_secrets_are_unique,
};
pub use lifecycle::{
    a_life_is_changed_by_patches, a_payment_grants_once_and_for_good,
    a_repeated_request_finds_what_was_merged, grants_are_kept_and_taken_back,
    keys_are_found_by_how_they_stand, keys_are_found_by_their_labels,
    the_first_bytes_begin_the_time_of_a_key, timelines_outlive_the_stream_and_the_key,
    what_is_due_is_settled, what_is_only_tried_leaves_nothing,
};
pub use pages::{
    due_lists_what_is_over_and_only_that, find_filters_searches_and_sorts,
    page_tokens_of_another_order_are_refused, pages_lead_back, pages_see_each_key_once_under_writes,
};
pub use processes::{
    a_batch_from_an_old_revision_is_refused, a_batch_under_an_old_lease_is_refused,
    a_lease_has_one_holder_until_it_is_over, a_lease_is_prolonged_by_its_holder,
    a_lease_of_a_holder_that_has_ended_is_free, a_question_has_one_answer, a_released_lease_is_free_at_once,
    changes_are_those_of_others, what_is_newest_is_told,
};
pub use readings::{
    a_new_epoch_voids_old_counters, a_reading_is_counted_in_one_step,
    a_reading_on_an_old_baseline_is_refused, a_reading_that_reaches_the_limit_limits_the_key,
    an_epoch_that_returns_goes_on_where_it_was, bytes_count_against_limits_by_the_coefficient,
    counters_of_unknown_keys_are_passed_over, sessions_of_a_key_are_kept_apart_and_forgotten,
    summing_up_keeps_every_byte, usage_is_summed_by_hour_and_day,
};
pub use records::{
    a_revision_grows_with_inbounds_and_records, inbounds_are_kept_and_ports_are_unique,
    records_are_replaced_by_version,
};
use vpnkit_core::accounting::{Coefficient, Moved};
use vpnkit_core::backend::Fingerprint;
use vpnkit_core::model::{
    CreateKey, Credential, CredentialKind, Cursor, EventKind, Key, KeyId, KeyPatch, KeyQuery, KeyRef, NodeId,
    ServerId, Traffic,
};
use vpnkit_core::store::{KeyOp, KeyStore, Receipt, Request, StoreOp, StoreTxn, TrafficBatch};
use vpnkit_core::traffic::Epoch;
use vpnkit_core::{ErrorKind, Result, Timestamp};

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

fn request(id: &str, asked: &str) -> Request {
    Request { for_good: false, ..Request::grant(id, Fingerprint::of([asked])) }
}

async fn kinds(s: &Subject, after: Cursor) -> Vec<EventKind> {
    s.store.events(after, 1000).await.unwrap().events.into_iter().map(|e| e.kind).collect()
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
