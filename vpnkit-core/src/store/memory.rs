//! The store in memory: the reference implementation, for tests and for what may be forgotten.

mod admins;
mod credentials;
mod devices;
mod inbounds;
mod keys;
mod leases;
mod readings;
mod records;
mod reminders;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use uuid::Uuid;

use super::{
    ChangeBatch, Claim, Claimed, ConsumerOp, DeadLetterOp, DeviceOp, Fence, Following, GrantFilter,
    InboundOp, KeyStore, Lease, Made, Newest, Origin, Progress, Pruned, Question, QuestionId, QuestionOp,
    Receipt, Request, Retention, StoreChange, StoreOp, StoreTxn, errors, last_before,
};
use crate::accounting::Baseline;
use crate::backend::Fingerprint;
use crate::machine::since_boot;
use crate::model::{
    Admin, AdminId, AdminRef, AuditQuery, Backup, Cause, ClientDevice, Credential, CredentialKind,
    CredentialSecret, Cursor, DeadLetter, DeviceName, Event, EventBatch, Grant, GrantId, Inbound, InboundId,
    InboundTag, Key, KeyCounts, KeyId, KeyName, KeyQuery, KeyRef, NewEvent, NodeId, Page, Place, Record,
    RecordQuery, Revocation, ServerId, StoreCheck, Traffic, UsagePoint, UsageQuery, UsageStep,
};
use crate::ownership::{self, rows};
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

    fn step(&mut self, op: StoreOp, at: Timestamp, receipt: &mut Receipt) -> Result<()> {
        match op {
            StoreOp::Key(op) => self.key_step(op, at, receipt),
            StoreOp::Inbound(InboundOp::Put(inbound)) => self.put_inbound(*inbound, at),
            StoreOp::Inbound(InboundOp::Replace { before, inbound }) => {
                if self.inbound(&inbound.id()) != before.as_deref() {
                    return Err(errors::inbound_changed(&inbound.tag));
                }
                self.put_inbound(*inbound, at)
            }
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
            StoreOp::Device(DeviceOp::Refused { key, limit, told_since }) => {
                self.refused_device(key, limit, told_since, at);
                Ok(())
            }
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

    async fn change_passphrase(&self, _: &Secret, _: &Secret) -> Result<()> {
        Err(errors::no_file("store.change_passphrase"))
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
