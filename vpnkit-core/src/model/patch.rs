//! Changes of a key.

use serde::{Deserialize, Serialize};

use super::key::{LABEL_MAX, NOTE_MAX, check_credentials, check_devices, check_limit, check_text};
use super::{AdminId, ByteSize, Credential, InboundSelection, Key, KeyName, KeyStatus};
use crate::{Result, Timestamp};

/// What to do with one field.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Patch<T> {
    /// Leave it.
    #[default]
    Keep,
    /// Give it a value.
    Set(T),
    /// Take its value away: unlimited, never, no name.
    Clear,
}

impl<T: Clone + PartialEq> Patch<T> {
    fn apply(&self, field: &mut Option<T>) -> bool {
        let new = match self {
            Self::Keep => return false,
            Self::Set(value) => Some(value.clone()),
            Self::Clear => None,
        };
        let changed = *field != new;
        *field = new;
        changed
    }

    fn value(&self) -> Option<&T> {
        match self {
            Self::Set(value) => Some(value),
            _ => None,
        }
    }
}

/// A change of a key. Fields that are not named stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyPatch {
    /// The handle.
    pub name: Patch<KeyName>,
    /// Free text.
    pub label: Patch<String>,
    /// Free text for the operator.
    pub note: Patch<String>,
    /// The owning admin.
    pub owner: Patch<AdminId>,
    /// The data limit; [`Patch::Clear`] is unlimited.
    pub data_limit: Patch<ByteSize>,
    /// The expiry; [`Patch::Clear`] is never. A moment in the past ends the key at once.
    pub expires_at: Patch<Timestamp>,
    /// On how many devices its subscription may be; [`Patch::Clear`] is as the settings say.
    pub device_limit: Patch<u32>,
    /// Which inbounds.
    pub inbounds: Option<InboundSelection>,
    /// `false` switches it off by hand, `true` takes that back.
    pub enabled: Option<bool>,
    /// Sets `used` to nothing.
    pub reset_usage: bool,
    /// Makes every token and URL of its subscription that was given out worthless.
    pub revoke_links: bool,
    /// Replaces the credentials of the same protocol and device, adds the others.
    pub credentials: Vec<Credential>,
}

impl KeyPatch {
    /// Switches a key on or off.
    #[must_use]
    pub fn enabled(enabled: bool) -> Self {
        Self { enabled: Some(enabled), ..Self::default() }
    }

    /// Checks every value.
    pub fn validate(&self) -> Result<()> {
        const OP: &str = "keys.update";
        check_text(OP, "label", self.label.value().map(String::as_str), LABEL_MAX)?;
        check_text(OP, "note", self.note.value().map(String::as_str), NOTE_MAX)?;
        check_limit(OP, self.data_limit.value().copied())?;
        check_devices(OP, self.device_limit.value().copied())?;
        check_credentials(OP, &self.credentials)
    }

    /// Changes `key` and judges its status anew; `false` when nothing is different.
    ///
    /// Pure; the version and `updated_at` move only with a difference.
    pub fn apply(&self, key: &mut Key, now: Timestamp) -> bool {
        let mut changed = self.name.apply(&mut key.name);
        changed |= self.label.apply(&mut key.label);
        changed |= self.note.apply(&mut key.note);
        changed |= self.owner.apply(&mut key.owner);
        changed |= self.data_limit.apply(&mut key.data_limit);
        changed |= self.expires_at.apply(&mut key.expires_at);
        changed |= self.device_limit.apply(&mut key.device_limit);
        if let Some(inbounds) = &self.inbounds {
            changed |= key.inbounds != *inbounds;
            key.inbounds = inbounds.clone();
        }
        if self.reset_usage {
            changed |= key.used != 0;
            key.used = 0;
        }
        if self.revoke_links {
            changed = true;
            key.link_revision = key.link_revision.wrapping_add(1) & Key::REVISION_MAX;
        }
        for new in &self.credentials {
            let same = |c: &&mut Credential| c.protocol() == new.protocol() && c.device == new.device;
            match key.credentials.iter_mut().find(same) {
                Some(old) if old == new => {}
                Some(old) => {
                    *old = new.clone();
                    changed = true;
                }
                None => {
                    key.credentials.push(new.clone());
                    changed = true;
                }
            }
        }
        key.credentials.sort_by(|a, b| (a.protocol(), &a.device).cmp(&(b.protocol(), &b.device)));
        let before = key.status;
        match self.enabled {
            Some(false) => key.status = KeyStatus::Disabled,
            Some(true) if key.status == KeyStatus::Disabled => key.status = KeyStatus::Active,
            _ => {}
        }
        key.status = crate::lifecycle::judge(key, now);
        changed |= key.status != before;
        if changed {
            key.version += 1;
            key.updated_at = now;
        }
        changed
    }
}
