//! What one customer holds.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

use super::{AdminId, ByteSize, Credential, DataReset, Hold, InboundTag, KeyId, KeyName, Labels, NextPlan};
use crate::{Error, Result, Timestamp};

/// Whether a key may connect, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyStatus {
    /// May connect.
    Active,
    /// May connect; its time begins with its first connection.
    OnHold,
    /// Switched off by hand.
    Disabled,
    /// Stopped for a while: the time that is left to it is kept.
    Paused,
    /// Stopped for a time that is known, for instance because it was used at too many addresses at once.
    Locked,
    /// Stopped because the keys of its owner have used as many bytes as they may.
    Suspended,
    /// The data limit is used up.
    Limited,
    /// Its time is over.
    Expired,
}

impl KeyStatus {
    /// Every status.
    pub const ALL: &'static [Self] = &[
        Self::Active,
        Self::OnHold,
        Self::Disabled,
        Self::Paused,
        Self::Locked,
        Self::Suspended,
        Self::Limited,
        Self::Expired,
    ];

    /// The statuses of keys that may connect.
    pub const MAY_CONNECT: [Self; 2] = [Self::Active, Self::OnHold];

    /// Whether servers let such a key in.
    #[must_use]
    pub const fn may_connect(self) -> bool {
        matches!(self, Self::Active | Self::OnHold)
    }

    /// The stable name.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::OnHold => "on_hold",
            Self::Paused => "paused",
            Self::Locked => "locked",
            Self::Suspended => "suspended",
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
/// not shown unless they are asked for.
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
    /// What an application finds it by: a Telegram id, an order.
    #[serde(default)]
    pub labels: Labels,
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
    /// When it ends; `None` is never, or not known yet while it is on hold. While it is paused, the end as it was then.
    pub expires_at: Option<Timestamp>,
    /// Set while it waits for its first connection.
    #[serde(default)]
    pub hold: Option<Hold>,
    /// Since when it is paused.
    #[serde(default)]
    pub paused_at: Option<Timestamp>,
    /// How often `used` is set to nothing.
    #[serde(default)]
    pub reset: Option<DataReset>,
    /// When that happens next.
    #[serde(default)]
    pub resets_at: Option<Timestamp>,
    /// When `used` was last set to nothing.
    #[serde(default)]
    pub reset_at: Option<Timestamp>,
    /// What it becomes when its time is over or its limit is used up.
    #[serde(default)]
    pub next_plan: Option<NextPlan>,
    /// How long after its time or its limit has ended it is deleted; `None` is never.
    #[serde(default, with = "super::span::optional")]
    #[schemars(with = "Option<super::DurationText>")]
    pub delete_after: Option<Duration>,
    /// Since when it is `expired` or `limited`.
    #[serde(default)]
    pub ended_at: Option<Timestamp>,
    /// On how many devices its subscription may be; `None` is as the settings say.
    pub device_limit: Option<u32>,
    /// At how many addresses at once it may be used; `None` is any number.
    #[serde(default)]
    pub address_limit: Option<u32>,
    /// Until when it is locked.
    #[serde(default)]
    pub locked_until: Option<Timestamp>,
    /// Whether the keys of its owner have used as many bytes as they may.
    #[serde(default)]
    pub suspended: bool,
    /// Grows when its links are revoked.
    #[serde(default)]
    pub link_revision: u32,
    /// Until when the links and credentials work that it had before they were revoked.
    #[serde(default)]
    pub old_links_until: Option<Timestamp>,
    /// Which inbounds it is on.
    pub inbounds: InboundSelection,
    /// What it connects with.
    pub credentials: Vec<Credential>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When the time of a key that was on hold began.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// When it was last changed, traffic aside.
    pub updated_at: Timestamp,
    /// When traffic of it was first seen.
    #[serde(default)]
    pub first_seen_at: Option<Timestamp>,
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
            labels,
            note,
            owner,
            status,
            data_limit,
            used,
            traffic,
            expires_at,
            hold,
            paused_at,
            reset,
            resets_at,
            reset_at,
            next_plan,
            delete_after,
            ended_at,
            device_limit,
            address_limit,
            locked_until,
            suspended,
            link_revision,
            old_links_until,
            inbounds,
            credentials,
            created_at,
            started_at,
            updated_at,
            first_seen_at,
            seen_at,
            replayed,
        } = self;
        let mut fields = s.serialize_struct("Key", 36)?;
        fields.serialize_field("id", id)?;
        fields.serialize_field("uid", uid)?;
        fields.serialize_field("version", version)?;
        fields.serialize_field("name", name)?;
        fields.serialize_field("label", label)?;
        fields.serialize_field("labels", labels)?;
        fields.serialize_field("note", note)?;
        fields.serialize_field("owner", owner)?;
        fields.serialize_field("status", status)?;
        fields.serialize_field("data_limit", data_limit)?;
        fields.serialize_field("used", used)?;
        fields.serialize_field("remaining", &remaining)?;
        fields.serialize_field("traffic", traffic)?;
        fields.serialize_field("expires_at", expires_at)?;
        fields.serialize_field("hold", hold)?;
        fields.serialize_field("paused_at", paused_at)?;
        fields.serialize_field("reset", reset)?;
        fields.serialize_field("resets_at", resets_at)?;
        fields.serialize_field("reset_at", reset_at)?;
        fields.serialize_field("next_plan", next_plan)?;
        fields.serialize_field("delete_after", &delete_after.map(super::format_duration))?;
        fields.serialize_field("ended_at", ended_at)?;
        fields.serialize_field("device_limit", device_limit)?;
        fields.serialize_field("address_limit", address_limit)?;
        fields.serialize_field("locked_until", locked_until)?;
        fields.serialize_field("suspended", suspended)?;
        fields.serialize_field("link_revision", link_revision)?;
        fields.serialize_field("old_links_until", old_links_until)?;
        fields.serialize_field("inbounds", inbounds)?;
        fields.serialize_field("credentials", credentials)?;
        fields.serialize_field("created_at", created_at)?;
        fields.serialize_field("started_at", started_at)?;
        fields.serialize_field("updated_at", updated_at)?;
        fields.serialize_field("first_seen_at", first_seen_at)?;
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

    /// Whether it has the same name, labels, owner and place as another version of it: all but its credentials and what follows from
    /// time and traffic.
    #[must_use]
    pub fn is_called_as(&self, other: &Self) -> bool {
        let said = |key: &Self| (key.owner, key.device_limit, key.address_limit, key.link_revision);
        said(self) == said(other)
            && self.name == other.name
            && self.label == other.label
            && self.note == other.note
            && self.inbounds == other.inbounds
            && self.labels == other.labels
    }

    /// Returns whether its links had this revision before they were revoked last.
    #[must_use]
    pub const fn had_revision(&self, revision: u32) -> bool {
        self.link_revision == revision.wrapping_add(1) & Self::REVISION_MAX
    }

    /// Returns the key as its old links show it: where credentials were replaced, only with those that were, as far as they still work. Who
    /// has only old links learns nothing of what the key has got since.
    #[must_use]
    pub fn with_old_credentials(mut self) -> Self {
        if self.credentials.iter().any(Credential::is_replaced) {
            self.credentials.retain(Credential::is_replaced);
            for credential in &mut self.credentials {
                credential.device = credential.device.current();
            }
        }
        self
    }

    /// When its time began: its creation, or its first connection when it was on hold.
    #[must_use]
    pub fn start(&self) -> Timestamp {
        self.started_at.unwrap_or(self.created_at)
    }

    /// Returns its devices that have credentials, each once.
    #[must_use]
    pub fn devices(&self) -> Vec<super::DeviceName> {
        let mut devices: Vec<_> = self.credentials.iter().map(|c| c.device.clone()).collect();
        devices.sort();
        devices.dedup();
        devices
    }

    /// Its identities, for events.
    #[must_use]
    pub fn subject(&self) -> super::EventSubject {
        super::EventSubject::Key { id: self.id, uid: self.uid, owner: self.owner }
    }
}
