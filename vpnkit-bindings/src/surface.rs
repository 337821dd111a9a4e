//! The surface of the facade as data: what the files in `vpnkit-bindings/surface` hold.

use std::collections::{BTreeMap, BTreeSet};

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use vpnkit::operation::Operation;
use vpnkit::{Config, ErrorKind, EventKind, KeyStatus};

/// What every language writes by hand, since a call with JSON in and out is not what a person expects of it.
const BY_HAND: &[(&str, &str)] = &[
    ("events", "stream"),
    ("keys", "iterate"),
    ("kit", "open"),
    ("kit", "close"),
    ("kit", "keys"),
    ("kit", "inbounds"),
    ("kit", "hosts"),
    ("kit", "subscriptions"),
    ("kit", "traffic"),
    ("kit", "events"),
    ("kit", "servers"),
];

/// Returns the files of the surface, by name: `operations.json` lists every operation with its documentation, flags,
/// parameters, errors and the JSON Schemas of arguments and result; `records.json` has the JSON Schema of every record;
/// `config.json` is that of the configuration; `names.json` is what the tests of each language compare themselves with.
#[must_use]
pub fn surface() -> BTreeMap<&'static str, String> {
    let mut generator = generator();
    let operations: Vec<Value> =
        Operation::all().into_iter().map(|operation| described(operation, &mut generator)).collect();
    let records = generator.take_definitions(true);
    let config = self::generator().into_root_schema_for::<Config>().to_value();
    let mut names = names(&records);
    names.extend(names_of(config.get("$defs").and_then(Value::as_object)));
    names.insert("Config".to_owned(), fields(&config));
    let codes = |all: Vec<&'static str>| json!(all);
    let names = json!({
        "calls": calls(),
        "data": names,
        "error_codes": codes(ErrorKind::ALL.iter().map(|kind| kind.code()).collect()),
        "event_kinds": codes(EventKind::ALL.iter().map(|kind| kind.code()).collect()),
        "key_statuses": codes(KeyStatus::ALL.iter().map(|status| status.code()).collect()),
    });
    let text = |value: &Value| serde_json::to_string_pretty(value).unwrap_or_default() + "\n";
    BTreeMap::from([
        ("config.json", text(&config)),
        ("names.json", text(&names)),
        ("operations.json", text(&Value::Array(operations))),
        ("records.json", text(&json!({ "$defs": records }))),
    ])
}

fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12().into_generator()
}

fn described(operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    // The arguments stand where they are; the records that they use are in `records.json`.
    let mut arguments = (operation.arguments)(generator).to_value();
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
        "inline": operation.inline,
        "needs_actor": operation.needs_actor,
        "errors": operation.errors().iter().map(|kind| kind.code()).collect::<Vec<_>>(),
        "parameters": parameters,
        "arguments": arguments,
        "result": (operation.result)(generator).to_value(),
    })
}

fn calls() -> BTreeMap<String, BTreeSet<String>> {
    let mut calls: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let named = Operation::all().into_iter().map(|o| o.name.split_once('.').unwrap_or(("kit", o.name)));
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
