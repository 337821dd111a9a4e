//! Making credentials, and giving them to the keys that lack them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::server::Server;
use super::{Shared, context};
use vpnkit_core::backend::CredentialRequest;
use vpnkit_core::model::{
    CertificateTerm, Credential, CredentialKind, CredentialSecret, DeviceName, Inbound, InboundId,
    InboundSelection, Key, KeyId, KeyPatch, KeyQuery, NewKey, Page, Revocation,
};
use vpnkit_core::store::{Fence, KeyOp, Made, StoreOp, errors};
use vpnkit_core::{Error, ErrorKind, Result};

/// How long a server may take to make a credential.
const ISSUE: Duration = Duration::from_secs(10);

/// Serial numbers that were taken from the store and are not used yet. Those of a process that ends are lost: there are
/// enough.
#[derive(Debug, Default)]
pub(super) struct Serials(Mutex<HashMap<InboundId, Vec<u64>>>);

impl Serials {
    /// How many are taken at once.
    const BLOCK: u32 = 64;

    fn pop(&self, inbound: &InboundId) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(inbound)?.pop()
    }

    /// Takes the first one, keeps the others.
    fn put(&self, inbound: InboundId, mut serials: Vec<u64>) -> Option<u64> {
        serials.reverse();
        let first = serials.pop();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(inbound).or_default().extend(serials);
        first
    }
}

impl Shared {
    /// Adds the credentials that the key's inbounds need and that were not given.
    pub(super) async fn complete(&self, mut key: NewKey) -> Result<NewKey> {
        let missing = self.missing("keys.create", &key.inbounds, key.credentials.iter()).await?;
        key.credentials.extend(missing);
        if let Some(reset) = &mut key.reset {
            self.with_time_zone(reset);
        }
        Ok(key)
    }

    /// Makes the credentials that a key of this selection lacks.
    pub(super) async fn missing(
        &self,
        op: &'static str,
        selection: &InboundSelection,
        given: impl Iterator<Item = &Credential> + Clone,
    ) -> Result<Vec<Credential>> {
        let inbounds = self.inbounds();
        if let InboundSelection::Only(tags) = selection
            && let Some(tag) = tags.iter().find(|tag| !inbounds.iter().any(|i| i.tag == **tag))
        {
            return Err(Error::new(ErrorKind::NotFound, op, "no such inbound")
                .with("field", "inbounds")
                .with("inbound", tag));
        }
        let mut made: Vec<Credential> = Vec::new();
        for inbound in inbounds.iter().filter(|i| i.dedicated_to.is_none() && i.serves(KeyId(0), selection)) {
            let fits = |credential: &Credential| !credential.is_replaced() && credential.is_for(inbound);
            if given.clone().any(fits) || made.iter().any(fits) {
                continue;
            }
            match self.new_credential(inbound, DeviceName::default()).await {
                Ok(credential) => made.extend(credential),
                // One server must not keep keys from all others: the reconcile gives them what they lack.
                Err(e) if inbound.own_credentials() && e.is_temporary() => {
                    tracing::warn!(inbound = %inbound.id(), error = %e, "a key gets its credential later");
                }
                Err(e) => return Err(e.during(op)),
            }
        }
        if made.is_empty() && given.clone().next().is_none() {
            // Nothing to connect to yet: most keys will want this one.
            made.push(Credential::generate(CredentialKind::Vless));
        }
        Ok(made)
    }

    /// Makes a credential for an inbound; `None` when only the process that drives its server can.
    async fn new_credential(&self, inbound: &Arc<Inbound>, device: DeviceName) -> Result<Option<Credential>> {
        let mut request = CredentialRequest::of(inbound.protocol.credential(), device.clone());
        if context::is_dry_run() {
            // Nobody is asked, and no number is taken.
            let mut credential = Credential::new(device, CredentialSecret::generate(request.protocol));
            credential.inbound = inbound.own_credentials().then(|| inbound.id());
            return Ok(Some(credential));
        }
        if inbound.own_credentials() {
            request.inbound = Some(Arc::clone(inbound));
        }
        if let Some(lifetime) = inbound.certificate_lifetime {
            if self.server_of(inbound).is_none() {
                return Ok(None);
            }
            let serial = self.take_serial(inbound.id()).await?;
            let expires_at = self.clock.now().plus(lifetime);
            request.certificate = Some(CertificateTerm { serial, expires_at });
        }
        let mut credential = Credential::new(device, self.issue(&request).await?);
        credential.inbound = request.inbound.as_deref().map(Inbound::id);
        credential.certificate = request.certificate;
        Ok(Some(credential))
    }

    /// Makes the credential that takes the place of this one, with its address.
    ///
    /// Errors: `Unavailable` when only another process can make it.
    pub(super) async fn renewed(&self, op: &'static str, old: &Credential) -> Result<Credential> {
        let of = |id: &InboundId| self.inbounds().iter().find(|inbound| inbound.id() == *id).cloned();
        let Some(id) = &old.inbound else {
            let request = CredentialRequest::of(old.protocol(), old.device.clone());
            return Ok(Credential::new(old.device.clone(), self.issue(&request).await?));
        };
        let made = match of(id) {
            Some(inbound) => self.new_credential(&inbound, old.device.clone()).await?,
            None => None,
        };
        made.ok_or_else(|| {
            Error::new(
                ErrorKind::Unavailable,
                op,
                "another process drives the server of an inbound of the key",
            )
            .with("inbound", id)
            .hint("call it there")
        })
    }

    /// Checks credentials that a caller gives. Certificates are made by the server, so those that are given must be held.
    pub(super) fn check_given(
        &self,
        op: &'static str,
        given: &[Credential],
        held: &[Credential],
    ) -> Result<()> {
        let inbounds = self.inbounds();
        for credential in given.iter().filter(|credential| !held.contains(credential)) {
            let Some(id) = &credential.inbound else { continue };
            let certified = inbounds.iter().any(|i| i.id() == *id && i.certificate_lifetime.is_some());
            if certified || credential.certificate.is_some() {
                return Err(Error::invalid(op, "credentials", "certificates are made by the server")
                    .with("inbound", id)
                    .hint("leave the credential out: the key gets one"));
            }
        }
        Ok(())
    }

    fn server_of(&self, inbound: &Inbound) -> Option<Arc<Server>> {
        self.servers().iter().find(|server| inbound.runs_on(server.id()) && server.is_driven()).cloned()
    }

    async fn take_serial(&self, inbound: InboundId) -> Result<u64> {
        if let Some(serial) = self.serials.pop(&inbound) {
            return Ok(serial);
        }
        let step = StoreOp::TakeSerials { inbound: inbound.clone(), count: Serials::BLOCK };
        let receipt = self.store.commit(self.txn([step])).await?;
        let taken = receipt.made.iter().filter_map(Made::as_serial).collect();
        self.serials
            .put(inbound, taken)
            .ok_or_else(|| Error::new(ErrorKind::Unexpected, "keys.issue", "the store gave no serial number"))
    }

    /// Makes new secret material: what is for one inbound on its server, everything else here, so that no server that is
    /// away keeps a key from the others.
    async fn issue(&self, request: &CredentialRequest) -> Result<CredentialSecret> {
        let server = request.inbound.as_deref().and_then(|inbound| self.server_of(inbound));
        match server {
            Some(server) => server.answer("keys.issue", ISSUE, server.backend.issue(request)).await,
            None => Ok(CredentialSecret::generate(request.protocol)),
        }
    }

    /// Checks that an inbound has an address for every key that will need one.
    ///
    /// Errors: `LimitReached`.
    pub(super) async fn check_room(&self, inbound: &Inbound) -> Result<()> {
        let Some(pool) = &inbound.addresses else { return Ok(()) };
        let (mut needed, id) = (0u64, inbound.id());
        let mut query = KeyQuery { limit: KeyQuery::MAX_LIMIT, ..KeyQuery::default() };
        loop {
            let page = self.keys_of(inbound, &query).await?;
            for key in &page.keys {
                let held = key.credentials.iter().filter(|c| c.is_for(inbound)).count();
                let one = usize::from(inbound.serves(key.id, &key.inbounds));
                needed += u64::try_from(held.max(one)).unwrap_or(u64::MAX);
            }
            match page.next {
                Some(next) => query.page = Some(next),
                None if needed > u64::from(pool.capacity()) => {
                    return Err(errors::addresses_too_few(&id, pool.capacity(), needed));
                }
                None => return Ok(()),
            }
        }
    }

    /// Gives every key on the inbound that cannot connect to it a credential, a page at a time, and renews certificates
    /// that end soon; returns how many were given.
    pub(super) async fn give_credentials(&self, inbound: &Inbound, fence: Option<Fence>) -> Result<usize> {
        /// How often a page is looked at again because its keys were changed meanwhile.
        const ROUNDS: usize = 5;
        let inbound = Arc::new(inbound.clone());
        let (mut given, mut rounds, mut fault) = (0, 0, None);
        let mut query = KeyQuery { limit: 1_000, ..KeyQuery::default() };
        loop {
            let page = self.keys_of(&inbound, &query).await?;
            let mut ops = Vec::new();
            for key in page.keys.iter().filter(|key| inbound.serves(key.id, &key.inbounds)) {
                let mut credentials = Vec::new();
                for device in self.lacking(key, &inbound) {
                    credentials.extend(self.new_credential(&inbound, device).await?);
                }
                if !credentials.is_empty() {
                    let patch = KeyPatch { credentials, ..KeyPatch::default() };
                    let (key, expected) = (key.id, Some(key.version));
                    ops.push(KeyOp::Patch { key, expected, patch: Box::new(patch) });
                }
            }
            let (count, again) = (ops.len(), ops.clone());
            if count > 0 {
                match self.store.commit(self.txn(ops).under(fence.clone())).await {
                    // A key of this page, or the inbound, was changed or deleted meanwhile.
                    Err(e) if matches!(e.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {
                        rounds += 1;
                        let there = self.store.inbounds().await?.contains(&inbound);
                        match there && rounds < ROUNDS && !self.stop.is_cancelled() {
                            true => continue,
                            false => return Err(e),
                        }
                    }
                    Ok(receipt) => {
                        self.revoked(&receipt.revoked);
                        given += count;
                    }
                    // One of them has no address left, or cannot be changed: the others are served, each by itself.
                    Err(e) if matches!(e.kind(), ErrorKind::LimitReached | ErrorKind::InvalidInput) => {
                        for step in again {
                            if let Ok(receipt) =
                                self.store.commit(self.txn([step]).under(fence.clone())).await
                            {
                                self.revoked(&receipt.revoked);
                                given += 1;
                            }
                        }
                        fault = fault.or(Some(e));
                    }
                    Err(e) => return Err(e),
                }
            }
            match page.next {
                Some(next) => (query.page, rounds) = (Some(next), 0),
                None => return fault.map_or(Ok(given), Err),
            }
        }
    }

    /// Returns a page of the keys that may be on an inbound: its owner, if it has one.
    async fn keys_of(&self, inbound: &Inbound, query: &KeyQuery) -> Result<Page> {
        match inbound.dedicated_to {
            Some(owner) => Ok(Page { keys: self.store.keys(&[owner]).await?, next: None, previous: None }),
            None => self.store.find(query).await,
        }
    }

    /// The devices of a key that need a new credential for an inbound.
    fn lacking(&self, key: &Key, inbound: &Inbound) -> Vec<DeviceName> {
        let lifetime = inbound.certificate_lifetime.unwrap_or_default();
        // With a third of its time left, so that a client has weeks to fetch it.
        let soon = self.clock.now().plus(lifetime / 3);
        let good = |credential: &Credential| {
            credential.opens(inbound) && credential.certificate.is_none_or(|term| term.expires_at > soon)
        };
        let held: Vec<&Credential> =
            key.credentials.iter().filter(|c| !c.is_replaced() && c.is_for(inbound)).collect();
        if held.is_empty() {
            return vec![DeviceName::default()];
        }
        held.into_iter().filter(|c| !good(c)).map(|c| c.device.clone()).collect()
    }

    /// Tells the servers which certificates they refuse from now on.
    pub(super) fn revoked(&self, revocations: &[Revocation]) {
        if revocations.is_empty() {
            return;
        }
        let inbounds = self.inbounds();
        for server in self.servers().iter() {
            let own = server.own(&inbounds);
            let concerns = |one: &&Revocation| own.iter().any(|inbound| inbound.id() == one.inbound);
            server.queue.revoked(revocations.iter().filter(concerns).cloned());
        }
    }
}
