/** What to open. */
import { invalid } from "./errors.js";
import { renamed, snake } from "./names.js";
import { type Length, lengthText } from "./sizes.js";

/** An Xray that vpnkit runs: it writes the config, starts, restarts and stops the process. */
export interface ManagedXray {
  readonly type: "managedXray";
  /** Name or IP that clients dial. */
  readonly address: string;
  /** A directory of its own, absolute: config, API socket, lock. Created with mode 0700. */
  readonly directory: string;
  /** The program. Default: `xray` from the search path. */
  readonly binary?: string;
  /** The machine it runs on. Default: `main`. */
  readonly node?: string;
  /**
   * Counters follow open connections, for more CPU. Without it the bytes of a vision connection are counted when it ends,
   * so a limit can be overrun by a whole download.
   */
  readonly liveAccounting?: boolean;
  /**
   * Open connections of a key that may no longer connect are cut in the kernel. Needs CAP_NET_ADMIN; customers behind the
   * same address are cut too and reconnect. Leave it off behind a proxy or CDN.
   */
  readonly cutConnections?: boolean;
  /** How much Xray logs. Default: `warning`. */
  readonly logLevel?: "debug" | "info" | "warning" | "error";
  /** The operator's own `outbounds`, `routing` and `dns`, as in Xray's config. */
  readonly extra?: Readonly<Record<string, unknown>>;
}

/**
 * An Xray that somebody else runs: vpnkit drives it through its API. Its config needs `api` with `HandlerService` and
 * `StatsService`, `stats`, and a `policy` that counts users of level 0.
 */
export interface AttachedXray {
  readonly type: "attachedXray";
  /** Name or IP that clients dial. */
  readonly address: string;
  /** `host:port` or `unix:/path`. The API has no password: keep it on loopback or in a socket file. */
  readonly api: string;
  /** A binary of Xray: with it inbounds can be added live. */
  readonly binary?: string;
  /** The machine it runs on. Default: `main`. */
  readonly node?: string;
  /** Say so when that Xray runs with `XRAY_BUF_SPLICE=disable`; vpnkit cannot see it. */
  readonly liveAccounting?: boolean;
  /** As with {@link ManagedXray}; only for an Xray on this machine. */
  readonly cutConnections?: boolean;
}

/** A server to drive. */
export type Server = ManagedXray | AttachedXray;

/** Everything that `open` needs. */
export interface Config {
  /** `"sqlite:PATH"` or `"memory:"`. */
  readonly store: string;
  /** The servers to drive; none is fine. */
  readonly servers?: readonly Server[];
  /** Encrypts credentials and private keys in the store. */
  readonly passphrase?: string;
  /** Between two readings of a server's counters. Default: 10 seconds. */
  readonly collectEvery?: Length;
  /** Between two full comparisons of a server with the store. Default: 5 minutes. */
  readonly reconcileEvery?: Length;
  /** How long events and idempotency keys are kept. Default: 30 days. */
  readonly keepEvents?: Length;
  /** Whether background work runs. Default: yes. Without it only `kit.tick()` reads counters and ends keys. */
  readonly background?: boolean;
}

function serverJson(server: Server): unknown {
  const { type, ...rest } = server;
  if (type !== "managedXray" && type !== "attachedXray") {
    throw invalid("open", "servers", "type must be managedXray or attachedXray");
  }
  return { type: snake(type), ...renamed(rest, snake) };
}

/** @internal */
export function configJson(config: Config): string {
  if (typeof config !== "object" || config === null) throw invalid("open", "config", "must be an object", 'open({ store: "sqlite:bot.db" })');
  const { servers = [], collectEvery, reconcileEvery, keepEvents, ...rest } = config;
  const json: Record<string, unknown> = { ...rest, servers: servers.map(serverJson) };
  for (const [name, length] of Object.entries({ collectEvery, reconcileEvery, keepEvents })) {
    if (length !== undefined) json[snake(name)] = lengthText("open", name, length);
  }
  return JSON.stringify(json);
}
