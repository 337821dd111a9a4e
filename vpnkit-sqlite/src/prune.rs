//! Forgetting what is old, and summing up traffic: in steps that hold the write lock only briefly.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use crate::apply::sql;
use crate::{lease, question};
use vpnkit_core::store::{Fence, Pruned, Retention, last_before};
use vpnkit_core::{Result, Timestamp};

/// Rows of a step.
const STEP: i64 = 5_000;
const DAY_MS: i64 = 86_400_000;

/// Takes one step.
pub(crate) fn prune(
    connection: &mut Connection,
    retention: &Retention,
    fence: Option<&Fence>,
) -> Result<Pruned> {
    let txn = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(sql)?;
    lease::check(&txn, fence)?;
    question::forget_old(&txn)?;
    let mut pruned = events(&txn, retention.events)?;
    pruned.more |= timelines(&txn, retention.timelines)?;
    for (table, column) in [("requests", "at"), ("revocations", "expires_at")] {
        let key = if table == "requests" { "id" } else { "(inbound, serial)" };
        let columns = key.trim_matches(['(', ')']);
        let kept = if table == "requests" { "AND kept = 0" } else { "" };
        let text = format!(
            "DELETE FROM {table} WHERE {key} IN (SELECT {columns} FROM {table} WHERE {column} < ?1 {kept} LIMIT {STEP})"
        );
        pruned.more |= run(&txn, &text, [retention.events.as_millis()])? == full();
    }
    pruned.more |= hours(&txn, retention.hours.day().as_millis() / (DAY_MS / 24))?;
    pruned.more |= days(&txn, retention.days.month().as_millis() / DAY_MS)?;
    txn.commit().map_err(sql)?;
    Ok(pruned)
}

fn full() -> usize {
    usize::try_from(STEP).unwrap_or(usize::MAX)
}

fn run(txn: &Transaction<'_>, text: &str, values: impl rusqlite::Params) -> Result<usize> {
    txn.prepare_cached(text).and_then(|mut s| s.execute(values)).map_err(sql)
}

/// What the timelines of keys have for longer: [`Event::is_of_timeline`].
const OF_TIMELINE: &str = "operation IS NOT NULL OR (key_id IS NOT NULL AND kind <> 'key.reset')";

/// Forgets events by their cursors: which are old is looked up, not read.
fn events(txn: &Transaction<'_>, before: Timestamp) -> Result<Pruned> {
    let Some(Old { first, step, last }) = old(txn, "events_pruned", before)? else {
        return Ok(Pruned::default());
    };
    let events: i64 = txn
        .prepare_cached("SELECT count(*) FROM events WHERE cursor BETWEEN ?1 AND ?2")
        .and_then(|mut s| s.query_row([first, step], |r| r.get(0)))
        .map_err(sql)?;
    let text = format!("DELETE FROM events WHERE cursor BETWEEN ?1 AND ?2 AND NOT ({OF_TIMELINE})");
    run(txn, &text, [first, step])?;
    run(txn, "UPDATE meta SET value = ?1 WHERE name = 'events_pruned'", [step])?;
    Ok(Pruned { events: usize::try_from(events).unwrap_or(0), more: step < last })
}

/// Forgets what only the timelines still have; says whether there is more.
fn timelines(txn: &Transaction<'_>, before: Timestamp) -> Result<bool> {
    let Some(Old { first, step, last }) = old(txn, "timelines_pruned", before)? else { return Ok(false) };
    let stream: i64 = txn
        .prepare_cached("SELECT value FROM meta WHERE name = 'events_pruned'")
        .and_then(|mut s| s.query_row([], |r| r.get(0)))
        .map_err(sql)?;
    // What the stream still has stays.
    let (step, last) = (step.min(stream), last.min(stream));
    if step < first {
        return Ok(false);
    }
    run(txn, "DELETE FROM events WHERE cursor BETWEEN ?1 AND ?2", [first, step])?;
    run(txn, "UPDATE meta SET value = ?1 WHERE name = 'timelines_pruned'", [step])?;
    Ok(step < last)
}

/// The cursors of old events.
struct Old {
    first: i64,
    /// The last one of this step.
    step: i64,
    last: i64,
}

/// Looks up what is from before a time, behind what was forgotten before.
fn old(txn: &Transaction<'_>, mark: &str, before: Timestamp) -> Result<Option<Old>> {
    let bounds: (Option<i64>, Option<i64>) = txn
        .prepare_cached(
            "SELECT (SELECT min(cursor) FROM events WHERE cursor > (SELECT value FROM meta WHERE name = ?1)),
                    (SELECT max(cursor) FROM events)",
        )
        .and_then(|mut s| s.query_row([mark], |r| Ok((r.get(0)?, r.get(1)?))))
        .map_err(sql)?;
    let (Some(first), Some(newest)) = bounds else { return Ok(None) };
    let mut times = txn
        .prepare_cached("SELECT at FROM events WHERE cursor >= ?1 ORDER BY cursor LIMIT 3")
        .map_err(sql)?;
    let last = last_before(first, newest, before, |cursor| {
        let found = times.query_map([cursor], |r| r.get(0).map(Timestamp::from_millis));
        found.and_then(Iterator::collect).map_err(sql)
    })?;
    let step = last.min(first.saturating_add(STEP - 1));
    Ok((last >= first).then_some(Old { first, step, last }))
}

/// Sums hours up to days, the oldest first; says whether there is more.
fn hours(txn: &Transaction<'_>, before: i64) -> Result<bool> {
    let last: Option<(i64, i64, i64)> = txn
        .prepare_cached(
            "SELECT hour, node, key_id FROM usage_hours WHERE hour < ?1 ORDER BY hour, node, key_id LIMIT 1 OFFSET ?2",
        )
        .and_then(|mut s| {
            s.query_row([before, STEP - 1], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?))).optional()
        })
        .map_err(sql)?;
    // Fewer than a step: all of them.
    let (hour, node, key) = last.unwrap_or((before - 1, i64::MAX, i64::MAX));
    const OLD: &str = "FROM usage_hours WHERE hour <= ?1 AND (hour, node, key_id) <= (?1, ?2, ?3)";
    run(
        txn,
        &format!(
            "INSERT INTO usage_days (key_id, day, node, up, down)
             SELECT key_id, hour / 24, node, sum(up), sum(down) {OLD} GROUP BY key_id, hour / 24, node
             ON CONFLICT DO UPDATE SET up = up + excluded.up, down = down + excluded.down"
        ),
        params![hour, node, key],
    )?;
    run(txn, &format!("DELETE {OLD}"), params![hour, node, key])?;
    Ok(last.is_some())
}

/// Sums days up to months, the oldest first; says whether there is more.
fn days(txn: &Transaction<'_>, before: i64) -> Result<bool> {
    let last: Option<(i64, i64, i64)> = txn
        .prepare_cached(
            "SELECT day, key_id, node FROM usage_days INDEXED BY usage_days_by_day WHERE day < ?1
             ORDER BY day, key_id, node LIMIT 1 OFFSET ?2",
        )
        .and_then(|mut s| {
            s.query_row([before, STEP - 1], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?))).optional()
        })
        .map_err(sql)?;
    let (day, key, node) = last.unwrap_or((before - 1, i64::MAX, i64::MAX));
    const OLD: &str = "FROM usage_days INDEXED BY usage_days_by_day WHERE day <= ?1 AND (day, key_id, node) <= (?1, ?2, ?3)";
    run(
        txn,
        &format!(
            "INSERT INTO usage_months (key_id, month, node, up, down)
             SELECT key_id, unixepoch(day * 86400, 'unixepoch', 'start of month') / 86400 AS month, node, sum(up),
                    sum(down) {OLD} GROUP BY key_id, month, node
             ON CONFLICT DO UPDATE SET up = up + excluded.up, down = down + excluded.down"
        ),
        params![day, key, node],
    )?;
    run(txn, &format!("DELETE {OLD}"), params![day, key, node])?;
    Ok(last.is_some())
}
