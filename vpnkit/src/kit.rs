//! The facade.

use std::sync::Arc;

use vpnkit_core::engine::{Engine, Events, Inbounds, Keys, ServerParts, Servers, TrafficView};
use vpnkit_core::store::{KeyStore, memory::MemoryStore};
use vpnkit_core::{Clock, Result, Secret, SystemClock};

use crate::config::{Config, ServerConfig, StoreConfig};

/// Keys, limits, traffic and servers in this process. Clones share it.
///
/// Call [`Self::close`] in the end: it reads the counters a last time, stops managed servers and releases the
/// store. Dropping the last clone stops everything too, but waits for nothing.
#[derive(Clone, Debug)]
pub struct VpnKit {
    engine: Engine,
}

impl VpnKit {
    /// Opens the store, starts the servers and the background work.
    ///
    /// Errors: `InvalidConfig`; those of the store (`StoreLocked`, `StoreTooNew`, `StoreNotRecognized`, …); those of
    /// starting a server (`BinaryMissing`, `VersionUnsupported`, `PortInUse`, `InUse`, `Rejected`).
    pub async fn open(config: Config) -> Result<Self> {
        Self::open_with_clock(config, Arc::new(SystemClock)).await
    }

    /// The same with a clock of your own, for tests of time.
    pub async fn open_with_clock(config: Config, clock: Arc<dyn Clock>) -> Result<Self> {
        config.validate()?;
        let options = config.options();
        let servers = config.servers.into_iter().map(parts).collect::<Result<Vec<_>>>()?;
        let store: Arc<dyn KeyStore> = match config.store {
            StoreConfig::Memory => Arc::new(MemoryStore::new()),
            StoreConfig::Sqlite(path) => open_sqlite(path, config.passphrase).await?,
        };
        let engine = match Engine::open(Arc::clone(&store), clock, options, servers).await {
            Ok(engine) => engine,
            Err(e) => {
                store.close().await?;
                return Err(e);
            }
        };
        Ok(Self { engine })
    }

    /// A kit from parts of your own: a store, a clock, servers that vpnkit does not know.
    #[must_use]
    pub fn from_engine(engine: Engine) -> Self {
        Self { engine }
    }

    /// Keys: create, find, change, delete.
    #[must_use]
    pub fn keys(&self) -> Keys {
        self.engine.keys()
    }

    /// Inbounds: add, change, remove.
    #[must_use]
    pub fn inbounds(&self) -> Inbounds {
        self.engine.inbounds()
    }

    /// Traffic: history, who is online.
    #[must_use]
    pub fn traffic(&self) -> TrafficView {
        self.engine.traffic()
    }

    /// Events: from a cursor on.
    #[must_use]
    pub fn events(&self) -> Events {
        self.engine.events()
    }

    /// Servers: status, log, reconcile.
    #[must_use]
    pub fn servers(&self) -> Servers {
        self.engine.servers()
    }

    /// Does at once what background work does in its intervals; see [`Engine::tick`].
    pub async fn tick(&self) -> Result<()> {
        self.engine.tick().await
    }

    /// Reads the counters a last time, stops managed servers, releases the store.
    pub async fn close(&self) -> Result<()> {
        self.engine.close().await
    }
}

#[cfg(feature = "sqlite")]
async fn open_sqlite(path: std::path::PathBuf, passphrase: Option<Secret>) -> Result<Arc<dyn KeyStore>> {
    use vpnkit_core::store::sqlite::{SqliteOptions, SqliteStore};
    Ok(Arc::new(SqliteStore::open(path, SqliteOptions { passphrase, ..SqliteOptions::default() }).await?))
}

#[cfg(not(feature = "sqlite"))]
#[allow(clippy::unused_async, reason = "the same signature as with the feature")]
async fn open_sqlite(_path: std::path::PathBuf, _passphrase: Option<Secret>) -> Result<Arc<dyn KeyStore>> {
    use vpnkit_core::{Error, ErrorKind};
    Err(Error::new(ErrorKind::Unsupported, "open", "this vpnkit was built without the feature `sqlite`"))
}

#[cfg(feature = "xray")]
fn parts(config: ServerConfig) -> Result<ServerParts> {
    let ServerConfig::Xray(config) = config;
    let host = vpnkit_core::model::Host { address: config.address.clone(), remark: config.address.clone() };
    let xray = Arc::new(vpnkit_xray::Xray::new(config)?);
    Ok(ServerParts { backend: xray.clone(), source: xray, hosts: vec![host] })
}

#[cfg(not(feature = "xray"))]
fn parts(config: ServerConfig) -> Result<ServerParts> {
    match config {}
}
