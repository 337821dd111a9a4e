//! What customers may reach through a server.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

use super::AddressRange;
use crate::{Error, Result};

/// What customers may reach through a server: everything but its loopback services and private networks, by address and by
/// name, unless it is allowed here. Its public addresses are reached like those of any other server.
///
/// ```
/// use vpnkit_core::model::Egress;
/// let egress = Egress::allowing(["10.0.0.5:53".parse()?, "wiki.internal".parse()?]);
/// assert!(!egress.block_smtp);
/// # Ok::<(), vpnkit_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Egress {
    /// Private destinations that customers may reach all the same: an address, a network or a name, each with or without
    /// a port: `10.0.0.5`, `10.0.0.0/8`, `10.0.0.5:53`, `[fd00::5]:53`, `wiki.internal`, `wiki.internal:443`. A network
    /// that holds everything (`0.0.0.0/0`, `::/0`) takes the protection away.
    pub allow: Vec<Destination>,
    /// Blocks TCP port 25, so that customers cannot send mail in the server's name.
    pub block_smtp: bool,
    /// Blocks BitTorrent where its handshake can be recognized; what is encrypted passes.
    pub block_bittorrent: bool,
}

impl Egress {
    /// What a server does not connect customers to by default: itself, private and link-local networks, the metadata
    /// services of clouds, what embeds an IPv4 address, and what is no unicast address. From the registries of
    /// special-purpose addresses (RFC 6890); `168.63.129.16` is a metadata service on a public address. The IPv4 ranges
    /// count as translated by NAT64 too (`64:ff9b::/96`, RFC 6052).
    pub const PRIVATE: &'static [&'static str] = &[
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/128",
        "::1/128",
        "64:ff9b:1::/48",
        "2001::/32",
        "2002::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    ];

    /// The default, and these destinations too.
    pub fn allowing(destinations: impl IntoIterator<Item = Destination>) -> Self {
        Self { allow: destinations.into_iter().collect(), ..Self::default() }
    }

    /// What is blocked: [`Self::PRIVATE`] without the ranges that `allow` has on all ports.
    #[must_use]
    pub fn blocked(&self) -> Vec<AddressRange> {
        let whole = |one: &Destination| match &one.host {
            DestinationHost::Range(range) if one.port.is_none() => Some(*range),
            _ => None,
        };
        let holes: Vec<AddressRange> = self.allow.iter().filter_map(whole).collect();
        let private: Vec<AddressRange> = Self::PRIVATE.iter().filter_map(|text| text.parse().ok()).collect();
        let translated = private.iter().filter_map(AddressRange::translated);
        private.iter().copied().chain(translated).flat_map(|range| range.without(&holes)).collect()
    }
}

/// Where something is: a network or a name, with a port or with all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct Destination {
    /// Addresses, or a name.
    pub host: DestinationHost,
    /// The port; all of them by default.
    pub port: Option<u16>,
}

/// The place of a [`Destination`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DestinationHost {
    /// An address or a network.
    Range(AddressRange),
    /// A name, in lower case; not the names under it.
    Name(String),
}

impl FromStr for Destination {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            if let Ok(network) = text.parse() {
                return Some(Self { host: DestinationHost::Range(network), port: None });
            }
            if let Some(range) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                let range = range.parse().ok()?;
                return Some(Self { host: DestinationHost::Range(range), port: None });
            }
            let (host, port) = match text.rsplit_once(':') {
                Some((host, port)) => (host, Some(port.parse().ok().filter(|port: &u16| *port > 0)?)),
                None => (text, None),
            };
            let inside = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            if let Ok(network) = inside.unwrap_or(host).parse::<AddressRange>() {
                // `fd00::5:53` could be an address.
                return (network.address().is_ipv4() || inside.is_some())
                    .then_some(Self { host: DestinationHost::Range(network), port });
            }
            let label = |label: &str| {
                !label.is_empty()
                    && label.len() <= 63
                    && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            };
            let numbers = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
            let named = !numbers && host.len() <= 253 && host.split('.').all(label);
            named.then(|| Self { host: DestinationHost::Name(host.to_ascii_lowercase()), port })
        };
        parse().ok_or_else(|| {
            Error::invalid(
                "destination.parse",
                "allow",
                "not an address, a network or a name, with or without a port: `10.0.0.0/8`, `10.0.0.5:53`, `[fd00::5]:53`, `wiki.internal:443`",
            )
            .with("value", text)
        })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, self.port) {
            (DestinationHost::Range(network), Some(port)) if network.address().is_ipv6() => {
                write!(f, "[{network}]:{port}")
            }
            (DestinationHost::Range(network), Some(port)) => write!(f, "{network}:{port}"),
            (DestinationHost::Range(network), None) => write!(f, "{network}"),
            (DestinationHost::Name(name), Some(port)) => write!(f, "{name}:{port}"),
            (DestinationHost::Name(name), None) => f.write_str(name),
        }
    }
}

impl From<Destination> for String {
    fn from(destination: Destination) -> Self {
        destination.to_string()
    }
}

impl<'de> Deserialize<'de> for Destination {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        text.parse().map_err(|e: Error| serde::de::Error::custom(e.message()))
    }
}

impl JsonSchema for Destination {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Destination".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "destination" })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(text: &str) -> AddressRange {
        text.parse().unwrap()
    }

    #[test]
    fn destinations_are_read_and_written() {
        for text in [
            "10.0.0.5",
            "10.0.0.0/8",
            "10.0.0.5:53",
            "10.0.0.0/8:53",
            "fd00::5",
            "fd00::/8",
            "[fd00::5]:53",
            "wiki.internal",
            "wiki.internal:443",
            "0.0.0.0/0",
            "::/0",
        ] {
            assert_eq!(text.parse::<Destination>().unwrap().to_string(), text);
        }
        assert_eq!("[fd00::5]".parse::<Destination>().unwrap().to_string(), "fd00::5");
        for text in
            ["", "10.0.0.5/8", "10.0.0.0/33", "a b", "wiki.internal:0", "wiki..x", "1.2.3", "x:99999", "*"]
        {
            let error = text.parse::<Destination>().unwrap_err();
            assert_eq!(error.get("field"), Some("allow"), "{text}");
        }
    }

    #[test]
    fn what_is_allowed_is_not_blocked() {
        let allow = |all: &[&str]| Egress::allowing(all.iter().map(|text| text.parse().unwrap()));
        let blocks = |egress: &Egress, text: &str| {
            egress.blocked().iter().any(|blocked| blocked.contains(&range(text)))
        };
        let all = Egress::default();
        let ipv4 = Egress::PRIVATE.iter().filter(|range| !range.contains(':')).count();
        assert_eq!(all.blocked().len(), Egress::PRIVATE.len() + ipv4, "every range is one");
        let some = allow(&["10.0.0.5", "192.168.0.0/16", "fd00::/8", "10.9.9.9:53", "name.internal"]);
        for (text, blocked) in [
            ("10.0.0.5", false),
            ("10.0.0.4", true),
            ("10.0.0.6", true),
            ("10.255.0.1", true),
            ("192.168.7.7", false),
            ("fd00::1", false),
            ("fc00::1", true),
            ("10.9.9.9", true),
            ("127.0.0.1", true),
        ] {
            assert!(blocks(&all, text), "{text}");
            assert_eq!(blocks(&some, text), blocked, "{text}");
        }
        for (text, blocked) in
            [("64:ff9b::7f00:1", true), ("64:ff9b::a00:5", true), ("64:ff9b::808:808", false)]
        {
            assert_eq!(blocks(&some, text), blocked, "{text}");
        }
        assert!(!blocks(&allow(&["::ffff:10.0.0.0/104"]), "10.1.2.3"), "they are IPv4 addresses");
        assert_eq!(allow(&["0.0.0.0/0", "::/0"]).blocked(), []);
    }

    proptest! {
        #[test]
        fn nothing_from_outside_panics(text in "\\PC*") {
            let _ = text.parse::<Destination>();
        }
    }
}
