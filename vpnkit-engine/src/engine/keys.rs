//! Keys.

use std::sync::Arc;

use vpnkit_macros::operations;

use super::payment::{grant_request, only_key, update_request};
use super::revision::FromInbounds;
use super::server::Server;
use super::{Engine, ExtendedStep, ExtendedSteps, KeyIterator, Placement, Shared};
use vpnkit_core::model::{
    CreateKey, Cursor, Endpoint, Event, Extension, Key, KeyCounts, KeyId, KeyPatch, KeyQuery, KeyRef, Page,
    Patch,
};
use vpnkit_core::store::{KeyOp, Receipt, Request};
use vpnkit_core::{Error, ErrorKind, Result};

/// Creates, finds, changes and deletes keys. Every change is committed before it is applied to a server; a server that
/// is down delays a key, it never loses one.
#[derive(Clone, Debug)]
pub struct Keys {
    pub(super) engine: Engine,
}

#[operations(noun = "keys", handle = Engine::keys)]
impl Keys {
    /// Creates a key with its credentials.
    ///
    /// Returns once it is committed and the servers have it, or have had two seconds for it.
    ///
    /// Errors: `InvalidInput` with the `field`; `NotFound` for an inbound that does not exist; `AlreadyExists` when
    /// the name is taken.
    #[operation(change, dry_run, own)]
    pub async fn create(&self, #[arg(spread)] request: CreateKey) -> Result<Key> {
        let keys = self.clone();
        self.engine.run_to_completion("keys.create", async move { keys.create_one(request).await }).await
    }

    /// Creates many keys in one transaction: all of them or none. The result has the order of the requests.
    ///
    /// Errors as with [`Self::create`], with the `index` of the request that is at fault. Idempotency keys of the
    /// single requests are refused; give the whole batch one.
    #[operation(change, dry_run, own)]
    pub async fn create_many(
        &self,
        requests: Vec<CreateKey>,
        idempotency_key: Option<String>,
    ) -> Result<Vec<Key>> {
        let keys = self.clone();
        let all = async move { keys.create_all(requests, idempotency_key).await };
        self.engine.run_to_completion("keys.create_many", all).await
    }

    /// Returns the key, or `None`.
    #[operation(read, inline, own)]
    pub async fn get(&self, key: impl Into<KeyRef>) -> Result<Option<Key>> {
        const OP: &str = "keys.get";
        self.shared(OP)?.store.key(&key.into()).await.map_err(|e| e.during(OP))
    }

    /// Returns the key.
    ///
    /// Errors: `NotFound`.
    #[operation(read, inline, own)]
    pub async fn require(&self, key: impl Into<KeyRef>) -> Result<Key> {
        const OP: &str = "keys.require";
        self.shared(OP)?.resolve(OP, &key.into()).await
    }

    /// Returns a page of keys: those with this text in name, label or note, with one of these statuses, of this owner.
    ///
    /// Errors: `InvalidInput` about `limit` or `page`.
    #[operation(read, own)]
    pub async fn find(&self, #[arg(spread)] query: KeyQuery) -> Result<Page> {
        const OP: &str = "keys.find";
        self.shared(OP)?.store.find(&query).await.map_err(|e| e.during(OP))
    }

    /// Returns the key that a link is of, as a customer pastes it: a subscription URL or a deep link with one, a share link, the text of
    /// a whole subscription; `None` when it is of no key. The work is that of a few look-ups by index.
    ///
    /// Only what the customer of the key alone has finds it: no names and no ids. Links that were revoked find nothing unless
    /// `revoked` is set: who has a stolen link is not to be shown its new one. A link of Shadowsocks 2022 with a key of 128 bits is
    /// not found by itself.
    #[operation(read, own)]
    pub async fn lookup(&self, text: &str, #[arg(default = false)] revoked: bool) -> Result<Option<Key>> {
        const OP: &str = "keys.lookup";
        self.shared(OP)?.look_up(text, revoked).await.map_err(|e| e.during(OP))
    }

    /// Counts the keys that a query finds on all its pages, by their status; order and size of pages do not matter.
    #[operation(read, own)]
    pub async fn count(&self, #[arg(spread)] query: KeyQuery) -> Result<KeyCounts> {
        const OP: &str = "keys.count";
        self.shared(OP)?.store.count(&query).await.map_err(|e| e.during(OP))
    }

    /// Walks through all keys that a query finds, page by page from [`KeyQuery::page`] on; [`KeyQuery::limit`] is the size
    /// of a page.
    ///
    /// A key that stays is seen once whatever is written meanwhile, when keys are sorted by what does not change: by id,
    /// the default, or by name.
    #[must_use]
    pub fn iterate(&self, query: KeyQuery) -> KeyIterator {
        KeyIterator { keys: self.clone(), query: Some(query), ready: Vec::new().into_iter() }
    }

    /// Changes a key. With `expected_version`, only if nobody changed it since.
    ///
    /// A payment changes it once, however late it comes again: the same idempotency key, in whichever process, returns the key as
    /// it is. So what is sold by a change, such as a next plan or a usage that is set to nothing, is not given twice. It is kept
    /// for good and may not be that of another call.
    ///
    /// Errors: `NotFound`, `Conflict`, `InvalidInput`, `AlreadyExists` (name); `IdempotencyMismatch` when the idempotency key was
    /// used for something else.
    #[operation(change, dry_run, own)]
    pub async fn update(
        &self,
        key: impl Into<KeyRef>,
        #[arg(spread)] patch: KeyPatch,
        idempotency_key: Option<String>,
        expected_version: Option<u64>,
    ) -> Result<Key> {
        const OP: &str = "keys.update";
        let (shared, mut key) = (self.shared(OP)?, key.into());
        shared.sold_patch(OP, &patch)?;
        let mut request = None;
        if let Some(payment) = &idempotency_key {
            let id = match key {
                KeyRef::Id(id) => id,
                _ => shared.resolve(OP, &key).await?.id,
            };
            request = Some(update_request(OP, payment, id, &patch)?);
            if let Some(replay) = shared.replay(OP, request.as_ref()).await? {
                return only_key(OP, Some(payment), replay);
            }
            key = KeyRef::Id(id);
        }
        if patch.credentials.iter().any(|credential| credential.inbound.is_some()) {
            let held = shared.resolve(OP, &key).await?;
            shared.check_given(OP, &patch.credentials, &held.credentials)?;
        }
        let keys = self.clone();
        let update = async move { keys.patch_one(OP, key, patch, expected_version, request).await };
        self.engine.run_to_completion(OP, update).await
    }

    /// Gives a key time and volume, computed in the store from what it has then. What the key still has is treated as the policy says.
    ///
    /// A payment grants once: the same idempotency key again, in whichever process, returns the key and gives nothing. It is kept
    /// for good and may not be that of another call. Each extension is an entry of the ledger, which [`super::Grants::undo`]
    /// takes back.
    ///
    /// Errors: `NotFound`; `InvalidInput` with the `field`; `Conflict`; `IdempotencyMismatch` when the idempotency key was used
    /// for something else.
    #[operation(change, dry_run, own)]
    pub async fn extend(
        &self,
        key: impl Into<KeyRef>,
        #[arg(spread)] extension: Extension,
        idempotency_key: Option<String>,
        expected_version: Option<u64>,
    ) -> Result<Key> {
        const OP: &str = "keys.extend";
        let (keys, key) = (self.clone(), key.into());
        let extend =
            async move { keys.extend_one(OP, key, extension, idempotency_key, expected_version).await };
        self.engine.run_to_completion(OP, extend).await
    }

    async fn extend_one(
        &self,
        op: &'static str,
        key: KeyRef,
        extension: Extension,
        idempotency_key: Option<String>,
        expected: Option<u64>,
    ) -> Result<Key> {
        let shared = self.shared(op)?;
        let id = match &key {
            KeyRef::Id(id) => *id,
            _ => match shared.resolve(op, &key).await {
                Ok(key) => key.id,
                // It was merged or renamed since: what the payment was given to stands in the ledger.
                Err(e) if e.kind() == ErrorKind::NotFound => {
                    shared.paid_for(op, idempotency_key.as_deref()).await?.ok_or(e)?
                }
                Err(e) => return Err(e),
            },
        };
        // However the key was named, and whatever is said of it.
        let asked = Extension { reason: None, ..extension.clone() };
        let asked = [id.to_string(), serde_json::to_string(&asked).unwrap_or_default()];
        let request = idempotency_key.as_deref().map(|id| grant_request(op, id, asked)).transpose()?;
        if let Some(replay) = shared.replay(op, request.as_ref()).await? {
            return only_key(op, idempotency_key.as_deref(), replay);
        }
        let extension = shared.sold_extension(op, extension)?;
        let extension = shared.extended_by_template(op, extension).await?;
        extension.validate(op)?;
        let reason = extension.reason.clone();
        let step = KeyOp::Extend { key: id, expected, extension: Box::new(extension) };
        let receipt = shared.change_end(op, step, request, reason).await?;
        only_key(op, idempotency_key.as_deref(), receipt)
    }

    /// Extends the next keys that a query finds, at most 500 in one transaction, in the order of their ids; to be called again with
    /// `after` set to [`ExtendedStep::next`] until that is `None`. For an outage that everybody is given three days for.
    ///
    /// Each step is done once under its idempotency key: who was interrupted begins again without `after`, in whichever process,
    /// and nothing is given twice. Order and size of pages of the query do not matter. Servers are not waited for.
    ///
    /// Errors: `InvalidInput` with the `field`; `IdempotencyMismatch` when the idempotency key was used for another extension.
    #[operation(change, dry_run, own)]
    pub async fn extend_step(
        &self,
        #[arg(spread)] extension: Extension,
        idempotency_key: String,
        query: Option<KeyQuery>,
        after: Option<KeyId>,
    ) -> Result<ExtendedStep> {
        const OP: &str = "keys.extend_step";
        let keys = self.clone();
        let step = async move {
            keys.step_of(OP, extension, &idempotency_key, query.unwrap_or_default(), after).await
        };
        self.engine.run_to_completion(OP, step).await
    }

    /// Extends all keys that a query finds, step by step as [`Self::extend_step`] does: each step is told once it is committed.
    /// Interrupted, the same call begins again, in whichever process, and gives nothing twice.
    #[must_use]
    pub fn extend_all(
        &self,
        extension: Extension,
        idempotency_key: impl Into<String>,
        query: KeyQuery,
    ) -> ExtendedSteps {
        ExtendedSteps {
            keys: self.clone(),
            extension,
            idempotency_key: idempotency_key.into(),
            query,
            after: Some(None),
        }
    }

    /// Pauses a key: it may not connect, and the time that is left to it is kept until it is resumed.
    #[operation(change, dry_run, own)]
    pub async fn pause(&self, key: impl Into<KeyRef>) -> Result<Key> {
        let patch = KeyPatch { paused: Some(true), ..KeyPatch::default() };
        self.patch("keys.pause", key.into(), patch, None).await
    }

    /// Resumes a key that was paused: its end moves by the length of the pause.
    #[operation(change, dry_run, own)]
    pub async fn resume(&self, key: impl Into<KeyRef>) -> Result<Key> {
        let patch = KeyPatch { paused: Some(false), ..KeyPatch::default() };
        self.patch("keys.resume", key.into(), patch, None).await
    }

    /// Begins the next plan of a key now, whatever is left of what it has.
    ///
    /// Errors: `NotFound` for the key, and when it has no next plan.
    #[operation(change, dry_run, own)]
    pub async fn begin_next_plan(&self, key: impl Into<KeyRef>) -> Result<Key> {
        let patch = KeyPatch { begin_next_plan: true, ..KeyPatch::default() };
        self.patch("keys.begin_next_plan", key.into(), patch, None).await
    }

    /// Lets a key that was disabled connect again, unless its time or limit is over.
    #[operation(change, dry_run, own)]
    pub async fn enable(&self, key: impl Into<KeyRef>) -> Result<Key> {
        self.patch("keys.enable", key.into(), KeyPatch::enabled(true), None).await
    }

    /// Switches a key off by hand.
    #[operation(change, dry_run, own)]
    pub async fn disable(&self, key: impl Into<KeyRef>) -> Result<Key> {
        self.patch("keys.disable", key.into(), KeyPatch::enabled(false), None).await
    }

    /// Sets what counts against the limit to nothing; the key's total traffic stays. A limited key may connect again.
    #[operation(change, dry_run, own)]
    pub async fn reset_usage(&self, key: impl Into<KeyRef>) -> Result<Key> {
        let patch = KeyPatch { reset_usage: true, ..KeyPatch::default() };
        self.patch("keys.reset_usage", key.into(), patch, None).await
    }

    /// Deletes a key, its credentials and the inbounds that are dedicated to it. Its id is never used again.
    ///
    /// Errors: `NotFound`, `Conflict`.
    #[operation(change, dry_run, own)]
    pub async fn delete(&self, key: impl Into<KeyRef>, expected_version: Option<u64>) -> Result<()> {
        const OP: &str = "keys.delete";
        let shared = self.shared(OP)?;
        let key = shared.resolve(OP, &key.into()).await?;
        let keys = self.clone();
        self.engine
            .run_to_completion(OP, async move {
                keys.shared(OP)?.delete(OP, vec![key], |_| expected_version, None).await
            })
            .await
    }

    /// Merges two keys of one customer: `into` is given what is left of `key`, its volume, its time and the labels that it has not
    /// itself, and `key` is deleted with its links, in one transaction. The ledger has it as an extension, with the idempotency key.
    ///
    /// Only like is added to like.
    ///
    /// Errors: `NotFound`; `Conflict` about the version of `into`; `InvalidInput` about `into` when they cannot be added up, about `key`
    /// when it is disabled or locked, or has a next plan; `IdempotencyMismatch`.
    #[operation(change, dry_run, own)]
    pub async fn merge(
        &self,
        key: impl Into<KeyRef>,
        into: impl Into<KeyRef>,
        idempotency_key: Option<String>,
        expected_version: Option<u64>,
    ) -> Result<Key> {
        const OP: &str = "keys.merge";
        let (keys, key, into) = (self.clone(), key.into(), into.into());
        let merge = async move { keys.merge_one(OP, key, into, idempotency_key, expected_version).await };
        self.engine.run_to_completion(OP, merge).await
    }

    /// Deletes these keys in one transaction, all of them or none; returns how many.
    ///
    /// Errors: `NotFound` with the first key that does not exist.
    #[operation(change, dry_run, own)]
    pub async fn delete_many(&self, ids: Vec<KeyId>) -> Result<usize> {
        const OP: &str = "keys.delete_many";
        let shared = self.shared(OP)?;
        let keys = shared.store.keys(&ids).await.map_err(|e| e.during(OP))?;
        if let Some(missing) = ids.iter().find(|id| keys.binary_search_by_key(*id, |k| k.id).is_err()) {
            return Err(not_found(OP, &KeyRef::Id(*missing)));
        }
        let count = keys.len();
        let handle = self.clone();
        self.engine
            .run_to_completion(OP, async move { handle.shared(OP)?.delete(OP, keys, |_| None, None).await })
            .await?;
        Ok(count)
    }

    /// Returns what has happened to a key, the newest first: what, when, by which call, who made it, why, with which payment. Also of a
    /// key that was deleted, by its id.
    ///
    /// `before` is the cursor of the last one of the answer before. What is older than the timelines are kept is gone.
    ///
    /// Errors: `NotFound` for a name or UUID of a key that does not exist; `InvalidInput` about `limit`, 1 to 1,000.
    #[operation(read, own)]
    pub async fn timeline(
        &self,
        key: impl Into<KeyRef>,
        before: Option<Cursor>,
        #[arg(default = 100)] limit: u32,
    ) -> Result<Vec<Event>> {
        const OP: &str = "keys.timeline";
        let shared = self.shared(OP)?;
        if !(1..=1_000).contains(&limit) {
            return Err(Error::invalid(OP, "limit", "must be 1 to 1000").with("value", limit));
        }
        let key = match key.into() {
            // Its timeline outlives it.
            KeyRef::Id(id) => id,
            key => shared.resolve(OP, &key).await?.id,
        };
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        shared.store.timeline(key, before, most).await.map_err(|e| e.during(OP))
    }

    /// Everything a client needs to connect with this key: one endpoint for each credential, inbound and host.
    /// A key that may not connect has the same endpoints; they just do not work.
    #[operation(read, own)]
    pub async fn endpoints(&self, key: impl Into<KeyRef>) -> Result<Vec<Endpoint>> {
        const OP: &str = "keys.endpoints";
        let shared = self.shared(OP)?;
        let key = shared.resolve(OP, &key.into()).await?;
        let cache = shared.fresh_subscriptions().await.map_err(|e| e.during(OP))?;
        shared.endpoints(&key, &cache, shared.clock.now())
    }

    /// Share links, one for each endpoint.
    #[operation(read, own)]
    pub async fn links(&self, key: impl Into<KeyRef>) -> Result<Vec<String>> {
        Ok(self.endpoints(key).await?.iter().map(vpnkit_subscription::link).collect())
    }

    /// Tells which servers a key belongs on, and whether they have taken it over. A change of a key is committed before
    /// it is applied to servers, so a server that is down, or slow, has it later.
    ///
    /// Errors: `NotFound`.
    #[operation(read)]
    pub async fn placement(&self, key: impl Into<KeyRef>) -> Result<Vec<Placement>> {
        const OP: &str = "keys.placement";
        let shared = self.shared(OP)?;
        let key = shared.resolve(OP, &key.into()).await?;
        shared.placement(&key).await.map_err(|e| e.during(OP))
    }

    pub(super) fn shared(&self, operation: &'static str) -> Result<&Arc<Shared>> {
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
        let patch = async move { keys.patch_one(op, key, patch, expected, None).await };
        self.engine.run_to_completion(op, patch).await
    }

    async fn patch_one(
        &self,
        op: &'static str,
        key: KeyRef,
        patch: KeyPatch,
        expected: Option<u64>,
        request: Option<Request>,
    ) -> Result<Key> {
        let shared = self.shared(op)?;
        patch.validate().map_err(|e| e.during(op))?;
        let moved = patch.inbounds.is_some();
        let touches_servers = moved || !patch.credentials.is_empty() || patch.revoke_links;
        let mut from = FromInbounds::new(shared, op);
        let receipt = loop {
            let mut patch = patch.clone();
            patch.inbounds = patch.inbounds.map(|selection| shared.narrowed(selection));
            if let Patch::Set(reset) = &mut patch.reset {
                shared.with_time_zone(reset);
            }
            let key = match (&patch.inbounds, &key) {
                // Only a change of inbounds needs the key itself: it may lack a credential for a new one.
                (None, KeyRef::Id(id)) => *id,
                (None, _) => shared.resolve(op, &key).await?.id,
                (Some(selection), _) => {
                    let key = shared.resolve(op, &key).await?;
                    let given = key.credentials.iter().chain(&patch.credentials);
                    let missing = shared.missing(op, selection, given).await?;
                    patch.credentials.extend(missing);
                    key.id
                }
            };
            let txn = shared.txn([KeyOp::Patch { key, expected, patch: Box::new(patch) }]);
            if let Some(receipt) = from.commit(txn.for_request(request.clone())).await? {
                break receipt;
            }
        };
        let took_effect = receipt.took_effect();
        if receipt.replayed {
            return only_key(op, request.as_ref().map(|request| request.key.as_str()), receipt);
        }
        let Receipt { keys, transitions, revoked, replaced, cursor, .. } = receipt;
        shared.revoked(if took_effect { &revoked } else { &[] });
        shared.replaced(if took_effect { &replaced } else { &[] });
        if !took_effect {
            // Nobody has to follow.
        } else if touches_servers || !transitions.is_empty() {
            shared.applied(&keys, moved, cursor).await;
        } else {
            shared.look_at_limits(&keys);
        }
        keys.into_iter().next().ok_or_else(|| Error::new(ErrorKind::Unexpected, op, "the store lost the key"))
    }
}

/// Says what was looked up, and what may have been meant.
fn not_found(op: &'static str, key: &KeyRef) -> Error {
    let (message, hint) = match key {
        KeyRef::Id(id) => (format!("no key has the id {id}"), None),
        KeyRef::Uid(uid) => (format!("no key has the UUID {uid}"), None),
        KeyRef::Name(name) => {
            let hint = if name.parse::<i64>().is_ok() {
                Some("for an id pass a number")
            } else if uuid::Uuid::parse_str(name).is_ok() {
                Some("for a UUID pass a UUID, not its text")
            } else {
                None
            };
            (format!("no key is named {name:?}"), hint)
        }
    };
    let error = Error::new(ErrorKind::NotFound, op, message).with("key", key);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

impl Shared {
    /// Commits a step that changes when a key ends, and lets servers follow.
    pub(super) async fn change_end(
        &self,
        op: &'static str,
        step: KeyOp,
        request: Option<Request>,
        reason: Option<String>,
    ) -> Result<Receipt> {
        let txn = self.txn([step]).for_request(request).because(reason);
        let receipt = self.store.commit(txn).await.map_err(|e| e.during(op))?;
        if !receipt.took_effect() {
            return Ok(receipt);
        }
        if receipt.transitions.is_empty() {
            self.look_at_limits(&receipt.keys);
        } else {
            self.applied(&receipt.keys, false, receipt.cursor).await;
        }
        Ok(receipt)
    }

    pub(super) async fn resolve(&self, op: &'static str, key: &KeyRef) -> Result<Key> {
        self.store.key(key).await.map_err(|e| e.during(op))?.ok_or_else(|| not_found(op, key))
    }

    /// Queues these keys on the servers that they belong on, and waits until they were applied, or for as long as a call
    /// waits; those that other processes drive bring themselves up to what was `committed`. `moved`: they may have belonged on
    /// other servers before, which are queued and not waited for.
    pub(super) async fn applied(&self, keys: &[Key], moved: bool, committed: Cursor) {
        let others = match keys {
            [key] => self.others_of(key),
            _ => self.others(),
        };
        tokio::join!(self.applied_here(keys, moved), self.wait_elsewhere(&others, committed));
    }

    async fn applied_here(&self, keys: &[Key], moved: bool) {
        self.look_at_limits(keys);
        let servers = self.servers();
        let concerned: Vec<Vec<Arc<Server>>> = match keys {
            [key] => vec![self.servers_of(key)],
            _ => Vec::new(),
        };
        let [concerned] = concerned.as_slice() else {
            for server in servers.iter() {
                server.queue.keys(keys.iter().map(|key| key.id));
            }
            self.settled().await;
            return;
        };
        let Some(key) = keys.first() else { return };
        let applied: Vec<_> = concerned.iter().map(|server| server.queue.key(key.id)).collect();
        if moved {
            for server in servers.iter().filter(|s| !concerned.iter().any(|c| Arc::ptr_eq(c, s))) {
                server.queue.keys([key.id]);
            }
        }
        // What failed is in the server's status and is tried again; the change itself is committed.
        let all = futures_util::future::join_all(applied);
        let _ = tokio::time::timeout(self.options.apply_wait, all).await;
    }
}
