// The measurements of `benches/src/languages.rs` in Node.
import assert from "node:assert/strict";
import process from "node:process";

import { open } from "vpnkit";

const [BULK, GETS] = [100_000, 20_000];
const seconds = (start) => (performance.now() - start) / 1000;

const kit = await open({ store: `sqlite:${process.argv[2]}/keys.db` });
const requests = Array.from({ length: BULK }, (_, i) => ({ name: `k${i}` }));
let start = performance.now();
const made = await kit.keys.createMany(requests);
const createMany = seconds(start);

async function median(kit, ids) {
  const gets = [];
  for (const id of ids) {
    const start = performance.now();
    assert.notEqual(await kit.keys.get(id), null);
    gets.push(seconds(start));
  }
  return gets.sort((a, b) => a - b)[GETS / 2] * 1e6;
}

const get = await median(kit, Array.from({ length: GETS }, (_, i) => made.at((i * 7919) % BULK).id));
const memory = await open({ store: "memory:" });
const { id } = await memory.keys.create();
const own = await median(memory, Array.from({ length: GETS }, () => id));
await memory.close();

start = performance.now();
let count = 0;
for await (const event of kit.events.stream()) {
  if (event.cursor > 0) count += 1;
  if (count === BULK) break;
}
const events = BULK / seconds(start);
await kit.close();
console.log(JSON.stringify({ get_us: get, memory_us: own, create_many_s: createMany, events_per_s: events }));
