//! Keys that are changed now and then.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DurationText, duration_text};
use crate::{Error, Result, Secret, Timestamp};

/// The shortest time between two changes of keys.
const EVERY_MIN: Duration = Duration::from_secs(3_600);
/// The longest.
const EVERY_MAX: Duration = Duration::from_secs(1_000 * 86_400);

/// When keys or a secret are replaced by new ones, without a call. What was given out with those of before works for `keep_old`
/// longer.
///
/// ```
/// use std::time::Duration;
/// use vpnkit_core::model::KeyRotation;
/// let monthly = KeyRotation::every(Duration::from_secs(30 * 86_400)).keep_old(Duration::from_secs(7 * 86_400));
/// assert!(monthly.check("inbounds.ensure", "rotation").is_ok());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyRotation {
    /// Between two changes: an hour to 1,000 days.
    #[serde(with = "duration_text")]
    #[schemars(with = "DurationText")]
    pub every: Duration,
    /// How long the keys of before still work, up to `every`.
    #[serde(with = "duration_text")]
    #[schemars(with = "DurationText")]
    pub keep_old: Duration,
}

impl KeyRotation {
    /// New keys in this interval; those of before work for half of it.
    #[must_use]
    pub fn every(every: Duration) -> Self {
        Self { every, keep_old: every / 2 }
    }

    /// Sets how long the keys of before still work.
    #[must_use]
    pub const fn keep_old(mut self, time: Duration) -> Self {
        self.keep_old = time;
        self
    }

    /// Checks both times; `field` is where they stand.
    ///
    /// Errors: `InvalidInput` about `every` or `keep_old` of `field`.
    pub fn check(&self, op: &'static str, field: &str) -> Result<()> {
        if !(EVERY_MIN..=EVERY_MAX).contains(&self.every) {
            return Err(Error::invalid(op, &format!("{field}.every"), "must be an hour to 1,000 days"));
        }
        if self.keep_old > self.every {
            return Err(Error::invalid(op, &format!("{field}.keep_old"), "must not be longer than `every`"));
        }
        Ok(())
    }
}

/// The REALITY keys that an inbound had before, while links with them still work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PreviousKeys {
    /// X25519, base64url without padding.
    pub private_key: Secret,
    /// Belongs to `private_key`.
    pub public_key: String,
    /// Until when links with it work.
    pub until: Timestamp,
}
