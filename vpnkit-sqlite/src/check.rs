//! What is wrong with a file.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use crate::convert_error::convert;
use crate::worker::in_sqlite;
use vpnkit_core::Result;
use vpnkit_core::model::StoreCheck;
use vpnkit_core::store::Progress;
use vpnkit_core::store::errors::closed;

/// Faults that are told.
const MOST: usize = 100;
/// Between two looks whether this is cancelled.
const LOOK: Duration = Duration::from_millis(20);

const OP: &str = "store.check";

/// Reads everything.
pub(crate) fn check(connection: &Connection, progress: &Progress) -> Result<StoreCheck> {
    let tables = in_sqlite(|| tables(connection)).map_err(|e| convert(OP, e))?.len();
    let faults = faults(connection, progress, OP)?;
    Ok(StoreCheck { tables: u64::try_from(tables).unwrap_or_default(), faults })
}

fn tables(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut names =
        connection.prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")?;
    names.query_map([], |row| row.get(0))?.collect()
}

/// Returns what is wrong: a damaged page, an index that has not what its table has, a row that refers to none.
pub(crate) fn faults(connection: &Connection, progress: &Progress, op: &'static str) -> Result<Vec<String>> {
    let statement = connection.get_interrupt_handle();
    std::thread::scope(|scope| {
        let (done, ended) = channel::<()>();
        // One statement reads a whole table.
        scope.spawn(move || {
            while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                if progress.is_cancelled() {
                    statement.interrupt();
                }
            }
        });
        let found = found(connection, progress, op);
        drop(done);
        found
    })
}

fn found(connection: &Connection, progress: &Progress, op: &'static str) -> Result<Vec<String>> {
    let tables = match in_sqlite(|| tables(connection)) {
        Ok(tables) => tables,
        // Not even what tables there are can be read.
        Err(e) if is_damage(&e) => return Ok(vec![e.to_string()]),
        Err(e) => return Err(convert(op, e)),
    };
    progress.expect(u64::try_from(tables.len() + 1).unwrap_or_default());
    let mut faults = Vec::new();
    // Under this name SQLite looks at the pages that no table has.
    for table in tables.into_iter().chain(["sqlite_schema".to_owned()]) {
        match in_sqlite(|| of_table(connection, &table)) {
            Ok(found) => faults.extend(found),
            Err(e) if is_damage(&e) => faults.push(format!("{table}: {e}")),
            Err(_) if progress.is_cancelled() => return Err(closed(op)),
            Err(e) => return Err(convert(op, e)),
        }
        progress.add(1);
    }
    faults.truncate(MOST);
    Ok(faults)
}

fn of_table(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let quoted = table.replace('"', "\"\"");
    let mut faults = Vec::new();
    let mut integrity = connection.prepare(&format!("PRAGMA integrity_check(\"{quoted}\")"))?;
    for fault in integrity.query_map([], |row| row.get::<_, String>(0))? {
        let fault = fault?;
        if fault != "ok" {
            faults.push(format!("{table}: {fault}"));
        }
    }
    let mut references = connection.prepare(&format!("PRAGMA foreign_key_check(\"{quoted}\")"))?;
    let missing = |row: &rusqlite::Row<'_>| {
        let (id, of): (Option<i64>, String) = (row.get(1)?, row.get(2)?);
        let row = id.map_or_else(|| "a row".to_owned(), |id| format!("row {id}"));
        Ok(format!("{table}: {row} refers to a row of {of} that is not there"))
    };
    for fault in references.query_map([], missing)?.take(MOST) {
        faults.push(fault?);
    }
    Ok(faults)
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}
