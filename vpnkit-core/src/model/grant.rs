//! What keys are given: extensions, and the ledger of what was granted.

use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::check_key::{NOTE_MAX, check_length, check_limit, check_text};
use super::{AdminId, ByteSize, Cause, Key, KeyId, KeyRef, NextPlan};
use crate::{Error, Result, Timestamp};

/// The integer id of a grant: given by the store, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GrantId(pub i64);

/// What happens to what a key still has when it is extended. These are the five ways in which shops renew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RenewPolicy {
    /// Keeps both: the time is added to the end of the key, or to now once that is over; the volume is added to the limit.
    #[default]
    CarryOver,
    /// Begins again: the time counts from now, the volume is the new limit, and nothing is used.
    Reset,
    /// The time counts from now; the volume is added to the limit.
    ResetTime,
    /// The time is added; the volume is the new limit, and nothing is used.
    ResetData,
    /// The time is added; what is left of the limit and the volume together are the new limit, and nothing is used.
    RemainingToTotal,
}

impl RenewPolicy {
    /// Every policy.
    pub const ALL: &'static [Self] =
        &[Self::CarryOver, Self::Reset, Self::ResetTime, Self::ResetData, Self::RemainingToTotal];

    /// Whether the time counts from now.
    #[must_use]
    pub const fn resets_time(self) -> bool {
        matches!(self, Self::Reset | Self::ResetTime)
    }
}

/// What a key is given. What is left out stays, but for what the policy sets to nothing.
///
/// ```
/// use vpnkit_core::model::{ByteSize, Extension, RenewPolicy};
/// let month = Extension::days(30).data_limit(ByteSize::gib(50)).policy(RenewPolicy::CarryOver);
/// month.validate("keys.extend")?;
/// # Ok::<(), vpnkit_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Extension {
    /// The time to give. A key that never ends keeps it so unless the policy counts from now.
    #[serde(with = "super::span::optional")]
    #[schemars(with = "Option<super::DurationText>")]
    pub expires_in: Option<Duration>,
    /// The volume to give, at least one byte. An unlimited key stays so when volume is added.
    pub data_limit: Option<ByteSize>,
    /// Makes the key unlimited; not together with `data_limit`.
    pub unlimited: bool,
    /// The name of a template: it says what is not given here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// What happens to what the key still has.
    pub policy: RenewPolicy,
    /// Why, for the ledger: up to 4,000 characters.
    pub reason: Option<String>,
}

impl Extension {
    /// Gives days of 24 hours.
    #[must_use]
    pub fn days(days: u32) -> Self {
        Self { expires_in: Some(Duration::from_secs(u64::from(days) * 86_400)), ..Self::default() }
    }

    /// Sets the time.
    #[must_use]
    pub fn expires_in(mut self, time: Duration) -> Self {
        self.expires_in = Some(time);
        self
    }

    /// Sets the volume.
    #[must_use]
    pub fn data_limit(mut self, volume: ByteSize) -> Self {
        self.data_limit = Some(volume);
        self
    }

    /// Makes the key unlimited.
    #[must_use]
    pub fn unlimited(mut self) -> Self {
        self.unlimited = true;
        self
    }

    /// Sets the template that says what is not given.
    #[must_use]
    pub fn template(mut self, name: impl Into<String>) -> Self {
        self.template = Some(name.into());
        self
    }

    /// Sets the policy.
    #[must_use]
    pub fn policy(mut self, policy: RenewPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets why.
    #[must_use]
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Checks every value.
    ///
    /// Errors: `InvalidInput` with the `field`.
    pub fn validate(&self, operation: &'static str) -> Result<()> {
        if self.expires_in.is_none() && self.data_limit.is_none() && !self.unlimited {
            return Err(Error::invalid(operation, "expires_in", "nothing is granted")
                .hint("give `expires_in`, `data_limit`, `unlimited` or a `template`"));
        }
        check_length(operation, "expires_in", self.expires_in)?;
        check_limit(operation, self.data_limit)?;
        if self.unlimited && self.data_limit.is_some() {
            return Err(Error::invalid(operation, "unlimited", "give `data_limit` or `unlimited`, not both"));
        }
        check_reason(operation, self.reason.as_deref())
    }

    /// Checks what depends on the key: what is paid for must be given, and only once.
    ///
    /// Errors: `InvalidInput` about `expires_in` or `data_limit` when the key never ends or is unlimited and nothing else is given, when
    /// nothing is left of its limit after a refund, or when volume would be added to a limit that comes back.
    pub fn check(&self, operation: &'static str, key: &Key) -> Result<()> {
        let fault = |field, message| Error::invalid(operation, field, message).with("key", key.id);
        let endless = key.expires_at.is_none() && key.hold.is_none() && !self.policy.resets_time();
        let gives_time = self.expires_in.is_some() && !endless;
        let resets_data = matches!(self.policy, RenewPolicy::Reset | RenewPolicy::ResetData);
        let gives_volume =
            self.unlimited || (self.data_limit.is_some() && (key.data_limit.is_some() || resets_data));
        if !gives_time && !gives_volume && !resets_data {
            return Err(match self.expires_in {
                Some(_) => fault("expires_in", "the key never ends: nothing would be given"),
                None => fault("data_limit", "the key is unlimited: nothing would be given"),
            });
        }
        if key.data_limit == Some(ByteSize::default()) && self.data_limit.is_none() && !self.unlimited {
            let fault = fault("data_limit", "the key has no volume since a refund: it could not be used");
            return Err(fault.hint("give `data_limit` or `unlimited`"));
        }
        let adds = matches!(
            self.policy,
            RenewPolicy::CarryOver | RenewPolicy::ResetTime | RenewPolicy::RemainingToTotal
        );
        if key.reset.is_some() && self.data_limit.is_some() && key.data_limit.is_some() && adds {
            return Err(Error::invalid(
                operation,
                "data_limit",
                "the usage of this key is set to nothing again and again: what is added would be given each time",
            )
            .with("key", key.id)
            .hint("extend it without `data_limit`, or set a new limit with the policy `reset` or `reset_data`"));
        }
        Ok(())
    }
}

/// Checks why something was given or taken back: up to 4,000 characters without control characters.
///
/// Errors: `InvalidInput` about `reason`.
pub fn check_reason(operation: &'static str, reason: Option<&str>) -> Result<()> {
    check_text(operation, "reason", reason, NOTE_MAX)
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GrantKind {
    /// The key was created with it.
    Created,
    /// The key was extended.
    Extended,
    /// Its next plan has begun.
    NextPlan,
}

/// When a key ends and how much it may use, at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Terms {
    /// When it ends; `None` is never, or not known yet while it is on hold.
    pub expires_at: Option<Timestamp>,
    /// How long it lasts from its first connection on, while it waits for that.
    #[serde(with = "super::span::optional")]
    #[schemars(with = "Option<super::DurationText>")]
    pub hold: Option<Duration>,
    /// How much it may use; `None` is unlimited.
    pub data_limit: Option<ByteSize>,
    /// Bytes that count against the limit.
    #[schemars(with = "ByteSize")]
    pub used: u64,
    /// When `used` was last set to nothing.
    pub reset_at: Option<Timestamp>,
}

impl Terms {
    /// Returns those of a key.
    #[must_use]
    pub fn of(key: &Key) -> Self {
        Self {
            expires_at: key.expires_at,
            hold: key.hold.map(|hold| hold.duration),
            data_limit: key.data_limit,
            used: key.used,
            reset_at: key.reset_at,
        }
    }

    /// Returns what is left of the limit; `None` is unlimited.
    #[must_use]
    pub fn remaining(&self) -> Option<u64> {
        self.data_limit.map(|limit| limit.bytes().saturating_sub(self.used))
    }
}

/// An entry of the ledger: what a key was given, and what it had before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Grant {
    /// Integer id, never used again.
    pub id: GrantId,
    /// The key. The entry stays when it is deleted.
    pub key: KeyId,
    /// The UUID of the key.
    pub key_uid: Uuid,
    /// The admin who owned the key then.
    #[serde(default)]
    pub owner: Option<AdminId>,
    /// When it was given.
    pub at: Timestamp,
    /// What was done.
    pub kind: GrantKind,
    /// The idempotency key of the call: the payment.
    pub idempotency_key: Option<String>,
    /// The time that was given.
    #[serde(with = "super::span::optional")]
    #[schemars(with = "Option<super::DurationText>")]
    pub expires_in: Option<Duration>,
    /// The volume that was given.
    pub data_limit: Option<ByteSize>,
    /// It made the key unlimited.
    pub unlimited: bool,
    /// The template that it was made of.
    pub template: Option<String>,
    /// The key that it is what was left of: that one was merged into this one.
    pub merged_from: Option<KeyId>,
    /// What happened to what the key had.
    pub policy: RenewPolicy,
    /// Why.
    pub reason: Option<String>,
    /// Who gave it, as the application has said.
    pub actor: Option<String>,
    /// The admin in whose name it was given.
    #[serde(default)]
    pub by_admin: Option<AdminId>,
    /// Since when its time counts: `at`, or when the key was paused.
    pub counted_from: Timestamp,
    /// What the key had before. An undone grant is taken out of those of later entries.
    pub before: Terms,
    /// What it had afterwards.
    pub after: Terms,
    /// When it was undone.
    pub undone_at: Option<Timestamp>,
    /// Why it was undone.
    pub undone_because: Option<String>,
}

impl Grant {
    /// Returns the entry of a key that was created; the store gives it its id.
    #[must_use]
    pub fn created(key: &Key, idempotency_key: Option<String>) -> Self {
        let at = key.created_at;
        let after = Terms::of(key);
        // Without it there would be no time. What has no limit has none without it either: its end is enough.
        let before = Terms {
            expires_at: if after.hold.is_some() { None } else { Some(at) },
            hold: after.hold.map(|_| Duration::ZERO),
            data_limit: after.data_limit.map(|_| ByteSize::default()),
            used: 0,
            reset_at: None,
        };
        Self {
            id: GrantId(0),
            key: key.id,
            key_uid: key.uid,
            owner: key.owner,
            at,
            kind: GrantKind::Created,
            idempotency_key,
            expires_in: after.hold.or_else(|| after.expires_at.map(|end| end.since(at))),
            data_limit: after.data_limit,
            unlimited: after.data_limit.is_none(),
            template: None,
            merged_from: None,
            policy: RenewPolicy::Reset,
            reason: None,
            actor: None,
            by_admin: None,
            counted_from: at,
            before,
            after,
            undone_at: None,
            undone_because: None,
        }
    }

    /// Returns the entry of a next plan that has begun; the store gives it its id.
    #[must_use]
    pub fn begun(before: &Key, after: &Key, plan: NextPlan, at: Timestamp) -> Self {
        Self {
            id: GrantId(0),
            key: after.id,
            key_uid: after.uid,
            owner: after.owner,
            at,
            kind: GrantKind::NextPlan,
            idempotency_key: None,
            expires_in: plan.duration,
            data_limit: plan.data_limit,
            unlimited: plan.data_limit.is_none(),
            template: None,
            merged_from: None,
            policy: if plan.add_remaining_traffic {
                RenewPolicy::RemainingToTotal
            } else {
                RenewPolicy::Reset
            },
            reason: None,
            actor: None,
            by_admin: None,
            counted_from: after.paused_at.unwrap_or(at),
            before: Terms::of(before),
            after: Terms::of(after),
            undone_at: None,
            undone_because: None,
        }
    }

    /// Sets who gave it, and why unless that is known.
    #[must_use]
    pub fn caused_by(mut self, cause: Option<&Cause>) -> Self {
        self.actor = cause.and_then(|cause| cause.actor.clone());
        self.by_admin = cause.and_then(|cause| cause.by_admin);
        self.reason = self.reason.or_else(|| cause.and_then(|cause| cause.reason.clone()));
        self
    }

    /// Returns what it gave, as it was asked for.
    #[must_use]
    pub fn extension(&self) -> Extension {
        Extension {
            expires_in: self.expires_in,
            data_limit: self.data_limit,
            unlimited: self.unlimited,
            template: self.template.clone(),
            policy: self.policy,
            reason: self.reason.clone(),
        }
    }
}

/// Which entries of the ledger, oldest first. The default is the first 100 of all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GrantQuery {
    /// Only of this key, by id also when it was deleted.
    #[schemars(extend("x-positional" = true))]
    pub key: Option<KeyRef>,
    /// Only of this idempotency key: of a payment.
    pub idempotency_key: Option<String>,
    /// Only from this time on.
    pub since: Option<Timestamp>,
    /// Only before this time.
    pub until: Option<Timestamp>,
    /// Only those behind this entry: the last one of the answer before.
    pub after: Option<GrantId>,
    /// At most so many: 1 to 1,000.
    pub limit: u32,
}

impl Default for GrantQuery {
    fn default() -> Self {
        Self { key: None, idempotency_key: None, since: None, until: None, after: None, limit: 100 }
    }
}

impl GrantQuery {
    /// The most entries of one answer.
    pub const MAX_LIMIT: u32 = 1_000;

    /// Of one key.
    pub fn of(key: impl Into<KeyRef>) -> Self {
        Self { key: Some(key.into()), ..Self::default() }
    }

    /// Of one idempotency key.
    pub fn of_payment(idempotency_key: impl Into<String>) -> Self {
        Self { idempotency_key: Some(idempotency_key.into()), ..Self::default() }
    }

    /// Checks the limit.
    ///
    /// Errors: `InvalidInput` about `limit`.
    pub fn validate(&self, operation: &'static str) -> Result<()> {
        if !(1..=Self::MAX_LIMIT).contains(&self.limit) {
            return Err(Error::invalid(operation, "limit", "must be 1 to 1000").with("value", self.limit));
        }
        Ok(())
    }
}

/// A grant by its id, or the only one of a payment. In JSON a number is an id, a text an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum GrantRef {
    /// By id.
    Id(GrantId),
    /// By the idempotency key of the call that gave it.
    Payment(String),
}

impl From<GrantId> for GrantRef {
    fn from(id: GrantId) -> Self {
        Self::Id(id)
    }
}

impl From<&str> for GrantRef {
    fn from(idempotency_key: &str) -> Self {
        Self::Payment(idempotency_key.to_owned())
    }
}

impl JsonSchema for GrantRef {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "GrantRef".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["integer", "string"], "format": "grant-ref" })
    }
}
