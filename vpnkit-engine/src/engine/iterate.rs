//! Walking through keys.

use super::Keys;
use vpnkit_core::Result;
use vpnkit_core::model::{Key, KeyQuery};

/// Keys one by one, over all pages.
#[derive(Debug)]
pub struct KeyIterator {
    pub(super) keys: Keys,
    /// `None` behind the last page.
    pub(super) query: Option<KeyQuery>,
    pub(super) ready: std::vec::IntoIter<Key>,
}

impl KeyIterator {
    /// Returns the next key; `None` at the end.
    ///
    /// Errors: those of [`Keys::find`].
    pub async fn next(&mut self) -> Result<Option<Key>> {
        loop {
            if let Some(key) = self.ready.next() {
                return Ok(Some(key));
            }
            let Some(query) = &mut self.query else { return Ok(None) };
            let page = self.keys.find(query.clone()).await?;
            self.ready = page.keys.into_iter();
            match page.next {
                Some(next) => query.page = Some(next),
                None => self.query = None,
            }
        }
    }
}
