//! Reading.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, params, params_from_iter};
use uuid::Uuid;

use crate::convert_error::{convert, damaged};
use crate::row::{
    self, CREDENTIAL_COLUMNS, HeldInbound, INBOUND_COLUMNS, KEY_COLUMNS, KEY_TABLES, KEY_WIDTH,
};
use crate::vault::Vault;
use vpnkit_core::accounting::Baseline;
use vpnkit_core::model::{
    AdminId, AuditQuery, Cause, CertificateTerm, ClientDevice, CredentialSecret, Cursor, DeviceName, Event,
    EventBatch, EventSubject, Inbound, InboundId, Key, KeyCounts, KeyId, KeyQuery, KeyRef, Page, Place,
    Record, RecordQuery, Revocation, ServerId, Sort, SortValue, Traffic, UsagePoint, UsageQuery, UsageStep,
};
use vpnkit_core::store::errors::{cursor_ahead, cursor_expired};
use vpnkit_core::store::{ChangeBatch, Origin, StoreChange};
use vpnkit_core::traffic::{Counter, Epoch, Series};
use vpnkit_core::{Error, ErrorKind, Result, Timestamp};

pub(crate) fn sql(error: rusqlite::Error) -> Error {
    convert("store.read", error)
}

/// One key, with its credentials in one statement: each statement is a transaction of its own.
pub(crate) fn key(connection: &Connection, vault: &Vault, key: &KeyRef) -> Result<Option<Key>> {
    let (condition, value): (_, Value) = match key {
        KeyRef::Id(id) => ("k.id = ?1", id.0.into()),
        KeyRef::Uid(uid) => ("k.uid = ?1", uid.as_bytes().to_vec().into()),
        KeyRef::Name(name) => ("k.name = ?1", name.clone().into()),
    };
    let text = format!(
        "SELECT {KEY_COLUMNS}, {CREDENTIAL_COLUMNS}
         FROM {KEY_TABLES} LEFT JOIN credentials c ON c.key_id = k.id WHERE {condition}"
    );
    let mut statement = connection.prepare_cached(&text).map_err(sql)?;
    let mut rows = statement.query([value]).map_err(sql)?;
    let mut found: Option<Key> = None;
    while let Some(row) = rows.next().map_err(sql)? {
        let mut key = match found.take() {
            Some(key) => key,
            None => row::key(row).map_err(sql)??,
        };
        key.credentials.extend(row::credential(row, key.id, KEY_WIDTH, vault)?);
        found = Some(key);
    }
    if let Some(key) = &mut found {
        row::sort_credentials(key);
    }
    Ok(found)
}

/// One key without its credentials.
pub(crate) fn bare_key(connection: &Connection, id: KeyId) -> Result<Option<Key>> {
    let text = format!("SELECT {KEY_COLUMNS} FROM {KEY_TABLES} WHERE k.id = ?1");
    let mut statement = connection.prepare_cached(&text).map_err(sql)?;
    statement.query_row([id.0], row::key).optional().map_err(sql)?.transpose()
}

/// The keys that exist among `ids`, by id.
pub(crate) fn keys(connection: &Connection, vault: &Vault, ids: &[KeyId]) -> Result<Vec<Key>> {
    let list = serde_json::to_string(&ids.iter().map(|id| id.0).collect::<Vec<_>>()).unwrap_or_default();
    let text = format!(
        "SELECT {KEY_COLUMNS} FROM {KEY_TABLES} WHERE k.id IN (SELECT value FROM json_each(?1)) ORDER BY k.id"
    );
    let mut keys = collect(connection, &text, &[list.into()])?;
    row::credentials(connection, vault, &mut keys)?;
    Ok(keys)
}

fn collect(connection: &Connection, text: &str, values: &[Value]) -> Result<Vec<Key>> {
    let mut statement = connection.prepare_cached(text).map_err(sql)?;
    let rows = statement.query_map(params_from_iter(values), row::key_of_many).map_err(sql)?;
    rows.map(|row| row.map_err(sql)?).collect()
}

/// A page.
pub(crate) fn find(
    connection: &Connection,
    vault: &Vault,
    query: &KeyQuery,
    mut resume: Option<Place>,
) -> Result<Page> {
    if let Some(place) = resume.as_mut().filter(|place| place.shortened) {
        let name: Option<String> = connection
            // Of what it does not see it is told no name.
            .prepare_cached(
                "SELECT lower(name) FROM keys WHERE id = ?1
                 AND (?2 IS NULL OR owner IN (SELECT value FROM json_each(?2)))",
            )
            .and_then(|mut s| {
                let owners = query.owners.as_ref().map(|owners| id_list(owners));
                s.query_row(params![place.id, owners], |r| r.get(0)).optional()
            })
            .map_err(sql)?
            .flatten();
        place.complete(name.as_deref());
    }
    let (text, values) = page_statement(query, resume.as_ref());
    let mut keys = collect(connection, &text, &values)?;
    with_credentials(connection, vault, &mut keys)?;
    Ok(query.page(resume.as_ref(), keys))
}

/// The statement of a page; each order has its index.
fn page_statement(query: &KeyQuery, resume: Option<&Place>) -> (String, Vec<Value>) {
    let sorted_by = match query.sort {
        Sort::Id => "k.id",
        Sort::Name => "coalesce(lower(k.name), '~')",
        Sort::ExpiresAt => "coalesce(k.expires_at, 9223372036854775807)",
        Sort::Used => "m.used",
    };
    // Of the table whose index has the order.
    let tie = if query.sort == Sort::Used { "m.key_id" } else { "k.id" };
    let (direction, beyond) = match resume.map_or(query.descending, Place::reads_descending) {
        false => ("ASC", ">"),
        true => ("DESC", "<"),
    };
    let (mut conditions, mut values) = conditions(query);
    let mut bind = |value: Value| {
        values.push(value);
        format!("?{}", values.len())
    };
    match resume {
        // A plain comparison of ids lets SQLite start at the row; the pair would make it skip to it.
        Some(place) if query.sort == Sort::Id => {
            conditions.push(format!("k.id {beyond} {}", bind(place.id.into())));
        }
        Some(place) => {
            let value = match &place.value {
                SortValue::Number(number) => bind((*number).into()),
                SortValue::Text(text) => bind(text.clone().into()),
            };
            conditions.push(format!("({sorted_by}, {tie}) {beyond} ({value}, {})", bind(place.id.into())));
        }
        None => {}
    }
    let limit = bind((i64::from(query.limit) + 1).into());
    let text = format!(
        "SELECT {KEY_COLUMNS} FROM {KEY_TABLES} WHERE {} ORDER BY {sorted_by} {direction}, {tie} {direction} LIMIT {limit}",
        conditions.join(" AND ")
    );
    (text, values)
}

/// What a key must be, its page aside, and the values that this names.
fn conditions(query: &KeyQuery) -> (Vec<String>, Vec<Value>) {
    let mut conditions = vec!["TRUE".to_owned()];
    let mut values: Vec<Value> = Vec::new();
    let mut bind = |value: Value| {
        values.push(value);
        format!("?{}", values.len())
    };
    if !query.status.is_empty() {
        let places: Vec<String> = query.status.iter().map(|s| bind(s.code().to_owned().into())).collect();
        // Several statuses are read in the order of the page: their index has another one, and each page would sort all of them.
        let column = if places.len() > 1 || query.owners.is_some() { "+k.status" } else { "k.status" };
        conditions.push(format!("{column} IN ({})", places.join(", ")));
    }
    match query.owners.as_deref() {
        // In the order of its index.
        Some([owner]) => conditions.push(format!("k.owner = {}", bind(owner.0.into()))),
        Some(owners) => {
            conditions
                .push(format!("k.owner IN (SELECT value FROM json_each({}))", bind(id_list(owners).into())));
        }
        None => {}
    }
    if let Some(owner) = query.owner {
        conditions.push(format!("k.owner = {}", bind(owner.0.into())));
    }
    for (i, (name, value)) in query.labels.iter().enumerate() {
        let (name, value) = (bind(name.clone().into()), bind(value.clone().into()));
        let labelled = format!("SELECT key_id FROM key_labels WHERE name = {name} AND value = {value}");
        // The first one finds keys, the others look at those.
        conditions.push(match i {
            0 => format!("k.id IN ({labelled})"),
            _ => format!("EXISTS ({labelled} AND key_id = k.id)"),
        });
    }
    if let Some(time) = query.expires_before {
        // As the index has it.
        conditions
            .push(format!("coalesce(k.expires_at, 9223372036854775807) < {}", bind(time.as_millis().into())));
    }
    if let Some(percent) = query.used_percent {
        // In floating point: bytes times 100 do not fit.
        let share = format!("m.data_limit / 100.0 * {}", bind(i64::from(percent).into()));
        conditions.push(format!("(m.data_limit IS NOT NULL AND m.used >= {share})"));
    }
    if let Some(needle) = &query.search {
        let place = bind(needle.to_lowercase().into());
        conditions
            .push(format!("(holds(k.name, {place}) OR holds(k.label, {place}) OR holds(k.note, {place}))"));
    }
    (conditions, values)
}

/// Ids as a JSON list.
pub(crate) fn id_list(ids: &[AdminId]) -> String {
    serde_json::to_string(&ids.iter().map(|id| id.0).collect::<Vec<_>>()).unwrap_or_default()
}

/// The keys of each status.
pub(crate) fn count(connection: &Connection, query: &KeyQuery) -> Result<KeyCounts> {
    let (conditions, values) = conditions(query);
    let tables = if query.used_percent.is_some() { KEY_TABLES } else { "keys k" };
    let text = format!(
        "SELECT k.status, count(*) FROM {tables} WHERE {} GROUP BY k.status",
        conditions.join(" AND ")
    );
    let mut counts = KeyCounts::default();
    let mut statement = connection.prepare_cached(&text).map_err(sql)?;
    let rows = statement.query_map(params_from_iter(values), |r| Ok((r.get(0)?, r.get(1)?))).map_err(sql)?;
    for row in rows {
        let (status, keys): (String, i64) = row.map_err(sql)?;
        match status.parse() {
            Ok(status) => counts.add(status, keys.unsigned_abs()),
            // Of a newer program.
            Err(_) => counts.total += keys.unsigned_abs(),
        }
    }
    Ok(counts)
}

/// The id of the store.
pub(crate) fn id(connection: &Connection) -> Result<String> {
    let id: i64 = connection
        .prepare_cached("SELECT value FROM meta WHERE name = 'store_id'")
        .and_then(|mut s| s.query_row([], |r| r.get(0)))
        .map_err(sql)?;
    Ok(format!("{:08x}", id.unsigned_abs() & 0xffff_ffff))
}

/// The certificates of an inbound that are refused.
pub(crate) fn revocations(
    connection: &Connection,
    inbound: &InboundId,
    now: Timestamp,
) -> Result<Vec<Revocation>> {
    let mut statement = connection
        .prepare_cached(
            "SELECT serial, key_id, expires_at, revoked_at FROM revocations
             WHERE inbound = ?1 AND expires_at > ?2 ORDER BY serial",
        )
        .map_err(sql)?;
    let rows = statement
        .query_map(params![inbound.to_string(), now.as_millis()], |r| {
            Ok((r.get::<_, i64>(0)?, r.get(1)?, r.get(2)?, r.get(3)?))
        })
        .map_err(sql)?;
    rows.map(|row| {
        let (serial, key, expires_at, revoked_at) = row.map_err(sql)?;
        Ok(Revocation {
            inbound: inbound.clone(),
            key: KeyId(key),
            certificate: CertificateTerm {
                serial: serial.unsigned_abs(),
                expires_at: Timestamp::from_millis(expires_at),
            },
            revoked_at: Timestamp::from_millis(revoked_at),
        })
    })
    .collect()
}

/// Credentials of keys in any order, which is kept.
fn with_credentials(connection: &Connection, vault: &Vault, keys: &mut [Key]) -> Result<()> {
    if keys.is_sorted_by_key(|k| k.id) {
        return row::credentials(connection, vault, keys);
    }
    let mut order: Vec<(KeyId, usize)> = keys.iter().enumerate().map(|(i, k)| (k.id, i)).collect();
    order.sort_unstable();
    keys.sort_unstable_by_key(|k| k.id);
    row::credentials(connection, vault, keys)?;
    // `order` now says, for each key by id, where it belongs.
    let mut places: Vec<usize> = order.into_iter().map(|(_, place)| place).collect();
    for i in 0..keys.len() {
        while let Some(&place) = places.get(i)
            && place != i
        {
            keys.swap(i, place);
            places.swap(i, place);
        }
    }
    Ok(())
}

/// Keys of which something is due.
pub(crate) fn due(connection: &Connection, now: Timestamp, limit: usize) -> Result<Vec<KeyId>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    connection
        .prepare_cached("SELECT id FROM keys WHERE due_at <= ?1 ORDER BY due_at, id LIMIT ?2")
        .and_then(|mut s| s.query_map([now.as_millis(), limit], |r| r.get(0).map(KeyId))?.collect())
        .map_err(sql)
}

/// All inbounds.
pub(crate) fn inbounds(connection: &Connection, vault: &Vault) -> Result<Vec<Inbound>> {
    let rows: Vec<HeldInbound> = connection
        .prepare_cached(&format!("SELECT {INBOUND_COLUMNS} FROM inbounds ORDER BY node, tag"))
        .and_then(|mut s| s.query_map([], HeldInbound::read)?.collect())
        .map_err(sql)?;
    let mut inbounds = Vec::with_capacity(rows.len());
    for held in &rows {
        match vault.open_inbound(held) {
            Ok(inbound) => inbounds.push(inbound),
            // Of a newer vpnkit, perhaps: the others go on.
            Err(e) if e.kind() == ErrorKind::StoreCorrupt => {
                tracing::warn!(error = %e, "an inbound of this store cannot be read");
            }
            Err(e) => return Err(e),
        }
    }
    Ok(inbounds)
}

/// The records of a query.
pub(crate) fn records(connection: &Connection, vault: &Vault, query: &RecordQuery) -> Result<Vec<Record>> {
    let kinds = serde_json::to_string(&query.kinds).unwrap_or_default();
    // Each form has its index.
    let kind = "kind IN (SELECT value FROM json_each(?1))";
    let condition = match (query.kinds.is_empty(), &query.index, &query.below) {
        (true, ..) => {
            "(?1 IS NOT NULL AND (?2 IS NULL OR lookup = ?2) AND (?3 IS NULL OR id >= ?3))".to_owned()
        }
        (false, Some(_), _) => format!("{kind} AND lookup = ?2 AND ?3 IS NULL"),
        (false, None, Some(_)) => format!("{kind} AND ?2 IS NULL AND id >= ?3 || '/' AND id < ?3 || '0'"),
        (false, None, None) => format!("{kind} AND ?2 IS NULL AND ?3 IS NULL"),
    };
    let mut statement = connection
        .prepare_cached(&format!(
            "SELECT kind, id, version, lookup, body FROM records WHERE {condition} ORDER BY kind, id"
        ))
        .map_err(sql)?;
    let mut rows = statement.query(params![kinds, query.index, query.below]).map_err(sql)?;
    let mut records = Vec::new();
    while let Some(row) = rows.next().map_err(sql)? {
        let (kind, id): (String, String) = (row.get(0).map_err(sql)?, row.get(1).map_err(sql)?);
        let (version, body): (i64, String) = (row.get(2).map_err(sql)?, row.get(4).map_err(sql)?);
        let body = match vault.open_record(&kind, &id, &body) {
            Ok(body) => body,
            // What can be read is; the engine says of what it needs that it is missing.
            Err(e) if e.kind() == ErrorKind::StoreCorrupt => {
                tracing::warn!(kind, id, error = %e, "a record of this store cannot be read");
                continue;
            }
            Err(e) => return Err(e),
        };
        let index = row.get(3).map_err(sql)?;
        records.push(Record { kind, id, version: version.unsigned_abs(), index, body });
    }
    Ok(records)
}

/// Grows with every change of an inbound or a record.
pub(crate) fn revision(connection: &Connection) -> Result<u64> {
    connection
        .prepare_cached("SELECT value FROM meta WHERE name = 'revision'")
        .and_then(|mut s| s.query_row([], |r| r.get::<_, i64>(0)))
        .map(i64::unsigned_abs)
        .map_err(sql)
}

/// The devices of a key.
pub(crate) fn devices(connection: &Connection, key: KeyId) -> Result<Vec<ClientDevice>> {
    connection
        .prepare_cached(
            "SELECT id, os, os_version, model, user_agent, first_seen, last_seen FROM devices
             WHERE key_id = ?1 ORDER BY first_seen, id",
        )
        .and_then(|mut s| {
            s.query_map([key.0], |r| {
                Ok(ClientDevice {
                    key,
                    id: r.get(0)?,
                    os: r.get(1)?,
                    os_version: r.get(2)?,
                    model: r.get(3)?,
                    user_agent: r.get(4)?,
                    first_seen: Timestamp::from_millis(r.get(5)?),
                    last_seen: Timestamp::from_millis(r.get(6)?),
                })
            })?
            .collect()
        })
        .map_err(sql)
}

/// The newest stored reading.
pub(crate) fn baseline(
    connection: &Connection,
    server: &ServerId,
    epoch: Option<&str>,
) -> Result<Option<Baseline>> {
    let found = connection
        .query_row(
            "SELECT id, epoch, evidence, (SELECT max(sequence) FROM sources WHERE server = ?1) FROM sources
             WHERE server = ?1 AND (?2 IS NULL OR epoch = ?2) ORDER BY sequence DESC LIMIT 1",
            params![server.as_str(), epoch],
            |r| Ok((r.get::<_, i64>(0)?, Epoch { id: r.get(1)?, evidence: r.get(2)? }, r.get::<_, i64>(3)?)),
        )
        .optional()
        .map_err(sql)?;
    let Some((id, epoch, sequence)) = found else { return Ok(None) };
    let counters = connection
        .prepare_cached(
            "SELECT key_id, up, down, series, ended FROM counters WHERE source = ?1 ORDER BY key_id, series",
        )
        .and_then(|mut s| {
            let counter = |r: &rusqlite::Row<'_>| {
                let series = Series::new(r.get_ref(3)?.as_str()?);
                Ok(Counter { key: KeyId(r.get(0)?), series, traffic: traffic(r, 1)?, ended: r.get(4)? })
            };
            s.query_map([id], counter)?.collect()
        })
        .map_err(sql)?;
    Ok(Some(Baseline { epoch, sequence: sequence.unsigned_abs(), counters }))
}

fn traffic(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Traffic> {
    let bytes = |i| row.get::<_, i64>(i).map(|b| u64::try_from(b).unwrap_or(0));
    Ok(Traffic { up: bytes(first)?, down: bytes(first + 1)? })
}

/// Traffic over time. Of a key, the hours are enumerated, so that its history is one look-up an hour; what was summed up is
/// one range.
pub(crate) fn usage(connection: &Connection, query: &UsageQuery) -> Result<Vec<UsagePoint>> {
    const HOUR: i64 = 3_600_000;
    let hour = |t: Timestamp| t.as_millis().div_euclid(HOUR);
    let bounds: (Option<i64>, Option<i64>) = connection
        .prepare_cached("SELECT (SELECT min(hour) FROM node_hours), (SELECT max(hour) FROM node_hours)")
        .and_then(|mut s| s.query_row([], |r| Ok((r.get(0)?, r.get(1)?))))
        .map_err(sql)?;
    let (Some(first), Some(last)) = bounds else { return Ok(Vec::new()) };
    let first = hour(query.from).max(first);
    let end = hour(query.to.minus(std::time::Duration::from_millis(1)));
    let last = end.min(last);
    if query.to <= query.from.hour() || (query.key.is_none() && first > last) {
        return Ok(Vec::new());
    }
    let node = query.node.as_ref().map(|n| n.as_str());
    let point = |r: &rusqlite::Row<'_>| {
        let at = Timestamp::from_millis(r.get::<_, i64>(0)?.saturating_mul(HOUR));
        let step = match r.get(3)? {
            0 => UsageStep::Hour,
            1 => UsageStep::Day,
            _ => UsageStep::Month,
        };
        Ok(UsagePoint { at, traffic: traffic(r, 1)?, step })
    };
    if let (None, Some(owners)) = (query.key, &query.owners) {
        let text = "SELECT u.hour, sum(u.up), sum(u.down), 0 FROM owner_hours u JOIN nodes n ON n.id = u.node
                    WHERE u.owner IN (SELECT value FROM json_each(?4)) AND u.hour BETWEEN ?1 AND ?2
                      AND (?3 IS NULL OR n.name = ?3) GROUP BY 1 ORDER BY 1";
        return connection
            .prepare_cached(text)
            .and_then(|mut s| s.query_map(params![first, last, node, id_list(owners)], point)?.collect())
            .map_err(sql);
    }
    let Some(key) = query.key else {
        let text = "SELECT u.hour, sum(u.up), sum(u.down), 0 FROM node_hours u JOIN nodes n ON n.id = u.node
                    WHERE u.hour BETWEEN ?1 AND ?2 AND (?3 IS NULL OR n.name = ?3) GROUP BY 1 ORDER BY 1";
        return connection
            .prepare_cached(text)
            .and_then(|mut s| s.query_map(params![first, last, node], point)?.collect())
            .map_err(sql);
    };
    // The hours that have not been summed up begin somewhere: those before need not be enumerated.
    let kept: Option<i64> = connection
        .prepare_cached("SELECT min(hour) FROM usage_hours")
        .and_then(|mut s| s.query_row([], |r| r.get(0)))
        .map_err(sql)?;
    let hours = kept.map_or(last + 1, |kept| kept.max(first));
    let day = query.from.day().as_millis().div_euclid(24 * HOUR);
    let month = query.from.month().as_millis().div_euclid(24 * HOUR);
    let text = "WITH RECURSIVE span(hour) AS (SELECT ?1 WHERE ?1 <= ?2
                                              UNION ALL SELECT hour + 1 FROM span WHERE hour < ?2),
                  every(hour, width, node, up, down) AS (
                    SELECT u.hour, 0, u.node, u.up, u.down FROM span CROSS JOIN nodes n CROSS JOIN usage_hours u
                      WHERE u.hour = span.hour AND u.node = n.id AND u.key_id = ?3
                    UNION ALL
                    SELECT day * 24, 1, node, up, down FROM usage_days
                      WHERE key_id = ?3 AND day >= ?5 AND day * 24 <= ?7
                    UNION ALL
                    SELECT month * 24, 2, node, up, down FROM usage_months
                      WHERE key_id = ?3 AND month >= ?6 AND month * 24 <= ?7)
                SELECT hour, sum(up), sum(down), width FROM every
                WHERE ?4 IS NULL OR node = (SELECT id FROM nodes WHERE name = ?4) GROUP BY hour, width ORDER BY hour, width";
    connection
        .prepare_cached(text)
        .and_then(|mut s| s.query_map(params![hours, last, key.0, node, day, month, end], point)?.collect())
        .map_err(sql)
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

/// The key that has a secret, and the device that it is of.
pub(crate) fn holder(
    connection: &Connection,
    vault: &Vault,
    secret: &CredentialSecret,
) -> Result<Option<(KeyId, DeviceName)>> {
    let found: Option<(i64, String)> = connection
        .prepare_cached("SELECT key_id, device FROM credentials WHERE mark = ?1")
        .and_then(|mut s| s.query_row([vault.mark(secret)], |r| Ok((r.get(0)?, r.get(1)?))).optional())
        .map_err(sql)?;
    let Some((key, device)) = found else { return Ok(None) };
    let device = DeviceName::stored(&device).map_err(|_| damaged("credentials.device"))?;
    Ok(Some((KeyId(key), device)))
}

/// Whether any key may be used only at some addresses at once.
pub(crate) fn limits_addresses(connection: &Connection) -> Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM keys INDEXED BY keys_by_address_limit WHERE address_limit IS NOT NULL)",
        )
        .and_then(|mut s| s.query_row([], |r| r.get(0)))
        .map_err(sql)
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use vpnkit_core::model::{CreateKey, KeyStatus};
    use vpnkit_core::store::{KeyOp, KeyStore as _, StoreTxn};

    use super::*;

    /// At a million keys a page must not sort them all: neither the first one nor a later one, in either direction.
    #[tokio::test]
    async fn each_order_of_pages_has_its_index() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys.db");
        let store = crate::SqliteStore::open(&path, crate::SqliteOptions::default()).await.unwrap();
        let now = Timestamp::from_secs(1);
        let keys = ["a", "b", "c"].map(|name| CreateKey::named(name).validate(now).unwrap());
        let txn = StoreTxn::new(now, keys.map(|key| KeyOp::Create(Box::new(key))));
        store.commit(txn).await.unwrap();
        let file = Connection::open(&path).unwrap();
        let statuses = [vec![], KeyStatus::MAY_CONNECT.to_vec()];
        let orders = [Sort::Id, Sort::Name, Sort::ExpiresAt, Sort::Used].into_iter();
        for (sort, status) in orders.flat_map(|sort| statuses.clone().map(|status| (sort, status))) {
            for descending in [false, true] {
                let first =
                    KeyQuery { sort, descending, status: status.clone(), limit: 1, ..KeyQuery::default() };
                let second = KeyQuery { page: store.find(&first).await.unwrap().next, ..first.clone() };
                let back = KeyQuery { page: store.find(&second).await.unwrap().previous, ..first.clone() };
                for query in [first, second, back] {
                    let (text, values) = page_statement(&query, query.resume().unwrap().as_ref());
                    let mut plan = file.prepare(&format!("EXPLAIN QUERY PLAN {text}")).unwrap();
                    let steps = plan.query_map(params_from_iter(values), |r| r.get::<_, String>(3)).unwrap();
                    let steps: Vec<String> = steps.map(Result::unwrap).collect();
                    let sorts = steps.iter().any(|step| step.contains("TEMP B-TREE"));
                    assert!(!sorts, "{query:?}: {steps:?}");
                }
            }
        }
    }

    /// At a million keys none of these reads more than what it is asked for.
    #[tokio::test]
    async fn support_reads_by_indexes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys.db");
        drop(crate::SqliteStore::open(&path, crate::SqliteOptions::default()).await.unwrap());
        let file = Connection::open(&path).unwrap();
        for (text, index) in [
            (
                "SELECT * FROM events WHERE key_id = 1 AND cursor < 9 ORDER BY cursor DESC LIMIT 5",
                "events_by_key",
            ),
            ("SELECT key_id, device FROM credentials WHERE mark = x'00'", "sqlite_autoindex_credentials"),
            ("SELECT key_id, id FROM grants WHERE merged_from = 1", "grants_by_merged"),
        ] {
            let mut plan = file.prepare(&format!("EXPLAIN QUERY PLAN {text}")).unwrap();
            let steps = plan.query_map([], |r| r.get::<_, String>(3)).unwrap();
            let steps: Vec<String> = steps.map(Result::unwrap).collect();
            assert!(steps.iter().any(|step| step.contains(index)), "{text}: {steps:?}");
            assert!(
                !steps.iter().any(|step| step.contains("TEMP B-TREE") || step.contains("SCAN")),
                "{steps:?}"
            );
        }
    }
}
