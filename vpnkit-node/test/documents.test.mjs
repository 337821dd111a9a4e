// What the documents show is what happens.
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { dirname } from "node:path";
import { test } from "node:test";

import { read, run, temporary, xray } from "./shared.mjs";

const blocks = (...path) => [...read(...path).matchAll(/```js\n(.*?)```/gs)].map(([, text]) => text);

const freePort = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

test("the first key", async (t) => {
  const [text] = blocks("docs", "node.md");
  assert.ok(text.split("\n").filter(Boolean).length <= 12);
  // The reader's server has another directory and port, and an xray in its search path.
  const here = text.replaceAll("/var/lib/vpnkit", temporary(t)).replace("port: 443", `port: ${await freePort()}`);
  process.env.PATH = `${dirname(xray())}:${process.env.PATH}`;
  const done = await run(t, here);
  assert.match(done.out, /^vless:\/\/\S+@vpn\.example\.com:\d+\?\S+\n$/, done.err);
});

test("the event loop and the sandbox", async (t) => {
  const [, loop, sandbox] = blocks("docs", "node.md");
  const text = `
    import { openSandbox } from "vpnkit/testing";
    const kit = await openSandbox();
    let [cursor, controller] = [0, new AbortController()];
    const { signal } = controller;
    const offerRenewal = async (key) => { console.log("renew", key); controller.abort(); };
    const key = await kit.keys.create({ dataLimit: "1 GiB" });
    await kit.passTraffic(key, { down: "1 GiB" });
    await kit.tick();
    try { ${loop} } catch (e) { console.log(e.name); }
    await kit.close();`;
  assert.equal((await run(t, text)).out, "renew 1\nAbortError\n");
  assert.equal((await run(t, sandbox)).out, "limited\n");
});

test("renewing", async (t) => {
  const [, , , text] = blocks("docs", "node.md");
  const done = await run(t, `
    import { openSandbox } from "vpnkit/testing";
    const kit = await openSandbox();
    const made = await kit.keys.create({ name: "alice", days: 1, dataLimit: "1 GiB" });
    ${text}
    // Two payments at the same time are two months, and one that comes twice is one.
    await Promise.all(["a:1", "a:2", "a:2"].map((payment) => renew(kit, "alice", 30, "1 GiB", payment)));
    const { expiresAt, dataLimit } = await kit.keys.require("alice");
    console.log((expiresAt - made.expiresAt) / 86_400_000, dataLimit / 2 ** 30);
    await kit.close();`);
  assert.equal(done.out, "60 3\n", done.err);
});

test("subscriptions", async (t) => {
  const [, , , , text] = blocks("docs", "node.md");
  const done = await run(t, `
    import { openSandbox } from "vpnkit/testing";
    const kit = await openSandbox();
    const request = { headers: { "user-agent": "v2rayNG/2.3.5" } };
    await kit.inbounds.ensure({ tag: "ws", port: 443, protocol: { type: "vless" }, transport: { type: "webSocket", path: "/ws" } });
    await kit.keys.create({ name: "alice" });
    const token = await kit.subscriptions.token("alice");
    ${text}
    console.log(status, headers["profile-title"], Buffer.from(body, "base64").toString().slice(0, 8), picture.subarray(1, 4).toString());
    await kit.close();`);
  assert.equal(done.out, "200 Example vless:// PNG\n", done.err);
});

test("the package's README", async (t) => {
  const [text] = blocks("vpnkit-node", "README.md");
  const done = await run(t, text.replace("sqlite:bot.db", "memory:"));
  assert.match(done.out, /^active 50 GiB 20/, done.err);
});
