//! Inbounds in memory.

use super::State;
use crate::model::{EventKind, EventSubject, Inbound, InboundId, InboundTag, NewEvent};
use crate::store::{consequence, errors};
use crate::{Result, Timestamp};

impl State {
    pub(super) fn inbound(&self, id: &InboundId) -> Option<&Inbound> {
        self.inbounds.get(&(id.node().clone(), id.tag().clone()))
    }

    pub(super) fn put_inbound(&mut self, inbound: Inbound, at: Timestamp) -> Result<()> {
        if let Some(owner) = inbound.dedicated_to {
            self.key(owner, None)?;
        }
        let taken =
            self.inbounds.values().find(|other| other.tag != inbound.tag && other.collides_with(&inbound));
        if let Some(other) = taken {
            return Err(errors::port_taken(inbound.port, other.tag.as_str()));
        }
        if let Some(pool) = &inbound.addresses {
            let id = inbound.id();
            let last = self.bound(&id).filter(|(_, c)| c.is_for(&inbound)).filter_map(|(_, c)| c.slot).max();
            let needed = last.map_or(0, |last| u64::from(last) + 1);
            if needed > u64::from(pool.capacity()) {
                return Err(errors::addresses_too_few(&id, pool.capacity(), needed));
            }
        }
        let place = (inbound.node.clone(), inbound.tag.clone());
        if self.inbounds.get(&place) != Some(&inbound) {
            self.revision += 1;
            let event = consequence::of_inbound(self.inbounds.get(&place), &inbound);
            self.emit(event, at);
            self.drop_credentials(&inbound.id(), Some(&inbound), at);
            self.inbounds.insert(place, inbound);
        }
        Ok(())
    }

    pub(super) fn remove_inbound(&mut self, id: &InboundId, at: Timestamp) -> Result<()> {
        let removed = self.inbounds.remove(&(id.node().clone(), id.tag().clone()));
        removed.ok_or_else(|| errors::no_inbound(id.tag()))?;
        self.drop_credentials(id, None, at);
        self.revision += 1;
        self.inbound_event(EventKind::InboundRemoved, id.tag(), at);
        Ok(())
    }

    pub(super) fn inbound_event(&mut self, kind: EventKind, tag: &InboundTag, at: Timestamp) {
        let subject = EventSubject::Inbound(tag.as_str().to_owned());
        self.emit(NewEvent { kind, subject, detail: String::new() }, at);
    }
}
