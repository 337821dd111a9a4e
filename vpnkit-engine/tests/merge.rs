//! Keys that become one: what may be added up, and what their payments find afterwards.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use vpnkit_core::model::{
    ByteSize, CreateKey, GrantRef, Inbound, InboundTag, Key, KeyId, KeyPatch, NextPlan, Patch, Protocol,
    Traffic,
};
use vpnkit_core::{Clock as _, ErrorKind, ManualClock};
use vpnkit_engine::engine::{CallContext, Engine, EngineOptions, ServerParts};
use vpnkit_sqlite::{SqliteOptions, SqliteStore};
use vpnkit_testkit::FakeServer;

const DAY: Duration = Duration::from_secs(86_400);

async fn open(directory: &Path, clock: &ManualClock, fake: &Arc<FakeServer>) -> Engine {
    let store = SqliteStore::open(directory.join("keys.db"), SqliteOptions::default()).await.unwrap();
    let options = EngineOptions { background: false, ..EngineOptions::default() };
    let parts = ServerParts { backend: fake.clone(), source: fake.clone(), address: "192.0.2.1".into() };
    Engine::open(Arc::new(store), Arc::new(clock.clone()), options, vec![parts]).await.unwrap()
}

struct Bed {
    engine: Engine,
    clock: ManualClock,
    fake: Arc<FakeServer>,
    _directory: tempfile::TempDir,
}

async fn bed() -> Bed {
    let (directory, clock) = (tempfile::tempdir().unwrap(), ManualClock::default());
    let fake = Arc::new(FakeServer::new());
    let engine = open(directory.path(), &clock, &fake).await;
    let tag = InboundTag::new("main").unwrap();
    engine.inbounds().ensure(Inbound::new(tag, 443, Protocol::Vless { vision: false })).await.unwrap();
    Bed { engine, clock, fake, _directory: directory }
}

fn plan(name: &str, days: u32, gib: u64) -> CreateKey {
    CreateKey::named(name).expires_in(DAY * days).data_limit(ByteSize::gib(gib))
}

impl Bed {
    async fn create(&self, request: CreateKey) -> Key {
        self.engine.keys().create(request).await.unwrap()
    }

    async fn merge(&self, key: &str, into: &str) -> vpnkit_core::Result<Key> {
        self.engine.keys().merge(key, into, None, None).await
    }

    async fn refused(&self, key: &str, into: &str) -> String {
        let error = self.merge(key, into).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
        error.get("field").unwrap().to_owned()
    }
}

/// A callback finds the key that stays, a refund says which grant it is now; over several merges.
#[tokio::test]
async fn payments_of_a_merged_key_find_the_one_that_stays() {
    let bed = bed().await;
    let (first, second) = (plan("a", 30, 50), plan("b", 30, 50).idempotency_key("p:2"));
    let paid = first.idempotency_key("p:1");
    bed.create(paid.clone()).await;
    bed.create(second).await;
    bed.create(plan("c", 30, 50)).await;
    bed.merge("a", "b").await.unwrap();
    let last = bed.merge("b", "c").await.unwrap();
    assert_eq!(last.data_limit, Some(ByteSize::gib(150)));
    let again = bed.create(paid).await;
    assert_eq!((again.id, again.replayed), (last.id, true));
    let refund = bed.engine.grants().undo("p:1", None, Some("refund:1".into())).await.unwrap_err();
    assert_eq!((refund.kind(), refund.get("field")), (ErrorKind::Conflict, Some("grant")));
    // That is the grant of the first merge, whose key is gone as well: it leads to the next one.
    let merge: i64 = refund.get("grant").unwrap().parse().unwrap();
    let next = bed
        .engine
        .grants()
        .undo(GrantRef::Id(vpnkit_core::model::GrantId(merge)), None, None)
        .await
        .unwrap_err();
    let merge: i64 = next.get("grant").unwrap().parse().unwrap();
    let undone =
        bed.engine.grants().undo(GrantRef::Id(vpnkit_core::model::GrantId(merge)), None, None).await.unwrap();
    assert_eq!(undone.data_limit, Some(ByteSize::gib(50)));
    bed.engine.close().await.unwrap();
}

/// A used-up trial gives nothing, and a refund of what was bought beside it leaves nothing.
#[tokio::test]
async fn of_a_key_that_is_used_up_nothing_is_left() {
    let bed = bed().await;
    let trial = bed.create(plan("trial", 300, 2)).await;
    let bought = bed.create(plan("bought", 30, 50).idempotency_key("p:1")).await;
    // Also what was not read yet is used.
    bed.fake.pass(trial.id, Traffic { up: 0, down: ByteSize::gib(2).bytes() });
    let merged = bed.merge("trial", "bought").await.unwrap();
    assert_eq!((merged.data_limit, merged.expires_at), (Some(ByteSize::gib(50)), bought.expires_at));
    let refunded = bed.engine.grants().undo("p:1", None, None).await.unwrap();
    assert!(!refunded.status.may_connect(), "{refunded:?}");
    bed.engine.close().await.unwrap();
}

#[tokio::test]
async fn what_was_stopped_or_would_be_lost_is_not_merged() {
    let bed = bed().await;
    for name in ["stays", "off", "locked", "planned"] {
        bed.create(plan(name, 30, 50)).await;
    }
    let keys = bed.engine.keys();
    keys.disable("off").await.unwrap();
    let until = bed.clock.now().plus(DAY);
    let lock = KeyPatch { locked_until: Patch::Set(until), ..KeyPatch::default() };
    keys.update("locked", lock, None, None).await.unwrap();
    let next = NextPlan { duration: Some(DAY), ..NextPlan::default() };
    keys.update("planned", KeyPatch { next_plan: Patch::Set(next), ..KeyPatch::default() }, None, None)
        .await
        .unwrap();
    for key in ["off", "locked", "planned"] {
        assert_eq!(bed.refused(key, "stays").await, "key", "{key}");
    }
    assert_eq!(bed.refused("stays", "off").await, "into");
    // One that is locked cannot be paused until that is over.
    let paused = keys.pause("locked").await.unwrap_err();
    assert_eq!((paused.kind(), paused.get("field")), (ErrorKind::InvalidInput, Some("paused")));
    let many = |name: &str| (0..9).fold(plan(name, 1, 1), |key, i| key.labelled(format!("{name}{i}"), "x"));
    bed.create(many("x")).await;
    bed.create(many("y")).await;
    assert_eq!(bed.refused("x", "y").await, "into");
    // The stricter limits hold, and what was bought is not deleted with the trial.
    let strict = CreateKey { address_limit: Some(1), device_limit: Some(5), ..plan("strict", 30, 50) };
    bed.create(strict).await;
    let trial = CreateKey { device_limit: Some(2), ..plan("trial", 30, 50).delete_after(DAY) };
    bed.create(trial).await;
    let merged = bed.merge("strict", "trial").await.unwrap();
    assert_eq!((merged.address_limit, merged.device_limit, merged.delete_after), (Some(1), Some(2), None));
    bed.engine.close().await.unwrap();
}

/// A hold that has ended by itself while nobody looked has used its time up to now.
#[tokio::test]
async fn what_is_due_is_done_first() {
    let bed = bed().await;
    let until = bed.clock.now().plus(DAY);
    let held = CreateKey { on_hold: true, hold_until: Some(until), ..plan("held", 30, 50) };
    bed.create(held).await;
    let stays = bed.create(plan("stays", 100, 50)).await;
    bed.clock.advance(21 * DAY);
    let merged = bed.merge("held", "stays").await.unwrap();
    assert_eq!(merged.expires_at.unwrap().since(stays.expires_at.unwrap()), 10 * DAY);
    bed.engine.close().await.unwrap();
}

/// The next key that is created has the number: nobody may take one for the other.
#[tokio::test]
async fn a_key_that_was_only_tried_is_nobody() {
    let bed = bed().await;
    let tried = bed.engine.with_context(CallContext::default().dry_run());
    let would_be = tried.keys().create(plan("preview", 30, 50)).await.unwrap();
    assert_eq!(would_be.id, KeyId(0));
    let many = tried.keys().create_many(vec![plan("a", 1, 1), plan("b", 1, 1)], None).await.unwrap();
    assert!(many.iter().all(|key| key.id == KeyId(0)));
    bed.create(plan("victim", 30, 50)).await;
    let error = bed.engine.keys().delete(would_be.id, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    bed.engine.close().await.unwrap();
}
