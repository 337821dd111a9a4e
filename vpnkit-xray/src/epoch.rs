//! Whether an attached Xray is still the process that was read before. Pure.
//!
//! Xray has no id of its lifetime, so it is recognised by numbers that only grow while a process lives, and by its
//! uptime: a process that has lived for less than the time since the last reading was started after it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use vpnkit_core::Timestamp;

use crate::api::SystemStats;

/// Xray counts whole seconds, and asking takes a moment.
const TOLERANCE: Duration = Duration::from_secs(2);

/// What is remembered of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Evidence {
    /// When it was taken.
    pub(crate) at: Timestamp,
    /// What the process said.
    pub(crate) stats: SystemStats,
}

/// Whether `now` comes from the same process as `last`. `elapsed` is the time between them by a clock that nobody
/// sets, when both were taken by one process of vpnkit; otherwise the wall clock decides.
pub(crate) fn continues(last: &Evidence, now: &Evidence, elapsed: Option<Duration>) -> bool {
    let (old, new) = (&last.stats, &now.stats);
    let grown = new.uptime_secs >= old.uptime_secs
        && new.total_alloc >= old.total_alloc
        && new.mallocs >= old.mallocs
        && new.collections >= old.collections;
    let elapsed = elapsed.unwrap_or_else(|| now.at.since(last.at));
    grown && Duration::from_secs(new.uptime_secs) + TOLERANCE >= elapsed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A process that does the same amount of work every second.
    fn look(at: u64, started: u64) -> Evidence {
        let uptime_secs = at - started;
        let work = uptime_secs * 1000;
        Evidence {
            at: Timestamp::from_secs(i64::try_from(at).unwrap()),
            stats: SystemStats {
                uptime_secs,
                total_alloc: 5000 + work,
                mallocs: 500 + work,
                collections: uptime_secs / 60,
            },
        }
    }

    proptest! {
        #[test]
        fn the_same_process_is_recognised(started in 0u64..1000, first in 0u64..10_000, later in 0u64..10_000) {
            let (first, second) = (started + first, started + first + later);
            prop_assert!(continues(&look(first, started), &look(second, started), None));
        }

        #[test]
        fn a_restart_is_noticed_whenever_it_happens(
            started in 0u64..1000, lived in 4u64..10_000, gap in 0u64..1000, restart in 0u64..1000, after in 0u64..1000,
        ) {
            let first = started + lived;
            let restarted = first + restart.max(3) + gap;
            let second = restarted + after;
            prop_assert!(!continues(&look(first, started), &look(second, restarted), None));
        }

        /// Somebody sets the clock while both processes live on.
        #[test]
        fn a_clock_that_is_set_is_no_restart(
            started in 0u64..1000, lived in 0u64..10_000, between in 0u64..600, jump in 0i64..100_000_000,
        ) {
            let last = look(started + lived, started);
            let mut now = look(started + lived + between, started);
            now.at = Timestamp::from_secs(now.at.as_secs() + jump);
            prop_assert!(continues(&last, &now, Some(Duration::from_secs(between))));
        }
    }
}
