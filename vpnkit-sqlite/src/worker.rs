//! The threads that own the connections.

use std::fmt;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use crate::vault::Vault;
use crate::{SqliteOptions, apply, convert_error, fork, open, prune};
use vpnkit_core::model::Cursor;
use vpnkit_core::store::errors::closed;
use vpnkit_core::store::{Pruned, Receipt, Retention, StoreTxn};
use vpnkit_core::{Error, ErrorKind, Result};

type Reply<T> = oneshot::Sender<Result<T>>;
type Query = Box<dyn FnOnce(&Connection, &Vault) + Send>;

/// How long a reader looks for the next query before it sleeps: a caller that reads in a loop does not pay for waking it each
/// time, and an idle store costs nothing.
const LINGER: Duration = Duration::from_micros(60);

/// At most so many waiting commits share one transaction.
const GROUP: usize = 256;

enum Write {
    Commit(Box<StoreTxn>, Reply<Receipt>),
    Prune(Retention, Reply<Pruned>),
    Close,
}

/// The one thread that writes.
pub(crate) struct Writer {
    jobs: Sender<Write>,
    signal: watch::Sender<Cursor>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writer")
    }
}

impl Writer {
    pub(crate) async fn start(path: PathBuf, options: SqliteOptions) -> Result<(Self, Arc<Vault>)> {
        let (jobs, queue) = channel();
        let signal = watch::channel(Cursor::START).0;
        let (ready, opened) = oneshot::channel();
        let wake = signal.clone();
        let thread = spawn("vpnkit-store-w", move || match in_sqlite(|| open::writer(&path, &options)) {
            Ok((connection, vault)) => {
                if ready.send(Ok(Arc::clone(&vault))).is_ok() {
                    write(connection, &vault, &queue, &wake);
                }
            }
            Err(e) => drop(ready.send(Err(e))),
        })?;
        let vault = opened.await.map_err(|_| closed("store.open"))??;
        Ok((Self { jobs, signal, thread: Mutex::new(Some(thread)) }, vault))
    }

    pub(crate) async fn commit(&self, txn: StoreTxn) -> Result<Receipt> {
        self.ask("store.commit", |reply| Write::Commit(Box::new(txn), reply)).await
    }

    pub(crate) async fn prune(&self, retention: Retention) -> Result<Pruned> {
        self.ask("store.prune", |reply| Write::Prune(retention, reply)).await
    }

    pub(crate) fn event_signal(&self) -> watch::Receiver<Cursor> {
        self.signal.subscribe()
    }

    pub(crate) async fn close(&self) -> Result<()> {
        let _ = self.jobs.send(Write::Close);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        join(thread).await;
        Ok(())
    }

    async fn ask<T>(&self, operation: &'static str, job: impl FnOnce(Reply<T>) -> Write) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(job(reply)).map_err(|_| closed(operation))?;
        answer.await.map_err(|_| closed(operation))?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Ends the thread after the commits that wait; nobody waits for it here.
        let _ = self.jobs.send(Write::Close);
    }
}

fn write(mut connection: Connection, vault: &Vault, queue: &Receiver<Write>, signal: &watch::Sender<Cursor>) {
    let mut open = true;
    while open {
        let Ok(first) = queue.recv() else { break };
        let _work = fork::work();
        let mut commits = Vec::new();
        let mut prunes = Vec::new();
        let mut next = Some(first);
        while let Some(job) = next.take() {
            match job {
                Write::Commit(txn, reply) => commits.push((txn, reply)),
                Write::Prune(retention, reply) => prunes.push((retention, reply)),
                Write::Close => {
                    open = false;
                    break;
                }
            }
            if commits.len() < GROUP {
                next = queue.try_recv().ok();
            }
        }
        // Large ones by themselves: under a savepoint SQLite copies every page that they touch.
        let (large, small) =
            commits.into_iter().partition(|(txn, _)| txn.ops.len() > 1 || txn.reads_counters());
        commit(&mut connection, vault, small, signal);
        for txn in large {
            commit(&mut connection, vault, vec![txn], signal);
        }
        for (retention, reply) in prunes {
            let _ = reply.send(prune::prune(&mut connection, &retention));
        }
    }
    in_sqlite(|| {
        let _ = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
        drop(connection);
    });
}

/// One transaction for all; a batch that fails goes back to its savepoint and leaves the others alone.
fn commit(
    connection: &mut Connection,
    vault: &Vault,
    commits: Vec<(Box<StoreTxn>, Reply<Receipt>)>,
    signal: &watch::Sender<Cursor>,
) {
    const OP: &str = "store.commit";
    if commits.is_empty() {
        return;
    }
    let mut txn = match connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate) {
        Ok(txn) => txn,
        Err(e) => {
            let e = convert_error::convert(OP, e);
            tracing::warn!(kind = %e.kind(), "no transaction could be started");
            for (_, reply) in commits {
                let _ = reply.send(Err(e.clone()));
            }
            return;
        }
    };
    if let Err(e) = open::schema_is_known(&txn) {
        for (_, reply) in commits {
            let _ = reply.send(Err(e.clone()));
        }
        return;
    }
    let alone = commits.len() == 1;
    let mut answers = Vec::with_capacity(commits.len());
    let mut lost: Option<Error> = None;
    for (batch, reply) in commits {
        if let Some(e) = &lost {
            let _ = reply.send(Err(e.clone()));
            continue;
        }
        let receipt = if alone {
            match apply::apply(&txn, vault, *batch) {
                Ok(receipt) => Ok(receipt),
                Err(e) => {
                    // Dropping the transaction rolls it back.
                    let _ = reply.send(Err(e));
                    return;
                }
            }
        } else {
            txn.savepoint().map_err(|e| convert_error::convert(OP, e)).and_then(|step| {
                let receipt = apply::apply(&step, vault, *batch)?;
                step.commit().map_err(|e| convert_error::convert(OP, e))?;
                Ok(receipt)
            })
        };
        // On a full disk SQLite takes the whole transaction back by itself: what came before is gone with it, and what
        // comes after would be committed alone.
        if let (true, Err(e)) = (txn.is_autocommit(), &receipt) {
            lost = Some(e.clone());
        }
        answers.push((reply, receipt));
    }
    if let Some(e) = lost {
        for (reply, _) in answers {
            let _ = reply.send(Err(e.clone()));
        }
        return;
    }
    let outcome = txn.commit().map_err(|e| convert_error::convert(OP, e));
    let newest = answers.iter().filter_map(|(_, r)| r.as_ref().ok()).map(|r| r.cursor).max();
    for (reply, receipt) in answers {
        let _ = reply.send(outcome.clone().and(receipt));
    }
    if let (Ok(()), Some(newest)) = (&outcome, newest) {
        signal.send_if_modified(|seen| {
            let grown = newest > *seen;
            *seen = newest.max(*seen);
            grown
        });
    }
    if let Err(e) = outcome {
        tracing::warn!(kind = %e.kind(), "a group of commits failed");
    }
}

/// Threads that read, all from one queue.
pub(crate) struct Readers {
    jobs: Mutex<Option<crossbeam_channel::Sender<Query>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Readers")
    }
}

impl Readers {
    pub(crate) async fn start(path: PathBuf, options: &SqliteOptions, vault: Arc<Vault>) -> Result<Self> {
        let (jobs, queue) = crossbeam_channel::unbounded::<Query>();
        let mut threads = Vec::new();
        for _ in 0..options.readers.max(1) {
            let (queue, path, busy) = (queue.clone(), path.clone(), options.busy_timeout);
            let vault = Arc::clone(&vault);
            let (ready, opened) = oneshot::channel();
            threads.push(spawn("vpnkit-store-r", move || match in_sqlite(|| open::reader(&path, busy)) {
                Ok(connection) => {
                    if ready.send(Ok(())).is_ok() {
                        read(connection, &vault, &queue);
                    }
                }
                Err(e) => drop(ready.send(Err(e))),
            })?);
            opened.await.map_err(|_| closed("store.open"))??;
        }
        Ok(Self { jobs: Mutex::new(Some(jobs)), threads: Mutex::new(threads) })
    }

    pub(crate) async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        query: impl FnOnce(&Connection, &Vault) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let job: Query = Box::new(move |connection, vault| drop(reply.send(query(connection, vault))));
        let sent = match self.jobs.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some(jobs) => jobs.send(job).is_ok(),
            None => false,
        };
        if !sent {
            return Err(closed(operation));
        }
        answer.await.map_err(|_| closed(operation))?.map_err(|e: Error| e.during(operation))
    }

    pub(crate) async fn close(&self) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            join(Some(thread)).await;
        }
    }
}

fn read(connection: Connection, vault: &Vault, queue: &crossbeam_channel::Receiver<Query>) {
    while let Ok(job) = queue.recv() {
        in_sqlite(|| job(&connection, vault));
        let mut asked = Instant::now();
        while asked.elapsed() < LINGER {
            if let Ok(job) = queue.try_recv() {
                in_sqlite(|| job(&connection, vault));
                asked = Instant::now();
            } else {
                std::thread::yield_now();
            }
        }
    }
    in_sqlite(|| drop(connection));
}

/// See [`fork`].
fn in_sqlite<T>(work: impl FnOnce() -> T) -> T {
    let _work = fork::work();
    work()
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body).map_err(|e| {
        Error::new(ErrorKind::Unexpected, "store.open", "a thread could not be started").caused_by(e)
    })
}

async fn join(thread: Option<JoinHandle<()>>) {
    if let Some(thread) = thread {
        let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    }
}
