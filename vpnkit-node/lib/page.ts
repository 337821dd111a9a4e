/** A page of keys. */
import type { Json } from "./convert.js";
import { type Key, readKey } from "./records.js";

/** A page of keys, and where the pages beside it begin. It can be iterated. */
export class Page implements Iterable<Key> {
  readonly keys: readonly Key[];
  /** The page after it: give it to `find({ page })`; `null` on the last one. At most 40 characters. */
  readonly next: string | null;
  /** The page before it; `null` on the first one. */
  readonly previous: string | null;

  /** @internal */
  constructor(json: Json) {
    this.keys = json.keys.map(readKey);
    this.next = json.next;
    this.previous = json.previous;
  }

  [Symbol.iterator](): Iterator<Key> {
    return this.keys[Symbol.iterator]();
  }
}

/** @internal */
export const readPage = (json: Json): Page => new Page(json);
