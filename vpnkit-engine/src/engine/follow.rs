//! What other processes commit: read from the outbox, and brought to the servers that this process drives.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::jobs::Job;
use super::server::Server;
use vpnkit_core::model::{Cursor, EventKind, EventSubject, Inbound, InboundId, KeyId};
use vpnkit_core::store::StoreChange;
use vpnkit_core::{ErrorKind, Result};

/// Changes that are read at once.
const BATCH: usize = 1_000;
/// After a failure.
const AGAIN: Duration = Duration::from_millis(250);
/// Without a signal: it is noticed late that the store gives none.
const LONGEST: Duration = Duration::from_secs(5);

/// How far the changes of others were followed.
pub(super) struct Follower {
    cursor: Cursor,
    /// Inbounds as they were sent to servers last.
    sent: HashMap<InboundId, Arc<Inbound>>,
    /// Tags of inbounds that others have changed, and not sent yet.
    changed: BTreeMap<String, Cursor>,
}

/// Follows until the engine stops.
pub(super) async fn run(shared: Arc<Shared>, job: Arc<Job>, mut follower: Follower) {
    let mut newest = shared.store.newest();
    loop {
        let seen = newest.borrow_and_update().commit;
        if let Err(e) = shared.answer_questions().await {
            tracing::warn!(error = %e, "questions of other processes could not be read");
        }
        let followed = job.run(&shared, follower.follow(&shared)).await;
        let wait = async {
            match followed {
                Ok(()) => {
                    let more = newest.wait_for(|now| now.commit != seen);
                    let _ = tokio::time::timeout(LONGEST, more).await;
                }
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        };
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = wait => {}
        }
    }
}

impl Follower {
    /// Follows what comes after `cursor`; `inbounds` are those of then.
    pub(super) fn after(cursor: Cursor, inbounds: &[Arc<Inbound>]) -> Self {
        let sent = inbounds.iter().map(|inbound| (inbound.id(), Arc::clone(inbound))).collect();
        Self { cursor, sent, changed: BTreeMap::new() }
    }

    async fn follow(&mut self, shared: &Shared) -> Result<()> {
        loop {
            let batch = match shared.store.changes(self.cursor, BATCH, shared.origin).await {
                Ok(batch) => batch,
                // They were pruned before this process came to them: then everything is compared.
                Err(e) if e.kind() == ErrorKind::CursorExpired => {
                    self.cursor = shared.store.newest_event().await?;
                    shared.reload().await?;
                    *self = Self::after(self.cursor, &shared.inbounds());
                    shared.servers().iter().for_each(|server| drop(server.queue.reconcile()));
                    return Ok(());
                }
                Err(e) => return Err(e),
            };
            // Behind them: what they tell of is among it.
            let current = shared.refreshed(shared.known_revision()).await;
            // Also of a server whose lease is over and about to be prolonged.
            let ours: Vec<Arc<Server>> =
                shared.servers().iter().filter(|server| server.is_ours()).cloned().collect();
            self.queue(shared, &ours, &batch.changes).await;
            match &current {
                Ok(_) => self.send_inbounds(shared, &ours),
                // What is queued is right all the same; inbounds wait until they can be read.
                Err(e) => tracing::warn!(error = %e, "inbounds and settings could not be read again"),
            }
            if current.is_ok() {
                for server in shared.servers().iter() {
                    server.queue.followed(batch.next, !batch.changes.is_empty());
                }
            }
            self.cursor = batch.next;
            if !batch.more {
                return current.map(drop);
            }
        }
    }

    /// Queues what was changed on the servers that this process drives.
    async fn queue(&mut self, shared: &Shared, ours: &[Arc<Server>], changes: &[StoreChange]) {
        let mut keys = BTreeSet::new();
        for change in changes {
            match &change.subject {
                EventSubject::Key { id, .. } if change.kind != EventKind::KeyRejected => {
                    keys.insert(*id);
                    for server in ours {
                        if change.kind == EventKind::KeyDeleted {
                            server.near.forget(*id);
                        }
                        if change.kind == EventKind::KeyRevoked {
                            server.cuts.replaced([*id]);
                        }
                        server.queue.changed(change.cursor, *id, change.devices.clone());
                    }
                }
                EventSubject::Inbound(tag) if change.kind != EventKind::InboundRejected => {
                    self.changed.entry(tag.clone()).or_insert(change.cursor);
                }
                _ => {}
            }
        }
        if keys.is_empty() {
            return;
        }
        // Both are made up for by the next comparison.
        if let Err(e) = look_at(shared, ours, &keys).await {
            tracing::warn!(error = %e, "keys that came near their limit are found later");
        }
        for server in ours {
            if let Err(e) = revoke(shared, server, &keys).await {
                tracing::warn!(server = %server.id(), error = %e, "certificates are revoked later");
                server.queue.reconcile();
            }
        }
    }

    /// Queues the inbounds that others have changed: an event names a tag, and those of other nodes are as they were.
    fn send_inbounds(&mut self, shared: &Shared, ours: &[Arc<Server>]) {
        let changed = std::mem::take(&mut self.changed);
        if changed.is_empty() {
            return;
        }
        let now = shared.inbounds();
        let of_tags = |inbound: &&Arc<Inbound>| changed.contains_key(inbound.tag.as_str());
        let now: HashMap<InboundId, Arc<Inbound>> =
            now.iter().filter(of_tags).map(|inbound| (inbound.id(), Arc::clone(inbound))).collect();
        let before = self.sent.iter().filter(|(id, _)| changed.contains_key(id.tag().as_str()));
        let ids: BTreeSet<InboundId> = before.map(|(id, _)| id.clone()).chain(now.keys().cloned()).collect();
        for id in ids {
            let (old, new) = (self.sent.get(&id), now.get(&id));
            if old == new {
                continue;
            }
            let Some(cursor) = changed.get(id.tag().as_str()) else { continue };
            for server in ours {
                if old.into_iter().chain(new).any(|inbound| inbound.runs_on(server.id())) {
                    server.queue.changed_inbound(*cursor, id.tag());
                }
            }
            match new {
                Some(new) => drop(self.sent.insert(id, Arc::clone(new))),
                None => drop(self.sent.remove(&id)),
            }
        }
    }
}

/// Looks at keys that may be near their limit now, on the servers that count live.
async fn look_at(shared: &Shared, ours: &[Arc<Server>], keys: &BTreeSet<KeyId>) -> Result<()> {
    if !ours.iter().any(|server| server.backend.capabilities().live_counters) {
        return Ok(());
    }
    let keys: Vec<KeyId> = keys.iter().copied().collect();
    let keys = shared.store.keys(&keys).await?;
    shared.look_at_limits(&keys);
    Ok(())
}

/// Certificates of these keys may have been revoked.
async fn revoke(shared: &Shared, server: &Server, keys: &BTreeSet<KeyId>) -> Result<()> {
    let own = server.own(&shared.inbounds());
    for inbound in own.iter().filter(|inbound| inbound.certificate_lifetime.is_some()) {
        let revoked = shared.store.revocations(&inbound.id(), shared.clock.now()).await?;
        server.queue.revoked(revoked.into_iter().filter(|one| keys.contains(&one.key)));
    }
    Ok(())
}
