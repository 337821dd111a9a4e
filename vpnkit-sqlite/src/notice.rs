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
use crate::{event, open, query, record};
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
                look(&connection, &newest, &mut Newest::default())?;
                Ok(connection)
            }) {
                Ok(connection) => connection,
                Err(e) => return drop(ready.send(Err(e))),
            };
            if ready.send(Ok(())).is_err() {
                return;
            }
            let (mut seen, mut read, mut failed) = (None, Newest::default(), false);
            while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                let version = in_sqlite(|| data_version(&connection));
                if version.is_ok() && version.as_ref().ok() == seen.as_ref() {
                    continue;
                }
                let looked = |version| in_sqlite(|| look(&connection, &newest, &mut read)).map(|()| version);
                match version.and_then(looked) {
                    Ok(version) => (seen, failed) = (Some(version), false),
                    // The next look makes up for it.
                    Err(e) if !std::mem::replace(&mut failed, true) => {
                        tracing::warn!(error = %e, "what other processes commit is not noticed for now");
                    }
                    Err(_) => {}
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

/// `read` is what was read last: a store that is older than that was restored from a backup.
fn look(connection: &Connection, newest: &watch::Sender<Newest>, read: &mut Newest) -> Result<()> {
    let (event, revision) = (event::newest_event(connection)?, record::revision(connection)?);
    let older = event < read.event || revision < read.revision;
    *read = Newest { event, revision, commit: 0 };
    newest.send_modify(|newest| {
        // What this process has committed meanwhile may be newer than what was read.
        let before = if older { Newest::default() } else { *newest };
        newest.event = before.event.max(event);
        newest.revision = before.revision.max(revision);
        newest.commit += 1;
    });
    Ok(())
}
