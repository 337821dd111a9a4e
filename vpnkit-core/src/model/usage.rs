//! Traffic over time.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AdminId, AdminRef, KeyId, KeyRef, NodeId, TimeZoneName, Traffic};
use crate::Timestamp;

/// The width of one point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UsageStep {
    /// UTC hours.
    Hour,
    /// Days of the time zone.
    #[default]
    Day,
    /// Months of the time zone.
    Month,
}

/// Which traffic to sum, as callers ask for it. The default is everything, by day.
///
/// ```
/// use vpnkit_core::model::{HistoryQuery, UsageStep};
/// let query = HistoryQuery::of("alice").step(UsageStep::Day);
/// assert!(query.since.is_none());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HistoryQuery {
    /// Only of this key; without it of all.
    #[schemars(extend("x-positional" = true))]
    pub key: Option<KeyRef>,
    /// Only of the keys that this admin and those below it owned then; not together with `key`.
    pub admin: Option<AdminRef>,
    /// Only through this node; without it through all.
    pub node: Option<NodeId>,
    /// From the hour of this time on; without it from the beginning.
    pub since: Option<Timestamp>,
    /// Up to this time, exclusive; without it up to now.
    pub until: Option<Timestamp>,
    /// The width of a point.
    pub step: UsageStep,
    /// Whose days and months; `None` is the kit's own time zone. Traffic is kept by UTC hours: where days begin at half past, such
    /// an hour counts for the day in which it begins.
    pub time_zone: Option<TimeZoneName>,
}

impl HistoryQuery {
    /// Of one key.
    pub fn of(key: impl Into<KeyRef>) -> Self {
        Self { key: Some(key.into()), ..Self::default() }
    }

    /// Of the keys of one admin, and of those below it.
    pub fn of_admin(admin: impl Into<AdminRef>) -> Self {
        Self { admin: Some(admin.into()), ..Self::default() }
    }

    /// Only through this node.
    #[must_use]
    pub fn node(mut self, node: NodeId) -> Self {
        self.node = Some(node);
        self
    }

    /// From the hour of this time on.
    #[must_use]
    pub fn since(mut self, time: Timestamp) -> Self {
        self.since = Some(time);
        self
    }

    /// Up to this time, exclusive.
    #[must_use]
    pub fn until(mut self, time: Timestamp) -> Self {
        self.until = Some(time);
        self
    }

    /// In the days and months of a time zone.
    #[must_use]
    pub fn time_zone(mut self, zone: TimeZoneName) -> Self {
        self.time_zone = Some(zone);
        self
    }

    /// The width of a point.
    #[must_use]
    pub fn step(mut self, step: UsageStep) -> Self {
        self.step = step;
        self
    }
}

/// Which traffic to sum, as stores are asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageQuery {
    /// Only of this key; `None` is all keys.
    pub key: Option<KeyId>,
    /// Without a key, only of the keys that these admins owned then; `None` is all.
    pub owners: Option<Arc<[AdminId]>>,
    /// Only through this node; `None` is all nodes.
    pub node: Option<NodeId>,
    /// From the hour of this time on.
    pub from: Timestamp,
    /// Up to this time, exclusive.
    pub to: Timestamp,
}

/// What passed in one step. Steps without traffic are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UsagePoint {
    /// Start of the step.
    pub at: Timestamp,
    /// Bytes in both directions.
    pub traffic: Traffic,
    /// How wide it is: what is old is kept by UTC days, then by months, and cannot be told apart any more.
    #[serde(default)]
    pub step: UsageStep,
}
