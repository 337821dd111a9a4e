//! Devices in memory.

use super::State;
use crate::model::{ClientDevice, Event, EventKind, EventSubject, KeyId};
use crate::store::{consequence, errors};
use crate::{Result, Timestamp};

impl State {
    pub(super) fn see_device(
        &mut self,
        mut device: ClientDevice,
        limit: Option<u32>,
        gone_since: Timestamp,
    ) -> Result<()> {
        let key = device.key;
        self.key(key, None)?;
        let place = (key, device.id.clone());
        if !self.devices.contains_key(&place) {
            self.devices.retain(|(owner, _), held| *owner != key || held.last_seen >= gone_since);
        }
        match (self.devices.get(&place), limit) {
            (Some(known), _) => device.first_seen = known.first_seen,
            (None, Some(limit)) => {
                let there = self.devices.keys().filter(|(owner, _)| *owner == key).count();
                if there >= usize::try_from(limit).unwrap_or(usize::MAX) {
                    return Err(errors::too_many_devices(key, limit));
                }
            }
            (None, None) => {}
        }
        self.devices.insert(place, device);
        Ok(())
    }

    pub(super) fn refused_device(&mut self, key: KeyId, limit: u32, told_since: Timestamp, at: Timestamp) {
        let told = |event: &Event| {
            event.kind == EventKind::KeyDeviceLimit
                && event.at >= told_since
                && matches!(event.subject, EventSubject::Key { id, .. } if id == key)
        };
        if self.events.iter().any(|logged| told(&logged.event)) {
            return;
        }
        if let Ok(key) = self.key(key, None) {
            let event = consequence::of_refused_device(key, limit);
            self.emit(event, at);
        }
    }

    pub(super) fn forget_device(&mut self, key: KeyId, id: Option<String>) -> Result<()> {
        match id {
            Some(id) => self.devices.remove(&(key, id)).map(drop).ok_or_else(|| errors::no_device(key)),
            None => {
                self.devices.retain(|(owner, _), _| *owner != key);
                Ok(())
            }
        }
    }
}
