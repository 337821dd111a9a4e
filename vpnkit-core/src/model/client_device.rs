//! Devices that fetch subscriptions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::KeyId;
use crate::Timestamp;

/// A device that has fetched a key's subscription, as the client app names it (`x-hwid` and its family). Apps say what
/// they like, so this keeps honest customers to what they paid for; it does not stop forgers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClientDevice {
    /// Whose subscription.
    pub key: KeyId,
    /// `x-hwid`: unique for the key.
    pub id: String,
    /// `x-device-os`: Android, iOS, Windows.
    pub os: Option<String>,
    /// `x-ver-os`.
    pub os_version: Option<String>,
    /// `x-device-model`.
    pub model: Option<String>,
    /// The app.
    pub user_agent: Option<String>,
    /// When it came first.
    pub first_seen: Timestamp,
    /// When it came last, to the hour.
    pub last_seen: Timestamp,
}
