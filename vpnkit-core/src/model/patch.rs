//! Changes of a key.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::check_key::{
    LABEL_MAX, LONGEST, NOTE_MAX, check_addresses, check_credentials, check_devices, check_length,
    check_limit, check_text,
};
use super::labels::{LABELS_MAX, check_labels};
use super::{
    AdminId, ByteSize, Credential, DataReset, EventKind, Hold, InboundSelection, Key, KeyName, KeyStatus,
    NextPlan,
};
use crate::{Error, ErrorKind, Result, Timestamp, lifecycle};

/// What to do with one field. In JSON a field that is left out stays, `null` takes its value away.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Patch<T> {
    /// Leave it.
    #[default]
    Keep,
    /// Give it a value.
    Set(T),
    /// Take its value away: unlimited, never, no name.
    Clear,
}

impl<T> Patch<T> {
    /// Whether the field stays.
    #[must_use]
    pub const fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }
}

impl<T> From<Option<T>> for Patch<T> {
    /// `None` takes the value away.
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Clear, Self::Set)
    }
}

impl<T: Serialize> Serialize for Patch<T> {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Self::Set(value) => s.serialize_some(value),
            Self::Keep | Self::Clear => s.serialize_none(),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        Option::deserialize(d).map(Self::from)
    }
}

impl<T: JsonSchema> JsonSchema for Patch<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Patch_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let mut schema = <Option<T>>::json_schema(generator);
        schema.insert("x-patch".to_owned(), true.into());
        schema
    }
}

impl<T: Clone + PartialEq> Patch<T> {
    /// Changes a field; returns whether it is another one now.
    pub fn apply(&self, field: &mut Option<T>) -> bool {
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

/// How long old links work at most.
const KEEP_OLD_MAX: Duration = Duration::from_secs(366 * 86_400);

/// A change of a key. Fields that are not named stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KeyPatch {
    /// The handle.
    #[serde(skip_serializing_if = "Patch::is_keep")]
    pub name: Patch<KeyName>,
    /// Free text.
    #[serde(skip_serializing_if = "Patch::is_keep")]
    pub label: Patch<String>,
    /// Labels to set; those whose value is `None` go, the others stay.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, Option<String>>,
    /// Free text for the operator.
    #[serde(skip_serializing_if = "Patch::is_keep")]
    pub note: Patch<String>,
    /// The id of the owning admin.
    #[serde(skip_serializing_if = "Patch::is_keep")]
    pub owner: Patch<AdminId>,
    /// The data limit; [`Patch::Clear`] is unlimited.
    #[serde(skip_serializing_if = "Patch::is_keep")]
    pub data_limit: Patch<ByteSize>,
    /// The expiry; [`Patch::Clear`] is never. A time in the past ends the key at once.
    #[serde(skip_serializing_if = "Patch::is_keep")]
    pub expires_at: Patch<Timestamp>,
    /// Puts it on hold: its time begins with its next connection. [`Patch::Clear`] begins its time now.
    #[serde(skip_serializing_if = "Patch::is_keep")]
    pub hold: Patch<Hold>,
    /// `true` pauses it and keeps the time that is left to it, `false` resumes it.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub paused: Option<bool>,
    /// How often its usage is set to nothing; [`Patch::Clear`] is never.
    #[serde(skip_serializing_if = "Patch::is_keep")]
    pub reset: Patch<DataReset>,
    /// What it becomes when its time is over or its limit is used up; [`Patch::Clear`] is nothing else.
    #[serde(skip_serializing_if = "Patch::is_keep")]
    pub next_plan: Patch<NextPlan>,
    /// How long after its time or its limit has ended it is deleted; [`Patch::Clear`] is never.
    #[serde(skip_serializing_if = "Patch::is_keep", with = "super::span::patch")]
    #[schemars(with = "Option<super::DurationText>", extend("x-patch" = true))]
    pub delete_after: Patch<Duration>,
    /// On how many devices its subscription may be; [`Patch::Clear`] is as the settings say.
    #[serde(skip_serializing_if = "Patch::is_keep")]
    pub device_limit: Patch<u32>,
    /// At how many addresses at once it may be used; [`Patch::Clear`] is any number.
    #[serde(skip_serializing_if = "Patch::is_keep")]
    pub address_limit: Patch<u32>,
    /// Locks it until then: it may not connect, and its time goes on. [`Patch::Clear`] unlocks it.
    #[serde(skip_serializing_if = "Patch::is_keep")]
    pub locked_until: Patch<Timestamp>,
    /// Tags of inbounds; [`Patch::Clear`] is all shared ones.
    #[schemars(extend("x-patch" = true))]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub inbounds: Option<InboundSelection>,
    /// `false` switches it off by hand, `true` takes that back.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub enabled: Option<bool>,
    /// Sets `used` to nothing.
    pub reset_usage: bool,
    /// Begins its next plan now.
    pub begin_next_plan: bool,
    /// Makes every token and URL of its subscription that was given out worthless.
    pub revoke_links: bool,
    /// How long the links and credentials that are replaced still work; `None` is no longer. Together with `revoke_links`.
    #[serde(skip_serializing_if = "Option::is_none", with = "super::span::optional")]
    #[schemars(with = "Option<super::DurationText>")]
    pub keep_old_links: Option<Duration>,
    /// Replaces the credentials of the same protocol, device and inbound, adds the others.
    pub credentials: Vec<Credential>,
}

/// Reads a field of a change that is there: `null` is what its type makes of it, and an error where it means nothing.
pub fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    d: D,
) -> std::result::Result<Option<T>, D::Error> {
    T::deserialize(d).map(Some)
}

impl KeyPatch {
    /// Sets the data limit; `None` is unlimited.
    #[must_use]
    pub fn data_limit(mut self, limit: impl Into<Option<ByteSize>>) -> Self {
        self.data_limit = limit.into().into();
        self
    }

    /// Sets the expiry; `None` is never.
    #[must_use]
    pub fn expires_at(mut self, at: impl Into<Option<Timestamp>>) -> Self {
        self.expires_at = at.into().into();
        self
    }

    /// Sets the label; `None` takes it away.
    #[must_use]
    pub fn label(mut self, label: impl Into<Option<String>>) -> Self {
        self.label = label.into().into();
        self
    }

    /// Sets the note; `None` takes it away.
    #[must_use]
    pub fn note(mut self, note: impl Into<Option<String>>) -> Self {
        self.note = note.into().into();
        self
    }

    /// Sets `used` to nothing.
    #[must_use]
    pub fn reset_usage(mut self) -> Self {
        self.reset_usage = true;
        self
    }

    /// Switches a key on or off.
    #[must_use]
    pub fn enabled(enabled: bool) -> Self {
        Self { enabled: Some(enabled), ..Self::default() }
    }

    /// Returns whether devices that have fetched the subscription are forgotten: with links that end at once, theirs do.
    #[must_use]
    pub const fn forgets_devices(&self) -> bool {
        self.revoke_links && self.keep_old_links.is_none()
    }

    /// Checks every value.
    pub fn validate(&self) -> Result<()> {
        const OP: &str = "keys.update";
        check_text(OP, "label", self.label.value().map(String::as_str), LABEL_MAX)?;
        check_text(OP, "note", self.note.value().map(String::as_str), NOTE_MAX)?;
        check_limit(OP, self.data_limit.value().copied())?;
        check_devices(OP, self.device_limit.value().copied())?;
        check_addresses(OP, self.address_limit.value().copied())?;
        check_length(OP, "delete_after", self.delete_after.value().copied())?;
        check_length(OP, "keep_old_links", self.keep_old_links)?;
        if self.keep_old_links.is_some_and(|time| time > KEEP_OLD_MAX) {
            return Err(Error::invalid(OP, "keep_old_links", "must be at most 366 days"));
        }
        if self.keep_old_links.is_some() && !self.revoke_links {
            return Err(
                Error::invalid(OP, "keep_old_links", "no links are revoked").hint("set `revoke_links`")
            );
        }
        check_labels(OP, self.labels.iter().map(|(name, value)| (name, value.as_ref())))?;
        if let Some(plan) = self.next_plan.value() {
            plan.validate(OP)?;
        }
        if let Some(hold) = self.hold.value() {
            if hold.duration.is_zero() || hold.duration > LONGEST {
                let message = "`duration` must be longer than nothing, and at most 3650000 days";
                return Err(Error::invalid(OP, "hold", message));
            }
            if !self.expires_at.is_keep() {
                return Err(Error::invalid(
                    OP,
                    "expires_at",
                    "a key on hold has no end yet: give `hold` or `expires_at`",
                ));
            }
        }
        check_credentials(OP, &self.credentials)
    }

    /// Checks what depends on the key itself.
    ///
    /// Errors: `NotFound` when its next plan is to begin and it has none; `InvalidInput` about `labels` when it would have too many, about
    /// `paused` when its time is over.
    pub fn check(&self, operation: &'static str, key: &Key, now: Timestamp) -> Result<()> {
        if self.paused == Some(true)
            && key.expires_at.is_some_and(|end| end <= now)
            && key.paused_at.is_none()
        {
            return Err(Error::invalid(
                operation,
                "paused",
                "the time of the key is over: nothing is left to keep",
            )
            .with("key", key.id));
        }
        if self.paused == Some(true) && key.status == KeyStatus::Locked {
            return Err(Error::invalid(operation, "paused", "the key is locked: its time goes on")
                .with("key", key.id));
        }
        if self.begin_next_plan && key.next_plan.is_none() && self.next_plan.value().is_none() {
            return Err(Error::new(ErrorKind::NotFound, operation, "the key has no next plan")
                .with("field", "next_plan")
                .with("key", key.id));
        }
        let new = self
            .labels
            .iter()
            .filter(|(name, value)| value.is_some() && !key.labels.contains_key(*name))
            .count();
        let gone = self
            .labels
            .iter()
            .filter(|(name, value)| value.is_none() && key.labels.contains_key(*name))
            .count();
        if new > gone && key.labels.len() + new > LABELS_MAX + gone {
            return Err(Error::invalid(
                operation,
                "labels",
                format!("the key would have more than {LABELS_MAX}"),
            )
            .with("key", key.id));
        }
        Ok(())
    }

    /// Changes `key` and settles it; returns what happened, its status aside, or `None` when nothing is different.
    ///
    /// Pure; the version and `updated_at` move only with a difference.
    pub fn apply(&self, key: &mut Key, now: Timestamp) -> Option<Vec<EventKind>> {
        let before = key.clone();
        if self.paused == Some(false) {
            // First: what is set now is not to be lengthened by a pause that is over.
            lifecycle::resume(key, now);
        }
        let mut happened = Vec::new();
        let mut updated = self.apply_fields(key, now, &mut happened);
        updated |= self.apply_end(key, now, &mut happened);
        if self.reset_usage && (key.used != 0 || key.status == KeyStatus::Limited) {
            lifecycle::reset_usage(key, now);
            happened.push(EventKind::KeyReset);
        }
        if self.begin_next_plan {
            happened.extend(lifecycle::begin_next_plan(key, now));
        }
        match self.enabled {
            Some(false) => key.status = KeyStatus::Disabled,
            Some(true) if key.status == KeyStatus::Disabled => key.status = KeyStatus::Active,
            _ => {}
        }
        if self.paused == Some(true) {
            lifecycle::pause(key, now);
        }
        happened.extend(lifecycle::settle(key, now));
        lifecycle::ended_by_hand(&before, key, now);
        // Of one that is disabled the status does not tell it.
        updated |= before.paused_at.is_some() != key.paused_at.is_some() && before.status == key.status;
        updated |= before.locked_until != key.locked_until && before.status == key.status;
        if updated {
            happened.insert(0, EventKind::KeyUpdated);
        }
        lifecycle::stamp(&before, key, now).then_some(happened)
    }

    /// Changes what has nothing to do with when the key ends.
    fn apply_fields(&self, key: &mut Key, now: Timestamp, happened: &mut Vec<EventKind>) -> bool {
        let mut changed = self.name.apply(&mut key.name);
        changed |= self.label.apply(&mut key.label);
        changed |= self.note.apply(&mut key.note);
        changed |= self.owner.apply(&mut key.owner);
        changed |= self.device_limit.apply(&mut key.device_limit);
        changed |= self.address_limit.apply(&mut key.address_limit);
        // The status tells it.
        self.locked_until.apply(&mut key.locked_until);
        changed |= self.delete_after.apply(&mut key.delete_after);
        changed |= self.next_plan.apply(&mut key.next_plan);
        for (name, value) in &self.labels {
            changed |= match value {
                Some(value) => key.labels.insert(name.clone(), value.clone()).as_ref() != Some(value),
                None => key.labels.remove(name).is_some(),
            };
        }
        if let Some(inbounds) = &self.inbounds {
            changed |= key.inbounds != *inbounds;
            key.inbounds = inbounds.clone();
        }
        if self.revoke_links {
            changed = true;
            key.link_revision = key.link_revision.wrapping_add(1) & Key::REVISION_MAX;
            if lifecycle::end_old_links(key) {
                happened.push(EventKind::KeyRevoked);
            }
            key.old_links_until = self.keep_old_links.map(|time| now.plus(time));
        }
        changed |= self.apply_credentials(key, happened);
        changed
    }

    fn apply_credentials(&self, key: &mut Key, happened: &mut Vec<EventKind>) -> bool {
        let (mut changed, mut kept) = (false, Vec::new());
        for new in &self.credentials {
            match key.credentials.iter_mut().find(|c| c.place() == new.place()) {
                Some(old) if old.secret == new.secret || self.keep_old_links.is_none() => {
                    // A certificate that is renewed ends with its time.
                    let renewed = new.certificate.is_some() && !self.revoke_links;
                    let revoked = old.secret != new.secret && !renewed;
                    if revoked && !happened.contains(&EventKind::KeyRevoked) {
                        happened.push(EventKind::KeyRevoked);
                    }
                    // Its address stays with the device.
                    let new = Credential { slot: new.slot.or(old.slot), ..new.clone() };
                    changed |= *old != new;
                    *old = new;
                }
                Some(old) => {
                    let replaced = std::mem::replace(old, new.clone());
                    kept.push(Credential { device: replaced.device.replaced(), ..replaced });
                    changed = true;
                }
                None => {
                    key.credentials.push(new.clone());
                    changed = true;
                }
            }
        }
        key.credentials.append(&mut kept);
        key.credentials.sort_by(|a, b| a.place().cmp(&b.place()));
        changed
    }

    /// Changes when it ends.
    fn apply_end(&self, key: &mut Key, now: Timestamp, happened: &mut Vec<EventKind>) -> bool {
        let mut changed = self.data_limit.apply(&mut key.data_limit);
        if !self.expires_at.is_keep() {
            changed |= self.expires_at.apply(&mut key.expires_at);
            // An end that is known is not waited for, and what is left up to it counts from now.
            changed |= key.hold.take().is_some();
            key.paused_at = key.paused_at.map(|_| now);
        }
        match &self.hold {
            Patch::Set(hold) if key.hold != Some(*hold) => {
                key.hold = Some(*hold);
                (key.expires_at, key.started_at, key.resets_at) = (None, None, None);
                changed = true;
            }
            Patch::Clear if key.hold.is_some() => {
                lifecycle::start(key, key.paused_at.unwrap_or(now));
                happened.push(EventKind::KeyStarted);
            }
            _ => {}
        }
        let period = |reset: &Option<DataReset>| reset.as_ref().map(|reset| reset.every);
        let (every, resets_at) = (period(&key.reset), key.resets_at);
        if self.reset.apply(&mut key.reset) {
            changed = true;
            key.resets_at = lifecycle::first_reset(key, now);
            if every == period(&key.reset) {
                // Another calendar gives no reset before the one that it was promised.
                key.resets_at = key.resets_at.max(resets_at);
            }
        }
        changed
    }
}
