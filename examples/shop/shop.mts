/**
 * A shop as a Telegram bot (grammY): trials, purchases, renewals with each policy, refunds, reminders, QR codes, resellers, and what its
 * support asks.
 *
 * Run as many as you like on one store, each on a port of its own behind your proxy: `PORT=8081 node shop.mjs`. None of them keeps
 * anything but the kit: products are its templates, orders are the provider's, what was given for them stands in the kit's ledger.
 * So a worker may be killed at any moment.
 *
 * What is particular to your shop comes from the environment: BOT_TOKEN, BOT_SECRET (of Telegram's requests to the bot), PROVIDER and
 * PROVIDER_SECRET, ADMINS (Telegram ids), STORE, BASE_URL (of subscriptions), PORT; TELEGRAM_API where it is not Telegram's own.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";

import { Bot, type Context, GrammyError, InputFile, webhookCallback } from "grammy";
import {
  type Admin,
  AlreadyExistsError,
  ClosedError,
  GiB,
  IdempotencyMismatchError,
  InvalidInputError,
  type Key,
  LimitReachedError,
  NotFoundError,
  PermissionDeniedError,
  type RenewPolicy,
  formatSize,
  open,
  qrPng,
} from "vpnkit";

const settings = process.env;
const ADMINS = new Set((settings.ADMINS ?? "").split(",").filter(Boolean).map(Number));
const { PROVIDER = "https://pay.example.com", TELEGRAM_API } = settings;

/** Without it anybody could write what they like. */
function needed(name: string): string {
  const value = settings[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
}

const [BOT_TOKEN, BOT_SECRET, PROVIDER_SECRET] = [needed("BOT_TOKEN"), needed("BOT_SECRET"), needed("PROVIDER_SECRET")];

/** What is sold, and what a renewal does with what the customer still has. */
interface Plan {
  readonly days: number;
  readonly volume: number;
  readonly price: number;
  readonly policy: RenewPolicy;
}

const PLANS: ReadonlyMap<string, Plan> = new Map(Object.entries({
  month: { days: 30, volume: 50, price: 300, policy: "carryOver" },
  fresh: { days: 30, volume: 100, price: 500, policy: "reset" },
  days: { days: 7, volume: 10, price: 90, policy: "resetData" },
  volume: { days: 1, volume: 20, price: 100, policy: "resetTime" },
  year: { days: 365, volume: 600, price: 3000, policy: "remainingToTotal" },
}));

const kit = await open({ store: settings.STORE ?? "sqlite:shop.db" });
await kit.subscriptions.configure({ baseUrl: settings.BASE_URL ?? "https://vpn.example.com/s" });
for (const [name, { days, volume }] of PLANS) {
  await kit.templates.ensure({ name, days, dataLimit: GiB(volume) });
}
await kit.templates.ensure({ name: "trial", days: 3, dataLimit: GiB(2), onHold: true });

const bot = new Bot(BOT_TOKEN, TELEGRAM_API === undefined ? {} : { client: { apiRoot: TELEGRAM_API } });
const nameOf = (telegram: number): string => `tg-${telegram}`;
const isAdmin = (context: Context): boolean => ADMINS.has(context.from?.id ?? 0);
/** Elsewhere who writes may be many: a channel, an anonymous admin of a group. */
const customers = bot.chatType("private");

/** Gives what was paid for, once, however often and wherever it is called. */
async function deliver(telegram: number, template: string, payment: string): Promise<Key> {
  const [name, labels] = [nameOf(telegram), { telegram: String(telegram) }];
  try {
    return await kit.keys.create({ name, template, labels, idempotencyKey: payment });
  } catch (error) {
    if (!(error instanceof AlreadyExistsError || error instanceof IdempotencyMismatchError)) throw error;
    // A customer already, or this payment was a renewal when it came the first time.
    const policy = PLANS.get(template)?.policy ?? "carryOver";
    return kit.keys.extend(name, { template, policy }, { idempotencyKey: payment });
  }
}

async function sendKey(chat: number, key: Key, said: string): Promise<void> {
  const url = await kit.subscriptions.url(key);
  const left = key.remaining === null ? "no limit" : `${formatSize(key.remaining)} left`;
  const ends = key.expiresAt ? `until ${key.expiresAt.toISOString().slice(0, 10)}` : "from your first connection on";
  const caption = `${said}\n${left}, ${ends}\n${url}`;
  await bot.api.sendPhoto(chat, new InputFile(qrPng(url), "qr.png"), { caption });
}

async function ask(path: string, order: unknown): Promise<Response> {
  const [body, headers] = [JSON.stringify(order), { "Content-Type": "application/json" }];
  return fetch(`${PROVIDER}${path}`, { method: "POST", body, headers, signal: AbortSignal.timeout(10_000) });
}

customers.command("start", (context) => context.reply(`/trial, /buy ${[...PLANS.keys()].join(" | ")}, /status`));

customers.command("trial", async (context) => {
  const telegram = context.from.id;
  try {
    const labels = { telegram: String(telegram) };
    const idempotencyKey = `trial:${telegram}`;
    const key = await kit.keys.create({ name: nameOf(telegram), template: "trial", labels, idempotencyKey });
    await sendKey(context.chat.id, key, "Three days, from your first connection on.");
  } catch (error) {
    if (!(error instanceof AlreadyExistsError || error instanceof NotFoundError)) throw error;
    await context.reply("One trial for each customer.");
  }
});

customers.command("buy", async (context) => {
  const plan = PLANS.get(context.match);
  if (plan === undefined) {
    await context.reply(`One of: ${[...PLANS.keys()].join(", ")}`);
    return;
  }
  const answer = await ask("/invoices", { telegram: context.from.id, plan: context.match, amount: plan.price });
  if (!answer.ok) throw new Error(`the provider answers ${answer.status}`);
  const { url } = (await answer.json()) as { url: string };
  await context.reply(`Pay here: ${url}`);
});

customers.command("status", async (context) => {
  const key = await kit.keys.get(nameOf(context.from.id));
  if (key === null) await context.reply("Nothing yet: /trial or /buy");
  else await sendKey(context.chat.id, key, `Your key is ${key.status}.`);
});

const resellerName = (telegram: number): string => `r-${telegram}`;
const sold = ({ keys, keyLimit, sold, soldLimit }: Admin): string =>
  `${keys} of ${keyLimit ?? "any number of"} keys, ${formatSize(sold)} of ${soldLimit === null ? "any volume" : formatSize(soldLimit)} sold`;

/** `/sell NAME PLAN`: a key of a reseller's own customer. What he may sell, the kit knows. */
customers.command("sell", async (context) => {
  const admin = await kit.admins.get(resellerName(context.from.id));
  const [name = "", template = ""] = context.match.trim().split(/\s+/);
  if (admin === null || !PLANS.has(template)) {
    await context.reply("Resellers: /sell NAME PLAN");
    return;
  }
  try {
    const idempotencyKey = `sale:${context.msg.message_id}`;
    const key = await kit.asAdmin(admin).keys.create({ name, template, idempotencyKey });
    await sendKey(context.chat.id, key, `Sold to ${name}.`);
  } catch (error) {
    if (error instanceof LimitReachedError) {
      await context.reply(`No more of it for now (${error.context["quota"]}): ${sold(admin)}`);
    } else if (error instanceof AlreadyExistsError || error instanceof InvalidInputError || error instanceof PermissionDeniedError) {
      await context.reply(error.message);
    } else throw error;
  }
});

/** Telegram takes no longer message. */
const LONGEST = 4_096;

const support = customers.filter(isAdmin);

/** `/find LINK`: what a customer pastes, or `/find TELEGRAM_ID`. */
support.command("find", async (context) => {
  const asked = context.match.trim();
  const pasted = await kit.keys.lookup(asked, { revoked: true });
  const keys = pasted ? [pasted] : (await kit.keys.find({ labels: { telegram: asked } })).keys;
  const lines: string[] = [];
  for (const key of keys) {
    lines.push(`${key.name}: ${key.status}, ${formatSize(key.used)} used, until ${key.expiresAt?.toISOString() ?? "ever"}`);
    for (const { at, kind, detail, actor, reason, idempotencyKey } of await kit.keys.timeline(key, { limit: 20 })) {
      const who = [actor, reason, idempotencyKey].filter((one) => one !== null).join(", ");
      lines.push(`  ${at.toISOString().slice(0, 16)} ${kind} ${detail} ${who}`.trimEnd());
    }
  }
  await context.reply(lines.join("\n").slice(0, LONGEST) || "Nobody.");
});

/** `/disable TELEGRAM_ID WHY`. */
support.command("disable", async (context) => {
  const [telegram, ...why] = context.match.trim().split(/\s+/);
  const by = kit.actingAs(`telegram:${context.from.id}`, { reason: why.join(" ").slice(0, 200) });
  try {
    const key = await by.keys.disable(nameOf(Number(telegram)));
    await context.reply(`${key.name} is ${key.status}.`);
  } catch (error) {
    // A message that fails comes again.
    if (!(error instanceof NotFoundError)) throw error;
    await context.reply("Nobody.");
  }
});

/** `/reseller TELEGRAM_ID KEYS GIB`: takes a reseller on, or changes what one may sell. */
support.command("reseller", async (context) => {
  const words = context.match.trim().split(/\s+/);
  if (words.length !== 3 || !words.every((word) => /^\d{1,15}$/.test(word))) {
    await context.reply("/reseller TELEGRAM_ID KEYS GIB");
    return;
  }
  const [telegram, keyLimit, volume] = words.map(Number) as [number, number, number];
  const [name, limits] = [resellerName(telegram), { keyLimit, soldLimit: GiB(volume) }];
  let admin: Admin;
  try {
    admin = await kit.admins.create({ name, labels: { telegram: String(telegram) }, ...limits });
  } catch (error) {
    if (!(error instanceof AlreadyExistsError)) throw error;
    admin = await kit.admins.update(name, limits);
  }
  await context.reply(`${name}: ${sold(admin)}`);
});

support.command("refund", async (context) => {
  // Only asked for here: what follows comes from the provider, also when this worker dies now.
  const answer = await ask("/refunds", { payment: context.match });
  await context.reply(answer.ok ? "On its way." : "The provider knows no such payment.");
});

/** At most so much: who it is from is not known yet. */
const BODY_MAX = 64 * 1_024;

async function read(request: IncomingMessage): Promise<Buffer | null> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of request) {
    length += (part as Buffer).length;
    if (length > BODY_MAX) return null;
    parts.push(part as Buffer);
  }
  return Buffer.concat(parts);
}

/** The provider's callback. It comes again until it gets a 200. */
async function paid(request: IncomingMessage): Promise<number> {
  const body = await read(request);
  if (body === null) return 413;
  const signature = createHmac("sha256", PROVIDER_SECRET).update(body).digest();
  const given = Buffer.from(String(request.headers["x-signature"] ?? ""), "hex");
  if (given.length !== signature.length || !timingSafeEqual(given, signature)) return 403;
  const told = JSON.parse(body.toString()) as { payment: string; event: string; telegram: number; plan: string };
  const payment = `provider:${told.payment}`;
  // Also when it is a refund whose payment was not told yet: then it is given first.
  let key = await deliver(told.telegram, told.plan, payment);
  let said = "Thank you!";
  if (told.event === "refunded") {
    key = await kit.grants.undo(payment, { reason: "refunded", idempotencyKey: `refund:${payment}` });
    said = "Your money is on its way back.";
  }
  // Also the second time: a worker may have died here the first time, and the customer was told nothing.
  await sendKey(told.telegram, key, said);
  return 200;
}

await bot.init();

const REMINDERS = new Map<string, (detail: string) => string>([
  ["key.usage_reached", (detail) => `You have used ${detail} of your volume. More: /buy`],
  ["key.expires_soon", (detail) => `Your key ends in ${detail}. Renew it: /buy`],
  ["key.limited", () => "Your volume is used up. More: /buy"],
  ["key.expired", () => "Your key has ended. Renew it: /buy"],
]);

/** Tells customers what becomes of their keys. One of the workers does it, and when it dies another one goes on. */
async function remind(): Promise<void> {
  await using consumer = kit.events.consume("reminders");
  for await (const event of consumer) {
    const said = REMINDERS.get(event.kind);
    const key = said && "key" in event ? await kit.keys.get(event.key) : null;
    // Keys of resellers have none: their customers are not ours.
    const chat = key?.labels["telegram"];
    if (said === undefined || chat === undefined) continue;
    try {
      await bot.api.sendMessage(Number(chat), said(event.detail));
    } catch (error) {
      // A customer who has blocked the bot is told nothing.
      if (!(error instanceof GrammyError && (error.error_code === 403 || error.error_code === 400))) throw error;
    }
  }
}

let running = true;
async function keepReminding(): Promise<void> {
  while (running) {
    try {
      await remind();
      return;
    } catch (error) {
      // The event that it failed at comes again.
      if (!(error instanceof ClosedError)) console.error(error);
      await new Promise((resolve) => setTimeout(resolve, running ? 5_000 : 0));
    }
  }
}
void keepReminding();

// Handled before it is answered: a message that a worker dies with comes again.
const telegram = webhookCallback(bot, "http", { secretToken: BOT_SECRET, timeoutMilliseconds: 30_000 });

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method !== "POST") response.writeHead(404).end();
  else if (request.url === "/telegram") await telegram(request, response);
  else if (request.url === "/paid") response.writeHead(await paid(request)).end();
  else response.writeHead(404).end();
}

const server = createServer((request, response) => {
  answer(request, response).catch((error: unknown) => {
    console.error(error);
    if (!response.headersSent) response.writeHead(500).end();
  });
});
server.listen(Number(settings.PORT ?? "8080"), "127.0.0.1");
process.once("SIGTERM", () => {
  running = false;
  server.close(() => void kit.close());
});
