//! What is known of the inbounds of a running Xray.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use vpnkit_core::backend::{Fingerprint, ServerRules as _};
use vpnkit_core::model::{Inbound, InboundTag, Security, Transport};

use crate::account;
use crate::rules::XrayRules;
use crate::running::RunningInbound;
use crate::server_config::previous_tag;

/// Calls that are under way at once, where Xray's user table allows it.
const IN_FLIGHT: usize = 32;

/// What is known of the inbounds of the running process.
#[derive(Debug, Default)]
pub(crate) struct Loaded(Mutex<HashMap<String, LoadedInbound>>);

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct LoadedInbound {
    /// Type of its settings, which is the protocol of its accounts.
    pub(crate) kind: String,
    /// As vpnkit has added it; `None` when it came with the config of an attached Xray.
    pub(crate) ours: Option<Ours>,
}

/// What is known of an inbound that vpnkit has added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ours {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) port: u16,
    /// Its transport is gRPC, whose clients may tell a wrong address.
    pub(crate) grpc: bool,
}

impl Ours {
    pub(crate) fn of(inbound: &Inbound) -> Self {
        Self {
            fingerprint: XrayRules.inbound_fingerprint(inbound),
            port: inbound.port,
            grpc: matches!(inbound.transport, Transport::Grpc { .. }),
        }
    }
}

impl Loaded {
    pub(crate) fn map(&self) -> MutexGuard<'_, HashMap<String, LoadedInbound>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process was started with these.
    pub(crate) fn replace(&self, inbounds: impl Iterator<Item = Arc<Inbound>>) {
        let mut map = self.map();
        map.clear();
        inbounds.for_each(|inbound| map.extend(LoadedInbound::all(&inbound)));
    }

    /// The process has taken an inbound over.
    pub(crate) fn insert(&self, inbound: &Inbound) {
        self.map().extend(LoadedInbound::all(inbound));
    }

    /// The process has an inbound no more.
    pub(crate) fn remove(&self, tag: &InboundTag) {
        let mut map = self.map();
        map.remove(tag.as_str());
        map.remove(&previous_tag(tag.as_str()));
    }

    /// The tags by which Xray knows an inbound: each has all its accounts.
    pub(crate) fn tags(&self, tag: &InboundTag) -> Vec<String> {
        let (previous, mut tags) = (previous_tag(tag.as_str()), vec![tag.as_str().to_owned()]);
        if self.map().contains_key(&previous) {
            tags.push(previous);
        }
        tags
    }

    /// Whether there is one behind it with its previous REALITY keys: then vpnkit has added both, whichever process it was.
    pub(crate) fn has_previous(&self, tag: &InboundTag) -> bool {
        self.map().contains_key(&previous_tag(tag.as_str()))
    }

    /// The process that was found running has these.
    pub(crate) fn adopt(&self, inbounds: impl Iterator<Item = (String, RunningInbound)>) {
        let mut map = self.map();
        map.clear();
        map.extend(
            inbounds.map(|(tag, held)| (tag, LoadedInbound { kind: held.kind, ours: Some(held.ours) })),
        );
    }

    /// Those that vpnkit has added, by tag.
    pub(crate) fn ours(&self) -> std::collections::BTreeMap<String, RunningInbound> {
        let ours = |(tag, held): (&String, &LoadedInbound)| {
            Some((tag.clone(), RunningInbound { kind: held.kind.clone(), ours: held.ours? }))
        };
        self.map().iter().filter_map(ours).collect()
    }

    /// An attached process says it has these; what vpnkit has added stays known while the process lives.
    pub(crate) fn refresh(&self, kinds: HashMap<String, String>, same_process: bool) {
        let mut map = self.map();
        let mut before = std::mem::take(&mut *map);
        for (tag, kind) in kinds {
            let ours = before.remove(&tag).and_then(|i| i.ours).filter(|_| same_process);
            map.insert(tag, LoadedInbound { kind, ours });
        }
    }

    pub(crate) fn get(&self, tag: &InboundTag) -> Option<LoadedInbound> {
        self.map().get(tag.as_str()).cloned()
    }
}

impl LoadedInbound {
    pub(crate) fn of(inbound: &Inbound) -> Self {
        Self { kind: account::settings_type(&inbound.protocol).to_owned(), ours: Some(Ours::of(inbound)) }
    }

    /// What Xray has for an inbound, by the tags that Xray knows it by.
    fn all(inbound: &Inbound) -> impl Iterator<Item = (String, Self)> {
        let loaded = Self::of(inbound);
        let tag = inbound.tag.as_str();
        let previous = has_previous(inbound).then(|| (previous_tag(tag), loaded.clone()));
        std::iter::once((tag.to_owned(), loaded)).chain(previous)
    }

    /// How many changes Xray's user table of this protocol takes at once.
    pub(crate) fn width(&self) -> usize {
        if self.kind.contains("vless") || self.kind.contains("trojan") { IN_FLIGHT } else { 1 }
    }

    /// Whether adding a user twice makes two of it.
    pub(crate) fn takes_duplicates(&self) -> bool {
        self.kind == "xray.proxy.shadowsocks.ServerConfig"
    }
}

/// Whether an inbound has previous REALITY keys that still work.
pub(crate) fn has_previous(inbound: &Inbound) -> bool {
    matches!(&inbound.security, Security::Reality(reality) if reality.previous.is_some())
}
