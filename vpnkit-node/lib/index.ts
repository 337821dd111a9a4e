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
export type { AttachedXray, Config, ManagedXray, Server } from "./config.js";
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
export {
  type Inbound,
  type Protocol,
  Reality,
  type RealityParts,
  type Security,
  type ShadowsocksMethod,
  type Tls,
  type Transport,
} from "./inbounds.js";
export {
  type CreateKey,
  Credential,
  type CredentialKind,
  type Key,
  KeyBatch,
  type KeyLike,
  type KeyPatch,
  type KeyQuery,
  type KeyStatus,
  parseKey,
  Page,
  type Traffic,
} from "./keys.js";
export { Events, Inbounds, Keys, Kit, Servers, TrafficView, type UsageChart, type HistoryQuery } from "./kit.js";
export { qrPng, qrSvg, qrTerminal } from "./qr.js";
export {
  type Capabilities,
  type ClientSecurity,
  type Collected,
  Endpoint,
  type Event,
  type EventBatch,
  type EventKind,
  type InboundEvent,
  type KeyEvent,
  type OnlineKey,
  type ServerEvent,
  type ServerStatus,
  type UsagePoint,
} from "./records.js";
export { GB, GiB, KiB, type Length, MB, MiB, type Size, TB, TiB, formatSize, parseSize } from "./sizes.js";
export { EventStream } from "./stream.js";
export {
  type ClientDevice,
  type ClientRule,
  type Host,
  Hosts,
  type InboundHosts,
  type Language,
  type Notices,
  type RenderOptions,
  type RequestHeaders,
  SubscriptionResponse,
  type SubscriptionSettings,
  type SubscriptionTemplate,
  Subscriptions,
} from "./subscriptions.js";

/**
 * Opens the store, starts the servers and the background work. Close it in the end: `await kit.close()`, or
 * `await using kit = await open(…)`.
 *
 * Rejects with InvalidConfigError and every fault; StoreLockedError, StoreTooNewError, … of the store; BinaryMissingError,
 * PortInUseError, RejectedError, … of starting a server.
 */
export async function open(config: Config, options: CallOptions = {}): Promise<Kit> {
  return new Kit(await opened(config, false, options));
}
