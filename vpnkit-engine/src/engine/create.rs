//! Creating keys.

use std::slice;

use super::payment::{grant_request, keys_of, only_key};
use super::revision::FromInbounds;
use super::{Keys, Shared};
use vpnkit_core::model::{CreateKey, Key, KeyId};
use vpnkit_core::store::{KeyOp, Receipt, Request, StoreOp, StoreTxn};
use vpnkit_core::{Error, Result, Secret};

impl Keys {
    pub(super) async fn create_one(&self, request: CreateKey) -> Result<Key> {
        const OP: &str = "keys.create";
        let shared = self.shared(OP)?;
        let now = shared.clock.now();
        let id = request.idempotency_key.clone();
        let made = id.as_ref().map(|id| request_of(OP, id, slice::from_ref(&request))).transpose()?;
        if let Some(replay) = shared.replay(OP, made.as_ref()).await? {
            return only_key(OP, id.as_deref(), replay);
        }
        let mut from = FromInbounds::new(shared, OP);
        let receipt = loop {
            shared.check_given(OP, &request.credentials, &[])?;
            let request = shared.sold(OP, request.clone())?;
            let mut request = shared.made_of_template(OP, request, now).await?;
            request.inbounds = shared.narrowed(request.inbounds);
            let key = shared.complete(request.validate(now)?).await?;
            let txn = StoreTxn { at: now, ..shared.txn([KeyOp::Create(Box::new(key))]) };
            if let Some(receipt) = from.commit(txn.for_request(made.clone())).await? {
                break receipt;
            }
        };
        if receipt.took_effect() {
            shared.applied(&receipt.keys, false, receipt.cursor).await;
        }
        only_key(OP, id.as_deref(), of_nobody(receipt))
    }

    pub(super) async fn create_all(
        &self,
        requests: Vec<CreateKey>,
        idempotency_key: Option<String>,
    ) -> Result<Vec<Key>> {
        const OP: &str = "keys.create_many";
        let shared = self.shared(OP)?;
        let now = shared.clock.now();
        let (id, count) = (idempotency_key, requests.len());
        Shared::sold_at_once(OP, count)?;
        let made = id.as_ref().map(|id| request_of(OP, id, &requests)).transpose()?;
        if let Some(replay) = shared.replay(OP, made.as_ref()).await? {
            return keys_of(OP, id.as_deref(), replay, count);
        }
        let mut from = FromInbounds::new(shared, OP);
        let receipt = loop {
            let mut ops: Vec<StoreOp> = Vec::with_capacity(requests.len());
            for (index, request) in requests.iter().enumerate() {
                let fault = |e: Error| e.during(OP).with("index", index);
                if request.idempotency_key.is_some() {
                    return Err(fault(Error::invalid(
                        OP,
                        "idempotency_key",
                        "give the whole batch one, not each key",
                    )));
                }
                shared.check_given(OP, &request.credentials, &[]).map_err(fault)?;
                let request = shared.sold(OP, request.clone()).map_err(fault)?;
                let mut request = shared.made_of_template(OP, request, now).await.map_err(fault)?;
                request.inbounds = shared.narrowed(request.inbounds);
                let key = request.validate(now).map_err(fault)?;
                let key = shared.complete(key).await.map_err(fault)?;
                ops.push(KeyOp::Create(Box::new(key)).into());
            }
            let txn = StoreTxn { at: now, ..shared.txn(ops) }.for_request(made.clone());
            if let Some(receipt) = from.commit(txn).await? {
                break receipt;
            }
        };
        if receipt.took_effect() {
            shared.applied(&receipt.keys, false, receipt.cursor).await;
        }
        keys_of(OP, id.as_deref(), of_nobody(receipt), count)
    }
}

/// What makes a creation idempotent. The expiry is left out: a caller that computes it from the time of the call asks for
/// another one each time it tries again.
fn request_of(op: &'static str, id: &str, requests: &[CreateKey]) -> Result<Request> {
    let asked: Vec<CreateKey> = requests
        .iter()
        .map(|request| CreateKey { idempotency_key: None, expires_at: None, ..request.clone() })
        .collect();
    let asked = Secret::reveal(|| serde_json::to_string(&asked)).unwrap_or_default();
    grant_request(op, id, [asked])
}

/// A key that was only tried has no id: the next one that is created has the one that it was given.
fn of_nobody(mut receipt: Receipt) -> Receipt {
    if receipt.dry_run {
        receipt.keys.iter_mut().for_each(|key| key.id = KeyId(0));
    }
    receipt
}
