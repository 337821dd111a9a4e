/** The door: every call goes through here, and its errors and its aborting with it. */
import { raised } from "./errors.js";
import type { NativeBatch, NativeKit } from "./native.js";

/** What every call takes. */
export interface CallOptions {
  /** Ends the waiting; a change that has begun goes on to its end. */
  readonly signal?: AbortSignal | undefined;
}

/** @internal Waits for `promise` or for the signal; native errors become ours. */
export function settle<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T> {
  const answer = promise.catch((error: unknown) => {
    throw raised(error);
  });
  if (signal === undefined) return answer;
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason as Error);
    if (signal.aborted) {
      answer.catch(() => undefined);
      abort();
      return;
    }
    signal.addEventListener("abort", abort, { once: true });
    answer.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

/** @internal */
export class Door {
  readonly native: NativeKit;

  constructor(native: NativeKit) {
    this.native = native;
  }

  async call<J, T>(operation: string, args: unknown, read: (json: J) => T, options?: CallOptions): Promise<T> {
    options?.signal?.throwIfAborted();
    const json = await settle(this.begun(() => this.native.call(operation, JSON.stringify(args))), options?.signal);
    return read(JSON.parse(json) as J);
  }

  async createMany(args: string, options?: CallOptions): Promise<NativeBatch> {
    options?.signal?.throwIfAborted();
    return settle(this.begun(() => this.native.createMany(args)), options?.signal);
  }

  /** A call that cannot even begin is a rejection too. */
  begun<T>(call: () => Promise<T>): Promise<T> {
    try {
      return call();
    } catch (error) {
      return Promise.reject(error as Error);
    }
  }
}
