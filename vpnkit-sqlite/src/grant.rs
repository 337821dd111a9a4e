//! The ledger.

use std::time::Duration;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::apply::{Batch, sql};
use crate::convert_error::{convert, damaged};
use crate::query::id_list;
use crate::row::number;
use vpnkit_core::model::{AdminId, ByteSize, EventKind, Extension, Grant, GrantId, Key, KeyId};
use vpnkit_core::ownership::rows;
use vpnkit_core::store::errors as answer;
use vpnkit_core::store::{GrantFilter, MERGED_MAX, Made, consequence};
use vpnkit_core::{Error, ErrorKind, Result, Timestamp, lifecycle};

const COLUMNS: &str = "id, key_id, uid, at, kind, payment, expires_in, data_limit, unlimited, policy, reason, \
     counted_from, before, after, undone_at, undone_because, actor, template, merged_from, owner, by_admin";

/// A word of an enum, as JSON has it without its quotes.
fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

impl Batch<'_> {
    /// Writes an entry of what was asked for.
    pub(crate) fn grant(&mut self, grant: &Grant) -> Result<GrantId> {
        let id = self.write_grant(grant)?;
        self.receipt.made.push(Made::grant(id));
        Ok(id)
    }

    pub(crate) fn write_grant(&self, grant: &Grant) -> Result<GrantId> {
        let grant = grant.clone().caused_by(self.cause.as_ref());
        self.run(
            "INSERT INTO grants (key_id, uid, at, kind, payment, expires_in, data_limit, unlimited, policy, reason,
                                 counted_from, before, after, actor, template, merged_from, owner, by_admin, scope)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)",
            params![
                grant.key.0,
                grant.key_uid.as_bytes(),
                grant.at.as_millis(),
                word(&grant.kind),
                grant.idempotency_key,
                grant.expires_in.map(|time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX)),
                grant.data_limit.map(|limit| number(limit.bytes())),
                grant.unlimited,
                word(&grant.policy),
                grant.reason,
                grant.counted_from.as_millis(),
                json(&grant.before),
                json(&grant.after),
                grant.actor,
                grant.template,
                grant.merged_from.map(|key| key.0),
                grant.owner.map(|owner| owner.0),
                grant.by_admin.map(|admin| admin.0),
                self.acting.first().map(|by| by.id.0),
            ],
        )
        .map_err(sql)?;
        Ok(GrantId(self.connection.last_insert_rowid()))
    }

    /// Extends a key.
    pub(crate) fn extend(&mut self, id: KeyId, expected: Option<u64>, extension: &Extension) -> Result<()> {
        let before = self.key(id, expected)?;
        extension.check(answer::COMMIT, &before)?;
        let mut after = before.clone();
        let (grant, kind) = lifecycle::extend_key(&mut after, extension, self.payment.clone(), self.at);
        let grant = self.grant(&grant)?;
        self.change_end(&before, after, kind, grant)
    }

    /// Gives a key what is left of another, and deletes that one.
    pub(crate) fn merge(&mut self, key: KeyId, into: KeyId, expected: Option<u64>) -> Result<()> {
        let (gone, before) = (self.key(key, None)?, self.key(into, expected)?);
        let mut after = before.clone();
        let (grant, kind) = lifecycle::merge(&mut after, &gone, self.payment.clone(), self.at)?;
        let grant = self.grant(&grant)?;
        // What goes is not there twice, nor for a moment.
        self.moves = gone.owner == before.owner;
        self.change_end(&before, after, kind, grant)?;
        self.delete(key, None)?;
        if std::mem::take(&mut self.moves)
            && let Some(after) = self.receipt.keys.last().cloned()
        {
            let enforced = self.cause.is_some();
            rows::merged(self, &gone, (&before, &after), enforced)?;
        }
        Ok(())
    }

    /// Takes a grant back.
    pub(crate) fn undo(&mut self, id: GrantId, reason: Option<&str>) -> Result<()> {
        let one = GrantFilter { id: Some(id), ..GrantFilter::default() };
        let undone = grants(self.connection, &one)?.pop().ok_or_else(|| answer::no_grant(id))?;
        if let Some(at) = undone.undone_at {
            return Err(answer::undone_before(id, at));
        }
        if let Some((into, merge)) = merged_into(self.connection, undone.key)? {
            return Err(answer::merged(undone.key, into, merge));
        }
        let before = self.key(undone.key, None)?;
        let later = GrantFilter { key: Some(undone.key), after: id, ..GrantFilter::default() };
        let mut all = vec![undone];
        all.extend(grants(self.connection, &later)?);
        let mut after = before.clone();
        let kind = lifecycle::undo(&mut all, &mut after, self.at);
        for grant in &all {
            self.run(
                "UPDATE grants SET before = ?2, after = ?3, undone_at = ?4 WHERE id = ?1",
                params![
                    grant.id.0,
                    json(&grant.before),
                    json(&grant.after),
                    grant.undone_at.map(Timestamp::as_millis)
                ],
            )
            .map_err(sql)?;
        }
        self.run("UPDATE grants SET undone_because = ?2 WHERE id = ?1", params![id.0, reason])
            .map_err(sql)?;
        self.receipt.made.push(Made::grant(id));
        self.change_end(&before, after, kind, id)
    }

    /// Settles a key whose end a grant has changed, and writes it.
    fn change_end(&mut self, before: &Key, mut after: Key, kind: EventKind, grant: GrantId) -> Result<()> {
        self.emit(consequence::of_grant(kind, before, grant))?;
        let mut happened = Vec::new();
        happened.extend(lifecycle::settle(&mut after, self.at));
        lifecycle::ended_by_hand(before, &mut after, self.at);
        lifecycle::stamp(before, &mut after, self.at);
        self.replace(before, &after, &happened)?;
        self.receipt.made.push(Made::key(after.id));
        self.receipt.keys.push(after);
        Ok(())
    }
}

/// The key that a key was merged into, and the entry of that; `None` when it was not, or is there.
pub(crate) fn merged_into(connection: &Connection, key: KeyId) -> Result<Option<(KeyId, GrantId)>> {
    connection
        .prepare_cached(
            "SELECT key_id, id FROM grants WHERE merged_from = ?1 AND NOT EXISTS (SELECT 1 FROM keys WHERE id = ?1)",
        )
        .and_then(|mut s| {
            s.query_row([key.0], |r| Ok((KeyId(r.get(0)?), GrantId(r.get(1)?)))).optional()
        })
        .map_err(sql)
}

/// The key that a key was merged into, as long as there is one; itself otherwise.
pub(crate) fn stays(connection: &Connection, mut key: KeyId) -> Result<KeyId> {
    for _ in 0..MERGED_MAX {
        match merged_into(connection, key)? {
            Some((into, _)) => key = into,
            None => break,
        }
    }
    Ok(key)
}

/// The entries of a filter, oldest first.
pub(crate) fn grants(connection: &Connection, filter: &GrantFilter) -> Result<Vec<Grant>> {
    let mut conditions = vec!["id > ?1".to_owned()];
    let mut values: Vec<Value> = vec![filter.after.0.into()];
    let mut add = |condition: &str, value: Value| {
        values.push(value);
        let count = |bracket: char| condition.matches(bracket).count();
        let end = ")".repeat(count('(') - count(')'));
        conditions.push(format!("{condition} ?{}{end}", values.len()));
    };
    if let Some(id) = filter.id {
        add("id =", id.0.into());
    }
    if let Some(key) = filter.key {
        add("key_id =", key.0.into());
    }
    if let Some(owners) = &filter.owners {
        add("owner IN (SELECT value FROM json_each(", id_list(owners).into());
    }
    match filter.scope {
        Some(Some(scope)) => add("scope =", scope.0.into()),
        Some(None) => add("scope IS", Value::Null),
        None => {}
    }
    if let Some(payment) = &filter.idempotency_key {
        add("payment =", payment.clone().into());
    }
    if filter.since > Timestamp::default() {
        add("at >=", filter.since.as_millis().into());
        // Not all entries from before that are read on the way: their times have an index.
        add("id >= (SELECT min(id) FROM grants WHERE at >=", filter.since.as_millis().into());
    }
    if filter.until < Timestamp::MAX {
        add("at <", filter.until.as_millis().into());
    }
    values.push(i64::try_from(filter.limit).unwrap_or(i64::MAX).into());
    let text = format!(
        "SELECT {COLUMNS} FROM grants WHERE {} ORDER BY id LIMIT ?{}",
        conditions.join(" AND "),
        values.len()
    );
    let sql = |e| convert("store.grants", e);
    let mut statement = connection.prepare_cached(&text).map_err(sql)?;
    let mut rows = statement.query(params_from_iter(values)).map_err(sql)?;
    let mut grants = Vec::new();
    while let Some(row) = rows.next().map_err(sql)? {
        match read(row).map_err(sql)? {
            // The others go on.
            Err(e) if e.kind() == ErrorKind::StoreCorrupt && filter.id.is_none() => {
                tracing::warn!(error = %e, "an entry of the ledger cannot be read");
            }
            grant => grants.push(grant?),
        }
    }
    Ok(grants)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Result<Grant>> {
    let (uid, kind, policy): (Vec<u8>, String, String) = (row.get(2)?, row.get(4)?, row.get(9)?);
    let (before, after): (String, String) = (row.get(12)?, row.get(13)?);
    let time = |i: usize| row.get(i).map(Timestamp::from_millis);
    let (at, counted_from) = (time(3)?, time(11)?);
    let (expires_in, data_limit): (Option<i64>, Option<i64>) = (row.get(6)?, row.get(7)?);
    let (id, key, payment, unlimited) = (row.get(0)?, row.get(1)?, row.get(5)?, row.get(8)?);
    let (reason, undone_at, undone_because) = (row.get(10)?, row.get::<_, Option<i64>>(14)?, row.get(15)?);
    let (actor, template) = (row.get(16)?, row.get(17)?);
    let (merged_from, owner): (Option<i64>, Option<i64>) = (row.get(18)?, row.get(19)?);
    let by_admin: Option<i64> = row.get(20)?;
    let build = || {
        Ok(Grant {
            id: GrantId(id),
            key: KeyId(key),
            owner: owner.map(AdminId),
            key_uid: Uuid::from_slice(&uid).map_err(|_| damaged("grants.uid"))?,
            at,
            kind: parsed(&serde_json::Value::from(kind).to_string(), "grants.kind")?,
            idempotency_key: payment,
            expires_in: expires_in.map(|millis| Duration::from_millis(millis.unsigned_abs())),
            data_limit: data_limit.map(|bytes| ByteSize::from_bytes(bytes.unsigned_abs())),
            unlimited,
            template,
            merged_from: merged_from.map(KeyId),
            policy: parsed(&serde_json::Value::from(policy).to_string(), "grants.policy")?,
            reason,
            actor,
            by_admin: by_admin.map(AdminId),
            counted_from,
            before: parsed(&before, "grants.before")?,
            after: parsed(&after, "grants.after")?,
            undone_at: undone_at.map(Timestamp::from_millis),
            undone_because,
        })
    };
    Ok(build())
}

fn parsed<T: DeserializeOwned>(text: &str, column: &'static str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|_| damaged(column))
}
