//! The store as calls in the name of a reseller see it: what is not its own is not there.
//!
//! Every read and every commit of the engine passes here; whose call it is stands in the task. So no operation has to think of it,
//! and none can forget it.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use tokio::sync::watch;

use super::context::{Scope, current_scope};
use super::metrics::Metrics;
use vpnkit_core::accounting::Baseline;
use vpnkit_core::model::{
    Admin, AdminId, AdminRef, AuditQuery, Backup, ClientDevice, CredentialSecret, Cursor, DeadLetter,
    DeviceName, Event, EventBatch, Grant, Inbound, InboundId, Key, KeyCounts, KeyId, KeyQuery, KeyRef, Page,
    Record, RecordQuery, Revocation, ServerId, StoreCheck, UsagePoint, UsageQuery,
};
use vpnkit_core::store::{
    ChangeBatch, Claim, Claimed, Fence, Following, GrantFilter, KeyStore, Lease, Newest, Origin, Progress,
    Pruned, Question, QuestionId, Receipt, Request, Retention, StoreTxn,
};
use vpnkit_core::{Error, Result, Secret, Timestamp};

/// A store that shows a call what is its own, and measures commits.
#[derive(Debug)]
pub(super) struct ScopedStore(pub(super) Arc<dyn KeyStore>, pub(super) Arc<Metrics>);

/// What is asked for under an idempotency key in the name of one reseller is nothing to another one.
fn own_request(scope: &Scope, request: Request) -> Request {
    Request { id: format!("admin:{}:{}", scope.admin, request.id), ..request }
}

/// What the admins above it have is not told to who calls.
fn hide_others(scope: &Scope, error: Error) -> Error {
    let other = error.get("admin").and_then(|id| id.parse().ok()).map(AdminId);
    if other.is_none_or(|admin| scope.sees(Some(admin))) {
        return error;
    }
    let mut shown = Error::new(error.kind(), "store.commit", error.message().to_owned());
    for name in ["quota", "field", "index"] {
        if let Some(value) = error.get(name) {
            shown = shown.with(name, value.to_owned());
        }
    }
    shown
}

/// What the operator says of an admin is not told to that one.
fn of_itself(scope: &Scope, admin: Admin) -> Admin {
    match admin.id == scope.admin {
        true => Admin { note: None, ..admin },
        false => admin,
    }
}

/// Whose call it was, why, and for which payment, is told of its own calls and of those below.
fn own_event(scope: &Scope, mut event: Event) -> Event {
    if let Some(cause) = event.cause.as_mut().filter(|cause| !scope.sees(cause.by_admin)) {
        (cause.actor, cause.by_admin, cause.reason, cause.idempotency_key) = (None, None, None, None);
    }
    event
}

fn own_grant(scope: &Scope, grant: Grant) -> Grant {
    match scope.sees(grant.by_admin) {
        true => grant,
        false => Grant {
            actor: None,
            by_admin: None,
            reason: None,
            idempotency_key: None,
            undone_because: None,
            ..grant
        },
    }
}

impl ScopedStore {
    async fn sees_key(&self, id: KeyId) -> Result<bool> {
        Ok(self.key(&KeyRef::Id(id)).await?.is_some())
    }
}

#[async_trait]
impl KeyStore for ScopedStore {
    async fn key(&self, key: &KeyRef) -> Result<Option<Key>> {
        let found = self.0.key(key).await?;
        Ok(match current_scope() {
            Some(scope) => found.filter(|key| scope.sees(key.owner)),
            None => found,
        })
    }

    async fn holder(&self, secret: &CredentialSecret) -> Result<Option<(KeyId, DeviceName)>> {
        let found = self.0.holder(secret).await?;
        match &found {
            Some((key, _)) if current_scope().is_some() && !self.sees_key(*key).await? => Ok(None),
            _ => Ok(found),
        }
    }

    async fn limits_addresses(&self) -> Result<bool> {
        self.0.limits_addresses().await
    }

    async fn keys(&self, ids: &[KeyId]) -> Result<Vec<Key>> {
        let mut keys = self.0.keys(ids).await?;
        if let Some(scope) = current_scope() {
            keys.retain(|key| scope.sees(key.owner));
        }
        Ok(keys)
    }

    async fn find(&self, query: &KeyQuery) -> Result<Page> {
        match current_scope() {
            Some(scope) => self.0.find(&KeyQuery { owners: Some(scope.owners()), ..query.clone() }).await,
            None => self.0.find(query).await,
        }
    }

    async fn count(&self, query: &KeyQuery) -> Result<KeyCounts> {
        match current_scope() {
            Some(scope) => self.0.count(&KeyQuery { owners: Some(scope.owners()), ..query.clone() }).await,
            None => self.0.count(query).await,
        }
    }

    async fn commit(&self, mut txn: StoreTxn) -> Result<Receipt> {
        if let Some(scope) = current_scope() {
            txn.scope = Some(scope.admin);
            txn.request = txn.request.map(|request| own_request(&scope, request));
        }
        let (tried, began) = (txn.dry_run, Instant::now());
        let result = self.0.commit(txn).await;
        if !tried {
            self.1.commit(began.elapsed(), &result);
        }
        match current_scope() {
            Some(scope) => result.map_err(|e| hide_others(&scope, e)),
            None => result,
        }
    }

    async fn receipt(&self, request: &Request) -> Result<Option<Receipt>> {
        let Some(scope) = current_scope() else { return self.0.receipt(request).await };
        let found = self.0.receipt(&own_request(&scope, request.clone())).await?;
        Ok(found.map(|mut receipt| {
            // What was handed over since is another one's.
            receipt.keys.retain(|key| scope.sees(key.owner));
            receipt
        }))
    }

    async fn grants(&self, filter: &GrantFilter) -> Result<Vec<Grant>> {
        match current_scope() {
            Some(scope) => {
                let filter = GrantFilter { owners: Some(scope.owners()), ..filter.clone() };
                let grants = self.0.grants(&filter).await?;
                Ok(grants.into_iter().map(|grant| own_grant(&scope, grant)).collect())
            }
            None => self.0.grants(filter).await,
        }
    }

    async fn admin(&self, admin: &AdminRef) -> Result<Option<Admin>> {
        let found = self.0.admin(admin).await?;
        Ok(match current_scope() {
            Some(scope) => {
                found.filter(|admin| scope.sees(Some(admin.id))).map(|admin| of_itself(&scope, admin))
            }
            None => found,
        })
    }

    async fn admins(&self, from: Option<AdminId>) -> Result<Vec<Admin>> {
        let Some(scope) = current_scope() else { return self.0.admins(from).await };
        match from {
            Some(from) if !scope.sees(Some(from)) => Ok(Vec::new()),
            from => {
                let admins = self.0.admins(Some(from.unwrap_or(scope.admin))).await?;
                let seen = admins.into_iter().filter(|admin| scope.sees(Some(admin.id)));
                Ok(seen.map(|admin| of_itself(&scope, admin)).collect())
            }
        }
    }

    async fn owners_to_follow(&self, limit: usize) -> Result<Following> {
        self.0.owners_to_follow(limit).await
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<KeyId>> {
        self.0.due(now, limit).await
    }

    async fn inbounds(&self) -> Result<Vec<Inbound>> {
        self.0.inbounds().await
    }

    async fn records(&self, query: &RecordQuery) -> Result<Vec<Record>> {
        self.0.records(query).await
    }

    async fn revision(&self) -> Result<u64> {
        self.0.revision().await
    }

    async fn id(&self) -> Result<String> {
        self.0.id().await
    }

    async fn revocations(&self, inbound: &InboundId, now: Timestamp) -> Result<Vec<Revocation>> {
        self.0.revocations(inbound, now).await
    }

    async fn devices(&self, key: KeyId) -> Result<Vec<ClientDevice>> {
        if current_scope().is_some() && !self.sees_key(key).await? {
            return Ok(Vec::new());
        }
        self.0.devices(key).await
    }

    async fn baseline(&self, server: &ServerId) -> Result<Option<Baseline>> {
        self.0.baseline(server).await
    }

    async fn baseline_of(&self, server: &ServerId, epoch: &str) -> Result<Option<Baseline>> {
        self.0.baseline_of(server, epoch).await
    }

    async fn usage(&self, query: &UsageQuery) -> Result<Vec<UsagePoint>> {
        let Some(scope) = current_scope() else { return self.0.usage(query).await };
        match (query.key, &query.owners) {
            (Some(key), _) if !self.sees_key(key).await? => Ok(Vec::new()),
            (Some(_), _) => self.0.usage(query).await,
            (None, asked) => {
                let owners = match asked {
                    Some(asked) => asked.iter().copied().filter(|owner| scope.sees(Some(*owner))).collect(),
                    None => scope.owners(),
                };
                self.0.usage(&UsageQuery { owners: Some(owners), ..query.clone() }).await
            }
        }
    }

    async fn events(&self, after: Cursor, max: usize) -> Result<EventBatch> {
        let mut batch = self.0.events(after, max).await?;
        if let Some(scope) = current_scope() {
            // Where it goes on is behind those of others, too.
            batch.events.retain(|event| scope.sees(event.admin()));
            batch.events = batch.events.into_iter().map(|event| own_event(&scope, event)).collect();
        }
        Ok(batch)
    }

    async fn timeline(&self, key: KeyId, before: Option<Cursor>, max: usize) -> Result<Vec<Event>> {
        let mut events = self.0.timeline(key, before, max).await?;
        if let Some(scope) = current_scope() {
            events.retain(|event| scope.sees(event.admin()));
            events = events.into_iter().map(|event| own_event(&scope, event)).collect();
        }
        Ok(events)
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Vec<Event>> {
        let Some(scope) = current_scope() else { return self.0.audit(query).await };
        // Its own calls, and those of one that it names below it.
        let admin = query.by_admin.unwrap_or(scope.admin);
        match scope.sees(Some(admin)) {
            true => self.0.audit(&AuditQuery { by_admin: Some(admin), ..query.clone() }).await,
            false => Ok(Vec::new()),
        }
    }

    async fn dead_letters(&self, webhook: &str, after: Cursor, max: usize) -> Result<(Vec<DeadLetter>, u64)> {
        self.0.dead_letters(webhook, after, max).await
    }

    async fn consumers(&self) -> Result<Vec<(String, Cursor)>> {
        self.0.consumers().await
    }

    async fn newest_event(&self) -> Result<Cursor> {
        self.0.newest_event().await
    }

    fn newest(&self) -> watch::Receiver<Newest> {
        self.0.newest()
    }

    async fn changes(&self, after: Cursor, max: usize, own: Origin) -> Result<ChangeBatch> {
        self.0.changes(after, max, own).await
    }

    async fn questions(&self) -> Result<Vec<Question>> {
        self.0.questions().await
    }

    async fn answer(&self, question: &QuestionId) -> Result<Option<Secret>> {
        self.0.answer(question).await
    }

    async fn leases(&self) -> Result<Vec<Lease>> {
        self.0.leases().await
    }

    async fn claim(&self, claims: &[Claim]) -> Result<Vec<Claimed>> {
        self.0.claim(claims).await
    }

    async fn release(&self, leases: &[Fence]) -> Result<()> {
        self.0.release(leases).await
    }

    async fn prune(&self, retention: &Retention, fence: Option<Fence>) -> Result<Pruned> {
        self.0.prune(retention, fence).await
    }

    async fn back_up(&self, to: &Path, progress: &Progress) -> Result<Backup> {
        self.0.back_up(to, progress).await
    }

    async fn check(&self, progress: &Progress) -> Result<StoreCheck> {
        self.0.check(progress).await
    }

    async fn change_passphrase(&self, previous: &Secret, passphrase: &Secret) -> Result<()> {
        self.0.change_passphrase(previous, passphrase).await
    }

    async fn close(&self) -> Result<()> {
        self.0.close().await
    }
}
