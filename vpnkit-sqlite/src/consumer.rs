//! Consumers of events: up to which event each has come.

use rusqlite::{Connection, params};

use crate::apply::{Batch, sql};
use crate::query;
use vpnkit_core::Result;
use vpnkit_core::model::Cursor;
use vpnkit_core::store::{ConsumerOp, errors as answer};

impl Batch<'_> {
    pub(crate) fn consumer_step(&self, op: &ConsumerOp) -> Result<()> {
        match op {
            ConsumerOp::Add(name, from) => self.run(
                "INSERT INTO consumers (name, cursor) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                params![name, from.0],
            ),
            ConsumerOp::Advance(name, to) => {
                match self.run("UPDATE consumers SET cursor = ?2 WHERE name = ?1", params![name, to.0]) {
                    Ok(0) => return Err(answer::no_consumer(name)),
                    outcome => outcome,
                }
            }
            ConsumerOp::Remove(name) => self.run("DELETE FROM consumers WHERE name = ?1", [name]),
            _ => return Err(answer::unknown_step()),
        }
        .map(drop)
        .map_err(sql)
    }
}

/// Who handles events, and up to which one.
pub(crate) fn consumers(connection: &Connection) -> Result<Vec<(String, Cursor)>> {
    connection
        .prepare_cached("SELECT name, cursor FROM consumers ORDER BY name")
        .and_then(|mut s| s.query_map([], |r| Ok((r.get(0)?, Cursor(r.get(1)?))))?.collect())
        .map_err(query::sql)
}
