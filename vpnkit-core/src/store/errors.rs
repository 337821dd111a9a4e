//! The errors that every store answers in the same words.

use super::{Fence, Made};
use crate::model::{AdminId, CredentialKind, Cursor, GrantId, InboundId, InboundTag, KeyId};
use crate::{Error, ErrorKind, Timestamp};

/// The operation that errors of a commit name.
pub const COMMIT: &str = "store.commit";

/// Returns `NotFound`: there is no key with this id.
#[must_use]
pub fn no_key(id: KeyId) -> Error {
    Error::new(ErrorKind::NotFound, COMMIT, "no such key").with("key", id)
}

/// Returns `NotFound`: there is no inbound with this tag.
#[must_use]
pub fn no_inbound(tag: &InboundTag) -> Error {
    Error::new(ErrorKind::NotFound, COMMIT, "no such inbound").with("inbound", tag)
}

/// Returns `Conflict`: somebody else has added, changed or removed the inbound.
#[must_use]
pub fn inbound_changed(tag: &InboundTag) -> Error {
    Error::new(ErrorKind::Conflict, COMMIT, "the inbound was changed meanwhile").with("inbound", tag)
}

/// Returns `Conflict`: the key has another version than the caller expects.
#[must_use]
pub fn version(id: KeyId, expected: u64, found: u64) -> Error {
    Error::new(ErrorKind::Conflict, COMMIT, "the key was changed meanwhile")
        .with("key", id)
        .with("expected_version", expected)
        .with("version", found)
        .hint("get the key again and decide again")
}

/// Returns `AlreadyExists`: another key has the name.
#[must_use]
pub fn name_taken(name: &str) -> Error {
    Error::new(ErrorKind::AlreadyExists, COMMIT, "the name is taken").with("field", "name").with("name", name)
}

/// Returns `NotFound`: there is no grant with this id.
#[must_use]
pub fn no_grant(id: GrantId) -> Error {
    Error::new(ErrorKind::NotFound, COMMIT, "no such grant").with("field", "grant").with("grant", id.0)
}

/// Returns `Conflict`: the key of the grant was merged into another one, where a grant stands for what was left of it.
#[must_use]
pub fn merged(key: KeyId, into: KeyId, grant: GrantId) -> Error {
    Error::new(ErrorKind::Conflict, COMMIT, "the key of the grant was merged into another one")
        .with("field", "grant")
        .with("key", key)
        .with("merged_into", into)
        .with("grant", grant.0)
        .hint("undo that grant, which is all that was left of the key")
}

/// Returns `Conflict`: the grant was undone before.
#[must_use]
pub fn undone_before(id: GrantId, at: Timestamp) -> Error {
    Error::new(ErrorKind::Conflict, COMMIT, "the grant was undone before")
        .with("field", "grant")
        .with("grant", id.0)
        .with("undone_at", at)
}

/// Returns `Conflict`: the record has another version than the caller expects.
#[must_use]
pub fn record(kind: &str, id: &str, expected: u64, found: u64) -> Error {
    Error::new(ErrorKind::Conflict, COMMIT, "it was changed meanwhile")
        .with("kind", kind)
        .with("id", id)
        .with("expected_version", expected)
        .with("version", found)
        .hint("read it again and decide again")
}

/// Returns `LimitReached`: the key is on as many devices as it may be.
#[must_use]
pub fn too_many_devices(key: KeyId, limit: u32) -> Error {
    Error::new(ErrorKind::LimitReached, COMMIT, "the key is on as many devices as it may be")
        .with("key", key)
        .with("limit", limit)
}

/// Returns `NotFound`: the key has no such device.
#[must_use]
pub fn no_device(key: KeyId) -> Error {
    Error::new(ErrorKind::NotFound, COMMIT, "no such device").with("key", key)
}

/// Returns `IdempotencyMismatch`: an earlier request under this id asked for something else.
#[must_use]
pub fn another_request(idempotency_key: &str, made: &[Made]) -> Error {
    let message = "an earlier call under this idempotency key asked for something else: with other arguments, or by another operation";
    let error = Error::new(ErrorKind::IdempotencyMismatch, COMMIT, message)
        .with("field", "idempotency_key")
        .with("idempotency_key", idempotency_key)
        .hint("use one idempotency key for each payment, and ask for the same when you try again");
    // What that call has made: its keys are not a secret to who asks.
    match made.iter().find_map(Made::as_key) {
        Some(key) => error.with("key", key),
        None => error,
    }
}

/// Returns `AlreadyExists`: another key has the UUID.
#[must_use]
pub fn uid_taken() -> Error {
    Error::new(ErrorKind::AlreadyExists, COMMIT, "the UUID is taken").with("field", "uid")
}

/// Returns `AlreadyExists`: another key has this credential.
#[must_use]
pub fn secret_taken(protocol: CredentialKind) -> Error {
    Error::new(ErrorKind::AlreadyExists, COMMIT, "another key has this credential")
        .with("field", "credentials")
        .with("protocol", protocol)
        .hint("two keys with one secret lock each other out")
}

/// Returns `InvalidInput`: a credential is for an inbound that the key is not on, or that has none of its own.
#[must_use]
pub fn not_of_inbound(inbound: &InboundId) -> Error {
    Error::invalid(COMMIT, "credentials", "the credential does not belong on that inbound")
        .with("inbound", inbound)
        .hint("the inbound gives no addresses or certificates, speaks another protocol, or the key is not on it")
}

/// Returns `NotFound`: a credential is for an inbound that does not exist.
#[must_use]
pub fn no_inbound_of_credential(inbound: &InboundId) -> Error {
    Error::new(ErrorKind::NotFound, COMMIT, "the credential is for an inbound that does not exist")
        .with("field", "credentials")
        .with("inbound", inbound)
}

/// Returns `LimitReached`: every address of the inbound is taken.
#[must_use]
pub fn addresses_taken(inbound: &InboundId, capacity: u32) -> Error {
    Error::new(ErrorKind::LimitReached, COMMIT, "every address of the inbound is taken")
        .with("field", "inbounds")
        .with("inbound", inbound)
        .with("addresses", capacity)
        .hint("give the inbound a larger network, which keeps the slots of its clients, or leave the inbound out")
}

/// Returns `LimitReached`: the networks of the inbound hold fewer addresses than were given.
#[must_use]
pub fn addresses_too_few(inbound: &InboundId, capacity: u32, needed: u64) -> Error {
    Error::new(ErrorKind::LimitReached, COMMIT, "more addresses were given than these networks hold")
        .with("field", "addresses")
        .with("inbound", inbound)
        .with("addresses", capacity)
        .with("needed", needed)
}

/// Returns `AlreadyExists`: another credential has this address of the inbound.
#[must_use]
pub fn address_taken(inbound: &InboundId, slot: u32) -> Error {
    Error::new(ErrorKind::AlreadyExists, COMMIT, "another credential has this address")
        .with("field", "credentials")
        .with("inbound", inbound)
        .with("slot", slot)
}

/// Returns `InvalidInput`: the inbound has no such address.
#[must_use]
pub fn no_address(inbound: &InboundId, slot: u32) -> Error {
    Error::invalid(COMMIT, "credentials", "the inbound has no such address")
        .with("inbound", inbound)
        .with("slot", slot)
}

/// Returns `AlreadyExists`: the inbound has another certificate with this serial number, or had one.
#[must_use]
pub fn serial_taken(inbound: &InboundId, serial: u64) -> Error {
    Error::new(ErrorKind::AlreadyExists, COMMIT, "another certificate has this serial number")
        .with("field", "credentials")
        .with("inbound", inbound)
        .with("serial", serial)
}

/// Returns `AlreadyExists`: another inbound of the node has the port.
#[must_use]
pub fn port_taken(port: u16, by: &str) -> Error {
    Error::new(ErrorKind::AlreadyExists, COMMIT, "the port belongs to another inbound of the node")
        .with("field", "port")
        .with("port", port)
        .with("inbound", by)
}

/// Returns `Conflict`: another reading of this server was stored meanwhile.
#[must_use]
pub fn reading_outdated(server: &impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Conflict, COMMIT, "another reading of this server was stored meanwhile")
        .with("server", server)
}

/// Returns `Unsupported`: the store does not know a step of the batch, since it is older than the caller.
#[must_use]
pub fn unknown_step() -> Error {
    Error::new(ErrorKind::Unsupported, COMMIT, "the store does not know this step")
        .hint("upgrade the store's crate together with vpnkit")
}

/// Returns `CursorExpired`: events after this cursor are no longer kept.
#[must_use]
pub fn cursor_expired(after: Cursor, pruned: Cursor) -> Error {
    Error::new(ErrorKind::CursorExpired, "store.events", "events after this cursor are no longer kept")
        .with("cursor", after)
        .with("oldest_kept_after", pruned)
        .hint("list the keys once, then go on from the newest event")
}

/// Returns `CursorExpired`: the store has not got so far, so it is older than who has the cursor.
#[must_use]
pub fn cursor_ahead(after: Cursor, newest: Cursor) -> Error {
    Error::new(ErrorKind::CursorExpired, "store.events", "the store has no such event yet")
        .with("cursor", after)
        .with("newest", newest)
        .hint("was the store restored from a backup? list the keys once, then go on from the newest event")
}

/// Returns `Conflict`: inbounds or records have changed since the batch was made.
#[must_use]
pub fn revision_outdated(seen: u64, revision: u64) -> Error {
    Error::new(ErrorKind::Conflict, COMMIT, "inbounds or settings were changed meanwhile")
        .with("seen", seen)
        .with("revision", revision)
}

/// Returns `LeaseLost`: somebody else has the lease by now.
#[must_use]
pub fn lease_lost(fence: &Fence) -> Error {
    Error::new(ErrorKind::LeaseLost, COMMIT, "another process has taken over").with("lease", &fence.lease)
}

/// Returns `Closed`: the store was closed.
#[must_use]
pub fn closed(operation: &'static str) -> Error {
    Error::new(ErrorKind::Closed, operation, "the store is closed")
}

/// Returns `NotFound`: there is no admin with this id.
#[must_use]
pub fn no_admin(id: AdminId, field: &'static str) -> Error {
    Error::new(ErrorKind::NotFound, COMMIT, "no such admin").with("field", field).with("admin", id)
}

/// Returns `AlreadyExists`: another admin has the name.
#[must_use]
pub fn admin_name_taken(name: &str) -> Error {
    Error::new(ErrorKind::AlreadyExists, COMMIT, "the name is taken").with("field", "name").with("name", name)
}

/// Returns `Conflict`: the admin has another version than the caller expects.
#[must_use]
pub fn admin_version(id: AdminId, expected: u64, found: u64) -> Error {
    Error::new(ErrorKind::Conflict, COMMIT, "the admin was changed meanwhile")
        .with("admin", id)
        .with("expected_version", expected)
        .with("version", found)
        .hint("get the admin again and decide again")
}

/// Returns `Conflict`: the admin owns keys.
#[must_use]
pub fn owns_keys(id: AdminId) -> Error {
    Error::new(ErrorKind::Conflict, COMMIT, "the admin has keys")
        .with("admin", id)
        .hint("say what becomes of them: delete them, hand them over, or leave them without an owner")
}

/// Returns `NotFound`: the consumer was removed.
#[must_use]
pub fn no_consumer(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, COMMIT, "no such consumer").with("consumer", name)
}

/// Returns `Conflict`: there are admins below it.
#[must_use]
pub fn has_admins(id: AdminId) -> Error {
    Error::new(ErrorKind::Conflict, COMMIT, "there are admins below it: their quotas are its own")
        .with("admin", id)
        .hint("delete those first")
}

/// Returns `LimitReached`: there are as many admins as there may be.
#[must_use]
pub fn too_many_admins(above: Option<AdminId>, limit: usize) -> Error {
    let error = Error::new(ErrorKind::LimitReached, COMMIT, "there are as many admins as there may be")
        .with("limit", limit);
    match above {
        Some(admin) => error.with("admin", admin).with("quota", "admins"),
        None => error,
    }
}

/// Returns `LimitReached`: the admin would stand below too many others.
#[must_use]
pub fn too_deep(parent: AdminId, most: usize) -> Error {
    Error::new(ErrorKind::LimitReached, COMMIT, "too many admins above each other")
        .with("field", "parent")
        .with("parent", parent)
        .with("limit", most)
}

/// The store has no file to be copied.
#[must_use]
pub fn no_file(operation: &'static str) -> Error {
    Error::new(ErrorKind::Unsupported, operation, "this store has no file")
}
