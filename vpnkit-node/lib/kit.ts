/** The kit. */
import { type CallOptions, Calls } from "./calls.js";
import type { NativeKit } from "./native.js";
import { Events, Grants, Hosts, Inbounds, Keys, Servers, Subscriptions, TrafficView } from "./nouns.js";

/** Keys, limits, traffic and servers in this process: what `open` resolves to. */
export class Kit implements AsyncDisposable {
  readonly keys: Keys;
  readonly grants: Grants;
  readonly inbounds: Inbounds;
  readonly hosts: Hosts;
  readonly subscriptions: Subscriptions;
  readonly traffic: TrafficView;
  readonly events: Events;
  readonly servers: Servers;
  /** @internal */
  protected readonly calls: Calls;
  #closing: Promise<void> | undefined;

  /** @internal */
  constructor(native: NativeKit) {
    this.calls = new Calls(native);
    this.keys = new Keys(this.calls);
    this.grants = new Grants(this.calls);
    this.inbounds = new Inbounds(this.calls);
    this.hosts = new Hosts(this.calls);
    this.subscriptions = new Subscriptions(this.calls);
    this.traffic = new TrafficView(this.calls);
    this.events = new Events(this.calls);
    this.servers = new Servers(this.calls);
    Object.defineProperty(this, "calls", { enumerable: false });
  }

  /** The time as vpnkit sees it: in a sandbox that of its own clock. Compute with it, not with the machine's. */
  async now(options?: CallOptions): Promise<Date> {
    return this.calls.call("now", {}, (text: string) => new Date(text), options);
  }

  /**
   * Does at once what background work does in its intervals: reads the counters, ends keys whose time is over, and waits
   * until servers have taken the changes over. For tests and scripts.
   */
  async tick(options?: CallOptions): Promise<void> {
    return this.calls.call("tick", {}, () => undefined, options);
  }

  /** Reads the counters a last time, stops managed servers, releases the store. A second time does nothing more. */
  close(): Promise<void> {
    this.#closing ??= this.calls.close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
