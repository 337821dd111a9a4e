//! What a caller asks for when creating a key.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::check_key::{
    LABEL_MAX, NOTE_MAX, check_addresses, check_credentials, check_devices, check_length, check_limit,
    check_next_plan, check_text,
};
use super::labels::check_labels;
use super::{
    AdminId, ByteSize, Credential, DataReset, Hold, InboundSelection, InboundTag, Key, KeyId, KeyName,
    KeyStatus, Labels, NextPlan, Traffic,
};
use crate::{Error, Result, Timestamp};

/// A key to be created. Everything is optional: without a limit it is unlimited, without a time it never ends.
///
/// Its JSON leaves out what came with later versions unless it is given: a payment that was told to an earlier version is known by it.
///
/// ```
/// use std::time::Duration;
/// use vpnkit_core::model::{ByteSize, CreateKey};
/// let request = CreateKey::named("alice")
///     .data_limit(ByteSize::gib(50))
///     .expires_in(Duration::from_secs(30 * 86_400));
/// # let _ = request;
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CreateKey {
    /// The handle: 1 to 64 of `A-Z a-z 0-9 . _ @ + -`, unique without regard to case.
    #[schemars(extend("x-positional" = true))]
    pub name: Option<String>,
    /// Free text, up to 256 characters.
    pub label: Option<String>,
    /// What it is found by: up to 16 names (1 to 32 of `a-z 0-9 _ -`) with values of 1 to 128 characters.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Free text, up to 4,000 characters.
    pub note: Option<String>,
    /// The id of the owning admin.
    pub owner: Option<AdminId>,
    /// At least one byte; `None` is unlimited.
    pub data_limit: Option<ByteSize>,
    /// A time in the future; `None` is never. Not together with `expires_in`.
    pub expires_at: Option<Timestamp>,
    /// From the creation on. Not together with `expires_at`.
    #[serde(with = "super::span::optional")]
    #[schemars(with = "Option<super::DurationText>")]
    pub expires_in: Option<Duration>,
    /// Whether its time begins with its first connection: `expires_in` is how long it lasts from then on.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub on_hold: bool,
    /// When the time of a key on hold begins without a connection; `None` waits for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_until: Option<Timestamp>,
    /// How often its usage is set to nothing; `None` is never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reset: Option<DataReset>,
    /// What it becomes when its time is over or its limit is used up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_plan: Option<NextPlan>,
    /// How long after its time or its limit has ended it is deleted; `None` is never.
    #[serde(with = "super::span::optional", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<super::DurationText>")]
    pub delete_after: Option<Duration>,
    /// On how many devices its subscription may be, at least 1; `None` is as the settings say.
    pub device_limit: Option<u32>,
    /// At how many addresses at once it may be used, at least 1; `None` is any number. What happens to one that is used at more, the
    /// configuration says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address_limit: Option<u32>,
    /// Tags of inbounds; all shared ones by default, also those that come later.
    pub inbounds: InboundSelection,
    /// Existing credentials, for keys that move in from elsewhere; missing ones are made.
    pub credentials: Vec<Credential>,
    /// Created switched off.
    pub disabled: bool,
    /// The name of a template: it says what is not given here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// The same text again returns the first key instead of a second one: a payment, scoped by its provider as in
    /// `yookassa:2d9f`. It is kept for good, and cannot be used for an extension too.
    pub idempotency_key: Option<String>,
}

impl CreateKey {
    /// A request with a name.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..Self::default() }
    }

    /// Sets the data limit.
    #[must_use]
    pub fn data_limit(mut self, limit: ByteSize) -> Self {
        self.data_limit = Some(limit);
        self
    }

    /// Sets the expiry relative to now.
    #[must_use]
    pub fn expires_in(mut self, time: Duration) -> Self {
        self.expires_in = Some(time);
        self
    }

    /// Sets the expiry.
    #[must_use]
    pub fn expires_at(mut self, at: Timestamp) -> Self {
        self.expires_at = Some(at);
        self
    }

    /// Sets on how many devices its subscription may be.
    #[must_use]
    pub fn device_limit(mut self, limit: u32) -> Self {
        self.device_limit = Some(limit);
        self
    }

    /// Sets the label.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Sets a label that it is found by.
    #[must_use]
    pub fn labelled(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// Lets its time begin with its first connection.
    #[must_use]
    pub fn on_hold(mut self) -> Self {
        self.on_hold = true;
        self
    }

    /// Sets how often its usage is set to nothing.
    #[must_use]
    pub fn reset(mut self, reset: DataReset) -> Self {
        self.reset = Some(reset);
        self
    }

    /// Sets what it becomes when its time is over or its limit is used up.
    #[must_use]
    pub fn next_plan(mut self, plan: NextPlan) -> Self {
        self.next_plan = Some(plan);
        self
    }

    /// Sets how long after its end it is deleted.
    #[must_use]
    pub fn delete_after(mut self, time: Duration) -> Self {
        self.delete_after = Some(time);
        self
    }

    /// Sets the note.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// Sets the template that says what is not given.
    #[must_use]
    pub fn template(mut self, name: impl Into<String>) -> Self {
        self.template = Some(name.into());
        self
    }

    /// Restricts it to these inbounds.
    #[must_use]
    pub fn only(mut self, inbounds: Vec<InboundTag>) -> Self {
        self.inbounds = InboundSelection::Only(inbounds);
        self
    }

    /// Sets the idempotency key.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// Checks everything and gives the key its UUID.
    pub fn validate(self, now: Timestamp) -> Result<NewKey> {
        const OP: &str = "keys.create";
        let hold = self.hold(OP, now)?;
        let name = self.name.map(KeyName::new).transpose().map_err(|e| e.during(OP))?;
        check_text(OP, "label", self.label.as_deref(), LABEL_MAX)?;
        check_text(OP, "note", self.note.as_deref(), NOTE_MAX)?;
        check_limit(OP, self.data_limit)?;
        check_devices(OP, self.device_limit)?;
        check_addresses(OP, self.address_limit)?;
        check_length(OP, "expires_in", self.expires_in)?;
        check_length(OP, "delete_after", self.delete_after)?;
        check_labels(OP, self.labels.iter().map(|(name, value)| (name, Some(value))))?;
        check_next_plan(
            OP,
            self.next_plan,
            self.data_limit.is_some() || self.expires_at.is_some() || self.expires_in.is_some(),
        )?;
        check_credentials(OP, &self.credentials)?;
        let expires_at = match (self.expires_at, self.expires_in) {
            (Some(_), Some(_)) => {
                return Err(Error::invalid(OP, "expires_in", "give `expires_at` or `expires_in`, not both"));
            }
            (Some(at), None) if at <= now => {
                return Err(Error::invalid(OP, "expires_at", "is in the past")
                    .with("value", at)
                    .with("now", now));
            }
            (_, Some(_)) if hold.is_some() => None,
            (at, time) => at.or_else(|| time.map(|t| now.plus(t))),
        };
        Ok(NewKey {
            uid: Uuid::now_v7(),
            name,
            label: self.label,
            labels: self.labels,
            note: self.note,
            owner: self.owner,
            data_limit: self.data_limit,
            expires_at,
            hold,
            reset: self.reset,
            next_plan: self.next_plan,
            delete_after: self.delete_after,
            device_limit: self.device_limit,
            address_limit: self.address_limit,
            inbounds: self.inbounds,
            credentials: self.credentials,
            disabled: self.disabled,
            template: self.template,
            suspended: false,
        })
    }

    /// Its hold, if it is to be created on hold.
    fn hold(&self, op: &'static str, now: Timestamp) -> Result<Option<Hold>> {
        match (self.on_hold, self.hold_until) {
            (false, Some(_)) => {
                Err(Error::invalid(op, "hold_until", "the key is not on hold").hint("set `on_hold`"))
            }
            (false, None) => Ok(None),
            (true, _) if self.expires_at.is_some() => {
                Err(Error::invalid(op, "expires_at", "a key on hold has no end yet")
                    .hint("give `expires_in`"))
            }
            (true, Some(until)) if until <= now => {
                Err(Error::invalid(op, "hold_until", "is in the past").with("value", until).with("now", now))
            }
            (true, until) => match self.expires_in {
                Some(duration) => Ok(Some(Hold { duration, until })),
                None => Err(Error::invalid(
                    op,
                    "expires_in",
                    "is needed: how long a key on hold lasts from its first connection on",
                )),
            },
        }
    }
}

/// A checked key that has no id yet.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct NewKey {
    /// Globally unique id.
    pub uid: Uuid,
    /// The handle.
    pub name: Option<KeyName>,
    /// Free text.
    pub label: Option<String>,
    /// What it is found by.
    pub labels: Labels,
    /// Free text for the operator.
    pub note: Option<String>,
    /// The owning admin.
    pub owner: Option<AdminId>,
    /// `None` is unlimited.
    pub data_limit: Option<ByteSize>,
    /// `None` is never.
    pub expires_at: Option<Timestamp>,
    /// It waits for its first connection.
    pub hold: Option<Hold>,
    /// How often its usage is set to nothing.
    pub reset: Option<DataReset>,
    /// What it becomes when it has ended.
    pub next_plan: Option<NextPlan>,
    /// How long after its end it is deleted.
    pub delete_after: Option<Duration>,
    /// `None` is as the settings say.
    pub device_limit: Option<u32>,
    /// `None` is any number.
    pub address_limit: Option<u32>,
    /// Which inbounds.
    pub inbounds: InboundSelection,
    /// What it connects with.
    pub credentials: Vec<Credential>,
    /// Created switched off.
    pub disabled: bool,
    /// What it was made of, for the ledger.
    pub template: Option<String>,
    /// Whether the keys of its owner have used what they may: the store says it.
    pub suspended: bool,
}

impl NewKey {
    /// The key as it is once the store has given it an id.
    #[must_use]
    pub fn into_key(self, id: KeyId, now: Timestamp) -> Key {
        let mut key = Key {
            id,
            uid: self.uid,
            version: 1,
            name: self.name,
            label: self.label,
            labels: self.labels,
            note: self.note,
            owner: self.owner,
            status: if self.disabled { KeyStatus::Disabled } else { KeyStatus::Active },
            data_limit: self.data_limit,
            used: 0,
            traffic: Traffic::default(),
            expires_at: self.expires_at,
            hold: self.hold,
            paused_at: None,
            reset: self.reset,
            resets_at: None,
            reset_at: None,
            next_plan: self.next_plan,
            delete_after: self.delete_after,
            ended_at: None,
            device_limit: self.device_limit,
            address_limit: self.address_limit,
            locked_until: None,
            suspended: self.suspended,
            link_revision: 0,
            old_links_until: None,
            inbounds: self.inbounds,
            credentials: self.credentials,
            created_at: now,
            started_at: None,
            updated_at: now,
            first_seen_at: None,
            seen_at: None,
            replayed: false,
        };
        key.credentials.sort_by(|a, b| a.place().cmp(&b.place()));
        crate::lifecycle::settle(&mut key, now);
        key.version = 1;
        key
    }
}
