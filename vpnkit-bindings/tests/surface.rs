//! Writes the surface of the facade, read from its source, to `surface.json`, with which every binding compares itself
//! in its own language; and compares the requests of this crate with it. `UPDATE_SURFACE=1 cargo test -p vpnkit-bindings`
//! writes it anew.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};
use syn::{Fields, ImplItem, Item, Type, Visibility};
use vpnkit::{ErrorKind, EventKind, KeyStatus};
use vpnkit_bindings::Request;

/// Calls that no binding has, and why.
const RUST_ONLY: &[(&str, &str)] = &[
    ("kit.open_with_clock", "a sandbox has a clock to move"),
    ("kit.open_with", "servers are Rust objects; a sandbox has a fake one"),
    ("kit.from_engine", "an engine is a Rust object"),
];

/// Noun, its type, its file.
const NOUNS: &[(&str, &str, &str)] = &[
    ("keys", "Keys", "vpnkit-core/src/engine/keys.rs"),
    ("hosts", "Hosts", "vpnkit-core/src/engine/hosts.rs"),
    ("inbounds", "Inbounds", "vpnkit-core/src/engine/inbounds.rs"),
    ("subscriptions", "Subscriptions", "vpnkit-core/src/engine/subscriptions.rs"),
    ("traffic", "TrafficView", "vpnkit-core/src/engine/traffic.rs"),
    ("events", "Events", "vpnkit-core/src/engine/events.rs"),
    ("servers", "Servers", "vpnkit-core/src/engine/servers.rs"),
    ("kit", "VpnKit", "vpnkit/src/kit.rs"),
];

/// Plain data that crosses.
const DATA: &[(&str, &str)] = &[
    ("Key", "vpnkit-core/src/model/key.rs"),
    ("CreateKey", "vpnkit-core/src/model/key.rs"),
    ("KeyPatch", "vpnkit-core/src/model/patch.rs"),
    ("Traffic", "vpnkit-core/src/model/key.rs"),
    ("KeyQuery", "vpnkit-core/src/model/query.rs"),
    ("Page", "vpnkit-core/src/model/query.rs"),
    ("UsageQuery", "vpnkit-core/src/model/usage.rs"),
    ("UsagePoint", "vpnkit-core/src/model/usage.rs"),
    ("Collected", "vpnkit-core/src/engine/collect.rs"),
    ("OnlineKey", "vpnkit-core/src/traffic.rs"),
    ("Endpoint", "vpnkit-core/src/model/endpoint.rs"),
    ("Host", "vpnkit-core/src/model/host.rs"),
    ("InboundHosts", "vpnkit-core/src/engine/hosts.rs"),
    ("ClientDevice", "vpnkit-core/src/model/client_device.rs"),
    ("SubscriptionSettings", "vpnkit-core/src/subscription/settings.rs"),
    ("Notices", "vpnkit-core/src/subscription/settings.rs"),
    ("ClientRule", "vpnkit-core/src/subscription/client.rs"),
    ("SubscriptionTemplate", "vpnkit-core/src/subscription/template.rs"),
    ("SubscriptionResponse", "vpnkit-core/src/subscription/respond.rs"),
    ("RenderOptions", "vpnkit-core/src/engine/subscriptions.rs"),
    ("Inbound", "vpnkit-core/src/model/inbound.rs"),
    ("Tls", "vpnkit-core/src/model/inbound.rs"),
    ("Reality", "vpnkit-core/src/model/inbound.rs"),
    ("Capabilities", "vpnkit-core/src/backend.rs"),
    ("Config", "vpnkit/src/config.rs"),
    ("ManagedXray", "vpnkit-xray/src/config.rs"),
    ("AttachedXray", "vpnkit-xray/src/config.rs"),
];

fn source(file: &str) -> syn::File {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    syn::parse_file(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

fn methods(type_name: &str, file: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for item in source(file).items {
        let Item::Impl(block) = item else { continue };
        let Type::Path(path) = &*block.self_ty else { continue };
        if block.trait_.is_some() || !path.path.is_ident(type_name) {
            continue;
        }
        for item in block.items {
            if let ImplItem::Fn(method) = item
                && public(&method.vis)
            {
                names.insert(method.sig.ident.to_string());
            }
        }
    }
    assert!(!names.is_empty(), "{type_name} is not in {file}");
    names
}

fn fields(struct_name: &str, file: &str) -> Vec<String> {
    let found = source(file).items.into_iter().find_map(|item| match item {
        Item::Struct(one) if one.ident == struct_name => Some(one.fields),
        _ => None,
    });
    let Some(Fields::Named(fields)) = found else { panic!("{struct_name} is not in {file}") };
    fields.named.iter().filter(|f| public(&f.vis)).map(|f| f.ident.as_ref().unwrap().to_string()).collect()
}

fn surface() -> Value {
    let mut calls = BTreeMap::new();
    for (noun, type_name, file) in NOUNS {
        let mut names = methods(type_name, file);
        names.retain(|name| !RUST_ONLY.iter().any(|(gap, _)| *gap == format!("{noun}.{name}")));
        calls.insert(*noun, names);
    }
    let data: BTreeMap<_, _> = DATA.iter().map(|(name, file)| (*name, fields(name, file))).collect();
    json!({
        "calls": calls,
        "data": data,
        "error_codes": ErrorKind::ALL.iter().map(|kind| kind.code()).collect::<Vec<_>>(),
        "event_kinds": EventKind::ALL.iter().map(|kind| kind.code()).collect::<Vec<_>>(),
        "key_statuses": KeyStatus::ALL.iter().map(|status| status.code()).collect::<Vec<_>>(),
    })
}

#[test]
fn the_written_surface_is_the_facade_s() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("surface.json");
    let made = serde_json::to_string_pretty(&surface()).unwrap() + "\n";
    if std::env::var_os("UPDATE_SURFACE").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        written, made,
        "run UPDATE_SURFACE=1 cargo test -p vpnkit-bindings, then the bindings' own tests"
    );
}

#[test]
fn every_call_has_its_request() {
    let surface = surface();
    let mut expected: BTreeSet<String> = ["tick", "sandbox"].map(str::to_owned).into();
    for (noun, names) in surface["calls"].as_object().unwrap() {
        if noun != "kit" {
            expected
                .extend(names.as_array().unwrap().iter().map(|n| format!("{noun}.{}", n.as_str().unwrap())));
        }
    }
    // Pulled in batches, not called.
    assert!(expected.remove("events.stream"));
    let requests = Request::OPERATIONS.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(expected, requests);
}

#[test]
fn every_gap_is_one() {
    for (gap, _) in RUST_ONLY {
        let (noun, name) = gap.split_once('.').unwrap();
        let (_, type_name, file) = NOUNS.iter().find(|(n, ..)| *n == noun).unwrap();
        assert!(methods(type_name, file).contains(name), "{gap} is no longer there");
    }
}
