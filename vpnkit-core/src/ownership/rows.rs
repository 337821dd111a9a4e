//! What follows for admins in a batch, over the rows of whichever store carries it out.

use std::collections::BTreeMap;

use super::{Charge, Share, charge, check_sellable, may_not, owner_events};
use crate::lifecycle;
use crate::model::{
    Admin, AdminId, AdminPatch, AdminRole, EventKind, EventSubject, InboundSelection, InboundTag, Key,
    NewAdmin, NewEvent, NodeId,
};
use crate::store::errors;
use crate::{Error, Result, Timestamp};

/// The admins of a store, to be read.
pub trait AdminRows {
    /// Reads an admin.
    fn admin(&self, id: AdminId) -> Result<Option<Admin>>;
    /// Returns the admin that has a name, without regard to ASCII case.
    fn admin_named(&self, name: &str) -> Result<Option<AdminId>>;
    /// Counts the admins of the store.
    fn count_admins(&self) -> Result<usize>;
    /// Returns whether an admin owns a key.
    fn owns_keys(&self, id: AdminId) -> Result<bool>;
    /// Returns the nodes that have a shared inbound of a tag.
    fn nodes_of(&self, tag: &InboundTag) -> Result<Vec<NodeId>>;
}

/// The admins of a store, inside a batch.
pub trait AdminBatch: AdminRows {
    /// Adds an admin, and counts it for all above it.
    fn add_admin(&mut self, new: NewAdmin, at: Timestamp) -> Result<Admin>;
    /// Writes what an admin has and uses. With `follow`, its keys have to follow.
    fn write_counters(&mut self, admin: &Admin, follow: bool) -> Result<()>;
    /// Writes an admin. With `follow`, its keys have to follow.
    fn write_admin(&mut self, admin: &Admin, follow: bool) -> Result<()>;
    /// Removes an admin that nobody is below, for all above it.
    fn remove_admin(&mut self, admin: &Admin) -> Result<()>;
    /// Adds an event.
    fn tell(&mut self, event: NewEvent) -> Result<()>;
}

/// Returns an admin and those above it; nothing when it is not there.
pub fn chain(rows: &impl AdminRows, from: AdminId) -> Result<Vec<Admin>> {
    let (mut chain, mut next) = (Vec::new(), Some(from));
    while let Some(id) = next.filter(|_| chain.len() <= Admin::DEPTH_MAX) {
        let Some(admin) = rows.admin(id)? else { break };
        next = admin.parent;
        chain.push(admin);
    }
    Ok(chain)
}

/// Returns whether `owner` is `admin`, or a reseller below it. Sudo belongs to no reseller.
pub fn reaches(rows: &impl AdminRows, admin: AdminId, owner: Option<AdminId>) -> Result<bool> {
    let Some(owner) = owner else { return Ok(false) };
    if owner == admin {
        return Ok(true);
    }
    for above in chain(rows, owner)? {
        if above.id == admin {
            return Ok(true);
        }
        if above.role == AdminRole::Sudo {
            return Ok(false);
        }
    }
    Ok(false)
}

/// Returns whether the keys of an owner are to be stopped.
pub fn is_suspended(rows: &impl AdminRows, owner: Option<AdminId>) -> Result<bool> {
    let Some(owner) = owner else { return Ok(false) };
    Ok(chain(rows, owner)?.iter().any(Admin::is_limited))
}

/// Takes something of the quotas of an owner and of all above it.
pub fn take(rows: &mut impl AdminBatch, owner: AdminId, what: Charge) -> Result<()> {
    let nothing = Charge { enforced: what.enforced, ..Charge::default() };
    if what == nothing {
        return Ok(());
    }
    for before in chain(rows, owner)? {
        charge_one(rows, &before, what)?;
    }
    Ok(())
}

fn charge_one(rows: &mut impl AdminBatch, before: &Admin, what: Charge) -> Result<()> {
    let mut after = before.clone();
    charge(&mut after, what)?;
    rows.write_counters(&after, before.is_limited() != after.is_limited())?;
    for event in owner_events(before, &after) {
        rows.tell(event)?;
    }
    Ok(())
}

/// Takes what follows from a change of a key of the quotas of its owners. Only what a call does is `enforced`, not what was due of the
/// key by itself.
///
/// Errors: `NotFound` about `owner` for an admin that is not there; `LimitReached`.
pub fn settle(
    rows: &mut impl AdminBatch,
    before: Option<&Key>,
    after: Option<&Key>,
    at: Timestamp,
    enforced: bool,
) -> Result<()> {
    let owner = |key: Option<&Key>| key.and_then(|key| key.owner);
    let (from, to) = (owner(before), owner(after));
    if from.is_none() && to.is_none() {
        return Ok(());
    }
    let same = from == to;
    if let (Some(to), Some(after)) = (to, after)
        && (!same || enforced)
    {
        let above = chain(rows, to)?;
        if above.is_empty() && !same {
            return Err(errors::no_admin(to, "owner"));
        }
        if enforced && above.iter().any(|admin| admin.sold_limit.is_some()) {
            check_sellable(before.filter(|_| same), after)?;
        }
    }
    if !same {
        return transfer(rows, (from, Share::of(before, None)), (to, Share::of(None, after)), enforced);
    }
    let Some(owner) = to else { return Ok(()) };
    let mut before = before.cloned();
    if enforced && let (Some(before), Some(_)) = (&mut before, after) {
        // What was due by then would have been done without the call.
        let was = before.clone();
        lifecycle::settle(before, at);
        let share = Share::of(Some(&was), Some(before));
        take(rows, owner, Charge { share, used: 0, enforced: false })?;
    }
    take(rows, owner, Charge { share: Share::of(before.as_ref(), after), used: 0, enforced })
}

/// Moves what one owner has to another one: who is above both has it before and after.
fn transfer(
    rows: &mut impl AdminBatch,
    (from, less): (Option<AdminId>, Share),
    (to, more): (Option<AdminId>, Share),
    enforced: bool,
) -> Result<()> {
    let mut net: BTreeMap<AdminId, (Admin, Share)> = BTreeMap::new();
    for (owner, share) in [(from, less), (to, more)] {
        let Some(owner) = owner else { continue };
        for admin in chain(rows, owner)? {
            let (_, sum) = net.entry(admin.id).or_insert_with(|| (admin, Share::default()));
            *sum = sum.plus(share);
        }
    }
    for (admin, share) in net.into_values() {
        if share != Share::default() {
            charge_one(rows, &admin, Charge { share, used: 0, enforced })?;
        }
    }
    Ok(())
}

/// Takes what follows when a key was merged into another one of the same owner.
pub fn merged(
    rows: &mut impl AdminBatch,
    gone: &Key,
    (before, after): (&Key, &Key),
    enforced: bool,
) -> Result<()> {
    let Some(owner) = after.owner else { return Ok(()) };
    let share = Share::of(Some(gone), None).plus(Share::of(Some(before), Some(after)));
    take(rows, owner, Charge { share, used: 0, enforced })
}

/// Returns who acts in a batch, and those above it.
///
/// Errors: `PermissionDenied` when one of them is not there, or is disabled.
pub fn acting(rows: &impl AdminRows, scope: AdminId) -> Result<Vec<Admin>> {
    let acting = chain(rows, scope)?;
    match acting.iter().find(|admin| admin.disabled) {
        _ if acting.is_empty() => Err(may_not("there is no such admin", None).with("admin", scope)),
        Some(disabled) => {
            Err(may_not("the admin, or one above it, is disabled", None).with("admin", disabled.id))
        }
        None => Ok(acting),
    }
}

/// Checks that who acts may put keys on inbounds.
///
/// Errors: `PermissionDenied` about `inbounds`.
pub fn check_places(rows: &impl AdminRows, acting: &[Admin], selection: &InboundSelection) -> Result<()> {
    let restricted: Vec<&Admin> = acting.iter().filter(|admin| admin.has_places()).collect();
    if restricted.is_empty() {
        return Ok(());
    }
    let InboundSelection::Only(tags) = selection else {
        return Err(may_not("the admin may use some inbounds only: name them", Some("inbounds")));
    };
    for tag in tags {
        let nodes = rows.nodes_of(tag)?;
        if restricted.iter().any(|admin| !admin.may_use(tag, nodes.iter())) {
            return Err(may_not("the admin may not put keys there", Some("inbounds")).with("inbound", tag));
        }
    }
    Ok(())
}

/// Adds an admin; `acting` is who does it, and those above it.
pub fn create(rows: &mut impl AdminBatch, acting: &[Admin], new: NewAdmin, at: Timestamp) -> Result<Admin> {
    if let Some(by) = acting.first() {
        check_role(Some(new.role))?;
        if !reaches(rows, by.id, new.parent)? {
            return Err(new.parent.map_or_else(
                || may_not("an admin of a reseller stands below it", Some("parent")),
                |parent| errors::no_admin(parent, "parent"),
            ));
        }
    }
    if rows.count_admins()? >= Admin::COUNT_MAX {
        return Err(errors::too_many_admins(None, Admin::COUNT_MAX));
    }
    if let Some(parent) = new.parent {
        let above = chain(rows, parent)?;
        if above.is_empty() {
            return Err(errors::no_admin(parent, "parent"));
        }
        if above.len() >= Admin::DEPTH_MAX {
            return Err(errors::too_deep(parent, Admin::DEPTH_MAX));
        }
        let full = |admin: &&Admin| admin.role == AdminRole::Reseller && admin.admins >= admin.admin_limit;
        if let Some(full) = above.iter().find(full) {
            let limit = usize::try_from(full.admin_limit).unwrap_or(usize::MAX);
            return Err(errors::too_many_admins(Some(full.id), limit));
        }
        check_sudo(new.role, &above)?;
    }
    // Last: who may not add one is not told which names there are.
    if rows.admin_named(&new.name)?.is_some() {
        return Err(errors::admin_name_taken(&new.name));
    }
    let admin = rows.add_admin(new, at)?;
    rows.tell(event(EventKind::AdminCreated, &admin, String::new()))?;
    Ok(admin)
}

/// Changes an admin; `acting` is who does it, and those above it.
pub fn patch(
    rows: &mut impl AdminBatch,
    acting: &[Admin],
    id: AdminId,
    expected: Option<u64>,
    patch: &AdminPatch,
    at: Timestamp,
) -> Result<Admin> {
    let before = found(rows, acting, id, expected)?;
    if !acting.is_empty() {
        check_role(patch.role)?;
    }
    let mut after = before.clone();
    let different = patch.apply(errors::COMMIT, &mut after, at)?;
    if different.is_empty() {
        return Ok(before);
    }
    if before.name != after.name && rows.admin_named(&after.name)?.is_some_and(|other| other != id) {
        return Err(errors::admin_name_taken(&after.name));
    }
    if before.role != after.role {
        let above = after.parent.map_or(Ok(Vec::new()), |parent| chain(rows, parent))?;
        check_sudo(after.role, &above)?;
        if after.role == AdminRole::Reseller && after.admins > 0 {
            // Sudo may be below it.
            return Err(errors::has_admins(id).with("field", "role"));
        }
    }
    rows.write_admin(&after, before.is_limited() != after.is_limited())?;
    rows.tell(event(EventKind::AdminUpdated, &after, different.join(", ")))?;
    Ok(after)
}

/// Deletes an admin that owns no keys; `acting` is who does it, and those above it.
pub fn delete(
    rows: &mut impl AdminBatch,
    acting: &[Admin],
    id: AdminId,
    expected: Option<u64>,
) -> Result<()> {
    let admin = found(rows, acting, id, expected)?;
    if admin.admins > 0 {
        // They would be free of its quotas.
        return Err(errors::has_admins(id));
    }
    if rows.owns_keys(id)? {
        return Err(errors::owns_keys(id));
    }
    rows.remove_admin(&admin)?;
    rows.tell(event(EventKind::AdminDeleted, &admin, String::new()))
}

fn found(rows: &impl AdminRows, acting: &[Admin], id: AdminId, expected: Option<u64>) -> Result<Admin> {
    let admin = rows.admin(id)?;
    let mut seen = admin.is_some();
    if let Some(by) = acting.first() {
        if id == by.id {
            return Err(may_not("an admin may not change or delete itself", Some("admin")).with("admin", id));
        }
        seen = reaches(rows, by.id, Some(id))?;
    }
    let admin = admin.filter(|_| seen).ok_or_else(|| errors::no_admin(id, "admin"))?;
    match expected {
        Some(expected) if expected != admin.version => {
            Err(errors::admin_version(id, expected, admin.version))
        }
        _ => Ok(admin),
    }
}

/// Who sees everything stands below nobody who does not.
fn check_sudo(role: AdminRole, above: &[Admin]) -> Result<()> {
    let reseller = above.iter().find(|admin| admin.role != AdminRole::Sudo);
    match (role, reseller) {
        (AdminRole::Sudo, Some(reseller)) => {
            Err(Error::invalid(errors::COMMIT, "role", "sudo does not stand below a reseller")
                .with("admin", reseller.id))
        }
        _ => Ok(()),
    }
}

fn check_role(role: Option<AdminRole>) -> Result<()> {
    match role {
        Some(AdminRole::Sudo) => Err(may_not("a reseller makes resellers", Some("role"))),
        _ => Ok(()),
    }
}

fn event(kind: EventKind, admin: &Admin, detail: String) -> NewEvent {
    NewEvent { kind, subject: EventSubject::Admin(admin.id), detail }
}
