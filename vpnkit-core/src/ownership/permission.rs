//! What a reseller may make of a key.

use crate::model::{Admin, Key, KeyPatch};
use crate::store::errors::COMMIT;
use crate::{Error, ErrorKind, Result};

/// Returns `PermissionDenied`: an admin may not do it.
#[must_use]
pub fn may_not(message: &str, field: Option<&str>) -> Error {
    let error = Error::new(ErrorKind::PermissionDenied, COMMIT, message.to_owned());
    match field {
        Some(field) => error.with("field", field),
        None => error,
    }
}

/// Checks what `admin`, who acts or stands above who acts, may make of a key: it is sold from a template, if it sells only those.
///
/// Errors: `PermissionDenied` with the `field`.
pub fn check_key(admin: &Admin, template: Option<&str>) -> Result<()> {
    match (&admin.templates, template) {
        (Some(allowed), Some(template)) if allowed.iter().any(|name| name == template) => Ok(()),
        (Some(_), Some(_)) => Err(may_not("the admin may not sell this template", Some("template"))),
        (Some(_), None) => Err(may_not("the admin may sell templates only: name one", Some("template"))),
        (None, _) => Ok(()),
    }
}

/// Checks what `admin` may change of a key by hand: who sells templates only gives nothing otherwise.
///
/// Errors: `PermissionDenied` with the `field`.
pub fn check_patch(admin: &Admin, patch: &KeyPatch, before: &Key, after: &Key) -> Result<()> {
    if admin.templates.is_none() {
        return Ok(());
    }
    let given = [
        ("data_limit", before.data_limit != after.data_limit),
        ("reset_usage", patch.reset_usage),
        ("expires_at", !patch.expires_at.is_keep() && before.expires_at != after.expires_at),
        ("hold", !patch.hold.is_keep() && before.hold != after.hold),
        ("reset", before.reset != after.reset),
        ("next_plan", !patch.next_plan.is_keep() && before.next_plan != after.next_plan),
        ("begin_next_plan", patch.begin_next_plan),
        ("device_limit", before.device_limit != after.device_limit),
        ("address_limit", before.address_limit != after.address_limit),
        ("inbounds", before.inbounds != after.inbounds),
    ];
    match given.into_iter().find(|(_, is)| *is) {
        Some((field, _)) => {
            Err(may_not("the admin may sell templates only: extend the key with one", Some(field)))
        }
        None => Ok(()),
    }
}
