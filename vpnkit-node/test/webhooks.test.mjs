// Webhooks over HTTP, into the receiver of the examples.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer as createSocket } from "node:net";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { InvalidInputError, UnavailableError, open } from "vpnkit";

import { temporary } from "./shared.mjs";

const program = join(dirname(fileURLToPath(import.meta.url)), "..", "shop", "dist", "receiver.mjs");

async function freePort() {
  const socket = createSocket().listen(0, "127.0.0.1");
  await once(socket, "listening");
  const { port } = socket.address();
  socket.close();
  await once(socket, "close");
  return port;
}

test("a receiver that is killed gets every event", { timeout: 120_000 }, async (t) => {
  const [directory, port] = [temporary(t), await freePort()];
  const kit = await open({ store: `sqlite:${join(directory, "keys.db")}`, privateWebhooks: true });
  t.after(() => kit.close());
  const { webhook, secret } = await kit.webhooks.create({ url: `http://127.0.0.1:${port}/events`, kinds: ["key.*"] });
  const file = join(directory, "handled.txt");
  const start = () => spawn(process.execPath, [program], { env: { ...process.env, WEBHOOK_SECRET: secret, STORE: file, PORT: String(port) }, stdio: ["ignore", "ignore", "inherit"] });
  let receiver = start();
  t.after(() => receiver.kill("SIGKILL"));
  const key = await kit.keys.create({ name: "alice" });
  for (let round = 0; round < 60; round++) {
    await kit.keys.update(key, { note: String(round) });
    if (round % 20 === 0) {
      await sleep(100);
      receiver.kill("SIGKILL");
      await once(receiver, "exit");
      receiver = start();
    }
  }
  let status;
  for (let i = 0; i < 600; i++) {
    [status] = await kit.webhooks.status();
    if (status.pending === 0) break;
    await sleep(100);
  }
  assert.equal(status.pending, 0, JSON.stringify(status));
  const wanted = (await kit.events.read(0)).events.filter(({ kind }) => kind.startsWith("key.")).map(({ cursor }) => cursor);
  const got = readFileSync(file, "utf8").trim().split("\n").map((id) => Number(id.split("_").at(-1)));
  assert.deepEqual(got, wanted);

  await kit.webhooks.ping(webhook.id);
  const forged = await fetch(`http://127.0.0.1:${port}/events`, { method: "POST", body: "{}", headers: { "webhook-id": "a", "webhook-timestamp": "1" } });
  assert.equal(forged.status, 401);
  await kit.webhooks.rotateSecret(webhook.id, "0 s");
  await assert.rejects(kit.webhooks.ping(webhook.id), (error) => error instanceof UnavailableError && error.context.answer === "HTTP 401");
  const own = await open({ store: "memory:" });
  t.after(() => own.close());
  await assert.rejects(own.webhooks.create({ url: "http://127.0.0.1/" }), (error) => error instanceof InvalidInputError && error.field === "url");
});
