//! Work that takes long: each on a thread of its own, with a connection of its own, so that nothing waits for it.

use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::worker::{join, spawn};
use vpnkit_core::Result;
use vpnkit_core::store::Progress;
use vpnkit_core::store::errors::closed;

/// The work of a store that takes long.
#[derive(Debug, Default)]
pub(crate) struct LongWork {
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    closed: bool,
    all: Vec<(Progress, JoinHandle<()>)>,
}

/// Cancels the work when nobody waits for it any more.
struct Cancel<'p>(&'p Progress);

impl Drop for Cancel<'_> {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl LongWork {
    /// Runs `work` and waits for it. When the caller does not wait to the end, it is cancelled.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        op: &'static str,
        progress: &Progress,
        work: impl FnOnce(&Progress) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            if running.closed {
                return Err(closed(op));
            }
            running.all.retain(|(_, thread)| !thread.is_finished());
            let of_work = progress.clone();
            let thread = spawn("vpnkit-store-l", move || drop(reply.send(work(&of_work))))?;
            running.all.push((progress.clone(), thread));
        }
        let _cancel = Cancel(progress);
        answer.await.map_err(|_| closed(op))?.map_err(|e| e.during(op))
    }

    /// Cancels what runs, and waits until it has ended.
    pub(crate) async fn close(&self) {
        let all = {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            running.closed = true;
            std::mem::take(&mut running.all)
        };
        all.iter().for_each(|(progress, _)| progress.cancel());
        for (_, thread) in all {
            join(Some(thread)).await;
        }
    }
}
