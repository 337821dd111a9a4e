//! The threads that own the connections.

use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{oneshot, watch};

use crate::vault::Vault;
use crate::{SqliteOptions, apply, convert_error, fork, lease, open, patience, prune, question, record};
use vpnkit_core::store::errors::closed;
use vpnkit_core::store::{Claim, Claimed, Fence, Newest, Pruned, Receipt, Retention, StoreTxn};
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
    Prune(Retention, Option<Fence>, Reply<Pruned>),
    /// With the time when it was asked.
    Claim(Vec<Claim>, Instant, Reply<Vec<Claimed>>),
    Release(Vec<Fence>, Reply<()>),
    Close,
}

/// The one thread that writes.
pub(crate) struct Writer {
    jobs: Sender<Write>,
    newest: watch::Sender<Newest>,
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
        let newest = watch::channel(Newest::default()).0;
        let (ready, opened) = oneshot::channel();
        let wake = newest.clone();
        let thread = spawn("vpnkit-store-w", move || match in_sqlite(|| open::writer(&path, &options)) {
            Ok((connection, vault)) => {
                if ready.send(Ok(Arc::clone(&vault))).is_ok() {
                    Writing { connection, vault: &vault, newest: &wake }.run(&queue);
                }
            }
            Err(e) => drop(ready.send(Err(e))),
        })?;
        let vault = opened.await.map_err(|_| closed("store.open"))??;
        Ok((Self { jobs, newest, thread: Mutex::new(Some(thread)) }, vault))
    }

    pub(crate) async fn commit(&self, txn: StoreTxn) -> Result<Receipt> {
        self.ask("store.commit", |reply| Write::Commit(Box::new(txn), reply)).await
    }

    pub(crate) async fn prune(&self, retention: Retention, fence: Option<Fence>) -> Result<Pruned> {
        self.ask("store.prune", |reply| Write::Prune(retention, fence, reply)).await
    }

    pub(crate) async fn claim(&self, claims: Vec<Claim>) -> Result<Vec<Claimed>> {
        self.ask("store.claim", |reply| Write::Claim(claims, Instant::now(), reply)).await
    }

    pub(crate) async fn release(&self, leases: Vec<Fence>) -> Result<()> {
        self.ask("store.release", |reply| Write::Release(leases, reply)).await
    }

    pub(crate) fn newest(&self) -> watch::Sender<Newest> {
        self.newest.clone()
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

/// What the writing thread works with.
struct Writing<'w> {
    connection: Connection,
    vault: &'w Vault,
    newest: &'w watch::Sender<Newest>,
}

/// A transaction that took so long shifts the ends of all leases: nobody could prolong them meanwhile.
const LONG: Duration = Duration::from_millis(100);

impl Writing<'_> {
    fn run(mut self, queue: &Receiver<Write>) {
        let mut open = true;
        let mut later = VecDeque::new();
        while open {
            let Some(first) = later.pop_front().or_else(|| queue.recv().ok()) else { break };
            let _work = fork::work();
            let mut commits = Vec::new();
            let mut others = Vec::new();
            let mut next = Some(first);
            while let Some(job) = next.take() {
                match job {
                    Write::Commit(txn, reply) => commits.push((txn, reply)),
                    Write::Close => {
                        open = false;
                        break;
                    }
                    other => others.push(other),
                }
                if commits.len() < GROUP {
                    next = later.pop_front().or_else(|| queue.try_recv().ok());
                }
            }
            // First: others take a lease that is prolonged late.
            let (leases, prunes): (Vec<_>, Vec<_>) =
                others.into_iter().partition(|job| !matches!(job, Write::Prune(..)));
            leases.into_iter().for_each(|job| self.other(job));
            // Large ones by themselves: under a savepoint SQLite copies every page that they touch.
            // What is only tried, too: it is taken back as a whole.
            let (large, small) = commits
                .into_iter()
                .partition(|(txn, _)| txn.ops.len() > 1 || txn.reads_counters() || txn.dry_run);
            self.commit(small);
            for txn in large {
                self.commit(vec![txn]);
                // They may take seconds together, and a lease that is prolonged late is another's.
                while let Ok(job) = queue.try_recv() {
                    match job {
                        Write::Claim(..) | Write::Release(..) => self.other(job),
                        job => later.push_back(job),
                    }
                }
            }
            prunes.into_iter().for_each(|job| self.other(job));
            patience::give_way();
        }
        in_sqlite(|| {
            // What somebody reads, as for a backup, is not waited for: nobody could write meanwhile.
            let _ = self.connection.busy_timeout(Duration::ZERO);
            let _ = self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
            drop(self.connection);
        });
    }

    fn other(&mut self, job: Write) {
        match job {
            Write::Prune(retention, fence, reply) => {
                drop(reply.send(prune::prune(&mut self.connection, &retention, fence.as_ref())));
            }
            Write::Claim(claims, asked, reply) => drop(reply.send(self.claim(&claims, asked))),
            Write::Release(leases, reply) => drop(reply.send(self.release(&leases))),
            Write::Commit(..) | Write::Close => {}
        }
    }

    fn claim(&mut self, claims: &[Claim], asked: Instant) -> Result<Vec<Claimed>> {
        const OP: &str = "store.claim";
        let sql = |e| convert_error::convert(OP, e);
        let txn = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sql)?;
        open::schema_is_known(&txn).and_then(|()| self.vault.still_opens(&txn))?;
        question::forget_old(&txn).map_err(|e| e.during(OP))?;
        let mut claimed = Vec::with_capacity(claims.len());
        for claim in claims {
            let blocked = asked.elapsed() > claim.time / 4;
            claimed.push(lease::claim(&txn, claim, blocked).map_err(|e| e.during(OP))?);
        }
        txn.commit().map_err(sql)?;
        Ok(claimed)
    }

    fn release(&mut self, leases: &[Fence]) -> Result<()> {
        const OP: &str = "store.release";
        let sql = |e| convert_error::convert(OP, e);
        let txn = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sql)?;
        lease::release(&txn, leases).map_err(|e| e.during(OP))?;
        txn.commit().map_err(sql)
    }

    /// One transaction for all; a batch that fails goes back to its savepoint and leaves the others alone.
    fn commit(&mut self, commits: Vec<(Box<StoreTxn>, Reply<Receipt>)>) {
        const OP: &str = "store.commit";
        if commits.is_empty() {
            return;
        }
        let vault = self.vault;
        let mut txn = match self.connection.transaction_with_behavior(TransactionBehavior::Immediate) {
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
        // From here on nobody else writes.
        let (begun, since) = (Instant::now(), lease::now());
        if let Err(e) = open::schema_is_known(&txn).and_then(|()| self.vault.still_opens(&txn)) {
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
                    Ok(receipt) if !receipt.dry_run => Ok(receipt),
                    // Failed, or only tried.
                    outcome => {
                        // Dropping the transaction rolls it back.
                        drop(txn);
                        if begun.elapsed() > LONG {
                            let _ = lease::shift(&self.connection, since);
                        }
                        let _ = reply.send(outcome);
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
        let revision = record::revision(&txn).unwrap_or_default();
        if begun.elapsed() > LONG
            && let Err(e) = lease::shift(&txn, since)
        {
            tracing::warn!(error = %e, "leases could not be prolonged");
        }
        let outcome = txn.commit().map_err(|e| convert_error::convert(OP, e));
        let event = answers.iter().filter_map(|(_, r)| r.as_ref().ok()).map(|r| r.cursor).max();
        // Before those who wait are answered: what they ask next is answered with what they have committed.
        if outcome.is_ok() {
            self.newest.send_if_modified(|newest| {
                let before = *newest;
                newest.event = newest.event.max(event.unwrap_or_default());
                newest.revision = newest.revision.max(revision);
                *newest != before
            });
        }
        for (reply, receipt) in answers {
            let _ = reply.send(outcome.clone().and(receipt));
        }
        if let Err(e) = outcome {
            tracing::warn!(kind = %e.kind(), "a group of commits failed");
        }
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
pub(crate) fn in_sqlite<T>(work: impl FnOnce() -> T) -> T {
    let _work = fork::work();
    work()
}

pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body).map_err(|e| {
        Error::new(ErrorKind::Unexpected, "store.open", "a thread could not be started").caused_by(e)
    })
}

pub(crate) async fn join(thread: Option<JoinHandle<()>>) {
    if let Some(thread) = thread {
        let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    }
}
