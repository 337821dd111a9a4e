//! Values that must not be printed.

use std::cell::Cell;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroize;

/// What stands in the place of a secret where it is not shown.
const HIDDEN: &str = "[secret]";

thread_local! {
    static REVEALED: Cell<bool> = const { Cell::new(false) };
}

/// A secret text: `Debug` shows nothing, there is no `Display`, memory is cleared on drop. In JSON it is `"[secret]"`,
/// unless it is written inside [`Secret::reveal`]; that placeholder is refused when it is read.
///
/// ```
/// use vpnkit_core::Secret;
/// let secret = Secret::new("hunter2");
/// assert_eq!(format!("{secret:?}"), "[secret]");
/// assert_eq!(secret.expose(), "hunter2");
/// assert_eq!(serde_json::to_string(&secret)?, r#""[secret]""#);
/// assert_eq!(Secret::reveal(|| serde_json::to_string(&secret))?, r#""hunter2""#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Secret(String);

impl Secret {
    /// Takes the text in.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the text. Every call is a place to look at in review.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Serializes with secrets: for stores, subscription formats and bindings. Only what `write`
    /// serializes on this thread is affected.
    pub fn reveal<T>(write: impl FnOnce() -> T) -> T {
        struct Restore(bool);
        impl Drop for Restore {
            fn drop(&mut self) {
                REVEALED.set(self.0);
            }
        }
        let _restore = Restore(REVEALED.replace(true));
        write()
    }

    /// Returns what stands for `text` in JSON now.
    pub(crate) fn shown(text: &str) -> &str {
        if REVEALED.get() { text } else { HIDDEN }
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(Self::shown(&self.0))
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        if text == HIDDEN {
            return Err(serde::de::Error::custom("was written without its secrets"));
        }
        Ok(Self(text))
    }
}

impl JsonSchema for Secret {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "secret" })
    }
}
