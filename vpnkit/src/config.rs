//! What to open.

use std::path::PathBuf;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use vpnkit_core::model::{
    DurationText, ReminderPolicy, SharingPolicy, TimeZoneName, duration_text, format_duration,
};
use vpnkit_core::{Error, ErrorKind, Result, Secret};
use vpnkit_engine::engine::EngineOptions;

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

impl JsonSchema for StoreConfig {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Store".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "store" })
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ServerConfig {
    /// An Xray that vpnkit runs.
    #[cfg(feature = "xray")]
    ManagedXray(vpnkit_xray::ManagedXray),
    /// An Xray that somebody else runs.
    #[cfg(feature = "xray")]
    AttachedXray(vpnkit_xray::AttachedXray),
}

impl<'de> Deserialize<'de> for ServerConfig {
    /// Reads the fields of the type that is named, so that an error names the field.
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let mut fields = serde_json::Map::deserialize(d)?;
        let kind = fields.remove("type");
        let fault = |message: String| serde::de::Error::custom(message);
        #[cfg(feature = "xray")]
        match kind.as_ref().and_then(serde_json::Value::as_str) {
            Some("managed_xray") => return inside(fields).map(Self::ManagedXray).map_err(fault),
            Some("attached_xray") => return inside(fields).map(Self::AttachedXray).map_err(fault),
            _ => {}
        }
        drop((fields, kind));
        Err(fault("type: expected managed_xray or attached_xray".to_owned()))
    }
}

#[cfg(feature = "xray")]
fn inside<T: serde::de::DeserializeOwned>(
    fields: serde_json::Map<String, serde_json::Value>,
) -> Result<T, String> {
    let text = serde_json::Value::Object(fields).to_string();
    vpnkit_core::read_json(&text).map_err(|fault| match fault.path.as_str() {
        "." => fault.message,
        path => format!("{path}: {}", fault.message),
    })
}

#[cfg(feature = "xray")]
impl From<vpnkit_xray::XrayConfig> for ServerConfig {
    fn from(config: vpnkit_xray::XrayConfig) -> Self {
        match config {
            vpnkit_xray::XrayConfig::Managed(managed) => Self::ManagedXray(managed),
            vpnkit_xray::XrayConfig::Attached(attached) => Self::AttachedXray(attached),
        }
    }
}

#[cfg(feature = "xray")]
impl From<ServerConfig> for vpnkit_xray::XrayConfig {
    fn from(config: ServerConfig) -> Self {
        match config {
            ServerConfig::ManagedXray(managed) => Self::Managed(managed),
            ServerConfig::AttachedXray(attached) => Self::Attached(attached),
        }
    }
}

/// Everything that [`crate::VpnKit::open`] needs.
///
/// ```
/// use vpnkit::Config;
/// let config = Config::from_json(r#"{ "store": "sqlite:bot.db", "collect_every": "5 seconds" }"#)?;
/// assert_eq!(config.collect_every.as_secs(), 5);
/// assert!(Config::from_json(r#"{ "store": "sqlite:bot.db", "colect": 5 }"#).is_err());
/// # Ok::<(), vpnkit::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Where keys are remembered.
    pub store: StoreConfig,
    /// Encrypts credentials and private keys in a SQLite store. A store that was not encrypted is when it is opened
    /// with one; from then on it opens with this one only, in every process that uses it, until it is changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<Secret>,
    /// What the passphrase was before: a store that still has this one gets `passphrase` when it is opened. One that has
    /// it already opens as ever, so this may stay until every process was started with both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_passphrase: Option<Secret>,
    /// The servers to drive; none is fine.
    #[serde(default)]
    pub servers: Vec<ServerConfig>,
    /// The time between two readings of a server's counters. Default: 10 seconds.
    #[serde(default = "default_collect", with = "duration_text")]
    #[schemars(with = "DurationText")]
    pub collect_every: Duration,
    /// The time between two full comparisons of a server with the store. Default: 5 minutes.
    #[serde(default = "default_reconcile", with = "duration_text")]
    #[schemars(with = "DurationText")]
    pub reconcile_every: Duration,
    /// How long events are kept, and idempotency keys of calls that grant nothing. Default: 30 days.
    #[serde(default = "default_keep", with = "duration_text")]
    #[schemars(with = "DurationText")]
    pub keep_events: Duration,
    /// How long the timelines of keys have events, if that is longer. Default: 180 days.
    #[serde(default = "default_timelines", with = "duration_text")]
    #[schemars(with = "DurationText")]
    pub keep_timelines: Duration,
    /// How long a key's traffic is kept by the hour; older traffic is kept by the day. Default: 62 days.
    #[serde(default = "default_hourly", with = "duration_text")]
    #[schemars(with = "DurationText")]
    pub keep_hourly: Duration,
    /// How long a key's traffic is kept by the day; older traffic is kept by the month, for ever. Default: 800 days.
    #[serde(default = "default_daily", with = "duration_text")]
    #[schemars(with = "DurationText")]
    pub keep_daily: Duration,
    /// The calendar that resets of usage go by where a key names none: `Europe/Berlin`. Default: UTC.
    #[serde(default)]
    pub time_zone: TimeZoneName,
    /// What happens to keys that are used at more addresses at once than their `address_limit`. Default: an event tells of it.
    #[serde(default)]
    pub sharing: SharingPolicy,
    /// When events remind of the end of a key. Default: at 80 and 90 percent of the limit, 3 days and 1 day before the end.
    #[serde(default)]
    pub reminders: ReminderPolicy,
    /// Whether webhooks may lead to addresses of this machine and of private networks. Default: no. Who may create a webhook could
    /// reach there what only this machine can.
    #[serde(default)]
    pub private_webhooks: bool,
    /// Whether background work runs. Default: yes. Without it only [`crate::VpnKit::tick`] reads counters and ends keys:
    /// for tests that move a clock.
    #[serde(default = "default_background")]
    pub background: bool,
}

const fn default_collect() -> Duration {
    Duration::from_secs(10)
}

const fn default_reconcile() -> Duration {
    Duration::from_secs(300)
}

const fn default_keep() -> Duration {
    Duration::from_secs(30 * 86_400)
}

const fn default_timelines() -> Duration {
    Duration::from_secs(180 * 86_400)
}

const fn default_hourly() -> Duration {
    Duration::from_secs(62 * 86_400)
}

const fn default_daily() -> Duration {
    Duration::from_secs(800 * 86_400)
}

const fn default_background() -> bool {
    true
}

impl Config {
    fn new(store: StoreConfig) -> Self {
        Self {
            store,
            passphrase: None,
            previous_passphrase: None,
            servers: Vec::new(),
            collect_every: default_collect(),
            reconcile_every: default_reconcile(),
            keep_events: default_keep(),
            keep_timelines: default_timelines(),
            keep_hourly: default_hourly(),
            keep_daily: default_daily(),
            time_zone: TimeZoneName::default(),
            sharing: SharingPolicy::default(),
            reminders: ReminderPolicy::default(),
            private_webhooks: false,
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
        self.servers.push(xray.into());
        self
    }

    /// Encrypts the store.
    #[must_use]
    pub fn passphrase(mut self, passphrase: impl Into<String>) -> Self {
        self.passphrase = Some(Secret::new(passphrase));
        self
    }

    /// Changes the passphrase of a store that still has this one.
    #[must_use]
    pub fn previous_passphrase(mut self, passphrase: impl Into<String>) -> Self {
        self.previous_passphrase = Some(Secret::new(passphrase));
        self
    }

    /// Sets the time between two readings.
    #[must_use]
    pub fn collect_every(mut self, time: Duration) -> Self {
        self.collect_every = time;
        self
    }

    /// From JSON; unknown fields are refused.
    ///
    /// Errors: `InvalidConfig`.
    pub fn from_json(text: &str) -> Result<Self> {
        let config: Self = vpnkit_core::read_json(text).map_err(|fault| {
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
        const DAY: u64 = 86_400;
        let bounds = [
            ("collect_every", self.collect_every, Duration::from_millis(100), Duration::from_secs(DAY)),
            ("reconcile_every", self.reconcile_every, Duration::from_secs(1), Duration::from_secs(DAY)),
            ("keep_events", self.keep_events, Duration::from_secs(60), Duration::from_secs(36_500 * DAY)),
            (
                "keep_timelines",
                self.keep_timelines,
                Duration::from_secs(60),
                Duration::from_secs(36_500 * DAY),
            ),
            ("keep_hourly", self.keep_hourly, Duration::from_secs(DAY), Duration::from_secs(36_500 * DAY)),
            ("keep_daily", self.keep_daily, Duration::from_secs(31 * DAY), Duration::from_secs(36_500 * DAY)),
        ];
        for (name, time, least, most) in bounds {
            if time < least || time > most {
                let (least, most) = (format_duration(least), format_duration(most));
                faults.push((name.to_owned(), format!("must be {least} to {most}")));
            }
        }
        for (name, checked) in
            [("sharing", self.sharing.validate("config")), ("reminders", self.reminders.validate("config"))]
        {
            if let Err(e) = checked {
                faults.push((e.get("field").unwrap_or(name).to_owned(), e.message().to_owned()));
            }
        }
        for (name, passphrase) in
            [("passphrase", &self.passphrase), ("previous_passphrase", &self.previous_passphrase)]
        {
            let Some(passphrase) = passphrase else { continue };
            let why = if self.store == StoreConfig::Memory {
                "a store in memory is not encrypted"
            } else if passphrase.expose().is_empty() {
                "must not be empty"
            } else if self.passphrase.is_none() {
                "needs the `passphrase` that follows it"
            } else {
                continue;
            };
            faults.push((name.to_owned(), why.to_owned()));
        }
        #[cfg(feature = "xray")]
        for (i, server) in self.servers.iter().enumerate() {
            let xray = vpnkit_xray::XrayConfig::from(server.clone());
            faults.extend(xray.faults().into_iter().map(|(path, why)| (format!("servers[{i}].{path}"), why)));
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
            collect_every: self.collect_every,
            reconcile_every: self.reconcile_every,
            keep_events: self.keep_events,
            keep_timelines: self.keep_timelines,
            keep_hourly: self.keep_hourly,
            keep_daily: self.keep_daily,
            time_zone: self.time_zone.clone(),
            sharing: self.sharing.clone(),
            reminders: self.reminders.clone(),
            background: self.background,
            ..EngineOptions::default()
        }
    }
}
