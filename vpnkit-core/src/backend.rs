//! The seam to a VPN server program.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use crate::Result;
use crate::model::{
    Credential, CredentialKind, CredentialSecret, DeviceName, Endpoint, Inbound, InboundTag, KeyId, NodeId,
    ServerId,
};
use crate::subscription::ResolvedHost;

/// What a server can do: data, constant for the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Capabilities {
    /// Accounts come and go without a restart.
    pub live_accounts: bool,
    /// Inbounds come and go without a restart.
    pub live_inbounds: bool,
    /// Counters follow open connections; otherwise some bytes appear only when a connection ends.
    pub live_counters: bool,
    /// Open connections of a key that may no longer connect are cut; otherwise they run to their end.
    pub cut_live: bool,
    /// Says which addresses a key is online from.
    pub online_addresses: bool,
    /// vpnkit starts, restarts and stops the server.
    pub managed: bool,
}

impl Capabilities {
    /// Nothing.
    pub const NONE: Self = Self {
        live_accounts: false,
        live_inbounds: false,
        live_counters: false,
        cut_live: false,
        online_addresses: false,
        managed: false,
    };
}

/// One credential as it is installed on an inbound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Whose it is.
    pub key: KeyId,
    /// Which of the key's devices.
    pub device: DeviceName,
    /// The secret.
    pub secret: CredentialSecret,
}

/// Everything that a server should hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DesiredState {
    /// Inbounds, each with its accounts sorted by key and device.
    pub inbounds: Vec<(Arc<Inbound>, Vec<Account>)>,
}

/// Where a backend asks for what it should hold, at every (re)start of its server.
#[async_trait]
pub trait Desired: Debug + Send + Sync {
    /// Read from the store at this moment.
    async fn desired(&self) -> Result<DesiredState>;
}

/// One step towards the desired state. Every step is idempotent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Add the inbound, or replace the one of its tag, with these accounts.
    PutInbound(Arc<Inbound>, Vec<Account>),
    /// Remove the inbound with all its accounts.
    RemoveInbound(InboundTag),
    /// Install the account on the inbound, or replace the one of its key and device.
    PutAccount(Arc<Inbound>, Account),
    /// Remove the account; removing what is not there is fine.
    RemoveAccount(InboundTag, KeyId, DeviceName),
}

/// A number that is equal exactly when two things are installed alike, in every build of vpnkit and on every machine.
/// Secrets cannot be read from it.
///
/// ```
/// use vpnkit_core::backend::Fingerprint;
/// assert_eq!(Fingerprint::of(["a", "b"]), Fingerprint::of(["a", "b"]));
/// assert_ne!(Fingerprint::of(["a", "b"]), Fingerprint::of(["ab"]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    /// The form of what is hashed; another one makes every fingerprint another.
    const VERSION: &'static [u8] = b"vpnkit fingerprint 1";

    /// Hashes parts: the first 8 bytes of SHA-256 over the version and each part behind its length.
    pub fn of<T: AsRef<[u8]>>(parts: impl IntoIterator<Item = T>) -> Self {
        let mut hash = Sha256::new_with_prefix(Self::VERSION);
        for part in parts {
            let part = part.as_ref();
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        let digest: [u8; 32] = hash.finalize().into();
        let (first, _) = digest.split_first_chunk().unwrap_or((&[0; 8], &[]));
        Self(u64::from_be_bytes(*first))
    }
}

/// What a server holds on one inbound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedInbound {
    /// Of the inbound's settings; `None` where the server does not tell. Such an inbound is not vpnkit's: it is
    /// neither replaced nor removed.
    pub fingerprint: Option<Fingerprint>,
    /// vpnkit's accounts. Accounts of others are left alone and not listed.
    pub accounts: BTreeMap<(KeyId, DeviceName), Fingerprint>,
}

/// What a server really holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// By tag; only inbounds that vpnkit may touch.
    pub inbounds: BTreeMap<InboundTag, ObservedInbound>,
}

/// Whether a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// Not started yet, or closed.
    Stopped,
    /// It answers; the number grows with each restart that was noticed.
    Up {
        /// How many lifetimes were seen.
        lifetime: u64,
    },
    /// It does not answer.
    Down {
        /// Why, in one line.
        reason: String,
    },
}

/// A server's own account of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// The program's version.
    pub version: String,
    /// How long it has been running.
    pub uptime: Duration,
}

/// Drives one VPN server program on one node.
///
/// The store is the truth: whatever a call could not do is found again by comparing [`Self::observe`] with what is
/// desired. No method has a default body: a wrapper that forgets one does not compile.
#[async_trait]
pub trait ProtocolBackend: Debug + Send + Sync {
    /// `node/program`.
    fn id(&self) -> &ServerId;

    /// The machine it runs on.
    fn node(&self) -> &NodeId;

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Whether the server can run this inbound; the error names the field. No I/O.
    fn check(&self, inbound: &Inbound) -> Result<()>;

    /// New secret material.
    async fn issue(&self, protocol: CredentialKind, device: &DeviceName) -> Result<CredentialSecret>;

    /// Starts the server or connects to it, and keeps doing so until [`Self::close`].
    ///
    /// Returns when the server answers, or with the reason why it cannot (a missing binary, a port in use).
    async fn start(&self, desired: Arc<dyn Desired>) -> Result<()>;

    /// Follows whether the server answers.
    fn state(&self) -> watch::Receiver<ServerState>;

    /// Takes the steps in order; one outcome a step. An outer error means that the server does not answer.
    async fn apply(&self, changes: &[Change]) -> Result<Vec<Result<()>>>;

    /// What the server really holds.
    async fn observe(&self) -> Result<Observed>;

    /// The fingerprint that [`Self::observe`] shows for this account once it is installed. Pure.
    fn account_fingerprint(&self, inbound: &Inbound, account: &Account) -> Fingerprint;

    /// The fingerprint that [`Self::observe`] shows for this inbound once it is installed. Pure.
    fn inbound_fingerprint(&self, inbound: &Inbound) -> Fingerprint;

    /// Cuts the open connections of keys that may no longer connect, on these inbounds (all of the server's);
    /// returns how many connections were cut. Nothing happens without [`Capabilities::cut_live`].
    async fn disconnect(&self, keys: &[KeyId], inbounds: &[Arc<Inbound>]) -> Result<usize>;

    /// What a client needs to connect. Pure.
    fn endpoint(
        &self,
        key: KeyId,
        credential: &Credential,
        inbound: &Inbound,
        host: &ResolvedHost,
    ) -> Result<Endpoint>;

    /// Version and uptime.
    async fn health(&self) -> Result<Health>;

    /// The newest lines of the server's log, oldest first; empty where the log is not vpnkit's.
    fn log(&self, lines: usize) -> Vec<String>;

    /// Stops what was started. Returns when no process, socket or file is left.
    async fn close(&self) -> Result<()>;
}
