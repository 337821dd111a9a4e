// Compiled by `make test-node`, never run: what must be allowed and what must not.
import { type Event, type Key, type KeyEvent, GiB, Reality, VpnkitError, open } from "vpnkit";
import { openSandbox } from "vpnkit/testing";

export async function allowed(signal: AbortSignal): Promise<void> {
  await using kit = await open({ store: "memory:", collectEvery: { seconds: 5 }, keepEvents: "7 days" }, { signal });
  const key: Key = await kit.keys.create({ name: "a", dataLimit: GiB(1), expiresAt: new Date() }, { signal });
  await kit.keys.update({ uid: key.uid }, { dataLimit: (key.dataLimit ?? 0) + GiB(1), name: null }, { expectedVersion: 1 });
  for (const one of await kit.keys.createMany([{}, { days: 3 }], { idempotencyKey: "x" })) one.status satisfies string;
  for await (const event of kit.events.stream(0, { signal })) told(event);
  const security = Reality.generate("example.com:443", "example.com");
  await kit.inbounds.ensure({ tag: "a", port: 1, protocol: { type: "vless", vision: true }, security });
  const sandbox = await openSandbox();
  await sandbox.advance({ days: 31 });
}

function told(event: Event): string | number | null {
  switch (event.kind) {
    case "key.created":
    case "key.limited":
      return (event satisfies KeyEvent).key;
    case "inbound.changed":
      return event.inbound;
    case "server.down":
      return event.server;
    default:
      return event.detail;
  }
}

export async function forbidden(): Promise<void> {
  const kit = await open({ store: "memory:" });
  // @ts-expect-error a bigint
  await kit.keys.create({ dataLimit: 50n });
  // @ts-expect-error a bare number has no unit
  await kit.keys.create({ expiresIn: 30 });
  // @ts-expect-error misspelled
  await kit.keys.create({ datalimit: "50 GiB" });
  // @ts-expect-error a cursor is a number
  kit.events.stream("0");
  // @ts-expect-error vision is VLESS's
  await kit.inbounds.ensure({ tag: "a", port: 1, protocol: { type: "trojan", vision: true } });
  const key = await kit.keys.require(1);
  // @ts-expect-error frozen
  key.name = "b";
  try {
    await kit.close();
  } catch (error) {
    // @ts-expect-error there is no such code
    if (error instanceof VpnkitError && error.code === "no_such_code") throw error;
  }
}
