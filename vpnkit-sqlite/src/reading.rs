//! Readings of counters: what has moved since the last one, and where the counters stood.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::apply::Batch;
use crate::query::{self, sql};
use crate::row::{number, traffic};
use vpnkit_core::accounting::{Baseline, crossed};
use vpnkit_core::model::{KeyId, NodeId, ServerId, Traffic};
use vpnkit_core::store::{TrafficBatch, consequence, errors as answer};
use vpnkit_core::traffic::{Counter, Epoch, Series};
use vpnkit_core::{ErrorKind, Result};

impl Batch<'_> {
    /// Three narrow writes a moved key; a key's row is read only when its limit is reached.
    pub(crate) fn traffic(&mut self, batch: &TrafficBatch) -> Result<()> {
        let source = self.source(batch)?;
        let node = self.node(&batch.node)?;
        let at = self.at.as_millis();
        let hour = at.div_euclid(3_600_000);
        let (mut follows, mut near) = (Vec::new(), Vec::new());
        let (mut owners, mut shares) = (BTreeMap::<i64, (u64, Traffic)>::new(), Vec::new());
        {
            let prepare = |text: &str| self.connection.prepare_cached(text).map_err(sql);
            // Not `UPDATE … RETURNING`: that makes SQLite keep a journal for each statement.
            let mut meter = prepare(
                "SELECT max(data_limit - used - ?2, 0), on_hold, owner, data_limit, used FROM meters WHERE key_id = ?1",
            )?;
            let mut count = prepare(
                "UPDATE meters SET used = used + min(?5, 9223372036854775807 - used), up = up + ?2, down = down + ?3, seen_at = ?4,
                                   first_seen_at = coalesce(first_seen_at, ?4), on_hold = 0 WHERE key_id = ?1",
            )?;
            let mut counter = prepare(
                "INSERT INTO counters (source, key_id, series, up, down, ended) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT DO UPDATE SET up = excluded.up, down = excluded.down, ended = excluded.ended",
            )?;
            let mut bucket = prepare(
                "INSERT INTO usage_hours (hour, node, key_id, up, down) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT DO UPDATE SET up = up + excluded.up, down = down + excluded.down",
            )?;
            let mut through = Traffic::default();
            for moved in &batch.moved {
                let (key, up, down) = (moved.key.0, number(moved.delta.up), number(moved.delta.down));
                let counted = moved.delta != Traffic::default();
                let delta = number(batch.coefficient.weigh(moved.delta.total()));
                let meter: Option<Meter> =
                    meter.query_row([key, delta], Meter::read).optional().map_err(sql)?;
                let Some(Meter { left, on_hold, owner, limit, used }) = meter else { continue };
                let left = left.map(i64::unsigned_abs);
                counter
                    .execute(params![
                        source,
                        key,
                        moved.series.as_ref().map_or("", Series::as_str),
                        number(moved.counter.up),
                        number(moved.counter.down),
                        moved.ended,
                    ])
                    .map_err(sql)?;
                if counted {
                    count.execute([key, up, down, at, delta]).map_err(sql)?;
                    bucket.execute([hour, node, key, up, down]).map_err(sql)?;
                    through = through.plus(moved.delta);
                    if let Some(percent) = limit.and_then(|limit| {
                        let before = used.unsigned_abs();
                        crossed(
                            before,
                            before.saturating_add(delta.unsigned_abs()),
                            limit.unsigned_abs(),
                            &batch.usage_percents,
                        )
                    }) {
                        shares.push((moved.key, percent));
                    }
                    if let Some(owner) = owner {
                        let (used, passed) = owners.entry(owner).or_default();
                        *used = used.saturating_add(delta.unsigned_abs());
                        *passed = passed.plus(moved.delta);
                    }
                }
                match left {
                    _ if on_hold && counted => follows.push(moved.key),
                    Some(0) => follows.push(moved.key),
                    Some(left) if left <= batch.near_within => near.push((moved.key, left)),
                    _ => {}
                }
            }
            if through != Traffic::default() {
                self.run(
                    "INSERT INTO node_hours (hour, node, up, down) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT DO UPDATE SET up = up + excluded.up, down = down + excluded.down",
                    [hour, node, number(through.up), number(through.down)],
                )
                .map_err(sql)?;
            }
        }
        for (key, percent) in shares {
            self.tell_share(key, percent)?;
        }
        for (owner, (used, passed)) in owners {
            self.count_used(owner, used, passed, hour, node)?;
        }
        for (key, series) in &batch.forgotten {
            self.run(
                "DELETE FROM counters WHERE source = ?1 AND key_id = ?2 AND series = ?3",
                params![source, key.0, series.as_str()],
            )
            .map_err(sql)?;
        }
        for key in follows {
            self.connect(key)?;
        }
        self.receipt.near.append(&mut near);
        Ok(())
    }

    /// Tells that a key has used a share of its limit; all of it is told by its status.
    fn tell_share(&mut self, id: KeyId, percent: u8) -> Result<()> {
        if percent >= 100 {
            return Ok(());
        }
        match query::bare_key(self.connection, id) {
            Ok(Some(key)) => self.emit(consequence::of_share(&key, percent)),
            Ok(None) => Ok(()),
            // The others are told.
            Err(e) if e.kind() == ErrorKind::StoreCorrupt => {
                tracing::warn!(key = id.0, error = %e, "a key cannot be read; nobody is reminded of its limit");
                Ok(())
            }
            Err(e) => Err(e),
        }
    }

    /// The row of the server, one reading further.
    fn source(&self, batch: &TrafficBatch) -> Result<i64> {
        let server = batch.server.as_str();
        let newest: Option<i64> = self
            .connection
            .prepare_cached("SELECT max(sequence) FROM sources WHERE server = ?1")
            .and_then(|mut s| s.query_row([server], |r| r.get(0)))
            .map_err(sql)?;
        if newest.unwrap_or(0) != number(batch.after) {
            return Err(answer::reading_outdated(&batch.server));
        }
        let id: i64 = self
            .connection
            .prepare_cached(
                "INSERT INTO sources (server, epoch, evidence, sequence) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (server, epoch) DO UPDATE SET evidence = excluded.evidence,
                 sequence = excluded.sequence RETURNING id",
            )
            .and_then(|mut s| {
                s.query_row(
                    params![server, batch.epoch.id, batch.epoch.evidence, number(batch.after + 1)],
                    |r| r.get(0),
                )
            })
            .map_err(sql)?;
        if batch.new_epoch {
            self.run("DELETE FROM counters WHERE source = ?1", [id]).map_err(sql)?;
            self.forget_epochs(&batch.server)?;
        }
        Ok(id)
    }

    /// Forgets the oldest lifetimes of a server's counters.
    fn forget_epochs(&self, server: &ServerId) -> Result<()> {
        let kept = i64::try_from(Baseline::EPOCHS_KEPT).unwrap_or(i64::MAX);
        let old = "SELECT id FROM sources WHERE server = ?1 ORDER BY sequence DESC LIMIT -1 OFFSET ?2";
        for text in [
            format!("DELETE FROM counters WHERE source IN ({old})"),
            format!("DELETE FROM sources WHERE id IN ({old})"),
        ] {
            self.run(&text, params![server.as_str(), kept]).map_err(sql)?;
        }
        Ok(())
    }

    fn node(&self, node: &NodeId) -> Result<i64> {
        self.run("INSERT INTO nodes (name) VALUES (?1) ON CONFLICT DO NOTHING", [node.as_str()])
            .map_err(sql)?;
        self.connection
            .prepare_cached("SELECT id FROM nodes WHERE name = ?1")
            .and_then(|mut s| s.query_row([node.as_str()], |r| r.get(0)))
            .map_err(sql)
    }
}

/// What a reading must know of a key.
struct Meter {
    /// What is left with what is counted now; nothing without a limit.
    left: Option<i64>,
    on_hold: bool,
    owner: Option<i64>,
    limit: Option<i64>,
    used: i64,
}

impl Meter {
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let (left, on_hold, owner) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(Self { left, on_hold, owner, limit: row.get(3)?, used: row.get(4)? })
    }
}

/// The newest stored reading.
pub(crate) fn baseline(
    connection: &Connection,
    server: &ServerId,
    epoch: Option<&str>,
) -> Result<Option<Baseline>> {
    let found = connection
        .query_row(
            "SELECT id, epoch, evidence, (SELECT max(sequence) FROM sources WHERE server = ?1) FROM sources
             WHERE server = ?1 AND (?2 IS NULL OR epoch = ?2) ORDER BY sequence DESC LIMIT 1",
            params![server.as_str(), epoch],
            |r| Ok((r.get::<_, i64>(0)?, Epoch { id: r.get(1)?, evidence: r.get(2)? }, r.get::<_, i64>(3)?)),
        )
        .optional()
        .map_err(sql)?;
    let Some((id, epoch, sequence)) = found else { return Ok(None) };
    let counters = connection
        .prepare_cached(
            "SELECT key_id, up, down, series, ended FROM counters WHERE source = ?1 ORDER BY key_id, series",
        )
        .and_then(|mut s| {
            let counter = |r: &rusqlite::Row<'_>| {
                let series = Series::new(r.get_ref(3)?.as_str()?);
                Ok(Counter { key: KeyId(r.get(0)?), series, traffic: traffic(r, 1)?, ended: r.get(4)? })
            };
            s.query_map([id], counter)?.collect()
        })
        .map_err(sql)?;
    Ok(Some(Baseline { epoch, sequence: sequence.unsigned_abs(), counters }))
}
