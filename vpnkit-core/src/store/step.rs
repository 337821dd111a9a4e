//! The steps of a batch.

use std::time::Duration;

use super::{Made, Question, QuestionId};
use crate::accounting::{Coefficient, Moved};
use crate::model::{
    AdminId, AdminPatch, ClientDevice, Cursor, DeadLetter, Extension, GrantId, Inbound, InboundId,
    InboundTag, KeyId, KeyPatch, NewAdmin, NewEvent, NewKey, NodeId, ServerId,
};
use crate::traffic::{Epoch, Series};
use crate::{Secret, Timestamp};

/// One step of a batch. Steps say what is meant; the store reads, applies the pure rules of
/// [`crate::lifecycle`] and writes, so that no caller's copy of a key can overwrite another's change.
///
/// A store that does not know a step refuses the batch: [`super::errors::unknown_step`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StoreOp {
    /// A step of a key.
    Key(KeyOp),
    /// A step of an inbound.
    Inbound(InboundOp),
    /// A step of an admin.
    Admin(AdminOp),
    /// A step of a record.
    Record(RecordOp),
    /// A step of a device that fetches a subscription.
    Device(DeviceOp),
    /// A step of a question to the process that drives a server.
    Question(QuestionOp),
    /// Store a reading with all that follows from it.
    Traffic(Box<TrafficBatch>),
    /// Take serial numbers of an inbound's certificates: they are in [`Receipt::made`](super::Receipt::made) and never taken again.
    TakeSerials {
        /// The inbound.
        inbound: InboundId,
        /// How many.
        count: u32,
    },
    /// Name something in [`Receipt::made`](super::Receipt::made) that the caller wants to find there when the batch is made again.
    Note(Made),
    /// Tell of the next keys that end in so many days, each once for each of its ends: those whose end has come so near since the
    /// last such step, at most `limit` of them. The first step of a number of days tells of none.
    RemindOfEnd {
        /// Days before the end.
        days: u32,
        /// Those that end within so many days are passed over: a reminder that is nearer tells of them, or it is too late.
        above: u32,
        /// At most so many keys; [`Receipt::reminded`](super::Receipt::reminded) says how many they were.
        limit: usize,
    },
    /// A step of a consumer of events.
    Consumer(ConsumerOp),
    /// A step of a dead letter.
    DeadLetter(DeadLetterOp),
    /// Add an event that is not a consequence of another step.
    Emit(NewEvent),
}

/// A step of a key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum KeyOp {
    /// Add a key. `AlreadyExists` when its name or UUID, a secret or a serial number is taken. A credential that is for one
    /// inbound gets its address: `NotFound` without that inbound, `InvalidInput` when the key is not on it or it has no
    /// credentials of its own, `LimitReached` when all its addresses are taken.
    Create(Box<NewKey>),
    /// Change a key. `NotFound`, or `Conflict` when `expected` is not its version; credentials as with [`Self::Create`]. The
    /// certificate of a credential that is replaced is revoked; credentials of inbounds that the key leaves go.
    Patch {
        /// Which key.
        key: KeyId,
        /// The version that the caller has seen.
        expected: Option<u64>,
        /// What to change.
        patch: Box<KeyPatch>,
    },
    /// Delete a key with all that belongs to it; its certificates are revoked. `NotFound`, or `Conflict`.
    Delete {
        /// Which key.
        key: KeyId,
        /// The version that the caller has seen.
        expected: Option<u64>,
    },
    /// Extend a key, with an entry in the ledger. `NotFound`, or `Conflict` when `expected` is not its version.
    Extend {
        /// Which key.
        key: KeyId,
        /// The version that the caller has seen.
        expected: Option<u64>,
        /// What it is given.
        extension: Box<Extension>,
    },
    /// Give a key what is left of another, which is deleted ([`crate::lifecycle::merge`]). `NotFound`, or `Conflict` when `expected` is
    /// not the version of the one that stays.
    Merge {
        /// Which key goes.
        key: KeyId,
        /// Which one stays.
        into: KeyId,
        /// The version of that one that the caller has seen.
        expected: Option<u64>,
    },
    /// Take a grant back ([`crate::lifecycle::undo`]). `NotFound` without it or its key, `Conflict` when it was undone.
    Undo {
        /// Which grant.
        grant: GrantId,
        /// Why.
        reason: Option<String>,
    },
    /// Suspend a key, or let it go on, as the quotas of its owner say. A key that is gone is fine.
    FollowOwner(KeyId),
    /// Leave a key that cannot be read alone for [`SETTLE_AGAIN`], whatever is due of it.
    SetAside(KeyId),
    /// Do what is due of a key at the time of the batch ([`crate::lifecycle::settle`]). A key that is gone is fine; one that is to be
    /// deleted by now is told in [`Receipt::over`](super::Receipt::over). One that cannot be read is set aside for [`SETTLE_AGAIN`].
    Settle(KeyId),
}

/// How long a key that cannot be read is left alone when it is due.
pub const SETTLE_AGAIN: Duration = Duration::from_secs(3_600);

/// A step of an admin. What it has and uses is counted by the steps of keys: for their owner and all admins above it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AdminOp {
    /// Add an admin. `AlreadyExists` when its name is taken, `NotFound` without its parent, `LimitReached` when there are as many
    /// admins as there may be, there or in the store.
    Create(Box<NewAdmin>),
    /// Change an admin. `NotFound`, `AlreadyExists`, or `Conflict` when `expected` is not its version.
    Patch {
        /// Which admin.
        admin: AdminId,
        /// The version that the caller has seen.
        expected: Option<u64>,
        /// What to change.
        patch: Box<AdminPatch>,
    },
    /// Delete an admin. `NotFound`, or `Conflict` when it owns keys or `expected` is not its version. Those below it go to the one
    /// above it.
    Delete {
        /// Which admin.
        admin: AdminId,
        /// The version that the caller has seen.
        expected: Option<u64>,
    },
    /// All keys have followed what has changed of an admin ([`super::KeyStore::owners_to_follow`]); nothing when something else has
    /// changed since.
    Followed {
        /// Which admin.
        admin: AdminId,
        /// What they have followed.
        mark: u64,
    },
}

/// A step of an inbound.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum InboundOp {
    /// Add an inbound, or replace the one of its node and tag. `AlreadyExists` when it collides with another one
    /// ([`Inbound::collides_with`]), `LimitReached` when its addresses are fewer than those that were given. Credentials that
    /// were for it and no longer fit ([`crate::model::Credential::is_for`]) go.
    Put(Box<Inbound>),
    /// The same, if what has its node and tag is still `before`. `Conflict` when it was changed, added or removed meanwhile.
    Replace {
        /// What was seen there.
        before: Option<Box<Inbound>>,
        /// What is to be there.
        inbound: Box<Inbound>,
    },
    /// Remove an inbound with the credentials that are for it; their certificates are revoked. `NotFound`.
    Remove(NodeId, InboundTag),
}

/// A step of a record. `Conflict` when `expected` is not its version, 0 for none yet.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RecordOp {
    /// Write it.
    Put {
        /// What it is, and which one.
        place: (String, String),
        /// The version that the caller has seen.
        expected: Option<u64>,
        /// What it is found by.
        index: Option<String>,
        /// What is to stand there.
        body: Secret,
    },
    /// Remove it; one that is not there is fine.
    Remove {
        /// What it is, and which one.
        place: (String, String),
        /// The version that the caller has seen.
        expected: Option<u64>,
    },
}

/// A step of a device that fetches a subscription.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum DeviceOp {
    /// It has fetched. A new one takes the place of those that have not fetched since `gone_since`. `LimitReached` when there
    /// are `limit` others all the same; `NotFound` when the key is gone.
    See {
        /// The device.
        device: Box<ClientDevice>,
        /// How many the key may have.
        limit: Option<u32>,
        /// Those that were last seen before this time are forgotten when a new one comes.
        gone_since: Timestamp,
    },
    /// One was refused: tells so as an event, unless that was told of this key since `told_since`, or the key is gone.
    Refused {
        /// Whose.
        key: KeyId,
        /// How many devices it may have.
        limit: u32,
        /// An event from then on tells it already.
        told_since: Timestamp,
    },
    /// Forget a device of a key, or all of them. `NotFound` when there is no such device.
    Forget {
        /// Whose.
        key: KeyId,
        /// Which; `None` is all.
        id: Option<String>,
    },
}

/// A step of a question. None of them makes an event.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum QuestionOp {
    /// Ask.
    Ask(Question),
    /// Answer; a question that is gone is fine.
    Answer(QuestionId, Secret),
    /// Forget it, answered or not.
    Forget(QuestionId),
}

/// A step of a consumer of events: of a name under which a place in the stream is kept.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ConsumerOp {
    /// Add it where there is none: from a cursor on.
    Add(String, Cursor),
    /// It has handled the events up to a cursor. `NotFound` when it was removed.
    Advance(String, Cursor),
    /// Forget it; one that is not there is fine.
    Remove(String),
}

/// A step of a dead letter: of an event that a receiver has refused for good.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum DeadLetterOp {
    /// Add it, or replace the one of its webhook and event. Of [`Self::KEPT`] of a webhook the oldest goes.
    Put(Box<DeadLetter>),
    /// Remove one of a webhook; one that is not there is fine.
    Remove(String, Cursor),
    /// Remove all of a webhook.
    Clear(String),
}

impl DeadLetterOp {
    /// How many are kept of a webhook.
    pub const KEPT: u32 = 10_000;
}

/// A reading and what it adds: counters, totals, hour buckets and the statuses that follow, at once.
#[derive(Clone, Debug)]
pub struct TrafficBatch {
    /// Which server was read.
    pub server: ServerId,
    /// Its node, for usage by node.
    pub node: NodeId,
    /// The sequence of the reading that this one was computed from, 0 for none. `Conflict` when it is no longer
    /// the newest: somebody else has counted meanwhile.
    pub after: u64,
    /// The lifetime of the counters.
    pub epoch: Epoch,
    /// No reading of this lifetime was stored before.
    pub new_epoch: bool,
    /// Counters that moved or ended, sorted by key. Keys that are gone are passed over.
    pub moved: Vec<Moved>,
    /// Series that had ended and that are no longer told of.
    pub forgotten: Vec<(KeyId, Series)>,
    /// How much its bytes count against limits.
    pub coefficient: Coefficient,
    /// Keys that have moved and have no more than these bytes left are told in [`Receipt::near`](super::Receipt::near).
    pub near_within: u64,
    /// Shares of the limit, in percent, of which a key is told when it passes one.
    pub usage_percents: Vec<u8>,
}

impl From<KeyOp> for StoreOp {
    fn from(op: KeyOp) -> Self {
        Self::Key(op)
    }
}

impl From<AdminOp> for StoreOp {
    fn from(op: AdminOp) -> Self {
        Self::Admin(op)
    }
}

impl From<InboundOp> for StoreOp {
    fn from(op: InboundOp) -> Self {
        Self::Inbound(op)
    }
}

impl From<RecordOp> for StoreOp {
    fn from(op: RecordOp) -> Self {
        Self::Record(op)
    }
}

impl From<DeviceOp> for StoreOp {
    fn from(op: DeviceOp) -> Self {
        Self::Device(op)
    }
}

impl From<QuestionOp> for StoreOp {
    fn from(op: QuestionOp) -> Self {
        Self::Question(op)
    }
}

impl From<ConsumerOp> for StoreOp {
    fn from(op: ConsumerOp) -> Self {
        Self::Consumer(op)
    }
}

impl From<DeadLetterOp> for StoreOp {
    fn from(op: DeadLetterOp) -> Self {
        Self::DeadLetter(op)
    }
}
