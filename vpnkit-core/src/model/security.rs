//! What protects the transport: TLS and REALITY.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{KeyRotation, PreviousKeys};
use crate::{Error, Result, Secret, Timestamp};

/// A REALITY short id: up to 16 hexadecimal digits, an even number of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(into = "String")]
pub struct ShortId(String);

impl ShortId {
    /// Checks and takes a short id.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        if text.len() > 16 || text.len() % 2 != 0 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Error::invalid(
                "inbound.short_id",
                "short_ids",
                "up to 16 hexadecimal digits, an even number",
            )
            .with("value", text));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }

    /// A random one of 16 digits.
    #[must_use]
    pub fn generate() -> Self {
        Self(format!("{:016x}", rand::random::<u64>()))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ShortId {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        Self::new(text)
    }
}

impl From<ShortId> for String {
    fn from(id: ShortId) -> Self {
        id.0
    }
}

/// TLS of an inbound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The name on the certificate, which clients send as SNI.
    pub server_name: String,
    /// PEM chain.
    #[schemars(extend("format" = "path"))]
    pub certificate_file: PathBuf,
    /// PEM key.
    #[schemars(extend("format" = "path"))]
    pub key_file: PathBuf,
    /// Offered protocols; empty leaves it to the server.
    #[serde(default)]
    pub alpn: Vec<String>,
    /// SHA-256 of the certificate in hex, which clients of a self-signed one pin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned_sha256: Option<String>,
}

/// REALITY of an inbound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reality {
    /// The real TLS 1.3 site behind it: `host:port`.
    pub dest: String,
    /// The names that clients may send; each key gets one of them.
    pub server_names: Vec<String>,
    /// X25519, base64url without padding. Left out, it is the one that the inbound has, or a new one. With `rotation` it is the one to
    /// begin with.
    #[serde(default, skip_serializing_if = "Secret::is_empty")]
    pub private_key: Secret,
    /// Belongs to `private_key`; goes into links. Left out, it is computed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub public_key: String,
    /// Each key gets one of them. Left out, they are those that the inbound has, or a new one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub short_ids: Vec<ShortId>,
    /// When it gets new keys by itself, counted from the last change of keys; `None` is never. Links with those of before work for `keep_old` longer: clients that fetch
    /// their subscription in that time notice nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<KeyRotation>,
    /// The keys that it had before, while links with them still work. Given with the keys that the inbound has, it stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousKeys>,
    /// The public keys that it had earlier, the last 50: described with one of those it keeps the keys that it has, so that nothing brings
    /// back what was changed, after a leak for instance. Given with the keys that the inbound has, it stays as it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retired: Vec<String>,
    /// Since when `rotation` counts. Given with the keys that the inbound has, it stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_since: Option<Timestamp>,
}

impl Reality {
    /// REALITY in front of `dest`, the real site of `server_name`. Keys and short ids are those that the inbound has already,
    /// or new ones.
    pub fn at(dest: impl Into<String>, server_name: impl Into<String>) -> Self {
        Self {
            dest: dest.into(),
            server_names: vec![server_name.into()],
            private_key: Secret::default(),
            public_key: String::new(),
            short_ids: Vec::new(),
            rotation: None,
            previous: None,
            retired: Vec::new(),
            keys_since: None,
        }
    }

    /// Sets when it gets new keys by itself.
    #[must_use]
    pub const fn rotation(mut self, rotation: KeyRotation) -> Self {
        self.rotation = Some(rotation);
        self
    }
}

/// What protects the transport.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Security {
    /// Nothing of its own.
    #[default]
    None,
    /// TLS.
    Tls(Tls),
    /// REALITY.
    Reality(Reality),
}

impl Security {
    /// The name in configs and links.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Tls(_) => "tls",
            Self::Reality(_) => "reality",
        }
    }
}
