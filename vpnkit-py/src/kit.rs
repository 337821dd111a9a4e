//! An open kit and its stream of events.

use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use vpnkit::{AdminId, CallContext, Cursor};
use vpnkit_bindings::{Pump, Request, Runtime, Session};

use crate::errors::exception;
use crate::pending::{Outcome, Pending};

/// An open kit.
#[pyclass(frozen, weakref)]
pub(crate) struct Kit {
    session: Arc<Session>,
    /// Of its calls.
    context: CallContext,
}

impl From<Session> for Kit {
    fn from(session: Session) -> Self {
        Self { session: Arc::new(session), context: CallContext::default() }
    }
}

/// Opens a kit from the JSON of its configuration; a sandbox has a manual clock and a fake server.
#[pyfunction]
#[pyo3(signature = (config, sandbox = false))]
pub(crate) fn open(py: Python<'_>, config: String, sandbox: bool) -> PyResult<Pending> {
    let runtime = Runtime::new().map_err(|e| exception(py, &e))?;
    let session = Session::open(runtime.clone(), config, sandbox);
    Ok(Pending::new("open", runtime, async move { session.await.map(Outcome::Opened) }))
}

#[pymethods]
impl Kit {
    /// The call `operation` with arguments in JSON.
    fn call(&self, py: Python<'_>, operation: &str, arguments: String) -> PyResult<Pending> {
        let operation = Request::named(operation).map_err(|e| exception(py, &e))?;
        let session = Arc::clone(&self.session);
        let context = self.context.clone();
        let call = async move {
            // Here and not before: a hundred thousand requests take a while to read.
            session.call(operation.read(&arguments)?, &context).await.map(Outcome::Answer)
        };
        let pending = Pending::new(operation.name(), self.session.runtime().clone(), call);
        Ok(if operation.is_inline() { pending.inline() } else { pending })
    }

    /// The same kit for calls in somebody's name, for a reason, or that are only tried; what is not given stays.
    #[pyo3(signature = (actor, reason, admin, dry_run))]
    fn view(
        &self,
        py: Python<'_>,
        actor: Option<&str>,
        reason: Option<&str>,
        admin: Option<(i64, Option<Vec<String>>)>,
        dry_run: bool,
    ) -> PyResult<Self> {
        let admin = admin.map(|(admin, scopes)| (AdminId(admin), scopes));
        let context = vpnkit_bindings::narrowed(&self.context, actor, reason, admin, dry_run);
        let context = context.map_err(|e| exception(py, &e))?;
        Ok(Self { session: Arc::clone(&self.session), context })
    }

    /// The events after a cursor.
    fn events(&self, py: Python<'_>, after: i64) -> PyResult<Stream> {
        let pump = self.session.events(&self.context, Cursor(after));
        pump.map(|pump| Stream(Arc::new(pump))).map_err(|e| exception(py, &e))
    }

    /// What consumes events under a name.
    #[pyo3(signature = (name, after))]
    fn consume(&self, py: Python<'_>, name: &str, after: Option<i64>) -> PyResult<Stream> {
        let pump = self.session.consume(&self.context, name, after.map(Cursor));
        pump.map(|pump| Stream(Arc::new(pump))).map_err(|e| exception(py, &e))
    }

    /// Reads the counters a last time, stops managed servers, releases the store.
    fn close(&self) -> Pending {
        let session = Arc::clone(&self.session);
        Pending::new("close", self.session.runtime().clone(), async move {
            session.close().await.map(|()| Outcome::Answer(vpnkit_bindings::Answer::new(())))
        })
    }

    /// Ends the threads; after `close`. Waits at most so long for those that are at work.
    fn shut_down(&self, py: Python<'_>, grace_ms: u64) {
        py.detach(|| self.session.runtime().shut_down(Duration::from_millis(grace_ms)));
    }

    /// Whether it was opened before this process was forked.
    fn is_forked(&self) -> bool {
        self.session.runtime().is_forked()
    }
}

/// A place in the stream of events.
#[pyclass(frozen)]
pub(crate) struct Stream(Arc<Pump>);

#[pymethods]
impl Stream {
    /// Waits for the next events, at most so many; none once the kit is closed.
    fn next(&self, max: usize) -> Pending {
        let pump = Arc::clone(&self.0);
        Pending::new("events.stream", self.0.session().runtime().clone(), async move {
            pump.next(max).await.map(Outcome::Events)
        })
    }

    /// Counts the events that were given out last as handled.
    fn acknowledge(&self) -> Pending {
        let pump = Arc::clone(&self.0);
        Pending::new("events.consume", self.0.session().runtime().clone(), async move {
            pump.acknowledge().await.map(|()| Outcome::Answer(vpnkit_bindings::Answer::new(())))
        })
    }

    /// Ends it; nobody may wait for its next event.
    fn close(&self) -> Pending {
        let pump = Arc::clone(&self.0);
        Pending::new("events.consume", self.0.session().runtime().clone(), async move {
            pump.close().await.map(|()| Outcome::Answer(vpnkit_bindings::Answer::new(())))
        })
    }
}
