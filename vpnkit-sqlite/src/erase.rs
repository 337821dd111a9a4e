//! Erasing replaced secrets from the free pages and the write-ahead log of the file.

use rusqlite::{Connection, ErrorCode as Code, params};

use crate::vault::sql;
use vpnkit_core::Result;

/// The free pages, and the write-ahead log with them.
pub(crate) const PAGES: &str = "pages_to_clear";
/// The write-ahead log only.
pub(crate) const LOG: &str = "log_to_clear";

/// Marks what is to be erased, inside the transaction that replaces a secret. The number tells one mark from the next, so
/// that nobody removes the mark of a later change.
pub(crate) fn mark(connection: &Connection, what: &str) -> Result<()> {
    let mark = "INSERT OR REPLACE INTO meta (name, value) VALUES (?1, abs(random() % 4294967296))";
    connection.execute(mark, [what]).map(drop).map_err(sql)
}

/// Erases what is marked. A store that is read by another process, or a full disk, is logged and tried again at the next
/// opening: the store itself is sound.
pub(crate) fn erase(connection: &Connection) -> Result<()> {
    if let Some(why) = try_erase(connection)? {
        tracing::warn!(
            why,
            "old secrets still stand in free pages of the store; they are erased at its next opening"
        );
    }
    Ok(())
}

/// The same; returns why it could not be done now.
pub(crate) fn try_erase(connection: &Connection) -> Result<Option<String>> {
    let due: Vec<(String, i64)> = connection
        .prepare("SELECT name, value FROM meta WHERE name IN (?1, ?2)")
        .and_then(|mut s| s.query_map([PAGES, LOG], |r| Ok((r.get(0)?, r.get(1)?)))?.collect())
        .map_err(sql)?;
    if due.is_empty() {
        return Ok(None);
    }
    let pages = due.iter().any(|(name, _)| name == PAGES);
    let erased = if pages { vacuum(connection) } else { Ok(()) }.and_then(|()| {
        // Another process that reads keeps the old pages in the file.
        let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |r| r.get(0))?;
        if busy != 0 {
            return Ok(false);
        }
        for mark in &due {
            connection.execute("DELETE FROM meta WHERE name = ?1 AND value = ?2", params![mark.0, mark.1])?;
        }
        Ok(true)
    });
    match erased {
        Ok(true) => Ok(None),
        Ok(false) => Ok(Some("another process reads the store".to_owned())),
        Err(e) => match e.sqlite_error_code() {
            Some(Code::DatabaseBusy | Code::DatabaseLocked | Code::DiskFull | Code::OutOfMemory) => {
                Ok(Some(e.to_string()))
            }
            _ => Err(sql(e)),
        },
    }
}

/// The copy that it makes is as large as the store: not in memory.
fn vacuum(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("PRAGMA temp_store = FILE")?;
    let done = connection.execute_batch("VACUUM");
    connection.execute_batch("PRAGMA temp_store = MEMORY")?;
    done
}
