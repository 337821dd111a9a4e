//! Keys.

use std::collections::BTreeSet;

use super::inbounds::forget_hosts;
use super::{Engine, Shared};
use crate::model::{
    CreateKey, Credential, CredentialSecret, Endpoint, InboundSelection, Key, KeyId, KeyPatch, KeyQuery,
    KeyRef, NewKey, Page, Protocol,
};
use crate::store::{Receipt, StoreOp, StoreTxn};
use crate::{Error, ErrorKind, Result};

/// Creates, finds, changes and deletes keys. Every change is committed before a server hears of it; a server that
/// is down delays a key, it never loses one.
#[derive(Clone, Debug)]
pub struct Keys {
    pub(super) engine: Engine,
}

impl Keys {
    /// Creates a key with its credentials.
    ///
    /// Returns once it is committed and the servers have it, or have had [`super::EngineOptions::apply_wait`] for it.
    ///
    /// Errors: `InvalidInput` with the `field`; `NotFound` for an inbound that does not exist; `AlreadyExists` when
    /// the name is taken.
    pub async fn create(&self, request: CreateKey) -> Result<Key> {
        let keys = self.clone();
        self.engine.to_the_end("keys.create", async move { keys.create_one(request).await }).await
    }

    async fn create_one(&self, request: CreateKey) -> Result<Key> {
        const OP: &str = "keys.create";
        let shared = self.shared(OP)?;
        let now = shared.clock.now();
        let request_id = request.idempotency_key.as_ref().map(|id| format!("{OP}:{id}"));
        let key = shared.complete(request.validate(now)?).await?;
        let txn = StoreTxn { at: now, request_id, ops: vec![StoreOp::Create(Box::new(key))] };
        let receipt = shared.store.commit(txn).await.map_err(|e| e.during(OP))?;
        let replayed = receipt.replayed;
        let key = receipt.keys.into_iter().next().ok_or_else(|| {
            Error::new(ErrorKind::NotFound, OP, "the key of this idempotency key was deleted since")
        })?;
        if !replayed {
            shared.applied(&[key.id]).await;
        }
        Ok(key)
    }

    /// Creates many keys in one transaction: all of them or none. The result has the order of the requests.
    ///
    /// Errors as with [`Self::create`], with the `index` of the request that is at fault. Idempotency keys of the
    /// single requests are refused; give the whole batch one.
    pub async fn create_many(
        &self,
        requests: Vec<CreateKey>,
        idempotency_key: Option<String>,
    ) -> Result<Vec<Key>> {
        let keys = self.clone();
        let all = async move { keys.create_all(requests, idempotency_key).await };
        self.engine.to_the_end("keys.create_many", all).await
    }

    async fn create_all(
        &self,
        requests: Vec<CreateKey>,
        idempotency_key: Option<String>,
    ) -> Result<Vec<Key>> {
        const OP: &str = "keys.create_many";
        let shared = self.shared(OP)?;
        let now = shared.clock.now();
        let mut ops = Vec::with_capacity(requests.len());
        for (index, request) in requests.into_iter().enumerate() {
            let fault = |e: Error| e.during(OP).with("index", index);
            if request.idempotency_key.is_some() {
                return Err(fault(Error::invalid(
                    OP,
                    "idempotency_key",
                    "give the whole batch one, not each key",
                )));
            }
            let key = shared.complete(request.validate(now).map_err(fault)?).await.map_err(fault)?;
            ops.push(StoreOp::Create(Box::new(key)));
        }
        let request_id = idempotency_key.map(|id| format!("{OP}:{id}"));
        let receipt =
            shared.store.commit(StoreTxn { at: now, request_id, ops }).await.map_err(|e| e.during(OP))?;
        if !receipt.replayed {
            let ids: Vec<KeyId> = receipt.keys.iter().map(|k| k.id).collect();
            shared.applied(&ids).await;
        }
        Ok(receipt.keys)
    }

    /// The key, or `None`.
    pub async fn get(&self, key: impl Into<KeyRef>) -> Result<Option<Key>> {
        const OP: &str = "keys.get";
        self.shared(OP)?.store.key(&key.into()).await.map_err(|e| e.during(OP))
    }

    /// The key, or the error `NotFound`.
    pub async fn require(&self, key: impl Into<KeyRef>) -> Result<Key> {
        let key = key.into();
        self.get(key.clone()).await?.ok_or_else(|| not_found("keys.get", &key))
    }

    /// A page of keys.
    pub async fn find(&self, query: KeyQuery) -> Result<Page> {
        const OP: &str = "keys.find";
        self.shared(OP)?.store.find(&query).await.map_err(|e| e.during(OP))
    }

    /// Changes a key. With `expected_version`, only if nobody changed it since.
    ///
    /// Errors: `NotFound`, `Conflict`, `InvalidInput`, `AlreadyExists` (name).
    pub async fn update(
        &self,
        key: impl Into<KeyRef>,
        patch: KeyPatch,
        expected_version: Option<u64>,
    ) -> Result<Key> {
        self.patch("keys.update", key.into(), patch, expected_version).await
    }

    /// Lets a key that was disabled connect again, unless its time or limit is over.
    pub async fn enable(&self, key: impl Into<KeyRef>) -> Result<Key> {
        self.patch("keys.enable", key.into(), KeyPatch::enabled(true), None).await
    }

    /// Switches a key off by hand.
    pub async fn disable(&self, key: impl Into<KeyRef>) -> Result<Key> {
        self.patch("keys.disable", key.into(), KeyPatch::enabled(false), None).await
    }

    /// Sets what counts against the limit to nothing; the key's total traffic stays.
    pub async fn reset_usage(&self, key: impl Into<KeyRef>) -> Result<Key> {
        let patch = KeyPatch { reset_usage: true, ..KeyPatch::default() };
        self.patch("keys.reset_usage", key.into(), patch, None).await
    }

    /// Deletes a key, its credentials and the inbounds that are dedicated to it. Its id is never used again.
    ///
    /// Errors: `NotFound`, `Conflict`.
    pub async fn delete(&self, key: impl Into<KeyRef>, expected_version: Option<u64>) -> Result<()> {
        const OP: &str = "keys.delete";
        let shared = self.shared(OP)?;
        let key = shared.resolve(OP, &key.into()).await?;
        let keys = self.clone();
        self.engine
            .to_the_end(OP, async move { keys.shared(OP)?.delete(OP, vec![key], expected_version).await })
            .await
    }

    /// Deletes these keys in one transaction, all of them or none; returns how many.
    ///
    /// Errors: `NotFound` with the first key that does not exist.
    pub async fn delete_many(&self, ids: Vec<KeyId>) -> Result<usize> {
        const OP: &str = "keys.delete_many";
        let shared = self.shared(OP)?;
        let keys = shared.store.keys(&ids).await.map_err(|e| e.during(OP))?;
        if let Some(missing) = ids.iter().find(|id| keys.binary_search_by_key(*id, |k| k.id).is_err()) {
            return Err(not_found(OP, &KeyRef::Id(*missing)));
        }
        let count = keys.len();
        let handle = self.clone();
        self.engine.to_the_end(OP, async move { handle.shared(OP)?.delete(OP, keys, None).await }).await?;
        Ok(count)
    }

    /// Everything a client needs to connect with this key: one endpoint for each credential, inbound and host.
    /// A key that may not connect has the same endpoints; they just do not work.
    pub async fn endpoints(&self, key: impl Into<KeyRef>) -> Result<Vec<Endpoint>> {
        const OP: &str = "keys.endpoints";
        let shared = self.shared(OP)?;
        let key = shared.resolve(OP, &key.into()).await?;
        let desk = shared.fresh_desk().await.map_err(|e| e.during(OP))?;
        shared.endpoints(&key, &desk, shared.clock.now())
    }

    /// Share links, one for each endpoint.
    pub async fn links(&self, key: impl Into<KeyRef>) -> Result<Vec<String>> {
        Ok(self.endpoints(key).await?.iter().map(crate::subscription::link).collect())
    }

    fn shared(&self, operation: &'static str) -> Result<&Shared> {
        self.engine.shared.open(operation)?;
        Ok(&self.engine.shared)
    }

    pub(super) async fn patch(
        &self,
        op: &'static str,
        key: KeyRef,
        patch: KeyPatch,
        expected: Option<u64>,
    ) -> Result<Key> {
        let keys = self.clone();
        self.engine.to_the_end(op, async move { keys.patch_one(op, key, patch, expected).await }).await
    }

    async fn patch_one(
        &self,
        op: &'static str,
        key: KeyRef,
        mut patch: KeyPatch,
        expected: Option<u64>,
    ) -> Result<Key> {
        let shared = self.shared(op)?;
        patch.validate().map_err(|e| e.during(op))?;
        let key = match (&patch.inbounds, &key) {
            // Only a change of inbounds needs the key itself: it may lack a credential for a new one.
            (None, KeyRef::Id(id)) => *id,
            (None, _) => shared.resolve(op, &key).await?.id,
            (Some(selection), _) => {
                let key = shared.resolve(op, &key).await?;
                let given =
                    key.credentials.iter().chain(&patch.credentials).map(Credential::protocol).collect();
                let missing = shared.missing(op, selection, &given).await?;
                patch.credentials.extend(missing);
                key.id
            }
        };
        let touches_servers = patch.touches_servers();
        let op_ = StoreOp::Patch { key, expected, patch: Box::new(patch) };
        let receipt = shared.store.commit(StoreTxn::new(shared.clock.now(), vec![op_])).await;
        let Receipt { keys, transitions, .. } = receipt.map_err(|e| e.during(op))?;
        if touches_servers || !transitions.is_empty() {
            shared.applied(&[key]).await;
        }
        keys.into_iter().next().ok_or_else(|| Error::new(ErrorKind::Unexpected, op, "the store lost the key"))
    }
}

fn not_found(op: &'static str, key: &KeyRef) -> Error {
    Error::new(ErrorKind::NotFound, op, "no such key").with("key", key)
}

impl KeyPatch {
    /// Whether servers must hear of it even when the status stays.
    fn touches_servers(&self) -> bool {
        self.inbounds.is_some() || !self.credentials.is_empty()
    }
}

impl Shared {
    pub(super) async fn resolve(&self, op: &'static str, key: &KeyRef) -> Result<Key> {
        self.store.key(key).await.map_err(|e| e.during(op))?.ok_or_else(|| not_found(op, key))
    }

    /// Adds the credentials that the key's inbounds need and that were not given.
    async fn complete(&self, mut key: NewKey) -> Result<NewKey> {
        let given = key.credentials.iter().map(Credential::protocol).collect();
        let missing = self.missing("keys.create", &key.inbounds, &given).await?;
        key.credentials.extend(missing);
        Ok(key)
    }

    async fn missing(
        &self,
        op: &'static str,
        selection: &InboundSelection,
        given: &BTreeSet<Protocol>,
    ) -> Result<Vec<Credential>> {
        let inbounds = self.inbounds();
        if let InboundSelection::Only(tags) = selection
            && let Some(tag) = tags.iter().find(|tag| !inbounds.iter().any(|i| i.tag == **tag))
        {
            return Err(Error::new(ErrorKind::NotFound, op, "no such inbound")
                .with("field", "inbounds")
                .with("inbound", tag));
        }
        let mut needed: BTreeSet<Protocol> = inbounds
            .iter()
            .filter(|i| i.dedicated_to.is_none() && i.serves(KeyId(0), selection))
            .map(|i| i.protocol.credential())
            .collect();
        if needed.is_empty() && given.is_empty() {
            // Nothing to connect to yet: most keys will want this one.
            needed.insert(Protocol::Vless);
        }
        let mut credentials = Vec::new();
        for protocol in needed.difference(given) {
            credentials.push(Credential { device: Default::default(), secret: self.issue(*protocol).await? });
        }
        Ok(credentials)
    }

    pub(super) async fn issue(&self, protocol: Protocol) -> Result<CredentialSecret> {
        match self.servers.first() {
            Some(server) => server.backend.issue(protocol, &Default::default()).await,
            None => Ok(CredentialSecret::generate(protocol)),
        }
    }

    async fn delete(&self, op: &'static str, keys: Vec<Key>, expected: Option<u64>) -> Result<()> {
        let mut ops: Vec<StoreOp> =
            keys.iter().map(|key| StoreOp::Delete { key: key.id, expected }).collect();
        let mut own_inbounds = Vec::new();
        for inbound in self.inbounds().iter() {
            if inbound.dedicated_to.is_some_and(|owner| keys.iter().any(|k| k.id == owner)) {
                ops.push(forget_hosts(&inbound.node, &inbound.tag));
                own_inbounds.push((inbound.node.clone(), inbound.tag.clone()));
            }
        }
        self.store.commit(StoreTxn::new(self.clock.now(), ops)).await.map_err(|e| e.during(op))?;
        if !own_inbounds.is_empty() {
            self.reload_inbounds().await?;
            self.reload_desk().await?;
        }
        for server in &self.servers {
            for key in &keys {
                server.queue.deleted(key);
            }
            for (node, tag) in &own_inbounds {
                if server.backend.node() == node {
                    drop(server.queue.inbound(tag.clone()));
                }
            }
        }
        self.settled().await;
        Ok(())
    }

    /// Queues these keys on every server and waits until they were applied, or for as long as a call waits.
    async fn applied(&self, ids: &[KeyId]) {
        let mut heard = Vec::new();
        for server in &self.servers {
            match ids {
                [id] => heard.push(server.queue.key(*id)),
                ids => {
                    server.queue.keys(ids.iter().copied());
                }
            }
        }
        if ids.len() > 1 {
            self.settled().await;
            return;
        }
        let all = async {
            for heard in heard {
                // What failed is in the server's status and is tried again; the change itself is committed.
                let _ = heard.await;
            }
        };
        let _ = tokio::time::timeout(self.options.apply_wait, all).await;
    }
}
