//! Keys that are changed now and then: REALITY keys of inbounds, and the secret that signs subscription URLs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Shared;
use super::inbounds::no_inbound;
use super::subscription_cache::SIGNING;
use vpnkit_core::model::{
    EventKind, EventSubject, Inbound, InboundId, InboundTag, KeyRotation, NewEvent, NodeId, PreviousKeys,
    Reality, Security,
};
use vpnkit_core::store::StoreOp;
use vpnkit_core::{Error, ErrorKind, Result, Timestamp};
use vpnkit_subscription::SigningKeys;

/// Between two looks for what is to be changed.
pub(super) const EVERY: Duration = Duration::from_secs(30);
/// After a failure.
const AGAIN: Duration = Duration::from_secs(900);
/// So many keys of earlier are remembered.
const RETIRED_MAX: usize = 50;
/// The longest time for which keys of before still work.
const KEEP_MAX: Duration = Duration::from_secs(366 * 86_400);
/// What changes keys of inbounds, as errors tell it.
const OP: &str = "inbounds.rotate_keys";

/// What is due of an inbound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// It is not known since when its keys are there: from now on.
    Begins,
    /// New keys.
    Rotates(KeyRotation),
    /// The end of the keys of before.
    Ends,
}

fn due(inbound: &Inbound, now: Timestamp) -> Option<Due> {
    let Security::Reality(reality) = &inbound.security else { return None };
    if let Some(rotation) = reality.rotation {
        match reality.keys_since {
            None => return Some(Due::Begins),
            Some(since) if since.plus(rotation.every) <= now => return Some(Due::Rotates(rotation)),
            Some(_) => {}
        }
    }
    has_outlived_keys(inbound, now).then_some(Due::Ends)
}

/// Whether an inbound has keys of before whose time is over.
pub(super) fn has_outlived_keys(inbound: &Inbound, now: Timestamp) -> bool {
    let Security::Reality(reality) = &inbound.security else { return false };
    reality.previous.as_ref().is_some_and(|previous| previous.until <= now)
}

fn public_key(inbound: &Inbound) -> Option<&str> {
    match &inbound.security {
        Security::Reality(reality) => Some(&reality.public_key),
        _ => None,
    }
}

/// Takes the keys of before away whose time is over: a server is started without them, also when nobody has ended them yet.
pub(super) fn end_previous(inbound: &mut Inbound, now: Timestamp) {
    if has_outlived_keys(inbound, now)
        && let Security::Reality(reality) = &mut inbound.security
    {
        reality.previous = None;
    }
}

/// Puts the keys of an inbound aside, so that it gets new ones when it is completed.
fn set_keys_aside(reality: &mut Reality, keep: Duration, now: Timestamp) {
    let private_key = std::mem::take(&mut reality.private_key);
    let public_key = std::mem::take(&mut reality.public_key);
    let retired = reality.retired.iter().filter(|key| **key != public_key).chain([&public_key]).cloned();
    reality.retired = retired.collect();
    let more = reality.retired.len().saturating_sub(RETIRED_MAX);
    reality.retired.drain(..more);
    let previous = PreviousKeys { private_key, public_key, until: now.plus(keep) };
    reality.previous = (!keep.is_zero()).then_some(previous);
    reality.keys_since = Some(now);
}

/// Keeps what a description of an inbound does not have to tell: since when its keys are there, and those of earlier. One with keys of
/// earlier, as it was read or written once, does not bring them back.
pub(super) fn keep(inbound: &mut Inbound, before: Option<&Inbound>, now: Timestamp) {
    let Security::Reality(reality) = &mut inbound.security else { return };
    if let Some(Security::Reality(held)) = before.map(|before| &before.security) {
        if held.retired.contains(&reality.public_key) {
            (reality.private_key, reality.public_key) = (held.private_key.clone(), held.public_key.clone());
        }
        if reality.public_key == held.public_key {
            (reality.previous, reality.keys_since) = (held.previous.clone(), held.keys_since);
            reality.retired.clone_from(&held.retired);
        }
    }
    if reality.rotation.is_some() {
        reality.keys_since.get_or_insert(now);
    }
}

/// Inbounds whose keys could not be changed, and until when that is not tried again: each try makes new keys, and tells every process.
#[derive(Debug, Default)]
pub(super) struct Rotations(Mutex<HashMap<InboundId, Timestamp>>);

impl Rotations {
    fn lock(&self) -> MutexGuard<'_, HashMap<InboundId, Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rests(&self, inbound: &InboundId, now: Timestamp) -> bool {
        self.lock().get(inbound).is_some_and(|until| *until > now)
    }

    fn failed(&self, inbound: InboundId, now: Timestamp) {
        let mut all = self.lock();
        all.retain(|_, until| *until > now);
        all.insert(inbound, now.plus(AGAIN));
    }
}

impl Shared {
    /// Gives an inbound new REALITY keys; those that it has work for `keep` longer.
    pub(super) async fn rotate_keys(
        &self,
        node: &NodeId,
        tag: &InboundTag,
        keep: Duration,
    ) -> Result<Inbound> {
        if keep > KEEP_MAX {
            return Err(Error::invalid(OP, "keep_old", "must be up to 366 days"));
        }
        let mut first: Option<String> = None;
        loop {
            self.reload().await.map_err(|e| e.during(OP))?;
            let before = self.inbound(node, tag).ok_or_else(|| no_inbound(OP, node, tag))?;
            let key = public_key(&before).map(str::to_owned);
            if first.is_some() && first != key {
                // Somebody else has changed the keys at the same time: twice, and nobody would have a link that works.
                return Ok((*before).clone());
            }
            first = key;
            match self.renew_keys(before, keep).await {
                // Somebody else has changed it: this goes on top of that.
                Err(e) if e.kind() == ErrorKind::Conflict => {}
                outcome => return outcome,
            }
        }
    }

    async fn renew_keys(&self, before: Arc<Inbound>, keep: Duration) -> Result<Inbound> {
        let mut inbound = (*before).clone();
        let Security::Reality(reality) = &mut inbound.security else {
            let message = "only an inbound with REALITY has keys that can be changed";
            return Err(Error::new(ErrorKind::Unsupported, OP, message).with("inbound", &inbound.tag));
        };
        if let Some(rotation) = reality.rotation
            && keep > rotation.every
        {
            let message = "must not be longer than the interval of the inbound's `rotation`";
            return Err(Error::invalid(OP, "keep_old", message).with("inbound", &inbound.tag));
        }
        set_keys_aside(reality, keep, self.clock.now());
        let place = self.place_for(OP, &inbound, Some(&before))?;
        self.require_driven(OP, &place).await?;
        // Of nothing that it has had: otherwise it would keep its keys.
        place.rules.complete(&mut inbound, None);
        self.replace(OP, &place, Some(before), inbound).await
    }

    /// Changes what is due by itself. What fails is tried again at the next look; the others go on.
    pub(super) async fn rotate_due(&self) -> Result<()> {
        let now = self.clock.now();
        self.refreshed(self.known_revision()).await?;
        let mut outcome = self.rotate_signing_secret(now).await;
        for inbound in self.inbounds().iter().filter(|inbound| !self.rotations.rests(&inbound.id(), now)) {
            let Some(due) = due(inbound, now) else { continue };
            if self.stop.is_cancelled() {
                break;
            }
            match self.rotate_inbound(Arc::clone(inbound), due, now).await {
                // Changed meanwhile: the next look sees what is due of it then. Or its server is gone: nobody connects with its keys.
                Err(e) if matches!(e.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {}
                Err(e) => {
                    self.rotations.failed(inbound.id(), now);
                    outcome = outcome.and(Err(e.with("inbound", &inbound.tag)));
                }
                Ok(()) => {}
            }
        }
        outcome
    }

    async fn rotate_inbound(&self, before: Arc<Inbound>, due: Due, now: Timestamp) -> Result<()> {
        let mut inbound = (*before).clone();
        let Security::Reality(reality) = &mut inbound.security else { return Ok(()) };
        match due {
            Due::Rotates(rotation) => return self.renew_keys(before, rotation.keep_old).await.map(drop),
            Due::Begins => reality.keys_since = Some(now),
            Due::Ends => reality.previous = None,
        }
        let place = self.place_for(OP, &inbound, Some(&before))?;
        self.replace(OP, &place, Some(before), inbound).await.map(drop)
    }

    /// Changes the secret that signs subscription URLs, when the settings say that it is time.
    async fn rotate_signing_secret(&self, now: Timestamp) -> Result<()> {
        const OP: &str = "subscriptions.rotate_secret";
        let cache = self.fresh_subscriptions().await?;
        // One that is not needed yet has no age.
        let Some(rotation) = cache.settings.secret_rotation.filter(|_| cache.signing_version > 0) else {
            return Ok(());
        };
        if cache.signing.since().is_none() {
            // Of a secret from before its age was kept.
            let begun = self.change_signing(OP, |keys| keys.begin(now)).await;
            return begun.or_else(|e| if e.kind() == ErrorKind::Conflict { Ok(()) } else { Err(e) });
        }
        let is_due = |keys: &SigningKeys| keys.since().is_some_and(|since| since.plus(rotation.every) <= now);
        if !is_due(&cache.signing) {
            return Ok(());
        }
        // Judged again on what the store has by now: another process may have done it.
        let changed = self.change_signing(OP, |keys| {
            if is_due(keys) {
                keys.rotate(now, rotation.keep_old);
            }
        });
        match changed.await {
            // Another process has done it.
            Err(e) if e.kind() == ErrorKind::Conflict => Ok(()),
            Err(e) => Err(e),
            Ok(()) => {
                // New URLs are to be given out.
                let subject = EventSubject::Settings(SIGNING.to_owned());
                let event = NewEvent { kind: EventKind::SettingsChanged, subject, detail: String::new() };
                self.store.commit(self.txn([StoreOp::Emit(event)])).await.map(drop)
            }
        }
    }
}
