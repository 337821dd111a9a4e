#!/usr/bin/env bash
# An application that already uses sqlx must be able to add vpnkit: `libsqlite3-sys` may be in a graph once only, so
# vpnkit takes a range of rusqlite versions. Checks the lower end of the range, and the graph with sqlx.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export CARGO_TARGET_DIR="$root/target/compat"

application() { # name, further dependencies
  mkdir -p "$work/$1/src"
  cat >"$work/$1/Cargo.toml" <<EOF
[package]
name = "$1"
edition = "2024"
[dependencies]
vpnkit = { path = "$root/vpnkit", default-features = false, features = ["sqlite"] }
$2
[workspace]
EOF
  echo 'pub use vpnkit::VpnKit;' >"$work/$1/src/lib.rs"
}

application oldest ''
(cd "$work/oldest" && cargo update -q -p rusqlite --precise 0.32.1 && cargo check -q)
echo "compat: vpnkit builds with rusqlite 0.32.1"

application beside-sqlx 'sqlx = { version = "0.9", default-features = false, features = ["runtime-tokio", "sqlite", "macros", "migrate"] }'
(cd "$work/beside-sqlx" && cargo generate-lockfile -q && cargo check -q -p vpnkit-sqlite)
version=$(cd "$work/beside-sqlx" && cargo tree -q -i libsqlite3-sys --depth 1 | tr '\n' ' ')
echo "compat: vpnkit resolves and builds beside sqlx: $version"
