//! Sizes that cannot be confused.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Error, Result};

/// A number of bytes. Written and parsed with its unit: `50 GiB` is 2^30 based, `50 GB` is 10^9 based.
///
/// ```
/// use vpnkit_core::model::ByteSize;
/// assert_eq!("50 GiB".parse::<ByteSize>()?, ByteSize::gib(50));
/// assert_eq!("1.5 GB".parse::<ByteSize>()?.bytes(), 1_500_000_000);
/// assert_eq!(ByteSize::gib(50).to_string(), "50 GiB");
/// assert!("50".parse::<ByteSize>().is_err());
/// # Ok::<(), vpnkit_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(u64);

const UNITS: [(&str, u64); 11] = [
    ("pib", 1 << 50),
    ("tib", 1 << 40),
    ("gib", 1 << 30),
    ("mib", 1 << 20),
    ("kib", 1 << 10),
    ("pb", 1_000_000_000_000_000),
    ("tb", 1_000_000_000_000),
    ("gb", 1_000_000_000),
    ("mb", 1_000_000),
    ("kb", 1_000),
    ("b", 1),
];

impl ByteSize {
    /// The largest size that every store can hold: 2^63 - 1 bytes.
    pub const MAX: Self = Self(i64::MAX.unsigned_abs());

    /// From bytes; larger values are drawn to [`Self::MAX`].
    #[must_use]
    pub const fn from_bytes(bytes: u64) -> Self {
        if bytes > Self::MAX.0 { Self::MAX } else { Self(bytes) }
    }

    /// From gibibytes (2^30).
    #[must_use]
    pub const fn gib(n: u64) -> Self {
        Self::from_bytes(n.saturating_mul(1 << 30))
    }

    /// From mebibytes (2^20).
    #[must_use]
    pub const fn mib(n: u64) -> Self {
        Self::from_bytes(n.saturating_mul(1 << 20))
    }

    /// Returns the size, and so many bytes more; at most [`Self::MAX`].
    #[must_use]
    pub const fn plus(self, bytes: u64) -> Self {
        Self::from_bytes(self.0.saturating_add(bytes))
    }

    /// Returns the size, and so many bytes less; at least none.
    #[must_use]
    pub const fn minus(self, bytes: u64) -> Self {
        Self(self.0.saturating_sub(bytes))
    }

    /// In bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, scale) in
            [("PiB", 1 << 50), ("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
        {
            if self.0 >= scale {
                let hundredths = u128::from(self.0) * 100 / u128::from(scale);
                let (whole, rest) = (hundredths / 100, hundredths % 100);
                return match (rest, rest % 10) {
                    (0, _) => write!(f, "{whole} {unit}"),
                    (_, 0) => write!(f, "{whole}.{} {unit}", rest / 10),
                    _ => write!(f, "{whole}.{rest:02} {unit}"),
                };
            }
        }
        write!(f, "{} B", self.0)
    }
}

impl FromStr for ByteSize {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let fault = |message: &str| {
            Error::invalid("size.parse", "size", message)
                .with("value", text)
                .hint("write it as `50 GiB` or `50 GB`")
        };
        let lower = text.trim().to_ascii_lowercase();
        let split =
            lower.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(|| fault("a unit is missing"))?;
        let (number, unit) = lower.split_at(split);
        let scale = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(|| fault("unknown unit"))?.1;
        let number = number.trim();
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || (number.contains('.') && !digits(fraction)) || fraction.len() > 9 {
            return Err(fault("not a number"));
        }
        let whole: u128 = whole.parse().map_err(|_| fault("too large"))?;
        let tenths = 10u128.pow(u32::try_from(fraction.len()).unwrap_or(0));
        let fraction: u128 =
            if fraction.is_empty() { 0 } else { fraction.parse().map_err(|_| fault("not a number"))? };
        let scale = u128::from(scale);
        let bytes = whole.checked_mul(scale).map(|b| b + fraction * scale / tenths);
        match bytes.and_then(|b| u64::try_from(b).ok()) {
            Some(bytes) if bytes <= Self::MAX.0 => Ok(Self(bytes)),
            _ => Err(fault("too large")),
        }
    }
}

impl JsonSchema for ByteSize {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ByteSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "format": "bytes", "minimum": 0 })
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        s.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    /// Accepts a number of bytes or a text with a unit.
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Bytes(u64),
            Text(String),
        }
        match Form::deserialize(d)? {
            Form::Bytes(bytes) => Ok(Self::from_bytes(bytes)),
            Form::Text(text) => text.parse().map_err(|e: Error| serde::de::Error::custom(e.message())),
        }
    }
}
