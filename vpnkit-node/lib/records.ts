/** What calls return, keys and inbounds aside. */
import { type Transport, transportOf } from "./inbounds.js";
import { type Traffic, type TrafficJson, trafficOf } from "./keys.js";
import { camel, renamed } from "./names.js";
import { native } from "./native.js";

/** What happened. */
export type EventKind =
  | "key.created"
  | "key.updated"
  | "key.deleted"
  | "key.activated"
  | "key.disabled"
  | "key.limited"
  | "key.expired"
  | "inbound.changed"
  | "inbound.removed"
  | "server.up"
  | "server.down"
  | "server.restarted"
  | "key.rejected";

type Of<Noun extends string> = Extract<EventKind, `${Noun}.${string}`>;

interface Happened {
  /** Its place in the stream: keep the one of the last event that you handled. */
  readonly cursor: number;
  /** When it was committed. */
  readonly at: Date;
  /** A short text for people; may be empty. Never a secret. */
  readonly detail: string;
}

/** Something happened to a key; its identities are kept for when it is gone. */
export interface KeyEvent extends Happened {
  readonly kind: Of<"key">;
  /** Its id. */
  readonly key: number;
  readonly keyUid: string;
}

/** Something happened to an inbound. */
export interface InboundEvent extends Happened {
  readonly kind: Of<"inbound">;
  /** Its tag. */
  readonly inbound: string;
}

/** Something happened to a server. */
export interface ServerEvent extends Happened {
  readonly kind: Of<"server">;
  /** Its id. */
  readonly server: string;
}

/** One entry of the outbox; `kind` tells which. */
export type Event = KeyEvent | InboundEvent | ServerEvent;

/** Events after a cursor, oldest first. */
export interface EventBatch {
  readonly events: readonly Event[];
  /** Where to go on. */
  readonly next: number;
}

/** What passed in one hour or day. Steps without traffic are left out. */
export interface UsagePoint {
  /** Start of the step. */
  readonly at: Date;
  readonly traffic: Traffic;
}

/** What one reading of a server's counters added. */
export interface Collected {
  /** Keys whose traffic was updated. */
  readonly keysUpdated: number;
  readonly traffic: Traffic;
  /** Keys that reached their limit. */
  readonly limited: number;
  /** Counters that somebody else reset: their first bytes after that may be lost. */
  readonly counterResets: number;
}

/** A key that has connections open. */
export interface OnlineKey {
  /** Its id. */
  readonly key: number;
  /** From where, and when that address opened its newest connection. */
  readonly addresses: readonly { readonly address: string; readonly since: Date }[];
}

/** What a server can do. */
export interface Capabilities {
  /** Accounts come and go without a restart. */
  readonly liveAccounts: boolean;
  /** Inbounds come and go without a restart. */
  readonly liveInbounds: boolean;
  /** Counters follow open connections; otherwise some bytes appear only when a connection ends. */
  readonly liveCounters: boolean;
  /** Open connections of a key that may no longer connect are cut; otherwise they run to their end. */
  readonly cutLive: boolean;
  /** Says which addresses a key is online from. */
  readonly onlineAddresses: boolean;
  /** vpnkit starts, restarts and stops the server. */
  readonly managed: boolean;
}

/** How a server does. */
export interface ServerStatus {
  /** `node/program`. */
  readonly id: string;
  readonly node: string;
  readonly state: "stopped" | "up" | "down";
  /** Why it is down, in one line. */
  readonly reason: string | null;
  /** How many of its lifetimes were seen, when it answers: grows with each restart that was noticed. */
  readonly lifetime: number | null;
  readonly capabilities: Capabilities;
  /** The program's version, when it answers. */
  readonly version: string | null;
  readonly uptimeSeconds: number | null;
  /** Keys and inbounds that it has not taken over yet. */
  readonly pending: number;
}

/** What protects an endpoint, as the client needs it. */
export type ClientSecurity =
  | { readonly type: "none" }
  | {
      readonly type: "tls";
      readonly sni: string;
      readonly alpn: readonly string[];
      readonly fingerprint: string;
      readonly pinnedSha256: string | null;
      readonly allowInsecure: boolean;
    }
  | {
      readonly type: "reality";
      readonly sni: string;
      readonly publicKey: string;
      readonly shortId: string;
      readonly fingerprint: string;
    };

/** Credential, inbound and host, resolved. Neither `console.log` nor JSON shows the secret and the link. */
export class Endpoint {
  readonly key: number;
  readonly inbound: string;
  /** What the client shows. */
  readonly remark: string;
  /** Name or IP to dial. */
  readonly address: string;
  /** Port to dial. */
  readonly port: number;
  readonly protocol: "vless" | "vmess" | "trojan" | "shadowsocks" | "hysteria2" | "wireguard";
  readonly transport: Transport;
  readonly security: ClientSecurity;
  /** Whether several streams share a connection. */
  readonly mux: boolean;
  /** How the first packets are cut into pieces. */
  readonly fragment: string | null;
  /** What is sent before the first packet of UDP. */
  readonly noises: readonly string[];
  /** What HTTP transports name as their user agent. */
  readonly userAgent: string | null;
  readonly #secret: string;
  readonly #link: string;

  /** @internal */
  constructor(json: EndpointJson) {
    this.key = json.key;
    this.inbound = json.inbound;
    this.remark = json.remark;
    this.address = json.address;
    this.port = json.port;
    this.protocol = json.protocol;
    this.transport = transportOf(json.transport);
    this.security = renamed(json.security, camel) as unknown as ClientSecurity;
    this.mux = json.mux;
    this.fragment = json.fragment;
    this.noises = json.noises;
    this.userAgent = json.user_agent;
    this.#secret = json.secret;
    this.#link = json.link;
  }

  get secret(): string {
    return this.#secret;
  }

  /** The share link. It contains the secret. */
  get link(): string {
    return this.#link;
  }
}

interface EndpointJson {
  key: number;
  inbound: string;
  remark: string;
  address: string;
  port: number;
  protocol: Endpoint["protocol"];
  transport: Record<string, unknown>;
  security: Record<string, unknown>;
  mux: boolean;
  fragment: string | null;
  noises: string[];
  user_agent: string | null;
  secret: string;
  link: string;
}

interface EventJson {
  cursor: number;
  at: string;
  kind: string;
  key: number | null;
  key_uid: string | null;
  inbound: string | null;
  server: string | null;
  detail: string;
}

/** @internal */
export function eventOf(json: EventJson): Event {
  const { kind, detail } = json;
  const happened = { cursor: json.cursor, at: new Date(json.at), kind, detail };
  if (kind.startsWith("key.")) return { ...happened, key: json.key, keyUid: json.key_uid } as KeyEvent;
  if (kind.startsWith("inbound.")) return { ...happened, inbound: json.inbound } as InboundEvent;
  return { ...happened, server: json.server } as ServerEvent;
}

/** @internal */
export const eventsOf = (json: EventJson[]): Event[] => json.map(eventOf);

/** @internal */
export const batchOf = (json: { events: EventJson[]; next: number }): EventBatch => ({
  events: eventsOf(json.events),
  next: json.next,
});

/** @internal */
export const pointsOf = (json: { at: string; traffic: TrafficJson }[]): UsagePoint[] =>
  json.map(({ at, traffic }) => ({ at: new Date(at), traffic: trafficOf(traffic) }));

/** @internal */
export const collectedOf = (
  json: { keys_updated: number; traffic: TrafficJson; limited: number; counter_resets: number }[],
): Collected[] =>
  json.map(({ keys_updated, traffic, limited, counter_resets }) => ({
    keysUpdated: keys_updated,
    traffic: trafficOf(traffic),
    limited,
    counterResets: counter_resets,
  }));

interface OnlineJson {
  key: number;
  addresses: { address: string; since: string }[];
}

/** @internal */
export const onlineOf = ({ key, addresses }: OnlineJson): OnlineKey => ({
  key,
  addresses: addresses.map(({ address, since }) => ({ address, since: new Date(since) })),
});

/** @internal */
export const serversOf = (json: ServerJson[]): ServerStatus[] =>
  json.map(({ id, node, state, reason, lifetime, capabilities: c, version, uptime, pending }) => ({
    id,
    node,
    state,
    reason,
    lifetime,
    capabilities: {
      liveAccounts: c.live_accounts,
      liveInbounds: c.live_inbounds,
      liveCounters: c.live_counters,
      cutLive: c.cut_live,
      onlineAddresses: c.online_addresses,
      managed: c.managed,
    },
    version,
    uptimeSeconds: uptime === null ? null : native.parseDuration(uptime) / 1000,
    pending,
  }));

interface ServerJson {
  id: string;
  node: string;
  state: ServerStatus["state"];
  reason: string | null;
  lifetime: number | null;
  capabilities: Record<
    "live_accounts" | "live_inbounds" | "live_counters" | "cut_live" | "online_addresses" | "managed",
    boolean
  >;
  version: string | null;
  uptime: string | null;
  pending: number;
}

/** @internal */
export const endpointsOf = (json: EndpointJson[]): Endpoint[] => json.map((one) => new Endpoint(one));
