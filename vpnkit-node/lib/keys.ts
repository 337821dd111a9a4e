/** Keys: what is asked of them, what is answered. */
import { inspect } from "node:util";

import { attempt, invalid } from "./errors.js";
import { native, type NativeBatch } from "./native.js";
import { type Length, type Size, lengthText, momentText, sizeText } from "./sizes.js";

/** Whether a key may connect, and if not, why. */
export type KeyStatus = "active" | "disabled" | "limited" | "expired";

/** What a credential opens. */
export type CredentialKind = "vless" | "vmess" | "trojan" | "shadowsocks" | "shadowsocks-2022";

/** One way of a key into one protocol from one device. Neither `console.log` nor JSON shows the secret. */
export class Credential {
  readonly protocol: CredentialKind;
  /** The device that uses it. */
  readonly device: string;
  readonly #secret: string;

  /**
   * An existing credential, for keys that move in from elsewhere: a UUID for vless and vmess, a password for trojan and
   * shadowsocks, 32 bytes in base64 for shadowsocks-2022.
   */
  constructor(protocol: CredentialKind, secret: string, device = "default") {
    attempt(() => native.checkCredential(protocol, secret));
    this.protocol = protocol;
    this.device = device;
    this.#secret = secret;
  }

  /** The secret itself. */
  get secret(): string {
    return this.#secret;
  }
}

/** Bytes in both directions. */
export interface Traffic {
  /** Client to server. */
  readonly up: number;
  /** Server to client. */
  readonly down: number;
}

/** A customer's key as it stands in the store. */
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
  /** Free text for the operator. */
  readonly note: string | null;
  /** The id of the admin who owns it. */
  readonly owner: number | null;
  readonly status: KeyStatus;
  /** Bytes that it may use; `null` is unlimited. */
  readonly dataLimit: number | null;
  /** Bytes that count against the limit. */
  readonly used: number;
  /** What is left of the limit; `null` is unlimited. */
  readonly remaining: number | null;
  /** Bytes over the whole life of the key; a reset of `used` leaves them. */
  readonly traffic: Traffic;
  /** When it ends; `null` is never. */
  readonly expiresAt: Date | null;
  /** On how many devices its subscription may be; `null` is as the settings say. */
  readonly deviceLimit: number | null;
  /** Grows when its links are revoked. */
  readonly linkRevision: number;
  /** The tags of the inbounds that it is on; `null` is all shared ones. */
  readonly inbounds: readonly string[] | null;
  /** What it connects with. */
  readonly credentials: readonly Credential[];
  readonly createdAt: Date;
  /** When it was last changed, traffic aside. */
  readonly updatedAt: Date;
  /** When traffic of it was last seen. */
  readonly seenAt: Date | null;
  /** This answer is that of an earlier call with the same idempotency key: nothing was created now. */
  readonly replayed: boolean;
}

/** A key by its id, its name, its UUID (`{ uid }`), or the key itself. */
export type KeyLike = number | string | { readonly uid: string } | Key;

/**
 * A key to be created. Everything is optional: without a limit it is unlimited, without a time it never ends. Give one of
 * `days`, `expiresIn` (both from the creation on) and `expiresAt`.
 */
export interface CreateKey {
  /** The handle: 1 to 64 of `A-Z a-z 0-9 . _ @ + -`, unique without regard to case. */
  readonly name?: string | undefined;
  /** Free text, up to 256 characters. */
  readonly label?: string | undefined;
  /** Free text for the operator, up to 4,000 characters. */
  readonly note?: string | undefined;
  /** The id of the owning admin. */
  readonly owner?: number | undefined;
  /** `GiB(50)` or `"50 GiB"`; without it unlimited. */
  readonly dataLimit?: Size | null | undefined;
  /** So many times 24 hours. */
  readonly days?: number | undefined;
  /** `{ hours: 12 }` or `"12 hours"`. */
  readonly expiresIn?: Length | undefined;
  /** A moment in the future. */
  readonly expiresAt?: Date | null | undefined;
  /** On how many devices its subscription may be, at least 1; without it as the settings say. */
  readonly deviceLimit?: number | null | undefined;
  /** Tags of inbounds; without it all shared ones, also those that come later. */
  readonly inbounds?: readonly string[] | null | undefined;
  /** Existing ones, for keys that move in from elsewhere; missing ones are made. */
  readonly credentials?: readonly Credential[] | undefined;
  /** Created switched off. */
  readonly disabled?: boolean | undefined;
  /** The same text again returns the first key instead of a second one: a payment id. */
  readonly idempotencyKey?: string | undefined;
}

/** A change of a key: what is left out stays; `null` takes the value away (unlimited, never, no name, all inbounds). */
export interface KeyPatch {
  readonly name?: string | null | undefined;
  readonly label?: string | null | undefined;
  readonly note?: string | null | undefined;
  readonly owner?: number | null | undefined;
  readonly dataLimit?: Size | null | undefined;
  /** A moment in the past ends the key at once. */
  readonly expiresAt?: Date | null | undefined;
  readonly deviceLimit?: number | null | undefined;
  readonly inbounds?: readonly string[] | null | undefined;
  /** `false` switches it off by hand, `true` takes that back. */
  readonly enabled?: boolean | undefined;
  /** Sets `used` to nothing. */
  readonly resetUsage?: boolean | undefined;
  /** Makes every subscription URL that was given out worthless. */
  readonly revokeLinks?: boolean | undefined;
  /** Replaces the credentials of the same protocol and device, adds the others. */
  readonly credentials?: readonly Credential[] | undefined;
}

/** Which keys. The default finds all, sorted by id, 100 a page. */
export interface KeyQuery {
  /** Only with this text in name, label or note, without regard to case. */
  readonly search?: string | undefined;
  /** Only with one of these statuses. */
  readonly status?: KeyStatus | readonly KeyStatus[] | undefined;
  readonly owner?: number | undefined;
  readonly sort?: "id" | "name" | "expiresAt" | "used" | undefined;
  /** From the largest to the smallest. Ties are broken by id; keys without the value come last in ascending order. */
  readonly descending?: boolean | undefined;
  /** At most so many keys a page: 1 to 10,000. */
  readonly limit?: number | undefined;
  /** The `next` or `previous` of another page. */
  readonly page?: string | null | undefined;
}

/** A page of keys, and where the pages beside it begin. It can be iterated. */
export class Page implements Iterable<Key> {
  readonly keys: readonly Key[];
  /** The page after it: give it to `find({ page })`; `null` on the last one. At most 40 characters. */
  readonly next: string | null;
  /** The page before it; `null` on the first one. */
  readonly previous: string | null;

  /** @internal */
  constructor(json: { keys: KeyJson[]; next: string | null; previous: string | null }) {
    this.keys = json.keys.map(keyOf);
    this.next = json.next;
    this.previous = json.previous;
  }

  [Symbol.iterator](): Iterator<Key> {
    return this.keys[Symbol.iterator]();
  }
}

/** @internal */
export interface KeyJson {
  id: number;
  uid: string;
  version: number;
  name: string | null;
  label: string | null;
  note: string | null;
  owner: number | null;
  status: KeyStatus;
  data_limit: number | null;
  used: number;
  remaining: number | null;
  traffic: TrafficJson;
  expires_at: string | null;
  device_limit: number | null;
  link_revision: number;
  inbounds: string[] | null;
  credentials: { protocol: CredentialKind; device: string; secret: string }[];
  created_at: string;
  updated_at: string;
  seen_at: string | null;
  replayed: boolean;
}

/** @internal */
export interface TrafficJson {
  up: number;
  down: number;
}

/** @internal */
export const trafficOf = (json: TrafficJson): Traffic => Object.freeze({ up: json.up, down: json.down });

const date = (text: string | null): Date | null => (text === null ? null : new Date(text));

/** @internal */
export function keyOf(json: KeyJson): Key {
  return Object.freeze({
    id: json.id,
    uid: json.uid,
    version: json.version,
    name: json.name,
    label: json.label,
    note: json.note,
    owner: json.owner,
    status: json.status,
    dataLimit: json.data_limit,
    used: json.used,
    remaining: json.remaining,
    traffic: trafficOf(json.traffic),
    expiresAt: date(json.expires_at),
    deviceLimit: json.device_limit,
    linkRevision: json.link_revision,
    inbounds: json.inbounds,
    credentials: json.credentials.map((c) => new Credential(c.protocol, c.secret, c.device)),
    createdAt: new Date(json.created_at),
    updatedAt: new Date(json.updated_at),
    seenAt: date(json.seen_at),
    replayed: json.replayed,
  });
}

/** Many keys in the order of their requests. Each is made when it is looked at, so that a hundred thousand cost nothing. */
export class KeyBatch implements Iterable<Key> {
  readonly #native: NativeBatch;
  readonly length: number;

  /** @internal */
  constructor(batch: NativeBatch) {
    this.#native = batch;
    this.length = batch.length;
  }

  /** The key at a place; negative counts from the end. */
  at(index: number): Key | undefined {
    const place = index < 0 ? this.length + index : index;
    if (!Number.isInteger(place) || place < 0) return undefined;
    const json = this.#native.at(place);
    return json === null ? undefined : keyOf(JSON.parse(json) as KeyJson);
  }

  *[Symbol.iterator](): Iterator<Key> {
    for (let place = 0; place < this.length; place += 1) yield this.at(place) as Key;
  }

  /** All of them. */
  toArray(): Key[] {
    return [...this];
  }

  /** The keys, for `JSON.stringify`. */
  toJSON(): Key[] {
    return this.toArray();
  }

  [inspect.custom](): string {
    return `KeyBatch(${this.length})`;
  }
}

/** @internal */
export function keyRef(operation: string, key: KeyLike): number | string {
  if (typeof key === "number") return key;
  if (typeof key === "string") return `name:${key}`;
  if (typeof key === "object" && key !== null) {
    if ("id" in key && typeof key.id === "number") return key.id;
    if ("uid" in key && typeof key.uid === "string") return `uid:${key.uid}`;
  }
  throw invalid(operation, "key", "is no key", "give an id, a name, { uid } or the key");
}

/**
 * A key as it stands in a URL or a command: `1` and `id:1` are an id, a UUID and `uid:…` a UUID, everything else and
 * `name:1` a name. Throws InvalidInputError.
 */
export function parseKey(text: string): number | string | { readonly uid: string } {
  const [, kind, value] = /^(\w+):(.*)$/su.exec(attempt(() => native.parseKey(String(text)))) as unknown as [string, string, string];
  if (kind === "id") return Number(value);
  return kind === "uid" ? { uid: value } : value;
}

/** @internal */
export function keyId(operation: string, field: string, key: number | Key): number {
  const id = typeof key === "object" && key !== null ? key.id : key;
  if (!Number.isSafeInteger(id)) throw invalid(operation, field, "is no key", "give the key or its id");
  return id;
}

const secrets = (credentials: readonly Credential[]): unknown[] =>
  credentials.map((c) => ({ protocol: c.protocol, device: c.device, secret: c.secret }));

function only(operation: string, tags: readonly string[]): unknown {
  if (!Array.isArray(tags)) throw invalid(operation, "inbounds", "must be a list of tags");
  return tags;
}

/** Refuses what is misspelled: in JavaScript nobody else would tell. */
function known(operation: string, given: object, names: ReadonlySet<string>): void {
  if (typeof given !== "object" || given === null) throw invalid(operation, "request", "must be an object");
  for (const name in given) if (!names.has(name)) throw invalid(operation, name, "there is no such field");
}

const CREATE = new Set([
  "name", "label", "note", "owner", "dataLimit", "days", "expiresIn", "expiresAt", "deviceLimit", "inbounds", "credentials", "disabled",
  "idempotencyKey",
]);

/** @internal */
export function createJson(operation: string, request: CreateKey): Record<string, unknown> {
  known(operation, request, CREATE);
  const times = (["days", "expiresIn", "expiresAt"] as const).filter((name) => (request[name] ?? null) !== null);
  const [first, second] = times;
  if (second !== undefined) throw invalid(operation, second, `give \`${first}\` or \`${second}\`, not both`);
  const json: Record<string, unknown> = {};
  if (request.name !== undefined) json["name"] = request.name;
  if (request.label !== undefined) json["label"] = request.label;
  if (request.note !== undefined) json["note"] = request.note;
  if (request.owner !== undefined) json["owner"] = request.owner;
  if ((request.deviceLimit ?? null) !== null) json["device_limit"] = request.deviceLimit;
  if (request.disabled !== undefined) json["disabled"] = request.disabled;
  if (request.idempotencyKey !== undefined) json["idempotency_key"] = request.idempotencyKey;
  if ((request.dataLimit ?? null) !== null) json["data_limit"] = sizeText(operation, "dataLimit", request.dataLimit as Size);
  if (request.days !== undefined) {
    if (typeof request.days !== "number" || !(request.days > 0 && request.days < 3_650_000)) {
      throw invalid(operation, "days", "must be a number of days, more than 0");
    }
    json["expires_in"] = lengthText(operation, "days", { days: request.days });
  }
  if (request.expiresIn !== undefined) json["expires_in"] = lengthText(operation, "expiresIn", request.expiresIn);
  if ((request.expiresAt ?? null) !== null) json["expires_at"] = momentText(operation, "expiresAt", request.expiresAt as Date);
  if ((request.inbounds ?? null) !== null) json["inbounds"] = only(operation, request.inbounds as string[]);
  if (request.credentials !== undefined) json["credentials"] = secrets(request.credentials);
  return json;
}

const PATCH = new Set([
  "name", "label", "note", "owner", "dataLimit", "expiresAt", "deviceLimit", "inbounds", "enabled", "resetUsage",
  "revokeLinks", "credentials",
]);

/** @internal */
export function patchJson(patch: KeyPatch): Record<string, unknown> {
  const operation = "keys.update";
  known(operation, patch, PATCH);
  const json: Record<string, unknown> = {};
  const put = <T>(name: string, value: T | null | undefined, shape: (value: T) => unknown): void => {
    if (value !== undefined) json[name] = value === null ? null : shape(value);
  };
  const same = (value: unknown): unknown => value;
  put("name", patch.name, same);
  put("label", patch.label, same);
  put("note", patch.note, same);
  put("owner", patch.owner, same);
  put("device_limit", patch.deviceLimit, same);
  put("data_limit", patch.dataLimit, (size) => sizeText(operation, "dataLimit", size));
  put("expires_at", patch.expiresAt, (moment) => momentText(operation, "expiresAt", moment));
  if (patch.inbounds !== undefined) json["inbounds"] = patch.inbounds === null ? null : only(operation, patch.inbounds);
  if (patch.enabled !== undefined) json["enabled"] = patch.enabled;
  if (patch.resetUsage !== undefined) json["reset_usage"] = patch.resetUsage;
  if (patch.revokeLinks !== undefined) json["revoke_links"] = patch.revokeLinks;
  if (patch.credentials !== undefined) json["credentials"] = secrets(patch.credentials);
  return json;
}

const QUERY = new Set(["search", "status", "owner", "sort", "descending", "limit", "page"]);

/** @internal */
export function queryJson(query: KeyQuery): Record<string, unknown> {
  known("keys.find", query, QUERY);
  const { status, sort, ...rest } = query;
  const json: Record<string, unknown> = { ...rest };
  if (status !== undefined) json["status"] = typeof status === "string" ? [status] : status;
  if (sort !== undefined) json["sort"] = sort === "expiresAt" ? "expires_at" : sort;
  return json;
}
