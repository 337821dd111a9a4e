//! The event stream as bindings pull it.

use std::mem;
use std::sync::Arc;

use tokio::sync::Mutex;
use vpnkit::{Event, EventStream, Result};

use crate::Session;

/// A place in the stream of events. Several callers take turns.
#[derive(Debug)]
pub struct Pump {
    stream: Option<Mutex<EventStream>>,
    session: Arc<Session>,
}

impl Pump {
    pub(crate) fn new(session: Arc<Session>, stream: EventStream) -> Self {
        Self { stream: Some(Mutex::new(stream)), session }
    }

    /// The kit that it reads.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Waits for the next events, at most `max`; none once the kit is closed. Cancel-safe.
    pub async fn next(&self, max: usize) -> Result<Vec<Event>> {
        self.session.runtime().check("events.stream")?;
        match &self.stream {
            Some(stream) => stream.lock().await.next_batch(max).await,
            None => Ok(Vec::new()),
        }
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        if self.session.runtime().is_forked() {
            mem::forget(self.stream.take());
        }
    }
}
