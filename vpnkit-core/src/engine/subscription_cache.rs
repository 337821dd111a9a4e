//! What subscriptions are made with, as the store has it: settings, hosts, templates, signing secrets.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Shared;
use crate::model::{Document, Host, InboundTag, NodeId, ServerId};
use crate::store::{StoreOp, StoreTxn};
use crate::subscription::token::SigningKeys;
use crate::subscription::{SubscriptionSettings, SubscriptionTemplate, Templates};
use crate::{Error, ErrorKind, Result, Secret};

const SETTINGS: &str = "settings";
const SIGNING: &str = "signing";
const HOSTS: &str = "hosts/";
const TEMPLATE: &str = "template/";
const SERVER: &str = "server/";
/// How old the cache may be when it is used: after that time the store is asked again.
const FRESH: Duration = Duration::from_secs(5);

/// Read as a whole, replaced as a whole.
#[derive(Debug, Default)]
pub(super) struct SubscriptionCache {
    pub(super) settings: Arc<SubscriptionSettings>,
    pub(super) hosts: BTreeMap<(NodeId, InboundTag), Vec<Host>>,
    pub(super) servers: BTreeMap<ServerId, ToldServer>,
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

/// The cache and when it was read.
#[derive(Debug)]
pub(super) struct Held {
    cache: Arc<SubscriptionCache>,
    read: Instant,
}

impl Default for Held {
    fn default() -> Self {
        Self { cache: Arc::default(), read: Instant::now() }
    }
}

/// A document of this name.
pub(super) fn hosts_name(node: &NodeId, tag: &InboundTag) -> String {
    format!("{HOSTS}{node}/{tag}")
}

impl SubscriptionCache {
    fn read(documents: Vec<Document>) -> Result<Self> {
        let mut cache = Self::default();
        let mut templates = Templates::default();
        for document in documents {
            let name = document.name.as_str();
            if name == SETTINGS {
                cache.settings = Arc::new(parsed(&document)?);
            } else if name == SIGNING {
                (cache.signing, cache.signing_version) = (parsed(&document)?, document.version);
            } else if let Some((node, tag)) = name.strip_prefix(HOSTS).and_then(|place| place.split_once('/'))
            {
                cache.hosts.insert((NodeId::new(node)?, InboundTag::new(tag)?), parsed(&document)?);
            } else if let Some(id) = name.strip_prefix(SERVER) {
                cache.servers.insert(id.parse()?, parsed(&document)?);
            } else if let Some(name) = name.strip_prefix(TEMPLATE) {
                let template: SubscriptionTemplate = parsed(&document)?;
                if let Err(e) = templates.add(name, &template) {
                    tracing::warn!(template = name, error = %e, "a template of this store cannot be used");
                }
                cache.sources.insert(name.to_owned(), template);
            }
        }
        cache.templates = Arc::new(templates);
        Ok(cache)
    }
}

fn parsed<T: DeserializeOwned>(document: &Document) -> Result<T> {
    serde_json::from_str(document.body.expose()).map_err(|_| {
        // Not the fault's own words: they may repeat what stands there.
        Error::new(ErrorKind::StoreCorrupt, "store.documents", "a document cannot be read")
            .with("document", &document.name)
    })
}

impl Shared {
    pub(super) fn cache(&self) -> Arc<SubscriptionCache> {
        Arc::clone(&self.cache.read().unwrap_or_else(PoisonError::into_inner).cache)
    }

    pub(super) async fn reload_subscriptions(&self) -> Result<Arc<SubscriptionCache>> {
        // One after the other, as with inbounds.
        let _turn = self.reloading.lock().await;
        let cache = Arc::new(SubscriptionCache::read(self.store.documents().await?)?);
        *self.cache.write().unwrap_or_else(PoisonError::into_inner) =
            Held { cache: Arc::clone(&cache), read: Instant::now() };
        Ok(cache)
    }

    /// The cache, at most some seconds old: another process may have changed it. What cannot be read again is served as it
    /// was: customers do not pay for a store that is busy, or for a document that a newer vpnkit has written.
    pub(super) async fn fresh_subscriptions(&self) -> Result<Arc<SubscriptionCache>> {
        {
            let held = self.cache.read().unwrap_or_else(PoisonError::into_inner);
            if held.read.elapsed() < FRESH {
                return Ok(Arc::clone(&held.cache));
            }
        }
        // Whoever comes while somebody else reads it takes what there is.
        if self.reloading.try_lock().map(drop).is_err() {
            return Ok(self.cache());
        }
        match self.reload_subscriptions().await {
            Err(e) if e.kind() != ErrorKind::Closed => {
                tracing::warn!(error = %e, "settings, hosts and templates could not be read anew");
                self.cache.write().unwrap_or_else(PoisonError::into_inner).read = Instant::now();
                Ok(self.cache())
            }
            outcome => outcome,
        }
    }

    /// Writes the document `name`, or removes it, and reads all of them anew.
    pub(super) async fn put_document<T: Serialize>(
        &self,
        op: &'static str,
        name: String,
        expected: Option<u64>,
        value: Option<&T>,
    ) -> Result<()> {
        let body = value
            .map(|value| Secret::reveal(|| serde_json::to_string(value)))
            .transpose()
            .map_err(|e| Error::new(ErrorKind::Unexpected, op, "it cannot be written").caused_by(e))?;
        let put = StoreOp::PutDocument { name, expected, body: body.map(Secret::new) };
        self.store.commit(StoreTxn::new(self.clock.now(), vec![put])).await.map_err(|e| e.during(op))?;
        self.reload_subscriptions().await.map(drop)
    }

    /// Tells other processes where this one's servers are reached.
    pub(super) async fn remember_addresses(&self, op: &'static str) -> Result<()> {
        for server in self.servers().iter() {
            let told =
                ToldServer { address: server.address.clone(), program: server.rules.program().to_owned() };
            if self.cache().servers.get(server.id()) != Some(&told) {
                self.put_document(op, format!("{SERVER}{}", server.id()), None, Some(&told)).await?;
            }
        }
        Ok(())
    }

    /// Makes other processes forget a server.
    pub(super) async fn forget_address(&self, op: &'static str, id: &ServerId) -> Result<()> {
        self.put_document::<ToldServer>(op, format!("{SERVER}{id}"), None, None).await
    }

    pub(super) async fn put_settings(&self, op: &'static str, settings: &SubscriptionSettings) -> Result<()> {
        self.put_document(op, SETTINGS.to_owned(), None, Some(settings)).await
    }

    pub(super) async fn put_hosts(
        &self,
        op: &'static str,
        place: (&NodeId, &InboundTag),
        hosts: &[Host],
    ) -> Result<()> {
        let name = hosts_name(place.0, place.1);
        self.put_document(op, name, None, (!hosts.is_empty()).then_some(&hosts)).await
    }

    pub(super) async fn put_template(
        &self,
        op: &'static str,
        name: &str,
        template: Option<&SubscriptionTemplate>,
    ) -> Result<()> {
        self.put_document(op, format!("{TEMPLATE}{name}"), None, template).await
    }

    /// Replaces the signing secrets that `cache` has. `Conflict` when somebody else has done so.
    pub(super) async fn put_signing(
        &self,
        op: &'static str,
        cache: &SubscriptionCache,
        keys: &SigningKeys,
    ) -> Result<()> {
        self.put_document(op, SIGNING.to_owned(), Some(cache.signing_version), Some(keys)).await
    }

    /// The cache, with secrets to sign with: made when they are needed first.
    pub(super) async fn signing_cache(&self, op: &'static str) -> Result<Arc<SubscriptionCache>> {
        let cache = self.fresh_subscriptions().await?;
        if cache.signing_version > 0 {
            return Ok(cache);
        }
        match self.put_signing(op, &cache, &SigningKeys::generate()).await {
            // Another process was first.
            Err(e) if e.kind() == ErrorKind::Conflict => self.reload_subscriptions().await,
            outcome => outcome.map(|()| self.cache()),
        }
    }
}
