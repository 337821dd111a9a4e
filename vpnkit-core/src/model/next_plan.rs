//! What a key becomes when what it has is used up.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ByteSize;
use super::check_key::LONGEST;
use crate::{Error, Result};

/// What a key becomes when its time is over or its limit is used up, once. The form is Marzban's `next_plan`.
///
/// ```
/// use std::time::Duration;
/// use vpnkit_core::model::{ByteSize, NextPlan};
/// let plan = NextPlan {
///     data_limit: Some(ByteSize::gib(50)),
///     duration: Some(Duration::from_secs(30 * 86_400)),
///     ..NextPlan::default()
/// };
/// plan.validate("keys.update")?;
/// # Ok::<(), vpnkit_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NextPlan {
    /// The new limit; `None` is unlimited. One of this and `duration` is needed.
    pub data_limit: Option<ByteSize>,
    /// How long the key lasts from then on; `None` is for ever.
    #[serde(with = "super::span::optional")]
    #[schemars(with = "Option<super::DurationText>")]
    pub duration: Option<Duration>,
    /// Whether what is left of the old limit is added to the new one.
    pub add_remaining_traffic: bool,
    /// Whether it begins as soon as the time is over or the limit is used up; otherwise when both are.
    pub fire_on_either: bool,
}

impl Default for NextPlan {
    fn default() -> Self {
        Self { data_limit: None, duration: None, add_remaining_traffic: false, fire_on_either: true }
    }
}

impl NextPlan {
    /// Checks its values.
    ///
    /// Errors: `InvalidInput` about `next_plan`.
    pub fn validate(&self, operation: &'static str) -> Result<()> {
        let fault = |message| Err(Error::invalid(operation, "next_plan", message));
        match (self.data_limit, self.duration) {
            (None, None) => fault("the plan grants nothing: give it `data_limit` or `duration`"),
            (Some(limit), _) if limit.bytes() == 0 => fault("a `data_limit` of 0 would let nobody through"),
            (_, Some(time)) if time.is_zero() || time > LONGEST => {
                fault("`duration` must be longer than nothing, and at most 3650000 days")
            }
            _ => Ok(()),
        }
    }
}
