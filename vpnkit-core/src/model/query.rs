//! Finding keys.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::{AdminId, Key, KeyStatus};
use crate::{Error, Result};

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
    /// By bytes used.
    Used,
}

/// Which way a page goes on from its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the page after it.
    Forward,
    /// To the page before it.
    Backward,
}

/// Which keys. The default finds all, sorted by id, 100 a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KeyQuery {
    /// Only with one of these statuses; empty is any.
    #[serde(deserialize_with = "one_or_many")]
    pub status: Vec<KeyStatus>,
    /// Only with this text in name, label or note, without regard to case.
    pub search: Option<String>,
    /// Only of this owner.
    pub owner: Option<AdminId>,
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
            && self.search.as_deref().is_none_or(|needle| {
                let needle = needle.to_lowercase();
                holds(key.name.as_ref().map(|n| n.as_str()), &needle)
                    || holds(key.label.as_deref(), &needle)
                    || holds(key.note.as_deref(), &needle)
            })
    }
}

/// What a key is sorted by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
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

/// Where another page begins. Opaque, at most 40 characters of `A-Z a-z 0-9 _ -`; valid for the same sort order only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PageToken(String);

/// A place among sorted keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    sort: Sort,
    descending: bool,
    /// Which way from there.
    pub direction: Direction,
    /// What the key there is sorted by.
    pub value: SortValue,
    /// Its id.
    pub id: i64,
    /// `value` is only the beginning of a long name: the store replaces it by the name of the key `id`, if that still
    /// begins so. Otherwise keys with the same beginning may be seen twice.
    pub shortened: bool,
}

impl Place {
    /// Bytes of a name that a token carries: then it has at most 40 characters for ids below 2^27.
    const NAME: usize = 24;

    fn encode(&self) -> Vec<u8> {
        let sort = match self.sort {
            Sort::Id => 0,
            Sort::Name => 1,
            Sort::ExpiresAt => 2,
            Sort::Used => 3,
        };
        let flags = u8::from(self.descending) << 2 | u8::from(self.direction == Direction::Backward) << 3;
        let mut bytes = vec![sort | flags];
        put(&mut bytes, self.id);
        match &self.value {
            SortValue::Number(_) if self.sort == Sort::Id => {}
            SortValue::Number(number) => put(&mut bytes, *number),
            SortValue::Text(name) => {
                let (kept, shortened) = match name.as_bytes().split_at_checked(Self::NAME) {
                    Some((kept, rest)) => (kept, !rest.is_empty()),
                    None => (name.as_bytes(), false),
                };
                if let Some(first) = bytes.first_mut() {
                    *first |= u8::from(shortened) << 4;
                }
                bytes.extend_from_slice(kept);
            }
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (first, mut rest) = bytes.split_first()?;
        let sort = match first & 3 {
            0 => Sort::Id,
            1 => Sort::Name,
            2 => Sort::ExpiresAt,
            _ => Sort::Used,
        };
        let id = take(&mut rest)?;
        let value = match sort {
            Sort::Id => SortValue::Number(id),
            Sort::Name => SortValue::Text(String::from_utf8(std::mem::take(&mut rest).to_vec()).ok()?),
            Sort::ExpiresAt | Sort::Used => SortValue::Number(take(&mut rest)?),
        };
        (rest.is_empty() && first >> 5 == 0).then_some(Self {
            sort,
            descending: first & 4 != 0,
            direction: if first & 8 == 0 { Direction::Forward } else { Direction::Backward },
            value,
            id,
            shortened: first & 16 != 0,
        })
    }

    /// Whether keys are read from large to small to get there.
    #[must_use]
    pub fn reads_descending(&self) -> bool {
        self.descending != (self.direction == Direction::Backward)
    }

    /// Completes a shortened name by the name of the key [`Self::id`], in lower case.
    pub fn complete(&mut self, name: Option<&str>) {
        if let (SortValue::Text(beginning), Some(name)) = (&mut self.value, name)
            && name.starts_with(beginning.as_str())
        {
            name.clone_into(beginning);
        }
    }
}

/// Seven bits a byte, small numbers of either sign first.
fn put(bytes: &mut Vec<u8>, number: i64) {
    let mut rest = (number.cast_unsigned() << 1) ^ (number >> 63).cast_unsigned();
    loop {
        let low = u8::try_from(rest & 0x7f).unwrap_or(0);
        rest >>= 7;
        bytes.push(low | u8::from(rest > 0) << 7);
        if rest == 0 {
            return;
        }
    }
}

fn take(bytes: &mut &[u8]) -> Option<i64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed());
        }
    }
    None
}

impl PageToken {
    fn of(query: &KeyQuery, key: &Key, direction: Direction) -> Self {
        let place = Place {
            sort: query.sort,
            descending: query.descending,
            direction,
            value: query.sort.value(key),
            id: key.id.0,
            shortened: false,
        };
        Self(URL_SAFE_NO_PAD.encode(place.encode()))
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
            .and_then(|bytes| Place::decode(&bytes))
            .ok_or_else(|| Error::invalid("keys.find", "page", "not a page token of vpnkit"))
    }
}

/// A page of keys, and where the pages beside it begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Page {
    /// The keys of this page.
    pub keys: Vec<Key>,
    /// The page after it; `None` on the last one.
    pub next: Option<PageToken>,
    /// The page before it; `None` on the first one.
    pub previous: Option<PageToken>,
}

impl IntoIterator for Page {
    type Item = Key;
    type IntoIter = std::vec::IntoIter<Key>;

    fn into_iter(self) -> Self::IntoIter {
        self.keys.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(sort: Sort, value: SortValue, id: i64) -> Place {
        Place { sort, descending: true, direction: Direction::Backward, value, id, shortened: false }
    }

    proptest! {
        #[test]
        fn a_token_says_where_it_is_in_forty_characters(
            id in 0..(1i64 << 27), number in 0i64..=i64::MAX, name in "[a-z0-9._@+-]{1,64}",
        ) {
            let values = [
                (Sort::Id, SortValue::Number(id)),
                (Sort::Used, SortValue::Number(number)),
                (Sort::ExpiresAt, SortValue::Number(number)),
                (Sort::Name, SortValue::Text(name.clone())),
            ];
            for (sort, value) in values {
                let place = place(sort, value, id);
                let token = PageToken(URL_SAFE_NO_PAD.encode(place.encode()));
                prop_assert!(token.as_str().len() <= 40, "{}", token.as_str());
                let mut read = token.decode().unwrap();
                prop_assert_eq!(read.shortened, sort == Sort::Name && name.len() > Place::NAME);
                read.complete(Some(&name));
                read.shortened = false;
                prop_assert_eq!(read, place);
            }
        }

        #[test]
        fn what_is_no_token_is_an_error(text in "\\PC{0,60}", bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = PageToken::new(text).decode();
            let _ = PageToken(URL_SAFE_NO_PAD.encode(bytes)).decode();
        }
    }
}
