//! What a call in the name of a reseller asks for, made what that one may sell.
//!
//! The store checks it again in its transaction; here it is filled in, and refused with the field as the caller wrote it.

use super::Shared;
use super::context::{Scope, current_scope};
use vpnkit_core::model::{
    Admin, CreateKey, Extension, InboundSelection, InboundTag, KeyPatch, KeyTemplate, NodeId, Patch,
};
use vpnkit_core::{Error, ErrorKind, Result};

fn templates_only(op: &'static str, field: &str) -> Error {
    let message = "the admin may sell templates only: this comes from the template";
    Error::new(ErrorKind::PermissionDenied, op, message).with("field", field)
}

fn given(op: &'static str, fields: &[(&str, bool)]) -> Result<()> {
    match fields.iter().find(|(_, given)| *given) {
        Some((field, _)) => Err(templates_only(op, field)),
        None => Ok(()),
    }
}

fn given_by_hand(op: &'static str, given: bool) -> Result<()> {
    match given {
        true => Err(Error::new(ErrorKind::PermissionDenied, op, "a reseller gives no credentials by hand")
            .with("field", "credentials")),
        false => Ok(()),
    }
}

/// How many keys a reseller creates at once.
const AT_ONCE: usize = 500;

impl Scope {
    fn sells_templates_only(&self) -> bool {
        self.acting.iter().any(|admin| admin.templates.is_some())
    }
}

impl Shared {
    /// Fills in who owns a key, and checks what may be said of one beside its template.
    pub(super) fn sold(&self, op: &'static str, mut request: CreateKey) -> Result<CreateKey> {
        let Some(scope) = current_scope() else { return Ok(request) };
        request.owner.get_or_insert(scope.admin);
        // Each is a way in that no quota counts, and one that may be somebody else's.
        given_by_hand(op, !request.credentials.is_empty())?;
        if scope.sells_templates_only() {
            let fields = [
                ("data_limit", request.data_limit.is_some()),
                ("expires_at", request.expires_at.is_some()),
                ("expires_in", request.expires_in.is_some()),
                ("on_hold", request.on_hold),
                ("reset", request.reset.is_some()),
                ("next_plan", request.next_plan.is_some()),
                ("device_limit", request.device_limit.is_some()),
                ("address_limit", request.address_limit.is_some()),
                ("inbounds", request.inbounds != InboundSelection::All),
            ];
            given(op, &fields)?;
        }
        Ok(request)
    }

    /// Checks how many keys are created at once: each is completed before quotas are looked at.
    pub(super) fn sold_at_once(op: &'static str, count: usize) -> Result<()> {
        match current_scope() {
            Some(_) if count > AT_ONCE => {
                Err(Error::new(ErrorKind::LimitReached, op, "a reseller creates up to 500 keys at once")
                    .with("field", "requests"))
            }
            _ => Ok(()),
        }
    }

    /// Checks what may be said in a change.
    pub(super) fn sold_patch(&self, op: &'static str, patch: &KeyPatch) -> Result<()> {
        if current_scope().is_none() {
            return Ok(());
        }
        given_by_hand(op, !patch.credentials.is_empty())?;
        // What has locked it, or how it is kept from being shared, is the operator's.
        match patch.locked_until {
            Patch::Keep => Ok(()),
            _ => Err(Error::new(ErrorKind::PermissionDenied, op, "a reseller locks and unlocks nothing")
                .with("field", "locked_until")),
        }
    }

    /// Checks what may be said of an extension beside its template.
    pub(super) fn sold_extension(&self, op: &'static str, extension: Extension) -> Result<Extension> {
        if current_scope().is_some_and(|scope| scope.sells_templates_only()) {
            let fields = [
                ("expires_in", extension.expires_in.is_some()),
                ("data_limit", extension.data_limit.is_some()),
                ("unlimited", extension.unlimited),
            ];
            given(op, &fields)?;
        }
        Ok(extension)
    }

    /// Makes all inbounds those that who calls may put keys on.
    pub(super) fn narrowed(&self, selection: InboundSelection) -> InboundSelection {
        let Some(scope) = current_scope() else { return selection };
        if selection != InboundSelection::All || !scope.acting.iter().any(Admin::has_places) {
            return selection;
        }
        let inbounds = self.inbounds();
        let shared = || inbounds.iter().filter(|inbound| inbound.dedicated_to.is_none());
        let may = |tag: &InboundTag| {
            let nodes: Vec<&NodeId> = shared().filter(|i| i.tag == *tag).map(|i| &i.node).collect();
            scope.acting.iter().all(|admin| admin.may_use(tag, nodes.iter().copied()))
        };
        let mut tags: Vec<InboundTag> = shared().map(|inbound| inbound.tag.clone()).filter(may).collect();
        tags.sort();
        tags.dedup();
        InboundSelection::Only(tags)
    }

    /// Whether who calls may sell a template.
    pub(super) fn may_sell(template: &KeyTemplate) -> bool {
        let Some(scope) = current_scope() else { return true };
        let allowed =
            |admin: &Admin| admin.templates.as_ref().is_none_or(|names| names.contains(&template.name));
        scope.acting.iter().all(allowed)
    }
}
