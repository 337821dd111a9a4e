//! The yardstick: the same rows in the same tables by rusqlite alone, in one transaction, with nothing checked.

use std::ops::Range;
use std::path::Path;

use rusqlite::{Connection, params};
use uuid::Uuid;

pub(crate) struct Store(Connection);

impl Store {
    pub(crate) fn create(path: &Path) -> Self {
        let store = Self::open(path);
        for step in [
            include_str!("../../vpnkit-sqlite/migrations/0001_initial.sql"),
            include_str!("../../vpnkit-sqlite/migrations/0002_subscriptions.sql"),
            include_str!("../../vpnkit-sqlite/migrations/0003_servers.sql"),
            include_str!("../../vpnkit-sqlite/migrations/0004_many_servers.sql"),
            include_str!("../../vpnkit-sqlite/migrations/0005_bound_credentials.sql"),
            include_str!("../../vpnkit-sqlite/migrations/0006_epochs.sql"),
            include_str!("../../vpnkit-sqlite/migrations/0007_a_million_keys.sql"),
            include_str!("../../vpnkit-sqlite/migrations/0008_passphrases.sql"),
            include_str!("../../vpnkit-sqlite/migrations/0009_processes.sql"),
            include_str!("../../vpnkit-sqlite/migrations/0010_lifecycle.sql"),
        ] {
            store.0.execute_batch(step).unwrap();
        }
        store
    }

    pub(crate) fn open(path: &Path) -> Self {
        let connection = Connection::open(path).unwrap();
        connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")
            .unwrap();
        connection.set_prepared_statement_cache_capacity(64);
        Self(connection)
    }

    pub(crate) fn insert_keys(&mut self, prefix: &str, range: Range<usize>) {
        let txn = self.0.transaction().unwrap();
        {
            let mut key = txn
                .prepare_cached(
                    "INSERT INTO keys (uid, version, name, status, created_at, updated_at)
                     VALUES (?1, 1, ?2, 'active', 1767225600000, 1767225600000)",
                )
                .unwrap();
            let mut meter =
                txn.prepare_cached("INSERT INTO meters (key_id, data_limit) VALUES (?1, NULL)").unwrap();
            let mut credential = txn
                .prepare_cached(
                    "INSERT INTO credentials (key_id, protocol, device, inbound, secret, mark)
                     VALUES (?1, 'vless', 'default', '', ?2, ?3)",
                )
                .unwrap();
            let mut event = txn
                .prepare_cached(
                    "INSERT INTO events (at, kind, key_id, uid, detail)
                     VALUES (1767225600000, 'key.created', ?1, ?2, '')",
                )
                .unwrap();
            let mut grant = txn
                .prepare_cached(
                    "INSERT INTO grants (key_id, uid, at, kind, unlimited, policy, counted_from, before, after)
                     VALUES (?1, ?2, 1767225600000, 'created', 1, 'reset', 1767225600000,
                             '{\"expires_at\":\"2026-01-01T00:00:00.000Z\",\"hold\":null,\"data_limit\":0,\"used\":0,\"reset_at\":null}',
                             '{\"expires_at\":null,\"hold\":null,\"data_limit\":null,\"used\":0,\"reset_at\":null}')",
                )
                .unwrap();
            for i in range {
                let uid = Uuid::now_v7();
                key.execute(params![uid.as_bytes(), format!("{prefix}{i}")]).unwrap();
                let id = txn.last_insert_rowid();
                meter.execute([id]).unwrap();
                credential
                    .execute(params![id, Uuid::new_v4().to_string(), Uuid::new_v4().as_bytes()])
                    .unwrap();
                event.execute(params![id, uid.as_bytes()]).unwrap();
                grant.execute(params![id, uid.as_bytes()]).unwrap();
            }
        }
        txn.commit().unwrap();
    }

    pub(crate) fn get(&self, name: &str) -> bool {
        let mut key = self
            .0
            .prepare_cached(
                "SELECT k.id, k.uid, k.version, k.name, k.label, k.note, k.owner, k.status, k.expires_at, k.inbounds,
                        k.created_at, k.updated_at, m.data_limit, m.used, m.up, m.down, m.seen_at
                 FROM keys k JOIN meters m ON m.key_id = k.id WHERE k.name = ?1",
            )
            .unwrap();
        let id: i64 = key.query_row([name], |r| r.get(0)).unwrap();
        let mut credential = self
            .0
            .prepare_cached("SELECT protocol, device, secret FROM credentials WHERE key_id = ?1")
            .unwrap();
        credential.exists([id]).unwrap()
    }

    pub(crate) fn tick(&mut self, keys: usize, round: usize) {
        let txn = self.0.transaction().unwrap();
        {
            let mut meter = txn
                .prepare_cached(
                    "UPDATE meters SET used = used + 10000, up = up + 1000, down = down + 9000, seen_at = ?2
                     WHERE key_id = ?1",
                )
                .unwrap();
            let mut counter = txn
                .prepare_cached(
                    "INSERT INTO counters (source, key_id, series, up, down, ended) VALUES (1, ?1, '', ?2, ?3, 0)
                     ON CONFLICT DO UPDATE SET up = excluded.up, down = excluded.down",
                )
                .unwrap();
            let mut bucket = txn
                .prepare_cached(
                    "INSERT INTO usage_hours (hour, node, key_id, up, down) VALUES (490896, 1, ?1, 1000, 9000)
                     ON CONFLICT DO UPDATE SET up = up + excluded.up, down = down + excluded.down",
                )
                .unwrap();
            let round = round as i64;
            for key in 1..=keys as i64 {
                meter.execute([key, round]).unwrap();
                counter.execute([key, round * 1000, round * 9000]).unwrap();
                bucket.execute([key]).unwrap();
            }
        }
        txn.commit().unwrap();
    }
}
