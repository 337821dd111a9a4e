//! Events: written with what they follow from, read in order, by key, by who has caused them.

use rusqlite::types::Value;
use rusqlite::{Connection, params, params_from_iter};
use uuid::Uuid;

use crate::apply::Batch;
use crate::convert_error::damaged;
use crate::query::sql;
use vpnkit_core::model::{
    AdminId, AuditQuery, Cause, Cursor, Event, EventBatch, EventSubject, KeyId, NewEvent, NodeId,
};
use vpnkit_core::store::errors::{cursor_ahead, cursor_expired};
use vpnkit_core::store::{ChangeBatch, Origin, StoreChange, errors as answer};
use vpnkit_core::{ErrorKind, Result, Timestamp};

impl Batch<'_> {
    pub(crate) fn emit(&mut self, event: NewEvent) -> Result<()> {
        let owner = match &event.subject {
            EventSubject::Key { owner, .. } => owner.map(|owner| owner.0),
            _ => None,
        };
        let (key, subject, uid) = match &event.subject {
            EventSubject::Key { id, uid, .. } => (Some(id.0), None, Some(uid.as_bytes().to_vec())),
            EventSubject::Admin(admin) => (None, Some(format!("admin:{admin}")), None),
            EventSubject::Settings(place) => (None, Some(format!("settings:{place}")), None),
            EventSubject::Inbound(tag) => (None, Some(format!("inbound:{tag}")), None),
            EventSubject::Server(server) => (None, Some(format!("server:{server}")), None),
            EventSubject::Node(node) => (None, Some(format!("node:{node}")), None),
            _ => return Err(answer::unknown_step()),
        };
        self.run(
            "INSERT INTO events (at, kind, key_id, subject, uid, detail, origin, operation, actor, reason, payment,
                                 owner, by_admin)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            params![
                self.at.as_millis(),
                event.kind.code(),
                key,
                subject,
                uid,
                event.detail,
                self.origin.0,
                self.cause.as_ref().map(|cause| &cause.operation),
                self.cause.as_ref().and_then(|cause| cause.actor.as_ref()),
                self.cause.as_ref().and_then(|cause| cause.reason.as_ref()),
                self.cause.as_ref().and_then(|cause| cause.idempotency_key.as_ref()),
                owner,
                self.cause.as_ref().and_then(|cause| cause.by_admin).map(|admin| admin.0),
            ],
        )
        .map_err(sql)?;
        self.cursor = Some(Cursor(self.connection.last_insert_rowid()));
        Ok(())
    }
}

/// Events after a cursor.
/// Errors: `CursorExpired` when events after this cursor are gone, or the store has not got so far.
fn check_cursor(connection: &Connection, after: Cursor) -> Result<()> {
    let pruned: i64 = connection
        .prepare_cached("SELECT value FROM meta WHERE name = 'events_pruned'")
        .and_then(|mut s| s.query_row([], |r| r.get(0)))
        .map_err(sql)?;
    if after.0 < pruned {
        return Err(cursor_expired(after, Cursor(pruned)));
    }
    let newest = newest_event(connection)?;
    if after > newest {
        return Err(cursor_ahead(after, newest));
    }
    Ok(())
}

pub(crate) fn events(connection: &Connection, after: Cursor, max: usize) -> Result<EventBatch> {
    check_cursor(connection, after)?;
    let mut statement = connection
        .prepare_cached(&format!(
            "SELECT {EVENT_COLUMNS} FROM events WHERE cursor > ?1 ORDER BY cursor LIMIT ?2"
        ))
        .map_err(sql)?;
    let mut rows = statement.query(params![after.0, i64::try_from(max).unwrap_or(i64::MAX)]).map_err(sql)?;
    let mut events = Vec::new();
    let mut next = after;
    while let Some(row) = rows.next().map_err(sql)? {
        next = Cursor(row.get(0).map_err(sql)?);
        match event(row) {
            Ok(event) => events.push(event),
            // Of a newer vpnkit, which this one could not tell of.
            Err(e) if e.kind() == ErrorKind::StoreCorrupt => {
                tracing::warn!(cursor = next.0, error = %e, "an event of this store cannot be read");
            }
            Err(e) => return Err(e),
        }
    }
    Ok(EventBatch { events, next })
}

/// The events of a key from before a cursor, the newest first.
pub(crate) fn timeline(
    connection: &Connection,
    key: KeyId,
    before: Option<Cursor>,
    max: usize,
) -> Result<Vec<Event>> {
    let mut statement = connection
        .prepare_cached(&format!(
            "SELECT {EVENT_COLUMNS} FROM events WHERE key_id = ?1 AND cursor < ?2 ORDER BY cursor DESC LIMIT ?3"
        ))
        .map_err(sql)?;
    let before = before.map_or(i64::MAX, |cursor| cursor.0);
    let values = params![key.0, before, i64::try_from(max).unwrap_or(i64::MAX)];
    let mut rows = statement.query(values).map_err(sql)?;
    let mut events = Vec::new();
    while let Some(row) = rows.next().map_err(sql)? {
        match event(row) {
            Ok(event) => events.push(event),
            // The others are told.
            Err(e) if e.kind() == ErrorKind::StoreCorrupt => {
                tracing::warn!(key = key.0, error = %e, "an event of this key cannot be read");
            }
            Err(e) => return Err(e),
        }
    }
    Ok(events)
}

/// The events that calls have caused, the newest first.
pub(crate) fn audit(connection: &Connection, query: &AuditQuery) -> Result<Vec<Event>> {
    let mut conditions = vec!["operation IS NOT NULL".to_owned()];
    let mut values: Vec<Value> = Vec::new();
    let mut add = |condition: &str, value: Option<Value>| {
        let Some(value) = value else { return };
        values.push(value);
        conditions.push(format!("{condition} ?{}", values.len()));
    };
    add("actor =", query.actor.clone().map(Into::into));
    add("by_admin =", query.by_admin.map(|admin| admin.0.into()));
    add("operation =", query.operation.clone().map(Into::into));
    add("at >=", query.since.map(|at| at.as_millis().into()));
    add("at <", query.until.map(|at| at.as_millis().into()));
    add("cursor <", query.before.map(|cursor| cursor.0.into()));
    let text = format!(
        "SELECT {EVENT_COLUMNS} FROM events WHERE {} ORDER BY cursor DESC LIMIT {}",
        conditions.join(" AND "),
        query.limit
    );
    let mut statement = connection.prepare_cached(&text).map_err(sql)?;
    let mut rows = statement.query(params_from_iter(values)).map_err(sql)?;
    let mut events = Vec::new();
    while let Some(row) = rows.next().map_err(sql)? {
        match event(row) {
            Ok(event) => events.push(event),
            // The others are told.
            Err(e) if e.kind() == ErrorKind::StoreCorrupt => {
                tracing::warn!(error = %e, "an event of this store cannot be read");
            }
            Err(e) => return Err(e),
        }
    }
    Ok(events)
}

/// What [`event`] reads.
const EVENT_COLUMNS: &str =
    "cursor, at, kind, key_id, uid, subject, detail, operation, actor, reason, payment, owner, by_admin";

fn cause(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Cause>> {
    let Some(operation) = row.get(7)? else { return Ok(None) };
    let (actor, reason, idempotency_key) = (row.get(8)?, row.get(9)?, row.get(10)?);
    let by_admin = row.get::<_, Option<i64>>(12)?.map(AdminId);
    Ok(Some(Cause { operation, actor, by_admin, reason, idempotency_key }))
}

fn event(row: &rusqlite::Row<'_>) -> Result<Event> {
    let key: Option<i64> = row.get(3).map_err(sql)?;
    let uid: Option<Vec<u8>> = row.get(4).map_err(sql)?;
    let subject: Option<String> = row.get(5).map_err(sql)?;
    let subject = match (key, uid, subject.as_deref().and_then(|s| s.split_once(':'))) {
        (Some(id), Some(uid), _) => EventSubject::Key {
            id: KeyId(id),
            uid: Uuid::from_slice(&uid).map_err(|_| damaged("events.uid"))?,
            owner: row.get::<_, Option<i64>>(11).map_err(sql)?.map(AdminId),
        },
        (_, _, Some(("admin", id))) => {
            EventSubject::Admin(AdminId(id.parse().map_err(|_| damaged("events.subject"))?))
        }
        (_, _, Some(("settings", place))) => EventSubject::Settings(place.to_owned()),
        (_, _, Some(("inbound", tag))) => EventSubject::Inbound(tag.to_owned()),
        (_, _, Some(("server", id))) => EventSubject::Server(
            serde_json::from_value(serde_json::Value::from(id)).map_err(|_| damaged("events.subject"))?,
        ),
        (_, _, Some(("node", id))) => {
            EventSubject::Node(NodeId::new(id).map_err(|_| damaged("events.subject"))?)
        }
        _ => return Err(damaged("events.subject")),
    };
    Ok(Event {
        cursor: Cursor(row.get(0).map_err(sql)?),
        at: Timestamp::from_millis(row.get(1).map_err(sql)?),
        kind: row.get::<_, String>(2).map_err(sql)?.parse().map_err(|_| damaged("events.kind"))?,
        subject,
        detail: row.get(6).map_err(sql)?,
        cause: cause(row).map_err(sql)?,
    })
}

/// The cursor of the newest event, pruned or not.
/// What others than `own` have changed. The work grows with what was committed after the cursor.
pub(crate) fn changes(
    connection: &Connection,
    after: Cursor,
    max: usize,
    own: Origin,
) -> Result<ChangeBatch> {
    check_cursor(connection, after)?;
    let mut statement = connection
        .prepare_cached(&format!(
            "SELECT {EVENT_COLUMNS}, origin, devices FROM events WHERE cursor > ?1 ORDER BY cursor LIMIT ?2"
        ))
        .map_err(sql)?;
    let mut rows = statement.query(params![after.0, i64::try_from(max).unwrap_or(i64::MAX)]).map_err(sql)?;
    let (mut batch, mut seen) = (ChangeBatch { next: after, ..ChangeBatch::default() }, 0);
    while let Some(row) = rows.next().map_err(sql)? {
        seen += 1;
        batch.next = Cursor(row.get(0).map_err(sql)?);
        let origin: i64 = row.get(13).map_err(sql)?;
        if origin != 0 && origin == own.0 {
            continue;
        }
        match event(row) {
            Ok(Event { cursor, kind, subject, .. }) => {
                let devices: Option<String> = row.get(14).map_err(sql)?;
                let devices = match devices {
                    Some(devices) => serde_json::from_str(&devices).map_err(|_| damaged("events.devices"))?,
                    None => Vec::new(),
                };
                batch.changes.push(StoreChange { cursor, kind, subject, devices });
            }
            // Of a newer vpnkit, which this one could not tell of.
            Err(e) if e.kind() == ErrorKind::StoreCorrupt => {}
            Err(e) => return Err(e),
        }
    }
    batch.more = seen == max;
    Ok(batch)
}

pub(crate) fn newest_event(connection: &Connection) -> Result<Cursor> {
    connection
        .prepare_cached("SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)")
        .and_then(|mut s| s.query_row([], |r| r.get(0)))
        .map(Cursor)
        .map_err(sql)
}
