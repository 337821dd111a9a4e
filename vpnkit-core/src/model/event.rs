//! What happened, as the outbox tells it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{KeyId, ServerId};
use crate::{Error, ErrorKind, Result, Timestamp};

/// A place in the stream of events. Keep the last one you handled; start from [`Cursor::START`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(pub i64);

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
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// What happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum EventKind { $($(#[$doc])* $name,)* }

        impl EventKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable name: `key.created`.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
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
    /// An inbound was added or changed.
    InboundChanged = "inbound.changed",
    /// An inbound was removed.
    InboundRemoved = "inbound.removed",
    /// A server answers (again).
    ServerUp = "server.up",
    /// A server stopped answering.
    ServerDown = "server.down",
    /// A server lost its counters: it was restarted.
    ServerRestarted = "server.restarted",
    /// A server refused a key; the detail says why. It is tried again at the next reconcile.
    ServerRefused = "server.refused",
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
    },
    /// An inbound, by tag.
    Inbound(String),
    /// A server.
    Server(ServerId),
}

/// One entry of the outbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
}

impl Event {
    /// The key that it is about.
    #[must_use]
    pub fn key(&self) -> Option<KeyId> {
        match &self.subject {
            EventSubject::Key { id, .. } => Some(*id),
            _ => None,
        }
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventBatch {
    /// At most as many as asked for.
    pub events: Vec<Event>,
    /// Where to go on: the cursor of the last event, or the one that was asked for.
    pub next: Cursor,
}
