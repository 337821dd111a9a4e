/** Names as JavaScript and as JSON write them. */

/** @internal `dataLimit` from `data_limit`. */
export const camel = <T extends string = string>(name: string): T =>
  name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()) as T;

/** @internal `data_limit` from `dataLimit`. */
export const snake = (name: string): string => String(name).replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
