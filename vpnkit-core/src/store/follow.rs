//! What a process needs to follow what others commit.

use crate::model::{Cursor, DeviceName, EventKind, EventSubject};

/// What is newest in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Newest {
    /// The newest event.
    pub event: Cursor,
    /// Of inbounds and records: [`super::KeyStore::revision`].
    pub revision: u64,
    /// Grows when somebody has committed anything, leases too.
    pub commit: u64,
}

/// Something that was changed, as those need it who bring servers up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreChange {
    /// The event that tells of it.
    pub cursor: Cursor,
    /// What happened.
    pub kind: EventKind,
    /// What it happened to.
    pub subject: EventSubject,
    /// The devices that a deleted key had: the store no longer knows them.
    pub devices: Vec<DeviceName>,
}

/// Changes, and where to go on.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ChangeBatch {
    /// Oldest first.
    pub changes: Vec<StoreChange>,
    /// What to ask for next.
    pub next: Cursor,
    /// There is more after `next`.
    pub more: bool,
}
