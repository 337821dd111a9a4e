//! The config file of a managed Xray.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use vpnkit_core::backend::{Account, DesiredState};
use vpnkit_core::model::{Inbound, Protocol, Reality, Security};
use vpnkit_core::subscription::transport_settings;

use crate::account::{self, Names};
use crate::config::ManagedXray;
use crate::egress;

/// The inbound through which vpnkit talks to Xray.
pub(crate) const API_TAG: &str = "vpnkit-api";

/// The whole file.
pub(crate) fn render(config: &ManagedXray, names: &Names, socket: &Path, state: &DesiredState) -> Value {
    vpnkit_core::Secret::reveal(|| {
        let extra = config.extra.as_ref();
        let given = |name: &str| extra.and_then(|extra| extra.get(name)).cloned();
        let mut inbounds = vec![api_inbound(socket)];
        let sniffing = egress::sniffing(&config.egress);
        for (inbound, accounts) in &state.inbounds {
            inbounds.extend(self::inbounds(
                names,
                inbound,
                accounts,
                sniffing.as_ref(),
                Some(&config.directory),
            ));
        }
        let api = json!({ "type": "field", "inboundTag": [API_TAG], "outboundTag": API_TAG });
        let theirs =
            egress::Given { outbounds: given("outbounds"), routing: given("routing"), dns: given("dns") };
        let paths = egress::paths(&config.egress, theirs, api);
        let mut file = json!({
            "log": { "loglevel": config.log_level.code(), "access": "none" },
            "api": { "tag": API_TAG, "services": ["HandlerService", "StatsService"] },
            "stats": {},
            "policy": {
                "levels": { "0": { "statsUserUplink": true, "statsUserDownlink": true, "statsUserOnline": true } },
                "system": { "statsInboundUplink": true, "statsInboundDownlink": true }
            },
            "inbounds": inbounds,
            "outbounds": paths.outbounds,
            "routing": paths.routing
        });
        if let (Some(dns), Some(file)) = (paths.dns, file.as_object_mut()) {
            file.insert("dns".to_owned(), dns);
        }
        file
    })
}

/// A socket file instead of a port: only who may open the file can drive Xray, and no port is taken.
fn api_inbound(socket: &Path) -> Value {
    json!({
        "tag": API_TAG, "listen": format!("{},0600", socket.display()), "protocol": "dokodemo-door",
        // Xray dies of an unset port here; neither address nor port is ever dialled.
        "settings": { "address": "127.0.0.1", "port": 1, "network": "unix" }
    })
}

/// Returns how Xray calls what stands for an inbound with its previous REALITY keys. No tag of vpnkit's has a blank in it.
pub(crate) fn previous_tag(tag: &str) -> String {
    format!("{tag} previous")
}

/// The file that one of those listens on: no longer than that of the API, as the system allows 108 bytes with its directory.
fn previous_socket(name: &str) -> String {
    let (short, _) = name.split_at(name.len().min(8));
    format!("{PREVIOUS_SOCKET}{short}.sock")
}

/// What the names of those files begin with.
pub(crate) const PREVIOUS_SOCKET: &str = "old-";

/// One inbound with its accounts, as in the file and as `xray api adi` takes it.
///
/// REALITY has one key; who comes with another one is passed on to the site behind it, byte by byte. So while an inbound has
/// previous keys, what stands behind it is a second inbound with those, and behind that one the site. It listens on a socket file of
/// `directory` that only who may drive Xray can open, as it is told the addresses of clients by the PROXY protocol; without a directory,
/// on an abstract socket, which everybody on that machine can open.
pub(crate) fn inbounds(
    names: &Names,
    inbound: &Inbound,
    accounts: &[Account],
    sniffing: Option<&Value>,
    directory: Option<&Path>,
) -> Vec<Value> {
    vpnkit_core::Secret::reveal(|| {
        let mut main = one(names, inbound, accounts, sniffing);
        let Security::Reality(Reality { previous: Some(keys), .. }) = &inbound.security else {
            return vec![main];
        };
        let name = uuid::Uuid::new_v4().simple().to_string();
        let (socket, listen) = match directory {
            Some(directory) => {
                let path = directory.join(previous_socket(&name)).display().to_string();
                (path.clone(), format!("{path},0600"))
            }
            None => (format!("@vpnkit-{name}"), format!("@vpnkit-{name}")),
        };
        let mut previous = main.clone();
        if let Some(previous) = previous.as_object_mut() {
            previous.insert("tag".to_owned(), json!(previous_tag(inbound.tag.as_str())));
            previous.insert("listen".to_owned(), json!(listen));
            previous.remove("port");
        }
        put(&mut previous, "/streamSettings/realitySettings", "privateKey", json!(keys.private_key.expose()));
        put(&mut previous, "/streamSettings/sockopt", "acceptProxyProtocol", json!(true));
        put(&mut main, "/streamSettings/realitySettings", "dest", json!(socket));
        put(&mut main, "/streamSettings/realitySettings", "xver", json!(1));
        // It must listen before anything is passed on to it.
        vec![previous, main]
    })
}

/// Sets a member of an object that is there.
fn put(json: &mut Value, place: &str, name: &str, value: Value) {
    if let Some(object) = json.pointer_mut(place).and_then(Value::as_object_mut) {
        object.insert(name.to_owned(), value);
    }
}

fn one(names: &Names, inbound: &Inbound, accounts: &[Account], sniffing: Option<&Value>) -> Value {
    vpnkit_core::Secret::reveal(|| {
        let mut clients: Vec<Value> =
            accounts.iter().map(|account| account::client(names, inbound, account)).collect();
        let (protocol, settings) = match &inbound.protocol {
            Protocol::Vless { .. } => ("vless", json!({ "clients": clients, "decryption": "none" })),
            Protocol::Vmess => ("vmess", json!({ "clients": clients })),
            Protocol::Trojan => ("trojan", json!({ "clients": clients })),
            Protocol::Shadowsocks { method, server_key: Some(key) } => {
                // Without a first user Xray makes it a single-user inbound that takes no others.
                let random: [u8; 32] = rand::random();
                let (seed, _) = random.split_at(method.key_length().unwrap_or(32).min(32));
                clients.insert(0, json!({ "password": STANDARD.encode(seed), "email": "placeholder" }));
                let settings = json!({
                    "method": method.code(), "password": key.expose(), "clients": clients, "network": "tcp,udp"
                });
                ("shadowsocks", settings)
            }
            Protocol::Shadowsocks { method, server_key: None } => {
                // Likewise: without users the method alone would ask for a password.
                let random: [u8; 18] = rand::random();
                let seed = STANDARD.encode(random);
                clients
                    .insert(0, json!({ "password": seed, "method": method.code(), "email": "placeholder" }));
                ("shadowsocks", json!({ "clients": clients, "network": "tcp,udp" }))
            }
            // `rules::check` lets no other protocol come so far.
            _ => ("", Value::Null),
        };
        let mut json = json!({
            "tag": inbound.tag, "listen": inbound.listen, "port": inbound.port, "protocol": protocol,
            "settings": settings, "streamSettings": stream(inbound)
        });
        if let (Some(sniffing), Some(json)) = (sniffing, json.as_object_mut()) {
            json.insert("sniffing".to_owned(), sniffing.clone());
        }
        json
    })
}

fn stream(inbound: &Inbound) -> Value {
    let (network, name, settings) = transport_settings(&inbound.transport);
    let mut stream = Map::new();
    stream.insert("network".to_owned(), json!(network));
    stream.insert("security".to_owned(), json!(inbound.security.code()));
    let mut sockopt = Map::new();
    if let Some(name) = name {
        stream.insert(name.to_owned(), settings);
        // Without a list Xray takes every client's `X-Forwarded-For` for its address, and connections of that address would
        // be cut. It is believed only beside a header of the list, and no client can send one with a blank in its name.
        sockopt.insert("trustedXForwardedFor".to_owned(), json!(["trusted by nobody"]));
    }
    stream.insert("sockopt".to_owned(), Value::Object(sockopt));
    match &inbound.security {
        Security::Tls(tls) => {
            let mut settings = json!({
                "certificates": [{ "certificateFile": tls.certificate_file, "keyFile": tls.key_file }]
            });
            if let (Some(settings), false) = (settings.as_object_mut(), tls.alpn.is_empty()) {
                settings.insert("alpn".to_owned(), json!(tls.alpn));
            }
            stream.insert("tlsSettings".to_owned(), settings);
        }
        Security::Reality(reality) => {
            let settings = json!({
                "dest": reality.dest, "serverNames": reality.server_names,
                "privateKey": reality.private_key.expose(), "shortIds": reality.short_ids,
                // Said outright: newer versions would otherwise turn clients that are not Xray away.
                "minClientVer": "1.8.0"
            });
            stream.insert("realitySettings".to_owned(), settings);
        }
        _ => {}
    }
    Value::Object(stream)
}
