//! Dead letters: events that receivers of webhooks have refused for good.

use rusqlite::{Connection, params};

use crate::apply::{Batch, sql};
use crate::query;
use vpnkit_core::model::{Cursor, DeadLetter, Event};
use vpnkit_core::store::DeadLetterOp;
use vpnkit_core::store::errors as answer;
use vpnkit_core::{Result, Timestamp};

impl Batch<'_> {
    pub(crate) fn dead_letter_step(&self, op: &DeadLetterOp) -> Result<()> {
        match op {
            DeadLetterOp::Put(letter) => {
                self.run(
                    "DELETE FROM dead_letters WHERE webhook = ?1 AND cursor <= coalesce((SELECT cursor FROM dead_letters
                     WHERE webhook = ?1 ORDER BY cursor DESC LIMIT 1 OFFSET ?2), -1)",
                    params![letter.webhook, DeadLetterOp::KEPT - 1],
                )
                .map_err(sql)?;
                self.run(
                    "INSERT OR REPLACE INTO dead_letters (webhook, cursor, at, attempts, error, event)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    params![
                        letter.webhook,
                        letter.cursor().0,
                        letter.at.as_millis(),
                        letter.attempts,
                        letter.error,
                        serde_json::to_string(&letter.event).unwrap_or_default(),
                    ],
                )
            }
            DeadLetterOp::Remove(webhook, cursor) => {
                self.run("DELETE FROM dead_letters WHERE webhook = ?1 AND cursor = ?2", params![webhook, cursor.0])
            }
            DeadLetterOp::Clear(webhook) => self.run("DELETE FROM dead_letters WHERE webhook = ?1", [webhook]),
            _ => return Err(answer::unknown_step()),
        }
        .map(drop)
        .map_err(sql)
    }
}

/// Dead letters of a webhook behind a cursor, and how many there are.
pub(crate) fn dead_letters(
    connection: &Connection,
    webhook: &str,
    after: Cursor,
    max: usize,
) -> Result<(Vec<DeadLetter>, u64)> {
    let count: i64 = connection
        .prepare_cached("SELECT count(*) FROM dead_letters WHERE webhook = ?1")
        .and_then(|mut s| s.query_row([webhook], |r| r.get(0)))
        .map_err(query::sql)?;
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    let rows: Vec<(i64, u32, String, String)> = connection
        .prepare_cached(
            "SELECT at, attempts, error, event FROM dead_letters WHERE webhook = ?1 AND cursor > ?2 ORDER BY cursor LIMIT ?3",
        )
        .and_then(|mut s| {
            s.query_map(params![webhook, after.0, max], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?)))?
                .collect()
        })
        .map_err(query::sql)?;
    let mut letters = Vec::with_capacity(rows.len());
    for (at, attempts, error, event) in rows {
        match serde_json::from_str::<Event>(&event) {
            Ok(event) => {
                let at = Timestamp::from_millis(at);
                letters.push(DeadLetter { webhook: webhook.to_owned(), event, at, attempts, error });
            }
            // Of a newer vpnkit: the others are told.
            Err(_) => tracing::warn!(webhook, "a dead letter of this store cannot be read"),
        }
    }
    Ok((letters, count.unsigned_abs()))
}
