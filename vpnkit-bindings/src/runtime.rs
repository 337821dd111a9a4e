//! The tokio runtime of one open kit.

use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::task::JoinHandle;
use vpnkit::{Error, ErrorKind, Result};

/// Threads of its own, which end with it. Clones share it.
///
/// None of its threads ever calls into the interpreter: the thread that started a call fetches the answer. So an interpreter
/// can end at any time.
#[derive(Clone, Debug)]
pub struct Runtime(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The process whose threads these are: a fork has none of them.
    process: u32,
    handle: Handle,
    state: Mutex<State>,
    left: Condvar,
}

#[derive(Debug)]
struct State {
    owned: Option<tokio::runtime::Runtime>,
    /// Threads of callers that are inside [`Runtime::block_on`].
    inside: usize,
}

impl Runtime {
    /// Starts two worker threads.
    pub fn new() -> Result<Self> {
        crate::log::start();
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("vpnkit")
            .enable_all()
            .build()
            .map_err(|e| {
                Error::new(ErrorKind::Unavailable, "open", "threads cannot be started").caused_by(e)
            })?;
        let handle = runtime.handle().clone();
        let state = Mutex::new(State { owned: Some(runtime), inside: 0 });
        Ok(Self(Arc::new(Inner { process: std::process::id(), handle, state, left: Condvar::new() })))
    }

    /// Errors: `Forked` in any process but the one that made it; `Closed` once it was shut down.
    pub fn check(&self, operation: &'static str) -> Result<()> {
        if self.is_forked() {
            return Err(Error::new(ErrorKind::Forked, operation, "opened before this process was forked")
                .hint("open vpnkit in the child, after the fork"));
        }
        if self.0.state().owned.is_none() {
            return Err(Error::new(ErrorKind::Closed, operation, "vpnkit is closed"));
        }
        Ok(())
    }

    /// Whether this is another process than the one that made it.
    #[must_use]
    pub fn is_forked(&self) -> bool {
        self.0.process != std::process::id()
    }

    /// Runs a future on the worker threads.
    pub fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.0.handle.spawn(future)
    }

    /// Runs a future on whichever thread wakes it, this one first: for operations that are `inline`.
    pub fn spawn_inline(&self, future: impl Future<Output = ()> + Send + 'static) {
        crate::inline::run(self.0.handle.clone(), future);
    }

    /// Runs a future on this thread. Not from one of its own threads.
    ///
    /// Errors: `Closed` once it was shut down.
    pub fn block_on<T>(&self, operation: &'static str, future: impl Future<Output = T>) -> Result<T> {
        self.check(operation)?;
        self.0.state().inside += 1;
        let _inside = Inside(&self.0);
        Ok(self.0.handle.block_on(future))
    }

    /// Ends the threads; waits at most `grace` for callers that are still inside, and as long for the threads. Not from
    /// one of its own threads.
    pub fn shut_down(&self, grace: Duration) {
        if self.is_forked() {
            return;
        }
        let state = self.0.state();
        let waited = self.0.left.wait_timeout_while(state, grace, |state| state.inside > 0);
        let runtime = waited.unwrap_or_else(PoisonError::into_inner).0.owned.take();
        if let Some(runtime) = runtime {
            runtime.shutdown_timeout(grace);
        }
    }
}

struct Inside<'a>(&'a Inner);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.state().inside -= 1;
        self.0.left.notify_all();
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let owned = self.state().owned.take();
        match owned {
            Some(runtime) if self.process == std::process::id() => runtime.shutdown_background(),
            // The threads are the parent's; there is nobody to join.
            owned => mem::forget(owned),
        }
    }
}
