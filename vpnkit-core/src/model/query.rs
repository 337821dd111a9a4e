//! Finding keys.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::labels::check_labels;
use super::{AdminId, ByteSize, Direction, Key, KeyStatus, Labels, Page, PageToken, Place};
use crate::{Error, Result, Timestamp};

/// By what keys are sorted. Ties are broken by id; keys without the value come last in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// By id, which is the order of creation.
    #[default]
    Id,
    /// By name without regard to case.
    Name,
    /// By expiry.
    ExpiresAt,
    /// By bytes used. They move while pages are read: a key may be seen twice, or not at all.
    Used,
}

/// Which keys. The default finds all, sorted by id, 100 a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KeyQuery {
    /// Only with one of these statuses; empty is any.
    #[serde(deserialize_with = "one_or_many")]
    pub status: Vec<KeyStatus>,
    /// Only with this text in name, label or note, without regard to case.
    #[schemars(extend("x-positional" = true))]
    pub search: Option<String>,
    /// Only of this owner.
    pub owner: Option<AdminId>,
    /// Only of one of these owners: set for calls in the name of an admin.
    #[serde(skip)]
    pub owners: Option<Arc<[AdminId]>>,
    /// Only with all of these labels, exactly.
    pub labels: Labels,
    /// Only those that end before this time, or have ended.
    pub expires_before: Option<Timestamp>,
    /// Only those that have used at least so many percent of their limit: 1 to 100. All keys are looked at.
    pub used_percent: Option<u32>,
    /// Sorted by.
    pub sort: Sort,
    /// From the largest to the smallest.
    pub descending: bool,
    /// At most so many keys a page: 1 to 10,000.
    pub limit: u32,
    /// The `next` or `previous` of another page; without it the first page.
    pub page: Option<PageToken>,
}

impl Default for KeyQuery {
    fn default() -> Self {
        Self {
            status: Vec::new(),
            search: None,
            owner: None,
            owners: None,
            labels: Labels::new(),
            expires_before: None,
            used_percent: None,
            sort: Sort::Id,
            descending: false,
            limit: 100,
            page: None,
        }
    }
}

impl KeyQuery {
    /// The largest page.
    pub const MAX_LIMIT: u32 = 10_000;

    /// Only with one of these statuses.
    #[must_use]
    pub fn status(mut self, status: impl IntoIterator<Item = KeyStatus>) -> Self {
        self.status = status.into_iter().collect();
        self
    }

    /// Only with this text in name, label or note.
    #[must_use]
    pub fn search(mut self, text: impl Into<String>) -> Self {
        self.search = Some(text.into());
        self
    }

    /// Only with this label.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// At most so many keys a page.
    #[must_use]
    pub fn limit(mut self, limit: u32) -> Self {
        self.limit = limit;
        self
    }

    /// Returns where to go on, after checking the limit and that the token belongs to this sort order.
    ///
    /// Errors: `InvalidInput` about `limit` or `page`.
    pub fn resume(&self) -> Result<Option<Place>> {
        if self.limit == 0 || self.limit > Self::MAX_LIMIT {
            return Err(Error::invalid("keys.find", "limit", "must be 1 to 10000").with("value", self.limit));
        }
        check_labels("keys.find", self.labels.iter().map(|(name, value)| (name, Some(value))))?;
        if self.used_percent.is_some_and(|percent| !(1..=100).contains(&percent)) {
            return Err(Error::invalid("keys.find", "used_percent", "must be 1 to 100"));
        }
        let Some(token) = &self.page else { return Ok(None) };
        let place = token.decode()?;
        if place.sort != self.sort || place.descending != self.descending {
            return Err(Error::invalid("keys.find", "page", "the page token belongs to another sort order"));
        }
        Ok(Some(place))
    }

    /// Makes a page of the keys that were found, at most one more than [`Self::limit`], in the order in which they were
    /// read: away from `place`.
    #[must_use]
    pub fn page(&self, place: Option<&Place>, mut keys: Vec<Key>) -> Page {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = keys.len() > limit;
        keys.truncate(limit);
        let backward = place.is_some_and(|place| place.direction == Direction::Backward);
        if backward {
            keys.reverse();
        }
        let token = |key: Option<&Key>, direction| key.map(|key| PageToken::of(self, key, direction));
        let next = token(keys.last().filter(|_| more || backward), Direction::Forward);
        let before = if backward { more } else { place.is_some() };
        let previous = token(keys.first().filter(|_| before), Direction::Backward);
        Page { keys, next, previous }
    }

    /// Whether `key` is asked for, its page aside.
    #[must_use]
    pub fn matches(&self, key: &Key) -> bool {
        let holds =
            |text: Option<&str>, needle: &str| text.is_some_and(|t| t.to_lowercase().contains(needle));
        (self.status.is_empty() || self.status.contains(&key.status))
            && self.owner.is_none_or(|owner| key.owner == Some(owner))
            && self
                .owners
                .as_ref()
                .is_none_or(|owners| key.owner.is_some_and(|owner| owners.contains(&owner)))
            && self.labels.iter().all(|(name, value)| key.labels.get(name) == Some(value))
            && self.expires_before.is_none_or(|time| key.expires_at.is_some_and(|end| end < time))
            && self.used_percent.is_none_or(|percent| {
                let share = |limit: ByteSize| u128::from(limit.bytes()) * u128::from(percent);
                key.data_limit.is_some_and(|limit| u128::from(key.used) * 100 >= share(limit))
            })
            && self.search.as_deref().is_none_or(|needle| {
                let needle = needle.to_lowercase();
                holds(key.name.as_ref().map(|n| n.as_str()), &needle)
                    || holds(key.label.as_deref(), &needle)
                    || holds(key.note.as_deref(), &needle)
            })
    }
}

/// How many keys a query finds on all its pages, by their status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct KeyCounts {
    /// All of them.
    pub total: u64,
    /// Those that may connect, and whose time runs.
    pub active: u64,
    /// Those that may connect, and whose time begins with their first connection.
    #[serde(default)]
    pub on_hold: u64,
    /// Those that were paused.
    #[serde(default)]
    pub paused: u64,
    /// Those that are locked for a while.
    #[serde(default)]
    pub locked: u64,
    /// Those whose owner's keys have used as many bytes as they may.
    #[serde(default)]
    pub suspended: u64,
    /// Those that were switched off by hand.
    pub disabled: u64,
    /// Those that have used up their data limit.
    pub limited: u64,
    /// Those whose time is over.
    pub expired: u64,
}

impl KeyCounts {
    /// Adds keys of one status.
    pub fn add(&mut self, status: KeyStatus, keys: u64) {
        let count = match status {
            KeyStatus::Active => &mut self.active,
            KeyStatus::OnHold => &mut self.on_hold,
            KeyStatus::Paused => &mut self.paused,
            KeyStatus::Locked => &mut self.locked,
            KeyStatus::Suspended => &mut self.suspended,
            KeyStatus::Disabled => &mut self.disabled,
            KeyStatus::Limited => &mut self.limited,
            KeyStatus::Expired => &mut self.expired,
        };
        *count += keys;
        self.total += keys;
    }
}

/// What a key is sorted by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

/// One status, or a list of them: `?status=active` is enough in a URL.
fn one_or_many<'de, D: Deserializer<'de>>(d: D) -> std::result::Result<Vec<KeyStatus>, D::Error> {
    struct Form;
    impl<'de> de::Visitor<'de> for Form {
        type Value = Vec<KeyStatus>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a status or a list of them")
        }

        fn visit_str<E: de::Error>(self, code: &str) -> std::result::Result<Self::Value, E> {
            code.parse().map(|status| vec![status]).map_err(|e: Error| E::custom(e.message()))
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, list: A) -> std::result::Result<Self::Value, A::Error> {
            Deserialize::deserialize(de::value::SeqAccessDeserializer::new(list))
        }
    }
    d.deserialize_any(Form)
}
