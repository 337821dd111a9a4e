//! Outline: an access key that is fetched (`ssconf://`).

use serde_json::{Value, json};

use vpnkit_core::model::{ClientSecurity, Endpoint, Proxy, Transport};

/// Whether Outline can use the endpoint: Shadowsocks with AEAD over plain TCP.
#[must_use]
pub fn expresses(endpoint: &Endpoint) -> bool {
    access(endpoint).is_some()
}

/// What `ssconf://` fetches: the first endpoint that Outline can use, or the error that it shows.
#[must_use]
pub fn config(endpoints: &[Endpoint], otherwise: &str) -> Value {
    vpnkit_core::Secret::reveal(|| {
        endpoints.iter().find_map(access).unwrap_or_else(|| json!({ "error": { "message": otherwise } }))
    })
}

fn access(endpoint: &Endpoint) -> Option<Value> {
    match &endpoint.proxy {
        Proxy::Shadowsocks { method, password }
            if method.key_length().is_none()
                && endpoint.transport == Transport::Tcp
                && endpoint.security == ClientSecurity::None =>
        {
            Some(json!({
                "server": endpoint.address, "server_port": endpoint.port, "method": method.code(),
                "password": password
            }))
        }
        _ => None,
    }
}
