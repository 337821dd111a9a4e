//! Where clients arrive.

use std::net::IpAddr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    AddressPool, InboundId, InboundTag, KeyId, NodeId, Protocol, Reality, Security, ServerId, Transport,
};
use crate::{Error, Result};

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
