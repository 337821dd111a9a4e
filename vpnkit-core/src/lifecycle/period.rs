//! When usage is set to nothing next.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, ToSpan as _, Unit};

use crate::Timestamp;
use crate::model::{DataReset, ResetPeriod};

/// Returns the first end of a period after `after`, when periods that roll are counted from `start`; `None` beyond the year
/// 9999.
#[must_use]
pub fn next_reset(reset: &DataReset, start: Timestamp, after: Timestamp) -> Option<Timestamp> {
    let zone = reset.time_zone.clone().unwrap_or_default().rules();
    let now = civil(after, &zone)?;
    let at = match reset.rolling {
        false => {
            let begun = match reset.every {
                ResetPeriod::Day => now.date(),
                ResetPeriod::Week => {
                    now.date().checked_sub(i64::from(now.weekday().to_monday_zero_offset()).days()).ok()?
                }
                ResetPeriod::Month => now.date().first_of_month(),
                ResetPeriod::Year => now.date().first_of_year(),
            };
            // Where midnight is skipped, at the first instant of the day.
            let end = begun.checked_add(length(reset.every, 1)?).ok()?;
            end.to_zoned(zone).ok()?.timestamp()
        }
        true => {
            let first = civil(reset.since.unwrap_or(start), &zone)?;
            let unit = match reset.every {
                ResetPeriod::Day | ResetPeriod::Week => Unit::Day,
                ResetPeriod::Month => Unit::Month,
                ResetPeriod::Year => Unit::Year,
            };
            let passed = first.until((unit, now)).ok()?;
            let count = match reset.every {
                ResetPeriod::Day => i64::from(passed.get_days()),
                ResetPeriod::Week => i64::from(passed.get_days()) / 7,
                ResetPeriod::Month => i64::from(passed.get_months()),
                ResetPeriod::Year => i64::from(passed.get_years()),
            };
            // Each from the start: a short month does not shift the ones after it.
            (count.max(1) - 1..=count + 2).find_map(|count| {
                let end = first.checked_add(length(reset.every, count.max(1))?).ok()?;
                let end = end.to_zoned(zone.clone()).ok()?.timestamp();
                (end.as_millisecond() > after.as_millis()).then_some(end)
            })?
        }
    };
    Some(Timestamp::from_millis(at.as_millisecond()))
}

fn civil(at: Timestamp, zone: &TimeZone) -> Option<DateTime> {
    let at = jiff::Timestamp::from_millisecond(at.as_millis()).ok()?;
    Some(zone.to_datetime(at))
}

fn length(every: ResetPeriod, count: i64) -> Option<Span> {
    let span = Span::new();
    match every {
        ResetPeriod::Day => span.try_days(count),
        ResetPeriod::Week => span.try_weeks(count),
        ResetPeriod::Month => span.try_months(count),
        ResetPeriod::Year => span.try_years(count),
    }
    .ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn all(every: ResetPeriod, rolling: bool, zone: &str, start: &str, count: usize) -> Vec<String> {
        let reset = DataReset { every, rolling, since: None, time_zone: Some(zone.parse().unwrap()) };
        let start = time(start);
        std::iter::successors(Some(start), |at| next_reset(&reset, start, *at))
            .skip(1)
            .take(count)
            .map(|at| at.to_string())
            .collect()
    }

    #[test]
    fn days_are_those_of_the_zone_across_daylight_saving() {
        // Berlin: +1 until March 29, 2026, then +2.
        assert_eq!(
            all(ResetPeriod::Day, false, "Europe/Berlin", "2026-03-27T12:00:00Z", 4),
            ["2026-03-27T23:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", "2026-03-30T22:00:00Z"]
        );
        // Beirut skips midnight on March 29, 2026.
        assert_eq!(
            all(ResetPeriod::Day, false, "Asia/Beirut", "2026-03-28T12:00:00Z", 2),
            ["2026-03-28T22:00:00Z", "2026-03-29T21:00:00Z"]
        );
        // At the same time of the day, which is another one in UTC.
        assert_eq!(
            all(ResetPeriod::Day, true, "Europe/Berlin", "2026-03-27T09:30:00Z", 3),
            ["2026-03-28T09:30:00Z", "2026-03-29T08:30:00Z", "2026-03-30T08:30:00Z"]
        );
    }

    #[test]
    fn months_that_are_too_short_end_on_their_last_day() {
        assert_eq!(
            all(ResetPeriod::Month, true, "UTC", "2027-12-31T10:00:00Z", 4),
            ["2028-01-31T10:00:00Z", "2028-02-29T10:00:00Z", "2028-03-31T10:00:00Z", "2028-04-30T10:00:00Z"]
        );
        assert_eq!(
            all(ResetPeriod::Year, true, "UTC", "2028-02-29T10:00:00Z", 4),
            ["2029-02-28T10:00:00Z", "2030-02-28T10:00:00Z", "2031-02-28T10:00:00Z", "2032-02-29T10:00:00Z"]
        );
    }

    #[test]
    fn weeks_begin_on_monday_and_months_and_years_on_their_first_day() {
        let start = "2026-11-26T12:00:00Z";
        assert_eq!(
            all(ResetPeriod::Week, false, "Asia/Tehran", start, 2),
            ["2026-11-29T20:30:00Z", "2026-12-06T20:30:00Z"]
        );
        assert_eq!(
            all(ResetPeriod::Month, false, "UTC", start, 2),
            ["2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"]
        );
        assert_eq!(all(ResetPeriod::Year, false, "UTC", start, 1), ["2027-01-01T00:00:00Z"]);
    }

    proptest! {
        #[test]
        fn the_next_one_is_later_and_never_far(
            start in 0i64..2_000_000_000, later in 0u64..2_000_000_000, every in 0usize..4, rolling in any::<bool>(),
            zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "Asia/Tehran", "America/Sao_Paulo", "Pacific/Apia", "Asia/Beirut"]),
        ) {
            let every = [ResetPeriod::Day, ResetPeriod::Week, ResetPeriod::Month, ResetPeriod::Year][every];
            let reset = DataReset { every, rolling, since: None, time_zone: Some(zone.parse().unwrap()) };
            let start = Timestamp::from_secs(start);
            let after = start.plus(Duration::from_secs(later));
            let next = next_reset(&reset, start, after).unwrap();
            let longest = match every {
                ResetPeriod::Day => 50,
                ResetPeriod::Week => 8 * 24,
                ResetPeriod::Month => 32 * 24,
                ResetPeriod::Year => 367 * 24,
            };
            prop_assert!(next > after, "{next} {after}");
            prop_assert!(next.since(after) <= Duration::from_secs(longest * 3_600), "{next} {after}");
        }
    }

    #[test]
    fn beyond_the_last_year_there_is_none() {
        let reset = DataReset::each(ResetPeriod::Year);
        assert_eq!(next_reset(&reset, Timestamp::MAX, Timestamp::MAX), None);
    }
}
