//! Cases of inbounds and records.

use super::{Subject, batch, commit, created, moved};
use vpnkit_core::model::{CreateKey, Inbound, InboundTag, KeyId, NodeId, Protocol, RecordQuery, ServerId};
use vpnkit_core::store::{InboundOp, KeyOp, Made, RecordOp, StoreOp};
use vpnkit_core::{ErrorKind, Secret};

/// The same inbound again is no event.
pub async fn inbounds_are_kept_and_ports_are_unique(s: Subject) {
    let tag = |t: &str| InboundTag::new(t).unwrap();
    let put = |inbound: &Inbound| vec![InboundOp::Put(Box::new(inbound.clone()))];
    let a = Inbound::new(tag("a"), 1001, Protocol::Vless { vision: false });
    let b = Inbound::new(tag("b"), 1002, Protocol::Vmess);
    commit(&s, put(&b)).await.unwrap();
    commit(&s, put(&a)).await.unwrap();
    assert_eq!(s.store.inbounds().await.unwrap(), [a.clone(), b.clone()]);
    let cursor = s.store.newest_event().await.unwrap();
    commit(&s, put(&a)).await.unwrap();
    assert_eq!(s.store.newest_event().await.unwrap(), cursor);
    let clash = Inbound { tag: tag("c"), ..a.clone() };
    assert_eq!(commit(&s, put(&clash)).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    let moved = Inbound { port: 1003, ..a.clone() };
    commit(&s, put(&moved)).await.unwrap();
    commit(&s, put(&clash)).await.unwrap();
    // A port may be shared by nodes, by addresses, and by TCP and UDP; not where one address is all.
    let on = |t: &str, address: [u8; 4]| Inbound::new(tag(t), 1005, Protocol::Vmess).listen(address.into());
    let (one, two) = (on("one", [192, 0, 2, 1]), on("two", [192, 0, 2, 2]));
    commit(&s, put(&one)).await.unwrap();
    commit(&s, put(&two)).await.unwrap();
    let taken = commit(&s, put(&on("all", [0, 0, 0, 0]))).await.unwrap_err();
    assert_eq!((taken.kind(), taken.get("field")), (ErrorKind::AlreadyExists, Some("port")));
    let elsewhere = on("all", [0, 0, 0, 0]).on(ServerId::new(&NodeId::new("other").unwrap(), "fake"));
    commit(&s, put(&elsewhere)).await.unwrap();
    assert_eq!(s.store.inbounds().await.unwrap().last(), Some(&elsewhere));
    for gone in [&one, &two, &elsewhere] {
        let remove = InboundOp::Remove(gone.node.clone(), gone.tag.clone());
        commit(&s, vec![remove]).await.unwrap();
    }
    let orphan = Inbound::new(tag("d"), 1004, Protocol::Vmess).dedicated_to(KeyId(999));
    assert_eq!(commit(&s, put(&orphan)).await.unwrap_err().kind(), ErrorKind::NotFound);
    let remove = || vec![InboundOp::Remove(NodeId::main(), tag("b"))];
    commit(&s, remove()).await.unwrap();
    assert_eq!(commit(&s, remove()).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(s.store.inbounds().await.unwrap(), [moved, clash]);
}

/// A record that nobody has written has version 0. It is found by its kind and by its index.
pub async fn records_are_replaced_by_version(s: Subject) {
    let place = |kind: &str, id: &str| (kind.to_owned(), id.to_owned());
    let put = |expected, body: Option<&str>| match body {
        Some(body) => {
            let (index, body) = (Some("i".to_owned()), Secret::new(body));
            RecordOp::Put { place: place("hosts", "main/a"), expected, index, body }
        }
        None => RecordOp::Remove { place: place("hosts", "main/a"), expected },
    };
    let records = async |query: RecordQuery| s.store.records(&query).await.unwrap();
    let all = RecordQuery::default;
    assert_eq!(records(all()).await, []);
    assert_eq!(commit(&s, [put(Some(1), Some("x"))]).await.unwrap_err().kind(), ErrorKind::Conflict);
    let receipt = commit(&s, [put(Some(0), Some("1"))]).await.unwrap();
    assert_eq!(receipt.made, [Made { kind: "hosts".into(), id: "main/a".into() }]);
    assert_eq!(commit(&s, [put(Some(0), Some("x"))]).await.unwrap_err().kind(), ErrorKind::Conflict);
    commit(&s, [put(Some(1), Some("2"))]).await.unwrap();
    commit(&s, [put(None, Some("3"))]).await.unwrap();
    let other = RecordOp::Put { place: place("a", ""), expected: None, index: None, body: Secret::new("é") };
    commit(&s, [other]).await.unwrap();
    let held = records(all()).await;
    let seen: Vec<_> =
        held.iter().map(|r| (r.kind.as_str(), r.id.as_str(), r.version, r.body.expose())).collect();
    assert_eq!(seen, [("a", "", 1, "é"), ("hosts", "main/a", 3, "3")]);
    assert_eq!(records(RecordQuery::of("a")).await, held[..1]);
    assert_eq!(records(RecordQuery { index: Some("i".into()), ..all() }).await, held[1..]);
    assert_eq!(records(RecordQuery { index: Some("i".into()), ..RecordQuery::of("a") }).await, []);
    commit(&s, [put(None, None)]).await.unwrap();
    commit(&s, [put(None, None)]).await.unwrap();
    assert_eq!(records(all()).await.len(), 1);
    let half: [StoreOp; 2] =
        [put(None, Some("4")).into(), KeyOp::Delete { key: KeyId(999), expected: None }.into()];
    commit(&s, half).await.unwrap_err();
    assert_eq!(records(all()).await.len(), 1);
}

/// It stays while nothing is changed that it stands for, and grows with what is.
pub async fn a_revision_grows_with_inbounds_and_records(s: Subject) {
    let revision = async || s.store.revision().await.unwrap();
    let first = revision().await;
    let key = created(&s, CreateKey::default()).await;
    commit(&s, [batch(0, "1", true, vec![moved(key.id, (1, 1), (1, 1))])]).await.unwrap();
    assert_eq!(revision().await, first, "keys and traffic are told by events");
    let own = Inbound::new(InboundTag::new("own").unwrap(), 1001, Protocol::Vmess).dedicated_to(key.id);
    let mut last = first;
    let put = RecordOp::Put {
        place: ("a".into(), "b".into()),
        expected: None,
        index: None,
        body: Secret::new("{}"),
    };
    let steps: [StoreOp; 3] = [
        InboundOp::Put(Box::new(own)).into(),
        put.into(),
        KeyOp::Delete { key: key.id, expected: None }.into(),
    ];
    for step in steps {
        commit(&s, [step]).await.unwrap();
        let now = revision().await;
        assert!(now > last);
        last = now;
    }
}
