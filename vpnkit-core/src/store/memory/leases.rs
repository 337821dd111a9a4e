//! Leases in memory.

use std::time::Duration;

use super::{Held, State};
use crate::Result;
use crate::machine::since_boot;
use crate::store::{Claim, Claimed, Fence, Lease, errors};

impl State {
    pub(super) fn check(&self, fence: Option<&Fence>) -> Result<()> {
        match fence {
            Some(fence) if self.leases.get(&fence.lease).is_none_or(|h| h.lease.number != fence.number) => {
                Err(errors::lease_lost(fence))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn claim(&mut self, claim: &Claim) -> Claimed {
        let now = since_boot();
        let held = self.leases.get(&claim.name);
        let number = match (held, claim.number) {
            (Some(held), Some(number)) if held.lease.number == number => number,
            (Some(held), None) if held.ends <= now || claim.instead_of == Some(held.lease.number) => {
                held.lease.number + 1
            }
            (None, _) => 1,
            (Some(held), _) => return Claimed::Taken(held.at(now)),
        };
        let note = claim.note.clone().or_else(|| held.and_then(|held| held.lease.note.clone()));
        let (name, holder, left) = (claim.name.clone(), claim.holder.clone(), claim.time);
        let lease = Lease { name, holder, number, left, progress: claim.progress, note };
        self.leases.insert(claim.name.clone(), Held { lease, ends: now + claim.time });
        Claimed::Held(number)
    }
}

impl Held {
    pub(super) fn at(&self, now: Duration) -> Lease {
        Lease { left: self.ends.saturating_sub(now), ..self.lease.clone() }
    }
}
