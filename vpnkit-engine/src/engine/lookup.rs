//! Finding the key that a customer's link is of.

use super::Shared;
use vpnkit_core::Result;
use vpnkit_core::model::{Key, KeyId, KeyRef};
use vpnkit_core::subscription::pasted::{Pasted, pasted};

impl Shared {
    /// The key of the first link in a text that is one of a key's: at most sixteen look-ups, each by an index.
    pub(super) async fn look_up(&self, text: &str, revoked: bool) -> Result<Option<Key>> {
        for one in pasted(text) {
            if let Some(key) = self.holder(&one, revoked).await? {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    async fn holder(&self, one: &Pasted, revoked: bool) -> Result<Option<Key>> {
        let (id, revision) = match one {
            Pasted::Token(token) => {
                let cache = self.fresh_subscriptions().await?;
                // A secret that has retired tells nothing any more: it may have been lost.
                let Some(claim) = cache.signing.verify(token.expose(), self.clock.now()) else {
                    return Ok(None);
                };
                (claim.key, Some(claim.revision))
            }
            Pasted::Secret(secret) => {
                let Some((key, device)) = self.store.holder(secret).await? else { return Ok(None) };
                if device.is_replaced() && !revoked {
                    return Ok(None);
                }
                (key, None)
            }
        };
        self.of_revision(id, revision.filter(|_| !revoked)).await
    }

    async fn of_revision(&self, id: KeyId, revision: Option<u32>) -> Result<Option<Key>> {
        let key = self.store.key(&KeyRef::Id(id)).await?;
        Ok(key.filter(|key| revision.is_none_or(|revision| revision == key.link_revision)))
    }
}
