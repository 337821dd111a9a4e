//! Calls in the name of admins: what they see, what they may, what their quotas stop.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use vpnkit_core::model::{
    Admin, AdminId, AdminPatch, AuditQuery, ByteSize, CreateAdmin, CreateKey, Cursor, EventKind, Extension,
    GrantQuery, HistoryQuery, Inbound, InboundSelection, InboundTag, Key, KeyPatch, KeyQuery, KeyStatus,
    KeyTemplate, NodeId, Patch, Protocol, Sort, Traffic, UsageStep,
};
use vpnkit_core::store::KeyStore;
use vpnkit_core::{ErrorKind, ManualClock, Secret};
use vpnkit_engine::engine::{CallContext, Engine, EngineOptions, KeysOfDeleted, ServerParts};
use vpnkit_engine::operation::{Access, Operation};
use vpnkit_sqlite::{SqliteOptions, SqliteStore};
use vpnkit_testkit::{FakeRules, FakeServer, Fault};

const DAY: Duration = Duration::from_secs(86_400);

struct Bed {
    directory: tempfile::TempDir,
    clock: ManualClock,
}

impl Bed {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), clock: ManualClock::default() }
    }

    async fn store(&self) -> Arc<dyn KeyStore> {
        let path = self.directory.path().join("keys.db");
        Arc::new(SqliteStore::open(path, SqliteOptions::default()).await.unwrap())
    }

    /// A process of its own, as far as the store can tell.
    async fn open(&self, servers: &[&Arc<FakeServer>]) -> Engine {
        let options = EngineOptions {
            background: false,
            programs: vec![Arc::new(FakeRules)],
            ..EngineOptions::default()
        };
        let parts = servers.iter().map(|server| ServerParts {
            backend: (*server).clone(),
            source: (*server).clone(),
            address: "192.0.2.1".into(),
        });
        let clock = Arc::new(self.clock.clone());
        Engine::open(self.store().await, clock, options, parts.collect()).await.unwrap()
    }
}

fn inbound(tag: &str, port: u16) -> Inbound {
    Inbound::new(InboundTag::new(tag).unwrap(), port, Protocol::Vless { vision: false })
}

fn as_admin(engine: &Engine, admin: AdminId) -> Engine {
    engine.with_context(CallContext::default().as_admin(admin, None).unwrap())
}

fn scoped(engine: &Engine, admin: AdminId, scopes: &[&str]) -> Engine {
    let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    engine.with_context(CallContext::default().as_admin(admin, Some(scopes)).unwrap())
}

async fn admin(engine: &Engine, request: CreateAdmin) -> Admin {
    engine.admins().create(request, None).await.unwrap()
}

async fn call(engine: &Engine, operation: &str, arguments: Value) -> Result<String, vpnkit_core::Error> {
    let call = (Operation::named(operation).unwrap().parse)(&arguments.to_string()).unwrap();
    call(engine).await.map(|answer| answer.to_json())
}

/// Arguments that name what belongs to another reseller. What is open to resellers and is not here fails the test: a new operation
/// has to say what a foreign admin would ask it for.
fn foreign(operation: &str, key: &Key, other: &Admin, mine: &Key, api_key: &str) -> Value {
    let (id, name) = (key.id, key.name.as_ref().map(ToString::to_string));
    match operation {
        "keys.get"
        | "keys.require"
        | "keys.pause"
        | "keys.resume"
        | "keys.begin_next_plan"
        | "keys.enable"
        | "keys.disable"
        | "keys.reset_usage"
        | "keys.delete"
        | "keys.timeline"
        | "keys.endpoints"
        | "keys.links"
        | "traffic.online_key"
        | "traffic.chart"
        | "subscriptions.token"
        | "subscriptions.url"
        | "subscriptions.render"
        | "subscriptions.devices" => json!({ "key": id }),
        "keys.create" => {
            json!({ "request": { "name": name, "owner": other.id, "idempotency_key": "pay:1" } })
        }
        "keys.create_many" => json!({ "requests": [{ "owner": other.id }], "idempotency_key": null }),
        "keys.find" | "keys.count" => json!({ "query": { "owner": other.id } }),
        "keys.lookup" => json!({ "text": format!("https://a.example/{name:?}"), "revoked": true }),
        "keys.update" => json!({ "key": name, "patch": { "owner": mine.owner } }),
        "keys.extend" => json!({ "key": id, "extension": { "data_limit": 1 }, "idempotency_key": "pay:1" }),
        "keys.extend_step" => {
            json!({ "extension": { "data_limit": 1 }, "idempotency_key": "all", "query": { "owner": other.id } })
        }
        "keys.merge" => json!({ "key": id, "into": mine.id }),
        "keys.delete_many" => json!({ "ids": [id] }),
        "grants.find" => json!({ "query": { "key": id } }),
        "grants.undo" => json!({ "grant": "pay:1" }),
        "templates.get" => json!({ "name": "month" }),
        "templates.list" | "traffic.online" | "events.newest" | "admins.current" | "now" => json!({}),
        "traffic.history" => json!({ "query": { "admin": other.id } }),
        "subscriptions.revoke" => json!({ "key": id, "new_credentials": true }),
        "subscriptions.forget_device" => json!({ "key": id, "id": null }),
        "events.read" => json!({ "after": 0 }),
        "events.audit" => json!({ "query": { "by_admin": other.id } }),
        "admins.create" => json!({ "request": { "name": "x", "parent": other.id } }),
        "admins.get"
        | "admins.require"
        | "admins.reset_usage"
        | "admins.disable_keys"
        | "admins.enable_keys"
        | "admins.api_keys" => json!({ "admin": other.id }),
        "admins.list" => json!({ "below": other.id }),
        "admins.update" => json!({ "admin": other.name, "patch": { "key_limit": 0 } }),
        "admins.hand_over_keys" => json!({ "admin": other.id, "to": mine.owner }),
        "admins.delete" => json!({ "admin": other.id, "keys": "delete" }),
        "admins.set_password" => json!({ "admin": other.id, "password": "long enough" }),
        "admins.create_api_key" => json!({ "admin": other.id, "name": "x" }),
        "admins.revoke_api_key" => json!({ "id": api_key }),
        other => panic!("{other} is open to resellers: say what a foreign one would ask it for"),
    }
}

/// A new operation is closed until it says otherwise, and then shows and changes nothing of others.
#[tokio::test]
async fn every_operation_is_closed_to_a_foreign_admin() {
    let (bed, server) = (Bed::new(), Arc::new(FakeServer::named("main/fake".parse().unwrap())));
    let engine = bed.open(&[&server]).await;
    engine.inbounds().ensure(inbound("main", 443)).await.unwrap();
    let bees = admin(&engine, CreateAdmin::named("bees").admin_limit(5)).await;
    let mallory = admin(&engine, CreateAdmin { admin_limit: 5, ..CreateAdmin::named("mallory") }).await;
    let request = CreateKey::named("bees-key").label("bees").note("bees").data_limit(ByteSize::gib(1));
    let request = CreateKey { owner: Some(bees.id), ..request.expires_in(30 * DAY) };
    let key =
        as_admin(&engine, bees.id).keys().create(request.clone().idempotency_key("pay:1")).await.unwrap();
    // Paid under the same text to the application itself, too.
    let request = CreateKey { owner: Some(bees.id), ..CreateKey::named("bees-paid") };
    engine.keys().create(request.idempotency_key("pay:1")).await.unwrap();
    let nobodys = engine.keys().create(CreateKey::named("bees-nobodys")).await.unwrap();
    let own = CreateKey::named("mine").data_limit(ByteSize::gib(1)).expires_in(DAY);
    let mine = as_admin(&engine, mallory.id).keys().create(own).await.unwrap();
    let api_key = engine.admins().create_api_key(bees.id, "bees", None, None).await.unwrap().key.id;
    server.pass(key.id, Traffic { up: 5, down: 5 });
    engine.tick().await.unwrap();
    let theirs = async || {
        let store = bed.store().await;
        let keys = store.find(&KeyQuery::default()).await.unwrap().keys;
        let keys: Vec<Key> = keys.into_iter().filter(|key| key.owner != Some(mallory.id)).collect();
        let records = store.records(&Default::default()).await.unwrap();
        let admin = store.admin(&bees.id.into()).await.unwrap();
        let grants = store.grants(&Default::default()).await.unwrap();
        let grants: Vec<_> = grants.into_iter().filter(|grant| grant.owner != Some(mallory.id)).collect();
        store.close().await.unwrap();
        format!("{keys:?} {admin:?} {records:?} {grants:?}")
    };
    let before = theirs().await;
    let caller = as_admin(&engine, mallory.id);
    let hidden = [key.uid.to_string(), "bees".to_owned(), format!("\"owner\":{}", bees.id)];
    let mut open = 0;
    for operation in Operation::all() {
        let closed = operation.access == Access::Sudo;
        if closed {
            // Whatever is asked for: nothing is even looked at.
            let refused = match operation.name {
                "servers.status" | "tick" | "inbounds.list" | "events.read" => {
                    call(&caller, operation.name, json!({})).await.unwrap_err()
                }
                _ => continue,
            };
            assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{}", operation.name);
            continue;
        }
        open += 1;
        for key in [&key, &nobodys] {
            let asked = foreign(operation.name, key, &bees, &mine, &api_key);
            let answer = call(&caller, operation.name, asked.clone()).await;
            assert_eq!(theirs().await, before, "{} {asked}", operation.name);
            match answer {
                Ok(answer) => {
                    let told = hidden.iter().find(|hidden| answer.contains(hidden.as_str()));
                    assert_eq!(told, None, "{} {asked}: {answer}", operation.name);
                }
                Err(e) => {
                    let kinds = [ErrorKind::NotFound, ErrorKind::PermissionDenied, ErrorKind::AlreadyExists];
                    assert!(kinds.contains(&e.kind()), "{} {asked}: {e:?}", operation.name);
                    // The name that is taken is the one that was asked for.
                    let told = format!("{e:?}");
                    assert!(!told.contains(&key.uid.to_string()), "{}: {told}", operation.name);
                }
            }
        }
    }
    assert!(open > 40, "{open}");
    // A deleted admin may nothing, from the next call on.
    engine.admins().delete(mallory.id, KeysOfDeleted::Delete, None).await.unwrap();
    assert_eq!(caller.keys().get("mine").await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    engine.close().await.unwrap();
}

/// All closed operations, with whatever arguments they read, are refused before anything is done.
#[tokio::test]
async fn what_is_not_open_is_refused_first() {
    let bed = Bed::new();
    let engine = bed.open(&[]).await;
    let bob = admin(&engine, CreateAdmin::named("bob")).await;
    let caller = as_admin(&engine, bob.id);
    let asked = |operation: &str| match operation {
        "templates.ensure" => json!({ "template": { "name": "x" } }),
        "templates.remove" | "subscriptions.remove_template" => json!({ "name": "x" }),
        "traffic.set_coefficient" => json!({ "node": "main", "percent": 1 }),
        "inbounds.ensure" => json!({ "inbound": inbound("x", 1) }),
        "inbounds.get" | "inbounds.remove" => json!({ "tag": "x" }),
        "hosts.preview" => json!({ "key": 1, "tag": "x", "hosts": [] }),
        "hosts.set" => json!({ "tag": "x", "hosts": [] }),
        "subscriptions.configure" => json!({ "settings": {} }),
        "subscriptions.update" => json!({ "patch": {} }),
        "subscriptions.for_request" => json!({ "token": "x", "headers": [] }),
        "subscriptions.rotate_secret" => json!({ "keep": "1 h" }),
        "subscriptions.put_template" => {
            json!({ "name": "x", "template": { "content_type": "text/plain", "source": "x" } })
        }
        "servers.remove" | "servers.stop" | "servers.start" | "servers.reconcile" | "servers.log" => {
            json!({ "id": "main/fake" })
        }
        "keys.placement" => json!({ "key": 1 }),
        "store.back_up" => json!({ "path": "/nowhere/x.db" }),
        "inbounds.rotate_keys" => json!({ "tag": "x", "keep_old": "1 h" }),
        "store.change_passphrase" => json!({ "previous": "old", "passphrase": "new" }),
        "events.remove_consumer" => json!({ "name": "x" }),
        "webhooks.get"
        | "webhooks.delete"
        | "webhooks.resend"
        | "webhooks.ping"
        | "webhooks.dead_letters" => {
            json!({ "id": "x" })
        }
        "webhooks.update" => json!({ "id": "x", "patch": {} }),
        "webhooks.rotate_secret" => json!({ "id": "x", "keep": "1 h" }),
        "webhooks.create" => json!({ "request": { "url": "http://x" } }),
        "admins.check_password" => json!({ "name": "bob", "password": "x" }),
        "admins.check_api_key" => json!({ "token": "x" }),
        _ => json!({}),
    };
    let mut closed = Vec::new();
    for operation in Operation::all().into_iter().filter(|operation| operation.access == Access::Sudo) {
        let Ok(run) = (operation.parse)(&asked(operation.name).to_string()) else {
            panic!("{} cannot be called: say with which arguments", operation.name)
        };
        let refused = run(&caller).await.map(|_| ()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{}", operation.name);
        closed.push(operation.name);
    }
    assert!(closed.contains(&"servers.stop") && closed.contains(&"inbounds.list"), "{closed:?}");
    // In the name of sudo all of them are open.
    let root = admin(&engine, CreateAdmin::named("root").sudo()).await;
    let root = as_admin(&engine, root.id);
    assert!(root.inbounds().list().await.unwrap().is_empty());
    assert_eq!(root.keys().create(CreateKey::default()).await.unwrap().owner, None);
    assert_eq!(root.admins().list(None).await.unwrap().len(), 2);
    engine.close().await.unwrap();
}

/// Scopes restrict sudo, too; nobody gives what he does not have.
#[tokio::test]
async fn scopes_restrict_what_an_admin_may() {
    let bed = Bed::new();
    let engine = bed.open(&[]).await;
    let root = admin(&engine, CreateAdmin::named("root").sudo()).await.id;
    let denied = |e: vpnkit_core::Error| e.kind() == ErrorKind::PermissionDenied;
    let reader = scoped(&engine, root, &["keys:read", "templates"]);
    assert!(reader.keys().create(CreateKey::default()).await.is_err_and(denied));
    assert!(reader.inbounds().list().await.is_err_and(denied));
    assert!(reader.keys().find(KeyQuery::default()).await.is_ok());
    reader.templates().ensure(KeyTemplate::named("month")).await.unwrap();
    assert!(scoped(&engine, root, &["*:read"]).keys().create(CreateKey::default()).await.is_err_and(denied));
    scoped(&engine, root, &["*"]).keys().create(CreateKey::default()).await.unwrap();
    assert!(scoped(&engine, root, &[]).keys().find(KeyQuery::default()).await.is_err_and(denied));
    assert!(scoped(&engine, root, &[]).now().is_ok());
    for wrong in ["", "key", "keys:write", ":read", "*:all"] {
        let fault = CallContext::default().as_admin(root, Some(vec![wrong.to_owned()])).unwrap_err();
        assert_eq!((fault.kind(), fault.get("field")), (ErrorKind::InvalidInput, Some("scopes")), "{wrong}");
    }
    // A kit of an admin is not made another one's, or wider.
    let held = CallContext::default().as_admin(root, Some(vec!["keys".to_owned()])).unwrap();
    assert!(held.clone().as_admin(AdminId(99), None).is_err_and(denied));
    assert!(held.clone().as_admin(root, None).is_err_and(denied));
    assert!(held.clone().as_admin(root, Some(vec!["admins".to_owned()])).is_err_and(denied));
    assert!(held.as_admin(root, Some(vec!["keys".to_owned()])).is_ok());

    let admins = scoped(&engine, root, &["admins", "keys:read"]).admins();
    let scopes = |scopes: &[&str]| Some(scopes.iter().map(|scope| (*scope).to_owned()).collect::<Vec<_>>());
    assert!(admins.create_api_key(root, "x", None, None).await.is_err_and(denied));
    assert!(admins.create_api_key(root, "x", scopes(&["keys"]), None).await.is_err_and(denied));
    // A password is restricted by no scopes.
    let password = || Some(Secret::new("long enough"));
    assert!(admins.set_password(root, password()).await.is_err_and(denied));
    assert!(admins.create(CreateAdmin::named("y").sudo(), password()).await.is_err_and(denied));
    assert!(admins.disable_keys(root).await.is_err_and(denied));
    assert!(admins.delete(root, KeysOfDeleted::Delete, None).await.is_err_and(denied));
    let made = admins.create_api_key(root, "x", scopes(&["keys:read"]), None).await.unwrap();
    let found = engine.admins().check_api_key(made.token.clone()).await.unwrap().unwrap();
    assert_eq!((found.admin, found.scopes.as_deref()), (root, scopes(&["keys:read"]).as_deref()));
    assert!(!format!("{made:?}").contains(made.token.expose()));
    engine.close().await.unwrap();
}

/// Passwords and API keys, also from another process, after revocation and past their end.
#[tokio::test]
async fn who_signs_in_is_known() {
    let bed = Bed::new();
    let (engine, other) = (bed.open(&[]).await, bed.open(&[]).await);
    let secret = |text: &str| Secret::new(text);
    let short = engine.admins().create(CreateAdmin::named("bob"), Some(secret("short"))).await.unwrap_err();
    assert_eq!((short.kind(), short.get("field")), (ErrorKind::InvalidInput, Some("password")));
    assert!(engine.admins().list(None).await.unwrap().is_empty());
    let bob = engine.admins().create(CreateAdmin::named("bob"), Some(secret("correct horse"))).await.unwrap();
    let check = async |name: &str, password: &str| {
        other.admins().check_password(name, secret(password)).await.unwrap().map(|admin| admin.id)
    };
    assert_eq!(check("BOB", "correct horse").await, Some(bob.id));
    assert_eq!(check("bob", "correct hors").await, None);
    assert_eq!(check("nobody", "correct horse").await, None);
    engine.admins().set_password(bob.id, Some(secret("battery staple"))).await.unwrap();
    assert_eq!(check("bob", "correct horse").await, None);
    assert_eq!(check("bob", "battery staple").await, Some(bob.id));
    let off = |disabled| AdminPatch { disabled: Some(disabled), ..AdminPatch::default() };
    engine.admins().update(bob.id, off(true), None).await.unwrap();
    assert_eq!(check("bob", "battery staple").await, None);
    engine.admins().update(bob.id, off(false), None).await.unwrap();

    let made = engine.admins().create_api_key("bob", "site", None, Some(DAY)).await.unwrap();
    let token = async |token: &Secret| {
        other.admins().check_api_key(token.clone()).await.unwrap().map(|key| key.admin)
    };
    assert_eq!(token(&made.token).await, Some(bob.id));
    let wrong = Secret::new(format!("{}x", made.token.expose()));
    assert_eq!(
        (token(&wrong).await, token(&secret("vpnkit_")).await, token(&secret("")).await),
        (None, None, None)
    );
    bed.clock.advance(DAY);
    assert_eq!(token(&made.token).await, None);
    let made = engine.admins().create_api_key("bob", "site", None, None).await.unwrap();
    assert_eq!(engine.admins().api_keys("bob").await.unwrap().len(), 2);
    other.admins().revoke_api_key(&made.key.id).await.unwrap();
    assert_eq!(token(&made.token).await, None);
    let gone = engine.admins().revoke_api_key(&made.key.id).await.unwrap_err();
    assert_eq!((gone.kind(), gone.get("field")), (ErrorKind::NotFound, Some("id")));
    // With the admin all of it goes: one of the same name has none of it.
    engine.admins().delete(bob.id, KeysOfDeleted::Refuse, None).await.unwrap();
    let again = admin(&engine, CreateAdmin::named("bob")).await;
    assert_eq!(check("bob", "battery staple").await, None);
    assert!(engine.admins().api_keys(again.id).await.unwrap().is_empty());
    let store = bed.store().await;
    assert!(
        store.records(&Default::default()).await.unwrap().iter().all(|record| !record.kind.contains("key"))
    );
    store.close().await.unwrap();
    // In the name of an admin: its own password, and that of those below it.
    let boss = admin(&engine, CreateAdmin::named("boss").admin_limit(1)).await;
    let child = as_admin(&engine, boss.id).admins().create(CreateAdmin::named("child"), None).await.unwrap();
    assert_eq!(child.parent, Some(boss.id));
    for name in ["boss", "child"] {
        as_admin(&engine, boss.id).admins().set_password(name, Some(secret("long enough"))).await.unwrap();
        assert!(check(name, "long enough").await.is_some());
    }
    engine.close().await.unwrap();
    other.close().await.unwrap();
}

/// What a hostile reseller has tried: names by page tokens, payments of others, credentials by hand, locks, what is said of others.
#[tokio::test]
async fn a_hostile_reseller_learns_and_takes_nothing() {
    let bed = Bed::new();
    let engine = bed.open(&[]).await;
    let boss = admin(
        &engine,
        CreateAdmin {
            note: Some("owes us".into()),
            ..CreateAdmin::named("boss").key_limit(4).admin_limit(1)
        },
    );
    let boss = boss.await.id;
    let low = admin(&engine, CreateAdmin::named("low").below(boss)).await.id;
    let (bosses, lows) = (as_admin(&engine, boss), as_admin(&engine, low));
    // A payment that the application is told of later is not one that a reseller has named so before.
    let own = bosses
        .keys()
        .create(CreateKey::named("own").data_limit(ByteSize::gib(1)).expires_in(DAY))
        .await
        .unwrap();
    let early = Extension::default().expires_in(Duration::from_secs(1));
    bosses.keys().extend(own.id, early, Some("inv:1042".into()), None).await.unwrap();
    let month = Extension::default().expires_in(30 * DAY);
    let gone = engine
        .keys()
        .extend("renamed-meanwhile", month.clone(), Some("inv:1042".into()), None)
        .await
        .unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    let customer = engine.keys().create(CreateKey::named("customer").expires_in(DAY)).await.unwrap();
    engine.keys().extend(customer.id, month, Some("inv:1042".into()), None).await.unwrap();
    assert_eq!(engine.grants().undo("inv:1042", None, None).await.unwrap().id, customer.id);
    // What was said for the operator is not told.
    engine
        .with_context(CallContext::default().acting_as("support").unwrap().because("he is a cheat").unwrap())
        .keys()
        .disable(own.id)
        .await
        .unwrap();
    let told = bosses.keys().timeline(own.id, None, 1).await.unwrap().remove(0).cause.unwrap();
    assert_eq!((told.operation.as_str(), told.actor, told.reason), ("keys.disable", None, None));
    assert_eq!(bosses.admins().current().await.unwrap().unwrap().note, None);
    // Quotas above it are not its business.
    for _ in 0..3 {
        lows.keys().create(CreateKey::default()).await.unwrap();
    }
    let full = lows.keys().create(CreateKey::default()).await.unwrap_err();
    assert_eq!((full.get("quota"), full.get("admin"), full.get("now")), (Some("keys"), None, None));
    // Ways in that nobody counts.
    let by_hand = CreateKey { credentials: own.credentials.clone(), ..CreateKey::default() };
    let field = |e: vpnkit_core::Error| (e.kind(), e.get("field").map(str::to_owned));
    let denied = |field: &str| (ErrorKind::PermissionDenied, Some(field.to_owned()));
    assert_eq!(field(bosses.keys().create(by_hand).await.unwrap_err()), denied("credentials"));
    let unlock = KeyPatch { locked_until: Patch::Clear, ..KeyPatch::default() };
    assert_eq!(
        field(bosses.keys().update(own.id, unlock, None, None).await.unwrap_err()),
        denied("locked_until")
    );
    let many = bosses.keys().create_many(vec![CreateKey::default(); 501], None).await.unwrap_err();
    assert_eq!((many.kind(), many.get("field")), (ErrorKind::LimitReached, Some("requests")));
    // A forged place on a page tells of no name: it is that of a key that is not there.
    let first =
        lows.keys().find(KeyQuery { sort: Sort::Name, limit: 1, ..KeyQuery::default() }).await.unwrap();
    assert!(first.next.is_some());
    let chart = lows.traffic().chart(customer.id, 30).await.unwrap_err();
    assert_eq!(chart.kind(), ErrorKind::NotFound);
    // Sudo that has come below it by an older way is not its own.
    assert_eq!(
        field(bosses.admins().create(CreateAdmin::named("x").sudo(), None).await.unwrap_err()),
        denied("role")
    );
    engine.close().await.unwrap();
}

/// The keys of a tree leave all servers, those of another process too, and come back.
#[tokio::test]
async fn a_quota_stops_keys_on_every_server() {
    let bed = Bed::new();
    let near = Arc::new(FakeServer::named("main/fake".parse().unwrap()));
    let far = Arc::new(FakeServer::named("edge/fake".parse().unwrap()));
    let (engine, other) = (bed.open(&[&near]).await, bed.open(&[&far]).await);
    engine.inbounds().ensure(inbound("main", 443)).await.unwrap();
    let mut edge = inbound("edge", 443);
    edge.node = NodeId::new("edge").unwrap();
    other.inbounds().ensure(edge).await.unwrap();
    let boss = CreateAdmin::named("boss").used_limit(ByteSize::from_bytes(1_000)).admin_limit(1);
    let boss = admin(&engine, boss).await.id;
    let child = admin(&engine, CreateAdmin::named("child").below(boss)).await.id;
    let of = |owner| CreateKey { owner: Some(owner), ..CreateKey::default() };
    let (one, two) =
        (engine.keys().create(of(boss)).await.unwrap().id, engine.keys().create(of(child)).await.unwrap().id);
    let free = engine.keys().create(CreateKey::default()).await.unwrap().id;
    let settle = async || {
        for _ in 0..3 {
            engine.tick().await.unwrap();
            other.tick().await.unwrap();
        }
    };
    settle().await;
    let lets_in = |key| (near.lets_in(key, "main"), far.lets_in(key, "edge"));
    assert_eq!((lets_in(one), lets_in(two)), ((true, true), (true, true)));
    let from = engine.events().newest().await.unwrap();
    near.pass(one, Traffic { up: 300, down: 300 });
    far.pass(two, Traffic { up: 300, down: 300 });
    settle().await;
    assert_eq!((lets_in(one), lets_in(two), lets_in(free)), ((false, false), (false, false), (true, true)));
    let status = async |key| other.keys().require(key).await.unwrap().status;
    assert_eq!((status(one).await, status(two).await), (KeyStatus::Suspended, KeyStatus::Suspended));
    let events = engine.events().read(from, 100).await.unwrap().events;
    let told = |kind: EventKind| events.iter().filter(|event| event.kind == kind).count();
    assert_eq!((told(EventKind::AdminQuotaReached), told(EventKind::KeySuspended)), (1, 2));
    // Again once there is more, at once.
    other.admins().reset_usage("boss").await.unwrap();
    assert_eq!(status(two).await, KeyStatus::Active);
    settle().await;
    assert_eq!((lets_in(one), lets_in(two)), ((true, true), (true, true)));
    // What has passed, by admin.
    let total = async |admin: AdminId| {
        let query = HistoryQuery { step: UsageStep::Month, ..HistoryQuery::of_admin(admin) };
        engine.traffic().history(query).await.unwrap().iter().map(|p| p.traffic.total()).sum::<u64>()
    };
    assert_eq!((total(boss).await, total(child).await), (1_200, 600));
    engine.close().await.unwrap();
    other.close().await.unwrap();
}

/// Fifty nodes, one of which is down meanwhile: the others go on, and it follows.
#[tokio::test]
async fn a_quota_stops_keys_on_fifty_nodes() {
    let bed = Bed::new();
    let named = |n: usize| format!("n{n}/fake").parse().unwrap();
    let servers: Vec<Arc<FakeServer>> = (0..50).map(|n| Arc::new(FakeServer::named(named(n)))).collect();
    let engine = bed.open(&servers.iter().collect::<Vec<_>>()).await;
    for n in 0..50 {
        let on = Inbound { node: NodeId::new(format!("n{n}")).unwrap(), ..inbound("main", 443) };
        engine.inbounds().ensure(on).await.unwrap();
    }
    let boss = CreateAdmin::named("boss").used_limit(ByteSize::from_bytes(1_000));
    let boss = admin(&engine, boss).await.id;
    let request = CreateKey { owner: Some(boss), ..CreateKey::default() };
    let key = engine.keys().create(request).await.unwrap().id;
    let open = || servers.iter().filter(|server| server.lets_in(key, "main")).count();
    assert_eq!(open(), 50);
    servers[7].fail(Fault::Down);
    // Half of it passes through one node, half through another.
    servers[3].pass(key, Traffic { up: 300, down: 300 });
    servers[41].pass(key, Traffic { up: 300, down: 300 });
    engine.tick().await.unwrap();
    assert_eq!(engine.keys().require(key).await.unwrap().status, KeyStatus::Suspended);
    assert_eq!(open(), 1, "but for the node that is down");
    servers[7].heal();
    let _ = engine.servers().reconcile(&named(7)).await;
    assert_eq!(open(), 0);
    engine.admins().reset_usage(boss).await.unwrap();
    engine.tick().await.unwrap();
    assert_eq!(open(), 50);
    engine.close().await.unwrap();
}

/// Two processes sell the last key at once, many times.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_key_is_sold_by_one_process() {
    let bed = Bed::new();
    let (engine, other) = (bed.open(&[]).await, bed.open(&[]).await);
    let bob = admin(&engine, CreateAdmin::named("bob").key_limit(0)).await.id;
    for limit in 1..=20u64 {
        let patch = AdminPatch::default().key_limit(limit);
        engine.admins().update(bob, patch, None).await.unwrap();
        let (here, there) = (as_admin(&engine, bob), as_admin(&other, bob));
        let (here, there) = (here.keys(), there.keys());
        let (one, two) = tokio::join!(here.create(CreateKey::default()), there.create(CreateKey::default()));
        let won = [&one, &two].iter().filter(|outcome| outcome.is_ok()).count();
        let lost = [one, two].into_iter().find_map(Result::err).unwrap();
        assert_eq!((won, lost.kind(), lost.get("quota")), (1, ErrorKind::LimitReached, Some("keys")));
    }
    assert_eq!(engine.admins().require(bob).await.unwrap().keys, 20);
    engine.close().await.unwrap();
    other.close().await.unwrap();
}

/// Switched off and on, handed over, released and deleted: more keys than one step takes.
#[tokio::test]
async fn all_keys_of_an_admin_are_changed() {
    let bed = Bed::new();
    let engine = bed.open(&[]).await;
    let bob = admin(&engine, CreateAdmin::named("bob")).await.id;
    let carol = admin(&engine, CreateAdmin::named("carol").key_limit(1_150)).await.id;
    let of = |count: usize| vec![CreateKey { owner: Some(bob), ..CreateKey::default() }; count];
    engine.keys().create_many(of(1_200), None).await.unwrap();
    let free = engine.keys().create(CreateKey::default()).await.unwrap().id;
    let count = async |owner: AdminId| {
        engine.keys().count(KeyQuery { owner: Some(owner), ..KeyQuery::default() }).await.unwrap()
    };
    assert_eq!(engine.admins().disable_keys(bob).await.unwrap(), 1_200);
    assert_eq!(engine.admins().disable_keys(bob).await.unwrap(), 0);
    assert_eq!(count(bob).await.disabled, 1_200);
    assert_eq!(engine.admins().enable_keys("bob").await.unwrap(), 1_200);
    // Beyond a quota they stay where they were.
    let full = engine.admins().hand_over_keys(bob, carol).await.unwrap_err();
    assert_eq!(
        (full.kind(), full.get("quota"), full.get("changed")),
        (ErrorKind::LimitReached, Some("keys"), Some("1150"))
    );
    assert_eq!((count(bob).await.total, count(carol).await.total), (50, 1_150));
    engine.admins().update(carol, AdminPatch::default().key_limit(None), None).await.unwrap();
    assert_eq!(engine.admins().hand_over_keys(bob, carol).await.unwrap(), 50);
    assert_eq!(engine.admins().hand_over_keys(carol, carol).await.unwrap(), 0);

    let kept = engine.admins().delete(carol, KeysOfDeleted::Refuse, None).await.unwrap_err();
    assert_eq!(kept.kind(), ErrorKind::Conflict);
    engine.admins().delete(bob, KeysOfDeleted::Refuse, None).await.unwrap();
    let one =
        engine.keys().find(KeyQuery { owner: Some(carol), ..KeyQuery::default() }).await.unwrap().keys[0].id;
    engine.admins().delete(carol, KeysOfDeleted::Release, None).await.unwrap();
    assert_eq!(engine.keys().require(one).await.unwrap().owner, None);
    let last = admin(&engine, CreateAdmin::named("last")).await.id;
    let owner = KeyPatch { owner: Patch::Set(last), ..KeyPatch::default() };
    engine.keys().update(one, owner, None, None).await.unwrap();
    engine.admins().delete(last, KeysOfDeleted::Delete, None).await.unwrap();
    assert!(engine.keys().get(one).await.unwrap().is_none());
    assert!(engine.keys().get(free).await.unwrap().is_some());
    engine.close().await.unwrap();
}

/// What is not said is filled in; what is said is refused with its field.
#[tokio::test]
async fn a_reseller_gets_what_it_may_sell() {
    let (bed, server) = (Bed::new(), Arc::new(FakeServer::named("main/fake".parse().unwrap())));
    let engine = bed.open(&[&server]).await;
    for (tag, port) in [("a", 1), ("b", 2)] {
        engine.inbounds().ensure(inbound(tag, port)).await.unwrap();
    }
    for (name, gib) in [("month", 50), ("year", 500)] {
        let template = KeyTemplate::named(name).data_limit(ByteSize::gib(gib)).expires_in(30 * DAY);
        engine.templates().ensure(template).await.unwrap();
    }
    let tag = |tag: &str| InboundTag::new(tag).unwrap();
    let request = CreateAdmin {
        inbounds: InboundSelection::Only(vec![tag("a")]),
        templates: Some(vec!["month".into()]),
        ..CreateAdmin::named("bob")
    };
    let bob = admin(&engine, request).await.id;
    let bobs = as_admin(&engine, bob);
    assert_eq!(bobs.templates().list().await.unwrap().len(), 1);
    assert!(bobs.templates().get("year").await.unwrap().is_none());
    let key = bobs.keys().create(CreateKey::named("k").template("month")).await.unwrap();
    assert_eq!((key.owner, key.data_limit), (Some(bob), Some(ByteSize::gib(50))));
    assert_eq!(key.inbounds, InboundSelection::Only(vec![tag("a")]));
    let fault = async |request: CreateKey| {
        let e = bobs.keys().create(request).await.unwrap_err();
        (e.kind(), e.get("field").map(str::to_owned))
    };
    let denied = |field: &str| (ErrorKind::PermissionDenied, Some(field.to_owned()));
    assert_eq!(fault(CreateKey::named("x")).await, denied("template"));
    assert_eq!(fault(CreateKey::named("x").template("year")).await, denied("template"));
    let more = CreateKey::named("x").template("month").data_limit(ByteSize::gib(900));
    assert_eq!(fault(more).await, denied("data_limit"));
    let longer = CreateKey::named("x").template("month").expires_in(900 * DAY);
    assert_eq!(fault(longer).await, denied("expires_in"));
    let extended = bobs
        .keys()
        .extend("k", Extension::default().template("month"), Some("p".into()), None)
        .await
        .unwrap();
    assert_eq!(extended.data_limit, Some(ByteSize::gib(100)));
    let by_hand = Extension::default().template("month").data_limit(ByteSize::gib(1));
    let e = bobs.keys().extend("k", by_hand, None, None).await.unwrap_err();
    assert_eq!((e.kind(), e.get("field")), (ErrorKind::PermissionDenied, Some("data_limit")));
    let e = bobs.keys().reset_usage("k").await.unwrap_err();
    assert_eq!((e.kind(), e.get("field")), (ErrorKind::PermissionDenied, Some("reset_usage")));
    // Who it was stands everywhere.
    let event = bobs.keys().timeline("k", None, 1).await.unwrap().remove(0);
    assert_eq!((event.admin(), event.cause.unwrap().by_admin), (Some(bob), Some(bob)));
    let grants = engine.grants().find(GrantQuery::of(key.id)).await.unwrap();
    assert!(grants.iter().all(|grant| grant.by_admin == Some(bob)), "{grants:?}");
    // Handed over: the one before sees nothing of it any more, the next one not what was before.
    let carol = admin(&engine, CreateAdmin::named("carol")).await.id;
    let owner = KeyPatch { owner: Patch::Set(carol), ..KeyPatch::default() };
    engine.keys().update("k", owner, None, None).await.unwrap();
    assert!(bobs.keys().get("k").await.unwrap().is_none());
    let carols = as_admin(&engine, carol);
    assert_eq!(carols.keys().timeline(key.id, None, 100).await.unwrap().len(), 1);
    assert_eq!(carols.grants().find(GrantQuery::of(key.id)).await.unwrap().len(), 0);
    // Its own calls, and nobody else's.
    let audit = async |of: &Engine| of.events().audit(AuditQuery::default()).await.unwrap();
    assert!(audit(&bobs).await.iter().all(|event| event.cause.as_ref().unwrap().by_admin == Some(bob)));
    assert!(audit(&bobs).await.len() >= 2 && audit(&carols).await.is_empty());
    assert!(audit(&engine).await.len() > audit(&bobs).await.len());
    let one = AuditQuery {
        operation: Some("keys.extend".into()),
        by_admin: Some(bob),
        limit: 1,
        ..AuditQuery::default()
    };
    let found = engine.events().audit(one).await.unwrap();
    assert_eq!(found[0].cause.as_ref().unwrap().idempotency_key.as_deref(), Some("p"));
    // The payment of before grants it nothing of the first one's.
    let more = Extension::default().data_limit(ByteSize::gib(1));
    let again = carols.keys().extend("k", more, Some("p".into()), None).await.unwrap();
    assert!(!again.replayed);
    let mut stream = carols.events().stream(Cursor::START);
    let first = stream.next().await.unwrap().unwrap();
    assert_eq!(first.admin(), Some(carol));
    engine.close().await.unwrap();
}
