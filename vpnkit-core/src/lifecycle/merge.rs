//! Two keys of one customer that become one.

use super::extend_key;
use crate::model::{EventKind, Extension, Grant, Key, RenewPolicy};
use crate::{Error, Result, Timestamp};

/// Gives `into` what is left of `key`, which is to be deleted then: its volume, its time, and the labels that `into` has not.
///
/// Only like is added to like: what never ends or is unlimited to what is, too.
///
/// Errors: `InvalidInput` about `into` when they are the same, or cannot be added up.
pub fn merge(
    into: &mut Key,
    key: &Key,
    idempotency_key: Option<String>,
    now: Timestamp,
) -> Result<(Grant, EventKind)> {
    const OP: &str = "keys.merge";
    let fault =
        |message: &str| Err(Error::invalid(OP, "into", message).with("key", key.id).with("into", into.id));
    if into.id == key.id {
        return fault("a key cannot be merged with itself");
    }
    let ends = |key: &Key| key.expires_at.is_some() || key.hold.is_some();
    if ends(into) != ends(key) {
        return fault("one of them never ends: their times cannot be added up");
    }
    if into.data_limit.is_some() != key.data_limit.is_some() {
        return fault("one of them is unlimited: their volumes cannot be added up");
    }
    if into.reset.is_some() || key.reset.is_some() {
        return fault(
            "the usage of one of them is set to nothing again and again: what is left cannot be added up",
        );
    }
    let from = key.paused_at.unwrap_or(now);
    let left = key.hold.map(|hold| hold.duration).or_else(|| {
        let end = key.expires_at?;
        (end > from).then(|| end.since(from))
    });
    // Of one whose time is over nothing is left.
    let over = ends(key) && left.is_none();
    let extension = Extension {
        expires_in: left,
        data_limit: key.remaining().filter(|_| !over).map(crate::model::ByteSize::from_bytes),
        unlimited: false,
        template: None,
        policy: RenewPolicy::CarryOver,
        reason: None,
    };
    for (name, value) in &key.labels {
        into.labels.entry(name.clone()).or_insert_with(|| value.clone());
    }
    Ok(extend_key(into, &extension, idempotency_key, now))
}
