/** The native half: calls as the name of an operation and JSON, settled by their numbers. */
import { join } from "node:path";

/** @internal */
export interface NativeBridge {
  readonly bridge: unique symbol;
}

/** @internal */
export interface NativeBatch {
  readonly length: number;
  at(index: number): string | null;
}

/** @internal */
export interface NativeStream {
  next(bridge: NativeBridge, call: number, max: number): void;
  acknowledge(bridge: NativeBridge, call: number): void;
  close(bridge: NativeBridge, call: number): void;
}

/** @internal */
export interface NativeKit {
  call(bridge: NativeBridge, call: number, operation: string, args: string): void;
  many(bridge: NativeBridge, call: number, operation: string, args: string): void;
  view(
    actor: string | undefined,
    reason: string | undefined,
    admin: number | undefined,
    scopes: readonly string[] | undefined,
    dryRun: boolean,
  ): NativeKit;
  events(after: number): NativeStream;
  consume(name: string, after: number | undefined): NativeStream;
  close(bridge: NativeBridge, call: number): void;
  shutDown(): void;
}

/** @internal */
export interface NativeProgress {
  steps(): [number, number];
  cancel(): void;
}

interface Native {
  NativeProgress: new () => NativeProgress;
  restore(bridge: NativeBridge, call: number, backup: string, store: string, progress: NativeProgress): void;
  NativeBridge: new (settle: (call: number, record: string | null, value: unknown) => void) => NativeBridge;
  open(bridge: NativeBridge, call: number, config: string, sandbox: boolean): void;
  parseSize(text: string): number;
  formatSize(bytes: number): string;
  parseDuration(text: string): number;
  parseKey(text: string): string;
  qrPng(text: string, size: number): Buffer;
  qrSvg(text: string): string;
  qrTerminal(text: string): string;
  realityKeys(): [string, string];
  shortId(): string;
  stopLeftRunning(directory: string): boolean;
  checkCredential(protocol: string, secret: string): void;
}

function load(): Native {
  const file = `vpnkit.${process.platform}-${process.arch}.node`;
  try {
    return require(join(__dirname, file)) as Native;
  } catch (cause) {
    const why = `vpnkit has no native part that runs here (${file}): it is built for Linux with glibc`;
    throw new Error(why, { cause });
  }
}

/** @internal */
export const native = load();
