#!/usr/bin/env bash
# Runs the Rust suites ten times, four of them beside a program that keeps both cores busy: a test that is red once is a fault.
set -euo pipefail
cd "$(dirname "$0")/.."

suite() { cargo test --locked -q --workspace --exclude vpnkit-py --exclude vpnkit-node --all-features; }
busy() { for _ in $(seq "$(nproc)"); do (while :; do :; done) & done; }

cargo test --locked -q --no-run --workspace --exclude vpnkit-py --exclude vpnkit-node --all-features
for round in $(seq 10); do
  beside=()
  if [ "$round" -gt 6 ]; then
    busy
    mapfile -t beside < <(jobs -p)
  fi
  begun=$(date +%s)
  suite > target/soak.log 2>&1 || { tail -n 60 target/soak.log; echo "round $round of 10 failed"; kill "${beside[@]}" 2>/dev/null; exit 1; }
  [ ${#beside[@]} -eq 0 ] || kill "${beside[@]}"
  echo "round $round of 10 passed in $(($(date +%s) - begun)) s${beside:+, beside a busy machine}"
done
