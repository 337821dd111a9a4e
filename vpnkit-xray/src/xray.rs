//! The backend.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::StreamExt as _;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;
use vpnkit_core::backend::{
    Account, Capabilities, Change, Desired, Fingerprint, Health, Observed, ObservedInbound, ProtocolBackend,
    ServerState,
};
use vpnkit_core::model::{
    ClientSecurity, Credential, CredentialSecret, Device, Endpoint, Host, Inbound, InboundTag, KeyId, NodeId,
    Protocol, ServerId,
};
use vpnkit_core::{Error, ErrorKind, Result};

use crate::account::{self, email, parse_email};
use crate::api::{Api, ApiAddress};
use crate::config::{AttachedXray, XrayConfig, XrayMode};
use crate::epoch::Evidence;
use crate::fault::{Answer, answer, convert};
use crate::managed::{self, Home};
use crate::process::Log;
use crate::{attached, command, cut, rules, server_config, version};

/// Calls that are under way at once, where Xray's user table allows it.
const IN_FLIGHT: usize = 32;
/// Accounts that come with their inbound; the others follow. Xray takes messages of at most 4 MiB.
const WITH_INBOUND: usize = 10_000;

/// One Xray: backend and traffic source.
#[derive(Debug)]
pub struct Xray {
    pub(crate) inner: Arc<Inner>,
    config: XrayConfig,
    tasks: TaskTracker,
}

/// What the background task shares.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) id: ServerId,
    pub(crate) managed: bool,
    /// Tells the processes that one vpnkit starts from those of another.
    pub(crate) instance: uuid::Uuid,
    pub(crate) address: ApiAddress,
    api: Mutex<Api>,
    pub(crate) log: Arc<Log>,
    pub(crate) loaded: Loaded,
    pub(crate) state: watch::Sender<ServerState>,
    pub(crate) seen: Mutex<Option<(String, Evidence, Instant)>>,
    version: Mutex<Option<String>>,
    lifetimes: Mutex<u64>,
    pub(crate) stop: CancellationToken,
}

/// What is known of the inbounds of the running process.
#[derive(Debug, Default)]
pub(crate) struct Loaded(Mutex<HashMap<String, LoadedInbound>>);

#[derive(Clone, Debug)]
struct LoadedInbound {
    /// Type of its settings, which is the protocol of its accounts.
    kind: String,
    /// As vpnkit has added it; `None` when it came with the config of an attached Xray.
    ours: Option<Arc<Inbound>>,
}

impl Loaded {
    fn map(&self) -> MutexGuard<'_, HashMap<String, LoadedInbound>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process was started with these.
    pub(crate) fn replace(&self, inbounds: impl Iterator<Item = Arc<Inbound>>) {
        let mut map = self.map();
        map.clear();
        map.extend(inbounds.map(|inbound| (inbound.tag.as_str().to_owned(), LoadedInbound::of(inbound))));
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

    fn get(&self, tag: &InboundTag) -> Option<LoadedInbound> {
        self.map().get(tag.as_str()).cloned()
    }
}

impl LoadedInbound {
    fn of(inbound: Arc<Inbound>) -> Self {
        Self { kind: account::settings_type(&inbound.protocol).to_owned(), ours: Some(inbound) }
    }

    /// How many changes Xray's user table of this protocol takes at once.
    fn width(&self) -> usize {
        if self.kind.contains("vless") || self.kind.contains("trojan") { IN_FLIGHT } else { 1 }
    }

    /// Whether adding a user twice makes two of it.
    fn takes_duplicates(&self) -> bool {
        self.kind == "xray.proxy.shadowsocks.ServerConfig"
    }
}

impl Inner {
    pub(crate) fn api(&self) -> Api {
        self.api.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// For a new process: the old one's connection is of no use.
    pub(crate) fn renew_api(&self) -> Result<()> {
        let api = Api::new(&self.address)?;
        *self.api.lock().unwrap_or_else(PoisonError::into_inner) = api;
        Ok(())
    }

    /// A process that was not seen before answers.
    pub(crate) fn set_up(&self) {
        let mut lifetimes = self.lifetimes.lock().unwrap_or_else(PoisonError::into_inner);
        *lifetimes += 1;
        self.state.send_replace(ServerState::Up { lifetime: *lifetimes });
    }

    /// The process that was lost answers again.
    pub(crate) fn set_up_again(&self) {
        let lifetimes = self.lifetimes.lock().unwrap_or_else(PoisonError::into_inner);
        self.state.send_replace(ServerState::Up { lifetime: *lifetimes });
    }

    pub(crate) fn set_down(&self, reason: String) {
        self.state.send_if_modified(|state| {
            let fresh = !matches!(state, ServerState::Down { .. });
            if fresh {
                *state = ServerState::Down { reason };
            }
            fresh
        });
    }
}

impl Xray {
    /// Takes a description; nothing is started yet. To be called inside a tokio runtime.
    ///
    /// Errors: `InvalidConfig` with the `field`.
    pub fn new(config: XrayConfig) -> Result<Self> {
        config.validate()?;
        let address = match &config.mode {
            XrayMode::Managed(managed) => ApiAddress::Unix(managed.directory.join("api.sock")),
            XrayMode::Attached(attached) => ApiAddress::parse(&attached.api)?,
        };
        let inner = Inner {
            id: ServerId::new(&config.node, "xray"),
            managed: matches!(config.mode, XrayMode::Managed(_)),
            instance: uuid::Uuid::new_v4(),
            api: Mutex::new(Api::new(&address)?),
            address,
            log: Arc::default(),
            loaded: Loaded::default(),
            state: watch::channel(ServerState::Stopped).0,
            seen: Mutex::new(None),
            version: Mutex::new(None),
            lifetimes: Mutex::new(0),
            stop: CancellationToken::new(),
        };
        Ok(Self { inner: Arc::new(inner), config, tasks: TaskTracker::new() })
    }

    fn cuts(&self) -> bool {
        self.asked_to_cut() && cut::permitted()
    }

    fn asked_to_cut(&self) -> bool {
        match &self.config.mode {
            XrayMode::Managed(managed) => managed.cut_connections,
            XrayMode::Attached(attached) => attached.cut_connections,
        }
    }

    /// The program, and a private directory for its input.
    fn program(&self) -> Option<(&Path, PathBuf)> {
        match &self.config.mode {
            XrayMode::Managed(managed) => Some((&managed.binary, managed.directory.clone())),
            XrayMode::Attached(AttachedXray { binary, .. }) => {
                binary.as_deref().map(|binary| (binary, std::env::temp_dir()))
            }
        }
    }

    fn require_up(&self, operation: &'static str) -> Result<()> {
        match &*self.inner.state.borrow() {
            ServerState::Up { .. } => Ok(()),
            ServerState::Stopped => Err(Error::new(ErrorKind::Unavailable, operation, "Xray is not running")),
            ServerState::Down { reason } => {
                Err(Error::new(ErrorKind::Unavailable, operation, "Xray is down").with("reason", reason))
            }
        }
    }

    async fn step(&self, change: &Change) -> Result<()> {
        match change {
            Change::PutAccount(inbound, account) => self.put_account(inbound, account).await,
            Change::RemoveAccount(tag, key, device) => self.remove_account(tag, *key, device).await,
            Change::PutInbound(inbound, accounts) => self.put_inbound(inbound, accounts).await,
            Change::RemoveInbound(tag) => self.remove_inbound(tag).await,
        }
    }

    async fn put_account(&self, inbound: &Inbound, wanted: &Account) -> Result<()> {
        const OP: &str = "xray.put_account";
        let Some(loaded) = self.inner.loaded.get(&inbound.tag) else {
            return Err(no_inbound(OP, &inbound.tag));
        };
        if loaded.kind != account::settings_type(&inbound.protocol) {
            // A wrong type of account kills Xray.
            return Err(Error::new(ErrorKind::Rejected, OP, "the server's inbound speaks another protocol")
                .with("inbound", &inbound.tag)
                .with("type", &loaded.kind));
        }
        let user = account::user(inbound, wanted)?;
        let (api, tag) = (self.inner.api(), inbound.tag.as_str());
        let failed = |status: Status| convert(OP, &status).with("inbound", tag).with("key", wanted.key);
        if !loaded.takes_duplicates() {
            match api.add_user(tag, user.clone()).await {
                Ok(()) => return Ok(()),
                Err(status) => match answer(&status) {
                    Answer::Exists => {}
                    Answer::NoInbound => return Err(no_inbound(OP, &inbound.tag)),
                    _ => return Err(failed(status)),
                },
            }
        }
        match api.user(tag, &user.email).await.map_err(failed)? {
            Some(held) if account::fingerprint(&held) == account::fingerprint(&user) => return Ok(()),
            Some(_) => self.remove_account(&inbound.tag, wanted.key, &wanted.device).await?,
            None => {}
        }
        api.add_user(tag, user).await.map_err(failed)
    }

    async fn remove_account(&self, tag: &InboundTag, key: KeyId, device: &Device) -> Result<()> {
        let Some(loaded) = self.inner.loaded.get(tag) else { return Ok(()) };
        let api = self.inner.api();
        loop {
            match api.remove_user(tag.as_str(), &email(key, device)).await {
                Ok(()) if loaded.takes_duplicates() => {}
                Ok(()) => return Ok(()),
                Err(status) => match answer(&status) {
                    Answer::NoUser | Answer::NoInbound | Answer::NoUsers => return Ok(()),
                    _ => {
                        return Err(convert("xray.remove_account", &status)
                            .with("inbound", tag)
                            .with("key", key));
                    }
                },
            }
        }
    }

    async fn put_inbound(&self, inbound: &Arc<Inbound>, accounts: &[Account]) -> Result<()> {
        const OP: &str = "xray.put_inbound";
        rules::check(inbound)?;
        let held = self.inner.loaded.get(&inbound.tag);
        if let Some(held) = &held
            && held.ours.as_ref().is_none_or(|ours| ours == inbound)
        {
            // It listens already: replacing it would cost its users their connections.
            return self.replace_accounts(inbound, accounts, held).await;
        }
        let Some((binary, directory)) = self.program() else {
            return Err(Error::new(ErrorKind::Rejected, OP, "the attached Xray has no such inbound")
                .with("inbound", &inbound.tag)
                .hint("add it to that Xray's config, or tell vpnkit where an Xray binary is"));
        };
        let old_port = held.and_then(|held| held.ours).map(|ours| ours.port);
        if self.inner.managed && old_port != Some(inbound.port) {
            managed::port_is_free(inbound)?;
        }
        if old_port.is_some() {
            self.drop_inbound(&inbound.tag).await?;
        }
        let (first, rest) = accounts.split_at(accounts.len().min(WITH_INBOUND));
        let json = server_config::inbound(inbound, first);
        if let Err(e) = command::add_inbound(binary, &self.inner.address, &directory, &json).await {
            // Xray registers the tag before it listens, so a failed one must be taken away.
            self.drop_inbound(&inbound.tag).await?;
            return Err(e.with("inbound", &inbound.tag).with("port", inbound.port));
        }
        let loaded = LoadedInbound::of(Arc::clone(inbound));
        self.inner.loaded.map().insert(inbound.tag.as_str().to_owned(), loaded.clone());
        self.put_accounts(inbound, rest, &loaded).await
    }

    async fn put_accounts(
        &self,
        inbound: &Inbound,
        accounts: &[Account],
        loaded: &LoadedInbound,
    ) -> Result<()> {
        let steps: Vec<_> = accounts.iter().map(|account| self.put_account(inbound, account)).collect();
        let mut running = futures_util::stream::iter(steps).buffered(loaded.width());
        while let Some(outcome) = running.next().await {
            outcome?;
        }
        Ok(())
    }

    /// On an inbound that stays: these accounts and no others of vpnkit's.
    async fn replace_accounts(
        &self,
        inbound: &Inbound,
        accounts: &[Account],
        held: &LoadedInbound,
    ) -> Result<()> {
        let wanted: HashSet<_> = accounts.iter().map(|account| (account.key, &account.device)).collect();
        for (key, device) in self.accounts(&inbound.tag).await? {
            if !wanted.contains(&(key, &device)) {
                self.remove_account(&inbound.tag, key, &device).await?;
            }
        }
        self.put_accounts(inbound, accounts, held).await
    }

    /// vpnkit's accounts on an inbound.
    async fn accounts(&self, tag: &InboundTag) -> Result<Vec<(KeyId, Device)>> {
        let users = self.inner.api().users(tag.as_str()).await;
        let users = users.map_err(|status| convert("xray.accounts", &status).with("inbound", tag))?;
        Ok(users.iter().filter_map(|user| parse_email(&user.email)).collect())
    }

    async fn remove_inbound(&self, tag: &InboundTag) -> Result<()> {
        match self.inner.loaded.get(tag) {
            None => Ok(()),
            Some(LoadedInbound { ours: Some(_), .. }) => self.drop_inbound(tag).await,
            // Not vpnkit's to remove; its accounts are.
            Some(_) => {
                for (key, device) in self.accounts(tag).await? {
                    self.remove_account(tag, key, &device).await?;
                }
                Ok(())
            }
        }
    }

    async fn drop_inbound(&self, tag: &InboundTag) -> Result<()> {
        self.inner.loaded.map().remove(tag.as_str());
        match self.inner.api().remove_inbound(tag.as_str()).await {
            Ok(()) => Ok(()),
            Err(status) if answer(&status) == Answer::NoInbound => Ok(()),
            Err(status) => Err(convert("xray.remove_inbound", &status).with("inbound", tag)),
        }
    }

    /// The addresses that these keys are online from.
    async fn addresses(&self, keys: &[KeyId]) -> Result<HashSet<IpAddr>> {
        let api = self.inner.api();
        let mut all = HashSet::new();
        for email in api.online().await? {
            if parse_email(&email).is_some_and(|(key, _)| keys.contains(&key)) {
                all.extend(api.online_addresses(&email).await?.into_iter().map(|(ip, _)| ip.to_canonical()));
            }
        }
        Ok(all)
    }
}

fn no_inbound(operation: &'static str, tag: &InboundTag) -> Error {
    Error::new(ErrorKind::NotFound, operation, "the server has no such inbound").with("inbound", tag)
}

#[async_trait]
impl ProtocolBackend for Xray {
    fn id(&self) -> &ServerId {
        &self.inner.id
    }

    fn node(&self) -> &NodeId {
        &self.config.node
    }

    fn capabilities(&self) -> Capabilities {
        let live_counters = match &self.config.mode {
            XrayMode::Managed(managed) => managed.live_accounting,
            XrayMode::Attached(attached) => attached.live_accounting,
        };
        let mut capabilities = Capabilities::NONE;
        capabilities.live_accounts = true;
        capabilities.live_inbounds = self.program().is_some();
        capabilities.live_counters = live_counters;
        capabilities.cut_live = self.cuts();
        capabilities.online_addresses = true;
        capabilities.managed = self.inner.managed;
        capabilities
    }

    fn check(&self, inbound: &Inbound) -> Result<()> {
        rules::check(inbound)
    }

    async fn issue(&self, protocol: Protocol, _device: &Device) -> Result<CredentialSecret> {
        Ok(CredentialSecret::generate(protocol))
    }

    async fn start(&self, desired: Arc<dyn Desired>) -> Result<()> {
        if self.asked_to_cut() && !cut::permitted() {
            tracing::warn!(server = %self.inner.id, "connections are not cut: CAP_NET_ADMIN is missing");
        }
        match &self.config.mode {
            XrayMode::Managed(config) => {
                let version = version::probe(&config.binary).await?;
                *self.inner.version.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some(version.to_string());
                let home = Home::lock(&config.directory)?;
                let ApiAddress::Unix(socket) = self.inner.address.clone() else {
                    return Err(Error::new(
                        ErrorKind::Unexpected,
                        "xray.start",
                        "the API is not a socket file",
                    ));
                };
                let (first, heard) = oneshot::channel();
                let inner = Arc::clone(&self.inner);
                self.tasks.spawn(managed::supervise(inner, config.clone(), home, socket, desired, first));
                heard.await.map_err(|_| Error::new(ErrorKind::Closed, "xray.start", "vpnkit is closed"))?
            }
            XrayMode::Attached(config) => {
                if let Some(binary) = &config.binary {
                    version::probe(binary).await?;
                }
                let mut last = None;
                attached::look(&self.inner, &mut last).await;
                self.tasks.spawn(attached::watch(Arc::clone(&self.inner), last));
                Ok(())
            }
        }
    }

    fn state(&self) -> watch::Receiver<ServerState> {
        self.inner.state.subscribe()
    }

    async fn apply(&self, changes: &[Change]) -> Result<Vec<Result<()>>> {
        self.require_up("xray.apply")?;
        let width = changes.iter().map(|change| match change {
            Change::PutAccount(inbound, _) => self.inner.loaded.get(&inbound.tag).map_or(1, |i| i.width()),
            Change::RemoveAccount(tag, ..) => self.inner.loaded.get(tag).map_or(1, |i| i.width()),
            Change::PutInbound(..) | Change::RemoveInbound(_) => 1,
        });
        let width = width.min().unwrap_or(1);
        let steps: Vec<_> = changes.iter().map(|change| self.step(change)).collect();
        let mut running = futures_util::stream::iter(steps).buffered(width);
        let mut outcomes = Vec::with_capacity(changes.len());
        while let Some(outcome) = running.next().await {
            match outcome {
                // It may have died of the last call: nothing more is sent before it was looked at.
                Err(e) if matches!(e.kind(), ErrorKind::Unavailable | ErrorKind::Timeout) => return Err(e),
                outcome => outcomes.push(outcome),
            }
        }
        Ok(outcomes)
    }

    async fn observe(&self) -> Result<Observed> {
        self.require_up("xray.observe")?;
        let mut observed = Observed::default();
        let loaded = self.inner.loaded.map().clone();
        for (tag, loaded) in loaded {
            let Ok(tag) = InboundTag::new(tag) else { continue };
            let users = match self.inner.api().users(tag.as_str()).await {
                Ok(users) => users,
                // It was removed by somebody else, or holds no users.
                Err(status) if matches!(answer(&status), Answer::NoInbound | Answer::NoUsers) => continue,
                Err(status) => return Err(convert("xray.observe", &status).with("inbound", tag)),
            };
            let accounts: BTreeMap<_, _> = users
                .iter()
                .filter_map(|user| Some((parse_email(&user.email)?, account::fingerprint(user))))
                .collect();
            let fingerprint = loaded.ours.map(|inbound| self.inbound_fingerprint(&inbound));
            observed.inbounds.insert(tag, ObservedInbound { fingerprint, accounts });
        }
        Ok(observed)
    }

    fn account_fingerprint(&self, inbound: &Inbound, wanted: &Account) -> Fingerprint {
        account::user(inbound, wanted).map_or(Fingerprint(0), |user| account::fingerprint(&user))
    }

    fn inbound_fingerprint(&self, inbound: &Inbound) -> Fingerprint {
        let mut hasher = DefaultHasher::new();
        serde_json::to_string(inbound).unwrap_or_default().hash(&mut hasher);
        Fingerprint(hasher.finish())
    }

    async fn disconnect(&self, keys: &[KeyId]) -> Result<usize> {
        const LIMIT: Duration = Duration::from_secs(10);
        if !self.cuts() {
            return Ok(0);
        }
        let addresses = self.addresses(keys).await?;
        if addresses.is_empty() {
            return Ok(0);
        }
        let ports: Vec<u16> =
            self.inner.loaded.map().values().filter_map(|i| i.ours.as_ref().map(|i| i.port)).collect();
        let fault = |message: &str| Error::new(ErrorKind::PermissionDenied, "xray.disconnect", message);
        let cut = tokio::task::spawn_blocking(move || cut::close(&ports, &addresses));
        match tokio::time::timeout(LIMIT, cut).await {
            Ok(Ok(Ok(count))) => Ok(count),
            Ok(Ok(Err(e))) => Err(fault("the kernel does not close connections").caused_by(e)),
            Ok(Err(_)) | Err(_) => Err(fault("closing connections did not end in time")),
        }
    }

    fn endpoint(
        &self,
        key: KeyId,
        credential: &Credential,
        inbound: &Inbound,
        host: &Host,
    ) -> Result<Endpoint> {
        Ok(Endpoint {
            key,
            inbound: inbound.tag.clone(),
            remark: host.remark.clone(),
            address: host.address.clone(),
            port: inbound.port,
            protocol: inbound.protocol.clone(),
            transport: inbound.transport.clone(),
            security: ClientSecurity::of(&inbound.security),
            secret: credential.secret.clone(),
        })
    }

    async fn health(&self) -> Result<Health> {
        let system = self.inner.api().system().await?;
        let version = self.inner.version.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Health {
            version: version.unwrap_or_else(|| "unknown".to_owned()),
            uptime: Duration::from_secs(system.uptime_secs),
        })
    }

    fn log(&self, lines: usize) -> Vec<String> {
        self.inner.log.newest(lines)
    }

    async fn close(&self) -> Result<()> {
        self.inner.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        Ok(())
    }
}

impl Drop for Xray {
    fn drop(&mut self) {
        // Ends the supervisor, and with it the process; nobody waits for it here.
        self.inner.stop.cancel();
    }
}
