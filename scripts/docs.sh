#!/usr/bin/env bash
# The reference of each language, from its own source: rustdoc, the docstrings and stubs, the .d.ts.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo doc --locked --no-deps --workspace
target/venv/bin/pdoc -o target/docs/python vpnkit
echo "installing into target/typedoc: TypeDoc, and the TypeScript that it needs"
mkdir -p target/typedoc
cp -r vpnkit-node/{lib,tsconfig.json,package.json,README.md} target/typedoc/
cd target/typedoc
npm install --silent --ignore-scripts --no-save typedoc@0.28.20 typescript@6 @types/node@20
npx typedoc --tsconfig tsconfig.json --disableGit --sourceLinkTemplate '{path}' --out ../docs/node lib/index.ts lib/testing.ts
