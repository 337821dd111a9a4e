//! Runs a future on whichever thread wakes it.
//!
//! A call that only asks the store is woken by the store's thread, and has nothing to do then but to hand its answer on.
//! Waking a worker for that costs more than the call.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};

use tokio::runtime::Handle;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

struct InlineTask {
    runtime: Handle,
    /// Wakes that no poll has answered. The one that counts the first polls, until none is left.
    wakes: AtomicUsize,
    task: Mutex<Option<Task>>,
}

/// Begins on this thread. The future must be short between its waits, and must not panic.
pub(crate) fn run(runtime: Handle, task: impl Future<Output = ()> + Send + 'static) {
    let task = Mutex::new(Some(Box::pin(task) as Task));
    Arc::new(InlineTask { runtime, wakes: AtomicUsize::new(1), task }).poll();
}

impl InlineTask {
    fn poll(self: Arc<Self>) {
        let waker = Waker::from(Arc::clone(&self));
        let _runtime = self.runtime.enter();
        let mut seen = 1;
        while seen > 0 {
            seen = self.wakes.load(Ordering::Acquire);
            let mut slot = self.task.lock().unwrap_or_else(PoisonError::into_inner);
            let mut context = Context::from_waker(&waker);
            if slot.as_mut().is_none_or(|task| task.as_mut().poll(&mut context).is_ready()) {
                // Ended: the count stays above nothing, so no later wake polls.
                *slot = None;
                return;
            }
            drop(slot);
            if self.wakes.fetch_sub(seen, Ordering::AcqRel) == seen {
                seen = 0;
            }
        }
    }
}

impl Wake for InlineTask {
    fn wake(self: Arc<Self>) {
        if self.wakes.fetch_add(1, Ordering::AcqRel) == 0 {
            self.poll();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_ends_however_it_is_woken() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (done, all) = mpsc::channel();
        for i in 0..500 {
            let done = done.clone();
            run(runtime.handle().clone(), async move {
                let (answer, asked) = tokio::sync::oneshot::channel();
                std::thread::spawn(move || answer.send(i));
                let first = asked.await.unwrap();
                // A timer of the runtime, a wake during the poll, an answer that is there already.
                tokio::time::sleep(Duration::from_micros(first)).await;
                tokio::task::yield_now().await;
                done.send(first).unwrap();
            });
        }
        let mut found: Vec<u64> =
            (0..500).map(|_| all.recv_timeout(Duration::from_secs(60)).unwrap()).collect();
        found.sort_unstable();
        assert_eq!(found, (0..500).collect::<Vec<_>>());
    }
}
