//! Finding keys.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::{AdminId, Key, KeyStatus};
use crate::{Error, Result};

/// By what keys are sorted. Ties are broken by id; keys without the value come last in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// By id, which is the order of creation.
    #[default]
    Id,
    /// By name without regard to case.
    Name,
    /// By expiry.
    ExpiresAt,
    /// By bytes used.
    Used,
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Small to large.
    #[default]
    Ascending,
    /// Large to small.
    Descending,
}

/// Which keys. The default finds all, sorted by id, 100 a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyQuery {
    /// Only with one of these statuses; empty is any.
    pub status: Vec<KeyStatus>,
    /// Only with this text in name, label or note, without regard to case.
    pub search: Option<String>,
    /// Only of this owner.
    pub owner: Option<AdminId>,
    /// Sorted by.
    pub sort: Sort,
    /// Which way.
    pub order: Order,
    /// At most so many keys a page: 1 to 10,000.
    pub limit: u32,
    /// The `next` of the page before.
    pub after: Option<PageToken>,
}

impl Default for KeyQuery {
    fn default() -> Self {
        Self {
            status: Vec::new(),
            search: None,
            owner: None,
            sort: Sort::Id,
            order: Order::Ascending,
            limit: 100,
            after: None,
        }
    }
}

impl KeyQuery {
    /// The largest page.
    pub const MAX_LIMIT: u32 = 10_000;

    /// Checks the limit and that the token belongs to this sort order; returns where to go on.
    pub fn resume(&self) -> Result<Option<(SortValue, i64)>> {
        if self.limit == 0 || self.limit > Self::MAX_LIMIT {
            return Err(Error::invalid("keys.find", "limit", "must be 1 to 10000").with("value", self.limit));
        }
        let Some(token) = &self.after else { return Ok(None) };
        let place = token.decode()?;
        if place.sort != self.sort || place.order != self.order {
            return Err(Error::invalid("keys.find", "after", "the page token belongs to another sort order"));
        }
        Ok(Some((place.value, place.id)))
    }

    /// Whether `key` is asked for, its page aside.
    #[must_use]
    pub fn matches(&self, key: &Key) -> bool {
        let holds =
            |text: Option<&str>, needle: &str| text.is_some_and(|t| t.to_lowercase().contains(needle));
        (self.status.is_empty() || self.status.contains(&key.status))
            && self.owner.is_none_or(|owner| key.owner == Some(owner))
            && self.search.as_deref().is_none_or(|needle| {
                let needle = needle.to_lowercase();
                holds(key.name.as_ref().map(|n| n.as_str()), &needle)
                    || holds(key.label.as_deref(), &needle)
                    || holds(key.note.as_deref(), &needle)
            })
    }
}

/// What a key is sorted by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SortValue {
    /// Id, time or bytes.
    Number(i64),
    /// Name in lower case; a key without one sorts as `~`, after every allowed character.
    Text(String),
}

impl Sort {
    /// What `key` is sorted by.
    #[must_use]
    pub fn value(self, key: &Key) -> SortValue {
        match self {
            Self::Id => SortValue::Number(key.id.0),
            Self::Name => {
                SortValue::Text(key.name.as_ref().map_or_else(|| "~".to_owned(), super::KeyName::folded))
            }
            Self::ExpiresAt => {
                SortValue::Number(key.expires_at.map_or(i64::MAX, crate::Timestamp::as_millis))
            }
            Self::Used => SortValue::Number(i64::try_from(key.used).unwrap_or(i64::MAX)),
        }
    }
}

/// Where a page ended. Opaque; valid for the same sort order only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PageToken(String);

#[derive(Serialize, Deserialize)]
struct Place {
    sort: Sort,
    order: Order,
    value: SortValue,
    id: i64,
}

impl PageToken {
    /// The token of a page that ends with `last`.
    #[must_use]
    pub fn after(query: &KeyQuery, last: &Key) -> Self {
        let place =
            Place { sort: query.sort, order: query.order, value: query.sort.value(last), id: last.id.0 };
        Self(URL_SAFE_NO_PAD.encode(serde_json::to_vec(&place).unwrap_or_default()))
    }

    /// A token that came back from outside.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn decode(&self) -> Result<Place> {
        URL_SAFE_NO_PAD
            .decode(&self.0)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .ok_or_else(|| Error::invalid("keys.find", "after", "not a page token of vpnkit"))
    }
}

/// A page and where the next one starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The keys of this page.
    pub keys: Vec<Key>,
    /// `None` on the last page.
    pub next: Option<PageToken>,
}
