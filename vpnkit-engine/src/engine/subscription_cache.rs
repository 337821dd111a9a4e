//! What subscriptions are made with, as the store has it: settings, hosts, templates, signing secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Shared;
use super::context::by_itself;
use super::server::Server;
use vpnkit_core::accounting::Coefficient;
use vpnkit_core::model::{Host, InboundTag, KeyTemplate, NodeId, Record, RecordQuery, ServerId, Webhook};
use vpnkit_core::store::RecordOp;
use vpnkit_core::{Error, ErrorKind, Result, Secret, Timestamp};
use vpnkit_subscription::SigningKeys;
use vpnkit_subscription::{Format, SubscriptionSettings, SubscriptionTemplate, Templates};

const SETTINGS: &str = "settings";
pub(super) const SIGNING: &str = "signing";
const HOSTS: &str = "hosts";
const TEMPLATE: &str = "template";
const KEY_TEMPLATE: &str = "key_template";
const NODE: &str = "node";
const SERVER: &str = "server";
const STOPPED: &str = "stopped";
const WEBHOOK: &str = "webhook";
const KINDS: [&str; 9] = [SETTINGS, SIGNING, HOSTS, TEMPLATE, KEY_TEMPLATE, NODE, SERVER, STOPPED, WEBHOOK];

/// How long a store that could not be read is left alone: each answer would ask it.
const AGAIN: Duration = Duration::from_secs(1);

/// Read as a whole, replaced as a whole.
#[derive(Debug, Default)]
pub(super) struct SubscriptionCache {
    pub(super) settings: Arc<SubscriptionSettings>,
    /// 0 before there are any.
    pub(super) settings_version: u64,
    /// Why the settings of the store cannot be read: those from before are in use.
    pub(super) fault: Option<Error>,
    pub(super) hosts: BTreeMap<(NodeId, InboundTag), Vec<Host>>,
    pub(super) servers: BTreeMap<ServerId, ToldServer>,
    /// Servers that were stopped by hand.
    pub(super) stopped: BTreeSet<ServerId>,
    /// How much bytes through nodes count, where that is not once.
    pub(super) coefficients: BTreeMap<NodeId, Coefficient>,
    /// Nodes of which it cannot be read: as long as it cannot, what was known of them holds.
    pub(super) unread: Vec<NodeId>,
    /// What keys are made of.
    pub(super) key_templates: BTreeMap<String, KeyTemplate>,
    pub(super) webhooks: BTreeMap<String, HeldWebhook>,
    pub(super) sources: BTreeMap<String, SubscriptionTemplate>,
    pub(super) templates: Arc<Templates>,
    pub(super) signing: SigningKeys,
    /// 0 before there are secrets.
    pub(super) signing_version: u64,
}

/// What a process that drives a server tells the others: they write its links.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ToldServer {
    pub(super) address: String,
    pub(super) program: String,
}

/// A webhook with what its requests are signed with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct HeldWebhook {
    pub(super) webhook: Webhook,
    /// The newest first.
    secrets: Vec<HeldSecret>,
    /// Of its record.
    #[serde(skip)]
    pub(super) version: u64,
}

/// A secret, and when it signs no longer.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct HeldSecret {
    secret: Secret,
    until: Option<Timestamp>,
}

impl HeldWebhook {
    pub(super) fn new(webhook: Webhook, secret: Secret) -> Self {
        Self { webhook, secrets: vec![HeldSecret { secret, until: None }], version: 0 }
    }

    pub(super) fn newest_secret(&self) -> Secret {
        self.secrets.first().map(|held| held.secret.clone()).unwrap_or_default()
    }

    /// The secrets that requests are signed with.
    pub(super) fn secrets(&self, now: Timestamp) -> Vec<Secret> {
        let good = |held: &&HeldSecret| held.until.is_none_or(|until| until > now);
        self.secrets.iter().filter(good).map(|held| held.secret.clone()).collect()
    }

    /// Signs with a new secret, and for some time with those before.
    pub(super) fn rotate(&mut self, secret: Secret, now: Timestamp, keep: Duration) {
        /// Each is a signature in a header.
        const MOST: usize = 4;
        let end = now.plus(keep);
        for held in &mut self.secrets {
            held.until = Some(held.until.map_or(end, |until| until.min(end)));
        }
        self.secrets.insert(0, HeldSecret { secret, until: None });
        self.secrets.retain(|held| held.until.is_none_or(|until| until > now));
        self.secrets.truncate(MOST);
    }
}

/// What is said of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct ToldNode {
    coefficient: Coefficient,
}

/// The cache, and what it was read from.
#[derive(Debug, Default)]
pub(super) struct Held {
    cache: Arc<SubscriptionCache>,
    /// The store's when it was read; `None` before that.
    revision: Option<u64>,
    /// When it could not be read again.
    failed: Option<Instant>,
}

/// Where the hosts of an inbound stand.
pub(super) fn hosts_place(node: &NodeId, tag: &InboundTag) -> (String, String) {
    (HOSTS.to_owned(), format!("{node}/{tag}"))
}

impl SubscriptionCache {
    /// The one record that cannot be read does not keep the others. Without signing secrets there is no answer.
    fn read(records: Vec<Record>) -> Result<Self> {
        let mut cache = Self::default();
        let mut templates = Templates::default();
        for record in records {
            match record.kind.as_str() {
                SETTINGS => match parsed(&record) {
                    Ok(settings) => {
                        (cache.settings, cache.settings_version) = (Arc::new(settings), record.version);
                    }
                    Err(e) => cache.fault = Some(e),
                },
                SIGNING => (cache.signing, cache.signing_version) = (parsed(&record)?, record.version),
                kind => {
                    if let Err(e) = cache.take(kind, &record, &mut templates) {
                        tracing::warn!(kind, id = record.id, error = %e, "a record of this store cannot be used");
                    }
                }
            }
        }
        cache.templates = Arc::new(templates);
        Ok(cache)
    }

    /// Checks settings.
    pub(super) fn check(&self, op: &'static str, settings: &SubscriptionSettings) -> Result<()> {
        settings.validate().map_err(|e| e.during(op))?;
        for (i, rule) in settings.clients.iter().enumerate() {
            if let Format::Template(name) = &rule.format
                && !self.sources.contains_key(name)
            {
                let field = format!("clients[{i}].format");
                return Err(Error::invalid(op, &field, "there is no such template").with("template", name));
            }
        }
        Ok(())
    }

    fn take(&mut self, kind: &str, record: &Record, templates: &mut Templates) -> Result<()> {
        let id = record.id.as_str();
        match kind {
            HOSTS => {
                let (node, tag) = id.split_once('/').unwrap_or_default();
                let place = (NodeId::new(node)?, InboundTag::new(tag)?);
                // Until they can be read the inbound has none: the address behind a CDN must not be told instead.
                self.hosts.insert(place.clone(), Vec::new());
                self.hosts.insert(place, parsed(record)?);
            }
            SERVER => drop(self.servers.insert(id.parse()?, parsed(record)?)),
            STOPPED => drop(self.stopped.insert(id.parse()?)),
            NODE => {
                let node = NodeId::new(id)?;
                let told = parsed(record).inspect_err(|_| self.unread.push(node.clone()));
                let ToldNode { coefficient } = told?;
                self.coefficients.insert(node, coefficient);
            }
            WEBHOOK => {
                let held = HeldWebhook { version: record.version, ..parsed(record)? };
                self.webhooks.insert(id.to_owned(), held);
            }
            KEY_TEMPLATE => drop(self.key_templates.insert(id.to_owned(), parsed(record)?)),
            TEMPLATE => {
                let template: SubscriptionTemplate = parsed(record)?;
                let added = templates.add(id, &template);
                self.sources.insert(id.to_owned(), template);
                added?;
            }
            // Of somebody else, or of a newer vpnkit.
            _ => {}
        }
        Ok(())
    }
}

/// The step that writes a record, or removes it.
fn record_op<T: Serialize>(
    place: (String, String),
    expected: Option<u64>,
    value: Option<&T>,
) -> Result<RecordOp> {
    let Some(value) = value else { return Ok(RecordOp::Remove { place, expected }) };
    let body = Secret::reveal(|| serde_json::to_string(value)).map_err(|e| {
        Error::new(ErrorKind::Unexpected, "store.records", "it cannot be written").caused_by(e)
    })?;
    Ok(RecordOp::Put { place, expected, index: None, body: Secret::new(body) })
}

fn parsed<T: DeserializeOwned>(record: &Record) -> Result<T> {
    serde_json::from_str(record.body.expose()).map_err(|_| {
        // Not the fault's own words: they may repeat what stands there.
        Error::new(ErrorKind::StoreCorrupt, "store.records", "a record cannot be read")
            .with("kind", &record.kind)
            .with("id", &record.id)
    })
}

impl Shared {
    pub(super) fn cache(&self) -> Arc<SubscriptionCache> {
        Arc::clone(&self.cache.read().unwrap_or_else(PoisonError::into_inner).cache)
    }

    /// Reads inbounds, settings, hosts, templates and secrets again.
    pub(super) async fn reload(&self) -> Result<Arc<SubscriptionCache>> {
        // One after the other: what was read earlier must not replace what was read later.
        let _turn = self.reloading.lock().await;
        self.read_subscriptions().await
    }

    /// To be called by who has the turn.
    async fn read_subscriptions(&self) -> Result<Arc<SubscriptionCache>> {
        // Before they are read: what is changed meanwhile is read again. It stands for inbounds too.
        let revision = self.store.revision().await?;
        self.read_inbounds().await?;
        let query = RecordQuery { kinds: KINDS.map(str::to_owned).to_vec(), ..RecordQuery::default() };
        let mut cache = SubscriptionCache::read(self.store.records(&query).await?)?;
        if let Some(e) = &cache.fault {
            tracing::warn!(error = %e, "the settings of this store cannot be read; those from before are used");
            cache.settings = Arc::clone(&self.cache().settings);
        }
        let known = self.cache();
        for node in std::mem::take(&mut cache.unread) {
            if let Some(coefficient) = known.coefficients.get(&node) {
                cache.coefficients.insert(node, *coefficient);
            }
        }
        let cache = Arc::new(cache);
        *self.cache.write().unwrap_or_else(PoisonError::into_inner) =
            Held { cache: Arc::clone(&cache), revision: Some(revision), failed: None };
        for server in self.servers().iter() {
            server.stop_if(cache.stopped.contains(server.id()));
        }
        Ok(cache)
    }

    /// The cache as the store was a tenth of a second ago at the latest. What cannot be read again is served as it was:
    /// customers do not pay for a store that is busy, or for a document that a newer vpnkit has written.
    pub(super) async fn fresh_subscriptions(&self) -> Result<Arc<SubscriptionCache>> {
        let newest = self.store.newest().borrow().revision;
        if self.is_good_for(newest) {
            return Ok(self.cache());
        }
        let _turn = self.reloading.lock().await;
        // Who had the turn before has read it for all who waited.
        if self.is_good_for(newest) {
            return Ok(self.cache());
        }
        match self.read_subscriptions().await {
            Err(e) if e.kind() != ErrorKind::Closed => {
                tracing::warn!(error = %e, "settings, hosts and templates could not be read again");
                self.cache.write().unwrap_or_else(PoisonError::into_inner).failed = Some(Instant::now());
                Ok(self.cache())
            }
            outcome => outcome,
        }
    }

    /// Whether what is held is to be used as long as the store has this revision.
    fn is_good_for(&self, revision: u64) -> bool {
        let held = self.cache.read().unwrap_or_else(PoisonError::into_inner);
        let rests = held.failed.is_some_and(|failed| failed.elapsed() < AGAIN);
        rests || held.revision.is_some_and(|known| known >= revision)
    }

    /// The cache, read again if the store is another than it was at the revision `known`; inbounds with it.
    pub(super) async fn refreshed(&self, known: Option<u64>) -> Result<Arc<SubscriptionCache>> {
        if known.is_some() && known == Some(self.store.revision().await?) {
            return Ok(self.cache());
        }
        self.reload().await
    }

    /// The revision that inbounds and records were read at.
    pub(super) fn known_revision(&self) -> Option<u64> {
        self.cache.read().unwrap_or_else(PoisonError::into_inner).revision
    }

    /// Writes a record, or removes it, and reads all of them again.
    async fn put_record<T: Serialize>(
        &self,
        op: &'static str,
        place: (String, String),
        expected: Option<u64>,
        value: Option<&T>,
    ) -> Result<()> {
        let put = record_op(place, expected, value).map_err(|e| e.during(op))?;
        if let RecordOp::Put { place, expected: None, body, .. } = &put
            && self.has_record(place, body).await.map_err(|e| e.during(op))?
        {
            // The same call at every start changes nothing: nobody has to read it again.
            return Ok(());
        }
        let receipt = self.store.commit(self.txn([put])).await.map_err(|e| e.during(op))?;
        match receipt.took_effect() {
            true => self.reload().await.map(drop),
            false => Ok(()),
        }
    }

    async fn has_record(&self, (kind, id): &(String, String), body: &Secret) -> Result<bool> {
        let records = self.store.records(&RecordQuery::of(kind)).await?;
        Ok(records.iter().any(|record| record.id == *id && record.body == *body))
    }

    /// Writes how much bytes through a node count.
    pub(super) async fn put_coefficient(
        &self,
        op: &'static str,
        node: &NodeId,
        coefficient: Coefficient,
    ) -> Result<()> {
        let told = (coefficient != Coefficient::default()).then_some(ToldNode { coefficient });
        self.put_record(op, (NODE.to_owned(), node.to_string()), None, told.as_ref()).await
    }

    /// How much bytes through a server count.
    pub(super) fn coefficient(&self, server: &Server) -> Coefficient {
        self.cache().coefficients.get(server.backend.node()).copied().unwrap_or_default()
    }

    /// Writes what keys are made of, or removes it.
    pub(super) async fn put_key_template(
        &self,
        op: &'static str,
        name: &str,
        template: Option<&KeyTemplate>,
    ) -> Result<()> {
        self.put_record(op, (KEY_TEMPLATE.to_owned(), name.to_owned()), None, template).await
    }

    /// The step that writes a webhook, or removes it.
    pub(super) fn webhook_op(
        &self,
        op: &'static str,
        id: &str,
        expected: Option<u64>,
        held: Option<&HeldWebhook>,
    ) -> Result<RecordOp> {
        record_op((WEBHOOK.to_owned(), id.to_owned()), expected, held).map_err(|e| e.during(op))
    }

    /// Tells other processes where this one's servers are reached.
    pub(super) async fn remember_addresses(&self, op: &'static str) -> Result<()> {
        let mut puts = Vec::new();
        for server in self.servers().iter() {
            let told =
                ToldServer { address: server.address.clone(), program: server.rules.program().to_owned() };
            // What the process that drives it has said stands.
            if !self.cache().servers.contains_key(server.id()) {
                puts.push(record_op((SERVER.to_owned(), server.id().to_string()), None, Some(&told))?);
            }
        }
        if puts.is_empty() {
            return Ok(());
        }
        self.store.commit(self.txn(puts)).await.map_err(|e| e.during(op))?;
        self.reload().await.map(drop)
    }

    /// Tells other processes where a server is reached that this one drives.
    pub(super) async fn tell_address(&self, server: &Server) -> Result<()> {
        let told = ToldServer { address: server.address.clone(), program: server.rules.program().to_owned() };
        if self.cache().servers.get(server.id()) == Some(&told) {
            return Ok(());
        }
        let put = record_op((SERVER.to_owned(), server.id().to_string()), None, Some(&told))?;
        self.store.commit(server.txn(self, [put])?).await?;
        self.reload().await.map(drop)
    }

    /// Makes other processes forget a server.
    pub(super) async fn forget_address(&self, op: &'static str, id: &ServerId) -> Result<()> {
        self.put_record::<ToldServer>(op, (SERVER.to_owned(), id.to_string()), None, None).await
    }

    /// Writes down whether a server is to run.
    pub(super) async fn put_stopped(&self, op: &'static str, id: &ServerId, stopped: bool) -> Result<()> {
        let place = (STOPPED.to_owned(), id.to_string());
        self.put_record(op, place, None, stopped.then_some(&true)).await
    }

    pub(super) async fn put_settings(
        &self,
        op: &'static str,
        expected: Option<u64>,
        settings: &SubscriptionSettings,
    ) -> Result<()> {
        self.put_record(op, (SETTINGS.to_owned(), String::new()), expected, Some(settings)).await
    }

    pub(super) async fn put_hosts(
        &self,
        op: &'static str,
        place: (&NodeId, &InboundTag),
        hosts: &[Host],
    ) -> Result<()> {
        let place = hosts_place(place.0, place.1);
        self.put_record(op, place, None, (!hosts.is_empty()).then_some(&hosts)).await
    }

    pub(super) async fn put_template(
        &self,
        op: &'static str,
        name: &str,
        template: Option<&SubscriptionTemplate>,
    ) -> Result<()> {
        self.put_record(op, (TEMPLATE.to_owned(), name.to_owned()), None, template).await
    }

    /// Replaces the signing secrets that `cache` has. `Conflict` when somebody else has done so.
    pub(super) async fn put_signing(
        &self,
        op: &'static str,
        cache: &SubscriptionCache,
        keys: &SigningKeys,
    ) -> Result<()> {
        self.put_record(op, (SIGNING.to_owned(), String::new()), Some(cache.signing_version), Some(keys))
            .await
    }

    /// Changes the secrets that sign, on top of what others have changed before.
    ///
    /// Errors: `Conflict` when another process changes them now.
    pub(super) async fn change_signing(
        &self,
        op: &'static str,
        change: impl FnOnce(&mut SigningKeys),
    ) -> Result<()> {
        self.signing_cache(op).await?;
        let cache = self.reload().await?;
        let mut keys = cache.signing.clone();
        change(&mut keys);
        if keys == cache.signing {
            return Ok(());
        }
        self.put_signing(op, &cache, &keys).await
    }

    /// The cache, with secrets to sign with: made when they are needed first.
    pub(super) async fn signing_cache(&self, op: &'static str) -> Result<Arc<SubscriptionCache>> {
        let cache = self.fresh_subscriptions().await?;
        if cache.signing_version > 0 {
            return Ok(cache);
        }
        // Without a caller: they are the store's, whichever call needs them first.
        match by_itself(self.put_signing(op, &cache, &SigningKeys::generate())).await {
            // Another process was first.
            Err(e) if e.kind() == ErrorKind::Conflict => self.reload().await,
            outcome => outcome.map(|()| self.cache()),
        }
    }
}
