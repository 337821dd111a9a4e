//! What customers are reminded of.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

/// When events remind of the end of a key, each once for each limit and each end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReminderPolicy {
    /// Shares of the data limit, in percent: `key.usage_reached` when one is passed; of several that are passed at once the highest.
    pub usage_percents: Vec<u8>,
    /// Days before the end: `key.expires_soon`. A key that was sold for no longer is not told of.
    pub days_left: Vec<u32>,
}

impl Default for ReminderPolicy {
    fn default() -> Self {
        Self { usage_percents: vec![80, 90], days_left: vec![3, 1] }
    }
}

impl ReminderPolicy {
    /// Checks every value.
    ///
    /// Errors: `InvalidConfig` with the `field`.
    pub fn validate(&self, operation: &'static str) -> Result<()> {
        let fault = |field: &str, message: &str| {
            Err(Error::new(ErrorKind::InvalidConfig, operation, message).with("field", field))
        };
        if self.usage_percents.len() > 10 || self.usage_percents.iter().any(|p| !(1..=99).contains(p)) {
            return fault("reminders.usage_percents", "up to 10 of 1 to 99");
        }
        if self.days_left.len() > 10 || self.days_left.iter().any(|days| !(1..=365).contains(days)) {
            return fault("reminders.days_left", "up to 10 of 1 to 365");
        }
        Ok(())
    }
}
