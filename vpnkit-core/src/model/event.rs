//! What happened, as the outbox tells it.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{AdminId, KeyId, NodeId, ServerId};
use crate::{Error, ErrorKind, Result, Timestamp};

/// A place in the stream of events. Keep the last one you handled; start from [`Cursor::START`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(pub i64);

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(digits: &str) -> Result<Self> {
        digits
            .parse()
            .map(Self)
            .map_err(|_| Error::invalid("event.cursor", "after", "not a cursor").with("value", digits))
    }
}

impl Cursor {
    /// Before the first event.
    pub const START: Self = Self(0);
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! events {
    ($($(#[doc = $doc:literal])* $name:ident = $code:literal,)*) => {
        /// What happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum EventKind { $($(#[doc = $doc])* $name,)* }

        impl EventKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable name: `key.created`.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// What it happened to: `key` of `key.created`.
            #[must_use]
            pub fn subject(self) -> &'static str {
                self.code().split('.').next().unwrap_or_default()
            }
        }

        impl schemars::JsonSchema for EventKind {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                "EventKind".into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "description": "What happened.",
                    "oneOf": [$({
                        "const": $code,
                        "description": concat!($($doc,)*).trim(),
                    },)*]
                })
            }
        }
    };
}

events! {
    /// A key was created.
    KeyCreated = "key.created",
    /// Something of a key was changed, its status aside.
    KeyUpdated = "key.updated",
    /// A key was deleted.
    KeyDeleted = "key.deleted",
    /// A key may connect again.
    KeyActivated = "key.activated",
    /// A key was switched off by hand.
    KeyDisabled = "key.disabled",
    /// A key has used up its data limit.
    KeyLimited = "key.limited",
    /// A key's time is over.
    KeyExpired = "key.expired",
    /// A key was paused.
    KeyPaused = "key.paused",
    /// A key was locked for a while; the detail says until when.
    KeyLocked = "key.locked",
    /// A key is used at more addresses at once than it may be; the detail says at how many, and what was done.
    KeyAddressLimit = "key.address_limit",
    /// A device was refused because a key has as many as it may; the detail is how many. It is told once a day.
    KeyDeviceLimit = "key.device_limit",
    /// Credentials that a key had work no longer.
    KeyRevoked = "key.revoked",
    /// A key waits for its first connection.
    KeyOnHold = "key.on_hold",
    /// The time of a key that was on hold has begun: it has connected for the first time, or has waited for long enough.
    KeyStarted = "key.started",
    /// What counts against a key's limit was set to nothing; the detail is how many bytes that were.
    KeyReset = "key.reset",
    /// A key's next plan has begun.
    KeyNextPlan = "key.next_plan",
    /// A key was extended; the detail is the id of the grant.
    KeyExtended = "key.extended",
    /// A key was given what was left of another one, which is gone; the detail is the id of the grant.
    KeyMerged = "key.merged",
    /// A grant of a key was undone; the detail is its id.
    KeyGrantUndone = "key.grant_undone",
    /// An inbound was added or changed.
    InboundChanged = "inbound.changed",
    /// An inbound was removed.
    InboundRemoved = "inbound.removed",
    /// A server refuses an inbound; the detail names the server and says why. It is tried again at the next reconcile, and
    /// everything else goes on.
    InboundRejected = "inbound.rejected",
    /// A server answers (again).
    ServerUp = "server.up",
    /// A server stopped answering.
    ServerDown = "server.down",
    /// A server of a node answers again, of which none did.
    NodeUp = "node.up",
    /// None of the servers of a node answers any more; the detail names them.
    NodeDown = "node.down",
    /// A server lost its counters: it was restarted.
    ServerRestarted = "server.restarted",
    /// A server had something otherwise than the store says, though nothing of it was changed through vpnkit; the detail is how many
    /// accounts and inbounds. It was put right.
    ServerDrift = "server.drift",
    /// A server refused a key; the detail names the server and says why. It is tried again at the next reconcile.
    KeyRejected = "key.rejected",
    /// A key was stopped: the keys of its owner have used as many bytes as they may.
    KeySuspended = "key.suspended",
    /// A key has used a share of its data limit that is reminded of; the detail is the share: `80%`.
    KeyUsageReached = "key.usage_reached",
    /// A key's time ends soon; the detail is in how many days: `3 days`.
    KeyExpiresSoon = "key.expires_soon",
    /// An admin was created.
    AdminCreated = "admin.created",
    /// Something of an admin was changed; the detail names it.
    AdminUpdated = "admin.updated",
    /// An admin was deleted.
    AdminDeleted = "admin.deleted",
    /// An admin has used a large share of a quota; the detail is which one, and the share: `sold 90%`.
    AdminQuotaNear = "admin.quota_near",
    /// An admin has used up a quota; the detail is which one: `used 100%`.
    AdminQuotaReached = "admin.quota_reached",
    /// Settings, hosts, templates, or how much a node counts, were changed; the detail says which.
    SettingsChanged = "settings.changed",
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for EventKind {
    type Err = Error;
    fn from_str(code: &str) -> Result<Self> {
        Self::ALL.iter().copied().find(|k| k.code() == code).ok_or_else(|| {
            Error::new(ErrorKind::Unexpected, "event.parse", "unknown kind of event").with("value", code)
        })
    }
}

impl Serialize for EventKind {
    fn serialize<S: serde::Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        s.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for EventKind {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What it happened to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventSubject {
    /// A key; its identities are kept for when it is gone.
    Key {
        /// The integer id.
        id: KeyId,
        /// The UUID.
        uid: Uuid,
        /// The admin who owned it then.
        owner: Option<AdminId>,
    },
    /// An inbound, by tag.
    Inbound(String),
    /// A server.
    Server(ServerId),
    /// A node.
    Node(NodeId),
    /// An admin.
    Admin(AdminId),
    /// Settings, hosts or templates: the kind of a record, and which one.
    Settings(String),
}

/// One entry of the outbox. Its JSON is flat: [`EventRecord`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "EventRecord", try_from = "EventRecord")]
pub struct Event {
    /// Its place in the stream.
    pub cursor: Cursor,
    /// When it was committed.
    pub at: Timestamp,
    /// What happened.
    pub kind: EventKind,
    /// What it happened to.
    pub subject: EventSubject,
    /// A short text for people; may be empty. Never a secret.
    pub detail: String,
    /// The call that it follows from; `None` when vpnkit did it by itself.
    pub cause: Option<Cause>,
}

/// What a change follows from: a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The operation: `keys.extend`.
    pub operation: String,
    /// Who called, as the application says.
    pub actor: Option<String>,
    /// The admin in whose name it was called.
    pub by_admin: Option<AdminId>,
    /// Why, as the application says.
    pub reason: Option<String>,
    /// The idempotency key of the call: the payment.
    pub idempotency_key: Option<String>,
}

impl Event {
    /// The admin that it is about, or who owned the key that it is about.
    #[must_use]
    pub const fn admin(&self) -> Option<AdminId> {
        match &self.subject {
            EventSubject::Key { owner, .. } => *owner,
            EventSubject::Admin(admin) => Some(*admin),
            _ => None,
        }
    }

    /// Returns whether it is kept for longer than the stream has it, for timelines and audits: not what comes again and again by itself.
    #[must_use]
    pub fn is_of_timeline(&self) -> bool {
        self.cause.is_some() || (self.key().is_some() && self.kind != EventKind::KeyReset)
    }

    /// The key that it is about.
    #[must_use]
    pub fn key(&self) -> Option<KeyId> {
        match &self.subject {
            EventSubject::Key { id, .. } => Some(*id),
            _ => None,
        }
    }
}

/// An event as JSON has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Event")]
pub struct EventRecord {
    /// Its place in the stream: keep the one of the last event that you handled.
    pub cursor: Cursor,
    /// When it was committed.
    pub at: Timestamp,
    /// What happened.
    pub kind: EventKind,
    /// The id of the key that it is about.
    pub key: Option<KeyId>,
    /// The UUID of the key that it is about.
    pub key_uid: Option<Uuid>,
    /// The tag of the inbound that it is about.
    pub inbound: Option<String>,
    /// The id of the server that it is about.
    pub server: Option<ServerId>,
    /// The node that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// The id of the admin that it is about, or who owned the key that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<AdminId>,
    /// The settings that it is about: `settings`, `hosts/main/ws`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<String>,
    /// A short text for people; may be empty. Never a secret.
    pub detail: String,
    /// The operation that it follows from: `keys.extend`; `None` when vpnkit did it by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// Who called, as the application has said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// The admin in whose name it was called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_admin: Option<AdminId>,
    /// Why, as the application has said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The idempotency key of the call: the payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

impl From<Event> for EventRecord {
    fn from(event: Event) -> Self {
        let Event { cursor, at, kind, subject, detail, cause } = event;
        let mut record = Self {
            cursor,
            at,
            kind,
            key: None,
            key_uid: None,
            inbound: None,
            server: None,
            node: None,
            admin: None,
            settings: None,
            detail,
            operation: None,
            actor: None,
            by_admin: None,
            reason: None,
            idempotency_key: None,
        };
        if let Some(cause) = cause {
            record.operation = Some(cause.operation);
            (record.actor, record.by_admin, record.reason) = (cause.actor, cause.by_admin, cause.reason);
            record.idempotency_key = cause.idempotency_key;
        }
        match subject {
            EventSubject::Key { id, uid, owner } => {
                (record.key, record.key_uid, record.admin) = (Some(id), Some(uid), owner);
            }
            EventSubject::Inbound(tag) => record.inbound = Some(tag),
            EventSubject::Server(server) => record.server = Some(server),
            EventSubject::Node(node) => record.node = Some(node),
            EventSubject::Admin(admin) => record.admin = Some(admin),
            EventSubject::Settings(place) => record.settings = Some(place),
        }
        record
    }
}

impl TryFrom<EventRecord> for Event {
    type Error = Error;

    fn try_from(record: EventRecord) -> Result<Self> {
        let EventRecord {
            cursor,
            at,
            kind,
            key,
            key_uid,
            inbound,
            server,
            node,
            admin,
            settings,
            detail,
            ..
        } = record;
        let (actor, by_admin) = (record.actor, record.by_admin);
        let (reason, idempotency_key) = (record.reason, record.idempotency_key);
        let cause =
            record.operation.map(|operation| Cause { operation, actor, by_admin, reason, idempotency_key });
        let subject = match (key, key_uid, inbound, server, node, admin, settings) {
            (Some(id), Some(uid), _, _, _, owner, _) => EventSubject::Key { id, uid, owner },
            (_, _, Some(tag), ..) => EventSubject::Inbound(tag),
            (_, _, _, Some(server), ..) => EventSubject::Server(server),
            (_, _, _, _, Some(node), ..) => EventSubject::Node(node),
            (.., Some(admin), _) => EventSubject::Admin(admin),
            (.., Some(place)) => EventSubject::Settings(place),
            _ => return Err(Error::invalid("event.parse", "key", "the event is about nothing")),
        };
        Ok(Self { cursor, at, kind, subject, detail, cause })
    }
}

impl JsonSchema for Event {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        EventRecord::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        EventRecord::json_schema(generator)
    }
}

/// An event that the engine adds to a transaction; the store adds cursor and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// What happened.
    pub kind: EventKind,
    /// What it happened to.
    pub subject: EventSubject,
    /// A short text for people.
    pub detail: String,
}

/// Events after a cursor, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventBatch {
    /// At most as many as asked for.
    pub events: Vec<Event>,
    /// Where to go on: the cursor of the last event, or the one that was asked for.
    pub next: Cursor,
}
