//! What is generated from the operations and records of the facade: the surface as data in `vpnkit-bindings/surface`, and
//! the records and methods of Python and TypeScript.

mod docs;
mod model;
mod python;
mod python_nouns;
mod typescript;
mod typescript_nouns;

use std::collections::{BTreeMap, BTreeSet};

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use vpnkit::operation::{self, Operation};
use vpnkit::{Config, ErrorKind, EventKind, KeyStatus, ReminderPolicy, ServerConfig, SharingPolicy};

use self::model::Surface;
use self::python_nouns::Waiting;

/// Each noun: its class in Python and TypeScript, and what the class says of itself.
const NOUNS: &[(&str, &str, &str)] = &[
    (
        "keys",
        "Keys",
        "Creates, finds, changes and deletes keys. Every change is committed before it is applied to a server; a server that is \
         down delays a key, it never loses one.",
    ),
    ("admins", "Admins", "Keeps admins: a tree of sudo and resellers with quotas, passwords and API keys."),
    ("grants", "Grants", "Shows the ledger of what keys were given, and takes grants back."),
    (
        "templates",
        "KeyTemplates",
        "Keeps the products of a shop: templates that keys are created and extended with.",
    ),
    ("inbounds", "Inbounds", "Adds, changes and removes inbounds."),
    (
        "hosts",
        "Hosts",
        "Says how clients reach inbounds. An inbound without hosts is reached at its server's own address.",
    ),
    (
        "subscriptions",
        "Subscriptions",
        "Gives out subscriptions: URLs, answers for clients, settings, templates, devices.",
    ),
    ("traffic", "TrafficView", "Tells what passed, and who is online."),
    (
        "events",
        "Events",
        "Reads the outbox: everything that was committed, in order, also what happened while nobody listened.",
    ),
    (
        "webhooks",
        "Webhooks",
        "Keeps webhooks: each event is sent to each of them at least once, signed as Standard Webhooks are.",
    ),
    ("store", "StoreView", "Copies and checks the store while it is in use."),
    (
        "health",
        "HealthView",
        "Tells how vpnkit itself does: its background jobs, and metrics for Prometheus.",
    ),
    ("servers", "Servers", "Tells how servers do, and compares them with the store."),
];

/// What every language writes by hand, since a call with JSON in and out is not what a person expects of it.
const BY_HAND: &[(&str, &str)] = &[
    ("events", "stream"),
    ("events", "consume"),
    ("keys", "iterate"),
    ("keys", "extend_all"),
    ("kit", "acting_as"),
    ("kit", "as_admin"),
    ("kit", "admins"),
    ("kit", "webhooks"),
    ("kit", "store"),
    ("kit", "health"),
    ("kit", "dry_run"),
    ("kit", "templates"),
    ("kit", "open"),
    ("kit", "close"),
    ("kit", "keys"),
    ("kit", "grants"),
    ("kit", "inbounds"),
    ("kit", "hosts"),
    ("kit", "subscriptions"),
    ("kit", "traffic"),
    ("kit", "events"),
    ("kit", "servers"),
];

/// Returns every generated file, by its path in the repository. In `vpnkit-bindings/surface`, `operations.json` lists every
/// operation with its documentation, flags, parameters, errors and the JSON Schemas of arguments and result; `records.json`
/// has the JSON Schema of every record; `config.json` is that of the configuration; `names.json` is what the tests of each
/// language compare themselves with.
#[must_use]
pub fn surface() -> BTreeMap<&'static str, String> {
    let mut generator = generator();
    let operations: Vec<Value> =
        operation::all().into_iter().map(|operation| described(operation, &mut generator)).collect();
    generator.subschema_for::<ServerConfig>();
    generator.subschema_for::<SharingPolicy>();
    generator.subschema_for::<ReminderPolicy>();
    let records = generator.take_definitions(true);
    let config = self::generator().into_root_schema_for::<Config>().to_value();
    let mut names = names(&records);
    names.insert("Config".to_owned(), fields(&config));
    let codes = |all: Vec<&'static str>| json!(all);
    let names = json!({
        "calls": calls(),
        "data": names,
        "error_codes": codes(ErrorKind::ALL.iter().map(|kind| kind.code()).collect()),
        "event_kinds": codes(EventKind::ALL.iter().map(|kind| kind.code()).collect()),
        "key_statuses": codes(KeyStatus::ALL.iter().map(|status| status.code()).collect()),
    });
    let surface = Surface::read(&operations, &records, &["ServerConfig", "SharingPolicy", "ReminderPolicy"]);
    let text = |value: &Value| {
        let mut value = value.clone();
        docs::plain(&mut value);
        serde_json::to_string_pretty(&value).unwrap_or_default() + "\n"
    };
    BTreeMap::from([
        ("vpnkit-bindings/surface/config.json", text(&config)),
        ("vpnkit-bindings/surface/names.json", text(&names)),
        ("vpnkit-bindings/surface/operations.json", text(&Value::Array(operations))),
        ("vpnkit-bindings/surface/records.json", text(&json!({ "$defs": records }))),
        ("vpnkit-py/python/vpnkit/records.py", python::records(&surface)),
        ("vpnkit-py/python/vpnkit/_nouns_async.py", python_nouns::nouns(&surface, Waiting::Asyncio)),
        ("vpnkit-py/python/vpnkit/_nouns_sync.py", python_nouns::nouns(&surface, Waiting::Threads)),
        ("vpnkit-node/lib/records.ts", typescript::records(&surface)),
        ("vpnkit-node/lib/nouns.ts", typescript_nouns::nouns(&surface)),
    ])
}

fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12().into_generator()
}

fn described(operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let Some(schema) = operation::schema(operation) else { return Value::Null };
    // The arguments stand where they are; the records that they use are in `records.json`.
    let mut arguments = (schema.arguments)(generator).to_value();
    if let Some(arguments) = arguments.as_object_mut() {
        for outer in ["$schema", "$defs", "title"] {
            arguments.remove(outer);
        }
    }
    let parameters: Vec<Value> = operation
        .parameters
        .iter()
        .map(
            |p| json!({ "name": p.name, "spread": p.spread, "record": p.record, "positional": p.positional }),
        )
        .collect();
    json!({
        "name": operation.name,
        "docs": operation.docs,
        "changes": operation.changes,
        "dry_run": operation.dry_run,
        "inline": operation.inline,
        "needs_actor": operation.needs_actor,
        "errors": operation.errors().iter().map(|kind| kind.code()).collect::<Vec<_>>(),
        "parameters": parameters,
        "arguments": arguments,
        "result": (schema.result)(generator).to_value(),
    })
}

fn calls() -> BTreeMap<String, BTreeSet<String>> {
    let mut calls: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let named = operation::all().into_iter().map(|o| o.name.split_once('.').unwrap_or(("kit", o.name)));
    for (noun, verb) in named.chain(BY_HAND.iter().copied()) {
        calls.entry(noun.to_owned()).or_default().insert(verb.to_owned());
    }
    calls
}

fn names(records: &Map<String, Value>) -> BTreeMap<String, Vec<String>> {
    names_of(Some(records))
}

fn names_of(records: Option<&Map<String, Value>>) -> BTreeMap<String, Vec<String>> {
    let records = records.into_iter().flatten();
    records
        .filter(|(_, schema)| schema.get("properties").is_some())
        .map(|(n, s)| (n.clone(), fields(s)))
        .collect()
}

fn fields(schema: &Value) -> Vec<String> {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flatten().map(|(name, _)| name.clone()).collect()
}
