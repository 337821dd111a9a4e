// Promises, signals, streams, and the end of a process.
import assert from "node:assert/strict";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Worker } from "node:worker_threads";
import { spawn } from "node:child_process";

import * as vpnkit from "vpnkit";
import { open } from "vpnkit";
import { openSandbox } from "vpnkit/testing";

import { program, run, temporary, xray } from "./shared.mjs";

test("calls run side by side", async () => {
  const kit = await open({ store: "memory:" });
  const made = await Promise.all(Array.from({ length: 500 }, (_, i) => kit.keys.create({ name: `k${i}` })));
  assert.deepEqual(made.map((key) => key.id).sort((a, b) => a - b), Array.from({ length: 500 }, (_, i) => i + 1));
  const settled = await Promise.allSettled([kit.keys.create({ name: "k0" }), kit.keys.create({ name: "new" })]);
  assert.deepEqual(settled.map((one) => one.status), ["rejected", "fulfilled"]);
  await kit.close();
});

test("a signal ends the waiting; the change is made whole", async () => {
  const kit = await openSandbox();
  await kit.inbounds.ensure({ tag: "main", port: 443, protocol: { type: "vless" } });
  await assert.rejects(kit.keys.create({ name: "never" }, { signal: AbortSignal.abort() }), { name: "AbortError" });
  for (let i = 0; i < 100; i += 1) {
    const controller = new AbortController();
    const made = kit.keys.create({ name: `k${i}` }, { signal: controller.signal });
    controller.abort(new Error("enough"));
    await assert.rejects(made, /enough/);
  }
  let keys = [];
  while (keys.length < 100) ({ keys } = await kit.keys.find({ limit: 1000 }));
  await kit.tick();
  for (const key of keys) assert.ok(await kit.letsIn(key, "main"));
  assert.equal(await kit.keys.get("never"), null);
  await kit.close();
});

test("a stream loses nothing to signals, breaks and several readers", async () => {
  const kit = await open({ store: "memory:" });
  const controller = new AbortController();
  const stream = kit.events.stream(0, { signal: controller.signal });
  const waiting = stream.next();
  await kit.keys.createMany(Array.from({ length: 50 }, () => ({})));
  const seen = [(await waiting).value.cursor];
  for await (const event of stream) {
    seen.push(event.cursor);
    if (seen.length === 10) break;
  }
  const readers = await Promise.all(Array.from({ length: 40 }, () => stream.next()));
  seen.push(...readers.map((one) => one.value.cursor));
  assert.deepEqual(seen, Array.from({ length: 50 }, (_, i) => i + 1));
  const late = stream.next();
  controller.abort();
  await assert.rejects(late, { name: "AbortError" });
  const timed = kit.events.stream(await kit.events.newest(), { signal: AbortSignal.timeout(20) });
  await assert.rejects(timed.next(), { name: "TimeoutError" });
  await kit.close();
});

test("closing ends streams and refuses calls", async () => {
  const kit = await open({ store: "memory:" });
  const streams = Array.from({ length: 4 }, () => kit.events.stream().next());
  const untouched = kit.events.stream();
  await sleep(5);
  await Promise.all([kit.close(), kit.close()]);
  for (const end of await Promise.all(streams)) assert.equal(end.done, true);
  assert.deepEqual(await untouched.next(), { done: true, value: undefined });
  await assert.rejects(kit.keys.get(1), vpnkit.ClosedError);
  assert.throws(() => kit.events.stream(), vpnkit.ClosedError);
  await kit.close();
});

test("closing while calls are under way", async (t) => {
  const store = `sqlite:${join(temporary(t), "bot.db")}`;
  const kit = await open({ store });
  const calls = Array.from({ length: 200 }, (_, i) => kit.keys.create({ name: `k${i}` }));
  await sleep(5);
  await kit.close();
  const made = [];
  for (const one of await Promise.allSettled(calls)) {
    if (one.status === "fulfilled") made.push(one.value.name);
    else assert.ok(one.reason instanceof vpnkit.ClosedError, one.reason);
  }
  const again = await open({ store });
  const kept = new Set((await again.keys.find({ limit: 1000 })).keys.map((key) => key.name));
  assert.ok(made.every((name) => kept.has(name)));
  await again.close();
});

test("an aborted opening leaves nothing open", async (t) => {
  const store = `sqlite:${join(temporary(t), "bot.db")}`;
  const controller = new AbortController();
  const opening = open({ store }, { signal: controller.signal });
  controller.abort();
  await assert.rejects(opening, { name: "AbortError" });
  const kit = await open({ store });
  await kit.keys.create();
  await kit.close();
});

test("the loop turns while many keys are made", async () => {
  const kit = await open({ store: "memory:" });
  let [turns, done] = [0, false];
  const turning = (async () => {
    while (!done) {
      turns += 1;
      await new Promise(setImmediate);
    }
  })();
  await kit.keys.createMany(Array.from({ length: 20_000 }, (_, i) => ({ name: `k${i}` })));
  done = true;
  await turning;
  assert.ok(turns > 10, `${turns}`);
  await kit.close();
});

const END = `
  import { open } from "vpnkit";
  const kit = await open({ store: "memory:" });
  await kit.keys.create({ name: "a" });
  const stream = kit.events.stream();
  await stream.next();
  process.on("exit", () => console.log("exit"));
`;

test("the process ends within 5 s of the last await, closed or not", async (t) => {
  for (const rest of ["", "await kit.close();", "globalThis.kept = [kit, stream];", "process.exitCode = 3;"]) {
    const done = await run(t, `${END}\n${rest}\nconsole.log("last");`, { limit: 30_000 });
    assert.deepEqual([done.code, done.signal], [rest.includes("exitCode") ? 3 : 0, null], done.err);
    assert.ok(done.out.includes("exit") && done.err === "" && done.after < 5_000, `${rest}: ${done.after} ms ${done.err}`);
  }
});

test("process.exit and an uncaught error in the middle of calls", async (t) => {
  for (const [rest, code] of [["process.exit(4)", 4], ["throw new Error('oh')", 1]]) {
    const text = `${END}\nfor (let i = 0; i < 500; i += 1) kit.keys.create().catch(() => {});\nstream.next(); setImmediate(() => { ${rest} });`;
    const done = await run(t, text, { limit: 30_000 });
    assert.deepEqual([done.code, done.signal], [code, null], done.err);
  }
});

test("while somebody waits for an event the process lives", async (t) => {
  const text = `${END}\nsetTimeout(() => kit.keys.create(), 300).unref();\nconst { value } = await stream.next(); console.log(value.kind); await kit.close();`;
  const done = await run(t, text);
  assert.equal(done.out, "key.created\nexit\n");
});

test("require works, and await using", async (t) => {
  const required = `
    const { open, NotFoundError } = require("vpnkit");
    open({ store: "memory:" }).then(async (kit) => {
      await kit.keys.require("x").catch((e) => console.log(e instanceof NotFoundError, e.code));
      await kit[Symbol.asyncDispose]();
      await kit.keys.get(1).catch((e) => console.log(e.code));
    });`;
  assert.equal((await run(t, required, { extension: "cjs" })).out, "true not_found\nclosed\n");
});

test("worker threads come and go", async (t) => {
  const store = `sqlite:${join(temporary(t), "bot.db")}`;
  const file = program(t, `
    import { parentPort, workerData } from "node:worker_threads";
    import { open } from "vpnkit";
    const kit = await open({ store: workerData.store });
    const key = await kit.keys.create();
    if (workerData.how === "closed") await kit.close();
    if (workerData.how === "waiting") kit.events.stream(await kit.events.newest()).next();
    parentPort.postMessage(key.id);
    if (workerData.how === "waiting") await new Promise(() => {});
  `);
  const ids = [];
  for (let i = 0; i < 100; i += 1) {
    const how = ["closed", "open", "waiting"][i % 3];
    const worker = new Worker(file, { workerData: { store, how } });
    const ended = once(worker, "exit");
    ids.push((await once(worker, "message"))[0]);
    if (how === "waiting") await worker.terminate();
    await ended;
  }
  assert.deepEqual(ids, Array.from({ length: 100 }, (_, i) => i + 1));
});

function processes(needle) {
  return readdirSync("/proc").filter((pid) => {
    try {
      return /^\d+$/.test(pid) && pid !== String(process.pid) && readFileSync(`/proc/${pid}/cmdline`, "latin1").includes(needle);
    } catch {
      return false;
    }
  });
}

for (const how of ["forgotten", "SIGINT", "SIGTERM", "SIGKILL"]) {
  test(`no Xray outlives its bot: ${how}`, async (t) => {
    const directory = join(temporary(t), "xray");
    const file = program(t, `
      import { open } from "vpnkit";
      const [directory, binary, how] = process.argv.slice(2);
      const kit = await open({ store: "memory:", servers: [{ type: "managedXray", address: "127.0.0.1", directory, binary }] });
      console.log("ready");
      if (how !== "forgotten") setInterval(() => kit, 1000);
    `);
    const child = spawn(process.execPath, [file, directory, xray(), how], { stdio: ["ignore", "pipe", "inherit"] });
    const closed = once(child, "close");
    await once(child.stdout, "data");
    if (how !== "forgotten") child.kill(how);
    await closed;
    for (let i = 0; i < 600 && processes(directory).length > 0; i += 1) await sleep(50);
    assert.deepEqual(processes(directory), []);
  });
}

test("a bot killed in the middle of its work loses nothing", async (t) => {
  const store = `sqlite:${join(temporary(t), "bot.db")}`;
  const file = program(t, `
    import { open } from "vpnkit";
    const [store, round] = process.argv.slice(2);
    const kit = await open({ store });
    const work = async (worker) => {
      for (let i = 0; ; i += 1) {
        const key = await kit.keys.create({ name: round + "-" + worker + "-" + i });
        process.stdout.write(key.name + "\\n");
      }
    };
    await Promise.all([0, 1, 2, 3].map(work));
  `);
  const told = [];
  for (let round = 0; round < 5; round += 1) {
    const child = spawn(process.execPath, [file, store, `r${round}`], { stdio: ["ignore", "pipe", "inherit"] });
    let out = "";
    child.stdout.setEncoding("utf8").on("data", (text) => {
      out += text;
      if (out.length > 300 + 100 * round) child.kill("SIGKILL");
    });
    await once(child, "close");
    told.push(...out.slice(0, out.lastIndexOf("\n")).split("\n"));
  }
  const kit = await open({ store });
  const kept = new Set((await kit.keys.find({ limit: 10_000 })).keys.map((key) => key.name));
  assert.ok(told.length > 100 && told.every((name) => kept.has(name)));
  await kit.close();
});

test("memory stands still over a million calls", async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc");
  const kit = await open({ store: "memory:" });
  await kit.keys.create({ name: "alice", dataLimit: "50 GiB", days: 30 });
  const sizes = [];
  for (let round = 0; round < 40; round += 1) {
    for (let i = 0; i < 27_000; i += 100) await Promise.all(Array.from({ length: 100 }, () => kit.keys.get(1)));
    collect();
    sizes.push(process.memoryUsage.rss() / 2 ** 20);
  }
  // V8 and malloc take and return pages as they like, up to 40 MiB from one round to the next, mostly more of them, sometimes fewer: so
  // the lower quartile of many rounds stands for them. 24 bytes a call are 11 MiB between the two halves.
  const quartile = (of) => of.toSorted((a, b) => a - b)[Math.floor(of.length / 4)];
  const grown = quartile(sizes.slice(22)) - quartile(sizes.slice(4, 22));
  assert.ok(grown < 10, `${sizes.map((size) => size.toFixed(1))}`);
  await kit.close();
});
