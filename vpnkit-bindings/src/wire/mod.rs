//! Answers as JSON for languages whose numbers are doubles: bytes and cursors as texts, moments as milliseconds. Every
//! type is taken apart field by field, so that a field that is added to the facade cannot be forgotten here.

mod endpoint;
mod event;
mod key;
mod server;
mod subscription;
mod traffic;

use serde::{Serialize, Serializer};

pub(crate) use endpoint::Endpoint;
pub(crate) use event::{Event, Events};
pub(crate) use key::{Key, Page};
pub(crate) use server::Server;
pub(crate) use subscription::{Device, Response};
pub(crate) use traffic::{Collected, Online, Point};

/// A number that may be larger than a double can tell.
#[derive(Clone, Copy)]
pub(crate) struct Big(u64);

impl Serialize for Big {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&self.0)
    }
}

/// Nothing here fails to serialize: no map has keys but texts.
pub(crate) fn text(answer: &impl Serialize) -> String {
    serde_json::to_string(answer).unwrap_or_default()
}
