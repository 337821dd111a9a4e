/** Names as JavaScript and as JSON write them. */

/** @internal `dataLimit` from `data_limit`. */
export const camel = (name: string): string => name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());

/** @internal `data_limit` from `dataLimit`. */
export const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
