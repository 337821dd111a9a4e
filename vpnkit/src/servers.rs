//! Servers of a kit.

use std::ops::Deref;

use vpnkit_core::Result;
use vpnkit_engine::engine::{self, Engine, ServerParts, ServerStatus};
use vpnkit_engine::operation::OnEngine;
use vpnkit_macros::operations;

use crate::ServerConfig;

/// Adds and removes servers, tells how they do, and compares them with the store.
#[derive(Clone, Debug)]
pub struct Servers {
    engine: engine::Servers,
}

impl Deref for Servers {
    type Target = engine::Servers;

    fn deref(&self) -> &engine::Servers {
        &self.engine
    }
}

impl OnEngine for Servers {
    fn engine(&self) -> &Engine {
        self.engine.engine()
    }
}

#[operations(noun = "servers", handle = Self::of)]
impl Servers {
    pub(crate) fn of(engine: &Engine) -> Self {
        Self { engine: engine.servers() }
    }

    /// Takes a server in and starts it. One that does not start is `down`, and tried again.
    ///
    /// It belongs to this kit until it is removed or the kit is closed; what the configuration lists is what a kit begins
    /// with.
    ///
    /// Errors: `InvalidInput` with the `field` that cannot be read; `InvalidConfig` with the `field` that does not fit, or when
    /// there is a server of this node and name.
    #[operation(change)]
    pub async fn add(&self, #[arg(record)] server: ServerConfig) -> Result<ServerStatus> {
        self.engine.add_parts(parts(server).map_err(|e| e.during("servers.add"))?).await
    }
}

/// The parts of a server that vpnkit knows.
#[cfg(feature = "xray")]
pub(crate) fn parts(config: ServerConfig) -> Result<ServerParts> {
    let config = vpnkit_xray::XrayConfig::from(config);
    let address = config.address().to_owned();
    let xray = std::sync::Arc::new(vpnkit_xray::Xray::new(config)?);
    Ok(ServerParts { backend: xray.clone(), source: xray, address })
}

#[cfg(not(feature = "xray"))]
pub(crate) fn parts(config: ServerConfig) -> Result<ServerParts> {
    match config {}
}
