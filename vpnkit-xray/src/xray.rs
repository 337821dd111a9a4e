//! The backend.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vpnkit_core::backend::{
    Capabilities, Change, CredentialRequest, Desired, Health, Observed, ProtocolBackend, ServerRules,
    ServerState,
};
use vpnkit_core::model::{CredentialSecret, Inbound, KeyId, NodeId, ServerId};
use vpnkit_core::{Error, ErrorKind, Result};

use crate::account::Names;
use crate::api::{Api, ApiAddress};
use crate::config::{AttachedXray, XrayConfig};
use crate::egress;
use crate::home::Home;
use crate::inner::Inner;
use crate::loaded::Loaded;
use crate::managed;
use crate::rules::XrayRules;
use crate::{attached, cut, version};

/// One Xray: backend and traffic source.
#[derive(Debug)]
pub struct Xray {
    pub(crate) inner: Arc<Inner>,
    config: XrayConfig,
    tasks: TaskTracker,
}

impl Xray {
    /// Takes a description; nothing is started yet. To be called inside a tokio runtime.
    ///
    /// Errors: `InvalidConfig` with the `field`.
    pub fn new(config: XrayConfig) -> Result<Self> {
        config.validate()?;
        let address = match &config {
            XrayConfig::Managed(managed) => ApiAddress::Unix(managed.directory.join("api.sock")),
            XrayConfig::Attached(attached) => ApiAddress::parse(&attached.api)?,
        };
        let inner = Inner {
            id: config.id(),
            managed: matches!(config, XrayConfig::Managed(_)),
            sniffing: match &config {
                XrayConfig::Managed(managed) => egress::sniffing(&managed.egress),
                XrayConfig::Attached(_) => None,
            },
            running: Mutex::new(None),
            stored: watch::Sender::new(false),
            last_reading: Mutex::new(None),
            api: Mutex::new(Api::new(&address)?),
            address,
            names: Mutex::default(),
            log: Arc::default(),
            loaded: Loaded::default(),
            state: watch::channel(ServerState::Stopped).0,
            seen: Mutex::new(None),
            version: Mutex::new(None),
            lifetimes: Mutex::new(0),
            stop: Mutex::new(CancellationToken::new()),
            ends: AtomicBool::new(false),
        };
        Ok(Self { inner: Arc::new(inner), config, tasks: TaskTracker::new() })
    }

    /// A managed Xray has a socket file and blocks what is private; of an attached one only the API's address is known.
    fn warnings(&self) -> Vec<String> {
        let mut warnings = self.ways_in();
        let over_grpc =
            self.inner.loaded.map().values().any(|loaded| loaded.ours.is_some_and(|ours| ours.grpc));
        if over_grpc && self.cuts() {
            warnings.push(
                "customers of a gRPC inbound tell this Xray any address as theirs (`x-real-ip`): cutting misses them, or hits \
                 others"
                    .to_owned(),
            );
        }
        warnings
    }

    fn ways_in(&self) -> Vec<String> {
        match (&self.config, &self.inner.address) {
            (XrayConfig::Attached(_), ApiAddress::Tcp(address)) => vec![format!(
                "the API at {address} has no password, and unless the routing of this Xray blocks private addresses its \
                 customers reach it and read everybody's credentials: give the API a socket file"
            )],
            (XrayConfig::Managed(managed), _) if managed.egress.blocked().is_empty() => vec![
                "`egress.allow` has everything: customers reach this machine, its networks and the metadata of its cloud"
                    .to_owned(),
            ],
            _ => Vec::new(),
        }
    }

    fn cuts(&self) -> bool {
        self.asked_to_cut() && cut::permitted()
    }

    fn asked_to_cut(&self) -> bool {
        match &self.config {
            XrayConfig::Managed(managed) => managed.cut_connections,
            XrayConfig::Attached(attached) => attached.cut_connections,
        }
    }

    /// The program, and a private directory for its input.
    pub(crate) fn program(&self) -> Option<(&Path, PathBuf)> {
        match &self.config {
            XrayConfig::Managed(managed) => Some((&managed.binary, managed.directory.clone())),
            XrayConfig::Attached(AttachedXray { binary, .. }) => {
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

    /// The addresses that these keys are online from.
    async fn addresses(&self, keys: &[KeyId]) -> Result<HashSet<IpAddr>> {
        let keys: HashSet<KeyId> = keys.iter().copied().collect();
        let online = self.inner.online(|key| keys.contains(&key)).await?;
        let addresses = online.into_iter().flat_map(|(_, addresses)| addresses);
        Ok(addresses.map(|(address, _)| address.to_canonical()).collect())
    }
}

#[async_trait]
impl ProtocolBackend for Xray {
    fn id(&self) -> &ServerId {
        &self.inner.id
    }

    fn node(&self) -> &NodeId {
        self.config.node()
    }

    fn rules(&self) -> Arc<dyn ServerRules> {
        Arc::new(XrayRules)
    }

    fn capabilities(&self) -> Capabilities {
        let live_counters = match &self.config {
            XrayConfig::Managed(managed) => managed.live_accounting,
            XrayConfig::Attached(attached) => attached.live_accounting,
        };
        let mut capabilities = Capabilities::NONE;
        capabilities.live_accounts = true;
        capabilities.live_inbounds = self.program().is_some();
        capabilities.live_counters = live_counters;
        capabilities.cut_live = self.cuts();
        capabilities.online_addresses = true;
        capabilities.managed = self.inner.managed;
        capabilities.keeps_running = match &self.config {
            XrayConfig::Managed(managed) => managed.keep_running,
            XrayConfig::Attached(_) => true,
        };
        capabilities
    }

    async fn issue(&self, request: &CredentialRequest) -> Result<CredentialSecret> {
        Ok(CredentialSecret::generate(request.protocol))
    }

    async fn start(&self, desired: Arc<dyn Desired>) -> Result<()> {
        if self.asked_to_cut() && !cut::permitted() {
            tracing::warn!(server = %self.inner.id, "connections are not cut: CAP_NET_ADMIN is missing");
        }
        if !self.tasks.is_empty() {
            // A start that nobody waited for goes on: two would have one directory.
            self.close().await?;
        }
        if self.tasks.is_closed() {
            self.tasks.reopen();
            *self.inner.stop.lock().unwrap_or_else(PoisonError::into_inner) = CancellationToken::new();
        }
        let names = Names::of_store(desired.store_id());
        *self.inner.names.lock().unwrap_or_else(PoisonError::into_inner) = names;
        match &self.config {
            XrayConfig::Managed(config) => {
                let version = version::probe(&config.binary).await?;
                *self.inner.version.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some(version.to_string());
                let home = Home::lock(&config.directory, desired.store_id(), &self.inner.id)?;
                let ApiAddress::Unix(socket) = self.inner.address.clone() else {
                    return Err(Error::new(
                        ErrorKind::Unexpected,
                        "xray.start",
                        "the API is not a socket file",
                    ));
                };
                let (first, started) = oneshot::channel();
                let inner = Arc::clone(&self.inner);
                let keeper = managed::Keeper {
                    inner,
                    config: config.clone(),
                    home: Arc::new(home),
                    socket,
                    desired,
                    version: version.to_string(),
                };
                self.tasks.spawn(keeper.supervise(first));
                started.await.map_err(|_| Error::new(ErrorKind::Closed, "xray.start", "vpnkit is closed"))?
            }
            XrayConfig::Attached(config) => {
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
            Change::PutInbound(..) | Change::RemoveInbound(_) | Change::Revoke(..) => 1,
        });
        let width = width.min().unwrap_or(1);
        let mut outcomes = Vec::with_capacity(changes.len());
        // What is removed is gone before anything is added after it: a secret may go from one key to another.
        // From one account of a key to another, too: Xray forgets a secret with the account that had it last.
        let old = |change: &Change| matches!(change, Change::PutAccount(_, a) if a.device.is_replaced());
        let waits = |before: &Change, after: &Change| {
            (matches!(before, Change::RemoveAccount(..)) && matches!(after, Change::PutAccount(..)))
                || (old(after) && !old(before))
        };
        for run in changes.chunk_by(|before, after| !waits(before, after)) {
            let steps: Vec<_> = run.iter().map(|change| self.step(change)).collect();
            let mut running = futures_util::stream::iter(steps).buffered(width);
            while let Some(outcome) = running.next().await {
                match outcome {
                    // It may have died of the last call: nothing more is sent before it was looked at.
                    Err(e) if matches!(e.kind(), ErrorKind::Unavailable | ErrorKind::Timeout) => {
                        return Err(e);
                    }
                    outcome => outcomes.push(outcome),
                }
            }
        }
        Ok(outcomes)
    }

    async fn observe(&self) -> Result<Observed> {
        self.require_up("xray.observe")?;
        self.observed().await
    }

    async fn disconnect(&self, keys: &[KeyId], inbounds: &[Arc<Inbound>]) -> Result<usize> {
        const LIMIT: Duration = Duration::from_secs(10);
        if !self.cuts() {
            return Ok(0);
        }
        let addresses = self.addresses(keys).await?;
        if addresses.is_empty() {
            return Ok(0);
        }
        let ports: Vec<u16> = inbounds.iter().map(|inbound| inbound.port).collect();
        let fault = |message: &str| Error::new(ErrorKind::PermissionDenied, "xray.disconnect", message);
        let cut = tokio::task::spawn_blocking(move || cut::close(&ports, &addresses));
        match tokio::time::timeout(LIMIT, cut).await {
            Ok(Ok(Ok(count))) => Ok(count),
            Ok(Ok(Err(e))) => Err(fault("the kernel does not close connections").caused_by(e)),
            Ok(Err(_)) | Err(_) => Err(fault("closing connections did not end in time")),
        }
    }

    async fn health(&self) -> Result<Health> {
        let system = self.inner.api().system().await?;
        let version = self.inner.version.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Health {
            version: version.unwrap_or_else(|| "unknown".to_owned()),
            uptime: Duration::from_secs(system.uptime_secs),
            warnings: self.warnings(),
        })
    }

    fn log(&self, lines: usize) -> Vec<String> {
        self.inner.log.newest(lines)
    }

    async fn stop(&self) -> Result<()> {
        self.inner.ends.store(true, Ordering::Release);
        let closed = self.close().await;
        self.inner.ends.store(false, Ordering::Release);
        closed
    }

    async fn close(&self) -> Result<()> {
        self.inner.stop().cancel();
        self.tasks.close();
        self.tasks.wait().await;
        Ok(())
    }
}

impl Drop for Xray {
    fn drop(&mut self) {
        // Ends the supervisor, and with it a process that is not to keep running; nobody waits for it here.
        self.inner.stop().cancel();
    }
}
