//! Where clients arrive.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AddressPool, CredentialKind, InboundId, KeyId, KeyRotation, NodeId, PreviousKeys, ServerId};
use crate::{Error, Result, Secret, Timestamp};

/// The name of an inbound on its node: 1 to 64 of `A-Z a-z 0-9 . _ -`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(into = "String")]
pub struct InboundTag(String);

impl InboundTag {
    /// Checks and takes a tag.
    pub fn new(tag: impl Into<String>) -> Result<Self> {
        let tag = tag.into();
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if tag.is_empty() || tag.len() > 64 || !tag.chars().all(allowed) {
            return Err(Error::invalid("inbound.tag", "tag", "1 to 64 of A-Z a-z 0-9 . _ - are allowed")
                .with("value", tag));
        }
        Ok(Self(tag))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the tag of endpoints that stand for no inbound: samples and notices.
    #[must_use]
    pub fn sample() -> Self {
        Self("none".to_owned())
    }
}

impl TryFrom<String> for InboundTag {
    type Error = Error;
    fn try_from(tag: String) -> Result<Self> {
        Self::new(tag)
    }
}

impl TryFrom<&str> for InboundTag {
    type Error = Error;
    fn try_from(tag: &str) -> Result<Self> {
        Self::new(tag)
    }
}

impl From<InboundTag> for String {
    fn from(tag: InboundTag) -> Self {
        tag.0
    }
}

impl fmt::Display for InboundTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

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

/// How XHTTP sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum XhttpMode {
    /// Whatever the client chooses.
    #[default]
    Auto,
    /// `packet-up`
    PacketUp,
    /// `stream-up`
    StreamUp,
    /// `stream-one`
    StreamOne,
}

impl XhttpMode {
    /// The name in configs and links.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::PacketUp => "packet-up",
            Self::StreamUp => "stream-up",
            Self::StreamOne => "stream-one",
        }
    }
}

/// What carries the protocol.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Transport {
    /// Plain TCP (Xray calls it raw).
    #[default]
    Tcp,
    /// WebSocket.
    WebSocket {
        /// Starts with `/`.
        #[serde(default = "root")]
        path: String,
        /// The `Host` header; the client's address without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
    },
    /// gRPC.
    Grpc {
        /// The service name.
        service_name: String,
    },
    /// HTTP upgrade.
    HttpUpgrade {
        /// Starts with `/`.
        #[serde(default = "root")]
        path: String,
        /// The `Host` header.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
    },
    /// XHTTP (split HTTP).
    Xhttp {
        /// Starts with `/`.
        #[serde(default = "root")]
        path: String,
        /// The `Host` header.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
        /// How it sends.
        #[serde(default)]
        mode: XhttpMode,
    },
}

fn root() -> String {
    "/".to_owned()
}

impl Transport {
    /// The name in configs and links, and of the variable `{TRANSPORT}`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::WebSocket { .. } => "ws",
            Self::Grpc { .. } => "grpc",
            Self::HttpUpgrade { .. } => "httpupgrade",
            Self::Xhttp { .. } => "xhttp",
        }
    }
}

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

/// A listening endpoint of a server.
///
/// ```
/// use vpnkit_core::model::{Inbound, InboundTag, Protocol};
/// let inbound = Inbound::new(InboundTag::new("plain")?, 20_443, Protocol::Vless { vision: false });
/// assert_eq!(inbound.listen.to_string(), "0.0.0.0");
/// # Ok::<(), vpnkit_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Inbound {
    /// The machine.
    #[serde(default = "NodeId::main")]
    pub node: NodeId,
    /// The server that runs it: `node/name`. Without it, `ensure` keeps the one that it has, or chooses the first server of
    /// the node that can run it.
    #[serde(default)]
    pub server: Option<ServerId>,
    /// The name, unique on its node: 1 to 64 of `A-Z a-z 0-9 . _ -`.
    pub tag: InboundTag,
    /// The address to listen on.
    #[serde(default = "every_address")]
    pub listen: IpAddr,
    /// The port to listen on.
    pub port: u16,
    /// What is spoken.
    pub protocol: Protocol,
    /// What carries it.
    #[serde(default)]
    pub transport: Transport,
    /// What protects it.
    #[serde(default)]
    pub security: Security,
    /// Only this key is on it, and it goes with the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedicated_to: Option<KeyId>,
    /// The addresses inside the tunnel that its clients get, for protocols that carry packets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addresses: Option<AddressPool>,
    /// How long the certificate of a client is valid, at least an hour, for protocols whose clients present one.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "super::span::optional")]
    #[schemars(with = "Option<super::DurationText>")]
    pub certificate_lifetime: Option<Duration>,
}

/// What a port belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

const fn every_address() -> IpAddr {
    IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED)
}

impl Inbound {
    /// A shared inbound of the local node on all addresses, over TCP, without protection.
    #[must_use]
    pub fn new(tag: InboundTag, port: u16, protocol: Protocol) -> Self {
        Self {
            node: NodeId::main(),
            server: None,
            tag,
            listen: every_address(),
            port,
            protocol,
            transport: Transport::Tcp,
            security: Security::None,
            dedicated_to: None,
            addresses: None,
            certificate_lifetime: None,
        }
    }

    /// Puts it on a server, and on its node.
    #[must_use]
    pub fn on(mut self, server: ServerId) -> Self {
        self.node = server.node();
        self.server = Some(server);
        self
    }

    /// Listens on this address only.
    #[must_use]
    pub fn listen(mut self, address: IpAddr) -> Self {
        self.listen = address;
        self
    }

    /// Sets the transport.
    #[must_use]
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Sets the protection.
    #[must_use]
    pub fn security(mut self, security: Security) -> Self {
        self.security = security;
        self
    }

    /// Gives it to one key.
    #[must_use]
    pub fn dedicated_to(mut self, key: KeyId) -> Self {
        self.dedicated_to = Some(key);
        self
    }

    /// Gives its clients addresses of a pool.
    #[must_use]
    pub const fn addresses(mut self, pool: AddressPool) -> Self {
        self.addresses = Some(pool);
        self
    }

    /// Gives its clients certificates that are valid for so long.
    #[must_use]
    pub const fn certificate_lifetime(mut self, lifetime: Duration) -> Self {
        self.certificate_lifetime = Some(lifetime);
        self
    }

    /// Returns its name among the inbounds of all nodes.
    #[must_use]
    pub fn id(&self) -> InboundId {
        InboundId::new(self.node.clone(), self.tag.clone())
    }

    /// Checks what is the same for every server program.
    ///
    /// Errors: `InvalidInput` about `port`, `addresses` or `certificate_lifetime`.
    pub fn check(&self) -> Result<()> {
        const OP: &str = "inbound.check";
        if self.port == 0 {
            return Err(Error::invalid(OP, "port", "must be 1 to 65535"));
        }
        if self.certificate_lifetime.is_some_and(|lifetime| lifetime < Duration::from_secs(3_600)) {
            return Err(Error::invalid(OP, "certificate_lifetime", "must be at least an hour"));
        }
        if let Security::Reality(Reality { rotation: Some(rotation), .. }) = &self.security {
            rotation.check(OP, "security.rotation")?;
        }
        self.addresses.as_ref().map_or(Ok(()), AddressPool::check)
    }

    /// Returns whether a credential is for this inbound alone, since it comes with an address or a certificate.
    #[must_use]
    pub const fn own_credentials(&self) -> bool {
        self.addresses.is_some() || self.certificate_lifetime.is_some()
    }

    /// Whether a server runs it.
    #[must_use]
    pub fn runs_on(&self, server: &ServerId) -> bool {
        self.server.as_ref() == Some(server)
    }

    /// What it listens with: TCP, UDP or both.
    #[must_use]
    pub fn networks(&self) -> &'static [Network] {
        match (&self.protocol, &self.security) {
            (Protocol::Shadowsocks { .. }, _) => &[Network::Tcp, Network::Udp],
            // XHTTP over HTTP/3 alone is QUIC.
            (_, Security::Tls(tls))
                if matches!(self.transport, Transport::Xhttp { .. }) && tls.alpn == ["h3"] =>
            {
                &[Network::Udp]
            }
            _ => &[Network::Tcp],
        }
    }

    /// Whether both cannot listen at once: on one node, on the same port of an address that they share, over TCP or over
    /// UDP.
    ///
    /// ```
    /// use vpnkit_core::model::{Inbound, InboundTag, Protocol};
    /// let vless = |tag| Ok::<_, vpnkit_core::Error>(Inbound::new(InboundTag::new(tag)?, 443, Protocol::Vless { vision: false }));
    /// let (all, one, two) = (vless("all")?, vless("one")?, vless("two")?);
    /// let (one, two) = (one.listen([192, 0, 2, 1].into()), two.listen([192, 0, 2, 2].into()));
    /// assert!(all.collides_with(&one) && all.collides_with(&two) && !one.collides_with(&two));
    /// # Ok::<(), vpnkit_core::Error>(())
    /// ```
    #[must_use]
    pub fn collides_with(&self, other: &Self) -> bool {
        // `::` takes IPv4 too, unless the system says otherwise.
        let (one, two) = (self.listen.to_canonical(), other.listen.to_canonical());
        let covers = |a: IpAddr, b: IpAddr| match a {
            IpAddr::V6(address) => address.is_unspecified(),
            IpAddr::V4(address) => {
                address.is_unspecified() && (b.is_ipv4() || b == IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED))
            }
        };
        self.node == other.node
            && self.port == other.port
            && (one == two || covers(one, two) || covers(two, one))
            && self.networks().iter().any(|network| other.networks().contains(network))
    }

    /// Whether a key with this id and selection is on it.
    #[must_use]
    pub fn serves(&self, key: KeyId, selection: &super::InboundSelection) -> bool {
        match (self.dedicated_to, selection) {
            (Some(owner), _) => owner == key,
            (None, super::InboundSelection::All) => true,
            (None, super::InboundSelection::Only(tags)) => tags.contains(&self.tag),
        }
    }
}
