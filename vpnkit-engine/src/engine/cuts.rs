//! Connections that have to end, remembered until they have.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Shared;
use super::server::Server;
use vpnkit_core::Result;
use vpnkit_core::model::{Inbound, InboundTag, KeyId};

/// How long cutting may take.
const CUT: Duration = Duration::from_secs(30);
/// How long a server may take to say who is online.
const ONLINE: Duration = Duration::from_secs(15);

/// What has to be cut on a server.
#[derive(Debug, Default)]
pub(super) struct Cuts(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Keys that may no longer connect.
    keys: BTreeSet<KeyId>,
    /// Keys that had credentials which work no longer, and that the server may still let in with them; each with the number of its
    /// revocation.
    replaced: BTreeMap<KeyId, u64>,
    /// The newest number.
    newest: u64,
    /// Keys whose accounts were replaced: also those that may connect.
    ready: BTreeSet<KeyId>,
    /// Inbounds that are gone, or have left their port.
    gone: Vec<Arc<Inbound>>,
    /// The inbounds as they were last.
    known: HashMap<InboundTag, Arc<Inbound>>,
}

impl Cuts {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers keys that may no longer connect.
    pub(super) fn keys(&self, keys: impl IntoIterator<Item = KeyId>) {
        self.state().keys.extend(keys);
    }

    /// Remembers keys that had credentials which work no longer: clients with the new ones connect again.
    pub(super) fn replaced(&self, keys: impl IntoIterator<Item = KeyId>) {
        let mut state = self.state();
        state.newest += 1;
        let number = state.newest;
        state.replaced.extend(keys.into_iter().map(|key| (key, number)));
    }

    /// Returns the number of the newest revocation. What is read of the store from now on has it.
    pub(super) fn newest(&self) -> u64 {
        self.state().newest
    }

    /// The server was told of these keys as they were after this revocation: who is cut now does not come back with the old accounts.
    pub(super) fn applied(&self, keys: impl IntoIterator<Item = KeyId>, number: u64) {
        let mut state = self.state();
        for key in keys {
            if state.replaced.get(&key).is_some_and(|replaced| *replaced <= number) {
                state.replaced.remove(&key);
                state.ready.insert(key);
            }
        }
    }

    /// The server has what the store had after this revocation, and the accounts of `found` were others before.
    pub(super) fn compared(&self, number: u64, found: impl IntoIterator<Item = KeyId>) {
        let mut state = self.state();
        let (applied, later) =
            std::mem::take(&mut state.replaced).into_iter().partition(|(_, n)| *n <= number);
        state.replaced = later;
        let applied: BTreeMap<KeyId, u64> = applied;
        state.ready.extend(applied.into_keys().chain(found));
    }

    /// Forgets everything: another process has cut meanwhile.
    pub(super) fn forget(&self) {
        *self.state() = State::default();
    }

    /// Forgets keys that may connect again.
    pub(super) fn spare(&self, keys: &[KeyId]) {
        let mut state = self.state();
        for key in keys {
            state.keys.remove(key);
        }
    }

    /// Compares the server's inbounds with those that it had: nobody stays on one that is gone.
    pub(super) fn inbounds(&self, current: &[Arc<Inbound>]) {
        let mut state = self.state();
        let now: HashMap<_, _> =
            current.iter().map(|inbound| (inbound.tag.clone(), Arc::clone(inbound))).collect();
        let before = std::mem::replace(&mut state.known, now);
        for (tag, inbound) in before {
            if state.known.get(&tag).is_none_or(|now| now.port != inbound.port) {
                state.gone.push(inbound);
            }
        }
    }

    fn take(&self) -> Taken {
        let mut state = self.state();
        let (keys, ready) = (std::mem::take(&mut state.keys), std::mem::take(&mut state.ready));
        Taken { keys, ready, gone: std::mem::take(&mut state.gone) }
    }

    fn put_back(&self, taken: Taken) {
        let mut state = self.state();
        state.keys.extend(taken.keys);
        state.ready.extend(taken.ready);
        state.gone.extend(taken.gone);
    }
}

/// What is to be cut now.
struct Taken {
    keys: BTreeSet<KeyId>,
    ready: BTreeSet<KeyId>,
    gone: Vec<Arc<Inbound>>,
}

impl Server {
    /// Cuts what has to be cut; what could not be is tried again with the next work, or the next comparison.
    pub(super) async fn cut(&self, inbounds: &[Arc<Inbound>]) -> Result<()> {
        self.cuts.inbounds(inbounds);
        let taken = self.cuts.take();
        let keys: Vec<KeyId> = taken.keys.union(&taken.ready).copied().collect();
        if !self.backend.capabilities().cut_live || (keys.is_empty() && taken.gone.is_empty()) {
            return Ok(());
        }
        match self.disconnect(&keys, &taken.gone, inbounds).await {
            Ok(0) => Ok(()),
            Ok(connections) => {
                tracing::debug!(server = %self.id(), connections, "connections were cut");
                Ok(())
            }
            Err(e) => {
                tracing::warn!(server = %self.id(), error = %e, "connections could not be cut; it is tried again");
                self.cuts.put_back(taken);
                Err(e)
            }
        }
    }

    async fn disconnect(
        &self,
        keys: &[KeyId],
        gone: &[Arc<Inbound>],
        inbounds: &[Arc<Inbound>],
    ) -> Result<usize> {
        const OP: &str = "server.disconnect";
        let mut cut = 0;
        if !gone.is_empty() {
            let online = self.answer(OP, ONLINE, self.source.online()).await?;
            let all: Vec<KeyId> = online.into_iter().map(|online| online.key).collect();
            cut += self.answer(OP, CUT, self.backend.disconnect(&all, gone)).await?;
        }
        if !keys.is_empty() {
            cut += self.answer(OP, CUT, self.backend.disconnect(keys, inbounds)).await?;
        }
        Ok(cut)
    }

    /// Remembers keys that are online although they may not be: they were connected when a vpnkit ended that had removed
    /// their account, and had not come to cut them. `entitled` are those that the server should let in.
    pub(super) async fn find_strays(&self, shared: &Shared, entitled: &HashSet<KeyId>) -> Result<()> {
        let online = self.answer("server.online", ONLINE, self.source.online()).await?;
        let mut strays: Vec<KeyId> =
            online.into_iter().map(|online| online.key).filter(|key| !entitled.contains(key)).collect();
        if strays.is_empty() {
            return Ok(());
        }
        // One that was created or enabled after the comparison may be here by right.
        let inbounds = shared.inbounds();
        let right = |key: &vpnkit_core::model::Key| key.status.may_connect() && self.serves(key, &inbounds);
        let rightful: HashSet<KeyId> =
            shared.store.keys(&strays).await?.iter().filter(|key| right(key)).map(|key| key.id).collect();
        strays.retain(|key| !rightful.contains(key));
        self.cuts.keys(strays);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_accounts_are_gone_before_their_connections_end() {
        let (cuts, one, two) = (Cuts::default(), KeyId(1), KeyId(2));
        let ready = || cuts.take().ready.into_iter().collect::<Vec<_>>();
        let before = cuts.newest();
        cuts.replaced([one]);
        cuts.keys([two]);
        // Of a batch that had read the store before: who is cut now would come back.
        cuts.applied([one, two], before);
        cuts.spare(&[one]);
        let taken = cuts.take();
        assert_eq!((taken.keys.into_iter().collect::<Vec<_>>(), taken.ready.len()), (vec![two], 0));
        cuts.applied([one, two], cuts.newest());
        let taken = cuts.take();
        assert_eq!((taken.keys.len(), taken.ready.iter().copied().collect::<Vec<_>>()), (0, vec![one]));
        // It could not be cut, and is changed meanwhile.
        cuts.put_back(taken);
        cuts.spare(&[one]);
        assert_eq!(ready(), [one]);
        // What no batch has brought there a comparison has, but for what was revoked since.
        cuts.replaced([one]);
        let read = cuts.newest();
        cuts.replaced([two]);
        cuts.compared(read, [KeyId(3)]);
        assert_eq!(ready(), [one, KeyId(3)]);
        cuts.compared(cuts.newest(), []);
        assert_eq!(ready(), [two]);
    }
}
