/** The native half: calls as the name of an operation and JSON, answers as promises of JSON. */
import { join } from "node:path";

export interface NativeBatch {
  readonly length: number;
  at(index: number): string | null;
}

export interface NativeStream {
  next(max: number): Promise<string>;
}

export interface NativeKit {
  call(operation: string, args: string): Promise<string>;
  createMany(args: string): Promise<NativeBatch>;
  events(after: bigint): NativeStream;
  close(): Promise<void>;
  shutDown(): void;
}

interface Native {
  open(config: string, sandbox: boolean): Promise<NativeKit>;
  parseSize(text: string): bigint;
  formatSize(bytes: bigint): string;
  parseDuration(text: string): number;
  qrPng(text: string, size: number): Buffer;
  qrSvg(text: string): string;
  qrTerminal(text: string): string;
  realityKeys(): [string, string];
  shortId(): string;
  checkCredential(protocol: string, secret: string): void;
  errorCodes(): string[];
  eventKinds(): string[];
  operations(): string[];
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

export const native = load();
