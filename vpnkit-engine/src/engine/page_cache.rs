//! Pages that were made, and the right to make one.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use vpnkit_core::model::KeyId;
use vpnkit_subscription::SubscriptionResponse;

/// Bytes of the pages that are kept.
const KEPT: usize = 16 << 20;
/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// Pages that were made, by key: one that has not changed is not made again.
#[derive(Debug)]
pub(super) struct PageCache {
    pages: Mutex<Pages>,
    /// One page at a time: customers who ask for pages get one core's work, whatever they ask for.
    turn: Semaphore,
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
        Self { pages: Mutex::default(), turn: Semaphore::new(1) }
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

    /// Waits for the right to make one; `None` when others have it for too long.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        tokio::time::timeout(PATIENCE, self.turn.acquire()).await.ok()?.ok()
    }
}
