//! What keys are made of again and again: the products of a shop.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check_key::{check_addresses, check_devices, check_length, check_limit, check_next_plan};
use super::labels::check_labels;
use super::{ByteSize, CreateKey, DataReset, Extension, InboundSelection, KeyName, Labels, NextPlan};
use crate::{Error, Result, Timestamp};

/// A product: what a key gets that is created or extended with it.
///
/// ```
/// use std::time::Duration;
/// use vpnkit_core::model::{ByteSize, CreateKey, KeyTemplate};
/// # let now = vpnkit_core::Timestamp::default();
/// let month = Duration::from_secs(30 * 86_400);
/// let product = KeyTemplate::named("month").data_limit(ByteSize::gib(50)).expires_in(month);
/// let key = product.create(CreateKey::named("alice"), now);
/// assert_eq!((key.data_limit, key.expires_in), (Some(ByteSize::gib(50)), Some(month)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KeyTemplate {
    /// What it is called: 1 to 64 of `A-Z a-z 0-9 . _ @ + -`.
    #[schemars(extend("x-positional" = true, "x-required" = true))]
    pub name: String,
    /// At least one byte; `None` is unlimited.
    pub data_limit: Option<ByteSize>,
    /// How long a key lasts; `None` is for ever.
    #[serde(with = "super::span::optional", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<super::DurationText>")]
    pub expires_in: Option<Duration>,
    /// Whether its time begins with its first connection.
    pub on_hold: bool,
    /// How long it waits for that; `None` is for ever.
    #[serde(with = "super::span::optional", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<super::DurationText>")]
    pub hold_for: Option<Duration>,
    /// How often its usage is set to nothing; `None` is never.
    pub reset: Option<DataReset>,
    /// What it becomes when its time is over or its limit is used up.
    pub next_plan: Option<NextPlan>,
    /// How long after its end it is deleted; `None` is never.
    #[serde(with = "super::span::optional", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<super::DurationText>")]
    pub delete_after: Option<Duration>,
    /// On how many devices its subscription may be; `None` is as the settings say.
    pub device_limit: Option<u32>,
    /// At how many addresses at once it may be used; `None` is any number.
    pub address_limit: Option<u32>,
    /// Tags of inbounds; all shared ones by default.
    pub inbounds: InboundSelection,
    /// What it is found by.
    pub labels: Labels,
    /// What stands before the name that is given.
    pub name_prefix: Option<String>,
    /// What stands behind the name that is given.
    pub name_suffix: Option<String>,
}

impl KeyTemplate {
    /// A template with a name, for keys that are unlimited and never end.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Sets the data limit.
    #[must_use]
    pub fn data_limit(mut self, limit: ByteSize) -> Self {
        self.data_limit = Some(limit);
        self
    }

    /// Sets how long a key lasts.
    #[must_use]
    pub fn expires_in(mut self, time: Duration) -> Self {
        self.expires_in = Some(time);
        self
    }

    /// Checks every value.
    ///
    /// Errors: `InvalidInput` with the `field`.
    pub fn validate(&self, op: &'static str) -> Result<()> {
        KeyName::new(&self.name).map_err(|e| e.during(op))?;
        for (field, part) in [("name_prefix", &self.name_prefix), ("name_suffix", &self.name_suffix)] {
            if let Some(part) = part {
                KeyName::new(part.as_str())
                    .map_err(|e| Error::invalid(op, field, e.message().to_owned()).with("value", part))?;
            }
        }
        check_limit(op, self.data_limit)?;
        check_length(op, "expires_in", self.expires_in)?;
        check_length(op, "hold_for", self.hold_for)?;
        check_length(op, "delete_after", self.delete_after)?;
        check_devices(op, self.device_limit)?;
        check_addresses(op, self.address_limit)?;
        check_labels(op, self.labels.iter().map(|(name, value)| (name, Some(value))))?;
        check_next_plan(op, self.next_plan, self.data_limit.is_some() || self.expires_in.is_some())?;
        if self.on_hold && self.expires_in.is_none() {
            return Err(Error::invalid(op, "expires_in", "is needed: how long a key on hold lasts"));
        }
        if self.hold_for.is_some() && !self.on_hold {
            return Err(Error::invalid(op, "hold_for", "the key is not on hold").hint("set `on_hold`"));
        }
        Ok(())
    }

    /// Fills in what is not given of a key that is created at `now`.
    #[must_use]
    pub fn create(&self, mut request: CreateKey, now: Timestamp) -> CreateKey {
        let given_time = request.expires_at.is_some() || request.expires_in.is_some();
        if !given_time {
            request.expires_in = self.expires_in;
        }
        if self.on_hold && request.expires_at.is_none() {
            request.on_hold = true;
            request.hold_until = request.hold_until.or_else(|| self.hold_for.map(|time| now.plus(time)));
        }
        request.data_limit = request.data_limit.or(self.data_limit);
        request.reset = request.reset.or_else(|| self.reset.clone());
        request.next_plan = request.next_plan.or(self.next_plan);
        request.delete_after = request.delete_after.or(self.delete_after);
        request.device_limit = request.device_limit.or(self.device_limit);
        request.address_limit = request.address_limit.or(self.address_limit);
        if request.inbounds == InboundSelection::All {
            request.inbounds = self.inbounds.clone();
        }
        for (name, value) in &self.labels {
            request.labels.entry(name.clone()).or_insert_with(|| value.clone());
        }
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        request.name =
            request.name.map(|name| format!("{}{name}{}", part(&self.name_prefix), part(&self.name_suffix)));
        request
    }

    /// Fills in what is not given of an extension: time and volume. One without a data limit gives no volume; a key becomes unlimited only when
    /// the extension says so.
    #[must_use]
    pub fn extend(&self, mut extension: Extension) -> Extension {
        extension.expires_in = extension.expires_in.or(self.expires_in);
        if !extension.unlimited {
            extension.data_limit = extension.data_limit.or(self.data_limit);
        }
        extension
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn what_is_given_takes_the_place_of_what_the_template_says() {
        let now = Timestamp::from_secs(0);
        let product = KeyTemplate {
            on_hold: true,
            hold_for: Some(7 * DAY),
            labels: Labels::from([("plan".into(), "m".into()), ("shop".into(), "a".into())]),
            name_prefix: Some("tg_".into()),
            device_limit: Some(3),
            ..KeyTemplate::named("month").data_limit(ByteSize::gib(50)).expires_in(30 * DAY)
        };
        product.validate("test").unwrap();
        let key = product.create(CreateKey::named("7").labelled("shop", "b"), now);
        assert_eq!((key.name.as_deref(), key.expires_in), (Some("tg_7"), Some(30 * DAY)));
        assert_eq!((key.on_hold, key.hold_until), (true, Some(now.plus(7 * DAY))));
        assert_eq!(key.labels, Labels::from([("plan".into(), "m".into()), ("shop".into(), "b".into())]));
        assert_eq!(key.validate(now).unwrap().device_limit, Some(3));
        let end = now.plus(DAY);
        let given = CreateKey { device_limit: Some(1), ..CreateKey::default() }.expires_at(end);
        let given = product.create(given.data_limit(ByteSize::gib(1)), now);
        assert_eq!((given.expires_in, given.on_hold, given.name), (None, false, None));
        assert_eq!((given.expires_at, given.data_limit), (Some(end), Some(ByteSize::gib(1))));
        assert_eq!(given.device_limit, Some(1));
        let more = product.extend(Extension::default());
        assert_eq!(
            (more.expires_in, more.data_limit, more.unlimited),
            (Some(30 * DAY), Some(ByteSize::gib(50)), false)
        );
        let unlimited = KeyTemplate::named("free").expires_in(DAY);
        assert!(!unlimited.extend(Extension::default()).unlimited);
        assert!(unlimited.extend(Extension::default().unlimited()).unlimited);
        assert!(!unlimited.extend(Extension::default().data_limit(ByteSize::gib(1))).unlimited);
    }

    #[test]
    fn faults_name_their_field() {
        let good = || KeyTemplate::named("x").expires_in(DAY).data_limit(ByteSize::gib(1));
        type Breaks = fn(&mut KeyTemplate);
        let broken: [(&str, Breaks); 10] = [
            ("name", |t| t.name = "two words".into()),
            ("name_prefix", |t| t.name_prefix = Some("a b".into())),
            ("name_suffix", |t| t.name_suffix = Some(String::new())),
            ("data_limit", |t| t.data_limit = Some(ByteSize::default())),
            ("expires_in", |t| t.expires_in = Some(Duration::ZERO)),
            ("expires_in", |t| (t.on_hold, t.expires_in) = (true, None)),
            ("hold_for", |t| t.hold_for = Some(DAY)),
            ("address_limit", |t| t.address_limit = Some(0)),
            ("device_limit", |t| t.device_limit = Some(0)),
            ("next_plan", |t| t.next_plan = Some(NextPlan::default())),
        ];
        good().validate("test").unwrap();
        for (field, breaks) in broken {
            let mut template = good();
            breaks(&mut template);
            assert_eq!(template.validate("test").unwrap_err().get("field"), Some(field));
        }
    }
}
