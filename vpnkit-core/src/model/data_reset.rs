//! When the usage of a key begins again.

use std::fmt;
use std::str::FromStr;

use jiff::tz::TimeZone;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{Error, Result, Timestamp};

/// How often what counts against the limit is set to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResetPeriod {
    /// Each day, at midnight.
    Day,
    /// Each week, at the midnight before Monday.
    Week,
    /// Each month, at the midnight before its first day.
    Month,
    /// Each year, at the midnight before its first day.
    Year,
}

/// When what counts against the limit is set to nothing, again and again. A limited key may connect again then.
///
/// ```
/// use vpnkit_core::model::{DataReset, ResetPeriod};
/// let reset = DataReset { time_zone: Some("Asia/Tehran".parse()?), ..DataReset::each(ResetPeriod::Month) };
/// assert!(!reset.rolling);
/// # Ok::<(), vpnkit_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataReset {
    /// How often.
    #[schemars(extend("x-required" = true))]
    pub every: ResetPeriod,
    /// Whether periods are counted from when the key's time began, at that time of the day; otherwise they are those of the
    /// calendar. A month that is too short ends on its last day: from January 31 to February 28 to March 31.
    #[serde(default)]
    pub rolling: bool,
    /// Since when rolling periods are counted; `None` is since the key's time began. A pause moves it.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// Whose calendar; `None` is the kit's own time zone.
    #[serde(default)]
    pub time_zone: Option<TimeZoneName>,
}

impl DataReset {
    /// By the calendar of the kit's time zone.
    #[must_use]
    pub const fn each(every: ResetPeriod) -> Self {
        Self { every, rolling: false, since: None, time_zone: None }
    }
}

/// A time zone of the IANA database: `UTC`, `Europe/Berlin`.
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct TimeZoneName(String);

impl TimeZoneName {
    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes a name that was accepted once, perhaps on a machine that knows more time zones: for stores.
    #[must_use]
    pub fn stored(name: String) -> Self {
        Self(name)
    }

    /// Returns its rules; those of UTC where this machine's database has lost the name since it was accepted.
    pub(crate) fn rules(&self) -> TimeZone {
        TimeZone::get(&self.0).unwrap_or(TimeZone::UTC)
    }
}

impl Default for TimeZoneName {
    fn default() -> Self {
        Self("UTC".to_owned())
    }
}

impl FromStr for TimeZoneName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        // What these mean is another thing on each machine.
        let local = ["localtime", "posixrules", "factory", "etc/unknown"]
            .contains(&name.to_ascii_lowercase().as_str());
        let known = TimeZone::get(name).ok().filter(|_| !local);
        match known.as_ref().and_then(TimeZone::iana_name) {
            Some(name) => Ok(Self(name.to_owned())),
            None => Err(Error::invalid("time_zone.parse", "time_zone", "no such time zone")
                .with("value", name)
                .hint("write it as `UTC` or `Europe/Berlin`")),
        }
    }
}

impl fmt::Display for TimeZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TimeZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TimeZoneName {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(|e: Error| de::Error::custom(e.message()))
    }
}

impl JsonSchema for TimeZoneName {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TimeZoneName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "time-zone" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_time_zones_are_refused_by_name() {
        for name in ["UTC", "Europe/Berlin", "Asia/Tehran"] {
            assert_eq!(name.parse::<TimeZoneName>().unwrap().as_str(), name);
        }
        assert_eq!("europe/berlin".parse::<TimeZoneName>().unwrap().as_str(), "Europe/Berlin");
        for name in ["", "Mars/Olympus", "../etc/passwd", "+03:00", "localtime", "Factory", "posixrules"] {
            assert_eq!(name.parse::<TimeZoneName>().unwrap_err().get("field"), Some("time_zone"), "{name}");
        }
        let reset = r#"{"every":"month","time_zone":"Nowhere"}"#;
        assert!(
            serde_json::from_str::<DataReset>(reset).unwrap_err().to_string().contains("no such time zone")
        );
    }
}
