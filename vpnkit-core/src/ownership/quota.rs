//! Whether an admin's quotas allow something, and what has to be told of it.

use super::Share;
use crate::accounting::crossed;
use crate::model::{Admin, EventKind, EventSubject, NewEvent};
use crate::store::errors::COMMIT;
use crate::{Error, ErrorKind, Result};

/// Shares of a quota, in percent, that are told when they are passed.
pub const NEAR: [u8; 2] = [80, 90];

/// What is taken of the quotas of an admin and of all above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Charge {
    /// Keys and bytes sold.
    pub share: Share,
    /// Bytes that were used, as they count against limits.
    pub used: u64,
    /// Whether it is refused when it does not fit: what vpnkit does by itself, and what has passed, is not.
    pub enforced: bool,
}

/// Takes something of an admin's quotas.
///
/// Errors: `LimitReached` with the `quota` and the `admin` when it does not fit.
pub fn charge(admin: &mut Admin, charge: Charge) -> Result<()> {
    let Charge { share, used, enforced } = charge;
    if enforced && share.keys > 0 && admin.is_limited() {
        return Err(reached(admin, "used", admin.used, admin.used_limit.map_or(0, |limit| limit.bytes())));
    }
    let keys = admin.keys.saturating_add_signed(share.keys);
    let sold = admin.sold.saturating_add_signed(share.sold);
    if let Some(limit) = admin.key_limit.filter(|limit| enforced && share.keys > 0 && keys > *limit) {
        return Err(reached(admin, "keys", admin.keys, limit));
    }
    if let Some(limit) = admin.sold_limit.filter(|limit| enforced && share.sold > 0 && sold > limit.bytes()) {
        return Err(reached(admin, "sold", admin.sold, limit.bytes()).with("asked_for", share.sold));
    }
    (admin.keys, admin.sold) = (keys, sold);
    admin.used = admin.used.saturating_add(used);
    admin.total_used = admin.total_used.saturating_add(used);
    Ok(())
}

fn reached(admin: &Admin, quota: &'static str, now: u64, limit: u64) -> Error {
    let message = match quota {
        "keys" => "an admin has as many keys as it may",
        "sold" => "an admin may not sell so many bytes",
        _ => "the keys of an admin have used as many bytes as they may",
    };
    Error::new(ErrorKind::LimitReached, COMMIT, message)
        .with("admin", admin.id)
        .with("quota", quota)
        .with("limit", limit)
        .with("now", now)
}

/// Returns the events that follow when an admin's counters went from `before` to `after`.
#[must_use]
pub fn owner_events(before: &Admin, after: &Admin) -> Vec<NewEvent> {
    let bytes = |limit: Option<crate::model::ByteSize>| limit.map(|limit| limit.bytes());
    let quotas = [
        ("keys", before.keys, after.keys, after.key_limit),
        ("sold", before.sold, after.sold, bytes(after.sold_limit)),
        ("used", before.used, after.used, bytes(after.used_limit)),
    ];
    let told = quotas.into_iter().filter_map(|(quota, before, now, limit)| {
        let percent = crossed(before, now, limit?, &NEAR)?;
        let kind = if percent == 100 { EventKind::AdminQuotaReached } else { EventKind::AdminQuotaNear };
        let subject = EventSubject::Admin(after.id);
        Some(NewEvent { kind, subject, detail: format!("{quota} {percent}%") })
    });
    told.collect()
}
