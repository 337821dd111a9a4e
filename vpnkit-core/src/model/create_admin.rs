//! What a caller asks for when creating an admin.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check_key::{NOTE_MAX, check_text};
use super::labels::check_labels;
use super::{Admin, AdminId, AdminRef, AdminRole, ByteSize, InboundSelection, KeyName, Labels, NodeId};
use crate::{Error, Result, Timestamp};

/// The most inbounds, nodes or templates that an admin may be restricted to.
const LIST_MAX: usize = 100;

/// An admin to be created: a reseller without limits, unless something else is said.
///
/// ```
/// use vpnkit_core::model::{ByteSize, CreateAdmin};
/// let request = CreateAdmin::named("bob").key_limit(100).sold_limit(ByteSize::gib(5_000));
/// # let _ = request;
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CreateAdmin {
    /// The handle: 1 to 64 of `A-Z a-z 0-9 . _ @ + -`, unique among admins without regard to case.
    #[schemars(extend("x-positional" = true, "x-required" = true))]
    pub name: String,
    /// What it may do.
    pub role: AdminRole,
    /// The admin above it.
    pub parent: Option<AdminRef>,
    /// Free text, up to 4,000 characters.
    pub note: Option<String>,
    /// What an application remembers of it: up to 16 names (1 to 32 of `a-z 0-9 _ -`) with values of 1 to 128 characters.
    pub labels: Labels,
    /// Created switched off.
    pub disabled: bool,
    /// How many keys there may be at once; `None` is any number.
    pub key_limit: Option<u64>,
    /// How many bytes may be sold; `None` is any number.
    pub sold_limit: Option<ByteSize>,
    /// How many bytes keys may use; `None` is any number.
    pub used_limit: Option<ByteSize>,
    /// How many admins may be below it.
    pub admin_limit: u32,
    /// Tags of the inbounds that it may put keys on; all by default.
    pub inbounds: InboundSelection,
    /// The nodes that it may put keys on; all by default.
    pub nodes: Option<Vec<NodeId>>,
    /// The names of the templates that it may sell, and nothing else; anything by default.
    pub templates: Option<Vec<String>>,
}

impl CreateAdmin {
    /// A reseller with a name.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Lets it see and do everything.
    #[must_use]
    pub fn sudo(mut self) -> Self {
        self.role = AdminRole::Sudo;
        self
    }

    /// Sets the admin above it.
    #[must_use]
    pub fn below(mut self, parent: impl Into<AdminRef>) -> Self {
        self.parent = Some(parent.into());
        self
    }

    /// Sets how many keys there may be at once.
    #[must_use]
    pub fn key_limit(mut self, keys: u64) -> Self {
        self.key_limit = Some(keys);
        self
    }

    /// Sets how many bytes may be sold.
    #[must_use]
    pub fn sold_limit(mut self, bytes: ByteSize) -> Self {
        self.sold_limit = Some(bytes);
        self
    }

    /// Sets how many bytes keys may use.
    #[must_use]
    pub fn used_limit(mut self, bytes: ByteSize) -> Self {
        self.used_limit = Some(bytes);
        self
    }

    /// Sets how many admins may be below it.
    #[must_use]
    pub fn admin_limit(mut self, admins: u32) -> Self {
        self.admin_limit = admins;
        self
    }

    /// Checks everything; `parent` is the one that [`Self::parent`] names.
    ///
    /// Errors: `InvalidInput` with the `field`.
    pub fn validate(self, op: &'static str, parent: Option<AdminId>) -> Result<NewAdmin> {
        let admin = NewAdmin {
            name: self.name,
            role: self.role,
            parent,
            note: self.note,
            labels: self.labels,
            disabled: self.disabled,
            key_limit: self.key_limit,
            sold_limit: self.sold_limit,
            used_limit: self.used_limit,
            admin_limit: self.admin_limit,
            inbounds: self.inbounds,
            nodes: self.nodes,
            templates: self.templates,
        };
        check(op, &admin.clone().into_admin(AdminId(0), Timestamp::default()))?;
        Ok(admin)
    }
}

/// Checks what callers give an admin.
pub(super) fn check(op: &'static str, admin: &Admin) -> Result<()> {
    KeyName::new(&admin.name).map_err(|e| Error::invalid(op, "name", e.message().to_owned()))?;
    check_text(op, "note", admin.note.as_deref(), NOTE_MAX)?;
    check_labels(op, admin.labels.iter().map(|(name, value)| (name, Some(value))))?;
    let lists = [
        ("inbounds", if let InboundSelection::Only(tags) = &admin.inbounds { tags.len() } else { 0 }),
        ("nodes", admin.nodes.as_ref().map_or(0, Vec::len)),
        ("templates", admin.templates.as_ref().map_or(0, Vec::len)),
    ];
    for (field, length) in lists {
        if length > LIST_MAX {
            return Err(Error::invalid(op, field, format!("more than {LIST_MAX}")));
        }
    }
    for name in admin.templates.iter().flatten() {
        KeyName::new(name).map_err(|e| Error::invalid(op, "templates", e.message().to_owned()))?;
    }
    if admin.role == AdminRole::Sudo && (admin.has_places() || admin.templates.is_some()) {
        return Err(Error::invalid(op, "role", "sudo may do everything: restrict a reseller"));
    }
    Ok(())
}

/// A checked admin that has no id yet.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct NewAdmin {
    /// The handle.
    pub name: String,
    /// What it may do.
    pub role: AdminRole,
    /// The admin above it.
    pub parent: Option<AdminId>,
    /// Free text for the operator.
    pub note: Option<String>,
    /// What an application remembers of it.
    pub labels: Labels,
    /// Created switched off.
    pub disabled: bool,
    /// How many keys there may be at once.
    pub key_limit: Option<u64>,
    /// How many bytes may be sold.
    pub sold_limit: Option<ByteSize>,
    /// How many bytes keys may use.
    pub used_limit: Option<ByteSize>,
    /// How many admins may be below it.
    pub admin_limit: u32,
    /// Where it may put keys.
    pub inbounds: InboundSelection,
    /// On which nodes.
    pub nodes: Option<Vec<NodeId>>,
    /// What it may sell.
    pub templates: Option<Vec<String>>,
}

impl NewAdmin {
    /// The admin as it is once the store has given it an id.
    #[must_use]
    pub fn into_admin(self, id: AdminId, now: Timestamp) -> Admin {
        Admin {
            id,
            version: 1,
            name: self.name,
            role: self.role,
            parent: self.parent,
            note: self.note,
            labels: self.labels,
            disabled: self.disabled,
            key_limit: self.key_limit,
            sold_limit: self.sold_limit,
            used_limit: self.used_limit,
            admin_limit: self.admin_limit,
            inbounds: self.inbounds,
            nodes: self.nodes,
            templates: self.templates,
            keys: 0,
            sold: 0,
            used: 0,
            total_used: 0,
            admins: 0,
            created_at: now,
            updated_at: now,
        }
    }
}
