//! Cases of credentials that are for one inbound: addresses, serial numbers, certificates.

use std::collections::BTreeSet;
use std::time::Duration;

use vpnkit_core::model::{
    AddressPool, CertificateTerm, CreateKey, Credential, CredentialKind, CredentialSecret, DeviceName,
    Inbound, InboundId, InboundSelection, InboundTag, Key, KeyPatch, NodeId, Protocol, Revocation,
};
use vpnkit_core::store::{InboundOp, KeyOp, Made, Retention, StoreOp};
use vpnkit_core::{Error, ErrorKind};

use super::{Subject, at, commit, create, created, get, patch};

/// Three addresses of each family.
fn tunnel(tag: &str, port: u16) -> Inbound {
    let pool =
        AddressPool { v4: Some("10.8.0.0/29".parse().unwrap()), v6: Some("fd00::/64".parse().unwrap()) };
    Inbound::new(InboundTag::new(tag).unwrap(), port, Protocol::Vless { vision: false }).addresses(pool)
}

async fn put(s: &Subject, inbound: &Inbound) -> Result<(), Error> {
    commit(s, [InboundOp::Put(Box::new(inbound.clone()))]).await.map(drop)
}

fn bound(inbound: &Inbound) -> Credential {
    Credential::generate(CredentialKind::Vless).only_on(inbound.id())
}

fn on(inbounds: &[&Inbound]) -> CreateKey {
    CreateKey { credentials: inbounds.iter().map(|inbound| bound(inbound)).collect(), ..CreateKey::default() }
}

fn slots(key: &Key) -> Vec<Option<u32>> {
    key.credentials.iter().map(|credential| credential.slot).collect()
}

fn certificate(mut credential: Credential, serial: u64, seconds: u64) -> Credential {
    let expires_at = at().plus(Duration::from_secs(seconds));
    credential.certificate = Some(CertificateTerm { serial, expires_at });
    credential
}

async fn revoked(s: &Subject, inbound: &InboundId) -> Vec<Revocation> {
    s.store.revocations(inbound, at()).await.unwrap()
}

fn serials(revoked: &[Revocation]) -> Vec<u64> {
    revoked.iter().map(|one| one.certificate.serial).collect()
}

/// One of each inbound, and the device keeps it when its secret is replaced.
pub async fn an_address_is_given_with_the_credential(s: Subject) {
    let (one, two) = (tunnel("one", 1), tunnel("two", 2));
    put(&s, &one).await.unwrap();
    put(&s, &two).await.unwrap();
    let first = created(&s, on(&[&one, &two])).await;
    let second = created(&s, on(&[&two])).await;
    assert_eq!((slots(&first), slots(&second)), (vec![Some(0), Some(0)], vec![Some(1)]));
    assert_eq!(get(&s, first.id).await.unwrap(), first, "what was given is what is read");
    let page = s.store.find(&Default::default()).await.unwrap();
    assert_eq!(page.keys, [first.clone(), second.clone()]);
    let device = |name| Credential { device: DeviceName::new(name).unwrap(), ..bound(&two) };
    let rotated = bound(&two);
    let change =
        KeyPatch { credentials: vec![device("phone"), device("tv"), rotated.clone()], ..KeyPatch::default() };
    let after = commit(&s, [patch(second.id, change)]).await.unwrap().keys.remove(0);
    assert_eq!(slots(&after), [Some(1), Some(2), Some(3)]);
    assert_eq!(after.credentials[0].secret, rotated.secret);
    assert_eq!(get(&s, second.id).await.unwrap(), after);
    // One and the same device may be on several inbounds of a protocol, and on all others with one more credential.
    let all =
        KeyPatch { credentials: vec![Credential::generate(CredentialKind::Vless)], ..KeyPatch::default() };
    let after = commit(&s, [patch(first.id, all)]).await.unwrap().keys.remove(0);
    assert_eq!(slots(&after), [None, Some(0), Some(0)]);
}

/// And nothing is half done; one that was given back is given again.
pub async fn a_pool_that_is_full_gives_no_address(s: Subject) {
    let mut inbound = tunnel("pool", 1);
    put(&s, &inbound).await.unwrap();
    let mut keys = Vec::new();
    for _ in 0..5 {
        keys.push(created(&s, on(&[&inbound])).await);
    }
    let before = s.store.newest_event().await.unwrap();
    let ops = [create(CreateKey::named("fine")), create(on(&[&inbound]))];
    let full = commit(&s, ops).await.unwrap_err();
    assert_eq!((full.kind(), full.get("inbound")), (ErrorKind::LimitReached, Some("main/pool")));
    assert_eq!(s.store.newest_event().await.unwrap(), before);
    for gap in [keys[0].id, keys[2].id] {
        commit(&s, [KeyOp::Delete { key: gap, expected: None }]).await.unwrap();
    }
    assert_eq!(slots(&created(&s, on(&[&inbound])).await), [Some(0)]);
    assert_eq!(slots(&created(&s, on(&[&inbound])).await), [Some(2)]);
    assert_eq!(commit(&s, [create(on(&[&inbound]))]).await.unwrap_err().kind(), ErrorKind::LimitReached);
    // A larger network keeps what was given; a smaller one is refused.
    inbound.addresses = Some(AddressPool { v4: Some("10.9.0.0/24".parse().unwrap()), v6: None });
    put(&s, &inbound).await.unwrap();
    assert_eq!(slots(&created(&s, on(&[&inbound])).await), [Some(5)]);
    let small = tunnel("pool", 1);
    let refused = put(&s, &small).await.unwrap_err();
    assert_eq!((refused.kind(), refused.get("needed")), (ErrorKind::LimitReached, Some("6")));
}

/// As those do that move in from elsewhere.
pub async fn an_address_may_be_asked_for(s: Subject) {
    let inbound = tunnel("pool", 1);
    put(&s, &inbound).await.unwrap();
    let asking = |slot| CreateKey {
        credentials: vec![Credential { slot: Some(slot), ..bound(&inbound) }],
        ..CreateKey::default()
    };
    assert_eq!(slots(&created(&s, asking(3)).await), [Some(3)]);
    let taken = commit(&s, [create(asking(3))]).await.unwrap_err();
    assert_eq!((taken.kind(), taken.get("field")), (ErrorKind::AlreadyExists, Some("credentials")));
    let outside = commit(&s, [create(asking(5))]).await.unwrap_err();
    assert_eq!((outside.kind(), outside.get("field")), (ErrorKind::InvalidInput, Some("credentials")));
    for free in [0, 1, 2, 4] {
        assert_eq!(slots(&created(&s, on(&[&inbound])).await), [Some(free)]);
    }
}

/// Slots are given round and round: one that was just given back is another client's only after all others.
pub async fn an_address_rests_before_it_is_given_again(s: Subject) {
    let inbound = tunnel("pool", 1);
    put(&s, &inbound).await.unwrap();
    for slot in [0, 1, 2, 3, 4, 0, 1] {
        let key = created(&s, on(&[&inbound])).await;
        assert_eq!(slots(&key), [Some(slot)]);
        commit(&s, [KeyOp::Delete { key: key.id, expected: None }]).await.unwrap();
    }
}

/// Of another protocol, of an inbound that gives neither addresses nor certificates, or that the key is not on.
pub async fn a_credential_is_only_for_an_inbound_that_takes_it(s: Subject) {
    let owner = created(&s, CreateKey::default()).await;
    let plain = Inbound::new(InboundTag::new("plain").unwrap(), 1, Protocol::Vless { vision: false });
    let (open, own) = (tunnel("open", 2), tunnel("own", 3).dedicated_to(owner.id));
    for inbound in [&plain, &open, &own] {
        put(&s, inbound).await.unwrap();
    }
    let other = CreateKey {
        credentials: vec![Credential::generate(CredentialKind::Trojan).only_on(open.id())],
        ..CreateKey::default()
    };
    let elsewhere = CreateKey { inbounds: InboundSelection::Only(vec![plain.tag.clone()]), ..on(&[&open]) };
    for bad in [on(&[&plain]), on(&[&own]), other, elsewhere] {
        let refused = commit(&s, [create(bad)]).await.unwrap_err();
        assert_eq!((refused.kind(), refused.get("field")), (ErrorKind::InvalidInput, Some("credentials")));
    }
    // A key that leaves an inbound gives its address back, and its certificate is revoked.
    let credential = certificate(bound(&open), 1, 100);
    let key = created(&s, CreateKey { credentials: vec![credential], ..CreateKey::default() }).await;
    let leave =
        KeyPatch { inbounds: Some(InboundSelection::Only(vec![plain.tag.clone()])), ..KeyPatch::default() };
    let receipt = commit(&s, [patch(key.id, leave)]).await.unwrap();
    assert_eq!((receipt.keys[0].credentials.len(), serials(&receipt.revoked)), (0, vec![1]));
    assert_eq!(get(&s, key.id).await.unwrap(), receipt.keys[0]);
    // An inbound that no longer gives addresses takes its credentials back; one of another protocol too.
    let key = created(&s, on(&[&open])).await;
    let trojan = Inbound { protocol: Protocol::Trojan, ..open.clone() };
    put(&s, &trojan).await.unwrap();
    assert_eq!(get(&s, key.id).await.unwrap().credentials, []);
    put(&s, &open).await.unwrap();
    let with = KeyPatch { credentials: vec![certificate(bound(&open), 2, 100)], ..KeyPatch::default() };
    commit(&s, [patch(key.id, with)]).await.unwrap();
    put(&s, &Inbound { addresses: None, ..open.clone() }).await.unwrap();
    assert_eq!(get(&s, key.id).await.unwrap().credentials, []);
    assert_eq!(serials(&revoked(&s, &open.id()).await), [1, 2]);
}

/// Only when it is replaced: a new secret beside it, or another slot, leaves it.
pub async fn a_certificate_that_is_still_held_is_not_revoked(s: Subject) {
    let inbound = tunnel("vpn", 1);
    put(&s, &inbound).await.unwrap();
    let held = certificate(bound(&inbound), 1, 100);
    let key = created(&s, CreateKey { credentials: vec![held.clone()], ..CreateKey::default() }).await;
    let moved = Credential { slot: Some(4), ..held };
    let change = KeyPatch { credentials: vec![moved], ..KeyPatch::default() };
    let receipt = commit(&s, [patch(key.id, change)]).await.unwrap();
    assert_eq!((slots(&receipt.keys[0]), receipt.revoked.len()), (vec![Some(4)], 0));
    assert_eq!(revoked(&s, &inbound.id()).await, []);
}

/// From many tasks at once.
pub async fn concurrent_keys_get_different_addresses(s: Subject) {
    let mut inbound = tunnel("pool", 1);
    inbound.addresses = Some(AddressPool { v4: Some("10.8.0.0/16".parse().unwrap()), v6: None });
    put(&s, &inbound).await.unwrap();
    let create = || {
        let (store, inbound) = (s.store.clone(), inbound.clone());
        async move {
            let ops = [create(on(&[&inbound]))];
            store.commit(vpnkit_core::store::StoreTxn::new(at(), ops)).await.unwrap().keys.remove(0)
        }
    };
    let keys: Vec<_> = (0..50).map(|_| tokio::spawn(create())).collect();
    let mut given = BTreeSet::new();
    for key in keys {
        given.extend(slots(&key.await.unwrap()));
    }
    assert_eq!(given, (0..50).map(Some).collect());
}

/// Neither can there be one for an inbound that there is not.
pub async fn credentials_go_with_their_inbound(s: Subject) {
    let (one, two) = (tunnel("one", 1), tunnel("two", 2));
    put(&s, &one).await.unwrap();
    let missing = commit(&s, [create(on(&[&one, &two]))]).await.unwrap_err();
    assert_eq!((missing.kind(), missing.get("inbound")), (ErrorKind::NotFound, Some("main/two")));
    put(&s, &two).await.unwrap();
    let key = created(&s, on(&[&one, &two])).await;
    let certified = certificate(bound(&one), 7, 100);
    let change = KeyPatch { credentials: vec![certified.clone()], ..KeyPatch::default() };
    commit(&s, [patch(key.id, change)]).await.unwrap();
    commit(&s, [InboundOp::Remove(NodeId::main(), one.tag.clone())]).await.unwrap();
    let left = get(&s, key.id).await.unwrap();
    assert_eq!(left.credentials.iter().map(|c| c.inbound.clone()).collect::<Vec<_>>(), [Some(two.id())]);
    // Its secret is free again.
    let free = CreateKey {
        credentials: vec![Credential::new(Default::default(), certified.secret)],
        ..CreateKey::default()
    };
    created(&s, free).await;
    // With the key that it is dedicated to, an inbound goes too.
    let own = tunnel("own", 3).dedicated_to(key.id);
    put(&s, &own).await.unwrap();
    let with = KeyPatch { credentials: vec![bound(&own)], ..KeyPatch::default() };
    commit(&s, [patch(key.id, with)]).await.unwrap();
    commit(&s, [KeyOp::Delete { key: key.id, expected: None }]).await.unwrap();
    assert_eq!(s.store.inbounds().await.unwrap(), [two]);
}

/// Neither of another inbound's, nor after the inbound was removed and added again.
pub async fn serial_numbers_are_never_given_twice(s: Subject) {
    let take = |inbound: &Inbound, count| StoreOp::TakeSerials { inbound: inbound.id(), count };
    let (one, two) = (tunnel("one", 1), tunnel("two", 2));
    put(&s, &one).await.unwrap();
    let taken = |receipt: vpnkit_core::store::Receipt| -> Vec<u64> {
        receipt.made.iter().filter_map(Made::as_serial).collect()
    };
    assert_eq!(taken(commit(&s, [take(&one, 3)]).await.unwrap()), [1, 2, 3]);
    assert_eq!(taken(commit(&s, [take(&one, 1), take(&two, 2)]).await.unwrap()), [4, 1, 2]);
    commit(&s, [InboundOp::Remove(NodeId::main(), one.tag.clone())]).await.unwrap();
    put(&s, &one).await.unwrap();
    assert_eq!(taken(commit(&s, [take(&one, 1)]).await.unwrap()), [5]);
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let (store, step) = (s.store.clone(), take(&one, 5));
            tokio::spawn(async move {
                store.commit(vpnkit_core::store::StoreTxn::new(at(), [step])).await.unwrap()
            })
        })
        .collect();
    let mut all = BTreeSet::new();
    for task in tasks {
        all.extend(taken(task.await.unwrap()));
    }
    assert_eq!(all, (6..106).collect());
}

/// When it is replaced, and when its key is deleted; until it ends by itself.
pub async fn a_certificate_is_revoked_when_it_goes(s: Subject) {
    let inbound = tunnel("vpn", 1);
    put(&s, &inbound).await.unwrap();
    let id = inbound.id();
    let with = |credential: Credential| CreateKey { credentials: vec![credential], ..CreateKey::default() };
    let key = created(&s, with(certificate(bound(&inbound), 1, 100))).await;
    let short = created(&s, with(certificate(bound(&inbound), 2, 10))).await;
    assert_eq!(get(&s, key.id).await.unwrap(), key);
    let twice = commit(&s, [create(with(certificate(bound(&inbound), 1, 100)))]).await.unwrap_err();
    assert_eq!((twice.kind(), twice.get("serial")), (ErrorKind::AlreadyExists, Some("1")));
    // What is not about the certificate leaves it.
    let note = KeyPatch { note: vpnkit_core::model::Patch::Set("n".into()), ..KeyPatch::default() };
    assert_eq!(commit(&s, [patch(key.id, note)]).await.unwrap().revoked, []);
    let renewed = certificate(bound(&inbound), 3, 200);
    let change = KeyPatch { credentials: vec![renewed], ..KeyPatch::default() };
    let receipt = commit(&s, [patch(key.id, change)]).await.unwrap();
    let expected = Revocation {
        inbound: id.clone(),
        key: key.id,
        certificate: key.credentials[0].certificate.unwrap(),
        revoked_at: at(),
    };
    assert_eq!(receipt.revoked, std::slice::from_ref(&expected));
    assert_eq!(revoked(&s, &id).await, [expected]);
    let back = commit(&s, [create(with(certificate(bound(&inbound), 1, 100)))]).await.unwrap_err();
    assert_eq!(back.kind(), ErrorKind::AlreadyExists, "a number that was revoked does not come back");
    for gone in [key.id, short.id] {
        let receipt = commit(&s, [KeyOp::Delete { key: gone, expected: None }]).await.unwrap();
        assert_eq!(receipt.revoked.len(), 1);
    }
    assert_eq!(serials(&revoked(&s, &id).await), [1, 2, 3]);
    let later = at().plus(Duration::from_secs(10));
    assert_eq!(serials(&s.store.revocations(&id, later).await.unwrap()), [1, 3], "2 has ended by itself");
    let later = at().plus(Duration::from_secs(150));
    s.store.prune(&Retention::of_events(later), None).await.unwrap();
    assert_eq!(serials(&revoked(&s, &id).await), [3]);
    let other = InboundId::new(NodeId::main(), InboundTag::new("other").unwrap());
    assert_eq!(revoked(&s, &other).await, []);
    // An inbound that comes back under the same authority refuses what it has refused, and what went with it.
    created(&s, with(certificate(bound(&inbound), 4, 200))).await;
    commit(&s, [InboundOp::Remove(NodeId::main(), inbound.tag.clone())]).await.unwrap();
    put(&s, &inbound).await.unwrap();
    assert_eq!(serials(&revoked(&s, &id).await), [3, 4]);
}

/// Also when both are for one inbound.
pub async fn a_bound_secret_is_unique(s: Subject) {
    let (one, two) = (tunnel("one", 1), tunnel("two", 2));
    put(&s, &one).await.unwrap();
    put(&s, &two).await.unwrap();
    let secret = CredentialSecret::generate(CredentialKind::Vless);
    let with = |inbound: &Inbound| CreateKey {
        credentials: vec![Credential::new(DeviceName::default(), secret.clone()).only_on(inbound.id())],
        ..CreateKey::default()
    };
    created(&s, with(&one)).await;
    for inbound in [&one, &two] {
        let clash = commit(&s, [create(with(inbound))]).await.unwrap_err();
        assert_eq!((clash.kind(), clash.get("field")), (ErrorKind::AlreadyExists, Some("credentials")));
    }
}
