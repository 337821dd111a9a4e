//! Variables of remarks, addresses, paths and notices.

use std::borrow::Cow;
use std::fmt::Write as _;

use calendrical_calculations::gregorian::gregorian_from_fixed;
use calendrical_calculations::persian::fast_persian_from_fixed;
use calendrical_calculations::rata_die::RataDie;

use super::Language;
use crate::Timestamp;
use crate::model::{ByteSize, Key, KeyStatus};

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;
/// 1970-01-01, counted from the first day of year 1.
const UNIX_EPOCH: i64 = 719_163;
/// What stands for no limit and no end.
const ENDLESS: &str = "∞";
/// What shows in place of an end that depends on the first connection.
const UNKNOWN: &str = "—";

/// Every variable with what it stands for. One that is not listed is left as it stands.
pub const VARIABLES: &[(&str, &str)] = &[
    ("SERVER_IP", "the address of the server, as it is configured"),
    ("USERNAME", "the name of the key, or its id"),
    ("LABEL", "the label of the key"),
    ("DATA_USAGE", "what was used: 1.5 GiB"),
    ("DATA_LIMIT", "the limit, ∞ without one"),
    ("DATA_LEFT", "what is left, ∞ without a limit"),
    ("USAGE_PERCENTAGE", "what was used, in percent of the limit; 0 without one"),
    ("DAYS_LEFT", "days, a part of one counts; ∞ without an end"),
    ("TIME_LEFT", "3d 4h, 4h 5m or 5m; ∞ without an end"),
    ("EXPIRE_DATE", "the last day: 2026-11-21; ∞ without an end"),
    ("JALALI_EXPIRE_DATE", "the last day in the Persian calendar: 1405-08-30; ∞ without an end"),
    ("STATUS_EMOJI", "✅ active, 🪫 limited, ⌛️ expired, ❌ disabled"),
    ("STATUS_TEXT", "the status in the language of the settings"),
    ("PROTOCOL", "vless, vmess, trojan, shadowsocks"),
    ("TRANSPORT", "tcp, ws, grpc, httpupgrade, xhttp"),
    ("ADMIN_USERNAME", "the id of the admin who owns the key, empty without one"),
];

/// What the variables stand for.
#[derive(Clone, Copy, Debug)]
pub struct Variables<'a> {
    /// Whose subscription it is.
    pub key: &'a Key,
    /// The time.
    pub now: Timestamp,
    /// The time zone of dates, east of UTC.
    pub utc_offset_minutes: i32,
    /// The language of the status.
    pub language: Language,
    /// The address of the server.
    pub server: &'a str,
    /// The protocol of the endpoint.
    pub protocol: &'a str,
    /// The transport of the endpoint.
    pub transport: &'a str,
}

impl Variables<'_> {
    /// `text` with its variables filled in.
    #[must_use]
    pub fn fill<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if !text.contains('{') {
            return Cow::Borrowed(text);
        }
        let mut filled = String::with_capacity(text.len() + 32);
        let mut rest = text;
        while let Some(start) = rest.find('{') {
            let (before, opened) = rest.split_at(start);
            filled.push_str(before);
            let name = opened.get(1..).and_then(|after| after.split_once('}')).map(|(name, _)| name);
            match name {
                Some(name) if self.write(name, &mut filled) => {
                    rest = opened.get(name.len() + 2..).unwrap_or_default();
                }
                _ => {
                    filled.push('{');
                    rest = opened.get(1..).unwrap_or_default();
                }
            }
        }
        filled.push_str(rest);
        Cow::Owned(filled)
    }

    /// Writes a variable; `false` when there is none of this name. Writing to a text does not fail.
    fn write(&self, name: &str, to: &mut String) -> bool {
        let key = self.key;
        let size = |bytes: u64| ByteSize::from_bytes(bytes);
        let endless = |to: &mut String| {
            to.push_str(ENDLESS);
            Ok(())
        };
        let _ = match name {
            "SERVER_IP" => to.write_str(self.server),
            "USERNAME" => match &key.name {
                Some(name) => to.write_str(name.as_str()),
                None => write!(to, "{}", key.id),
            },
            "LABEL" => to.write_str(key.label.as_deref().unwrap_or_default()),
            "DATA_USAGE" => write!(to, "{}", size(key.used)),
            "DATA_LIMIT" => match key.data_limit {
                Some(limit) => write!(to, "{limit}"),
                None => endless(to),
            },
            "DATA_LEFT" => match key.remaining() {
                Some(left) => write!(to, "{}", size(left)),
                None => endless(to),
            },
            "USAGE_PERCENTAGE" => write!(to, "{}", percentage(key)),
            "DAYS_LEFT" => match self.left_ms() {
                Some(left) => write!(to, "{}", left.div_ceil(DAY_MS.unsigned_abs())),
                None => endless(to),
            },
            "TIME_LEFT" => match self.left_ms() {
                Some(left) => {
                    let minutes = left / MINUTE_MS.unsigned_abs();
                    match (minutes / 1_440, minutes / 60 % 24, minutes % 60) {
                        (0, 0, minutes) => write!(to, "{minutes}m"),
                        (0, hours, minutes) => write!(to, "{hours}h {minutes}m"),
                        (days, hours, _) => write!(to, "{days}d {hours}h"),
                    }
                }
                None => endless(to),
            },
            "EXPIRE_DATE" => self.date(to, |day| gregorian_from_fixed(day).ok()),
            "JALALI_EXPIRE_DATE" => self.date(to, |day| fast_persian_from_fixed(day).ok()),
            "STATUS_EMOJI" => to.write_str(match key.status {
                KeyStatus::Active => "✅",
                KeyStatus::OnHold => "🔌",
                KeyStatus::Paused => "⏸",
                KeyStatus::Locked | KeyStatus::Suspended => "🔒",
                KeyStatus::Limited => "🪫",
                KeyStatus::Expired => "⌛️",
                KeyStatus::Disabled => "❌",
            }),
            "STATUS_TEXT" => to.write_str(self.language.status(key.status)),
            "PROTOCOL" => to.write_str(self.protocol),
            "TRANSPORT" => to.write_str(self.transport),
            "ADMIN_USERNAME" => match key.owner {
                Some(owner) => write!(to, "{}", owner.0),
                None => Ok(()),
            },
            _ => return false,
        };
        true
    }

    /// Milliseconds up to the end; `None` without one. Of a key that is on hold or paused, what it will have then.
    pub fn left_ms(&self) -> Option<u64> {
        if let Some(hold) = self.key.hold {
            return u64::try_from(hold.duration.as_millis()).ok();
        }
        let now = self.key.paused_at.unwrap_or(self.now);
        let end = self.key.expires_at?;
        Some(u64::try_from(end.as_millis() - now.as_millis()).unwrap_or(0))
    }

    fn date(&self, to: &mut String, calendar: impl Fn(RataDie) -> Option<(i32, u8, u8)>) -> std::fmt::Result {
        if self.key.hold.is_some() {
            return to.write_str(UNKNOWN);
        }
        let Some(end) = self.key.expires_at else { return to.write_str(ENDLESS) };
        let local = end.as_millis() + i64::from(self.utc_offset_minutes) * MINUTE_MS;
        match calendar(RataDie::new(local.div_euclid(DAY_MS) + UNIX_EPOCH)) {
            Some((year, month, day)) => write!(to, "{year:04}-{month:02}-{day:02}"),
            None => Ok(()),
        }
    }
}

/// What was used, in percent of the limit; 0 without one.
pub fn percentage(key: &Key) -> u64 {
    let Some(limit) = key.data_limit else { return 0 };
    let share = u128::from(key.used) * 100 / u128::from(limit.bytes().max(1));
    u64::try_from(share).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CreateKey, KeyId};

    fn key(now: Timestamp, expires: Option<&str>) -> Key {
        let mut request = CreateKey::named("alice").data_limit(ByteSize::gib(50));
        request.expires_at = expires.map(|at| at.parse().unwrap());
        let mut key = request.validate(now).unwrap().into_key(KeyId(7), now);
        key.used = 3 << 29;
        key
    }

    fn fill(key: &Key, now: Timestamp, text: &str) -> String {
        let variables = Variables {
            key,
            now,
            utc_offset_minutes: 210,
            language: Language::Ru,
            server: "192.0.2.1",
            protocol: "vless",
            transport: "tcp",
        };
        variables.fill(text).into_owned()
    }

    #[test]
    fn every_variable_is_filled() {
        let now: Timestamp = "2026-11-18T08:30:00Z".parse().unwrap();
        let key = key(now, Some("2026-11-21T21:00:00Z"));
        let expected = [
            ("SERVER_IP", "192.0.2.1"),
            ("USERNAME", "alice"),
            ("LABEL", ""),
            ("DATA_USAGE", "1.5 GiB"),
            ("DATA_LIMIT", "50 GiB"),
            ("DATA_LEFT", "48.5 GiB"),
            ("USAGE_PERCENTAGE", "3"),
            ("DAYS_LEFT", "4"),
            ("TIME_LEFT", "3d 12h"),
            // Half past midnight in Tehran.
            ("EXPIRE_DATE", "2026-11-22"),
            ("JALALI_EXPIRE_DATE", "1405-09-01"),
            ("STATUS_EMOJI", "✅"),
            ("STATUS_TEXT", "Активна"),
            ("PROTOCOL", "vless"),
            ("TRANSPORT", "tcp"),
            ("ADMIN_USERNAME", ""),
        ];
        for ((name, text), (listed, _)) in expected.iter().zip(VARIABLES) {
            assert_eq!(name, listed);
            assert_eq!(fill(&key, now, &format!("<{{{name}}}>")), format!("<{text}>"), "{name}");
        }
        assert_eq!(expected.len(), VARIABLES.len());
    }

    #[test]
    fn without_limits_there_is_no_end() {
        let now = Timestamp::default();
        let mut key = key(now, None);
        key.data_limit = None;
        let text = "{DATA_LIMIT}{DATA_LEFT}{DAYS_LEFT}{TIME_LEFT}{EXPIRE_DATE}{JALALI_EXPIRE_DATE}";
        assert_eq!(fill(&key, now, text), "∞∞∞∞∞∞");
    }

    #[test]
    fn what_is_no_variable_is_left_as_it_stands() {
        let now = Timestamp::default();
        let key = key(now, None);
        for text in ["{NOTHING}", "{", "a{b", "{}", "{{", "}{", "{ USERNAME }"] {
            assert_eq!(fill(&key, now, text), text);
        }
        assert_eq!(fill(&key, now, "{X{USERNAME}}{USERNAME}"), "{Xalice}alice");
    }

    /// Nowruz of years whose leap rule other algorithms get wrong.
    #[test]
    fn the_persian_new_year_is_the_right_day() {
        for (at, day) in [
            ("2024-03-19T12:00:00Z", "1402-12-29"),
            ("2024-03-20T12:00:00Z", "1403-01-01"),
            ("2025-03-20T12:00:00Z", "1403-12-30"),
            ("2025-03-21T12:00:00Z", "1404-01-01"),
            ("2026-03-21T12:00:00Z", "1405-01-01"),
            ("2030-03-20T12:00:00Z", "1408-12-30"),
        ] {
            let mut key = key(Timestamp::default(), None);
            key.expires_at = Some(at.parse().unwrap());
            assert_eq!(fill(&key, Timestamp::default(), "{JALALI_EXPIRE_DATE}"), day, "{at}");
        }
    }
}
