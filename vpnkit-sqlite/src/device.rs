//! Devices that clients have told of.

use rusqlite::{Connection, params};

use crate::apply::Batch;
use crate::query::{self, sql};
use vpnkit_core::model::{ClientDevice, EventKind, KeyId, KeyRef};
use vpnkit_core::store::{consequence, errors as answer};
use vpnkit_core::{Result, Timestamp};

impl Batch<'_> {
    pub(crate) fn see_device(
        &self,
        device: &ClientDevice,
        limit: Option<u32>,
        gone_since: Timestamp,
    ) -> Result<()> {
        let key = device.key;
        self.run(
            "DELETE FROM devices WHERE key_id = ?1 AND last_seen < ?3
             AND NOT EXISTS (SELECT 1 FROM devices WHERE key_id = ?1 AND id = ?2)",
            params![key.0, device.id, gone_since.as_millis()],
        )
        .map_err(sql)?;
        let (exists, known, there): (bool, bool, u32) = self
            .connection
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM keys WHERE id = ?1),
                        EXISTS (SELECT 1 FROM devices WHERE key_id = ?1 AND id = ?2),
                        (SELECT count(*) FROM devices WHERE key_id = ?1)",
            )
            .and_then(|mut s| {
                s.query_row(params![key.0, device.id], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))
            })
            .map_err(sql)?;
        if !exists {
            return Err(answer::no_key(key));
        }
        if let Some(limit) = limit
            && !known
            && there >= limit
        {
            return Err(answer::too_many_devices(key, limit));
        }
        self.run(
            "INSERT INTO devices (key_id, id, os, os_version, model, user_agent, first_seen, last_seen)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (key_id, id) DO UPDATE SET os = excluded.os, os_version = excluded.os_version,
               model = excluded.model, user_agent = excluded.user_agent, last_seen = excluded.last_seen",
            params![
                key.0,
                device.id,
                device.os,
                device.os_version,
                device.model,
                device.user_agent,
                device.first_seen.as_millis(),
                device.last_seen.as_millis(),
            ],
        )
        .map(drop)
        .map_err(sql)
    }

    pub(crate) fn refused_device(&mut self, key: KeyId, limit: u32, told_since: Timestamp) -> Result<()> {
        let told: bool = self
            .connection
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM events WHERE key_id = ?1 AND kind = ?2 AND at >= ?3)",
            )
            .and_then(|mut s| {
                let kind = EventKind::KeyDeviceLimit.code();
                s.query_row(params![key.0, kind, told_since.as_millis()], |r| r.get(0))
            })
            .map_err(sql)?;
        match query::key(self.connection, self.vault, &KeyRef::Id(key))? {
            Some(key) if !told => self.emit(consequence::of_refused_device(&key, limit)),
            _ => Ok(()),
        }
    }

    pub(crate) fn forget_device(&self, key: KeyId, id: Option<&str>) -> Result<()> {
        let forgotten = self
            .run("DELETE FROM devices WHERE key_id = ?1 AND (?2 IS NULL OR id = ?2)", params![key.0, id])
            .map_err(sql)?;
        if id.is_some() && forgotten == 0 {
            return Err(answer::no_device(key));
        }
        Ok(())
    }
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
