/** What a key connects with. */
import { type Json, onlyOptions } from "./convert.js";
import { attempt, invalid } from "./errors.js";
import { native } from "./native.js";
import type { CertificateTerm, CredentialKind } from "./records.js";
import { readCertificateTerm, writeCertificateTerm } from "./records.js";

/** Where a credential belongs that is for one inbound only. */
export interface CredentialBinding {
  /** The inbound, `node/tag`. */
  inbound?: string | null | undefined;
  /** A number among its addresses, from 0; without it a free one is given. */
  slot?: number | null | undefined;
  /** The certificate that its client presents. */
  certificate?: CertificateTerm | null | undefined;
}

/** One way of a key into one protocol from one device. Neither `console.log` nor JSON shows the secret. */
export class Credential {
  readonly protocol: CredentialKind;
  /** The device that uses it. */
  readonly device: string;
  /** The inbound that it is for, `node/tag`; `null` is every inbound of its protocol without addresses and certificates. */
  readonly inbound: string | null;
  /** Its number among the addresses of that inbound, from 0; given when it is written. */
  readonly slot: number | null;
  /** The certificate that its client presents, where the inbound asks for one. */
  readonly certificate: CertificateTerm | null;
  readonly #secret: string;

  /**
   * Takes an existing credential, for keys that move in from elsewhere: a UUID for vless and vmess, a password for trojan
   * and shadowsocks, 32 bytes in base64 for shadowsocks-2022.
   */
  constructor(protocol: CredentialKind, secret: string, device = "default", bound: CredentialBinding = {}) {
    attempt(() => native.checkCredential(protocol, secret));
    this.protocol = protocol;
    this.device = device;
    onlyOptions("Credential", bound, "inbound", "slot", "certificate");
    const given = bound ?? {};
    const slot = given.slot ?? null;
    if (slot !== null && !(Number.isInteger(slot) && slot >= 0 && slot < 2 ** 32)) {
      throw invalid("Credential", "slot", "must be a whole number from 0 to 4294967295");
    }
    if (given.inbound != null && typeof given.inbound !== "string") {
      throw invalid("Credential", "inbound", "must be `node/tag`: `main/vless`");
    }
    this.inbound = given.inbound ?? null;
    this.slot = slot;
    this.certificate = given.certificate ?? null;
    this.#secret = secret;
  }

  /** The secret itself. */
  get secret(): string {
    return this.#secret;
  }
}

/** @internal */
export function readCredential(json: Json): Credential {
  const certificate = json.certificate ? readCertificateTerm(json.certificate) : null;
  return new Credential(json.protocol, json.secret, json.device, { inbound: json.inbound, slot: json.slot, certificate });
}

/** @internal */
export function writeCredential(operation: string, given: Credential): Json {
  if (typeof given?.secret !== "string") throw invalid(operation, "credentials", "must be a list of Credential");
  const { protocol, device, secret, inbound, slot } = given;
  const certificate = given.certificate ? writeCertificateTerm(operation, given.certificate) : null;
  return { protocol, device, secret, inbound, slot, certificate };
}
