//! Who owns keys.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{AdminId, ByteSize, InboundSelection, InboundTag, Labels, NodeId};
use crate::{Error, Result, Timestamp};

/// What an admin may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AdminRole {
    /// Sees and does everything.
    Sudo,
    /// Has keys and admins of its own, within its quotas, and sees no others.
    #[default]
    Reseller,
}

impl AdminRole {
    /// The stable name.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Sudo => "sudo",
            Self::Reseller => "reseller",
        }
    }
}

impl FromStr for AdminRole {
    type Err = Error;

    fn from_str(code: &str) -> Result<Self> {
        match code {
            "sudo" => Ok(Self::Sudo),
            "reseller" => Ok(Self::Reseller),
            _ => Err(Error::invalid("admin.role", "role", "must be sudo or reseller").with("value", code)),
        }
    }
}

/// An admin as it stands in the store. What it has and uses counts all that is below it, too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Admin {
    /// Integer id, never used again.
    pub id: AdminId,
    /// Grows by one with every change, keys and traffic aside.
    pub version: u64,
    /// The handle, unique among admins without regard to case.
    pub name: String,
    /// What it may do.
    pub role: AdminRole,
    /// The admin above it; what it has counts against that one's quotas, too.
    pub parent: Option<AdminId>,
    /// Free text for the operator.
    pub note: Option<String>,
    /// What an application remembers of it: a Telegram id.
    pub labels: Labels,
    /// It may do nothing any more; its keys go on.
    pub disabled: bool,
    /// How many keys there may be at once; `None` is any number.
    pub key_limit: Option<u64>,
    /// How many bytes may be sold: the data limits of keys, however they were given. With it, no key is unlimited or gets its volume
    /// again and again. `None` is any number.
    pub sold_limit: Option<ByteSize>,
    /// How many bytes keys may use. When they have, all keys are `suspended` until there is more. `None` is any number.
    pub used_limit: Option<ByteSize>,
    /// How many admins may be below it.
    pub admin_limit: u32,
    /// Tags of the inbounds that it may put keys on; `None` is all.
    pub inbounds: InboundSelection,
    /// The nodes that it may put keys on; `None` is all.
    pub nodes: Option<Vec<NodeId>>,
    /// The names of the templates that it may sell; with them, nothing else. `None` is anything.
    pub templates: Option<Vec<String>>,
    /// How many keys there are.
    pub keys: u64,
    /// Bytes that were sold: what was given less what was taken back unused.
    #[schemars(with = "ByteSize")]
    pub sold: u64,
    /// Bytes that keys have used since [`Self::used`] was last set to nothing.
    #[schemars(with = "ByteSize")]
    pub used: u64,
    /// Bytes that keys have used altogether.
    #[schemars(with = "ByteSize")]
    pub total_used: u64,
    /// How many admins are below it.
    pub admins: u32,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed, keys and traffic aside.
    pub updated_at: Timestamp,
}

impl Admin {
    /// How many admins may stand above each other.
    pub const DEPTH_MAX: usize = 8;
    /// How many admins a store may have.
    pub const COUNT_MAX: usize = 10_000;

    /// Whether its keys are to be stopped: they have used what they may.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.used_limit.is_some_and(|limit| self.used >= limit.bytes())
    }

    /// Whether it may put a key on an inbound of these nodes.
    #[must_use]
    pub fn may_use<'a>(&self, tag: &InboundTag, mut nodes: impl Iterator<Item = &'a NodeId>) -> bool {
        let tagged = match &self.inbounds {
            InboundSelection::All => true,
            InboundSelection::Only(tags) => tags.contains(tag),
        };
        tagged && self.nodes.as_ref().is_none_or(|allowed| nodes.all(|node| allowed.contains(node)))
    }

    /// Whether there are inbounds that it may not put keys on.
    #[must_use]
    pub const fn has_places(&self) -> bool {
        matches!(self.inbounds, InboundSelection::Only(_)) || self.nodes.is_some()
    }
}

/// An admin by its id or its name. In JSON a number is an id; strings are read by [`AdminRef::from_str`].
///
/// ```
/// use vpnkit_core::model::{AdminId, AdminRef};
/// assert_eq!("7".parse::<AdminRef>()?, AdminRef::Id(AdminId(7)));
/// assert_eq!("name:7".parse::<AdminRef>()?, AdminRef::Name("7".into()));
/// assert_eq!("bob".parse::<AdminRef>()?, AdminRef::Name("bob".into()));
/// # Ok::<(), vpnkit_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminRef {
    /// By integer id.
    Id(AdminId),
    /// By name, without regard to ASCII case.
    Name(String),
}

impl fmt::Display for AdminRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "id:{id}"),
            Self::Name(name) => write!(f, "name:{name}"),
        }
    }
}

impl FromStr for AdminRef {
    type Err = Error;

    /// Reads what stands in a URL or a command: `1` and `id:1` are an id, everything else and `name:1` a name.
    fn from_str(text: &str) -> Result<Self> {
        let fault = |message| Err(Error::invalid("admin.ref", "admin", message).with("value", text));
        match text.split_once(':') {
            Some(("id", id)) => {
                id.parse().map(|id| Self::Id(AdminId(id))).or_else(|_| fault("`id:` takes a number"))
            }
            Some(("name", name)) => Ok(Self::Name(name.to_owned())),
            Some(_) => fault("is none of id: and name:"),
            None if text.is_empty() => fault("must not be empty"),
            None => Ok(match text.parse() {
                Ok(id) => Self::Id(AdminId(id)),
                Err(_) => Self::Name(text.to_owned()),
            }),
        }
    }
}

impl Serialize for AdminRef {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Self::Id(id) => s.serialize_i64(id.0),
            other => s.collect_str(other),
        }
    }
}

impl<'de> Deserialize<'de> for AdminRef {
    /// Accepts a number, or what [`Self::from_str`] reads.
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        struct Form;
        impl de::Visitor<'_> for Form {
            type Value = AdminRef;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id, a name or an admin")
            }

            fn visit_i64<E: de::Error>(self, id: i64) -> std::result::Result<AdminRef, E> {
                Ok(AdminRef::Id(AdminId(id)))
            }

            fn visit_u64<E: de::Error>(self, id: u64) -> std::result::Result<AdminRef, E> {
                let id = i64::try_from(id).map_err(|_| E::custom("too large for an id"))?;
                Ok(AdminRef::Id(AdminId(id)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<AdminRef, E> {
                text.parse().map_err(|e: Error| E::custom(e.message()))
            }
        }
        d.deserialize_any(Form)
    }
}

impl From<&Admin> for AdminRef {
    fn from(admin: &Admin) -> Self {
        Self::Id(admin.id)
    }
}

impl From<AdminId> for AdminRef {
    fn from(id: AdminId) -> Self {
        Self::Id(id)
    }
}

impl From<&str> for AdminRef {
    /// By name, whatever it looks like.
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}
