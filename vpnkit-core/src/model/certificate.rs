//! Certificates of clients.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{InboundId, KeyId};
use crate::Timestamp;

/// Which certificate a credential holds, and until when it is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateTerm {
    /// The serial number, unique on its inbound.
    pub serial: u64,
    /// The end of its validity.
    pub expires_at: Timestamp,
}

/// A certificate that is refused although it has not expired: its key was deleted, or it was replaced. It is kept until the
/// certificate expires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// The inbound that it was for.
    pub inbound: InboundId,
    /// The key that had it.
    pub key: KeyId,
    /// The certificate.
    pub certificate: CertificateTerm,
    /// The time from which on it is refused.
    pub revoked_at: Timestamp,
}
