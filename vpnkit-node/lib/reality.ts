/** REALITY, whose private key nobody should see by accident. */
import { type Json, others } from "./convert.js";
import { native } from "./native.js";
import {
  type KeyRotation,
  type PreviousKeys,
  readKeyRotation,
  readPreviousKeys,
  writeKeyRotation,
  writePreviousKeys,
} from "./records.js";
import { timeText } from "./sizes.js";

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
  /**
   * When it gets new keys by itself; left out, never. Links with those of before work for `keepOld` longer: clients that fetch
   * their subscription in that time notice nothing.
   */
  readonly rotation?: KeyRotation | undefined;
  /** The keys that it had before, while links with them still work. Given with the keys that the inbound has, it stays as it is. */
  readonly previous?: PreviousKeys | undefined;
  /** The public keys that it had earlier. Given with the keys that the inbound has, it stays as it is. */
  readonly retired?: readonly string[] | undefined;
  /** Since when `rotation` counts. Given with the keys that the inbound has, it stays as it is. */
  readonly keysSince?: Date | undefined;
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
  readonly rotation: KeyRotation | undefined;
  readonly retired: readonly string[] | undefined;
  readonly keysSince: Date | undefined;
  readonly #privateKey: string | undefined;
  readonly #previous: PreviousKeys | undefined;

  constructor(parts: RealityParts) {
    this.dest = parts.dest;
    this.serverNames = parts.serverNames;
    this.publicKey = parts.publicKey;
    this.shortIds = parts.shortIds;
    this.rotation = parts.rotation;
    this.retired = parts.retired;
    this.keysSince = parts.keysSince;
    this.#privateKey = parts.privateKey;
    this.#previous = parts.previous;
  }

  /** X25519, base64url without padding. */
  get privateKey(): string | undefined {
    return this.#privateKey;
  }

  /** The keys that it had before, while links with them still work. */
  get previous(): PreviousKeys | undefined {
    return this.#previous;
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
    rotation: json.rotation == null ? undefined : readKeyRotation(json.rotation),
    previous: json.previous == null ? undefined : readPreviousKeys(json.previous),
    retired: json.retired,
    keysSince: json.keys_since == null ? undefined : new Date(json.keys_since),
  });

/** @internal */
export function writeReality(operation: string, given: Reality): Json {
  return {
    ...others(operation, given, [
      "type",
      "dest",
      "serverNames",
      "privateKey",
      "publicKey",
      "shortIds",
      "rotation",
      "previous",
      "retired",
      "keysSince",
    ]),
    type: "reality",
    dest: given.dest,
    server_names: given.serverNames,
    private_key: given.privateKey,
    public_key: given.publicKey,
    short_ids: given.shortIds,
    rotation: given.rotation === undefined ? undefined : writeKeyRotation(operation, given.rotation),
    previous: given.previous === undefined ? undefined : writePreviousKeys(operation, given.previous),
    retired: given.retired,
    keys_since: given.keysSince === undefined ? undefined : timeText(operation, "keysSince", given.keysSince),
  };
}
