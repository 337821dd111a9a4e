//! Which client asks, and what it reads.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Format;
use crate::sing_box::SingBoxForm;

/// A rule: who names itself so gets this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientRule {
    /// What the `User-Agent` begins with, without regard to case. A `*` in front: what it contains.
    pub user_agent: String,
    /// The format it gets: `links`, `plain`, `xray`, `clash`, `clash-meta`, `stash`, `sing-box`, `outline`, `wireguard`,
    /// `html` or `template:NAME`.
    pub format: Format,
}

/// What a known client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reads {
    Links,
    Xray,
    Clash,
    Mihomo,
    Stash,
    /// The form that the release in its `User-Agent` reads.
    SingBox,
    Outline,
}

/// Every known client: its name, what its `User-Agent` begins with, what it reads. The first match counts. Only
/// beginnings: Karing, Hiddify and NekoBox name half of the others further on.
const CLIENTS: &[(&str, &str, Reads)] = &[
    ("Karing", "karing/", Reads::SingBox),
    ("Hiddify", "hiddify", Reads::Links),
    ("NekoBox", "nekobox/", Reads::Links),
    ("NekoRay", "nekoray/", Reads::Links),
    ("Throne", "throne/", Reads::Links),
    ("sing-box for Android", "sfa/", Reads::SingBox),
    ("sing-box for iOS", "sfi/", Reads::SingBox),
    ("sing-box for macOS", "sfm/", Reads::SingBox),
    ("sing-box for tvOS", "sft/", Reads::SingBox),
    ("sing-box", "sing-box", Reads::SingBox),
    ("Stash", "stash/", Reads::Stash),
    ("Clash Verge", "clash-verge", Reads::Mihomo),
    ("FlClash X", "flclash x/", Reads::Mihomo),
    ("FlClash", "flclash", Reads::Mihomo),
    ("Clash Meta for Android", "clashmetaforandroid/", Reads::Mihomo),
    ("ClashX Meta", "clashx meta/", Reads::Mihomo),
    ("Clash.Meta", "clash.meta", Reads::Mihomo),
    ("mihomo", "mihomo", Reads::Mihomo),
    ("Koala Clash", "koala-clash/", Reads::Mihomo),
    ("Prizrak-Box", "prizrak-box/", Reads::Mihomo),
    ("Flowvy", "flowvy/", Reads::Mihomo),
    ("ClashX", "clashx/", Reads::Clash),
    ("Clash for Windows", "clashforwindows/", Reads::Clash),
    ("Clash for Android", "clashforandroid/", Reads::Clash),
    ("Clash", "clash/", Reads::Clash),
    // What is still made is made of mihomo.
    ("Clash of another kind", "clash", Reads::Mihomo),
    ("Happ", "happ/", Reads::Xray),
    ("INCY", "incy/", Reads::Xray),
    ("Streisand", "streisand", Reads::Xray),
    ("v2RayTun", "v2raytun/", Reads::Links),
    ("v2rayNG", "v2rayng/", Reads::Links),
    ("v2rayN", "v2rayn/", Reads::Links),
    ("V2Box", "v2box", Reads::Links),
    ("Shadowrocket", "shadowrocket/", Reads::Links),
    ("Outline", "outline", Reads::Outline),
];

/// What was found out about who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detected {
    /// The client's name; `None` for browsers, unknown ones and those of a rule.
    pub client: Option<&'static str>,
    /// What it reads.
    pub format: Format,
}

/// Who asks, by its `User-Agent` and `Accept`. `rules` come first, then the table of known clients, then browsers
/// (`Accept` names `text/html`); all others get links.
///
/// ```
/// use vpnkit_subscription::{Format, detect};
/// assert_eq!(detect(&[], "ClashMetaForAndroid/2.8.9.Meta", "").format, Format::Mihomo);
/// ```
#[must_use]
pub fn detect(rules: &[ClientRule], user_agent: &str, accept: &str) -> Detected {
    let agent = user_agent.trim().to_ascii_lowercase();
    let fits = |rule: &&ClientRule| {
        let pattern = rule.user_agent.to_ascii_lowercase();
        match pattern.strip_prefix('*') {
            Some(part) => agent.contains(part),
            None => agent.starts_with(&pattern),
        }
    };
    if let Some(rule) = rules.iter().find(fits) {
        return Detected { client: None, format: rule.format.clone() };
    }
    if let Some((name, _, reads)) = CLIENTS.iter().find(|(_, start, _)| agent.starts_with(start)) {
        let format = match reads {
            Reads::Links => Format::Links,
            Reads::Xray => Format::Xray,
            Reads::Clash => Format::Clash,
            Reads::Mihomo => Format::Mihomo,
            Reads::Stash => Format::Stash,
            Reads::SingBox => Format::SingBox(sing_box_form(&agent)),
            Reads::Outline => Format::Outline,
        };
        return Detected { client: Some(name), format };
    }
    let format = if accept.to_ascii_lowercase().contains("text/html") { Format::Page } else { Format::Links };
    Detected { client: None, format }
}

/// `SFA/1.8.0 (239; sing-box 1.8.0)`, `Karing/1.2 platform/ios;…;sing-box 1.13.0`, `sing-box/1.14.1`.
fn sing_box_form(agent: &str) -> SingBoxForm {
    let version = agent.rsplit_once("sing-box").map(|(_, rest)| rest.trim_start_matches([' ', '/']));
    SingBoxForm::of_release(version.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row for each known client, in the form in which it names itself; the versions of some are made up.
    const SEEN: &[(&str, &str, &str)] = &[
        (
            "Karing",
            "Karing/1.2.22.2502 platform/ios;mihomo/1.19.27;clash-verge;FLClash;ClashMeta;v2ray;sing-box 1.13.0;NekoBox;HiddifyNext",
            "sing-box",
        ),
        ("Hiddify", "HiddifyNext/4.1.1 (android) like ClashMeta v2ray sing-box", "links"),
        ("NekoBox", "NekoBox/Android/1.4.2 (Prefer ClashMeta Format)", "links"),
        ("NekoRay", "nekoray/4.0.1 (Prefer ClashMeta Format)", "links"),
        ("Throne", "Throne/1.6.6 (Prefer ClashMeta Format)", "links"),
        ("sing-box for Android", "SFA/1.8.0 (239; sing-box 1.8.0)", "sing-box-1.10"),
        ("sing-box for iOS", "SFI/1.11.4 (Build 2; sing-box 1.11.4)", "sing-box-1.11"),
        ("sing-box for macOS", "SFM/1.14.1 (Build 5; sing-box 1.14.1; language en_US)", "sing-box"),
        ("sing-box for tvOS", "SFT/1.12.0 (Build 1; sing-box 1.12.0)", "sing-box"),
        ("sing-box", "sing-box 1.14.1", "sing-box"),
        ("Stash", "Stash/3.1.1 Clash/1.9.0", "stash"),
        ("Clash Verge", "clash-verge/v2.4.2", "clash-meta"),
        ("FlClash X", "FlClash X/v0.3.0 clash-verge", "clash-meta"),
        ("FlClash", "FlClash/v0.8.90 clash-verge Platform/android", "clash-meta"),
        ("Clash Meta for Android", "ClashMetaForAndroid/2.8.9.Meta", "clash-meta"),
        ("ClashX Meta", "ClashX Meta/v1.4.24 (com.metacubex.ClashX.meta; build:612)", "clash-meta"),
        ("Clash.Meta", "clash.meta/v1.19.12", "clash-meta"),
        ("mihomo", "mihomo/1.19.12", "clash-meta"),
        ("Koala Clash", "koala-clash/v0.2.2", "clash-meta"),
        ("Prizrak-Box", "prizrak-box/1.0", "clash-meta"),
        ("Flowvy", "Flowvy/1.0", "clash-meta"),
        ("ClashX", "ClashX/1.118.0 (com.west2online.ClashX)", "clash"),
        ("Clash for Windows", "ClashforWindows/0.20.39", "clash"),
        ("Clash for Android", "ClashForAndroid/2.5.12", "clash"),
        ("Clash", "Clash/1.18", "clash"),
        ("Clash of another kind", "clash-nyanpasu/v1.6.1", "clash-meta"),
        ("Happ", "Happ/3.4.0/ios/2506251232543", "xray"),
        ("INCY", "INCY/1.2.0", "xray"),
        ("Streisand", "Streisand/1.6.47 iOS/18", "xray"),
        ("v2RayTun", "v2raytun/android 5.2", "links"),
        ("v2rayNG", "v2rayNG/2.3.5", "links"),
        ("v2rayN", "v2rayN/7.24.8", "links"),
        ("V2Box", "V2Box 8.8;IOS 15.1", "links"),
        ("Shadowrocket", "Shadowrocket/2070 CFNetwork/1568.200.51 Darwin/24.1.0", "links"),
        ("Outline", "Outline/1.17.0 (Android)", "outline"),
    ];

    #[test]
    fn every_client_is_known_by_its_own_name() {
        for ((name, _, _), (client, agent, format)) in CLIENTS.iter().zip(SEEN) {
            assert_eq!(name, client, "the rows of both tables belong together");
            // Some of them say that they take anything.
            for accept in ["", "*/*", "text/html"] {
                let found = detect(&[], agent, accept);
                assert_eq!((found.client, found.format.code().as_str()), (Some(*client), *format), "{agent}");
            }
        }
        assert_eq!(CLIENTS.len(), SEEN.len());
    }

    #[test]
    fn browsers_get_a_page_and_others_links() {
        let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";
        assert_eq!(detect(&[], firefox, "text/html,application/xhtml+xml").format, Format::Page);
        for agent in ["curl/8.5.0", "", "okhttp/4.12", "Go-http-client/2.0", firefox] {
            assert_eq!(detect(&[], agent, "*/*").format, Format::Links, "{agent}");
        }
    }

    #[test]
    fn the_operators_rules_come_first() {
        let rule = |user_agent: &str, format| ClientRule { user_agent: user_agent.into(), format };
        let rules = [rule("HAPP/", Format::Links), rule("*teapot", Format::Template("tea".into()))];
        assert_eq!(detect(&rules, "Happ/3.4.0", "").format, Format::Links);
        assert_eq!(detect(&rules, "big Teapot/1", "").format, Format::Template("tea".into()));
        assert_eq!(detect(&rules, "Stash/3.1.1", "").format, Format::Stash);
    }
}
