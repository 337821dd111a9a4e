//! Processes of this machine.

use std::path::{Path, PathBuf};

/// The pinned Xray: `VPNKIT_XRAY_BIN`, or where `make xray` puts it.
pub fn xray_binary() -> PathBuf {
    let path = match std::env::var_os("VPNKIT_XRAY_BIN") {
        Some(path) => PathBuf::from(path),
        None => {
            let home = std::env::var_os("HOME").expect("HOME, or VPNKIT_XRAY_BIN");
            PathBuf::from(home).join(".cache/vpnkit/xray-v1.260327.0/xray")
        }
    };
    assert!(path.exists(), "no Xray at {}: run `make xray`", path.display());
    path
}

/// The pinned sing-box: `VPNKIT_SING_BOX_BIN`, or where `make sing-box` puts it.
pub fn sing_box_binary() -> PathBuf {
    let path = match std::env::var_os("VPNKIT_SING_BOX_BIN") {
        Some(path) => PathBuf::from(path),
        None => {
            let home = std::env::var_os("HOME").expect("HOME, or VPNKIT_SING_BOX_BIN");
            PathBuf::from(home).join(".cache/vpnkit/sing-box-v1.14.1/sing-box")
        }
    };
    assert!(path.exists(), "no sing-box at {}: run `make sing-box`", path.display());
    path
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Whether a process exists and is not a zombie.
pub fn alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')))
}

/// Living processes whose command line contains `part`.
pub fn children_of(part: &str) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if pid != std::process::id() && String::from_utf8_lossy(&line).contains(part) && alive(pid) {
            found.push(pid);
        }
    }
    found
}

/// What `make python node` has installed.
pub fn installed(path: &str) -> PathBuf {
    let path = repository().join("target").join(path);
    assert!(path.exists(), "{} is missing: run `make python node`, or `make test`", path.display());
    path
}

/// The directory of the examples for Node, compiled once.
pub async fn compiled_examples() -> PathBuf {
    static ONCE: tokio::sync::OnceCell<PathBuf> = tokio::sync::OnceCell::const_new();
    let compile = async || {
        let status = tokio::process::Command::new("node")
            .arg(installed("npm/node_modules/typescript/bin/tsc"))
            .args(["--project", "test/tsconfig.json"])
            .current_dir(installed("npm"))
            .status();
        assert!(status.await.unwrap().success());
        installed("npm/built/node")
    };
    ONCE.get_or_init(compile).await.clone()
}

/// A program of `examples/src/bin`, built.
pub async fn built_example(name: &str) -> PathBuf {
    let status = tokio::process::Command::new(env!("CARGO"))
        .args(["build", "--locked", "-q", "-p", "vpnkit-examples", "--bin", name])
        .current_dir(repository())
        .status();
    assert!(status.await.unwrap().success());
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from);
    target.join("debug").join(name)
}
