//! Events.

use std::collections::VecDeque;

use futures_core::stream::BoxStream;
use tokio::sync::watch;

use vpnkit_macros::operations;

use super::{ConsumerStatus, Engine, EventConsumer};
use vpnkit_core::model::{AuditQuery, Cursor, Event, EventBatch};
use vpnkit_core::store::{ConsumerOp, Newest};
use vpnkit_core::{Error, ErrorKind, Result};

/// Events that are read at once.
const BATCH: usize = 1_000;

/// Reads the outbox: everything that was committed, in order, also what happened while nobody listened.
#[derive(Clone, Debug)]
pub struct Events {
    pub(super) engine: Engine,
}

#[operations(noun = "events", handle = Engine::events)]
impl Events {
    /// At most `max` events after a cursor, up to 10,000; does not wait.
    ///
    /// Errors: `CursorExpired` when some of them are no longer kept.
    #[operation(read, own)]
    pub async fn read(
        &self,
        after: Cursor,
        #[arg(positional, default = 1_000)] max: usize,
    ) -> Result<EventBatch> {
        const OP: &str = "events.read";
        self.engine.shared.open(OP)?;
        self.engine.shared.store.events(after, max.min(10_000)).await.map_err(|e| e.during(OP))
    }

    /// The cursor of the newest event: from here on only what happens next.
    #[operation(read, own)]
    pub async fn newest(&self) -> Result<Cursor> {
        const OP: &str = "events.newest";
        self.engine.shared.open(OP)?;
        self.engine.shared.store.newest_event().await.map_err(|e| e.during(OP))
    }

    /// Returns what calls have changed, the newest first: who called, why, with which payment, and what came of it. No call changes or
    /// removes what stands there; it is kept for as long as timelines are. In the name of a reseller those are its own calls.
    ///
    /// Errors: `InvalidInput` about `limit`.
    #[operation(read, own)]
    pub async fn audit(&self, #[arg(spread)] query: AuditQuery) -> Result<Vec<Event>> {
        const OP: &str = "events.audit";
        self.engine.shared.open(OP)?;
        query.validate(OP)?;
        self.engine.shared.store.audit(&query).await.map_err(|e| e.during(OP))
    }

    /// Returns the consumers of events by name, and how far they have come.
    #[operation(read)]
    pub async fn consumers(&self) -> Result<Vec<ConsumerStatus>> {
        const OP: &str = "events.consumers";
        let shared = &self.engine.shared;
        shared.open(OP)?;
        let newest = shared.store.newest_event().await.map_err(|e| e.during(OP))?;
        let all = shared.store.consumers().await.map_err(|e| e.during(OP))?;
        let status = |(name, cursor): (String, Cursor)| {
            let pending = u64::try_from(newest.0 - cursor.0).unwrap_or(0);
            ConsumerStatus { name, cursor, pending }
        };
        Ok(all.into_iter().map(status).collect())
    }

    /// Forgets a consumer: who consumes under its name begins again.
    ///
    /// Errors: `NotFound`.
    #[operation(change, dry_run)]
    pub async fn remove_consumer(&self, name: &str) -> Result<()> {
        const OP: &str = "events.remove_consumer";
        let remove = async {
            let shared = &self.engine.shared;
            shared.open(OP)?;
            let all = shared.store.consumers().await.map_err(|e| e.during(OP))?;
            if !all.iter().any(|(known, _)| known == name) {
                return Err(Error::new(ErrorKind::NotFound, OP, "no such consumer")
                    .with("field", "name")
                    .with("name", name));
            }
            let step = ConsumerOp::Remove(name.to_owned());
            shared.store.commit(shared.txn([step])).await.map(drop).map_err(|e| e.during(OP))
        };
        self.engine.in_context(OP, remove).await
    }

    /// Consumes events under a name (1 to 64 of `A-Z a-z 0-9 . _ @ + -`), whose place the store keeps: each event is given at least
    /// once to one of those who consume under it, in whichever process. It begins behind `after`, the first time; without that with
    /// what happens next.
    ///
    /// Errors: `InvalidInput` about `name`; `PermissionDenied` in the name of an admin.
    pub fn consume(&self, name: &str, after: Option<Cursor>) -> Result<EventConsumer> {
        EventConsumer::new(&self.engine, name, after)
    }

    /// Everything after a cursor, then whatever comes. Keep the cursor of the last event that you handled.
    #[must_use]
    pub fn stream(&self, after: Cursor) -> EventStream {
        EventStream { events: self.clone(), cursor: after, ready: VecDeque::new() }
    }
}

/// Events one by one.
#[derive(Debug)]
pub struct EventStream {
    events: Events,
    cursor: Cursor,
    ready: VecDeque<Event>,
}

impl EventStream {
    /// Waits for the next event; `None` once vpnkit is closed. Cancel-safe: an event is not lost by dropping the
    /// future.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        self.fill().await?;
        Ok(self.ready.pop_front())
    }

    /// Waits until there is an event, and takes it and those behind it, at most `max`; nothing once vpnkit is
    /// closed. Cancel-safe.
    pub async fn next_batch(&mut self, max: usize) -> Result<Vec<Event>> {
        self.fill().await?;
        let count = self.ready.len().min(max);
        Ok(self.ready.drain(..count).collect())
    }

    /// Waits until an event is ready or vpnkit is closed.
    async fn fill(&mut self) -> Result<()> {
        let shared = std::sync::Arc::clone(&self.events.engine.shared);
        let mut newest = shared.store.newest();
        while self.ready.is_empty() {
            if shared.stop.is_cancelled() {
                return Ok(());
            }
            let batch = self.events.read(self.cursor, BATCH).await?;
            self.cursor = batch.next;
            self.ready.extend(batch.events);
            if self.ready.is_empty() {
                tokio::select! {
                    () = shared.stop.cancelled() => return Ok(()),
                    // Others' events too, within a tenth of a second.
                    more = other_than(&mut newest, self.cursor) => {
                        if !more {
                            return Ok(());
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// As a `futures` stream, which ends when vpnkit is closed or after the first error.
    #[must_use]
    pub fn into_stream(self) -> BoxStream<'static, Result<Event>> {
        Box::pin(futures_util::stream::unfold(Some(self), |state| async move {
            let mut stream = state?;
            match stream.next().await {
                Ok(Some(event)) => Some((Ok(event), Some(stream))),
                Ok(None) => None,
                Err(e) => Some((Err(e), None)),
            }
        }))
    }
}

/// Waits until the newest event is another one: a newer one, or an older one in a store that was restored. `false` when the store
/// is closed.
pub(super) async fn other_than(newest: &mut watch::Receiver<Newest>, cursor: Cursor) -> bool {
    loop {
        if newest.borrow_and_update().event > cursor {
            return true;
        }
        if newest.changed().await.is_err() {
            return false;
        }
        if newest.borrow().event != cursor {
            return true;
        }
    }
}
