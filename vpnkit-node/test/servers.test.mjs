// Inbounds and servers cross in both directions.
import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";

import { NotFoundError, Reality, UnavailableError, VpnkitError, open } from "vpnkit";
import { openSandbox } from "vpnkit/testing";

const serverKey = "AAAAAAAAAAAAAAAAAAAAAA==";
const protocols = [
  { type: "vless", vision: true },
  { type: "vmess" },
  { type: "trojan" },
  { type: "shadowsocks", method: "aes-256-gcm" },
  { type: "shadowsocks", method: "2022-blake3-aes-128-gcm", serverKey },
];
const transports = [
  { type: "tcp" },
  { type: "webSocket", path: "/a", host: "h.test" },
  { type: "grpc", serviceName: "service" },
  { type: "httpUpgrade", path: "/b" },
  { type: "xhttp", path: "/c", mode: "packet-up" },
];
const securities = [
  { type: "none" },
  { type: "tls", serverName: "site.test", certificateFile: "/c.pem", keyFile: "/k.pem", alpn: ["h2"], pinnedSha256: "ab".repeat(32) },
  Reality.generate("example.com:443", "example.com"),
];

test("every kind of inbound comes back as it went", async () => {
  const kit = await openSandbox();
  const key = await kit.keys.create();
  let number = 0;
  for (const protocol of protocols) {
    for (const transport of transports) {
      for (const security of securities) {
        number += 1;
        const inbound = { tag: `i${number}`, port: number, protocol, transport, security, listen: "::1", node: "main" };
        if (number % 2) inbound.dedicatedTo = key.id;
        const back = await kit.inbounds.ensure(inbound);
        assert.deepEqual(back, await kit.inbounds.get(inbound.tag));
        assert.deepEqual({ ...back }, inbound);
        if (security instanceof Reality) {
          assert.equal(back.security.privateKey, security.privateKey);
          assert.ok(!inspect(back, { depth: 9 }).includes(security.privateKey));
        }
      }
    }
  }
  assert.equal((await kit.inbounds.list()).length, 75);
  const endpoints = await kit.keys.endpoints(key);
  assert.equal(endpoints.length, 75);
  for (const endpoint of endpoints) assert.ok(!inspect(endpoint, { depth: 9, showHidden: true }).includes(endpoint.secret));
  await kit.inbounds.remove("i1");
  await assert.rejects(kit.inbounds.remove("i1"), NotFoundError);
  await assert.rejects(kit.inbounds.ensure({ tag: "two words", port: 1, protocol: { type: "vless" } }), (e) => e.field === "tag");
  await assert.rejects(kit.inbounds.ensure({ tag: "a", port: 99, protocol: { type: "vless" }, colour: 1 }), (e) => e instanceof VpnkitError);
  await kit.close();
});

test("an Xray that nobody runs is down and no reason not to open", async () => {
  const server = { type: "attachedXray", address: "vpn.example.com", api: "127.0.0.1:1", liveAccounting: true };
  const kit = await open({ store: "memory:", servers: [server], collectEvery: "5 s" });
  const [status] = await kit.servers.status();
  assert.deepEqual([status.id, status.state, status.version, status.uptimeSeconds], ["main/xray", "down", null, null]);
  assert.ok(status.reason && !status.capabilities.managed);
  await assert.rejects(kit.servers.reconcile(status.id), (e) => e instanceof UnavailableError && e.retryable);
  await assert.rejects(kit.servers.log("main/openvpn"), NotFoundError);
  await kit.close();
});

test("a missing Xray is told", async () => {
  const servers = [{ type: "managedXray", address: "127.0.0.1", directory: "/nonexistent/xray", binary: "/nonexistent/bin" }];
  await assert.rejects(open({ store: "memory:", servers }), (e) => ["binary_missing", "permission_denied"].includes(e.code));
});
