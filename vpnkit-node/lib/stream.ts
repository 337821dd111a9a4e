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
  /** @internal */
  protected readonly native: NativeStream;
  /** @internal */
  protected readonly batch: number = BATCH;
  readonly #signal: AbortSignal | undefined;
  #ready: Event[] = [];
  #taken = 0;
  #fetching: Promise<void> | undefined;
  #closed = false;

  /** @internal */
  constructor(native: NativeStream, options: CallOptions) {
    this.native = native;
    for (const name of ["native", "batch"]) Object.defineProperty(this, name, { enumerable: false });
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
    const json = await begin<string>((to, call) => this.native.next(to, call, this.batch)).catch((error: unknown) => {
      if (error instanceof ClosedError) return "[]"; // Closed between two waits: the end, as when it is closed during one.
      throw error;
    });
    this.#ready = (JSON.parse(json) as unknown[]).map(readEvent);
    this.#taken = 0;
    this.#closed = this.#ready.length === 0;
  }
}

/**
 * Events one by one, each at least once to one of those who consume under the name: `for await (const event of consumer)`. An
 * event counts as handled when the next one is asked for; leave the loop, and the last one comes again.
 *
 * `await using consumer = kit.events.consume("bot")`, or `close`, lets another process have its turn at once in the end.
 */
export class EventConsumer extends EventStream implements AsyncDisposable {
  /** @internal */
  protected override readonly batch: number = 1;

  /** Counts the event that was given out last as handled, without asking for the next one. */
  async acknowledge(): Promise<void> {
    await begin((to, call) => this.native.acknowledge(to, call));
  }

  /** Ends it; what was handled is told. Nobody may wait for its next event. */
  async close(): Promise<void> {
    await begin((to, call) => this.native.close(to, call)).catch((error: unknown) => {
      if (!(error instanceof ClosedError)) throw error;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
