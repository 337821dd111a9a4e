//! What is due of a key, and when.

use super::judge;
use super::period::next_reset;
use crate::Timestamp;
use crate::model::{EventKind, Key, KeyStatus, NextPlan};

/// Does everything that is due at `now`: begins the time of a key that has been on hold for long enough, sets usage to nothing at the
/// end of a period, begins the next plan, and judges the status. Returns what happened, the status aside.
///
/// Settling twice at one time does nothing the second time. Version and `updated_at` are for [`stamp`].
pub fn settle(key: &mut Key, now: Timestamp) -> Vec<EventKind> {
    let before = key.status;
    let mut happened = Vec::new();
    if let Some(until) = key.hold.and_then(|hold| hold.until)
        && until <= now
        && judge(key, now) == KeyStatus::OnHold
    {
        // As if somebody had looked just then: a process that was down takes no time from the key, and gives none.
        start(key, until);
        happened.push(EventKind::KeyStarted);
    }
    schedule(key, now);
    key.locked_until = key.locked_until.filter(|until| *until > now);
    key.status = judge(key, now);
    if matches!(key.status, KeyStatus::Active | KeyStatus::Limited)
        && key.resets_at.is_some_and(|at| at <= now)
    {
        // After a while without anybody who looked it is one reset, not many.
        key.resets_at = first_reset(key, now);
        reset_usage(key, now);
        happened.push(EventKind::KeyReset);
        key.status = judge(key, now);
    }
    if let Some(plan) = key.next_plan
        && fires(key, plan, now)
    {
        happened.extend(begin(key, plan, now));
        key.status = judge(key, now);
    }
    match key.status {
        KeyStatus::Expired if before != KeyStatus::Expired || key.ended_at.is_none() => {
            key.ended_at = key.expires_at;
        }
        KeyStatus::Limited if before != KeyStatus::Limited || key.ended_at.is_none() => {
            key.ended_at = Some(now)
        }
        KeyStatus::Expired
        | KeyStatus::Limited
        | KeyStatus::Disabled
        | KeyStatus::Locked
        | KeyStatus::Suspended => {}
        KeyStatus::Active | KeyStatus::OnHold | KeyStatus::Paused => key.ended_at = None,
    }
    happened
}

/// Begins the next plan of a key now, whatever is left to it.
pub fn begin_next_plan(key: &mut Key, now: Timestamp) -> Vec<EventKind> {
    let Some(plan) = key.next_plan else { return Vec::new() };
    begin(key, plan, now)
}

/// Pauses a key: the time that is left to it is kept.
pub fn pause(key: &mut Key, now: Timestamp) {
    key.paused_at.get_or_insert(now);
}

/// Ends a pause: what was left of its time is left again.
pub fn resume(key: &mut Key, now: Timestamp) {
    let Some(paused_at) = key.paused_at.take() else { return };
    let pause = now.since(paused_at);
    key.expires_at = key.expires_at.map(|end| end.plus(pause));
    if key.reset.as_ref().is_some_and(|reset| reset.rolling) {
        let start = key.start();
        if let Some(reset) = &mut key.reset {
            reset.since = Some(reset.since.unwrap_or(start).plus(pause));
        }
        key.resets_at = key.resets_at.map(|at| at.plus(pause));
    }
    if let Some(hold) = &mut key.hold {
        hold.until = hold.until.map(|until| until.plus(pause));
    }
}

/// Makes `after` the next version of `before`, if anything is different; says whether it is. Bytes that a reading has counted are in
/// both.
pub fn stamp(before: &Key, after: &mut Key, now: Timestamp) -> bool {
    let changed = *before != *after;
    if changed {
        after.version = before.version + 1;
        after.updated_at = now;
    }
    changed
}

/// Sets when usage is set to nothing next, where that is not known yet.
fn schedule(key: &mut Key, now: Timestamp) {
    match &key.reset {
        None => key.resets_at = None,
        Some(_) if key.hold.is_some() || key.resets_at.is_some() => {}
        Some(_) => key.resets_at = first_reset(key, now),
    }
}

/// Returns when usage is set to nothing next, of a key whose time has begun.
#[must_use]
pub fn first_reset(key: &Key, now: Timestamp) -> Option<Timestamp> {
    let reset = key.reset.as_ref().filter(|_| key.hold.is_none())?;
    next_reset(reset, key.start(), now)
}

/// Counts the time up to the deletion of a key from now when it was not time that has ended it.
pub fn ended_by_hand(before: &Key, after: &mut Key, now: Timestamp) {
    if after.status == KeyStatus::Expired && before.status != KeyStatus::Expired {
        after.ended_at = Some(now);
    }
}

/// Begins the time of a key that is on hold.
pub fn start(key: &mut Key, at: Timestamp) {
    if let Some(hold) = key.hold.take() {
        key.expires_at = Some(at.plus(hold.duration));
        key.started_at = Some(at);
        key.resets_at = first_reset(key, at);
    }
}

/// Sets what counts against the limit to nothing.
pub fn reset_usage(key: &mut Key, now: Timestamp) {
    key.used = 0;
    key.reset_at = Some(now);
}

/// Whether the next plan begins.
fn fires(key: &Key, plan: NextPlan, now: Timestamp) -> bool {
    if !matches!(key.status, KeyStatus::Expired | KeyStatus::Limited) {
        return false;
    }
    let (over, used_up) = (key.expires_at.is_some_and(|end| end <= now), key.remaining() == Some(0));
    match plan.fire_on_either {
        true => over || used_up,
        // What has no end cannot be waited for.
        false => (over || key.expires_at.is_none()) && (used_up || key.data_limit.is_none()),
    }
}

/// Makes a key what its next plan says.
fn begin(key: &mut Key, plan: NextPlan, now: Timestamp) -> Vec<EventKind> {
    let mut happened = vec![EventKind::KeyNextPlan];
    if key.hold.is_some() {
        start(key, key.paused_at.unwrap_or(now));
        happened.insert(0, EventKind::KeyStarted);
    }
    let left = if plan.add_remaining_traffic { key.remaining().unwrap_or(0) } else { 0 };
    key.data_limit = plan.data_limit.map(|limit| limit.plus(left));
    key.expires_at = plan.duration.map(|time| key.paused_at.unwrap_or(now).plus(time));
    key.next_plan = None;
    reset_usage(key, now);
    happened
}

/// Does what follows when bytes of a key were counted: the first ones begin the time of a key that is on hold, and the last ones of
/// its limit end it.
pub fn connect(key: &mut Key, now: Timestamp) -> Vec<EventKind> {
    let mut happened = Vec::new();
    if key.hold.is_some() {
        // Also when somebody has paused or disabled it since: it has connected.
        start(key, key.paused_at.unwrap_or(now));
        happened.push(EventKind::KeyStarted);
    } else if key.remaining() != Some(0) {
        return happened;
    }
    happened.extend(settle(key, now));
    happened
}

/// Whether the key is to be deleted by now: it has ended for as long as it is kept.
#[must_use]
pub fn is_over(key: &Key, now: Timestamp) -> bool {
    deletion(key).is_some_and(|at| at <= now)
}

fn deletion(key: &Key) -> Option<Timestamp> {
    let over = match key.status {
        KeyStatus::Expired => true,
        // One whose usage is set to nothing some day, or that waits for its next plan, is not over.
        KeyStatus::Limited => key.reset.is_none() && key.next_plan.is_none(),
        _ => false,
    };
    Some(key.ended_at.filter(|_| over)?.plus(key.delete_after?))
}

/// Returns when there is something to settle of a key that was settled; `None` when nothing is due by itself.
#[must_use]
pub fn due_at(key: &Key) -> Option<Timestamp> {
    status_due_at(key).into_iter().chain(key.old_links_until).min()
}

/// Ends the links and credentials that a key had before they were revoked; returns whether there were credentials.
///
/// Not part of [`settle`], which looks at keys without their credentials.
pub fn end_old_links(key: &mut Key) -> bool {
    key.old_links_until = None;
    let before = key.credentials.len();
    key.credentials.retain(|credential| !credential.is_replaced());
    key.credentials.len() < before
}

fn status_due_at(key: &Key) -> Option<Timestamp> {
    match key.status {
        KeyStatus::Disabled | KeyStatus::Paused => None,
        KeyStatus::Locked => key.locked_until,
        // Its time goes on.
        KeyStatus::Suspended => key.expires_at,
        KeyStatus::OnHold => key.hold.and_then(|hold| hold.until),
        KeyStatus::Active => key.expires_at.into_iter().chain(key.resets_at).min(),
        KeyStatus::Limited => key.expires_at.into_iter().chain(key.resets_at).chain(deletion(key)).min(),
        KeyStatus::Expired => deletion(key),
    }
}

#[cfg(test)]
#[path = "settle_tests.rs"]
mod tests;
