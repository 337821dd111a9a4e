//! Keys that are used at too many addresses at once.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::duration_text;
use crate::{Error, ErrorKind, Result};

/// What happens to a key that is used at more addresses at once than its `address_limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SharingAction {
    /// Only the event `key.address_limit` tells of it.
    #[default]
    Warn,
    /// It is locked for a while: nobody connects with it.
    Lock,
    /// It gets new credentials and links: those that were given out are worthless.
    Rotate,
}

/// How keys are kept from being shared. An IPv6 network of 64 bits is one address: a single device has many of those.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SharingPolicy {
    /// What happens.
    #[schemars(extend("x-positional" = true))]
    pub action: SharingAction,
    /// For how long it is locked.
    #[serde(with = "duration_text")]
    #[schemars(with = "super::DurationText")]
    pub lock_for: Duration,
    /// How often servers are asked who is online.
    #[serde(with = "duration_text")]
    #[schemars(with = "super::DurationText")]
    pub check_every: Duration,
    /// How many times in a row it must be too many: a phone that changes from one network to another is at two for a moment.
    pub checks: u32,
}

impl Default for SharingPolicy {
    fn default() -> Self {
        Self {
            action: SharingAction::Warn,
            lock_for: Duration::from_secs(600),
            check_every: Duration::from_secs(30),
            checks: 2,
        }
    }
}

impl SharingPolicy {
    /// Checks every value.
    ///
    /// Errors: `InvalidConfig` with the `field`.
    pub fn validate(&self, operation: &'static str) -> Result<()> {
        let fault = |field: &str, message: &str| {
            Err(Error::new(ErrorKind::InvalidConfig, operation, message).with("field", field))
        };
        let day = Duration::from_secs(86_400);
        if self.lock_for < Duration::from_secs(1) || self.lock_for > 366 * day {
            return fault("sharing.lock_for", "must be 1 second to 366 days");
        }
        if self.check_every < Duration::from_secs(1) || self.check_every > day {
            return fault("sharing.check_every", "must be 1 second to 1 day");
        }
        if !(1..=100).contains(&self.checks) {
            return fault("sharing.checks", "must be 1 to 100");
        }
        Ok(())
    }
}
