/** What a subscription answers. */
import type { Json } from "./convert.js";

/**
 * What a subscription answers: any web framework can send it. Neither `console.log` nor JSON shows headers and body: they
 * hold the token and the customer's secrets.
 */
export class SubscriptionResponse {
  /** 200, 304 when the client has it already, 404 for a token that is not (or no longer) valid. */
  readonly status: number;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #body: string;

  /** @internal */
  constructor(json: Json) {
    this.status = json.status;
    this.#headers = json.headers;
    this.#body = json.body;
  }

  /** Names in lower case. */
  get headers(): Readonly<Record<string, string>> {
    return this.#headers;
  }

  get body(): string {
    return this.#body;
  }
}

/** @internal */
export const readSubscriptionResponse = (json: Json): SubscriptionResponse => new SubscriptionResponse(json);
