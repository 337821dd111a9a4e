//! Traffic over time.

use rusqlite::{Connection, params};

use crate::query::{id_list, sql};
use crate::row::traffic;
use vpnkit_core::model::{UsagePoint, UsageQuery, UsageStep};
use vpnkit_core::{Result, Timestamp};

/// Traffic over time. Of a key, the hours are enumerated, so that its history is one look-up an hour; what was summed up is
/// one range.
pub(crate) fn usage(connection: &Connection, query: &UsageQuery) -> Result<Vec<UsagePoint>> {
    const HOUR: i64 = 3_600_000;
    let hour = |t: Timestamp| t.as_millis().div_euclid(HOUR);
    let bounds: (Option<i64>, Option<i64>) = connection
        .prepare_cached("SELECT (SELECT min(hour) FROM node_hours), (SELECT max(hour) FROM node_hours)")
        .and_then(|mut s| s.query_row([], |r| Ok((r.get(0)?, r.get(1)?))))
        .map_err(sql)?;
    let (Some(first), Some(last)) = bounds else { return Ok(Vec::new()) };
    let first = hour(query.from).max(first);
    let end = hour(query.to.minus(std::time::Duration::from_millis(1)));
    let last = end.min(last);
    if query.to <= query.from.hour() || (query.key.is_none() && first > last) {
        return Ok(Vec::new());
    }
    let node = query.node.as_ref().map(|n| n.as_str());
    let point = |r: &rusqlite::Row<'_>| {
        let at = Timestamp::from_millis(r.get::<_, i64>(0)?.saturating_mul(HOUR));
        let step = match r.get(3)? {
            0 => UsageStep::Hour,
            1 => UsageStep::Day,
            _ => UsageStep::Month,
        };
        Ok(UsagePoint { at, traffic: traffic(r, 1)?, step })
    };
    if let (None, Some(owners)) = (query.key, &query.owners) {
        let text = "SELECT u.hour, sum(u.up), sum(u.down), 0 FROM owner_hours u JOIN nodes n ON n.id = u.node
                    WHERE u.owner IN (SELECT value FROM json_each(?4)) AND u.hour BETWEEN ?1 AND ?2
                      AND (?3 IS NULL OR n.name = ?3) GROUP BY 1 ORDER BY 1";
        return connection
            .prepare_cached(text)
            .and_then(|mut s| s.query_map(params![first, last, node, id_list(owners)], point)?.collect())
            .map_err(sql);
    }
    let Some(key) = query.key else {
        let text = "SELECT u.hour, sum(u.up), sum(u.down), 0 FROM node_hours u JOIN nodes n ON n.id = u.node
                    WHERE u.hour BETWEEN ?1 AND ?2 AND (?3 IS NULL OR n.name = ?3) GROUP BY 1 ORDER BY 1";
        return connection
            .prepare_cached(text)
            .and_then(|mut s| s.query_map(params![first, last, node], point)?.collect())
            .map_err(sql);
    };
    // The hours that have not been summed up begin somewhere: those before need not be enumerated.
    let kept: Option<i64> = connection
        .prepare_cached("SELECT min(hour) FROM usage_hours")
        .and_then(|mut s| s.query_row([], |r| r.get(0)))
        .map_err(sql)?;
    let hours = kept.map_or(last + 1, |kept| kept.max(first));
    let day = query.from.day().as_millis().div_euclid(24 * HOUR);
    let month = query.from.month().as_millis().div_euclid(24 * HOUR);
    let text = "WITH RECURSIVE span(hour) AS (SELECT ?1 WHERE ?1 <= ?2
                                              UNION ALL SELECT hour + 1 FROM span WHERE hour < ?2),
                  every(hour, width, node, up, down) AS (
                    SELECT u.hour, 0, u.node, u.up, u.down FROM span CROSS JOIN nodes n CROSS JOIN usage_hours u
                      WHERE u.hour = span.hour AND u.node = n.id AND u.key_id = ?3
                    UNION ALL
                    SELECT day * 24, 1, node, up, down FROM usage_days
                      WHERE key_id = ?3 AND day >= ?5 AND day * 24 <= ?7
                    UNION ALL
                    SELECT month * 24, 2, node, up, down FROM usage_months
                      WHERE key_id = ?3 AND month >= ?6 AND month * 24 <= ?7)
                SELECT hour, sum(up), sum(down), width FROM every
                WHERE ?4 IS NULL OR node = (SELECT id FROM nodes WHERE name = ?4) GROUP BY hour, width ORDER BY hour, width";
    connection
        .prepare_cached(text)
        .and_then(|mut s| s.query_map(params![hours, last, key.0, node, day, month, end], point)?.collect())
        .map_err(sql)
}
