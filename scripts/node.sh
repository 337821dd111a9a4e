#!/usr/bin/env bash
# Packs the npm package into target/dist and installs it, as its users would, beside a copy of its tests in target/npm.
set -euo pipefail
cd "$(dirname "$0")/.."

echo "installing into vpnkit-node/node_modules: TypeScript and the types of Node"
(cd vpnkit-node && npm ci --silent --ignore-scripts && node build.mjs)
mkdir -p target/dist && rm -f target/dist/*.tgz
(cd vpnkit-node && npm pack --silent --ignore-scripts --pack-destination ../target/dist >/dev/null)
scripts/budget.sh target/dist/*.tgz
rm -rf target/npm && mkdir -p target/npm
cp -r vpnkit-node/test examples/node target/npm/
mkdir target/npm/shop && cp examples/shop/*.mts examples/shop/tsconfig.json target/npm/shop/
cd target/npm
echo '{ "name": "tests", "private": true, "type": "module" }' >package.json
npm install --silent --ignore-scripts ../dist/vpnkit-*.tgz typescript@7.0.2 @types/node@20 puppeteer-core@24.43.1 \
  express@5.3.0 @types/express@5.0.6 fastify@5.12.8 grammy@1.46.0
