//! Time is an argument: everything that needs it gets it from a [`Clock`].

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Error, Result};

const HOUR_MS: i64 = 3_600_000;

/// A time in UTC with millisecond precision. Written and parsed as RFC 3339; in JSON always with milliseconds.
///
/// ```
/// use std::time::Duration;
/// use vpnkit_core::Timestamp;
/// let t: Timestamp = "2026-11-21T10:00:00Z".parse()?;
/// assert_eq!(t.plus(Duration::from_secs(90)).to_string(), "2026-11-21T10:01:30Z");
/// # Ok::<(), vpnkit_core::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest and latest times that can be written as RFC 3339 with four digits of year.
    const RANGE: std::ops::RangeInclusive<i64> = 0..=253_402_207_200_999;

    /// The latest time: an end that is open.
    pub const MAX: Self = Self(*Self::RANGE.end());

    /// From milliseconds since 1970-01-01 UTC. Times before 1970 and after 9999 are drawn to that range.
    #[must_use]
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(*Self::RANGE.start(), *Self::RANGE.end()))
    }

    /// From seconds since 1970-01-01 UTC.
    #[must_use]
    pub fn from_secs(secs: i64) -> Self {
        Self::from_millis(secs.saturating_mul(1000))
    }

    /// Milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970-01-01 UTC.
    #[must_use]
    pub fn as_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Returns the time `duration` later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self::from_millis(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Returns the time `duration` earlier.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self::from_millis(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Time since `earlier`; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The start of the UTC hour.
    #[must_use]
    pub fn hour(self) -> Self {
        Self(self.0.div_euclid(HOUR_MS) * HOUR_MS)
    }

    /// The start of the UTC day.
    #[must_use]
    pub fn day(self) -> Self {
        Self(self.0.div_euclid(24 * HOUR_MS) * 24 * HOUR_MS)
    }

    /// The start of the UTC month.
    #[must_use]
    pub fn month(self) -> Self {
        let at = jiff::Timestamp::from_millisecond(self.0).unwrap_or_default();
        let first = jiff::tz::Offset::UTC.to_datetime(at).date().first_of_month();
        match first.to_zoned(jiff::tz::TimeZone::UTC) {
            Ok(first) => Self(first.timestamp().as_millisecond()),
            Err(_) => self.day(),
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(t) => t.fmt(f),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = text.parse::<jiff::Timestamp>().map_err(|e| {
            Error::invalid("timestamp.parse", "timestamp", "not an RFC 3339 time with an offset")
                .with("value", text)
                .hint("write it as 2026-11-21T10:00:00Z")
                .caused_by(e)
        })?;
        if !Self::RANGE.contains(&parsed.as_millisecond()) {
            return Err(
                Error::invalid("timestamp.parse", "timestamp", "outside 1970 to 9999").with("value", text)
            );
        }
        Ok(Self(parsed.as_millisecond()))
    }
}

impl Timestamp {
    /// RFC 3339 in UTC with exactly three digits of milliseconds: the form in JSON. Days are counted as in
    /// <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>.
    fn rfc3339(self) -> [u8; 24] {
        const DAY: i64 = 24 * HOUR_MS;
        let (days, rest) = (self.0.div_euclid(DAY) + 719_468, self.0.rem_euclid(DAY));
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let parts = [
            (0, 4, year),
            (5, 2, month),
            (8, 2, day),
            (11, 2, rest / HOUR_MS),
            (14, 2, rest / 60_000 % 60),
            (17, 2, rest / 1_000 % 60),
            (20, 3, rest % 1_000),
        ];
        for (first, width, mut value) in parts {
            for place in text.iter_mut().skip(first).take(width).rev() {
                *place = b'0' + u8::try_from(value % 10).unwrap_or(0);
                value /= 10;
            }
        }
        text
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        s.serialize_str(std::str::from_utf8(&self.rfc3339()).unwrap_or_default())
    }
}

impl JsonSchema for Timestamp {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(|e: Error| serde::de::Error::custom(e.message()))
    }
}

/// Where time comes from.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Returns the present time.
    fn now(&self) -> Timestamp;
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
    }
}

/// A clock that stands still until it is told to move: for tests of time, yours and ours.
///
/// ```
/// use std::time::Duration;
/// use vpnkit_core::{Clock, ManualClock};
/// let clock = ManualClock::default();
/// let before = clock.now();
/// clock.advance(Duration::from_secs(3600));
/// assert_eq!(clock.now().since(before).as_secs(), 3600);
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicI64>);

impl Default for ManualClock {
    /// Stands at 2026-01-01T00:00:00Z.
    fn default() -> Self {
        Self::at(Timestamp::from_secs(1_767_225_600))
    }
}

impl ManualClock {
    /// A clock that stands at `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(now.as_millis())))
    }

    /// Moves the clock, and all its clones, forward.
    pub fn advance(&self, by: Duration) {
        self.set(self.now().plus(by));
    }

    /// Puts the clock, and all its clones, to `now`; backwards too.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.as_millis(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_milliseconds_and_is_read_back() {
        let times = [0, 1, 951_782_400_000, 951_868_799_999, 1_767_225_600_000, 4_102_444_799_001];
        for millis in times.into_iter().chain((0..400).map(|n| n * 86_399_999 * 97)).chain([Timestamp::MAX.0])
        {
            let time = Timestamp::from_millis(millis);
            let text = serde_json::to_string(&time).unwrap();
            assert_eq!(text.len(), 26, "{text}");
            assert_eq!(serde_json::from_str::<Timestamp>(&text).unwrap(), time, "{text}");
            let jiff: jiff::Timestamp = text.trim_matches('"').parse().unwrap();
            assert_eq!(jiff.as_millisecond(), time.as_millis());
        }
    }
}
