//! Inbounds.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::apply::Batch;
use crate::query::sql;
use crate::row::{HeldInbound, INBOUND_COLUMNS};
use crate::vault::Vault;
use vpnkit_core::model::{
    EventKind, EventSubject, Inbound, InboundId, InboundTag, NewEvent, NodeId, ServerId,
};
use vpnkit_core::store::{consequence, errors as answer};
use vpnkit_core::{ErrorKind, Result};

impl Batch<'_> {
    pub(crate) fn inbound(&self, id: &InboundId) -> Result<Option<Inbound>> {
        let of = params![id.node().as_str(), id.tag().as_str()];
        let held = self
            .connection
            .prepare_cached(&format!("SELECT {INBOUND_COLUMNS} FROM inbounds WHERE node = ?1 AND tag = ?2"))
            .and_then(|mut s| s.query_row(of, HeldInbound::read).optional())
            .map_err(sql)?;
        held.map(|held| self.vault.open_inbound(&held)).transpose()
    }

    pub(crate) fn put_inbound(&mut self, inbound: &Inbound) -> Result<()> {
        if let Some(owner) = inbound.dedicated_to {
            self.key(owner, None)?;
        }
        let (node, tag, port) = (inbound.node.as_str(), inbound.tag.as_str(), i64::from(inbound.port));
        let sql_of_others =
            format!("SELECT {INBOUND_COLUMNS} FROM inbounds WHERE node = ?1 AND port = ?2 AND tag <> ?3");
        let others: Vec<HeldInbound> = self
            .connection
            .prepare_cached(&sql_of_others)
            .and_then(|mut s| s.query_map(params![node, port, tag], HeldInbound::read)?.collect())
            .map_err(sql)?;
        for held in others {
            let other = self.vault.open_inbound(&held)?;
            if other.collides_with(inbound) {
                return Err(answer::port_taken(inbound.port, other.tag.as_str()));
            }
        }
        let before = self.inbound(&inbound.id())?;
        if before.as_ref() == Some(inbound) {
            return Ok(());
        }
        self.drop_credentials(&inbound.id(), Some(inbound))?;
        self.check_addresses(inbound)?;
        self.run(
            "INSERT INTO inbounds (node, tag, port, dedicated_to, spec, server) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (node, tag) DO UPDATE SET port = excluded.port, dedicated_to = excluded.dedicated_to,
             spec = excluded.spec, server = excluded.server",
            params![
                node,
                tag,
                port,
                inbound.dedicated_to.map(|k| k.0),
                self.vault.seal_inbound(inbound)?,
                inbound.server.as_ref().map(ServerId::as_str),
            ],
        )
        .map_err(sql)?;
        self.grow_revision()?;
        self.emit(consequence::of_inbound(before.as_ref(), inbound))
    }

    pub(crate) fn remove_inbound(&mut self, node: &NodeId, tag: &InboundTag) -> Result<()> {
        let removed = self
            .run("DELETE FROM inbounds WHERE node = ?1 AND tag = ?2", params![node.as_str(), tag.as_str()])
            .map_err(sql)?;
        if removed == 0 {
            return Err(answer::no_inbound(tag));
        }
        self.drop_credentials(&InboundId::new(node.clone(), tag.clone()), None)?;
        self.grow_revision()?;
        self.inbound_event(EventKind::InboundRemoved, tag.as_str())
    }

    pub(crate) fn inbound_event(&mut self, kind: EventKind, tag: &str) -> Result<()> {
        self.emit(NewEvent { kind, subject: EventSubject::Inbound(tag.to_owned()), detail: String::new() })
    }
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
