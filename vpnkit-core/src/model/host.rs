//! How clients reach an inbound, as the operator says it.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Error, Result};

/// How clients reach an inbound. An inbound may have several; each gives its keys one endpoint. What is left out is
/// the inbound's own.
///
/// Lists are choices: each key gets one of them, the same for a day. A `*` in `addresses`, `sni` and `host` becomes
/// eight random hexadecimal digits, the same for a day. Variables such as `{USERNAME}` are filled in in `remark`,
/// `addresses` and `path`.
///
/// ```
/// use vpnkit_core::model::Host;
/// let mut host = Host::new("{USERNAME} · {DATA_LEFT}", "*.cdn.example.com");
/// host.port = Some(8443);
/// host.fragment = Some("100-200,10-20,tlshello".parse()?);
/// host.validate("hosts.set", 0)?;
/// # Ok::<(), vpnkit_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Host {
    /// What the client shows: 1 to 256 characters.
    #[schemars(extend("x-required" = true))]
    pub remark: String,
    /// Names or IPs to dial; at least one.
    #[schemars(extend("x-required" = true))]
    pub addresses: Vec<String>,
    /// The port to dial.
    pub port: Option<u16>,
    /// Names to ask for in TLS.
    pub sni: Vec<String>,
    /// Values of the HTTP header `Host`.
    pub host: Vec<String>,
    /// The HTTP path, or the gRPC service name.
    pub path: Option<String>,
    /// What protects the connection up to whatever stands before the inbound: a CDN may end TLS.
    pub security: HostSecurity,
    /// Protocols to offer in TLS: `h3`, `h2`, `http/1.1`.
    pub alpn: Vec<String>,
    /// The browser to look like: `chrome`, `firefox`, `safari`, `ios`, `android`, `edge`, `360`, `qq`, `random` or
    /// `randomized`.
    pub fingerprint: Option<String>,
    /// Whether clients accept any certificate. Anybody on the way can then read and change what passes. Xray refuses
    /// it since 26.1.31: pin the certificate of the inbound instead.
    pub allow_insecure: bool,
    /// Whether several streams share a connection. Not with vision.
    pub mux: bool,
    /// How the first packets are cut into pieces: `length,interval,packets`, e.g. `100-200,10-20,tlshello`.
    pub fragment: Option<Fragment>,
    /// What is sent before the first packet of UDP: `type:packet,delay`, e.g. `rand:10-20,10-16`.
    pub noises: Vec<Noise>,
    /// Whether HTTP transports name a browser as their user agent.
    pub random_user_agent: bool,
    /// Whether the name asked for in TLS is the `Host` header too.
    pub sni_as_host: bool,
    /// Left out of subscriptions.
    pub disabled: bool,
}

/// What protects the connection to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HostSecurity {
    /// The inbound's own.
    #[default]
    InboundDefault,
    /// Nothing.
    None,
    /// TLS.
    Tls,
}

impl Host {
    /// The fingerprints that clients know.
    pub const FINGERPRINTS: &'static [&'static str] =
        &["chrome", "firefox", "safari", "ios", "android", "edge", "360", "qq", "random", "randomized"];

    /// The protocols that TLS clients may offer.
    pub const ALPN: &'static [&'static str] = &["h3", "h2", "http/1.1"];

    /// A host with this name and address, everything else as the inbound has it.
    pub fn new(remark: impl Into<String>, address: impl Into<String>) -> Self {
        Self { remark: remark.into(), addresses: vec![address.into()], ..Self::default() }
    }

    /// Checks every field; `index` is its place in the list.
    ///
    /// Errors: `InvalidInput` with the `field`.
    pub fn validate(&self, operation: &'static str, index: usize) -> Result<()> {
        let fault = |field: &str, message: String| {
            Err(Error::invalid(operation, &format!("hosts[{index}].{field}"), message))
        };
        if self.remark.is_empty() || self.remark.chars().count() > 256 {
            return fault("remark", "must have 1 to 256 characters".into());
        }
        if self.addresses.is_empty() {
            return fault("addresses", "at least one is needed".into());
        }
        for (field, names) in [("addresses", &self.addresses), ("sni", &self.sni), ("host", &self.host)] {
            let bad = |name: &&String| {
                name.is_empty()
                    || name.len() > 253
                    || name.chars().any(|c| c.is_whitespace() || c.is_control() || "/@,\"'\\".contains(c))
            };
            if let Some((i, _)) = names.iter().enumerate().find(|(_, name)| bad(name)) {
                return fault(&format!("{field}[{i}]"), "must be a name or an IP address".into());
            }
        }
        if self.port == Some(0) {
            return fault("port", "must be 1 to 65535".into());
        }
        if self.path.as_ref().is_some_and(|p| p.len() > 1_024 || p.chars().any(char::is_control)) {
            return fault("path", "must have up to 1,024 bytes without control characters".into());
        }
        if let Some(name) = self.alpn.iter().find(|name| !Self::ALPN.contains(&name.as_str())) {
            return fault("alpn", format!("`{name}` is none of {}", Self::ALPN.join(", ")));
        }
        match &self.fingerprint {
            Some(name) if !Self::FINGERPRINTS.contains(&name.as_str()) => {
                fault("fingerprint", format!("must be one of {}", Self::FINGERPRINTS.join(", ")))
            }
            _ => Ok(()),
        }
    }
}

/// Inclusive bounds: `10-20`, or `10`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The smallest.
    pub low: u32,
    /// The largest.
    pub high: u32,
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.low == self.high {
            write!(f, "{}", self.low)
        } else {
            write!(f, "{}-{}", self.low, self.high)
        }
    }
}

fn bounds(text: &str) -> Option<Bounds> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    let bounds = Bounds { low: number(low)?, high: number(high)? };
    (bounds.low <= bounds.high).then_some(bounds)
}

/// How the first packets are cut: `length,interval,packets`, e.g. `100-200,10-20,tlshello`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Bytes of a piece, at least 1.
    pub length: Bounds,
    /// Milliseconds between two.
    pub interval: Bounds,
    /// `tlshello`, or which writes: `1-3`.
    pub packets: String,
}

impl FromStr for Fragment {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let [length, interval, packets] = text.split(',').collect::<Vec<_>>().try_into().ok()?;
            let packets = match packets {
                "tlshello" => packets.to_owned(),
                numbers => bounds(numbers).filter(|b| b.low > 0)?.to_string(),
            };
            let length = bounds(length).filter(|b| b.low > 0)?;
            Some(Self { length, interval: bounds(interval)?, packets })
        };
        parse().ok_or_else(|| {
            Error::invalid(
                "fragment.parse",
                "fragment",
                "not length,interval,packets: `100-200,10-20,tlshello`",
            )
            .with("value", text)
        })
    }
}

impl fmt::Display for Fragment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{},{}", self.length, self.interval, self.packets)
    }
}

/// What is sent before the first packet of UDP: `type:packet,delay`, e.g. `rand:10-20,10-16`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noise {
    /// `rand`, `str`, `base64` or `hex`.
    pub kind: String,
    /// Its length for `rand`, otherwise what is sent.
    pub packet: String,
    /// Milliseconds to wait after it.
    pub delay: Bounds,
}

impl FromStr for Noise {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let (kind, rest) = text.split_once(':')?;
            let (packet, delay) = rest.rsplit_once(',')?;
            let sound = match kind {
                "rand" => bounds(packet).is_some_and(|b| b.low > 0),
                "str" => !packet.is_empty(),
                "base64" | "hex" => packet.chars().all(|c| c.is_ascii_alphanumeric() || "+/-_=".contains(c)),
                _ => false,
            };
            let sound = sound && packet.len() <= 1_024 && !packet.chars().any(char::is_control);
            sound.then_some(Self { kind: kind.into(), packet: packet.into(), delay: bounds(delay)? })
        };
        parse().ok_or_else(|| {
            Error::invalid("noise.parse", "noises", "not type:packet,delay: `rand:10-20,10-16`")
                .with("value", text)
        })
    }
}

impl fmt::Display for Noise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{},{}", self.kind, self.packet, self.delay)
    }
}

macro_rules! as_text {
    ($($name:ty),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                text.parse().map_err(|e: Error| serde::de::Error::custom(e.message()))
            }
        }
    )*};
}

as_text!(Fragment, Noise);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_and_noises_round_trip() {
        for text in ["100-200,10-20,tlshello", "5,0,1-3"] {
            assert_eq!(text.parse::<Fragment>().unwrap().to_string(), text);
        }
        for text in ["", "1,2", "200-100,1,tlshello", "0,1,1", "a,b,c", "1,2,0-3", "1,+2,1"] {
            assert_eq!(text.parse::<Fragment>().unwrap_err().get("field"), Some("fragment"), "{text}");
        }
        for text in ["rand:10-20,10-16", "str:a,b,5", "base64:7nQBAAAB,10"] {
            assert_eq!(text.parse::<Noise>().unwrap().to_string(), text);
        }
        for text in ["", "rand:x,1", "other:1,1", "str:,1", "rand:10"] {
            assert_eq!(text.parse::<Noise>().unwrap_err().get("field"), Some("noises"), "{text}");
        }
    }

    #[test]
    fn faults_name_their_field() {
        let sound = Host::new("r", "a.example");
        sound.validate("hosts.set", 0).unwrap();
        type Breaks = fn(&mut Host);
        let broken: [(&str, Breaks); 7] = [
            ("hosts[3].remark", |h| h.remark.clear()),
            ("hosts[3].addresses", |h| h.addresses.clear()),
            ("hosts[3].addresses[0]", |h| h.addresses = vec!["a b".into()]),
            ("hosts[3].sni[1]", |h| h.sni = vec!["a".into(), "b/c".into()]),
            ("hosts[3].port", |h| h.port = Some(0)),
            ("hosts[3].alpn", |h| h.alpn = vec!["spdy".into()]),
            ("hosts[3].fingerprint", |h| h.fingerprint = Some("netscape".into())),
        ];
        for (field, breaks) in broken {
            let mut host = sound.clone();
            breaks(&mut host);
            assert_eq!(host.validate("hosts.set", 3).unwrap_err().get("field"), Some(field));
        }
    }
}
