//! Commits that are made from what this process knows of the inbounds.

use super::Shared;
use vpnkit_core::Result;
use vpnkit_core::store::{Receipt, StoreTxn};

/// Commits what was made from the inbounds as this process knows them.
pub(super) struct FromInbounds<'s> {
    shared: &'s Shared,
    op: &'static str,
    seen: Option<u64>,
    tries: usize,
}

impl<'s> FromInbounds<'s> {
    /// Each time somebody else was faster.
    const TRIES: usize = 20;

    pub(super) fn new(shared: &'s Shared, op: &'static str) -> Self {
        Self { shared, op, seen: shared.known_revision(), tries: 0 }
    }

    /// Commits; `None` when another process has changed inbounds meanwhile: then it is to be made again.
    pub(super) async fn commit(&mut self, txn: StoreTxn) -> Result<Option<Receipt>> {
        match self.shared.store.commit(txn.from_revision(self.seen)).await {
            Err(e) if e.get("revision").is_some() && self.tries < Self::TRIES => {
                self.tries += 1;
                self.shared.reload().await.map_err(|e| e.during(self.op))?;
                self.seen = self.shared.known_revision();
                Ok(None)
            }
            outcome => outcome.map(Some).map_err(|e| e.during(self.op)),
        }
    }
}
