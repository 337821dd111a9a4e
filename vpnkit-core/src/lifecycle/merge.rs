//! Two keys of one customer that become one.

use super::extend_key;
use crate::model::{ByteSize, EventKind, Extension, Grant, Key, KeyStatus, LABELS_MAX, RenewPolicy};
use crate::{Error, Result, Timestamp};

/// Gives `into` what is left of `key`, which is to be deleted then: its volume, its time, and the labels that `into` has not. Of one whose time
/// or volume is over nothing is left. Limits of devices and addresses are the stricter ones of those that are set.
///
/// Only like is added to like: what never ends or is unlimited to what is, too.
///
/// Errors: `InvalidInput` about `into` when they are the same or cannot be added up, about `key` when it is disabled or locked, or has a next
/// plan: that would be gone.
pub fn merge(
    into: &mut Key,
    key: &Key,
    idempotency_key: Option<String>,
    now: Timestamp,
) -> Result<(Grant, EventKind)> {
    check(into, key, now)?;
    let from = key.paused_at.unwrap_or(now);
    let time = key.hold.map(|hold| hold.duration).or_else(|| {
        let end = key.expires_at?;
        (end > from).then(|| end.since(from))
    });
    let over = (ends(key) && time.is_none()) || key.remaining() == Some(0);
    let volume = |left: u64| ByteSize::from_bytes(if over { 0 } else { left });
    let extension = Extension {
        expires_in: time.filter(|_| !over),
        data_limit: key.remaining().map(volume),
        unlimited: false,
        template: None,
        policy: RenewPolicy::CarryOver,
        reason: None,
    };
    for (name, value) in &key.labels {
        into.labels.entry(name.clone()).or_insert_with(|| value.clone());
    }
    let stricter = |a: Option<u32>, b: Option<u32>| a.into_iter().chain(b).min();
    into.device_limit = stricter(into.device_limit, key.device_limit);
    into.address_limit = stricter(into.address_limit, key.address_limit);
    // What was paid for is not deleted with a trial.
    into.delete_after = into.delete_after.zip(key.delete_after).map(|(a, b)| a.max(b));
    let (grant, _) = extend_key(into, &extension, idempotency_key, now);
    Ok((Grant { merged_from: Some(key.id), ..grant }, EventKind::KeyMerged))
}

fn ends(key: &Key) -> bool {
    key.expires_at.is_some() || key.hold.is_some()
}

fn check(into: &Key, key: &Key, now: Timestamp) -> Result<()> {
    let stopped =
        |key: &Key| key.status == KeyStatus::Disabled || key.locked_until.is_some_and(|until| until > now);
    let fault = |field: &str, message: &str| {
        Err(Error::invalid("keys.merge", field, message).with("key", key.id).with("into", into.id))
    };
    if into.id == key.id {
        return fault("into", "a key cannot be merged with itself");
    }
    if ends(into) != ends(key) {
        return fault("into", "one of them never ends: their times cannot be added up");
    }
    if into.data_limit.is_some() != key.data_limit.is_some() {
        return fault("into", "one of them is unlimited: their volumes cannot be added up");
    }
    if into.reset.is_some() || key.reset.is_some() {
        return fault("into", "the usage of one of them is set to nothing again and again");
    }
    if stopped(key) {
        return fault("key", "it is disabled or locked: what was stopped would go on");
    }
    if stopped(into) {
        return fault("into", "it is disabled or locked: enable it first");
    }
    if key.next_plan.is_some() {
        return fault("key", "it has a next plan, which would be gone: take it away first");
    }
    let new = key.labels.keys().filter(|name| !into.labels.contains_key(*name)).count();
    if into.labels.len() + new > LABELS_MAX {
        return fault("into", "together they have more than 16 labels");
    }
    Ok(())
}
