//! The interface to what counts bytes.

use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{DeviceName, KeyId, ServerId, Traffic};
use crate::{Result, Timestamp};

/// One lifetime of a server's counters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Epoch {
    /// Equal ids mean: the same lifetime, so counters can be compared.
    pub id: String,
    /// What the source needs to recognise this lifetime again after a restart of vpnkit, and to know which of its readings
    /// was the last one to be stored; only it reads this.
    pub evidence: String,
}

/// What a counter counts where a key has several at once: a session, a peer. Unique within an epoch of its server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Series(Arc<str>);

impl Series {
    /// Names a series. The empty name is that of a key's one counter: `None`.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        (!name.is_empty()).then(|| Self(Arc::from(name)))
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A cumulative counter of one key within an epoch.
///
/// Servers that count by account have one a key. Servers that count by session or by peer name each, and say once that it
/// has ended, with its last count; they may go on saying so until they know that a reading that says it was stored (see
/// [`Epoch::evidence`]): it is counted once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    /// Whose bytes.
    pub key: KeyId,
    /// Which of the key's counters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<Series>,
    /// Bytes since it began.
    pub traffic: Traffic,
    /// It never moves again.
    #[serde(default)]
    pub ended: bool,
}

impl Counter {
    /// Makes the one counter of a key.
    #[must_use]
    pub const fn of(key: KeyId, traffic: Traffic) -> Self {
        Self { key, series: None, traffic, ended: false }
    }

    /// Returns what tells it from the others of its server.
    #[must_use]
    pub fn place(&self) -> (KeyId, Option<&Series>) {
        (self.key, self.series.as_ref())
    }
}

/// One look at cumulative counters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// The lifetime that the counters belong to.
    pub epoch: Epoch,
    /// In any order; several of one key and series are summed.
    pub counters: Vec<Counter>,
    /// Counters on the server that are not vpnkit's: reported, never billed.
    pub foreign: usize,
}

/// A key that has connections open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OnlineKey {
    /// Which key.
    pub key: KeyId,
    /// From where.
    pub addresses: Vec<OnlineAddress>,
}

/// An address that a key is online from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OnlineAddress {
    /// The address.
    pub address: IpAddr,
    /// When it opened its newest connection.
    pub since: Timestamp,
}

/// Reads the counters of one server.
///
/// Counters are cumulative and are never reset by reading. No method has a default body: a wrapper that forgets
/// one does not compile.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait TrafficSource: Debug + Send + Sync {
    /// The server it reads.
    fn server(&self) -> &ServerId;

    /// Reads all counters. `last` is the epoch of the newest reading that was stored; the source answers with an
    /// equal epoch id exactly when its counters go on from there.
    async fn read(&self, last: Option<Epoch>) -> Result<Reading>;

    /// Reads the counters of a few accounts, whose names are their keys and devices; `None` when counters no longer go on from
    /// `epoch`. The work does not grow with the other accounts.
    async fn read_keys(&self, epoch: &Epoch, accounts: &[(KeyId, DeviceName)]) -> Result<Option<Reading>>;

    /// Returns the keys that have connections open, sorted by id.
    async fn online(&self) -> Result<Vec<OnlineKey>>;

    /// Returns where one key has connections open; `None` when it has none. The work does not grow with the other keys.
    async fn online_key(&self, key: KeyId) -> Result<Option<OnlineKey>>;
}
