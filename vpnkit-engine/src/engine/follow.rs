//! What other processes commit: read from the outbox, and brought to the servers that this process drives.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::server::Server;
use vpnkit_core::model::{Cursor, EventKind, EventSubject, Inbound, InboundId, KeyId};
use vpnkit_core::store::{Newest, StoreChange};
use vpnkit_core::{ErrorKind, Result};

/// Changes that are read at once.
const BATCH: usize = 1_000;
/// After a failure.
const AGAIN: Duration = Duration::from_millis(250);

/// How far the changes of others were followed, and the inbounds as they were then.
pub(super) struct Follower {
    pub(super) cursor: Cursor,
    pub(super) inbounds: Arc<Vec<Arc<Inbound>>>,
}

/// Follows until the engine stops.
pub(super) async fn run(shared: Arc<Shared>, mut follower: Follower) {
    let mut newest = shared.store.newest();
    loop {
        newest.mark_unchanged();
        let seen = *newest.borrow();
        let followed = follower.follow(&shared, seen).await;
        let wait = async {
            match followed {
                Ok(()) => drop(newest.wait_for(|now| now.commit != seen.commit).await),
                Err(e) => {
                    tracing::warn!(error = %e, "the changes of other processes could not be read; it is tried again");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        };
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = wait => {}
        }
    }
}

impl Follower {
    async fn follow(&mut self, shared: &Arc<Shared>, newest: Newest) -> Result<()> {
        shared.answer_questions().await?;
        if shared.known_revision() != Some(newest.revision) {
            shared.reload().await?;
        }
        loop {
            let batch = match shared.store.changes(self.cursor, BATCH, shared.origin).await {
                Ok(batch) => batch,
                // They were pruned before this process came to them: then everything is compared.
                Err(e) if e.kind() == ErrorKind::CursorExpired => {
                    self.cursor = shared.store.newest_event().await?;
                    shared.servers().iter().for_each(|server| drop(server.queue.reconcile()));
                    return Ok(());
                }
                Err(e) => return Err(e),
            };
            if !batch.changes.is_empty() {
                self.take(shared, &batch.changes).await?;
            }
            for server in shared.servers().iter() {
                server.queue.followed(batch.next, !batch.changes.is_empty());
            }
            self.cursor = batch.next;
            if !batch.more {
                return Ok(());
            }
        }
    }

    async fn take(&mut self, shared: &Shared, changes: &[StoreChange]) -> Result<()> {
        let driven: Vec<Arc<Server>> =
            shared.servers().iter().filter(|server| server.is_driven()).cloned().collect();
        let mut inbounds: BTreeMap<&str, Cursor> = BTreeMap::new();
        let mut keys = BTreeSet::new();
        for change in changes {
            match &change.subject {
                EventSubject::Key { id, .. } if change.kind != EventKind::KeyRejected => {
                    keys.insert(*id);
                    for server in &driven {
                        if change.kind == EventKind::KeyDeleted {
                            server.near.forget(*id);
                        }
                        server.queue.changed(change.cursor, *id, change.devices.clone());
                    }
                }
                EventSubject::Inbound(tag) if change.kind != EventKind::InboundRejected => {
                    inbounds.entry(tag).or_insert(change.cursor);
                }
                _ => {}
            }
        }
        let before = std::mem::replace(&mut self.inbounds, shared.inbounds());
        for server in &driven {
            for (tag, cursor) in different(server, &before, &self.inbounds, &inbounds) {
                server.queue.changed_inbound(cursor, &tag);
            }
            self.revoke(shared, server, &keys).await?;
            if server.backend.capabilities().live_counters {
                let keys: Vec<KeyId> = keys.iter().copied().collect();
                shared.look_at_keys(server, &keys).await?;
            }
        }
        Ok(())
    }

    /// Certificates of these keys may have been revoked.
    async fn revoke(&self, shared: &Shared, server: &Server, keys: &BTreeSet<KeyId>) -> Result<()> {
        let own = server.own(&self.inbounds);
        for inbound in own.iter().filter(|inbound| inbound.certificate_lifetime.is_some()) {
            let revoked = shared.store.revocations(&inbound.id(), shared.clock.now()).await?;
            server.queue.revoked(revoked.into_iter().filter(|one| keys.contains(&one.key)));
        }
        Ok(())
    }
}

/// The inbounds of a server that others have changed: what is as it was is not sent again.
fn different(
    server: &Server,
    before: &[Arc<Inbound>],
    now: &[Arc<Inbound>],
    changed: &BTreeMap<&str, Cursor>,
) -> Vec<(vpnkit_core::model::InboundTag, Cursor)> {
    if changed.is_empty() {
        return Vec::new();
    }
    let of = |all: &[Arc<Inbound>]| -> HashMap<InboundId, Arc<Inbound>> {
        let own = all.iter().filter(|inbound| inbound.runs_on(server.id()));
        own.filter(|inbound| changed.contains_key(inbound.tag.as_str()))
            .map(|inbound| (inbound.id(), Arc::clone(inbound)))
            .collect()
    };
    let (before, now) = (of(before), of(now));
    let ids: BTreeSet<&InboundId> = before.keys().chain(now.keys()).collect();
    ids.into_iter()
        .filter(|id| before.get(*id) != now.get(*id))
        .filter_map(|id| Some((id.tag().clone(), *changed.get(id.tag().as_str())?)))
        .collect()
}
