//! Admins in memory.

use super::State;
use crate::model::{
    Admin, AdminId, AdminRef, GrantId, Inbound, InboundTag, Key, KeyId, NewAdmin, NewEvent, NodeId,
};
use crate::ownership::rows::{self, AdminBatch, AdminRows};
use crate::ownership::{Charge, OwnedRows};
use crate::store::{AdminOp, Following, Made, Receipt};
use crate::{Result, Timestamp, lifecycle};

/// An admin, which change of it its keys have to follow, and which they have.
#[derive(Clone, Debug)]
pub(super) struct HeldAdmin {
    admin: Admin,
    mark: u64,
    followed: u64,
}

impl AdminRows for State {
    fn admin(&self, id: AdminId) -> Result<Option<Admin>> {
        Ok(self.admins.get(&id).map(|held| held.admin.clone()))
    }

    fn admin_named(&self, name: &str) -> Result<Option<AdminId>> {
        let named = self.admins.values().find(|held| held.admin.name.eq_ignore_ascii_case(name));
        Ok(named.map(|held| held.admin.id))
    }

    fn count_admins(&self) -> Result<usize> {
        Ok(self.admins.len())
    }

    fn owns_keys(&self, id: AdminId) -> Result<bool> {
        Ok(self.keys.values().any(|key| key.owner == Some(id)))
    }

    fn nodes_of(&self, tag: &InboundTag) -> Result<Vec<NodeId>> {
        let shared = |inbound: &&Inbound| inbound.tag == *tag && inbound.dedicated_to.is_none();
        Ok(self.inbounds.values().filter(shared).map(|inbound| inbound.node.clone()).collect())
    }
}

impl AdminBatch for State {
    fn add_admin(&mut self, new: NewAdmin, at: Timestamp) -> Result<Admin> {
        self.newest_admin += 1;
        let admin = new.into_admin(AdminId(self.newest_admin), at);
        self.count_admin(admin.parent, 1);
        self.admins.insert(admin.id, HeldAdmin { admin: admin.clone(), mark: 0, followed: 0 });
        Ok(admin)
    }

    fn write_counters(&mut self, admin: &Admin, follow: bool) -> Result<()> {
        self.write_admin(admin, follow)
    }

    fn write_admin(&mut self, admin: &Admin, follow: bool) -> Result<()> {
        if let Some(held) = self.admins.get_mut(&admin.id) {
            held.admin.clone_from(admin);
            held.mark += u64::from(follow);
        }
        Ok(())
    }

    fn remove_admin(&mut self, admin: &Admin) -> Result<()> {
        self.admins.remove(&admin.id);
        self.count_admin(admin.parent, -1);
        Ok(())
    }

    fn tell(&mut self, event: NewEvent) -> Result<()> {
        self.emit(event, self.at);
        Ok(())
    }
}

impl OwnedRows for State {
    fn owner_of(&self, key: KeyId) -> Result<Option<Option<AdminId>>> {
        Ok(self.keys.get(&key).map(|key| key.owner))
    }

    fn has_inbound(&self, place: &str) -> Result<bool> {
        Ok(self.inbounds.values().any(|inbound| inbound.id().to_string() == place))
    }

    fn key_of(&self, grant: GrantId) -> Result<Option<KeyId>> {
        Ok(self.grants.get(&grant).map(|grant| grant.key))
    }
}

impl State {
    fn count_admin(&mut self, mut parent: Option<AdminId>, change: i32) {
        while let Some(held) = parent.and_then(|id| self.admins.get_mut(&id)) {
            held.admin.admins = held.admin.admins.saturating_add_signed(change);
            parent = held.admin.parent;
        }
    }

    pub(super) fn admin_step(&mut self, op: AdminOp, at: Timestamp, receipt: &mut Receipt) -> Result<()> {
        let acting = self.acting.clone();
        let admin = match op {
            AdminOp::Create(new) => rows::create(self, &acting, *new, at)?,
            AdminOp::Patch { admin, expected, patch } => {
                rows::patch(self, &acting, admin, expected, &patch, at)?
            }
            AdminOp::Delete { admin, expected } => return rows::delete(self, &acting, admin, expected),
            AdminOp::Followed { admin, mark } => {
                if let Some(held) = self.admins.get_mut(&admin) {
                    held.followed = mark;
                }
                return Ok(());
            }
        };
        receipt.made.push(Made::admin(admin.id));
        receipt.admins.push(admin);
        Ok(())
    }

    /// Takes what follows from a change of a key of the quotas of its owners.
    pub(super) fn own(&mut self, before: Option<&Key>, after: Option<&Key>) -> Result<()> {
        if self.moves {
            return Ok(());
        }
        let (at, enforced) = (self.at, self.enforces());
        rows::settle(self, before, after, at, enforced)
    }

    /// Whether quotas refuse: what vpnkit does by itself goes on.
    pub(super) fn enforces(&self) -> bool {
        self.cause.is_some()
    }

    /// Counts what the keys of an owner have used.
    pub(super) fn count_used(&mut self, owner: AdminId, used: u64) -> Result<()> {
        rows::take(self, owner, Charge { used, ..Charge::default() })
    }

    /// Lets a key follow its owner, after whatever else has changed of it.
    pub(super) fn follow(&self, after: &mut Key, at: Timestamp) -> Result<Vec<crate::model::EventKind>> {
        let suspended = rows::is_suspended(self, after.owner)?;
        if after.suspended == suspended {
            return Ok(Vec::new());
        }
        after.suspended = suspended;
        Ok(lifecycle::settle(after, at))
    }

    /// The owners at and below an admin.
    pub(super) fn below(&self, from: AdminId) -> Vec<AdminId> {
        let mut found = vec![from];
        let mut next = 0;
        while let Some(above) = found.get(next).copied() {
            found.extend(self.admins.values().filter(|h| h.admin.parent == Some(above)).map(|h| h.admin.id));
            next += 1;
        }
        found.retain(|id| self.admins.contains_key(id));
        found.sort_unstable();
        found
    }

    pub(super) fn find_admin(&self, admin: &AdminRef) -> Result<Option<Admin>> {
        let id = match admin {
            AdminRef::Id(id) => Some(*id),
            AdminRef::Name(name) => self.admin_named(name)?,
        };
        id.map_or(Ok(None), |id| self.admin(id))
    }

    pub(super) fn to_follow(&self, limit: usize) -> Result<Following> {
        let mut following = Following::default();
        for held in self.admins.values().filter(|held| held.mark != held.followed) {
            let owners = self.below(held.admin.id);
            let before = following.keys.len();
            for owner in owners {
                let suspended = rows::is_suspended(self, Some(owner))?;
                let behind = |key: &&Key| key.owner == Some(owner) && key.suspended != suspended;
                following.keys.extend(self.keys.values().filter(behind).map(|key| key.id));
            }
            if following.keys.len() == before {
                following.done.push((held.admin.id, held.mark));
            }
        }
        following.keys.truncate(limit);
        Ok(following)
    }
}
