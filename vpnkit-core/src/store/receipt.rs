//! What came of a batch.

use serde::{Deserialize, Serialize};

use crate::model::{Admin, AdminId, Cursor, GrantId, Key, KeyId, KeyStatus, Revocation};

/// A change of status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Which key.
    pub key: KeyId,
    /// Its status before.
    pub from: KeyStatus,
    /// Its status now.
    pub to: KeyStatus,
    /// Of a key that has come to its data limit: the bytes that it has used beyond.
    pub overrun: u64,
}

/// Something that a batch made: what it is and which one. What a request is answered with when it is made again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// `key`, or the kind of a record.
    pub kind: String,
    /// Its id.
    pub id: String,
}

impl Made {
    /// The kind of keys.
    pub const KEY: &'static str = "key";
    /// The kind of admins.
    pub const ADMIN: &'static str = "admin";
    /// The kind of grants.
    pub const GRANT: &'static str = "grant";
    /// The kind of serial numbers.
    pub const SERIAL: &'static str = "serial";

    /// Names nothing.
    #[must_use]
    pub fn nothing() -> Self {
        Self { kind: String::new(), id: String::new() }
    }

    /// Names a serial number.
    #[must_use]
    pub fn serial(number: u64) -> Self {
        Self { kind: Self::SERIAL.to_owned(), id: number.to_string() }
    }

    /// Returns the serial number that was taken; `None` when it is something else.
    #[must_use]
    pub fn as_serial(&self) -> Option<u64> {
        (self.kind == Self::SERIAL).then(|| self.id.parse().ok()).flatten()
    }

    /// Names a key.
    #[must_use]
    pub fn key(id: KeyId) -> Self {
        Self { kind: Self::KEY.to_owned(), id: id.to_string() }
    }

    /// Names an admin.
    #[must_use]
    pub fn admin(id: AdminId) -> Self {
        Self { kind: Self::ADMIN.to_owned(), id: id.to_string() }
    }

    /// Names a grant.
    #[must_use]
    pub fn grant(id: GrantId) -> Self {
        Self { kind: Self::GRANT.to_owned(), id: id.0.to_string() }
    }

    /// Returns the grant that was made; `None` when it is something else.
    #[must_use]
    pub fn as_grant(&self) -> Option<GrantId> {
        (self.kind == Self::GRANT).then(|| self.id.parse().ok().map(GrantId)).flatten()
    }

    /// Returns the key that was made; `None` when it is something else.
    #[must_use]
    pub fn as_key(&self) -> Option<KeyId> {
        (self.kind == Self::KEY).then(|| self.id.parse().ok().map(KeyId)).flatten()
    }
}

/// What a batch did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The key of every step that creates, changes, extends or undoes, in the order of the steps, as it stands after the batch.
    pub keys: Vec<Key>,
    /// The admin of every step that creates or changes one, as it stands after that step.
    pub admins: Vec<Admin>,
    /// Every key that was created or changed, every grant that was given or undone, every record that was put and every serial number that was taken, in the
    /// order of the steps.
    pub made: Vec<Made>,
    /// Every change of status, `Create` aside.
    pub transitions: Vec<Transition>,
    /// Keys of a reading that are near their limit, and the bytes that are left to them.
    pub near: Vec<(KeyId, u64)>,
    /// How many keys were looked at by [`StoreOp::RemindOfEnd`](super::StoreOp::RemindOfEnd).
    pub reminded: usize,
    /// Keys that were settled and are to be deleted by now.
    pub over: Vec<KeyId>,
    /// Keys that had credentials which work no longer ([`crate::model::EventKind::KeyRevoked`]).
    pub replaced: Vec<KeyId>,
    /// Every certificate that was revoked.
    pub revoked: Vec<Revocation>,
    /// The newest event of the batch; the batch before it when it made none.
    pub cursor: Cursor,
    /// The batch had been carried out before for this request; nothing was done now. Keys that were deleted since are
    /// missing from [`Self::keys`].
    pub replayed: bool,
    /// The batch was only tried: nothing was done. Ids that were made are those of nothing.
    pub dry_run: bool,
}

impl Receipt {
    /// Returns whether something was done now, that others have to follow.
    #[must_use]
    pub const fn took_effect(&self) -> bool {
        !self.replayed && !self.dry_run
    }
}
