//! Keys that are changed now and then: REALITY keys of inbounds, and the secret that signs subscription URLs.

use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::inbounds::no_inbound;
use vpnkit_core::model::{Inbound, InboundTag, KeyRotation, NodeId, PreviousKeys, Reality, Security};
use vpnkit_core::{Error, ErrorKind, Result, Timestamp};

/// Between two looks for what is to be changed.
pub(super) const EVERY: Duration = Duration::from_secs(30);
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
    reality.previous.as_ref().filter(|previous| previous.until <= now).map(|_| Due::Ends)
}

/// Puts the keys of an inbound aside, so that it gets new ones when it is completed.
fn set_keys_aside(reality: &mut Reality, keep: Duration, now: Timestamp) {
    let private_key = std::mem::take(&mut reality.private_key);
    let public_key = std::mem::take(&mut reality.public_key);
    let previous = PreviousKeys { private_key, public_key, until: now.plus(keep) };
    reality.previous = (!keep.is_zero()).then_some(previous);
    reality.keys_since = Some(now);
}

/// What is kept of keys that stay: who describes an inbound again does not have to tell it.
pub(super) fn keep(inbound: &mut Inbound, before: Option<&Inbound>) {
    if let (Security::Reality(reality), Some(Security::Reality(held))) =
        (&mut inbound.security, before.map(|before| &before.security))
        && reality.public_key == held.public_key
    {
        (reality.previous, reality.keys_since) = (held.previous.clone(), held.keys_since);
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
        loop {
            self.reload().await.map_err(|e| e.during(OP))?;
            let before = self.inbound(node, tag).ok_or_else(|| no_inbound(OP, node, tag))?;
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
        set_keys_aside(reality, keep, self.clock.now());
        let place = self.place_for(OP, &inbound, Some(&before))?;
        // Of nothing that it has had: otherwise it would keep its keys.
        place.rules.complete(&mut inbound, None);
        self.replace(OP, &place, Some(before), inbound).await
    }

    /// Changes what is due by itself. What fails is tried again at the next look; the others go on.
    pub(super) async fn rotate_due(&self) -> Result<()> {
        let now = self.clock.now();
        self.reload().await?;
        let mut outcome = self.rotate_signing_secret(now).await;
        for inbound in self.inbounds().iter() {
            let Some(due) = due(inbound, now) else { continue };
            if self.stop.is_cancelled() {
                break;
            }
            match self.rotate_inbound(Arc::clone(inbound), due, now).await {
                // Changed meanwhile: the next look sees what is due of it then.
                Err(e) if e.kind() == ErrorKind::Conflict => {}
                done => outcome = outcome.and(done.map_err(|e| e.with("inbound", &inbound.tag))),
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
        match cache.signing.since() {
            Some(since) if since.plus(rotation.every) <= now => {
                let rotated = self.change_signing(OP, |keys| keys.rotate(now, rotation.keep_old)).await;
                // Another process has done it.
                rotated.or_else(|e| if e.kind() == ErrorKind::Conflict { Ok(()) } else { Err(e) })
            }
            Some(_) => Ok(()),
            // Of a secret from before its age was kept.
            None => self.change_signing(OP, |keys| keys.begin(now)).await,
        }
    }
}
