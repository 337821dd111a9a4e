//! What a server's worker has to do.
//!
//! Work names things, not changes: whatever happened to a key before the worker reads it is in what it reads. So
//! the last application always follows the last commit of any process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use vpnkit_core::Result;
use vpnkit_core::model::{Cursor, DeviceName, InboundTag, Key, KeyId, Revocation};

/// Keys that are applied in one go.
const BATCH: usize = 512;

/// Receives the outcome.
pub(super) type Done = oneshot::Sender<Result<()>>;

/// Work on one key.
#[derive(Debug, Default)]
pub(super) struct KeyWork {
    /// Devices that a deleted key had: the store no longer knows them.
    pub(super) devices: Vec<DeviceName>,
    /// Certificates of the key that are refused from now on.
    pub(super) revoked: Vec<Revocation>,
    pub(super) waiters: Vec<Done>,
    /// Another process has changed it: the first change that was not worked on.
    since: Option<Cursor>,
}

/// Work on one inbound.
#[derive(Debug, Default)]
pub(super) struct InboundWork {
    pub(super) waiters: Vec<Done>,
    since: Option<Cursor>,
}

impl InboundWork {
    /// Whether another process has changed it.
    pub(super) fn is_foreign(&self) -> bool {
        self.since.is_some()
    }
}

/// What another process has changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Foreign {
    Key(KeyId),
    Inbound(InboundTag),
}

#[derive(Debug, Default)]
struct Waiting {
    keys: BTreeMap<KeyId, KeyWork>,
    inbounds: BTreeMap<InboundTag, InboundWork>,
    /// What others have changed and is not worked on yet, by its first change.
    foreign: BTreeSet<(Cursor, Foreign)>,
    /// The same of what is being worked on.
    busy_since: Option<Cursor>,
    /// All changes of others up to here were queued.
    followed: Cursor,
    /// Somebody waits to hear of it.
    awaited: bool,
    reconcile: Option<Vec<oneshot::Sender<Result<usize>>>>,
    busy: bool,
    /// Nobody works any more.
    closed: bool,
}

/// What a server's worker has to do.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    pub(super) wake: Notify,
    /// What others have changed was worked on.
    pub(super) progressed: Notify,
    idle: Notify,
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The accounts of these keys may have changed.
    pub(super) fn keys(&self, ids: impl IntoIterator<Item = KeyId>) {
        let mut waiting = self.waiting();
        let mut queued = false;
        for id in ids {
            if !waiting.closed {
                waiting.keys.entry(id).or_default();
                queued = true;
            }
        }
        drop(waiting);
        if queued {
            self.wake.notify_one();
        }
    }

    /// The worker has ended: those who wait are answered by the end of their channel.
    pub(super) fn close(&self) {
        *self.waiting() = Waiting { closed: true, ..Waiting::default() };
        self.idle.notify_waiters();
    }

    /// The accounts of this key may have changed; the receiver completes when they were applied.
    pub(super) fn key(&self, id: KeyId) -> oneshot::Receiver<Result<()>> {
        let (done, applied) = oneshot::channel();
        let mut waiting = self.waiting();
        if !waiting.closed {
            waiting.keys.entry(id).or_default().waiters.push(done);
        }
        drop(waiting);
        self.wake.notify_one();
        applied
    }

    /// This key was deleted; it had these devices.
    pub(super) fn deleted(&self, key: &Key) {
        let mut waiting = self.waiting();
        if waiting.closed {
            return;
        }
        let work = waiting.keys.entry(key.id).or_default();
        work.devices.extend(key.devices());
        drop(waiting);
        self.wake.notify_one();
    }

    /// Queues certificates that are refused from now on.
    pub(super) fn revoked(&self, revocations: impl IntoIterator<Item = Revocation>) {
        let mut waiting = self.waiting();
        let mut queued = false;
        for revocation in revocations {
            if !waiting.closed {
                waiting.keys.entry(revocation.key).or_default().revoked.push(revocation);
                queued = true;
            }
        }
        drop(waiting);
        if queued {
            self.wake.notify_one();
        }
    }

    /// This inbound may have changed; the receiver completes when it was applied.
    pub(super) fn inbound(&self, tag: InboundTag) -> oneshot::Receiver<Result<()>> {
        let (done, applied) = oneshot::channel();
        let mut waiting = self.waiting();
        if !waiting.closed {
            waiting.inbounds.entry(tag).or_default().waiters.push(done);
        }
        drop(waiting);
        self.wake.notify_one();
        applied
    }

    /// Another process has changed a key, which had these devices if it was deleted.
    pub(super) fn changed(&self, cursor: Cursor, key: KeyId, devices: Vec<DeviceName>) {
        let mut waiting = self.waiting();
        if waiting.closed {
            return;
        }
        let work = waiting.keys.entry(key).or_default();
        work.devices.extend(devices);
        if work.since.is_none() {
            work.since = Some(cursor);
            waiting.foreign.insert((cursor, Foreign::Key(key)));
        }
        drop(waiting);
        self.wake.notify_one();
    }

    /// Another process has changed an inbound.
    pub(super) fn changed_inbound(&self, cursor: Cursor, tag: &InboundTag) {
        let mut waiting = self.waiting();
        if waiting.closed {
            return;
        }
        let work = waiting.inbounds.entry(tag.clone()).or_default();
        if work.since.is_none() {
            work.since = Some(cursor);
            waiting.foreign.insert((cursor, Foreign::Inbound(tag.clone())));
        }
        drop(waiting);
        self.wake.notify_one();
    }

    /// All that others have changed up to here was queued; `awaited`: they have changed something.
    pub(super) fn followed(&self, cursor: Cursor, awaited: bool) {
        let mut waiting = self.waiting();
        waiting.followed = cursor;
        waiting.awaited |= awaited;
        drop(waiting);
        self.progressed.notify_one();
    }

    /// Whether somebody waits to hear of the progress; asked once for each.
    pub(super) fn is_awaited(&self) -> bool {
        let mut waiting = self.waiting();
        let done = waiting.foreign.is_empty() && waiting.busy_since.is_none();
        let awaited = waiting.awaited;
        waiting.awaited &= !done;
        awaited
    }

    /// Up to where everything that others have changed was worked on.
    pub(super) fn progress(&self) -> Cursor {
        let waiting = self.waiting();
        let waits = waiting.foreign.first().map(|(cursor, _)| *cursor);
        let first = waits.into_iter().chain(waiting.busy_since).min();
        first.map_or(waiting.followed, |first| Cursor(first.0 - 1))
    }

    /// Everything may have changed; the receiver gets the number of steps it took.
    pub(super) fn reconcile(&self) -> oneshot::Receiver<Result<usize>> {
        let (done, applied) = oneshot::channel();
        let mut waiting = self.waiting();
        if !waiting.closed {
            waiting.reconcile.get_or_insert_default().push(done);
        }
        drop(waiting);
        self.wake.notify_one();
        applied
    }

    /// Whether a key, or everything, waits or is being done.
    pub(super) fn awaits(&self, key: KeyId) -> bool {
        let waiting = self.waiting();
        waiting.busy || waiting.reconcile.is_some() || waiting.keys.contains_key(&key)
    }

    /// How many keys and inbounds wait.
    pub(super) fn len(&self) -> usize {
        let waiting = self.waiting();
        waiting.keys.len() + waiting.inbounds.len()
    }

    /// Tells those who wait for it that nothing is left to do.
    pub(super) fn tell_idle(&self) {
        self.idle.notify_waiters();
    }

    /// Returns when nothing waits and nothing is being done.
    pub(super) async fn idle(&self) {
        loop {
            let idle = self.idle.notified();
            {
                let waiting = self.waiting();
                let empty =
                    waiting.keys.is_empty() && waiting.inbounds.is_empty() && waiting.reconcile.is_none();
                if empty && !waiting.busy {
                    return;
                }
            }
            idle.await;
        }
    }

    /// Takes what waits; nothing is told to those who wait for the end of all work.
    pub(super) fn take(&self) -> Taken {
        let mut waiting = self.waiting();
        if waiting.busy_since.take().is_some() {
            self.progressed.notify_one();
        }
        let reconcile = waiting.reconcile.take();
        let inbounds = std::mem::take(&mut waiting.inbounds);
        for (tag, work) in &inbounds {
            waiting.begin(work.since, || Foreign::Inbound(tag.clone()));
        }
        let keys = waiting.take_keys();
        waiting.busy = reconcile.is_some() || !inbounds.is_empty() || !keys.is_empty();
        Taken { reconcile, inbounds, keys }
    }

    /// Takes keys that wait, at most one batch.
    pub(super) fn take_keys(&self) -> BTreeMap<KeyId, KeyWork> {
        self.waiting().take_keys()
    }
}

impl Waiting {
    /// Something that another process has changed is worked on now.
    fn begin(&mut self, since: Option<Cursor>, what: impl FnOnce() -> Foreign) {
        if let Some(since) = since {
            self.foreign.remove(&(since, what()));
            self.busy_since = Some(self.busy_since.map_or(since, |busy| busy.min(since)));
        }
    }

    fn take_keys(&mut self) -> BTreeMap<KeyId, KeyWork> {
        let taken = self.split_keys();
        for (key, work) in &taken {
            self.begin(work.since, || Foreign::Key(*key));
        }
        taken
    }

    fn split_keys(&mut self) -> BTreeMap<KeyId, KeyWork> {
        match self.keys.keys().nth(BATCH).copied() {
            Some(next) => {
                let rest = self.keys.split_off(&next);
                std::mem::replace(&mut self.keys, rest)
            }
            None => std::mem::take(&mut self.keys),
        }
    }
}

/// Work that was taken from the queue.
pub(super) struct Taken {
    pub(super) reconcile: Option<Vec<oneshot::Sender<Result<usize>>>>,
    pub(super) inbounds: BTreeMap<InboundTag, InboundWork>,
    pub(super) keys: BTreeMap<KeyId, KeyWork>,
}

impl Taken {
    pub(super) fn is_empty(&self) -> bool {
        self.reconcile.is_none() && self.inbounds.is_empty() && self.keys.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_ends_before_the_first_change_that_is_not_done() {
        let queue = Queue::default();
        queue.changed(Cursor(3), KeyId(1), Vec::new());
        queue.changed(Cursor(5), KeyId(2), Vec::new());
        queue.changed(Cursor(7), KeyId(1), Vec::new());
        queue.followed(Cursor(9), true);
        assert_eq!(queue.progress(), Cursor(2));
        let taken = queue.take();
        assert_eq!(taken.keys.len(), 2);
        // What is being done is not done yet.
        queue.changed(Cursor(11), KeyId(1), Vec::new());
        queue.followed(Cursor(12), true);
        assert_eq!(queue.progress(), Cursor(2));
        drop(queue.take());
        assert_eq!(queue.progress(), Cursor(10));
        drop(queue.take());
        assert_eq!(queue.progress(), Cursor(12));
    }
}
