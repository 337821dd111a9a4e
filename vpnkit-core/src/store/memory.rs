//! The store in memory: the reference implementation, for tests and for what may be forgotten.

mod admins;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use uuid::Uuid;

use super::{
    ChangeBatch, Claim, Claimed, ConsumerOp, DeadLetterOp, DeviceOp, Fence, Following, GrantFilter,
    InboundOp, KeyOp, KeyStore, Lease, MERGED_MAX, Made, Newest, Origin, Progress, Pruned, Question,
    QuestionId, QuestionOp, Receipt, RecordOp, Request, Retention, StoreChange, StoreOp, StoreTxn,
    TrafficBatch, consequence, errors, last_before,
};
use crate::accounting::{Baseline, Moved, crossed};
use crate::backend::Fingerprint;
use crate::machine::since_boot;
use crate::model::{
    Admin, AdminId, AdminRef, AuditQuery, Backup, Cause, ClientDevice, Credential, CredentialKind,
    CredentialSecret, Cursor, DeadLetter, DeviceName, Event, EventBatch, EventKind, EventSubject, Grant,
    GrantId, Inbound, InboundId, InboundTag, Key, KeyCounts, KeyId, KeyName, KeyQuery, KeyRef, NewEvent,
    NewKey, NodeId, Page, Place, Record, RecordQuery, Revocation, ServerId, StoreCheck, Traffic, UsagePoint,
    UsageQuery, UsageStep,
};
use crate::ownership::{self, rows};
use crate::traffic::{Counter, Series};
use crate::{Result, Secret, Timestamp, lifecycle};

/// Keeps everything in memory, atomically and with the same answers as every other store. Every commit copies the
/// whole state first, so it is for thousands of keys, not for hundreds of thousands.
#[derive(Debug)]
pub struct MemoryStore {
    id: u32,
    state: Mutex<State>,
    newest: watch::Sender<Newest>,
}

#[derive(Clone, Debug, Default)]
struct State {
    keys: BTreeMap<KeyId, Key>,
    names: HashMap<String, KeyId>,
    uids: HashMap<Uuid, KeyId>,
    secrets: HashMap<(CredentialKind, String), KeyId>,
    inbounds: BTreeMap<(NodeId, InboundTag), Inbound>,
    /// By lifetime of the counters, the newest last.
    baselines: HashMap<ServerId, Vec<Baseline>>,
    records: BTreeMap<(String, String), Record>,
    revision: u64,
    serials: BTreeMap<InboundId, u64>,
    next_slots: BTreeMap<InboundId, u32>,
    revocations: BTreeMap<(InboundId, u64), Revocation>,
    devices: BTreeMap<(KeyId, String), ClientDevice>,
    hours: BTreeMap<(Timestamp, NodeId, KeyId), Traffic>,
    days: BTreeMap<(Timestamp, NodeId, KeyId), Traffic>,
    months: BTreeMap<(Timestamp, NodeId, KeyId), Traffic>,
    node_hours: BTreeMap<(Timestamp, NodeId), Traffic>,
    events: VecDeque<Logged>,
    leases: BTreeMap<String, Held>,
    questions: BTreeMap<QuestionId, (Secret, Option<Secret>)>,
    requests: HashMap<String, Done>,
    grants: BTreeMap<GrantId, Grant>,
    newest_grant: i64,
    /// The resellers whose idempotency keys grants have.
    grant_scopes: BTreeMap<GrantId, AdminId>,
    admins: BTreeMap<AdminId, admins::HeldAdmin>,
    newest_admin: i64,
    owner_hours: BTreeMap<(Timestamp, NodeId, AdminId), Traffic>,
    /// Up to which end, and which key, was reminded, by the number of days.
    reminded: BTreeMap<u32, (Timestamp, KeyId)>,
    consumers: BTreeMap<String, Cursor>,
    dead_letters: BTreeMap<(String, Cursor), DeadLetter>,
    /// The time of the batch that is being carried out.
    at: Timestamp,
    /// Who acts in it, and those above it.
    acting: Vec<Admin>,
    /// It moves what was sold from one key to another.
    moves: bool,
    /// The idempotency key of the batch that is being carried out.
    payment: Option<String>,
    /// The call that it is made for.
    cause: Option<Cause>,
    newest_key: i64,
    newest_event: i64,
    pruned: Cursor,
    closed: bool,
    /// Of the batch that is being carried out.
    origin: Origin,
}

/// A request that was carried out.
#[derive(Clone, Debug)]
struct Done {
    at: Timestamp,
    made: Vec<Made>,
    cursor: Cursor,
    fingerprint: Fingerprint,
    for_good: bool,
}

/// An event with what only those see who follow changes.
#[derive(Clone, Debug)]
struct Logged {
    event: Event,
    origin: Origin,
    devices: Vec<DeviceName>,
}

/// A lease, and when it is over by the clock of the machine.
#[derive(Clone, Debug)]
struct Held {
    lease: Lease,
    ends: Duration,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self { id: rand::random(), state: Mutex::default(), newest: watch::channel(Newest::default()).0 }
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self, operation: &'static str) -> Result<MutexGuard<'_, State>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed { Err(errors::closed(operation)) } else { Ok(state) }
    }
}

impl State {
    fn run(&mut self, txn: StoreTxn) -> Result<Receipt> {
        if let Some(request) = &txn.request
            && let Some(receipt) = self.receipt(request)?
        {
            return Ok(receipt);
        }
        self.check(txn.fence.as_ref())?;
        if let Some(seen) = txn.seen.filter(|seen| *seen != self.revision) {
            return Err(errors::revision_outdated(seen, self.revision));
        }
        (self.origin, self.at, self.moves) = (txn.origin, txn.at, false);
        self.acting = txn.scope.map_or(Ok(Vec::new()), |scope| rows::acting(self, scope))?;
        self.cause = txn.caused_by();
        self.payment = txn.request.as_ref().map(|request| request.key.clone());
        let mut receipt = Receipt::default();
        let several = txn.ops.len() > 1;
        for (index, op) in txn.ops.into_iter().enumerate() {
            let allowed = ownership::check_step(self, &self.acting, &op);
            let step = allowed.and_then(|()| self.step(op, txn.at, &mut receipt));
            step.map_err(|e| if several { e.with("index", index) } else { e })?;
        }
        receipt.cursor = Cursor(self.newest_event);
        if let Some(Request { id, fingerprint, for_good, .. }) = txn.request {
            let (made, cursor) = (receipt.made.clone(), receipt.cursor);
            self.requests.insert(id, Done { at: txn.at, made, cursor, fingerprint, for_good });
        }
        Ok(receipt)
    }

    fn check(&self, fence: Option<&Fence>) -> Result<()> {
        match fence {
            Some(fence) if self.leases.get(&fence.lease).is_none_or(|h| h.lease.number != fence.number) => {
                Err(errors::lease_lost(fence))
            }
            _ => Ok(()),
        }
    }

    fn claim(&mut self, claim: &Claim) -> Claimed {
        let now = since_boot();
        let held = self.leases.get(&claim.name);
        let number = match (held, claim.number) {
            (Some(held), Some(number)) if held.lease.number == number => number,
            (Some(held), None) if held.ends <= now || claim.instead_of == Some(held.lease.number) => {
                held.lease.number + 1
            }
            (None, _) => 1,
            (Some(held), _) => return Claimed::Taken(held.at(now)),
        };
        let note = claim.note.clone().or_else(|| held.and_then(|held| held.lease.note.clone()));
        let (name, holder, left) = (claim.name.clone(), claim.holder.clone(), claim.time);
        let lease = Lease { name, holder, number, left, progress: claim.progress, note };
        self.leases.insert(claim.name.clone(), Held { lease, ends: now + claim.time });
        Claimed::Held(number)
    }

    fn step(&mut self, op: StoreOp, at: Timestamp, receipt: &mut Receipt) -> Result<()> {
        match op {
            StoreOp::Key(op) => self.key_step(op, at, receipt),
            StoreOp::Inbound(InboundOp::Put(inbound)) => self.put_inbound(*inbound, at),
            StoreOp::Inbound(InboundOp::Remove(node, tag)) => {
                self.remove_inbound(&InboundId::new(node, tag), at)
            }
            StoreOp::TakeSerials { inbound, count } => {
                let newest = self.serials.entry(inbound).or_default();
                for _ in 0..count {
                    *newest += 1;
                    receipt.made.push(Made::serial(*newest));
                }
                Ok(())
            }
            StoreOp::Admin(op) => self.admin_step(op, at, receipt),
            StoreOp::Record(op) => self.record_step(op, receipt),
            StoreOp::Device(DeviceOp::See { device, limit, gone_since }) => {
                self.see_device(*device, limit, gone_since)
            }
            StoreOp::Device(DeviceOp::Forget { key, id }) => self.forget_device(key, id),
            StoreOp::Question(op) => {
                self.question_step(op);
                Ok(())
            }
            StoreOp::Traffic(batch) => self.traffic(*batch, at, receipt),
            StoreOp::Note(made) => {
                receipt.made.push(made);
                Ok(())
            }
            StoreOp::RemindOfEnd { days, above, limit } => {
                self.remind((days, above), limit, at, receipt);
                Ok(())
            }
            StoreOp::Consumer(op) => {
                match op {
                    ConsumerOp::Add(name, from) => drop(self.consumers.entry(name).or_insert(from)),
                    ConsumerOp::Advance(name, to) => {
                        let place = self.consumers.get_mut(&name);
                        *place.ok_or_else(|| errors::no_consumer(&name))? = to;
                    }
                    ConsumerOp::Remove(name) => drop(self.consumers.remove(&name)),
                }
                Ok(())
            }
            StoreOp::DeadLetter(op) => {
                match op {
                    DeadLetterOp::Put(letter) => {
                        let of = |(webhook, _): &&(String, Cursor)| *webhook == letter.webhook;
                        let oldest = self.dead_letters.keys().find(of).cloned();
                        if self.dead_letters.keys().filter(of).count() >= DeadLetterOp::KEPT as usize {
                            oldest.map(|oldest| self.dead_letters.remove(&oldest));
                        }
                        self.dead_letters.insert((letter.webhook.clone(), letter.cursor()), *letter);
                    }
                    DeadLetterOp::Remove(webhook, cursor) => {
                        drop(self.dead_letters.remove(&(webhook, cursor)))
                    }
                    DeadLetterOp::Clear(webhook) => self.dead_letters.retain(|(of, _), _| *of != webhook),
                }
                Ok(())
            }
            StoreOp::Emit(event) => {
                self.emit(event, at);
                Ok(())
            }
        }
    }

    fn remind(&mut self, (days, above): (u32, u32), limit: usize, at: Timestamp, receipt: &mut Receipt) {
        let in_days = |days: u32| at.plus(Duration::from_secs(u64::from(days) * 86_400));
        let until = in_days(days);
        let all = (until, KeyId(i64::MAX));
        let known = self.reminded.get(&days).copied();
        // The first look; or the clock was far ahead once.
        let Some(mark) = known.filter(|mark| mark.0 <= until.plus(Duration::from_secs(86_400))) else {
            self.reminded.insert(days, all);
            return;
        };
        let mut ending: Vec<(Timestamp, KeyId)> = self
            .keys
            .values()
            .filter_map(|key| Some((key.expires_at?, key.id)))
            .filter(|place| *place > mark && place.0 <= until)
            .collect();
        ending.sort_unstable();
        ending.truncate(limit);
        let done = if ending.len() == limit { ending.last().copied().unwrap_or(mark) } else { all };
        self.reminded.insert(days, done.max(mark));
        receipt.reminded += ending.len();
        for (_, id) in ending {
            let event = self.keys.get(&id).and_then(|key| consequence::of_end(key, days, in_days(above)));
            if let Some(event) = event {
                self.emit(event, at);
            }
        }
    }

    fn question_step(&mut self, op: QuestionOp) {
        match op {
            QuestionOp::Ask(question) => {
                self.questions.insert(question.id, (question.text, None));
            }
            QuestionOp::Answer(id, text) => {
                if let Some((_, answer)) = self.questions.get_mut(&id) {
                    *answer = Some(text);
                }
            }
            QuestionOp::Forget(id) => {
                self.questions.remove(&id);
            }
        }
    }

    fn receipt(&self, request: &Request) -> Result<Option<Receipt>> {
        let Some(Done { made, cursor, fingerprint, .. }) = self.requests.get(&request.id) else {
            return Ok(None);
        };
        if *fingerprint != request.fingerprint {
            return Err(errors::another_request(&request.key, made));
        }
        let keys =
            made.iter().filter_map(|made| self.keys.get(&self.stays(made.as_key()?)).cloned()).collect();
        Ok(Some(Receipt { keys, made: made.clone(), cursor: *cursor, replayed: true, ..Receipt::default() }))
    }

    /// The key that a key was merged into, as long as there is one; itself otherwise.
    fn stays(&self, mut id: KeyId) -> KeyId {
        for _ in 0..MERGED_MAX {
            if self.keys.contains_key(&id) {
                break;
            }
            match self.grants.values().find(|grant| grant.merged_from == Some(id)) {
                Some(merge) => id = merge.key,
                None => break,
            }
        }
        id
    }

    fn key_step(&mut self, op: KeyOp, at: Timestamp, receipt: &mut Receipt) -> Result<()> {
        match op {
            KeyOp::Create(new) => {
                let template = new.template.clone();
                let key = self.create(*new, at, receipt)?;
                receipt.made.push(Made::key(key.id));
                let grant = Grant { template, ..Grant::created(&key, self.payment.clone()) };
                self.grant(grant, receipt);
                receipt.keys.push(key);
            }
            KeyOp::Patch { key, expected, patch } => {
                let before = self.key(key, expected)?.clone();
                patch.check(errors::COMMIT, &before, at)?;
                let mut after = before.clone();
                let mut happened = patch.apply(&mut after, at).unwrap_or_default();
                for admin in &self.acting {
                    ownership::check_patch(admin, &patch, &before, &after)?;
                }
                if before.owner != after.owner {
                    happened.extend(self.follow(&mut after, at)?);
                }
                self.rename(&before, &after)?;
                self.put_credentials(&before.credentials, &mut after, at, receipt)?;
                let mut planned = before.clone();
                if happened.contains(&EventKind::KeyNextPlan) {
                    // A plan that begins as it is set stands in the ledger, too.
                    patch.next_plan.apply(&mut planned.next_plan);
                }
                self.own(Some(&before), Some(&after))?;
                self.write(&planned, after.clone(), &happened, at, receipt);
                if patch.forgets_devices() {
                    self.devices.retain(|(owner, _), _| *owner != key);
                }
                receipt.made.push(Made::key(key));
                receipt.keys.push(after);
            }
            KeyOp::Extend { key, expected, extension } => {
                let before = self.key(key, expected)?.clone();
                extension.check(errors::COMMIT, &before)?;
                let mut after = before.clone();
                let (grant, kind) = lifecycle::extend_key(&mut after, &extension, self.payment.clone(), at);
                let grant = self.grant(grant, receipt);
                self.change_end(&before, after, (kind, grant), at, receipt)?;
            }
            KeyOp::Merge { key, into, expected } => {
                let (gone, before) = (self.key(key, None)?.clone(), self.key(into, expected)?.clone());
                let mut after = before.clone();
                let (grant, kind) = lifecycle::merge(&mut after, &gone, self.payment.clone(), at)?;
                let grant = self.grant(grant, receipt);
                // What goes is not there twice, nor for a moment.
                self.moves = gone.owner == before.owner;
                self.change_end(&before, after, (kind, grant), at, receipt)?;
                self.delete(key, None, at, receipt)?;
                if std::mem::take(&mut self.moves) {
                    let (after, enforced) = (self.key(into, None)?.clone(), self.enforces());
                    rows::merged(self, &gone, (&before, &after), enforced)?;
                }
            }
            KeyOp::Undo { grant: id, reason } => {
                let undone = self.grants.get(&id).ok_or_else(|| errors::no_grant(id))?;
                if let Some(at) = undone.undone_at {
                    return Err(errors::undone_before(id, at));
                }
                self.check_merged(undone.key)?;
                let before = self.key(undone.key, None)?.clone();
                let mut after = before.clone();
                let mut grants: Vec<Grant> = self
                    .grants
                    .range(id..)
                    .map(|(_, grant)| grant)
                    .filter(|g| g.key == before.id)
                    .cloned()
                    .collect();
                let kind = lifecycle::undo(&mut grants, &mut after, at);
                if let Some(undone) = grants.first_mut() {
                    undone.undone_because = reason;
                }
                self.grants.extend(grants.into_iter().map(|grant| (grant.id, grant)));
                receipt.made.push(Made::grant(id));
                self.change_end(&before, after, (kind, id), at, receipt)?;
            }
            KeyOp::Delete { key, expected } => self.delete(key, expected, at, receipt)?,
            // Whatever is in memory can be read.
            KeyOp::SetAside(_) => {}
            KeyOp::Settle(id) => {
                if let Some(before) = self.keys.get(&id).cloned() {
                    let mut after = before.clone();
                    let mut happened = lifecycle::settle(&mut after, at);
                    if after.old_links_until.is_some_and(|until| until <= at) {
                        // Who has fetched with the old ones fetches with the new ones, or no more.
                        self.devices.retain(|(owner, _), _| *owner != id);
                        if lifecycle::end_old_links(&mut after) {
                            happened.push(EventKind::KeyRevoked);
                            self.put_credentials(&before.credentials, &mut after, at, receipt)?;
                        }
                    }
                    lifecycle::stamp(&before, &mut after, at);
                    if lifecycle::is_over(&after, at) {
                        receipt.over.push(id);
                    }
                    self.replace(&before, after, &happened, at, receipt)?;
                }
            }
            KeyOp::FollowOwner(id) => {
                let Some(before) = self.keys.get(&id).cloned() else { return Ok(()) };
                let mut after = before.clone();
                let happened = self.follow(&mut after, at)?;
                lifecycle::stamp(&before, &mut after, at);
                self.replace(&before, after, &happened, at, receipt)?;
            }
        }
        Ok(())
    }

    /// What a key gave to another one stands in that one's entry.
    fn check_merged(&self, key: KeyId) -> Result<()> {
        // A look at the ledger reads all of it.
        if self.keys.contains_key(&key) {
            return Ok(());
        }
        match self.grants.values().find(|grant| grant.merged_from == Some(key)) {
            Some(merge) => Err(errors::merged(key, merge.key, merge.id)),
            None => Ok(()),
        }
    }

    /// Writes an entry of the ledger.
    fn grant(&mut self, grant: Grant, receipt: &mut Receipt) -> GrantId {
        self.newest_grant += 1;
        let id = GrantId(self.newest_grant);
        if let Some(by) = self.acting.first() {
            self.grant_scopes.insert(id, by.id);
        }
        receipt.made.push(Made::grant(id));
        self.grants.insert(id, Grant { id, ..grant.caused_by(self.cause.as_ref()) });
        id
    }

    /// Settles a key whose end a grant has changed, and writes it.
    fn change_end(
        &mut self,
        before: &Key,
        mut after: Key,
        (kind, grant): (EventKind, GrantId),
        at: Timestamp,
        receipt: &mut Receipt,
    ) -> Result<()> {
        self.emit(consequence::of_grant(kind, before, grant), at);
        let mut happened = Vec::new();
        happened.extend(lifecycle::settle(&mut after, at));
        lifecycle::ended_by_hand(before, &mut after, at);
        lifecycle::stamp(before, &mut after, at);
        self.replace(before, after.clone(), &happened, at, receipt)?;
        receipt.made.push(Made::key(after.id));
        receipt.keys.push(after);
        Ok(())
    }

    fn key(&self, id: KeyId, expected: Option<u64>) -> Result<&Key> {
        let key = self.keys.get(&id).ok_or_else(|| errors::no_key(id))?;
        match expected {
            Some(expected) if expected != key.version => Err(errors::version(id, expected, key.version)),
            _ => Ok(key),
        }
    }

    fn create(&mut self, mut new: NewKey, at: Timestamp, receipt: &mut Receipt) -> Result<Key> {
        new.suspended = rows::is_suspended(self, new.owner)?;
        if let Some(name) = &new.name
            && self.names.contains_key(&name.folded())
        {
            return Err(errors::name_taken(name.as_str()));
        }
        if self.uids.contains_key(&new.uid) {
            return Err(errors::uid_taken());
        }
        self.newest_key += 1;
        let mut key = new.into_key(KeyId(self.newest_key), at);
        self.put_credentials(&[], &mut key, at, receipt)?;
        self.own(None, Some(&key))?;
        if let Some(name) = &key.name {
            self.names.insert(name.folded(), key.id);
        }
        self.uids.insert(key.uid, key.id);
        self.keys.insert(key.id, key.clone());
        self.emit(
            NewEvent { kind: EventKind::KeyCreated, subject: key.subject(), detail: String::new() },
            at,
        );
        Ok(key)
    }

    fn rename(&mut self, before: &Key, after: &Key) -> Result<()> {
        if before.name == after.name {
            return Ok(());
        }
        if let Some(name) = &after.name {
            match self.names.get(&name.folded()) {
                Some(owner) if *owner != after.id => return Err(errors::name_taken(name.as_str())),
                _ => {}
            }
        }
        if let Some(name) = &before.name {
            self.names.remove(&name.folded());
        }
        if let Some(name) = &after.name {
            self.names.insert(name.folded(), after.id);
        }
        Ok(())
    }

    /// Assigns addresses to new credentials, and revokes certificates that are no longer held.
    fn put_credentials(
        &mut self,
        before: &[Credential],
        key: &mut Key,
        at: Timestamp,
        receipt: &mut Receipt,
    ) -> Result<()> {
        self.leave_inbounds(before, key);
        self.take_secrets(before, key)?;
        for old in before.iter().filter(|old| !key.credentials.iter().any(|c| c.holds_certificate_of(old))) {
            self.revoke(key.id, old, at, receipt);
        }
        for i in 0..key.credentials.len() {
            let Some(new) = key.credentials.get(i).filter(|c| !before.contains(c)) else { continue };
            let slot = self.slot(key, new)?;
            if let (Some(inbound), Some(certificate)) = (&new.inbound, &new.certificate) {
                self.take_serial(inbound, certificate.serial, key.id, &key.credentials, i)?;
            }
            if let Some(new) = key.credentials.get_mut(i) {
                new.slot = slot;
            }
        }
        Ok(())
    }

    /// Removes the credentials that a key has held for inbounds that it is no longer on.
    fn leave_inbounds(&self, before: &[Credential], key: &mut Key) {
        let Key { id, inbounds: selection, credentials, .. } = key;
        credentials.retain(|credential| match &credential.inbound {
            Some(of) if before.contains(credential) => {
                self.inbound(of).is_some_and(|inbound| inbound.serves(*id, selection))
            }
            _ => true,
        });
    }

    fn inbound(&self, id: &InboundId) -> Option<&Inbound> {
        self.inbounds.get(&(id.node().clone(), id.tag().clone()))
    }

    /// Returns the address of a new credential: the one that it asks for, or the next free one.
    fn slot(&mut self, key: &Key, new: &Credential) -> Result<Option<u32>> {
        let Some(id) = &new.inbound else { return Ok(None) };
        let inbound = self.inbound(id).ok_or_else(|| errors::no_inbound_of_credential(id))?;
        if !new.is_for(inbound) || !inbound.serves(key.id, &key.inbounds) {
            return Err(errors::not_of_inbound(id));
        }
        let Some(pool) = &inbound.addresses else { return Ok(None) };
        let capacity = pool.capacity();
        let others = self.bound(id).filter(|(owner, _)| *owner != key.id).filter_map(|(_, c)| c.slot);
        let own =
            key.credentials.iter().filter(|c| c.inbound.as_ref() == Some(id) && c.place() != new.place());
        let taken: BTreeSet<u32> = others.chain(own.filter_map(|c| c.slot)).collect();
        let next = self.next_slots.get(id).copied().unwrap_or(0);
        match new.slot {
            Some(slot) if slot >= capacity => Err(errors::no_address(id, slot)),
            Some(slot) if taken.contains(&slot) => Err(errors::address_taken(id, slot)),
            Some(slot) => Ok(Some(slot)),
            None => {
                let free = (next..capacity).chain(0..next.min(capacity)).find(|slot| !taken.contains(slot));
                let slot = free.ok_or_else(|| errors::addresses_taken(id, capacity))?;
                self.next_slots.insert(id.clone(), slot.saturating_add(1));
                Ok(Some(slot))
            }
        }
    }

    fn bound<'a>(&'a self, inbound: &'a InboundId) -> impl Iterator<Item = (KeyId, &'a Credential)> {
        let of = |key: &'a Key| key.credentials.iter().map(|credential| (key.id, credential));
        self.keys.values().flat_map(of).filter(move |(_, c)| c.inbound.as_ref() == Some(inbound))
    }

    fn take_serial(
        &self,
        inbound: &InboundId,
        serial: u64,
        key: KeyId,
        own: &[Credential],
        index: usize,
    ) -> Result<()> {
        let same = |c: &Credential| {
            c.inbound.as_ref() == Some(inbound) && c.certificate.is_some_and(|held| held.serial == serial)
        };
        let others = self.bound(inbound).any(|(owner, credential)| owner != key && same(credential));
        let twice = own.iter().enumerate().any(|(i, credential)| i != index && same(credential));
        if others || twice || self.revocations.contains_key(&(inbound.clone(), serial)) {
            return Err(errors::serial_taken(inbound, serial));
        }
        Ok(())
    }

    fn revoke(&mut self, key: KeyId, credential: &Credential, at: Timestamp, receipt: &mut Receipt) {
        let (Some(inbound), Some(certificate)) = (&credential.inbound, credential.certificate) else {
            return;
        };
        let revocation = Revocation { inbound: inbound.clone(), key, certificate, revoked_at: at };
        self.revocations.insert((inbound.clone(), certificate.serial), revocation.clone());
        receipt.revoked.push(revocation);
    }

    fn remove_inbound(&mut self, id: &InboundId, at: Timestamp) -> Result<()> {
        let removed = self.inbounds.remove(&(id.node().clone(), id.tag().clone()));
        removed.ok_or_else(|| errors::no_inbound(id.tag()))?;
        self.drop_credentials(id, None, at);
        self.revision += 1;
        self.inbound_event(EventKind::InboundRemoved, id.tag(), at);
        Ok(())
    }

    /// Removes the credentials for an inbound that do not fit it any more, and revokes their certificates.
    fn drop_credentials(&mut self, id: &InboundId, inbound: Option<&Inbound>, at: Timestamp) {
        let goes = |credential: &Credential| {
            credential.inbound.as_ref() == Some(id) && !inbound.is_some_and(|i| credential.is_for(i))
        };
        let gone: Vec<(KeyId, Credential)> =
            self.bound(id).filter(|(_, c)| goes(c)).map(|(key, c)| (key, c.clone())).collect();
        for (key, credential) in gone {
            self.secrets.remove(&(credential.protocol(), credential.secret.identity()));
            self.revoke(key, &credential, at, &mut Receipt::default());
            if let Some(key) = self.keys.get_mut(&key) {
                key.credentials.retain(|held| *held != credential);
            }
        }
    }

    /// Two keys with one secret would lock each other out on a server.
    fn take_secrets(&mut self, before: &[Credential], key: &Key) -> Result<()> {
        let place = |c: &Credential| (c.protocol(), c.secret.identity());
        for old in before.iter().filter(|c| !key.credentials.contains(c)) {
            self.secrets.remove(&place(old));
        }
        for new in key.credentials.iter().filter(|c| !before.contains(c)) {
            if self.secrets.insert(place(new), key.id).is_some() {
                return Err(errors::secret_taken(new.protocol()));
            }
        }
        Ok(())
    }

    fn replace(
        &mut self,
        before: &Key,
        after: Key,
        happened: &[EventKind],
        at: Timestamp,
        receipt: &mut Receipt,
    ) -> Result<()> {
        self.own(Some(before), Some(&after))?;
        self.write(before, after, happened, at, receipt);
        Ok(())
    }

    fn write(
        &mut self,
        before: &Key,
        after: Key,
        happened: &[EventKind],
        at: Timestamp,
        receipt: &mut Receipt,
    ) {
        if let Some(grant) = consequence::grant_of(before, &after, happened, at) {
            self.grant(grant, &mut Receipt::default());
        }
        for event in consequence::of_change(before, &after, happened) {
            self.emit(event, at);
        }
        receipt.transitions.extend(consequence::transition(before.status, &after));
        if happened.contains(&EventKind::KeyRevoked) {
            receipt.replaced.push(after.id);
        }
        self.keys.insert(after.id, after);
    }

    fn delete(
        &mut self,
        id: KeyId,
        expected: Option<u64>,
        at: Timestamp,
        receipt: &mut Receipt,
    ) -> Result<()> {
        let key = self.key(id, expected)?.clone();
        self.own(Some(&key), None)?;
        for credential in &key.credentials {
            self.revoke(id, credential, at, receipt);
        }
        let own: Vec<InboundId> =
            self.inbounds.values().filter(|i| i.dedicated_to == Some(id)).map(Inbound::id).collect();
        for inbound in own {
            self.remove_inbound(&inbound, at)?;
        }
        self.keys.remove(&id);
        self.uids.remove(&key.uid);
        self.secrets.retain(|_, owner| *owner != id);
        self.devices.retain(|(owner, _), _| *owner != id);
        if let Some(name) = &key.name {
            self.names.remove(&name.folded());
        }
        for baseline in self.baselines.values_mut().flatten() {
            baseline.counters.retain(|c| c.key != id);
        }
        self.emit(
            NewEvent { kind: EventKind::KeyDeleted, subject: key.subject(), detail: String::new() },
            at,
        );
        if let Some(deleted) = self.events.back_mut() {
            deleted.devices = key.devices();
        }
        Ok(())
    }

    fn put_inbound(&mut self, inbound: Inbound, at: Timestamp) -> Result<()> {
        if let Some(owner) = inbound.dedicated_to {
            self.key(owner, None)?;
        }
        let taken =
            self.inbounds.values().find(|other| other.tag != inbound.tag && other.collides_with(&inbound));
        if let Some(other) = taken {
            return Err(errors::port_taken(inbound.port, other.tag.as_str()));
        }
        if let Some(pool) = &inbound.addresses {
            let id = inbound.id();
            let last = self.bound(&id).filter(|(_, c)| c.is_for(&inbound)).filter_map(|(_, c)| c.slot).max();
            let needed = last.map_or(0, |last| u64::from(last) + 1);
            if needed > u64::from(pool.capacity()) {
                return Err(errors::addresses_too_few(&id, pool.capacity(), needed));
            }
        }
        let place = (inbound.node.clone(), inbound.tag.clone());
        if self.inbounds.get(&place) != Some(&inbound) {
            self.revision += 1;
            self.inbound_event(EventKind::InboundChanged, &inbound.tag, at);
            self.drop_credentials(&inbound.id(), Some(&inbound), at);
            self.inbounds.insert(place, inbound);
        }
        Ok(())
    }

    fn traffic(&mut self, batch: TrafficBatch, at: Timestamp, receipt: &mut Receipt) -> Result<()> {
        let known = self.baselines.get(&batch.server).map_or(&[][..], Vec::as_slice);
        if known.last().map_or(0, |b| b.sequence) != batch.after {
            return Err(errors::reading_outdated(&batch.server));
        }
        let last = known.iter().find(|b| b.epoch.id == batch.epoch.id).filter(|_| !batch.new_epoch);
        let mut counters: BTreeMap<(KeyId, Option<Series>), Counter> = match last {
            Some(last) => last.counters.iter().map(|c| ((c.key, c.series.clone()), c.clone())).collect(),
            None => BTreeMap::new(),
        };
        for (key, series) in batch.forgotten {
            counters.remove(&(key, Some(series)));
        }
        let (mut connected, mut owners) = (BTreeSet::new(), BTreeMap::<AdminId, u64>::new());
        for moved in batch.moved {
            let Some(before) = self.keys.get(&moved.key).cloned() else { continue };
            let Moved { key, series, counter: traffic, ended, .. } = moved.clone();
            counters.insert((key, series.clone()), Counter { key, series, traffic, ended });
            if moved.delta == Traffic::default() {
                continue;
            }
            let before_used = before.used;
            let mut counted = before;
            counted.traffic = counted.traffic.plus(moved.delta);
            let weighed = batch.coefficient.weigh(moved.delta.total());
            counted.used = counted.used.saturating_add(weighed);
            if let Some(owner) = counted.owner {
                let used = owners.entry(owner).or_default();
                *used = used.saturating_add(weighed);
                let hour = self.owner_hours.entry((at.hour(), batch.node.clone(), owner)).or_default();
                *hour = hour.plus(moved.delta);
            }
            counted.seen_at = Some(at);
            counted.first_seen_at.get_or_insert(at);
            let hour = self.hours.entry((at.hour(), batch.node.clone(), moved.key)).or_default();
            *hour = hour.plus(moved.delta);
            let all = self.node_hours.entry((at.hour(), batch.node.clone())).or_default();
            *all = all.plus(moved.delta);
            connected.insert(key);
            let share = counted
                .data_limit
                .and_then(|limit| crossed(before_used, counted.used, limit.bytes(), &batch.usage_percents));
            if let Some(percent) = share.filter(|percent| *percent < 100) {
                self.emit(consequence::of_share(&counted, percent), at);
            }
            if let Some(left) = counted.remaining().filter(|left| (1..=batch.near_within).contains(left)) {
                receipt.near.push((key, left));
            }
            self.keys.insert(key, counted);
        }
        for id in connected {
            let Some(before) = self.keys.get(&id).cloned() else { continue };
            let mut after = before.clone();
            let happened = lifecycle::connect(&mut after, at);
            lifecycle::stamp(&before, &mut after, at);
            self.replace(&before, after, &happened, at, receipt)?;
        }
        for (owner, used) in owners {
            self.count_used(owner, used)?;
        }
        let counters = counters.into_values().collect();
        let known = self.baselines.entry(batch.server).or_default();
        known.retain(|baseline| baseline.epoch.id != batch.epoch.id);
        known.push(Baseline { epoch: batch.epoch, sequence: batch.after + 1, counters });
        let surplus = known.len().saturating_sub(Baseline::EPOCHS_KEPT);
        known.drain(..surplus);
        Ok(())
    }

    fn record_step(&mut self, op: RecordOp, receipt: &mut Receipt) -> Result<()> {
        let (RecordOp::Put { place, expected, .. } | RecordOp::Remove { place, expected }) = &op;
        let version = self.records.get(place).map_or(0, |record| record.version);
        if let Some(expected) = expected
            && *expected != version
        {
            return Err(errors::record(&place.0, &place.1, *expected, version));
        }
        if matches!(op, RecordOp::Remove { .. }) && version == 0 {
            return Ok(());
        }
        if Record::admin(&place.0, &place.1).is_none() {
            self.revision += 1;
        }
        if self.cause.is_some() {
            self.emit(consequence::of_settings(&place.0, &place.1), self.at);
        }
        match op {
            RecordOp::Put { place, index, body, .. } => {
                let (kind, id) = place.clone();
                receipt.made.push(Made { kind: kind.clone(), id: id.clone() });
                self.records.insert(place, Record { kind, id, version: version + 1, index, body });
            }
            RecordOp::Remove { place, .. } => drop(self.records.remove(&place)),
        }
        Ok(())
    }

    fn see_device(
        &mut self,
        mut device: ClientDevice,
        limit: Option<u32>,
        gone_since: Timestamp,
    ) -> Result<()> {
        let key = device.key;
        self.key(key, None)?;
        let place = (key, device.id.clone());
        if !self.devices.contains_key(&place) {
            self.devices.retain(|(owner, _), held| *owner != key || held.last_seen >= gone_since);
        }
        match (self.devices.get(&place), limit) {
            (Some(known), _) => device.first_seen = known.first_seen,
            (None, Some(limit)) => {
                let there = self.devices.keys().filter(|(owner, _)| *owner == key).count();
                if there >= usize::try_from(limit).unwrap_or(usize::MAX) {
                    return Err(errors::too_many_devices(key, limit));
                }
            }
            (None, None) => {}
        }
        self.devices.insert(place, device);
        Ok(())
    }

    fn forget_device(&mut self, key: KeyId, id: Option<String>) -> Result<()> {
        match id {
            Some(id) => self.devices.remove(&(key, id)).map(drop).ok_or_else(|| errors::no_device(key)),
            None => {
                self.devices.retain(|(owner, _), _| *owner != key);
                Ok(())
            }
        }
    }

    fn inbound_event(&mut self, kind: EventKind, tag: &InboundTag, at: Timestamp) {
        let subject = EventSubject::Inbound(tag.as_str().to_owned());
        self.emit(NewEvent { kind, subject, detail: String::new() }, at);
    }

    fn emit(&mut self, event: NewEvent, at: Timestamp) {
        self.newest_event += 1;
        let NewEvent { kind, subject, detail } = event;
        let (cursor, cause) = (Cursor(self.newest_event), self.cause.clone());
        let event = Event { cursor, at, kind, subject, detail, cause };
        self.events.push_back(Logged { event, origin: self.origin, devices: Vec::new() });
    }

    /// The events after a cursor.
    fn after(&self, after: Cursor) -> Result<impl Iterator<Item = &Logged>> {
        if after < self.pruned {
            return Err(errors::cursor_expired(after, self.pruned));
        }
        if after.0 > self.newest_event {
            return Err(errors::cursor_ahead(after, Cursor(self.newest_event)));
        }
        Ok(self.events.iter().skip(self.events.partition_point(|logged| logged.event.cursor <= after)))
    }
}

impl Held {
    fn at(&self, now: Duration) -> Lease {
        Lease { left: self.ends.saturating_sub(now), ..self.lease.clone() }
    }
}

type Steps = BTreeMap<(Timestamp, NodeId, KeyId), Traffic>;

/// Moves what is from before a time into wider steps.
fn sum_up(narrow: &mut Steps, wide: &mut Steps, before: Timestamp, width: impl Fn(Timestamp) -> Timestamp) {
    let (old, kept) = std::mem::take(narrow).into_iter().partition(|((at, ..), _)| *at < before);
    *narrow = kept;
    let old: Steps = old;
    for ((at, node, key), traffic) in old {
        let sum = wide.entry((width(at), node, key)).or_default();
        *sum = sum.plus(traffic);
    }
}

#[async_trait]
impl KeyStore for MemoryStore {
    async fn key(&self, key: &KeyRef) -> Result<Option<Key>> {
        let state = self.state("store.key")?;
        let id = match key {
            KeyRef::Id(id) => Some(*id),
            KeyRef::Uid(uid) => state.uids.get(uid).copied(),
            KeyRef::Name(name) => state.names.get(&name.to_ascii_lowercase()).copied(),
        };
        Ok(id.and_then(|id| state.keys.get(&id).cloned()))
    }

    async fn holder(&self, secret: &CredentialSecret) -> Result<Option<(KeyId, DeviceName)>> {
        let state = self.state("store.holder")?;
        let id = state.secrets.get(&(secret.protocol(), secret.identity()));
        let key = id.and_then(|id| state.keys.get(id));
        let same = |credential: &&Credential| {
            credential.protocol() == secret.protocol() && credential.secret.identity() == secret.identity()
        };
        Ok(key.and_then(|key| Some((key.id, key.credentials.iter().find(same)?.device.clone()))))
    }

    async fn limits_addresses(&self) -> Result<bool> {
        Ok(self.state("store.limits_addresses")?.keys.values().any(|key| key.address_limit.is_some()))
    }

    async fn keys(&self, ids: &[KeyId]) -> Result<Vec<Key>> {
        let state = self.state("store.keys")?;
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        Ok(ids.iter().filter_map(|id| state.keys.get(id).cloned()).collect())
    }

    async fn find(&self, query: &KeyQuery) -> Result<Page> {
        let mut resume = query.resume()?;
        let state = self.state("store.find")?;
        if let Some(place) = resume.as_mut().filter(|place| place.shortened) {
            // Of what it does not see it is told no name.
            let seen = |key: &&Key| {
                query.owners.as_ref().is_none_or(|all| key.owner.is_some_and(|owner| all.contains(&owner)))
            };
            let name = state.keys.get(&KeyId(place.id)).filter(seen).and_then(|key| key.name.as_ref());
            place.complete(name.map(KeyName::folded).as_deref());
        }
        let mut keys: Vec<&Key> = state.keys.values().filter(|key| query.matches(key)).collect();
        let rank = |key: &Key| (query.sort.value(key), key.id.0);
        keys.sort_by_key(|key| rank(key));
        let descending = resume.as_ref().map_or(query.descending, Place::reads_descending);
        if descending {
            keys.reverse();
        }
        if let Some(place) = &resume {
            let from = (place.value.clone(), place.id);
            keys.retain(|key| if descending { rank(key) < from } else { rank(key) > from });
        }
        let most = usize::try_from(query.limit).unwrap_or(usize::MAX).saturating_add(1);
        Ok(query.page(resume.as_ref(), keys.into_iter().take(most).cloned().collect()))
    }

    async fn count(&self, query: &KeyQuery) -> Result<KeyCounts> {
        let mut counts = KeyCounts::default();
        let state = self.state("store.count")?;
        state.keys.values().filter(|key| query.matches(key)).for_each(|key| counts.add(key.status, 1));
        Ok(counts)
    }

    async fn commit(&self, txn: StoreTxn) -> Result<Receipt> {
        let mut state = self.state("store.commit")?;
        // On a copy, so that a batch that fails half way leaves nothing behind.
        let mut next = state.clone();
        let dry_run = txn.dry_run;
        let receipt = Receipt { dry_run, ..next.run(txn)? };
        if dry_run {
            return Ok(receipt);
        }
        let (event, revision) = (receipt.cursor, next.revision);
        *state = next;
        self.newest.send_modify(|newest| *newest = Newest { event, revision, commit: newest.commit + 1 });
        Ok(receipt)
    }

    async fn receipt(&self, request: &Request) -> Result<Option<Receipt>> {
        self.state("store.receipt")?.receipt(request)
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<KeyId>> {
        let state = self.state("store.due")?;
        let due = |key: &Key| lifecycle::due_at(key).filter(|at| *at <= now).map(|at| (at, key.id));
        let mut keys: Vec<(Timestamp, KeyId)> = state.keys.values().filter_map(due).collect();
        keys.sort_unstable();
        Ok(keys.into_iter().take(limit).map(|(_, key)| key).collect())
    }

    async fn grants(&self, filter: &GrantFilter) -> Result<Vec<Grant>> {
        let state = self.state("store.grants")?;
        let scope = |grant: &&Grant| {
            filter.scope.is_none_or(|scope| state.grant_scopes.get(&grant.id).copied() == scope)
        };
        let found = state.grants.values().filter(|grant| filter.matches(grant)).filter(scope);
        Ok(found.take(filter.limit).cloned().collect())
    }

    async fn admin(&self, admin: &AdminRef) -> Result<Option<Admin>> {
        self.state("store.admin")?.find_admin(admin)
    }

    async fn admins(&self, from: Option<AdminId>) -> Result<Vec<Admin>> {
        let state = self.state("store.admins")?;
        let ids = match from {
            Some(from) => state.below(from),
            None => state.admins.keys().copied().collect(),
        };
        ids.into_iter().filter_map(|id| rows::AdminRows::admin(&*state, id).transpose()).collect()
    }

    async fn owners_to_follow(&self, limit: usize) -> Result<Following> {
        self.state("store.owners_to_follow")?.to_follow(limit)
    }

    async fn inbounds(&self) -> Result<Vec<Inbound>> {
        Ok(self.state("store.inbounds")?.inbounds.values().cloned().collect())
    }

    async fn records(&self, query: &RecordQuery) -> Result<Vec<Record>> {
        let state = self.state("store.records")?;
        Ok(state.records.values().filter(|record| query.matches(record)).cloned().collect())
    }

    async fn revision(&self) -> Result<u64> {
        Ok(self.state("store.revision")?.revision)
    }

    async fn id(&self) -> Result<String> {
        drop(self.state("store.id")?);
        Ok(format!("{:08x}", self.id))
    }

    async fn revocations(&self, inbound: &InboundId, now: Timestamp) -> Result<Vec<Revocation>> {
        let state = self.state("store.revocations")?;
        let kept = |one: &&Revocation| one.inbound == *inbound && one.certificate.expires_at > now;
        Ok(state.revocations.values().filter(kept).cloned().collect())
    }

    async fn devices(&self, key: KeyId) -> Result<Vec<ClientDevice>> {
        let state = self.state("store.devices")?;
        let mut devices: Vec<ClientDevice> =
            state.devices.values().filter(|device| device.key == key).cloned().collect();
        devices.sort_by(|a, b| (a.first_seen, &a.id).cmp(&(b.first_seen, &b.id)));
        Ok(devices)
    }

    async fn baseline(&self, server: &ServerId) -> Result<Option<Baseline>> {
        Ok(self.state("store.baseline")?.baselines.get(server).and_then(|known| known.last()).cloned())
    }

    async fn baseline_of(&self, server: &ServerId, epoch: &str) -> Result<Option<Baseline>> {
        let state = self.state("store.baseline_of")?;
        let known = state.baselines.get(server).map_or(&[][..], Vec::as_slice);
        let sequence = known.last().map_or(0, |newest| newest.sequence);
        let earlier = known.iter().find(|baseline| baseline.epoch.id == epoch);
        Ok(earlier.map(|earlier| Baseline { sequence, ..earlier.clone() }))
    }

    async fn usage(&self, query: &UsageQuery) -> Result<Vec<UsagePoint>> {
        let state = self.state("store.usage")?;
        let mut points: BTreeMap<(Timestamp, UsageStep), Traffic> = BTreeMap::new();
        let mut add = |at: Timestamp, step: UsageStep, node: &NodeId, traffic: Traffic| {
            if at < query.to && query.node.as_ref().is_none_or(|n| n == node) {
                let point = points.entry((at, step)).or_default();
                *point = point.plus(traffic);
            }
        };
        let widths = [
            (&state.hours, query.from.hour(), UsageStep::Hour),
            (&state.days, query.from.day(), UsageStep::Day),
            (&state.months, query.from.month(), UsageStep::Month),
        ];
        match (query.key, &query.owners) {
            (Some(wanted), _) => {
                for (map, from, step) in widths {
                    for ((at, node, key), traffic) in map {
                        if *key == wanted && *at >= from {
                            add(*at, step, node, *traffic);
                        }
                    }
                }
            }
            (None, Some(owners)) => {
                for ((at, node, owner), traffic) in &state.owner_hours {
                    if *at >= query.from.hour() && owners.contains(owner) {
                        add(*at, UsageStep::Hour, node, *traffic);
                    }
                }
            }
            (None, None) => {
                for ((at, node), traffic) in &state.node_hours {
                    if *at >= query.from.hour() {
                        add(*at, UsageStep::Hour, node, *traffic);
                    }
                }
            }
        }
        Ok(points.into_iter().map(|((at, step), traffic)| UsagePoint { at, traffic, step }).collect())
    }

    async fn events(&self, after: Cursor, max: usize) -> Result<EventBatch> {
        let state = self.state("store.events")?;
        let events: Vec<Event> = state.after(after)?.take(max).map(|logged| logged.event.clone()).collect();
        let next = events.last().map_or(after, |e| e.cursor);
        Ok(EventBatch { events, next })
    }

    async fn timeline(&self, key: KeyId, before: Option<Cursor>, max: usize) -> Result<Vec<Event>> {
        let state = self.state("store.timeline")?;
        let events = state.events.iter().rev().map(|logged| &logged.event);
        let asked = events.filter(|e| e.key() == Some(key) && before.is_none_or(|before| e.cursor < before));
        Ok(asked.take(max).cloned().collect())
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Vec<Event>> {
        let state = self.state("store.audit")?;
        let asked =
            state.events.iter().rev().map(|logged| &logged.event).filter(|event| query.matches(event));
        Ok(asked.take(usize::try_from(query.limit).unwrap_or(usize::MAX)).cloned().collect())
    }

    async fn dead_letters(&self, webhook: &str, after: Cursor, max: usize) -> Result<(Vec<DeadLetter>, u64)> {
        let state = self.state("store.dead_letters")?;
        let of: Vec<&DeadLetter> = state.dead_letters.values().filter(|one| one.webhook == webhook).collect();
        let behind =
            of.iter().filter(|one| one.cursor() > after).take(max).map(|one| (*one).clone()).collect();
        Ok((behind, of.len() as u64))
    }

    async fn consumers(&self) -> Result<Vec<(String, Cursor)>> {
        let state = self.state("store.consumers")?;
        Ok(state.consumers.iter().map(|(name, cursor)| (name.clone(), *cursor)).collect())
    }

    async fn newest_event(&self) -> Result<Cursor> {
        Ok(Cursor(self.state("store.newest_event")?.newest_event))
    }

    fn newest(&self) -> watch::Receiver<Newest> {
        self.newest.subscribe()
    }

    async fn changes(&self, after: Cursor, max: usize, own: Origin) -> Result<ChangeBatch> {
        let state = self.state("store.changes")?;
        let mut batch = ChangeBatch { next: after, ..ChangeBatch::default() };
        for Logged { event, origin, devices } in state.after(after)? {
            if batch.changes.len() == max {
                batch.more = true;
                break;
            }
            batch.next = event.cursor;
            if own == Origin::NONE || *origin != own {
                let Event { cursor, kind, subject, .. } = event.clone();
                batch.changes.push(StoreChange { cursor, kind, subject, devices: devices.clone() });
            }
        }
        Ok(batch)
    }

    async fn questions(&self) -> Result<Vec<Question>> {
        let state = self.state("store.questions")?;
        let open = state.questions.iter().filter(|(_, (_, answer))| answer.is_none());
        Ok(open.map(|(id, (text, _))| Question { id: id.clone(), text: text.clone() }).collect())
    }

    async fn answer(&self, question: &QuestionId) -> Result<Option<Secret>> {
        let state = self.state("store.answer")?;
        Ok(state.questions.get(question).and_then(|(_, answer)| answer.clone()))
    }

    async fn leases(&self) -> Result<Vec<Lease>> {
        let (state, now) = (self.state("store.leases")?, since_boot());
        Ok(state.leases.values().map(|held| held.at(now)).collect())
    }

    async fn claim(&self, claims: &[Claim]) -> Result<Vec<Claimed>> {
        let mut state = self.state("store.claim")?;
        let claimed = claims.iter().map(|claim| state.claim(claim)).collect();
        self.newest.send_modify(|newest| newest.commit += 1);
        Ok(claimed)
    }

    async fn release(&self, leases: &[Fence]) -> Result<()> {
        let mut state = self.state("store.release")?;
        for fence in leases {
            if let Some(held) = state.leases.get_mut(&fence.lease).filter(|h| h.lease.number == fence.number)
            {
                held.ends = Duration::ZERO;
            }
        }
        self.newest.send_modify(|newest| newest.commit += 1);
        Ok(())
    }

    async fn prune(&self, retention: &Retention, fence: Option<Fence>) -> Result<Pruned> {
        let mut state = self.state("store.prune")?;
        state.check(fence.as_ref())?;
        let Retention { events: before, timelines, hours, days } = *retention;
        let (first, last) = (state.pruned.0 + 1, state.newest_event);
        let at = |cursor: i64| {
            let start = state.events.partition_point(|logged| logged.event.cursor.0 < cursor);
            Ok(state.events.iter().skip(start).take(3).map(|logged| logged.event.at).collect())
        };
        let old = last_before(first, last, before, at)?;
        let gone =
            state.events.iter().filter(|logged| (first..=old).contains(&logged.event.cursor.0)).count();
        let pruned = Cursor(old.max(state.pruned.0));
        state.pruned = pruned;
        state.events.retain(|Logged { event, .. }| {
            event.cursor > pruned || (event.is_of_timeline() && event.at >= timelines)
        });
        state.requests.retain(|_, done| done.for_good || done.at >= before);
        state.revocations.retain(|_, one| one.certificate.expires_at >= before);
        let State { hours: all_hours, days: all_days, months: all_months, .. } = &mut *state;
        sum_up(all_hours, all_days, hours.day(), Timestamp::day);
        sum_up(all_days, all_months, days.month(), Timestamp::month);
        Ok(Pruned { events: gone, more: false })
    }

    async fn back_up(&self, _: &Path, _: &Progress) -> Result<Backup> {
        Err(errors::no_file("store.back_up"))
    }

    async fn check(&self, _: &Progress) -> Result<StoreCheck> {
        Err(errors::no_file("store.check"))
    }

    async fn close(&self) -> Result<()> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        Ok(())
    }
}
