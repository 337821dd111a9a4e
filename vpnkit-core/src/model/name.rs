//! The handle of a key.

use std::fmt;

use serde::Serialize;

use crate::{Error, Result};

/// A key's handle: 1 to 64 of `A-Z a-z 0-9 . _ @ + -`, unique in a store without regard to case.
///
/// The rule is vpnkit's own: such a name is safe in links, file names, logs and every panel dialect.
///
/// ```
/// use vpnkit_core::model::KeyName;
/// assert!(KeyName::new("tg_42").is_ok());
/// assert_eq!(KeyName::new("two words").unwrap_err().get("field"), Some("name"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct KeyName(String);

impl KeyName {
    /// The longest name, in characters.
    pub const MAX: usize = 64;

    /// Checks and takes a name.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let fault = |message: &str| Err(Error::invalid("key.name", "name", message).with("value", &name));
        if name.is_empty() {
            return fault("must not be empty");
        }
        if name.len() > Self::MAX {
            return Err(
                Error::invalid("key.name", "name", "longer than 64 characters").with("length", name.len())
            );
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._@+-".contains(c);
        if !name.chars().all(allowed) {
            return fault("only A-Z a-z 0-9 . _ @ + - are allowed")
                .map_err(|e: Error| e.hint("free text belongs into `label`"));
        }
        Ok(Self(name))
    }

    /// As it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As it is compared: in lower case.
    #[must_use]
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl TryFrom<String> for KeyName {
    type Error = Error;
    fn try_from(name: String) -> Result<Self> {
        Self::new(name)
    }
}

impl From<KeyName> for String {
    fn from(name: KeyName) -> Self {
        name.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
