//! Events as bindings pull them.

use std::mem;
use std::sync::Arc;

use tokio::sync::Mutex;
use vpnkit::{Event, EventConsumer, EventStream, Result};

use crate::Session;

/// Where events come from.
#[derive(Debug)]
enum Source {
    Stream(EventStream),
    Consumer(EventConsumer),
    /// The consumer was ended.
    Ended,
}

/// A place in the stream of events, or a consumer. Several callers take turns.
#[derive(Debug)]
pub struct Pump {
    source: Option<Arc<Mutex<Source>>>,
    session: Arc<Session>,
}

impl Pump {
    pub(crate) fn stream(session: Arc<Session>, stream: EventStream) -> Self {
        Self { source: Some(Arc::new(Mutex::new(Source::Stream(stream)))), session }
    }

    pub(crate) fn consumer(session: Arc<Session>, consumer: EventConsumer) -> Self {
        Self { source: Some(Arc::new(Mutex::new(Source::Consumer(consumer)))), session }
    }

    /// The kit that it reads.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Waits for the next events, at most `max`; none once the kit is closed. Those before are handled by that. Cancel-safe.
    pub async fn next(&self, max: usize) -> Result<Vec<Event>> {
        self.session.runtime().check("events.stream")?;
        let Some(source) = &self.source else { return Ok(Vec::new()) };
        match &mut *source.lock().await {
            Source::Stream(stream) => stream.next_batch(max).await,
            Source::Consumer(consumer) => consumer.next_batch(max).await,
            Source::Ended => Ok(Vec::new()),
        }
    }

    /// Counts the events that were given out last as handled.
    pub async fn acknowledge(&self) -> Result<()> {
        self.session.runtime().check("events.consume")?;
        let Some(source) = &self.source else { return Ok(()) };
        match &mut *source.lock().await {
            Source::Consumer(consumer) => consumer.acknowledge().await,
            Source::Stream(_) | Source::Ended => Ok(()),
        }
    }

    /// Ends it: another process that consumes under the name has its turn at once. A caller that waits must have been cancelled.
    pub async fn close(&self) -> Result<()> {
        self.session.runtime().check("events.consume")?;
        let Some(source) = &self.source else { return Ok(()) };
        end(source).await
    }
}

async fn end(source: &Mutex<Source>) -> Result<()> {
    match mem::replace(&mut *source.lock().await, Source::Ended) {
        Source::Consumer(consumer) => consumer.close().await,
        Source::Stream(_) | Source::Ended => Ok(()),
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        let source = self.source.take();
        if self.session.runtime().is_forked() {
            mem::forget(source);
        } else if let Some(source) = source
            && !source.try_lock().is_ok_and(|source| matches!(*source, Source::Stream(_) | Source::Ended))
        {
            // What was handled is told, and nobody waits for the end of a lease.
            self.session.runtime().spawn(async move { drop(end(&source).await) });
        }
    }
}
