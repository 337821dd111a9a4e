//! The page that a browser gets: one file, no request to anywhere.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};

use crate::respond::{Devices, Subject, SubscriptionResponse};
use crate::sing_box::SingBoxForm;
use crate::{Format, Language, Theme, UsageChart, link};
use vpnkit_core::model::{ByteSize, Endpoint, UsageStep};
use vpnkit_core::subscription::percentage;
use vpnkit_core::{Error, ErrorKind, Result};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = concat!(include_str!("qr.js"), include_str!("page.js"));
/// How far back the chart goes.
pub const DAYS: u64 = 30;

static PAGE: LazyLock<Result<Environment<'static>, minijinja::Error>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_template("page", include_str!("page.html"))?;
    Ok(environment)
});

/// Only this style and this script: whatever a name or a remark might smuggle in does not run.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
});

/// Apps that take a subscription by a link of their own: name, what they read, then the link with `{url}` encoded, `{raw}` as it
/// stands, `{b64}` in base64, `{bare}` without its scheme, `{name}` encoded. The most used ones first.
const APPS: &[(&str, Format, &str)] = &[
    ("Happ", Format::Xray, "happ://add/{raw}"),
    ("v2RayTun", Format::Links, "v2raytun://import/{raw}"),
    ("Hiddify", Format::Links, "hiddify://import/{raw}#{name}"),
    ("Streisand", Format::Xray, "streisand://import/{raw}#{name}"),
    ("v2rayNG", Format::Links, "v2rayng://install-sub?url={url}&name={name}"),
    ("Clash / FlClash", Format::Mihomo, "clash://install-config?url={url}&name={name}"),
    ("Stash", Format::Stash, "stash://install-config?url={url}&name={name}"),
    ("sing-box", Format::SingBox(SingBoxForm::V1_12), "sing-box://import-remote-profile?url={url}#{name}"),
    ("Karing", Format::SingBox(SingBoxForm::V1_12), "karing://install-config?url={url}&name={name}"),
    ("Shadowrocket", Format::Links, "shadowrocket://add/sub://{b64}?remark={name}"),
    ("NekoBox", Format::Links, "sn://subscription?url={url}&name={name}"),
    ("Outline", Format::Outline, "ssconf://{bare}#{name}"),
];

/// A text that is another one when the page is made in another way.
pub(crate) fn version() -> &'static [u8] {
    static VERSION: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut hash = Sha256::new();
        for part in [include_str!("page.html"), STYLE, SCRIPT, env!("CARGO_PKG_VERSION")] {
            hash.update(part);
        }
        hash.finalize().to_vec()
    });
    &VERSION
}

/// Returns which of the apps can use an endpoint: the page has buttons for them.
pub(crate) fn readers(endpoint: &Endpoint) -> Vec<bool> {
    APPS.iter().map(|(_, format, _)| format.expresses(endpoint)).collect()
}

/// The headers that keep the page and its address to itself.
pub(crate) fn protect(response: &mut SubscriptionResponse) {
    for (name, value) in [
        ("content-security-policy", POLICY.as_str()),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
    ] {
        response.headers.push((name.to_owned(), value.to_owned()));
    }
}

/// The page.
pub(crate) fn html(subject: &Subject, title: &str, notices: &[&str]) -> Result<String> {
    let lost = |e: &minijinja::Error| {
        Error::new(ErrorKind::Unexpected, "subscription.page", "the page was not written")
            .caused_by(e.to_string())
    };
    let language = subject.language.unwrap_or(subject.settings.language);
    let key = &subject.key;
    let left = subject.variables().left_ms();
    let to = subject.now.plus(std::time::Duration::from_secs(1));
    let from = to.minus(std::time::Duration::from_secs((DAYS - 1) * 86_400));
    let chart = UsageChart::new(&subject.usage, from, to, UsageStep::Day)?;
    let may_connect = notices.is_empty();
    // Where devices are counted, only the subscription gives links: it counts them.
    let servers: Vec<Value> = match may_connect && subject.devices == Devices::Free {
        true => {
            let server = |e: &Endpoint| context! { remark => e.remark.as_str(), link => link(e) };
            subject.endpoints.iter().map(server).collect()
        }
        false => Vec::new(),
    };
    let url = subject.url.as_deref();
    // Only those that find something to connect to.
    let useful = |format: &Format| subject.endpoints.iter().any(|endpoint| format.expresses(endpoint));
    let apps: Vec<Value> = match url {
        Some(url) => APPS
            .iter()
            .filter(|(_, format, _)| useful(format))
            .map(|&(name, _, form)| context! { name, link => deep_link(form, url, title) })
            .collect(),
        None => Vec::new(),
    };
    let languages: Vec<Value> = Language::ALL
        .iter()
        .map(|l| context! { code => l.code(), name => l.name(), direction => l.direction(), texts => Serde(l.strings()) })
        .collect();
    let page = PAGE.as_ref().map_err(lost)?.get_template("page").map_err(|e| lost(&e))?;
    page.render(context! {
        title, url, notices => notices.iter().map(|line| Value::from(*line)).collect::<Vec<_>>(), servers, apps, languages,
        language => language.code(),
        direction => language.direction(),
        t => Serde(language.strings()),
        name => subject.variables().fill("{USERNAME}"),
        status => key.status.code(),
        used => ByteSize::from_bytes(key.used).to_string(),
        limit => key.data_limit.map(|limit| limit.to_string()),
        remaining => key.remaining().map(|left| ByteSize::from_bytes(left).to_string()),
        percentage => percentage(key).min(100),
        days => left.map(|left| left / 86_400_000),
        hours => left.map(|left| left / 3_600_000 % 24),
        minutes => left.map(|left| left / 60_000 % 60),
        ends => subject.variables().fill(if language == Language::Fa { "{JALALI_EXPIRE_DATE}" } else { "{EXPIRE_DATE}" }),
        ends_gregorian => subject.variables().fill("{EXPIRE_DATE}"),
        ends_jalali => subject.variables().fill("{JALALI_EXPIRE_DATE}"),
        chart => chart.to_svg(Theme::Light),
        support => subject.settings.support_url.as_deref(),
        style => STYLE,
        script => SCRIPT,
    })
    .map_err(|e| lost(&e))
}

fn deep_link(form: &str, url: &str, name: &str) -> String {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let bare = url.split_once("://").map_or(url, |(_, rest)| rest);
    form.replace("{url}", &encode(url))
        .replace("{raw}", url)
        .replace("{b64}", &URL_SAFE_NO_PAD.encode(url))
        .replace("{bare}", bare)
        .replace("{name}", &encode(name))
}
