/**
 * An embeddable VPN control plane: keys, limits, traffic accounting and servers in your own process.
 *
 * ```ts
 * import { GiB, open } from "vpnkit";
 *
 * await using kit = await open({ store: "sqlite:bot.db" });
 * const key = await kit.keys.create({ name: "alice", dataLimit: GiB(50), days: 30 });
 * ```
 */
import type { CallOptions } from "./calls.js";
import type { Config } from "./config.js";
import { Kit } from "./kit.js";
import { opened } from "./opening.js";

export type { CallOptions } from "./calls.js";
export type { Config } from "./config.js";
export type { RequestHeaders } from "./convert.js";
export { Credential } from "./credential.js";
export { Endpoint } from "./endpoint.js";
export {
  AlreadyExistsError,
  BinaryMissingError,
  ClosedError,
  ConflictError,
  CursorExpiredError,
  type ErrorCode,
  ForkError,
  InUseError,
  InvalidConfigError,
  InvalidInputError,
  IdempotencyMismatchError,
  LimitReachedError,
  NotFoundError,
  OperationTimeoutError,
  PassphraseMissingError,
  PassphraseWrongError,
  PermissionDeniedError,
  PortInUseError,
  RejectedError,
  StoreCorruptError,
  LeaseLostError,
  StoreFullError,
  StoreLockedError,
  StoreNotRecognizedError,
  StoreReadOnlyError,
  StoreTooNewError,
  UnavailableError,
  UnexpectedError,
  UnsupportedError,
  VersionUnsupportedError,
  VpnkitError,
} from "./errors.js";
export type { AdminEvent, Event, InboundEvent, KeyEvent, NodeEvent, ServerEvent, SettingsEvent } from "./events.js";
export { KeyBatch } from "./key_batch.js";
export type { AdminLike } from "./admin_like.js";
export { type KeyLike, parseKey } from "./key_like.js";
export { Kit, KitView } from "./kit.js";
export { Admins, Events, Grants, HealthView, Hosts, Inbounds, Keys, Servers, StoreView, Subscriptions, TrafficView, Webhooks } from "./nouns.js";
export { Page } from "./page.js";
export { stopLeftRunning } from "./left_running.js";
export { type RestoreOptions, restore } from "./restore.js";
export { qrPng, qrSvg, qrTerminal } from "./qr.js";
export { Reality, type RealityParts } from "./reality.js";
export type * from "./records.js";
export { SubscriptionResponse } from "./response.js";
export { GB, GiB, KiB, type Length, MB, MiB, type Size, TB, TiB, formatSize, parseSize } from "./sizes.js";
export { EventConsumer, EventStream } from "./stream.js";

/**
 * Opens the store, starts the servers and the background work. Close it in the end: `await kit.close()`, or
 * `await using kit = await open(…)`.
 *
 * A server that does not start is no error: it is `down`, `kit.servers.status()` and an event tell why, and it is tried again.
 *
 * Rejects with InvalidConfigError and every fault; StoreLockedError, StoreTooNewError, … of the store.
 */
export async function open(config: Config, options: CallOptions = {}): Promise<Kit> {
  return new Kit(await opened(config, false, options));
}
