/** Many keys. */
import { inspect } from "node:util";

import type { NativeBatch } from "./native.js";
import { type Key, readKey } from "./records.js";

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
    return json === null ? undefined : readKey(JSON.parse(json));
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
