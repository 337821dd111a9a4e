//! The column `life`: what most keys do not have.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use vpnkit_core::model::{DataReset, Hold, Key, NextPlan, ResetPeriod, TimeZoneName};
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
    reset: Option<Reset>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    locked_until: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    old_links_until: Option<i64>,
}

/// A [`DataReset`] whose time zone is not looked up when it is read: another machine may know it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Reset {
    every: ResetPeriod,
    #[serde(default)]
    rolling: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<i64>,
    time_zone: Option<String>,
}

impl Reset {
    fn of(reset: &DataReset) -> Self {
        let DataReset { every, rolling, since, time_zone } = reset;
        let time_zone = time_zone.as_ref().map(|zone| zone.as_str().to_owned());
        Self { every: *every, rolling: *rolling, since: since.map(Timestamp::as_millis), time_zone }
    }

    fn read(self) -> DataReset {
        DataReset {
            every: self.every,
            rolling: self.rolling,
            since: self.since.map(Timestamp::from_millis),
            time_zone: self.time_zone.map(TimeZoneName::stored),
        }
    }
}

impl Life {
    /// Returns what stands there of a key; `None` when it has none of it.
    pub(crate) fn text(key: &Key) -> Option<String> {
        let millis = |at: Option<Timestamp>| at.map(Timestamp::as_millis);
        let life = Self {
            hold: key.hold,
            started_at: millis(key.started_at),
            paused_at: millis(key.paused_at),
            reset: key.reset.as_ref().map(Reset::of),
            resets_at: millis(key.resets_at),
            reset_at: millis(key.reset_at),
            next_plan: key.next_plan,
            delete_after: key.delete_after.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            ended_at: millis(key.ended_at),
            locked_until: millis(key.locked_until),
            old_links_until: millis(key.old_links_until),
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
        key.reset = life.reset.map(Reset::read);
        key.resets_at = time(life.resets_at);
        key.reset_at = time(life.reset_at);
        key.next_plan = life.next_plan;
        key.delete_after = life.delete_after.map(Duration::from_millis);
        key.ended_at = time(life.ended_at);
        key.locked_until = time(life.locked_until);
        key.old_links_until = time(life.old_links_until);
        Ok(())
    }
}
