//! Who is told of events over HTTP.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check_key::{NOTE_MAX, check_text};
use super::{AdminId, Cursor, Event, EventKind, Patch, given};
use crate::{Error, Result, Secret, Timestamp};

/// The longest URL, in bytes.
const URL_MAX: usize = 2_048;

/// A webhook as it stands in the store, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Webhook {
    /// Its id.
    pub id: String,
    /// Where events are sent, by `POST`.
    pub url: String,
    /// The kinds of events that it gets: `key.created`, or all of a subject as `key.*`; empty is all.
    pub kinds: Vec<String>,
    /// Only what is about this admin, or about keys that it owns; `None` is everything.
    pub admin: Option<AdminId>,
    /// Free text for the operator.
    pub note: Option<String>,
    /// Nothing is sent; what happens meanwhile is sent later.
    pub disabled: bool,
    /// When it was created.
    pub created_at: Timestamp,
}

/// A webhook to be created.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CreateWebhook {
    /// Where events are sent: `https://` or `http://`, up to 2,048 bytes.
    #[schemars(extend("x-positional" = true, "x-required" = true))]
    pub url: String,
    /// The kinds of events that it gets: `key.created`, or all of a subject as `key.*`; empty is all.
    pub kinds: Vec<String>,
    /// Only what is about this admin, or about keys that it owns; `None` is everything.
    pub admin: Option<AdminId>,
    /// Free text, up to 4,000 characters.
    pub note: Option<String>,
    /// Created switched off.
    pub disabled: bool,
}

impl CreateWebhook {
    /// A webhook that gets all events.
    pub fn to(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }

    /// Only these kinds of events.
    #[must_use]
    pub fn kinds<T: Into<String>>(mut self, kinds: impl IntoIterator<Item = T>) -> Self {
        self.kinds = kinds.into_iter().map(Into::into).collect();
        self
    }

    /// The webhook as it is once it has an id.
    #[must_use]
    pub fn into_webhook(self, id: String, now: Timestamp) -> Webhook {
        let Self { url, kinds, admin, note, disabled } = self;
        Webhook { id, url, kinds, admin, note, disabled, created_at: now }
    }
}

/// A change of a webhook. Fields that are not named stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookPatch {
    /// Where events are sent.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub url: Option<String>,
    /// The kinds of events that it gets; empty is all.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub kinds: Option<Vec<String>>,
    /// Only what is about this admin, or about keys that it owns; [`Patch::Clear`] is everything.
    #[serde(skip_serializing_if = "Patch::is_keep")]
    pub admin: Patch<AdminId>,
    /// Free text for the operator.
    #[serde(skip_serializing_if = "Patch::is_keep")]
    pub note: Patch<String>,
    /// `true` sends nothing any more, `false` goes on where it was.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub disabled: Option<bool>,
}

impl WebhookPatch {
    /// Changes `webhook`.
    pub fn apply(&self, webhook: &mut Webhook) {
        if let Some(url) = &self.url {
            webhook.url.clone_from(url);
        }
        if let Some(kinds) = &self.kinds {
            webhook.kinds.clone_from(kinds);
        }
        self.admin.apply(&mut webhook.admin);
        self.note.apply(&mut webhook.note);
        webhook.disabled = self.disabled.unwrap_or(webhook.disabled);
    }
}

impl Webhook {
    /// Checks every value.
    ///
    /// Errors: `InvalidInput` with the `field`.
    pub fn validate(&self, op: &'static str) -> Result<()> {
        let http = self.url.starts_with("https://") || self.url.starts_with("http://");
        if !http
            || self.url.len() > URL_MAX
            || self.url.contains(|c: char| c.is_whitespace() || c.is_control())
        {
            return Err(Error::invalid(op, "url", "must be a URL that begins with https:// or http://"));
        }
        check_text(op, "note", self.note.as_deref(), NOTE_MAX)?;
        if self.kinds.len() > 100 {
            return Err(Error::invalid(op, "kinds", "more than 100"));
        }
        for kind in &self.kinds {
            let known = match kind.strip_suffix(".*") {
                Some(subject) => EventKind::ALL.iter().any(|known| known.subject() == subject),
                None => EventKind::ALL.iter().any(|known| known.code() == kind),
            };
            if !known {
                return Err(Error::invalid(op, "kinds", "there is no such kind of event").with("value", kind));
            }
        }
        Ok(())
    }

    /// Whether it gets an event; `below` are its admin and those below that one.
    #[must_use]
    pub fn gets(&self, event: &Event, below: &[AdminId]) -> bool {
        let kind = |wanted: &String| match wanted.strip_suffix(".*") {
            Some(subject) => event.kind.subject() == subject,
            None => event.kind.code() == wanted,
        };
        (self.kinds.is_empty() || self.kinds.iter().any(kind))
            && (self.admin.is_none() || event.admin().is_some_and(|admin| below.contains(&admin)))
    }
}

/// A webhook that was created, or got a new secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewWebhook {
    /// The webhook.
    pub webhook: Webhook,
    /// What receivers verify signatures with: `whsec_…`. It is not shown again.
    pub secret: Secret,
}

/// An event that a receiver has refused for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetter {
    /// Which webhook.
    pub webhook: String,
    /// The event.
    pub event: Event,
    /// When it was given up.
    pub at: Timestamp,
    /// How often it was sent.
    pub attempts: u32,
    /// What was answered last: `HTTP 400`.
    pub error: String,
}

impl DeadLetter {
    /// The cursor of its event.
    #[must_use]
    pub const fn cursor(&self) -> Cursor {
        self.event.cursor
    }
}

/// How the deliveries of a webhook stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookStatus {
    /// Which webhook.
    pub id: String,
    /// Up to which event everything was delivered.
    pub cursor: Cursor,
    /// How many events are behind that one, those that it does not get included.
    pub pending: u64,
    /// How many events were given up.
    pub dead_letters: u64,
    /// When an event was last delivered, since a process has the deliveries.
    pub delivered_at: Option<Timestamp>,
    /// Since when nothing gets through.
    pub failing_since: Option<Timestamp>,
    /// Why.
    pub error: Option<String>,
}
