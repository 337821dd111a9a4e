//! The column `life`: what most keys do not have.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use vpnkit_core::model::{DataReset, Hold, Key, NextPlan};
use vpnkit_core::{Result, Timestamp};

use crate::convert_error::damaged;

/// The fields of a key that stand there. What is left out is not there.
#[derive(Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Life {
    #[serde(skip_serializing_if = "Option::is_none")]
    hold: Option<Hold>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paused_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reset: Option<DataReset>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resets_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reset_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_plan: Option<NextPlan>,
    /// Milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    delete_after: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<i64>,
}

impl Life {
    /// Returns what stands there of a key; `None` when it has none of it.
    pub(crate) fn text(key: &Key) -> Option<String> {
        let millis = |at: Option<Timestamp>| at.map(Timestamp::as_millis);
        let life = Self {
            hold: key.hold,
            started_at: millis(key.started_at),
            paused_at: millis(key.paused_at),
            reset: key.reset.clone(),
            resets_at: millis(key.resets_at),
            reset_at: millis(key.reset_at),
            next_plan: key.next_plan,
            delete_after: key.delete_after.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            ended_at: millis(key.ended_at),
        };
        if life == Self::default() { None } else { serde_json::to_string(&life).ok() }
    }

    /// Reads the column into a key.
    pub(crate) fn read(text: Option<&str>, key: &mut Key) -> Result<()> {
        let Some(text) = text else { return Ok(()) };
        let life: Self = serde_json::from_str(text).map_err(|_| damaged("keys.life"))?;
        let time = |millis: Option<i64>| millis.map(Timestamp::from_millis);
        key.hold = life.hold;
        key.started_at = time(life.started_at);
        key.paused_at = time(life.paused_at);
        key.reset = life.reset;
        key.resets_at = time(life.resets_at);
        key.reset_at = time(life.reset_at);
        key.next_plan = life.next_plan;
        key.delete_after = life.delete_after.map(Duration::from_millis);
        key.ended_at = time(life.ended_at);
        Ok(())
    }
}
