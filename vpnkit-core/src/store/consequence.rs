//! Pure rules that every store shares: which events follow from a change of a key.

use super::Transition;
use crate::model::{EventKind, Key, KeyStatus, NewEvent};

/// Returns the events that follow when `before` became `after`.
#[must_use]
pub fn of_change(before: &Key, after: &Key) -> Vec<NewEvent> {
    let mut events = Vec::new();
    let same_but_status =
        Key { status: after.status, version: after.version, updated_at: after.updated_at, ..before.clone() };
    if same_but_status != *after {
        events.push(NewEvent {
            kind: EventKind::KeyUpdated,
            subject: after.subject(),
            detail: String::new(),
        });
    }
    if before.status != after.status {
        events.push(of_status(after));
    }
    events
}

/// Returns the event that tells of the status that `key` has come to.
#[must_use]
pub fn of_status(key: &Key) -> NewEvent {
    let kind = match key.status {
        KeyStatus::Active => EventKind::KeyActivated,
        KeyStatus::Disabled => EventKind::KeyDisabled,
        KeyStatus::Limited => EventKind::KeyLimited,
        KeyStatus::Expired => EventKind::KeyExpired,
    };
    NewEvent { kind, subject: key.subject(), detail: String::new() }
}

/// Returns the transition from `before` to `after`, if there is one.
#[must_use]
pub fn transition(before: KeyStatus, after: &Key) -> Option<Transition> {
    (before != after.status).then_some(Transition { key: after.id, from: before, to: after.status })
}
