//! Opening a file: what it is, its schema, its settings.

use std::fs::OpenOptions;
use std::io::ErrorKind as IoKind;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::SqliteOptions;
use crate::convert_error::convert;
use crate::file_system;
use crate::patience;
use crate::vault::Vault;
use vpnkit_core::{Error, ErrorKind, Result};

/// `vpnk` in the header of the file.
const APPLICATION_ID: i32 = 0x7670_6e6b;

/// Numbered, never edited once released.
const MIGRATIONS: [&str; 12] = [
    include_str!("../migrations/0001_initial.sql"),
    include_str!("../migrations/0002_subscriptions.sql"),
    include_str!("../migrations/0003_servers.sql"),
    include_str!("../migrations/0004_many_servers.sql"),
    include_str!("../migrations/0005_bound_credentials.sql"),
    include_str!("../migrations/0006_epochs.sql"),
    include_str!("../migrations/0007_a_million_keys.sql"),
    include_str!("../migrations/0008_passphrases.sql"),
    include_str!("../migrations/0009_processes.sql"),
    include_str!("../migrations/0010_lifecycle.sql"),
    include_str!("../migrations/0011_support.sql"),
    include_str!("../migrations/0012_admins.sql"),
];

const OPEN: &str = "store.open";

/// The connection that writes; creates and migrates the file.
pub(crate) fn writer(path: &Path, options: &SqliteOptions) -> Result<(Connection, Arc<Vault>)> {
    file_system::check(path)?;
    create(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(|e| at(path, e))?;
    patience::wait_on(&mut connection, options.busy_timeout)?;
    recognise(&connection, path)?;
    let mode = write_ahead(&connection, options.busy_timeout).map_err(|e| at(path, e))?;
    // SQLite stays with what it had where the system gives it no shared memory.
    if mode != "wal" {
        return Err(file_system::refused().with("path", path.display()).with("journal_mode", mode));
    }
    connection
        .execute_batch(
            "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
             PRAGMA journal_size_limit = 67108864; PRAGMA temp_store = MEMORY;",
        )
        .map_err(|e| at(path, e))?;
    keep_plans(&connection).map_err(|e| at(path, e))?;
    migrate(&mut connection, path)?;
    let (passphrase, previous) = (options.passphrase.as_ref(), options.previous_passphrase.as_ref());
    let vault =
        Vault::open(&mut connection, passphrase, previous).map_err(|e| e.with("path", path.display()))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok((connection, Arc::new(vault)))
}

/// Lets a prepared statement stay prepared. Otherwise SQLite compares values with what indexes are partial to, and prepares a statement
/// again each time that another value is bound: that costs more than most statements here.
fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

/// Switches the write-ahead log on. SQLite does not wait for others who do the same.
fn write_ahead(connection: &Connection, limit: Duration) -> rusqlite::Result<String> {
    let begun = Instant::now();
    loop {
        let switched = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0));
        match switched {
            Err(e) if e.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && begun.elapsed() < limit => {
                std::thread::sleep(Duration::from_millis(5));
            }
            switched => return switched,
        }
    }
}

/// Opens a store that this process has open already, to write once.
pub(crate) fn another_writer(path: &Path, busy: Duration) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(|e| at(path, e))?;
    patience::wait_on(&mut connection, busy)?;
    connection
        .execute_batch("PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;")
        .map_err(|e| at(path, e))?;
    Ok(connection)
}

/// A connection that reads.
pub(crate) fn reader(path: &Path, busy: Duration) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(|e| at(path, e))?;
    patience::wait_on(&mut connection, busy)?;
    connection
        .execute_batch("PRAGMA query_only = ON; PRAGMA temp_store = MEMORY;")
        .map_err(|e| at(path, e))?;
    keep_plans(&connection).map_err(|e| at(path, e))?;
    connection
        .create_scalar_function(
            "holds",
            2,
            FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC,
            |call| {
                let text: Option<String> = call.get(0)?;
                let needle: String = call.get(1)?;
                Ok(text.is_some_and(|text| text.to_lowercase().contains(&needle)))
            },
        )
        .map_err(|e| at(path, e))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// SQLite would create it readable for everyone.
pub(crate) fn create(path: &Path) -> Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == IoKind::AlreadyExists => {
            close_to_others(path);
            Ok(())
        }
        Err(e) => {
            let (kind, message) = match e.kind() {
                IoKind::NotFound => (ErrorKind::NotFound, "the directory of the store does not exist"),
                IoKind::ReadOnlyFilesystem => {
                    (ErrorKind::StoreReadOnly, "the store's file system is read-only")
                }
                IoKind::PermissionDenied => (ErrorKind::PermissionDenied, "the store cannot be created here"),
                _ => (ErrorKind::Unexpected, "the store cannot be created"),
            };
            Err(Error::new(kind, OPEN, message).with("path", path.display()).caused_by(e))
        }
    }
}

/// A file that was copied or restored may be open to everybody; SQLite gives its journal the same mode. What a group may do
/// is left as it is: somebody may have meant it.
fn close_to_others(path: &Path) {
    let Ok(mode) = std::fs::metadata(path).map(|metadata| metadata.permissions().mode()) else { return };
    if mode & 0o007 == 0 {
        return;
    }
    let closed = std::fs::Permissions::from_mode(mode & 0o7770);
    if let Err(e) = std::fs::set_permissions(path, closed) {
        tracing::warn!(path = %path.display(), error = %e, "everybody on this machine may open the store");
    }
}

pub(crate) fn recognise(connection: &Connection, path: &Path) -> Result<()> {
    // One statement, so one moment: another process may be creating the schema.
    let (application, version, tables): (i32, i32, i64) = connection
        .query_row(
            "SELECT (SELECT application_id FROM pragma_application_id),
                    (SELECT user_version FROM pragma_user_version),
                    (SELECT count(*) FROM sqlite_master)",
            [],
            |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)),
        )
        .map_err(|e| at(path, e))?;
    if application != APPLICATION_ID && (application != 0 || version != 0 || tables != 0) {
        return Err(Error::new(
            ErrorKind::StoreNotRecognized,
            OPEN,
            "the database belongs to another program",
        )
        .with("path", path.display())
        .hint("give vpnkit a file of its own"));
    }
    let known = MIGRATIONS.len();
    if usize::try_from(version).map_or(true, |v| v > known) {
        return Err(Error::new(ErrorKind::StoreTooNew, OPEN, "a newer vpnkit has written this store")
            .with("path", path.display())
            .with("schema", version)
            .with("known", known)
            .hint("upgrade vpnkit, or restore the backup from before the upgrade"));
    }
    Ok(())
}

/// Whether it is a store, and not a file that is to become one.
pub(crate) fn has_schema(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT user_version > 0 FROM pragma_user_version", [], |row| row.get(0))
}

/// Two processes may start at once: the version is read again under the write lock.
fn migrate(connection: &mut Connection, path: &Path) -> Result<()> {
    loop {
        let txn = connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(|e| at(path, e))?;
        let version: i32 = txn.query_row("PRAGMA user_version", [], |r| r.get(0)).map_err(|e| at(path, e))?;
        let Some(step) = usize::try_from(version).ok().and_then(|v| MIGRATIONS.get(v)) else { return Ok(()) };
        txn.execute_batch(step).map_err(|e| at(path, e))?;
        txn.execute_batch(&format!(
            "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {};",
            version + 1
        ))
        .map_err(|e| at(path, e))?;
        txn.commit().map_err(|e| at(path, e))?;
    }
}

/// A newer program may have migrated the store since this one opened it: what this one would write may be wrong by now.
pub(crate) fn schema_is_known(connection: &Connection) -> Result<()> {
    let version: i64 = connection
        .prepare_cached("SELECT user_version FROM pragma_user_version")
        .and_then(|mut s| s.query_row([], |r| r.get(0)))
        .map_err(|e| convert("store.commit", e))?;
    if usize::try_from(version) == Ok(MIGRATIONS.len()) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::StoreTooNew, "store.commit", "a newer vpnkit has changed this store meanwhile")
        .with("schema", version)
        .with("known", MIGRATIONS.len())
        .hint("upgrade vpnkit in every process that uses the store"))
}

fn at(path: &Path, error: rusqlite::Error) -> Error {
    let mut error = convert(OPEN, error);
    if error.kind() == ErrorKind::PermissionDenied && on_read_only_file_system(path) {
        error = Error::new(ErrorKind::StoreReadOnly, OPEN, "the store's file system is read-only")
            .caused_by(error);
    }
    error.with("path", path.display())
}

/// SQLite does not tell. Asked of a new file: opening the store's own would drop this process's locks on it.
fn on_read_only_file_system(path: &Path) -> bool {
    let probe = path.with_file_name(format!(".vpnkit-{}", uuid::Uuid::new_v4()));
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&probe) {
        Ok(_) => {
            let _ = std::fs::remove_file(probe);
            false
        }
        Err(e) => e.kind() == IoKind::ReadOnlyFilesystem,
    }
}
