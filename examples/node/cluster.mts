/**
 * A shop's API in as many workers as you like: `node cluster.mjs`, or PM2 with `exec_mode: "cluster"`. Each worker opens vpnkit with
 * the same arguments; one of them drives the server, and when it ends the next one does.
 *
 * What is particular to your server comes from the environment: VPN_DIRECTORY, VPN_ADDRESS, VPN_PORT, VPN_SITE, XRAY, PORT, WORKERS.
 */
import cluster from "node:cluster";
import { createServer } from "node:http";
import process from "node:process";

import { open, Reality } from "vpnkit";

const { VPN_DIRECTORY: directory = "/var/lib/vpnkit", VPN_SITE: site = "www.example.com:443", WORKERS = "2" } = process.env;

async function work(): Promise<void> {
  const kit = await open({
    store: `sqlite:${directory}/keys.db`,
    servers: [
      {
        type: "managedXray",
        address: process.env["VPN_ADDRESS"] ?? "vpn.example.com",
        directory: `${directory}/xray`,
        binary: process.env["XRAY"] ?? "xray",
        keepRunning: true,
      },
    ],
  });
  await kit.inbounds.ensure({
    tag: "reality",
    port: Number(process.env["VPN_PORT"] ?? "443"),
    protocol: { type: "vless", vision: true },
    security: new Reality({ dest: site, serverNames: [site.split(":")[0] ?? site] }),
  });

  const answer = async (path: string): Promise<unknown> => {
    const { pathname, searchParams } = new URL(path, "http://shop");
    const [, name = "", verb = "create"] = /^\/keys\/(\w+)(?:\/(\w+))?$/.exec(pathname) ?? [];
    switch (verb) {
      case "create":
        // The same name twice is one key, in whichever worker it arrives.
        return { id: (await kit.keys.create({ name, days: 30, idempotencyKey: name })).id };
      case "renew":
        // However often the provider says it, and in whichever worker, it is one month.
        return { id: (await kit.keys.extend(name, { days: 30 }, { idempotencyKey: searchParams.get("payment") })).id };
      case "disable":
        return { id: (await kit.keys.disable(name)).id };
      case "enable":
        return { id: (await kit.keys.enable(name)).id };
      default:
        return undefined;
    }
  };
  const server = createServer((request, response) => {
    // Changes only by POST: a page that is looked at in advance must not sell.
    const asked = request.method === "POST" ? answer(request.url ?? "") : Promise.resolve(undefined);
    asked.then(
      (body) => response.writeHead(body === undefined ? 404 : 200).end(JSON.stringify(body)),
      (error: unknown) => response.writeHead(409).end(JSON.stringify(error)),
    );
  });
  server.listen(Number(process.env["PORT"] ?? "8080"), "127.0.0.1");
  process.once("SIGTERM", () => {
    server.close();
    void kit.close().then(() => process.exit(0));
  });
}

if (cluster.isPrimary && WORKERS !== "0") {
  for (let i = 0; i < Number(WORKERS); i++) cluster.fork();
  // One that dies is replaced; the others go on, and one of them drives the server.
  cluster.on("exit", (worker) => {
    if (!worker.exitedAfterDisconnect) cluster.fork();
  });
  process.once("SIGTERM", () => cluster.disconnect(() => process.exit(0)));
} else {
  await work();
}
