//! What lets a key into a protocol.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::Rng as _;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Error, Result, Secret};

macro_rules! protocols {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// A family of credentials.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        #[non_exhaustive]
        pub enum Protocol { $($(#[$doc])* $name,)* }

        impl Protocol {
            /// Every protocol.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name in stores and answers.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }
        }
    };
}

protocols! {
    /// VLESS: a UUID.
    Vless = "vless",
    /// VMess: a UUID.
    Vmess = "vmess",
    /// Trojan: a password.
    Trojan = "trojan",
    /// Shadowsocks with an AEAD method: a password.
    Shadowsocks = "shadowsocks",
    /// Shadowsocks 2022: 32 bytes, of which a 128 bit method takes the first 16.
    Shadowsocks2022 = "shadowsocks-2022",
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Protocol {
    type Err = Error;
    fn from_str(code: &str) -> Result<Self> {
        Self::ALL.iter().copied().find(|p| p.code() == code).ok_or_else(|| {
            Error::invalid("protocol.parse", "protocol", "unknown protocol").with("value", code)
        })
    }
}

/// The name of one of a customer's devices: 1 to 32 of `a-z 0-9 _ -`. Most keys have only the default one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(into = "String")]
pub struct Device(String);

impl Device {
    /// Checks and takes a name.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        if name.is_empty() || name.len() > 32 || !name.chars().all(allowed) {
            return Err(Error::invalid("device.name", "device", "1 to 32 of a-z 0-9 _ - are allowed"));
        }
        Ok(Self(name))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the device that every key has.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.0 == "default"
    }
}

impl Default for Device {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl TryFrom<String> for Device {
    type Error = Error;
    fn try_from(name: String) -> Result<Self> {
        Self::new(name)
    }
}

impl From<Device> for String {
    fn from(device: Device) -> Self {
        device.0
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The secret of a credential.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "protocol", content = "secret", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CredentialSecret {
    /// VLESS UUID.
    Vless(Uuid),
    /// VMess UUID.
    Vmess(Uuid),
    /// Trojan password.
    Trojan(Secret),
    /// Shadowsocks password.
    Shadowsocks(Secret),
    /// Shadowsocks 2022 key: 32 bytes in standard base64.
    Shadowsocks2022(Secret),
}

impl fmt::Debug for CredentialSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:[secret]", self.protocol())
    }
}

impl CredentialSecret {
    /// A new secret with at least 122 random bits.
    #[must_use]
    pub fn generate(protocol: Protocol) -> Self {
        let mut bytes = [0u8; 32];
        rand::rng().fill_bytes(&mut bytes);
        let password = || {
            let (half, _) = bytes.split_at(18);
            Secret::new(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(half))
        };
        match protocol {
            Protocol::Vless => Self::Vless(Uuid::new_v4()),
            Protocol::Vmess => Self::Vmess(Uuid::new_v4()),
            Protocol::Trojan => Self::Trojan(password()),
            Protocol::Shadowsocks => Self::Shadowsocks(password()),
            Protocol::Shadowsocks2022 => Self::Shadowsocks2022(Secret::new(STANDARD.encode(bytes))),
        }
    }

    /// Takes an existing secret, for keys that move in from elsewhere.
    ///
    /// Errors: [`crate::ErrorKind::InvalidInput`] about `secret`; the text itself is not repeated.
    pub fn parse(protocol: Protocol, text: &str) -> Result<Self> {
        let fault =
            |message: &str| Error::invalid("credential.parse", "secret", message).with("protocol", protocol);
        let uuid = || Uuid::parse_str(text).map_err(|_| fault("not a UUID"));
        let password = || {
            if text.is_empty() || text.len() > 128 || text.chars().any(char::is_control) {
                return Err(fault("a password has 1 to 128 characters and no control characters"));
            }
            Ok(Secret::new(text))
        };
        Ok(match protocol {
            Protocol::Vless => Self::Vless(uuid()?),
            Protocol::Vmess => Self::Vmess(uuid()?),
            Protocol::Trojan => Self::Trojan(password()?),
            Protocol::Shadowsocks => Self::Shadowsocks(password()?),
            Protocol::Shadowsocks2022 => match STANDARD.decode(text) {
                Ok(bytes) if bytes.len() == 32 => Self::Shadowsocks2022(Secret::new(text)),
                _ => return Err(fault("not 32 bytes in standard base64")),
            },
        })
    }

    /// Which protocol it opens.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        match self {
            Self::Vless(_) => Protocol::Vless,
            Self::Vmess(_) => Protocol::Vmess,
            Self::Trojan(_) => Protocol::Trojan,
            Self::Shadowsocks(_) => Protocol::Shadowsocks,
            Self::Shadowsocks2022(_) => Protocol::Shadowsocks2022,
        }
    }

    /// What servers tell their users apart by: two keys must not share it. Xray ignores two bytes of a VLESS UUID.
    #[must_use]
    pub fn identity(&self) -> String {
        match self {
            Self::Vless(uuid) => {
                let mut bytes = *uuid.as_bytes();
                let [_, _, _, _, _, _, six, seven, ..] = &mut bytes;
                (*six, *seven) = (0, 0);
                Uuid::from_bytes(bytes).to_string()
            }
            other => other.expose(),
        }
    }

    /// The secret as text, in the form that [`Self::parse`] takes.
    #[must_use]
    pub fn expose(&self) -> String {
        match self {
            Self::Vless(uuid) | Self::Vmess(uuid) => uuid.to_string(),
            Self::Trojan(s) | Self::Shadowsocks(s) | Self::Shadowsocks2022(s) => s.expose().to_owned(),
        }
    }
}

/// One way of a key into one protocol from one device; unique by (key, protocol, device).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// The device that uses it.
    #[serde(default)]
    pub device: Device,
    /// The secret itself.
    #[serde(flatten)]
    pub secret: CredentialSecret,
}

impl Credential {
    /// A new credential of the default device.
    #[must_use]
    pub fn generate(protocol: Protocol) -> Self {
        Self { device: Device::default(), secret: CredentialSecret::generate(protocol) }
    }

    /// Which protocol it opens.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.secret.protocol()
    }
}
