/** Sizes and lengths of time that cannot be confused. */
import { attempt, invalid } from "./errors.js";
import { native } from "./native.js";

/**
 * A number of bytes (`GiB(50)`), or a text with its unit (`"50 GiB"`). Numbers are exact up to 2^53; larger ones, and those
 * below 1,024, which are most likely a forgotten unit, are refused: write `"50 B"` if you mean it.
 */
export type Size = number | string;

/** A length of time: `"30 days"` or `{ days: 30 }`. A `number` is refused. */
export type Length =
  | string
  | { readonly days?: number; readonly hours?: number; readonly minutes?: number; readonly seconds?: number };

const unit = (bytes: number) => (n: number): number => Math.round(n * bytes);

/** `n` × 2^10 bytes. */
export const KiB = unit(2 ** 10);
/** `n` × 2^20 bytes. */
export const MiB = unit(2 ** 20);
/** `n` × 2^30 bytes. */
export const GiB = unit(2 ** 30);
/** `n` × 2^40 bytes. */
export const TiB = unit(2 ** 40);
/** `n` × 10^6 bytes. */
export const MB = unit(1e6);
/** `n` × 10^9 bytes. */
export const GB = unit(1e9);
/** `n` × 10^12 bytes. */
export const TB = unit(1e12);

/** Bytes of a text like `"50 GiB"`. */
export function parseSize(text: string): number {
  const bytes = attempt(() => native.parseSize(text));
  if (!Number.isSafeInteger(bytes)) throw invalid("parseSize", "text", "is more than 2^53 bytes");
  return bytes;
}

/** Bytes for people: `formatSize(key.used)` is `"1.5 GiB"`. */
export function formatSize(bytes: number): string {
  if (!Number.isSafeInteger(bytes)) throw invalid("formatSize", "bytes", "must be a whole number of bytes, up to 2^53");
  return bytes < 0 ? `-${native.formatSize(-bytes)}` : native.formatSize(bytes);
}

/** What comes back must be exact. */
function sizeOfText(operation: string, field: string, text: string): string {
  let bytes: number;
  try {
    bytes = native.parseSize(text);
  } catch {
    return text; // What is wrong with it is told with the call.
  }
  if (!Number.isSafeInteger(bytes)) throw invalid(operation, field, "is more than 2^53 bytes");
  return text;
}

/** @internal */
export function sizeText(operation: string, field: string, value: Size): string {
  const hint = 'write GiB(50) or "50 GiB"';
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) {
    if (value > 0 && value < 1_024) throw invalid(operation, field, `${value} bytes: a unit is missing`, hint);
    return `${value} B`;
  }
  if (typeof value === "number") throw invalid(operation, field, "must be a whole number of bytes, up to 2^53", hint);
  if (typeof value === "string") return sizeOfText(operation, field, value);
  throw invalid(operation, field, "a size needs its unit", hint);
}

const SECONDS = { days: 86_400, hours: 3_600, minutes: 60, seconds: 1 } as const;

/** @internal */
export function lengthText(operation: string, field: string, value: Length): string {
  if (typeof value === "string") return value;
  const fault = () => invalid(operation, field, "a length of time needs its unit", 'write { days: 30 } or "30 days"');
  if (typeof value !== "object" || value === null) throw fault();
  let seconds = 0;
  for (const [name, count] of Object.entries(value)) {
    if (!(name in SECONDS) || typeof count !== "number" || !Number.isFinite(count)) throw fault();
    seconds += count * SECONDS[name as keyof typeof SECONDS];
  }
  return `${Math.round(seconds * 1000)} ms`;
}

/** @internal */
export const lengthMillis = (operation: string, field: string, value: Length): number => {
  const text = lengthText(operation, field, value);
  return attempt(() => native.parseDuration(text));
};

/** @internal The seconds of a length in JSON. */
export const lengthSeconds = (text: string): number => native.parseDuration(text) / 1000;

/** @internal */
export function timeText(operation: string, field: string, value: Date): string {
  if (!(value instanceof Date) || Number.isNaN(value.getTime())) throw invalid(operation, field, "needs a valid Date");
  return value.toISOString();
}
