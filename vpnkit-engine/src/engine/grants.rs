//! The ledger.

use vpnkit_macros::operations;

use super::Engine;
use super::payment::{check_idempotency_key, only_key, own_payments};
use vpnkit_core::backend::Fingerprint;
use vpnkit_core::model::{Grant, GrantId, GrantQuery, GrantRef, Key, KeyRef, check_reason};
use vpnkit_core::store::{GrantFilter, KeyOp, Request};
use vpnkit_core::{Error, ErrorKind, Result, Timestamp};

/// Shows the ledger of what keys were given, and takes grants back. Entries are kept for good, also of keys that were deleted.
#[derive(Clone, Debug)]
pub struct Grants {
    pub(super) engine: Engine,
}

#[operations(noun = "grants", handle = Engine::grants)]
impl Grants {
    /// Returns entries of the ledger, oldest first: of a key, of a payment, of a time.
    ///
    /// Errors: `NotFound` for a name or UUID of a key that does not exist; `InvalidInput` about `limit`.
    #[operation(read, own)]
    pub async fn find(&self, #[arg(spread)] query: GrantQuery) -> Result<Vec<Grant>> {
        const OP: &str = "grants.find";
        let shared = &self.engine.shared;
        shared.open(OP)?;
        query.validate(OP)?;
        let key = match &query.key {
            // The ledger outlives its keys.
            Some(KeyRef::Id(id)) => Some(*id),
            Some(key) => Some(shared.resolve(OP, key).await?.id),
            None => None,
        };
        let filter = GrantFilter {
            id: None,
            key,
            owners: None,
            scope: None,
            idempotency_key: query.idempotency_key,
            since: query.since.unwrap_or_default(),
            until: query.until.unwrap_or(Timestamp::MAX),
            after: query.after.unwrap_or(GrantId(0)),
            limit: usize::try_from(query.limit).unwrap_or(usize::MAX),
        };
        shared.store.grants(&filter).await.map_err(|e| e.during(OP))
    }

    /// Takes a grant back, as for a refund: the key has what it would have had without it. `grant` is its id, or the idempotency key
    /// of the call that gave it.
    ///
    /// What is left is computed from the ledger: later grants are given again on what there was without this one, and what
    /// happened between them stays: bytes that were used, pauses, changes by hand. A key that was created by the grant ends.
    ///
    /// Errors: `NotFound` for the grant, or when its key was deleted; `Conflict` when it was undone before, unless by a call with
    /// the same idempotency key; `InvalidInput` about `grant` when a payment has given several.
    #[operation(change, dry_run, own)]
    pub async fn undo(
        &self,
        grant: impl Into<GrantRef>,
        #[arg(positional)] reason: Option<String>,
        idempotency_key: Option<String>,
    ) -> Result<Key> {
        const OP: &str = "grants.undo";
        let (grants, grant) = (self.clone(), grant.into());
        let undo = async move { grants.undo_one(OP, grant, reason, idempotency_key).await };
        self.engine.run_to_completion(OP, undo).await
    }

    async fn undo_one(
        &self,
        op: &'static str,
        grant: GrantRef,
        reason: Option<String>,
        idempotency_key: Option<String>,
    ) -> Result<Key> {
        let shared = &self.engine.shared;
        shared.open(op)?;
        check_reason(op, reason.as_deref())?;
        let id = self.one(op, &grant).await?;
        let request = match &idempotency_key {
            None => None,
            // Apart from what grants: the id of the refund may be that of the payment.
            Some(key) => {
                check_idempotency_key(op, key)?;
                Some(Request::of("undo", key, Fingerprint::of([id.0.to_string()])))
            }
        };
        if let Some(replay) = shared.replay(op, request.as_ref()).await? {
            return only_key(op, idempotency_key.as_deref(), replay);
        }
        let receipt = {
            let step = KeyOp::Undo { grant: id, reason: reason.clone() };
            shared.change_end(op, step, request, reason).await?
        };
        only_key(op, idempotency_key.as_deref(), receipt)
    }

    async fn one(&self, op: &'static str, grant: &GrantRef) -> Result<GrantId> {
        let payment = match grant {
            GrantRef::Id(id) => return Ok(*id),
            GrantRef::Payment(payment) => payment,
        };
        let filter = GrantFilter { idempotency_key: Some(payment.clone()), limit: 2, ..own_payments() };
        let found = self.engine.shared.store.grants(&filter).await.map_err(|e| e.during(op))?;
        match found.as_slice() {
            [grant] => Ok(grant.id),
            [] => Err(Error::new(ErrorKind::NotFound, op, "no grant has this idempotency key")
                .with("field", "grant")
                .with("grant", payment)),
            _ => Err(Error::invalid(
                op,
                "grant",
                "several grants have this idempotency key: name one by its id",
            )
            .with("grant", payment)),
        }
    }
}
