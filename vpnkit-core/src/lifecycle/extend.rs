//! What an extension gives, and what is left without a grant.

use crate::Timestamp;
use crate::model::LONGEST;
use crate::model::{
    ByteSize, EventKind, Extension, Grant, GrantId, GrantKind, Hold, Key, RenewPolicy, Terms,
};

/// Returns the terms of a key that had `before` and is given `extension` at `at`. Time counts from `from`: `at`, or when the key was
/// paused.
///
/// | policy | end | limit | used |
/// |---|---|---|---|
/// | `carry_over` | the later of end and `from`, plus the time | plus the volume | stays |
/// | `reset` | `from` plus the time | the volume | 0 |
/// | `reset_time` | `from` plus the time | plus the volume | stays |
/// | `reset_data` | the later of end and `from`, plus the time | the volume | 0 |
/// | `remaining_to_total` | the later of end and `from`, plus the time | what is left plus the volume | 0 |
///
/// What is not given stays. While a key is on hold, its length is what grows. What never ends, or has no limit, stays so when
/// something is added to it.
#[must_use]
pub fn extend(before: &Terms, extension: &Extension, from: Timestamp, at: Timestamp) -> Terms {
    let mut after = *before;
    let policy = extension.policy;
    if let Some(time) = extension.expires_in {
        match (before.hold, before.expires_at) {
            (Some(_), _) if policy.resets_time() => after.hold = Some(time),
            (Some(length), _) => after.hold = Some(length.saturating_add(time).min(LONGEST)),
            (None, _) if policy.resets_time() => after.expires_at = Some(from.plus(time)),
            (None, Some(end)) => after.expires_at = Some(end.max(from).plus(time)),
            (None, None) => {}
        }
    }
    let volume = extension.data_limit;
    match policy {
        RenewPolicy::CarryOver | RenewPolicy::ResetTime => {
            if let (Some(limit), Some(volume)) = (before.data_limit, volume) {
                after.data_limit = Some(limit.plus(volume.bytes()));
            }
        }
        RenewPolicy::Reset | RenewPolicy::ResetData => {
            after.data_limit = volume.or(before.data_limit);
            (after.used, after.reset_at) = (0, Some(at));
        }
        RenewPolicy::RemainingToTotal => {
            let volume = volume.unwrap_or_default();
            after.data_limit = before.remaining().map(|left| volume.plus(left));
            (after.used, after.reset_at) = (0, Some(at));
        }
    }
    if extension.unlimited {
        after.data_limit = None;
    }
    after
}

/// Extends a key and returns the entry of the ledger; the store gives it its id. The status is to be settled then.
pub fn extend_key(
    key: &mut Key,
    extension: &Extension,
    idempotency_key: Option<String>,
    now: Timestamp,
) -> (Grant, EventKind) {
    let (before, from) = (Terms::of(key), key.paused_at.unwrap_or(now));
    let after = extend(&before, extension, from, now);
    take(key, &after);
    let grant = Grant {
        id: GrantId(0),
        key: key.id,
        key_uid: key.uid,
        owner: key.owner,
        at: now,
        kind: GrantKind::Extended,
        idempotency_key,
        expires_in: extension.expires_in,
        data_limit: extension.data_limit,
        unlimited: extension.unlimited,
        template: extension.template.clone(),
        merged_from: None,
        policy: extension.policy,
        reason: extension.reason.clone(),
        actor: None,
        by_admin: None,
        counted_from: from,
        before,
        after,
        undone_at: None,
        undone_because: None,
    };
    (grant, EventKind::KeyExtended)
}

/// Gives a key these terms.
fn take(key: &mut Key, terms: &Terms) {
    key.expires_at = terms.expires_at;
    key.hold = terms.hold.map(|duration| Hold { duration, until: key.hold.and_then(|hold| hold.until) });
    key.data_limit = terms.data_limit;
    key.used = terms.used;
    key.reset_at = terms.reset_at;
}

/// Takes a grant back: `grants` are it and all later ones of the key, oldest first. The key has what it would have had without it, and
/// so have the entries behind it. The status is to be settled then.
///
/// What happened between two entries is kept: bytes that were used, time in which the key was paused, changes by hand.
pub fn undo(grants: &mut [Grant], key: &mut Key, now: Timestamp) -> EventKind {
    let Some((undone, later)) = grants.split_first_mut() else { return EventKind::KeyUpdated };
    let (mut terms, mut left) = (undone.before, undone.after);
    for grant in later.iter_mut().filter(|grant| grant.undone_at.is_none()) {
        terms = follow(&terms, &left, &grant.before);
        left = grant.after;
        grant.before = terms;
        let nothing = undone.kind == GrantKind::Created && terms.data_limit == Some(ByteSize::default());
        terms = given(&terms, grant);
        if nothing && grant.data_limit.is_none() && terms.data_limit == Some(ByteSize::default()) {
            // The limit came with the creation of the key, and this one has gone on with it.
            terms.data_limit = left.data_limit;
        }
        grant.after = terms;
    }
    take(key, &follow(&terms, &left, &Terms::of(key)));
    if key.hold.is_some_and(|hold| hold.duration.is_zero()) {
        (key.hold, key.expires_at) = (None, Some(key.paused_at.unwrap_or(now)));
    }
    if undone.kind == GrantKind::Created {
        // What it was to become was part of what was bought.
        key.next_plan = None;
    }
    undone.undone_at = Some(now);
    EventKind::KeyGrantUndone
}

/// Returns the terms of a key that had `before` and was given the same again.
fn given(before: &Terms, grant: &Grant) -> Terms {
    match grant.kind {
        GrantKind::Created | GrantKind::Extended => {
            extend(before, &grant.extension(), grant.counted_from, grant.at)
        }
        // Its time counts from when it began, whatever was left.
        GrantKind::NextPlan => {
            let after = extend(before, &grant.extension(), grant.counted_from, grant.at);
            let data_limit = match (grant.data_limit, grant.policy) {
                (Some(limit), RenewPolicy::RemainingToTotal) => {
                    Some(limit.plus(before.remaining().unwrap_or(0)))
                }
                (limit, _) => limit,
            };
            let expires_at = grant.expires_in.map(|time| grant.counted_from.plus(time));
            Terms { expires_at, hold: None, data_limit, ..after }
        }
    }
}

/// Returns what becomes of `terms` by what has made `to` of `from`.
fn follow(terms: &Terms, from: &Terms, to: &Terms) -> Terms {
    let mut after = *to;
    let end = |terms: &Terms| (terms.expires_at, terms.hold);
    if end(from) == end(to) {
        (after.expires_at, after.hold) = end(terms);
    } else {
        match (end(terms), end(from), end(to)) {
            ((Some(end), None), (Some(from), None), (Some(to), None)) => {
                after.expires_at = Some(shift(end, from, to));
            }
            // Its time has begun, or it was ended by hand: for as long as it lasts without the grant.
            ((None, Some(length)), (_, Some(from)), (Some(to), None)) => {
                after.expires_at = Some(to.minus(from).plus(length));
            }
            ((None, Some(length)), (_, Some(from)), (_, Some(to))) => {
                after.hold = Some(length.saturating_add(to).saturating_sub(from).min(LONGEST));
            }
            // Nothing was left of it when it was on hold, or it never ended: so it is now.
            ((end, None), (_, Some(_)), _) => (after.expires_at, after.hold) = (end, None),
            // Put on hold by hand with what was left.
            ((Some(end), None), (Some(from), None), (None, Some(length))) => {
                after.hold = Some(length.saturating_sub(from.since(end)));
            }
            _ => {}
        }
    }
    match (terms.data_limit, from.data_limit, to.data_limit) {
        (limit, from, to) if from == to => after.data_limit = limit,
        (Some(limit), Some(from), Some(to)) => {
            after.data_limit = Some(limit.plus(to.bytes()).minus(from.bytes()));
        }
        _ => {}
    }
    if from.reset_at == to.reset_at {
        after.used = terms.used.saturating_add(to.used).saturating_sub(from.used);
        after.reset_at = terms.reset_at;
    }
    after
}

/// Returns `end`, moved as `from` was moved to `to`.
fn shift(end: Timestamp, from: Timestamp, to: Timestamp) -> Timestamp {
    Timestamp::from_millis(end.as_millis().saturating_add(to.as_millis()).saturating_sub(from.as_millis()))
}

#[cfg(test)]
#[path = "extend_tests.rs"]
mod tests;
