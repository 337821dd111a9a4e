/** Subscriptions: how clients reach inbounds, what they are told, what they get. */
import type { CallOptions, Door } from "./calls.js";
import { type Key, type KeyJson, type KeyLike, keyOf, keyRef } from "./keys.js";
import { camel, deeply, renamed, snake } from "./names.js";
import { type Endpoint, endpointsOf } from "./records.js";
import { type Length, lengthText } from "./sizes.js";

const nothing = (): void => undefined;

/** A language that customers read. */
export type Language = "en" | "ru" | "fa" | "zh";

/**
 * How clients reach an inbound. What is left out is the inbound's own.
 *
 * Lists are choices: each key gets one of them, the same for a day. A `*` in `addresses`, `sni` and `host` becomes eight
 * random hexadecimal digits. Variables such as `{USERNAME}` are filled in in `remark`, `addresses` and `path`.
 */
export interface Host {
  /** What the client shows: 1 to 256 characters. */
  readonly remark: string;
  /** Names or IPs to dial; at least one. */
  readonly addresses: readonly string[];
  readonly port?: number | null | undefined;
  /** Names to ask for in TLS. */
  readonly sni?: readonly string[] | undefined;
  /** Values of the HTTP header `Host`. */
  readonly host?: readonly string[] | undefined;
  /** The HTTP path, or the gRPC service name. */
  readonly path?: string | null | undefined;
  /** What protects the connection: the inbound's own, unless a CDN stands before it. */
  readonly security?: "inbound_default" | "none" | "tls" | undefined;
  /** Of `h3`, `h2`, `http/1.1`. */
  readonly alpn?: readonly string[] | undefined;
  /** The browser to look like: `chrome`, `firefox`, `safari`, `randomized`, … */
  readonly fingerprint?: string | null | undefined;
  /** Any certificate will do. Anybody on the way can then read what passes, and Xray refuses it since 26.1.31. */
  readonly allowInsecure?: boolean | undefined;
  /** Several streams share a connection. Not with vision. */
  readonly mux?: boolean | undefined;
  /** `length,interval,packets`: `100-200,10-20,tlshello`. */
  readonly fragment?: string | null | undefined;
  /** `type:packet,delay`: `rand:10-20,10-16`. */
  readonly noises?: readonly string[] | undefined;
  readonly randomUserAgent?: boolean | undefined;
  /** The name asked for in TLS is the `Host` header too. */
  readonly sniAsHost?: boolean | undefined;
  /** Left out of subscriptions. */
  readonly disabled?: boolean | undefined;
}

/** The hosts of one inbound. */
export interface InboundHosts {
  readonly node: string;
  readonly tag: string;
  readonly hosts: readonly Required<Host>[];
}

/** What a client shows instead of servers: lines with variables. Without any: a text in the settings' language. */
export interface Notices {
  readonly limited?: readonly string[] | undefined;
  readonly expired?: readonly string[] | undefined;
  readonly disabled?: readonly string[] | undefined;
  /** On too many devices. */
  readonly devices?: readonly string[] | undefined;
  /** No inbound or host yet. */
  readonly empty?: readonly string[] | undefined;
}

/** Who names itself so gets this format. */
export interface ClientRule {
  /** What the `User-Agent` begins with, without regard to case. A `*` in front: what it contains. */
  readonly userAgent: string;
  /** `links`, `xray`, `clash-meta`, `sing-box`, …, or `template:NAME`. */
  readonly format: string;
}

/** What the operator says of all subscriptions. */
export interface SubscriptionSettings {
  /** Where subscriptions are served: a URL is this, `/` and the token. */
  readonly baseUrl?: string | null | undefined;
  /** The name that clients show; with variables. Default: `VPN`. */
  readonly title?: string | undefined;
  /** How often clients ask again. Default: 12. */
  readonly updateIntervalHours?: number | undefined;
  readonly supportUrl?: string | null | undefined;
  /** The service's own site. Default: the page of the subscription. */
  readonly webPageUrl?: string | null | undefined;
  /** A message that clients show, up to 200 characters; with variables. */
  readonly announce?: string | null | undefined;
  readonly announceUrl?: string | null | undefined;
  /** Routing rules of Happ: `happ://routing/onadd/…`. */
  readonly routing?: string | null | undefined;
  /** Of notices, of `{STATUS_TEXT}`, and of the page for browsers that ask for no known one. */
  readonly language?: Language | undefined;
  /** The time zone of dates: 210 is Tehran. */
  readonly utcOffsetMinutes?: number | undefined;
  readonly notices?: Notices | undefined;
  /** On how many devices a key without a limit of its own may be. */
  readonly deviceLimit?: number | null | undefined;
  /** A client that names no device gets nothing where there is a limit. */
  readonly requireDevice?: boolean | undefined;
  /** Come before what is known of clients. */
  readonly clients?: readonly ClientRule[] | undefined;
}

/** A format of the operator's own, in the language of Jinja. */
export interface SubscriptionTemplate {
  readonly contentType: string;
  readonly source: string;
}

interface ResponseJson {
  status: number;
  headers: Record<string, string>;
  body: string;
}

/**
 * What a subscription answers: any web framework can send it. Neither `console.log` nor JSON shows headers and body: they
 * hold the token and the customer's secrets.
 */
export class SubscriptionResponse {
  /** 200, 304 when the client has it already, 404 for a token that is not (or no longer) valid. */
  readonly status: number;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #body: string;

  /** @internal */
  constructor(json: ResponseJson) {
    this.status = json.status;
    this.#headers = json.headers;
    this.#body = json.body;
  }

  /** Names in lower case. */
  get headers(): Readonly<Record<string, string>> {
    return this.#headers;
  }

  get body(): string {
    return this.#body;
  }
}

const responseOf = (json: ResponseJson): SubscriptionResponse => new SubscriptionResponse(json);

/** For whom a subscription is rendered. Without `client` and `format`: links. */
export interface RenderOptions {
  /** The `User-Agent` of a client, or its beginning: `Happ/3`. */
  readonly client?: string | undefined;
  /** `links`, `plain`, `xray`, `clash`, `clash-meta`, `stash`, `sing-box`, `outline`, `wireguard`, `html`, `template:NAME`. */
  readonly format?: string | undefined;
  /** The language of the page. */
  readonly language?: Language | undefined;
}

/** Headers of a request: those of `node:http`, of Fetch, or pairs. */
export type RequestHeaders =
  | Readonly<Record<string, string | readonly string[] | undefined>>
  | Iterable<readonly [string, string]>;

/** A device that has fetched a key's subscription, as the client app names it. */
export interface ClientDevice {
  readonly key: number;
  /** `x-hwid`: unique for the key. */
  readonly id: string;
  readonly os: string | null;
  readonly osVersion: string | null;
  readonly model: string | null;
  readonly userAgent: string | null;
  readonly firstSeen: Date;
  /** To the hour. */
  readonly lastSeen: Date;
}

function pairs(headers: RequestHeaders): [string, string][] {
  const all = Symbol.iterator in headers ? [...(headers as Iterable<readonly [string, string]>)] : Object.entries(headers);
  const text = (value: unknown): string => (Array.isArray(value) ? value.join(", ") : String(value));
  return all.filter(([, value]) => value !== undefined).map(([name, value]) => [name, text(value)]);
}

/** How clients reach inbounds. An inbound without hosts is reached at its server's own address. */
export class Hosts {
  readonly #door: Door;

  /** @internal */
  constructor(door: Door) {
    this.#door = door;
  }

  /** The hosts of every inbound that has some, sorted by node and tag. */
  async list(options?: CallOptions): Promise<InboundHosts[]> {
    return this.#door.call("hosts.list", {}, (json: unknown) => deeply(json, camel) as InboundHosts[], options);
  }

  /**
   * Replaces all hosts of an inbound; none gives it back its server's own address. To keep an inbound out of
   * subscriptions, give it one host that is `disabled`.
   *
   * Rejects with NotFoundError for the inbound; InvalidInputError with the `field`, `hosts[1].port`.
   */
  async set(tag: string, hosts: readonly Host[], options: CallOptions & { readonly node?: string } = {}): Promise<void> {
    const args = { node: options.node ?? "main", tag, hosts: deeply(hosts, snake) };
    return this.#door.call("hosts.set", args, nothing, options);
  }

  /**
   * The endpoints that a key would have on an inbound with these hosts: variables filled in, choices made. Nothing is
   * stored.
   *
   * Rejects with NotFoundError for the key or the inbound; InvalidInputError with the `field`.
   */
  async preview(
    key: KeyLike,
    tag: string,
    hosts: readonly Host[],
    options: CallOptions & { readonly node?: string } = {},
  ): Promise<Endpoint[]> {
    const of = { key: keyRef("hosts.preview", key), node: options.node ?? "main", tag };
    return this.#door.call("hosts.preview", { ...of, hosts: deeply(hosts, snake) }, endpointsOf, options);
  }
}

/** URLs, answers for clients, settings, templates, devices. */
export class Subscriptions {
  readonly #door: Door;

  /** @internal */
  constructor(door: Door) {
    this.#door = door;
  }

  /** The settings. */
  async settings(options?: CallOptions): Promise<Required<SubscriptionSettings>> {
    const read = (json: unknown): Required<SubscriptionSettings> => deeply(json, camel) as Required<SubscriptionSettings>;
    return this.#door.call("subscriptions.settings", {}, read, options);
  }

  /**
   * Replaces the settings, for every process that uses this store; what is left out gets its default.
   *
   * Rejects with InvalidInputError and its `field`.
   */
  async configure(settings: SubscriptionSettings, options?: CallOptions): Promise<void> {
    return this.#door.call("subscriptions.configure", { settings: deeply(settings, snake) }, nothing, options);
  }

  /** The token of a key: 28 letters, the same until its links are revoked or the signing secret is rotated. */
  async token(key: KeyLike, options?: CallOptions): Promise<string> {
    return this.#door.call("subscriptions.token", { key: keyRef("subscriptions.token", key) }, String, options);
  }

  /** The URL of a key's subscription. Rejects with InvalidConfigError when the settings have no `baseUrl`. */
  async url(key: KeyLike, options?: CallOptions): Promise<string> {
    return this.#door.call("subscriptions.url", { key: keyRef("subscriptions.url", key) }, String, options);
  }

  /** A key's subscription as a client gets it. Rejects with NotFoundError for the key or a template. */
  async render(key: KeyLike, render: RenderOptions = {}, options?: CallOptions): Promise<SubscriptionResponse> {
    const { client = null, format = null, language = null } = render;
    const args = { key: keyRef("subscriptions.render", key), options: { client, format, language } };
    return this.#door.call("subscriptions.render", args, responseOf, options);
  }

  /**
   * The answer to an HTTP request for a subscription: send its `status`, `headers` and `body`. `headers` are the
   * request's; `format` is what stands after the token in the URL, if anything does.
   *
   * A token that is not valid, or no longer, is an answer with status 404.
   */
  async forRequest(
    token: string,
    headers: RequestHeaders,
    format?: string,
    options?: CallOptions,
  ): Promise<SubscriptionResponse> {
    const args = { token, headers: pairs(headers), format: format ?? null };
    return this.#door.call("subscriptions.for_request", args, responseOf, options);
  }

  /**
   * Makes every token and URL of the key that was given out worthless, at once. With `newCredentials` whoever has its
   * share links is out too.
   */
  async revoke(key: KeyLike, options: CallOptions & { readonly newCredentials?: boolean } = {}): Promise<Key> {
    const args = { key: keyRef("subscriptions.revoke", key), new_credentials: options.newCredentials ?? false };
    return this.#door.call<KeyJson, Key>("subscriptions.revoke", args, keyOf, options);
  }

  /**
   * A new secret signs from now on; tokens of those before are honoured for `keep` longer. `"0 s"` ends all of them at
   * once, as after a leak.
   */
  async rotateSecret(keep: Length, options?: CallOptions): Promise<void> {
    const args = { keep: lengthText("subscriptions.rotate_secret", "keep", keep) };
    return this.#door.call("subscriptions.rotate_secret", args, nothing, options);
  }

  /** The operator's templates, by name. */
  async templates(options?: CallOptions): Promise<Record<string, SubscriptionTemplate>> {
    const read = (json: Record<string, object>): Record<string, SubscriptionTemplate> =>
      Object.fromEntries(
        Object.entries(json).map(([name, one]) => [name, renamed(one, camel) as unknown as SubscriptionTemplate]),
      );
    return this.#door.call("subscriptions.templates", {}, read, options);
  }

  /**
   * Adds a template, or replaces the one of its name (1 to 32 of `a-z 0-9 _ -`). It is checked first.
   *
   * Rejects with InvalidInputError about `name`, `content_type` or `source`, with the `line` in the context.
   */
  async putTemplate(name: string, template: SubscriptionTemplate, options?: CallOptions): Promise<void> {
    return this.#door.call("subscriptions.put_template", { name, template: renamed(template, snake) }, nothing, options);
  }

  /** Removes a template. Rejects with NotFoundError; ConflictError while a rule of the settings uses it. */
  async removeTemplate(name: string, options?: CallOptions): Promise<void> {
    return this.#door.call("subscriptions.remove_template", { name }, nothing, options);
  }

  /** The devices that have fetched a key's subscription, the one that came first first. */
  async devices(key: KeyLike, options?: CallOptions): Promise<ClientDevice[]> {
    const read = (json: (Record<string, unknown> & { first_seen: string; last_seen: string })[]): ClientDevice[] =>
      json.map(({ first_seen, last_seen, ...rest }) => {
        const seen = { firstSeen: new Date(first_seen), lastSeen: new Date(last_seen) };
        return { ...renamed(rest, camel), ...seen } as ClientDevice;
      });
    return this.#door.call("subscriptions.devices", { key: keyRef("subscriptions.devices", key) }, read, options);
  }

  /** Forgets a device of a key, or with `null` all of them: there is room for another one. Rejects with NotFoundError. */
  async forgetDevice(key: KeyLike, id: string | null, options?: CallOptions): Promise<void> {
    return this.#door.call("subscriptions.forget_device", { key: keyRef("subscriptions.forget_device", key), id }, nothing, options);
  }
}
