// How vpnkit itself does, and what is changed while it runs.
import assert from "node:assert/strict";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { inspect } from "node:util";
import * as vpnkit from "vpnkit";
import { openSandbox } from "vpnkit/testing";

test("jobs and metrics", async () => {
  const kit = await vpnkit.open({ store: "memory:" });
  await kit.keys.create({ name: "alice" });
  const jobs = await kit.health.jobs();
  assert.ok(jobs.some((job) => job.name === "settle"));
  assert.deepEqual(jobs.filter((job) => job.failingSince !== null || job.error !== null), []);
  const text = await kit.health.metrics();
  assert.match(text, /^vpnkit_operation_seconds_count\{operation="keys.create"\} 1$/m);
  await kit.close();
});

test("REALITY keys are rotated, and nobody sees the old ones by accident", async () => {
  const kit = await openSandbox();
  const rotation = { every: "30 days", keepOld: "7 days" };
  const described = () => ({
    tag: "main",
    port: 443,
    protocol: { type: "vless", vision: true },
    security: new vpnkit.Reality({ dest: "site.test:443", serverNames: ["site.test"], rotation }),
  });
  const reality = async () => (await kit.inbounds.get("main")).security;
  await kit.inbounds.ensure(described());
  const first = await reality();
  assert.deepEqual(first.rotation, rotation);
  await kit.advance("1 hour");
  await kit.advance("31 days");
  const second = await reality();
  assert.notEqual(second.publicKey, first.publicKey);
  assert.equal(second.previous.publicKey, first.publicKey);
  assert.ok(second.keysSince instanceof Date && second.previous.until instanceof Date);
  for (const shown of [inspect(second, { depth: 9 }), JSON.stringify(second), inspect(second.previous), JSON.stringify(second.previous)]) {
    assert.ok(!shown.includes(first.privateKey) && !shown.includes(second.privateKey), shown);
  }
  await kit.inbounds.ensure(described());
  await kit.inbounds.ensure(await kit.inbounds.get("main"));
  assert.equal((await reality()).previous.publicKey, first.publicKey);
  const rotated = await kit.inbounds.rotateKeys("main", "0 s");
  assert.equal(rotated.security.previous, undefined);
  await assert.rejects(kit.inbounds.rotateKeys("none", "1 hour"), vpnkit.NotFoundError);
  await kit.close();
});

test("the passphrase of a store in use", async () => {
  const store = "sqlite:" + join(mkdtempSync(join(tmpdir(), "vpnkit-")), "keys.db");
  const kit = await vpnkit.open({ store, passphrase: "old one" });
  await assert.rejects(kit.store.changePassphrase("another", "new one"), vpnkit.PassphraseWrongError);
  await kit.store.changePassphrase("old one", "new one");
  await kit.keys.create({ name: "alice" });
  await kit.close();
  await assert.rejects(vpnkit.open({ store, passphrase: "old one" }), vpnkit.PassphraseWrongError);
  const again = await vpnkit.open({ store, passphrase: "new one", previousPassphrase: "old one" });
  assert.ok(await again.keys.get("alice"));
  await again.close();
});
