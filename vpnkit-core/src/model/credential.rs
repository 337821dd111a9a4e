//! What lets a key into a protocol.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::Rng as _;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

use super::{CertificateTerm, Inbound, InboundId};
use crate::{Error, Result, Secret};

macro_rules! protocols {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// A family of credentials.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[non_exhaustive]
        pub enum CredentialKind { $($(#[$doc])* #[serde(rename = $code)] $name,)* }

        impl CredentialKind {
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

impl fmt::Display for CredentialKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for CredentialKind {
    type Err = Error;
    fn from_str(code: &str) -> Result<Self> {
        Self::ALL.iter().copied().find(|p| p.code() == code).ok_or_else(|| {
            Error::invalid("protocol.parse", "protocol", "unknown protocol").with("value", code)
        })
    }
}

/// The name of one of a customer's devices: 1 to 32 of `a-z 0-9 _ -`. Most keys have only the default one. A credential that was
/// replaced and still works has that of its device with `~` behind it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(into = "String")]
pub struct DeviceName(String);

impl DeviceName {
    /// Checks and takes a name.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        if name.is_empty() || name.len() > 32 || !name.chars().all(allowed) {
            return Err(Error::invalid("device.name", "device", "1 to 32 of a-z 0-9 _ - are allowed"));
        }
        Ok(Self(name))
    }

    /// Takes a name as it is stored: also that of a credential that was replaced.
    pub fn stored(name: &str) -> Result<Self> {
        match name.strip_suffix('~') {
            Some(current) => Self::new(current).map(|device| device.replaced()),
            None => Self::new(name),
        }
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether it is that of a credential that was replaced.
    #[must_use]
    pub fn is_replaced(&self) -> bool {
        self.0.ends_with('~')
    }

    /// Returns the name that the credential of this device has once it was replaced.
    #[must_use]
    pub fn replaced(&self) -> Self {
        if self.is_replaced() { self.clone() } else { Self(format!("{}~", self.0)) }
    }

    /// Returns the device itself.
    #[must_use]
    pub fn current(&self) -> Self {
        Self(self.0.trim_end_matches('~').to_owned())
    }

    /// Whether this is the device that every key has.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.0 == "default"
    }
}

impl Default for DeviceName {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl TryFrom<String> for DeviceName {
    type Error = Error;
    fn try_from(name: String) -> Result<Self> {
        Self::stored(&name)
    }
}

impl From<DeviceName> for String {
    fn from(device: DeviceName) -> Self {
        device.0
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The secret of a credential.
#[derive(Clone, PartialEq, Eq, Deserialize)]
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
    #[serde(rename = "shadowsocks-2022")]
    Shadowsocks2022(Secret),
}

impl fmt::Debug for CredentialSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:[secret]", self.protocol())
    }
}

impl Serialize for CredentialSecret {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        let mut fields = s.serialize_struct("CredentialSecret", 2)?;
        fields.serialize_field("protocol", self.protocol().code())?;
        fields.serialize_field("secret", Secret::shown(&self.expose()))?;
        fields.end()
    }
}

impl CredentialSecret {
    /// A new secret with at least 122 random bits.
    #[must_use]
    pub fn generate(protocol: CredentialKind) -> Self {
        let mut bytes = [0u8; 32];
        rand::rng().fill_bytes(&mut bytes);
        let password = || {
            let (half, _) = bytes.split_at(18);
            Secret::new(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(half))
        };
        match protocol {
            CredentialKind::Vless => Self::Vless(Uuid::new_v4()),
            CredentialKind::Vmess => Self::Vmess(Uuid::new_v4()),
            CredentialKind::Trojan => Self::Trojan(password()),
            CredentialKind::Shadowsocks => Self::Shadowsocks(password()),
            CredentialKind::Shadowsocks2022 => Self::Shadowsocks2022(Secret::new(STANDARD.encode(bytes))),
        }
    }

    /// Takes an existing secret, for keys that move in from elsewhere.
    ///
    /// Errors: [`crate::ErrorKind::InvalidInput`] about `secret`; the text itself is not repeated.
    pub fn parse(protocol: CredentialKind, text: &str) -> Result<Self> {
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
            CredentialKind::Vless => Self::Vless(uuid()?),
            CredentialKind::Vmess => Self::Vmess(uuid()?),
            CredentialKind::Trojan => Self::Trojan(password()?),
            CredentialKind::Shadowsocks => Self::Shadowsocks(password()?),
            CredentialKind::Shadowsocks2022 => match STANDARD.decode(text) {
                Ok(bytes) if bytes.len() == 32 => Self::Shadowsocks2022(Secret::new(text)),
                _ => return Err(fault("not 32 bytes in standard base64")),
            },
        })
    }

    /// Which protocol it opens.
    #[must_use]
    pub fn protocol(&self) -> CredentialKind {
        match self {
            Self::Vless(_) => CredentialKind::Vless,
            Self::Vmess(_) => CredentialKind::Vmess,
            Self::Trojan(_) => CredentialKind::Trojan,
            Self::Shadowsocks(_) => CredentialKind::Shadowsocks,
            Self::Shadowsocks2022(_) => CredentialKind::Shadowsocks2022,
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

/// One way of a key into one protocol from one device; unique by (key, protocol, device, inbound).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Credential {
    /// The device that uses it.
    #[serde(default)]
    pub device: DeviceName,
    /// The secret itself.
    #[serde(flatten)]
    pub secret: CredentialSecret,
    /// The inbound that it is for, `node/tag`; `None` is every inbound of its protocol without addresses and certificates.
    #[serde(default)]
    pub inbound: Option<InboundId>,
    /// Its number among the addresses of that inbound, from 0: [`super::AddressPool::addresses`]. The store gives it when the
    /// credential is written.
    #[serde(default)]
    pub slot: Option<u32>,
    /// The certificate that its client presents, where the inbound asks for one.
    #[serde(default)]
    pub certificate: Option<CertificateTerm>,
}

impl Serialize for Credential {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        let mut fields = s.serialize_struct("Credential", 6)?;
        fields.serialize_field("protocol", self.protocol().code())?;
        fields.serialize_field("device", &self.device)?;
        fields.serialize_field("secret", Secret::shown(&self.secret.expose()))?;
        if let Some(inbound) = &self.inbound {
            fields.serialize_field("inbound", inbound)?;
        }
        if let Some(slot) = self.slot {
            fields.serialize_field("slot", &slot)?;
        }
        if let Some(certificate) = &self.certificate {
            fields.serialize_field("certificate", certificate)?;
        }
        fields.end()
    }
}

impl JsonSchema for Credential {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Credential".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "One way of a key into one protocol from one device.",
            "properties": {
                "protocol": generator.subschema_for::<CredentialKind>(),
                "device": { "type": "string", "default": "default", "description": "The device that uses it." },
                "secret": { "type": "string", "format": "secret", "description": "The secret itself." },
                "inbound": described(generator.subschema_for::<Option<InboundId>>(),
                    "The inbound that it is for, `node/tag`; `None` is every inbound of its protocol without addresses and certificates."),
                "slot": described(generator.subschema_for::<Option<u32>>(),
                    "Its number among the addresses of that inbound, from 0; given when it is written."),
                "certificate": described(generator.subschema_for::<Option<CertificateTerm>>(),
                    "The certificate that its client presents, where the inbound asks for one."),
            },
            "required": ["protocol", "secret"],
        })
    }
}

fn described(mut schema: Schema, description: &str) -> Schema {
    schema.insert("description".to_owned(), description.into());
    schema.insert("default".to_owned(), serde_json::Value::Null);
    schema
}

impl Credential {
    /// A credential for every inbound of its protocol.
    #[must_use]
    pub const fn new(device: DeviceName, secret: CredentialSecret) -> Self {
        Self { device, secret, inbound: None, slot: None, certificate: None }
    }

    /// A new credential of the default device.
    #[must_use]
    pub fn generate(protocol: CredentialKind) -> Self {
        Self::new(DeviceName::default(), CredentialSecret::generate(protocol))
    }

    /// Restricts it to one inbound.
    #[must_use]
    pub fn only_on(mut self, inbound: InboundId) -> Self {
        self.inbound = Some(inbound);
        self
    }

    /// Returns whether another one has taken its place, and it works for a while all the same.
    #[must_use]
    pub fn is_replaced(&self) -> bool {
        self.device.is_replaced()
    }

    /// Returns what it is unique by on its key.
    #[must_use]
    pub fn place(&self) -> (CredentialKind, &DeviceName, Option<&InboundId>) {
        (self.protocol(), &self.device, self.inbound.as_ref())
    }

    /// Returns whether both hold the same certificate.
    #[must_use]
    pub fn holds_certificate_of(&self, other: &Self) -> bool {
        self.certificate.is_some() && self.certificate == other.certificate && self.inbound == other.inbound
    }

    /// Returns whether it is for this inbound: where the inbound has credentials of its own, only one of those.
    #[must_use]
    pub fn is_for(&self, inbound: &Inbound) -> bool {
        self.protocol() == inbound.protocol.credential()
            && match &self.inbound {
                Some(id) => inbound.own_credentials() && *id == inbound.id(),
                None => !inbound.own_credentials(),
            }
    }

    /// Returns whether it is for this inbound and has all that the inbound asks of it: an address, a certificate.
    #[must_use]
    pub fn opens(&self, inbound: &Inbound) -> bool {
        self.is_for(inbound)
            && (inbound.addresses.is_none() || self.slot.is_some())
            && (inbound.certificate_lifetime.is_none() || self.certificate.is_some())
    }

    /// Which protocol it opens.
    #[must_use]
    pub fn protocol(&self) -> CredentialKind {
        self.secret.protocol()
    }
}
