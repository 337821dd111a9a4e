// Backups of a store in use, and putting one back.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import * as vpnkit from "vpnkit";

test("a backup is put back", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "vpnkit-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const [store, saved] = [`sqlite:${join(directory, "keys.db")}`, join(directory, "saved.db")];
  const kit = await vpnkit.open({ store });
  await kit.keys.create({ name: "alice" });
  const backup = await kit.store.backUp(saved);
  assert.deepEqual([backup.path, backup.keys, backup.bytes], [saved, 1, statSync(saved).size]);
  const lost = await kit.keys.create({ name: "bob" });
  const checked = await kit.store.check();
  assert.deepEqual([checked.faults, checked.tables > 10], [[], true]);
  assert.deepEqual(await kit.store.work(), []);
  await assert.rejects(kit.store.backUp(saved), vpnkit.AlreadyExistsError);
  await assert.rejects(vpnkit.restore(saved, store), vpnkit.InUseError);
  await kit.close();

  await assert.rejects(vpnkit.restore(saved, store, { signal: AbortSignal.abort() }), { name: "AbortError" });
  await assert.rejects(vpnkit.restore(saved, "memory:"), (e) => e instanceof vpnkit.InvalidInputError && e.field === "store");
  await assert.rejects(vpnkit.restore(join(directory, "none.db"), store), vpnkit.NotFoundError);
  const told = [];
  const restored = await vpnkit.restore(saved, store, { onProgress: (...steps) => told.push(steps) });
  assert.deepEqual([restored.keys, restored.newestEvent], [1, backup.newestEvent]);
  assert.equal(...told.at(-1));
  const again = await vpnkit.open({ store });
  assert.deepEqual((await again.keys.find()).keys.map((key) => key.name), ["alice"]);
  assert.ok((await again.keys.create({ name: "carol" })).id > lost.id);
  await again.close();
});
