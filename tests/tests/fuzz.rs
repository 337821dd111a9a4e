//! Nothing that a stranger sends makes vpnkit panic. A short run; `make soak` takes longer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking"
)]

use std::time::Duration;

use testbed::fuzz::fuzz;
use vpnkit::operation::Operation;
use vpnkit::subscription::{Format, Language, SigningKeys, SubscriptionTemplate, detect};
use vpnkit::{
    AddressRange, ByteSize, Config, CredentialKind, CredentialSecret, Cursor, Destination, DeviceName,
    Fragment, InboundId, InboundTag, KeyName, KeyQuery, KeyRef, NodeId, Noise, PageToken, ServerId, ShortId,
    Timestamp, parse_duration,
};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn tokens() {
    let mut keys = SigningKeys::generate();
    keys.rotate(Timestamp::from_secs(1), Duration::from_secs(100));
    fuzz("tokens", |bytes| {
        let _ = keys.verify(&text(bytes), Timestamp::from_secs(2));
    });
}

/// Headers of a request for a subscription, and what stands behind the token in its URL.
#[test]
fn requests() {
    fuzz("requests", |bytes| {
        let text = text(bytes);
        let mut lines = text.split('\n');
        let mut next = || lines.next().unwrap_or_default();
        let detected = detect(&[], next(), next());
        let _ = Language::accepted(next());
        let _ = next().parse::<Format>();
        assert!(!format!("{detected:?}").is_empty());
    });
}

/// Everything that is written as a short text: names, sizes, times, networks, credentials.
#[test]
fn names_and_values() {
    fuzz("values", |bytes| {
        let text = text(bytes);
        let _ = (KeyName::new(text.as_str()), NodeId::new(text.as_str()), DeviceName::new(text.as_str()));
        let _ = (InboundTag::new(text.as_str()), ShortId::new(text.as_str()));
        let _ = (
            text.parse::<ServerId>(),
            text.parse::<InboundId>(),
            text.parse::<KeyRef>(),
            text.parse::<Cursor>(),
        );
        let _ = (text.parse::<ByteSize>(), text.parse::<Timestamp>(), parse_duration(&text));
        let _ = (
            text.parse::<AddressRange>(),
            text.parse::<Destination>(),
            text.parse::<Fragment>(),
            text.parse::<Noise>(),
        );
        for kind in CredentialKind::ALL {
            let _ = CredentialSecret::parse(*kind, &text);
        }
        if let Ok(size) = text.parse::<ByteSize>() {
            let _ = size.to_string();
        }
        if let Ok(page) = serde_json::from_value::<PageToken>(text.clone().into()) {
            let _ = KeyQuery { page: Some(page), ..KeyQuery::default() }.resume();
        }
    });
}

/// The arguments of every operation, as a bot or a web server passes them on.
#[test]
fn arguments() {
    let operations = Operation::all();
    fuzz("arguments", |bytes| {
        let text = text(bytes);
        for operation in &operations {
            let _ = (operation.parse)(&text);
        }
    });
}

#[test]
fn configurations() {
    fuzz("config", |bytes| {
        if let Err(e) = Config::from_json(&text(bytes)) {
            assert!(!e.to_string().contains("hunter2"), "a secret stands in an error");
        }
    });
}

/// Of the operator, or of somebody whom the operator lets write them.
#[test]
fn templates() {
    fuzz("templates", |bytes| {
        let template = SubscriptionTemplate { content_type: "text/plain".into(), source: text(bytes) };
        let _ = template.check();
    });
}
