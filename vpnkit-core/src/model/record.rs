//! Small things that are read and replaced as a whole.

use super::AdminId;
use crate::Secret;

/// What a store keeps for the engine without looking into it: settings, the hosts of an inbound, a template. It may hold
/// secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it is: `hosts`, `template`.
    pub kind: String,
    /// Which one of its kind; empty where there is only one.
    pub id: String,
    /// Grows by one each time it is replaced, from 1 on.
    pub version: u64,
    /// What it is found by beside its id; need not be unique.
    pub index: Option<String>,
    /// The thing itself, as JSON.
    pub body: Secret,
}

impl Record {
    /// The kind of admins' passwords; the id is that of the admin.
    pub const ADMIN_PASSWORD: &'static str = "admin_password";
    /// The kind of admins' API keys; the id begins with that of the admin: `7/…`.
    pub const API_KEY: &'static str = "api_key";

    /// Returns the admin that a record of a kind belongs to; `None` when it belongs to none.
    #[must_use]
    pub fn admin(kind: &str, id: &str) -> Option<AdminId> {
        let own = matches!(kind, Self::ADMIN_PASSWORD | Self::API_KEY);
        id.split('/').next().filter(|_| own)?.parse().ok().map(AdminId)
    }
}

/// Which records. The default is all of them.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RecordQuery {
    /// Only of one of these kinds; empty is any.
    pub kinds: Vec<String>,
    /// Only with this index.
    pub index: Option<String>,
    /// Only with ids that begin with this and a slash; not together with `index`, and only of kinds.
    pub below: Option<String>,
}

impl RecordQuery {
    /// Of one kind.
    #[must_use]
    pub fn of(kind: &str) -> Self {
        Self { kinds: vec![kind.to_owned()], ..Self::default() }
    }

    /// Whether a record is asked for.
    #[must_use]
    pub fn matches(&self, record: &Record) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&record.kind))
            && (self.index.is_none() || self.index == record.index)
            && self.below.as_ref().is_none_or(|above| {
                record.id.strip_prefix(above.as_str()).is_some_and(|rest| rest.starts_with('/'))
            })
    }
}
