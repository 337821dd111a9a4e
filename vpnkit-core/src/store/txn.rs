//! One atomic batch.

use super::{Fence, Origin, StoreOp};
use crate::Timestamp;
use crate::backend::Fingerprint;
use crate::model::{AdminId, Cause};

/// Makes a batch idempotent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it is for, and the caller's idempotency key: `grant:pay:1`.
    pub id: String,
    /// The caller's idempotency key: it stands in the ledger.
    pub key: String,
    /// Whether it is kept for good; otherwise for as long as events are.
    pub for_good: bool,
    /// Of what is asked for. `IdempotencyMismatch` when the first request under this id asked for something else.
    pub fingerprint: Fingerprint,
}

impl Request {
    /// A request that grants something. All of them share one space of ids: a payment grants once, by whichever call.
    #[must_use]
    pub fn grant(key: &str, fingerprint: Fingerprint) -> Self {
        Self { id: format!("grant:{key}"), key: key.to_owned(), for_good: true, fingerprint }
    }

    /// A request of some other kind that is remembered for good.
    #[must_use]
    pub fn of(kind: &str, key: &str, fingerprint: Fingerprint) -> Self {
        Self { id: format!("{kind}:{key}"), ..Self::grant(key, fingerprint) }
    }
}

/// A batch.
#[derive(Clone, Debug)]
pub struct StoreTxn {
    /// The time of everything in it.
    pub at: Timestamp,
    /// A batch of the same request is carried out once; later ones get the first one's receipt.
    pub request: Option<Request>,
    /// The steps, in order.
    pub ops: Vec<StoreOp>,
    /// Who makes it: [`super::KeyStore::changes`] leaves out what one has done oneself.
    pub origin: Origin,
    /// The lease that it is made under. `LeaseLost` when somebody else has got it since.
    pub fence: Option<Fence>,
    /// The call that it is made for; `None` when vpnkit does it by itself. The idempotency key is that of [`Self::request`].
    pub cause: Option<Cause>,
    /// The reseller in whose name it is made: it may touch nothing but keys and admins of its own. `NotFound` for those of others,
    /// `PermissionDenied` for what it may not do.
    pub scope: Option<AdminId>,
    /// It is carried out and taken back: the receipt says what would be.
    pub dry_run: bool,
    /// The [`super::KeyStore::revision`] that it was made from. `Conflict` with `revision` in its context when inbounds or records
    /// have changed since.
    pub seen: Option<u64>,
}

impl StoreTxn {
    /// A batch without request id, of nobody in particular.
    #[must_use]
    pub fn new<S: Into<StoreOp>>(at: Timestamp, ops: impl IntoIterator<Item = S>) -> Self {
        let ops = ops.into_iter().map(Into::into).collect();
        Self {
            at,
            request: None,
            ops,
            origin: Origin::NONE,
            fence: None,
            cause: None,
            scope: None,
            dry_run: false,
            seen: None,
        }
    }

    /// Returns the call that it is made for, with its idempotency key.
    #[must_use]
    pub fn caused_by(&self) -> Option<Cause> {
        let idempotency_key = self.request.as_ref().map(|request| request.key.clone());
        self.cause.clone().map(|cause| Cause { idempotency_key, ..cause })
    }

    /// Sets who makes it.
    #[must_use]
    pub fn by(mut self, origin: Origin) -> Self {
        self.origin = origin;
        self
    }

    /// Sets the lease that it is made under.
    #[must_use]
    pub fn under(mut self, fence: Option<Fence>) -> Self {
        self.fence = fence;
        self
    }

    /// Sets the revision that it was made from.
    #[must_use]
    pub fn from_revision(mut self, seen: Option<u64>) -> Self {
        self.seen = seen;
        self
    }

    /// Says why, unless nothing is said.
    #[must_use]
    pub fn because(mut self, reason: Option<String>) -> Self {
        if let (Some(cause), Some(_)) = (&mut self.cause, &reason) {
            cause.reason = reason;
        }
        self
    }

    /// Sets what makes it idempotent.
    #[must_use]
    pub fn for_request(mut self, request: Option<Request>) -> Self {
        self.request = request;
        self
    }

    /// Whether it stores a reading.
    #[must_use]
    pub fn reads_counters(&self) -> bool {
        self.ops.iter().any(|op| matches!(op, StoreOp::Traffic(_)))
    }
}
