//! What a reseller may do in a batch: each step is looked at before it is carried out.

use super::rows::{AdminRows, check_places, reaches};
use super::{check_key, may_not};
use crate::Result;
use crate::model::{Admin, AdminId, GrantId, KeyId, Patch, Record};
use crate::store::{DeviceOp, KeyOp, RecordOp, StoreOp, errors};

/// What the rules ask a store for beside its admins.
pub trait OwnedRows: AdminRows {
    /// Returns who owns a key; `None` without the key.
    fn owner_of(&self, key: KeyId) -> Result<Option<Option<AdminId>>>;
    /// Returns whether there is an inbound, by its node and tag: `main/ws`.
    fn has_inbound(&self, place: &str) -> Result<bool>;
    /// Returns the key of a grant.
    fn key_of(&self, grant: GrantId) -> Result<Option<KeyId>>;
}

/// Checks that `acting`, who acts and those above it, may carry a step out. Steps that no rule here opens are refused.
///
/// Errors: `NotFound` for what is another one's, as if it were not there; `PermissionDenied`.
pub fn check_step(rows: &impl OwnedRows, acting: &[Admin], step: &StoreOp) -> Result<()> {
    let Some(by) = acting.first() else { return Ok(()) };
    let own = |key: KeyId| match rows.owner_of(key)? {
        Some(owner) if reaches(rows, by.id, owner)? => Ok(()),
        _ => Err(errors::no_key(key)),
    };
    let own_admin = |owner: Option<AdminId>| match owner {
        Some(owner) if reaches(rows, by.id, Some(owner))? => Ok(()),
        Some(owner) => Err(errors::no_admin(owner, "owner")),
        None => Err(may_not("a key of a reseller has an owner", Some("owner"))),
    };
    match step {
        StoreOp::Key(KeyOp::Create(new)) => {
            own_admin(new.owner)?;
            acting.iter().try_for_each(|admin| check_key(admin, new.template.as_deref()))?;
            check_places(rows, acting, &new.inbounds)
        }
        StoreOp::Key(KeyOp::Patch { key, patch, .. }) => {
            own(*key)?;
            match &patch.owner {
                Patch::Keep => {}
                Patch::Set(owner) => own_admin(Some(*owner))?,
                Patch::Clear => own_admin(None)?,
            }
            patch.inbounds.as_ref().map_or(Ok(()), |selection| check_places(rows, acting, selection))
        }
        StoreOp::Key(KeyOp::Extend { key, extension, .. }) => {
            own(*key)?;
            acting.iter().try_for_each(|admin| check_key(admin, extension.template.as_deref()))
        }
        StoreOp::Key(KeyOp::Delete { key, .. }) => own(*key),
        StoreOp::Key(KeyOp::Merge { key, into, .. }) => own(*key).and_then(|()| own(*into)),
        StoreOp::Key(KeyOp::Undo { grant, .. }) => match rows.key_of(*grant)? {
            Some(key) => own(key).map_err(|_| errors::no_grant(*grant)),
            None => Err(errors::no_grant(*grant)),
        },
        StoreOp::Device(DeviceOp::Forget { key, .. } | DeviceOp::Refused { key, .. }) => own(*key),
        StoreOp::Device(DeviceOp::See { device, .. }) => own(device.key),
        // What is told of an admin itself; of one that is gone, what is left of it.
        StoreOp::Record(RecordOp::Put { place, .. } | RecordOp::Remove { place, .. })
            if let Some(admin) = Record::admin(&place.0, &place.1) =>
        {
            let gone =
                matches!(step, StoreOp::Record(RecordOp::Remove { .. })) && rows.admin(admin)?.is_none();
            if gone { Ok(()) } else { own_admin(Some(admin)) }
        }
        // The hosts of an inbound that went with its key.
        StoreOp::Record(RecordOp::Remove { place, .. })
            if place.0 == "hosts" && !rows.has_inbound(&place.1)? =>
        {
            Ok(())
        }
        // Their own rules look at who acts.
        StoreOp::Admin(_) => Ok(()),
        // They change nothing that is anybody's.
        StoreOp::TakeSerials { .. } | StoreOp::Note(_) | StoreOp::Question(_) => Ok(()),
        _ => Err(may_not("a reseller may not do this", None)),
    }
}
