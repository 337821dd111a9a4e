/** The kit and its nouns. */
import { type CallOptions, Door } from "./calls.js";
import { attempt, invalid } from "./errors.js";
import { type Inbound, type InboundJson, inboundJson, inboundOf } from "./inbounds.js";
import {
  type CreateKey,
  type Key,
  KeyBatch,
  type KeyJson,
  type KeyLike,
  type KeyPatch,
  type KeyQuery,
  Page,
  createJson,
  keyId,
  keyOf,
  keyRef,
  patchJson,
  queryJson,
} from "./keys.js";
import type { NativeKit } from "./native.js";
import {
  type Collected,
  type Endpoint,
  type EventBatch,
  type OnlineKey,
  type ServerStatus,
  type UsagePoint,
  batchOf,
  collectedOf,
  endpointsOf,
  onlineOf,
  pointsOf,
  serversOf,
} from "./records.js";
import { momentText } from "./sizes.js";
import { EventStream } from "./stream.js";
import { Hosts, Subscriptions } from "./subscriptions.js";

const nothing = (): void => undefined;
const same = <T>(json: T): T => json;
const maybe = <J, T>(read: (json: J) => T) => (json: J | null): T | null => (json === null ? null : read(json));

/**
 * Creates, finds, changes and deletes keys. Every change is committed before a server hears of it; a server that is down
 * delays a key, it never loses one.
 */
export class Keys {
  readonly #door: Door;

  /** @internal */
  constructor(door: Door) {
    this.#door = door;
  }

  /**
   * Creates a key with its credentials. Resolves once it is committed and the servers have it, or have had two seconds
   * for it.
   *
   * Rejects with InvalidInputError and its `field`; NotFoundError for an inbound that does not exist; AlreadyExistsError
   * when the name is taken.
   */
  async create(request: CreateKey = {}, options?: CallOptions): Promise<Key> {
    return this.#door.call("keys.create", { request: createJson("keys.create", request) }, keyOf, options);
  }

  /**
   * Creates many keys in one transaction: all of them or none. The result has the order of the requests.
   *
   * Rejects as `create`, with the `index` of the request that is at fault in the context. Idempotency keys of the single
   * requests are refused; give the whole batch one.
   */
  async createMany(
    requests: Iterable<CreateKey>,
    options: CallOptions & { readonly idempotencyKey?: string } = {},
  ): Promise<KeyBatch> {
    const given: unknown[] = [];
    for (const request of requests) given.push(createJson("keys.create_many", request));
    const args = JSON.stringify({ requests: given, idempotency_key: options.idempotencyKey ?? null });
    return new KeyBatch(await this.#door.createMany(args, options));
  }

  /** The key, or `null`. */
  async get(key: KeyLike, options?: CallOptions): Promise<Key | null> {
    return this.#door.call("keys.get", { key: keyRef("keys.get", key) }, maybe<KeyJson, Key>(keyOf), options);
  }

  /** The key. Rejects with NotFoundError. */
  async require(key: KeyLike, options?: CallOptions): Promise<Key> {
    return this.#one("keys.require", key, options);
  }

  /** A page of keys. */
  async find(query: KeyQuery = {}, options?: CallOptions): Promise<Page> {
    const read = (json: ConstructorParameters<typeof Page>[0]): Page => new Page(json);
    return this.#door.call("keys.find", { query: queryJson(query) }, read, options);
  }

  /** All keys that `find` finds, over all pages; `limit` is the size of a page. */
  async *iterate(query: KeyQuery = {}, options?: CallOptions): AsyncGenerator<Key, void, undefined> {
    let page = query.page ?? null;
    do {
      const found: Page = await this.find({ limit: 1_000, ...query, page }, options);
      yield* found.keys;
      page = found.next;
    } while (page !== null);
  }

  /**
   * Changes what is given and keeps the rest. With `expectedVersion` the key is changed only if nobody changed it since.
   *
   * Rejects with NotFoundError, ConflictError, InvalidInputError, AlreadyExistsError (name).
   */
  async update(
    key: KeyLike,
    patch: KeyPatch,
    options: CallOptions & { readonly expectedVersion?: number } = {},
  ): Promise<Key> {
    const expected_version = options.expectedVersion ?? null;
    const args = { key: keyRef("keys.update", key), patch: patchJson(patch), expected_version };
    return this.#door.call("keys.update", args, keyOf, options);
  }

  /** Lets a key that was disabled connect again, unless its time or limit is over. */
  async enable(key: KeyLike, options?: CallOptions): Promise<Key> {
    return this.#one("keys.enable", key, options);
  }

  /** Switches a key off by hand. */
  async disable(key: KeyLike, options?: CallOptions): Promise<Key> {
    return this.#one("keys.disable", key, options);
  }

  /** Sets what counts against the limit to nothing; the key's total traffic stays. */
  async resetUsage(key: KeyLike, options?: CallOptions): Promise<Key> {
    return this.#one("keys.reset_usage", key, options);
  }

  /**
   * Deletes a key, its credentials and the inbounds that are dedicated to it. Its id is never used again.
   *
   * Rejects with NotFoundError, ConflictError.
   */
  async delete(key: KeyLike, options: CallOptions & { readonly expectedVersion?: number } = {}): Promise<void> {
    const args = { key: keyRef("keys.delete", key), expected_version: options.expectedVersion ?? null };
    return this.#door.call("keys.delete", args, nothing, options);
  }

  /**
   * Deletes these keys in one transaction, all of them or none; resolves to how many.
   *
   * Rejects with NotFoundError and the first key that does not exist.
   */
  async deleteMany(keys: Iterable<number | Key>, options?: CallOptions): Promise<number> {
    const ids = Array.from(keys, (key) => keyId("keys.delete_many", "ids", key));
    return this.#door.call("keys.delete_many", { ids }, same<number>, options);
  }

  /**
   * Everything a client needs to connect with this key. A key that may not connect has the same endpoints; they just do
   * not work.
   */
  async endpoints(key: KeyLike, options?: CallOptions): Promise<Endpoint[]> {
    return this.#door.call("keys.endpoints", { key: keyRef("keys.endpoints", key) }, endpointsOf, options);
  }

  /** Share links, one for each endpoint. They contain secrets. */
  async links(key: KeyLike, options?: CallOptions): Promise<string[]> {
    return this.#door.call("keys.links", { key: keyRef("keys.links", key) }, same<string[]>, options);
  }

  async #one(operation: string, key: KeyLike, options?: CallOptions): Promise<Key> {
    return this.#door.call(operation, { key: keyRef(operation, key) }, keyOf, options);
  }
}

/** Adds, changes and removes inbounds. */
export class Inbounds {
  readonly #door: Door;

  /** @internal */
  constructor(door: Door) {
    this.#door = door;
  }

  /**
   * Makes sure that the inbound exists as described: adds it, replaces the one of its tag, or does nothing. Keys that lack
   * a credential for it get one.
   *
   * Rejects with InvalidInputError for what the server program does not allow; AlreadyExistsError when another inbound has
   * the port; PortInUseError and RejectedError when the server refuses it, and then nothing is changed. When the server
   * does not answer, the inbound is committed and comes with the next reconcile.
   */
  async ensure(inbound: Inbound, options?: CallOptions): Promise<Inbound> {
    return this.#door.call("inbounds.ensure", { inbound: inboundJson(inbound) }, inboundOf, options);
  }

  /** All inbounds, sorted by node and tag. */
  async list(options?: CallOptions): Promise<Inbound[]> {
    return this.#door.call("inbounds.list", {}, (json: InboundJson[]) => json.map(inboundOf), options);
  }

  /** The inbound, or `null`. */
  async get(tag: string, options: CallOptions & { readonly node?: string } = {}): Promise<Inbound | null> {
    const args = { node: options.node ?? "main", tag };
    return this.#door.call("inbounds.get", args, maybe<InboundJson, Inbound>(inboundOf), options);
  }

  /** Removes an inbound. Keys that were on it stay; nobody connects to it any more. Rejects with NotFoundError. */
  async remove(tag: string, options: CallOptions & { readonly node?: string } = {}): Promise<void> {
    return this.#door.call("inbounds.remove", { node: options.node ?? "main", tag }, nothing, options);
  }
}

/** Which traffic to sum. */
export interface HistoryQuery {
  /** Only of this key; without it of all. */
  readonly key?: KeyLike | undefined;
  /** Only through this node; without it through all. */
  readonly node?: string | undefined;
  /** From the hour of this time on; without it from the beginning. */
  readonly since?: Date | undefined;
  /** Up to this time, exclusive; without it up to now. */
  readonly until?: Date | undefined;
  /** The width of a point. Default: a day. */
  readonly step?: "hour" | "day" | undefined;
}

/** What a chart looks like. */
export interface UsageChart {
  /** How many days. Default: 30. */
  readonly days?: number | undefined;
  readonly theme?: "light" | "dark" | undefined;
  readonly format?: "png" | "svg" | undefined;
  /** Pixels across. Default: 1,080. */
  readonly width?: number | undefined;
}

/** History and who is online. */
export class TrafficView {
  readonly #door: Door;

  /** @internal */
  constructor(door: Door) {
    this.#door = door;
  }

  /** Traffic over time, oldest first; steps without traffic are left out. */
  async history(query: HistoryQuery = {}, options?: CallOptions): Promise<UsagePoint[]> {
    const operation = "traffic.history";
    const time = (field: "since" | "until"): string | null =>
      query[field] === undefined ? null : momentText(operation, field, query[field]);
    const args = {
      key: query.key === undefined ? null : keyRef(operation, query.key),
      node: query.node ?? null,
      since: time("since"),
      until: time("until"),
      step: query.step ?? "day",
    };
    return this.#door.call(operation, { query: args }, pointsOf, options);
  }

  /**
   * A chart of a key's traffic over the last `days` (1 to 366, today included), for bots to send. `width` is in pixels, 200
   * to 4,096.
   *
   * Rejects with NotFoundError; InvalidInputError about `days` or `width`.
   */
  async chart(key: KeyLike, chart: UsageChart = {}, options?: CallOptions): Promise<Buffer> {
    const { days = 30, theme = "light", format = "png", width = 1_080 } = chart;
    const args = { key: keyRef("traffic.chart", key), days, theme, format, width };
    return this.#door.call("traffic.chart", args, (text: string) => Buffer.from(text, "base64"), options);
  }

  /** Reads every server that answers now, instead of at the next interval. */
  async collect(options?: CallOptions): Promise<Collected[]> {
    return this.#door.call("traffic.collect", {}, collectedOf, options);
  }

  /** Keys with open connections on any server that answers, sorted by id. */
  async online(options?: CallOptions): Promise<OnlineKey[]> {
    const read = (json: Parameters<typeof onlineOf>[0][]): OnlineKey[] => json.map(onlineOf);
    return this.#door.call("traffic.online", {}, read, options);
  }

  /** Where one key is online from; `null` when it is not. Rejects with NotFoundError. */
  async onlineKey(key: KeyLike, options?: CallOptions): Promise<OnlineKey | null> {
    const args = { key: keyRef("traffic.online_key", key) };
    return this.#door.call("traffic.online_key", args, maybe(onlineOf), options);
  }
}

/** Reads the outbox: everything that was committed, in order, also what happened while nobody listened. */
export class Events {
  readonly #door: Door;

  /** @internal */
  constructor(door: Door) {
    this.#door = door;
  }

  /** At most `max` events after a cursor; does not wait. Rejects with CursorExpiredError when some are no longer kept. */
  async read(after: number, max = 1_000, options?: CallOptions): Promise<EventBatch> {
    return this.#door.call("events.read", { after, max }, batchOf, options);
  }

  /** The cursor of the newest event: from here on only what happens next. */
  async newest(options?: CallOptions): Promise<number> {
    return this.#door.call("events.newest", {}, same<number>, options);
  }

  /**
   * Everything after a cursor (0: from the beginning), then whatever comes. Keep the cursor of the last event that you
   * handled, and go on from there.
   */
  stream(after = 0, options: CallOptions = {}): EventStream {
    if (!Number.isSafeInteger(after)) throw invalid("events.stream", "after", "is no cursor", "give the `cursor` of an event");
    return new EventStream(attempt(() => this.#door.native.events(after)), options);
  }
}

/** Status, log and reconcile of servers. */
export class Servers {
  readonly #door: Door;

  /** @internal */
  constructor(door: Door) {
    this.#door = door;
  }

  /** How every server does. */
  async status(options?: CallOptions): Promise<ServerStatus[]> {
    return this.#door.call("servers.status", {}, serversOf, options);
  }

  /**
   * Compares a server with the store now and applies the difference; resolves to how many steps that took.
   *
   * Rejects with NotFoundError; UnavailableError when it does not answer; RejectedError when it refuses some of it.
   */
  async reconcile(id: string, options?: CallOptions): Promise<number> {
    return this.#door.call("servers.reconcile", { id }, same<number>, options);
  }

  /** The newest lines of a managed server's log, oldest first. */
  async log(id: string, lines = 100, options?: CallOptions): Promise<string[]> {
    return this.#door.call("servers.log", { id, lines }, same<string[]>, options);
  }
}

/** Keys, limits, traffic and servers in this process: what `open` resolves to. */
export class Kit implements AsyncDisposable {
  readonly keys: Keys;
  readonly inbounds: Inbounds;
  readonly hosts: Hosts;
  readonly subscriptions: Subscriptions;
  readonly traffic: TrafficView;
  readonly events: Events;
  readonly servers: Servers;
  /** @internal */
  protected readonly door: Door;
  #closing: Promise<void> | undefined;

  /** @internal */
  constructor(native: NativeKit) {
    this.door = new Door(native);
    this.keys = new Keys(this.door);
    this.inbounds = new Inbounds(this.door);
    this.hosts = new Hosts(this.door);
    this.subscriptions = new Subscriptions(this.door);
    this.traffic = new TrafficView(this.door);
    this.events = new Events(this.door);
    this.servers = new Servers(this.door);
    Object.defineProperty(this, "door", { enumerable: false });
  }

  /** The time as vpnkit sees it: in a sandbox that of its own clock. Compute with it, not with the machine's. */
  async now(options?: CallOptions): Promise<Date> {
    return this.door.call("now", {}, (text: string) => new Date(text), options);
  }

  /**
   * Does at once what background work does in its intervals: reads the counters, ends keys whose time is over, and waits
   * until servers have taken the changes over. For tests and scripts.
   */
  async tick(options?: CallOptions): Promise<void> {
    return this.door.call("tick", {}, nothing, options);
  }

  /** Reads the counters a last time, stops managed servers, releases the store. A second time does nothing more. */
  close(): Promise<void> {
    this.#closing ??= this.door.close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
