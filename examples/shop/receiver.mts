/**
 * A receiver of vpnkit's webhooks: looks who has sent them, and handles each event once.
 *
 * WEBHOOK_SECRET is what `kit.webhooks.create` has shown, STORE the file in which it is written down what was handled, PORT where it
 * listens. The requests are those of Standard Webhooks, for which there are libraries too.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, writeSync } from "node:fs";
import { createServer, type IncomingMessage } from "node:http";

import type { EventKind } from "vpnkit";

const { WEBHOOK_SECRET = "", STORE = "receiver.txt", PORT = "8090" } = process.env;
const SECRET = Buffer.from(WEBHOOK_SECRET.replace(/^whsec_/u, ""), "base64");
if (SECRET.length < 16) throw new Error("WEBHOOK_SECRET is not set");
/** Who has written down a request may send it again: not for long. */
const OLDEST = 300;
/** Events are small. */
const BODY_MAX = 64 * 1_024;

const handled = new Set(existsSync(STORE) ? readFileSync(STORE, "utf8").split("\n") : []);
const file = openSync(STORE, "a", 0o600);

interface Told {
  readonly type: EventKind | "webhook.ping";
  readonly timestamp: string;
  readonly data: { readonly kind: EventKind; readonly key: number | null; readonly detail: string };
}

function isSigned(headers: IncomingMessage["headers"], body: Buffer): boolean {
  const [id, sent, given] = ["id", "timestamp", "signature"].map((name) => String(headers[`webhook-${name}`] ?? "")) as [string, string, string];
  if (!/^\d+$/u.test(sent) || Math.abs(Date.now() / 1_000 - Number(sent)) > OLDEST) return false;
  const wanted = createHmac("sha256", SECRET).update(`${id}.${sent}.`).update(body).digest();
  // Several while a secret is changed for another one.
  return given.split(" ").some((one) => {
    const [version, text = ""] = one.split(",");
    const signature = Buffer.from(text, "base64");
    return version === "v1" && signature.length === wanted.length && timingSafeEqual(signature, wanted);
  });
}

/** What your application does with an event. */
function handle({ data }: Told): void {
  console.log(data.kind, data.key, data.detail);
}

async function answer(request: IncomingMessage): Promise<number> {
  if (request.method !== "POST" || request.url !== "/events") return 404;
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of request) {
    length += (part as Buffer).length;
    if (length > BODY_MAX) return 413;
    parts.push(part as Buffer);
  }
  const body = Buffer.concat(parts);
  if (!isSigned(request.headers, body)) return 401;
  const id = String(request.headers["webhook-id"]);
  // At least once is what is promised: what was handled is known by its id, also after a restart.
  if (handled.has(id)) return 204;
  const told = JSON.parse(body.toString()) as Told;
  if (told.type !== "webhook.ping") handle(told);
  writeSync(file, `${id}\n`);
  fsyncSync(file);
  handled.add(id);
  return 204;
}

const server = createServer((request, response) => {
  answer(request).then(
    (status) => response.writeHead(status).end(),
    (error: unknown) => {
      console.error(error);
      response.writeHead(500).end();
    },
  );
});
server.listen(Number(PORT), "127.0.0.1");
process.once("SIGTERM", () => server.close(() => closeSync(file)));
