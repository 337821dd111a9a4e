/** Everything a client app needs to connect. */
import type { Json } from "./convert.js";
import { type ClientSecurity, type Transport, readClientSecurity, readTransport } from "./records.js";

/** Credential, inbound and host, resolved. Neither `console.log` nor JSON shows the secret and the link. */
export class Endpoint {
  readonly key: number;
  readonly inbound: string;
  /** What the client shows. */
  readonly remark: string;
  /** Name or IP to dial. */
  readonly address: string;
  /** Port to dial. */
  readonly port: number;
  readonly protocol: "vless" | "vmess" | "trojan" | "shadowsocks" | "hysteria2" | "wireguard";
  readonly transport: Transport;
  readonly security: ClientSecurity;
  /** Whether several streams share a connection. */
  readonly mux: boolean;
  /** How the first packets are cut into pieces. */
  readonly fragment: string | null;
  /** What is sent before the first packet of UDP. */
  readonly noises: readonly string[];
  /** What HTTP transports name as their user agent. */
  readonly userAgent: string | null;
  readonly #secret: string;
  readonly #link: string;

  /** @internal */
  constructor(json: Json) {
    this.key = json.key;
    this.inbound = json.inbound;
    this.remark = json.remark;
    this.address = json.address;
    this.port = json.port;
    this.protocol = json.protocol;
    this.transport = readTransport(json.transport);
    this.security = readClientSecurity(json.security);
    this.mux = json.mux;
    this.fragment = json.fragment;
    this.noises = json.noises;
    this.userAgent = json.user_agent;
    this.#secret = json.secret;
    this.#link = json.link;
  }

  get secret(): string {
    return this.#secret;
  }

  /** The share link. It contains the secret. */
  get link(): string {
    return this.#link;
  }
}

/** @internal */
export const readEndpoint = (json: Json): Endpoint => new Endpoint(json);
