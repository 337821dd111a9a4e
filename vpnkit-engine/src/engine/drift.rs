//! Drift: what a server has otherwise than the store says, though nothing of it was changed through vpnkit.

use std::collections::HashSet;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::drive::emit;
use super::plan::Difference;
use super::server::Server;
use super::{Shared, plan, rotation};
use vpnkit_core::backend::{Change, ServerState};
use vpnkit_core::model::{Cursor, EventKind, EventSubject, InboundTag, KeyId};
use vpnkit_core::store::Origin;
use vpnkit_core::{ErrorKind, Result};

/// Changes that are read at once.
const BATCH: usize = 1_000;
/// After so many batches nobody can say what explains a difference.
const BATCHES: usize = 20;

/// A comparison that was carried out: in which lifetime of the program, and what the store said last then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Compared {
    lifetime: u64,
    revision: Cursor,
}

/// Counts the steps of a difference that nothing explains, and tells of them as an event.
///
/// Explained is what the store has changed since the comparison before, what the server refuses, and everything after a restart of
/// the program or a step that failed.
pub(super) async fn found(
    shared: &Shared,
    server: &Server,
    difference: &Difference,
    revision: Cursor,
) -> Result<usize> {
    let ServerState::Up { lifetime } = *server.backend.state().borrow() else { return Ok(0) };
    let before = server
        .compared_at
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .replace(Compared { lifetime, revision });
    let since = before.filter(|before| before.lifetime == lifetime).map(|before| before.revision);
    let Some(since) = since.filter(|_| !difference.is_empty() && !server.behind.load(Ordering::Acquire))
    else {
        return Ok(0);
    };
    let Some(mut changed) = Changed::since(shared, server, since).await? else { return Ok(0) };
    // A server is brought to the end of old keys before that is written down.
    let (now, held) = (shared.clock.now(), shared.inbounds());
    let ended = held.iter().filter(|inbound| rotation::has_outlived_keys(inbound, now));
    changed.inbounds.extend(ended.map(|inbound| inbound.tag.to_string()));
    let accounts = difference.accounts.iter().filter(|change| !changed.explains(change)).count();
    let inbounds = difference.inbounds.iter().filter(|change| !changed.explains(change)).count();
    if accounts + inbounds > 0 {
        tracing::warn!(server = %server.id(), accounts, inbounds, "somebody else has changed the server");
        let detail = format!("accounts: {accounts}, inbounds: {inbounds}");
        emit(shared, server, EventKind::ServerDrift, detail).await;
    }
    Ok(accounts + inbounds)
}

/// What a server may have otherwise than it was at the comparison before.
struct Changed {
    keys: HashSet<KeyId>,
    inbounds: HashSet<String>,
}

impl Changed {
    /// `None` when too much has changed, or it is not known any more what.
    async fn since(shared: &Shared, server: &Server, since: Cursor) -> Result<Option<Self>> {
        let mut changed = Self {
            keys: server.rejected.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect(),
            inbounds: {
                let aside = server.set_aside.lock().unwrap_or_else(PoisonError::into_inner);
                aside.keys().map(InboundTag::to_string).collect()
            },
        };
        let mut after = since;
        // Nobody's: its own changes count, too.
        let nobody = Origin::random();
        for _ in 0..BATCHES {
            let batch = match shared.store.changes(after, BATCH, nobody).await {
                Err(e) if e.kind() == ErrorKind::CursorExpired => return Ok(None),
                batch => batch?,
            };
            for change in batch.changes {
                match change.subject {
                    EventSubject::Key { id, .. } => drop(changed.keys.insert(id)),
                    EventSubject::Inbound(tag) => drop(changed.inbounds.insert(tag)),
                    _ => {}
                }
            }
            if !batch.more {
                return Ok(Some(changed));
            }
            after = batch.next;
        }
        Ok(None)
    }

    fn explains(&self, change: &Change) -> bool {
        match change {
            Change::PutInbound(inbound, _) => self.inbounds.contains(inbound.tag.as_str()),
            Change::RemoveInbound(tag) => self.inbounds.contains(tag.as_str()),
            Change::PutAccount(inbound, account) => {
                self.keys.contains(&account.key) || self.inbounds.contains(inbound.tag.as_str())
            }
            Change::RemoveAccount(tag, ..) => {
                plan::key_of(change).is_some_and(|key| self.keys.contains(&key))
                    || self.inbounds.contains(tag.as_str())
            }
            // Revocations are sent again with every comparison that lacks them.
            Change::Revoke(..) => true,
        }
    }
}
