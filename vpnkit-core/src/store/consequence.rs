//! Pure rules that every store shares: which events follow from a change of a key.

use serde_json::{Map, Value};

use super::Transition;
use crate::model::{
    EventKind, EventSubject, Grant, GrantId, Inbound, Key, KeyStatus, NewEvent, Reality, Security,
};
use crate::{Secret, Timestamp};

/// Returns the events that follow when `before` became `after` by what `happened`.
#[must_use]
pub fn of_change(before: &Key, after: &Key, happened: &[EventKind]) -> Vec<NewEvent> {
    let event = |kind: EventKind| {
        let detail = match kind {
            EventKind::KeyReset => format!("{} bytes", before.used),
            EventKind::KeyUpdated => differences(before, after),
            _ => String::new(),
        };
        NewEvent { kind, subject: after.subject(), detail }
    };
    let mut events: Vec<NewEvent> = happened.iter().copied().map(event).collect();
    // One that begins its time could connect before.
    let started = happened.contains(&EventKind::KeyStarted)
        && (before.status, after.status) == (KeyStatus::OnHold, KeyStatus::Active);
    if before.status != after.status && !started {
        events.push(of_status(after));
    }
    events
}

/// Names what was changed of a key, with values where people ask for them. What the application has written is not repeated.
fn differences(before: &Key, after: &Key) -> String {
    let mut all = Vec::new();
    let mut shown = |field: &str, from: Option<String>, to: Option<String>| {
        if from != to {
            let text = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
            all.push(format!("{field} {} -> {}", text(from), text(to)));
        }
    };
    let name = |key: &Key| key.name.as_ref().map(ToString::to_string);
    shown("name", name(before), name(after));
    let end = |key: &Key| key.expires_at.map(|end| end.to_string());
    shown("expires_at", end(before), end(after));
    let limit = |key: &Key| key.data_limit.map(|limit| limit.to_string());
    shown("data_limit", limit(before), limit(after));
    let devices = |key: &Key| key.device_limit.map(|limit| limit.to_string());
    shown("device_limit", devices(before), devices(after));
    let addresses = |key: &Key| key.address_limit.map(|limit| limit.to_string());
    shown("address_limit", addresses(before), addresses(after));
    let locked = |key: &Key| key.locked_until.map(|until| until.to_string());
    shown("locked_until", locked(before), locked(after));
    let owner = |key: &Key| key.owner.map(|owner| owner.0.to_string());
    shown("owner", owner(before), owner(after));
    let changed = [
        ("label", before.label != after.label),
        ("labels", before.labels != after.labels),
        ("note", before.note != after.note),
        ("hold", before.hold != after.hold),
        ("reset", before.reset != after.reset),
        ("next_plan", before.next_plan != after.next_plan),
        ("delete_after", before.delete_after != after.delete_after),
        ("inbounds", before.inbounds != after.inbounds),
        ("links", before.link_revision != after.link_revision),
        ("credentials", before.credentials != after.credentials),
    ];
    all.extend(changed.into_iter().filter(|(_, changed)| *changed).map(|(field, _)| field.to_owned()));
    all.join(", ")
}

/// Returns the event that tells of a grant that was given to `key`, or undone.
#[must_use]
pub fn of_grant(kind: EventKind, key: &Key, grant: GrantId) -> NewEvent {
    NewEvent { kind, subject: key.subject(), detail: grant.0.to_string() }
}

/// Returns the entry of the ledger that follows when `before` became `after` by what `happened`: a next plan gives something, too.
#[must_use]
pub fn grant_of(before: &Key, after: &Key, happened: &[EventKind], at: Timestamp) -> Option<Grant> {
    let plan = before.next_plan.filter(|_| happened.contains(&EventKind::KeyNextPlan))?;
    Some(Grant::begun(before, after, plan, at))
}

/// Returns the event that tells of the status that `key` has come to.
#[must_use]
pub fn of_status(key: &Key) -> NewEvent {
    let kind = match key.status {
        KeyStatus::Active => EventKind::KeyActivated,
        KeyStatus::OnHold => EventKind::KeyOnHold,
        KeyStatus::Paused => EventKind::KeyPaused,
        KeyStatus::Locked => EventKind::KeyLocked,
        KeyStatus::Suspended => EventKind::KeySuspended,
        KeyStatus::Disabled => EventKind::KeyDisabled,
        KeyStatus::Limited => EventKind::KeyLimited,
        KeyStatus::Expired => EventKind::KeyExpired,
    };
    let until = key.locked_until.filter(|_| key.status == KeyStatus::Locked);
    let detail = until.map_or_else(String::new, |until| format!("until {until}"));
    NewEvent { kind, subject: key.subject(), detail }
}

/// Returns the transition from `before` to `after`, if there is one.
#[must_use]
pub fn transition(before: KeyStatus, after: &Key) -> Option<Transition> {
    let limit = after.data_limit.filter(|_| after.status == KeyStatus::Limited);
    let overrun = limit.map_or(0, |limit| after.used.saturating_sub(limit.bytes()));
    (before != after.status).then_some(Transition { key: after.id, from: before, to: after.status, overrun })
}

/// Returns the event that tells of a device that was refused.
#[must_use]
pub fn of_refused_device(key: &Key, limit: u32) -> NewEvent {
    NewEvent { kind: EventKind::KeyDeviceLimit, subject: key.subject(), detail: limit.to_string() }
}

/// Returns the event that tells of an inbound that was added or changed: the detail says what of it, without values.
#[must_use]
pub fn of_inbound(before: Option<&Inbound>, after: &Inbound) -> NewEvent {
    let detail = before.map_or_else(|| "added".to_owned(), |before| changed_parts(before, after).join(", "));
    let subject = EventSubject::Inbound(after.tag.as_str().to_owned());
    NewEvent { kind: EventKind::InboundChanged, subject, detail }
}

fn changed_parts(before: &Inbound, after: &Inbound) -> Vec<String> {
    let parts = |inbound: &Inbound| match Secret::reveal(|| serde_json::to_value(inbound)) {
        Ok(Value::Object(parts)) => parts,
        _ => Map::new(),
    };
    let (before_parts, after_parts) = (parts(before), parts(after));
    let mut names: Vec<&String> = before_parts.keys().chain(after_parts.keys()).collect();
    names.sort();
    names.dedup();
    let changed = names.into_iter().filter(|name| before_parts.get(*name) != after_parts.get(*name));
    let of_keys = match (&before.security, &after.security) {
        (Security::Reality(before), Security::Reality(after)) if before.public_key != after.public_key => {
            Some("REALITY keys")
        }
        (
            Security::Reality(Reality { previous: Some(_), .. }),
            Security::Reality(Reality { previous: None, .. }),
        ) => Some("end of old REALITY keys"),
        _ => None,
    };
    changed
        .map(|name| of_keys.filter(|_| name == "security").map_or_else(|| name.clone(), str::to_owned))
        .collect()
}

/// Returns the event that tells of a record that a call has changed.
#[must_use]
pub fn of_settings(kind: &str, id: &str) -> NewEvent {
    let place = if id.is_empty() { kind.to_owned() } else { format!("{kind}/{id}") };
    NewEvent {
        kind: EventKind::SettingsChanged,
        subject: EventSubject::Settings(place),
        detail: String::new(),
    }
}

/// Returns the event that tells that a key has used a share of its limit.
#[must_use]
pub fn of_share(key: &Key, percent: u8) -> NewEvent {
    NewEvent { kind: EventKind::KeyUsageReached, subject: key.subject(), detail: format!("{percent}%") }
}

/// Returns the event that tells that a key ends soon, after `from`; `None` when it was created for no longer, or cannot be used anyway.
#[must_use]
pub fn of_end(key: &Key, days: u32, from: Timestamp) -> Option<NewEvent> {
    let time = std::time::Duration::from_secs(u64::from(days) * 86_400);
    let ends = matches!(key.status, KeyStatus::Active | KeyStatus::Limited);
    let longer = key.expires_at.is_some_and(|end| end > from && end > key.start().plus(time));
    let detail = if days == 1 { "1 day".to_owned() } else { format!("{days} days") };
    (ends && longer).then(|| NewEvent { kind: EventKind::KeyExpiresSoon, subject: key.subject(), detail })
}
