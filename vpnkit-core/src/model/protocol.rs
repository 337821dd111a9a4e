//! What is spoken inside the transport.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::CredentialKind;
use crate::Secret;

/// A Shadowsocks cipher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub enum ShadowsocksMethod {
    /// `aes-128-gcm`
    #[serde(rename = "aes-128-gcm")]
    Aes128Gcm,
    /// `aes-256-gcm`
    #[serde(rename = "aes-256-gcm")]
    Aes256Gcm,
    /// `chacha20-ietf-poly1305`
    #[serde(rename = "chacha20-ietf-poly1305")]
    ChaCha20Poly1305,
    /// `2022-blake3-aes-128-gcm`
    #[serde(rename = "2022-blake3-aes-128-gcm")]
    Blake3Aes128Gcm,
    /// `2022-blake3-aes-256-gcm`
    #[serde(rename = "2022-blake3-aes-256-gcm")]
    Blake3Aes256Gcm,
}

impl ShadowsocksMethod {
    /// Every method.
    pub const ALL: &'static [Self] = &[
        Self::Aes128Gcm,
        Self::Aes256Gcm,
        Self::ChaCha20Poly1305,
        Self::Blake3Aes128Gcm,
        Self::Blake3Aes256Gcm,
    ];

    /// The name in configs and links.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Aes128Gcm => "aes-128-gcm",
            Self::Aes256Gcm => "aes-256-gcm",
            Self::ChaCha20Poly1305 => "chacha20-ietf-poly1305",
            Self::Blake3Aes128Gcm => "2022-blake3-aes-128-gcm",
            Self::Blake3Aes256Gcm => "2022-blake3-aes-256-gcm",
        }
    }

    /// Bytes of a 2022 key; `None` for the older methods, whose secret is a password.
    #[must_use]
    pub const fn key_length(self) -> Option<usize> {
        match self {
            Self::Blake3Aes128Gcm => Some(16),
            Self::Blake3Aes256Gcm => Some(32),
            _ => None,
        }
    }

    /// A user's own key of a 2022 method: as many bytes of the credential as the method wants, in standard base64.
    #[must_use]
    pub fn user_key(self, secret: &super::CredentialSecret) -> Secret {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD;
        let key = Secret::new(secret.expose());
        match (self.key_length(), STANDARD.decode(key.expose())) {
            (Some(length), Ok(bytes)) if length < bytes.len() => {
                Secret::new(STANDARD.encode(bytes.get(..length).unwrap_or(&bytes)))
            }
            _ => key,
        }
    }
}

/// What is spoken inside the transport.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Protocol {
    /// VLESS.
    Vless {
        /// The flow `xtls-rprx-vision`: over TCP with TLS or REALITY only.
        #[serde(default)]
        vision: bool,
    },
    /// VMess.
    Vmess,
    /// Trojan.
    Trojan,
    /// Shadowsocks.
    Shadowsocks {
        /// The cipher.
        method: ShadowsocksMethod,
        /// The server's key of a 2022 method, in standard base64.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        server_key: Option<Secret>,
    },
}

impl Protocol {
    /// The name in JSON, and of the variable `{PROTOCOL}`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Vless { .. } => "vless",
            Self::Vmess => "vmess",
            Self::Trojan => "trojan",
            Self::Shadowsocks { .. } => "shadowsocks",
        }
    }

    /// Which credentials open it.
    #[must_use]
    pub fn credential(&self) -> CredentialKind {
        match self {
            Self::Vless { .. } => CredentialKind::Vless,
            Self::Vmess => CredentialKind::Vmess,
            Self::Trojan => CredentialKind::Trojan,
            Self::Shadowsocks { method, .. } if method.key_length().is_some() => {
                CredentialKind::Shadowsocks2022
            }
            Self::Shadowsocks { .. } => CredentialKind::Shadowsocks,
        }
    }
}
