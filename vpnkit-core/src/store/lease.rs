//! Leases: what no two processes may do at once, and who does it.
//!
//! A lease is held for some seconds and prolonged while its holder lives. Each new holder gets a greater number, and a batch that
//! names an older one is refused ([`StoreTxn::fence`](super::StoreTxn::fence)): a process that was frozen and wakes up writes
//! nothing. Time is the store's own, not the time of day.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::machine::ProcessMark;
use crate::model::Cursor;

/// One opening of a store: tells its changes from those of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Origin(pub i64);

impl Origin {
    /// Nobody who follows changes: everybody is told of what it does.
    pub const NONE: Self = Self(0);

    /// Draws a new one.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random_range(1..=i64::MAX))
    }
}

/// Who holds a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Which opening of the store.
    pub origin: Origin,
    /// Its process.
    pub process: u32,
    /// The machine, or container, that it runs on.
    pub host: String,
    /// What those on the same machine see its end by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<ProcessMark>,
}

/// The right to do something, as its holder shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The name of the lease.
    pub lease: String,
    /// The number that its holder got.
    pub number: u64,
}

/// A lease as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// What it is for.
    pub name: String,
    /// Who has, or had, it.
    pub holder: Holder,
    /// Grows with each holder.
    pub number: u64,
    /// How long it lasts unless it is prolonged; nothing when it is over.
    pub left: Duration,
    /// The holder has done what follows from all changes up to here.
    pub progress: Cursor,
    /// What the holder tells the others.
    pub note: Option<String>,
}

impl Lease {
    /// Whether somebody holds it.
    #[must_use]
    pub fn is_held(&self) -> bool {
        !self.left.is_zero()
    }

    /// Whether its holder has ended for certain, without having let it go.
    #[must_use]
    pub fn is_orphaned(&self) -> bool {
        self.is_held() && self.holder.mark.as_ref().is_some_and(ProcessMark::has_ended)
    }
}

/// A wish to get a lease, or to prolong it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What it is for.
    pub name: String,
    /// Who asks.
    pub holder: Holder,
    /// The number that the holder got; `None` to get the lease.
    pub number: Option<u64>,
    /// The number of a holder that has ended for certain: the lease is free before it is over.
    pub instead_of: Option<u64>,
    /// How long it is to last.
    pub time: Duration,
    /// The holder has done what follows from all changes up to here.
    pub progress: Cursor,
    /// What the holder tells the others; `None` leaves what stands there.
    pub note: Option<String>,
}

/// What came of a [`Claim`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// The caller holds it, under this number.
    Held(u64),
    /// Somebody else holds it. When nothing of it is left, ask again: the claim had to wait for the store, and so may have
    /// the holder.
    Taken(Lease),
}
