/** How callers name a key. */
import { attempt, invalid } from "./errors.js";
import { native } from "./native.js";
import type { Key } from "./records.js";

/** A key by its id, its name, its UUID (`{ uid }`), or the key itself. */
export type KeyLike = number | string | { readonly uid: string } | Key;

/** @internal */
export function keyRef(operation: string, field: string, key: KeyLike): number | string {
  if (typeof key === "number") return key;
  if (typeof key === "string") return `name:${key}`;
  if (typeof key === "object" && key !== null) {
    if ("id" in key && typeof key.id === "number") return key.id;
    if ("uid" in key && typeof key.uid === "string") return `uid:${key.uid}`;
  }
  throw invalid(operation, field, "is no key", "give an id, a name, { uid } or the key");
}

/** @internal */
export function keyId(operation: string, field: string, key: number | Key): number {
  const id = typeof key === "object" && key !== null ? key.id : key;
  if (!Number.isSafeInteger(id)) throw invalid(operation, field, "is no key", "give the key or its id");
  return id;
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
