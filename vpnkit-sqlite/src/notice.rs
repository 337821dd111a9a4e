//! The thread that notices what other processes commit.

use std::fmt;
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use crate::worker::{in_sqlite, join, spawn};
use crate::{open, query};
use vpnkit_core::Result;
use vpnkit_core::store::Newest;
use vpnkit_core::store::errors::closed;

/// Between two looks. A look reads a number in shared memory: some microseconds.
const EVERY: Duration = Duration::from_millis(50);

/// Looks for commits until it is closed.
pub(crate) struct Notice {
    stop: Mutex<Option<Sender<()>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notice")
    }
}

impl Notice {
    pub(crate) async fn start(path: PathBuf, busy: Duration, newest: watch::Sender<Newest>) -> Result<Self> {
        let (stop, stopped) = channel::<()>();
        let (ready, opened) = oneshot::channel();
        let thread = spawn("vpnkit-store-n", move || {
            let connection = match in_sqlite(|| {
                let connection = open::reader(&path, busy)?;
                look(&connection, &newest)?;
                Ok(connection)
            }) {
                Ok(connection) => connection,
                Err(e) => return drop(ready.send(Err(e))),
            };
            if ready.send(Ok(())).is_err() {
                return;
            }
            let mut seen = None;
            while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                let version = in_sqlite(|| data_version(&connection));
                if version.is_ok() && version.as_ref().ok() == seen.as_ref() {
                    continue;
                }
                match version.and_then(|version| in_sqlite(|| look(&connection, &newest)).map(|()| version)) {
                    Ok(version) => seen = Some(version),
                    // The next look makes up for it.
                    Err(e) => tracing::debug!(error = %e, "what is newest in the store could not be read"),
                }
            }
            in_sqlite(|| drop(connection));
        })?;
        opened.await.map_err(|_| closed("store.open"))??;
        Ok(Self { stop: Mutex::new(Some(stop)), thread: Mutex::new(Some(thread)) })
    }

    pub(crate) async fn close(&self) {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner).take();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        join(thread).await;
    }
}

/// A number that changes when another connection has committed.
fn data_version(connection: &Connection) -> Result<i64> {
    connection.query_row("PRAGMA data_version", [], |row| row.get(0)).map_err(query::sql)
}

fn look(connection: &Connection, newest: &watch::Sender<Newest>) -> Result<()> {
    let (event, revision) = (query::newest_event(connection)?, query::revision(connection)?);
    newest.send_modify(|newest| {
        // What this process has committed meanwhile may be newer than what was read.
        newest.event = newest.event.max(event);
        newest.revision = newest.revision.max(revision);
        newest.commit += 1;
    });
    Ok(())
}
