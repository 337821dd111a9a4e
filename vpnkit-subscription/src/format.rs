//! What a subscription is written in.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::clash::Dialect;
use crate::sing_box::SingBoxForm;
use crate::{base64_list, clash, outline, plain_list, sing_box, wireguard, xray_json};
use vpnkit_core::model::{Endpoint, Proxy};
use vpnkit_core::{Error, Result};

/// What a subscription is written in. As text: [`Format::code`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// Share links, one a line, all of it in base64.
    Links,
    /// Share links, one a line.
    Plain,
    /// A list of configurations of Xray.
    Xray,
    /// YAML for Clash before Meta.
    Clash,
    /// YAML for mihomo.
    Mihomo,
    /// YAML for Stash.
    Stash,
    /// JSON for sing-box.
    SingBox(SingBoxForm),
    /// JSON that Outline fetches.
    Outline,
    /// `.conf` of the first WireGuard endpoint.
    WireGuard,
    /// A page for people.
    Page,
    /// A template of the operator's own.
    Template(String),
}

impl Format {
    /// Every format but templates.
    pub const ALL: &'static [Self] = &[
        Self::Links,
        Self::Plain,
        Self::Xray,
        Self::Clash,
        Self::Mihomo,
        Self::Stash,
        Self::SingBox(SingBoxForm::V1_12),
        Self::SingBox(SingBoxForm::V1_11),
        Self::SingBox(SingBoxForm::V1_10),
        Self::Outline,
        Self::WireGuard,
        Self::Page,
    ];

    /// The name in settings, in answers and after the token in a URL.
    #[must_use]
    pub fn code(&self) -> String {
        let code = match self {
            Self::Links => "links",
            Self::Plain => "plain",
            Self::Xray => "xray",
            Self::Clash => "clash",
            Self::Mihomo => "clash-meta",
            Self::Stash => "stash",
            Self::SingBox(SingBoxForm::V1_12) => "sing-box",
            Self::SingBox(SingBoxForm::V1_11) => "sing-box-1.11",
            Self::SingBox(SingBoxForm::V1_10) => "sing-box-1.10",
            Self::Outline => "outline",
            Self::WireGuard => "wireguard",
            Self::Page => "html",
            Self::Template(name) => return format!("template:{name}"),
        };
        code.to_owned()
    }

    /// Whether an endpoint can be written in it. What cannot be is left out.
    #[must_use]
    pub fn expresses(&self, endpoint: &Endpoint) -> bool {
        match self {
            Self::Links | Self::Plain | Self::Xray | Self::Page | Self::Template(_) => true,
            Self::Clash => clash::expresses(Dialect::Clash, endpoint),
            Self::Mihomo => clash::expresses(Dialect::Mihomo, endpoint),
            Self::Stash => clash::expresses(Dialect::Stash, endpoint),
            Self::SingBox(_) => sing_box::expresses(endpoint),
            Self::Outline => outline::expresses(endpoint),
            Self::WireGuard => matches!(endpoint.proxy, Proxy::WireGuard(_)),
        }
    }

    /// The media type; templates have their own.
    #[must_use]
    pub(crate) const fn content_type(&self) -> &'static str {
        match self {
            Self::Links | Self::Plain | Self::WireGuard | Self::Template(_) => "text/plain; charset=utf-8",
            Self::Xray | Self::SingBox(_) | Self::Outline => "application/json; charset=utf-8",
            Self::Clash | Self::Mihomo | Self::Stash => "text/yaml; charset=utf-8",
            Self::Page => "text/html; charset=utf-8",
        }
    }

    /// What the file is called that a client saves, after its name.
    #[must_use]
    pub(crate) const fn extension(&self) -> &'static str {
        match self {
            Self::Links | Self::Plain | Self::Template(_) => "txt",
            Self::Xray | Self::SingBox(_) | Self::Outline => "json",
            Self::Clash | Self::Mihomo | Self::Stash => "yaml",
            Self::WireGuard => "conf",
            Self::Page => "html",
        }
    }

    /// These endpoints as text; `notice` is said where a format has no place for an endpoint that says it.
    ///
    /// Errors: `Unsupported` for the page and templates, which need more than endpoints.
    pub fn write(&self, endpoints: &[Endpoint], notice: &str) -> Result<String> {
        Ok(match self {
            Self::Links => base64_list(endpoints),
            Self::Plain => plain_list(endpoints),
            Self::Xray => xray_json::subscription(endpoints).to_string(),
            Self::Clash => clash::config(Dialect::Clash, endpoints)?,
            Self::Mihomo => clash::config(Dialect::Mihomo, endpoints)?,
            Self::Stash => clash::config(Dialect::Stash, endpoints)?,
            Self::SingBox(form) => sing_box::config(*form, endpoints).to_string(),
            // It shows errors, so a notice needs no endpoint that stands for it.
            Self::Outline => {
                outline::config(if notice.is_empty() { endpoints } else { &[] }, notice).to_string()
            }
            Self::WireGuard => endpoints
                .iter()
                .find_map(wireguard::conf)
                .unwrap_or_else(|| format!("# {}\n", wireguard::one_line(notice))),
            Self::Page | Self::Template(_) => {
                return Err(Error::new(
                    vpnkit_core::ErrorKind::Unsupported,
                    "subscription.write",
                    "needs more than endpoints",
                )
                .with("format", self));
            }
        })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.code())
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(code: &str) -> Result<Self> {
        if let Some(name) = code.strip_prefix("template:") {
            return Ok(Self::Template(name.to_owned()));
        }
        // The names that panels of the field use in their URLs.
        let code = match code {
            "v2ray" | "base64" => "links",
            "v2ray-json" | "xray-json" => "xray",
            "mihomo" => "clash-meta",
            other => other,
        };
        Self::ALL.iter().find(|format| format.code() == code).cloned().ok_or_else(|| {
            Error::invalid("subscription.format", "format", "there is no such format")
                .with("value", code)
                .hint("links, plain, xray, clash, clash-meta, stash, sing-box, outline, wireguard, html")
        })
    }
}

impl JsonSchema for Format {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Format".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "subscription-format" })
    }
}

impl Serialize for Format {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.code())
    }
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let code = String::deserialize(d)?;
        code.parse().map_err(|e: Error| serde::de::Error::custom(e.message()))
    }
}
