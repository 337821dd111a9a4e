//! What to open.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vpnkit_core::engine::EngineOptions;
use vpnkit_core::{Error, ErrorKind, Result, Secret};

/// Where keys are remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
#[non_exhaustive]
pub enum StoreConfig {
    /// `memory:`: nothing is kept.
    Memory,
    /// `sqlite:PATH`: one file.
    Sqlite(PathBuf),
}

impl TryFrom<String> for StoreConfig {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        match text.split_once(':') {
            Some(("memory", "")) => Ok(Self::Memory),
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(PathBuf::from(path))),
            _ => Err(Error::new(ErrorKind::InvalidConfig, "config", "not a store")
                .with("field", "store")
                .with("value", text)
                .hint("write `sqlite:bot.db` or `memory:`")),
        }
    }
}

impl<'de> Deserialize<'de> for StoreConfig {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.try_into().map_err(|e: Error| {
            serde::de::Error::custom(format!("{}, {}", e.message(), e.hint_text().unwrap_or_default()))
        })
    }
}

impl From<StoreConfig> for String {
    fn from(store: StoreConfig) -> Self {
        match store {
            StoreConfig::Memory => "memory:".to_owned(),
            StoreConfig::Sqlite(path) => format!("sqlite:{}", path.display()),
        }
    }
}

/// A server to drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ServerConfig {
    /// Xray.
    #[cfg(feature = "xray")]
    Xray(vpnkit_xray::XrayConfig),
}

/// Everything that [`crate::VpnKit::open`] needs.
///
/// ```
/// use vpnkit::Config;
/// let config = Config::from_json(r#"{ "store": "sqlite:bot.db", "collect_every_secs": 5 }"#)?;
/// assert_eq!(config.collect_every_secs, 5);
/// assert!(Config::from_json(r#"{ "store": "sqlite:bot.db", "colect": 5 }"#).is_err());
/// # Ok::<(), vpnkit::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Where keys are remembered.
    pub store: StoreConfig,
    /// Encrypts credentials and private keys in a SQLite store. A store that was not encrypted is when it is opened
    /// with one; from then on it opens with this one only, in every process that uses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<Secret>,
    /// The servers to drive; none is fine.
    #[serde(default)]
    pub servers: Vec<ServerConfig>,
    /// Seconds between two readings of a server's counters. Default: 10.
    #[serde(default = "default_collect")]
    pub collect_every_secs: u64,
    /// Seconds between two full comparisons of a server with the store. Default: 300.
    #[serde(default = "default_reconcile")]
    pub reconcile_every_secs: u64,
    /// Days for which events and idempotency keys are kept. Default: 30.
    #[serde(default = "default_keep")]
    pub keep_events_days: u64,
    /// Whether background work runs. Default: yes. Without it only [`crate::VpnKit::tick`] reads counters and ends keys:
    /// for tests that move a clock.
    #[serde(default = "default_background")]
    pub background: bool,
}

const fn default_collect() -> u64 {
    10
}

const fn default_reconcile() -> u64 {
    300
}

const fn default_keep() -> u64 {
    30
}

const fn default_background() -> bool {
    true
}

impl Config {
    fn new(store: StoreConfig) -> Self {
        Self {
            store,
            passphrase: None,
            servers: Vec::new(),
            collect_every_secs: default_collect(),
            reconcile_every_secs: default_reconcile(),
            keep_events_days: default_keep(),
            background: default_background(),
        }
    }

    /// One SQLite file.
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self::new(StoreConfig::Sqlite(path.into()))
    }

    /// Nothing is kept.
    #[must_use]
    pub fn memory() -> Self {
        Self::new(StoreConfig::Memory)
    }

    /// Adds an Xray.
    #[cfg(feature = "xray")]
    #[must_use]
    pub fn xray(mut self, xray: vpnkit_xray::XrayConfig) -> Self {
        self.servers.push(ServerConfig::Xray(xray));
        self
    }

    /// Encrypts the store.
    #[must_use]
    pub fn passphrase(mut self, passphrase: impl Into<String>) -> Self {
        self.passphrase = Some(Secret::new(passphrase));
        self
    }

    /// Sets the seconds between two readings.
    #[must_use]
    pub fn collect_every_secs(mut self, secs: u64) -> Self {
        self.collect_every_secs = secs;
        self
    }

    /// From JSON; unknown fields are refused.
    ///
    /// Errors: `InvalidConfig`.
    pub fn from_json(text: &str) -> Result<Self> {
        let config: Self = crate::read_json(text).map_err(|fault| {
            Error::new(ErrorKind::InvalidConfig, "config", "the configuration cannot be read")
                .with("fault", format!("{}: {}", fault.path, fault.message))
        })?;
        config.validate()?;
        Ok(config)
    }

    /// Every fault, with its path.
    #[must_use]
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let positive = [
            ("collect_every_secs", self.collect_every_secs),
            ("reconcile_every_secs", self.reconcile_every_secs),
            ("keep_events_days", self.keep_events_days),
        ];
        for (name, value) in positive {
            if value == 0 || value > 10_000_000 {
                faults.push((name.to_owned(), "must be 1 to 10,000,000".to_owned()));
            }
        }
        match (&self.passphrase, &self.store) {
            (Some(_), StoreConfig::Memory) => {
                faults.push(("passphrase".to_owned(), "a store in memory is not encrypted".to_owned()));
            }
            (Some(passphrase), _) if passphrase.expose().is_empty() => {
                faults.push(("passphrase".to_owned(), "must not be empty".to_owned()));
            }
            _ => {}
        }
        #[cfg(feature = "xray")]
        for (i, server) in self.servers.iter().enumerate() {
            let ServerConfig::Xray(xray) = server;
            faults.extend(
                xray.faults().into_iter().map(|(path, why)| (format!("servers[{i}].xray.{path}"), why)),
            );
        }
        faults
    }

    /// Checks everything.
    ///
    /// Errors: `InvalidConfig`; the context has one `fault` for each, with its path.
    pub fn validate(&self) -> Result<()> {
        let faults = self.faults();
        if faults.is_empty() {
            return Ok(());
        }
        let mut error = Error::new(ErrorKind::InvalidConfig, "config", "the configuration has faults");
        for (path, why) in faults {
            error = error.with("fault", format!("{path}: {why}"));
        }
        Err(error)
    }

    pub(crate) fn options(&self) -> EngineOptions {
        EngineOptions {
            collect_every: Duration::from_secs(self.collect_every_secs),
            reconcile_every: Duration::from_secs(self.reconcile_every_secs),
            keep_events: Duration::from_secs(self.keep_events_days * 86_400),
            background: self.background,
            ..EngineOptions::default()
        }
    }
}
