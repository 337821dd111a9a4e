//! The errors that every store answers in the same words.

use crate::model::{CredentialKind, Cursor, InboundTag, KeyId};
use crate::{Error, ErrorKind};

pub(super) const COMMIT: &str = "store.commit";

pub(super) fn no_key(id: KeyId) -> Error {
    Error::new(ErrorKind::NotFound, COMMIT, "no such key").with("key", id)
}

pub(super) fn no_inbound(tag: &InboundTag) -> Error {
    Error::new(ErrorKind::NotFound, COMMIT, "no such inbound").with("inbound", tag)
}

pub(super) fn version(id: KeyId, expected: u64, found: u64) -> Error {
    Error::new(ErrorKind::Conflict, COMMIT, "the key was changed meanwhile")
        .with("key", id)
        .with("expected_version", expected)
        .with("version", found)
        .hint("get the key again and decide anew")
}

pub(super) fn name_taken(name: &str) -> Error {
    Error::new(ErrorKind::AlreadyExists, COMMIT, "the name is taken").with("field", "name").with("name", name)
}

pub(super) fn document(name: &str, expected: u64, found: u64) -> Error {
    Error::new(ErrorKind::Conflict, COMMIT, "it was changed meanwhile")
        .with("document", name)
        .with("expected_version", expected)
        .with("version", found)
        .hint("read it again and decide anew")
}

pub(super) fn too_many_devices(key: KeyId, limit: u32) -> Error {
    Error::new(ErrorKind::LimitReached, COMMIT, "the key is on as many devices as it may be")
        .with("key", key)
        .with("limit", limit)
}

pub(super) fn no_device(key: KeyId) -> Error {
    Error::new(ErrorKind::NotFound, COMMIT, "no such device").with("key", key)
}

pub(super) fn another_request(id: &str) -> Error {
    Error::new(
        ErrorKind::IdempotencyMismatch,
        COMMIT,
        "an earlier request under this idempotency key asked for something else",
    )
    .with("field", "idempotency_key")
    .with("request", id)
    .hint("use one idempotency key for each payment, and ask for the same when you try again")
}

pub(super) fn uid_taken() -> Error {
    Error::new(ErrorKind::AlreadyExists, COMMIT, "the UUID is taken").with("field", "uid")
}

pub(super) fn secret_taken(protocol: CredentialKind) -> Error {
    Error::new(ErrorKind::AlreadyExists, COMMIT, "another key has this credential")
        .with("field", "credentials")
        .with("protocol", protocol)
        .hint("two keys with one secret lock each other out")
}

pub(super) fn port_taken(port: u16, by: &str) -> Error {
    Error::new(ErrorKind::AlreadyExists, COMMIT, "the port belongs to another inbound of the node")
        .with("field", "port")
        .with("port", port)
        .with("inbound", by)
}

pub(super) fn reading_outdated(server: &impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Conflict, COMMIT, "another reading of this server was stored meanwhile")
        .with("server", server)
}

pub(super) fn cursor_expired(after: Cursor, pruned: Cursor) -> Error {
    Error::new(ErrorKind::CursorExpired, "store.events", "events after this cursor are no longer kept")
        .with("cursor", after)
        .with("oldest_kept_after", pruned)
        .hint("list the keys once, then go on from the newest event")
}

pub(super) fn closed(operation: &'static str) -> Error {
    Error::new(ErrorKind::Closed, operation, "the store is closed")
}
