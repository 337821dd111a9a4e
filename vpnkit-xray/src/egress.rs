//! The rules of Xray for what customers may reach.
//!
//! A rule by address sees names only after they are resolved (`IPOnDemand`), and whatever is sent on is resolved once more
//! (`targetStrategy`): both ask Xray's own DNS, which leaves private answers out, so that a name whose answer changes in
//! between leads nowhere either.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use vpnkit_core::model::{AddressRange, Destination, DestinationHost, Egress};

const BLOCK: &str = "vpnkit-block";
/// Where allowed names and ports go.
const ALLOWED: &str = "vpnkit-allowed";
/// Queries of Xray's own DNS come from here, and leave there.
const DNS: &str = "vpnkit-dns";
/// These send nothing on to a target that somebody names.
const TARGETLESS: [&str; 4] = ["blackhole", "block", "dns", "loopback"];

/// The names of the outbound that dials.
const FREEDOM: [&str; 2] = ["freedom", "direct"];

/// What `extra` may have.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) outbounds: Option<Value>,
    pub(crate) routing: Option<Value>,
    pub(crate) dns: Option<Value>,
}

/// The part of a config that says where customers' traffic goes.
#[derive(Debug)]
pub(crate) struct Paths {
    pub(crate) outbounds: Value,
    pub(crate) routing: Value,
    pub(crate) dns: Option<Value>,
}

/// The operator's own paths, or the direct one, behind the rules of vpnkit. `api` is the rule of the API.
pub(crate) fn paths(egress: &Egress, given: Given, api: Value) -> Paths {
    let blocked: Vec<String> = egress.blocked().iter().map(AddressRange::to_string).collect();
    let mut outbounds = match given.outbounds {
        Some(Value::Array(all)) if !all.is_empty() => all,
        _ => vec![json!({ "tag": "direct", "protocol": "freedom" })],
    };
    let mut routing = match given.routing {
        Some(Value::Object(routing)) => routing,
        _ => Map::new(),
    };
    let theirs = match routing.remove("rules") {
        Some(Value::Array(rules)) => rules,
        _ => Vec::new(),
    };
    let mut rules = vec![api];
    let mut block = |rule: Value| rules.push(to(BLOCK, rule));
    if egress.block_smtp {
        block(json!({ "type": "field", "network": "tcp", "port": "25" }));
    }
    if egress.block_bittorrent {
        block(json!({ "type": "field", "protocol": ["bittorrent"] }));
    }
    let mut dns = given.dns;
    if !blocked.is_empty() {
        outbounds.iter_mut().for_each(resolves);
        let mut allowed = json!({ "tag": ALLOWED, "protocol": "freedom" });
        resolves(&mut allowed);
        // The one that name servers are reached through asks none of them for their own names.
        outbounds.extend([allowed, json!({ "tag": DNS, "protocol": "freedom" })]);
        let servers = dns.get_or_insert_with(|| name_servers(egress, &blocked));
        let (own, theirs_too) = queries(servers, &theirs);
        rules.extend(own);
        rules.push(to(DNS, json!({ "type": "field", "inboundTag": theirs_too })));
        rules.extend(egress.allow.iter().filter_map(allowed_rule));
        rules.push(to(BLOCK, json!({ "type": "field", "ip": blocked })));
        routing.insert("domainStrategy".to_owned(), json!("IPOnDemand"));
    }
    outbounds.push(json!({ "tag": BLOCK, "protocol": "blackhole" }));
    rules.extend(theirs);
    routing.insert("rules".to_owned(), Value::Array(rules));
    Paths { outbounds: Value::Array(outbounds), routing: Value::Object(routing), dns }
}

/// A name must not get as far as something that asks a resolver without rules: the system's, or that of a proxy.
fn resolves(outbound: &mut Value) {
    let protocol = outbound.get("protocol").and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
    let Some(outbound) = outbound.as_object_mut() else { return };
    if TARGETLESS.contains(&protocol.as_str()) {
        return;
    }
    let strategy = |fields: Option<&Map<String, Value>>, name: &str| {
        let given = fields.and_then(|fields| fields.get(name)).and_then(Value::as_str);
        given.filter(|given| !given.is_empty()).map(str::to_ascii_lowercase)
    };
    let settings = outbound.get("settings").and_then(Value::as_object);
    let given = strategy(Some(outbound), "targetStrategy")
        .or_else(|| strategy(settings, "targetStrategy"))
        .or_else(|| strategy(settings, "domainStrategy"))
        .unwrap_or_default();
    let forced = match given.strip_prefix("use") {
        Some(families) => format!("force{families}"),
        None if given.starts_with("force") => given,
        // Xray picks one of all addresses at random, also of a family that the server has no way out for.
        None if only_ipv6() => "forceipv6v4".to_owned(),
        None => "forceipv4v6".to_owned(),
    };
    // A packet of UDP may name its own target: `freedom` resolves it by its own setting.
    if FREEDOM.contains(&protocol.as_str())
        && let Some(settings) = outbound.entry("settings").or_insert_with(|| json!({})).as_object_mut()
    {
        settings.remove("targetStrategy");
        settings.insert("domainStrategy".to_owned(), json!(forced));
    }
    outbound.insert("targetStrategy".to_owned(), json!(forced));
}

/// Whether this machine has a default route for IPv6 and none for IPv4.
fn only_ipv6() -> bool {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let column = |line: &str, place: usize| line.split_whitespace().nth(place).map(str::to_owned);
    let ipv4 = read("/proc/net/route").lines().any(|line| {
        (column(line, 1).as_deref(), column(line, 7).as_deref()) == (Some("00000000"), Some("00000000"))
    });
    let ipv6 = read("/proc/net/ipv6_route").lines().any(|line| {
        let nowhere = column(line, 9).as_deref() == Some("lo");
        column(line, 1).as_deref() == Some("00") && !nowhere
    });
    ipv6 && !ipv4
}

/// The system's name servers, without private answers but for the names that are allowed.
fn name_servers(egress: &Egress, blocked: &[String]) -> Value {
    let name = |one: &Destination| match &one.host {
        DestinationHost::Name(name) => Some(format!("full:{name}")),
        DestinationHost::Range(_) => None,
    };
    let names: Vec<String> = egress.allow.iter().filter_map(name).collect();
    let mut servers = vec![json!({ "address": "localhost", "unexpectedIPs": blocked })];
    if !names.is_empty() {
        servers.insert(0, json!({ "address": "localhost", "domains": names, "skipFallback": true }));
    }
    json!({ "servers": servers })
}

/// Queries of Xray's DNS go through the routing too, often to a private address: the operator's rules for them, and the tags
/// of all of them.
fn queries(dns: &mut Value, rules: &[Value]) -> (Vec<Value>, BTreeSet<String>) {
    let tag = |value: &Value| value.get("tag").and_then(Value::as_str).map(str::to_owned);
    let mut tags: BTreeSet<String> =
        dns.get("servers").and_then(Value::as_array).into_iter().flatten().filter_map(tag).collect();
    if let Some(dns) = dns.as_object_mut() {
        let own = dns.entry("tag").or_insert_with(|| json!(DNS));
        tags.extend(own.as_str().map(str::to_owned));
    }
    let of_dns = |rule: &&Value| {
        let inbounds = match rule.get("inboundTag") {
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(one)) => vec![one.as_str()],
            _ => Vec::new(),
        };
        !inbounds.is_empty() && inbounds.iter().all(|inbound| tags.contains(*inbound))
    };
    (rules.iter().filter(of_dns).cloned().collect(), tags)
}

/// The rule that lets a name, or a port, through; a whole range is left out of what is blocked instead, so that it goes
/// the operator's way.
fn allowed_rule(destination: &Destination) -> Option<Value> {
    let mut rule = match (&destination.host, destination.port) {
        (DestinationHost::Range(_), None) => return None,
        (DestinationHost::Range(range), Some(_)) => json!({ "type": "field", "ip": [range.to_string()] }),
        (DestinationHost::Name(name), _) => json!({ "type": "field", "domain": [format!("full:{name}")] }),
    };
    if let (Some(port), Some(rule)) = (destination.port, rule.as_object_mut()) {
        rule.insert("port".to_owned(), json!(port.to_string()));
    }
    Some(to(ALLOWED, rule))
}

/// How an inbound finds out which protocol passes: only to route by it.
pub(crate) fn sniffing(egress: &Egress) -> Option<Value> {
    egress.block_bittorrent.then(|| json!({ "enabled": true, "destOverride": [], "routeOnly": true }))
}

fn to(outbound: &str, mut rule: Value) -> Value {
    if let Some(rule) = rule.as_object_mut() {
        rule.insert("outboundTag".to_owned(), json!(outbound));
    }
    rule
}
