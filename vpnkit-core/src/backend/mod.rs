//! The interface to a VPN server program: what is known of it ([`ServerRules`]), and the running server
//! ([`ProtocolBackend`]).

mod capabilities;
mod exchange;
mod fingerprint;
mod rules;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

pub use capabilities::Capabilities;
pub use exchange::{
    Account, Change, CredentialRequest, DesiredState, Health, Observed, ObservedInbound, ServerState,
};
pub use fingerprint::Fingerprint;
pub use rules::ServerRules;

use crate::Result;
use crate::model::{CredentialSecret, Inbound, KeyId, NodeId, ServerId};

/// Where a backend asks for what it should hold, at every (re)start of its server.
#[async_trait]
pub trait Desired: Debug + Send + Sync {
    /// Returns what the store says now.
    async fn desired(&self) -> Result<DesiredState>;

    /// Returns the id of that store: [`crate::store::KeyStore::id`]. Where a server has accounts of others too, vpnkit's carry
    /// it in their name.
    fn store_id(&self) -> &str;
}

/// Drives one VPN server program on one node.
///
/// The store is the truth: whatever a call could not do is found again by comparing [`Self::observe`] with what is
/// desired. No method has a default body: a wrapper that forgets one does not compile.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait ProtocolBackend: Debug + Send + Sync {
    /// `node/program`.
    fn id(&self) -> &ServerId;

    /// The machine it runs on.
    fn node(&self) -> &NodeId;

    /// Returns what is known of the program without asking it.
    fn rules(&self) -> Arc<dyn ServerRules>;

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Makes new secret material for an inbound that has credentials of its own; a certificate says what the request asks
    /// for. Secrets that fit every inbound of a protocol are made without a server.
    async fn issue(&self, request: &CredentialRequest) -> Result<CredentialSecret>;

    /// Starts the server or connects to it, and keeps doing so until [`Self::close`].
    ///
    /// Returns when the server answers, or with the reason why it cannot (a missing binary, a port in use): then nothing
    /// of it is left running, and the engine calls again.
    async fn start(&self, desired: Arc<dyn Desired>) -> Result<()>;

    /// Follows whether the server answers.
    fn state(&self) -> watch::Receiver<ServerState>;

    /// Takes the steps in order; one outcome a step. An outer error means that the server does not answer.
    async fn apply(&self, changes: &[Change]) -> Result<Vec<Result<()>>>;

    /// What the server really holds.
    async fn observe(&self) -> Result<Observed>;

    /// Cuts the open connections of keys that may no longer connect, on these inbounds (all of the server's);
    /// returns how many connections were cut. Nothing happens without [`Capabilities::cut_live`].
    async fn disconnect(&self, keys: &[KeyId], inbounds: &[Arc<Inbound>]) -> Result<usize>;

    /// Version and uptime.
    async fn health(&self) -> Result<Health>;

    /// The newest lines of the server's log, oldest first; empty where the log is not vpnkit's.
    fn log(&self, lines: usize) -> Vec<String>;

    /// Lets go of the server: stops what was started, unless it is configured to keep running. Returns when nothing of this
    /// process is left. The engine may call [`Self::start`] again.
    async fn close(&self) -> Result<()>;

    /// Closes and ends the program, also one that is configured to keep running. Returns when no process, socket or file is left.
    async fn stop(&self) -> Result<()>;
}
