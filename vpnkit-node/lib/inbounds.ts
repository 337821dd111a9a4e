/** Where clients arrive: a protocol over a transport, protected by something. */
import { camel, renamed, snake } from "./names.js";
import { native } from "./native.js";

export type ShadowsocksMethod =
  | "aes-128-gcm"
  | "aes-256-gcm"
  | "chacha20-ietf-poly1305"
  | "2022-blake3-aes-128-gcm"
  | "2022-blake3-aes-256-gcm";

/** What is spoken inside the transport. */
export type Protocol =
  | {
      readonly type: "vless";
      /** The flow `xtls-rprx-vision`: over TCP with TLS or REALITY only. */
      readonly vision?: boolean;
    }
  | { readonly type: "vmess" }
  | { readonly type: "trojan" }
  | {
      readonly type: "shadowsocks";
      /** The cipher. */
      readonly method: ShadowsocksMethod;
      /** The server's key of a 2022 method, in standard base64. */
      readonly serverKey?: string;
    };

/** What carries the protocol. */
export type Transport =
  | { readonly type: "tcp" }
  | { readonly type: "webSocket"; readonly path: string; readonly host?: string }
  | { readonly type: "grpc"; readonly serviceName: string }
  | { readonly type: "httpUpgrade"; readonly path: string; readonly host?: string }
  | {
      readonly type: "xhttp";
      readonly path: string;
      readonly host?: string;
      readonly mode?: "auto" | "packet-up" | "stream-up" | "stream-one";
    };

/** TLS of an inbound. */
export interface Tls {
  readonly type: "tls";
  /** The name on the certificate, which clients send as SNI. */
  readonly serverName: string;
  /** PEM chain. */
  readonly certificateFile: string;
  /** PEM key. */
  readonly keyFile: string;
  /** Offered protocols; empty leaves it to the server. */
  readonly alpn?: readonly string[];
  /** SHA-256 of the certificate in hex, which clients of a self-signed one pin. */
  readonly pinnedSha256?: string;
}

/** What {@link Reality} is made of. */
export interface RealityParts {
  /** The real TLS 1.3 site behind it: `host:port`. */
  readonly dest: string;
  /** The names that clients may send; each key gets one of them. */
  readonly serverNames: readonly string[];
  /** X25519, base64url without padding. */
  readonly privateKey: string;
  /** Belongs to `privateKey`; goes into links. */
  readonly publicKey: string;
  /** At least one; each key gets one of them. */
  readonly shortIds: readonly string[];
}

/** REALITY. Keep it: new keys end every link that was given out. Neither `console.log` nor JSON shows the private key. */
export class Reality {
  readonly type = "reality";
  readonly dest: string;
  readonly serverNames: readonly string[];
  readonly publicKey: string;
  readonly shortIds: readonly string[];
  readonly #privateKey: string;

  constructor(parts: RealityParts) {
    this.dest = parts.dest;
    this.serverNames = parts.serverNames;
    this.publicKey = parts.publicKey;
    this.shortIds = parts.shortIds;
    this.#privateKey = parts.privateKey;
  }

  /** X25519, base64url without padding. */
  get privateKey(): string {
    return this.#privateKey;
  }

  /** New keys and a new short id in front of `dest`, the real site of `serverName`. */
  static generate(dest: string, serverName: string): Reality {
    const [privateKey, publicKey] = native.realityKeys();
    return new Reality({ dest, serverNames: [serverName], privateKey, publicKey, shortIds: [native.shortId()] });
  }
}

/** What protects the transport. */
export type Security = { readonly type: "none" } | Tls | Reality;

/** A listening endpoint of a server. */
export interface Inbound {
  /** The name, unique on its node: 1 to 64 of `A-Z a-z 0-9 . _ -`. */
  readonly tag: string;
  /** The port to listen on. */
  readonly port: number;
  readonly protocol: Protocol;
  /** Default: TCP. */
  readonly transport?: Transport;
  /** Default: nothing of its own. */
  readonly security?: Security;
  /** The address to listen on. Default: all. */
  readonly listen?: string;
  /** The machine. Default: `main`. */
  readonly node?: string;
  /** The id of the key that has it for itself; it goes with the key. */
  readonly dedicatedTo?: number;
}

/** A value with a `type`, whose name and fields are written differently in JSON. */
const toTagged = (given: { readonly type: string }): unknown => ({ ...renamed(given, snake), type: snake(given.type) });
const fromTagged = <T>(json: Record<string, unknown>): T =>
  ({ ...renamed(json, camel), type: camel(json["type"] as string) }) as T;

/** @internal */
export function inboundJson(inbound: Inbound): unknown {
  const { protocol, transport, security, ...rest } = inbound;
  const secured = security instanceof Reality ? { ...security, privateKey: security.privateKey } : security;
  return {
    node: "main",
    listen: "0.0.0.0",
    ...renamed(rest, snake),
    protocol: toTagged(protocol),
    transport: toTagged(transport ?? { type: "tcp" }),
    security: toTagged(secured ?? { type: "none" }),
  };
}

/** @internal */
export type InboundJson = Record<string, unknown> & Record<"protocol" | "transport" | "security", Record<string, unknown>>;

/** @internal */
export const protocolOf = (json: Record<string, unknown>): Protocol => fromTagged(json);
/** @internal */
export const transportOf = (json: Record<string, unknown>): Transport => fromTagged(json);

/** @internal */
export function inboundOf(json: InboundJson): Required<Omit<Inbound, "dedicatedTo">> & Pick<Inbound, "dedicatedTo"> {
  const { protocol, transport, security, ...rest } = json;
  return Object.freeze({
    ...(renamed(rest, camel) as { tag: string; port: number; listen: string; node: string; dedicatedTo?: number }),
    protocol: protocolOf(protocol),
    transport: transportOf(transport),
    security: security["type"] === "reality" ? new Reality(fromTagged<RealityParts>(security)) : fromTagged<Security>(security),
  });
}
