//! What makes calls that grant something idempotent: a payment grants once.

use super::Shared;
use super::context::current_scope;
use vpnkit_core::backend::Fingerprint;
use vpnkit_core::model::{Key, KeyId, KeyPatch, Patch};
use vpnkit_core::store::{GrantFilter, Receipt, Request};
use vpnkit_core::{Error, ErrorKind, Result};

/// What makes a grant idempotent.
pub(super) fn grant_request(
    op: &'static str,
    id: &str,
    asked: impl IntoIterator<Item = String>,
) -> Result<Request> {
    check_idempotency_key(op, id)?;
    Ok(Request::grant(id, Fingerprint::of(asked)))
}

/// What makes a change of a key idempotent, without what differs between two tries of it: times, and secrets that were generated.
pub(super) fn update_request(op: &'static str, id: &str, key: KeyId, patch: &KeyPatch) -> Result<Request> {
    let (expires_at, locked_until) = (Patch::Keep, Patch::Keep);
    let asked = KeyPatch { expires_at, locked_until, credentials: Vec::new(), ..patch.clone() };
    grant_request(op, id, [key.to_string(), serde_json::to_string(&asked).unwrap_or_default()])
}

/// Errors: `InvalidInput` about `idempotency_key`.
pub(super) fn check_idempotency_key(op: &'static str, id: &str) -> Result<()> {
    // Two that look the same are the same.
    if id.is_empty() || id.len() > 255 || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message = "must have 1 to 255 visible ASCII characters and no spaces";
        return Err(Error::invalid(op, "idempotency_key", message));
    }
    Ok(())
}

/// The keys of a receipt, marked when they are those of an earlier call.
pub(super) fn keys_of(
    op: &'static str,
    id: Option<&str>,
    receipt: Receipt,
    count: usize,
) -> Result<Vec<Key>> {
    let mut keys = receipt.keys;
    if keys.len() != count {
        return Err(Error::new(ErrorKind::NotFound, op, "a key of this idempotency key was deleted since")
            .with("field", "idempotency_key")
            .with("idempotency_key", id.unwrap_or_default()));
    }
    if receipt.replayed {
        keys.iter_mut().for_each(|key| key.replayed = true);
    }
    Ok(keys)
}

pub(super) fn only_key(op: &'static str, id: Option<&str>, receipt: Receipt) -> Result<Key> {
    let keys = keys_of(op, id, receipt, 1)?;
    keys.into_iter().next().ok_or_else(|| Error::new(ErrorKind::Unexpected, op, "the store lost the key"))
}

/// Entries whose idempotency keys are those of who calls: what others call the same is another payment.
pub(super) fn own_payments() -> GrantFilter {
    GrantFilter { scope: Some(current_scope().map(|scope| scope.admin)), ..GrantFilter::default() }
}

impl Shared {
    /// The key that a payment was given to first.
    pub(super) async fn paid_for(&self, op: &'static str, payment: Option<&str>) -> Result<Option<KeyId>> {
        let Some(payment) = payment else { return Ok(None) };
        let filter = GrantFilter { idempotency_key: Some(payment.to_owned()), limit: 1, ..own_payments() };
        let grants = self.store.grants(&filter).await.map_err(|e| e.during(op))?;
        Ok(grants.first().map(|grant| grant.key))
    }

    /// The receipt of an earlier call, before anything of this one is looked at: what was right then may have expired.
    pub(super) async fn replay(
        &self,
        op: &'static str,
        request: Option<&Request>,
    ) -> Result<Option<Receipt>> {
        match request {
            Some(request) => self.store.receipt(request).await.map_err(|e| e.during(op)),
            None => Ok(None),
        }
    }
}
