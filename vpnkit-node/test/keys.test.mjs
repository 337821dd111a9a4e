// Keys as a bot uses them.
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { inspect } from "node:util";

import * as vpnkit from "vpnkit";
import { GiB, MiB, open } from "vpnkit";

import { temporary } from "./shared.mjs";

const SECRET = "11111111-2222-4333-8444-555555555555";

async function kitOf(t, config = {}) {
  const kit = await open({ store: "memory:", ...config });
  t.after(() => kit.close());
  return kit;
}

test("a key from its creation to its end", async (t) => {
  const kit = await kitOf(t);
  const key = await kit.keys.create({ name: "alice", dataLimit: "50 GiB", days: 30, label: "Алиса", note: "vip" });
  assert.deepEqual([key.id, key.name, key.label, key.note, key.status], [1, "alice", "Алиса", "vip", "active"]);
  assert.equal(key.dataLimit, GiB(50));
  assert.equal(key.remaining, GiB(50));
  assert.equal(key.expiresAt.getTime() - key.createdAt.getTime(), 30 * 86_400_000);
  for (const same of [1, "ALICE", { uid: key.uid }, key]) assert.deepEqual(await kit.keys.get(same), key);
  assert.equal(await kit.keys.get("bob"), null);

  const sold = await kit.keys.update(key, { dataLimit: key.dataLimit + GiB(50) }, { expectedVersion: key.version });
  assert.equal(vpnkit.formatSize(sold.dataLimit), "100 GiB");
  assert.equal(sold.label, "Алиса");
  const late = kit.keys.update(key, { dataLimit: "1 GiB" }, { expectedVersion: key.version });
  await assert.rejects(late, vpnkit.ConflictError);
  const free = await kit.keys.update("alice", { dataLimit: null, expiresAt: null, label: null, note: undefined });
  assert.deepEqual([free.dataLimit, free.remaining, free.expiresAt, free.label, free.note], [null, null, null, null, "vip"]);

  assert.equal((await kit.keys.disable(key)).status, "disabled");
  assert.equal((await kit.keys.enable(key)).status, "active");
  assert.equal((await kit.keys.resetUsage(key)).used, 0);
  await kit.keys.delete(key);
  await assert.rejects(kit.keys.require(key), vpnkit.NotFoundError);
});

test("many keys at once, pages and searches", async (t) => {
  const kit = await kitOf(t);
  const requests = Array.from({ length: 250 }, (_, i) => ({ name: `k${i}`, days: i + 1 }));
  const made = await kit.keys.createMany(requests, { idempotencyKey: "b" });
  assert.deepEqual(made.toArray().map((key) => key.name), requests.map((request) => request.name));
  assert.deepEqual([made.length, made.at(-1).name, made.at(250), made.at(0.5), inspect(made)], [250, "k249", undefined, undefined, "KeyBatch(250)"]);
  const again = [...(await kit.keys.createMany(requests, { idempotencyKey: "b" }))];
  assert.deepEqual(again.map((key) => [key.id, key.replayed]), [...made].map((key) => [key.id, true]));
  const sorted = { sort: "expiresAt", descending: true };
  let page = await kit.keys.find({ ...sorted, limit: 100 });
  assert.equal(page.previous, null);
  const [pages, names] = [[page], [...page].map((key) => key.name)];
  while (page.next !== null) {
    // It fits into the callback data of a Telegram button, beside a word.
    assert.ok(page.next.length <= 40);
    page = await kit.keys.find({ ...sorted, limit: 100, page: page.next });
    names.push(...[...page].map((key) => key.name));
    pages.push(page);
  }
  const back = await kit.keys.find({ ...sorted, limit: 100, page: page.previous });
  assert.deepEqual(back.keys, pages.at(-2).keys);
  const walked = [];
  for await (const key of kit.keys.iterate({ ...sorted, limit: 7 })) walked.push(key.name);
  assert.deepEqual(walked, names);
  assert.deepEqual(names, requests.map((request) => request.name).reverse());
  assert.equal((await kit.keys.find({ search: "K24", status: ["active"] })).keys.length, 11);
  assert.equal((await kit.keys.find({ status: "disabled" })).keys.length, 0);
  await kit.keys.disable("k249");
  const counts = { total: 11, active: 10, disabled: 1, limited: 0, expired: 0, onHold: 0, paused: 0, locked: 0, suspended: 0 };
  assert.deepEqual({ ...(await kit.keys.count({ search: "K24", limit: 1 })) }, counts);
  await kit.keys.enable("k249");
  assert.equal(await kit.keys.deleteMany(made.toArray().slice(0, 200)), 200);
  await assert.rejects(kit.keys.deleteMany([1]), vpnkit.NotFoundError);
  const faulty = kit.keys.createMany([{}, { name: "a b" }]);
  await assert.rejects(faulty, (e) => e.context.index === "1" && e.field === "name");
});

test("the same payment is one key", async (t) => {
  const kit = await kitOf(t);
  const first = await kit.keys.create({ name: "a", idempotencyKey: "pay:1" });
  const again = await kit.keys.create({ name: "a", idempotencyKey: "pay:1" });
  assert.deepEqual([first.id, first.replayed, again.id, again.replayed], [1, false, 1, true]);
  const other = kit.keys.create({ name: "a", dataLimit: "1 GiB", idempotencyKey: "pay:1" });
  await assert.rejects(other, (e) => e instanceof vpnkit.IdempotencyMismatchError && e.field === "idempotencyKey");
  await assert.rejects(kit.keys.create({ name: "A", idempotencyKey: "pay:2" }), vpnkit.AlreadyExistsError);
});

test("credentials move in and are not shown", async (t) => {
  const kit = await kitOf(t);
  const credentials = [new vpnkit.Credential("vless", SECRET), new vpnkit.Credential("trojan", "pass word")];
  const key = await kit.keys.create({ name: "old", credentials });
  assert.deepEqual(Object.fromEntries(key.credentials.map((c) => [c.protocol, c.secret])), { vless: SECRET, trojan: "pass word" });
  for (const shown of [inspect(key, { depth: 9, showHidden: true }), JSON.stringify(key)]) {
    assert.ok(!shown.includes(SECRET) && !shown.includes("pass word"), shown);
  }
  const changed = await kit.keys.update(key, { credentials: [new vpnkit.Credential("trojan", "new")] });
  assert.deepEqual(changed.credentials.map((c) => c.secret), [SECRET, "new"]);
  assert.throws(() => new vpnkit.Credential("vless", "hunter2"), (e) => e.field === "secret" && !e.message.includes("hunter2"));
  const reality = vpnkit.Reality.generate("example.com:443", "example.com");
  assert.ok(!inspect(reality, { showHidden: true }).includes(reality.privateKey));
});

test("what comes back is what JSON takes", async (t) => {
  const kit = await kitOf(t);
  const key = await kit.keys.create({ name: "alice", dataLimit: GiB(50) });
  const [{ secret }] = key.credentials;
  const shown = JSON.stringify({ key, batch: await kit.keys.createMany([{}, {}]), page: await kit.keys.find() });
  const read = JSON.parse(shown);
  assert.deepEqual([read.key.dataLimit, read.batch.length, read.page.keys.length], [GiB(50), 2, 3]);
  assert.ok(!shown.includes(secret));
  const error = await kit.keys.require("nobody").catch((e) => JSON.parse(JSON.stringify(e)));
  assert.equal(error.code, "not_found");
  assert.match(error.message, /no key is named "nobody"/);
});

test("an error's stack names the caller", async (t) => {
  const kit = await kitOf(t);
  async function theFailingRoute() {
    await kit.keys.require("nobody");
  }
  await assert.rejects(theFailingRoute(), (e) => e.stack.includes("theFailingRoute"));
});

test("what was looked up is told", async (t) => {
  const kit = await kitOf(t);
  const key = await kit.keys.create({ name: "alice" });
  for (const text of ["1", "id:1", key.uid, `uid:${key.uid}`, "alice", "name:alice"]) {
    assert.equal((await kit.keys.require(vpnkit.parseKey(text))).id, key.id, text);
  }
  for (const text of ["", "id:x", "uid:x", "key:1"]) assert.throws(() => vpnkit.parseKey(text), vpnkit.InvalidInputError);
  await assert.rejects(kit.keys.require("1"), (e) => e.message.includes('named "1"') && e.hint.includes("number"));
  await assert.rejects(kit.traffic.history({ key: "nobody" }), vpnkit.NotFoundError);
  assert.deepEqual(await kit.traffic.history({ key: "alice" }), []);
  const renewed = await kit.keys.update(key, { expiresAt: new Date((await kit.now()).getTime() + 86_400_000) });
  assert.ok(renewed.expiresAt > (await kit.now()));
});

test("what comes back is frozen", async (t) => {
  const kit = await kitOf(t);
  const key = await kit.keys.create();
  assert.throws(() => (key.name = "bob"), TypeError);
  assert.ok(Object.isFrozen(key) && Object.isFrozen(key.traffic));
});

for (const [request, field] of [
  [{ name: "two words" }, "name"],
  [{ name: 5 }, "name"],
  [{ label: "x".repeat(257) }, "label"],
  [{ dataLimit: 50 }, "dataLimit"],
  [{ dataLimit: true }, "dataLimit"],
  [{ dataLimit: "50" }, "dataLimit"],
  [{ dataLimit: "50 apples" }, "dataLimit"],
  [{ dataLimit: 0 }, "dataLimit"],
  [{ dataLimit: -1 }, "dataLimit"],
  [{ dataLimit: 2 ** 70 }, "dataLimit"],
  [{ dataLimit: "9 PiB" }, "dataLimit"],
  [{ dataLimit: 5_000n }, "dataLimit"],
  [{ dataLimit: 1e9 + 0.5 }, "dataLimit"],
  [{ expiresIn: 30 }, "expiresIn"],
  [{ expiresIn: "30" }, "expiresIn"],
  [{ expiresIn: "1 month" }, "expiresIn"],
  [{ expiresIn: { weeks: 1 } }, "expiresIn"],
  [{ expiresIn: { days: -1 } }, "expiresIn"],
  [{ days: 0 }, "days"],
  [{ days: -1 }, "days"],
  [{ days: "x" }, "days"],
  [{ days: Number.NaN }, "days"],
  [{ days: 1, expiresIn: "1 day" }, "expiresIn"],
  [{ expiresAt: "2030-01-01" }, "expiresAt"],
  [{ expiresAt: new Date(Number.NaN) }, "expiresAt"],
  [{ expiresAt: new Date(0) }, "expiresAt"],
  [{ inbounds: "main" }, "inbounds"],
  [{ inbounds: ["nowhere"] }, "inbounds"],
  [{ owner: "me" }, "owner"],
  [{ disabled: "yes" }, "disabled"],
  [{ dataLimits: "50 GiB" }, "dataLimits"],
]) {
  test(`bad input names its field: ${inspect(request).slice(0, 60)}`, async (t) => {
    const kit = await kitOf(t);
    await assert.rejects(kit.keys.create(request), (e) => e instanceof vpnkit.VpnkitError && e.field === field);
    assert.equal((await kit.keys.find()).keys.length, 0);
  });
}

test("what is no key is refused", async (t) => {
  const kit = await kitOf(t);
  for (const key of [undefined, null, true, {}, Symbol("x"), 1.5, [1]]) {
    for (const call of [kit.keys.get, kit.keys.delete, kit.keys.links]) {
      await assert.rejects(call.call(kit.keys, key), (e) => e instanceof vpnkit.InvalidInputError && e.field.startsWith("key"));
    }
  }
});

test("a store lives on in its file", async (t) => {
  const store = `sqlite:${join(temporary(t), "bot.db")}`;
  const kit = await open({ store, passphrase: "correct horse" });
  await kit.keys.create({ name: "alice" });
  await kit.close();
  const again = await open({ store, passphrase: "correct horse" });
  assert.equal((await again.keys.require("alice")).id, 1);
  await again.close();
  await assert.rejects(open({ store }), vpnkit.PassphraseMissingError);
  await assert.rejects(open({ store, passphrase: "hunter2" }), (e) => {
    return e instanceof vpnkit.PassphraseWrongError && !inspect(e).includes("hunter2");
  });
  // Both are given until every process was started with them.
  for (const previousPassphrase of ["correct horse", "correct horse", undefined]) {
    const changed = await open({ store, passphrase: "battery staple", previousPassphrase });
    assert.equal((await changed.keys.require("alice")).name, "alice");
    await changed.close();
  }
  await assert.rejects(open({ store, passphrase: "correct horse" }), vpnkit.PassphraseWrongError);
  await assert.rejects(open({ store, previousPassphrase: "correct horse" }), (e) => e.faults[0].startsWith("previous_passphrase:"));
});

test("what there is instead is named as in JavaScript", async (t) => {
  const kit = await kitOf(t);
  const wrong = { name: "InvalidInputError", message: /unknown field `dataLimt`.*`dataLimit`/ };
  await assert.rejects(kit.keys.create({ name: "a", dataLimt: 5 }), wrong);
  await assert.rejects(kit.keys.find({ status: 5 }), { name: "InvalidInputError", field: "status" });
  await assert.rejects(kit.keys.deleteMany(5), { name: "InvalidInputError", field: "ids" });
  // An option that is lost would sell twice, or change what somebody else has changed.
  await assert.rejects(kit.keys.createMany([{}], { idempotencykey: "pay" }), { field: "idempotencykey" });
  await assert.rejects(kit.keys.createMany([{}], "pay"), { name: "InvalidInputError", field: "options" });
  await assert.rejects(kit.keys.create({}, { idempotencyKey: "pay" }), /no such option/);
  await assert.rejects(kit.subscriptions.revoke(1, { newcredentials: true }), /no such option/);
  await assert.rejects(kit.keys.createMany([{}, { dataLimit: 3 }]), { field: "dataLimit", context: { field: "dataLimit", index: "1" } });
  await assert.rejects(kit.subscriptions.forRequest("x", null), { name: "InvalidInputError", field: "headers" });
  await assert.rejects(kit.subscriptions.update({ title: null }), { name: "InvalidInputError", field: "title" });
  for await (const key of kit.keys.iterate({ limit: undefined })) assert.fail(key.name);
});

test("every fault of a configuration is told", async () => {
  const servers = [{ type: "managedXray", address: "vpn example", directory: "relative" }];
  await assert.rejects(open({ store: "memory:", passphrase: "x", servers }), (e) => {
    assert.ok(e instanceof vpnkit.InvalidConfigError);
    assert.deepEqual(e.faults.map((fault) => fault.split(":")[0]), [
      "passphrase",
      "servers[0].address",
      "servers[0].directory",
    ]);
    return true;
  });
  for (const config of [{ store: "postgres:x" }, { store: "memory:", colect: 5 }, { store: "memory:", servers: [{ ...servers[0], typo: 1 }] }]) {
    await assert.rejects(open(config), (e) => e instanceof vpnkit.InvalidConfigError && e.faults.length === 1);
  }
  await assert.rejects(open({ store: "memory:", collectEvery: 5 }), (e) => e.field === "collectEvery");
  await assert.rejects(open({ store: "memory:", keepEvents: "1 s" }), (e) => e.faults[0].startsWith("keep_events:"));
  await assert.rejects(open(), vpnkit.InvalidInputError);
  await (await open({ store: "memory:", keepEvents: "90 minutes", collectEvery: { seconds: 1.5 } })).close();
});

test("sizes read and show themselves", () => {
  assert.deepEqual([GiB(1.5), vpnkit.parseSize("50 GB"), vpnkit.GB(50)], [1_610_612_736, 50_000_000_000, 50_000_000_000]);
  assert.deepEqual([GiB(1.5), 0, MiB(3) - GiB(1)].map(vpnkit.formatSize), ["1.5 GiB", "0 B", "-1021 MiB"]);
  for (const text of ["5", "9 PiB"]) assert.throws(() => vpnkit.parseSize(text), vpnkit.InvalidInputError);
  for (const bytes of [null, undefined, 1.5, 5n]) assert.throws(() => vpnkit.formatSize(bytes), vpnkit.InvalidInputError);
});

test("QR codes are pictures", () => {
  assert.ok(vpnkit.qrPng("vless://x", 256).subarray(1, 4).equals(Buffer.from("PNG")));
  assert.match(vpnkit.qrSvg("vless://x"), /^<svg/);
  assert.match(vpnkit.qrTerminal("vless://x"), /█/);
  assert.throws(() => vpnkit.qrPng("x", 5), (e) => e.field === "size");
  assert.throws(() => vpnkit.qrPng("x".repeat(5000)), (e) => e.field === "text");
});
