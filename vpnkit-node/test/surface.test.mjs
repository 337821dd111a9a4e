// The package has what the facade has: `vpnkit-bindings/surface/names.json` says what that is.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";
import { inspect } from "node:util";

import * as vpnkit from "vpnkit";
import * as testing from "vpnkit/testing";

import { readJson } from "./shared.mjs";

const surface = readJson("vpnkit-bindings", "surface", "names.json");
const camel = (name) => name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());
const calls = (cls) => Object.getOwnPropertyNames(cls.prototype).filter((name) => name !== "constructor").sort();
const nouns = {
  keys: vpnkit.Keys, inbounds: vpnkit.Inbounds, hosts: vpnkit.Hosts, subscriptions: vpnkit.Subscriptions,
  traffic: vpnkit.TrafficView, events: vpnkit.Events, servers: vpnkit.Servers,
};

for (const [noun, cls] of Object.entries(nouns)) {
  test(`the calls of ${noun}`, () => assert.deepEqual(calls(cls), surface.calls[noun].map(camel).sort()));
}

test("the kit", async () => {
  const kit = await vpnkit.open({ store: "memory:" });
  assert.deepEqual([...Object.keys(kit), ...calls(vpnkit.Kit), ...calls(vpnkit.KitView), "open"].sort(), surface.calls.kit.map(camel).sort());
  await kit.close();
});

test("the fields of a key, a server, an inbound", async () => {
  const kit = await testing.openSandbox();
  const key = await kit.keys.create();
  const inSeconds = { deleteAfter: "deleteAfterSeconds" };
  assert.deepEqual(Object.keys(key).sort(), surface.data.Key.map((name) => inSeconds[camel(name)] ?? camel(name)).sort());
  const inbound = { tag: "a", port: 1, protocol: { type: "vless" }, dedicatedTo: key.id };
  assert.deepEqual(Object.keys(await kit.inbounds.ensure(inbound)).sort(), surface.data.Inbound.map(camel).sort());
  const [endpoint] = await kit.keys.endpoints(key);
  for (const field of surface.data.Endpoint) assert.ok(camel(field) in endpoint, field);
  const [server] = await kit.servers.status();
  assert.deepEqual(Object.keys(server.capabilities).sort(), surface.data.Capabilities.map(camel).sort());
  await kit.passTraffic(key, { up: "1 B" });
  const [collected] = await kit.traffic.collect();
  assert.deepEqual(Object.keys(collected).sort(), surface.data.Collected.map(camel).sort());
  const [online] = await kit.traffic.online();
  assert.deepEqual(Object.keys(online).sort(), surface.data.OnlineKey.map(camel).sort());
  const [point] = await kit.traffic.history({ since: new Date(0) });
  assert.deepEqual(Object.keys(point).sort(), surface.data.UsagePoint.map(camel).sort());
  await kit.close();
});

test("every field of a request is taken", async () => {
  const samples = {
    name: "a", label: "b", note: "c", owner: 1, dataLimit: 5_000, expiresAt: new Date("2030-01-01"), expiresIn: "1 day", days: 1, inbounds: [],
    credentials: [], disabled: true, idempotencyKey: "p", enabled: true, resetUsage: true, revokeLinks: true, deviceLimit: 2, search: "a", status: "active",
    sort: "expiresAt", descending: true, limit: 1, page: null,
    labels: { tg: "1" }, onHold: true, holdUntil: new Date("2999-01-01"), reset: { every: "month" }, nextPlan: { duration: "1 day" },
    deleteAfter: "1 day", hold: { duration: "1 day" }, paused: true, beginNextPlan: true, expiresBefore: new Date(0), usedPercent: 80,
    addressLimit: 2, template: "month", lockedUntil: new Date("2999-01-01"), keepOldLinks: "1 day",
  };
  const needs = { onHold: ["expiresIn"], holdUntil: ["onHold", "expiresIn"], nextPlan: ["dataLimit"] };
  const kit = await vpnkit.open({ store: "memory:" });
  const key = await kit.keys.create();
  await kit.templates.ensure({ name: "month" });
  samples.owner = (await kit.admins.create({ name: "reseller", role: "reseller" })).id;
  for (const field of [...surface.data.CreateKey.map(camel), "days"]) {
    const others = Object.fromEntries((needs[field] ?? []).map((name) => [name, samples[name]]));
    await kit.keys.create({ [field]: samples[field] ?? assert.fail(field), ...others, ...(field !== "name" && { name: `n-${field}` }) });
  }
  for (const field of surface.data.KeyPatch.map(camel)) {
    const others = field === "keepOldLinks" ? { revokeLinks: true } : {};
    await kit.keys.update(key, { [field]: field === "name" ? "other" : samples[field], ...others });
  }
  for (const field of surface.data.KeyQuery.map(camel)) await kit.keys.find({ [field]: samples[field] });
  await kit.close();
});

test("the fields of subscriptions", async () => {
  const kit = await testing.openSandbox();
  const { data } = surface;
  const fields = (one, name) => assert.deepEqual(Object.keys(one).sort(), data[name].map(camel).sort(), name);
  await kit.inbounds.ensure({ tag: "a", port: 1, protocol: { type: "vless" } });
  await kit.hosts.set("a", [{ remark: "r", addresses: ["a.example"], sniAsHost: true, fragment: "1-2,3,tlshello" }]);
  const [hosts] = await kit.hosts.list();
  fields(hosts, "InboundHosts");
  fields(hosts.hosts[0], "Host");
  await kit.subscriptions.configure({ clients: [{ userAgent: "own/", format: "plain" }], notices: { expired: ["over"] } });
  const settings = await kit.subscriptions.settings();
  fields(settings, "SubscriptionSettings");
  fields(settings.notices, "Notices");
  fields(settings.clients[0], "ClientRule");
  await kit.subscriptions.configure(settings);
  assert.deepEqual(await kit.subscriptions.settings(), settings);
  await kit.subscriptions.putTemplate("t", { contentType: "text/plain", source: "{{ key.id }}" });
  fields((await kit.subscriptions.templates()).t, "SubscriptionTemplate");
  const key = await kit.keys.create();
  const answer = await kit.subscriptions.render(key, { format: "template:t" });
  for (const field of data.SubscriptionResponse) assert.ok(field in answer, field);
  assert.equal(inspect(answer) + JSON.stringify(answer), 'SubscriptionResponse { status: 200 }{"status":200}');
  await kit.subscriptions.forRequest(await kit.subscriptions.token(key), { "x-hwid": "one" });
  const [device] = await kit.subscriptions.devices(key);
  fields(device, "ClientDevice");
  await kit.close();
});

test("every code has its class, every kind its type", () => {
  const classes = Object.values(vpnkit).filter((one) => one.prototype instanceof vpnkit.VpnkitError);
  assert.equal(classes.length, surface.error_codes.length);
  for (const cls of classes) assert.ok(vpnkit[cls.name] === cls);
});

test("import and require give the same classes", () => {
  const required = createRequire(import.meta.url)("vpnkit");
  assert.deepEqual(Object.keys(required).sort(), Object.keys(vpnkit).sort());
  for (const [name, value] of Object.entries(required)) assert.equal(value, vpnkit[name], name);
});
