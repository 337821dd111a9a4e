//! What one customer holds.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

use super::{AdminId, ByteSize, Credential, InboundTag, KeyId, KeyName};
use crate::{Error, ErrorKind, Result, Timestamp};

/// Whether a key may connect, and if not, why. See [`crate::lifecycle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum KeyStatus {
    /// May connect.
    Active,
    /// Switched off by hand.
    Disabled,
    /// The data limit is used up.
    Limited,
    /// Its time is over.
    Expired,
}

impl KeyStatus {
    /// Every status.
    pub const ALL: &'static [Self] = &[Self::Active, Self::Disabled, Self::Limited, Self::Expired];

    /// The stable name.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Limited => "limited",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for KeyStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for KeyStatus {
    type Err = Error;
    fn from_str(code: &str) -> Result<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|s| s.code() == code)
            .ok_or_else(|| Error::invalid("key.status", "status", "unknown status").with("value", code))
    }
}

/// Bytes in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Traffic {
    /// Client to server.
    #[schemars(with = "ByteSize")]
    pub up: u64,
    /// Server to client.
    #[schemars(with = "ByteSize")]
    pub down: u64,
}

impl Traffic {
    /// Both directions together.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.up.saturating_add(self.down)
    }

    /// The sum of both, direction by direction.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self { up: self.up.saturating_add(other.up), down: self.down.saturating_add(other.down) }
    }
}

/// Which inbounds a key is on. Inbounds that are dedicated to a key are always its own. In JSON a list of tags, or `null`
/// for all.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Option<Vec<InboundTag>>", into = "Option<Vec<InboundTag>>")]
pub enum InboundSelection {
    /// All shared ones, also those that come later.
    #[default]
    All,
    /// Only these.
    Only(Vec<InboundTag>),
}

impl From<Option<Vec<InboundTag>>> for InboundSelection {
    fn from(tags: Option<Vec<InboundTag>>) -> Self {
        tags.map_or(Self::All, Self::Only)
    }
}

impl From<InboundSelection> for Option<Vec<InboundTag>> {
    fn from(selection: InboundSelection) -> Self {
        match selection {
            InboundSelection::All => None,
            InboundSelection::Only(tags) => Some(tags),
        }
    }
}

impl JsonSchema for InboundSelection {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "InboundSelection".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["array", "null"], "format": "inbounds", "items": { "type": "string" } })
    }
}

/// A customer's key as it stands in the store. Its JSON has what is left of the limit too, as `remaining`; secrets are
/// not shown: [`crate::Secret::reveal`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(transform = with_remaining)]
pub struct Key {
    /// Integer id, never used again.
    pub id: KeyId,
    /// Globally unique id.
    pub uid: Uuid,
    /// Grows by one with every change but traffic.
    pub version: u64,
    /// The handle, unique without regard to case.
    pub name: Option<KeyName>,
    /// Free text, need not be unique.
    pub label: Option<String>,
    /// Free text for the operator.
    pub note: Option<String>,
    /// The admin who owns it.
    pub owner: Option<AdminId>,
    /// Whether it may connect.
    pub status: KeyStatus,
    /// How much it may use; `None` is unlimited.
    pub data_limit: Option<ByteSize>,
    /// Bytes that count against the limit.
    #[schemars(with = "ByteSize")]
    pub used: u64,
    /// Bytes over the whole life of the key; a reset of `used` leaves them.
    pub traffic: Traffic,
    /// When it ends; `None` is never.
    pub expires_at: Option<Timestamp>,
    /// On how many devices its subscription may be; `None` is as the settings say.
    pub device_limit: Option<u32>,
    /// Grows when its links are revoked.
    #[serde(default)]
    pub link_revision: u32,
    /// Which inbounds it is on.
    pub inbounds: InboundSelection,
    /// What it connects with.
    pub credentials: Vec<Credential>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed, traffic aside.
    pub updated_at: Timestamp,
    /// When traffic of it was last seen.
    pub seen_at: Option<Timestamp>,
    /// This answer is that of an earlier call with the same idempotency key: nothing was created now.
    #[serde(default)]
    pub replayed: bool,
}

fn with_remaining(schema: &mut Schema) {
    let Some(properties) = schema.get_mut("properties").and_then(|p| p.as_object_mut()) else { return };
    let remaining = json_schema!({
        "description": "What is left of the limit; `null` is unlimited.",
        "type": ["integer", "null"],
        "format": "bytes",
    });
    let mut all = serde_json::Map::new();
    for (name, property) in std::mem::take(properties) {
        let used = name == "used";
        all.insert(name, property);
        if used {
            all.insert("remaining".to_owned(), remaining.clone().to_value());
        }
    }
    *properties = all;
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        let remaining = self.remaining();
        let Self {
            id,
            uid,
            version,
            name,
            label,
            note,
            owner,
            status,
            data_limit,
            used,
            traffic,
            expires_at,
            device_limit,
            link_revision,
            inbounds,
            credentials,
            created_at,
            updated_at,
            seen_at,
            replayed,
        } = self;
        let mut fields = s.serialize_struct("Key", 21)?;
        fields.serialize_field("id", id)?;
        fields.serialize_field("uid", uid)?;
        fields.serialize_field("version", version)?;
        fields.serialize_field("name", name)?;
        fields.serialize_field("label", label)?;
        fields.serialize_field("note", note)?;
        fields.serialize_field("owner", owner)?;
        fields.serialize_field("status", status)?;
        fields.serialize_field("data_limit", data_limit)?;
        fields.serialize_field("used", used)?;
        fields.serialize_field("remaining", &remaining)?;
        fields.serialize_field("traffic", traffic)?;
        fields.serialize_field("expires_at", expires_at)?;
        fields.serialize_field("device_limit", device_limit)?;
        fields.serialize_field("link_revision", link_revision)?;
        fields.serialize_field("inbounds", inbounds)?;
        fields.serialize_field("credentials", credentials)?;
        fields.serialize_field("created_at", created_at)?;
        fields.serialize_field("updated_at", updated_at)?;
        fields.serialize_field("seen_at", seen_at)?;
        fields.serialize_field("replayed", replayed)?;
        fields.end()
    }
}

impl Key {
    /// Tokens carry 24 bits of [`Self::link_revision`].
    pub(crate) const REVISION_MAX: u32 = (1 << 24) - 1;

    /// What is left of the limit; `None` is unlimited.
    #[must_use]
    pub fn remaining(&self) -> Option<u64> {
        self.data_limit.map(|limit| limit.bytes().saturating_sub(self.used))
    }

    /// Its identities, for events.
    #[must_use]
    pub fn subject(&self) -> super::EventSubject {
        super::EventSubject::Key { id: self.id, uid: self.uid }
    }
}

/// What a caller asks for when creating a key. Everything is optional.
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
    /// The handle: see [`KeyName`].
    pub name: Option<String>,
    /// Free text, up to 256 characters.
    pub label: Option<String>,
    /// Free text, up to 4,000 characters.
    pub note: Option<String>,
    /// The owning admin.
    pub owner: Option<AdminId>,
    /// At least one byte; `None` is unlimited.
    pub data_limit: Option<ByteSize>,
    /// In the future; `None` is never. Not together with `expires_in`.
    pub expires_at: Option<Timestamp>,
    /// From now on; in JSON a text with its unit ([`super::parse_duration`]). Not together with `expires_at`.
    #[serde(with = "super::span::optional")]
    #[schemars(with = "Option<super::DurationText>")]
    pub expires_in: Option<Duration>,
    /// On how many devices its subscription may be, at least 1; `None` is as the settings say.
    pub device_limit: Option<u32>,
    /// Which inbounds.
    pub inbounds: InboundSelection,
    /// Existing credentials, for keys that move in from elsewhere; missing ones are made.
    pub credentials: Vec<Credential>,
    /// Created switched off.
    pub disabled: bool,
    /// The same text again returns the first result instead of a second key: a payment id.
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

    /// Sets the note.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
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
        let name = self.name.map(KeyName::new).transpose().map_err(|e| e.during(OP))?;
        check_text(OP, "label", self.label.as_deref(), LABEL_MAX)?;
        check_text(OP, "note", self.note.as_deref(), NOTE_MAX)?;
        check_limit(OP, self.data_limit)?;
        check_devices(OP, self.device_limit)?;
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
            (None, Some(time)) if time.is_zero() => {
                return Err(Error::invalid(OP, "expires_in", "must be longer than nothing"));
            }
            (at, time) => at.or_else(|| time.map(|t| now.plus(t))),
        };
        Ok(NewKey {
            uid: Uuid::now_v7(),
            name,
            label: self.label,
            note: self.note,
            owner: self.owner,
            data_limit: self.data_limit,
            expires_at,
            device_limit: self.device_limit,
            inbounds: self.inbounds,
            credentials: self.credentials,
            disabled: self.disabled,
        })
    }
}

/// A checked key that has no id yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// Globally unique id.
    pub uid: Uuid,
    /// The handle.
    pub name: Option<KeyName>,
    /// Free text.
    pub label: Option<String>,
    /// Free text for the operator.
    pub note: Option<String>,
    /// The owning admin.
    pub owner: Option<AdminId>,
    /// `None` is unlimited.
    pub data_limit: Option<ByteSize>,
    /// `None` is never.
    pub expires_at: Option<Timestamp>,
    /// `None` is as the settings say.
    pub device_limit: Option<u32>,
    /// Which inbounds.
    pub inbounds: InboundSelection,
    /// What it connects with.
    pub credentials: Vec<Credential>,
    /// Created switched off.
    pub disabled: bool,
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
            note: self.note,
            owner: self.owner,
            status: if self.disabled { KeyStatus::Disabled } else { KeyStatus::Active },
            data_limit: self.data_limit,
            used: 0,
            traffic: Traffic::default(),
            expires_at: self.expires_at,
            device_limit: self.device_limit,
            link_revision: 0,
            inbounds: self.inbounds,
            credentials: self.credentials,
            created_at: now,
            updated_at: now,
            seen_at: None,
            replayed: false,
        };
        key.credentials.sort_by(|a, b| (a.protocol(), &a.device).cmp(&(b.protocol(), &b.device)));
        key.status = crate::lifecycle::judge(&key, now);
        key
    }
}

/// The longest label, in characters.
pub(crate) const LABEL_MAX: usize = 256;
/// The longest note, in characters.
pub(crate) const NOTE_MAX: usize = 4_000;

pub(super) fn check_text(op: &'static str, field: &str, text: Option<&str>, max: usize) -> Result<()> {
    let Some(text) = text else { return Ok(()) };
    if text.chars().count() > max {
        return Err(Error::invalid(op, field, format!("longer than {max} characters")));
    }
    if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
        return Err(Error::invalid(op, field, "contains control characters"));
    }
    Ok(())
}

pub(super) fn check_limit(op: &'static str, limit: Option<ByteSize>) -> Result<()> {
    if limit == Some(ByteSize::default()) {
        return Err(Error::invalid(op, "data_limit", "0 bytes would let nobody through")
            .hint("leave the limit out for an unlimited key, disable the key to stop it"));
    }
    Ok(())
}

pub(super) fn check_devices(op: &'static str, limit: Option<u32>) -> Result<()> {
    if limit == Some(0) {
        return Err(Error::invalid(op, "device_limit", "0 devices would let nobody in"));
    }
    Ok(())
}

pub(super) fn check_credentials(op: &'static str, credentials: &[Credential]) -> Result<()> {
    for (i, c) in credentials.iter().enumerate() {
        if credentials.iter().skip(i + 1).any(|d| d.protocol() == c.protocol() && d.device == c.device) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                op,
                "two credentials of one protocol and device",
            )
            .with("field", "credentials")
            .with("protocol", c.protocol())
            .with("device", &c.device));
        }
    }
    Ok(())
}
