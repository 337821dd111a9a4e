//! What goes between the engine and a server crosses as JSON and comes back the same.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use vpnkit_core::backend::{
    Account, Change, CredentialRequest, DesiredState, Fingerprint, Health, Observed, ObservedInbound,
    ServerState,
};
use vpnkit_core::model::{
    CertificateTerm, CredentialKind, CredentialSecret, Cursor, DeviceName, Inbound, InboundTag, KeyId,
    Protocol, Revocation, Traffic,
};
use vpnkit_core::traffic::{Counter, Epoch, Reading, Series};
use vpnkit_core::{Secret, Timestamp};

fn crosses<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) -> String {
    let json = Secret::reveal(|| serde_json::to_string(value)).unwrap();
    assert_eq!(&serde_json::from_str::<T>(&json).unwrap(), value);
    json
}

#[test]
fn everything_comes_back_the_same() {
    let tag = InboundTag::new("main").unwrap();
    let inbound = Arc::new(Inbound::new(tag.clone(), 443, Protocol::Vless { vision: false }));
    let certificate = CertificateTerm { serial: 7, expires_at: Timestamp::from_millis(2_000) };
    let revocation = Revocation {
        inbound: inbound.id(),
        key: KeyId(1),
        certificate,
        revoked_at: Timestamp::from_millis(1_500),
    };
    let accounts = CredentialKind::ALL.iter().map(|kind| {
        let secret = CredentialSecret::generate(*kind);
        let end = Some(Timestamp::from_millis(1_000));
        Account {
            expires_at: end,
            remaining: Some(5),
            slot: Some(3),
            certificate: Some(certificate),
            ..Account::of(KeyId(1), DeviceName::default(), secret)
        }
    });
    let accounts: Vec<Account> = accounts.collect();
    crosses(&DesiredState {
        revision: Cursor(7),
        inbounds: vec![(Arc::clone(&inbound), accounts.clone())],
        revoked: vec![revocation.clone()],
    });
    crosses(&CredentialRequest {
        protocol: CredentialKind::Vless,
        device: DeviceName::default(),
        inbound: Some(Arc::clone(&inbound)),
        certificate: Some(certificate),
    });
    crosses(&vec![
        Change::PutInbound(Arc::clone(&inbound), accounts.clone()),
        Change::RemoveInbound(tag.clone()),
        Change::PutAccount(Arc::clone(&inbound), accounts.first().unwrap().clone()),
        Change::RemoveAccount(tag.clone(), KeyId(1), DeviceName::default()),
        Change::Revoke(tag.clone(), revocation),
    ]);
    let held = BTreeMap::from([((KeyId(1), DeviceName::default()), Fingerprint::of(["a"]))]);
    let observed =
        ObservedInbound { fingerprint: Some(Fingerprint::of(["b"])), accounts: held, revoked: [7].into() };
    crosses(&Observed { inbounds: BTreeMap::from([(tag, observed)]) });
    for state in
        [ServerState::Stopped, ServerState::Up { lifetime: 3 }, ServerState::Down { reason: "x".into() }]
    {
        crosses(&state);
    }
    let health =
        crosses(&Health { version: "1".into(), uptime: Duration::from_secs(60), warnings: vec!["w".into()] });
    assert_eq!(health, r#"{"version":"1","uptime":"1 minutes","warnings":["w"]}"#);
    let counter =
        Counter { series: Series::new("session"), ended: true, ..Counter::of(KeyId(1), Traffic::default()) };
    let epoch = Epoch { id: "1".into(), evidence: String::new() };
    crosses(&Reading {
        epoch,
        counters: vec![counter, Counter::of(KeyId(2), Traffic::default())],
        foreign: 1,
    });
}

/// In every build, on every machine: what an older one has installed is recognised.
#[test]
fn a_fingerprint_is_the_same_everywhere() {
    assert_eq!(Fingerprint::of(["vless", "secret"]), Fingerprint(FINGERPRINT));
}

const FINGERPRINT: u64 = 9_534_524_905_680_134_168;
