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

const ids = Array.from({ length: GETS }, (_, i) => made.at((i * 7919) % BULK).id);
const gets = [];
for (const id of ids) {
  start = performance.now();
  assert.notEqual(await kit.keys.get(id), null);
  gets.push(seconds(start));
}

start = performance.now();
let count = 0;
for await (const event of kit.events.stream()) {
  if (event.cursor > 0n) count += 1;
  if (count === BULK) break;
}
const events = BULK / seconds(start);
await kit.close();
gets.sort((a, b) => a - b);
console.log(JSON.stringify({ get_us: gets[GETS / 2] * 1e6, create_many_s: createMany, events_per_s: events }));
