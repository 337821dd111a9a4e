/** From values to JSON and back: what the generated records need. */
import { VpnkitError, invalid } from "./errors.js";
import { snake } from "./names.js";

/** @internal What `JSON.parse` gives. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type Json = any;

/** Headers of a request: those of `node:http`, of Fetch, or pairs. */
export type RequestHeaders =
  | Readonly<Record<string, string | readonly string[] | undefined>>
  | Iterable<readonly [string, string]>;

/** @internal What is misspelled goes along: the native half tells where it stands. In JavaScript nobody else would. */
export function others(operation: string, given: object, names: readonly string[]): Json {
  if (typeof given !== "object" || given === null) throw invalid(operation, "request", "must be an object");
  const others: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(given)) {
    if (names.includes(name)) continue;
    // The native half would take it for the field that JavaScript calls differently.
    if (name.includes("_")) throw invalid(operation, name, "there is no such field");
    others[name] = value ?? null;
  }
  return others;
}

/** @internal The error about a record of no known type. */
export const unknownType = (operation: string, field: string, types: string): Error =>
  invalid(operation, field, `type must be one of ${types}`);

/** @internal A list of anything; a text is none. */
export function list<T>(operation: string, field: string, value: Iterable<T>): T[] {
  if (typeof value === "string" || typeof value?.[Symbol.iterator] !== "function") {
    throw invalid(operation, field, "must be a list");
  }
  return Array.from(value);
}

/** @internal Everything of a list, written; an error says which of them is at fault. */
export function each<T>(operation: string, field: string, values: Iterable<T>, write: (value: T) => Json): Json[] {
  return list(operation, field, values).map((value, index) => {
    try {
      return write(value);
    } catch (error) {
      throw error instanceof VpnkitError ? error.at(index) : error;
    }
  });
}

/** @internal Options that are misspelled, or stand where others do, would be lost without a word. */
export function onlyOptions(operation: string, options: object | undefined, ...names: string[]): void {
  if (options === undefined) return;
  if (typeof options !== "object" || options === null) throw invalid(operation, "options", "must be an object");
  const known = ["signal", ...names];
  const stray = Object.keys(options).find((name) => !known.includes(name));
  if (stray !== undefined) throw invalid(operation, stray, "there is no such option", `there are: ${known.join(", ")}`);
}

/** @internal One word of a set, or a list of them. */
export function oneOrMany(operation: string, field: string, value: string | readonly string[]): string[] {
  const all = typeof value === "string" ? [value] : list(operation, field, value);
  return all.map((word) => (typeof word === "string" ? snake(word) : word));
}

/** @internal Hides secrets from `JSON.stringify` and `console.log`: they are read by their names only. */
export function hiding<T extends object>(record: T, ...names: (keyof T)[]): T {
  for (const name of names) Object.defineProperty(record, name, { enumerable: false });
  return record;
}

/** @internal What is there is written; `undefined` stays away, `null` is itself. */
export const put = <T>(value: T | null | undefined, write: (value: T) => Json): Json =>
  value === undefined || value === null ? value : write(value);

/** @internal What is there is read. */
export const maybe = <T>(json: Json, read: (json: Json) => T): T | null =>
  json === undefined || json === null ? null : read(json);

/** @internal */
export function headerPairs(operation: string, given: RequestHeaders): [string, string][] {
  if (typeof given !== "object" || given === null) throw invalid(operation, "headers", "must be headers: an object, or pairs");
  const all = Symbol.iterator in given ? [...(given as Iterable<readonly [string, string]>)] : Object.entries(given);
  const text = (value: unknown): string => (Array.isArray(value) ? value.join(", ") : String(value));
  return all.filter(([, value]) => value !== undefined).map(([name, value]) => [name, text(value)]);
}
