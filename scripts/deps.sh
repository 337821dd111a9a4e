#!/usr/bin/env bash
# Installs the Debian packages that building and testing need, and says which.
set -euo pipefail

missing=()
need() { command -v "$1" >/dev/null || missing+=("$2"); }
need cc gcc              # SQLite and ring are C
need setpriv util-linux  # ties Xray's life to its owner's
need setcap libcap2-bin  # an Xray with file capabilities, in tests
need ip iproute2         # network namespaces of the tests
need curl curl           # downloads inside them
need bindfs bindfs        # a file system without shared memory, in tests
need wg-quick wireguard-tools  # reads the .conf of subscriptions

python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)

for tool in cargo go node npm; do
  command -v $tool >/dev/null || { echo "needed and not installed by this: $tool" >&2; exit 1; }
done
node -e 'process.exit(process.versions.node.split(".")[0] >= 20 ? 0 : 1)' ||
  { echo "needed and not installed by this: Node 20 or newer, this is $(node --version)" >&2; exit 1; }
if [ ${#missing[@]} -gt 0 ]; then
  echo "installing Debian packages: ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null
fi
