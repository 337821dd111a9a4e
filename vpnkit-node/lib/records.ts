/** Records: what calls take and return. Written by `make generate`: change the description in Rust. */
import { type Json, hiding, list, maybe, oneOrMany, others, put, unknownType } from "./convert.js";
import { type Credential, readCredential, writeCredential } from "./credential.js";
import { type Event, readEvent } from "./events.js";
import { lasting } from "./expiry.js";
import { type AdminLike, adminRef } from "./admin_like.js";
import { type KeyLike, keyRef } from "./key_like.js";
import { camel, snake } from "./names.js";
import { type Reality, readReality, writeReality } from "./reality.js";
import { type Length, type Size, lengthSeconds, lengthText, timeText, sizeText } from "./sizes.js";

/**
 * The addresses inside the tunnel that an inbound gives its clients: one of each family for each device of a key. The
 * first address of a range is the network's own, the second one the server's, the last IPv4 one the broadcast address.
 */
export interface AddressPool {
  /** The IPv4 network: `10.8.0.0/16`. */
  readonly v4?: string | null | undefined;
  /** The IPv6 network: `fd00:8::/64`. */
  readonly v6?: string | null | undefined;
}

/** @internal */
export const readAddressPool = (json: Json): Required<AddressPool> =>
  Object.freeze({ v4: json.v4 ?? null, v6: json.v6 ?? null });

/** @internal */
export const writeAddressPool = (operation: string, given: AddressPool): Json => ({ ...others(operation, given, ["v4", "v6"]), v4: given.v4, v6: given.v6 });

/** What an admin may do. */
export type AdminRole =
  | "sudo"
  | "reseller";

/** An admin as it stands in the store. What it has and uses counts all that is below it, too. */
export interface Admin {
  /** Integer id, never used again. */
  readonly id: number;
  /** Grows by one with every change, keys and traffic aside. */
  readonly version: number;
  /** The handle, unique among admins without regard to case. */
  readonly name: string;
  /** What it may do. */
  readonly role: AdminRole;
  /** The admin above it; what it has counts against that one's quotas, too. */
  readonly parent: number | null;
  /** Free text for the operator. */
  readonly note: string | null;
  /** What an application remembers of it: a Telegram id. */
  readonly labels: Readonly<Record<string, string>>;
  /** It may do nothing any more; its keys go on. */
  readonly disabled: boolean;
  /** How many keys there may be at once; `null` is any number. */
  readonly keyLimit: number | null;
  /**
   * How many bytes may be sold: the data limits of keys, however they were given. With it, no key is unlimited or gets
   * its volume again and again. `null` is any number.
   */
  readonly soldLimit: number | null;
  /**
   * How many bytes keys may use. When they have, all keys are `suspended` until there is more. `null` is any number.
   */
  readonly usedLimit: number | null;
  /** How many admins may be below it. */
  readonly adminLimit: number;
  /** Tags of the inbounds that it may put keys on; `null` is all. */
  readonly inbounds: readonly string[] | null;
  /** The nodes that it may put keys on; `null` is all. */
  readonly nodes: readonly string[] | null;
  /** The names of the templates that it may sell; with them, nothing else. `null` is anything. */
  readonly templates: readonly string[] | null;
  /** How many keys there are. */
  readonly keys: number;
  /** Bytes that were sold: what was given less what was taken back unused. */
  readonly sold: number;
  /** Bytes that keys have used since `used` was last set to nothing. */
  readonly used: number;
  /** Bytes that keys have used altogether. */
  readonly totalUsed: number;
  /** How many admins are below it. */
  readonly admins: number;
  /** When it was created. */
  readonly createdAt: Date;
  /** When it was last changed, keys and traffic aside. */
  readonly updatedAt: Date;
}

/** @internal */
export const readAdmin = (json: Json): Admin =>
  Object.freeze({
    id: json.id,
    version: json.version,
    name: json.name,
    role: json.role,
    parent: json.parent ?? null,
    note: json.note ?? null,
    labels: json.labels,
    disabled: json.disabled,
    keyLimit: json.key_limit ?? null,
    soldLimit: json.sold_limit ?? null,
    usedLimit: json.used_limit ?? null,
    adminLimit: json.admin_limit,
    inbounds: json.inbounds ?? null,
    nodes: json.nodes ?? null,
    templates: json.templates ?? null,
    keys: json.keys,
    sold: json.sold,
    used: json.used,
    totalUsed: json.total_used,
    admins: json.admins,
    createdAt: new Date(json.created_at),
    updatedAt: new Date(json.updated_at),
  });

/** A change of an admin. Fields that are not named stay as they are. */
export interface AdminPatch {
  /** The handle. */
  readonly name?: string | undefined;
  /** What it may do. */
  readonly role?: AdminRole | undefined;
  /** Free text for the operator. */
  readonly note?: string | null | undefined;
  /** Labels to set; those whose value is `null` go, the others stay. */
  readonly labels?: Readonly<Record<string, string | null>> | undefined;
  /** `true` lets it do nothing any more, `false` takes that back. */
  readonly disabled?: boolean | undefined;
  /** How many keys there may be at once; `null` is any number. */
  readonly keyLimit?: number | null | undefined;
  /** How many bytes may be sold; `null` is any number. */
  readonly soldLimit?: Size | null | undefined;
  /** How many bytes keys may use; `null` is any number. */
  readonly usedLimit?: Size | null | undefined;
  /** How many admins may be below it. */
  readonly adminLimit?: number | undefined;
  /** Tags of the inbounds that it may put keys on; `null` is all. */
  readonly inbounds?: readonly string[] | null | undefined;
  /** The nodes that it may put keys on; `null` is all. */
  readonly nodes?: readonly string[] | null | undefined;
  /** The names of the templates that it may sell; `null` is anything. */
  readonly templates?: readonly string[] | null | undefined;
  /** Sets the bytes that its keys have used to nothing: those that were suspended may connect again. */
  readonly resetUsage?: boolean | undefined;
  /** Sets the bytes that it has sold to nothing. */
  readonly resetSold?: boolean | undefined;
}

/** @internal */
export const writeAdminPatch = (operation: string, given: AdminPatch): Json => ({
  ...others(operation, given, [
    "name", "role", "note", "labels", "disabled", "keyLimit", "soldLimit", "usedLimit", "adminLimit", "inbounds",
    "nodes", "templates", "resetUsage", "resetSold",
  ]),
  name: given.name,
  role: given.role,
  note: given.note,
  labels: given.labels,
  disabled: given.disabled,
  key_limit: given.keyLimit,
  sold_limit: put(given.soldLimit, (value) => sizeText(operation, "soldLimit", value)),
  used_limit: put(given.usedLimit, (value) => sizeText(operation, "usedLimit", value)),
  admin_limit: given.adminLimit,
  inbounds: put(given.inbounds, (value) => list(operation, "inbounds", value)),
  nodes: put(given.nodes, (value) => list(operation, "nodes", value)),
  templates: put(given.templates, (value) => list(operation, "templates", value)),
  reset_usage: given.resetUsage,
  reset_sold: given.resetSold,
});

/** An API key, without its token. */
export interface ApiKey {
  /** Its id, part of its token. */
  readonly id: string;
  /** Whose it is. */
  readonly admin: number;
  /** What people call it. */
  readonly name: string;
  /** What it is restricted to; `null` is everything that the admin may. */
  readonly scopes: readonly string[] | null;
  /** When it was created. */
  readonly createdAt: Date;
  /** When it ends; `null` is never. */
  readonly expiresAt: Date | null;
}

/** @internal */
export const readApiKey = (json: Json): ApiKey =>
  Object.freeze({
    id: json.id,
    admin: json.admin,
    name: json.name,
    scopes: json.scopes ?? null,
    createdAt: new Date(json.created_at),
    expiresAt: maybe(json.expires_at, (text: string) => new Date(text)),
  });

/** Which calls: those that have changed something, the newest first. The default finds all, 100 at a time. */
export interface AuditQuery {
  /** Only of who has called, as the application has said (`actingAs`). */
  readonly actor?: string | null | undefined;
  /** Only in the name of this admin (`asAdmin`). */
  readonly byAdmin?: number | null | undefined;
  /** Only this operation: `keys.extend`. */
  readonly operation?: string | null | undefined;
  /** Only from this time on. */
  readonly since?: Date | null | undefined;
  /** Only before this time. */
  readonly until?: Date | null | undefined;
  /** The cursor of the last event of the answer before. */
  readonly before?: number | null | undefined;
  /** At most so many events: 1 to 1,000. Default: 100. */
  readonly limit?: number | undefined;
}

/** @internal */
export const writeAuditQuery = (operation: string, given: AuditQuery): Json => ({
  ...others(operation, given, ["actor", "byAdmin", "operation", "since", "until", "before", "limit"]),
  actor: given.actor,
  by_admin: given.byAdmin,
  operation: given.operation,
  since: put(given.since, (value) => timeText(operation, "since", value)),
  until: put(given.until, (value) => timeText(operation, "until", value)),
  before: given.before,
  limit: given.limit,
});

/** A copy of a store in a file of its own. */
export interface Backup {
  /** Where the file is. */
  readonly path: string;
  /** Its size, in bytes. */
  readonly bytes: number;
  /** How many keys are in it. */
  readonly keys: number;
  /** The newest event in it: what happened later is not. */
  readonly newestEvent: number;
}

/** @internal */
export const readBackup = (json: Json): Backup =>
  Object.freeze({ path: json.path, bytes: json.bytes, keys: json.keys, newestEvent: json.newest_event });

/** What a server can do: data, constant for the instance. */
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
  /**
   * The server runs on when the process that drives it ends. Until another one drives it, expiry and limits do not
   * hold.
   */
  readonly keepsRunning: boolean;
}

/** @internal */
export const readCapabilities = (json: Json): Capabilities =>
  Object.freeze({
    liveAccounts: json.live_accounts,
    liveInbounds: json.live_inbounds,
    liveCounters: json.live_counters,
    cutLive: json.cut_live,
    onlineAddresses: json.online_addresses,
    managed: json.managed,
    keepsRunning: json.keeps_running,
  });

/** Which certificate a credential holds, and until when it is valid. */
export interface CertificateTerm {
  /** The serial number, unique on its inbound. */
  readonly serial: number;
  /** The end of its validity. */
  readonly expiresAt: Date;
}

/** @internal */
export const readCertificateTerm = (json: Json): CertificateTerm =>
  Object.freeze({ serial: json.serial, expiresAt: new Date(json.expires_at) });

/** @internal */
export const writeCertificateTerm = (operation: string, given: CertificateTerm): Json => ({
  ...others(operation, given, ["serial", "expiresAt"]),
  serial: given.serial,
  expires_at: ((value) => timeText(operation, "expiresAt", value))(given.expiresAt),
});

/**
 * A device that has fetched a key's subscription, as the client app names it (`x-hwid` and its family). Apps say what
 * they like, so this keeps honest customers to what they paid for; it does not stop forgers.
 */
export interface ClientDevice {
  /** Whose subscription. */
  readonly key: number;
  /** `x-hwid`: unique for the key. */
  readonly id: string;
  /** `x-device-os`: Android, iOS, Windows. */
  readonly os: string | null;
  /** `x-ver-os`. */
  readonly osVersion: string | null;
  /** `x-device-model`. */
  readonly model: string | null;
  /** The app. */
  readonly userAgent: string | null;
  /** When it came first. */
  readonly firstSeen: Date;
  /** When it came last, to the hour. */
  readonly lastSeen: Date;
}

/** @internal */
export const readClientDevice = (json: Json): ClientDevice =>
  Object.freeze({
    key: json.key,
    id: json.id,
    os: json.os ?? null,
    osVersion: json.os_version ?? null,
    model: json.model ?? null,
    userAgent: json.user_agent ?? null,
    firstSeen: new Date(json.first_seen),
    lastSeen: new Date(json.last_seen),
  });

/** A rule: who names itself so gets this. */
export interface ClientRule {
  /** What the `User-Agent` begins with, without regard to case. A `*` in front: what it contains. */
  readonly userAgent: string;
  /**
   * The format it gets: `links`, `plain`, `xray`, `clash`, `clash-meta`, `stash`, `sing-box`, `outline`, `wireguard`,
   * `html` or `template:NAME`.
   */
  readonly format: string;
}

/** @internal */
export const readClientRule = (json: Json): ClientRule =>
  Object.freeze({ userAgent: json.user_agent, format: json.format });

/** @internal */
export const writeClientRule = (operation: string, given: ClientRule): Json => ({
  ...others(operation, given, ["userAgent", "format"]),
  user_agent: given.userAgent,
  format: given.format,
});

/** Nothing. */
export interface NoClientSecurity {
  readonly type: "none";
}

/** TLS. */
export interface ClientTls {
  readonly type: "tls";
  /** The name to ask for. */
  readonly sni: string;
  /** Protocols to offer; empty leaves it to the client. */
  readonly alpn: readonly string[];
  /** The browser to look like. */
  readonly fingerprint: string;
  /** SHA-256 of the certificate in hex, when it is self-signed. */
  readonly pinnedSha256: string | null;
  /** Any certificate will do. */
  readonly allowInsecure: boolean;
}

/** REALITY. */
export interface ClientReality {
  readonly type: "reality";
  /** The name to ask for. */
  readonly sni: string;
  /** The server's X25519 key, base64url. */
  readonly publicKey: string;
  /** The short id. */
  readonly shortId: string;
  /** The browser to look like. */
  readonly fingerprint: string;
}

/** The client's side of `Security`: no private keys, no files. */
export type ClientSecurity = NoClientSecurity | ClientTls | ClientReality;

/** @internal */
export function readClientSecurity(json: Json): ClientSecurity {
  switch (json.type) {
    case "none":
      return { type: "none" };
    case "tls":
      return {
        type: "tls",
        sni: json.sni,
        alpn: json.alpn,
        fingerprint: json.fingerprint,
        pinnedSha256: json.pinned_sha256 ?? null,
        allowInsecure: json.allow_insecure,
      };
    case "reality":
      return {
        type: "reality",
        sni: json.sni,
        publicKey: json.public_key,
        shortId: json.short_id,
        fingerprint: json.fingerprint,
      };
    default:
      return json as ClientSecurity;
  }
}

/** Bytes in both directions. */
export interface Traffic {
  /** Client to server. */
  readonly up: number;
  /** Server to client. */
  readonly down: number;
}

/** @internal */
export const readTraffic = (json: Json): Traffic =>
  Object.freeze({ up: json.up, down: json.down });

/** What one reading added. */
export interface Collected {
  /** Of which server. */
  readonly server: string;
  /** Keys whose traffic was updated. */
  readonly keysUpdated: number;
  /** Bytes that were added. */
  readonly traffic: Traffic;
  /** Keys that reached their limit. */
  readonly limited: number;
  /** Counters that somebody else reset: their first bytes after that may be lost. */
  readonly counterResets: number;
}

/** @internal */
export const readCollected = (json: Json): Collected =>
  Object.freeze({
    server: json.server,
    keysUpdated: json.keys_updated,
    traffic: readTraffic(json.traffic),
    limited: json.limited,
    counterResets: json.counter_resets,
  });

/** A consumer of events, and how far it has come. */
export interface ConsumerStatus {
  /** Its name. */
  readonly name: string;
  /** The cursor of the last event that was handled. */
  readonly cursor: number;
  /** How many events are behind that one, those that are no longer kept included. */
  readonly pending: number;
}

/** @internal */
export const readConsumerStatus = (json: Json): ConsumerStatus =>
  Object.freeze({ name: json.name, cursor: json.cursor, pending: json.pending });

/** An admin to be created: a reseller without limits, unless something else is said. */
export interface CreateAdmin {
  /** The handle: 1 to 64 of `A-Z a-z 0-9 . _ @ + -`, unique among admins without regard to case. */
  readonly name: string;
  /** What it may do. Default: `reseller`. */
  readonly role?: AdminRole | undefined;
  /** The admin above it. */
  readonly parent?: AdminLike | null | undefined;
  /** Free text, up to 4,000 characters. */
  readonly note?: string | null | undefined;
  /**
   * What an application remembers of it: up to 16 names (1 to 32 of `a-z 0-9 _ -`) with values of 1 to 128 characters.
   */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** Created switched off. */
  readonly disabled?: boolean | undefined;
  /** How many keys there may be at once; `null` is any number. */
  readonly keyLimit?: number | null | undefined;
  /** How many bytes may be sold; `null` is any number. */
  readonly soldLimit?: Size | null | undefined;
  /** How many bytes keys may use; `null` is any number. */
  readonly usedLimit?: Size | null | undefined;
  /** How many admins may be below it. Default: 0. */
  readonly adminLimit?: number | undefined;
  /** Tags of the inbounds that it may put keys on; all by default. */
  readonly inbounds?: readonly string[] | null | undefined;
  /** The nodes that it may put keys on; all by default. */
  readonly nodes?: readonly string[] | null | undefined;
  /** The names of the templates that it may sell, and nothing else; anything by default. */
  readonly templates?: readonly string[] | null | undefined;
}

/** @internal */
export const writeCreateAdmin = (operation: string, given: CreateAdmin): Json => ({
  ...others(operation, given, [
    "name", "role", "parent", "note", "labels", "disabled", "keyLimit", "soldLimit", "usedLimit", "adminLimit",
    "inbounds", "nodes", "templates",
  ]),
  name: given.name,
  role: given.role,
  parent: put(given.parent, (value) => adminRef(operation, "parent", value)),
  note: given.note,
  labels: given.labels,
  disabled: given.disabled,
  key_limit: given.keyLimit,
  sold_limit: put(given.soldLimit, (value) => sizeText(operation, "soldLimit", value)),
  used_limit: put(given.usedLimit, (value) => sizeText(operation, "usedLimit", value)),
  admin_limit: given.adminLimit,
  inbounds: put(given.inbounds, (value) => list(operation, "inbounds", value)),
  nodes: put(given.nodes, (value) => list(operation, "nodes", value)),
  templates: put(given.templates, (value) => list(operation, "templates", value)),
});

/** How often what counts against the limit is set to nothing. */
export type ResetPeriod =
  | "day"
  | "week"
  | "month"
  | "year";

/** When what counts against the limit is set to nothing, again and again. A limited key may connect again then. */
export interface DataReset {
  /** How often. */
  readonly every: ResetPeriod;
  /**
   * Whether periods are counted from when the key's time began, at that time of the day; otherwise they are those of
   * the calendar. A month that is too short ends on its last day: from January 31 to February 28 to March 31.
   */
  readonly rolling?: boolean | undefined;
  /** Since when rolling periods are counted; `null` is since the key's time began. A pause moves it. */
  readonly since?: Date | null | undefined;
  /** Whose calendar; `null` is the kit's own time zone. */
  readonly timeZone?: string | null | undefined;
}

/** @internal */
export const readDataReset = (json: Json): Required<DataReset> =>
  Object.freeze({
    every: json.every,
    rolling: json.rolling,
    since: maybe(json.since, (text: string) => new Date(text)),
    timeZone: json.time_zone ?? null,
  });

/** @internal */
export const writeDataReset = (operation: string, given: DataReset): Json => ({
  ...others(operation, given, ["every", "rolling", "since", "timeZone"]),
  every: given.every,
  rolling: given.rolling,
  since: put(given.since, (value) => timeText(operation, "since", value)),
  time_zone: given.timeZone,
});

/** What a key becomes when its time is over or its limit is used up, once. The form is Marzban's `nextPlan`. */
export interface NextPlan {
  /** The new limit; `null` is unlimited. One of this and `duration` is needed. */
  readonly dataLimit?: number | null | undefined;
  /** How long the key lasts from then on; `null` is for ever. */
  readonly duration?: Length | null | undefined;
  /** Whether what is left of the old limit is added to the new one. */
  readonly addRemainingTraffic?: boolean | undefined;
  /** Whether it begins as soon as the time is over or the limit is used up; otherwise when both are. */
  readonly fireOnEither?: boolean | undefined;
}

/** @internal */
export const readNextPlan = (json: Json): Required<NextPlan> =>
  Object.freeze({
    dataLimit: json.data_limit ?? null,
    duration: json.duration ?? null,
    addRemainingTraffic: json.add_remaining_traffic,
    fireOnEither: json.fire_on_either,
  });

/** @internal */
export const writeNextPlan = (operation: string, given: NextPlan): Json => ({
  ...others(operation, given, ["dataLimit", "duration", "addRemainingTraffic", "fireOnEither"]),
  data_limit: put(given.dataLimit, (value) => sizeText(operation, "dataLimit", value)),
  duration: put(given.duration, (value) => lengthText(operation, "duration", value)),
  add_remaining_traffic: given.addRemainingTraffic,
  fire_on_either: given.fireOnEither,
});

/** A family of credentials. */
export type CredentialKind =
  | "vless"
  | "vmess"
  | "trojan"
  | "shadowsocks"
  | "shadowsocks-2022";

/**
 * A key to be created. Everything is optional: without a limit it is unlimited, without a time it never ends.
 *
 * Its JSON leaves out what came with later versions unless it is given: a payment that was told to an earlier version
 * is known by it.
 */
export interface CreateKey {
  /** The handle: 1 to 64 of `A-Z a-z 0-9 . _ @ + -`, unique without regard to case. */
  readonly name?: string | null | undefined;
  /** Free text, up to 256 characters. */
  readonly label?: string | null | undefined;
  /** What it is found by: up to 16 names (1 to 32 of `a-z 0-9 _ -`) with values of 1 to 128 characters. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** Free text, up to 4,000 characters. */
  readonly note?: string | null | undefined;
  /** The id of the owning admin. */
  readonly owner?: number | null | undefined;
  /** At least one byte; `null` is unlimited. */
  readonly dataLimit?: Size | null | undefined;
  /** A time in the future; `null` is never. Not together with `expiresIn`. */
  readonly expiresAt?: Date | null | undefined;
  /** So many times 24 hours. */
  readonly days?: number | undefined;
  /** From the creation on. Not together with `expiresAt`. */
  readonly expiresIn?: Length | null | undefined;
  /** Whether its time begins with its first connection: `expiresIn` is how long it lasts from then on. */
  readonly onHold?: boolean | undefined;
  /** When the time of a key on hold begins without a connection; `null` waits for ever. */
  readonly holdUntil?: Date | null | undefined;
  /** How often its usage is set to nothing; `null` is never. */
  readonly reset?: DataReset | null | undefined;
  /** What it becomes when its time is over or its limit is used up. */
  readonly nextPlan?: NextPlan | null | undefined;
  /** How long after its time or its limit has ended it is deleted; `null` is never. */
  readonly deleteAfter?: Length | null | undefined;
  /** On how many devices its subscription may be, at least 1; `null` is as the settings say. */
  readonly deviceLimit?: number | null | undefined;
  /**
   * At how many addresses at once it may be used, at least 1; `null` is any number. What happens to one that is used
   * at more, the configuration says.
   */
  readonly addressLimit?: number | null | undefined;
  /** Tags of inbounds; all shared ones by default, also those that come later. */
  readonly inbounds?: readonly string[] | null | undefined;
  /** Existing credentials, for keys that move in from elsewhere; missing ones are made. */
  readonly credentials?: readonly Credential[] | undefined;
  /** Created switched off. */
  readonly disabled?: boolean | undefined;
  /** The name of a template: it says what is not given here. */
  readonly template?: string | null | undefined;
  /**
   * The same text again returns the first key instead of a second one: a payment, scoped by its provider as in
   * `yookassa:2d9f`. It is kept for good, and cannot be used for an extension too.
   */
  readonly idempotencyKey?: string | null | undefined;
}

/** @internal */
export const writeCreateKey = (operation: string, given: CreateKey): Json => ({
  ...others(operation, given, [
    "name", "label", "labels", "note", "owner", "dataLimit", "expiresAt", "days", "expiresIn", "onHold",
    "holdUntil", "reset", "nextPlan", "deleteAfter", "deviceLimit", "addressLimit", "inbounds", "credentials",
    "disabled", "template", "idempotencyKey",
  ]),
  name: given.name,
  label: given.label,
  labels: given.labels,
  note: given.note,
  owner: given.owner,
  data_limit: put(given.dataLimit, (value) => sizeText(operation, "dataLimit", value)),
  expires_at: put(given.expiresAt, (value) => timeText(operation, "expiresAt", value)),
  expires_in: lasting(operation, given),
  on_hold: given.onHold,
  hold_until: put(given.holdUntil, (value) => timeText(operation, "holdUntil", value)),
  reset: put(given.reset, (value) => writeDataReset(operation, value)),
  next_plan: put(given.nextPlan, (value) => writeNextPlan(operation, value)),
  delete_after: put(given.deleteAfter, (value) => lengthText(operation, "deleteAfter", value)),
  device_limit: given.deviceLimit,
  address_limit: given.addressLimit,
  inbounds: put(given.inbounds, (value) => list(operation, "inbounds", value)),
  credentials: put(given.credentials, (value) => list(operation, "credentials", value).map((value) => writeCredential(operation, value))),
  disabled: given.disabled,
  template: given.template,
  idempotency_key: given.idempotencyKey,
});

/** A webhook to be created. */
export interface CreateWebhook {
  /** Where events are sent: `https://` or `http://`, up to 2,048 bytes. */
  readonly url: string;
  /** The kinds of events that it gets: `key.created`, or all of a subject as `key.*`; empty is all. */
  readonly kinds?: readonly string[] | undefined;
  /** Only what is about this admin, or about keys that it owns; `null` is everything. */
  readonly admin?: number | null | undefined;
  /** Free text, up to 4,000 characters. */
  readonly note?: string | null | undefined;
  /** Created switched off. */
  readonly disabled?: boolean | undefined;
}

/** @internal */
export const writeCreateWebhook = (operation: string, given: CreateWebhook): Json => ({
  ...others(operation, given, ["url", "kinds", "admin", "note", "disabled"]),
  url: given.url,
  kinds: put(given.kinds, (value) => list(operation, "kinds", value)),
  admin: given.admin,
  note: given.note,
  disabled: given.disabled,
});

/** What happened. */
export type EventKind =
  | "key.created"
  | "key.updated"
  | "key.deleted"
  | "key.activated"
  | "key.disabled"
  | "key.limited"
  | "key.expired"
  | "key.paused"
  | "key.locked"
  | "key.address_limit"
  | "key.device_limit"
  | "key.revoked"
  | "key.on_hold"
  | "key.started"
  | "key.reset"
  | "key.next_plan"
  | "key.extended"
  | "key.merged"
  | "key.grant_undone"
  | "inbound.changed"
  | "inbound.removed"
  | "inbound.rejected"
  | "server.up"
  | "server.down"
  | "node.up"
  | "node.down"
  | "server.restarted"
  | "server.drift"
  | "key.rejected"
  | "key.suspended"
  | "key.usage_reached"
  | "key.expires_soon"
  | "admin.created"
  | "admin.updated"
  | "admin.deleted"
  | "admin.quota_near"
  | "admin.quota_reached"
  | "settings.changed";

/** An event that a receiver has refused for good. */
export interface DeadLetter {
  /** Which webhook. */
  readonly webhook: string;
  /** The event. */
  readonly event: Event;
  /** When it was given up. */
  readonly at: Date;
  /** How often it was sent. */
  readonly attempts: number;
  /** What was answered last: `HTTP 400`. */
  readonly error: string;
}

/** @internal */
export const readDeadLetter = (json: Json): DeadLetter =>
  Object.freeze({
    webhook: json.webhook,
    event: readEvent(json.event),
    at: new Date(json.at),
    attempts: json.attempts,
    error: json.error,
  });

/** The process that drives a server. */
export interface Driver {
  /** Its process id. */
  readonly process: number;
  /** The machine, or container, that it runs on. */
  readonly host: string;
  /** Whether it is this kit. */
  readonly here: boolean;
}

/** @internal */
export const readDriver = (json: Json): Driver =>
  Object.freeze({ process: json.process, host: json.host, here: json.here });

/**
 * What customers may reach through a server: everything but its loopback services and private networks, by address and
 * by name, unless it is allowed here. Its public addresses are reached like those of any other server.
 */
export interface Egress {
  /**
   * Private destinations that customers may reach all the same: an address, a network or a name, each with or without
   * a port: `10.0.0.5`, `10.0.0.0/8`, `10.0.0.5:53`, `[fd00::5]:53`, `wiki.internal`, `wiki.internal:443`. A network
   * that holds everything (`0.0.0.0/0`, `::/0`) takes the protection away.
   */
  readonly allow?: readonly string[] | undefined;
  /** Blocks TCP port 25, so that customers cannot send mail in the server's name. */
  readonly blockSmtp?: boolean | undefined;
  /** Blocks BitTorrent where its handshake can be recognized; what is encrypted passes. */
  readonly blockBittorrent?: boolean | undefined;
}

/** @internal */
export const writeEgress = (operation: string, given: Egress): Json => ({
  ...others(operation, given, ["allow", "blockSmtp", "blockBittorrent"]),
  allow: put(given.allow, (value) => list(operation, "allow", value)),
  block_smtp: given.blockSmtp,
  block_bittorrent: given.blockBittorrent,
});

/** How XHTTP sends. */
export type XhttpMode =
  | "auto"
  | "packet-up"
  | "stream-up"
  | "stream-one";

/** Plain TCP (Xray calls it raw). */
export interface Tcp {
  readonly type: "tcp";
}

/** @internal */
export const writeTcp = (operation: string, given: Tcp): Json => ({ ...others(operation, given, ["type"]), type: "tcp" });

/** WebSocket. */
export interface WebSocket {
  readonly type: "webSocket";
  /** Starts with `/`. Default: `/`. */
  readonly path?: string | undefined;
  /** The `Host` header; the client's address without it. */
  readonly host?: string | null | undefined;
}

/** @internal */
export const writeWebSocket = (operation: string, given: WebSocket): Json => ({
  ...others(operation, given, ["type", "path", "host"]),
  type: "web_socket",
  path: given.path,
  host: given.host,
});

/** gRPC. */
export interface Grpc {
  readonly type: "grpc";
  /** The service name. */
  readonly serviceName: string;
}

/** @internal */
export const writeGrpc = (operation: string, given: Grpc): Json => ({
  ...others(operation, given, ["type", "serviceName"]),
  type: "grpc",
  service_name: given.serviceName,
});

/** HTTP upgrade. */
export interface HttpUpgrade {
  readonly type: "httpUpgrade";
  /** Starts with `/`. Default: `/`. */
  readonly path?: string | undefined;
  /** The `Host` header. */
  readonly host?: string | null | undefined;
}

/** @internal */
export const writeHttpUpgrade = (operation: string, given: HttpUpgrade): Json => ({
  ...others(operation, given, ["type", "path", "host"]),
  type: "http_upgrade",
  path: given.path,
  host: given.host,
});

/** XHTTP (split HTTP). */
export interface Xhttp {
  readonly type: "xhttp";
  /** Starts with `/`. Default: `/`. */
  readonly path?: string | undefined;
  /** The `Host` header. */
  readonly host?: string | null | undefined;
  /** How it sends. Default: `auto`. */
  readonly mode?: XhttpMode | undefined;
}

/** @internal */
export const writeXhttp = (operation: string, given: Xhttp): Json => ({
  ...others(operation, given, ["type", "path", "host", "mode"]),
  type: "xhttp",
  path: given.path,
  host: given.host,
  mode: given.mode,
});

/** What carries the protocol. */
export type Transport = Tcp | WebSocket | Grpc | HttpUpgrade | Xhttp;

/** @internal */
export function readTransport(json: Json): Transport {
  switch (json.type) {
    case "tcp":
      return { type: "tcp" };
    case "web_socket":
      return { type: "webSocket", path: json.path, host: json.host ?? null };
    case "grpc":
      return { type: "grpc", serviceName: json.service_name };
    case "http_upgrade":
      return { type: "httpUpgrade", path: json.path, host: json.host ?? null };
    case "xhttp":
      return { type: "xhttp", path: json.path, host: json.host ?? null, mode: json.mode };
    default:
      return json as Transport;
  }
}

/** @internal */
export function writeTransport(operation: string, given: Transport): Json {
  switch (given?.type) {
    case "tcp":
      return writeTcp(operation, given);
    case "webSocket":
      return writeWebSocket(operation, given);
    case "grpc":
      return writeGrpc(operation, given);
    case "httpUpgrade":
      return writeHttpUpgrade(operation, given);
    case "xhttp":
      return writeXhttp(operation, given);
    default:
      throw unknownType(operation, "transport", "tcp, webSocket, grpc, httpUpgrade, xhttp");
  }
}

/** Events after a cursor, oldest first. */
export interface EventBatch {
  /** At most as many as asked for. */
  readonly events: readonly Event[];
  /** Where to go on: the cursor of the last event, or the one that was asked for. */
  readonly next: number;
}

/** @internal */
export const readEventBatch = (json: Json): EventBatch =>
  Object.freeze({ events: json.events.map(readEvent), next: json.next });

/** What one step of an extension of many keys has done. */
export interface ExtendedStep {
  /** How many keys were extended. */
  readonly extended: number;
  /**
   * Keys that the query finds and that would have been given nothing: those that never end, for instance. 0 when
   * `replayed`.
   */
  readonly skipped: number;
  /** Where to go on; `null` when all is done. */
  readonly next: number | null;
  /** The step had been done before under this idempotency key: nothing was given now. */
  readonly replayed: boolean;
}

/** @internal */
export const readExtendedStep = (json: Json): ExtendedStep =>
  Object.freeze({
    extended: json.extended,
    skipped: json.skipped,
    next: json.next ?? null,
    replayed: json.replayed,
  });

/** What happens to what a key still has when it is extended. These are the five ways in which shops renew. */
export type RenewPolicy =
  | "carryOver"
  | "reset"
  | "resetTime"
  | "resetData"
  | "remainingToTotal";

/** What a key is given. What is left out stays, but for what the policy sets to nothing. */
export interface Extension {
  /** So many times 24 hours. */
  readonly days?: number | undefined;
  /** The time to give. A key that never ends keeps it so unless the policy counts from now. */
  readonly expiresIn?: Length | null | undefined;
  /** The volume to give, at least one byte. An unlimited key stays so when volume is added. */
  readonly dataLimit?: Size | null | undefined;
  /** Makes the key unlimited; not together with `dataLimit`. */
  readonly unlimited?: boolean | undefined;
  /** The name of a template: it says what is not given here. */
  readonly template?: string | null | undefined;
  /** What happens to what the key still has. Default: `carryOver`. */
  readonly policy?: RenewPolicy | undefined;
  /** Why, for the ledger: up to 4,000 characters. */
  readonly reason?: string | null | undefined;
}

/** @internal */
export const writeExtension = (operation: string, given: Extension): Json => ({
  ...others(operation, given, ["days", "expiresIn", "dataLimit", "unlimited", "template", "policy", "reason"]),
  expires_in: lasting(operation, given),
  data_limit: put(given.dataLimit, (value) => sizeText(operation, "dataLimit", value)),
  unlimited: given.unlimited,
  template: given.template,
  policy: put(given.policy, snake),
  reason: given.reason,
});

/** What was done. */
export type GrantKind =
  | "created"
  | "extended"
  | "nextPlan";

/** When a key ends and how much it may use, at one instant. */
export interface Terms {
  /** When it ends; `null` is never, or not known yet while it is on hold. */
  readonly expiresAt: Date | null;
  /** How long it lasts from its first connection on, while it waits for that. */
  readonly holdSeconds: number | null;
  /** How much it may use; `null` is unlimited. */
  readonly dataLimit: number | null;
  /** Bytes that count against the limit. */
  readonly used: number;
  /** When `used` was last set to nothing. */
  readonly resetAt: Date | null;
}

/** @internal */
export const readTerms = (json: Json): Terms =>
  Object.freeze({
    expiresAt: maybe(json.expires_at, (text: string) => new Date(text)),
    holdSeconds: maybe(json.hold, lengthSeconds),
    dataLimit: json.data_limit ?? null,
    used: json.used,
    resetAt: maybe(json.reset_at, (text: string) => new Date(text)),
  });

/** An entry of the ledger: what a key was given, and what it had before and after. */
export interface Grant {
  /** Integer id, never used again. */
  readonly id: number;
  /** The key. The entry stays when it is deleted. */
  readonly key: number;
  /** The UUID of the key. */
  readonly keyUid: string;
  /** The admin who owned the key then. */
  readonly owner: number | null;
  /** When it was given. */
  readonly at: Date;
  /** What was done. */
  readonly kind: GrantKind;
  /** The idempotency key of the call: the payment. */
  readonly idempotencyKey: string | null;
  /** The time that was given. */
  readonly expiresInSeconds: number | null;
  /** The volume that was given. */
  readonly dataLimit: number | null;
  /** It made the key unlimited. */
  readonly unlimited: boolean;
  /** The template that it was made of. */
  readonly template: string | null;
  /** The key that it is what was left of: that one was merged into this one. */
  readonly mergedFrom: number | null;
  /** What happened to what the key had. */
  readonly policy: RenewPolicy;
  /** Why. */
  readonly reason: string | null;
  /** Who gave it, as the application has said. */
  readonly actor: string | null;
  /** The admin in whose name it was given. */
  readonly byAdmin: number | null;
  /** Since when its time counts: `at`, or when the key was paused. */
  readonly countedFrom: Date;
  /** What the key had before. An undone grant is taken out of those of later entries. */
  readonly before: Terms;
  /** What it had afterwards. */
  readonly after: Terms;
  /** When it was undone. */
  readonly undoneAt: Date | null;
  /** Why it was undone. */
  readonly undoneBecause: string | null;
}

/** @internal */
export const readGrant = (json: Json): Grant =>
  Object.freeze({
    id: json.id,
    key: json.key,
    keyUid: json.key_uid,
    owner: json.owner ?? null,
    at: new Date(json.at),
    kind: camel<GrantKind>(json.kind),
    idempotencyKey: json.idempotency_key ?? null,
    expiresInSeconds: maybe(json.expires_in, lengthSeconds),
    dataLimit: json.data_limit ?? null,
    unlimited: json.unlimited,
    template: json.template ?? null,
    mergedFrom: json.merged_from ?? null,
    policy: camel<RenewPolicy>(json.policy),
    reason: json.reason ?? null,
    actor: json.actor ?? null,
    byAdmin: json.by_admin ?? null,
    countedFrom: new Date(json.counted_from),
    before: readTerms(json.before),
    after: readTerms(json.after),
    undoneAt: maybe(json.undone_at, (text: string) => new Date(text)),
    undoneBecause: json.undone_because ?? null,
  });

/** Which entries of the ledger, oldest first. The default is the first 100 of all. */
export interface GrantQuery {
  /** Only of this key, by id also when it was deleted. */
  readonly key?: KeyLike | null | undefined;
  /** Only of this idempotency key: of a payment. */
  readonly idempotencyKey?: string | null | undefined;
  /** Only from this time on. */
  readonly since?: Date | null | undefined;
  /** Only before this time. */
  readonly until?: Date | null | undefined;
  /** Only those behind this entry: the last one of the answer before. */
  readonly after?: number | null | undefined;
  /** At most so many: 1 to 1,000. Default: 100. */
  readonly limit?: number | undefined;
}

/** @internal */
export const writeGrantQuery = (operation: string, given: GrantQuery): Json => ({
  ...others(operation, given, ["key", "idempotencyKey", "since", "until", "after", "limit"]),
  key: put(given.key, (value) => keyRef(operation, "key", value)),
  idempotency_key: given.idempotencyKey,
  since: put(given.since, (value) => timeText(operation, "since", value)),
  until: put(given.until, (value) => timeText(operation, "until", value)),
  after: given.after,
  limit: given.limit,
});

/** The width of one point. */
export type UsageStep =
  | "hour"
  | "day"
  | "month";

/** Which traffic to sum, as callers ask for it. The default is everything, by day. */
export interface HistoryQuery {
  /** Only of this key; without it of all. */
  readonly key?: KeyLike | null | undefined;
  /** Only of the keys that this admin and those below it owned then; not together with `key`. */
  readonly admin?: AdminLike | null | undefined;
  /** Only through this node; without it through all. */
  readonly node?: string | null | undefined;
  /** From the hour of this time on; without it from the beginning. */
  readonly since?: Date | null | undefined;
  /** Up to this time, exclusive; without it up to now. */
  readonly until?: Date | null | undefined;
  /** The width of a point. Default: `day`. */
  readonly step?: UsageStep | undefined;
  /**
   * Whose days and months; `null` is the kit's own time zone. Traffic is kept by UTC hours: where days begin at half
   * past, such an hour counts for the day in which it begins.
   */
  readonly timeZone?: string | null | undefined;
}

/** @internal */
export const writeHistoryQuery = (operation: string, given: HistoryQuery): Json => ({
  ...others(operation, given, ["key", "admin", "node", "since", "until", "step", "timeZone"]),
  key: put(given.key, (value) => keyRef(operation, "key", value)),
  admin: put(given.admin, (value) => adminRef(operation, "admin", value)),
  node: given.node,
  since: put(given.since, (value) => timeText(operation, "since", value)),
  until: put(given.until, (value) => timeText(operation, "until", value)),
  step: given.step,
  time_zone: given.timeZone,
});

/** A key on hold may connect; its time begins with its first bytes. */
export interface Hold {
  /** How long the key lasts from its first connection on. */
  readonly duration: Length;
  /** When its time begins without a connection; `null` waits for ever. */
  readonly until?: Date | null | undefined;
}

/** @internal */
export const readHold = (json: Json): Required<Hold> =>
  Object.freeze({
    duration: json.duration ?? null,
    until: maybe(json.until, (text: string) => new Date(text)),
  });

/** @internal */
export const writeHold = (operation: string, given: Hold): Json => ({
  ...others(operation, given, ["duration", "until"]),
  duration: ((value) => lengthText(operation, "duration", value))(given.duration),
  until: put(given.until, (value) => timeText(operation, "until", value)),
});

/** What protects the connection to a host. */
export type HostSecurity =
  | "inboundDefault"
  | "none"
  | "tls";

/**
 * How clients reach an inbound. An inbound may have several; each gives its keys one endpoint. What is left out is the
 * inbound's own.
 *
 * Lists are choices: each key gets one of them, the same for a day. A `*` in `addresses`, `sni` and `host` becomes
 * eight random hexadecimal digits, the same for a day. Variables such as `{USERNAME}` are filled in in `remark`,
 * `addresses` and `path`.
 */
export interface Host {
  /** What the client shows: 1 to 256 characters. */
  readonly remark: string;
  /** Names or IPs to dial; at least one. */
  readonly addresses: readonly string[];
  /** The port to dial. */
  readonly port?: number | null | undefined;
  /** Names to ask for in TLS. */
  readonly sni?: readonly string[] | undefined;
  /** Values of the HTTP header `Host`. */
  readonly host?: readonly string[] | undefined;
  /** The HTTP path, or the gRPC service name. */
  readonly path?: string | null | undefined;
  /**
   * What protects the connection up to whatever stands before the inbound: a CDN may end TLS. Default:
   * `inboundDefault`.
   */
  readonly security?: HostSecurity | undefined;
  /** Protocols to offer in TLS: `h3`, `h2`, `http/1.1`. */
  readonly alpn?: readonly string[] | undefined;
  /**
   * The browser to look like: `chrome`, `firefox`, `safari`, `ios`, `android`, `edge`, `360`, `qq`, `random` or
   * `randomized`.
   */
  readonly fingerprint?: string | null | undefined;
  /**
   * Whether clients accept any certificate. Anybody on the way can then read and change what passes. Xray refuses it
   * since 26.1.31: pin the certificate of the inbound instead.
   */
  readonly allowInsecure?: boolean | undefined;
  /** Whether several streams share a connection. Not with vision. */
  readonly mux?: boolean | undefined;
  /** How the first packets are cut into pieces: `length,interval,packets`, e.g. `100-200,10-20,tlshello`. */
  readonly fragment?: string | null | undefined;
  /** What is sent before the first packet of UDP: `type:packet,delay`, e.g. `rand:10-20,10-16`. */
  readonly noises?: readonly string[] | undefined;
  /** Whether HTTP transports name a browser as their user agent. */
  readonly randomUserAgent?: boolean | undefined;
  /** Whether the name asked for in TLS is the `Host` header too. */
  readonly sniAsHost?: boolean | undefined;
  /** Left out of subscriptions. */
  readonly disabled?: boolean | undefined;
}

/** @internal */
export const readHost = (json: Json): Required<Host> =>
  Object.freeze({
    remark: json.remark,
    addresses: json.addresses,
    port: json.port ?? null,
    sni: json.sni,
    host: json.host,
    path: json.path ?? null,
    security: camel<HostSecurity>(json.security),
    alpn: json.alpn,
    fingerprint: json.fingerprint ?? null,
    allowInsecure: json.allow_insecure,
    mux: json.mux,
    fragment: json.fragment ?? null,
    noises: json.noises,
    randomUserAgent: json.random_user_agent,
    sniAsHost: json.sni_as_host,
    disabled: json.disabled,
  });

/** @internal */
export const writeHost = (operation: string, given: Host): Json => ({
  ...others(operation, given, [
    "remark", "addresses", "port", "sni", "host", "path", "security", "alpn", "fingerprint", "allowInsecure", "mux",
    "fragment", "noises", "randomUserAgent", "sniAsHost", "disabled",
  ]),
  remark: given.remark,
  addresses: ((value) => list(operation, "addresses", value))(given.addresses),
  port: given.port,
  sni: put(given.sni, (value) => list(operation, "sni", value)),
  host: put(given.host, (value) => list(operation, "host", value)),
  path: given.path,
  security: put(given.security, snake),
  alpn: put(given.alpn, (value) => list(operation, "alpn", value)),
  fingerprint: given.fingerprint,
  allow_insecure: given.allowInsecure,
  mux: given.mux,
  fragment: given.fragment,
  noises: put(given.noises, (value) => list(operation, "noises", value)),
  random_user_agent: given.randomUserAgent,
  sni_as_host: given.sniAsHost,
  disabled: given.disabled,
});

/** What a picture is written as. */
export type ImageFormat =
  | "png"
  | "svg";

/** A Shadowsocks cipher. */
export type ShadowsocksMethod =
  | "aes-128-gcm"
  | "aes-256-gcm"
  | "chacha20-ietf-poly1305"
  | "2022-blake3-aes-128-gcm"
  | "2022-blake3-aes-256-gcm";

/** VLESS. */
export interface Vless {
  readonly type: "vless";
  /** The flow `xtls-rprx-vision`: over TCP with TLS or REALITY only. */
  readonly vision?: boolean | undefined;
}

/** @internal */
export const writeVless = (operation: string, given: Vless): Json => ({ ...others(operation, given, ["type", "vision"]), type: "vless", vision: given.vision });

/** VMess. */
export interface Vmess {
  readonly type: "vmess";
}

/** @internal */
export const writeVmess = (operation: string, given: Vmess): Json => ({ ...others(operation, given, ["type"]), type: "vmess" });

/** Trojan. */
export interface Trojan {
  readonly type: "trojan";
}

/** @internal */
export const writeTrojan = (operation: string, given: Trojan): Json => ({ ...others(operation, given, ["type"]), type: "trojan" });

/** Shadowsocks. */
export interface Shadowsocks {
  readonly type: "shadowsocks";
  /** The cipher. */
  readonly method: ShadowsocksMethod;
  /** The server's key of a 2022 method, in standard base64. */
  readonly serverKey?: string | null | undefined;
}

/** @internal */
export const writeShadowsocks = (operation: string, given: Shadowsocks): Json => ({
  ...others(operation, given, ["type", "method", "serverKey"]),
  type: "shadowsocks",
  method: given.method,
  server_key: given.serverKey,
});

/** What is spoken inside the transport. */
export type Protocol = Vless | Vmess | Trojan | Shadowsocks;

/** @internal */
export function readProtocol(json: Json): Protocol {
  switch (json.type) {
    case "vless":
      return { type: "vless", vision: json.vision };
    case "vmess":
      return { type: "vmess" };
    case "trojan":
      return { type: "trojan" };
    case "shadowsocks":
      return hiding({ type: "shadowsocks", method: json.method, serverKey: json.server_key ?? null }, "serverKey");
    default:
      return json as Protocol;
  }
}

/** @internal */
export function writeProtocol(operation: string, given: Protocol): Json {
  switch (given?.type) {
    case "vless":
      return writeVless(operation, given);
    case "vmess":
      return writeVmess(operation, given);
    case "trojan":
      return writeTrojan(operation, given);
    case "shadowsocks":
      return writeShadowsocks(operation, given);
    default:
      throw unknownType(operation, "protocol", "vless, vmess, trojan, shadowsocks");
  }
}

/**
 * When keys or a secret are replaced by new ones, without a call. What was given out with those of before works for
 * `keepOld` longer.
 */
export interface KeyRotation {
  /** Between two changes: an hour to 1,000 days. */
  readonly every: Length;
  /** How long the keys of before still work, up to `every`. */
  readonly keepOld: Length;
}

/** @internal */
export const readKeyRotation = (json: Json): KeyRotation =>
  Object.freeze({ every: json.every ?? null, keepOld: json.keep_old ?? null });

/** @internal */
export const writeKeyRotation = (operation: string, given: KeyRotation): Json => ({
  ...others(operation, given, ["every", "keepOld"]),
  every: ((value) => lengthText(operation, "every", value))(given.every),
  keep_old: ((value) => lengthText(operation, "keepOld", value))(given.keepOld),
});

/** The REALITY keys that an inbound had before, while links with them still work. */
export interface PreviousKeys {
  /** X25519, base64url without padding. */
  readonly privateKey: string;
  /** Belongs to `privateKey`. */
  readonly publicKey: string;
  /** Until when links with it work. */
  readonly until: Date;
}

/** @internal */
export const readPreviousKeys = (json: Json): PreviousKeys =>
  Object.freeze(hiding({ privateKey: json.private_key, publicKey: json.public_key, until: new Date(json.until) }, "privateKey"));

/** @internal */
export const writePreviousKeys = (operation: string, given: PreviousKeys): Json => ({
  ...others(operation, given, ["privateKey", "publicKey", "until"]),
  private_key: given.privateKey,
  public_key: given.publicKey,
  until: ((value) => timeText(operation, "until", value))(given.until),
});

/** Nothing of its own. */
export interface NoSecurity {
  readonly type: "none";
}

/** @internal */
export const writeNoSecurity = (operation: string, given: NoSecurity): Json => ({ ...others(operation, given, ["type"]), type: "none" });

/** TLS. */
export interface Tls {
  readonly type: "tls";
  /** The name on the certificate, which clients send as SNI. */
  readonly serverName: string;
  /** PEM chain. */
  readonly certificateFile: string;
  /** PEM key. */
  readonly keyFile: string;
  /** Offered protocols; empty leaves it to the server. */
  readonly alpn?: readonly string[] | undefined;
  /** SHA-256 of the certificate in hex, which clients of a self-signed one pin. */
  readonly pinnedSha256?: string | null | undefined;
}

/** @internal */
export const writeTls = (operation: string, given: Tls): Json => ({
  ...others(operation, given, ["type", "serverName", "certificateFile", "keyFile", "alpn", "pinnedSha256"]),
  type: "tls",
  server_name: given.serverName,
  certificate_file: given.certificateFile,
  key_file: given.keyFile,
  alpn: put(given.alpn, (value) => list(operation, "alpn", value)),
  pinned_sha256: given.pinnedSha256,
});

/** What protects the transport. */
export type Security = NoSecurity | Tls | Reality;

/** @internal */
export function readSecurity(json: Json): Security {
  switch (json.type) {
    case "none":
      return { type: "none" };
    case "tls":
      return {
        type: "tls",
        serverName: json.server_name,
        certificateFile: json.certificate_file,
        keyFile: json.key_file,
        alpn: json.alpn,
        pinnedSha256: json.pinned_sha256 ?? null,
      };
    case "reality":
      return readReality(json);
    default:
      return json as Security;
  }
}

/** @internal */
export function writeSecurity(operation: string, given: Security): Json {
  switch (given?.type) {
    case "none":
      return writeNoSecurity(operation, given);
    case "tls":
      return writeTls(operation, given);
    case "reality":
      return writeReality(operation, given);
    default:
      throw unknownType(operation, "security", "none, tls, reality");
  }
}

/** A listening endpoint of a server. */
export interface Inbound {
  /** The machine. Default: `main`. */
  readonly node?: string | undefined;
  /**
   * The server that runs it: `node/name`. Without it, `ensure` keeps the one that it has, or chooses the first server
   * of the node that can run it.
   */
  readonly server?: string | null | undefined;
  /** The name, unique on its node: 1 to 64 of `A-Z a-z 0-9 . _ -`. */
  readonly tag: string;
  /** The address to listen on. Default: `0.0.0.0`. */
  readonly listen?: string | undefined;
  /** The port to listen on. */
  readonly port: number;
  /** What is spoken. */
  readonly protocol: Protocol;
  /** What carries it. */
  readonly transport?: Transport | undefined;
  /** What protects it. */
  readonly security?: Security | undefined;
  /** Only this key is on it, and it goes with the key. */
  readonly dedicatedTo?: number | null | undefined;
  /** The addresses inside the tunnel that its clients get, for protocols that carry packets. */
  readonly addresses?: AddressPool | null | undefined;
  /** How long the certificate of a client is valid, at least an hour, for protocols whose clients present one. */
  readonly certificateLifetime?: Length | null | undefined;
}

/** @internal */
export const readInbound = (json: Json): Required<Inbound> =>
  Object.freeze({
    node: json.node,
    server: json.server ?? null,
    tag: json.tag,
    listen: json.listen,
    port: json.port,
    protocol: readProtocol(json.protocol),
    transport: readTransport(json.transport),
    security: readSecurity(json.security),
    dedicatedTo: json.dedicated_to ?? null,
    addresses: maybe(json.addresses, readAddressPool),
    certificateLifetime: json.certificate_lifetime ?? null,
  });

/** @internal */
export const writeInbound = (operation: string, given: Inbound): Json => ({
  ...others(operation, given, [
    "node", "server", "tag", "listen", "port", "protocol", "transport", "security", "dedicatedTo", "addresses",
    "certificateLifetime",
  ]),
  node: given.node,
  server: given.server,
  tag: given.tag,
  listen: given.listen,
  port: given.port,
  protocol: ((value) => writeProtocol(operation, value))(given.protocol),
  transport: put(given.transport, (value) => writeTransport(operation, value)),
  security: put(given.security, (value) => writeSecurity(operation, value)),
  dedicated_to: given.dedicatedTo,
  addresses: put(given.addresses, (value) => writeAddressPool(operation, value)),
  certificate_lifetime: put(given.certificateLifetime, (value) => lengthText(operation, "certificateLifetime", value)),
});

/** The hosts of one inbound. */
export interface InboundHosts {
  /** The inbound's machine. */
  readonly node: string;
  /** The inbound's name. */
  readonly tag: string;
  /** Its hosts, in the order in which clients show them. */
  readonly hosts: readonly Required<Host>[];
}

/** @internal */
export const readInboundHosts = (json: Json): InboundHosts =>
  Object.freeze({ node: json.node, tag: json.tag, hosts: json.hosts.map(readHost) });

/** A background job as it goes in this process. */
export interface JobStatus {
  /** What it does: `settle`, `readings`. `docs/metrics.md` lists them. */
  readonly name: string;
  /** The server that it is done for; `null`: for the whole store. */
  readonly server: string | null;
  /** Whether this process does it. Of a store that several processes use, one does each job; the others stand by. */
  readonly here: boolean;
  /** Runs that have ended since the kit was opened. */
  readonly runs: number;
  /** When the last run began that has ended. */
  readonly lastRun: Date | null;
  /** How long it took. */
  readonly durationSeconds: number | null;
  /** When the last run ended that did not fail. */
  readonly succeededAt: Date | null;
  /** When the first run failed of those that have failed since then; `null` while it does not fail. */
  readonly failingSince: Date | null;
  /** Why the last run failed; `null` when it did not. */
  readonly error: string | null;
}

/** @internal */
export const readJobStatus = (json: Json): JobStatus =>
  Object.freeze({
    name: json.name,
    server: json.server ?? null,
    here: json.here,
    runs: json.runs,
    lastRun: maybe(json.last_run, (text: string) => new Date(text)),
    durationSeconds: maybe(json.duration, lengthSeconds),
    succeededAt: maybe(json.succeeded_at, (text: string) => new Date(text)),
    failingSince: maybe(json.failing_since, (text: string) => new Date(text)),
    error: json.error ?? null,
  });

/** Whether a key may connect, and if not, why. */
export type KeyStatus =
  | "active"
  | "onHold"
  | "disabled"
  | "paused"
  | "locked"
  | "suspended"
  | "limited"
  | "expired";

/**
 * A customer's key as it stands in the store. Its JSON has what is left of the limit too, as `remaining`; secrets are
 * not shown unless they are asked for.
 */
export interface Key {
  /** Integer id, never used again. */
  readonly id: number;
  /** Globally unique id. */
  readonly uid: string;
  /** Grows by one with every change but traffic. */
  readonly version: number;
  /** The handle, unique without regard to case. */
  readonly name: string | null;
  /** Free text, need not be unique. */
  readonly label: string | null;
  /** What an application finds it by: a Telegram id, an order. */
  readonly labels: Readonly<Record<string, string>>;
  /** Free text for the operator. */
  readonly note: string | null;
  /** The admin who owns it. */
  readonly owner: number | null;
  /** Whether it may connect. */
  readonly status: KeyStatus;
  /** How much it may use; `null` is unlimited. */
  readonly dataLimit: number | null;
  /** Bytes that count against the limit. */
  readonly used: number;
  /** What is left of the limit; `null` is unlimited. */
  readonly remaining: number | null;
  /** Bytes over the whole life of the key; a reset of `used` leaves them. */
  readonly traffic: Traffic;
  /**
   * When it ends; `null` is never, or not known yet while it is on hold. While it is paused, the end as it was then.
   */
  readonly expiresAt: Date | null;
  /** Set while it waits for its first connection. */
  readonly hold: Required<Hold> | null;
  /** Since when it is paused. */
  readonly pausedAt: Date | null;
  /** How often `used` is set to nothing. */
  readonly reset: Required<DataReset> | null;
  /** When that happens next. */
  readonly resetsAt: Date | null;
  /** When `used` was last set to nothing. */
  readonly resetAt: Date | null;
  /** What it becomes when its time is over or its limit is used up. */
  readonly nextPlan: Required<NextPlan> | null;
  /** How long after its time or its limit has ended it is deleted; `null` is never. */
  readonly deleteAfterSeconds: number | null;
  /** Since when it is `expired` or `limited`. */
  readonly endedAt: Date | null;
  /** On how many devices its subscription may be; `null` is as the settings say. */
  readonly deviceLimit: number | null;
  /** At how many addresses at once it may be used; `null` is any number. */
  readonly addressLimit: number | null;
  /** Until when it is locked. */
  readonly lockedUntil: Date | null;
  /** Whether the keys of its owner have used as many bytes as they may. */
  readonly suspended: boolean;
  /** Grows when its links are revoked. */
  readonly linkRevision: number;
  /** Until when the links and credentials work that it had before they were revoked. */
  readonly oldLinksUntil: Date | null;
  /** Which inbounds it is on. */
  readonly inbounds: readonly string[] | null;
  /** What it connects with. */
  readonly credentials: readonly Required<Credential>[];
  /** When it was created. */
  readonly createdAt: Date;
  /** When the time of a key that was on hold began. */
  readonly startedAt: Date | null;
  /** When it was last changed, traffic aside. */
  readonly updatedAt: Date;
  /** When traffic of it was first seen. */
  readonly firstSeenAt: Date | null;
  /** When traffic of it was last seen. */
  readonly seenAt: Date | null;
  /** This answer is that of an earlier call with the same idempotency key: nothing was created now. */
  readonly replayed: boolean;
}

/** @internal */
export const readKey = (json: Json): Key =>
  Object.freeze({
    id: json.id,
    uid: json.uid,
    version: json.version,
    name: json.name ?? null,
    label: json.label ?? null,
    labels: json.labels,
    note: json.note ?? null,
    owner: json.owner ?? null,
    status: camel<KeyStatus>(json.status),
    dataLimit: json.data_limit ?? null,
    used: json.used,
    remaining: json.remaining ?? null,
    traffic: readTraffic(json.traffic),
    expiresAt: maybe(json.expires_at, (text: string) => new Date(text)),
    hold: maybe(json.hold, readHold),
    pausedAt: maybe(json.paused_at, (text: string) => new Date(text)),
    reset: maybe(json.reset, readDataReset),
    resetsAt: maybe(json.resets_at, (text: string) => new Date(text)),
    resetAt: maybe(json.reset_at, (text: string) => new Date(text)),
    nextPlan: maybe(json.next_plan, readNextPlan),
    deleteAfterSeconds: maybe(json.delete_after, lengthSeconds),
    endedAt: maybe(json.ended_at, (text: string) => new Date(text)),
    deviceLimit: json.device_limit ?? null,
    addressLimit: json.address_limit ?? null,
    lockedUntil: maybe(json.locked_until, (text: string) => new Date(text)),
    suspended: json.suspended,
    linkRevision: json.link_revision,
    oldLinksUntil: maybe(json.old_links_until, (text: string) => new Date(text)),
    inbounds: json.inbounds ?? null,
    credentials: json.credentials.map(readCredential),
    createdAt: new Date(json.created_at),
    startedAt: maybe(json.started_at, (text: string) => new Date(text)),
    updatedAt: new Date(json.updated_at),
    firstSeenAt: maybe(json.first_seen_at, (text: string) => new Date(text)),
    seenAt: maybe(json.seen_at, (text: string) => new Date(text)),
    replayed: json.replayed,
  });

/** How many keys a query finds on all its pages, by their status. */
export interface KeyCounts {
  /** All of them. */
  readonly total: number;
  /** Those that may connect, and whose time runs. */
  readonly active: number;
  /** Those that may connect, and whose time begins with their first connection. */
  readonly onHold: number;
  /** Those that were paused. */
  readonly paused: number;
  /** Those that are locked for a while. */
  readonly locked: number;
  /** Those whose owner's keys have used as many bytes as they may. */
  readonly suspended: number;
  /** Those that were switched off by hand. */
  readonly disabled: number;
  /** Those that have used up their data limit. */
  readonly limited: number;
  /** Those whose time is over. */
  readonly expired: number;
}

/** @internal */
export const readKeyCounts = (json: Json): KeyCounts =>
  Object.freeze({
    total: json.total,
    active: json.active,
    onHold: json.on_hold,
    paused: json.paused,
    locked: json.locked,
    suspended: json.suspended,
    disabled: json.disabled,
    limited: json.limited,
    expired: json.expired,
  });

/** A change of a key. Fields that are not named stay as they are. */
export interface KeyPatch {
  /** The handle. */
  readonly name?: string | null | undefined;
  /** Free text. */
  readonly label?: string | null | undefined;
  /** Labels to set; those whose value is `null` go, the others stay. */
  readonly labels?: Readonly<Record<string, string | null>> | undefined;
  /** Free text for the operator. */
  readonly note?: string | null | undefined;
  /** The id of the owning admin. */
  readonly owner?: number | null | undefined;
  /** The data limit; `null` is unlimited. */
  readonly dataLimit?: Size | null | undefined;
  /** The expiry; `null` is never. A time in the past ends the key at once. */
  readonly expiresAt?: Date | null | undefined;
  /** Puts it on hold: its time begins with its next connection. `null` begins its time now. */
  readonly hold?: Hold | null | undefined;
  /** `true` pauses it and keeps the time that is left to it, `false` resumes it. */
  readonly paused?: boolean | undefined;
  /** How often its usage is set to nothing; `null` is never. */
  readonly reset?: DataReset | null | undefined;
  /** What it becomes when its time is over or its limit is used up; `null` is nothing else. */
  readonly nextPlan?: NextPlan | null | undefined;
  /** How long after its time or its limit has ended it is deleted; `null` is never. */
  readonly deleteAfter?: Length | null | undefined;
  /** On how many devices its subscription may be; `null` is as the settings say. */
  readonly deviceLimit?: number | null | undefined;
  /** At how many addresses at once it may be used; `null` is any number. */
  readonly addressLimit?: number | null | undefined;
  /** Locks it until then: it may not connect, and its time goes on. `null` unlocks it. */
  readonly lockedUntil?: Date | null | undefined;
  /** Tags of inbounds; `null` is all shared ones. */
  readonly inbounds?: readonly string[] | null | undefined;
  /** `false` switches it off by hand, `true` takes that back. */
  readonly enabled?: boolean | undefined;
  /** Sets `used` to nothing. */
  readonly resetUsage?: boolean | undefined;
  /** Begins its next plan now. */
  readonly beginNextPlan?: boolean | undefined;
  /** Makes every token and URL of its subscription that was given out worthless. */
  readonly revokeLinks?: boolean | undefined;
  /**
   * How long the links and credentials that are replaced still work; `null` is no longer. Together with `revokeLinks`.
   */
  readonly keepOldLinks?: Length | undefined;
  /** Replaces the credentials of the same protocol, device and inbound, adds the others. */
  readonly credentials?: readonly Credential[] | undefined;
}

/** @internal */
export const writeKeyPatch = (operation: string, given: KeyPatch): Json => ({
  ...others(operation, given, [
    "name", "label", "labels", "note", "owner", "dataLimit", "expiresAt", "hold", "paused", "reset", "nextPlan",
    "deleteAfter", "deviceLimit", "addressLimit", "lockedUntil", "inbounds", "enabled", "resetUsage",
    "beginNextPlan", "revokeLinks", "keepOldLinks", "credentials",
  ]),
  name: given.name,
  label: given.label,
  labels: given.labels,
  note: given.note,
  owner: given.owner,
  data_limit: put(given.dataLimit, (value) => sizeText(operation, "dataLimit", value)),
  expires_at: put(given.expiresAt, (value) => timeText(operation, "expiresAt", value)),
  hold: put(given.hold, (value) => writeHold(operation, value)),
  paused: given.paused,
  reset: put(given.reset, (value) => writeDataReset(operation, value)),
  next_plan: put(given.nextPlan, (value) => writeNextPlan(operation, value)),
  delete_after: put(given.deleteAfter, (value) => lengthText(operation, "deleteAfter", value)),
  device_limit: given.deviceLimit,
  address_limit: given.addressLimit,
  locked_until: put(given.lockedUntil, (value) => timeText(operation, "lockedUntil", value)),
  inbounds: put(given.inbounds, (value) => list(operation, "inbounds", value)),
  enabled: given.enabled,
  reset_usage: given.resetUsage,
  begin_next_plan: given.beginNextPlan,
  revoke_links: given.revokeLinks,
  keep_old_links: put(given.keepOldLinks, (value) => lengthText(operation, "keepOldLinks", value)),
  credentials: put(given.credentials, (value) => list(operation, "credentials", value).map((value) => writeCredential(operation, value))),
});

/** By what keys are sorted. Ties are broken by id; keys without the value come last in ascending order. */
export type Sort =
  | "id"
  | "name"
  | "expiresAt"
  | "used";

/** Which keys. The default finds all, sorted by id, 100 a page. */
export interface KeyQuery {
  /** Only with one of these statuses; empty is any. */
  readonly status?: KeyStatus | readonly KeyStatus[] | undefined;
  /** Only with this text in name, label or note, without regard to case. */
  readonly search?: string | null | undefined;
  /** Only of this owner. */
  readonly owner?: number | null | undefined;
  /** Only with all of these labels, exactly. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** Only those that end before this time, or have ended. */
  readonly expiresBefore?: Date | null | undefined;
  /** Only those that have used at least so many percent of their limit: 1 to 100. All keys are looked at. */
  readonly usedPercent?: number | null | undefined;
  /** Sorted by. Default: `id`. */
  readonly sort?: Sort | undefined;
  /** From the largest to the smallest. */
  readonly descending?: boolean | undefined;
  /** At most so many keys a page: 1 to 10,000. Default: 100. */
  readonly limit?: number | undefined;
  /** The `next` or `previous` of another page; without it the first page. */
  readonly page?: string | null | undefined;
}

/** @internal */
export const writeKeyQuery = (operation: string, given: KeyQuery): Json => ({
  ...others(operation, given, [
    "status", "search", "owner", "labels", "expiresBefore", "usedPercent", "sort", "descending", "limit", "page",
  ]),
  status: put(given.status, (value) => oneOrMany(operation, "status", value)),
  search: given.search,
  owner: given.owner,
  labels: given.labels,
  expires_before: put(given.expiresBefore, (value) => timeText(operation, "expiresBefore", value)),
  used_percent: given.usedPercent,
  sort: put(given.sort, snake),
  descending: given.descending,
  limit: given.limit,
  page: given.page,
});

/** How fast bytes pass for a key, over all servers. */
export interface KeyRate {
  /** Which key. */
  readonly key: number;
  /** Bytes a second from the client. */
  readonly up: number;
  /** Bytes a second to the client. */
  readonly down: number;
}

/** @internal */
export const readKeyRate = (json: Json): KeyRate =>
  Object.freeze({ key: json.key, up: json.up, down: json.down });

/** A product: what a key gets that is created or extended with it. */
export interface KeyTemplate {
  /** What it is called: 1 to 64 of `A-Z a-z 0-9 . _ @ + -`. */
  readonly name: string;
  /** At least one byte; `null` is unlimited. */
  readonly dataLimit?: number | null | undefined;
  /** So many times 24 hours. */
  readonly days?: number | undefined;
  /** How long a key lasts; `null` is for ever. */
  readonly expiresIn?: Length | null | undefined;
  /** Whether its time begins with its first connection. */
  readonly onHold?: boolean | undefined;
  /** How long it waits for that; `null` is for ever. */
  readonly holdFor?: Length | null | undefined;
  /** How often its usage is set to nothing; `null` is never. */
  readonly reset?: DataReset | null | undefined;
  /** What it becomes when its time is over or its limit is used up. */
  readonly nextPlan?: NextPlan | null | undefined;
  /** How long after its end it is deleted; `null` is never. */
  readonly deleteAfter?: Length | null | undefined;
  /** On how many devices its subscription may be; `null` is as the settings say. */
  readonly deviceLimit?: number | null | undefined;
  /** At how many addresses at once it may be used; `null` is any number. */
  readonly addressLimit?: number | null | undefined;
  /** Tags of inbounds; all shared ones by default. */
  readonly inbounds?: readonly string[] | null | undefined;
  /** What it is found by. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** What stands before the name that is given. */
  readonly namePrefix?: string | null | undefined;
  /** What stands behind the name that is given. */
  readonly nameSuffix?: string | null | undefined;
}

/** @internal */
export const readKeyTemplate = (json: Json): Required<Omit<KeyTemplate, "days">> =>
  Object.freeze({
    name: json.name,
    dataLimit: json.data_limit ?? null,
    expiresIn: json.expires_in ?? null,
    onHold: json.on_hold,
    holdFor: json.hold_for ?? null,
    reset: maybe(json.reset, readDataReset),
    nextPlan: maybe(json.next_plan, readNextPlan),
    deleteAfter: json.delete_after ?? null,
    deviceLimit: json.device_limit ?? null,
    addressLimit: json.address_limit ?? null,
    inbounds: json.inbounds ?? null,
    labels: json.labels,
    namePrefix: json.name_prefix ?? null,
    nameSuffix: json.name_suffix ?? null,
  });

/** @internal */
export const writeKeyTemplate = (operation: string, given: KeyTemplate): Json => ({
  ...others(operation, given, [
    "name", "dataLimit", "days", "expiresIn", "onHold", "holdFor", "reset", "nextPlan", "deleteAfter",
    "deviceLimit", "addressLimit", "inbounds", "labels", "namePrefix", "nameSuffix",
  ]),
  name: given.name,
  data_limit: put(given.dataLimit, (value) => sizeText(operation, "dataLimit", value)),
  expires_in: lasting(operation, given),
  on_hold: given.onHold,
  hold_for: put(given.holdFor, (value) => lengthText(operation, "holdFor", value)),
  reset: put(given.reset, (value) => writeDataReset(operation, value)),
  next_plan: put(given.nextPlan, (value) => writeNextPlan(operation, value)),
  delete_after: put(given.deleteAfter, (value) => lengthText(operation, "deleteAfter", value)),
  device_limit: given.deviceLimit,
  address_limit: given.addressLimit,
  inbounds: put(given.inbounds, (value) => list(operation, "inbounds", value)),
  labels: given.labels,
  name_prefix: given.namePrefix,
  name_suffix: given.nameSuffix,
});

/** What becomes of the keys of an admin that is deleted. */
export type KeysOfDeleted =
  | "refuse"
  | "delete"
  | "release";

/** A language that customers read. */
export type Language =
  | "en"
  | "ru"
  | "fa"
  | "zh";

/** How much Xray logs. */
export type LogLevel =
  | "debug"
  | "info"
  | "warning"
  | "error";

/** An API key that was created. */
export interface NewApiKey {
  /** The API key. */
  readonly key: ApiKey;
  /** What it is used with. It is kept nowhere: show it now. */
  readonly token: string;
}

/** @internal */
export const readNewApiKey = (json: Json): NewApiKey =>
  Object.freeze(hiding({ key: readApiKey(json.key), token: json.token }, "token"));

/** A webhook as it stands in the store, without its secrets. */
export interface Webhook {
  /** Its id. */
  readonly id: string;
  /** Where events are sent, by `POST`. */
  readonly url: string;
  /** The kinds of events that it gets: `key.created`, or all of a subject as `key.*`; empty is all. */
  readonly kinds: readonly string[];
  /** Only what is about this admin, or about keys that it owns; `null` is everything. */
  readonly admin: number | null;
  /** Free text for the operator. */
  readonly note: string | null;
  /** Nothing is sent; what happens meanwhile is sent later. */
  readonly disabled: boolean;
  /** When it was created. */
  readonly createdAt: Date;
}

/** @internal */
export const readWebhook = (json: Json): Webhook =>
  Object.freeze({
    id: json.id,
    url: json.url,
    kinds: json.kinds,
    admin: json.admin ?? null,
    note: json.note ?? null,
    disabled: json.disabled,
    createdAt: new Date(json.created_at),
  });

/** A webhook that was created, or got a new secret. */
export interface NewWebhook {
  /** The webhook. */
  readonly webhook: Webhook;
  /** What receivers verify signatures with: `whsec_…`. It is not shown again. */
  readonly secret: string;
}

/** @internal */
export const readNewWebhook = (json: Json): NewWebhook =>
  Object.freeze(hiding({ webhook: readWebhook(json.webhook), secret: json.secret }, "secret"));

/**
 * What a client shows instead of servers: lines with variables. An empty list is the text of the settings' language.
 */
export interface Notices {
  /** The data limit is used up. */
  readonly limited?: readonly string[] | undefined;
  /** Its time is over. */
  readonly expired?: readonly string[] | undefined;
  /** Switched off. */
  readonly disabled?: readonly string[] | undefined;
  /** Paused. */
  readonly paused?: readonly string[] | undefined;
  /** Locked for a while. */
  readonly locked?: readonly string[] | undefined;
  /** On too many devices. */
  readonly devices?: readonly string[] | undefined;
  /** No inbound or host yet. */
  readonly empty?: readonly string[] | undefined;
}

/** @internal */
export const readNotices = (json: Json): Required<Notices> =>
  Object.freeze({
    limited: json.limited,
    expired: json.expired,
    disabled: json.disabled,
    paused: json.paused,
    locked: json.locked,
    devices: json.devices,
    empty: json.empty,
  });

/** @internal */
export const writeNotices = (operation: string, given: Notices): Json => ({
  ...others(operation, given, ["limited", "expired", "disabled", "paused", "locked", "devices", "empty"]),
  limited: put(given.limited, (value) => list(operation, "limited", value)),
  expired: put(given.expired, (value) => list(operation, "expired", value)),
  disabled: put(given.disabled, (value) => list(operation, "disabled", value)),
  paused: put(given.paused, (value) => list(operation, "paused", value)),
  locked: put(given.locked, (value) => list(operation, "locked", value)),
  devices: put(given.devices, (value) => list(operation, "devices", value)),
  empty: put(given.empty, (value) => list(operation, "empty", value)),
});

/** An address that a key is online from. */
export interface OnlineAddress {
  /** The address. */
  readonly address: string;
  /** When it opened its newest connection. */
  readonly since: Date;
}

/** @internal */
export const readOnlineAddress = (json: Json): OnlineAddress =>
  Object.freeze({ address: json.address, since: new Date(json.since) });

/** A key that has connections open. */
export interface OnlineKey {
  /** Which key. */
  readonly key: number;
  /** From where. */
  readonly addresses: readonly OnlineAddress[];
}

/** @internal */
export const readOnlineKey = (json: Json): OnlineKey =>
  Object.freeze({ key: json.key, addresses: json.addresses.map(readOnlineAddress) });

/** Whether a server has taken a key over. */
export type PlacementState =
  | "installed"
  | "pending"
  | "rejected"
  | "unknown";

/** A server that a key belongs on, and whether it has taken the key over. */
export interface Placement {
  /** The server. */
  readonly server: string;
  /** The key's inbounds there. */
  readonly inbounds: readonly string[];
  /** Whether it has taken the key over. */
  readonly state: PlacementState;
  /** Why it has not, in one line. */
  readonly reason: string | null;
}

/** @internal */
export const readPlacement = (json: Json): Placement =>
  Object.freeze({
    server: json.server,
    inbounds: json.inbounds,
    state: json.state,
    reason: json.reason ?? null,
  });

/** How fast bytes pass through a server. */
export interface ServerRate {
  /** Which server. */
  readonly server: string;
  /** Its node. */
  readonly node: string;
  /** Bytes a second from clients. */
  readonly up: number;
  /** Bytes a second to clients. */
  readonly down: number;
  /** Keys that bytes have passed for. */
  readonly keys: number;
}

/** @internal */
export const readServerRate = (json: Json): ServerRate =>
  Object.freeze({ server: json.server, node: json.node, up: json.up, down: json.down, keys: json.keys });

/** How fast bytes pass now: between the last two readings of each server. */
export interface Rates {
  /** The servers that answer, sorted by id. */
  readonly servers: readonly ServerRate[];
  /** The fastest keys, the fastest first. */
  readonly keys: readonly KeyRate[];
}

/** @internal */
export const readRates = (json: Json): Rates =>
  Object.freeze({ servers: json.servers.map(readServerRate), keys: json.keys.map(readKeyRate) });

/** When events remind of the end of a key, each once for each limit and each end. */
export interface ReminderPolicy {
  /**
   * Shares of the data limit, in percent: `key.usageReached` when one is passed; of several that are passed at once
   * the highest.
   */
  readonly usagePercents?: readonly number[] | undefined;
  /** Days before the end: `key.expiresSoon`. A key that was sold for no longer is not told of. */
  readonly daysLeft?: readonly number[] | undefined;
}

/** @internal */
export const writeReminderPolicy = (operation: string, given: ReminderPolicy): Json => ({
  ...others(operation, given, ["usagePercents", "daysLeft"]),
  usage_percents: put(given.usagePercents, (value) => list(operation, "usagePercents", value)),
  days_left: put(given.daysLeft, (value) => list(operation, "daysLeft", value)),
});

/** What a client asks for. */
export interface RenderOptions {
  /** Its `User-Agent`, or the beginning of it: `Happ/3`, `clash-verge`. */
  readonly client?: string | null | undefined;
  /**
   * The format, whatever the client: `links`, `plain`, `xray`, `clash`, `clash-meta`, `stash`, `sing-box`, `outline`,
   * `wireguard`, `html` or `template:NAME`.
   */
  readonly format?: string | null | undefined;
  /** The language of the page. */
  readonly language?: Language | null | undefined;
}

/** @internal */
export const writeRenderOptions = (operation: string, given: RenderOptions): Json => ({
  ...others(operation, given, ["client", "format", "language"]),
  client: given.client,
  format: given.format,
  language: given.language,
});

/** Whether a server answers. */
export type ServerCondition =
  | "stopped"
  | "up"
  | "down"
  | "unattended";

/** An Xray that vpnkit runs. */
export interface ManagedXray {
  readonly type: "managedXray";
  /** Name or IP that clients dial. */
  readonly address: string;
  /** The machine it runs on. Default: `main`. */
  readonly node?: string | undefined;
  /** Its name on the machine. A second Xray there needs one of its own. Default: `xray`. */
  readonly name?: string | undefined;
  /** The program. Default: `xray` from the search path. */
  readonly binary?: string | undefined;
  /** A directory of its own, absolute: config, API socket, lock. Created with mode 0700. */
  readonly directory: string;
  /**
   * Counters follow open connections: vision's splice is switched off (`XRAY_BUF_SPLICE=disable`). Without it the
   * bytes of a vision connection are counted when it ends, so a limit can be overrun by a whole download. The price is
   * CPU: bytes go through Xray instead of through the kernel.
   */
  readonly liveAccounting?: boolean | undefined;
  /**
   * Connections of a key that may no longer connect are cut, by closing the TCP connections from its addresses to
   * vpnkit's inbounds in the kernel. Needs CAP_NET_ADMIN. The price: customers behind the same address are cut too
   * (and reconnect), and behind a proxy or CDN that address is the proxy's, so leave it off there.
   */
  readonly cutConnections?: boolean | undefined;
  /**
   * It runs on when this process closes, is redeployed or crashes, so that no customer's connection ends: the next
   * process that opens the same store with the same server takes it over. While nobody does, expiry and limits do not
   * hold. It is ended by `servers.stop`.
   */
  readonly keepRunning?: boolean | undefined;
  /** How much Xray logs. Default: `warning`. */
  readonly logLevel?: LogLevel | undefined;
  /** What customers may reach through it. Default: not this machine, and no private network. */
  readonly egress?: Egress | undefined;
  /**
   * The operator's own `outbounds`, `routing` and `dns`, as in Xray's config. Rules come after those of `egress`; with
   * a `dns` of its own, names with changing answers are its servers' business. It may hold passwords, so it is not
   * shown.
   */
  readonly extra?: unknown | undefined;
}

/** @internal */
export const writeManagedXray = (operation: string, given: ManagedXray): Json => ({
  ...others(operation, given, [
    "type", "address", "node", "name", "binary", "directory", "liveAccounting", "cutConnections", "keepRunning",
    "logLevel", "egress", "extra",
  ]),
  type: "managed_xray",
  address: given.address,
  node: given.node,
  name: given.name,
  binary: given.binary,
  directory: given.directory,
  live_accounting: given.liveAccounting,
  cut_connections: given.cutConnections,
  keep_running: given.keepRunning,
  log_level: given.logLevel,
  egress: put(given.egress, (value) => writeEgress(operation, value)),
  extra: given.extra,
});

/** An Xray that somebody else runs. */
export interface AttachedXray {
  readonly type: "attachedXray";
  /** Name or IP that clients dial. */
  readonly address: string;
  /** The machine it runs on. Default: `main`. */
  readonly node?: string | undefined;
  /** Its name on the machine. A second Xray there needs one of its own. Default: `xray`. */
  readonly name?: string | undefined;
  /**
   * `unix:/path` or `host:port`. The API has no password: keep it in a socket file. A port on loopback is reached by
   * customers too, unless the routing of that Xray blocks private addresses.
   */
  readonly api: string;
  /** A binary of Xray, for `xray api adi`: with it inbounds can be added live. */
  readonly binary?: string | null | undefined;
  /** As with `ManagedXray.cutConnections`; only for an Xray on this machine, in this network namespace. */
  readonly cutConnections?: boolean | undefined;
  /** Say so when that Xray runs with `XRAY_BUF_SPLICE=disable`; vpnkit cannot see it. */
  readonly liveAccounting?: boolean | undefined;
}

/** @internal */
export const writeAttachedXray = (operation: string, given: AttachedXray): Json => ({
  ...others(operation, given, ["type", "address", "node", "name", "api", "binary", "cutConnections", "liveAccounting"]),
  type: "attached_xray",
  address: given.address,
  node: given.node,
  name: given.name,
  api: given.api,
  binary: given.binary,
  cut_connections: given.cutConnections,
  live_accounting: given.liveAccounting,
});

/** A server to drive. */
export type ServerConfig = ManagedXray | AttachedXray;

/** @internal */
export function writeServerConfig(operation: string, given: ServerConfig): Json {
  switch (given?.type) {
    case "managedXray":
      return writeManagedXray(operation, given);
    case "attachedXray":
      return writeAttachedXray(operation, given);
    default:
      throw unknownType(operation, "server", "managedXray, attachedXray");
  }
}

/** How a server does. */
export interface ServerStatus {
  /** `node/name`. */
  readonly id: string;
  /** Its node. */
  readonly node: string;
  /** Its program: `xray`. */
  readonly program: string;
  /** Name or IP that clients dial, unless an inbound has hosts of its own. */
  readonly address: string;
  /** The process that drives it, which says all this of it; `null` when there is none. */
  readonly driver: Driver | null;
  /** Whether it answers. */
  readonly state: ServerCondition;
  /** Why it is down, in one line. */
  readonly reason: string | null;
  /** How many of its lifetimes were seen, when it answers: grows with each restart that was noticed. */
  readonly lifetime: number | null;
  /** What it can do. */
  readonly capabilities: Capabilities;
  /** The program's version, when it answers. */
  readonly version: string | null;
  /** How long it has been running, when it answers. */
  readonly uptimeSeconds: number | null;
  /** Keys and inbounds that it has not taken over yet. */
  readonly pending: number;
  /** Inbounds that it refuses, by tag, and why: they are tried again, and everything else goes on. */
  readonly setAside: Readonly<Record<string, string>>;
  /**
   * What its operator should change, when it answers: customers may reach the API of an attached Xray, for instance.
   */
  readonly warnings: readonly string[];
}

/** @internal */
export const readServerStatus = (json: Json): ServerStatus =>
  Object.freeze({
    id: json.id,
    node: json.node,
    program: json.program,
    address: json.address,
    driver: maybe(json.driver, readDriver),
    state: json.state,
    reason: json.reason ?? null,
    lifetime: json.lifetime ?? null,
    capabilities: readCapabilities(json.capabilities),
    version: json.version ?? null,
    uptimeSeconds: maybe(json.uptime, lengthSeconds),
    pending: json.pending,
    setAside: json.set_aside,
    warnings: json.warnings,
  });

/**
 * A change of the settings: what is left out stays, `null` takes a value away. Lists and notices are replaced as a
 * whole.
 */
export interface SettingsPatch {
  /** Where subscriptions are served. */
  readonly baseUrl?: string | null | undefined;
  /** The name that clients show. */
  readonly title?: string | undefined;
  /** How often clients ask again, 1 to 720 hours. */
  readonly updateIntervalHours?: number | undefined;
  /** Where customers get help. */
  readonly supportUrl?: string | null | undefined;
  /** The service's own site. */
  readonly webPageUrl?: string | null | undefined;
  /** A message that clients show. */
  readonly announce?: string | null | undefined;
  /** Where the message leads. */
  readonly announceUrl?: string | null | undefined;
  /** Routing rules of Happ. */
  readonly routing?: string | null | undefined;
  /** The language of notices. */
  readonly language?: Language | undefined;
  /** The time zone of dates, in minutes east of UTC. */
  readonly utcOffsetMinutes?: number | undefined;
  /** What a client shows instead of servers. */
  readonly notices?: Notices | undefined;
  /** On how many devices a key without a limit of its own may be. */
  readonly deviceLimit?: number | null | undefined;
  /** Whether a client that names no device gets nothing where there is a limit. */
  readonly requireDevice?: boolean | undefined;
  /** Which client gets which format. */
  readonly clients?: readonly ClientRule[] | undefined;
  /** When another secret signs URLs. */
  readonly secretRotation?: KeyRotation | null | undefined;
}

/** @internal */
export const writeSettingsPatch = (operation: string, given: SettingsPatch): Json => ({
  ...others(operation, given, [
    "baseUrl", "title", "updateIntervalHours", "supportUrl", "webPageUrl", "announce", "announceUrl", "routing",
    "language", "utcOffsetMinutes", "notices", "deviceLimit", "requireDevice", "clients", "secretRotation",
  ]),
  base_url: given.baseUrl,
  title: given.title,
  update_interval_hours: given.updateIntervalHours,
  support_url: given.supportUrl,
  web_page_url: given.webPageUrl,
  announce: given.announce,
  announce_url: given.announceUrl,
  routing: given.routing,
  language: given.language,
  utc_offset_minutes: given.utcOffsetMinutes,
  notices: put(given.notices, (value) => writeNotices(operation, value)),
  device_limit: given.deviceLimit,
  require_device: given.requireDevice,
  clients: put(given.clients, (value) => list(operation, "clients", value).map((value) => writeClientRule(operation, value))),
  secret_rotation: put(given.secretRotation, (value) => writeKeyRotation(operation, value)),
});

/** What happens to a key that is used at more addresses at once than its `addressLimit`. */
export type SharingAction =
  | "warn"
  | "lock"
  | "rotate";

/**
 * How keys are kept from being shared. An IPv6 network of 64 bits is one address: a single device has many of those.
 */
export interface SharingPolicy {
  /** What happens. Default: `warn`. */
  readonly action?: SharingAction | undefined;
  /** For how long it is locked. Default: `10 minutes`. */
  readonly lockFor?: Length | undefined;
  /** How often servers are asked who is online. Default: `30 seconds`. */
  readonly checkEvery?: Length | undefined;
  /**
   * How many times in a row it must be too many: a phone that changes from one network to another is at two for a
   * moment. Default: 2.
   */
  readonly checks?: number | undefined;
}

/** @internal */
export const writeSharingPolicy = (operation: string, given: SharingPolicy): Json => ({
  ...others(operation, given, ["action", "lockFor", "checkEvery", "checks"]),
  action: given.action,
  lock_for: put(given.lockFor, (value) => lengthText(operation, "lockFor", value)),
  check_every: put(given.checkEvery, (value) => lengthText(operation, "checkEvery", value)),
  checks: given.checks,
});

/** What a check of the store has found. */
export interface StoreCheck {
  /** How many tables were read, with their indexes. */
  readonly tables: number;
  /** What is wrong, at most 100; empty is a sound store. */
  readonly faults: readonly string[];
}

/** @internal */
export const readStoreCheck = (json: Json): StoreCheck =>
  Object.freeze({ tables: json.tables, faults: json.faults });

/** Long work on the store that this process is doing. */
export interface StoreWork {
  /** The operation: `store.backUp`. */
  readonly operation: string;
  /** Steps that are done. */
  readonly done: number;
  /** Steps in all; 0 before that is known. */
  readonly total: number;
  /** When it was begun. */
  readonly since: Date;
}

/** @internal */
export const readStoreWork = (json: Json): StoreWork =>
  Object.freeze({ operation: json.operation, done: json.done, total: json.total, since: new Date(json.since) });

/** What the operator says of all subscriptions. */
export interface SubscriptionSettings {
  /** Where subscriptions are served: a URL is this, `/` and the token. Without it there are tokens but no URLs. */
  readonly baseUrl?: string | null | undefined;
  /** The name that clients show: 1 to 100 characters, with variables. Default: `VPN`. */
  readonly title?: string | undefined;
  /** How often clients ask again, 1 to 720 hours. Default: 12. */
  readonly updateIntervalHours?: number | undefined;
  /** Where customers get help: a URL, `https:`, `tg:` or `mailto:`. */
  readonly supportUrl?: string | null | undefined;
  /** The service's own site. Default: the page of the subscription. */
  readonly webPageUrl?: string | null | undefined;
  /** A message that clients show: up to 200 characters, with variables. */
  readonly announce?: string | null | undefined;
  /** Where the message leads. */
  readonly announceUrl?: string | null | undefined;
  /** Routing rules of Happ, as it imports them: `happ://routing/onadd/…`. */
  readonly routing?: string | null | undefined;
  /**
   * The language of notices, of `{STATUS_TEXT}`, and of the page for browsers that ask for no known one. Default:
   * `en`.
   */
  readonly language?: Language | undefined;
  /** The time zone of dates, in minutes east of UTC: 210 is Tehran. Default: 0. */
  readonly utcOffsetMinutes?: number | undefined;
  /** What a client shows instead of servers when a key may not connect. */
  readonly notices?: Notices | undefined;
  /** On how many devices a key without a limit of its own may be, as clients tell it by `x-hwid`. */
  readonly deviceLimit?: number | null | undefined;
  /** Whether a client that names no device gets nothing where there is a limit. Browsers always get their page. */
  readonly requireDevice?: boolean | undefined;
  /** Which client gets which format; comes before what is known of clients. */
  readonly clients?: readonly ClientRule[] | undefined;
  /**
   * When another secret signs URLs, without a call; `null` is never. URLs of before work for `keepOld` longer, and
   * then no more: only for services that give their customers the URL again and again.
   */
  readonly secretRotation?: KeyRotation | null | undefined;
}

/** @internal */
export const readSubscriptionSettings = (json: Json): Required<SubscriptionSettings> =>
  Object.freeze({
    baseUrl: json.base_url ?? null,
    title: json.title,
    updateIntervalHours: json.update_interval_hours,
    supportUrl: json.support_url ?? null,
    webPageUrl: json.web_page_url ?? null,
    announce: json.announce ?? null,
    announceUrl: json.announce_url ?? null,
    routing: json.routing ?? null,
    language: json.language,
    utcOffsetMinutes: json.utc_offset_minutes,
    notices: readNotices(json.notices),
    deviceLimit: json.device_limit ?? null,
    requireDevice: json.require_device,
    clients: json.clients.map(readClientRule),
    secretRotation: maybe(json.secret_rotation, readKeyRotation),
  });

/** @internal */
export const writeSubscriptionSettings = (operation: string, given: SubscriptionSettings): Json => ({
  ...others(operation, given, [
    "baseUrl", "title", "updateIntervalHours", "supportUrl", "webPageUrl", "announce", "announceUrl", "routing",
    "language", "utcOffsetMinutes", "notices", "deviceLimit", "requireDevice", "clients", "secretRotation",
  ]),
  base_url: given.baseUrl,
  title: given.title,
  update_interval_hours: given.updateIntervalHours,
  support_url: given.supportUrl,
  web_page_url: given.webPageUrl,
  announce: given.announce,
  announce_url: given.announceUrl,
  routing: given.routing,
  language: given.language,
  utc_offset_minutes: given.utcOffsetMinutes,
  notices: put(given.notices, (value) => writeNotices(operation, value)),
  device_limit: given.deviceLimit,
  require_device: given.requireDevice,
  clients: put(given.clients, (value) => list(operation, "clients", value).map((value) => writeClientRule(operation, value))),
  secret_rotation: put(given.secretRotation, (value) => writeKeyRotation(operation, value)),
});

/**
 * A format of the operator's own, in the language of Jinja.
 *
 * It sees `title`, `url`, `now`, `notice` (lines, empty for a key that may connect), `key` (`{{ key.id }}`, `name`,
 * `label`, `status`, `used`, `{{ key.data_limit }}`, `remaining`, `percentage`, `{{ key.expires_at }}`) and
 * `endpoints`, each with `remark`, `address`, `port`, `protocol`, `transport`, `security`, `secret`, `link`, and
 * `xray`, `clash` and `{{ endpoint.sing_box }}`: the objects that these programs read, `none` where they cannot use
 * the endpoint. Filters besides Jinja's own: `tojson`, `urlencode`, `base64`. Sizes are bytes, times seconds since
 * 1970. A name that is not there is an error.
 */
export interface SubscriptionTemplate {
  /** The media type of what it writes. */
  readonly contentType: string;
  /** Its text. */
  readonly source: string;
}

/** @internal */
export const readSubscriptionTemplate = (json: Json): SubscriptionTemplate =>
  Object.freeze({ contentType: json.content_type, source: json.source });

/** @internal */
export const writeSubscriptionTemplate = (operation: string, given: SubscriptionTemplate): Json => ({
  ...others(operation, given, ["contentType", "source"]),
  content_type: given.contentType,
  source: given.source,
});

/** Light or dark. */
export type Theme =
  | "light"
  | "dark";

/** What passed in one step. Steps without traffic are left out. */
export interface UsagePoint {
  /** Start of the step. */
  readonly at: Date;
  /** Bytes in both directions. */
  readonly traffic: Traffic;
  /** How wide it is: what is old is kept by UTC days, then by months, and cannot be told apart any more. */
  readonly step: UsageStep;
}

/** @internal */
export const readUsagePoint = (json: Json): UsagePoint =>
  Object.freeze({ at: new Date(json.at), traffic: readTraffic(json.traffic), step: json.step });

/** A change of a webhook. Fields that are not named stay as they are. */
export interface WebhookPatch {
  /** Where events are sent. */
  readonly url?: string | undefined;
  /** The kinds of events that it gets; empty is all. */
  readonly kinds?: readonly string[] | undefined;
  /** Only what is about this admin, or about keys that it owns; `null` is everything. */
  readonly admin?: number | null | undefined;
  /** Free text for the operator. */
  readonly note?: string | null | undefined;
  /** `true` sends nothing any more, `false` goes on where it was. */
  readonly disabled?: boolean | undefined;
}

/** @internal */
export const writeWebhookPatch = (operation: string, given: WebhookPatch): Json => ({
  ...others(operation, given, ["url", "kinds", "admin", "note", "disabled"]),
  url: given.url,
  kinds: put(given.kinds, (value) => list(operation, "kinds", value)),
  admin: given.admin,
  note: given.note,
  disabled: given.disabled,
});

/** How the deliveries of a webhook stand. */
export interface WebhookStatus {
  /** Which webhook. */
  readonly id: string;
  /** Up to which event everything was delivered. */
  readonly cursor: number;
  /** How many events are behind that one, those that it does not get included. */
  readonly pending: number;
  /** How many events were given up. */
  readonly deadLetters: number;
  /** When an event was last delivered, since a process has the deliveries. */
  readonly deliveredAt: Date | null;
  /** Since when nothing gets through. */
  readonly failingSince: Date | null;
  /** Why. */
  readonly error: string | null;
}

/** @internal */
export const readWebhookStatus = (json: Json): WebhookStatus =>
  Object.freeze({
    id: json.id,
    cursor: json.cursor,
    pending: json.pending,
    deadLetters: json.dead_letters,
    deliveredAt: maybe(json.delivered_at, (text: string) => new Date(text)),
    failingSince: maybe(json.failing_since, (text: string) => new Date(text)),
    error: json.error ?? null,
  });
