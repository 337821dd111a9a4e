//! Cases of devices.

use std::time::Duration;

use super::{Subject, at, commit, created, get};
use vpnkit_core::ErrorKind;
use vpnkit_core::model::{ClientDevice, CreateKey, EventKind, KeyId};
use vpnkit_core::store::{DeviceOp, KeyOp, StoreTxn};

/// A known one may always come again; they go with their key.
pub async fn devices_are_bound_up_to_a_limit(s: Subject) {
    let key = created(&s, CreateKey::named("k").device_limit(2)).await;
    assert_eq!(get(&s, key.id).await.unwrap().device_limit, Some(2));
    let see = |key, id: &str, secs: u64, limit| {
        let now = at().plus(Duration::from_secs(secs));
        let device = ClientDevice {
            key,
            id: id.into(),
            os: Some("Android".into()),
            os_version: None,
            model: Some("Пиксель".into()),
            user_agent: Some(format!("app/{secs}")),
            first_seen: now,
            last_seen: now,
        };
        vec![DeviceOp::See { device: Box::new(device), limit, gone_since: at() }]
    };
    commit(&s, see(key.id, "b", 1, Some(2))).await.unwrap();
    commit(&s, see(key.id, "a", 2, Some(2))).await.unwrap();
    let refused = commit(&s, see(key.id, "c", 3, Some(2))).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::LimitReached);
    commit(&s, see(key.id, "b", 4, Some(2))).await.unwrap();
    let devices = s.store.devices(key.id).await.unwrap();
    let seen: Vec<_> = devices
        .iter()
        .map(|d| (d.id.as_str(), d.last_seen.since(at()).as_secs(), d.user_agent.as_deref()))
        .collect();
    assert_eq!(seen, [("b", 4, Some("app/4")), ("a", 2, Some("app/2"))]);
    assert_eq!(devices[0].first_seen, at().plus(Duration::from_secs(1)));
    let forget = |id: Option<&str>| vec![DeviceOp::Forget { key: key.id, id: id.map(str::to_owned) }];
    assert_eq!(commit(&s, forget(Some("c"))).await.unwrap_err().kind(), ErrorKind::NotFound);
    commit(&s, forget(Some("b"))).await.unwrap();
    commit(&s, see(key.id, "c", 5, None)).await.unwrap();
    commit(&s, forget(None)).await.unwrap();
    assert_eq!(s.store.devices(key.id).await.unwrap(), []);
    commit(&s, see(key.id, "d", 6, None)).await.unwrap();
    commit(&s, vec![KeyOp::Delete { key: key.id, expected: None }]).await.unwrap();
    assert_eq!(s.store.devices(key.id).await.unwrap(), []);
    assert_eq!(commit(&s, see(key.id, "d", 7, None)).await.unwrap_err().kind(), ErrorKind::NotFound);
}

/// One that is known does not push others out.
pub async fn a_device_that_is_gone_makes_room(s: Subject) {
    let key = created(&s, CreateKey::named("k")).await;
    let see = |id: &str, secs: u64, gone: u64| {
        let time = |secs| at().plus(Duration::from_secs(secs));
        let device = ClientDevice {
            key: key.id,
            id: id.into(),
            os: None,
            os_version: None,
            model: None,
            user_agent: None,
            first_seen: time(secs),
            last_seen: time(secs),
        };
        vec![DeviceOp::See { device: Box::new(device), limit: Some(2), gone_since: time(gone) }]
    };
    let ids = async || {
        let devices = s.store.devices(key.id).await.unwrap();
        devices.into_iter().map(|device| device.id).collect::<Vec<_>>()
    };
    commit(&s, see("a", 10, 0)).await.unwrap();
    commit(&s, see("b", 20, 0)).await.unwrap();
    assert_eq!(commit(&s, see("c", 30, 10)).await.unwrap_err().kind(), ErrorKind::LimitReached);
    commit(&s, see("b", 40, 30)).await.unwrap();
    assert_eq!(ids().await, ["a", "b"]);
    commit(&s, see("c", 50, 30)).await.unwrap();
    assert_eq!(ids().await, ["b", "c"]);
}

/// Many devices are refused one after the other: the event is told once in a while, and of nobody who is gone.
pub async fn a_refused_device_is_told_once(s: Subject) {
    let (key, other) =
        (created(&s, CreateKey::named("k")).await, created(&s, CreateKey::named("other")).await);
    let before = s.store.newest_event().await.unwrap();
    let refused = |key, secs: u64| {
        let now = at().plus(Duration::from_secs(secs));
        let refused = DeviceOp::Refused { key, limit: 2, told_since: now.minus(Duration::from_secs(60)) };
        s.store.commit(StoreTxn::new(now, [refused]))
    };
    for secs in [0, 1, 59, 61, 62] {
        refused(key.id, secs).await.unwrap();
    }
    refused(other.id, 62).await.unwrap();
    refused(KeyId(9_999), 62).await.unwrap();
    let told = s.store.events(before, 100).await.unwrap().events;
    let told: Vec<_> = told.iter().map(|e| (e.kind, e.at.since(at()).as_secs(), e.detail.as_str())).collect();
    let event = |secs| (EventKind::KeyDeviceLimit, secs, "2");
    assert_eq!(told, [event(0), event(61), event(62)]);
}
