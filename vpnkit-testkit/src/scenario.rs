//! Runs scenario files: steps, expected answers, error codes and events, on a manual clock.
//!
//! The same files run in every language of vpnkit, so a binding that behaves differently is found. A file is a
//! name and a list of steps; a step is one call, or something that happens:
//!
//! | step | meaning |
//! |---|---|
//! | `{"create": {…}, "as": "k"}` | creates a key; later steps call it `$k` |
//! | `{"update": "$k", "patch": {…}}` | changes a key; `"expected_version"`, and `"with"` that has an `idempotency_key`, may stand beside |
//! | `{"enable": "$k"}`, `{"disable": "$k"}`, `{"reset_usage": "$k"}`, `{"delete": "$k"}`, `{"get": "$k"}` | as they say |
//! | `{"pause": "$k"}`, `{"resume": "$k"}`, `{"begin_next_plan": "$k"}` | as they say |
//! | `{"extend": "$k", "with": {…}}` | extends a key; `with` may have `idempotency_key` |
//! | `{"extend_step": "free:1", "with": {…}}` | extends all keys, of which there are few; the answer has `extended`, `skipped`, `replayed` |
//! | `{"template": {…}}`, `{"remove_template": "month"}` | keeps a template; removes it |
//! | `{"templates": true}` | the names of all templates |
//! | `{"timeline": "$k"}` | what has happened to a key, the newest first: `kind`, `operation`, `actor`, `reason`, `payment` |
//! | `{"merge": "$k", "with": {"into": "$other"}}` | gives another key what is left of one; `with` may have `idempotency_key` |
//! | `{"grants": "$k"}` | the ledger of a key: `kind`, `policy`, `payment` and whether each is `undone`, and its `template` |
//! | `{"undo": "pay:1", "with": {…}}` | takes the grant of a payment back; `with` may have `reason` and `idempotency_key` |
//! | `{"find": {…}}` | finds keys; the answer is the list of their names |
//! | `{"pass": "$k", "up": 1, "down": 2}` | bytes pass on the server |
//! | `{"advance_secs": 60}` | the clock moves |
//! | `{"tick": true}` | the engine does what is due |
//! | `{"server": "down"}`, `"up"`, `"restart"` | something happens to the server |
//! | `{"lets_in": "$k"}` | whether the server would let the key in |
//! | `{"events": true}` | the kinds of events since the last such step |
//! | `{"hosts": […]}` | replaces the hosts of the inbound |
//! | `{"configure": {…}}` | replaces the settings of subscriptions |
//! | `{"token": "$k", "as": "t"}` | takes the key's token |
//! | `{"ask": "t", "headers": {…}, "format": "plain"}` | requests the subscription; the answer has `status`, `type`, `title` and the `names` of links |
//! | `{"revoke": "$k", "with": {…}}` | revokes links; `with` may have `new_credentials` and `keep_old` |
//! | `{"rotate_secret": "1 h"}` | as it says |
//! | `{"lookup": "t"}` | the name of the key whose URL has this token; `"with": {"revoked": true}` finds those that were revoked too |
//! | `{"online": "$k", "with": {"from": […]}}` | a key has connections open from these addresses |
//! | `{"devices": "$k"}`, `{"forget_device": "$k", "id": "one"}` | the ids of the devices; forgets one |
//!
//! `"by"` beside a step names who makes the call and `"because"` why; with `"dry_run"` it is only tried.
//!
//! `"expect"` beside a step holds what the answer must contain (objects are compared by the fields that are
//! named), `"error"` the code of the error that it must fail with, `"field"` the field that the error names.

mod admins;
mod subscriptions;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use vpnkit_core::model::{
    Admin, AdminId, AdminRef, CreateKey, Cursor, Event, Extension, Grant, GrantQuery, Inbound, InboundTag,
    Key, KeyId, KeyPatch, KeyQuery, KeyRef, KeyTemplate, Protocol, Traffic,
};
use vpnkit_core::store::KeyStore;
use vpnkit_core::{ManualClock, Result};
use vpnkit_engine::engine::{CallContext, Engine, EngineOptions, NewApiKey, ServerParts};

use crate::{FakeServer, Fault};

/// One file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// A sentence of what holds.
    pub name: String,
    /// What happens, in order.
    pub steps: Vec<Map<String, Value>>,
}

/// What an answer begins with that is none.
const UNKNOWN: &str = "unknown step: ";

struct Run {
    engine: Engine,
    server: Arc<FakeServer>,
    clock: ManualClock,
    keys: BTreeMap<String, KeyId>,
    tokens: BTreeMap<String, String>,
    admins: BTreeMap<String, AdminId>,
    api_keys: BTreeMap<String, NewApiKey>,
    cursor: Cursor,
}

/// Runs one file's text on an empty store; panics with the step that does not hold.
pub async fn run(text: &str, store: Arc<dyn KeyStore>) {
    let scenario: Scenario = serde_json::from_str(text).expect("a scenario");
    let (server, clock) = (Arc::new(FakeServer::new()), ManualClock::default());
    let options = EngineOptions { background: false, ..EngineOptions::default() };
    let parts =
        ServerParts { backend: server.clone(), source: server.clone(), address: "vpn.example".into() };
    let engine = Engine::open(store, Arc::new(clock.clone()), options, vec![parts]).await.unwrap();
    let inbound = Inbound::new(InboundTag::new("main").unwrap(), 443, Protocol::Vless { vision: false });
    engine.inbounds().ensure(inbound).await.unwrap();
    let cursor = engine.events().newest().await.unwrap();
    let mut run = Run {
        engine,
        server,
        clock,
        keys: BTreeMap::new(),
        tokens: BTreeMap::new(),
        admins: BTreeMap::new(),
        api_keys: BTreeMap::new(),
        cursor,
    };
    for (i, step) in scenario.steps.iter().enumerate() {
        let place = format!("{}: step {i}: {}", scenario.name, Value::Object(step.clone()));
        let answer = run.step(step).await;
        match (answer, step.get("error")) {
            (Err(e), Some(code)) => {
                assert_eq!(e.kind().code(), code.as_str().unwrap(), "{place}");
                if let Some(field) = step.get("field") {
                    assert_eq!(e.get("field"), field.as_str(), "{place}");
                }
            }
            (Err(e), None) => panic!("{place}: {e:?}"),
            (Ok(answer), Some(_)) => panic!("{place}: no error but {answer}"),
            (Ok(answer), None) => {
                if let Some(expected) = step.get("expect") {
                    assert!(holds(&answer, expected), "{place}: the answer is {answer}");
                }
            }
        }
    }
    run.engine.close().await.unwrap();
}

/// Whether `answer` has all that `expected` names.
fn holds(answer: &Value, expected: &Value) -> bool {
    match (answer, expected) {
        (Value::Object(answer), Value::Object(expected)) => {
            expected.iter().all(|(name, value)| answer.get(name).is_some_and(|a| holds(a, value)))
        }
        _ => answer == expected,
    }
}

impl Run {
    async fn step(&mut self, step: &Map<String, Value>) -> Result<Value> {
        let mut context = context(step)?;
        if let Some(admin) = step.get("as_admin") {
            let AdminRef::Id(admin) = self.admin(admin) else { panic!("an alias") };
            let scopes =
                step.get("scopes").cloned().map(|scopes| serde_json::from_value(scopes).expect("scopes"));
            context = context.as_admin(admin, scopes)?;
        }
        let engine = self.engine.with_context(context);
        let keys = engine.keys();
        let version = step.get("expected_version").and_then(Value::as_u64);
        let (verb, argument) = step
            .iter()
            .find(|(name, _)| {
                const EXTRA: [&str; 17] = [
                    "as_admin",
                    "scopes",
                    "by",
                    "because",
                    "dry_run",
                    "as",
                    "expect",
                    "error",
                    "field",
                    "patch",
                    "with",
                    "expected_version",
                    "up",
                    "down",
                    "headers",
                    "format",
                    "id",
                ];
                !EXTRA.contains(&name.as_str()) || step.len() == 1
            })
            .expect("a verb");
        match verb.as_str() {
            "create" => {
                let request: CreateKey = serde_json::from_value(argument.clone()).expect("a request");
                let key = keys.create(request).await?;
                if let Some(alias) = step.get("as").and_then(Value::as_str) {
                    self.keys.insert(alias.to_owned(), key.id);
                }
                Ok(shown(&key))
            }
            "update" => {
                let patch = step.get("patch").cloned().unwrap_or_else(|| json!({}));
                let patch: KeyPatch = serde_json::from_value(patch).expect("a patch");
                let mut given = step.get("with").and_then(Value::as_object).cloned().unwrap_or_default();
                let payment = take_text(&mut given, "idempotency_key");
                Ok(shown(&keys.update(self.key(argument), patch, payment, version).await?))
            }
            "enable" => Ok(shown(&keys.enable(self.key(argument)).await?)),
            "disable" => Ok(shown(&keys.disable(self.key(argument)).await?)),
            "reset_usage" => Ok(shown(&keys.reset_usage(self.key(argument)).await?)),
            "pause" => Ok(shown(&keys.pause(self.key(argument)).await?)),
            "resume" => Ok(shown(&keys.resume(self.key(argument)).await?)),
            "begin_next_plan" => Ok(shown(&keys.begin_next_plan(self.key(argument)).await?)),
            "extend" => {
                let mut given = step.get("with").and_then(Value::as_object).cloned().unwrap_or_default();
                let payment = take_text(&mut given, "idempotency_key");
                let extension: Extension =
                    serde_json::from_value(Value::Object(given)).expect("an extension");
                Ok(shown(&keys.extend(self.key(argument), extension, payment, version).await?))
            }
            "extend_step" => {
                let given = step.get("with").cloned().unwrap_or_else(|| json!({}));
                let extension: Extension = serde_json::from_value(given).expect("an extension");
                let payment = argument.as_str().expect("an idempotency key").to_owned();
                let done = keys.extend_step(extension, payment, None, None).await?;
                Ok(json!({ "extended": done.extended, "skipped": done.skipped, "replayed": done.replayed }))
            }
            "merge" => {
                let mut given = step.get("with").and_then(Value::as_object).cloned().unwrap_or_default();
                let payment = take_text(&mut given, "idempotency_key");
                let into = self.key(given.get("into").expect("another key"));
                Ok(shown(&keys.merge(self.key(argument), into, payment, version).await?))
            }
            "undo" => {
                let mut given = step.get("with").and_then(Value::as_object).cloned().unwrap_or_default();
                let (reason, refund) =
                    (take_text(&mut given, "reason"), take_text(&mut given, "idempotency_key"));
                let payment = argument.as_str().expect("an idempotency key");
                Ok(shown(&engine.grants().undo(payment, reason, refund).await?))
            }
            "grants" => {
                let KeyRef::Id(id) = self.key(argument) else { panic!("an alias") };
                let grants = self.engine.grants().find(GrantQuery::of(id)).await?;
                let entry = |grant: &Grant| {
                    json!({
                        "kind": grant.kind, "policy": grant.policy, "payment": grant.idempotency_key,
                        "undone": grant.undone_at.is_some(), "template": grant.template,
                    })
                };
                Ok(grants.iter().map(entry).collect())
            }
            "timeline" => {
                let entry = |event: &Event| {
                    let cause = event.cause.clone();
                    json!({
                        "kind": event.kind,
                        "operation": cause.as_ref().map(|cause| &cause.operation),
                        "actor": cause.as_ref().and_then(|cause| cause.actor.as_ref()),
                        "reason": cause.as_ref().and_then(|cause| cause.reason.as_ref()),
                        "payment": cause.as_ref().and_then(|cause| cause.idempotency_key.as_ref()),
                    })
                };
                Ok(keys.timeline(self.key(argument), None, 100).await?.iter().map(entry).collect())
            }
            "template" => {
                let template: KeyTemplate = serde_json::from_value(argument.clone()).expect("a template");
                let kept = engine.templates().ensure(template).await?;
                Ok(json!({ "name": kept.name, "data_limit": kept.data_limit, "on_hold": kept.on_hold }))
            }
            "templates" => {
                let all = engine.templates().list().await?;
                Ok(all.into_iter().map(|template| Value::String(template.name)).collect())
            }
            "remove_template" => {
                engine.templates().remove(argument.as_str().expect("a name")).await.map(|()| Value::Null)
            }
            "delete" => keys.delete(self.key(argument), version).await.map(|()| Value::Null),
            "get" => Ok(shown(&keys.require(self.key(argument)).await?)),
            "find" => {
                let query: KeyQuery = serde_json::from_value(argument.clone()).expect("a query");
                let page = keys.find(query).await?;
                Ok(page.keys.iter().map(|k| json!(k.name)).collect())
            }
            "pass" => {
                let bytes = |name: &str| step.get(name).and_then(Value::as_u64).unwrap_or(0);
                let KeyRef::Id(id) = self.key(argument) else { panic!("an alias") };
                self.server.pass(id, Traffic { up: bytes("up"), down: bytes("down") });
                Ok(Value::Null)
            }
            "online" => {
                let KeyRef::Id(id) = self.key(argument) else { panic!("an alias") };
                let from = step.get("with").and_then(|with| with.get("from")).cloned().expect("addresses");
                let from: Vec<IpAddr> = serde_json::from_value(from).expect("addresses");
                self.server.set_online(id, &from);
                Ok(Value::Null)
            }
            "advance_secs" => {
                self.clock.advance(Duration::from_secs(argument.as_u64().expect("seconds")));
                Ok(Value::Null)
            }
            "tick" => engine.tick().await.map(|()| Value::Null),
            "server" => {
                match argument.as_str() {
                    Some("down") => self.server.fail(Fault::Down),
                    Some("up") => {
                        self.server.heal();
                        self.reconcile().await?;
                    }
                    Some("restart") => self.server.restart().await,
                    other => panic!("server {other:?}"),
                }
                Ok(Value::Null)
            }
            "lets_in" => {
                let KeyRef::Id(id) = self.key(argument) else { panic!("an alias") };
                Ok(json!(self.server.lets_in(id, "main")))
            }
            "events" => {
                let batch = self.engine.events().read(self.cursor, 1000).await?;
                self.cursor = batch.next;
                Ok(batch.events.iter().map(|e| json!(e.kind.code())).collect())
            }
            other => match self.admin_step(&engine, other, argument, step).await {
                Some(answer) => answer,
                None => self.subscription(&engine, other, argument, step).await,
            },
        }
    }

    fn admin(&self, argument: &Value) -> AdminRef {
        let text = argument.as_str().expect("an alias or a name");
        match text.strip_prefix('$') {
            Some(alias) => AdminRef::Id(self.admins[alias]),
            None => AdminRef::Name(text.to_owned()),
        }
    }

    fn shown_admin(&self, admin: &Admin) -> Value {
        let below = admin.parent.and_then(|parent| self.admins.iter().find(|(_, id)| **id == parent));
        json!({
            "name": admin.name, "role": admin.role, "version": admin.version, "below": below.map(|(name, _)| name),
            "keys": admin.keys, "sold": admin.sold, "used": admin.used, "total_used": admin.total_used,
            "admins": admin.admins, "disabled": admin.disabled,
        })
    }

    async fn reconcile(&self) -> Result<()> {
        let servers = self.engine.servers();
        for status in servers.status().await? {
            servers.reconcile(&status.id).await?;
        }
        Ok(())
    }

    fn key(&self, argument: &Value) -> KeyRef {
        let text = argument.as_str().expect("an alias or a name");
        match text.strip_prefix('$') {
            Some(alias) => KeyRef::Id(self.keys[alias]),
            None => KeyRef::Name(text.to_owned()),
        }
    }
}

/// In whose name a step is done.
fn context(step: &Map<String, Value>) -> Result<CallContext> {
    let text = |name: &str| step.get(name).and_then(Value::as_str);
    let mut context = CallContext::default();
    if let Some(actor) = text("by") {
        context = context.acting_as(actor)?;
    }
    if let Some(reason) = text("because") {
        context = context.because(reason)?;
    }
    Ok(if step.get("dry_run").is_some() { context.dry_run() } else { context })
}

fn take_text(given: &mut Map<String, Value>, name: &str) -> Option<String> {
    given.remove(name).and_then(|value| value.as_str().map(str::to_owned))
}

/// A key as scenarios see it: what differs between runs is left out.
fn shown(key: &Key) -> Value {
    json!({
        "name": key.name, "label": key.label, "note": key.note, "status": key.status, "version": key.version,
        "data_limit": key.data_limit, "used": key.used, "remaining": key.remaining(),
        "up": key.traffic.up, "down": key.traffic.down, "expires_at": key.expires_at.map(|end| end.to_string()), "replayed": key.replayed,
        "credentials": key.credentials.len(), "labels": key.labels, "resets_at": key.resets_at.map(|at| at.to_string()),
        "has_next_plan": key.next_plan.is_some(),
    })
}
