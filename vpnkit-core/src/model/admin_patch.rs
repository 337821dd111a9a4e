//! Changes of an admin.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::create_admin::check;
use super::{Admin, AdminRole, ByteSize, InboundSelection, NodeId, Patch, given};
use crate::{Result, Timestamp};

/// A change of an admin. Fields that are not named stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdminPatch {
    /// The handle.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub name: Option<String>,
    /// What it may do.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub role: Option<AdminRole>,
    /// Free text for the operator.
    #[serde(skip_serializing_if = "Patch::is_keep")]
    pub note: Patch<String>,
    /// Labels to set; those whose value is `None` go, the others stay.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, Option<String>>,
    /// `true` lets it do nothing any more, `false` takes that back.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub disabled: Option<bool>,
    /// How many keys there may be at once; [`Patch::Clear`] is any number.
    #[serde(skip_serializing_if = "Patch::is_keep")]
    pub key_limit: Patch<u64>,
    /// How many bytes may be sold; [`Patch::Clear`] is any number.
    #[serde(skip_serializing_if = "Patch::is_keep")]
    pub sold_limit: Patch<ByteSize>,
    /// How many bytes keys may use; [`Patch::Clear`] is any number.
    #[serde(skip_serializing_if = "Patch::is_keep")]
    pub used_limit: Patch<ByteSize>,
    /// How many admins may be below it.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub admin_limit: Option<u32>,
    /// Tags of the inbounds that it may put keys on; [`Patch::Clear`] is all.
    #[schemars(extend("x-patch" = true))]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub inbounds: Option<InboundSelection>,
    /// The nodes that it may put keys on; [`Patch::Clear`] is all.
    #[serde(skip_serializing_if = "Patch::is_keep")]
    pub nodes: Patch<Vec<NodeId>>,
    /// The names of the templates that it may sell; [`Patch::Clear`] is anything.
    #[serde(skip_serializing_if = "Patch::is_keep")]
    pub templates: Patch<Vec<String>>,
    /// Sets the bytes that its keys have used to nothing: those that were suspended may connect again.
    pub reset_usage: bool,
    /// Sets the bytes that it has sold to nothing.
    pub reset_sold: bool,
}

impl AdminPatch {
    /// Sets how many bytes keys may use; `None` is any number.
    #[must_use]
    pub fn used_limit(mut self, limit: impl Into<Option<ByteSize>>) -> Self {
        self.used_limit = limit.into().into();
        self
    }

    /// Sets how many bytes may be sold; `None` is any number.
    #[must_use]
    pub fn sold_limit(mut self, limit: impl Into<Option<ByteSize>>) -> Self {
        self.sold_limit = limit.into().into();
        self
    }

    /// Sets how many keys there may be at once; `None` is any number.
    #[must_use]
    pub fn key_limit(mut self, limit: impl Into<Option<u64>>) -> Self {
        self.key_limit = limit.into().into();
        self
    }

    /// Changes `admin`; returns the names of the fields that are different now. Pure; the version and `updated_at` move only with a
    /// difference.
    ///
    /// Errors: `InvalidInput` with the `field`.
    pub fn apply(&self, op: &'static str, admin: &mut Admin, now: Timestamp) -> Result<Vec<&'static str>> {
        let before = admin.clone();
        if let Some(name) = &self.name {
            admin.name.clone_from(name);
        }
        admin.role = self.role.unwrap_or(admin.role);
        self.note.apply(&mut admin.note);
        for (name, value) in &self.labels {
            match value {
                Some(value) => drop(admin.labels.insert(name.clone(), value.clone())),
                None => drop(admin.labels.remove(name)),
            }
        }
        admin.disabled = self.disabled.unwrap_or(admin.disabled);
        self.key_limit.apply(&mut admin.key_limit);
        self.sold_limit.apply(&mut admin.sold_limit);
        self.used_limit.apply(&mut admin.used_limit);
        admin.admin_limit = self.admin_limit.unwrap_or(admin.admin_limit);
        if let Some(inbounds) = &self.inbounds {
            admin.inbounds.clone_from(inbounds);
        }
        self.nodes.apply(&mut admin.nodes);
        self.templates.apply(&mut admin.templates);
        if self.reset_usage {
            admin.used = 0;
        }
        if self.reset_sold {
            admin.sold = 0;
        }
        check(op, admin)?;
        let differences = [
            ("name", before.name != admin.name),
            ("role", before.role != admin.role),
            ("note", before.note != admin.note),
            ("labels", before.labels != admin.labels),
            ("disabled", before.disabled != admin.disabled),
            ("key_limit", before.key_limit != admin.key_limit),
            ("sold_limit", before.sold_limit != admin.sold_limit),
            ("used_limit", before.used_limit != admin.used_limit),
            ("admin_limit", before.admin_limit != admin.admin_limit),
            ("inbounds", before.inbounds != admin.inbounds),
            ("nodes", before.nodes != admin.nodes),
            ("templates", before.templates != admin.templates),
            ("used", before.used != admin.used),
            ("sold", before.sold != admin.sold),
        ];
        let different: Vec<_> =
            differences.into_iter().filter(|(_, is)| *is).map(|(field, _)| field).collect();
        if !different.is_empty() {
            admin.version += 1;
            admin.updated_at = now;
        }
        Ok(different)
    }
}
