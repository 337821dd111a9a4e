//! The store on SQLite, for one machine.
//!
//! One writer thread groups the commits that wait for it into one transaction, so that a hundred bots' creates
//! share one fsync; reader threads answer beside it. WAL with `synchronous=FULL`: what was acknowledged survives
//! `kill -9` and a power cut. Several processes may open the same file.

mod admin;
mod apply;
mod backup;
mod check;
mod consumer;
mod convert_error;
mod credential;
mod dead_letter;
mod device;
mod erase;
mod event;
mod file_system;
pub mod fork;
mod grant;
mod inbound;
mod label;
mod lease;
mod life;
mod long_work;
mod notice;
mod open;
mod passphrase;
mod patience;
mod prune;
mod query;
mod question;
mod reading;
mod record;
mod reminder;
mod row;
mod usage;
mod vault;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use self::long_work::LongWork;
use self::notice::Notice;
use self::worker::{Readers, Writer};
use vpnkit_core::accounting::Baseline;
use vpnkit_core::model::{
    Admin, AdminId, AdminRef, AuditQuery, Backup, ClientDevice, CredentialSecret, Cursor, DeadLetter,
    DeviceName, Event, EventBatch, Grant, Inbound, InboundId, Key, KeyCounts, KeyId, KeyQuery, KeyRef, Page,
    Record, RecordQuery, Revocation, ServerId, StoreCheck, UsagePoint, UsageQuery,
};
use vpnkit_core::store::{
    ChangeBatch, Claim, Claimed, Fence, Following, GrantFilter, KeyStore, Lease, Newest, Origin, Progress,
    Pruned, Question, QuestionId, Receipt, Request, Retention, StoreTxn,
};
use vpnkit_core::{Result, Secret, Timestamp};

/// How to open the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteOptions {
    /// How long to wait for another process that writes. Default: 5 s.
    pub busy_timeout: Duration,
    /// Connections that read, each on its own thread. Default: 2.
    pub readers: usize,
    /// Encrypts credentials and inbounds (which hold private keys) at rest. A store that was not encrypted is when it
    /// is opened with one; from then on it opens with this one only, until it is changed. There is no way back to a lost passphrase.
    pub passphrase: Option<Secret>,
    /// What the passphrase was before: a store that still has this one gets `passphrase` when it is opened. A store that has
    /// it already opens as ever, so that this may stay until every process has been started with both.
    pub previous_passphrase: Option<Secret>,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { busy_timeout: Duration::from_secs(5), readers: 2, passphrase: None, previous_passphrase: None }
    }
}

/// The store in one SQLite file. Clones of the trait object share it.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    writer: Writer,
    readers: Readers,
    notice: Notice,
    claim: Mutex<Option<fork::Claim>>,
    long_work: LongWork,
    busy: Duration,
}

impl SqliteStore {
    /// Opens the file, creates it (mode 0600) when there is none, and brings its schema up to date.
    ///
    /// Errors: `StoreNotRecognized` (another program's database, or no database), `StoreTooNew`, `StoreLocked`,
    /// `StoreReadOnly`, `StoreCorrupt`, `PermissionDenied`, `NotFound` (no such directory), `PassphraseMissing`,
    /// `PassphraseWrong`, `Unsupported` (the file system cannot be shared by processes, as one of a network), `Forked` (the process that this one was forked from had it open then).
    pub async fn open(path: impl AsRef<Path>, options: SqliteOptions) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let claim = Mutex::new(Some(fork::claim(&path)?));
        let (writer, vault) = Writer::start(path.clone(), options.clone()).await?;
        let readers = Readers::start(path.clone(), &options, vault).await?;
        let notice = Notice::start(path.clone(), options.busy_timeout, writer.newest()).await?;
        let (long_work, busy) = (LongWork::default(), options.busy_timeout);
        Ok(Self { path, writer, readers, notice, claim, long_work, busy })
    }

    /// Replaces the store at `store` by a backup, or makes one of it where there is none. It must not be open, here or elsewhere.
    /// A copy of the backup is made and checked before, beside the store; after a crash the store is what it was.
    ///
    /// What happened since the backup is undone: payments, keys, traffic that was counted. Ids and cursors are not used again. The
    /// passphrase is that of the backup. A store that is too damaged to be opened has to be moved away first, with the files beside it.
    ///
    /// Errors: `NotFound`, `StoreCorrupt` (the backup is damaged), `StoreNotRecognized` (one of them is no store), `StoreTooNew`
    /// (the backup is), `InUse` (the store is open), `StoreFull`, `PermissionDenied`, `Closed` (it was cancelled).
    pub async fn restore(
        backup: impl AsRef<Path>,
        store: impl AsRef<Path>,
        progress: &Progress,
    ) -> Result<Backup> {
        let (backup, store) = (backup.as_ref().to_owned(), store.as_ref().to_owned());
        let run = move |progress: &Progress| backup::restore(&backup, &store, progress);
        LongWork::default().run("store.restore", progress, run).await
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[async_trait]
impl KeyStore for SqliteStore {
    async fn key(&self, key: &KeyRef) -> Result<Option<Key>> {
        let key = key.clone();
        self.readers.run("store.key", move |c, vault| query::key(c, vault, &key)).await
    }

    async fn holder(&self, secret: &CredentialSecret) -> Result<Option<(KeyId, DeviceName)>> {
        let secret = secret.clone();
        self.readers.run("store.holder", move |c, vault| query::holder(c, vault, &secret)).await
    }

    async fn limits_addresses(&self) -> Result<bool> {
        self.readers.run("store.limits_addresses", |c, _| query::limits_addresses(c)).await
    }

    async fn keys(&self, ids: &[KeyId]) -> Result<Vec<Key>> {
        let ids = ids.to_vec();
        self.readers.run("store.keys", move |c, vault| query::keys(c, vault, &ids)).await
    }

    async fn find(&self, query: &KeyQuery) -> Result<Page> {
        let resume = query.resume()?;
        let query = query.clone();
        self.readers.run("store.find", move |c, vault| query::find(c, vault, &query, resume)).await
    }

    async fn count(&self, query: &KeyQuery) -> Result<KeyCounts> {
        let query = query.clone();
        self.readers.run("store.count", move |c, _| query::count(c, &query)).await
    }

    async fn commit(&self, txn: StoreTxn) -> Result<Receipt> {
        self.writer.commit(txn).await
    }

    async fn receipt(&self, request: &Request) -> Result<Option<Receipt>> {
        let request = request.clone();
        self.readers.run("store.receipt", move |c, vault| apply::replay(c, vault, &request)).await
    }

    async fn grants(&self, filter: &GrantFilter) -> Result<Vec<Grant>> {
        let filter = filter.clone();
        self.readers.run("store.grants", move |c, _| grant::grants(c, &filter)).await
    }

    async fn admin(&self, admin: &AdminRef) -> Result<Option<Admin>> {
        let named = admin.clone();
        self.readers.run("store.admin", move |c, _| admin::find(c, &named)).await
    }

    async fn admins(&self, from: Option<AdminId>) -> Result<Vec<Admin>> {
        self.readers.run("store.admins", move |c, _| admin::all(c, from)).await
    }

    async fn owners_to_follow(&self, limit: usize) -> Result<Following> {
        self.readers.run("store.owners_to_follow", move |c, _| admin::to_follow(c, limit)).await
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<KeyId>> {
        self.readers.run("store.due", move |c, _| query::due(c, now, limit)).await
    }

    async fn inbounds(&self) -> Result<Vec<Inbound>> {
        self.readers.run("store.inbounds", inbound::inbounds).await
    }

    async fn records(&self, query: &RecordQuery) -> Result<Vec<Record>> {
        let query = query.clone();
        self.readers.run("store.records", move |c, vault| record::records(c, vault, &query)).await
    }

    async fn revision(&self) -> Result<u64> {
        self.readers.run("store.revision", |c, _| record::revision(c)).await
    }

    async fn id(&self) -> Result<String> {
        self.readers.run("store.id", |c, _| query::id(c)).await
    }

    async fn revocations(&self, inbound: &InboundId, now: Timestamp) -> Result<Vec<Revocation>> {
        let inbound = inbound.clone();
        self.readers.run("store.revocations", move |c, _| query::revocations(c, &inbound, now)).await
    }

    async fn devices(&self, key: KeyId) -> Result<Vec<ClientDevice>> {
        self.readers.run("store.devices", move |c, _| device::devices(c, key)).await
    }

    async fn baseline(&self, server: &ServerId) -> Result<Option<Baseline>> {
        let server = server.clone();
        self.readers.run("store.baseline", move |c, _| reading::baseline(c, &server, None)).await
    }

    async fn baseline_of(&self, server: &ServerId, epoch: &str) -> Result<Option<Baseline>> {
        let (server, epoch) = (server.clone(), epoch.to_owned());
        self.readers.run("store.baseline_of", move |c, _| reading::baseline(c, &server, Some(&epoch))).await
    }

    async fn usage(&self, query: &UsageQuery) -> Result<Vec<UsagePoint>> {
        let query = query.clone();
        self.readers.run("store.usage", move |c, _| usage::usage(c, &query)).await
    }

    async fn events(&self, after: Cursor, max: usize) -> Result<EventBatch> {
        self.readers.run("store.events", move |c, _| event::events(c, after, max)).await
    }

    async fn timeline(&self, key: KeyId, before: Option<Cursor>, max: usize) -> Result<Vec<Event>> {
        self.readers.run("store.timeline", move |c, _| event::timeline(c, key, before, max)).await
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Vec<Event>> {
        let query = query.clone();
        self.readers.run("store.audit", move |c, _| event::audit(c, &query)).await
    }

    async fn dead_letters(&self, webhook: &str, after: Cursor, max: usize) -> Result<(Vec<DeadLetter>, u64)> {
        let webhook = webhook.to_owned();
        let read = move |c: &rusqlite::Connection, _: &vault::Vault| {
            dead_letter::dead_letters(c, &webhook, after, max)
        };
        self.readers.run("store.dead_letters", read).await
    }

    async fn consumers(&self) -> Result<Vec<(String, Cursor)>> {
        self.readers.run("store.consumers", |c, _| consumer::consumers(c)).await
    }

    async fn newest_event(&self) -> Result<Cursor> {
        self.readers.run("store.newest_event", |c, _| event::newest_event(c)).await
    }

    fn newest(&self) -> watch::Receiver<Newest> {
        self.writer.newest().subscribe()
    }

    async fn changes(&self, after: Cursor, max: usize, own: Origin) -> Result<ChangeBatch> {
        self.readers.run("store.changes", move |c, _| event::changes(c, after, max, own)).await
    }

    async fn questions(&self) -> Result<Vec<Question>> {
        self.readers.run("store.questions", question::open).await
    }

    async fn answer(&self, question: &QuestionId) -> Result<Option<Secret>> {
        let id = question.clone();
        self.readers.run("store.answer", move |c, vault| question::answer(c, vault, &id)).await
    }

    async fn leases(&self) -> Result<Vec<Lease>> {
        self.readers.run("store.leases", |c, _| lease::all(c)).await
    }

    async fn claim(&self, claims: &[Claim]) -> Result<Vec<Claimed>> {
        self.writer.claim(claims.to_vec()).await
    }

    async fn release(&self, leases: &[Fence]) -> Result<()> {
        self.writer.release(leases.to_vec()).await
    }

    async fn prune(&self, retention: &Retention, fence: Option<Fence>) -> Result<Pruned> {
        self.writer.prune(*retention, fence).await
    }

    async fn back_up(&self, to: &Path, progress: &Progress) -> Result<Backup> {
        let (from, busy, to) = (self.path.clone(), self.busy, to.to_owned());
        let run = move |progress: &Progress| backup::back_up(&from, busy, &to, progress);
        self.long_work.run("store.back_up", progress, run).await
    }

    async fn check(&self, progress: &Progress) -> Result<StoreCheck> {
        let (path, busy) = (self.path.clone(), self.busy);
        let run = move |progress: &Progress| {
            let connection = worker::in_sqlite(|| open::reader(&path, busy))?;
            let found = check::check(&connection, progress);
            worker::in_sqlite(|| drop(connection));
            found
        };
        self.long_work.run("store.check", progress, run).await
    }

    async fn change_passphrase(&self, previous: &Secret, passphrase: &Secret) -> Result<()> {
        let (path, busy) = (self.path.clone(), self.busy);
        let (previous, passphrase) = (previous.clone(), passphrase.clone());
        let run = move |_: &Progress| {
            let mut connection = worker::in_sqlite(|| open::another_writer(&path, busy))?;
            let changed = passphrase::change_in_use(&mut connection, &previous, &passphrase);
            worker::in_sqlite(|| drop(connection));
            changed
        };
        self.long_work.run("store.change_passphrase", &Progress::default(), run).await
    }

    async fn close(&self) -> Result<()> {
        self.long_work.close().await;
        self.notice.close().await;
        self.readers.close().await;
        let closed = self.writer.close().await;
        self.claim.lock().unwrap_or_else(PoisonError::into_inner).take();
        closed
    }
}
