/** When a key ends: in days, in a length of time, or at a time. */
import { invalid } from "./errors.js";
import { type Length, lengthText } from "./sizes.js";

interface Times {
  readonly days?: number | undefined;
  readonly expiresIn?: Length | null | undefined;
  readonly expiresAt?: Date | null | undefined;
}

/** @internal The JSON of `days` or `expiresIn`; only one of the three may be given. */
export function lasting(operation: string, given: Times): string | null | undefined {
  const times = (["days", "expiresIn", "expiresAt"] as const).filter((name) => (given[name] ?? null) !== null);
  const [first, second] = times;
  if (second !== undefined) throw invalid(operation, second, `give \`${first}\` or \`${second}\`, not both`);
  const { days, expiresIn } = given;
  if (days !== undefined && days !== null) {
    if (typeof days !== "number" || !(days > 0 && days <= 3_650_000)) {
      throw invalid(operation, "days", "must be a number of days, more than 0 and at most 3650000");
    }
    return lengthText(operation, "days", { days });
  }
  return expiresIn === undefined || expiresIn === null ? expiresIn : lengthText(operation, "expiresIn", expiresIn);
}
