//! What a call in the name of a reseller asks for, made what that one may sell.
//!
//! The store checks it again in its transaction; here it is filled in, and refused with the field as the caller wrote it.

use super::Shared;
use super::context::{Scope, current_scope};
use vpnkit_core::model::{Admin, CreateKey, Extension, InboundSelection, InboundTag, KeyTemplate, NodeId};
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
