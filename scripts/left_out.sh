#!/usr/bin/env bash
# Says which tests were left out because they need root.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -s target/left-out.txt ]; then
  echo "left out, because they need root:"
  sort -u target/left-out.txt | sed 's/^/  /'
fi
