//! Keys whose time begins with their first connection.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// A key on hold may connect; its time begins with its first bytes.
///
/// ```
/// use std::time::Duration;
/// use vpnkit_core::model::Hold;
/// let hold = Hold { duration: Duration::from_secs(30 * 86_400), until: None };
/// # let _ = hold;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// How long the key lasts from its first connection on.
    #[serde(with = "super::duration_text")]
    #[schemars(with = "super::DurationText", extend("x-required" = true))]
    pub duration: Duration,
    /// When its time begins without a connection; `None` waits for ever.
    #[serde(default)]
    pub until: Option<Timestamp>,
}
