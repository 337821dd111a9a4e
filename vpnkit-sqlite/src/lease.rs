//! Leases as rows.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::apply::sql;
use crate::convert_error::damaged;
use vpnkit_core::machine::since_boot;
use vpnkit_core::model::Cursor;
use vpnkit_core::store::{Claim, Claimed, Fence, Lease, errors};
use vpnkit_core::{Error, ErrorKind, Result};

const COLUMNS: &str = "name, holder, number, progress, note, ends";
/// No lease lasts so long: one that ends later was made before the machine was started again, and is over.
const LONGEST_MS: i64 = 3_600_000;

/// The time of the machine, as `leases` has it.
pub(crate) fn now() -> i64 {
    millis(since_boot())
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// A row, and when it is over.
struct Held {
    lease: Lease,
    ends: i64,
}

impl Held {
    fn read(row: &Row<'_>) -> Result<Self> {
        let holder: String = row.get(1).map_err(sql)?;
        let lease = Lease {
            name: row.get(0).map_err(sql)?,
            holder: serde_json::from_str(&holder).map_err(|_| damaged("leases.holder"))?,
            number: row.get::<_, i64>(2).map_err(sql)?.unsigned_abs(),
            left: Duration::ZERO,
            progress: Cursor(row.get(3).map_err(sql)?),
            note: row.get(4).map_err(sql)?,
        };
        Ok(Self { lease, ends: row.get(5).map_err(sql)? })
    }

    /// Nothing, when it is over.
    fn left(&self, now: i64) -> i64 {
        match self.ends.saturating_sub(now) {
            left if left > LONGEST_MS => 0,
            left => left.max(0),
        }
    }

    fn at(self, now: i64) -> Lease {
        let left = u64::try_from(self.left(now)).unwrap_or(0);
        Lease { left: Duration::from_millis(left), ..self.lease }
    }
}

pub(crate) fn all(connection: &Connection) -> Result<Vec<Lease>> {
    let now = now();
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM leases ORDER BY name")).map_err(sql)?;
    let mut rows = statement.query([]).map_err(sql)?;
    let mut leases = Vec::new();
    while let Some(row) = rows.next().map_err(sql)? {
        leases.push(Held::read(row)?.at(now));
    }
    Ok(leases)
}

/// Takes or prolongs a lease inside a transaction. `blocked`: the transaction had to wait for so long that a holder may have
/// waited with it; then nothing is taken.
pub(crate) fn claim(connection: &Connection, claim: &Claim, blocked: bool) -> Result<Claimed> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM leases WHERE name = ?1")).map_err(sql)?;
    let held = statement
        .query_row([claim.name.as_str()], |row| Ok(Held::read(row)))
        .optional()
        .map_err(sql)?
        .transpose()?;
    let now = now();
    let number = match (&held, claim.number) {
        (Some(held), Some(number)) if held.lease.number == number => number,
        // Released or orphaned, not just over: nobody can be waiting to prolong it.
        (Some(held), None)
            if held.ends == 0
                || claim.instead_of == Some(held.lease.number)
                || (held.left(now) == 0 && !blocked) =>
        {
            held.lease.number + 1
        }
        (None, _) => 1,
        (Some(_), _) => {
            return held.map(|held| Claimed::Taken(held.at(now))).ok_or_else(|| damaged("leases.name"));
        }
    };
    let holder = serde_json::to_string(&claim.holder).unwrap_or_default();
    connection
        .prepare_cached(
            "INSERT INTO leases (name, holder, number, ends, progress, note) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, number = excluded.number,
             ends = excluded.ends, progress = excluded.progress,
             note = coalesce(excluded.note, note)",
        )
        .and_then(|mut s| {
            s.execute(params![
                claim.name,
                holder,
                number.cast_signed(),
                now.saturating_add(millis(claim.time)),
                claim.progress.0,
                claim.note,
            ])
        })
        .map_err(sql)?;
    Ok(Claimed::Held(number))
}

/// Shifts the ends of all leases that were held at `since`: a transaction has kept their holders from prolonging them.
pub(crate) fn shift(connection: &Connection, since: i64) -> Result<()> {
    connection
        .prepare_cached("UPDATE leases SET ends = ends + ?2 WHERE ends > ?1 AND ends <= ?1 + ?3")
        .and_then(|mut s| s.execute(params![since, now().saturating_sub(since), LONGEST_MS]))
        .map(drop)
        .map_err(sql)
}

pub(crate) fn release(connection: &Connection, leases: &[Fence]) -> Result<()> {
    for fence in leases {
        connection
            .prepare_cached("UPDATE leases SET ends = 0 WHERE name = ?1 AND number = ?2")
            .and_then(|mut s| s.execute(params![fence.lease, fence.number.cast_signed()]))
            .map_err(sql)?;
    }
    Ok(())
}

/// Errors: `LeaseLost` when somebody else has got the lease since.
pub(crate) fn check(connection: &Connection, fence: Option<&Fence>) -> Result<()> {
    let Some(fence) = fence else { return Ok(()) };
    let newest: Option<i64> = connection
        .prepare_cached("SELECT number FROM leases WHERE name = ?1")
        .and_then(|mut s| s.query_row([&fence.lease], |row| row.get(0)).optional())
        .map_err(sql)?;
    match newest {
        Some(newest) if newest == fence.number.cast_signed() => Ok(()),
        Some(_) => Err(errors::lease_lost(fence)),
        None => Err(Error::new(ErrorKind::LeaseLost, errors::COMMIT, "the store does not know the lease")
            .with("lease", &fence.lease)),
    }
}
