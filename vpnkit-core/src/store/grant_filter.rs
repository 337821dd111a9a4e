//! Which entries of the ledger.

use std::sync::Arc;

use crate::Timestamp;
use crate::model::{AdminId, Grant, GrantId, KeyId};

/// Which entries of the ledger, as stores are asked for them: oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantFilter {
    /// Only this one.
    pub id: Option<GrantId>,
    /// Only of this key.
    pub key: Option<KeyId>,
    /// Only of keys that one of these admins owned then.
    pub owners: Option<Arc<[AdminId]>>,
    /// Only those whose idempotency key is one of this reseller's, or with `Some(None)` the application's own: what two of them call the same is
    /// not the same.
    pub scope: Option<Option<AdminId>>,
    /// Only of this idempotency key.
    pub idempotency_key: Option<String>,
    /// Only from this time on.
    pub since: Timestamp,
    /// Only before this time.
    pub until: Timestamp,
    /// Only those behind this entry.
    pub after: GrantId,
    /// At most so many.
    pub limit: usize,
}

impl Default for GrantFilter {
    fn default() -> Self {
        Self {
            id: None,
            key: None,
            owners: None,
            scope: None,
            idempotency_key: None,
            since: Timestamp::default(),
            until: Timestamp::MAX,
            after: GrantId(0),
            limit: usize::MAX,
        }
    }
}

impl GrantFilter {
    /// Whether an entry is asked for, the limit aside.
    #[must_use]
    pub fn matches(&self, grant: &Grant) -> bool {
        self.id.is_none_or(|id| grant.id == id)
            && self.key.is_none_or(|key| grant.key == key)
            && self
                .owners
                .as_ref()
                .is_none_or(|owners| grant.owner.is_some_and(|owner| owners.contains(&owner)))
            && self.idempotency_key.as_ref().is_none_or(|key| grant.idempotency_key.as_ref() == Some(key))
            && grant.at >= self.since
            && grant.at < self.until
            && grant.id > self.after
    }
}
