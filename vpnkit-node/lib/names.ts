/** Names as JavaScript and as JSON write them. */

/** @internal `dataLimit` from `data_limit`. */
export const camel = (name: string): string => name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());

/** @internal `data_limit` from `dataLimit`. */
export const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** @internal An object with other names, its values as they are. */
export const renamed = (given: object, rename: (name: string) => string): Record<string, unknown> =>
  Object.fromEntries(Object.entries(given).map(([name, value]) => [rename(name), value]));

/** @internal The same for everything inside it. */
export function deeply(given: unknown, rename: (name: string) => string): unknown {
  if (Array.isArray(given)) return given.map((one) => deeply(one, rename));
  if (given === null || typeof given !== "object") return given;
  return Object.fromEntries(Object.entries(given).map(([name, value]) => [rename(name), deeply(value, rename)]));
}
