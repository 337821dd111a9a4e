//! The seam to whatever counts bytes.

use std::fmt::Debug;
use std::net::IpAddr;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{KeyId, ServerId, Traffic};
use crate::{Result, Timestamp};

/// One lifetime of a server's counters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Epoch {
    /// Equal ids mean: the same lifetime, so counters can be compared.
    pub id: String,
    /// What the source needs to recognise this lifetime again after a restart of vpnkit; only it reads this.
    pub evidence: String,
}

/// One key's cumulative counter within an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Whose bytes.
    pub key: KeyId,
    /// Bytes since the epoch began.
    pub traffic: Traffic,
}

/// One look at cumulative counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The lifetime that the counters belong to.
    pub epoch: Epoch,
    /// In any order; several counters of one key are summed.
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
#[async_trait]
pub trait TrafficSource: Debug + Send + Sync {
    /// The server it reads.
    fn server(&self) -> &ServerId;

    /// Reads all counters. `last` is the epoch of the newest reading that was stored; the source answers with an
    /// equal epoch id exactly when its counters go on from there.
    async fn read(&self, last: Option<&Epoch>) -> Result<Reading>;

    /// Who has connections open now.
    async fn online(&self) -> Result<Vec<OnlineKey>>;
}
