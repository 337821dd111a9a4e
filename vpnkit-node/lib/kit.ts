/** The kit. */
import { type CallOptions, Calls } from "./calls.js";
import { onlyOptions } from "./convert.js";
import { invalid, raised } from "./errors.js";
import type { NativeKit } from "./native.js";
import type { Admin } from "./records.js";
import { Admins, Events, Grants, HealthView, Hosts, Inbounds, Keys, KeyTemplates, Servers, StoreView, Subscriptions, TrafficView, Webhooks } from "./nouns.js";

interface Narrowed {
  readonly actor?: string | undefined;
  readonly reason?: string | undefined;
  readonly admin?: number | undefined;
  readonly scopes?: readonly string[] | undefined;
  readonly dryRun?: boolean;
}

/** The calls of an open kit: the kit itself, or what `actingAs`, `asAdmin` and `dryRun` return. It closes with the kit. */
export class KitView {
  readonly keys: Keys;
  readonly admins: Admins;
  readonly grants: Grants;
  readonly templates: KeyTemplates;
  readonly inbounds: Inbounds;
  readonly hosts: Hosts;
  readonly subscriptions: Subscriptions;
  readonly traffic: TrafficView;
  readonly events: Events;
  readonly webhooks: Webhooks;
  readonly store: StoreView;
  readonly health: HealthView;
  readonly servers: Servers;
  /** @internal */
  protected readonly calls: Calls;
  /** The kit itself: while it is used, nobody collects it. */
  readonly #of: KitView | undefined;

  /** @internal */
  constructor(native: NativeKit, of?: KitView) {
    this.#of = of;
    this.calls = new Calls(native);
    this.keys = new Keys(this.calls);
    this.admins = new Admins(this.calls);
    this.grants = new Grants(this.calls);
    this.templates = new KeyTemplates(this.calls);
    this.inbounds = new Inbounds(this.calls);
    this.hosts = new Hosts(this.calls);
    this.subscriptions = new Subscriptions(this.calls);
    this.traffic = new TrafficView(this.calls);
    this.events = new Events(this.calls);
    this.webhooks = new Webhooks(this.calls);
    this.store = new StoreView(this.calls);
    this.health = new HealthView(this.calls);
    this.servers = new Servers(this.calls);
    Object.defineProperty(this, "calls", { enumerable: false });
  }

  /**
   * The same kit for calls in somebody's name and for a reason, as events, grants and `keys.timeline` tell it:
   * `kit.actingAs("support:alice", { reason: "asked by phone" }).keys.disable("bob")`. It is not checked who that is.
   *
   * Throws `InvalidInputError` about `actor`, 1 to 255 visible characters, or `reason`, up to 500 characters on one line.
   */
  actingAs(actor: string, options: { readonly reason?: string | undefined } = {}): KitView {
    const operation = "actingAs";
    onlyOptions(operation, options, "reason");
    const { reason } = options;
    if (typeof actor !== "string") throw invalid(operation, "actor", "must be a text", '"support:alice"');
    if (reason !== undefined && typeof reason !== "string") throw invalid(operation, "reason", "must be a text");
    return this.#view({ actor, reason });
  }

  /**
   * The same kit for calls in the name of an admin: they do and see what that one may, as it stands at the time of each call.
   * Sudo may do everything, a reseller what is its own, within its quotas; what belongs to others is not there. With `scopes`, as
   * an API key has them, only what those cover: `*`, `*:read`, a noun such as `keys`, `keys:read`. Calls that are not allowed throw
   * `PermissionDeniedError`.
   *
   * Throws `InvalidInputError` about `admin` or `scopes`; `PermissionDeniedError` for a kit that makes calls in the name of an
   * admin already.
   */
  asAdmin(admin: number | Admin, options: { readonly scopes?: readonly string[] | null | undefined } = {}): KitView {
    const operation = "asAdmin";
    onlyOptions(operation, options, "scopes");
    const id = typeof admin === "object" && admin !== null ? admin.id : admin;
    if (!Number.isSafeInteger(id)) throw invalid(operation, "admin", "is no admin", "give the admin or its id");
    const scopes = options.scopes ?? undefined;
    if (scopes !== undefined && !(Array.isArray(scopes) && scopes.every((scope) => typeof scope === "string")))
      throw invalid(operation, "scopes", "must be a list of strings", '["keys:read"]');
    return this.#view({ admin: id, scopes });
  }

  /**
   * The same kit for changes that are only tried: each is checked and carried out like any other, answers what would be, and
   * leaves nothing behind. Ids, credentials and links of what would be new are those of nothing.
   *
   * Calls whose effect is on servers or other processes cannot be tried: they throw `UnsupportedError`. Those that read do so.
   */
  dryRun(): KitView {
    return this.#view({ dryRun: true });
  }

  #view({ actor, reason, admin, scopes, dryRun = false }: Narrowed): KitView {
    try {
      return new KitView(this.calls.native.view(actor, reason, admin, scopes, dryRun), this.#of ?? this);
    } catch (error) {
      throw raised(error);
    }
  }

  /** The time as vpnkit sees it: in a sandbox that of its own clock. Compute with it, not with the machine's. */
  async now(options?: CallOptions): Promise<Date> {
    return this.calls.call("now", {}, (text: string) => new Date(text), options);
  }

}

/** Keys, limits, traffic and servers in this process: what `open` resolves to. */
export class Kit extends KitView implements AsyncDisposable {
  #closing: Promise<void> | undefined;

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
