//! A call that has been described and not begun: [`Pending::wait`] runs it for a thread, [`Pending::start`] for an event
//! loop.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use vpnkit::{Error, ErrorKind, Result};
use vpnkit_bindings::{Answer, Runtime, Session};

use crate::bridge::Bridge;
use crate::convert;
use crate::errors::exception;
use crate::kit::Kit;

/// How often a waiting thread looks for Ctrl-C.
const SIGNALS: Duration = Duration::from_millis(100);

/// What a call brings, before it is Python's.
pub(crate) enum Outcome {
    Answer(Answer),
    Opened(Session),
    Events(Vec<vpnkit::Event>),
}

impl Outcome {
    pub(crate) fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self {
            Self::Answer(answer) => convert::answer(py, answer),
            Self::Opened(session) => Ok(Py::new(py, Kit::from(session))?.into_any()),
            Self::Events(events) => convert::events_list(py, events),
        }
    }
}

pub(crate) type Future = Pin<Box<dyn std::future::Future<Output = Result<Outcome>> + Send>>;

/// A call that has not begun.
#[pyclass(frozen)]
pub(crate) struct Pending {
    operation: &'static str,
    /// Short enough to run on whichever thread wakes it.
    inline: bool,
    runtime: Runtime,
    future: Mutex<Option<Future>>,
}

impl Pending {
    pub(crate) fn new(
        operation: &'static str,
        runtime: Runtime,
        future: impl std::future::Future<Output = Result<Outcome>> + Send + 'static,
    ) -> Self {
        Self { operation, inline: false, runtime, future: Mutex::new(Some(Box::pin(future))) }
    }

    /// The same on whichever thread wakes it.
    pub(crate) fn inline(self) -> Self {
        Self { inline: true, ..self }
    }

    fn take(&self, py: Python<'_>) -> PyResult<Future> {
        self.runtime.check(self.operation).map_err(|e| exception(py, &e))?;
        let future = self.future.lock().unwrap_or_else(PoisonError::into_inner).take();
        future.ok_or_else(|| PyRuntimeError::new_err("the call was begun already"))
    }
}

#[pymethods]
impl Pending {
    /// Waits for the answer without the GIL; Ctrl-C ends the waiting.
    #[pyo3(signature = (timeout_ms = None))]
    fn wait(&self, py: Python<'_>, timeout_ms: Option<u64>) -> PyResult<Py<PyAny>> {
        let mut future = self.take(py)?;
        let deadline = timeout_ms.map(|ms| Instant::now() + Duration::from_millis(ms));
        loop {
            let slice =
                deadline.map_or(SIGNALS, |d| d.saturating_duration_since(Instant::now()).min(SIGNALS));
            let outcome = py.detach(|| {
                self.runtime
                    .block_on(self.operation, async { tokio::time::timeout(slice, &mut future).await })
            });
            match outcome.map_err(|e| exception(py, &e))? {
                Ok(outcome) => return outcome.map_err(|e| exception(py, &e))?.into_python(py),
                Err(_) => py.check_signals()?,
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                let late = Error::new(ErrorKind::Timeout, self.operation, "took longer than its time limit");
                return Err(exception(py, &late));
            }
        }
    }

    /// Begins the call; its answer comes through the bridge under the number that this returns.
    fn start(&self, py: Python<'_>, bridge: &Bridge) -> PyResult<u64> {
        let future = self.take(py)?;
        Ok(bridge.start(&self.runtime, self.inline, future))
    }
}
