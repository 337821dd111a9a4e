//! Everything a client app needs to connect.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Credential, CredentialSecret, Fragment, Inbound, InboundTag, KeyId, Noise, Protocol, Security,
    ShadowsocksMethod, Transport,
};
use crate::subscription::ResolvedHost;
use crate::{Error, ErrorKind, Result, Secret};

/// Credential, inbound and host, resolved. Share links and every subscription format render these. Its JSON is
/// [`EndpointRecord`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "EndpointRecord")]
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
    /// What to speak, with its secrets.
    pub proxy: Proxy,
    /// What to speak it over.
    pub transport: Transport,
    /// What protects it, as the client needs it.
    pub security: ClientSecurity,
    /// Whether several streams share a connection.
    pub mux: bool,
    /// How the first packets are cut into pieces.
    pub fragment: Option<Fragment>,
    /// What is sent before the first packet of UDP.
    pub noises: Vec<Noise>,
    /// What HTTP transports name as their user agent.
    pub user_agent: Option<String>,
}

/// Credential, inbound and host, resolved: everything a client app needs to connect. It contains secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Endpoint")]
pub struct EndpointRecord {
    /// Whose it is.
    pub key: KeyId,
    /// The tag of the inbound behind it.
    pub inbound: InboundTag,
    /// What the client shows.
    pub remark: String,
    /// Name or IP to dial.
    pub address: String,
    /// Port to dial.
    pub port: u16,
    /// `vless`, `vmess`, `trojan`, `shadowsocks`, `hysteria2` or `wireguard`.
    pub protocol: String,
    /// What to speak it over.
    pub transport: Transport,
    /// What protects it, as the client needs it.
    pub security: ClientSecurity,
    /// Whether several streams share a connection.
    pub mux: bool,
    /// How the first packets are cut into pieces.
    pub fragment: Option<Fragment>,
    /// What is sent before the first packet of UDP.
    pub noises: Vec<Noise>,
    /// What HTTP transports name as their user agent.
    pub user_agent: Option<String>,
    /// What identifies the customer: a UUID, a password, a private key.
    pub secret: Secret,
    /// The share link. It contains the secret.
    pub link: Secret,
}

impl From<Endpoint> for EndpointRecord {
    fn from(endpoint: Endpoint) -> Self {
        let link = Secret::new(crate::subscription::link(&endpoint));
        let Endpoint {
            key,
            inbound,
            remark,
            address,
            port,
            proxy,
            transport,
            security,
            mux,
            fragment,
            noises,
            user_agent,
        } = endpoint;
        Self {
            key,
            inbound,
            remark,
            address,
            port,
            protocol: proxy.code().to_owned(),
            transport,
            security,
            mux,
            fragment,
            noises,
            user_agent,
            secret: proxy.secret().clone(),
            link,
        }
    }
}

impl JsonSchema for Endpoint {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        EndpointRecord::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        EndpointRecord::json_schema(generator)
    }
}

/// What a client speaks, with its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// VLESS.
    Vless {
        /// The UUID.
        id: Secret,
        /// The flow `xtls-rprx-vision`.
        vision: bool,
    },
    /// VMess.
    Vmess {
        /// The UUID.
        id: Secret,
    },
    /// Trojan.
    Trojan {
        /// The password.
        password: Secret,
    },
    /// Shadowsocks.
    Shadowsocks {
        /// The cipher.
        method: ShadowsocksMethod,
        /// The password; of a 2022 method the server's key and the user's, joined by `:`.
        password: Secret,
    },
    /// Hysteria 2, over QUIC.
    Hysteria2 {
        /// The password.
        password: Secret,
        /// The password of the obfuscation `salamander`.
        obfs: Option<Secret>,
    },
    /// WireGuard.
    WireGuard(WireGuardPeer),
}

/// A client's side of WireGuard. Keys are in standard base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireGuardPeer {
    /// The client's own.
    pub private_key: Secret,
    /// The server's.
    pub public_key: String,
    /// Shared by both.
    pub preshared_key: Option<Secret>,
    /// The client's addresses inside the tunnel.
    pub addresses: Vec<IpAddr>,
    /// Name servers inside the tunnel.
    pub dns: Vec<IpAddr>,
    /// Bytes of the largest packet inside the tunnel.
    pub mtu: u16,
    /// Seconds between two packets that keep a NAT open; 0 is never.
    pub keepalive: u16,
}

impl WireGuardPeer {
    /// Returns the client's addresses with the length of their prefix: one address each.
    #[must_use]
    pub fn prefixes(&self) -> Vec<String> {
        self.addresses.iter().map(|ip| format!("{ip}/{}", if ip.is_ipv4() { 32 } else { 128 })).collect()
    }
}

impl Proxy {
    /// The name in JSON, and of the variable `{PROTOCOL}`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Vless { .. } => "vless",
            Self::Vmess { .. } => "vmess",
            Self::Trojan { .. } => "trojan",
            Self::Shadowsocks { .. } => "shadowsocks",
            Self::Hysteria2 { .. } => "hysteria2",
            Self::WireGuard(_) => "wireguard",
        }
    }

    /// What identifies the customer: a UUID, a password, a private key.
    #[must_use]
    pub const fn secret(&self) -> &Secret {
        match self {
            Self::Vless { id, .. } | Self::Vmess { id } => id,
            Self::Trojan { password }
            | Self::Shadowsocks { password, .. }
            | Self::Hysteria2 { password, .. } => password,
            Self::WireGuard(peer) => &peer.private_key,
        }
    }

    /// How `credential` speaks on an inbound of `protocol`.
    ///
    /// Errors: `InvalidInput` when it is of another protocol.
    pub fn of(protocol: &Protocol, credential: &Credential) -> Result<Self> {
        let text = || Secret::new(credential.secret.expose());
        Ok(match (protocol, &credential.secret) {
            (Protocol::Vless { vision }, CredentialSecret::Vless(_)) => {
                Self::Vless { id: text(), vision: *vision }
            }
            (Protocol::Vmess, CredentialSecret::Vmess(_)) => Self::Vmess { id: text() },
            (Protocol::Trojan, CredentialSecret::Trojan(_)) => Self::Trojan { password: text() },
            (Protocol::Shadowsocks { method, .. }, CredentialSecret::Shadowsocks(_)) => {
                Self::Shadowsocks { method: *method, password: text() }
            }
            (
                Protocol::Shadowsocks { method, server_key: Some(server) },
                CredentialSecret::Shadowsocks2022(_),
            ) => {
                let user = method.user_key(&credential.secret);
                let password = Secret::new(format!("{}:{}", server.expose(), user.expose()));
                Self::Shadowsocks { method: *method, password }
            }
            _ => {
                return Err(Error::new(
                    ErrorKind::InvalidInput,
                    "endpoint",
                    "the credential is not of the inbound's protocol",
                )
                .with("field", "credential")
                .with("protocol", credential.protocol()));
            }
        })
    }
}

impl Endpoint {
    /// How a client reaches `inbound` with `credential`; `host` is the host as this key sees it.
    ///
    /// Errors: `InvalidInput` when the credential is of another protocol.
    pub fn of(key: KeyId, credential: &Credential, inbound: &Inbound, host: &ResolvedHost) -> Result<Self> {
        let security = host.security(&inbound.security);
        Ok(Self {
            key,
            inbound: inbound.tag.clone(),
            remark: host.remark.clone(),
            address: host.address.clone(),
            port: host.port.unwrap_or(inbound.port),
            proxy: Proxy::of(&inbound.protocol, credential)?,
            transport: host.transport(&inbound.transport, &security),
            security,
            mux: host.mux,
            fragment: host.fragment.clone(),
            noises: host.noises.clone(),
            user_agent: host.user_agent.map(str::to_owned),
        })
    }
}

/// The client's side of [`Security`]: no private keys, no files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schemars(extend("x-prefix" = "Client"))]
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
        /// Any certificate will do.
        allow_insecure: bool,
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
                allow_insecure: false,
            },
            Security::Reality(reality) => Self::Reality {
                sni: reality.server_names.first().cloned().unwrap_or_default(),
                public_key: reality.public_key.clone(),
                short_id: reality.short_ids.first().map(|id| id.as_str().to_owned()).unwrap_or_default(),
                fingerprint,
            },
        }
    }

    /// The name in configs and links.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Tls { .. } => "tls",
            Self::Reality { .. } => "reality",
        }
    }
}
