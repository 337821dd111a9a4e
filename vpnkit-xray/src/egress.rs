//! The rules of Xray for what customers may reach.
//!
//! A rule by address sees names only after they are resolved (`IPOnDemand`), and what is dialled is resolved once more
//! (`ForceIP`): both ask Xray's own DNS, which leaves private answers out, so that a name whose answer changes in between
//! leads nowhere either.

use serde_json::{Map, Value, json};
use vpnkit_core::model::{Destination, DestinationHost, Egress};

const BLOCK: &str = "vpnkit-block";
const DIRECT: &str = "direct";

/// The outbounds: those of the operator, or one that dials; and one that leads nowhere.
pub(crate) fn outbounds(egress: &Egress, given: Option<Value>) -> Value {
    let mut outbounds = match given {
        Some(Value::Array(all)) if !all.is_empty() => all,
        _ => vec![json!({ "tag": DIRECT, "protocol": "freedom" })],
    };
    if let Some(first) = outbounds.first_mut().and_then(Value::as_object_mut) {
        first.entry("tag").or_insert_with(|| json!(DIRECT));
    }
    if !egress.blocked(false).is_empty() {
        outbounds.iter_mut().for_each(resolves_itself);
    }
    outbounds.push(json!({ "tag": BLOCK, "protocol": "blackhole" }));
    Value::Array(outbounds)
}

/// The system's resolver, which `AsIs` asks and `UseIP` falls back to, knows nothing of the rules.
fn resolves_itself(outbound: &mut Value) {
    if outbound.get("protocol").and_then(Value::as_str) != Some("freedom") {
        return;
    }
    let Some(outbound) = outbound.as_object_mut() else { return };
    let settings = outbound.entry("settings").or_insert_with(|| json!({}));
    let Some(settings) = settings.as_object_mut() else { return };
    let strategy = |name: &str| settings.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    // The first of them counts for Xray too.
    let given = Some(strategy("targetStrategy")).filter(|text| !text.is_empty());
    let given = given.unwrap_or_else(|| strategy("domainStrategy")).to_ascii_lowercase();
    let forced = match given.strip_prefix("use") {
        Some(families) => format!("force{families}"),
        None if given.starts_with("force") => given,
        // Xray picks one of all addresses at random, also of a family that the server has no way out for.
        None => "forceipv4v6".to_owned(),
    };
    settings.remove("targetStrategy");
    settings.insert("domainStrategy".to_owned(), json!(forced));
}

/// The routing: the rules of vpnkit, then those of the operator.
pub(crate) fn routing(egress: &Egress, given: Option<Value>, outbounds: &Value, api: Value) -> Value {
    let mut routing = match given {
        Some(Value::Object(routing)) => routing,
        _ => Map::new(),
    };
    let mut rules = vec![api];
    let mut block = |rule: Value| rules.push(with(rule, "outboundTag", BLOCK));
    if egress.block_smtp {
        block(json!({ "type": "field", "network": "tcp", "port": "25" }));
    }
    if egress.block_bittorrent {
        block(json!({ "type": "field", "protocol": ["bittorrent"] }));
    }
    let blocked = texts(egress, false);
    if !blocked.is_empty() {
        let first = outbounds.pointer("/0/tag").and_then(Value::as_str).unwrap_or(DIRECT);
        rules.extend(egress.allow.iter().filter_map(|one| allowed(one, first)));
        rules.push(json!({ "type": "field", "ip": blocked, "outboundTag": BLOCK }));
        routing.insert("domainStrategy".to_owned(), json!("IPOnDemand"));
    }
    if let Some(Value::Array(theirs)) = routing.remove("rules") {
        rules.extend(theirs);
    }
    routing.insert("rules".to_owned(), Value::Array(rules));
    Value::Object(routing)
}

/// The rule that lets a name, or a port, through; a whole range is left out of what is blocked instead, so that it goes
/// the operator's way.
fn allowed(destination: &Destination, outbound: &str) -> Option<Value> {
    let rule = match (&destination.host, destination.port) {
        (DestinationHost::Range(_), None) => return None,
        (DestinationHost::Range(range), Some(_)) => json!({ "type": "field", "ip": [range.to_string()] }),
        (DestinationHost::Name(name), _) => json!({ "type": "field", "domain": [format!("full:{name}")] }),
    };
    let rule = with(rule, "outboundTag", outbound);
    Some(match destination.port {
        Some(port) => with(rule, "port", &port.to_string()),
        None => rule,
    })
}

/// The DNS: the operator's own, or the system's without private answers.
pub(crate) fn dns(egress: &Egress, given: Option<Value>) -> Option<Value> {
    let blocked = texts(egress, true);
    if given.is_some() || blocked.is_empty() {
        return given;
    }
    let name = |one: &Destination| match &one.host {
        DestinationHost::Name(name) => Some(format!("full:{name}")),
        DestinationHost::Range(_) => None,
    };
    let names: Vec<String> = egress.allow.iter().filter_map(name).collect();
    let mut servers = vec![json!({ "address": "localhost", "unexpectedIPs": blocked })];
    if !names.is_empty() {
        servers.insert(0, json!({ "address": "localhost", "domains": names, "skipFallback": true }));
    }
    Some(json!({ "servers": servers }))
}

/// How an inbound finds out which protocol passes: only to route by it.
pub(crate) fn sniffing(egress: &Egress) -> Option<Value> {
    egress.block_bittorrent.then(|| json!({ "enabled": true, "destOverride": [], "routeOnly": true }))
}

fn texts(egress: &Egress, ports: bool) -> Vec<String> {
    egress.blocked(ports).iter().map(ToString::to_string).collect()
}

fn with(mut rule: Value, name: &str, value: &str) -> Value {
    if let Some(rule) = rule.as_object_mut() {
        rule.insert(name.to_owned(), json!(value));
    }
    rule
}
