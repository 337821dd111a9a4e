#!/usr/bin/env bash
# A package over 10 MB is a mistake of ours: a dependency that came along, symbols that stayed in.
set -euo pipefail
size=$(stat -c %s "$1")
echo "$(basename "$1"): $((size / 1000)) kB"
[ "$size" -lt 10000000 ]
