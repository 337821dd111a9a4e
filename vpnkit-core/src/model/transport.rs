//! What carries the protocol.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How XHTTP sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum XhttpMode {
    /// Whatever the client chooses.
    #[default]
    Auto,
    /// `packet-up`
    PacketUp,
    /// `stream-up`
    StreamUp,
    /// `stream-one`
    StreamOne,
}

impl XhttpMode {
    /// The name in configs and links.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::PacketUp => "packet-up",
            Self::StreamUp => "stream-up",
            Self::StreamOne => "stream-one",
        }
    }
}

/// What carries the protocol.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Transport {
    /// Plain TCP (Xray calls it raw).
    #[default]
    Tcp,
    /// WebSocket.
    WebSocket {
        /// Starts with `/`.
        #[serde(default = "root")]
        path: String,
        /// The `Host` header; the client's address without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
    },
    /// gRPC.
    Grpc {
        /// The service name.
        service_name: String,
    },
    /// HTTP upgrade.
    HttpUpgrade {
        /// Starts with `/`.
        #[serde(default = "root")]
        path: String,
        /// The `Host` header.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
    },
    /// XHTTP (split HTTP).
    Xhttp {
        /// Starts with `/`.
        #[serde(default = "root")]
        path: String,
        /// The `Host` header.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
        /// How it sends.
        #[serde(default)]
        mode: XhttpMode,
    },
}

fn root() -> String {
    "/".to_owned()
}

impl Transport {
    /// The name in configs and links, and of the variable `{TRANSPORT}`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::WebSocket { .. } => "ws",
            Self::Grpc { .. } => "grpc",
            Self::HttpUpgrade { .. } => "httpupgrade",
            Self::Xhttp { .. } => "xhttp",
        }
    }
}
