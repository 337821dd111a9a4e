//! What the operator says of all subscriptions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ClientRule, Format, Language};
use vpnkit_core::model::{KeyRotation, KeyStatus, Patch};
use vpnkit_core::{Error, Result};

/// What the operator says of all subscriptions.
///
/// ```
/// use vpnkit_subscription::SubscriptionSettings;
/// let settings = SubscriptionSettings {
///     base_url: Some("https://sub.example.com/s".into()),
///     title: "Example VPN".into(),
///     ..SubscriptionSettings::default()
/// };
/// settings.validate()?;
/// # Ok::<(), vpnkit_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SubscriptionSettings {
    /// Where subscriptions are served: a URL is this, `/` and the token. Without it there are tokens but no URLs.
    pub base_url: Option<String>,
    /// The name that clients show: 1 to 100 characters, with variables. Default: `VPN`.
    pub title: String,
    /// How often clients ask again, 1 to 720 hours. Default: 12.
    pub update_interval_hours: u32,
    /// Where customers get help: a URL, `https:`, `tg:` or `mailto:`.
    pub support_url: Option<String>,
    /// The service's own site. Default: the page of the subscription.
    pub web_page_url: Option<String>,
    /// A message that clients show: up to 200 characters, with variables.
    pub announce: Option<String>,
    /// Where the message leads.
    pub announce_url: Option<String>,
    /// Routing rules of Happ, as it imports them: `happ://routing/onadd/…`.
    pub routing: Option<String>,
    /// The language of notices, of `{STATUS_TEXT}`, and of the page for browsers that ask for no known one.
    pub language: Language,
    /// The time zone of dates, in minutes east of UTC: 210 is Tehran.
    pub utc_offset_minutes: i32,
    /// What a client shows instead of servers when a key may not connect.
    pub notices: Notices,
    /// On how many devices a key without a limit of its own may be, as clients tell it by `x-hwid`.
    pub device_limit: Option<u32>,
    /// Whether a client that names no device gets nothing where there is a limit. Browsers always get their page.
    pub require_device: bool,
    /// Which client gets which format; comes before what is known of clients.
    pub clients: Vec<ClientRule>,
    /// When another secret signs URLs, without a call; `None` is never. URLs of before work for `keep_old` longer, and then no more:
    /// only for services that give their customers the URL again and again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_rotation: Option<KeyRotation>,
}

/// A change of the settings: what is left out stays, [`Patch::Clear`] takes a value away. Lists and notices are replaced as
/// a whole.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SettingsPatch {
    /// Where subscriptions are served.
    #[serde(skip_serializing_if = "Patch::is_keep")]
    pub base_url: Patch<String>,
    /// The name that clients show.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "vpnkit_core::model::given")]
    pub title: Option<String>,
    /// How often clients ask again, 1 to 720 hours.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "vpnkit_core::model::given")]
    pub update_interval_hours: Option<u32>,
    /// Where customers get help.
    #[serde(skip_serializing_if = "Patch::is_keep")]
    pub support_url: Patch<String>,
    /// The service's own site.
    #[serde(skip_serializing_if = "Patch::is_keep")]
    pub web_page_url: Patch<String>,
    /// A message that clients show.
    #[serde(skip_serializing_if = "Patch::is_keep")]
    pub announce: Patch<String>,
    /// Where the message leads.
    #[serde(skip_serializing_if = "Patch::is_keep")]
    pub announce_url: Patch<String>,
    /// Routing rules of Happ.
    #[serde(skip_serializing_if = "Patch::is_keep")]
    pub routing: Patch<String>,
    /// The language of notices.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "vpnkit_core::model::given")]
    pub language: Option<Language>,
    /// The time zone of dates, in minutes east of UTC.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "vpnkit_core::model::given")]
    pub utc_offset_minutes: Option<i32>,
    /// What a client shows instead of servers.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "vpnkit_core::model::given")]
    pub notices: Option<Notices>,
    /// On how many devices a key without a limit of its own may be.
    #[serde(skip_serializing_if = "Patch::is_keep")]
    pub device_limit: Patch<u32>,
    /// Whether a client that names no device gets nothing where there is a limit.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "vpnkit_core::model::given")]
    pub require_device: Option<bool>,
    /// Which client gets which format.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "vpnkit_core::model::given")]
    pub clients: Option<Vec<ClientRule>>,
    /// When another secret signs URLs.
    #[serde(skip_serializing_if = "Patch::is_keep")]
    pub secret_rotation: Patch<KeyRotation>,
}

impl SettingsPatch {
    /// Changes the settings.
    pub fn apply(self, settings: &mut SubscriptionSettings) {
        self.base_url.apply(&mut settings.base_url);
        if let Some(title) = self.title {
            settings.title = title;
        }
        if let Some(update_interval_hours) = self.update_interval_hours {
            settings.update_interval_hours = update_interval_hours;
        }
        self.support_url.apply(&mut settings.support_url);
        self.web_page_url.apply(&mut settings.web_page_url);
        self.announce.apply(&mut settings.announce);
        self.announce_url.apply(&mut settings.announce_url);
        self.routing.apply(&mut settings.routing);
        if let Some(language) = self.language {
            settings.language = language;
        }
        if let Some(utc_offset_minutes) = self.utc_offset_minutes {
            settings.utc_offset_minutes = utc_offset_minutes;
        }
        if let Some(notices) = self.notices {
            settings.notices = notices;
        }
        self.device_limit.apply(&mut settings.device_limit);
        if let Some(require_device) = self.require_device {
            settings.require_device = require_device;
        }
        if let Some(clients) = self.clients {
            settings.clients = clients;
        }
        self.secret_rotation.apply(&mut settings.secret_rotation);
    }
}

/// What a client shows instead of servers: lines with variables. An empty list is the text of the settings' language.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Notices {
    /// The data limit is used up.
    pub limited: Vec<String>,
    /// Its time is over.
    pub expired: Vec<String>,
    /// Switched off.
    pub disabled: Vec<String>,
    /// Paused.
    pub paused: Vec<String>,
    /// Locked for a while.
    pub locked: Vec<String>,
    /// On too many devices.
    pub devices: Vec<String>,
    /// No inbound or host yet.
    pub empty: Vec<String>,
}

/// Why a client gets a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    Status(KeyStatus),
    Devices,
    Empty,
}

impl Default for SubscriptionSettings {
    fn default() -> Self {
        Self {
            base_url: None,
            title: "VPN".to_owned(),
            update_interval_hours: 12,
            support_url: None,
            web_page_url: None,
            announce: None,
            announce_url: None,
            routing: None,
            language: Language::En,
            utc_offset_minutes: 0,
            notices: Notices::default(),
            device_limit: None,
            require_device: false,
            clients: Vec::new(),
            secret_rotation: None,
        }
    }
}

impl SubscriptionSettings {
    /// Checks every field.
    ///
    /// Errors: `InvalidInput` with the `field`.
    pub fn validate(&self) -> Result<()> {
        if let Some(rotation) = &self.secret_rotation {
            rotation.check("subscriptions.configure", "secret_rotation")?;
        }
        let fault =
            |field: &str, message: &str| Err(Error::invalid("subscriptions.configure", field, message));
        let web = |url: &str| url.starts_with("https://") || url.starts_with("http://");
        // They go into headers, so names in other alphabets have to be written as xn--.
        let clean = |text: &str| text.len() <= 2_048 && text.bytes().all(|b| b.is_ascii_graphic());
        if let Some(url) = &self.base_url
            && !(web(url) && clean(url) && !url.contains(['?', '#']))
        {
            return fault("base_url", "must be a URL in ASCII, http or https, without query and fragment");
        }
        for (field, url) in [("web_page_url", &self.web_page_url), ("announce_url", &self.announce_url)] {
            if url.as_ref().is_some_and(|url| !web(url) || !clean(url)) {
                return fault(field, "must be a URL in ASCII, http or https");
            }
        }
        let support = |url: &String| {
            let known = web(url) || url.starts_with("tg://") || url.starts_with("mailto:");
            known && clean(url)
        };
        if self.support_url.as_ref().is_some_and(|url| !support(url)) {
            return fault("support_url", "must be a URL in ASCII: https://, tg:// or mailto:");
        }
        if self.routing.as_ref().is_some_and(|r| r.len() > 16_384 || !r.bytes().all(|b| b.is_ascii_graphic()))
        {
            return fault("routing", "must be up to 16,384 visible ASCII characters");
        }
        let lines = |text: &str, max: usize| {
            text.chars().count() <= max && !text.chars().any(|c| c.is_control() && c != '\n')
        };
        if self.title.trim().is_empty() || !lines(&self.title, 100) || self.title.contains('\n') {
            return fault("title", "must have 1 to 100 characters on one line");
        }
        if self.announce.as_ref().is_some_and(|text| !lines(text, 200)) {
            return fault("announce", "must have up to 200 characters");
        }
        if !(1..=720).contains(&self.update_interval_hours) {
            return fault("update_interval_hours", "must be 1 to 720");
        }
        if !(-720..=840).contains(&self.utc_offset_minutes) {
            return fault("utc_offset_minutes", "must be -720 to 840");
        }
        if self.device_limit == Some(0) {
            return fault("device_limit", "0 devices would let nobody in");
        }
        let Notices { limited, expired, disabled, paused, locked, devices, empty } = &self.notices;
        for (field, notices) in [
            ("notices.limited", limited),
            ("notices.expired", expired),
            ("notices.disabled", disabled),
            ("notices.paused", paused),
            ("notices.locked", locked),
            ("notices.devices", devices),
            ("notices.empty", empty),
        ] {
            if notices.len() > 10 || notices.iter().any(|text| text.is_empty() || !lines(text, 256)) {
                return fault(field, "up to 10 lines of 1 to 256 characters");
            }
        }
        for (i, rule) in self.clients.iter().enumerate() {
            if rule.user_agent.trim_start_matches('*').is_empty() {
                return fault(&format!("clients[{i}].user_agent"), "must not be empty");
            }
            if rule.format == Format::Template(String::new()) {
                return fault(&format!("clients[{i}].format"), "a template has a name");
            }
        }
        Ok(())
    }

    /// The lines that a client shows.
    pub(crate) fn notice(&self, why: Why) -> Vec<&str> {
        let strings = self.language.strings();
        let (own, known) = match why {
            Why::Status(KeyStatus::Limited) => (&self.notices.limited, strings.notice_limited),
            Why::Status(KeyStatus::Expired) => (&self.notices.expired, strings.notice_expired),
            // Customers are not told of their seller's quotas.
            Why::Status(KeyStatus::Disabled | KeyStatus::Suspended) => {
                (&self.notices.disabled, strings.notice_disabled)
            }
            Why::Status(KeyStatus::Locked) => (&self.notices.locked, strings.notice_locked),
            Why::Status(KeyStatus::Paused) => (&self.notices.paused, strings.notice_paused),
            Why::Devices => (&self.notices.devices, strings.notice_devices),
            Why::Status(KeyStatus::Active | KeyStatus::OnHold) | Why::Empty => {
                (&self.notices.empty, strings.notice_empty)
            }
        };
        if own.is_empty() { vec![known] } else { own.iter().map(String::as_str).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_name_their_field() {
        SubscriptionSettings::default().validate().unwrap();
        type Breaks = fn(&mut SubscriptionSettings);
        let broken: [(&str, Breaks); 11] = [
            ("base_url", |s| s.base_url = Some("sub.example.com".into())),
            ("base_url", |s| s.base_url = Some("https://x/\r\nx: y".into())),
            ("base_url", |s| s.base_url = Some("https://пример.рф/s".into())),
            ("title", |s| s.title = "a\nb".into()),
            ("support_url", |s| s.support_url = Some("javascript:alert(1)".into())),
            ("announce", |s| s.announce = Some("x".repeat(201))),
            ("update_interval_hours", |s| s.update_interval_hours = 0),
            ("utc_offset_minutes", |s| s.utc_offset_minutes = 841),
            ("notices.expired", |s| s.notices.expired = vec![String::new()]),
            ("device_limit", |s| s.device_limit = Some(0)),
            ("routing", |s| s.routing = Some("a b".into())),
        ];
        for (field, breaks) in broken {
            let mut settings = SubscriptionSettings::default();
            breaks(&mut settings);
            assert_eq!(settings.validate().unwrap_err().get("field"), Some(field));
        }
    }
}
