//! Pages of keys, and the tokens that lead from one to the next.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Key, KeyId, KeyQuery, Sort, SortValue};
use crate::{Error, Result};

/// Which way a page goes on from its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the page after it.
    Forward,
    /// To the page before it.
    Backward,
}

/// Where another page begins. Opaque, at most 40 characters of `A-Z a-z 0-9 _ -`; valid for the same sort order only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PageToken(String);

/// A place among sorted keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub(super) sort: Sort,
    pub(super) descending: bool,
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
    /// Returns the token of the page behind a key, in the order of ids from the smallest on.
    #[must_use]
    pub fn behind(key: KeyId) -> Self {
        let (sort, direction, value) = (Sort::Id, Direction::Forward, SortValue::Number(key.0));
        let place = Place { sort, descending: false, direction, value, id: key.0, shortened: false };
        Self(URL_SAFE_NO_PAD.encode(place.encode()))
    }

    pub(super) fn of(query: &KeyQuery, key: &Key, direction: Direction) -> Self {
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

    pub(super) fn decode(&self) -> Result<Place> {
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
