//! The interface to what remembers, the store in memory, and what every store shares: which events follow from a change
//! ([`consequence`]) and the errors that all of them answer in the same words ([`errors`]).

pub mod consequence;
pub mod errors;
mod follow;
mod grant_filter;
mod lease;
pub mod memory;
mod progress;
mod question;
mod receipt;
mod retention;
mod step;
mod txn;

use std::fmt::Debug;
use std::path::Path;

use async_trait::async_trait;
use tokio::sync::watch;

pub use follow::{ChangeBatch, Newest, StoreChange};
pub use grant_filter::GrantFilter;
pub use lease::{Claim, Claimed, Fence, Holder, Lease, Origin};
pub use progress::Progress;
pub use question::{Question, QuestionId};
pub use receipt::{Made, Receipt, Transition};
pub use retention::{Pruned, Retention, last_before};
pub use step::{
    AdminOp, ConsumerOp, DeadLetterOp, DeviceOp, InboundOp, KeyOp, QuestionOp, RecordOp, SETTLE_AGAIN,
    StoreOp, TrafficBatch,
};
pub use txn::{Request, StoreTxn};

use crate::accounting::Baseline;
use crate::model::{
    Admin, AdminId, AdminRef, AuditQuery, Backup, ClientDevice, CredentialSecret, Cursor, DeadLetter,
    DeviceName, Event, EventBatch, Grant, Inbound, InboundId, Key, KeyCounts, KeyId, KeyQuery, KeyRef, Page,
    Record, RecordQuery, Revocation, ServerId, StoreCheck, UsagePoint, UsageQuery,
};
use crate::{Result, Secret, Timestamp};

/// How many merges are followed from one key to the next.
pub const MERGED_MAX: usize = 16;

/// Keys that have to follow what has changed of their owners.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Following {
    /// The keys.
    pub keys: Vec<KeyId>,
    /// The admins whose keys have all followed, and what: for [`AdminOp::Followed`].
    pub done: Vec<(AdminId, u64)>,
}

/// Remembers keys, inbounds, readings, usage and events.
///
/// All writing goes through [`Self::commit`]: one atomic batch, idempotent by request id. There is no transaction
/// object, so nothing is held over an await. `vpnkit-testkit` has the suite that every implementation must pass.
/// No method has a default body: a wrapper that forgets one does not compile.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait KeyStore: Debug + Send + Sync {
    /// One key by id, UUID or name.
    async fn key(&self, key: &KeyRef) -> Result<Option<Key>>;

    /// Returns the key that has a secret, and the device that it is of, by an index.
    async fn holder(&self, secret: &CredentialSecret) -> Result<Option<(KeyId, DeviceName)>>;

    /// Returns whether any key may be used only at some addresses at once. The work does not grow with the keys.
    async fn limits_addresses(&self) -> Result<bool>;

    /// The keys that exist among `ids`, in the order of their ids.
    async fn keys(&self, ids: &[KeyId]) -> Result<Vec<Key>>;

    /// A page of keys. Pages go on by key, not by offset: a key that stays is seen once whatever is written meanwhile.
    async fn find(&self, query: &KeyQuery) -> Result<Page>;

    /// Counts the keys that the query finds on all its pages.
    async fn count(&self, query: &KeyQuery) -> Result<KeyCounts>;

    /// One atomic batch: all of it or nothing. Once it returns, the batch survives `kill -9` and, on durable
    /// stores, a power cut.
    async fn commit(&self, txn: StoreTxn) -> Result<Receipt>;

    /// The receipt of a request that was carried out before, as [`Self::commit`] answers it. `IdempotencyMismatch`.
    async fn receipt(&self, request: &Request) -> Result<Option<Receipt>>;

    /// Entries of the ledger, oldest first.
    async fn grants(&self, filter: &GrantFilter) -> Result<Vec<Grant>>;

    /// Returns an admin by its id or name, with what it has and uses.
    async fn admin(&self, admin: &AdminRef) -> Result<Option<Admin>>;

    /// Returns an admin and all below it, or all admins, by id.
    async fn admins(&self, from: Option<AdminId>) -> Result<Vec<Admin>>;

    /// Returns at most `limit` keys whose owner has come to its quota of bytes used, or has more of it, and that have not followed yet
    /// ([`KeyOp::FollowOwner`]). The work does not grow with the other keys.
    async fn owners_to_follow(&self, limit: usize) -> Result<Following>;

    /// Keys of which something is due at `now` ([`crate::lifecycle::due_at`]): by an index, at most `limit`.
    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<KeyId>>;

    /// All inbounds, sorted by node and tag.
    async fn inbounds(&self) -> Result<Vec<Inbound>>;

    /// The records of a query, sorted by kind and id.
    async fn records(&self, query: &RecordQuery) -> Result<Vec<Record>>;

    /// A number that grows with every commit that changes an inbound or a record, in whichever process. As long as it is
    /// the same, what was read of them is still true.
    async fn revision(&self) -> Result<u64>;

    /// Returns the id of the store: 8 hexadecimal digits, drawn when it was made. What vpnkit leaves on servers carries it, so
    /// that two stores on one server do not take each other's accounts for their own.
    async fn id(&self) -> Result<String>;

    /// Returns the certificates of an inbound that are refused although they have not expired at `now`, by serial number.
    async fn revocations(&self, inbound: &InboundId, now: Timestamp) -> Result<Vec<Revocation>>;

    /// The devices of a key, the one that came first first.
    async fn devices(&self, key: KeyId) -> Result<Vec<ClientDevice>>;

    /// The newest stored reading of a server.
    async fn baseline(&self, server: &ServerId) -> Result<Option<Baseline>>;

    /// The newest stored reading of an earlier lifetime of a server's counters, with the sequence of the newest of all.
    /// The [`Baseline::EPOCHS_KEPT`] newest lifetimes are kept.
    async fn baseline_of(&self, server: &ServerId, epoch: &str) -> Result<Option<Baseline>>;

    /// Returns traffic over time as finely as it is kept, oldest first; hours without traffic are left out. Of a key, what was summed
    /// up stands at the beginning of its UTC day or month; of all keys the hours stay.
    async fn usage(&self, query: &UsageQuery) -> Result<Vec<UsagePoint>>;

    /// Events after a cursor, oldest first. [`crate::ErrorKind::CursorExpired`] when some of them are gone.
    async fn events(&self, after: Cursor, max: usize) -> Result<EventBatch>;

    /// Returns the events of a key from before a cursor, the newest first: also of a key that was deleted, and for longer than
    /// [`Self::events`] has them.
    async fn timeline(&self, key: KeyId, before: Option<Cursor>, max: usize) -> Result<Vec<Event>>;

    /// Returns the events that calls have caused, the newest first, for as long as timelines are kept: an index finds those of who called.
    async fn audit(&self, query: &AuditQuery) -> Result<Vec<Event>>;

    /// Returns dead letters of a webhook behind the event of a cursor, oldest first, and how many there are in all.
    async fn dead_letters(&self, webhook: &str, after: Cursor, max: usize) -> Result<(Vec<DeadLetter>, u64)>;

    /// Returns the consumers of events and where they are, by name.
    async fn consumers(&self) -> Result<Vec<(String, Cursor)>>;

    /// The cursor of the newest event.
    async fn newest_event(&self) -> Result<Cursor>;

    /// Follows what is newest in the store: this process's own commits at once, those of other processes within a
    /// tenth of a second.
    fn newest(&self) -> watch::Receiver<Newest>;

    /// Returns what others than `own` have changed after a cursor, oldest first. [`crate::ErrorKind::CursorExpired`] when some
    /// of it is gone.
    async fn changes(&self, after: Cursor, max: usize, own: Origin) -> Result<ChangeBatch>;

    /// Returns the questions to all servers that were not answered yet. There are few.
    async fn questions(&self) -> Result<Vec<Question>>;

    /// Returns the answer to a question; `None` before there is one.
    async fn answer(&self, question: &QuestionId) -> Result<Option<Secret>>;

    /// All leases, sorted by name, also those that are over.
    async fn leases(&self) -> Result<Vec<Lease>>;

    /// Takes and prolongs leases, all in one transaction; one answer for each claim. A lease is free when it is over or was
    /// released, and prolonged by who has its newest number.
    async fn claim(&self, claims: &[Claim]) -> Result<Vec<Claimed>>;

    /// Ends leases now; those that somebody else has got since stay.
    async fn release(&self, leases: &[Fence]) -> Result<()>;

    /// Forgets and sums up what is due, in one short step of a bounded size; to be called again while there is more.
    /// `LeaseLost` when somebody else has the lease by now.
    async fn prune(&self, retention: &Retention, fence: Option<Fence>) -> Result<Pruned>;

    /// Copies the store as it is now into a new file, while it goes on being written, and checks the copy before it takes its name.
    ///
    /// Errors: `Unsupported`; `AlreadyExists` when there is a file; `NotFound` when there is no such directory; `StoreFull`; `Closed`
    /// when it was cancelled.
    async fn back_up(&self, to: &Path, progress: &Progress) -> Result<Backup>;

    /// Reads everything, and returns what is wrong with the file: damage, and rows that refer to none.
    ///
    /// Errors: `Closed` when it was cancelled.
    async fn check(&self, progress: &Progress) -> Result<StoreCheck>;

    /// Changes the passphrase that the store is encrypted under, while this process and others use it: they go on, since what they
    /// hold is the key that it protects. A call that is made again has nothing to do.
    ///
    /// Errors: `PassphraseWrong`; `Unsupported` by a store that is not encrypted.
    async fn change_passphrase(&self, previous: &Secret, passphrase: &Secret) -> Result<()>;

    /// Returns when every file is released. Later calls fail with [`crate::ErrorKind::Closed`].
    async fn close(&self) -> Result<()>;
}
