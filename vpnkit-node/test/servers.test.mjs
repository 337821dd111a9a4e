// Inbounds and servers cross in both directions.
import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";

import { Credential, InvalidConfigError, NotFoundError, Reality, UnavailableError, VpnkitError, open } from "vpnkit";
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

/** Everything that was given is there; what was not is there by default. */
function holds(back, given) {
  for (const [name, value] of Object.entries(given)) {
    if (typeof value === "object" && !Array.isArray(value)) holds(back[name], value);
    else assert.deepEqual(back[name], value, name);
  }
}

test("secrets of records are read by name and shown nowhere", async () => {
  const kit = await openSandbox();
  const method = "2022-blake3-aes-128-gcm";
  const made = await kit.inbounds.ensure({ tag: "ss", port: 10_443, protocol: { type: "shadowsocks", method, serverKey } });
  assert.equal(made.protocol.serverKey, serverKey);
  assert.ok(!JSON.stringify(made).includes(serverKey));
  assert.ok(!inspect(made, { depth: 9 }).includes(serverKey));
  // It is given again as it came.
  assert.deepEqual((await kit.inbounds.ensure({ ...made, port: 10_444 })).protocol.serverKey, serverKey);
  await kit.close();
});

test("a credential of one inbound has its address and certificate", async () => {
  const kit = await openSandbox();
  const addresses = { v4: "10.8.0.0/29", v6: "fd00:8::/64" };
  const given = { tag: "vpn", port: 1194, protocol: { type: "vless" }, addresses, certificateLifetime: { days: 365 } };
  const inbound = await kit.inbounds.ensure(given);
  assert.deepEqual({ ...inbound.addresses }, addresses);
  assert.deepEqual(await kit.inbounds.ensure(inbound), inbound);
  const key = await kit.keys.create({ name: "alice" });
  const [credential] = key.credentials;
  assert.equal(credential.inbound, "main/vpn");
  assert.equal(credential.slot, 0);
  assert.equal(credential.certificate.serial, 1);
  const end = (await kit.now()).getTime() + 365 * 86_400_000;
  assert.equal(credential.certificate.expiresAt.getTime(), end);
  const copy = await kit.keys.update(key, { credentials: key.credentials });
  assert.deepEqual(copy.credentials, key.credentials);
  const bound = (options) => new Credential("vless", credential.secret, "default", options);
  const uncertified = kit.keys.create({ credentials: [bound({ inbound: "main/vpn" })] });
  await assert.rejects(uncertified, (e) => e.field === "credentials" && /made by the server/.test(e.message));
  // One without a certificate moves in with its address.
  await kit.inbounds.remove("vpn");
  await kit.inbounds.ensure({ tag: "vpn", port: 1194, protocol: { type: "vless" }, addresses });
  await kit.keys.delete(key);
  const again = await kit.keys.create({ name: "alice", credentials: [bound({ inbound: "main/vpn", slot: 3 })] });
  assert.deepEqual(again.credentials.map((one) => one.slot), [3]);
  for (const slot of [-1, 2 ** 32, "1", true, 1.5, Number.NaN]) {
    assert.throws(() => bound({ slot }), (e) => e.code === "invalid_input" && e.field === "slot", String(slot));
  }
  assert.throws(() => bound({ inbound: 5 }), (e) => e.field === "inbound");
  assert.throws(() => bound({ inbond: "main/vpn" }), (e) => e.code === "invalid_input");
  for (let i = 0; i < 4; i++) await kit.keys.create();
  await assert.rejects(kit.keys.create(), (e) => e.code === "limit_reached" && /every address/.test(e.message));
  const bad = { ...given, tag: "bad", port: 1195, addresses: { v4: "10.0.0.5/8" } };
  await assert.rejects(kit.inbounds.ensure(bad), (e) => e.field === "addresses.v4");
  await kit.close();
});

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
        holds(back, inbound);
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
  const kit = await open({ store: "memory:", servers });
  const [status] = await kit.servers.status();
  assert.equal(status.state, "down");
  assert.match(status.reason, /nonexistent/u);
  const { events } = await kit.events.read(0);
  // The node of its only server may be told to be down by then, too.
  assert.equal(events[0]?.kind, "server.down");
  await kit.close();
});

test("a request for a subscription is answered, whatever the headers came in", async () => {
  const kit = await openSandbox();
  await kit.inbounds.ensure({ tag: "ws", port: 443, protocol: { type: "vless" }, transport: { type: "webSocket", path: "/ws" } });
  const key = await kit.keys.create({ name: "alice", deviceLimit: 1 });
  await assert.rejects(kit.subscriptions.url(key), InvalidConfigError);
  await kit.subscriptions.configure({ baseUrl: "https://sub.example/s", title: "Сеть" });
  const token = (await kit.subscriptions.url("alice")).split("/").at(-1);
  for (const headers of [{ "user-agent": "clash-verge/v2" }, new Headers({ "User-Agent": "clash-verge/v2" }), [["USER-AGENT", "clash-verge/v2"]]]) {
    const answer = await kit.subscriptions.forRequest(token, headers);
    assert.deepEqual([answer.status, answer.headers["content-type"]], [200, "text/yaml; charset=utf-8"]);
  }
  const { headers } = await kit.subscriptions.forRequest(token, { "x-hwid": "one" });
  assert.equal(headers["profile-title"], `base64:${Buffer.from("Сеть").toString("base64")}`);
  assert.equal((await kit.subscriptions.forRequest(token, { "x-hwid": "two" })).headers["x-hwid-limit"], "true");
  assert.equal((await kit.subscriptions.devices(key)).length, 1);
  await kit.subscriptions.forgetDevice(key, null);
  const [seen] = await kit.hosts.preview(key, "ws", [{ remark: "{USERNAME} {NOTHING}", addresses: ["{SERVER_IP}"] }]);
  assert.deepEqual([seen.remark, seen.address], ["alice {NOTHING}", "vpn.example"]);
  await assert.rejects(kit.hosts.set("ws", [{ remark: "", addresses: [] }]), { field: "hosts[0].remark" });
  await assert.rejects(kit.subscriptions.putTemplate("t", { contentType: "text/plain", source: "{{ x }}" }), { field: "source" });
  assert.equal((await kit.traffic.chart(key)).subarray(1, 4).toString(), "PNG");
  assert.ok((await kit.traffic.chart(key, { format: "svg", days: 7 })).toString().startsWith("<svg"));
  await kit.subscriptions.rotateSecret({ hours: 1 });
  assert.equal((await kit.subscriptions.forRequest(token, {})).status, 200);
  assert.equal((await kit.subscriptions.revoke(key)).linkRevision, 1);
  assert.equal((await kit.subscriptions.forRequest(token, {})).status, 404);
  await kit.close();
});

test("servers come and go", async () => {
  const kit = await open({ store: "memory:" });
  const bad = { type: "managedXray", address: "vpn.example", directory: "not/absolute" };
  await assert.rejects(kit.servers.add(bad), (e) => e.code === "invalid_config" && e.field === "directory");
  // Nobody answers there: it is down, tried again, and no reason not to go on.
  const far = { type: "attachedXray", address: "vpn.example", api: "127.0.0.1:1", name: "far" };
  const status = await kit.servers.add(far);
  assert.deepEqual([status.id, status.state, status.address], ["main/far", "down", "vpn.example"]);
  const inbound = await kit.inbounds.ensure({ tag: "a", port: 443, protocol: { type: "vless" } });
  assert.equal(inbound.server, "main/far");
  const key = await kit.keys.create({ name: "alice" });
  const [placed] = await kit.keys.placement(key);
  assert.deepEqual([placed.server, placed.inbounds, placed.state], ["main/far", ["a"], "pending"]);
  await kit.servers.remove("main/far");
  assert.deepEqual([await kit.servers.status(), await kit.keys.links(key)], [[], []]);
  await assert.rejects(kit.servers.remove("main/far"), NotFoundError);
  await kit.close();
});

test("REALITY's keys are kept, settings are changed a field at a time", async () => {
  const kit = await openSandbox();
  const security = new Reality({ dest: "site.test:443", serverNames: ["site.test"] });
  const inbound = { tag: "r", port: 443, protocol: { type: "vless", vision: true }, security };
  const first = await kit.inbounds.ensure(inbound);
  assert.ok(first.security.publicKey && first.security.privateKey);
  const again = await kit.inbounds.ensure(inbound);
  assert.equal(again.security.privateKey, first.security.privateKey);
  await kit.subscriptions.update({ title: "One", supportUrl: "https://t.me/x", deviceLimit: 3 });
  const { title, supportUrl, deviceLimit } = await kit.subscriptions.update({ title: "Two", supportUrl: null });
  assert.deepEqual([title, supportUrl, deviceLimit], ["Two", null, 3]);
  await assert.rejects(kit.subscriptions.update({ title: "" }), (e) => e.code === "invalid_input" && e.field === "title");
  await kit.close();
});
