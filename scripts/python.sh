#!/usr/bin/env bash
# Builds the wheel into target/dist and installs it, and nothing else of vpnkit, into target/venv.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=$PWD/target/venv
if ! cmp -s vpnkit-py/requirements.txt "$venv/requirements.txt"; then
  echo "installing into target/venv: $(grep -v '^#' vpnkit-py/requirements.txt | paste -sd' ')"
  python3 -m venv --clear "$venv"
  "$venv/bin/pip" install -q --disable-pip-version-check -r vpnkit-py/requirements.txt
  cp vpnkit-py/requirements.txt "$venv/requirements.txt"
fi
python3 vpnkit-py/twin.py --check
rm -f target/dist/*.whl
"$venv/bin/maturin" build -q --release --locked -m vpnkit-py/Cargo.toml -o target/dist
scripts/budget.sh target/dist/*.whl
"$venv/bin/pip" install -q --disable-pip-version-check --force-reinstall --no-deps target/dist/*.whl
