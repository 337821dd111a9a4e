//! Extensions of many keys, in bounded steps.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Keys, Shared};
use vpnkit_core::backend::Fingerprint;
use vpnkit_core::model::{Extension, Key, KeyId, KeyQuery, PageToken, Sort};
use vpnkit_core::store::{KeyOp, Made, Receipt, Request, StoreOp};
use vpnkit_core::{Error, ErrorKind, Result};

/// Keys that are extended in one transaction.
const STEP: u32 = 500;
/// What a receipt names the key by behind which the next step begins.
const NEXT: &str = "next";
/// Keys of a step that may turn out not to be extendable while it is committed.
const TRIES: usize = 50;

/// What one step of an extension of many keys has done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExtendedStep {
    /// How many keys were extended.
    pub extended: usize,
    /// Keys that the query finds and that would have been given nothing: those that never end, for instance. 0 when `replayed`.
    pub skipped: usize,
    /// Where to go on; `None` when all is done.
    pub next: Option<KeyId>,
    /// The step had been done before under this idempotency key: nothing was given now.
    pub replayed: bool,
}

/// The steps of an extension of many keys.
#[derive(Debug)]
pub struct ExtendedSteps {
    pub(super) keys: Keys,
    pub(super) extension: Extension,
    pub(super) idempotency_key: String,
    pub(super) query: KeyQuery,
    /// Where the next step begins; `None` behind the last one.
    pub(super) after: Option<Option<KeyId>>,
}

impl ExtendedSteps {
    /// Does the next step; `None` when all is done. After an error it is tried again.
    ///
    /// Errors: those of [`Keys::extend_step`].
    pub async fn next(&mut self) -> Result<Option<ExtendedStep>> {
        let Some(after) = self.after else { return Ok(None) };
        let (extension, query) = (self.extension.clone(), Some(self.query.clone()));
        let step = self.keys.extend_step(extension, self.idempotency_key.clone(), query, after).await?;
        self.after = step.next.map(Some);
        Ok(Some(step))
    }
}

impl Keys {
    pub(super) async fn step_of(
        &self,
        op: &'static str,
        extension: Extension,
        idempotency_key: &str,
        query: KeyQuery,
        after: Option<KeyId>,
    ) -> Result<ExtendedStep> {
        let shared = &self.engine.shared;
        shared.open(op)?;
        super::payment::check_idempotency_key(op, idempotency_key)?;
        let query = KeyQuery { sort: Sort::Id, descending: false, limit: STEP, page: None, ..query };
        query.resume().map_err(|e| e.during(op))?;
        let after = after.unwrap_or(KeyId(0));
        // Without what differs between two tries of one call: why, and a time that is computed from now.
        let asked = [
            serde_json::to_string(&Extension { reason: None, ..extension.clone() }).unwrap_or_default(),
            serde_json::to_string(&KeyQuery { expires_before: None, ..query.clone() }).unwrap_or_default(),
        ];
        let step = format!("{idempotency_key}:{}", after.0);
        let request = Request::of("grants", &step, Fingerprint::of(asked));
        // In the ledger stands what the caller has named.
        let request = Request { key: idempotency_key.to_owned(), ..request };
        if let Some(receipt) = shared.replay(op, Some(&request)).await? {
            return Ok(done(&receipt, 0));
        }
        let extension = shared.sold_extension(op, extension)?;
        let extension = shared.extended_by_template(op, extension).await?;
        extension.validate(op)?;
        let (keys, more) = shared.keys_after(op, &query, after).await?;
        // Where the next step begins stands in the receipt, also that there is none: a later call goes on in the same steps, and gives
        // nothing to keys that came after the last one.
        let end = match keys.last().filter(|_| more) {
            Some(last) => Made { kind: NEXT.to_owned(), id: last.id.0.to_string() },
            None => Made::nothing(),
        };
        let mut some: Vec<KeyId> =
            keys.iter().filter(|key| extension.check(op, key).is_ok()).map(|key| key.id).collect();
        let found = keys.len();
        for _ in 0..TRIES {
            let extend = |key: &KeyId| -> StoreOp {
                KeyOp::Extend { key: *key, expected: None, extension: Box::new(extension.clone()) }.into()
            };
            let steps = some.iter().map(extend).chain([StoreOp::Note(end.clone())]);
            let txn = shared.txn(steps).for_request(Some(request.clone()));
            let txn = txn.because(extension.reason.clone());
            match shared.store.commit(txn).await {
                Ok(receipt) => {
                    if receipt.took_effect() {
                        shared.look_at_limits(&receipt.keys);
                        shared.queue_transitions(&receipt.transitions);
                    }
                    return Ok(done(&receipt, found));
                }
                // One was deleted or changed meanwhile: the others go on.
                Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => {
                    let place = e.get("index").and_then(|index| index.parse().ok());
                    match place.filter(|place: &usize| *place < some.len()) {
                        Some(place) => drop(some.remove(place)),
                        None => return Err(e.during(op)),
                    }
                }
                Err(e) => return Err(e.during(op)),
            }
        }
        Err(Error::new(ErrorKind::Conflict, op, "too many keys were changed meanwhile").hint("try again"))
    }
}

/// What a step has done, of so many keys that were found; of a step that was done before it is not known how many that were.
fn done(receipt: &Receipt, found: usize) -> ExtendedStep {
    let extended = receipt.made.iter().filter(|made| made.as_key().is_some()).count();
    let next = receipt.made.iter().find(|made| made.kind == NEXT).and_then(|made| made.id.parse().ok());
    let skipped = if receipt.replayed { 0 } else { found.saturating_sub(extended) };
    ExtendedStep { extended, skipped, next: next.map(KeyId), replayed: receipt.replayed }
}

impl Shared {
    /// The keys of a query behind one, and whether there are more.
    pub(super) async fn keys_after(
        &self,
        op: &'static str,
        query: &KeyQuery,
        after: KeyId,
    ) -> Result<(Vec<Key>, bool)> {
        let mut query = query.clone();
        if after > KeyId(0) {
            query.page = Some(PageToken::behind(after));
        }
        let page = self.store.find(&query).await.map_err(|e| e.during(op))?;
        Ok((page.keys, page.next.is_some()))
    }
}
