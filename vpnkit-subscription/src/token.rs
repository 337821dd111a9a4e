//! Tokens of subscription URLs.
//!
//! Twenty-one bytes as 28 letters: the number of the signing secret, a tag of twelve bytes, and key id with revision,
//! masked by the tag. The tag is an HMAC over what it masks (a synthetic IV), so nothing about the key can be read or
//! guessed, two keys of one customer look unrelated, and equal input gives the equal token. docs/decisions/tokens.md

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use vpnkit_core::model::KeyId;
use vpnkit_core::{Secret, Timestamp};

const TAG: usize = 12;
const BODY: usize = 8;
/// Ids fit 40 bits: a million a second for twelve days, or one a second for 34,000 years.
const ID_BYTES: usize = 5;
const REVISION_BYTES: usize = 3;

/// The secrets that sign tokens: the newest signs, the others are honoured until they retire.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKeys(Vec<SigningKey>);

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SigningKey {
    number: u8,
    /// 32 bytes in base64.
    secret: Secret,
    /// `None` signs.
    retires_at: Option<Timestamp>,
    /// Since when it signs, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKeys({})", self.0.len())
    }
}

/// What a token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Whose subscription it is.
    pub key: KeyId,
    /// Must be the key's own: it grows when links are revoked.
    pub revision: u32,
}

impl SigningKeys {
    /// One new secret.
    pub fn generate() -> Self {
        Self(vec![SigningKey::generate(0)])
    }

    /// A new secret signs; those before are honoured for `keep` longer.
    pub fn rotate(&mut self, now: Timestamp, keep: Duration) {
        self.0.retain(|key| key.retires_at.is_none_or(|at| at > now));
        for key in &mut self.0 {
            let end = now.plus(keep);
            key.retires_at = Some(key.retires_at.map_or(end, |at| at.min(end)));
        }
        let number = self.0.last().map_or(0, |key| key.number.wrapping_add(1));
        self.0.retain(|key| key.number != number && key.retires_at.is_none_or(|at| at > now));
        self.0.push(SigningKey { since: Some(now), ..SigningKey::generate(number) });
    }

    /// Since when the secret signs that signs now, as far as that is known.
    pub fn since(&self) -> Option<Timestamp> {
        self.0.iter().find(|key| key.retires_at.is_none())?.since
    }

    /// Says so of one of which it is not known.
    pub fn begin(&mut self, now: Timestamp) {
        for key in self.0.iter_mut().filter(|key| key.retires_at.is_none()) {
            key.since.get_or_insert(now);
        }
    }

    /// The token of a claim; `None` without a secret that signs.
    pub fn sign(&self, claim: Claim) -> Option<String> {
        let key = self.0.iter().find(|key| key.retires_at.is_none())?;
        let mut body = [0u8; BODY];
        let id = claim.key.0.to_be_bytes();
        let revision = claim.revision.to_be_bytes();
        let parts = id.iter().skip(8 - ID_BYTES).chain(revision.iter().skip(4 - REVISION_BYTES));
        body.iter_mut().zip(parts).for_each(|(to, from)| *to = *from);
        let tag = key.mac(b"tag", &body);
        let masked = mask(body, &key.mac(b"mask", tag.get(..TAG)?));
        let mut bytes = vec![key.number];
        bytes.extend_from_slice(tag.get(..TAG)?);
        bytes.extend_from_slice(&masked);
        Some(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What a token says; `None` when it is not one of ours, or its secret has retired.
    pub fn verify(&self, token: &str, now: Timestamp) -> Option<Claim> {
        let bytes: [u8; 1 + TAG + BODY] = URL_SAFE_NO_PAD.decode(token).ok()?.try_into().ok()?;
        let (number, rest) = bytes.split_first()?;
        let (tag, masked) = rest.split_at_checked(TAG)?;
        let key = self.0.iter().find(|k| k.number == *number && k.retires_at.is_none_or(|at| at > now))?;
        let body = mask(masked.try_into().ok()?, &key.mac(b"mask", tag));
        let mut mac = key.hmac(b"tag");
        mac.update(&body);
        // In constant time.
        mac.verify_truncated_left(tag).ok()?;
        let number = |bytes: &[u8]| bytes.iter().fold(0u64, |n, byte| (n << 8) | u64::from(*byte));
        let (id, revision) = body.split_at_checked(ID_BYTES)?;
        Some(Claim {
            key: KeyId(i64::try_from(number(id)).ok()?),
            revision: u32::try_from(number(revision)).ok()?,
        })
    }
}

impl SigningKey {
    fn generate(number: u8) -> Self {
        let bytes: [u8; 32] = rand::random();
        Self { number, secret: Secret::new(STANDARD.encode(bytes)), retires_at: None, since: None }
    }

    fn hmac(&self, purpose: &[u8]) -> Hmac<Sha256> {
        let mut key = [0u8; 64];
        let secret = STANDARD.decode(self.secret.expose()).unwrap_or_default();
        key.iter_mut().zip(&secret).for_each(|(to, from)| *to = *from);
        let mut mac = Hmac::<Sha256>::new(&key.into());
        mac.update(purpose);
        mac
    }

    fn mac(&self, purpose: &[u8], text: &[u8]) -> [u8; 32] {
        let mut mac = self.hmac(purpose);
        mac.update(text);
        mac.finalize().into_bytes().into()
    }
}

fn mask(mut body: [u8; BODY], stream: &[u8]) -> [u8; BODY] {
    body.iter_mut().zip(stream).for_each(|(to, from)| *to ^= from);
    body
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CLAIM: Claim = Claim { key: KeyId(7), revision: 1 };

    #[test]
    fn a_token_is_short_and_says_nothing() {
        let keys = SigningKeys::generate();
        let token = keys.sign(CLAIM).unwrap();
        assert_eq!(token.len(), 28);
        assert_eq!(keys.sign(CLAIM).unwrap(), token);
        let other = keys.sign(Claim { revision: 2, ..CLAIM }).unwrap();
        let alike = token.bytes().zip(other.bytes()).skip(2).filter(|(a, b)| a == b).count();
        assert!(alike < 8, "{token} {other}");
        assert_eq!(SigningKeys::generate().verify(&token, Timestamp::default()), None);
    }

    #[test]
    fn old_secrets_are_honoured_for_their_time() {
        let mut keys = SigningKeys::generate();
        let (now, day) = (Timestamp::from_secs(1_000_000), Duration::from_secs(86_400));
        let first = keys.sign(CLAIM).unwrap();
        keys.rotate(now, day);
        let second = keys.sign(CLAIM).unwrap();
        assert_ne!(first, second);
        assert_eq!(keys.verify(&first, now), Some(CLAIM));
        assert_eq!(keys.verify(&first, now.plus(day)), None);
        assert_eq!(keys.verify(&second, now.plus(day)), Some(CLAIM));
        // A second rotation gives nobody more time.
        keys.rotate(now, day * 30);
        assert_eq!(keys.verify(&first, now.plus(day)), None);
        assert_eq!(keys.verify(&second, now.plus(day * 2)), Some(CLAIM));
        // At once: a leaked secret.
        keys.rotate(now, Duration::ZERO);
        assert_eq!((keys.verify(&first, now), keys.verify(&second, now)), (None, None));
        for _ in 0..600 {
            keys.rotate(now, day);
        }
        assert!(keys.verify(&keys.sign(CLAIM).unwrap(), now).is_some());
    }

    proptest! {
        #[test]
        fn claims_round_trip(id in 1i64..1 << 40, revision in 0u32..1 << 24) {
            let keys = SigningKeys::generate();
            let claim = Claim { key: KeyId(id), revision };
            prop_assert_eq!(keys.verify(&keys.sign(claim).unwrap(), Timestamp::default()), Some(claim));
        }

        #[test]
        fn a_changed_letter_makes_it_worthless(place in 0usize..28, letter in "[A-Za-z0-9_-]") {
            let keys = SigningKeys::generate();
            let token = keys.sign(CLAIM).unwrap();
            let mut changed = token.clone();
            changed.replace_range(place..=place, &letter);
            prop_assert_eq!(keys.verify(&changed, Timestamp::default()).is_some(), changed == token);
        }

        #[test]
        fn nothing_else_is_a_token(text in ".{0,40}") {
            prop_assert_eq!(SigningKeys::generate().verify(&text, Timestamp::default()), None);
        }
    }
}
