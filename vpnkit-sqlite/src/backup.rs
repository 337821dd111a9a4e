//! Copies a store into another file while it is written, and back when nobody has it open.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind as IoKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::{Backup as Copy, StepResult};
use rusqlite::{Connection, OpenFlags};

use crate::convert_error::convert;
use crate::worker::in_sqlite;
use crate::{check, fork, open};
use vpnkit_core::model::{Backup, Cursor};
use vpnkit_core::store::Progress;
use vpnkit_core::store::errors::closed;
use vpnkit_core::{Error, ErrorKind, Result};

/// Pages between two looks at the progress: 2 MB.
const STEP: i32 = 512;
/// How long another program may keep the copy from being written.
const BUSY: Duration = Duration::from_secs(5);
/// Between two tries meanwhile.
const WAIT: Duration = Duration::from_millis(5);

const BACK_UP: &str = "store.back_up";
const RESTORE: &str = "store.restore";

/// Copies the store at `from` into a new file. The copy is what was committed when it began: a snapshot that writers do not
/// wait for; the write-ahead log grows meanwhile.
pub(crate) fn back_up(from: &Path, busy: Duration, to: &Path, progress: &Progress) -> Result<Backup> {
    check_name(from, to)?;
    let partial = Partial::create(to, BACK_UP)?;
    let sql = |e| convert(BACK_UP, e);
    let (keys, newest_event) = using(
        || rewritable(&partial.0, BACK_UP),
        |copy| {
            using(
                || open::reader(from, busy),
                |source| {
                    // Held to the end: otherwise SQLite begins again with each commit of another process.
                    let begin = "BEGIN; SELECT count(*) FROM sqlite_master;";
                    in_sqlite(|| source.execute_batch(begin)).map_err(sql)?;
                    pages(source, copy, progress, BACK_UP)
                },
            )?;
            if let Some(fault) = check::faults(copy, progress, BACK_UP)?.first() {
                let damaged = "the store is damaged, and so is its copy";
                return Err(Error::new(ErrorKind::StoreCorrupt, BACK_UP, damaged)
                    .with("fault", fault)
                    .hint("restore an older backup"));
            }
            let contents = in_sqlite(|| contents(copy)).map_err(sql)?;
            // One file, that can be read where nothing can be written.
            in_sqlite(|| copy.execute_batch("PRAGMA journal_mode = DELETE")).map_err(sql)?;
            Ok(contents)
        },
    )?;
    let bytes = partial.becomes(to)?;
    Ok(Backup { path: to.display().to_string(), bytes, keys, newest_event })
}

/// Checks the name of a backup: SQLite would not take it for a part of a store, and nothing has it.
fn check_name(store: &Path, to: &Path) -> Result<()> {
    let (store, file) = (fork::real(store), fork::real(to));
    if PARTS.iter().any(|end| ended(&store, end) == file) {
        return Err(Error::invalid(BACK_UP, "path", "is a name that belongs to the store"));
    }
    if to.symlink_metadata().is_ok() {
        return Err(Error::new(ErrorKind::AlreadyExists, BACK_UP, "there is a file already")
            .with("path", to.display())
            .hint("give each backup a name of its own, as with its date"));
    }
    if let Some(part) = PARTS.iter().map(|end| ended(&file, end)).find(|part| part.symlink_metadata().is_ok())
    {
        let left = "there is something left of a store of that name";
        return Err(Error::new(ErrorKind::AlreadyExists, BACK_UP, left).with("path", part.display()));
    }
    Ok(())
}

/// What SQLite calls files beside a database.
const PARTS: [&str; 3] = ["-wal", "-shm", "-journal"];

fn ended(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// Copies a backup over the store at `to`, which nobody may have open, or into a new file.
///
/// Ids and cursors that the store has used since are not used again, and its leases end.
pub(crate) fn restore(from: &Path, to: &Path, progress: &Progress) -> Result<Backup> {
    let sql = |e| convert(RESTORE, e).with("path", to.display());
    let (from, to) = (&fork::real(from), &fork::real(to));
    if from.symlink_metadata().is_err() {
        return Err(
            Error::new(ErrorKind::NotFound, RESTORE, "there is no such backup").with("path", from.display())
        );
    }
    if from == to {
        return Err(Error::invalid(RESTORE, "backup", "is the store itself"));
    }
    let _claims =
        (fork::claim(from).map_err(|e| e.during(RESTORE))?, fork::claim(to).map_err(|e| e.during(RESTORE))?);
    // A copy is made ready first: what is written into the store then is written in one transaction.
    let partial = Partial::create(to, RESTORE)?;
    let (keys, newest_event) = using(
        || rewritable(&partial.0, RESTORE),
        |ready| {
            using(|| recognised(from), |source| pages(source, ready, progress, RESTORE))?;
            if let Some(fault) = check::faults(ready, progress, RESTORE)?.first() {
                let damaged = "the backup is damaged: nothing was changed";
                return Err(Error::new(ErrorKind::StoreCorrupt, RESTORE, damaged)
                    .with("path", from.display())
                    .with("fault", fault));
            }
            open::create(to).map_err(|e| e.during(RESTORE))?;
            using(
                || exclusive(to),
                |target| {
                    let used = in_sqlite(|| numbers_used(target)).map_err(sql)?;
                    let contents = in_sqlite(|| continued(ready, &used)).map_err(sql)?;
                    pages(ready, target, progress, RESTORE)?;
                    Ok(contents)
                },
            )
        },
    )?;
    let bytes = fs::metadata(to).map(|metadata| metadata.len()).unwrap_or_default();
    Ok(Backup { path: to.display().to_string(), bytes, keys, newest_event })
}

/// How far the ids and cursors of a store have got, by table.
fn numbers_used(store: &Connection) -> rusqlite::Result<Vec<(String, i64)>> {
    if !open::has_schema(store)? {
        return Ok(Vec::new());
    }
    let mut all = store.prepare("SELECT name, seq FROM sqlite_sequence")?;
    all.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// Makes a copy ready to go on in the place of a store that has used these numbers. Returns what is in it.
fn continued(copy: &mut Connection, used: &[(String, i64)]) -> rusqlite::Result<(u64, Cursor)> {
    let contents = contents(copy)?;
    copy.execute_batch("PRAGMA journal_mode = DELETE")?;
    let txn = copy.transaction()?;
    for (table, newest) in used {
        let found =
            txn.execute("UPDATE sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1", (table, newest))?;
        // SQLite writes a row with the first id only, and an older schema has fewer tables.
        if found == 0 {
            txn.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)", (table, newest))?;
        }
    }
    let leases = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'leases'";
    if txn.query_row(leases, [], |row| row.get::<_, i64>(0))? > 0 {
        // They were counted from when the machine was started: it may be another one.
        txn.execute("UPDATE leases SET ends = 0", [])?;
    }
    txn.commit()?;
    Ok(contents)
}

/// Works with a connection that is closed where [`fork`] knows of it, whatever comes of the work.
fn using<T>(
    open: impl FnOnce() -> Result<Connection>,
    work: impl FnOnce(&mut Connection) -> Result<T>,
) -> Result<T> {
    let mut connection = in_sqlite(open)?;
    let outcome = work(&mut connection);
    in_sqlite(|| drop(connection));
    outcome
}

/// Copies page by page. What is not done when this returns is taken back.
fn pages(from: &Connection, to: &mut Connection, progress: &Progress, op: &'static str) -> Result<()> {
    let sql = |e| convert(op, e);
    let copy = in_sqlite(|| Copy::new(from, to)).map_err(sql)?;
    let mut waited = Duration::ZERO;
    let copied = loop {
        if progress.is_cancelled() {
            break Err(closed(op));
        }
        // Unknown, and 0, before the first step.
        let before = copy.progress();
        let step = in_sqlite(|| copy.step(STEP));
        let now = copy.progress();
        if before.pagecount == 0 {
            progress.expect(steps(now.pagecount));
        }
        let left = if before.pagecount == 0 { now.pagecount } else { before.remaining };
        progress.add(steps(left - now.remaining));
        match step {
            Ok(StepResult::Done) => break Ok(()),
            Ok(StepResult::More) => {}
            Ok(_) if waited < BUSY => {
                std::thread::sleep(WAIT);
                waited += WAIT;
            }
            Ok(_) => {
                break Err(Error::new(ErrorKind::StoreLocked, op, "another process holds the file"));
            }
            Err(e) => break Err(sql(e)),
        }
    };
    in_sqlite(|| drop(copy));
    copied
}

fn steps(pages: i32) -> u64 {
    u64::try_from(pages).unwrap_or_default()
}

/// How many keys there are, and the newest event.
fn contents(connection: &Connection) -> rusqlite::Result<(u64, Cursor)> {
    let count = "SELECT (SELECT count(*) FROM keys),
                        coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)";
    connection.query_row(count, [], |row| {
        Ok((u64::try_from(row.get::<_, i64>(0)?).unwrap_or_default(), Cursor(row.get(1)?)))
    })
}

/// A file that is written until it gets its name, and goes away otherwise.
struct Partial(PathBuf);

impl Partial {
    /// A file beside the one that it is to become, or to be copied into.
    fn create(to: &Path, op: &'static str) -> Result<Self> {
        let fault = |kind, message| Error::new(kind, op, message).with("path", to.display());
        let Some(name) = to.file_name() else {
            return Err(Error::invalid(op, "path", "must name a file"));
        };
        let partial =
            to.with_file_name(format!(".{}.{}.partial", name.to_string_lossy(), uuid::Uuid::new_v4()));
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial) {
            Ok(_) => Ok(Self(partial)),
            Err(e) => Err(match e.kind() {
                IoKind::NotFound => fault(ErrorKind::NotFound, "there is no such directory"),
                IoKind::PermissionDenied | IoKind::ReadOnlyFilesystem => {
                    fault(ErrorKind::PermissionDenied, "no file can be created here")
                }
                IoKind::StorageFull => fault(ErrorKind::StoreFull, "no room left for a copy"),
                _ => fault(ErrorKind::Unexpected, "the copy cannot be created"),
            }
            .caused_by(e)),
        }
    }

    /// Gives it its name, and makes both last. Returns its size.
    fn becomes(self, to: &Path) -> Result<u64> {
        let name = || {
            let file = File::open(&self.0)?;
            file.sync_all()?;
            // Unlike renaming, this never takes the place of a file that has come meanwhile.
            match fs::hard_link(&self.0, to) {
                Err(e) if e.kind() == IoKind::AlreadyExists => return Err(e),
                // Not every file system has links.
                Err(_) if to.symlink_metadata().is_err() => fs::rename(&self.0, to)?,
                Err(e) => return Err(e),
                Ok(()) => {}
            }
            let directory = to.parent().filter(|parent| !parent.as_os_str().is_empty());
            // Not every file system can: then the name lasts a little later.
            let _ =
                File::open(directory.unwrap_or(Path::new("."))).and_then(|directory| directory.sync_all());
            file.metadata().map(|metadata| metadata.len())
        };
        name().map_err(|e| {
            let kind = match e.kind() {
                IoKind::AlreadyExists => ErrorKind::AlreadyExists,
                _ => ErrorKind::Unexpected,
            };
            Error::new(kind, BACK_UP, "the backup could not be given its name")
                .with("path", to.display())
                .caused_by(e)
        })
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
        for end in PARTS {
            let _ = fs::remove_file(ended(&self.0, end));
        }
    }
}

fn rewritable(path: &Path, op: &'static str) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags).and_then(|connection| {
        connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;")?;
        Ok(connection)
    });
    opened.map_err(|e| convert(op, e).with("path", path.display()))
}

/// The backup, if it is one that this vpnkit can open.
fn recognised(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)
        .map_err(|e| convert(RESTORE, e).with("path", path.display()))?;
    open::recognise(&connection, path).map_err(|e| e.during(RESTORE))?;
    if !open::has_schema(&connection).map_err(|e| convert(RESTORE, e).with("path", path.display()))? {
        return Err(Error::new(ErrorKind::StoreNotRecognized, RESTORE, "the backup is empty")
            .with("path", path.display()));
    }
    Ok(connection)
}

/// The store that is to be replaced, which nobody else can open any more.
fn exclusive(path: &Path) -> Result<Connection> {
    let told = |e: Error| {
        match e.kind() {
            ErrorKind::StoreLocked => in_use(path),
            // Whether it is a damaged store or something else nobody can tell, nor whether it is open somewhere.
            ErrorKind::StoreCorrupt | ErrorKind::StoreNotRecognized => e.hint(
                "close every process that has it open, move the file and those beside it (-wal, -shm) away, and restore again",
            ),
            _ => e,
        }
    };
    let fault = |e| told(convert(RESTORE, e).with("path", path.display()));
    let connection = rewritable(path, RESTORE).map_err(told)?;
    connection.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(())).map_err(fault)?;
    match open::recognise(&connection, path) {
        // What this one cannot open it may replace.
        Err(e) if e.kind() == ErrorKind::StoreTooNew => {}
        recognised => recognised.map_err(|e| e.during(RESTORE))?,
    }
    // Every connection that has it open keeps a lock on it, so that this fails.
    let mode: String = connection
        .query_row("PRAGMA locking_mode = EXCLUSIVE", [], |row| row.get::<_, String>(0))
        .and_then(|_| connection.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0)))
        .map_err(fault)?;
    if mode != "delete" {
        return Err(in_use(path));
    }
    connection.execute_batch("BEGIN EXCLUSIVE; COMMIT;").map_err(fault)?;
    Ok(connection)
}

fn in_use(path: &Path) -> Error {
    Error::new(ErrorKind::InUse, RESTORE, "the store is open")
        .with("path", path.display())
        .hint("close it in every process first")
}
