//! All that background work does in its intervals, at once.

use super::{Collected, Engine, ask};
use vpnkit_core::Result;

impl Engine {
    pub(super) async fn tick_once(&self) -> Result<()> {
        let read = match self.shared.collect_all().await {
            Ok(_) => self.shared.ask_all::<Collected>("tick", &ask::Asked::Collect).await.map(drop),
            Err(e) => Err(e),
        };
        // One that fails keeps none of the others.
        let done = [
            read,
            self.shared.check_expiry(None).await.map(drop),
            self.shared.follow_owners(None).await,
            self.shared.remind(None).await,
            self.shared.tell_nodes(None).await,
            self.shared.rotate_due().await,
            self.shared.check_sharing(None).await,
        ];
        self.shared.settled().await;
        done.into_iter().collect()
    }
}
