//! Lengths of time that cannot be confused.

use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serializer};

use crate::{Error, Result};

/// Reads a length of time with its unit: `30 days`, `12h`, `1d 12h`, `PT90M`. A day has 24 hours; months and years have
/// no fixed length and are refused.
///
/// Errors: `InvalidInput` about `duration`.
///
/// ```
/// use std::time::Duration;
/// use vpnkit_core::model::parse_duration;
/// assert_eq!(parse_duration("30 days")?, Duration::from_secs(30 * 86_400));
/// assert!(parse_duration("30").is_err());
/// assert!(parse_duration("1 month").is_err());
/// # Ok::<(), vpnkit_core::Error>(())
/// ```
pub fn parse_duration(text: &str) -> Result<Duration> {
    let fault = |message: &str| {
        Error::invalid("duration.parse", "duration", message)
            .with("value", text)
            .hint("write it as `30 days` or `12 hours`")
    };
    let span: jiff::Span = text.trim().parse().map_err(|_| fault("not a length of time with its unit"))?;
    let length = span
        .to_duration(jiff::SpanRelativeTo::days_are_24_hours())
        .map_err(|_| fault("months and years have no fixed length"))?;
    Duration::try_from(length).map_err(|_| fault("is negative"))
}

/// Writes a length of time so that [`parse_duration`] reads it: `30 days`, `90 minutes`, `1500 ms`.
///
/// ```
/// use std::time::Duration;
/// use vpnkit_core::model::format_duration;
/// assert_eq!(format_duration(Duration::from_secs(86_400)), "1 days");
/// assert_eq!(format_duration(Duration::from_millis(1_500)), "1500 ms");
/// ```
#[must_use]
pub fn format_duration(time: Duration) -> String {
    let millis = time.as_millis();
    let units = [(86_400_000, "days"), (3_600_000, "hours"), (60_000, "minutes"), (1_000, "seconds")];
    match units.into_iter().find(|(length, _)| millis > 0 && millis.is_multiple_of(*length)) {
        Some((length, unit)) => format!("{} {unit}", millis / length),
        None => format!("{millis} ms"),
    }
}

/// The schema of a length of time.
#[derive(Debug)]
pub struct DurationText;

impl JsonSchema for DurationText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "duration-text" })
    }
}

/// serde for `Duration` as text.
pub mod duration_text {
    use super::{Deserialize, Deserializer, Duration, Serializer, format_duration, parse_duration};

    /// Writes a length of time with its unit.
    pub fn serialize<S: Serializer>(time: &Duration, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&format_duration(*time))
    }

    /// Reads a length of time with its unit.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        parse_duration(&String::deserialize(d)?).map_err(|e| serde::de::Error::custom(e.message()))
    }
}

/// serde for `Option<Duration>` as text.
pub mod optional {
    use super::{Deserialize, Deserializer, Duration, Serializer, format_duration, parse_duration};

    /// Writes the text.
    pub fn serialize<S: Serializer>(time: &Option<Duration>, s: S) -> Result<S::Ok, S::Error> {
        match time {
            None => s.serialize_none(),
            Some(time) => s.serialize_str(&format_duration(*time)),
        }
    }

    /// Reads the text.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(d)?;
        text.map(|text| parse_duration(&text)).transpose().map_err(|e| serde::de::Error::custom(e.message()))
    }
}

/// serde for a change of a length of time as text.
pub(super) mod patch {
    use super::{Deserializer, Duration, Serializer, optional};
    use crate::model::Patch;

    /// Writes the text.
    pub(crate) fn serialize<S: Serializer>(time: &Patch<Duration>, s: S) -> Result<S::Ok, S::Error> {
        let time = match time {
            Patch::Set(time) => Some(*time),
            Patch::Keep | Patch::Clear => None,
        };
        optional::serialize(&time, s)
    }

    /// Reads a length of time with its unit; `null` takes it away.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Patch<Duration>, D::Error> {
        optional::deserialize(d).map(Patch::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::CreateKey;

    #[test]
    fn a_request_is_the_same_after_json() {
        for secs in [1, 59, 86_400, 30 * 86_400, 400 * 86_400] {
            let request = CreateKey::default().expires_in(Duration::from_secs(secs));
            let text = serde_json::to_string(&request).unwrap();
            assert_eq!(serde_json::from_str::<CreateKey>(&text).unwrap(), request, "{text}");
        }
    }

    /// What was asked for is known by its JSON for good: fields of later versions stand in it only when they are given.
    #[test]
    fn the_json_of_a_request_is_that_of_earlier_versions() {
        let text = serde_json::to_string(&CreateKey::named("a")).unwrap();
        let earlier = r#"{"name":"a","label":null,"note":null,"owner":null,"data_limit":null,"expires_at":null,"expires_in":null,"device_limit":null,"inbounds":null,"credentials":[],"disabled":false,"idempotency_key":null}"#;
        assert_eq!(text, earlier);
        let text = serde_json::to_string(&crate::model::Extension::days(1)).unwrap();
        let earlier = r#"{"expires_in":"1 days","data_limit":null,"unlimited":false,"policy":"carry_over","reason":null}"#;
        assert_eq!(text, earlier);
    }

    #[test]
    fn only_what_is_clear_is_read() {
        for (text, secs) in
            [("30 days", 2_592_000), ("12h", 43_200), ("1d 12h", 129_600), ("2 weeks", 1_209_600)]
        {
            assert_eq!(parse_duration(text).unwrap().as_secs(), secs, "{text}");
        }
        for text in ["", "30", "30 d a y s", "-1 day", "1 month", "2 years", "soon"] {
            let error = parse_duration(text).unwrap_err();
            assert_eq!(error.get("field"), Some("duration"), "{text}");
        }
    }
}
