//! What a store need not remember as it is.

use crate::{Result, Timestamp};

/// What a store may forget, and what it may sum up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Events and request ids from before this time are forgotten, and revocations of certificates that expired before it.
    pub events: Timestamp,
    /// What the timelines of keys have beside that is forgotten before this time.
    pub timelines: Timestamp,
    /// A key's traffic by the hour becomes traffic by the day, before the UTC day of this time.
    pub hours: Timestamp,
    /// A key's traffic by the day becomes traffic by the month, before the UTC month of this time.
    pub days: Timestamp,
}

impl Retention {
    /// Forgets events from before this time; timelines and traffic stay as they are.
    #[must_use]
    pub fn of_events(before: Timestamp) -> Self {
        Self {
            events: before,
            timelines: Timestamp::default(),
            hours: Timestamp::default(),
            days: Timestamp::default(),
        }
    }
}

/// What one step of forgetting and summing up has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Pruned {
    /// How many events cannot be read any more, timelines aside.
    pub events: usize,
    /// There is more to do: call again.
    pub more: bool,
}

/// Returns the last of the cursors `first..=last` whose event is from before a time; `first - 1` when there is none.
///
/// The cursors are in the order of time, but for events that a wrong clock has stamped: three neighbours are looked at each
/// time, so that one of them does not decide. `at` returns the times of up to three events from a cursor on. A look costs
/// the logarithm of how many there are.
pub fn last_before(
    first: i64,
    last: i64,
    before: Timestamp,
    mut at: impl FnMut(i64) -> Result<Vec<Timestamp>>,
) -> Result<i64> {
    let (mut old, mut young) = (first - 1, last + 1);
    while young - old > 1 {
        let middle = old + (young - old) / 2;
        let mut times = at(middle)?;
        if let [_, _, _] = times.as_slice() {
            times.sort_unstable();
            times.remove(0);
        }
        match times.first() {
            Some(time) if *time < before => old = middle,
            _ => young = middle,
        }
    }
    Ok(old)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]
    use proptest::prelude::*;

    use super::*;

    fn found(times: &[i64], before: i64) -> i64 {
        let at = |cursor: i64| {
            let from = usize::try_from(cursor - 1).unwrap();
            Ok(times[from..].iter().take(3).map(|time| Timestamp::from_secs(*time)).collect())
        };
        last_before(1, i64::try_from(times.len()).unwrap(), Timestamp::from_secs(before), at).unwrap()
    }

    proptest! {
        #[test]
        fn what_is_in_order_is_found_exactly(mut times in prop::collection::vec(0i64..100, 0..50), before in 0i64..100) {
            times.sort_unstable();
            let old = times.iter().filter(|time| **time < before).count();
            // The two newest of the old may stay: their neighbours are young.
            let found = usize::try_from(found(&times, before)).unwrap();
            prop_assert!(found <= old && found + 1 >= old.min(times.len()), "{found} {old}");
        }

        #[test]
        fn one_wrong_clock_decides_nothing(young in 3usize..200, place in 0usize..200, wrong in prop::bool::ANY) {
            let mut times = vec![50i64; young];
            let place = place % (young - 2);
            times[place] = if wrong { 0 } else { 1_000_000 };
            prop_assert!(found(&times, 10) <= 0, "nothing is old");
            prop_assert!(found(&times, 60) >= i64::try_from(young).unwrap() - 1, "all are old");
        }
    }
}
