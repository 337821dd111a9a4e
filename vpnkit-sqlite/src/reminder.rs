//! Reminders of keys that end soon.

use rusqlite::OptionalExtension as _;

use crate::apply::{Batch, sql};
use crate::query;
use vpnkit_core::model::KeyId;
use vpnkit_core::store::consequence;
use vpnkit_core::{ErrorKind, Result, Timestamp};

const DAY_MS: i64 = 86_400_000;

impl Batch<'_> {
    /// Tells of the next keys that end in so many days.
    pub(crate) fn remind_of_end(&mut self, days: u32, above: u32, limit: usize) -> Result<()> {
        let until = self.at.as_millis().saturating_add(i64::from(days) * DAY_MS);
        let mark: Option<(i64, i64)> = self
            .connection
            .prepare_cached("SELECT until, key_id FROM reminders WHERE days = ?1")
            .and_then(|mut s| s.query_row([days], |r| Ok((r.get(0)?, r.get(1)?))).optional())
            .map_err(sql)?;
        // The first look; or the clock was far ahead once.
        let Some(mark) = mark.filter(|mark| mark.0 <= until.saturating_add(DAY_MS)) else {
            return self.reminded(days, (until, i64::MAX));
        };
        // As the index has it.
        let ending: Vec<(i64, i64)> = self
            .connection
            .prepare_cached(
                "SELECT coalesce(expires_at, 9223372036854775807), id FROM keys
                 WHERE coalesce(expires_at, 9223372036854775807) >= ?1
                   AND (coalesce(expires_at, 9223372036854775807), id) > (?1, ?2)
                   AND coalesce(expires_at, 9223372036854775807) <= ?3
                 ORDER BY coalesce(expires_at, 9223372036854775807), id LIMIT ?4",
            )
            .and_then(|mut s| {
                let limit = i64::try_from(limit).unwrap_or(i64::MAX);
                s.query_map([mark.0, mark.1, until, limit], |r| Ok((r.get(0)?, r.get(1)?)))?.collect()
            })
            .map_err(sql)?;
        let from = Timestamp::from_millis(self.at.as_millis().saturating_add(i64::from(above) * DAY_MS));
        let all = (until, i64::MAX);
        let done = if ending.len() == limit { ending.last().copied().unwrap_or(mark) } else { all };
        // Nothing to tell, nothing to write: a minute more or less is found again.
        if ending.is_empty() && until - mark.0 < 60_000 {
            return Ok(());
        }
        self.reminded(days, done.max(mark))?;
        self.receipt.reminded += ending.len();
        for (_, id) in ending {
            match query::bare_key(self.connection, KeyId(id)) {
                Ok(Some(key)) => {
                    if let Some(event) = consequence::of_end(&key, days, from) {
                        self.emit(event)?;
                    }
                }
                Ok(None) => {}
                // The others are told.
                Err(e) if e.kind() == ErrorKind::StoreCorrupt => {
                    tracing::warn!(key = id, error = %e, "a key cannot be read; nobody is reminded of its end");
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn reminded(&self, days: u32, (until, key): (i64, i64)) -> Result<()> {
        self.run(
            "INSERT INTO reminders (days, until, key_id) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET until = excluded.until, key_id = excluded.key_id",
            [i64::from(days), until, key],
        )
        .map(drop)
        .map_err(sql)
    }
}
