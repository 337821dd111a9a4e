//! What every format makes of every combination of protocol, transport and protection, as files that a change shows up
//! in. `UPDATE_SNAPSHOTS=1 cargo test -p vpnkit-subscription --test snapshots` writes them again; the judges in `tests/` say
//! whether they are right.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

use std::path::{Path, PathBuf};

use serde_json::Value;
use vpnkit_core::model::{ClientSecurity, Endpoint};
use vpnkit_subscription::{Format, sample};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name)
}

fn compare(name: &str, made: &str) {
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::create_dir_all(file("")).unwrap();
        std::fs::write(file(name), made).unwrap();
    }
    let kept = std::fs::read_to_string(file(name)).unwrap_or_default();
    let differing = kept.lines().zip(made.lines()).find(|(kept, made)| kept != made);
    assert!(kept == made, "{name} differs, first in {differing:?}; see the head of this test");
}

/// JSON on lines that a diff can show: one for each endpoint.
fn spread(text: &str) -> String {
    let value: Value = serde_json::from_str(text).unwrap();
    let lines = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().map(Value::to_string).collect()
    };
    match &value {
        Value::Array(_) => lines(&value).join("\n") + "\n",
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| match value {
                Value::Array(_) => format!("{name}:\n{}\n", lines(value).join("\n")),
                other => format!("{name}: {other}\n"),
            })
            .collect(),
        other => other.to_string(),
    }
}

#[test]
fn every_format_writes_what_it_wrote() {
    let mut endpoints = sample::endpoints();
    // One with everything that a host may add.
    let last = endpoints.iter().rposition(|e| matches!(e.security, ClientSecurity::Tls { .. })).unwrap();
    let dressed =
        endpoints.iter().find(|e| e.transport.code() == "ws" && e.security.code() == "tls").unwrap();
    let dressed = Endpoint {
        remark: "dressed".into(),
        mux: true,
        fragment: Some("100-200,10-20,tlshello".parse().unwrap()),
        noises: vec!["rand:10-20,10-16".parse().unwrap()],
        user_agent: Some("Mozilla/5.0".into()),
        ..dressed.clone()
    };
    endpoints.insert(last, dressed);
    for format in Format::ALL.iter().filter(|format| !matches!(format, Format::Page | Format::Links)) {
        let text = format.write(&endpoints, "").unwrap();
        let readable = if text.starts_with(['{', '[']) { spread(&text) } else { text };
        compare(&format!("{format}.txt"), &readable);
    }
}

/// The table of the guide.
#[test]
fn the_table_of_what_formats_express() {
    let formats: Vec<&Format> =
        Format::ALL.iter().filter(|f| !matches!(f, Format::Page | Format::Plain)).collect();
    let mut table = String::from("| endpoint |");
    for format in &formats {
        table += &format!(" {format} |");
    }
    table += &format!("\n|---|{}\n", "---|".repeat(formats.len()));
    let mut seen = std::collections::BTreeSet::new();
    for endpoint in sample::endpoints() {
        let kind = match &endpoint.proxy {
            vpnkit_core::model::Proxy::Shadowsocks { method, .. } if method.key_length().is_some() => {
                "shadowsocks 2022"
            }
            proxy => proxy.code(),
        };
        let name = match kind {
            "hysteria2" | "wireguard" => kind.to_owned(),
            _ => format!("{kind}, {}, {}", endpoint.transport.code(), endpoint.security.code()),
        };
        if seen.insert(name.clone()) {
            let cells: String =
                formats.iter().map(|f| if f.expresses(&endpoint) { " ✓ |" } else { " |" }).collect();
            table += &format!("| {name} |{cells}\n");
        }
    }
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/subscriptions.md");
    let text = std::fs::read_to_string(&guide).unwrap();
    let (start, end) = ("<!-- table: what formats express -->\n", "<!-- end -->");
    let (before, rest) = text.split_once(start).unwrap();
    let (written, after) = rest.split_once(end).unwrap();
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&guide, format!("{before}{start}{table}{end}{after}")).unwrap();
    } else {
        assert_eq!(written, table, "run UPDATE_SNAPSHOTS=1 cargo test -p vpnkit-core --test snapshots");
    }
}
