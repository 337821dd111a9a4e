//! Mocks of the three traits, for applications' own tests: feature `mock`.
#![cfg(feature = "mock")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::sync::Arc;

use tokio::sync::watch;
use vpnkit_core::backend::MockProtocolBackend;
use vpnkit_core::model::{Cursor, KeyRef, NodeId, ServerId};
use vpnkit_core::store::{ChangeBatch, MockKeyStore, Newest};
use vpnkit_core::traffic::MockTrafficSource;
use vpnkit_core::{Error, ErrorKind, SystemClock};
use vpnkit_engine::engine::{Engine, EngineOptions};

#[tokio::test]
async fn a_store_that_is_full_is_told_to_the_caller() {
    let mut store = MockKeyStore::new();
    store.expect_inbounds().returning(|| Ok(Vec::new()));
    store.expect_records().returning(|_| Ok(Vec::new()));
    store.expect_revision().returning(|| Ok(0));
    store.expect_id().returning(|| Ok("0a1b2c3d".to_owned()));
    store.expect_newest_event().returning(|| Ok(Cursor::START));
    let newest = watch::Sender::new(Newest::default());
    store.expect_newest().returning(move || newest.subscribe());
    store.expect_changes().returning(|after, _, _| Ok(ChangeBatch { next: after, ..ChangeBatch::default() }));
    store.expect_key().returning(|_| Err(Error::new(ErrorKind::StoreFull, "store.key", "the disk is full")));
    let options = EngineOptions { background: false, ..EngineOptions::default() };
    let engine = Engine::open(Arc::new(store), Arc::new(SystemClock), options, Vec::new()).await.unwrap();
    let error = engine.keys().get(KeyRef::from("alice")).await.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::StoreFull, "keys.get"));
}

#[test]
fn servers_have_mocks_too() {
    let mut backend = MockProtocolBackend::new();
    backend.expect_id().return_const(ServerId::new(&NodeId::main(), "mock"));
    let mut source = MockTrafficSource::new();
    source.expect_server().return_const(ServerId::new(&NodeId::main(), "mock"));
    use vpnkit_core::backend::ProtocolBackend as _;
    use vpnkit_core::traffic::TrafficSource as _;
    assert_eq!(backend.id(), source.server());
}
