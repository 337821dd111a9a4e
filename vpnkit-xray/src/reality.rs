//! REALITY's keys.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use vpnkit_core::model::{Reality, Security, ShortId};
use vpnkit_core::{Error, Result, Secret};
use x25519_dalek::{PublicKey, StaticSecret};

/// An X25519 pair as Xray writes it: base64url without padding.
///
/// ```
/// let keys = vpnkit_xray::RealityKeys::generate();
/// assert_eq!(vpnkit_xray::RealityKeys::from_private(keys.private.expose())?.public, keys.public);
/// # Ok::<(), vpnkit_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealityKeys {
    /// Stays on the server.
    pub private: Secret,
    /// Goes into links.
    pub public: String,
}

impl RealityKeys {
    /// A new pair.
    #[must_use]
    pub fn generate() -> Self {
        Self::from_bytes(rand::random())
    }

    /// The pair of an existing private key.
    ///
    /// Errors: `InvalidInput` about `private_key`.
    pub fn from_private(text: &str) -> Result<Self> {
        Self::bytes(text).map(Self::from_bytes)
    }

    pub(crate) fn bytes(text: &str) -> Result<[u8; 32]> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        bytes.ok_or_else(|| {
            Error::invalid("xray.reality", "private_key", "not 32 bytes in base64url without padding")
        })
    }

    fn from_bytes(mut bytes: [u8; 32]) -> Self {
        // Clamped, as `xray x25519` prints it.
        let [first, .., last] = &mut bytes;
        *first &= 248;
        *last = (*last & 127) | 64;
        let public = PublicKey::from(&StaticSecret::from(bytes));
        Self {
            private: Secret::new(URL_SAFE_NO_PAD.encode(bytes)),
            public: URL_SAFE_NO_PAD.encode(public.as_bytes()),
        }
    }

    /// REALITY in front of `dest` (`host:port` of a TLS 1.3 site) with these keys and one new short id.
    #[must_use]
    pub fn reality(self, dest: impl Into<String>, server_name: impl Into<String>) -> Reality {
        Reality {
            dest: dest.into(),
            server_names: vec![server_name.into()],
            private_key: self.private,
            public_key: self.public,
            short_ids: vec![ShortId::generate()],
            ..Reality::at(String::new(), String::new())
        }
    }
}

/// Fills in keys and short ids that were left out: those that stand, or new ones.
pub(crate) fn complete(reality: &mut Reality, before: Option<&Security>) {
    let held = match before {
        Some(Security::Reality(held)) => Some(held),
        _ => None,
    };
    if reality.private_key.is_empty() && !reality.public_key.is_empty() {
        // Only half of a pair was given. That of the keys that are held is what was read back: they stay.
        match held.filter(|held| held.public_key == reality.public_key) {
            Some(held) => reality.private_key = held.private_key.clone(),
            None => return,
        }
    }
    if reality.private_key.is_empty() {
        match held {
            Some(held) => {
                reality.private_key = held.private_key.clone();
                reality.public_key.clone_from(&held.public_key);
            }
            None => {
                let keys = RealityKeys::generate();
                (reality.private_key, reality.public_key) = (keys.private, keys.public);
            }
        }
    } else if reality.public_key.is_empty()
        && let Ok(keys) = RealityKeys::from_private(reality.private_key.expose())
    {
        reality.public_key = keys.public;
    }
    if reality.short_ids.is_empty() {
        reality.short_ids = held.map_or_else(|| vec![ShortId::generate()], |held| held.short_ids.clone());
    }
}
