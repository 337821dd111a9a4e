//! The way from the runtime's threads to an event loop.
//!
//! Threads of the runtime put answers into a queue and write a byte into a socket that the loop watches; the loop takes
//! the answers when it likes. So no foreign thread touches Python: not while the interpreter ends, not when the loop is
//! closed, and no worker waits for the GIL.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::mem;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use tokio::task::AbortHandle;
use vpnkit::Result;
use vpnkit_bindings::Runtime;

use crate::errors::exception;
use crate::pending::{Future, Outcome};

#[derive(Default)]
struct State {
    next: u64,
    running: HashMap<u64, AbortHandle>,
    ready: Vec<(u64, Result<Outcome>)>,
}

struct Inner {
    state: Mutex<State>,
    wake: UnixStream,
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, number: u64, outcome: Result<Outcome>) {
        let first = {
            let mut state = self.state();
            state.running.remove(&number);
            state.ready.push((number, outcome));
            state.ready.len() == 1
        };
        if first {
            // Full means that the loop has been woken already.
            let _ = (&self.wake).write(&[0]);
        }
    }
}

/// One event loop's queue of answers.
#[pyclass(frozen)]
pub(crate) struct Bridge {
    inner: Arc<Inner>,
    woken: UnixStream,
}

impl Bridge {
    /// Begins a call. An inline one runs on whichever thread wakes it, and is not worth aborting.
    pub(crate) fn start(&self, runtime: &Runtime, inline: bool, future: Future) -> u64 {
        let inner = Arc::clone(&self.inner);
        let mut state = self.inner.state();
        let number = state.next;
        state.next += 1;
        if inline {
            drop(state);
            runtime.spawn_inline(async move { inner.put(number, future.await) });
            return number;
        }
        // The lock is held until the handle is in: an answer cannot overtake it.
        let task = runtime.spawn(async move {
            let outcome = future.await;
            inner.put(number, outcome);
        });
        state.running.insert(number, task.abort_handle());
        number
    }
}

#[pymethods]
impl Bridge {
    #[new]
    fn new() -> PyResult<Self> {
        let (woken, wake) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        wake.set_nonblocking(true)?;
        Ok(Self { inner: Arc::new(Inner { state: Mutex::default(), wake }), woken })
    }

    /// The descriptor that becomes readable when answers are there.
    fn fileno(&self) -> i32 {
        self.woken.as_raw_fd()
    }

    /// The answers that are there: number, whether it succeeded, and the value or exception.
    fn take(&self, py: Python<'_>) -> PyResult<Vec<(u64, bool, Py<PyAny>)>> {
        let mut bytes = [0; 64];
        while matches!((&self.woken).read(&mut bytes), Ok(count) if count == bytes.len()) {}
        let ready = mem::take(&mut self.inner.state().ready);
        let mut answers = Vec::with_capacity(ready.len());
        for (number, outcome) in ready {
            let value = outcome.map_err(|e| exception(py, &e)).and_then(|outcome| outcome.into_python(py));
            answers.push(match value {
                Ok(value) => (number, true, value),
                Err(e) => (number, false, e.into_value(py).into_any()),
            });
        }
        Ok(answers)
    }

    /// Nobody waits for this answer any more. A change that has begun goes on to its end.
    fn cancel(&self, number: u64) {
        if let Some(task) = self.inner.state().running.remove(&number) {
            task.abort();
        }
    }
}
