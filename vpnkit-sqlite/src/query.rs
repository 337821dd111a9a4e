//! Reading.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, params, params_from_iter};

use crate::convert_error::{convert, damaged};
use crate::row::{self, CREDENTIAL_COLUMNS, KEY_COLUMNS, KEY_TABLES, KEY_WIDTH};
use crate::vault::Vault;
use vpnkit_core::model::{
    AdminId, CertificateTerm, CredentialSecret, DeviceName, InboundId, Key, KeyCounts, KeyId, KeyQuery,
    KeyRef, Page, Place, Revocation, Sort, SortValue,
};
use vpnkit_core::{Error, Result, Timestamp};

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
