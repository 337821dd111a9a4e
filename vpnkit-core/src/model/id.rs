//! Identities.

use std::fmt;

use serde::{Deserialize, Serialize};
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

/// A key by one of its three identities.
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
            Self::Id(id) => id.fmt(f),
            Self::Uid(uid) => uid.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
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

/// One server program on one node: `main/xray`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ServerId(String);

impl ServerId {
    /// The server that runs `program` on `node`.
    #[must_use]
    pub fn new(node: &NodeId, program: &str) -> Self {
        Self(format!("{node}/{program}"))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
