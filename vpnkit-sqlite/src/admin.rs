//! Admins.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};

use crate::apply::{Batch, sql};
use crate::convert_error::{convert, damaged, violates};
use crate::row::number;
use vpnkit_core::model::{
    Admin, AdminId, AdminRef, AdminRole, ByteSize, EventKind, GrantId, InboundSelection, InboundTag, Key,
    KeyId, Labels, NewAdmin, NewEvent, NodeId, Traffic,
};
use vpnkit_core::ownership::rows::{self, AdminBatch, AdminRows};
use vpnkit_core::ownership::{Charge, OwnedRows};
use vpnkit_core::store::errors as answer;
use vpnkit_core::store::{AdminOp, Following, Made};
use vpnkit_core::{ErrorKind, Result, Timestamp, lifecycle};

const COLUMNS: &str =
    "id, version, name, parent, spec, keys, sold, used, total_used, admins, created_at, updated_at";

/// An admin and all below it: `?1` is its id.
const BELOW: &str = "WITH RECURSIVE below(id) AS (SELECT id FROM admins WHERE id = ?1
                     UNION SELECT a.id FROM admins a JOIN below b ON a.parent = b.id)";

/// The column `spec`. What is left out is not there.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Spec {
    role: AdminRole,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(skip_serializing_if = "Labels::is_empty")]
    labels: Labels,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    disabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sold_limit: Option<ByteSize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    used_limit: Option<ByteSize>,
    admin_limit: u32,
    inbounds: InboundSelection,
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<Vec<NodeId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    templates: Option<Vec<String>>,
}

impl Spec {
    fn text(admin: &Admin) -> String {
        let Admin { role, disabled, key_limit, sold_limit, used_limit, admin_limit, .. } = *admin;
        let (note, labels, inbounds) = (admin.note.clone(), admin.labels.clone(), admin.inbounds.clone());
        let (nodes, templates) = (admin.nodes.clone(), admin.templates.clone());
        let spec = Self {
            role,
            note,
            labels,
            disabled,
            key_limit,
            sold_limit,
            used_limit,
            admin_limit,
            inbounds,
            nodes,
            templates,
        };
        serde_json::to_string(&spec).unwrap_or_default()
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Result<Admin>> {
    let (spec, id): (String, i64) = (row.get(4)?, row.get(0)?);
    let bytes = |i: usize| row.get::<_, i64>(i).map(|n| u64::try_from(n).unwrap_or(0));
    let time = |i: usize| row.get(i).map(Timestamp::from_millis);
    let (name, parent) = (row.get(2)?, row.get::<_, Option<i64>>(3)?.map(AdminId));
    let (version, keys, sold) = (bytes(1)?, bytes(5)?, bytes(6)?);
    let (used, total_used, admins) = (bytes(7)?, bytes(8)?, bytes(9)?);
    let (created_at, updated_at) = (time(10)?, time(11)?);
    let Ok(spec) = serde_json::from_str::<Spec>(&spec) else {
        return Ok(Err(damaged("admins.spec").with("admin", id)));
    };
    Ok(Ok(Admin {
        id: AdminId(id),
        version,
        name,
        role: spec.role,
        parent,
        note: spec.note,
        labels: spec.labels,
        disabled: spec.disabled,
        key_limit: spec.key_limit,
        sold_limit: spec.sold_limit,
        used_limit: spec.used_limit,
        admin_limit: spec.admin_limit,
        inbounds: spec.inbounds,
        nodes: spec.nodes,
        templates: spec.templates,
        keys,
        sold,
        used,
        total_used,
        admins: u32::try_from(admins).unwrap_or(u32::MAX),
        created_at,
        updated_at,
    }))
}

/// One admin without what cannot be read of it: it has no limits.
fn bare(connection: &Connection, id: AdminId) -> Result<Option<Admin>> {
    let columns = COLUMNS.replace("spec", "'{}'");
    connection
        .prepare_cached(&format!("SELECT {columns} FROM admins WHERE id = ?1"))
        .and_then(|mut s| s.query_row([id.0], read).optional())
        .map_err(sql)?
        .transpose()
}

/// One admin.
pub(crate) fn find(connection: &Connection, admin: &AdminRef) -> Result<Option<Admin>> {
    let one = |condition: &str, value: &dyn rusqlite::ToSql| {
        connection
            .prepare_cached(&format!("SELECT {COLUMNS} FROM admins WHERE {condition} = ?1"))
            .and_then(|mut s| s.query_row([value], read).optional())
            .map_err(sql)?
            .transpose()
    };
    match admin {
        AdminRef::Id(id) => one("id", &id.0),
        AdminRef::Name(name) => one("name", name),
    }
}

/// An admin and all below it, or all admins. One that cannot be read does not keep the others.
pub(crate) fn all(connection: &Connection, from: Option<AdminId>) -> Result<Vec<Admin>> {
    let text = match from {
        Some(_) => format!("{BELOW} SELECT {COLUMNS} FROM admins WHERE id IN below ORDER BY id"),
        None => format!("SELECT {COLUMNS} FROM admins WHERE ?1 IS NULL ORDER BY id"),
    };
    let sql = |e| convert("store.admins", e);
    let mut statement = connection.prepare_cached(&text).map_err(sql)?;
    let rows = statement.query_map([from.map(|admin| admin.0)], read).map_err(sql)?;
    let mut admins = Vec::new();
    for row in rows {
        match row.map_err(sql)? {
            Ok(admin) => admins.push(admin),
            Err(error) => tracing::warn!(%error, "an admin of this store cannot be read"),
        }
    }
    Ok(admins)
}

/// Keys that have to follow their owners.
pub(crate) fn to_follow(connection: &Connection, limit: usize) -> Result<Following> {
    let sql = |e| convert("store.owners_to_follow", e);
    let marked: Vec<(i64, i64)> = connection
        .prepare_cached("SELECT id, mark FROM admins INDEXED BY admins_to_follow WHERE mark > 0 ORDER BY id")
        .and_then(|mut s| s.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?.collect())
        .map_err(sql)?;
    let mut following = Following::default();
    for (id, mark) in marked {
        let owners: Vec<i64> = connection
            .prepare_cached(&format!("{BELOW} SELECT id FROM below ORDER BY id"))
            .and_then(|mut s| s.query_map([id], |r| r.get(0))?.collect())
            .map_err(sql)?;
        let before = following.keys.len();
        for owner in owners {
            let suspended = match rows::is_suspended(&Rows(connection), Some(AdminId(owner))) {
                // The others follow.
                Err(e) if e.kind() == ErrorKind::StoreCorrupt => {
                    tracing::warn!(owner, error = %e, "an admin of this store cannot be read; its keys stay as they are");
                    continue;
                }
                suspended => suspended?,
            };
            let room = i64::try_from(limit - following.keys.len()).unwrap_or(i64::MAX);
            let behind: Vec<i64> = connection
                .prepare_cached(
                    "SELECT id FROM keys INDEXED BY keys_to_follow WHERE owner = ?1 AND suspended = ?2 ORDER BY id LIMIT ?3",
                )
                .and_then(|mut s| s.query_map(params![owner, !suspended, room], |r| r.get(0))?.collect())
                .map_err(sql)?;
            following.keys.extend(behind.into_iter().map(KeyId));
        }
        if following.keys.len() >= limit {
            break;
        }
        if following.keys.len() == before {
            following.done.push((AdminId(id), mark.unsigned_abs()));
        }
    }
    Ok(following)
}

/// Admins outside of a batch: to be read only.
struct Rows<'c>(&'c Connection);

impl AdminRows for Rows<'_> {
    fn admin(&self, id: AdminId) -> Result<Option<Admin>> {
        find(self.0, &AdminRef::Id(id))
    }

    fn admin_named(&self, name: &str) -> Result<Option<AdminId>> {
        self.0
            .prepare_cached("SELECT id FROM admins WHERE name = ?1")
            .and_then(|mut s| s.query_row([name], |r| r.get(0).map(AdminId)).optional())
            .map_err(sql)
    }

    fn count_admins(&self) -> Result<usize> {
        let count: i64 = self
            .0
            // Those that came of owners of before, and that nobody has looked at, are not counted.
            .prepare_cached(
                "SELECT count(*) FROM admins WHERE version > 1 OR spec <> '{\"role\":\"reseller\"}'",
            )
            .and_then(|mut s| s.query_row([], |r| r.get(0)))
            .map_err(sql)?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    fn owns_keys(&self, id: AdminId) -> Result<bool> {
        self.0
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM keys WHERE owner = ?1)")
            .and_then(|mut s| s.query_row([id.0], |r| r.get(0)))
            .map_err(sql)
    }

    fn nodes_of(&self, tag: &InboundTag) -> Result<Vec<NodeId>> {
        let nodes: Vec<String> = self
            .0
            .prepare_cached("SELECT node FROM inbounds WHERE tag = ?1 AND dedicated_to IS NULL ORDER BY node")
            .and_then(|mut s| s.query_map([tag.as_str()], |r| r.get(0))?.collect())
            .map_err(sql)?;
        nodes.into_iter().map(NodeId::new).collect()
    }
}

impl AdminRows for Batch<'_> {
    fn admin(&self, id: AdminId) -> Result<Option<Admin>> {
        match Rows(self.connection).admin(id) {
            // What vpnkit does by itself goes on: keys of others, and readings, do not wait for one row that cannot be read.
            Err(e) if e.kind() == ErrorKind::StoreCorrupt && self.cause.is_none() => {
                tracing::warn!(admin = id.0, error = %e, "an admin of this store cannot be read; its quotas do not count");
                bare(self.connection, id)
            }
            found => found,
        }
    }

    fn admin_named(&self, name: &str) -> Result<Option<AdminId>> {
        Rows(self.connection).admin_named(name)
    }

    fn count_admins(&self) -> Result<usize> {
        Rows(self.connection).count_admins()
    }

    fn owns_keys(&self, id: AdminId) -> Result<bool> {
        Rows(self.connection).owns_keys(id)
    }

    fn nodes_of(&self, tag: &InboundTag) -> Result<Vec<NodeId>> {
        Rows(self.connection).nodes_of(tag)
    }
}

impl AdminBatch for Batch<'_> {
    fn add_admin(&mut self, new: NewAdmin, at: Timestamp) -> Result<Admin> {
        let mut admin = new.into_admin(AdminId(0), at);
        self.run(
            "INSERT INTO admins (version, name, parent, spec, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?5)",
            params![
                number(admin.version),
                admin.name,
                admin.parent.map(|parent| parent.0),
                Spec::text(&admin),
                at.as_millis()
            ],
        )
        .map_err(|e| match violates(&e, "admins.name") {
            true => answer::admin_name_taken(&admin.name),
            false => sql(e),
        })?;
        admin.id = AdminId(self.connection.last_insert_rowid());
        self.count_admin(admin.parent, 1)?;
        Ok(admin)
    }

    fn write_counters(&mut self, admin: &Admin, follow: bool) -> Result<()> {
        self.run(
            "UPDATE admins SET keys = ?2, sold = ?3, used = ?4, total_used = ?5 WHERE id = ?1",
            [
                admin.id.0,
                number(admin.keys),
                number(admin.sold),
                number(admin.used),
                number(admin.total_used),
            ],
        )
        .map_err(sql)?;
        if follow {
            self.run("UPDATE admins SET mark = abs(mark) + 1 WHERE id = ?1", [admin.id.0]).map_err(sql)?;
        }
        Ok(())
    }

    fn write_admin(&mut self, admin: &Admin, follow: bool) -> Result<()> {
        self.run(
            "UPDATE admins SET version = ?2, name = ?3, spec = ?4, updated_at = ?5 WHERE id = ?1",
            params![
                admin.id.0,
                number(admin.version),
                admin.name,
                Spec::text(admin),
                admin.updated_at.as_millis()
            ],
        )
        .map_err(sql)?;
        self.write_counters(admin, follow)
    }

    fn remove_admin(&mut self, admin: &Admin) -> Result<()> {
        self.run("DELETE FROM admins WHERE id = ?1", [admin.id.0]).map_err(sql)?;
        self.count_admin(admin.parent, -1)
    }

    fn tell(&mut self, event: NewEvent) -> Result<()> {
        self.emit(event)
    }
}

impl OwnedRows for Batch<'_> {
    fn owner_of(&self, key: KeyId) -> Result<Option<Option<AdminId>>> {
        let owner: Option<Option<i64>> = self
            .connection
            .prepare_cached("SELECT owner FROM keys WHERE id = ?1")
            .and_then(|mut s| s.query_row([key.0], |r| r.get(0)).optional())
            .map_err(sql)?;
        Ok(owner.map(|owner| owner.map(AdminId)))
    }

    fn has_inbound(&self, place: &str) -> Result<bool> {
        let Some((node, tag)) = place.split_once('/') else { return Ok(false) };
        self.connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM inbounds WHERE node = ?1 AND tag = ?2)")
            .and_then(|mut s| s.query_row([node, tag], |r| r.get(0)))
            .map_err(sql)
    }

    fn key_of(&self, grant: GrantId) -> Result<Option<KeyId>> {
        self.connection
            .prepare_cached("SELECT key_id FROM grants WHERE id = ?1")
            .and_then(|mut s| s.query_row([grant.0], |r| r.get(0).map(KeyId)).optional())
            .map_err(sql)
    }
}

impl Batch<'_> {
    fn count_admin(&self, parent: Option<AdminId>, change: i64) -> Result<()> {
        let Some(parent) = parent else { return Ok(()) };
        for above in rows::chain(self, parent)? {
            self.run("UPDATE admins SET admins = max(admins + ?2, 0) WHERE id = ?1", [above.id.0, change])
                .map_err(sql)?;
        }
        Ok(())
    }

    pub(crate) fn admin_step(&mut self, op: AdminOp) -> Result<()> {
        let (acting, at) = (std::mem::take(&mut self.acting), self.at);
        let changed = match op {
            AdminOp::Create(new) => rows::create(self, &acting, *new, at).map(Some),
            AdminOp::Patch { admin, expected, patch } => {
                rows::patch(self, &acting, admin, expected, &patch, at).map(Some)
            }
            AdminOp::Delete { admin, expected } => {
                rows::delete(self, &acting, admin, expected).map(|()| None)
            }
            AdminOp::Followed { admin, mark } => self
                .run("UPDATE admins SET mark = -mark WHERE id = ?1 AND mark = ?2", [admin.0, number(mark)])
                .map(|_| None)
                .map_err(sql),
            _ => Err(answer::unknown_step()),
        };
        self.acting = acting;
        if let Some(admin) = changed? {
            self.receipt.made.push(Made::admin(admin.id));
            self.receipt.admins.push(admin);
        }
        Ok(())
    }

    /// Takes what follows from a change of a key of the quotas of its owners. What vpnkit does by itself goes on.
    pub(crate) fn own(&mut self, before: Option<&Key>, after: Option<&Key>) -> Result<()> {
        if self.moves {
            return Ok(());
        }
        let (at, enforced) = (self.at, self.cause.is_some());
        rows::settle(self, before, after, at, enforced)
    }

    /// Lets a key follow its owner, after whatever else has changed of it.
    pub(crate) fn follow(&self, after: &mut Key) -> Result<Vec<EventKind>> {
        let suspended = rows::is_suspended(self, after.owner)?;
        if after.suspended == suspended {
            return Ok(Vec::new());
        }
        after.suspended = suspended;
        Ok(lifecycle::settle(after, self.at))
    }

    /// Counts what the keys of an owner have used, and what has passed by them in an hour.
    pub(crate) fn count_used(
        &mut self,
        owner: i64,
        used: u64,
        passed: Traffic,
        hour: i64,
        node: i64,
    ) -> Result<()> {
        self.run(
            "INSERT INTO owner_hours (owner, hour, node, up, down) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET up = up + excluded.up, down = down + excluded.down",
            [owner, hour, node, number(passed.up), number(passed.down)],
        )
        .map_err(sql)?;
        rows::take(self, AdminId(owner), Charge { used, ..Charge::default() })
    }
}
