//! Everything a client app needs to connect.

use serde::{Deserialize, Serialize};

use super::{Credential, CredentialSecret, Inbound, InboundTag, KeyId, Security, Transport, VpnProtocol};

/// How clients reach an inbound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Name or IP that clients dial.
    pub address: String,
    /// What the client shows.
    pub remark: String,
}

/// Credential, inbound and host, resolved. Share links and every subscription format render these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Whose it is.
    pub key: KeyId,
    /// The inbound behind it.
    pub inbound: InboundTag,
    /// What the client shows.
    pub remark: String,
    /// Name or IP to dial.
    pub address: String,
    /// Port to dial.
    pub port: u16,
    /// What to speak.
    pub protocol: VpnProtocol,
    /// What to speak it over.
    pub transport: Transport,
    /// What protects it, as the client needs it.
    pub security: ClientSecurity,
    /// The secret.
    pub secret: CredentialSecret,
}

impl Endpoint {
    /// How a client reaches `inbound` through `host` with `credential`.
    #[must_use]
    pub fn of(key: KeyId, credential: &Credential, inbound: &Inbound, host: &Host) -> Self {
        Self {
            key,
            inbound: inbound.tag.clone(),
            remark: host.remark.clone(),
            address: host.address.clone(),
            port: inbound.port,
            protocol: inbound.protocol.clone(),
            transport: inbound.transport.clone(),
            security: ClientSecurity::of(&inbound.security),
            secret: credential.secret.clone(),
        }
    }
}

/// The client's side of [`Security`]: no private keys, no files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ClientSecurity {
    /// Nothing.
    None,
    /// TLS.
    Tls {
        /// The name to ask for.
        sni: String,
        /// Protocols to offer; empty leaves it to the client.
        alpn: Vec<String>,
        /// The browser to look like.
        fingerprint: String,
        /// SHA-256 of the certificate in hex, when it is self-signed.
        pinned_sha256: Option<String>,
    },
    /// REALITY.
    Reality {
        /// The name to ask for.
        sni: String,
        /// The server's X25519 key, base64url.
        public_key: String,
        /// The short id.
        short_id: String,
        /// The browser to look like.
        fingerprint: String,
    },
}

impl ClientSecurity {
    /// The browser that clients look like unless told otherwise.
    pub const FINGERPRINT: &'static str = "chrome";

    /// The client's side of `security`.
    #[must_use]
    pub fn of(security: &Security) -> Self {
        let fingerprint = Self::FINGERPRINT.to_owned();
        match security {
            Security::None => Self::None,
            Security::Tls(tls) => Self::Tls {
                sni: tls.server_name.clone(),
                alpn: tls.alpn.clone(),
                fingerprint,
                pinned_sha256: tls.pinned_sha256.clone(),
            },
            Security::Reality(reality) => Self::Reality {
                sni: reality.server_names.first().cloned().unwrap_or_default(),
                public_key: reality.public_key.clone(),
                short_id: reality.short_ids.first().map(|id| id.as_str().to_owned()).unwrap_or_default(),
                fingerprint,
            },
        }
    }
}
