/** For tests of what you build on vpnkit: a kit with a clock that you move and a server that does as you say. */
import { type CallOptions } from "./calls.js";
import type { Json } from "./convert.js";
import { type KeyLike, keyRef } from "./key_like.js";
import type { Config } from "./config.js";
import { Kit } from "./kit.js";
import { opened } from "./opening.js";
import { type Length, type Size, lengthMillis, timeText, sizeText } from "./sizes.js";

const nothing = (): void => undefined;

/** A kit for tests: time stands still until it is moved, and a fake server does as it is told. */
export class Sandbox extends Kit {
  /** Moves time forward and does what is due then. */
  async advance(by: Length): Promise<void> {
    const millis = lengthMillis("sandbox", "by", by);
    await this.setTime(new Date((await this.now()).getTime() + millis));
    await this.tick();
  }

  /** Moves time, backwards too, and does nothing else. */
  async setTime(to: Date): Promise<void> {
    return this.#step({ step: "set", to: timeText("sandbox", "to", to) }, nothing);
  }

  /** Bytes pass for a key on the server; they are counted at the next `tick`. */
  async passTraffic(key: KeyLike, bytes: { readonly up?: Size; readonly down?: Size }): Promise<void> {
    const size = (way: "up" | "down"): string => sizeText("sandbox", way, bytes[way] ?? 0);
    return this.#step({ step: "pass", key: keyRef("sandbox", "key", key), up: size("up"), down: size("down") }, nothing);
  }

  /** A key has connections open from these addresses, or none. */
  async setOnline(key: KeyLike, from: readonly string[]): Promise<void> {
    return this.#step({ step: "online", key: keyRef("sandbox", "key", key), from }, nothing);
  }

  /** Whether a client with this key could connect on an inbound. */
  async letsIn(key: KeyLike, tag: string): Promise<boolean> {
    return this.#step({ step: "lets_in", key: keyRef("sandbox", "key", key), tag }, (yes: boolean) => yes);
  }

  /** The server stops answering. */
  async fail(): Promise<void> {
    return this.#step({ step: "fail" }, nothing);
  }

  /** The server refuses this key. */
  async refuse(key: KeyLike): Promise<void> {
    return this.#step({ step: "refuse", key: keyRef("sandbox", "key", key) }, nothing);
  }

  /** Nothing goes wrong any more, and the server has caught up. */
  async heal(): Promise<void> {
    return this.#step({ step: "heal" }, nothing);
  }

  /** The server is restarted: its counters begin at nothing. */
  async restart(): Promise<void> {
    return this.#step({ step: "restart" }, nothing);
  }

  #step<T>(step: Record<string, unknown>, read: (json: Json) => T): Promise<T> {
    return this.calls.call("sandbox", step, read);
  }
}

/** Opens a sandbox. Nothing happens by itself: call `tick` or `advance`. */
export async function openSandbox(
  store = "memory:",
  { timeZone, sharing, ...options }: CallOptions & Pick<Config, "timeZone" | "sharing"> = {},
): Promise<Sandbox> {
  const config = { store, background: false, ...(timeZone !== undefined && { timeZone }), ...(sharing !== undefined && { sharing }) };
  return new Sandbox(await opened(config, true, options));
}
