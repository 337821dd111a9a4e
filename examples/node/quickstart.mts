/**
 * The quickstart: an Xray of your own, a key, its link, its traffic. The same program as `examples/src/bin/quickstart.rs`
 * and `examples/python/quickstart.py`.
 *
 * What is particular to your server comes from the environment: VPN_DIRECTORY, VPN_ADDRESS, VPN_PORT, VPN_SITE, XRAY.
 */
import { once } from "node:events";

import { GiB, Reality, formatSize, open } from "vpnkit";

const {
  VPN_DIRECTORY: directory = "/var/lib/vpnkit",
  VPN_ADDRESS: address = "vpn.example.com",
  VPN_SITE: site = "www.example.com:443",
  VPN_PORT: port = "443",
  XRAY: binary = "xray",
} = process.env;

// Starts Xray, restarts it when it dies, stops it when we close.
await using kit = await open({
  store: `sqlite:${directory}/keys.db`,
  servers: [{ type: "managedXray", address, directory: `${directory}/xray`, binary }],
});

// REALITY's keys are made the first time and kept from then on: links contain them.
const security = new Reality({ dest: site, serverNames: [site.split(":")[0] ?? site] });
await kit.inbounds.ensure({ tag: "reality", port: Number(port), protocol: { type: "vless", vision: true }, security });

// The same payment twice is one key.
let key = await kit.keys.create({ name: "alice", dataLimit: GiB(50), days: 30, idempotencyKey: "payment:1" });
for (const link of await kit.keys.links(key)) console.log(`link ${link}`);

console.log("press Enter to stop");
await once(process.stdin, "data");
process.stdin.unref();
await kit.traffic.collect();
key = await kit.keys.require("alice");
console.log(`used ${formatSize(key.used)} of ${formatSize(key.dataLimit ?? 0)}`);
