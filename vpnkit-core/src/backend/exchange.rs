//! What goes between the engine and a server: what it should hold, steps towards that, what it holds. All of it has a stable
//! JSON form, since the server may be on another machine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Fingerprint;
use crate::Timestamp;
use crate::model::{
    CertificateTerm, CredentialKind, CredentialSecret, Cursor, DeviceName, Inbound, InboundTag, KeyId,
    Revocation,
};

/// One credential as it is installed on an inbound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Whose it is.
    pub key: KeyId,
    /// Which of the key's devices.
    pub device: DeviceName,
    /// The secret.
    pub secret: CredentialSecret,
    /// Its number among the addresses of the inbound: [`crate::model::AddressPool::addresses`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<u32>,
    /// The certificate that its client shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateTerm>,
    /// When its key ends: for servers that must end it without being told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The bytes that were left to its key when this was read; `None` is unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<u64>,
}

impl Account {
    /// Makes an account without an end.
    #[must_use]
    pub const fn of(key: KeyId, device: DeviceName, secret: CredentialSecret) -> Self {
        Self { key, device, secret, slot: None, certificate: None, expires_at: None, remaining: None }
    }
}

/// Everything that a server should hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredState {
    /// Grows with every change of the store that may have changed this state: the cursor of its newest event.
    pub revision: Cursor,
    /// Inbounds, each with its accounts sorted by key and device.
    pub inbounds: Vec<(Arc<Inbound>, Vec<Account>)>,
    /// Certificates of these inbounds that must be refused although they are signed and have not expired.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked: Vec<Revocation>,
}

/// What a new credential is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialRequest {
    /// The family of the secret.
    pub protocol: CredentialKind,
    /// The device that will use it.
    pub device: DeviceName,
    /// The only inbound that it is for, where it is for one.
    pub inbound: Option<Arc<Inbound>>,
    /// What a new certificate must say, where the inbound's clients show one.
    pub certificate: Option<CertificateTerm>,
}

impl CredentialRequest {
    /// Asks for a credential for every inbound of its protocol.
    #[must_use]
    pub const fn of(protocol: CredentialKind, device: DeviceName) -> Self {
        Self { protocol, device, inbound: None, certificate: None }
    }
}

/// One step towards the desired state. Every step is idempotent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Add the inbound, or replace the one of its tag, with these accounts.
    PutInbound(Arc<Inbound>, Vec<Account>),
    /// Remove the inbound with all its accounts.
    RemoveInbound(InboundTag),
    /// Install the account on the inbound, or replace the one of its key and device.
    PutAccount(Arc<Inbound>, Account),
    /// Remove the account; removing what is not there is fine.
    RemoveAccount(InboundTag, KeyId, DeviceName),
    /// Refuse a certificate of the inbound from now on, and end its connections; on an inbound that is not there it is
    /// fine.
    Revoke(InboundTag, Revocation),
}

/// What a server holds on one inbound.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedInbound {
    /// Of the inbound's settings; `None` where the server does not tell. Such an inbound is not vpnkit's: it is
    /// neither replaced nor removed.
    pub fingerprint: Option<Fingerprint>,
    /// vpnkit's accounts. Accounts of others are left alone and not listed.
    #[serde(with = "pairs")]
    pub accounts: BTreeMap<(KeyId, DeviceName), Fingerprint>,
    /// Serial numbers of the certificates that are refused.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub revoked: BTreeSet<u64>,
}

/// What a server really holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// By tag; only inbounds that vpnkit may touch.
    pub inbounds: BTreeMap<InboundTag, ObservedInbound>,
}

/// Whether a server answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
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
    #[serde(with = "crate::model::duration_text")]
    #[schemars(with = "crate::model::DurationText")]
    pub uptime: Duration,
    /// What its operator should change, each in one line: a way in that customers have, for instance.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// A map whose keys are pairs, as a list: the keys of JSON's objects are strings.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::{DeviceName, Fingerprint, KeyId};

    type Accounts = BTreeMap<(KeyId, DeviceName), Fingerprint>;

    pub(super) fn serialize<S: Serializer>(accounts: &Accounts, s: S) -> Result<S::Ok, S::Error> {
        accounts.iter().map(|((key, device), print)| (key, device, print)).collect::<Vec<_>>().serialize(s)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Accounts, D::Error> {
        let all = Vec::<(KeyId, DeviceName, Fingerprint)>::deserialize(d)?;
        Ok(all.into_iter().map(|(key, device, print)| ((key, device), print)).collect())
    }
}
