//! From SQLite's errors to ours.

use rusqlite::ErrorCode;

use crate::file_system;
use vpnkit_core::{Error, ErrorKind};

/// The file system gives no locks, or no memory that processes share: `SQLITE_IOERR` with `LOCK`, `RDLOCK`, `SHMOPEN`, `SHMSIZE`,
/// `SHMLOCK` and `SHMMAP`.
const NOT_SHARED: [i32; 6] = [3850, 2314, 4618, 4874, 5130, 5386];

/// Converts an error of `operation`.
pub(crate) fn convert(operation: &'static str, error: rusqlite::Error) -> Error {
    if error.sqlite_error().is_some_and(|e| NOT_SHARED.contains(&e.extended_code)) {
        return file_system::refused().during(operation).caused_by(error);
    }
    let (kind, message, hint) = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (
            ErrorKind::StoreLocked,
            "another process holds the write lock of the store",
            "wait, or close the program that keeps a transaction open",
        ),
        Some(ErrorCode::ReadOnly) => (
            ErrorKind::StoreReadOnly,
            "the store cannot be written",
            "check the file's and directory's permissions",
        ),
        Some(ErrorCode::NotADatabase) => (ErrorKind::StoreNotRecognized, "the file is not a database", ""),
        Some(ErrorCode::DatabaseCorrupt) => {
            (ErrorKind::StoreCorrupt, "the store is damaged", "restore a backup")
        }
        Some(ErrorCode::DiskFull) => (ErrorKind::StoreFull, "no room left for the store", "free disk space"),
        Some(ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            (ErrorKind::PermissionDenied, "the store cannot be opened", "check the path and its permissions")
        }
        Some(ErrorCode::SystemIoFailure) => {
            (ErrorKind::StoreCorrupt, "reading or writing the store failed", "")
        }
        None if unreadable(&error) => (ErrorKind::StoreCorrupt, "a row cannot be understood", ""),
        _ => (ErrorKind::Unexpected, "the store failed", ""),
    };
    let converted = Error::new(kind, operation, message).caused_by(error);
    if hint.is_empty() { converted } else { converted.hint(hint) }
}

/// Whether a column holds what no vpnkit can have written.
fn unreadable(error: &rusqlite::Error) -> bool {
    use rusqlite::Error as E;
    matches!(
        error,
        E::FromSqlConversionFailure(..)
            | E::InvalidColumnType(..)
            | E::IntegralValueOutOfRange(..)
            | E::Utf8Error(..)
    )
}

/// Whether a uniqueness rule on `column` (`keys.name`) refused a row.
pub(crate) fn violates(error: &rusqlite::Error, column: &str) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(code, Some(message)) => {
            code.code == ErrorCode::ConstraintViolation && message.contains(column)
        }
        _ => false,
    }
}

/// A row that no vpnkit can have written.
pub(crate) fn damaged(what: &'static str) -> Error {
    Error::new(ErrorKind::StoreCorrupt, "store.read", "a row cannot be understood").with("column", what)
}
