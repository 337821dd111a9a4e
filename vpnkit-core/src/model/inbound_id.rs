//! Inbounds of all nodes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de};

use super::{InboundTag, NodeId};
use crate::{Error, Result};

/// One inbound among those of all nodes: `main/vless-443`.
///
/// ```
/// use vpnkit_core::model::InboundId;
/// let id: InboundId = "de-1/wg".parse()?;
/// assert_eq!((id.node().as_str(), id.tag().as_str()), ("de-1", "wg"));
/// # Ok::<(), vpnkit_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(into = "String")]
pub struct InboundId {
    node: NodeId,
    tag: InboundTag,
}

impl InboundId {
    /// Names an inbound of a node.
    #[must_use]
    pub const fn new(node: NodeId, tag: InboundTag) -> Self {
        Self { node, tag }
    }

    /// Returns its node.
    #[must_use]
    pub const fn node(&self) -> &NodeId {
        &self.node
    }

    /// Returns its tag.
    #[must_use]
    pub const fn tag(&self) -> &InboundTag {
        &self.tag
    }
}

impl fmt::Display for InboundId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.node, self.tag)
    }
}

impl FromStr for InboundId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let (node, tag) = text.split_once('/')?;
            Some(Self { node: NodeId::new(node).ok()?, tag: InboundTag::new(tag).ok()? })
        };
        parse().ok_or_else(|| Error::invalid("inbound.id", "inbound", "must be `node/tag`: `main/vless`"))
    }
}

impl From<InboundId> for String {
    fn from(id: InboundId) -> Self {
        id.to_string()
    }
}

impl<'de> Deserialize<'de> for InboundId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(|e: Error| de::Error::custom(e.message()))
    }
}
