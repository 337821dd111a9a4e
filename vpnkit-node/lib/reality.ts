/** REALITY, whose private key nobody should see by accident. */
import { type Json, others } from "./convert.js";
import { native } from "./native.js";

/** What {@link Reality} is made of. */
export interface RealityParts {
  /** The real TLS 1.3 site behind it: `host:port`. */
  readonly dest: string;
  /** The names that clients may send; each key gets one of them. */
  readonly serverNames: readonly string[];
  /** X25519, base64url without padding. Left out, it is the one that the inbound has, or a new one. */
  readonly privateKey?: string | undefined;
  /** Belongs to `privateKey`; goes into links. Left out, it is computed. */
  readonly publicKey?: string | undefined;
  /** Each key gets one of them. Left out, they are those that the inbound has, or a new one. */
  readonly shortIds?: readonly string[] | undefined;
}

/**
 * REALITY. Without keys, `inbounds.ensure` keeps those that the inbound has, or makes new ones: other keys would end every
 * link that was given out. Neither `console.log` nor JSON shows the private key.
 */
export class Reality {
  readonly type = "reality";
  readonly dest: string;
  readonly serverNames: readonly string[];
  readonly publicKey: string | undefined;
  readonly shortIds: readonly string[] | undefined;
  readonly #privateKey: string | undefined;

  constructor(parts: RealityParts) {
    this.dest = parts.dest;
    this.serverNames = parts.serverNames;
    this.publicKey = parts.publicKey;
    this.shortIds = parts.shortIds;
    this.#privateKey = parts.privateKey;
  }

  /** X25519, base64url without padding. */
  get privateKey(): string | undefined {
    return this.#privateKey;
  }

  /** Makes new keys and a new short id in front of `dest`, the real site of `serverName`. */
  static generate(dest: string, serverName: string): Reality {
    const [privateKey, publicKey] = native.realityKeys();
    return new Reality({ dest, serverNames: [serverName], privateKey, publicKey, shortIds: [native.shortId()] });
  }
}

/** @internal */
export const readReality = (json: Json): Reality =>
  new Reality({
    dest: json.dest,
    serverNames: json.server_names,
    privateKey: json.private_key,
    publicKey: json.public_key,
    shortIds: json.short_ids,
  });

/** @internal */
export function writeReality(operation: string, given: Reality): Json {
  return {
    ...others(operation, given, ["type", "dest", "serverNames", "privateKey", "publicKey", "shortIds"]),
    type: "reality",
    dest: given.dest,
    server_names: given.serverNames,
    private_key: given.privateKey,
    public_key: given.publicKey,
    short_ids: given.shortIds,
  };
}
