/** Every call goes through here, and its errors and its aborting with it. */
import type { Json } from "./convert.js";
import { raised, recorded } from "./errors.js";
import { type NativeBatch, type NativeBridge, type NativeKit, native } from "./native.js";

/** What every call takes. */
export interface CallOptions {
  /** Ends the waiting; a change that has begun goes on to its end. */
  readonly signal?: AbortSignal | undefined;
}

/** The record of an error on its way to the function that awaits it: only there its stack names the caller. */
class Failed {
  constructor(readonly record: string) {}
}

interface Waiting {
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

const waiting = new Map<number, Waiting>();
let last = 0;

// The bridge itself does not keep the process alive, and neither does an open kit: this does, while somebody waits.
const alive = setInterval(() => undefined, 2 ** 30);
alive.unref();

const bridge = new native.NativeBridge((call, record, value) => {
  const one = waiting.get(call);
  waiting.delete(call);
  if (waiting.size === 0) alive.unref();
  if (record === null || record === undefined) one?.resolve(value);
  else one?.reject(new Failed(record));
});

/** @internal Begins a call and waits for it, or for the signal. */
export async function begin<T>(call: (bridge: NativeBridge, number: number) => void, signal?: AbortSignal): Promise<T> {
  try {
    return await started<T>(call, signal);
  } catch (error) {
    throw error instanceof Failed ? recorded(error.record) : error;
  }
}

function started<T>(call: (bridge: NativeBridge, number: number) => void, signal?: AbortSignal): Promise<T> {
  if (signal?.aborted) return Promise.reject(signal.reason as Error);
  const answer = new Promise<T>((resolve, reject) => {
    last = (last + 1) % 2 ** 32;
    try {
      call(bridge, last);
    } catch (error) {
      reject(raised(error) as Error);
      return;
    }
    if (waiting.size === 0) alive.ref();
    waiting.set(last, { resolve: resolve as (value: unknown) => void, reject });
  });
  return signal === undefined ? answer : unless(answer, signal);
}

/** @internal Waits for `answer` or for the signal. */
export function unless<T>(answer: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason as Error);
    signal.addEventListener("abort", abort, { once: true });
    answer.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

/** @internal Calls of one kit. */
export class Calls {
  readonly native: NativeKit;

  constructor(native: NativeKit) {
    this.native = native;
  }

  async call<T>(operation: string, args: unknown, read: (json: Json) => T, options?: CallOptions): Promise<T> {
    const text = JSON.stringify(args);
    const json = await begin<string>((to, call) => this.native.call(to, call, operation, text), options?.signal);
    return read(JSON.parse(json));
  }

  /** A call that returns many keys. */
  many(operation: string, args: unknown, options?: CallOptions): Promise<NativeBatch> {
    const text = JSON.stringify(args);
    return begin((to, call) => this.native.many(to, call, operation, text), options?.signal);
  }

  async close(): Promise<void> {
    await begin((to, call) => this.native.close(to, call));
    this.native.shutDown();
  }
}
