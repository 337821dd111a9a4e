//! Identities.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

use crate::{Error, Result};

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id! {
    /// The integer id of a key: given by the store, never used again.
    KeyId
}
number_id! {
    /// The integer id of an admin.
    AdminId
}

/// A key by one of its three identities. In JSON a number is an id; strings are read by [`KeyRef::from_str`].
///
/// ```
/// use vpnkit_core::model::{KeyId, KeyRef};
/// assert_eq!("1".parse::<KeyRef>()?, KeyRef::Id(KeyId(1)));
/// assert_eq!("name:1".parse::<KeyRef>()?, KeyRef::from("1"));
/// assert_eq!("alice".parse::<KeyRef>()?, KeyRef::from("alice"));
/// # Ok::<(), vpnkit_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyRef {
    /// By integer id.
    Id(KeyId),
    /// By UUID.
    Uid(Uuid),
    /// By name, without regard to ASCII case.
    Name(String),
}

impl fmt::Display for KeyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "id:{id}"),
            Self::Uid(uid) => write!(f, "uid:{uid}"),
            Self::Name(name) => write!(f, "name:{name}"),
        }
    }
}

impl FromStr for KeyRef {
    type Err = Error;

    /// Reads what stands in a URL or a command: `1` and `id:1` are an id, a UUID and `uid:…` a UUID, everything else and
    /// `name:1` a name.
    fn from_str(text: &str) -> Result<Self> {
        let fault = |message| Err(Error::invalid("key.ref", "key", message).with("value", text));
        match text.split_once(':') {
            Some(("id", id)) => {
                id.parse().map(|id| Self::Id(KeyId(id))).or_else(|_| fault("`id:` takes a number"))
            }
            Some(("uid", uid)) => uid.parse().map(Self::Uid).or_else(|_| fault("`uid:` takes a UUID")),
            Some(("name", name)) => Ok(Self::Name(name.to_owned())),
            Some(_) => fault("is none of id:, uid: and name:"),
            None if text.is_empty() => fault("must not be empty"),
            None => Ok(match (text.parse(), Uuid::parse_str(text)) {
                (Ok(id), _) => Self::Id(KeyId(id)),
                (_, Ok(uid)) => Self::Uid(uid),
                _ => Self::Name(text.to_owned()),
            }),
        }
    }
}

impl Serialize for KeyRef {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Self::Id(id) => s.serialize_i64(id.0),
            other => s.collect_str(other),
        }
    }
}

impl<'de> Deserialize<'de> for KeyRef {
    /// Accepts a number, or what [`Self::from_str`] reads.
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        struct Form;
        impl de::Visitor<'_> for Form {
            type Value = KeyRef;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id, a name, a UUID or a key")
            }

            fn visit_i64<E: de::Error>(self, id: i64) -> std::result::Result<KeyRef, E> {
                Ok(KeyRef::Id(KeyId(id)))
            }

            fn visit_u64<E: de::Error>(self, id: u64) -> std::result::Result<KeyRef, E> {
                i64::try_from(id)
                    .map(|id| KeyRef::Id(KeyId(id)))
                    .map_err(|_| E::custom("too large for an id"))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<KeyRef, E> {
                text.parse().map_err(|e: Error| E::custom(e.message()))
            }
        }
        d.deserialize_any(Form)
    }
}

impl From<&super::Key> for KeyRef {
    fn from(key: &super::Key) -> Self {
        Self::Id(key.id)
    }
}

impl From<KeyId> for KeyRef {
    fn from(id: KeyId) -> Self {
        Self::Id(id)
    }
}

impl From<Uuid> for KeyRef {
    fn from(uid: Uuid) -> Self {
        Self::Uid(uid)
    }
}

impl From<String> for KeyRef {
    fn from(name: String) -> Self {
        Self::Name(name)
    }
}

impl From<&str> for KeyRef {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

/// The name of a machine that runs VPN servers: 1 to 32 of `a-z 0-9 -`. The local one is `main`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(into = "String")]
pub struct NodeId(String);

impl NodeId {
    /// Checks and takes a name.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 32 || !name.chars().all(allowed) {
            return Err(
                Error::invalid("node.name", "node", "1 to 32 of a-z 0-9 - are allowed").with("value", name)
            );
        }
        Ok(Self(name))
    }

    /// The local machine.
    #[must_use]
    pub fn main() -> Self {
        Self("main".to_owned())
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for NodeId {
    type Error = Error;
    fn try_from(name: String) -> Result<Self> {
        Self::new(name)
    }
}

impl From<NodeId> for String {
    fn from(node: NodeId) -> Self {
        node.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One server of a node: `main/xray`. The second part is the name of its program unless its configuration names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ServerId(String);

impl ServerId {
    /// The server `name` of `node`.
    #[must_use]
    pub fn new(node: &NodeId, name: &str) -> Self {
        Self(format!("{node}/{name}"))
    }

    /// Returns its node.
    ///
    /// ```
    /// use vpnkit_core::model::{NodeId, ServerId};
    /// let server = ServerId::new(&NodeId::new("de-1")?, "xray");
    /// assert_eq!(server.node(), NodeId::new("de-1")?);
    /// # Ok::<(), vpnkit_core::Error>(())
    /// ```
    #[must_use]
    pub fn node(&self) -> NodeId {
        NodeId(self.0.split_once('/').map_or(self.0.as_str(), |(node, _)| node).to_owned())
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServerId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let fault = || Error::invalid("server.id", "server", "must be `node/name`").with("value", text);
        let (node, name) = text.split_once('/').ok_or_else(fault)?;
        check_server_name(name).map_err(|_| fault())?;
        Ok(Self::new(&NodeId::new(node)?, name))
    }
}

impl<'de> Deserialize<'de> for ServerId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(|e: Error| de::Error::custom(e.message()))
    }
}

/// Checks the name of a server on its node: 1 to 32 of `a-z 0-9 _ -`.
///
/// Errors: `InvalidInput` about `name`.
pub fn check_server_name(name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if name.is_empty() || name.len() > 32 || !name.chars().all(allowed) {
        return Err(Error::invalid("server.name", "name", "1 to 32 of a-z 0-9 _ - are allowed"));
    }
    Ok(())
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
