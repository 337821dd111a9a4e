//! Making credentials, and giving them to the keys that lack them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Shared;
use super::server::Server;
use vpnkit_core::backend::CredentialRequest;
use vpnkit_core::model::{
    CertificateTerm, Credential, CredentialKind, CredentialSecret, DeviceName, Inbound, InboundId,
    InboundSelection, KeyId, KeyPatch, KeyQuery, NewKey, Revocation,
};
use vpnkit_core::store::{KeyOp, Made, StoreOp, StoreTxn};
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
        Ok(key)
    }

    /// The credentials that a key of this selection lacks.
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
            let fits = |credential: &Credential| credential.is_for(inbound);
            if !given.clone().any(fits) && !made.iter().any(fits) {
                made.extend(self.new_credential(inbound, DeviceName::default()).await?);
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

    /// Makes the credential that takes the place of this one, with its address; `None` as with a new one.
    pub(super) async fn renewed(&self, old: &Credential) -> Result<Option<Credential>> {
        let inbound = match &old.inbound {
            Some(id) => self.inbounds().iter().find(|inbound| inbound.id() == *id).cloned(),
            None => None,
        };
        match inbound {
            Some(inbound) => self.new_credential(&inbound, old.device.clone()).await,
            None => {
                let request = CredentialRequest::of(old.protocol(), old.device.clone());
                Ok(Some(Credential::new(old.device.clone(), self.issue(&request).await?)))
            }
        }
    }

    fn server_of(&self, inbound: &Inbound) -> Option<Arc<Server>> {
        self.servers().iter().find(|server| inbound.runs_on(server.id())).cloned()
    }

    async fn take_serial(&self, inbound: InboundId) -> Result<u64> {
        if let Some(serial) = self.serials.pop(&inbound) {
            return Ok(serial);
        }
        let step = StoreOp::TakeSerials { inbound: inbound.clone(), count: Serials::BLOCK };
        let receipt = self.store.commit(StoreTxn::new(self.clock.now(), [step])).await?;
        let taken = receipt.made.iter().filter_map(Made::as_serial).collect();
        self.serials
            .put(inbound, taken)
            .ok_or_else(|| Error::new(ErrorKind::Unexpected, "keys.issue", "the store gave no serial number"))
    }

    /// Makes new secret material: on the server of the inbound that it is for, or of the first inbound that takes it.
    async fn issue(&self, request: &CredentialRequest) -> Result<CredentialSecret> {
        let (servers, inbounds) = (self.servers(), self.inbounds());
        let fits = |inbound: &Inbound| match &request.inbound {
            Some(only) => only.id() == inbound.id(),
            None => inbound.protocol.credential() == request.protocol,
        };
        let takes = |server: &&Arc<Server>| inbounds.iter().any(|i| fits(i) && i.runs_on(server.id()));
        // One that answers, if there is one.
        let up = servers.iter().filter(|server| server.is_up()).find(takes);
        match up.or_else(|| servers.iter().find(takes)) {
            Some(server) => server.answer("keys.issue", ISSUE, server.backend.issue(request)).await,
            None => Ok(CredentialSecret::generate(request.protocol)),
        }
    }

    /// Gives every key on the inbound that cannot connect to it a credential, a page at a time; returns whether there was
    /// one.
    pub(super) async fn give_credentials(&self, inbound: &Inbound) -> Result<bool> {
        let inbound = Arc::new(inbound.clone());
        let mut given = false;
        let mut query = KeyQuery { limit: 1_000, ..KeyQuery::default() };
        loop {
            let page = self.store.find(&query).await?;
            let mut ops = Vec::new();
            for key in page.keys.iter().filter(|key| inbound.serves(key.id, &key.inbounds)) {
                if key.credentials.iter().any(|credential| credential.opens(&inbound)) {
                    continue;
                }
                let device = key.credentials.iter().find(|c| c.is_for(&inbound)).map(|c| c.device.clone());
                let made = self.new_credential(&inbound, device.unwrap_or_default()).await?;
                let patch = KeyPatch { credentials: made.into_iter().collect(), ..KeyPatch::default() };
                let (key, expected) = (key.id, Some(key.version));
                ops.push(KeyOp::Patch { key, expected, patch: Box::new(patch) });
            }
            if !ops.is_empty() {
                match self.store.commit(StoreTxn::new(self.clock.now(), ops)).await {
                    // A key of this page was changed or deleted meanwhile: look at the page again.
                    Err(e) if matches!(e.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => continue,
                    Ok(receipt) => self.revoked(&receipt.revoked),
                    Err(e) => return Err(e),
                }
                given = true;
            }
            match page.next {
                Some(next) => query.page = Some(next),
                None => return Ok(given),
            }
        }
    }

    /// Tells the servers which certificates they refuse from now on.
    pub(super) fn revoked(&self, revocations: &[Revocation]) {
        if revocations.is_empty() {
            return;
        }
        for server in self.servers().iter() {
            server.queue.revoked(revocations);
        }
    }
}
