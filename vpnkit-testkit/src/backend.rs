//! The suite of backends.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use vpnkit_core::backend::{
    Account, Change, CredentialRequest, Desired, DesiredState, Observed, ProtocolBackend, ServerState,
};
use vpnkit_core::model::{
    CertificateTerm, Credential, CredentialKind, CredentialSecret, DeviceName, Inbound, KeyId, NodeId,
    Revocation,
};
use vpnkit_core::subscription::ResolvedHost;
use vpnkit_core::{Clock as _, ErrorKind, Result, SystemClock, async_trait};
use vpnkit_engine::engine::difference;

/// A backend, and an inbound that it can run.
#[derive(Debug)]
pub struct Subject {
    /// The backend, not started yet.
    pub backend: Arc<dyn ProtocolBackend>,
    /// An inbound that it can run, not added yet.
    pub inbound: Inbound,
    /// Opens connections, where the suite is to see them cut.
    pub clients: Option<Arc<dyn Clients>>,
    /// Dropped after the case.
    pub keep: Box<dyn Any + Send + Sync>,
}

/// Clients of a server.
#[async_trait]
pub trait Clients: Debug + Send + Sync {
    /// Opens a connection with an account that is installed.
    async fn connect(&self, inbound: &Inbound, account: &Account);
    /// Whether a connection of a key is still open.
    async fn is_connected(&self, key: KeyId) -> bool;
}

crate::suite!($ backend_conformance, backend, "Tests that the backends of an `async fn() -> backend::Subject` keep the promises.", [
    a_start_brings_what_is_desired,
    capabilities_are_constant,
    what_was_applied_is_observed,
    applying_twice_changes_nothing,
    removing_what_is_not_there_is_fine,
    a_replaced_account_has_another_fingerprint,
    one_bad_step_does_not_stop_the_others,
    an_inbound_is_replaced_with_its_accounts,
    applying_the_difference_leaves_none,
    issued_secrets_differ_and_do_not_print,
    disconnecting_who_is_not_there_is_fine,
    a_closed_backend_says_so,
], needing [connections_of_ended_keys_are_cut, two_accounts_do_not_share_an_address, what_was_revoked_is_observed]);

/// Of the certificates of a suite.
static SERIALS: AtomicU64 = AtomicU64::new(1);

/// What a suite starts a backend with.
#[derive(Debug)]
struct Wanted(DesiredState);

#[async_trait]
impl Desired for Wanted {
    async fn desired(&self) -> Result<DesiredState> {
        Ok(self.0.clone())
    }

    fn store_id(&self) -> &str {
        "5017e5a1"
    }
}

/// A backend that was started with nothing desired.
pub async fn started(backend: Arc<dyn ProtocolBackend>) -> Arc<dyn ProtocolBackend> {
    start(&backend, DesiredState::default()).await;
    backend
}

async fn start(backend: &Arc<dyn ProtocolBackend>, desired: DesiredState) {
    backend.start(Arc::new(Wanted(desired))).await.expect("it starts");
    let up = matches!(*backend.state().borrow(), ServerState::Up { .. });
    assert!(up, "a server that was started is up");
}

/// Also inbounds and accounts that nobody applies: a server that was away has them from the start.
pub async fn a_start_brings_what_is_desired(s: Subject) {
    let (a, b) = (account(&s, 1).await, account(&s, 2).await);
    let inbound = Arc::new(s.inbound.clone());
    let desired =
        DesiredState { inbounds: vec![(Arc::clone(&inbound), vec![a, b])], ..DesiredState::default() };
    start(&s.backend, desired.clone()).await;
    let seen = observed(&s).await;
    assert_eq!(keys(&seen, &inbound), [1, 2], "a start installs the accounts that are desired");
    let left = difference(s.backend.rules().as_ref(), &desired, &seen);
    assert!(left.is_empty(), "a start leaves a difference: {left:?}");
}

/// Those of others stay.
pub async fn connections_of_ended_keys_are_cut(s: Subject) -> bool {
    let (true, Some(clients)) = (s.backend.capabilities().cut_live, s.clients.clone()) else { return false };
    let inbound = with_inbound(&s).await;
    for key in [1, 2] {
        let account = account(&s, key).await;
        apply(&s, &[Change::PutAccount(Arc::clone(&inbound), account.clone())]).await;
        clients.connect(&inbound, &account).await;
    }
    apply(&s, &[Change::RemoveAccount(inbound.tag.clone(), KeyId(1), DeviceName::default())]).await;
    let cut = s.backend.disconnect(&[KeyId(1)], std::slice::from_ref(&inbound)).await.unwrap();
    assert!(cut >= 1, "it says how many connections were cut");
    assert!(!clients.is_connected(KeyId(1)).await, "a key that has ended is still connected");
    assert!(clients.is_connected(KeyId(2)).await, "another key was cut too");
    true
}

/// The second one is refused; when the first one is gone it is installed.
pub async fn two_accounts_do_not_share_an_address(s: Subject) -> bool {
    if s.inbound.addresses.is_none() {
        return false;
    }
    let inbound = with_inbound(&s).await;
    let first = account(&s, 1).await;
    let second = Account { slot: first.slot, ..account(&s, 2).await };
    apply(&s, &[Change::PutAccount(Arc::clone(&inbound), first.clone())]).await;
    let put = Change::PutAccount(Arc::clone(&inbound), second);
    let refused = s.backend.apply(std::slice::from_ref(&put)).await.unwrap().remove(0);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Rejected);
    assert_eq!(keys(&observed(&s).await, &inbound), [1]);
    let moved = Account { slot: Some(3), ..first };
    apply(&s, &[Change::PutAccount(Arc::clone(&inbound), moved.clone()), put]).await;
    let seen = observed(&s).await;
    assert_eq!(keys(&seen, &inbound), [1, 2]);
    let print = s.backend.rules().account_fingerprint(&inbound, &moved);
    assert_eq!(seen.inbounds[&inbound.tag].accounts[&(KeyId(1), DeviceName::default())], print);
    true
}

/// Also when it was revoked while the server was away.
pub async fn what_was_revoked_is_observed(s: Subject) -> bool {
    if s.inbound.certificate_lifetime.is_none() {
        return false;
    }
    let revocation = |key: i64, certificate: Option<CertificateTerm>| Revocation {
        inbound: s.inbound.id(),
        key: KeyId(key),
        certificate: certificate.unwrap(),
        revoked_at: SystemClock.now(),
    };
    let (a, b) = (account(&s, 1).await, account(&s, 2).await);
    let (a, b) = (revocation(1, a.certificate), revocation(2, b.certificate));
    let inbound = Arc::new(s.inbound.clone());
    let mut desired =
        DesiredState { inbounds: vec![(Arc::clone(&inbound), Vec::new())], ..Default::default() };
    desired.revoked.push(a.clone());
    start(&s.backend, desired.clone()).await;
    let seen = observed(&s).await.inbounds[&inbound.tag].revoked.clone();
    assert_eq!(seen, [a.certificate.serial].into());
    desired.revoked.push(b.clone());
    let steps = difference(s.backend.rules().as_ref(), &desired, &observed(&s).await);
    assert_eq!(steps.accounts, [Change::Revoke(inbound.tag.clone(), b)]);
    apply(&s, &steps.accounts).await;
    apply(&s, &steps.accounts).await;
    assert!(difference(s.backend.rules().as_ref(), &desired, &observed(&s).await).is_empty());
    // Where the inbound is not there, there is nothing to refuse.
    apply(&s, &[Change::RemoveInbound(inbound.tag.clone())]).await;
    apply(&s, &steps.accounts).await;
    true
}

async fn account(s: &Subject, key: i64) -> Account {
    let protocol = s.inbound.protocol.credential();
    let mut request = CredentialRequest::of(protocol, DeviceName::default());
    request.inbound = s.inbound.own_credentials().then(|| Arc::new(s.inbound.clone()));
    let serial = SERIALS.fetch_add(1, Ordering::Relaxed);
    let term = |lifetime| CertificateTerm { serial, expires_at: SystemClock.now().plus(lifetime) };
    request.certificate = s.inbound.certificate_lifetime.map(term);
    let secret = s.backend.issue(&request).await.unwrap();
    Account {
        slot: s.inbound.addresses.and_then(|_| u32::try_from(key).ok()),
        certificate: request.certificate,
        ..Account::of(KeyId(key), DeviceName::default(), secret)
    }
}

async fn apply(s: &Subject, changes: &[Change]) {
    for outcome in s.backend.apply(changes).await.unwrap() {
        outcome.unwrap();
    }
}

async fn with_inbound(s: &Subject) -> Arc<Inbound> {
    if matches!(*s.backend.state().borrow(), ServerState::Stopped) {
        start(&s.backend, DesiredState::default()).await;
    }
    let inbound = Arc::new(s.inbound.clone());
    apply(s, &[Change::PutInbound(Arc::clone(&inbound), Vec::new())]).await;
    inbound
}

fn keys(observed: &Observed, inbound: &Inbound) -> Vec<i64> {
    observed
        .inbounds
        .get(&inbound.tag)
        .map(|i| i.accounts.keys().map(|(k, _)| k.0).collect())
        .unwrap_or_default()
}

async fn observed(s: &Subject) -> Observed {
    s.backend.observe().await.unwrap()
}

/// Also after something has happened.
pub async fn capabilities_are_constant(s: Subject) {
    let before = s.backend.capabilities();
    with_inbound(&s).await;
    assert_eq!(s.backend.capabilities(), before);
    assert_eq!(s.backend.node(), &NodeId::main());
    s.backend.health().await.unwrap();
}

/// With the fingerprints that the pure methods promise.
pub async fn what_was_applied_is_observed(s: Subject) {
    let inbound = with_inbound(&s).await;
    let (a, b) = (account(&s, 1).await, account(&s, 2).await);
    let slot = s.inbound.addresses.map(|_| 3);
    let phone = Account { device: DeviceName::new("phone").unwrap(), slot, ..account(&s, 2).await };
    let puts = [&a, &b, &phone].map(|a| Change::PutAccount(Arc::clone(&inbound), a.clone()));
    apply(&s, &puts).await;
    let seen = observed(&s).await;
    let held = &seen.inbounds[&inbound.tag];
    assert_eq!(held.fingerprint, Some(s.backend.rules().inbound_fingerprint(&inbound)));
    assert_eq!(held.accounts.len(), 3);
    for account in [&a, &b, &phone] {
        let id = (account.key, account.device.clone());
        assert_eq!(held.accounts[&id], s.backend.rules().account_fingerprint(&inbound, account));
    }
    apply(&s, &[Change::RemoveAccount(inbound.tag.clone(), KeyId(2), DeviceName::default())]).await;
    assert_eq!(observed(&s).await.inbounds[&inbound.tag].accounts.len(), 2);
}

/// For every kind of step.
pub async fn applying_twice_changes_nothing(s: Subject) {
    let inbound = with_inbound(&s).await;
    let steps = [
        Change::PutInbound(Arc::clone(&inbound), Vec::new()),
        Change::PutAccount(Arc::clone(&inbound), account(&s, 1).await),
    ];
    apply(&s, &steps).await;
    let before = observed(&s).await;
    apply(&s, &steps[1..]).await;
    assert_eq!(observed(&s).await, before);
}

/// Accounts, and inbounds.
pub async fn removing_what_is_not_there_is_fine(s: Subject) {
    start(&s.backend, DesiredState::default()).await;
    let tag = s.inbound.tag.clone();
    let account = Change::RemoveAccount(tag.clone(), KeyId(7), DeviceName::default());
    apply(&s, &[account.clone(), Change::RemoveInbound(tag)]).await;
    with_inbound(&s).await;
    apply(&s, &[account]).await;
}

/// And only the new secret is installed.
pub async fn a_replaced_account_has_another_fingerprint(s: Subject) {
    let inbound = with_inbound(&s).await;
    let (old, new) = (account(&s, 1).await, account(&s, 1).await);
    apply(&s, &[Change::PutAccount(Arc::clone(&inbound), old.clone())]).await;
    apply(&s, &[Change::PutAccount(Arc::clone(&inbound), new.clone())]).await;
    let held = observed(&s).await.inbounds[&inbound.tag].accounts.clone();
    assert_eq!(
        held.into_values().collect::<Vec<_>>(),
        [s.backend.rules().account_fingerprint(&inbound, &new)]
    );
    assert_ne!(
        s.backend.rules().account_fingerprint(&inbound, &old),
        s.backend.rules().account_fingerprint(&inbound, &new)
    );
}

/// A credential of another protocol is refused, the server survives, the neighbours are installed.
pub async fn one_bad_step_does_not_stop_the_others(s: Subject) {
    let inbound = with_inbound(&s).await;
    let right = inbound.protocol.credential();
    let wrong = CredentialKind::ALL.iter().copied().find(|p| *p != right).unwrap();
    let bad = Account { secret: CredentialSecret::generate(wrong), ..account(&s, 2).await };
    let steps = [account(&s, 1).await, bad, account(&s, 3).await]
        .map(|account| Change::PutAccount(Arc::clone(&inbound), account));
    let outcomes = s.backend.apply(&steps).await.unwrap();
    assert_eq!(outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(outcomes[1].as_ref().unwrap_err().kind(), ErrorKind::Rejected);
    assert_eq!(keys(&observed(&s).await, &inbound), [1, 3]);
}

/// Those that are not named go.
pub async fn an_inbound_is_replaced_with_its_accounts(s: Subject) {
    let inbound = with_inbound(&s).await;
    let (a, b) = (account(&s, 1).await, account(&s, 2).await);
    apply(&s, &[Change::PutAccount(Arc::clone(&inbound), a)]).await;
    apply(&s, &[Change::PutInbound(Arc::clone(&inbound), vec![b])]).await;
    assert_eq!(keys(&observed(&s).await, &inbound), [2]);
    apply(&s, &[Change::RemoveInbound(inbound.tag.clone())]).await;
    assert!(!observed(&s).await.inbounds.contains_key(&inbound.tag));
}

/// From any state to any other.
pub async fn applying_the_difference_leaves_none(s: Subject) {
    let inbound = with_inbound(&s).await;
    let mut accounts = Vec::new();
    for key in 1..=6 {
        accounts.push(account(&s, key).await);
    }
    let start: Vec<_> =
        accounts[..4].iter().map(|a| Change::PutAccount(Arc::clone(&inbound), a.clone())).collect();
    apply(&s, &start).await;
    let wanted = vec![account(&s, 1).await, accounts[1].clone(), accounts[4].clone(), accounts[5].clone()];
    let full = DesiredState { inbounds: vec![(Arc::clone(&inbound), wanted)], ..DesiredState::default() };
    for desired in [full.clone(), DesiredState::default(), full] {
        let steps = difference(s.backend.rules().as_ref(), &desired, &observed(&s).await);
        assert!(!steps.is_empty());
        apply(&s, &steps.inbounds).await;
        apply(&s, &steps.accounts).await;
        let left = difference(s.backend.rules().as_ref(), &desired, &observed(&s).await);
        assert!(left.is_empty(), "{left:?}");
    }
}

/// Neither in `Debug` of what holds them.
pub async fn issued_secrets_differ_and_do_not_print(s: Subject) {
    let (a, b) = (account(&s, 1).await, account(&s, 2).await);
    assert_ne!(a.secret, b.secret);
    let inbound = with_inbound(&s).await;
    let credential = Credential {
        inbound: s.inbound.own_credentials().then(|| s.inbound.id()),
        slot: a.slot,
        certificate: a.certificate,
        ..Credential::new(a.device.clone(), a.secret.clone())
    };
    let host = ResolvedHost::at("192.0.2.1");
    let endpoint = s.backend.rules().endpoint(a.key, &credential, &inbound, &host).unwrap();
    assert_eq!((endpoint.port, endpoint.address.as_str()), (inbound.port, "192.0.2.1"));
    let change = Change::PutAccount(inbound, a.clone());
    for text in [format!("{a:?}"), format!("{change:?}"), format!("{endpoint:?}"), format!("{:?}", s.backend)]
    {
        assert!(!text.contains(&a.secret.expose()), "{text}");
    }
}

/// With and without the capability.
pub async fn disconnecting_who_is_not_there_is_fine(s: Subject) {
    let inbound = with_inbound(&s).await;
    assert_eq!(s.backend.disconnect(&[KeyId(1)], &[inbound]).await.unwrap(), 0);
}

/// Closing twice is fine.
pub async fn a_closed_backend_says_so(s: Subject) {
    start(&s.backend, DesiredState::default()).await;
    s.backend.close().await.unwrap();
    s.backend.close().await.unwrap();
    assert_eq!(*s.backend.state().borrow(), ServerState::Stopped);
}
