//! A server in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;
use vpnkit_core::backend::{
    Account, Capabilities, Change, CredentialRequest, Desired, Fingerprint, Health, Observed,
    ObservedInbound, ProtocolBackend, ServerRules, ServerState,
};
use vpnkit_core::model::{
    Credential, CredentialSecret, DeviceName, Endpoint, Inbound, InboundTag, KeyId, NodeId, Security,
    ServerId, ShortId, Traffic,
};
use vpnkit_core::subscription::ResolvedHost;
use vpnkit_core::traffic::{Counter, Epoch, OnlineAddress, OnlineKey, Reading, Series, TrafficSource};
use vpnkit_core::{Error, ErrorKind, Result, Secret, Timestamp, async_trait};

/// What goes wrong with a [`FakeServer`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Every call fails as if nobody answered.
    Down,
    /// No call is answered, as by a machine that has gone dark.
    Silent,
    /// Readings fail; everything else is answered.
    Read,
    /// It does not start.
    Start,
    /// No connection is cut.
    Disconnect,
    /// Changes are carried out, but the answer is lost.
    AnswerLost,
    /// Accounts of this key are refused.
    Refuse(KeyId),
    /// This inbound is refused.
    RefuseInbound(InboundTag),
}

/// How a [`FakeServer`] counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Counting {
    /// By account, as Xray does.
    #[default]
    Accounts,
    /// By session, as OpenVPN and ocserv do: each ends once.
    Sessions,
    /// By peer, as WireGuard does: it ends when its account is removed, and one that comes again is another.
    Peers,
}

#[derive(Debug)]
struct Session {
    key: KeyId,
    name: u64,
    traffic: Traffic,
    ended: bool,
    /// The reading that told of its end first.
    told: Option<u64>,
}

type Accounts = BTreeMap<(KeyId, DeviceName), Account>;

#[derive(Debug, Default)]
struct State {
    inbounds: BTreeMap<InboundTag, (Inbound, Accounts)>,
    counters: BTreeMap<KeyId, Traffic>,
    sessions: Vec<Session>,
    newest_session: u64,
    readings: u64,
    /// And from where.
    online: BTreeMap<KeyId, Vec<IpAddr>>,
    faults: Vec<Fault>,
    lifetime: u64,
    cut: Vec<KeyId>,
    desired: Option<Arc<dyn Desired>>,
    revoked: BTreeMap<InboundTag, BTreeSet<u64>>,
    steps: usize,
    asked: Vec<KeyId>,
}

/// A backend and traffic source in memory that can be told to fail. It keeps the promises of both traits and
/// serves as the example of how to.
#[derive(Debug)]
pub struct FakeServer {
    id: ServerId,
    node: NodeId,
    counting: Counting,
    /// Tells its lifetimes from those of another server under the same id.
    instance: uuid::Uuid,
    state: Mutex<State>,
    signal: watch::Sender<ServerState>,
}

impl Default for FakeServer {
    fn default() -> Self {
        Self::named(ServerId::new(&NodeId::main(), "fake"))
    }
}

impl FakeServer {
    /// Makes a server of the local node that is not started yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a server with this id.
    #[must_use]
    pub fn named(id: ServerId) -> Self {
        let node = id.node();
        let signal = watch::channel(ServerState::Stopped).0;
        Self {
            id,
            node,
            counting: Counting::default(),
            instance: uuid::Uuid::new_v4(),
            state: Mutex::default(),
            signal,
        }
    }

    /// Sets how it counts.
    #[must_use]
    pub fn counting(mut self, counting: Counting) -> Self {
        self.counting = counting;
        self
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// From now on this goes wrong too.
    pub fn fail(&self, fault: Fault) {
        let down = fault == Fault::Down;
        self.state().faults.push(fault);
        if down {
            self.signal.send_replace(ServerState::Down { reason: "told to".into() });
        }
    }

    /// Never returns while the server is silent.
    async fn answered(&self) {
        if self.state().faults.contains(&Fault::Silent) {
            std::future::pending::<()>().await;
        }
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        let lifetime = {
            let mut state = self.state();
            state.faults.clear();
            state.lifetime
        };
        self.signal.send_replace(ServerState::Up { lifetime });
    }

    /// Loses counters, and everything that was applied since the start.
    pub async fn restart(&self) {
        let desired = self.state().desired.clone();
        let wanted = match desired {
            Some(desired) => desired.desired().await.unwrap(),
            None => Default::default(),
        };
        let lifetime = {
            let mut state = self.state();
            state.counters.clear();
            state.sessions.clear();
            state.online.clear();
            state.inbounds.clear();
            state.revoked.clear();
            for revocation in wanted.revoked {
                let revoked = state.revoked.entry(revocation.inbound.tag().clone()).or_default();
                revoked.insert(revocation.certificate.serial);
            }
            for (inbound, accounts) in wanted.inbounds {
                if !state.faults.contains(&Fault::RefuseInbound(inbound.tag.clone())) {
                    state.put(&inbound, &accounts);
                }
            }
            state.lifetime += 1;
            state.lifetime
        };
        self.signal.send_replace(ServerState::Up { lifetime });
    }

    /// Bytes pass for a key.
    pub fn pass(&self, key: KeyId, traffic: Traffic) {
        let mut state = self.state();
        match self.counting {
            Counting::Accounts => {
                let counter = state.counters.entry(key).or_default();
                *counter = counter.plus(traffic);
            }
            Counting::Sessions | Counting::Peers => state.pass_in_session(key, traffic),
        }
        state.online.entry(key).or_default();
    }

    /// A key has connections open from these addresses, or none.
    pub fn set_online(&self, key: KeyId, from: &[IpAddr]) {
        let mut state = self.state();
        match from {
            [] => drop(state.online.remove(&key)),
            from => drop(state.online.insert(key, from.to_vec())),
        }
    }

    /// The session of a key ends by itself; returns whether there was one.
    pub fn end_session(&self, key: KeyId) -> bool {
        self.state().end_session(key)
    }

    /// Whether somebody who shows a certificate could connect on an inbound: as with OpenVPN, everybody who has
    /// one that is signed and not revoked.
    pub fn lets_in_certificate(&self, serial: u64, tag: &str) -> bool {
        let tag = InboundTag::new(tag).unwrap();
        let state = self.state();
        let revoked = state.revoked.get(&tag).is_some_and(|revoked| revoked.contains(&serial));
        state.inbounds.contains_key(&tag) && !revoked
    }

    /// The addresses of a key on an inbound.
    pub fn addresses(&self, key: KeyId, tag: &str) -> Vec<IpAddr> {
        let tag = InboundTag::new(tag).unwrap();
        let state = self.state();
        let Some((inbound, accounts)) = state.inbounds.get(&tag) else { return Vec::new() };
        let slots = accounts.values().filter(|account| account.key == key).filter_map(|account| account.slot);
        slots.flat_map(|slot| inbound.addresses.iter().flat_map(move |pool| pool.addresses(slot))).collect()
    }

    /// The keys whose counters it was asked for by themselves, in order.
    pub fn asked(&self) -> Vec<KeyId> {
        self.state().asked.clone()
    }

    /// How many steps it was asked to take.
    pub fn steps(&self) -> usize {
        self.state().steps
    }

    /// The port of an inbound that it runs.
    pub fn port(&self, tag: &str) -> Option<u16> {
        let tag = InboundTag::new(tag).unwrap();
        self.state().inbounds.get(&tag).map(|(inbound, _)| inbound.port)
    }

    /// Whether it was started and not closed since.
    pub fn is_running(&self) -> bool {
        !matches!(*self.signal.borrow(), ServerState::Stopped)
    }

    /// Whether a key has a connection open.
    pub fn is_online(&self, key: KeyId) -> bool {
        self.state().online.contains_key(&key)
    }

    /// Whether a client with this key could connect on an inbound.
    pub fn lets_in(&self, key: KeyId, tag: &str) -> bool {
        let tag = InboundTag::new(tag).unwrap();
        let state = self.state();
        state.inbounds.get(&tag).is_some_and(|(_, accounts)| accounts.keys().any(|(id, _)| *id == key))
    }

    /// The devices of a key's accounts on an inbound.
    pub fn devices(&self, key: KeyId, tag: &str) -> Vec<DeviceName> {
        let tag = InboundTag::new(tag).unwrap();
        let state = self.state();
        let accounts = state.inbounds.get(&tag).into_iter().flat_map(|(_, accounts)| accounts.keys());
        accounts.filter(|(id, _)| *id == key).map(|(_, device)| device.clone()).collect()
    }

    /// Somebody removes the accounts of a key by hand.
    pub fn lose(&self, key: KeyId) {
        for (_, accounts) in self.state().inbounds.values_mut() {
            accounts.retain(|(owner, _), _| *owner != key);
        }
    }

    /// The keys whose connections were cut, in order.
    pub fn cut(&self) -> Vec<KeyId> {
        self.state().cut.clone()
    }

    fn answer(&self, operation: &'static str) -> Result<MutexGuard<'_, State>> {
        let state = self.state();
        if state.faults.contains(&Fault::Down) {
            return Err(Error::new(ErrorKind::Unavailable, operation, "told to be down"));
        }
        Ok(state)
    }
}

fn online(key: KeyId, from: &[IpAddr]) -> OnlineKey {
    let address = |address: &IpAddr| OnlineAddress { address: *address, since: Timestamp::default() };
    OnlineKey { key, addresses: from.iter().map(address).collect() }
}

impl State {
    fn end_session(&mut self, key: KeyId) -> bool {
        self.online.remove(&key);
        let open = self.sessions.iter_mut().find(|session| session.key == key && !session.ended);
        open.map(|session| session.ended = true).is_some()
    }

    fn pass_in_session(&mut self, key: KeyId, traffic: Traffic) {
        match self.sessions.iter_mut().find(|session| session.key == key && !session.ended) {
            Some(session) => session.traffic = session.traffic.plus(traffic),
            None => {
                self.newest_session += 1;
                let name = self.newest_session;
                self.sessions.push(Session { key, name, traffic, ended: false, told: None });
            }
        }
    }

    /// The sessions, without those whose end stands in a reading that was stored.
    fn read_sessions(&mut self, stored: u64) -> Vec<Counter> {
        self.sessions.retain(|session| session.told.is_none_or(|told| told > stored));
        let reading = self.readings;
        let mut counters = Vec::new();
        for session in &mut self.sessions {
            if session.ended {
                session.told.get_or_insert(reading);
            }
            counters.push(Counter {
                series: Series::new(&session.name.to_string()),
                ended: session.ended,
                ..Counter::of(session.key, session.traffic)
            });
        }
        counters
    }

    fn put(&mut self, inbound: &Inbound, accounts: &[Account]) {
        let accounts = accounts.iter().map(|a| ((a.key, a.device.clone()), a.clone())).collect();
        self.inbounds.insert(inbound.tag.clone(), (inbound.clone(), accounts));
    }

    fn step(&mut self, change: &Change, counting: Counting) -> Result<()> {
        let no_inbound = |tag: &InboundTag| {
            Error::new(ErrorKind::NotFound, "fake.apply", "the server has no such inbound")
                .with("inbound", tag)
        };
        match change {
            Change::PutInbound(inbound, accounts) => {
                if self.faults.contains(&Fault::RefuseInbound(inbound.tag.clone())) {
                    return Err(Error::new(ErrorKind::Rejected, "fake.apply", "told to refuse the inbound"));
                }
                self.put(inbound, accounts);
            }
            Change::RemoveInbound(tag) => {
                self.inbounds.remove(tag);
                self.revoked.remove(tag);
            }
            Change::PutAccount(inbound, account) => {
                if self.faults.contains(&Fault::Refuse(account.key)) {
                    return Err(Error::new(ErrorKind::Rejected, "fake.apply", "told to refuse")
                        .with("key", account.key));
                }
                if inbound.protocol.credential() != account.secret.protocol() {
                    return Err(Error::new(
                        ErrorKind::Rejected,
                        "fake.apply",
                        "the credential is of another protocol",
                    ));
                }
                let (held, accounts) =
                    self.inbounds.get_mut(&inbound.tag).ok_or_else(|| no_inbound(&inbound.tag))?;
                fits(held, accounts, account)?;
                accounts.insert((account.key, account.device.clone()), account.clone());
            }
            Change::RemoveAccount(tag, key, device) => {
                let removed = self
                    .inbounds
                    .get_mut(tag)
                    .and_then(|(_, accounts)| accounts.remove(&(*key, device.clone())));
                if removed.is_some() && counting == Counting::Peers {
                    self.end_session(*key);
                }
            }
            Change::Revoke(tag, revocation) => {
                if self.inbounds.contains_key(tag) {
                    self.revoked.entry(tag.clone()).or_default().insert(revocation.certificate.serial);
                }
            }
        }
        Ok(())
    }
}

/// Refuses an account that lacks what its inbound asks for, or whose address another one has.
fn fits(inbound: &Inbound, accounts: &Accounts, account: &Account) -> Result<()> {
    let refused =
        |message: &str| Err(Error::new(ErrorKind::Rejected, "fake.apply", message).with("key", account.key));
    if inbound.certificate_lifetime.is_some() && account.certificate.is_none() {
        return refused("the account has no certificate");
    }
    let Some(pool) = &inbound.addresses else { return Ok(()) };
    let Some(slot) = account.slot.filter(|slot| *slot < pool.capacity()) else {
        return refused("the account has no address of the inbound");
    };
    let other = |held: &Account| (held.key, &held.device) != (account.key, &account.device);
    match accounts.values().any(|held| held.slot == Some(slot) && other(held)) {
        true => refused("another account has this address"),
        false => Ok(()),
    }
}

/// What is known of every [`FakeServer`]: it runs any inbound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FakeRules;

impl ServerRules for FakeRules {
    fn program(&self) -> &'static str {
        "fake"
    }

    fn complete(&self, inbound: &mut Inbound, before: Option<&Inbound>) {
        let Security::Reality(reality) = &mut inbound.security else { return };
        if !reality.private_key.is_empty() {
            if reality.public_key.is_empty() {
                reality.public_key = format!("fake-{}", reality.private_key.expose());
            }
            return;
        }
        if let Some(Security::Reality(held)) = before.map(|before| &before.security) {
            reality.private_key = held.private_key.clone();
            reality.public_key.clone_from(&held.public_key);
            reality.short_ids.clone_from(&held.short_ids);
            return;
        }
        reality.private_key = Secret::new(format!("fake-{}", ShortId::generate().as_str()));
        reality.public_key = format!("fake-{}", ShortId::generate().as_str());
        if reality.short_ids.is_empty() {
            reality.short_ids = vec![ShortId::generate()];
        }
    }

    fn check(&self, inbound: &Inbound) -> Result<()> {
        match inbound.port {
            0 => Err(Error::invalid("fake.check", "port", "must not be 0")),
            _ => Ok(()),
        }
    }

    fn account_fingerprint(&self, _inbound: &Inbound, account: &Account) -> Fingerprint {
        let serial = account.certificate.map(|certificate| certificate.serial);
        Fingerprint::of([account.secret.expose(), format!("{:?} {serial:?}", account.slot)])
    }

    fn inbound_fingerprint(&self, inbound: &Inbound) -> Fingerprint {
        Fingerprint::of([Secret::reveal(|| serde_json::to_string(inbound)).unwrap_or_default()])
    }

    fn endpoint(
        &self,
        key: KeyId,
        credential: &Credential,
        inbound: &Inbound,
        host: &ResolvedHost,
    ) -> Result<Endpoint> {
        Endpoint::of(key, credential, inbound, host)
    }
}

#[async_trait]
impl ProtocolBackend for FakeServer {
    fn id(&self) -> &ServerId {
        &self.id
    }

    fn node(&self) -> &NodeId {
        &self.node
    }

    fn rules(&self) -> Arc<dyn ServerRules> {
        Arc::new(FakeRules)
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::NONE;
        capabilities.live_accounts = true;
        capabilities.live_inbounds = true;
        capabilities.live_counters = true;
        capabilities.cut_live = true;
        capabilities.managed = true;
        capabilities
    }

    async fn issue(&self, request: &CredentialRequest) -> Result<CredentialSecret> {
        self.answered().await;
        drop(self.answer("fake.issue")?);
        let certifies = request.inbound.as_ref().is_some_and(|i| i.certificate_lifetime.is_some());
        if certifies != request.certificate.is_some() {
            return Err(Error::new(ErrorKind::Unexpected, "fake.issue", "asked for the wrong thing"));
        }
        Ok(CredentialSecret::generate(request.protocol))
    }

    async fn start(&self, desired: Arc<dyn Desired>) -> Result<()> {
        self.answered().await;
        if self.state().faults.contains(&Fault::Start) {
            return Err(Error::new(ErrorKind::BinaryMissing, "fake.start", "told not to start"));
        }
        self.state().desired = Some(desired);
        self.restart().await;
        Ok(())
    }

    fn state(&self) -> watch::Receiver<ServerState> {
        self.signal.subscribe()
    }

    async fn apply(&self, changes: &[Change]) -> Result<Vec<Result<()>>> {
        self.answered().await;
        let mut state = self.answer("fake.apply")?;
        state.steps += changes.len();
        let outcomes = changes.iter().map(|change| state.step(change, self.counting)).collect();
        if state.faults.contains(&Fault::AnswerLost) {
            return Err(Error::new(ErrorKind::Unavailable, "fake.apply", "told to lose the answer"));
        }
        Ok(outcomes)
    }

    async fn observe(&self) -> Result<Observed> {
        self.answered().await;
        let state = self.answer("fake.observe")?;
        let mut observed = Observed::default();
        for (tag, (inbound, accounts)) in &state.inbounds {
            let accounts = accounts
                .iter()
                .map(|(id, a)| (id.clone(), FakeRules.account_fingerprint(inbound, a)))
                .collect();
            let fingerprint = Some(FakeRules.inbound_fingerprint(inbound));
            let revoked = state.revoked.get(tag).cloned().unwrap_or_default();
            observed.inbounds.insert(tag.clone(), ObservedInbound { fingerprint, accounts, revoked });
        }
        Ok(observed)
    }

    async fn disconnect(&self, keys: &[KeyId], _inbounds: &[Arc<Inbound>]) -> Result<usize> {
        self.answered().await;
        let mut state = self.answer("fake.disconnect")?;
        if state.faults.contains(&Fault::Disconnect) {
            return Err(Error::new(ErrorKind::Unavailable, "fake.disconnect", "told not to cut"));
        }
        let cut: Vec<KeyId> = keys.iter().copied().filter(|key| state.online.remove(key).is_some()).collect();
        state.cut.extend(&cut);
        Ok(cut.len())
    }

    async fn health(&self) -> Result<Health> {
        self.answered().await;
        drop(self.answer("fake.health")?);
        Ok(Health { version: "fake".into(), uptime: Duration::ZERO, warnings: Vec::new() })
    }

    fn log(&self, _lines: usize) -> Vec<String> {
        Vec::new()
    }

    async fn close(&self) -> Result<()> {
        self.signal.send_replace(ServerState::Stopped);
        Ok(())
    }

    async fn stop(&self) -> Result<()> {
        self.close().await
    }
}

#[async_trait]
impl TrafficSource for FakeServer {
    fn server(&self) -> &ServerId {
        &self.id
    }

    async fn read(&self, last: Option<Epoch>) -> Result<Reading> {
        self.answered().await;
        let mut state = self.answer("fake.read")?;
        if state.faults.contains(&Fault::Read) {
            return Err(Error::new(ErrorKind::Unavailable, "fake.read", "told to fail"));
        }
        state.readings += 1;
        let id = format!("{}-{}", self.instance, state.lifetime);
        // The evidence is the number of the reading: the one that comes back is the newest that was stored.
        let stored = last.filter(|last| last.id == id).and_then(|last| last.evidence.parse().ok());
        let epoch = Epoch { id, evidence: state.readings.to_string() };
        let mut counters: Vec<Counter> =
            state.counters.iter().map(|(key, traffic)| Counter::of(*key, *traffic)).collect();
        counters.extend(state.read_sessions(stored.unwrap_or(0)));
        Ok(Reading { epoch, counters, foreign: 0 })
    }

    async fn read_keys(&self, epoch: &Epoch, accounts: &[(KeyId, DeviceName)]) -> Result<Option<Reading>> {
        self.answered().await;
        let keys: BTreeSet<KeyId> = accounts.iter().map(|(key, _)| *key).collect();
        self.answer("fake.read_keys")?.asked.extend(&keys);
        let mut reading = self.read(Some(epoch.clone())).await?;
        reading.counters.retain(|counter| keys.contains(&counter.key));
        Ok((reading.epoch.id == epoch.id).then_some(reading))
    }

    async fn online(&self) -> Result<Vec<OnlineKey>> {
        let state = self.answer("fake.online")?;
        Ok(state.online.iter().map(|(key, from)| online(*key, from)).collect())
    }

    async fn online_key(&self, key: KeyId) -> Result<Option<OnlineKey>> {
        let state = self.answer("fake.online_key")?;
        Ok(state.online.get(&key).map(|from| online(key, from)))
    }
}
