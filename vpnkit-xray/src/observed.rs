//! What a running Xray has of vpnkit's.

use std::collections::BTreeMap;

use vpnkit_core::Result;
use vpnkit_core::backend::{Fingerprint, Observed, ObservedInbound};
use vpnkit_core::model::{DeviceName, InboundTag, KeyId};

use crate::account::{self, Names};
use crate::api_error::{AlterError, answer, convert};
use crate::proto::xray::common::protocol::User;
use crate::xray::Xray;

/// The accounts of an inbound.
type Accounts = BTreeMap<(KeyId, DeviceName), Fingerprint>;

/// The fingerprint of nothing that vpnkit makes.
const UNKNOWN: Fingerprint = Fingerprint(0);

impl Xray {
    pub(crate) async fn observed(&self) -> Result<Observed> {
        let mut observed = Observed::default();
        let names = self.inner.names();
        let loaded = self.inner.loaded.map().clone();
        for (tag, loaded) in loaded {
            let Ok(tag) = InboundTag::new(tag) else { continue };
            let Some(accounts) = self.observed_accounts(&names, &tag).await? else { continue };
            // What an earlier process has added is this one's to replace, too.
            let earlier = self.inner.loaded.has_previous(&tag).then_some(UNKNOWN);
            let fingerprint = loaded.ours.map(|ours| ours.fingerprint).or(earlier);
            observed
                .inbounds
                .insert(tag, ObservedInbound { fingerprint, accounts, ..ObservedInbound::default() });
        }
        Ok(observed)
    }

    /// The accounts of an inbound that Xray has; `None` when it was removed by somebody else, or holds no users. Of one with previous
    /// keys those that are the same for both.
    async fn observed_accounts(&self, names: &Names, tag: &InboundTag) -> Result<Option<Accounts>> {
        let mut all: Option<Accounts> = None;
        for known in self.inner.loaded.tags(tag) {
            let users = match self.inner.api().users(&known).await {
                Ok(users) => users,
                Err(status) if matches!(answer(&status), AlterError::NoInbound | AlterError::NoUsers) => {
                    return Ok(None);
                }
                Err(status) => return Err(convert("xray.observe", &status).with("inbound", tag)),
            };
            let account =
                |user: &User| Some((names.parse(&user.email)?, account::fingerprint(user.account.as_ref())));
            let accounts: Accounts = users.iter().filter_map(account).collect();
            all = Some(match all {
                None => accounts,
                Some(before) => in_both(before, accounts),
            });
        }
        Ok(all)
    }
}

/// What differs has a fingerprint that nothing has: so it is put right, or taken away.
fn in_both(mut one: Accounts, other: Accounts) -> Accounts {
    for (account, fingerprint) in &mut one {
        if other.get(account) != Some(fingerprint) {
            *fingerprint = UNKNOWN;
        }
    }
    for account in other.into_keys() {
        one.entry(account).or_insert(UNKNOWN);
    }
    one
}
