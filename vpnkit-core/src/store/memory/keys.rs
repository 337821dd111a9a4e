//! Keys in memory, and the ledger of what they were given.

use super::State;
use crate::model::{EventKind, Grant, GrantId, Inbound, InboundId, Key, KeyId, NewEvent, NewKey};
use crate::ownership::rows;
use crate::store::{KeyOp, MERGED_MAX, Made, Receipt, consequence, errors};
use crate::{Result, Timestamp, lifecycle, ownership};

impl State {
    pub(super) fn key_step(&mut self, op: KeyOp, at: Timestamp, receipt: &mut Receipt) -> Result<()> {
        match op {
            KeyOp::Create(new) => {
                let template = new.template.clone();
                let key = self.create(*new, at, receipt)?;
                receipt.made.push(Made::key(key.id));
                let grant = Grant { template, ..Grant::created(&key, self.payment.clone()) };
                self.grant(grant, receipt);
                receipt.keys.push(key);
            }
            KeyOp::Patch { key, expected, patch } => {
                let before = self.key(key, expected)?.clone();
                patch.check(errors::COMMIT, &before, at)?;
                let mut after = before.clone();
                let mut happened = patch.apply(&mut after, at).unwrap_or_default();
                for admin in &self.acting {
                    ownership::check_patch(admin, &patch, &before, &after)?;
                }
                if before.owner != after.owner {
                    happened.extend(self.follow(&mut after, at)?);
                }
                self.rename(&before, &after)?;
                self.put_credentials(&before.credentials, &mut after, at, receipt)?;
                let mut planned = before.clone();
                if happened.contains(&EventKind::KeyNextPlan) {
                    // A plan that begins as it is set stands in the ledger, too.
                    patch.next_plan.apply(&mut planned.next_plan);
                }
                self.own(Some(&before), Some(&after))?;
                self.write(&planned, after.clone(), &happened, at, receipt);
                if patch.forgets_devices() {
                    self.devices.retain(|(owner, _), _| *owner != key);
                }
                receipt.made.push(Made::key(key));
                receipt.keys.push(after);
            }
            KeyOp::Extend { key, expected, extension } => {
                let before = self.key(key, expected)?.clone();
                extension.check(errors::COMMIT, &before)?;
                let mut after = before.clone();
                let (grant, kind) = lifecycle::extend_key(&mut after, &extension, self.payment.clone(), at);
                let grant = self.grant(grant, receipt);
                self.change_end(&before, after, (kind, grant), at, receipt)?;
            }
            KeyOp::Merge { key, into, expected } => {
                let (gone, before) = (self.key(key, None)?.clone(), self.key(into, expected)?.clone());
                let mut after = before.clone();
                let (grant, kind) = lifecycle::merge(&mut after, &gone, self.payment.clone(), at)?;
                let grant = self.grant(grant, receipt);
                // What goes is not there twice, nor for a moment.
                self.moves = gone.owner == before.owner;
                self.change_end(&before, after, (kind, grant), at, receipt)?;
                self.delete(key, None, at, receipt)?;
                if std::mem::take(&mut self.moves) {
                    let (after, enforced) = (self.key(into, None)?.clone(), self.enforces());
                    rows::merged(self, &gone, (&before, &after), enforced)?;
                }
            }
            KeyOp::Undo { grant: id, reason } => {
                let undone = self.grants.get(&id).ok_or_else(|| errors::no_grant(id))?;
                if let Some(at) = undone.undone_at {
                    return Err(errors::undone_before(id, at));
                }
                self.check_merged(undone.key)?;
                let before = self.key(undone.key, None)?.clone();
                let mut after = before.clone();
                let mut grants: Vec<Grant> = self
                    .grants
                    .range(id..)
                    .map(|(_, grant)| grant)
                    .filter(|g| g.key == before.id)
                    .cloned()
                    .collect();
                let kind = lifecycle::undo(&mut grants, &mut after, at);
                if let Some(undone) = grants.first_mut() {
                    undone.undone_because = reason;
                }
                self.grants.extend(grants.into_iter().map(|grant| (grant.id, grant)));
                receipt.made.push(Made::grant(id));
                self.change_end(&before, after, (kind, id), at, receipt)?;
            }
            KeyOp::Delete { key, expected } => self.delete(key, expected, at, receipt)?,
            // Whatever is in memory can be read.
            KeyOp::SetAside(_) => {}
            KeyOp::Settle(id) => {
                if let Some(before) = self.keys.get(&id).cloned() {
                    let mut after = before.clone();
                    let mut happened = lifecycle::settle(&mut after, at);
                    if after.old_links_until.is_some_and(|until| until <= at) {
                        // Who has fetched with the old ones fetches with the new ones, or no more.
                        self.devices.retain(|(owner, _), _| *owner != id);
                        if lifecycle::end_old_links(&mut after) {
                            happened.push(EventKind::KeyRevoked);
                            self.put_credentials(&before.credentials, &mut after, at, receipt)?;
                        }
                    }
                    lifecycle::stamp(&before, &mut after, at);
                    if lifecycle::is_over(&after, at) {
                        receipt.over.push(id);
                    }
                    self.replace(&before, after, &happened, at, receipt)?;
                }
            }
            KeyOp::FollowOwner(id) => {
                let Some(before) = self.keys.get(&id).cloned() else { return Ok(()) };
                let mut after = before.clone();
                let happened = self.follow(&mut after, at)?;
                lifecycle::stamp(&before, &mut after, at);
                self.replace(&before, after, &happened, at, receipt)?;
            }
        }
        Ok(())
    }

    /// What a key gave to another one stands in that one's entry.
    pub(super) fn check_merged(&self, key: KeyId) -> Result<()> {
        // A look at the ledger reads all of it.
        if self.keys.contains_key(&key) {
            return Ok(());
        }
        match self.grants.values().find(|grant| grant.merged_from == Some(key)) {
            Some(merge) => Err(errors::merged(key, merge.key, merge.id)),
            None => Ok(()),
        }
    }

    /// Writes an entry of the ledger.
    pub(super) fn grant(&mut self, grant: Grant, receipt: &mut Receipt) -> GrantId {
        self.newest_grant += 1;
        let id = GrantId(self.newest_grant);
        if let Some(by) = self.acting.first() {
            self.grant_scopes.insert(id, by.id);
        }
        receipt.made.push(Made::grant(id));
        self.grants.insert(id, Grant { id, ..grant.caused_by(self.cause.as_ref()) });
        id
    }

    /// Settles a key whose end a grant has changed, and writes it.
    pub(super) fn change_end(
        &mut self,
        before: &Key,
        mut after: Key,
        (kind, grant): (EventKind, GrantId),
        at: Timestamp,
        receipt: &mut Receipt,
    ) -> Result<()> {
        self.emit(consequence::of_grant(kind, before, grant), at);
        let mut happened = Vec::new();
        happened.extend(lifecycle::settle(&mut after, at));
        lifecycle::ended_by_hand(before, &mut after, at);
        lifecycle::stamp(before, &mut after, at);
        self.replace(before, after.clone(), &happened, at, receipt)?;
        receipt.made.push(Made::key(after.id));
        receipt.keys.push(after);
        Ok(())
    }

    pub(super) fn key(&self, id: KeyId, expected: Option<u64>) -> Result<&Key> {
        let key = self.keys.get(&id).ok_or_else(|| errors::no_key(id))?;
        match expected {
            Some(expected) if expected != key.version => Err(errors::version(id, expected, key.version)),
            _ => Ok(key),
        }
    }

    pub(super) fn create(&mut self, mut new: NewKey, at: Timestamp, receipt: &mut Receipt) -> Result<Key> {
        new.suspended = rows::is_suspended(self, new.owner)?;
        if let Some(name) = &new.name
            && self.names.contains_key(&name.folded())
        {
            return Err(errors::name_taken(name.as_str()));
        }
        if self.uids.contains_key(&new.uid) {
            return Err(errors::uid_taken());
        }
        self.newest_key += 1;
        let mut key = new.into_key(KeyId(self.newest_key), at);
        self.put_credentials(&[], &mut key, at, receipt)?;
        self.own(None, Some(&key))?;
        if let Some(name) = &key.name {
            self.names.insert(name.folded(), key.id);
        }
        self.uids.insert(key.uid, key.id);
        self.keys.insert(key.id, key.clone());
        self.emit(
            NewEvent { kind: EventKind::KeyCreated, subject: key.subject(), detail: String::new() },
            at,
        );
        Ok(key)
    }

    pub(super) fn rename(&mut self, before: &Key, after: &Key) -> Result<()> {
        if before.name == after.name {
            return Ok(());
        }
        if let Some(name) = &after.name {
            match self.names.get(&name.folded()) {
                Some(owner) if *owner != after.id => return Err(errors::name_taken(name.as_str())),
                _ => {}
            }
        }
        if let Some(name) = &before.name {
            self.names.remove(&name.folded());
        }
        if let Some(name) = &after.name {
            self.names.insert(name.folded(), after.id);
        }
        Ok(())
    }

    pub(super) fn replace(
        &mut self,
        before: &Key,
        after: Key,
        happened: &[EventKind],
        at: Timestamp,
        receipt: &mut Receipt,
    ) -> Result<()> {
        self.own(Some(before), Some(&after))?;
        self.write(before, after, happened, at, receipt);
        Ok(())
    }

    pub(super) fn write(
        &mut self,
        before: &Key,
        after: Key,
        happened: &[EventKind],
        at: Timestamp,
        receipt: &mut Receipt,
    ) {
        if let Some(grant) = consequence::grant_of(before, &after, happened, at) {
            self.grant(grant, &mut Receipt::default());
        }
        for event in consequence::of_change(before, &after, happened) {
            self.emit(event, at);
        }
        receipt.transitions.extend(consequence::transition(before.status, &after));
        if happened.contains(&EventKind::KeyRevoked) {
            receipt.replaced.push(after.id);
        }
        self.keys.insert(after.id, after);
    }

    pub(super) fn delete(
        &mut self,
        id: KeyId,
        expected: Option<u64>,
        at: Timestamp,
        receipt: &mut Receipt,
    ) -> Result<()> {
        let key = self.key(id, expected)?.clone();
        self.own(Some(&key), None)?;
        for credential in &key.credentials {
            self.revoke(id, credential, at, receipt);
        }
        let own: Vec<InboundId> =
            self.inbounds.values().filter(|i| i.dedicated_to == Some(id)).map(Inbound::id).collect();
        for inbound in own {
            self.remove_inbound(&inbound, at)?;
        }
        self.keys.remove(&id);
        self.uids.remove(&key.uid);
        self.secrets.retain(|_, owner| *owner != id);
        self.devices.retain(|(owner, _), _| *owner != id);
        if let Some(name) = &key.name {
            self.names.remove(&name.folded());
        }
        for baseline in self.baselines.values_mut().flatten() {
            baseline.counters.retain(|c| c.key != id);
        }
        self.emit(
            NewEvent { kind: EventKind::KeyDeleted, subject: key.subject(), detail: String::new() },
            at,
        );
        if let Some(deleted) = self.events.back_mut() {
            deleted.devices = key.devices();
        }
        Ok(())
    }

    /// The key that a key was merged into, as long as there is one; itself otherwise.
    pub(super) fn stays(&self, mut id: KeyId) -> KeyId {
        for _ in 0..MERGED_MAX {
            if self.keys.contains_key(&id) {
                break;
            }
            match self.grants.values().find(|grant| grant.merged_from == Some(id)) {
                Some(merge) => id = merge.key,
                None => break,
            }
        }
        id
    }
}
