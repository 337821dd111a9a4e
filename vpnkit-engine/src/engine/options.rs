//! How often the engine does what by itself, and what it knows.

use std::sync::Arc;
use std::time::Duration;

use crate::webhook::WebhookSender;
use vpnkit_core::backend::ServerRules;
use vpnkit_core::model::{ReminderPolicy, SharingPolicy, TimeZoneName};

/// How often the engine does what by itself, and what it knows.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Between two readings of a server's counters. A limit can be overrun by what passes in this time.
    pub collect_every: Duration,
    /// Between two looks for keys whose time is over.
    pub expiry_check_every: Duration,
    /// Between two full comparisons of a server with the store.
    pub reconcile_every: Duration,
    /// How long a call waits for servers to take over what was committed; the change itself is never undone.
    pub apply_wait: Duration,
    /// How long events are kept, and idempotency keys of calls that grant nothing.
    pub keep_events: Duration,
    /// How long the timelines of keys have events, if that is longer.
    pub keep_timelines: Duration,
    /// How long a key's traffic is kept by the hour; then by the day.
    pub keep_hourly: Duration,
    /// How long a key's traffic is kept by the day; then by the month, for ever.
    pub keep_daily: Duration,
    /// The calendar that resets of usage go by where a key names none. It is written to the key when it is created.
    pub time_zone: TimeZoneName,
    /// What happens to keys that are used at too many addresses at once.
    pub sharing: SharingPolicy,
    /// When events remind of the end of a key.
    pub reminders: ReminderPolicy,
    /// What sends events to webhooks; without it there are none.
    pub webhooks: Option<Arc<dyn WebhookSender>>,
    /// The pause behind the first failure of a webhook's receiver; each further one is longer.
    pub webhook_retry: Duration,
    /// How long opening waits for servers to start. Those that need longer go on, those that fail are tried again.
    pub start_wait: Duration,
    /// How long a process that has fallen silent keeps a server from being driven by another one.
    pub lease_time: Duration,
    /// Whether background work runs. Without it nothing happens but what [`Engine::tick`](super::Engine::tick) does: for tests.
    pub background: bool,
    /// The programs whose endpoints it can tell, beside those of its own servers: other processes drive them.
    pub programs: Vec<Arc<dyn ServerRules>>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            collect_every: Duration::from_secs(10),
            expiry_check_every: Duration::from_secs(1),
            reconcile_every: Duration::from_secs(300),
            apply_wait: Duration::from_secs(2),
            keep_events: Duration::from_secs(30 * 86_400),
            keep_timelines: Duration::from_secs(180 * 86_400),
            keep_hourly: Duration::from_secs(62 * 86_400),
            keep_daily: Duration::from_secs(800 * 86_400),
            time_zone: TimeZoneName::default(),
            sharing: SharingPolicy::default(),
            reminders: ReminderPolicy::default(),
            webhooks: None,
            webhook_retry: Duration::from_secs(1),
            start_wait: Duration::from_secs(30),
            lease_time: Duration::from_secs(5),
            background: true,
            programs: Vec::new(),
        }
    }
}
