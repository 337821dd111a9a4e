//! One step towards the desired state.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::StreamExt as _;
use tonic::Status;
use vpnkit_core::backend::{Account, Change};
use vpnkit_core::model::{DeviceName, Inbound, InboundTag, KeyId, Security};
use vpnkit_core::{Error, ErrorKind, Result};

use crate::account;
use crate::api_error::{AlterError, answer, convert};
use crate::loaded::{LoadedInbound, Ours};
use crate::proto::xray::common::protocol::User;
use crate::reality::RealityKeys;
use crate::xray::Xray;
use crate::{command, managed, rules, server_config};

/// Accounts that come with their inbound; the others follow. Xray takes messages of at most 4 MiB.
const WITH_INBOUND: usize = 10_000;

impl Xray {
    /// Takes one step; every one is idempotent.
    pub(crate) async fn step(&self, change: &Change) -> Result<()> {
        match change {
            Change::PutAccount(inbound, account) => self.put_account(inbound, account).await,
            Change::RemoveAccount(tag, key, device) => self.remove_account(tag, *key, device).await,
            Change::PutInbound(inbound, accounts) => self.put_inbound(inbound, accounts).await,
            Change::RemoveInbound(tag) => self.remove_inbound(tag).await,
            // None of its inbounds has certificates: `rules::check` refuses them.
            Change::Revoke(tag, _) => Err(Error::new(
                ErrorKind::Unsupported,
                "xray.revoke",
                "Xray asks its clients for no certificates",
            )
            .with("inbound", tag)),
        }
    }

    async fn put_account(&self, inbound: &Inbound, wanted: &Account) -> Result<()> {
        const OP: &str = "xray.put_account";
        let Some(loaded) = self.inner.loaded.get(&inbound.tag) else {
            return Err(no_inbound(OP, &inbound.tag));
        };
        if loaded.kind != account::settings_type(&inbound.protocol) {
            // A wrong type of account kills Xray.
            return Err(Error::new(ErrorKind::Rejected, OP, "the server's inbound speaks another protocol")
                .with("inbound", &inbound.tag)
                .with("type", &loaded.kind));
        }
        let user = account::user(&self.inner.names(), inbound, wanted)?;
        for tag in self.inner.loaded.tags(&inbound.tag) {
            self.put_user(&tag, &loaded, inbound, wanted, user.clone()).await?;
        }
        Ok(())
    }

    /// Puts a user on what Xray calls by a tag.
    async fn put_user(
        &self,
        tag: &str,
        loaded: &LoadedInbound,
        inbound: &Inbound,
        wanted: &Account,
        user: User,
    ) -> Result<()> {
        const OP: &str = "xray.put_account";
        let api = self.inner.api();
        let failed = |status: Status| convert(OP, &status).with("inbound", tag).with("key", wanted.key);
        if !loaded.takes_duplicates() {
            match api.add_user(tag, user.clone()).await {
                Ok(()) => return Ok(()),
                Err(status) => match answer(&status) {
                    AlterError::Exists => {}
                    AlterError::NoInbound => return Err(no_inbound(OP, &inbound.tag)),
                    _ => return Err(failed(status)),
                },
            }
        }
        match api.user(tag, &user.email).await.map_err(failed)? {
            Some(held)
                if account::fingerprint(held.account.as_ref())
                    == account::fingerprint(user.account.as_ref()) =>
            {
                return Ok(());
            }
            Some(_) => self.remove_user(tag, loaded, wanted.key, &wanted.device).await?,
            None => {}
        }
        api.add_user(tag, user).await.map_err(failed)
    }

    async fn remove_account(&self, tag: &InboundTag, key: KeyId, device: &DeviceName) -> Result<()> {
        let Some(loaded) = self.inner.loaded.get(tag) else { return Ok(()) };
        for tag in self.inner.loaded.tags(tag) {
            self.remove_user(&tag, &loaded, key, device).await?;
        }
        Ok(())
    }

    /// Removes a user from what Xray calls by a tag.
    async fn remove_user(
        &self,
        tag: &str,
        loaded: &LoadedInbound,
        key: KeyId,
        device: &DeviceName,
    ) -> Result<()> {
        let api = self.inner.api();
        loop {
            match api.remove_user(tag, &self.inner.names().name(key, device)).await {
                Ok(()) if loaded.takes_duplicates() => {}
                Ok(()) => return Ok(()),
                Err(status) => match answer(&status) {
                    AlterError::NoUser | AlterError::NoInbound | AlterError::NoUsers => return Ok(()),
                    _ => {
                        return Err(convert("xray.remove_account", &status)
                            .with("inbound", tag)
                            .with("key", key));
                    }
                },
            }
        }
    }

    async fn put_inbound(&self, inbound: &Arc<Inbound>, accounts: &[Account]) -> Result<()> {
        const OP: &str = "xray.put_inbound";
        rules::check(inbound)?;
        let held = self.inner.loaded.get(&inbound.tag);
        let was_previous = self.inner.loaded.has_previous(&inbound.tag);
        if let Some(held) = &held
            && held.ours.map_or(!was_previous, |ours| ours == Ours::of(inbound))
            && self.is_there(&inbound.tag).await?
        {
            if held.ours.is_none() {
                self.check_keys(inbound).await?;
            }
            // It listens already: replacing it would cost its users their connections.
            return self.replace_accounts(inbound, accounts, held).await;
        }
        let Some((binary, directory)) = self.program() else {
            return Err(Error::new(ErrorKind::Rejected, OP, "the attached Xray has no such inbound")
                .with("inbound", &inbound.tag)
                .hint("add it to that Xray's config, or tell vpnkit where an Xray binary is"));
        };
        let old_port = held.and_then(|held| held.ours).map(|ours| ours.port);
        if self.inner.managed && old_port != Some(inbound.port) {
            managed::port_is_free(inbound).await?;
        }
        if old_port.is_some() || was_previous {
            self.drop_inbound(&inbound.tag).await?;
        }
        // First, so that it is known also when nobody waits for the end of this.
        let loaded = LoadedInbound::of(inbound);
        self.inner.loaded.insert(inbound);
        let (first, rest) = accounts.split_at(accounts.len().min(WITH_INBOUND));
        let sniffing = self.inner.sniffing.as_ref();
        let sockets = self.inner.managed.then(|| directory.clone());
        let json = server_config::inbounds(&self.inner.names(), inbound, first, sniffing, sockets.as_deref());
        if let Err(e) = command::add_inbounds(binary, &self.inner.address, &directory, &json).await {
            // Xray registers the tag before it listens, so a failed one must be taken away.
            self.drop_inbound(&inbound.tag).await?;
            return Err(e.with("inbound", &inbound.tag).with("port", inbound.port));
        }
        self.inner.remember().await;
        self.put_accounts(inbound, rest, &loaded).await
    }

    /// Checks that an inbound which is not known to be vpnkit's own has the REALITY keys that it is to have. It cannot be replaced: what
    /// else its operator has said of it is not known.
    async fn check_keys(&self, inbound: &Inbound) -> Result<()> {
        const OP: &str = "xray.put_inbound";
        let Security::Reality(reality) = &inbound.security else { return Ok(()) };
        let key = RealityKeys::bytes(reality.private_key.expose())?;
        let same = self.inner.api().listens_with(inbound.tag.as_str(), &key).await;
        let same = same.map_err(|status| convert(OP, &status).with("inbound", &inbound.tag))?;
        if same && reality.previous.is_none() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Rejected, OP, "the inbound of the attached Xray has other REALITY keys")
            .with("inbound", &inbound.tag)
            .hint("change them in the configuration of that Xray, and here to the same"))
    }

    /// Whether the running Xray has an inbound.
    async fn is_there(&self, tag: &InboundTag) -> Result<bool> {
        for tag in self.inner.loaded.tags(tag) {
            if let Err(status) = self.inner.api().user(&tag, "vpnkit").await {
                match answer(&status) {
                    AlterError::NoInbound => return Ok(false),
                    AlterError::NoUsers => {}
                    _ => return Err(convert("xray.put_inbound", &status).with("inbound", tag)),
                }
            }
        }
        Ok(true)
    }

    async fn put_accounts(
        &self,
        inbound: &Inbound,
        accounts: &[Account],
        loaded: &LoadedInbound,
    ) -> Result<()> {
        // Those that were replaced last: their secrets are those that others had.
        for old in [false, true] {
            let some = accounts.iter().filter(|account| account.device.is_replaced() == old);
            let steps: Vec<_> = some.map(|account| self.put_account(inbound, account)).collect();
            let mut running = futures_util::stream::iter(steps).buffered(loaded.width());
            while let Some(outcome) = running.next().await {
                outcome?;
            }
        }
        Ok(())
    }

    /// On an inbound that stays: these accounts and no others of vpnkit's.
    async fn replace_accounts(
        &self,
        inbound: &Inbound,
        accounts: &[Account],
        held: &LoadedInbound,
    ) -> Result<()> {
        let wanted: HashSet<_> = accounts.iter().map(|account| (account.key, &account.device)).collect();
        for (key, device) in self.accounts(&inbound.tag).await? {
            if !wanted.contains(&(key, &device)) {
                self.remove_account(&inbound.tag, key, &device).await?;
            }
        }
        self.put_accounts(inbound, accounts, held).await
    }

    /// vpnkit's accounts on an inbound.
    async fn accounts(&self, tag: &InboundTag) -> Result<HashSet<(KeyId, DeviceName)>> {
        let (names, mut accounts) = (self.inner.names(), HashSet::new());
        for tag in self.inner.loaded.tags(tag) {
            let users = self.inner.api().users(&tag).await;
            let users = users.map_err(|status| convert("xray.accounts", &status).with("inbound", tag))?;
            accounts.extend(users.iter().filter_map(|user| names.parse(&user.email)));
        }
        Ok(accounts)
    }

    async fn remove_inbound(&self, tag: &InboundTag) -> Result<()> {
        match self.inner.loaded.get(tag) {
            None => Ok(()),
            Some(held) if held.ours.is_some() || self.inner.loaded.has_previous(tag) => {
                self.drop_inbound(tag).await
            }
            // Not vpnkit's to remove; its accounts are.
            Some(_) => {
                for (key, device) in self.accounts(tag).await? {
                    self.remove_account(tag, key, &device).await?;
                }
                Ok(())
            }
        }
    }

    async fn drop_inbound(&self, tag: &InboundTag) -> Result<()> {
        for known in self.inner.loaded.tags(tag) {
            match self.inner.api().remove_inbound(&known).await {
                Ok(()) => {}
                Err(status) if answer(&status) == AlterError::NoInbound => {}
                // It may listen on: it stays known, and is removed again.
                Err(status) => return Err(convert("xray.remove_inbound", &status).with("inbound", tag)),
            }
        }
        self.inner.loaded.remove(tag);
        self.inner.remember().await;
        Ok(())
    }
}

fn no_inbound(operation: &'static str, tag: &InboundTag) -> Error {
    Error::new(ErrorKind::NotFound, operation, "the server has no such inbound").with("inbound", tag)
}
