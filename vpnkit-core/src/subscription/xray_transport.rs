//! Transports in the words of Xray.

use serde_json::{Value, json};

use crate::model::Transport;

/// Returns Xray's name of a transport, and name and value of its settings: the same in servers and clients.
#[must_use]
pub fn transport_settings(transport: &Transport) -> (&'static str, Option<&'static str>, Value) {
    let http = |path: &str, host: &Option<String>| match host {
        Some(host) => json!({ "path": path, "host": host }),
        None => json!({ "path": path }),
    };
    let (name, settings) = match transport {
        Transport::Tcp => (None, Value::Null),
        Transport::WebSocket { path, host } => (Some("wsSettings"), http(path, host)),
        Transport::HttpUpgrade { path, host } => (Some("httpupgradeSettings"), http(path, host)),
        Transport::Grpc { service_name } => (Some("grpcSettings"), json!({ "serviceName": service_name })),
        Transport::Xhttp { path, host, mode } => {
            let mut settings = http(path, host);
            if let Some(settings) = settings.as_object_mut() {
                settings.insert("mode".to_owned(), json!(mode.code()));
            }
            (Some("xhttpSettings"), settings)
        }
    };
    (transport.code(), name, settings)
}
