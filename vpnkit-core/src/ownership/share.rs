//! What a key takes of its owner's quotas.

use crate::model::Key;
use crate::store::errors::COMMIT;
use crate::{Error, ErrorKind, Result};

/// What a change of a key takes of its owner's quotas; negative where it gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Share {
    /// Keys.
    pub keys: i64,
    /// Bytes that are sold.
    pub sold: i64,
}

impl Share {
    /// Returns what follows for one owner when `before` became `after`; `None` is a key that is not there, or is another owner's.
    ///
    /// Sold is what a key may still use, its next plan included, and what it has used. So what was used stays sold whatever becomes of
    /// the limit, and what was not used comes back when the limit is lowered, the key is deleted, or goes to another owner.
    ///
    /// ```
    /// use vpnkit_core::ownership::Share;
    /// assert_eq!(Share::of(None, None), Share::default());
    /// ```
    #[must_use]
    pub fn of(before: Option<&Key>, after: Option<&Key>) -> Self {
        let keys = i64::from(after.is_some()) - i64::from(before.is_some()); // Bytes that are counted make `left` smaller and nothing sold: that is when it was sold.
        let left = |key: Option<&Key>| key.map_or(0, |key| signed(left(key)));
        Self { keys, sold: left(after).saturating_sub(left(before)) }
    }

    /// Adds another one.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self { keys: self.keys.saturating_add(other.keys), sold: self.sold.saturating_add(other.sold) }
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Bytes that a key was given.
fn given(key: &Key) -> u64 {
    let next = key.next_plan.and_then(|plan| plan.data_limit);
    key.data_limit.map_or(0, |limit| limit.bytes()).saturating_add(next.map_or(0, |limit| limit.bytes()))
}

/// Bytes of them that it has not used.
fn left(key: &Key) -> u64 {
    let used = key.data_limit.map_or(0, |limit| key.used.min(limit.bytes()));
    given(key) - used
}

/// Why a key cannot be counted by what it was given.
fn boundless(key: &Key) -> Option<&'static str> {
    if key.data_limit.is_none() {
        return Some("data_limit");
    }
    if key.reset.is_some() {
        return Some("reset");
    }
    key.next_plan.is_some_and(|plan| plan.data_limit.is_none()).then_some("next_plan")
}

/// Checks that a key can be sold within a quota of bytes: what it may use is known.
///
/// Errors: `LimitReached` with the `field`, unless `before` was like that.
pub fn check_sellable(before: Option<&Key>, after: &Key) -> Result<()> {
    match boundless(after) {
        Some(field) if before.and_then(boundless).is_none() => Err(Error::new(
            ErrorKind::LimitReached,
            COMMIT,
            "its owner sells a limited number of bytes: a key must have a data limit that does not come back",
        )
        .with("field", field)),
        _ => Ok(()),
    }
}
