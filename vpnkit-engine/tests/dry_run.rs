//! Changes that are only tried: every one of them, by its description.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

use std::sync::Arc;

use serde_json::{Value, json};
use vpnkit_core::model::{
    CreateAdmin, CreateKey, CreateWebhook, Cursor, Inbound, InboundTag, KeyQuery, KeyTemplate, NextPlan,
    Protocol, Reality, Security,
};
use vpnkit_core::store::{ConsumerOp, KeyStore, StoreTxn};
use vpnkit_core::{ErrorKind, ManualClock};
use vpnkit_engine::engine::{CallContext, Engine, EngineOptions, ServerParts};
use vpnkit_engine::operation::Operation;
use vpnkit_engine::webhook::WebhookSender;
use vpnkit_sqlite::{SqliteOptions, SqliteStore};
use vpnkit_testkit::FakeServer;
use vpnkit_testkit::receiver::FakeReceiver;

/// Arguments with which each change would do something.
fn arguments(operation: &str, (api_key, webhook): (&str, &str)) -> Value {
    let inbound = |port: u16| json!({ "tag": "main", "port": port, "protocol": { "type": "vless" } });
    match operation {
        "keys.create" => json!({ "request": { "name": "new" } }),
        "keys.create_many" => json!({ "requests": [{ "name": "new" }], "idempotency_key": "many" }),
        "keys.update" => json!({ "key": "alice", "patch": { "label": "new", "inbounds": [] } }),
        "keys.extend" => {
            json!({ "key": "alice", "extension": { "expires_in": "1 day" }, "idempotency_key": "new" })
        }
        "keys.extend_step" => {
            json!({ "extension": { "expires_in": "1 day" }, "idempotency_key": "new" })
        }
        "keys.merge" => json!({ "key": "third", "into": "second", "idempotency_key": "merge" }),
        "keys.resume" => json!({ "key": "paused" }),
        "keys.enable" => json!({ "key": "disabled" }),
        "keys.delete_many" => json!({ "ids": [1] }),
        "keys.pause" | "keys.begin_next_plan" | "keys.disable" | "keys.reset_usage" | "keys.delete" => {
            json!({ "key": "alice" })
        }
        "grants.undo" => json!({ "grant": "pay:1", "idempotency_key": "refund" }),
        "templates.ensure" => json!({ "template": { "name": "new", "data_limit": "1 GiB" } }),
        "templates.remove" => json!({ "name": "old" }),
        "traffic.set_coefficient" => json!({ "node": "main", "percent": 150 }),
        "inbounds.ensure" => json!({ "inbound": inbound(444) }),
        "inbounds.remove" => json!({ "tag": "main" }),
        "hosts.set" => json!({ "tag": "main", "hosts": [{ "remark": "r", "addresses": ["a.example"] }] }),
        "subscriptions.configure" => json!({ "settings": { "title": "new" } }),
        "subscriptions.update" => json!({ "patch": { "title": "new" } }),
        "subscriptions.revoke" => json!({ "key": "alice", "new_credentials": true }),
        "subscriptions.rotate_secret" => json!({ "keep": "1 h" }),
        "subscriptions.put_template" => {
            json!({ "name": "new", "template": { "content_type": "text/plain", "source": "x" } })
        }
        "subscriptions.remove_template" => json!({ "name": "old" }),
        "subscriptions.forget_device" => json!({ "key": "alice", "id": null }),
        "servers.remove" | "servers.stop" | "servers.start" | "servers.reconcile" => {
            json!({ "id": "main/fake" })
        }
        "admins.create" => json!({ "request": { "name": "new" }, "password": "long enough" }),
        "admins.update" => json!({ "admin": "bob", "patch": { "note": "new" } }),
        "admins.reset_usage" | "admins.disable_keys" | "admins.enable_keys" | "admins.delete" => {
            json!({ "admin": "bob" })
        }
        "admins.hand_over_keys" => json!({ "admin": "bob", "to": "carol" }),
        "admins.set_password" => json!({ "admin": "bob", "password": "another one" }),
        "admins.create_api_key" => {
            json!({ "admin": "bob", "name": "site", "scopes": null, "expires_in": null })
        }
        "admins.revoke_api_key" => json!({ "id": api_key }),
        "events.remove_consumer" => json!({ "name": "bot" }),
        "store.back_up" => json!({ "path": "/nowhere/x.db" }),
        "inbounds.rotate_keys" => json!({ "tag": "reality", "keep_old": "1 h" }),
        "store.change_passphrase" => json!({ "previous": "old", "passphrase": "new" }),
        "webhooks.create" => json!({ "request": { "url": "https://a.example" } }),
        "webhooks.update" => json!({ "id": webhook, "patch": { "note": "new" } }),
        "webhooks.rotate_secret" => json!({ "id": webhook, "keep": "1 h" }),
        "webhooks.delete" | "webhooks.resend" | "webhooks.ping" => json!({ "id": webhook }),
        "traffic.collect" | "tick" => json!({}),
        other => panic!("{other} is new: say with which arguments it changes something"),
    }
}

/// Returns all that a store tells.
async fn all_of(store: &Arc<dyn KeyStore>) -> String {
    let keys = store.find(&KeyQuery { limit: 1_000, ..KeyQuery::default() }).await.unwrap();
    let grants = store.grants(&Default::default()).await.unwrap();
    let (inbounds, records) =
        (store.inbounds().await.unwrap(), store.records(&Default::default()).await.unwrap());
    let devices = store.devices(keys.keys[0].id).await.unwrap();
    let place = (store.revision().await.unwrap(), store.newest_event().await.unwrap());
    let admins = (store.admins(None).await.unwrap(), store.consumers().await.unwrap());
    format!("{keys:?} {grants:?} {inbounds:?} {records:?} {devices:?} {admins:?} {place:?}")
}

#[tokio::test]
async fn every_change_that_is_tried_leaves_nothing_or_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path().join("keys.db"), SqliteOptions::default()).await.unwrap();
    let (store, clock): (Arc<dyn KeyStore>, _) = (Arc::new(store), ManualClock::default());
    let server = Arc::new(FakeServer::named("main/fake".parse().unwrap()));
    let parts = ServerParts { backend: server.clone(), source: server.clone(), address: "192.0.2.1".into() };
    let webhooks: Option<Arc<dyn WebhookSender>> = Some(Arc::new(FakeReceiver::default()));
    let options = EngineOptions { background: false, webhooks, ..EngineOptions::default() };
    let engine = Engine::open(Arc::clone(&store), Arc::new(clock), options, vec![parts]).await.unwrap();
    let tag = InboundTag::new("main").unwrap();
    engine.inbounds().ensure(Inbound::new(tag, 443, Protocol::Vless { vision: false })).await.unwrap();
    let reality = Security::Reality(Reality::at("site.test:443", "site.test"));
    let tag = InboundTag::new("reality").unwrap();
    let inbound = Inbound::new(tag, 4433, Protocol::Vless { vision: true }).security(reality);
    engine.inbounds().ensure(inbound).await.unwrap();
    let plan = NextPlan { data_limit: Some(vpnkit_core::model::ByteSize::gib(1)), ..NextPlan::default() };
    let request = CreateKey {
        next_plan: Some(plan),
        ..CreateKey::named("alice").expires_in(std::time::Duration::from_secs(30 * 86_400))
    };
    engine.keys().create(request.idempotency_key("pay:1")).await.unwrap();
    engine
        .keys()
        .create(CreateKey::named("paused").expires_in(std::time::Duration::from_secs(30 * 86_400)))
        .await
        .unwrap();
    engine.keys().create(CreateKey::named("disabled")).await.unwrap();
    engine.keys().create(CreateKey::named("second")).await.unwrap();
    engine.keys().create(CreateKey::named("third")).await.unwrap();
    engine.keys().pause("paused").await.unwrap();
    engine.keys().disable("disabled").await.unwrap();
    let template = serde_json::from_value(json!({ "content_type": "text/plain", "source": "x" })).unwrap();
    engine.subscriptions().put_template("old", template).await.unwrap();
    engine.templates().ensure(KeyTemplate::named("old")).await.unwrap();
    let token = engine.subscriptions().token("alice").await.unwrap();
    engine
        .subscriptions()
        .for_request(&token, &[("x-hwid".to_owned(), "one".to_owned())], None)
        .await
        .unwrap();
    let bob = engine.admins().create(CreateAdmin::named("bob"), None).await.unwrap();
    engine.admins().create(CreateAdmin::named("carol"), None).await.unwrap();
    for disabled in [false, true] {
        let owner = Some(bob.id);
        engine.keys().create(CreateKey { owner, disabled, ..CreateKey::default() }).await.unwrap();
    }
    let api_key = engine.admins().create_api_key(bob.id, "bot", None, None).await.unwrap().key.id;
    let add = ConsumerOp::Add("bot".to_owned(), Cursor::START);
    store.commit(StoreTxn::new(engine.now().unwrap(), [add])).await.unwrap();
    let webhook = engine.webhooks().create(CreateWebhook::to("https://b.example")).await.unwrap().webhook.id;
    // Now there is usage to be set to nothing.
    let alice = engine.keys().require("alice").await.unwrap();
    server.pass(alice.id, vpnkit_core::model::Traffic { up: 1, down: 1 });
    engine.tick().await.unwrap();
    let (before, had) = (all_of(&store).await, server.steps());

    let tried = engine.with_context(CallContext::default().dry_run());
    let mut refused = Vec::new();
    for operation in Operation::all().into_iter().filter(|operation| operation.changes) {
        let call = (operation.parse)(&arguments(operation.name, (&api_key, &webhook)).to_string()).unwrap();
        match call(&tried).await {
            Ok(_) => assert!(operation.dry_run, "{}", operation.name),
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::Unsupported, "{}: {e:?}", operation.name);
                refused.push(operation.name);
            }
        }
        assert!(all_of(&store).await == before, "{} has left something", operation.name);
        assert_eq!(server.steps(), had, "{}", operation.name);
    }
    let cannot = [
        "admins.hand_over_keys",
        "admins.delete",
        "traffic.collect",
        "store.back_up",
        "store.change_passphrase",
        "webhooks.resend",
        "webhooks.ping",
        "servers.remove",
        "servers.stop",
        "servers.start",
        "servers.reconcile",
        "tick",
    ];
    assert_eq!(refused, cannot);
    // And each of those that can be tried does something when it is meant.
    for operation in Operation::all().into_iter().filter(|operation| operation.dry_run) {
        if matches!(operation.name, "keys.reset_usage" | "admins.reset_usage") {
            // The next plan has begun with nothing used; nothing of bob's has passed.
            let bobs = KeyQuery { owner: Some(bob.id), ..KeyQuery::default() };
            let key = engine.keys().find(bobs).await.unwrap().keys[0].id;
            for key in [alice.id, key] {
                server.pass(key, vpnkit_core::model::Traffic { up: 1, down: 1 });
            }
            engine.tick().await.unwrap();
        }
        let before = all_of(&store).await;
        let call = (operation.parse)(&arguments(operation.name, (&api_key, &webhook)).to_string()).unwrap();
        match call(&engine).await {
            Ok(_) => assert!(all_of(&store).await != before, "{} does nothing", operation.name),
            // What an earlier one has deleted or taken.
            Err(e) => {
                let gone = matches!(e.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists);
                assert!(gone, "{}: {e:?}", operation.name);
            }
        }
    }
    engine.close().await.unwrap();
}
