//! The answer to a client: status, headers, body.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use schemars::JsonSchema;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::settings::Why;
use crate::template::{Templates, View};
use crate::{Format, Language, SubscriptionSettings, Variables, page, sample};
use vpnkit_core::model::{Endpoint, Key, KeyId, Proxy, ShadowsocksMethod, UsagePoint};
use vpnkit_core::{ErrorKind, Result, Secret, Timestamp};

/// What a subscription answers: any web framework can send it.
#[derive(Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SubscriptionResponse {
    /// 200, 304 when the client has it already, 404 for a token that is not (or no longer) valid, 503 when there is too much
    /// to do.
    pub status: u16,
    /// Names in lower case, each once; values are visible ASCII.
    #[serde(serialize_with = "as_map")]
    #[schemars(with = "std::collections::BTreeMap<String, String>", extend("x-secret" = true))]
    pub headers: Vec<(String, String)>,
    /// UTF-8; it contains secrets.
    #[schemars(extend("format" = "utf-8", "x-secret" = true))]
    pub body: String,
}

fn as_map<S: Serializer>(headers: &[(String, String)], s: S) -> std::result::Result<S::Ok, S::Error> {
    let mut map = s.serialize_map(Some(headers.len()))?;
    for (name, value) in headers {
        map.serialize_entry(name, value)?;
    }
    map.end()
}

impl std::fmt::Debug for SubscriptionResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SubscriptionResponse({}, {} bytes)", self.status, self.body.len())
    }
}

impl SubscriptionResponse {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Returns the answer to a client that has what this tag stands for, as its `If-None-Match` says; `None` when it has not.
    #[must_use]
    pub fn unchanged(known: &str, tag: &str) -> Option<Self> {
        let mut response = Self { status: 304, headers: Vec::new(), body: String::new() };
        response.set("cache-control", "private, no-cache");
        response.set("vary", "user-agent, accept, accept-language");
        response.set("etag", tag);
        holds(known, tag).then_some(response)
    }

    /// Returns the answer of a server that has too much to do: the client is to come again.
    #[must_use]
    pub fn busy() -> Self {
        let mut busy = Self { status: 503, body: "busy\n".to_owned(), ..Self::not_found() };
        busy.set("retry-after", "5");
        busy
    }

    /// Nobody learns why.
    #[must_use]
    pub fn not_found() -> Self {
        let headers = [
            ("content-type", "text/plain; charset=utf-8"),
            ("cache-control", "no-store"),
            ("x-robots-tag", "noindex"),
        ];
        Self {
            status: 404,
            headers: headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            body: "not found\n".to_owned(),
        }
    }

    fn set(&mut self, name: &str, value: impl Into<String>) {
        // HTTP has no blanks around a value, and strict servers refuse them: a title may end in an empty variable.
        let value = value.into().trim().to_owned();
        // Nothing that comes from outside may end a header.
        if value.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
            self.headers.push((name.to_owned(), value));
        }
    }
}

/// How the devices of a key stand with its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Devices {
    /// Nothing is to be said: there is no limit, or the client need not name its device.
    Free,
    /// This one is among them.
    Bound,
    /// Too many.
    Full,
    /// It does not say which one it is, and has to.
    Unnamed,
}

/// Everything that an answer is made of.
#[derive(Debug)]
pub struct Subject {
    /// What the operator says of all subscriptions.
    pub settings: Arc<SubscriptionSettings>,
    /// The operator's templates.
    pub templates: Arc<Templates>,
    /// Whose subscription.
    pub key: Key,
    /// What the key connects to.
    pub endpoints: Vec<Endpoint>,
    /// The time of the answer.
    pub now: Timestamp,
    /// The URL of the subscription.
    pub url: Option<String>,
    /// How the devices of the key stand with its limit.
    pub devices: Devices,
    /// For the page; empty for everything else.
    pub usage: Vec<UsagePoint>,
    /// Of who reads the page.
    pub language: Option<Language>,
}

impl Subject {
    /// Why there is nothing to connect to.
    fn why(&self) -> Option<Why> {
        match (self.key.status, self.devices) {
            (status, _) if !status.may_connect() => Some(Why::Status(status)),
            (_, Devices::Full | Devices::Unnamed) => Some(Why::Devices),
            _ if self.endpoints.is_empty() => Some(Why::Empty),
            _ => None,
        }
    }

    pub(crate) fn variables(&self) -> Variables<'_> {
        Variables {
            key: &self.key,
            now: self.now,
            utc_offset_minutes: self.settings.utc_offset_minutes,
            language: self.settings.language,
            server: "",
            protocol: "",
            transport: "",
        }
    }

    /// The answer in this format. `known` is the tag of what the client has already.
    pub fn respond(&self, format: &Format, known: Option<&str>) -> Result<SubscriptionResponse> {
        let variables = self.variables();
        let title = variables.fill(&self.settings.title);
        let why = self.why();
        let lines: Vec<String> = match why {
            Some(why) => {
                self.settings.notice(why).into_iter().map(|line| variables.fill(line).into_owned()).collect()
            }
            None => Vec::new(),
        };
        let notices: Vec<&str> = lines.iter().map(String::as_str).collect();
        let placeholders: Vec<Endpoint>;
        let endpoints = match why {
            None => self.endpoints.as_slice(),
            Some(_) => {
                placeholders = lines.iter().map(|line| placeholder(self.key.id, line)).collect();
                &placeholders
            }
        };
        let url = self.url.as_deref();
        // A page is dear to make, so it is known by what it is made of.
        if let (Format::Page, Some(known)) = (format, known)
            && let Some(unchanged) = SubscriptionResponse::unchanged(known, &self.page_tag())
        {
            return Ok(unchanged);
        }
        let (content_type, body) = match format {
            Format::Page => (format.content_type(), page::html(self, &title, &notices)?),
            Format::Template(name) => {
                let view = View { key: &self.key, title: &title, url, now: self.now, notice: &notices };
                match self.templates.render(name, &view, endpoints) {
                    Ok(written) => written,
                    // A fault of the operator's must not leave a customer without a connection.
                    Err(fault) if fault.kind() == ErrorKind::InvalidInput => {
                        tracing::warn!(template = name, error = %fault, "a template fails; the links are sent instead");
                        let links = Format::Links;
                        (links.content_type(), links.write(endpoints, &notices.join("\n"))?)
                    }
                    Err(e) => return Err(e),
                }
            }
            other => (other.content_type(), other.write(endpoints, &notices.join("\n"))?),
        };
        let mut response = SubscriptionResponse { status: 200, headers: Vec::with_capacity(16), body };
        response.set("content-type", content_type);
        response.set("cache-control", "private, no-cache");
        response.set("vary", "user-agent, accept, accept-language");
        response.set("x-robots-tag", "noindex");
        match format {
            Format::Page => page::protect(&mut response),
            _ => self.describe(&mut response, format, &title),
        }
        let tag = match format {
            Format::Page => self.page_tag(),
            _ => tag(&response),
        };
        if known.is_some_and(|known| holds(known, &tag)) {
            response.status = 304;
            response.body.clear();
            response.headers.retain(|(name, _)| name != "content-type");
        }
        response.set("etag", tag);
        Ok(response)
    }

    /// Returns the tag of the page: a hash of all that it is made of, without making it.
    #[must_use]
    pub fn page_tag(&self) -> String {
        let mut hash = Sha256::new_with_prefix(page::version());
        let mut part = |text: &str| {
            hash.update(text.len().to_be_bytes());
            hash.update(text);
        };
        let variables = self.variables();
        part(&variables.fill(&self.settings.title));
        if let Some(why) = self.why() {
            self.settings.notice(why).into_iter().for_each(|line| part(&variables.fill(line)));
        }
        for text in [self.url.as_deref(), self.settings.support_url.as_deref()] {
            part(text.unwrap_or_default());
        }
        part(self.language.unwrap_or(self.settings.language).code());
        // Everything that the page says of the key; the time that is left by the minute.
        part(&variables.fill("{USERNAME} {EXPIRE_DATE} {JALALI_EXPIRE_DATE}"));
        let minutes = variables.left_ms().map(|left| left / 60_000);
        let key = &self.key;
        part(&format!("{:?} {minutes:?} {:?} {} {:?}", key.status, key.data_limit, key.used, self.devices));
        part(&format!("{:?} {}", self.usage, self.now.day()));
        for endpoint in &self.endpoints {
            part(&endpoint.remark);
            part(&crate::link(endpoint));
            part(&format!("{:?}", page::readers(endpoint)));
        }
        quoted(hash)
    }

    /// The headers that client apps read.
    fn describe(&self, response: &mut SubscriptionResponse, format: &Format, title: &str) {
        let settings = &self.settings;
        response.set("profile-title", told(title));
        response.set("profile-update-interval", settings.update_interval_hours.to_string());
        response.set("subscription-userinfo", self.user_info(format));
        if let Some(url) = &settings.support_url {
            response.set("support-url", url);
        }
        if let Some(url) = settings.web_page_url.as_ref().or(self.url.as_ref()) {
            response.set("profile-web-page-url", url);
        }
        let file = format!("{title}.{}", format.extension());
        let plain: String = file
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "._- ".contains(c) { c } else { '_' })
            .collect();
        let encoded = utf8_percent_encode(&file, NON_ALPHANUMERIC);
        response.set(
            "content-disposition",
            format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"),
        );
        if let Some(text) = &settings.announce {
            response.set("announce", told(&self.variables().fill(text)));
        }
        if let Some(url) = &settings.announce_url {
            response.set("announce-url", url);
        }
        if let Some(routing) = &settings.routing {
            response.set("routing", routing);
        }
        match self.devices {
            Devices::Free => {}
            Devices::Bound => response.set("x-hwid-active", "true"),
            Devices::Full => {
                response.set("x-hwid-active", "true");
                response.set("x-hwid-max-devices-reached", "true");
                response.set("x-hwid-limit", "true");
            }
            Devices::Unnamed => {
                response.set("x-hwid-active", "true");
                response.set("x-hwid-not-supported", "true");
            }
        }
    }

    fn user_info(&self, format: &Format) -> String {
        let key = &self.key;
        // After a reset the sum is no longer what counts against the limit.
        let (up, down) = match key.traffic.total() == key.used {
            true => (key.traffic.up, key.traffic.down),
            false => (0, key.used),
        };
        let total = key.data_limit.map_or(0, vpnkit_core::model::ByteSize::bytes);
        let expire = match (key.expires_at, format) {
            (Some(at), _) => format!("; expire={}", at.as_secs()),
            // Stash takes 0 for 1970.
            (None, Format::Stash) => String::new(),
            (None, _) => "; expire=0".to_owned(),
        };
        format!("upload={up}; download={down}; total={total}{expire}")
    }
}

/// An endpoint that says something and leads nowhere: Shadowsocks, because every format has it.
pub(crate) fn placeholder(key: KeyId, text: &str) -> Endpoint {
    let proxy =
        Proxy::Shadowsocks { method: ShadowsocksMethod::ChaCha20Poly1305, password: Secret::new("none") };
    let remark = text.to_owned();
    Endpoint { key, remark, address: "127.0.0.1".to_owned(), port: 1, ..sample::endpoint(proxy) }
}

/// As it stands when it is ASCII on one line, otherwise as `base64:`.
fn told(text: &str) -> String {
    if text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') && !text.starts_with("base64:") {
        return text.to_owned();
    }
    format!("base64:{}", STANDARD.encode(text))
}

/// Of everything that the client sees: traffic is told in a header.
fn tag(response: &SubscriptionResponse) -> String {
    let mut hash = Sha256::new();
    for (name, value) in &response.headers {
        hash.update(name);
        hash.update([0]);
        hash.update(value);
        hash.update([0]);
    }
    hash.update(&response.body);
    quoted(hash)
}

fn quoted(hash: Sha256) -> String {
    let digest = hash.finalize();
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(digest.get(..15).unwrap_or(&digest)))
}

/// Whether `If-None-Match` names the tag.
fn holds(known: &str, tag: &str) -> bool {
    known.split(',').map(|one| one.trim().trim_start_matches("W/")).any(|one| one == tag || one == "*")
}
