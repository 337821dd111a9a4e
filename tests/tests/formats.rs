//! Everything that subscriptions are written in, before judges that are not vpnkit's own: the programs that read it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use testbed::{free_ports, read_links, repository, sing_box_binary, xray_binary};
use vpnkit::subscription::sing_box::{self, SingBoxForm};
use vpnkit::subscription::{Format, link, sample, xray_json};
use vpnkit::{ClientSecurity, Endpoint, Transport};

/// Every combination, and some with everything that a host may add.
fn endpoints() -> Vec<Endpoint> {
    let mut all = sample::endpoints();
    let dressed = all.iter().filter(|e| e.transport != Transport::Tcp).map(|endpoint| Endpoint {
        remark: format!("{} 🚀 \"quoted\": #1, [a] & 'b'", endpoint.remark),
        mux: true,
        fragment: Some("100-200,10-20,tlshello".parse().unwrap()),
        noises: vec!["rand:10-20,10-16".parse().unwrap()],
        user_agent: Some("Mozilla/5.0 (X11; Linux x86_64)".into()),
        security: match endpoint.security.clone() {
            ClientSecurity::Tls { sni, alpn, fingerprint, .. } => ClientSecurity::Tls {
                sni,
                alpn,
                fingerprint,
                pinned_sha256: Some("ab".repeat(32)),
                allow_insecure: true,
            },
            // A number to YAML, unless it is quoted.
            ClientSecurity::Reality { sni, public_key, fingerprint, .. } => {
                ClientSecurity::Reality { sni, public_key, fingerprint, short_id: "1e10".into() }
            }
            other => other,
        },
        ..endpoint.clone()
    });
    let dressed: Vec<Endpoint> = dressed.collect();
    all.extend(dressed);
    // Names that are there twice, and those that the formats keep for themselves.
    for (i, name) in
        ["Proxy", "Auto", "DIRECT", "proxy", "auto", "direct", "same", "same", "true", "null", "0123", "- a"]
            .iter()
            .enumerate()
    {
        all.push(Endpoint { remark: (*name).to_owned(), ..all[i].clone() });
    }
    all
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().unwrap();
    let told = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{}{}", told(&output.stdout), told(&output.stderr))),
    }
}

fn written(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn xray_accepts_every_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let configs = xray_json::subscription(&endpoints());
    for config in configs.as_array().unwrap() {
        let path = written(directory.path(), "x.json", &config.to_string());
        let tested = run(Command::new(xray_binary()).args(["run", "-test", "-c"]).arg(path));
        assert_eq!(tested, Ok(()), "{config:#}");
    }
    println!("{} configurations of Xray", configs.as_array().unwrap().len());
}

/// Warnings about what is deprecated are faults too.
#[test]
fn sing_box_accepts_every_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let check = |config: &Value| {
        let path = written(directory.path(), "s.json", &config.to_string());
        let output = Command::new(sing_box_binary()).args(["check", "-c"]).arg(path).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && !told.contains("deprecated"), "{told}\n{config:#}");
    };
    let all = endpoints();
    let without_wireguard: Vec<Endpoint> =
        all.iter().filter(|e| !Format::WireGuard.expresses(e)).cloned().collect();
    let config = sing_box::config(SingBoxForm::V1_12, &without_wireguard);
    let count = config["outbounds"].as_array().unwrap().len();
    check(&config);
    check(&sing_box::config(SingBoxForm::V1_12, &[]));
    // Each by itself: a fault of one must not hide behind another's.
    for endpoint in without_wireguard.iter().filter(|e| sing_box::expresses(e)) {
        check(&sing_box::config(SingBoxForm::V1_12, std::slice::from_ref(endpoint)));
    }
    println!("{count} outbounds of sing-box");
}

/// The last release before each break, and those since. The releases of a package index have no uTLS, whose absence they
/// find only after they have read everything.
#[test]
fn older_sing_boxes_accept_what_is_written_for_them() {
    let directory = tempfile::tempdir().unwrap();
    for (release, utls) in [("1.10.7", true), ("1.11.15", true), ("1.12.23", false), ("1.13.21", false)] {
        let program = repository().join(format!("target/judges/sing-box-{release}"));
        assert!(program.exists(), "{} is missing: run `make judges`", program.display());
        let all = endpoints();
        let mut config = sing_box::config(SingBoxForm::of_release(release), &all);
        for outbound in config["outbounds"].as_array_mut().unwrap() {
            if let Some(tls) = outbound.get_mut("tls").and_then(Value::as_object_mut)
                && !utls
            {
                tls.remove("utls");
                tls.remove("reality");
            }
        }
        let path = written(directory.path(), "s.json", &config.to_string());
        assert_eq!(run(Command::new(&program).args(["check", "-c"]).arg(path)), Ok(()), "{release}");
        // The newest form is what the releases before it would not read.
        if SingBoxForm::of_release(release) < SingBoxForm::V1_12 {
            let newest = sing_box::config(SingBoxForm::V1_12, &all).to_string();
            let path = written(directory.path(), "n.json", &newest);
            run(Command::new(&program).args(["check", "-c"]).arg(path)).expect_err(release);
        }
    }
}

#[test]
fn clash_files_pass_the_strict_schema() {
    let directory = tempfile::tempdir().unwrap();
    let all = endpoints();
    let mut files = Vec::new();
    for format in [Format::Clash, Format::Mihomo, Format::Stash] {
        let text = format.write(&all, "").unwrap();
        files.push(written(directory.path(), &format!("{format}.yaml"), &text));
        files.push(written(
            directory.path(),
            &format!("{format}-empty.yaml"),
            &format.write(&[], "").unwrap(),
        ));
        println!(
            "{} proxies for {format}",
            text.matches("\n- name:").count() + text.matches("\n  - name:").count()
        );
    }
    let judges = repository().join("target/judges");
    assert!(judges.join("node_modules").exists(), "run `make judges`");
    let judge = || {
        let mut command = Command::new("node");
        command.arg(repository().join("tests/judges/clash.mjs")).env("VPNKIT_JUDGES", &judges);
        command
    };
    assert_eq!(run(judge().args(&files)), Ok(()));
    // The judge finds what it is there for.
    let good = Format::Mihomo.write(&all, "").unwrap();
    for (name, from, to) in [
        ("unknown", "udp: true", "udp: true\n    unknown-field: 1"),
        ("nested", "grpc-service-name:", "grpc-service:"),
        ("kind", "type: vless", "type: vles"),
        ("dangling", "MATCH,Proxy", "MATCH,Nobody"),
        ("number", "short-id: \"1e10\"", "short-id: 1e10"),
    ] {
        assert!(good.contains(from), "{name}");
        let broken = good.replacen(from, to, 1);
        let path = written(directory.path(), &format!("{name}.yaml"), &broken);
        run(judge().arg(path)).expect_err(name);
    }
}

/// What an independent reader makes of a link is what vpnkit writes for Xray itself.
#[test]
fn links_are_read_back_as_they_were_meant() {
    let [port] = free_ports();
    // Links have no place for these.
    let plain = |endpoint: &Endpoint| Endpoint {
        mux: false,
        fragment: None,
        noises: Vec::new(),
        user_agent: None,
        security: match endpoint.security.clone() {
            ClientSecurity::Tls { sni, alpn, fingerprint, pinned_sha256, .. } => {
                ClientSecurity::Tls { sni, alpn, fingerprint, pinned_sha256, allow_insecure: false }
            }
            other => other,
        },
        ..endpoint.clone()
    };
    let all: Vec<Endpoint> = endpoints().iter().map(plain).collect();
    let links: Vec<String> = all.iter().map(link).collect();
    let read = read_links(&links, port);
    for ((endpoint, link), read) in all.iter().zip(&links).zip(&read) {
        let mut ours = xray_json::client(endpoint, port)["outbounds"][0].clone();
        ours.as_object_mut().unwrap().remove("tag");
        if let Some(stream) = ours.get_mut("streamSettings").and_then(Value::as_object_mut) {
            // A link leaves the mode out when it is up to the client, and Shadowsocks its plain TCP.
            if stream["network"] == "tcp" && stream["security"] == "none" && link.starts_with("ss://") {
                ours.as_object_mut().unwrap().remove("streamSettings");
            }
        }
        assert_eq!(read["outbounds"][0], ours, "{link}");
        assert_eq!(read["remarks"], json!(endpoint.remark), "{link}");
    }
    println!("{} links", links.len());
}

#[test]
fn wireguard_reads_its_configuration() {
    let all = sample::endpoints();
    let text = Format::WireGuard.write(&all, "").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = written(directory.path(), "vpnkit.conf", &text);
    assert_eq!(run(Command::new("wg-quick").arg("strip").arg(path)), Ok(()));
}
