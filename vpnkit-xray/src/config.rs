//! How an Xray is described to vpnkit.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use vpnkit_core::model::{Egress, NodeId, ServerId, check_server_name};
use vpnkit_core::{Error, Result};

use crate::api::ApiAddress;

/// One Xray.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum XrayConfig {
    /// vpnkit runs it: writes the config, starts, restarts and stops the process.
    Managed(ManagedXray),
    /// Somebody else runs it: vpnkit drives it through its API.
    Attached(AttachedXray),
}

/// How much Xray logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// Connections too.
    Info,
    /// What may need attention.
    #[default]
    Warning,
    /// Failures only.
    Error,
}

impl LogLevel {
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// An Xray that vpnkit runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ManagedXray {
    /// Name or IP that clients dial.
    pub address: String,
    /// The machine it runs on. Default: `main`.
    #[serde(default = "NodeId::main")]
    pub node: NodeId,
    /// Its name on the machine. A second Xray there needs one of its own.
    #[serde(default = "default_name")]
    pub name: String,
    /// The program. Default: `xray` from the search path.
    #[serde(default = "default_binary")]
    #[schemars(extend("format" = "path"))]
    pub binary: PathBuf,
    /// A directory of its own, absolute: config, API socket, lock. Created with mode 0700.
    #[schemars(extend("format" = "path"))]
    pub directory: PathBuf,
    /// Counters follow open connections: vision's splice is switched off (`XRAY_BUF_SPLICE=disable`). Without it
    /// the bytes of a vision connection are counted when it ends, so a limit can be overrun by a whole download.
    /// The price is CPU: bytes go through Xray instead of through the kernel.
    #[serde(default)]
    pub live_accounting: bool,
    /// Connections of a key that may no longer connect are cut, by closing the TCP connections from its addresses
    /// to vpnkit's inbounds in the kernel. Needs CAP_NET_ADMIN. The price: customers behind the same address are
    /// cut too (and reconnect), and behind a proxy or CDN that address is the proxy's, so leave it off there.
    #[serde(default)]
    pub cut_connections: bool,
    /// It runs on when this process closes, is redeployed or crashes, so that no customer's connection ends: the next process that
    /// opens the same store with the same server takes it over. While nobody does, expiry and limits do not hold. It is ended by
    /// `servers.stop`.
    #[serde(default)]
    pub keep_running: bool,
    /// How much Xray logs.
    #[serde(default)]
    pub log_level: LogLevel,
    /// What customers may reach through it. Default: not this machine, and no private network.
    #[serde(default)]
    pub egress: Egress,
    /// The operator's own `outbounds`, `routing` and `dns`, as in Xray's config. Rules come after those of `egress`;
    /// with a `dns` of its own, names with changing answers are its servers' business. It may hold passwords, so it is not shown.
    #[schemars(extend("x-secret" = true))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<Value>,
}

fn default_name() -> String {
    "xray".to_owned()
}

fn default_binary() -> PathBuf {
    PathBuf::from("xray")
}

/// An Xray that somebody else runs. Its config needs `api` with `HandlerService` and `StatsService`, `stats`, and a
/// `policy` that counts users of level 0 (`statsUserUplink`, `statsUserDownlink`, `statsUserOnline`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AttachedXray {
    /// Name or IP that clients dial.
    pub address: String,
    /// The machine it runs on. Default: `main`.
    #[serde(default = "NodeId::main")]
    pub node: NodeId,
    /// Its name on the machine. A second Xray there needs one of its own.
    #[serde(default = "default_name")]
    pub name: String,
    /// `unix:/path` or `host:port`. The API has no password: keep it in a socket file. A port on loopback is reached by
    /// customers too, unless the routing of that Xray blocks private addresses.
    pub api: String,
    /// A binary of Xray, for `xray api adi`: with it inbounds can be added live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "path"))]
    pub binary: Option<PathBuf>,
    /// As with [`ManagedXray::cut_connections`]; only for an Xray on this machine, in this network namespace.
    #[serde(default)]
    pub cut_connections: bool,
    /// Say so when that Xray runs with `XRAY_BUF_SPLICE=disable`; vpnkit cannot see it.
    #[serde(default)]
    pub live_accounting: bool,
}

impl XrayConfig {
    /// An Xray that vpnkit runs, with everything else by default.
    pub fn managed(address: impl Into<String>, directory: impl Into<PathBuf>) -> Self {
        Self::Managed(ManagedXray {
            address: address.into(),
            node: NodeId::main(),
            name: default_name(),
            binary: default_binary(),
            directory: directory.into(),
            live_accounting: false,
            cut_connections: false,
            keep_running: false,
            log_level: LogLevel::default(),
            egress: Egress::default(),
            extra: None,
        })
    }

    /// An Xray that runs elsewhere.
    pub fn attached(address: impl Into<String>, api: impl Into<String>) -> Self {
        Self::Attached(AttachedXray {
            address: address.into(),
            node: NodeId::main(),
            name: default_name(),
            api: api.into(),
            binary: None,
            cut_connections: false,
            live_accounting: false,
        })
    }

    /// Returns what it is called: its node and its name there.
    #[must_use]
    pub fn id(&self) -> ServerId {
        match self {
            Self::Managed(managed) => ServerId::new(&managed.node, &managed.name),
            Self::Attached(attached) => ServerId::new(&attached.node, &attached.name),
        }
    }

    /// Returns the machine it runs on.
    #[must_use]
    pub fn node(&self) -> &NodeId {
        match self {
            Self::Managed(managed) => &managed.node,
            Self::Attached(attached) => &attached.node,
        }
    }

    /// Returns the name or IP that clients dial.
    #[must_use]
    pub fn address(&self) -> &str {
        match self {
            Self::Managed(managed) => &managed.address,
            Self::Attached(attached) => &attached.address,
        }
    }

    /// Sets its name on the machine.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        match &mut self {
            Self::Managed(managed) => managed.name = name.into(),
            Self::Attached(attached) => attached.name = name.into(),
        }
        self
    }

    /// Sets the machine it runs on.
    #[must_use]
    pub fn on(mut self, node: NodeId) -> Self {
        match &mut self {
            Self::Managed(managed) => managed.node = node,
            Self::Attached(attached) => attached.node = node,
        }
        self
    }

    /// Sets the program.
    #[must_use]
    pub fn binary(mut self, binary: impl Into<PathBuf>) -> Self {
        match &mut self {
            Self::Managed(managed) => managed.binary = binary.into(),
            Self::Attached(attached) => attached.binary = Some(binary.into()),
        }
        self
    }

    /// Sets what customers may reach; of an attached Xray its operator decides.
    #[must_use]
    pub fn egress(mut self, egress: Egress) -> Self {
        if let Self::Managed(managed) = &mut self {
            managed.egress = egress;
        }
        self
    }

    /// Sets whether counters follow open connections.
    #[must_use]
    pub fn live_accounting(mut self, on: bool) -> Self {
        match &mut self {
            Self::Managed(managed) => managed.live_accounting = on,
            Self::Attached(attached) => attached.live_accounting = on,
        }
        self
    }

    /// Sets whether a managed Xray runs on when this process ends.
    #[must_use]
    pub fn keep_running(mut self, on: bool) -> Self {
        if let Self::Managed(managed) = &mut self {
            managed.keep_running = on;
        }
        self
    }

    /// Sets whether connections are cut.
    #[must_use]
    pub fn cut_connections(mut self, on: bool) -> Self {
        match &mut self {
            Self::Managed(managed) => managed.cut_connections = on,
            Self::Attached(attached) => attached.cut_connections = on,
        }
        self
    }

    /// Every fault, with its path inside this description.
    #[must_use]
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let mut fault = |path: &str, message: String| faults.push((path.to_owned(), message));
        if self.address().is_empty() || self.address().chars().any(|c| c.is_whitespace() || c == '/') {
            fault("address", "must be a name or an IP".to_owned());
        }
        let (Self::Managed(ManagedXray { name, .. }) | Self::Attached(AttachedXray { name, .. })) = self;
        if let Err(e) = check_server_name(name) {
            fault("name", e.message().to_owned());
        }
        match self {
            Self::Managed(managed) => {
                if !managed.directory.is_absolute() {
                    fault("directory", "must be an absolute path".to_owned());
                }
                // Linux allows 108 bytes for a socket's path.
                if managed.directory.as_os_str().len() > 90 {
                    fault("directory", "is too long for a socket in it (90 bytes)".to_owned());
                }
                match &managed.extra {
                    None => {}
                    Some(Value::Object(extra)) => {
                        for name in
                            extra.keys().filter(|n| !matches!(n.as_str(), "outbounds" | "routing" | "dns"))
                        {
                            fault(&format!("extra.{name}"), "only outbounds, routing, dns".to_owned());
                        }
                    }
                    Some(_) => fault("extra", "must be an object".to_owned()),
                }
            }
            Self::Attached(attached) => {
                if let Err(e) = ApiAddress::parse(&attached.api) {
                    fault("api", e.message().to_owned());
                }
            }
        }
        faults
    }

    pub(crate) fn validate(&self) -> Result<()> {
        match self.faults().into_iter().next() {
            None => Ok(()),
            Some((path, message)) => {
                Err(Error::new(vpnkit_core::ErrorKind::InvalidConfig, "xray.config", message)
                    .with("field", path))
            }
        }
    }
}
