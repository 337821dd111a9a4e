//! How two things are compared that may hold secrets.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A number that is equal exactly when two things are installed alike, in every build of vpnkit and on every machine.
/// Secrets cannot be read from it.
///
/// ```
/// use vpnkit_core::backend::Fingerprint;
/// assert_eq!(Fingerprint::of(["a", "b"]), Fingerprint::of(["a", "b"]));
/// assert_ne!(Fingerprint::of(["a", "b"]), Fingerprint::of(["ab"]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    /// The form of what is hashed; another one makes every fingerprint another.
    const VERSION: &'static [u8] = b"vpnkit fingerprint 1";

    /// Hashes parts: the first 8 bytes of SHA-256 over the version and each part behind its length.
    pub fn of<T: AsRef<[u8]>>(parts: impl IntoIterator<Item = T>) -> Self {
        let mut hash = Sha256::new_with_prefix(Self::VERSION);
        for part in parts {
            let part = part.as_ref();
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        let digest: [u8; 32] = hash.finalize().into();
        let (first, _) = digest.split_first_chunk().unwrap_or((&[0; 8], &[]));
        Self(u64::from_be_bytes(*first))
    }
}
