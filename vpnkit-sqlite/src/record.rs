//! Records: settings, templates and secrets that the engine keeps, and the revision that grows with them.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::apply::Batch;
use crate::query::sql;
use crate::row::number;
use crate::vault::Vault;
use vpnkit_core::model::{Record, RecordQuery};
use vpnkit_core::store::{Made, RecordOp, consequence, errors as answer};
use vpnkit_core::{ErrorKind, Result};

impl Batch<'_> {
    pub(crate) fn record(&mut self, op: RecordOp) -> Result<()> {
        let (RecordOp::Put { place, expected, .. } | RecordOp::Remove { place, expected }) = &op else {
            return Err(answer::unknown_step());
        };
        let (kind, id) = (place.0.as_str(), place.1.as_str());
        let version: i64 = self
            .connection
            .prepare_cached("SELECT version FROM records WHERE kind = ?1 AND id = ?2")
            .and_then(|mut s| s.query_row([kind, id], |r| r.get(0)).optional())
            .map_err(sql)?
            .unwrap_or(0);
        if let Some(expected) = expected
            && number(*expected) != version
        {
            return Err(answer::record(kind, id, *expected, version.unsigned_abs()));
        }
        if matches!(op, RecordOp::Remove { .. }) && version == 0 {
            return Ok(());
        }
        match &op {
            RecordOp::Put { index, body, .. } => {
                self.receipt.made.push(Made { kind: kind.to_owned(), id: id.to_owned() });
                self.run(
                    "INSERT INTO records (kind, id, version, lookup, body) VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT (kind, id) DO UPDATE SET version = excluded.version, lookup = excluded.lookup,
                     body = excluded.body",
                    params![kind, id, version + 1, index, self.vault.seal_record(kind, id, body)?],
                )
            }
            _ => self.run("DELETE FROM records WHERE kind = ?1 AND id = ?2", [kind, id]),
        }
        .map_err(sql)?;
        // Nobody holds what is an admin's own in memory.
        if Record::admin(kind, id).is_none() {
            self.grow_revision()?;
        }
        // What vpnkit keeps for itself is no setting: no event tells of it.
        match &self.cause {
            Some(_) => self.emit(consequence::of_settings(kind, id)),
            None => Ok(()),
        }
    }

    /// What other processes have read of inbounds and records is no longer true.
    pub(crate) fn grow_revision(&self) -> Result<()> {
        self.run("UPDATE meta SET value = value + 1 WHERE name = 'revision'", []).map(drop).map_err(sql)
    }
}

/// The records of a query.
pub(crate) fn records(connection: &Connection, vault: &Vault, query: &RecordQuery) -> Result<Vec<Record>> {
    let kinds = serde_json::to_string(&query.kinds).unwrap_or_default();
    // Each form has its index.
    let kind = "kind IN (SELECT value FROM json_each(?1))";
    let condition = match (query.kinds.is_empty(), &query.index, &query.below) {
        (true, ..) => {
            "(?1 IS NOT NULL AND (?2 IS NULL OR lookup = ?2) AND (?3 IS NULL OR id >= ?3))".to_owned()
        }
        (false, Some(_), _) => format!("{kind} AND lookup = ?2 AND ?3 IS NULL"),
        (false, None, Some(_)) => format!("{kind} AND ?2 IS NULL AND id >= ?3 || '/' AND id < ?3 || '0'"),
        (false, None, None) => format!("{kind} AND ?2 IS NULL AND ?3 IS NULL"),
    };
    let mut statement = connection
        .prepare_cached(&format!(
            "SELECT kind, id, version, lookup, body FROM records WHERE {condition} ORDER BY kind, id"
        ))
        .map_err(sql)?;
    let mut rows = statement.query(params![kinds, query.index, query.below]).map_err(sql)?;
    let mut records = Vec::new();
    while let Some(row) = rows.next().map_err(sql)? {
        let (kind, id): (String, String) = (row.get(0).map_err(sql)?, row.get(1).map_err(sql)?);
        let (version, body): (i64, String) = (row.get(2).map_err(sql)?, row.get(4).map_err(sql)?);
        let body = match vault.open_record(&kind, &id, &body) {
            Ok(body) => body,
            // What can be read is; the engine says of what it needs that it is missing.
            Err(e) if e.kind() == ErrorKind::StoreCorrupt => {
                tracing::warn!(kind, id, error = %e, "a record of this store cannot be read");
                continue;
            }
            Err(e) => return Err(e),
        };
        let index = row.get(3).map_err(sql)?;
        records.push(Record { kind, id, version: version.unsigned_abs(), index, body });
    }
    Ok(records)
}

/// Grows with every change of an inbound or a record.
pub(crate) fn revision(connection: &Connection) -> Result<u64> {
    connection
        .prepare_cached("SELECT value FROM meta WHERE name = 'revision'")
        .and_then(|mut s| s.query_row([], |r| r.get::<_, i64>(0)))
        .map(i64::unsigned_abs)
        .map_err(sql)
}
