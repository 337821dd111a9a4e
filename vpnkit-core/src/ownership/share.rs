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
    /// Sold is what a key may use, its next plan included. What it has used stays sold when its usage is set to nothing, when it is
    /// deleted, or when it goes to another owner; what it has not used comes back.
    ///
    /// ```
    /// use vpnkit_core::ownership::Share;
    /// assert_eq!(Share::of(None, None), Share::default());
    /// ```
    #[must_use]
    pub fn of(before: Option<&Key>, after: Option<&Key>) -> Self {
        let keys = i64::from(after.is_some()) - i64::from(before.is_some());
        let mut sold = 0i64;
        match (before, after) {
            (Some(before), Some(after)) => {
                let used_again = before.used.saturating_sub(after.used);
                let gone = before.data_limit.map_or(0, |limit| used_again.min(limit.bytes()));
                sold =
                    signed(given(after)).saturating_sub(signed(given(before))).saturating_add(signed(gone));
            }
            (Some(before), None) => sold = -signed(left(before)),
            (None, Some(after)) => sold = signed(left(after)),
            (None, None) => {}
        }
        Self { keys, sold }
    }

    /// Whether it takes something.
    #[must_use]
    pub const fn takes(self) -> bool {
        self.keys > 0 || self.sold > 0
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
