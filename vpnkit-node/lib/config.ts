/** What to open. */
import { list } from "./convert.js";
import { invalid } from "./errors.js";
import { snake } from "./names.js";
import { type ServerConfig, type ReminderPolicy, type SharingPolicy, writeReminderPolicy, writeServerConfig, writeSharingPolicy } from "./records.js";
import { type Length, lengthText } from "./sizes.js";

/** Everything that `open` needs. */
export interface Config {
  /** `"sqlite:PATH"` or `"memory:"`. */
  readonly store: string;
  /** The servers to drive; none is fine. */
  readonly servers?: readonly ServerConfig[];
  /** Encrypts credentials and private keys in the store. */
  readonly passphrase?: string;
  /** What the passphrase was before: a store that still has it gets `passphrase`. One that has that already opens as ever. */
  readonly previousPassphrase?: string;
  /** Between two readings of a server's counters. Default: 10 seconds. */
  readonly collectEvery?: Length;
  /** Between two full comparisons of a server with the store. Default: 5 minutes. */
  readonly reconcileEvery?: Length;
  /** How long events are kept, and idempotency keys of calls that grant nothing. Default: 30 days. */
  readonly keepEvents?: Length;
  /** How long the timelines of keys have events, if that is longer. Default: 180 days. */
  readonly keepTimelines?: Length;
  /** How long a key's traffic is kept by the hour; older traffic is kept by the day. Default: 62 days. */
  readonly keepHourly?: Length;
  /** How long a key's traffic is kept by the day; older traffic is kept by the month, for ever. Default: 800 days. */
  readonly keepDaily?: Length;
  /** The calendar that resets of usage go by where a key names none: `Europe/Berlin`. Default: UTC. */
  readonly timeZone?: string;
  /** What happens to keys that are used at more addresses at once than their `addressLimit`. Default: an event tells of it. */
  readonly sharing?: SharingPolicy;
  /** When events remind of the end of a key. Default: at 80 and 90 percent of the limit, 3 days and 1 day before the end. */
  readonly reminders?: ReminderPolicy;
  /** Whether webhooks may lead to addresses of this machine and of private networks. Default: no. */
  readonly privateWebhooks?: boolean;
  /** Whether background work runs. Default: yes. Without it only `kit.tick()` reads counters and ends keys. */
  readonly background?: boolean;
}

/** @internal */
export function configJson(config: Config): string {
  if (typeof config !== "object" || config === null) throw invalid("open", "config", "must be an object", 'open({ store: "sqlite:bot.db" })');
  const { servers = [], collectEvery, reconcileEvery, keepEvents, keepTimelines, keepHourly, keepDaily, timeZone, sharing, reminders, previousPassphrase, privateWebhooks, ...rest } = config;
  const json: Record<string, unknown> = { ...rest, servers: list("open", "servers", servers).map((one) => writeServerConfig("open", one)) };
  for (const [name, length] of Object.entries({ collectEvery, reconcileEvery, keepEvents, keepTimelines, keepHourly, keepDaily })) {
    if (length !== undefined) json[snake(name)] = lengthText("open", name, length);
  }
  if (sharing !== undefined) json["sharing"] = writeSharingPolicy("open", sharing);
  if (reminders !== undefined) json["reminders"] = writeReminderPolicy("open", reminders);
  if (privateWebhooks !== undefined) json["private_webhooks"] = privateWebhooks;
  if (timeZone !== undefined) json["time_zone"] = timeZone;
  if (previousPassphrase !== undefined) json["previous_passphrase"] = previousPassphrase;
  return JSON.stringify(json);
}
