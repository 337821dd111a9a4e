/** Events one by one. */
import { type CallOptions, begin, unless } from "./calls.js";
import { ClosedError } from "./errors.js";
import type { NativeStream } from "./native.js";
import { type Event, readEvent } from "./events.js";

const BATCH = 1_000;

/**
 * Events one by one: `for await (const event of stream)`. It ends when the kit is closed, or with the reason of its signal.
 *
 * Leaving the loop loses nothing: the next loop over the same stream goes on where the last one stopped. While somebody
 * waits for an event the process stays alive; an open stream that nobody waits for does not keep it.
 */
export class EventStream implements AsyncIterableIterator<Event> {
  readonly #native: NativeStream;
  readonly #signal: AbortSignal | undefined;
  #ready: Event[] = [];
  #taken = 0;
  #fetching: Promise<void> | undefined;
  #closed = false;

  /** @internal */
  constructor(native: NativeStream, options: CallOptions) {
    this.#native = native;
    this.#signal = options.signal;
  }

  /** The next event; `done` once the kit is closed. Several callers take turns. */
  async next(): Promise<IteratorResult<Event, undefined>> {
    for (;;) {
      this.#signal?.throwIfAborted();
      const event = this.#ready[this.#taken];
      if (event !== undefined) {
        this.#taken += 1;
        return { done: false, value: event };
      }
      if (this.#closed) return { done: true, value: undefined };
      // The answer belongs to the stream: the caller that waits for it may stop, another one gets it.
      this.#fetching ??= this.#fetch().finally(() => (this.#fetching = undefined));
      await (this.#signal === undefined ? this.#fetching : unless(this.#fetching, this.#signal));
    }
  }

  /** Leaves a loop; the stream stays where it is. */
  async return(): Promise<IteratorResult<Event, undefined>> {
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async #fetch(): Promise<void> {
    const json = await begin<string>((to, call) => this.#native.next(to, call, BATCH)).catch((error: unknown) => {
      if (error instanceof ClosedError) return "[]"; // Closed between two waits: the end, as when it is closed during one.
      throw error;
    });
    this.#ready = (JSON.parse(json) as unknown[]).map(readEvent);
    this.#taken = 0;
    this.#closed = this.#ready.length === 0;
  }
}
