//! Reminders in memory.

use std::time::Duration;

use super::State;
use crate::Timestamp;
use crate::model::KeyId;
use crate::store::{Receipt, consequence};

impl State {
    pub(super) fn remind(
        &mut self,
        (days, above): (u32, u32),
        limit: usize,
        at: Timestamp,
        receipt: &mut Receipt,
    ) {
        let in_days = |days: u32| at.plus(Duration::from_secs(u64::from(days) * 86_400));
        let until = in_days(days);
        let all = (until, KeyId(i64::MAX));
        let known = self.reminded.get(&days).copied();
        // The first look; or the clock was far ahead once.
        let Some(mark) = known.filter(|mark| mark.0 <= until.plus(Duration::from_secs(86_400))) else {
            self.reminded.insert(days, all);
            return;
        };
        let mut ending: Vec<(Timestamp, KeyId)> = self
            .keys
            .values()
            .filter_map(|key| Some((key.expires_at?, key.id)))
            .filter(|place| *place > mark && place.0 <= until)
            .collect();
        ending.sort_unstable();
        ending.truncate(limit);
        let done = if ending.len() == limit { ending.last().copied().unwrap_or(mark) } else { all };
        self.reminded.insert(days, done.max(mark));
        receipt.reminded += ending.len();
        for (_, id) in ending {
            let event = self.keys.get(&id).and_then(|key| consequence::of_end(key, days, in_days(above)));
            if let Some(event) = event {
                self.emit(event, at);
            }
        }
    }
}
