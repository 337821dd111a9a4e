//! Traffic over time.

use serde::{Deserialize, Serialize};

use super::{KeyId, NodeId, Traffic};
use crate::Timestamp;

/// The width of one point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageStep {
    /// UTC hours.
    #[default]
    Hour,
    /// UTC days.
    Day,
}

/// Which traffic to sum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageQuery {
    /// Only of this key; `None` is all keys.
    pub key: Option<KeyId>,
    /// Only through this node; `None` is all nodes.
    pub node: Option<NodeId>,
    /// From the hour of this moment on.
    pub from: Timestamp,
    /// Up to this moment, exclusive; in JSON it may be left out.
    #[serde(default = "open_end")]
    pub to: Timestamp,
    /// The width of a point.
    pub step: UsageStep,
}

const fn open_end() -> Timestamp {
    Timestamp::MAX
}

/// What passed in one step. Steps without traffic are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsagePoint {
    /// Start of the step.
    pub at: Timestamp,
    /// Bytes in both directions.
    pub traffic: Traffic,
}
