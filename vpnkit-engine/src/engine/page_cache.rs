//! Pages that were made, and the right to make one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use vpnkit_core::model::KeyId;
use vpnkit_subscription::{Format, SubscriptionResponse};

/// Bytes of the pages that are kept.
const KEPT: usize = 16 << 20;
/// Answers of one key that may wait or be made at once.
const OF_ONE_KEY: usize = 4;
/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// Pages that were made, by key: one that has not changed is not made again.
#[derive(Debug)]
pub(super) struct PageCache {
    pages: Mutex<Pages>,
    /// One page and one template at a time: customers get one core's work, whatever they ask for.
    page: Arc<Semaphore>,
    template: Arc<Semaphore>,
    /// How many answers of each key wait or are being made.
    asked: Mutex<HashMap<KeyId, usize>>,
}

/// The right to make an answer; it goes with the work, not with the one who asked and may be gone.
#[derive(Debug)]
pub(super) struct Turn {
    cache: Arc<PageCache>,
    key: KeyId,
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        drop(self.permit.take());
        let mut asked = self.cache.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = asked.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                asked.remove(&self.key);
            }
        }
    }
}

#[derive(Debug, Default)]
struct Pages {
    kept: HashMap<KeyId, Kept>,
    bytes: usize,
    clock: u64,
}

#[derive(Debug)]
struct Kept {
    page: SubscriptionResponse,
    used: u64,
}

impl Default for PageCache {
    fn default() -> Self {
        Self {
            pages: Mutex::default(),
            page: Arc::new(Semaphore::new(1)),
            template: Arc::new(Semaphore::new(1)),
            asked: Mutex::default(),
        }
    }
}

impl PageCache {
    /// Returns the page of a key if it is the one with this tag.
    pub(super) fn get(&self, key: KeyId, tag: &str) -> Option<SubscriptionResponse> {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.clock += 1;
        let clock = pages.clock;
        let kept = pages.kept.get_mut(&key).filter(|kept| kept.page.header("etag") == Some(tag))?;
        kept.used = clock;
        Some(kept.page.clone())
    }

    /// Keeps a page; those that were not asked for the longest make room.
    pub(super) fn put(&self, key: KeyId, page: SubscriptionResponse) {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.clock += 1;
        let used = pages.clock;
        pages.bytes += page.body.len();
        if let Some(old) = pages.kept.insert(key, Kept { page, used }) {
            pages.bytes -= old.page.body.len();
        }
        while pages.bytes > KEPT {
            let Some(oldest) = pages.kept.iter().min_by_key(|(_, kept)| kept.used).map(|(key, _)| *key)
            else {
                return;
            };
            if let Some(old) = pages.kept.remove(&oldest) {
                pages.bytes -= old.page.body.len();
            }
        }
    }

    /// Waits for the right to make an answer of a key; `None` when the key has too many already, or others have it for too
    /// long.
    pub(super) async fn turn(self: &Arc<Self>, key: KeyId, format: &Format) -> Option<Turn> {
        {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            let count = asked.entry(key).or_default();
            if *count >= OF_ONE_KEY {
                return None;
            }
            *count += 1;
        }
        let mut turn = Turn { cache: Arc::clone(self), key, permit: None };
        let of = if *format == Format::Page { &self.page } else { &self.template };
        turn.permit = tokio::time::timeout(PATIENCE, Arc::clone(of).acquire_owned()).await.ok()?.ok();
        turn.permit.is_some().then_some(turn)
    }
}
