// The shop of the examples, in several workers that are killed at any moment, beside stand-ins for Telegram and the provider: in the
// end the provider's books and the ledger agree.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { createServer as createSocket } from "node:net";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { open } from "vpnkit";

import { temporary } from "./shared.mjs";

const [SECRET, BOT_SECRET, ADMIN, WORKERS, KILLED] = ["between the provider and the shop", "between-telegram-and-the-bot", 1, 3, 8];
const CUSTOMERS = Array.from({ length: 24 }, (_, i) => 100 + i);
const DAYS = { month: 30, fresh: 30, days: 7, volume: 1, year: 365 };
const program = join(dirname(fileURLToPath(import.meta.url)), "..", "shop", "dist", "shop.mjs");

/** Small numbers that a seed gives again (mulberry32). */
function randomOf(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t ^= t + Math.imul(t ^ (t >>> 7), 61 | t);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

async function freePort() {
  const socket = createSocket().listen(0, "127.0.0.1");
  await once(socket, "listening");
  const { port } = socket.address();
  socket.close();
  await once(socket, "close");
  return port;
}

async function body(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts);
}

async function serve(t, answer) {
  const server = createServer(async (request, response) => {
    const { status = 200, json = {} } = await answer(request.url, await body(request), request.headers);
    response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(json));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${server.address().port}`;
}

/** What stands in front of the workers: each try goes to any of them. */
class Workers {
  all = [];
  killed = 0;

  constructor(environment, random) {
    this.environment = environment;
    this.random = random;
  }

  async start(port) {
    port ??= await freePort();
    const env = { ...process.env, ...this.environment, PORT: String(port) };
    this.all.push({ port, child: spawn(process.execPath, [program], { env, stdio: ["ignore", "inherit", "inherit"] }) });
  }

  async kill() {
    const [victim] = this.all.splice(Math.floor(this.random() * this.all.length), 1);
    const gone = once(victim.child, "exit");
    victim.child.kill("SIGKILL");
    await gone;
    this.killed += 1;
    await this.start(victim.port);
  }

  async stop() {
    for (const { child } of this.all) child.kill("SIGTERM");
    for (const { child } of this.all) if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  }

  async untilOk(path, text, headers) {
    for (let i = 0; i < 600; i++) {
      const { port } = this.all[Math.floor(this.random() * this.all.length)] ?? {};
      const answer = await this.post(port, path, text, headers).catch(() => null);
      if (answer?.status === 200) return;
      await sleep(100);
    }
    assert.fail(`${path} did not take ${text}`);
  }

  post(port, path, text, headers) {
    const signal = AbortSignal.timeout(20_000);
    return fetch(`http://127.0.0.1:${port}${path}`, { method: "POST", body: text, headers, signal });
  }
}

test("the books agree when workers die", { timeout: 240_000 }, async (t) => {
  const seed = Number(process.env.VPNKIT_SEED ?? Math.floor(Math.random() * 2 ** 30));
  t.diagnostic(`VPNKIT_SEED=${seed}`);
  const random = randomOf(seed);
  const pick = (all) => all[Math.floor(random() * all.length)];
  const [said, paid, refunded, telling] = [[], new Map(), new Set(), new Set()];
  let [pictures, updates, told] = [0, 0, 0];

  const telegram = await serve(t, (url, data, headers) => {
    const method = url.split("/").at(-1);
    if (method === "getMe") return { json: { ok: true, result: { id: 42, is_bot: true, first_name: "Shop", username: "shop_bot" } } };
    const json = headers["content-type"]?.startsWith("application/json") ? JSON.parse(data.toString()) : null;
    const text = data.toString("latin1");
    const chat = Number(json?.chat_id ?? /name="chat_id"\r\n\r\n(\d+)/.exec(text)?.[1] ?? 1);
    if (method === "sendPhoto") {
      assert.ok(text.includes("\x89PNG"));
      pictures += 1;
    }
    said.push([chat, json?.text ?? text]);
    return { json: { ok: true, result: { message_id: 1, date: 1_767_225_600, chat: { id: chat, type: "private" } } } };
  });
  const tell = (payment, event) => {
    for (let i = 0; i < 1 + Math.floor(random() * 3); i++) {
      const late = random() * 1_000;
      const telled = (async () => {
        await sleep(late);
        const { telegram: customer, plan } = paid.get(payment);
        const text = JSON.stringify({ payment, event, telegram: customer, plan });
        await workers.untilOk("/paid", text, { "X-Signature": createHmac("sha256", SECRET).update(text).digest("hex") });
        told += 1;
      })();
      telling.add(telled);
      telled.finally(() => telling.delete(telled));
    }
  };
  const provider = await serve(t, (url, data) => {
    const order = JSON.parse(data.toString());
    if (url === "/invoices") {
      const payment = `p${paid.size}`;
      paid.set(payment, order);
      tell(payment, "paid");
      return { json: { url: `https://pay.example/${payment}` } };
    }
    if (!paid.has(order.payment)) return { status: 404 };
    refunded.add(order.payment);
    tell(order.payment, "refunded");
    return {};
  });

  const directory = temporary(t);
  const store = `sqlite:${join(directory, "shop.db")}`;
  const workers = new Workers(
    {
      BOT_TOKEN: "42:TEST",
      BOT_SECRET,
      PROVIDER: provider,
      PROVIDER_SECRET: SECRET,
      ADMINS: String(ADMIN),
      STORE: store,
      TELEGRAM_API: telegram,
    },
    random,
  );
  t.after(() => workers.all.forEach(({ child }) => child.kill("SIGKILL")));
  for (let i = 0; i < WORKERS; i++) await workers.start();

  /** A message of a customer; Telegram sends it again until the bot has handled it. */
  const write = async (customer, text) => {
    updates += 1;
    const message = {
      message_id: updates,
      date: 1_767_225_600,
      chat: { id: customer, type: "private" },
      from: { id: customer, is_bot: false, first_name: "A" },
      text,
      entities: [{ type: "bot_command", offset: 0, length: text.split(" ")[0].length }],
    };
    const headers = { "X-Telegram-Bot-Api-Secret-Token": BOT_SECRET, "Content-Type": "application/json" };
    await workers.untilOk("/telegram", JSON.stringify({ update_id: updates, message }), headers);
  };
  const heard = (customer) => said.filter(([chat]) => chat === customer).map(([, text]) => text).join("\n");

  await write(100, "/start");
  const customer = async (number) => {
    if (number % 3 === 0) await write(number, "/trial");
    for (let bought = 0; bought < 3 || workers.killed < KILLED; bought++) {
      await write(number, `/buy ${pick(Object.keys(DAYS))}`);
      await sleep(3_000 * random());
    }
    const own = [...paid].filter(([, order]) => order.telegram === number).map(([payment]) => payment);
    if (number % 2 === 0) await write(ADMIN, `/refund ${pick(own)}`);
  };
  let done = false;
  const customers = Promise.all(CUSTOMERS.map(customer)).finally(() => (done = true));
  while (!done || telling.size > 0) {
    // Now and then there is time to start up.
    await sleep(pick([200, 500, 2_500]));
    if (workers.killed < 2 * KILLED) await workers.kill();
  }
  await customers;
  assert.ok(told > paid.size && refunded.size > 0);

  // A stranger's callback is refused.
  const { port } = workers.all[0];
  const forged = JSON.stringify({ payment: "p0", event: "refunded", telegram: 100, plan: "month" });
  const answers = async (path, headers) => {
    for (let i = 0; i < 100; i++) {
      const answer = await workers.post(port, path, path === "/paid" ? forged : "{}", headers).catch(() => null);
      if (answer) return answer.status;
      await sleep(100);
    }
    return assert.fail("no answer");
  };
  assert.equal(await answers("/paid", { "X-Signature": "00" }), 403);
  assert.equal(await answers("/telegram", { "Content-Type": "application/json" }), 401);
  // Only an admin's question is answered; what a customer pastes is found; what support does stands in the timeline.
  await write(100, "/status");
  const link = /https:\/\/vpn\.example\.com\/s\/[\w-]+/.exec(heard(100))?.[0];
  await write(ADMIN, "/disable 100 reported as stolen");
  await write(ADMIN, `/find ${link}`);
  assert.match(heard(ADMIN), /tg-100: disabled/);
  assert.match(heard(ADMIN), /key\.disabled +telegram:1, reported as stolen/);
  await write(101, "/find 100");
  assert.doesNotMatch(heard(101), /tg-100/);
  assert.ok(pictures > 24);
  await workers.stop();

  // The books of the provider beside the ledger.
  const kit = await open({ store, background: false });
  t.after(() => kit.close());
  const entries = await kit.grants.find({ limit: 1_000 });
  const ledger = new Map(entries.map((grant) => [grant.idempotencyKey, grant]));
  const trials = entries.filter((grant) => grant.idempotencyKey?.startsWith("trial:"));
  // Each payment is one entry of its customer, each refund an undone one, and there is nothing else.
  assert.equal(ledger.size, entries.length);
  assert.equal(entries.length, paid.size + trials.length);
  for (const [payment, order] of paid) {
    const grant = ledger.get(`provider:${payment}`);
    const [key] = (await kit.keys.find({ labels: { telegram: String(order.telegram) } })).keys;
    assert.equal(grant.key, key.id, payment);
    assert.equal(grant.expiresInSeconds, DAYS[order.plan] * 86_400, payment);
    assert.equal(grant.template, order.plan, payment);
    assert.equal(grant.undoneAt !== null, refunded.has(payment), payment);
  }
  assert.equal(trials.length, CUSTOMERS.filter((number) => number % 3 === 0).length);
});
