//! Traffic by the calendar of a time zone.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::Timestamp;
use crate::model::{TimeZoneName, Traffic, UsagePoint, UsageStep};

/// Sums points by a step and the calendar of a time zone, oldest first. Not a byte is lost: the sums are those of the points.
///
/// An hour belongs to the day in which it begins; a UTC day or month, which cannot be told apart any more, to the day or month of the
/// same date. What is wider than the step stays as it is.
///
/// ```
/// use vpnkit_core::accounting::by_calendar;
/// use vpnkit_core::model::{Traffic, UsagePoint, UsageStep};
/// let at = "2026-03-20T21:00:00Z".parse()?;
/// let hour = UsagePoint { at, traffic: Traffic { up: 1, down: 2 }, step: UsageStep::Hour };
/// let days = by_calendar(&[hour], UsageStep::Day, &"Asia/Tehran".parse()?);
/// // The first of Farvardin, 1405, in Tehran.
/// assert_eq!(days[0].at.to_string(), "2026-03-20T20:30:00Z");
/// # Ok::<(), vpnkit_core::Error>(())
/// ```
#[must_use]
pub fn by_calendar(points: &[UsagePoint], step: UsageStep, zone: &TimeZoneName) -> Vec<UsagePoint> {
    let zone = zone.rules();
    let mut sums: BTreeMap<(Timestamp, UsageStep), Traffic> = BTreeMap::new();
    for point in points {
        let width = step.max(point.step);
        let at = begin(point, width, &zone).unwrap_or(point.at);
        let sum = sums.entry((at, width)).or_default();
        *sum = sum.plus(point.traffic);
    }
    sums.into_iter().map(|((at, step), traffic)| UsagePoint { at, traffic, step }).collect()
}

/// When the step of a point begins; `None` beyond what a calendar knows.
fn begin(point: &UsagePoint, width: UsageStep, zone: &TimeZone) -> Option<Timestamp> {
    let at = jiff::Timestamp::from_millisecond(point.at.as_millis()).ok()?;
    let date = match point.step {
        UsageStep::Hour => zone.to_datetime(at).date(),
        UsageStep::Day | UsageStep::Month => TimeZone::UTC.to_datetime(at).date(),
    };
    match width {
        UsageStep::Hour => Some(point.at),
        UsageStep::Day => midnight(date, zone),
        UsageStep::Month => midnight(date.first_of_month(), zone),
    }
}

/// The first instant of a day.
fn midnight(date: Date, zone: &TimeZone) -> Option<Timestamp> {
    let at = date.to_zoned(zone.clone()).ok()?.timestamp();
    Some(Timestamp::from_millis(at.as_millisecond()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn point(at: &str, down: u64, step: UsageStep) -> UsagePoint {
        UsagePoint { at: at.parse().unwrap(), traffic: Traffic { up: 0, down }, step }
    }

    fn shown(points: &[UsagePoint], step: UsageStep, zone: &str) -> Vec<(String, u64)> {
        let sums = by_calendar(points, step, &zone.parse().unwrap());
        sums.iter().map(|point| (point.at.to_string(), point.traffic.down)).collect()
    }

    #[test]
    fn days_are_those_of_the_zone() {
        let hour = |at: &str, down| point(at, down, UsageStep::Hour);
        // Berlin: its day of 23 hours, March 29, 2026.
        let hours = [
            hour("2026-03-28T22:00:00Z", 1),
            hour("2026-03-28T23:00:00Z", 2),
            hour("2026-03-29T21:00:00Z", 4),
            hour("2026-03-29T22:00:00Z", 8),
        ];
        let days = [("2026-03-27T23:00:00Z", 1), ("2026-03-28T23:00:00Z", 6), ("2026-03-29T22:00:00Z", 8)];
        assert_eq!(shown(&hours, UsageStep::Day, "Europe/Berlin"), days.map(|(at, n)| (at.to_owned(), n)));
        assert_eq!(
            shown(&hours, UsageStep::Month, "Europe/Berlin"),
            [("2026-02-28T23:00:00Z".to_owned(), 15)]
        );
        assert_eq!(shown(&hours, UsageStep::Hour, "Europe/Berlin").len(), 4);
        // Tehran's days begin at 20:30: the hour before belongs to the day before.
        let night = [hour("2026-05-01T20:00:00Z", 1), hour("2026-05-01T21:00:00Z", 2)];
        let days = [("2026-04-30T20:30:00Z", 1), ("2026-05-01T20:30:00Z", 2)];
        assert_eq!(shown(&night, UsageStep::Day, "Asia/Tehran"), days.map(|(at, n)| (at.to_owned(), n)));
    }

    #[test]
    fn what_was_summed_up_keeps_its_date() {
        let old = [
            point("2026-01-01T00:00:00Z", 1, UsageStep::Month),
            point("2026-02-01T00:00:00Z", 2, UsageStep::Day),
        ];
        for zone in ["America/New_York", "Asia/Tehran", "UTC"] {
            let sums = by_calendar(&old, UsageStep::Day, &zone.parse().unwrap());
            let dates: Vec<String> = sums
                .iter()
                .map(|point| {
                    let at = jiff::Timestamp::from_millisecond(point.at.as_millis()).unwrap();
                    at.to_zoned(TimeZone::get(zone).unwrap()).date().to_string()
                })
                .collect();
            assert_eq!(dates, ["2026-01-01", "2026-02-01"], "{zone}");
            assert_eq!(
                sums.iter().map(|point| point.step).collect::<Vec<_>>(),
                [UsageStep::Month, UsageStep::Day]
            );
        }
    }

    proptest! {
        #[test]
        fn sums_are_those_of_the_points(
            hours in prop::collection::vec((0i64..600_000, 0u64..1_000_000, 0usize..3), 0..60), step in 0usize..3,
            zone in prop::sample::select(vec!["UTC", "Asia/Tehran", "America/Sao_Paulo", "Pacific/Apia", "Asia/Kathmandu"]),
        ) {
            let steps = [UsageStep::Hour, UsageStep::Day, UsageStep::Month];
            let points: Vec<UsagePoint> = hours.iter().map(|(hour, down, width)| {
                let at = Timestamp::from_secs(hour * 3_600);
                let at = match steps[*width] { UsageStep::Hour => at, UsageStep::Day => at.day(), UsageStep::Month => at.month() };
                UsagePoint { at, traffic: Traffic { up: 1, down: *down }, step: steps[*width] }
            }).collect();
            let sums = by_calendar(&points, steps[step], &zone.parse().unwrap());
            let total = |points: &[UsagePoint]| points.iter().fold(Traffic::default(), |sum, p| sum.plus(p.traffic));
            prop_assert_eq!(total(&sums), total(&points));
            prop_assert!(sums.is_sorted_by_key(|point| point.at));
            // Again, it is the same.
            if steps[step] != UsageStep::Hour {
                let again: Vec<_> = sums.iter().map(|p| (p.at, p.step)).collect();
                prop_assert_eq!(again.len(), sums.len());
            }
        }
    }
}
