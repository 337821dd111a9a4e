//! Consumers of events: a name under which the store keeps a place, for whichever process has its turn.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use super::events::other_than;
use super::leases::{Held, Wanted};
use super::{Engine, Shared};
use vpnkit_core::model::{Cursor, Event, KeyName};
use vpnkit_core::store::ConsumerOp;
use vpnkit_core::{Error, ErrorKind, Result};

/// Events that are read at once.
const BATCH: usize = 500;
/// Handled events of which the store is not told yet, at most: so many come again after a crash.
const UNTOLD: usize = 100;
/// For how long it is not told of one, at most, while there are more.
const UNTOLD_FOR: Duration = Duration::from_secs(1);

/// A consumer of events, and how far it has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConsumerStatus {
    /// Its name.
    pub name: String,
    /// The cursor of the last event that was handled.
    pub cursor: Cursor,
    /// How many events are behind that one, those that are no longer kept included.
    pub pending: u64,
}

/// Gives each event at least once to one of those who consume under its name, in order.
///
/// An event counts as handled when the next one is asked for. After a crash, or when another process takes over, the last ones
/// may come again, up to a hundred.
pub struct EventConsumer {
    engine: Engine,
    name: String,
    /// Where it begins when it is new.
    after: Option<Cursor>,
    /// Nobody else in this process has the turn.
    here: Option<OwnedMutexGuard<()>>,
    /// The lease that it waits for, or has.
    wanted: Option<Arc<Wanted>>,
    /// No other process has the turn.
    held: Option<Arc<Held>>,
    ready: VecDeque<Event>,
    /// The last event that was given out.
    given: Option<Cursor>,
    /// How many were given out with it.
    given_count: usize,
    /// Behind which more is read.
    read: Cursor,
    /// Up to which events are handled, how many of them the store does not know of, and since when.
    untold: Option<(Cursor, usize, Instant)>,
}

impl fmt::Debug for EventConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventConsumer").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The lease of a consumer.
fn lease(name: &str) -> String {
    format!("consumer:{name}")
}

/// Checks the name of a consumer.
///
/// Errors: `InvalidInput` about `name`.
pub(super) fn check_name(op: &'static str, name: &str) -> Result<()> {
    KeyName::new(name).map(drop).map_err(|e| Error::invalid(op, "name", e.message().to_owned()))
}

impl EventConsumer {
    const OP: &str = "events.consume";

    pub(super) fn new(engine: &Engine, name: &str, after: Option<Cursor>) -> Result<Self> {
        check_name(Self::OP, name)?;
        if engine.context().admin().is_some() {
            let message = "consumers are the application's own: read events from a cursor";
            return Err(Error::new(ErrorKind::PermissionDenied, Self::OP, message));
        }
        Ok(Self {
            engine: engine.clone(),
            name: name.to_owned(),
            after,
            here: None,
            wanted: None,
            held: None,
            ready: VecDeque::new(),
            given: None,
            given_count: 0,
            read: Cursor::START,
            untold: None,
        })
    }

    /// Waits for the next event; the one before is handled by that. `None` once vpnkit is closed. Cancel-safe: an event is not
    /// lost by dropping the future.
    ///
    /// Errors: `CursorExpired` when events that were not handled are no longer kept: [`super::Events::remove_consumer`] lets it begin
    /// again.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        Ok(self.next_batch(1).await?.pop())
    }

    /// Waits until there is an event, and takes it and those behind it, at most `max`; those before are handled by that. Nothing
    /// once vpnkit is closed. Cancel-safe.
    ///
    /// Errors: as with [`Self::next`].
    pub async fn next_batch(&mut self, max: usize) -> Result<Vec<Event>> {
        let shared = Arc::clone(&self.engine.shared);
        shared.open(Self::OP)?;
        self.handled();
        loop {
            if shared.stop.is_cancelled() {
                return Ok(Vec::new());
            }
            match self.filled(&shared).await {
                Ok(true) => break,
                Ok(false) => return Ok(Vec::new()),
                // Another process has it now, and gives what was not told of again; or it was removed, and begins again.
                Err(e) if matches!(e.kind(), ErrorKind::LeaseLost | ErrorKind::NotFound) => self.lose_turn(),
                Err(e) => {
                    if e.kind() == ErrorKind::CursorExpired {
                        // Where it is is looked up again: it may have been removed by then.
                        self.lose_turn();
                    }
                    return Err(e);
                }
            }
        }
        let events: Vec<Event> = self.ready.drain(..self.ready.len().min(max.max(1))).collect();
        (self.given, self.given_count) = (events.last().map(|event| event.cursor), events.len());
        Ok(events)
    }

    /// Ends it: the store is told what was handled, and another process has its turn at once. The event that was given out last comes
    /// again, unless it is [`Self::acknowledge`]d.
    pub async fn close(mut self) -> Result<()> {
        let told = self.tell().await;
        if let Some(wanted) = self.wanted.take() {
            self.engine.shared.leases.give_up(self.engine.shared.store.as_ref(), &wanted).await;
        }
        match told {
            Err(e) if matches!(e.kind(), ErrorKind::LeaseLost | ErrorKind::NotFound) => Ok(()),
            told => told,
        }
    }

    /// Counts the event that was given out last as handled, without asking for the next one.
    pub async fn acknowledge(&mut self) -> Result<()> {
        self.handled();
        match self.tell().await {
            Err(e) if matches!(e.kind(), ErrorKind::LeaseLost | ErrorKind::NotFound) => {
                self.lose_turn();
                Ok(())
            }
            told => told,
        }
    }

    /// What was given out is handled.
    fn handled(&mut self) {
        let Some(given) = self.given.take() else { return };
        let (count, since) = self.untold.map_or((0, Instant::now()), |(_, count, since)| (count, since));
        self.untold = Some((given, count + self.given_count, since));
    }

    /// Tells the store what was handled.
    async fn tell(&mut self) -> Result<()> {
        let (Some((cursor, ..)), Some(held)) = (self.untold, &self.held) else { return Ok(()) };
        let shared = &self.engine.shared;
        let step = ConsumerOp::Advance(self.name.clone(), cursor);
        let txn = shared.txn([step]).under(Some(held.fence.clone()));
        shared.store.commit(txn).await.map_err(|e| e.during(Self::OP))?;
        self.untold = None;
        Ok(())
    }

    fn lose_turn(&mut self) {
        self.held = None;
        self.untold = None;
        self.given = None;
        self.ready.clear();
    }

    /// Waits until events are ready; `false` once vpnkit is closed.
    async fn filled(&mut self, shared: &Arc<Shared>) -> Result<bool> {
        if self.held.as_ref().is_some_and(|held| !held.is_valid()) {
            self.lose_turn();
        }
        if self.held.is_none() {
            let held = tokio::select! {
                () = shared.stop.cancelled() => return Ok(false),
                held = self.take_turn() => held,
            };
            self.read = self.place(shared).await?;
            // Not before it is known where to go on: the caller may stop waiting.
            self.held = Some(held);
        }
        let mut newest = shared.store.newest();
        loop {
            let due = |(_, count, since): (Cursor, usize, Instant)| {
                count >= UNTOLD || since.elapsed() >= UNTOLD_FOR
            };
            if self.untold.is_some_and(due) || self.ready.is_empty() {
                self.tell().await?;
            }
            if !self.ready.is_empty() {
                return Ok(true);
            }
            let batch = shared.store.events(self.read, BATCH).await.map_err(|e| self.expired(e))?;
            let more = batch.next > self.read;
            self.read = batch.next;
            self.ready.extend(batch.events);
            if more {
                continue;
            }
            let Some(held) = &self.held else { return Err(Held::lost(Self::OP, &self.name)) };
            tokio::select! {
                () = shared.stop.cancelled() => return Ok(false),
                () = held.over() => return Err(Held::lost(Self::OP, &self.name)),
                more = other_than(&mut newest, self.read) => {
                    if !more {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// Waits for the turn: in this process, and of this process.
    async fn take_turn(&mut self) -> Arc<Held> {
        let shared = Arc::clone(&self.engine.shared);
        if self.here.is_none() {
            self.here = Some(shared.consuming.of(&self.name).lock_owned().await);
        }
        let wanted = self.wanted.get_or_insert_with(|| shared.leases.want(lease(&self.name)));
        wanted.wait(|_| {}).await
    }

    /// Reads where it is; one that is new begins.
    async fn place(&self, shared: &Shared) -> Result<Cursor> {
        let place = async || {
            let all = shared.store.consumers().await.map_err(|e| e.during(Self::OP))?;
            Ok::<_, Error>(all.into_iter().find(|(name, _)| *name == self.name).map(|(_, cursor)| cursor))
        };
        match place().await? {
            Some(cursor) => Ok(cursor),
            None => {
                let from = match self.after {
                    Some(after) => after,
                    None => shared.store.newest_event().await.map_err(|e| e.during(Self::OP))?,
                };
                let add = ConsumerOp::Add(self.name.clone(), from);
                shared.store.commit(shared.txn([add])).await.map_err(|e| e.during(Self::OP))?;
                Ok(from)
            }
        }
    }

    fn expired(&self, error: Error) -> Error {
        let error = error.during(Self::OP);
        match error.kind() {
            ErrorKind::CursorExpired => error
                .with("consumer", &self.name)
                .hint("it was away for longer than events are kept: remove it to begin again, and look what it has missed"),
            _ => error,
        }
    }
}

impl Drop for EventConsumer {
    fn drop(&mut self) {
        // What was given out last comes again; what was not told of too.
        let Some(wanted) = self.wanted.take() else { return };
        let (shared, here) = (Arc::clone(&self.engine.shared), self.here.take());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                shared.leases.give_up(shared.store.as_ref(), &wanted).await;
                drop(here);
            });
        } else {
            shared.leases.forget(&wanted);
        }
    }
}

/// The turns of consumers in this process.
#[derive(Debug, Default)]
pub(super) struct Consuming(
    std::sync::Mutex<std::collections::BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
);

impl Consuming {
    fn of(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut all = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Arc::clone(all.entry(name.to_owned()).or_default())
    }
}
