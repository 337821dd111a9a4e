//! Names of inbounds.

use std::fmt;

use serde::Serialize;

use crate::{Error, Result};

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
