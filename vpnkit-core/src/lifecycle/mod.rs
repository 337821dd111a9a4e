//! Pure rules: what status a key has. No I/O, no clock.
//!
//! A key that was switched off by hand stays off. Otherwise its time decides first, then its limit:
//! a key that is both over its time and over its limit is `expired`, because renewing it needs a date.

use crate::Timestamp;
use crate::model::{Key, KeyStatus};

/// The status that `key` should have at `now`.
#[must_use]
pub fn judge(key: &Key, now: Timestamp) -> KeyStatus {
    match key.status {
        KeyStatus::Disabled => KeyStatus::Disabled,
        _ if key.expires_at.is_some_and(|end| end <= now) => KeyStatus::Expired,
        _ if key.remaining() == Some(0) => KeyStatus::Limited,
        _ => KeyStatus::Active,
    }
}

/// Judges `key` and writes the result into it; returns the status before when it is another one.
pub fn refresh_status(key: &mut Key, now: Timestamp) -> Option<KeyStatus> {
    let before = key.status;
    key.status = judge(key, now);
    if key.status == before {
        return None;
    }
    key.version += 1;
    key.updated_at = now;
    Some(before)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{ByteSize, CreateKey, KeyId, KeyPatch, Patch};

    fn key(limit: Option<u64>, used: u64, expires: Option<i64>, status: KeyStatus) -> Key {
        let mut key = CreateKey::default()
            .validate(Timestamp::default())
            .unwrap()
            .into_key(KeyId(1), Timestamp::default());
        key.data_limit = limit.map(ByteSize::from_bytes);
        key.used = used;
        key.expires_at = expires.map(Timestamp::from_secs);
        key.status = status;
        key
    }

    fn any_key() -> impl Strategy<Value = Key> {
        (
            proptest::option::of(1u64..1000),
            0u64..2000,
            proptest::option::of(0i64..2000),
            proptest::sample::select(KeyStatus::ALL),
        )
            .prop_map(|(limit, used, expires, status)| key(limit, used, expires, status))
    }

    proptest! {
        #[test]
        fn judging_twice_changes_nothing(mut key in any_key(), now in 0i64..2000) {
            let now = Timestamp::from_secs(now);
            refresh_status(&mut key, now);
            let version = key.version;
            prop_assert_eq!(refresh_status(&mut key, now), None);
            prop_assert_eq!(key.version, version);
        }

        #[test]
        fn an_active_key_is_within_time_and_limit(mut key in any_key(), now in 0i64..2000) {
            let now = Timestamp::from_secs(now);
            refresh_status(&mut key, now);
            if key.status == KeyStatus::Active {
                prop_assert!(key.expires_at.is_none_or(|end| end > now));
                prop_assert!(key.data_limit.is_none_or(|limit| key.used < limit.bytes()));
            }
        }

        #[test]
        fn time_alone_never_revives_a_key(mut key in any_key(), now in 0i64..2000, later in 0i64..2000) {
            let now = Timestamp::from_secs(now);
            refresh_status(&mut key, now);
            let was_active = key.status == KeyStatus::Active;
            refresh_status(&mut key, now.plus(Duration::from_secs(later.unsigned_abs())));
            prop_assert!(was_active || key.status != KeyStatus::Active);
        }

        #[test]
        fn only_enabling_ends_a_disabled_state(mut key in any_key(), limit in 1u64..3000, now in 0i64..2000) {
            let now = Timestamp::from_secs(now);
            key.status = KeyStatus::Disabled;
            let patch = KeyPatch {
                data_limit: Patch::Set(ByteSize::from_bytes(limit)),
                expires_at: Patch::Clear,
                reset_usage: true,
                ..KeyPatch::default()
            };
            patch.apply(&mut key, now);
            prop_assert_eq!(key.status, KeyStatus::Disabled);
            KeyPatch::enabled(true).apply(&mut key, now);
            prop_assert_eq!(key.status, KeyStatus::Active);
        }

        #[test]
        fn a_patch_that_changes_nothing_keeps_the_version(mut key in any_key(), now in 0i64..2000) {
            let now = Timestamp::from_secs(now);
            refresh_status(&mut key, now);
            let before = key.clone();
            prop_assert!(!KeyPatch::default().apply(&mut key, now));
            prop_assert_eq!(key, before);
        }
    }
}
