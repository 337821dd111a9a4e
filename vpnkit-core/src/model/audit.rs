//! Who did what.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AdminId, Cursor, Event};
use crate::{Error, Result, Timestamp};

/// Which calls: those that have changed something, the newest first. The default finds all, 100 at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuditQuery {
    /// Only of who has called, as the application has said (`acting_as`).
    #[schemars(extend("x-positional" = true))]
    pub actor: Option<String>,
    /// Only in the name of this admin (`as_admin`).
    pub by_admin: Option<AdminId>,
    /// Only this operation: `keys.extend`.
    pub operation: Option<String>,
    /// Only from this time on.
    pub since: Option<Timestamp>,
    /// Only before this time.
    pub until: Option<Timestamp>,
    /// The cursor of the last event of the answer before.
    pub before: Option<Cursor>,
    /// At most so many events: 1 to 1,000.
    pub limit: u32,
}

impl Default for AuditQuery {
    fn default() -> Self {
        Self {
            actor: None,
            by_admin: None,
            operation: None,
            since: None,
            until: None,
            before: None,
            limit: 100,
        }
    }
}

impl AuditQuery {
    /// Checks every value.
    ///
    /// Errors: `InvalidInput` about `limit`.
    pub fn validate(&self, op: &'static str) -> Result<()> {
        match self.limit {
            1..=1_000 => Ok(()),
            limit => Err(Error::invalid(op, "limit", "must be 1 to 1000").with("value", limit)),
        }
    }

    /// Whether an event is asked for, the limit aside.
    #[must_use]
    pub fn matches(&self, event: &Event) -> bool {
        let Some(cause) = &event.cause else { return false };
        self.actor.as_ref().is_none_or(|actor| cause.actor.as_ref() == Some(actor))
            && self.by_admin.is_none_or(|admin| cause.by_admin == Some(admin))
            && self.operation.as_ref().is_none_or(|operation| cause.operation == *operation)
            && self.since.is_none_or(|since| event.at >= since)
            && self.until.is_none_or(|until| event.at < until)
            && self.before.is_none_or(|before| event.cursor < before)
    }
}
