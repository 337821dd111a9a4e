//! Carrying out a batch inside a transaction.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::convert_error::{convert, damaged, violates};
use crate::life::Life;
use crate::row::{number, selection_text};
use crate::vault::Vault;
use crate::{event, grant, label, lease, query, record};
use vpnkit_core::model::Cursor;
use vpnkit_core::model::{
    Admin, Cause, EventKind, Grant, InboundTag, Key, KeyId, KeyPatch, KeyRef, Labels, NewEvent, NewKey,
    NodeId,
};
use vpnkit_core::ownership::{self, OwnedRows as _, rows};
use vpnkit_core::store::errors as answer;
use vpnkit_core::store::{
    DeviceOp, InboundOp, KeyOp, Made, Origin, Receipt, Request, SETTLE_AGAIN, StoreOp, StoreTxn, consequence,
};
use vpnkit_core::{Error, ErrorKind, Result, Timestamp, lifecycle};

const OP: &str = "store.commit";

pub(crate) fn sql(error: rusqlite::Error) -> Error {
    convert(OP, error)
}

/// Carries `txn` out on a connection that is inside a transaction.
pub(crate) fn apply(connection: &Connection, vault: &Vault, txn: StoreTxn) -> Result<Receipt> {
    if let Some(request) = &txn.request
        && let Some(receipt) = replay(connection, vault, request)?
    {
        return Ok(receipt);
    }
    lease::check(connection, txn.fence.as_ref())?;
    if let Some(seen) = txn.seen {
        let revision = record::revision(connection)?;
        if revision != seen {
            return Err(answer::revision_outdated(seen, revision));
        }
    }
    let (at, origin) = (txn.at, txn.origin);
    let payment = txn.request.as_ref().map(|request| request.key.clone());
    let (cause, receipt) = (txn.caused_by(), Receipt { dry_run: txn.dry_run, ..Receipt::default() });
    let (acting, moves) = (Vec::new(), false);
    let mut batch =
        Batch { connection, vault, at, origin, payment, cause, acting, moves, receipt, cursor: None };
    batch.acting = txn.scope.map_or(Ok(Vec::new()), |scope| rows::acting(&batch, scope))?;
    let several = txn.ops.len() > 1;
    for (index, op) in txn.ops.into_iter().enumerate() {
        let allowed = ownership::check_step(&batch, &batch.acting, &op);
        allowed
            .and_then(|()| batch.step(op))
            .map_err(|e| if several { e.with("index", index) } else { e })?;
    }
    let cursor = match batch.cursor {
        Some(cursor) => cursor,
        None => event::newest_event(connection)?,
    };
    let mut receipt = batch.receipt;
    receipt.cursor = cursor;
    if let Some(Request { id, fingerprint, for_good, .. }) = txn.request {
        let made: Vec<(&str, &str)> =
            receipt.made.iter().map(|made| (made.kind.as_str(), made.id.as_str())).collect();
        connection
            .prepare_cached(
                "INSERT INTO requests (id, at, made, cursor, fingerprint, kept) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )
            .and_then(|mut s| {
                s.execute(params![
                    id,
                    txn.at.as_millis(),
                    serde_json::to_string(&made).unwrap_or_default(),
                    cursor.0,
                    fingerprint.0.cast_signed(),
                    for_good,
                ])
            })
            .map_err(sql)?;
    }
    Ok(receipt)
}

/// The receipt of a request that was carried out before.
pub(crate) fn replay(connection: &Connection, vault: &Vault, request: &Request) -> Result<Option<Receipt>> {
    let found: Option<(String, i64, i64)> = connection
        .prepare_cached("SELECT made, cursor, fingerprint FROM requests WHERE id = ?1")
        .and_then(|mut s| s.query_row([&request.id], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?))).optional())
        .map_err(sql)?;
    let Some((made, cursor, first)) = found else { return Ok(None) };
    // Rows of the first schemas have no fingerprint.
    if first != 0 && first != request.fingerprint.0.cast_signed() {
        let made: Vec<(String, String)> = serde_json::from_str(&made).unwrap_or_default();
        let made = made.into_iter().map(|(kind, id)| Made { kind, id }).collect::<Vec<_>>();
        return Err(answer::another_request(&request.key, &made));
    }
    let made: Vec<(String, String)> = serde_json::from_str(&made).map_err(|_| damaged("requests.made"))?;
    let made: Vec<Made> = made.into_iter().map(|(kind, id)| Made { kind, id }).collect();
    let mut ids: Vec<KeyId> = made.iter().filter_map(Made::as_key).collect();
    let mut keys = query::keys(connection, vault, &ids)?;
    if keys.len() < ids.len() {
        // What was merged meanwhile goes on in another key.
        for id in &mut ids {
            *id = grant::stays(connection, *id)?;
        }
        let found = query::keys(connection, vault, &ids)?;
        let of = |id: &KeyId| found.binary_search_by_key(id, |key| key.id).ok().and_then(|i| found.get(i));
        // In the order in which they were asked for, one for each.
        keys = ids.iter().filter_map(of).cloned().collect();
    }
    Ok(Some(Receipt { keys, made, cursor: Cursor(cursor), replayed: true, ..Receipt::default() }))
}

pub(crate) struct Batch<'c> {
    pub(crate) connection: &'c Connection,
    pub(crate) vault: &'c Vault,
    pub(crate) at: Timestamp,
    pub(crate) origin: Origin,
    /// The idempotency key of the call.
    pub(crate) payment: Option<String>,
    /// The call that the batch is made for.
    pub(crate) cause: Option<Cause>,
    /// Who acts, and those above it.
    pub(crate) acting: Vec<Admin>,
    /// It moves what was sold from one key to another.
    pub(crate) moves: bool,
    pub(crate) receipt: Receipt,
    pub(crate) cursor: Option<Cursor>,
}

impl Batch<'_> {
    fn step(&mut self, op: StoreOp) -> Result<()> {
        match op {
            StoreOp::Key(KeyOp::Create(new)) => self.create(*new),
            StoreOp::Key(KeyOp::Patch { key, expected, patch }) => self.patch(key, expected, &patch),
            StoreOp::Key(KeyOp::Delete { key, expected }) => self.delete(key, expected),
            StoreOp::Key(KeyOp::Extend { key, expected, extension }) => {
                self.extend(key, expected, &extension)
            }
            StoreOp::Key(KeyOp::Merge { key, into, expected }) => self.merge(key, into, expected),
            StoreOp::Key(KeyOp::Undo { grant, reason }) => self.undo(grant, reason.as_deref()),
            StoreOp::Key(KeyOp::Settle(key)) => self.settle(key),
            StoreOp::Key(KeyOp::SetAside(key)) => self.set_aside(key),
            StoreOp::Key(KeyOp::FollowOwner(key)) => self.follow_owner(key),
            StoreOp::Admin(op) => self.admin_step(op),
            StoreOp::Inbound(InboundOp::Put(inbound)) => self.put_inbound(&inbound),
            StoreOp::Inbound(InboundOp::Replace { before, inbound }) => {
                if self.inbound(&inbound.id())?.as_ref() != before.as_deref() {
                    return Err(answer::inbound_changed(&inbound.tag));
                }
                self.put_inbound(&inbound)
            }
            StoreOp::Inbound(InboundOp::Remove(node, tag)) => self.remove_inbound(&node, &tag),
            StoreOp::TakeSerials { inbound, count } => self.take_serials(&inbound, count),
            StoreOp::Record(op) => self.record(op),
            StoreOp::Device(DeviceOp::See { device, limit, gone_since }) => {
                self.see_device(&device, limit, gone_since)
            }
            StoreOp::Device(DeviceOp::Forget { key, id }) => self.forget_device(key, id.as_deref()),
            StoreOp::Device(DeviceOp::Refused { key, limit, told_since }) => {
                self.refused_device(key, limit, told_since)
            }
            StoreOp::Question(op) => self.question(op),
            StoreOp::Traffic(batch) => self.traffic(&batch),
            StoreOp::Note(made) => {
                self.receipt.made.push(made);
                Ok(())
            }
            StoreOp::RemindOfEnd { days, above, limit } => self.remind_of_end(days, above, limit),
            StoreOp::DeadLetter(op) => self.dead_letter_step(&op),
            StoreOp::Consumer(op) => self.consumer_step(&op),
            StoreOp::Emit(event) => self.emit(event),
            _ => Err(answer::unknown_step()),
        }
    }

    pub(crate) fn run(&self, text: &str, values: impl rusqlite::Params) -> Result<usize, rusqlite::Error> {
        self.connection.prepare_cached(text)?.execute(values)
    }

    pub(crate) fn key(&self, id: KeyId, expected: Option<u64>) -> Result<Key> {
        let key =
            query::key(self.connection, self.vault, &KeyRef::Id(id))?.ok_or_else(|| answer::no_key(id))?;
        match expected {
            Some(expected) if expected != key.version => Err(answer::version(id, expected, key.version)),
            _ => Ok(key),
        }
    }

    fn create(&mut self, mut new: NewKey) -> Result<()> {
        new.suspended = rows::is_suspended(self, new.owner)?;
        let template = new.template.clone();
        let mut key = new.into_key(KeyId(0), self.at);
        self.run(
            "INSERT INTO keys (uid, version, name, label, note, owner, status, expires_at, inbounds, created_at,
                               updated_at, device_limit, life, labels, due_at, address_limit, suspended)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
            params![
                key.uid.as_bytes(),
                number(key.version),
                key.name.as_ref().map(|n| n.as_str()),
                key.label,
                key.note,
                key.owner.map(|o| o.0),
                key.status.code(),
                key.expires_at.map(Timestamp::as_millis),
                selection_text(&key.inbounds),
                key.created_at.as_millis(),
                key.updated_at.as_millis(),
                key.device_limit,
                Life::text(&key),
                label::text(&key.labels),
                lifecycle::due_at(&key).map(Timestamp::as_millis),
                key.address_limit,
                key.suspended,
            ],
        )
        .map_err(|e| taken(&key, e))?;
        key.id = KeyId(self.connection.last_insert_rowid());
        self.run(
            "INSERT INTO meters (key_id, data_limit, on_hold, owner) VALUES (?1, ?2, ?3, ?4)",
            params![
                key.id.0,
                key.data_limit.map(|l| number(l.bytes())),
                key.hold.is_some(),
                key.owner.map(|owner| owner.0)
            ],
        )
        .map_err(sql)?;
        self.put_labels(key.id, &Labels::new(), &key.labels)?;
        self.put_credentials(&[], &mut key)?;
        self.own(None, Some(&key))?;
        self.emit(NewEvent { kind: EventKind::KeyCreated, subject: key.subject(), detail: String::new() })?;
        self.receipt.made.push(Made::key(key.id));
        self.grant(&Grant { template, ..Grant::created(&key, self.payment.clone()) }).map(drop)?;
        self.receipt.keys.push(key);
        Ok(())
    }

    fn patch(&mut self, id: KeyId, expected: Option<u64>, patch: &KeyPatch) -> Result<()> {
        let before = self.key(id, expected)?;
        patch.check(answer::COMMIT, &before, self.at)?;
        let mut after = before.clone();
        let happened = patch.apply(&mut after, self.at);
        for admin in &self.acting {
            ownership::check_patch(admin, patch, &before, &after)?;
        }
        if let Some(mut happened) = happened {
            if before.owner != after.owner {
                happened.extend(self.follow(&mut after)?);
            }
            self.leave_inbounds(&before, &mut after)?;
            let mut planned = before.clone();
            if happened.contains(&EventKind::KeyNextPlan) {
                // A plan that begins as it is set stands in the ledger, too.
                patch.next_plan.apply(&mut planned.next_plan);
            }
            self.own(Some(&before), Some(&after))?;
            self.write(&planned, &after)?;
            self.tell_events(&planned, &after, &happened)?;
            self.put_credentials(&before.credentials, &mut after)?;
            if patch.forgets_devices() {
                self.forget_device(id, None)?;
            }
        }
        self.receipt.made.push(Made::key(after.id));
        self.receipt.keys.push(after);
        Ok(())
    }

    /// Does what is due of a key. Its credentials are read only when some of them end.
    fn settle(&mut self, id: KeyId) -> Result<()> {
        let mut before = match query::bare_key(self.connection, id) {
            Ok(Some(key)) => key,
            Ok(None) => return Ok(()),
            // The others go on; this one is looked at again.
            Err(e) if e.kind() == ErrorKind::StoreCorrupt => {
                tracing::warn!(key = id.0, error = %e, "a key cannot be read; it is settled when it can");
                return self.set_aside(id);
            }
            Err(e) => return Err(e),
        };
        let mut links_end = old_links_end(&before, self.at);
        if links_end {
            match self.key(id, None) {
                Ok(key) => before = key,
                // What has nothing to do with them goes on.
                Err(e) if e.kind() == ErrorKind::StoreCorrupt => {
                    tracing::warn!(key = id.0, error = %e, "old links of a key end when its credentials can be read");
                    links_end = false;
                }
                Err(e) => return Err(e),
            }
        }
        let unread = old_links_end(&before, self.at) && !links_end;
        let mut after = before.clone();
        let mut happened = lifecycle::settle(&mut after, self.at);
        if links_end {
            // Who has fetched with the old ones fetches with the new ones, or no more.
            self.forget_device(id, None)?;
            if lifecycle::end_old_links(&mut after) {
                happened.push(EventKind::KeyRevoked);
                self.put_credentials(&before.credentials, &mut after)?;
            }
        }
        if lifecycle::is_over(&after, self.at) {
            self.receipt.over.push(id);
        }
        if lifecycle::stamp(&before, &mut after, self.at) {
            self.replace(&before, &after, &happened)?;
            return if unread { self.set_aside(id) } else { Ok(()) };
        }
        if unread {
            return self.set_aside(id);
        }
        // Settled by somebody else meanwhile, or by a program that did not know when it is due.
        let due_at = lifecycle::due_at(&after).map(Timestamp::as_millis);
        self.run("UPDATE keys SET due_at = ?2 WHERE id = ?1 AND due_at IS NOT ?2", params![id.0, due_at])
            .map(drop)
            .map_err(sql)
    }

    /// Suspends a key, or lets it go on, as the quotas of its owner say.
    fn follow_owner(&mut self, id: KeyId) -> Result<()> {
        let before = match query::bare_key(self.connection, id) {
            Ok(Some(key)) => key,
            Ok(None) => return Ok(()),
            // The others go on, and this one is not looked at again and again.
            Err(e) if e.kind() == ErrorKind::StoreCorrupt => {
                tracing::warn!(key = id.0, error = %e, "a key cannot be read; it does not follow its owner");
                let owner = self.owner_of(id)?.flatten();
                let suspended = rows::is_suspended(self, owner)?;
                return self
                    .run("UPDATE keys SET suspended = ?2 WHERE id = ?1", params![id.0, suspended])
                    .map(drop)
                    .map_err(sql);
            }
            Err(e) => return Err(e),
        };
        let mut after = before.clone();
        let happened = self.follow(&mut after)?;
        match lifecycle::stamp(&before, &mut after, self.at) {
            true => self.replace(&before, &after, &happened),
            false => Ok(()),
        }
    }

    fn set_aside(&self, id: KeyId) -> Result<()> {
        let again = self.at.plus(SETTLE_AGAIN).as_millis();
        self.run("UPDATE keys SET due_at = ?2 WHERE id = ?1", [id.0, again]).map(drop).map_err(sql)
    }

    /// Does what follows when bytes of a key were counted.
    pub(crate) fn connect(&mut self, id: KeyId) -> Result<()> {
        let before = match query::bare_key(self.connection, id) {
            Ok(Some(key)) => key,
            Ok(None) => return Ok(()),
            Err(e) if e.kind() == ErrorKind::StoreCorrupt => {
                tracing::warn!(key = id.0, error = %e, "a key cannot be read; what follows of its traffic waits for its next bytes");
                // With its next bytes it is looked at again.
                return self
                    .run("UPDATE meters SET on_hold = 1 WHERE key_id = ?1", [id.0])
                    .map(drop)
                    .map_err(sql);
            }
            Err(e) => return Err(e),
        };
        let mut after = before.clone();
        let happened = lifecycle::connect(&mut after, self.at);
        if !lifecycle::stamp(&before, &mut after, self.at) {
            return Ok(());
        }
        self.write_key(&before, &after)?;
        // That it no longer waits was written with what was counted.
        if (before.used, before.data_limit) != (after.used, after.data_limit) {
            self.write_meter(&before, &after)?;
        }
        self.tell_change(&before, &after, &happened)
    }

    /// Writes what differs in `keys` and `meters`, with the events that follow.
    pub(crate) fn replace(&mut self, before: &Key, after: &Key, happened: &[EventKind]) -> Result<()> {
        self.write(before, after)?;
        self.tell_change(before, after, happened)
    }

    fn write(&mut self, before: &Key, after: &Key) -> Result<()> {
        self.write_key(before, after)?;
        self.write_meter(before, after)?;
        if before.labels != after.labels {
            self.put_labels(after.id, &before.labels, &after.labels)?;
        }
        Ok(())
    }

    /// Writes the events that follow from a change, and the entry of a plan that has begun.
    fn tell_change(&mut self, before: &Key, after: &Key, happened: &[EventKind]) -> Result<()> {
        self.own(Some(before), Some(after))?;
        self.tell_events(before, after, happened)
    }

    fn tell_events(&mut self, before: &Key, after: &Key, happened: &[EventKind]) -> Result<()> {
        if let Some(grant) = consequence::grant_of(before, after, happened, self.at) {
            self.write_grant(&grant)?;
        }
        for event in consequence::of_change(before, after, happened) {
            self.emit(event)?;
        }
        self.receipt.transitions.extend(consequence::transition(before.status, after));
        if happened.contains(&EventKind::KeyRevoked) {
            self.receipt.replaced.push(after.id);
        }
        Ok(())
    }

    /// SQLite writes the indexes of every column that a statement names, changed or not: so each names what has changed.
    fn write_key(&self, before: &Key, after: &Key) -> Result<()> {
        if !before.is_called_as(after) {
            self.run(
                "UPDATE keys SET name = ?2, label = ?3, note = ?4, owner = ?5, inbounds = ?6, device_limit = ?7,
                                 link_revision = ?8, labels = ?9, address_limit = ?10 WHERE id = ?1",
                params![
                    after.id.0,
                    after.name.as_ref().map(|n| n.as_str()),
                    after.label,
                    after.note,
                    after.owner.map(|o| o.0),
                    selection_text(&after.inbounds),
                    after.device_limit,
                    after.link_revision,
                    label::text(&after.labels),
                    after.address_limit,
                ],
            )
            .map_err(|e| taken(after, e))?;
        }
        if before.suspended != after.suspended {
            self.run("UPDATE keys SET suspended = ?2 WHERE id = ?1", params![after.id.0, after.suspended])
                .map_err(sql)?;
        }
        let (id, version, updated_at) = (after.id.0, number(after.version), after.updated_at.as_millis());
        let (life, due_at) = (Life::text(after), lifecycle::due_at(after).map(Timestamp::as_millis));
        let ends = |key: &Key| (key.status, key.expires_at);
        match ends(before) == ends(after) {
            true => self.run(
                "UPDATE keys SET version = ?2, updated_at = ?3, life = ?4, due_at = ?5 WHERE id = ?1",
                params![id, version, updated_at, life, due_at],
            ),
            false => {
                let (status, expires_at) = (after.status.code(), after.expires_at.map(Timestamp::as_millis));
                self.run(
                    "UPDATE keys SET version = ?2, updated_at = ?3, life = ?4, due_at = ?5, status = ?6,
                                     expires_at = ?7 WHERE id = ?1",
                    params![id, version, updated_at, life, due_at, status, expires_at],
                )
            }
        }
        .map(drop)
        .map_err(sql)
    }

    fn write_meter(&self, before: &Key, after: &Key) -> Result<()> {
        let id = after.id.0;
        if before.owner != after.owner {
            self.run("UPDATE meters SET owner = ?2 WHERE key_id = ?1", params![id, after.owner.map(|o| o.0)])
                .map_err(sql)?;
        }
        if (before.data_limit, before.used) != (after.data_limit, after.used) {
            let limit = after.data_limit.map(|limit| number(limit.bytes()));
            self.run(
                "UPDATE meters SET data_limit = ?2, used = ?3 WHERE key_id = ?1",
                params![id, limit, number(after.used)],
            )
            .map_err(sql)?;
        }
        let on_hold = |key: &Key| key.hold.is_some();
        if on_hold(before) != on_hold(after) {
            self.run("UPDATE meters SET on_hold = ?2 WHERE key_id = ?1", params![id, on_hold(after)])
                .map_err(sql)?;
        }
        Ok(())
    }

    pub(crate) fn delete(&mut self, id: KeyId, expected: Option<u64>) -> Result<()> {
        let key = self.key(id, expected)?;
        self.own(Some(&key), None)?;
        for credential in &key.credentials {
            self.revoke(id, credential)?;
        }
        let own: Vec<(String, String)> = self
            .connection
            .prepare_cached("SELECT node, tag FROM inbounds WHERE dedicated_to = ?1 ORDER BY node, tag")
            .and_then(|mut s| s.query_map([id.0], |r| Ok((r.get(0)?, r.get(1)?)))?.collect())
            .map_err(sql)?;
        for (node, tag) in own {
            self.remove_inbound(&NodeId::new(node)?, &InboundTag::new(tag)?)?;
        }
        self.put_labels(id, &key.labels, &Labels::new())?;
        // Credentials and meter go with it.
        self.run("DELETE FROM keys WHERE id = ?1", [id.0]).map_err(sql)?;
        self.run("DELETE FROM counters WHERE key_id = ?1 AND source IN (SELECT id FROM sources)", [id.0])
            .map_err(sql)?;
        self.emit(NewEvent { kind: EventKind::KeyDeleted, subject: key.subject(), detail: String::new() })?;
        let devices = serde_json::to_string(&key.devices()).unwrap_or_default();
        self.run(
            "UPDATE events SET devices = ?2 WHERE cursor = ?1",
            params![self.cursor.map(|c| c.0), devices],
        )
        .map(drop)
        .map_err(sql)
    }
}

fn old_links_end(key: &Key, now: Timestamp) -> bool {
    key.old_links_until.is_some_and(|until| until <= now)
}

fn taken(key: &Key, error: rusqlite::Error) -> Error {
    if violates(&error, "keys.name") {
        answer::name_taken(key.name.as_ref().map_or("", |n| n.as_str()))
    } else if violates(&error, "keys.uid") {
        answer::uid_taken()
    } else {
        sql(error)
    }
}
