//! What status a key has.
//!
//! A key that was disabled by hand stays disabled, one that was paused stays paused, one that is locked waits for that to end, one
//! whose owner's keys have used what they may waits for more. One that waits for its first connection is on
//! hold. Otherwise its time decides first, then its limit: a key that is both over its time and over its limit is `expired`,
//! because renewing it needs a date.

use crate::Timestamp;
use crate::model::{Key, KeyStatus};

/// Returns the status that `key` should have at `now`.
#[must_use]
pub fn judge(key: &Key, now: Timestamp) -> KeyStatus {
    match key.status {
        KeyStatus::Disabled => KeyStatus::Disabled,
        _ if key.paused_at.is_some() => KeyStatus::Paused,
        _ if key.locked_until.is_some_and(|until| until > now) => KeyStatus::Locked,
        _ if key.suspended && !key.expires_at.is_some_and(|end| end <= now && key.hold.is_none()) => {
            KeyStatus::Suspended
        }
        _ if key.hold.is_some() && key.remaining() == Some(0) => KeyStatus::Limited,
        _ if key.hold.is_some() => KeyStatus::OnHold,
        _ if key.expires_at.is_some_and(|end| end <= now) => KeyStatus::Expired,
        _ if key.remaining() == Some(0) => KeyStatus::Limited,
        _ => KeyStatus::Active,
    }
}
