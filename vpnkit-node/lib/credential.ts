/** What a key connects with. */
import type { Json } from "./convert.js";
import { attempt, invalid } from "./errors.js";
import { native } from "./native.js";
import type { CredentialKind } from "./records.js";

/** One way of a key into one protocol from one device. Neither `console.log` nor JSON shows the secret. */
export class Credential {
  readonly protocol: CredentialKind;
  /** The device that uses it. */
  readonly device: string;
  readonly #secret: string;

  /**
   * Takes an existing credential, for keys that move in from elsewhere: a UUID for vless and vmess, a password for trojan
   * and shadowsocks, 32 bytes in base64 for shadowsocks-2022.
   */
  constructor(protocol: CredentialKind, secret: string, device = "default") {
    attempt(() => native.checkCredential(protocol, secret));
    this.protocol = protocol;
    this.device = device;
    this.#secret = secret;
  }

  /** The secret itself. */
  get secret(): string {
    return this.#secret;
  }
}

/** @internal */
export const readCredential = (json: Json): Credential => new Credential(json.protocol, json.secret, json.device);

/** @internal */
export function writeCredential(operation: string, given: Credential): Json {
  if (typeof given?.secret !== "string") throw invalid(operation, "credentials", "must be a list of Credential");
  return { protocol: given.protocol, device: given.device, secret: given.secret };
}
