//! How clients reach inbounds.

use std::sync::Arc;

use schemars::JsonSchema;
use vpnkit_macros::operations;

use super::inbounds::no_inbound;
use super::subscription_cache::SubscriptionCache;
use super::{Engine, Shared};
use vpnkit_core::backend::ServerRules;
use vpnkit_core::model::{Credential, Endpoint, Host, Inbound, InboundTag, Key, KeyRef, NodeId};
use vpnkit_core::{Error, Result, Timestamp};
use vpnkit_subscription::{ResolvedHost, Seed, Variables};

/// The hosts of one inbound.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, JsonSchema)]
pub struct InboundHosts {
    /// The inbound's machine.
    pub node: NodeId,
    /// The inbound's name.
    pub tag: InboundTag,
    /// Its hosts, in the order in which clients show them.
    pub hosts: Vec<Host>,
}

/// Hosts: set, list, preview. An inbound without any is reached at its server's own address.
#[derive(Clone, Debug)]
pub struct Hosts {
    pub(super) engine: Engine,
}

#[operations(noun = "hosts", handle = Engine::hosts)]
impl Hosts {
    /// The hosts of every inbound that has some, sorted by node and tag.
    #[operation(read)]
    pub async fn list(&self) -> Result<Vec<InboundHosts>> {
        let shared = self.shared("hosts.list")?;
        let hosts = |(place, hosts): (&(NodeId, InboundTag), &Vec<Host>)| InboundHosts {
            node: place.0.clone(),
            tag: place.1.clone(),
            hosts: hosts.clone(),
        };
        Ok(shared.reload().await?.hosts.iter().map(hosts).collect())
    }

    /// Replaces all hosts of an inbound; none gives it back its server's own address. To keep an inbound out of
    /// subscriptions, give it one host that is `disabled`.
    ///
    /// Errors: `NotFound` for the inbound; `InvalidInput` with the `field`, `hosts[1].port`.
    #[operation(change, dry_run)]
    pub async fn set(
        &self,
        #[arg(default = NodeId::main())] node: &NodeId,
        tag: &InboundTag,
        hosts: Vec<Host>,
    ) -> Result<()> {
        const OP: &str = "hosts.set";
        self.engine
            .in_context(OP, async {
                let shared = self.shared(OP)?;
                if hosts.len() > 100 {
                    return Err(Error::invalid(OP, "hosts", "up to 100 for an inbound"));
                }
                for (index, host) in hosts.iter().enumerate() {
                    host.validate(OP, index)?;
                }
                shared.has_inbound(OP, node, tag)?;
                shared.put_hosts(OP, (node, tag), &hosts).await
            })
            .await
    }

    /// The endpoints that a key would have on an inbound with these hosts: variables filled in, choices made. Nothing
    /// is stored.
    ///
    /// Errors: `NotFound` for the key or the inbound; `InvalidInput` with the `field`.
    #[operation(read)]
    pub async fn preview(
        &self,
        key: impl Into<KeyRef>,
        #[arg(default = NodeId::main())] node: &NodeId,
        tag: &InboundTag,
        hosts: Vec<Host>,
    ) -> Result<Vec<Endpoint>> {
        const OP: &str = "hosts.preview";
        let shared = self.shared(OP)?;
        for (index, host) in hosts.iter().enumerate() {
            host.validate(OP, index)?;
        }
        shared.has_inbound(OP, node, tag)?;
        let key = shared.resolve(OP, &key.into()).await?;
        let known = shared.fresh_subscriptions().await?;
        let mut cache = SubscriptionCache {
            settings: Arc::clone(&known.settings),
            servers: known.servers.clone(),
            ..SubscriptionCache::default()
        };
        cache.hosts.insert((node.clone(), tag.clone()), hosts);
        let mut endpoints = shared.endpoints(&key, &cache, shared.clock.now())?;
        endpoints.retain(|endpoint| endpoint.inbound == *tag);
        Ok(endpoints)
    }

    fn shared(&self, operation: &'static str) -> Result<&Shared> {
        self.engine.shared.open(operation)?;
        Ok(&self.engine.shared)
    }
}

impl Shared {
    /// Checks that there is such an inbound.
    fn has_inbound(&self, op: &'static str, node: &NodeId, tag: &InboundTag) -> Result<()> {
        self.inbound(node, tag).map(drop).ok_or_else(|| no_inbound(op, node, tag))
    }

    /// Credential × inbound × host.
    pub(super) fn endpoints(
        &self,
        key: &Key,
        cache: &SubscriptionCache,
        now: Timestamp,
    ) -> Result<Vec<Endpoint>> {
        let mut endpoints = Vec::new();
        for inbound in self.inbounds().iter().filter(|i| i.serves(key.id, &key.inbounds)) {
            let Some((address, rules)) = self.described(inbound, cache) else { continue };
            let variables = Variables {
                key,
                now,
                utc_offset_minutes: cache.settings.utc_offset_minutes,
                language: cache.settings.language,
                server: &address,
                protocol: inbound.protocol.code(),
                transport: inbound.transport.code(),
            };
            let seed = Seed::of(key, &inbound.tag, now);
            let own = cache.hosts.get(&(inbound.node.clone(), inbound.tag.clone()));
            let default =
                own.is_none().then(|| Host::new("{SERVER_IP} {PROTOCOL} {TRANSPORT}", address.as_str()));
            let hosts = own.map_or(default.as_slice(), Vec::as_slice);
            for (place, host) in hosts.iter().enumerate().filter(|(_, host)| !host.disabled) {
                let host = ResolvedHost::of(host, place, &variables, seed);
                let current = |c: &&Credential| !c.is_replaced() && c.opens(inbound);
                for credential in key.credentials.iter().filter(current) {
                    match rules.endpoint(key.id, credential, inbound, &host) {
                        Ok(endpoint) => endpoints.push(endpoint),
                        Err(e) => {
                            tracing::warn!(inbound = %inbound.tag, error = %e, "an inbound has no endpoint");
                        }
                    }
                }
            }
        }
        Ok(endpoints)
    }

    /// The address of an inbound's server and what is known of its program: of this process, or as another one has told.
    fn described(
        &self,
        inbound: &Inbound,
        cache: &SubscriptionCache,
    ) -> Option<(String, Arc<dyn ServerRules>)> {
        let id = inbound.server.as_ref()?;
        if let Some(server) = self.servers().iter().find(|server| server.id() == id) {
            return Some((server.address.clone(), Arc::clone(&server.rules)));
        }
        let told = cache.servers.get(id)?;
        let rules = self.options.programs.iter().find(|rules| rules.program() == told.program)?;
        Some((told.address.clone(), Arc::clone(rules)))
    }
}
