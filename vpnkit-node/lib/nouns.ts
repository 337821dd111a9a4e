/** Every call. Written by `make generate`: change the description in Rust. */
import { type CallOptions, type Calls } from "./calls.js";
import { type Json, type RequestHeaders, each, headerPairs, list, maybe, onlyOptions, put } from "./convert.js";
import { attempt, invalid } from "./errors.js";
import { KeyBatch } from "./key_batch.js";
import { type AdminLike, adminRef } from "./admin_like.js";
import { type KeyLike, keyId, keyRef } from "./key_like.js";
import { type Length, lengthText } from "./sizes.js";
import { EventConsumer, EventStream } from "./stream.js";
import { type Endpoint, readEndpoint } from "./endpoint.js";
import { type Event, readEvent } from "./events.js";
import { type Page, readPage } from "./page.js";
import { type SubscriptionResponse, readSubscriptionResponse } from "./response.js";
import {
  type Admin,
  type AdminPatch,
  type ApiKey,
  type AuditQuery,
  type Backup,
  type ClientDevice,
  type Collected,
  type ConsumerStatus,
  type CreateAdmin,
  type CreateKey,
  type CreateWebhook,
  type DeadLetter,
  type EventBatch,
  type ExtendedStep,
  type Extension,
  type Grant,
  type GrantQuery,
  type HistoryQuery,
  type Host,
  type ImageFormat,
  type Inbound,
  type InboundHosts,
  type JobStatus,
  type Key,
  type KeyCounts,
  type KeyPatch,
  type KeyQuery,
  type KeyTemplate,
  type KeysOfDeleted,
  type NewApiKey,
  type NewWebhook,
  type OnlineKey,
  type Placement,
  type Rates,
  type RenderOptions,
  type ServerConfig,
  type ServerStatus,
  type SettingsPatch,
  type StoreCheck,
  type StoreWork,
  type SubscriptionSettings,
  type SubscriptionTemplate,
  type Theme,
  type UsagePoint,
  type Webhook,
  type WebhookPatch,
  type WebhookStatus,
  readAdmin,
  readApiKey,
  readBackup,
  readClientDevice,
  readCollected,
  readConsumerStatus,
  readDeadLetter,
  readEventBatch,
  readExtendedStep,
  readGrant,
  readInbound,
  readInboundHosts,
  readJobStatus,
  readKey,
  readKeyCounts,
  readKeyTemplate,
  readNewApiKey,
  readNewWebhook,
  readOnlineKey,
  readPlacement,
  readRates,
  readServerStatus,
  readStoreCheck,
  readStoreWork,
  readSubscriptionSettings,
  readSubscriptionTemplate,
  readUsagePoint,
  readWebhook,
  readWebhookStatus,
  writeAdminPatch,
  writeAuditQuery,
  writeCreateAdmin,
  writeCreateKey,
  writeCreateWebhook,
  writeExtension,
  writeGrantQuery,
  writeHistoryQuery,
  writeHost,
  writeInbound,
  writeKeyPatch,
  writeKeyQuery,
  writeKeyTemplate,
  writeRenderOptions,
  writeServerConfig,
  writeSettingsPatch,
  writeSubscriptionSettings,
  writeSubscriptionTemplate,
  writeWebhookPatch,
} from "./records.js";

/**
 * Creates, finds, changes and deletes keys. Every change is committed before it is applied to a server; a server that
 * is down delays a key, it never loses one.
 */
export class Keys {
  readonly #calls: Calls;

  /** @internal */
  constructor(calls: Calls) {
    this.#calls = calls;
  }

  /**
   * Creates a key with its credentials.
   *
   * Returns once it is committed and the servers have it, or have had two seconds for it.
   *
   * Rejects with InvalidInputError with the `field`; NotFoundError for an inbound that does not exist;
   * AlreadyExistsError when the name is taken.
   */
  async create(request: CreateKey = {}, options?: CallOptions): Promise<Key> {
    const operation = "keys.create";
    onlyOptions(operation, options);
    const args = { request: writeCreateKey(operation, request) };
    return this.#calls.call(operation, args, readKey, options);
  }

  /**
   * Creates many keys in one transaction: all of them or none. The result has the order of the requests.
   *
   * Rejects as with `create`, with the `index` of the request that is at fault. Idempotency keys of the single
   * requests are refused; give the whole batch one.
   */
  async createMany(
    requests: Iterable<CreateKey>,
    options: CallOptions & { readonly idempotencyKey?: string | null | undefined } = {},
  ): Promise<KeyBatch> {
    const operation = "keys.create_many";
    onlyOptions(operation, options, "idempotencyKey");
    const args = {
      requests: each(operation, "requests", requests, (one) => writeCreateKey(operation, one)),
      idempotency_key: options.idempotencyKey,
    };
    return new KeyBatch(await this.#calls.many(operation, args, options));
  }

  /** Returns the key, or `null`. */
  async get(key: KeyLike, options?: CallOptions): Promise<Key | null> {
    const operation = "keys.get";
    onlyOptions(operation, options);
    const args = { key: keyRef(operation, "key", key) };
    return this.#calls.call(operation, args, (json: Json) => maybe(json, readKey), options);
  }

  /**
   * Returns the key.
   *
   * Rejects with NotFoundError.
   */
  async require(key: KeyLike, options?: CallOptions): Promise<Key> {
    const operation = "keys.require";
    onlyOptions(operation, options);
    const args = { key: keyRef(operation, "key", key) };
    return this.#calls.call(operation, args, readKey, options);
  }

  /**
   * Returns a page of keys: those with this text in name, label or note, with one of these statuses, of this owner.
   *
   * Rejects with InvalidInputError about `limit` or `page`.
   */
  async find(query: KeyQuery = {}, options?: CallOptions): Promise<Page> {
    const operation = "keys.find";
    onlyOptions(operation, options);
    const args = { query: writeKeyQuery(operation, query) };
    return this.#calls.call(operation, args, readPage, options);
  }

  /** Walks through everything that `find` finds, over all pages; `limit` is the size of a page. */
  async *iterate(query: KeyQuery = {}, options?: CallOptions): AsyncGenerator<Key, void, undefined> {
    let page = query.page ?? null;
    do {
      const found: Page = await this.find({ ...query, limit: query.limit ?? 1_000, page }, options);
      yield* found.keys;
      page = found.next;
    } while (page !== null);
  }

  /**
   * Returns the key that a link is of, as a customer pastes it: a subscription URL or a deep link with one, a share
   * link, the text of a whole subscription; `null` when it is of no key. The work is that of a few look-ups by index.
   *
   * Only what the customer of the key alone has finds it: no names and no ids. Links that were revoked find nothing
   * unless `revoked` is set: who has a stolen link is not to be shown its new one. A link of Shadowsocks 2022 with a
   * key of 128 bits is not found by itself.
   */
  async lookup(
    text: string,
    options: CallOptions & { readonly revoked?: boolean | undefined } = {},
  ): Promise<Key | null> {
    const operation = "keys.lookup";
    onlyOptions(operation, options, "revoked");
    const args = { text, revoked: options.revoked };
    return this.#calls.call(operation, args, (json: Json) => maybe(json, readKey), options);
  }

  /** Counts the keys that a query finds on all its pages, by their status; order and size of pages do not matter. */
  async count(query: KeyQuery = {}, options?: CallOptions): Promise<KeyCounts> {
    const operation = "keys.count";
    onlyOptions(operation, options);
    const args = { query: writeKeyQuery(operation, query) };
    return this.#calls.call(operation, args, readKeyCounts, options);
  }

  /**
   * Changes a key. With `expectedVersion`, only if nobody changed it since.
   *
   * A payment changes it once, however late it comes again: the same idempotency key, in whichever process, returns
   * the key as it is. So what is sold by a change, such as a next plan or a usage that is set to nothing, is not given
   * twice. It is kept for good and may not be that of another call.
   *
   * Rejects with NotFoundError, ConflictError, InvalidInputError, AlreadyExistsError (name); IdempotencyMismatchError
   * when the idempotency key was used for something else.
   */
  async update(
    key: KeyLike,
    patch: KeyPatch,
    options: CallOptions & { readonly idempotencyKey?: string | null | undefined; readonly expectedVersion?: number | null | undefined } = {},
  ): Promise<Key> {
    const operation = "keys.update";
    onlyOptions(operation, options, "idempotencyKey", "expectedVersion");
    const args = {
      key: keyRef(operation, "key", key),
      patch: writeKeyPatch(operation, patch),
      idempotency_key: options.idempotencyKey,
      expected_version: options.expectedVersion,
    };
    return this.#calls.call(operation, args, readKey, options);
  }

  /**
   * Gives a key time and volume, computed in the store from what it has then. What the key still has is treated as the
   * policy says.
   *
   * A payment grants once: the same idempotency key again, in whichever process, returns the key and gives nothing. It
   * is kept for good and may not be that of another call. Each extension is an entry of the ledger, which
   * `Grants.undo` takes back.
   *
   * Rejects with NotFoundError; InvalidInputError with the `field`; ConflictError; IdempotencyMismatchError when the
   * idempotency key was used for something else.
   */
  async extend(
    key: KeyLike,
    extension: Extension = {},
    options: CallOptions & { readonly idempotencyKey?: string | null | undefined; readonly expectedVersion?: number | null | undefined } = {},
  ): Promise<Key> {
    const operation = "keys.extend";
    onlyOptions(operation, options, "idempotencyKey", "expectedVersion");
    const args = {
      key: keyRef(operation, "key", key),
      extension: writeExtension(operation, extension),
      idempotency_key: options.idempotencyKey,
      expected_version: options.expectedVersion,
    };
    return this.#calls.call(operation, args, readKey, options);
  }

  /**
   * Extends the next keys that a query finds, at most 500 in one transaction, in the order of their ids; to be called
   * again with `after` set to `ExtendedStep.next` until that is `null`. For an outage that everybody is given three
   * days for.
   *
   * Each step is done once under its idempotency key: who was interrupted begins again without `after`, in whichever
   * process, and nothing is given twice. Order and size of pages of the query do not matter. Servers are not waited
   * for.
   *
   * Rejects with InvalidInputError with the `field`; IdempotencyMismatchError when the idempotency key was used for
   * another extension.
   */
  async extendStep(
    idempotencyKey: string,
    extension: Extension = {},
    options: CallOptions & { readonly query?: KeyQuery | null | undefined; readonly after?: number | null | undefined } = {},
  ): Promise<ExtendedStep> {
    const operation = "keys.extend_step";
    onlyOptions(operation, options, "query", "after");
    const args = {
      extension: writeExtension(operation, extension),
      idempotency_key: idempotencyKey,
      query: put(options.query, (value) => writeKeyQuery(operation, value)),
      after: options.after,
    };
    return this.#calls.call(operation, args, readExtendedStep, options);
  }

  /**
   * Extends all keys that a query finds, step by step: each step is told once it is committed, for a bar of progress beside
   * `count`. Interrupted, the same call begins again, in whichever process, and gives nothing twice.
   *
   * Arguments and errors as with `extendStep`.
   */
  async *extendAll(
    idempotencyKey: string,
    extension: Extension,
    options: CallOptions & { readonly query?: KeyQuery | null | undefined } = {},
  ): AsyncGenerator<ExtendedStep, void, undefined> {
    let after: number | null = null;
    do {
      const step: ExtendedStep = await this.extendStep(idempotencyKey, extension, { ...options, after });
      yield step;
      after = step.next;
    } while (after !== null);
  }

  /** Pauses a key: it may not connect, and the time that is left to it is kept until it is resumed. */
  async pause(key: KeyLike, options?: CallOptions): Promise<Key> {
    const operation = "keys.pause";
    onlyOptions(operation, options);
    const args = { key: keyRef(operation, "key", key) };
    return this.#calls.call(operation, args, readKey, options);
  }

  /** Resumes a key that was paused: its end moves by the length of the pause. */
  async resume(key: KeyLike, options?: CallOptions): Promise<Key> {
    const operation = "keys.resume";
    onlyOptions(operation, options);
    const args = { key: keyRef(operation, "key", key) };
    return this.#calls.call(operation, args, readKey, options);
  }

  /**
   * Begins the next plan of a key now, whatever is left of what it has.
   *
   * Rejects with NotFoundError for the key, and when it has no next plan.
   */
  async beginNextPlan(key: KeyLike, options?: CallOptions): Promise<Key> {
    const operation = "keys.begin_next_plan";
    onlyOptions(operation, options);
    const args = { key: keyRef(operation, "key", key) };
    return this.#calls.call(operation, args, readKey, options);
  }

  /** Lets a key that was disabled connect again, unless its time or limit is over. */
  async enable(key: KeyLike, options?: CallOptions): Promise<Key> {
    const operation = "keys.enable";
    onlyOptions(operation, options);
    const args = { key: keyRef(operation, "key", key) };
    return this.#calls.call(operation, args, readKey, options);
  }

  /** Switches a key off by hand. */
  async disable(key: KeyLike, options?: CallOptions): Promise<Key> {
    const operation = "keys.disable";
    onlyOptions(operation, options);
    const args = { key: keyRef(operation, "key", key) };
    return this.#calls.call(operation, args, readKey, options);
  }

  /** Sets what counts against the limit to nothing; the key's total traffic stays. A limited key may connect again. */
  async resetUsage(key: KeyLike, options?: CallOptions): Promise<Key> {
    const operation = "keys.reset_usage";
    onlyOptions(operation, options);
    const args = { key: keyRef(operation, "key", key) };
    return this.#calls.call(operation, args, readKey, options);
  }

  /**
   * Deletes a key, its credentials and the inbounds that are dedicated to it. Its id is never used again.
   *
   * Rejects with NotFoundError, ConflictError.
   */
  async delete(
    key: KeyLike,
    options: CallOptions & { readonly expectedVersion?: number | null | undefined } = {},
  ): Promise<void> {
    const operation = "keys.delete";
    onlyOptions(operation, options, "expectedVersion");
    const args = { key: keyRef(operation, "key", key), expected_version: options.expectedVersion };
    return this.#calls.call(operation, args, () => undefined, options);
  }

  /**
   * Merges two keys of one customer: `into` is given what is left of `key`, its volume, its time and the labels that
   * it has not itself, and `key` is deleted with its links, in one transaction. The ledger has it as an extension,
   * with the idempotency key.
   *
   * Only like is added to like.
   *
   * Rejects with NotFoundError; ConflictError about the version of `into`; InvalidInputError about `into` when they
   * cannot be added up, about `key` when it is disabled or locked, or has a next plan; IdempotencyMismatchError.
   */
  async merge(
    key: KeyLike,
    into: KeyLike,
    options: CallOptions & { readonly idempotencyKey?: string | null | undefined; readonly expectedVersion?: number | null | undefined } = {},
  ): Promise<Key> {
    const operation = "keys.merge";
    onlyOptions(operation, options, "idempotencyKey", "expectedVersion");
    const args = {
      key: keyRef(operation, "key", key),
      into: keyRef(operation, "into", into),
      idempotency_key: options.idempotencyKey,
      expected_version: options.expectedVersion,
    };
    return this.#calls.call(operation, args, readKey, options);
  }

  /**
   * Deletes these keys in one transaction, all of them or none; returns how many.
   *
   * Rejects with NotFoundError with the first key that does not exist.
   */
  async deleteMany(ids: Iterable<number | Key>, options?: CallOptions): Promise<number> {
    const operation = "keys.delete_many";
    onlyOptions(operation, options);
    const args = { ids: list(operation, "ids", ids).map((one) => keyId(operation, "ids", one)) };
    return this.#calls.call(operation, args, (json: Json): number => json, options);
  }

  /**
   * Returns what has happened to a key, the newest first: what, when, by which call, who made it, why, with which
   * payment. Also of a key that was deleted, by its id.
   *
   * `before` is the cursor of the last one of the answer before. What is older than the timelines are kept is gone.
   *
   * Rejects with NotFoundError for a name or UUID of a key that does not exist; InvalidInputError about `limit`, 1 to
   * 1,000.
   */
  async timeline(
    key: KeyLike,
    options: CallOptions & { readonly before?: number | null | undefined; readonly limit?: number | undefined } = {},
  ): Promise<Event[]> {
    const operation = "keys.timeline";
    onlyOptions(operation, options, "before", "limit");
    const args = { key: keyRef(operation, "key", key), before: options.before, limit: options.limit };
    return this.#calls.call(operation, args, (json: Json): Event[] => json.map(readEvent), options);
  }

  /**
   * Everything a client needs to connect with this key: one endpoint for each credential, inbound and host. A key that
   * may not connect has the same endpoints; they just do not work.
   */
  async endpoints(key: KeyLike, options?: CallOptions): Promise<Endpoint[]> {
    const operation = "keys.endpoints";
    onlyOptions(operation, options);
    const args = { key: keyRef(operation, "key", key) };
    return this.#calls.call(operation, args, (json: Json): Endpoint[] => json.map(readEndpoint), options);
  }

  /** Share links, one for each endpoint. */
  async links(key: KeyLike, options?: CallOptions): Promise<string[]> {
    const operation = "keys.links";
    onlyOptions(operation, options);
    const args = { key: keyRef(operation, "key", key) };
    return this.#calls.call(operation, args, (json: Json): string[] => json, options);
  }

  /**
   * Tells which servers a key belongs on, and whether they have taken it over. A change of a key is committed before
   * it is applied to servers, so a server that is down, or slow, has it later.
   *
   * Rejects with NotFoundError.
   */
  async placement(key: KeyLike, options?: CallOptions): Promise<Placement[]> {
    const operation = "keys.placement";
    onlyOptions(operation, options);
    const args = { key: keyRef(operation, "key", key) };
    return this.#calls.call(operation, args, (json: Json): Placement[] => json.map(readPlacement), options);
  }
}

/** Keeps admins: a tree of sudo and resellers with quotas, passwords and API keys. */
export class Admins {
  readonly #calls: Calls;

  /** @internal */
  constructor(calls: Calls) {
    this.#calls = calls;
  }

  /**
   * Creates an admin. Called in the name of a reseller, it stands below that one unless `parent` names another one
   * below it.
   *
   * Rejects with InvalidInputError with the `field`; AlreadyExistsError when the name is taken; NotFoundError for the
   * parent; LimitReachedError when there are as many admins as there may be; PermissionDeniedError.
   */
  async create(
    request: CreateAdmin,
    options: CallOptions & { readonly password?: string | null | undefined } = {},
  ): Promise<Admin> {
    const operation = "admins.create";
    onlyOptions(operation, options, "password");
    const args = { request: writeCreateAdmin(operation, request), password: options.password };
    return this.#calls.call(operation, args, readAdmin, options);
  }

  /** Returns the admin with what it has and uses, or `null`. */
  async get(admin: AdminLike, options?: CallOptions): Promise<Admin | null> {
    const operation = "admins.get";
    onlyOptions(operation, options);
    const args = { admin: adminRef(operation, "admin", admin) };
    return this.#calls.call(operation, args, (json: Json) => maybe(json, readAdmin), options);
  }

  /**
   * Returns the admin with what it has and uses.
   *
   * Rejects with NotFoundError.
   */
  async require(admin: AdminLike, options?: CallOptions): Promise<Admin> {
    const operation = "admins.require";
    onlyOptions(operation, options);
    const args = { admin: adminRef(operation, "admin", admin) };
    return this.#calls.call(operation, args, readAdmin, options);
  }

  /** Returns the admin in whose name calls are made; `null` for those of the application itself. */
  async current(options?: CallOptions): Promise<Admin | null> {
    const operation = "admins.current";
    onlyOptions(operation, options);
    return this.#calls.call(operation, {}, (json: Json) => maybe(json, readAdmin), options);
  }

  /**
   * Returns all admins by id, or one and those below it.
   *
   * Rejects with NotFoundError for the one.
   */
  async list(below: AdminLike | null = null, options?: CallOptions): Promise<Admin[]> {
    const operation = "admins.list";
    onlyOptions(operation, options);
    const args = { below: put(below, (value) => adminRef(operation, "below", value)) };
    return this.#calls.call(operation, args, (json: Json): Admin[] => json.map(readAdmin), options);
  }

  /**
   * Changes an admin. With `expectedVersion`, only if nobody changed it since. A limit that is lower than what there
   * is takes nothing away: there is no more until there is less.
   *
   * Rejects with NotFoundError, ConflictError, InvalidInputError, AlreadyExistsError (name); PermissionDeniedError for
   * an admin about itself.
   */
  async update(
    admin: AdminLike,
    patch: AdminPatch,
    options: CallOptions & { readonly expectedVersion?: number | null | undefined } = {},
  ): Promise<Admin> {
    const operation = "admins.update";
    onlyOptions(operation, options, "expectedVersion");
    const args = {
      admin: adminRef(operation, "admin", admin),
      patch: writeAdminPatch(operation, patch),
      expected_version: options.expectedVersion,
    };
    return this.#calls.call(operation, args, readAdmin, options);
  }

  /**
   * Sets the bytes that the keys of an admin have used to nothing: those that its quota had stopped may connect again.
   * What the admins above it count stays.
   *
   * Rejects with NotFoundError; PermissionDeniedError for an admin about itself.
   */
  async resetUsage(admin: AdminLike, options?: CallOptions): Promise<Admin> {
    const operation = "admins.reset_usage";
    onlyOptions(operation, options);
    const args = { admin: adminRef(operation, "admin", admin) };
    return this.#calls.call(operation, args, readAdmin, options);
  }

  /**
   * Switches off all keys of an admin that may connect or are suspended, in steps of 500; returns how many.
   * Interrupted, the same call goes on. Keys of the admins below it stay as they are.
   *
   * Rejects with NotFoundError.
   */
  async disableKeys(admin: AdminLike, options?: CallOptions): Promise<number> {
    const operation = "admins.disable_keys";
    onlyOptions(operation, options);
    const args = { admin: adminRef(operation, "admin", admin) };
    return this.#calls.call(operation, args, (json: Json): number => json, options);
  }

  /**
   * Lets all keys of an admin go on that were switched off, by this or one by one, in steps of 500; returns how many.
   *
   * Rejects with NotFoundError.
   */
  async enableKeys(admin: AdminLike, options?: CallOptions): Promise<number> {
    const operation = "admins.enable_keys";
    onlyOptions(operation, options);
    const args = { admin: adminRef(operation, "admin", admin) };
    return this.#calls.call(operation, args, (json: Json): number => json, options);
  }

  /**
   * Gives all keys of an admin to another one, in steps of 500; returns how many. They count against the quotas of
   * that one: what is beyond them stays where it was, and `changed` of the error says how many were given.
   *
   * Rejects with NotFoundError; LimitReachedError when a quota has no room for more.
   */
  async handOverKeys(admin: AdminLike, to: AdminLike, options?: CallOptions): Promise<number> {
    const operation = "admins.hand_over_keys";
    onlyOptions(operation, options);
    const args = { admin: adminRef(operation, "admin", admin), to: adminRef(operation, "to", to) };
    return this.#calls.call(operation, args, (json: Json): number => json, options);
  }

  /**
   * Deletes an admin with its password and API keys. What becomes of its keys `keys` says; those are done first, in
   * steps of 500, and interrupted the same call goes on.
   *
   * Rejects with NotFoundError; ConflictError when there are admins below it, whose quotas are its own too, or when it
   * has keys, unless `keys` says what becomes of them; PermissionDeniedError for an admin about itself, or when keys
   * of a reseller would have no owner.
   */
  async delete(
    admin: AdminLike,
    options: CallOptions & { readonly keys?: KeysOfDeleted | undefined; readonly expectedVersion?: number | null | undefined } = {},
  ): Promise<void> {
    const operation = "admins.delete";
    onlyOptions(operation, options, "keys", "expectedVersion");
    const args = {
      admin: adminRef(operation, "admin", admin),
      keys: options.keys,
      expected_version: options.expectedVersion,
    };
    return this.#calls.call(operation, args, () => undefined, options);
  }

  /**
   * Sets the password of an admin, 8 to 1,024 bytes, or takes it away: then nobody signs in with one. Only its
   * Argon2id hash is kept.
   *
   * Rejects with NotFoundError; InvalidInputError about `password`.
   */
  async setPassword(admin: AdminLike, password: string | null, options?: CallOptions): Promise<void> {
    const operation = "admins.set_password";
    onlyOptions(operation, options);
    const args = { admin: adminRef(operation, "admin", admin), password };
    return this.#calls.call(operation, args, () => undefined, options);
  }

  /**
   * Returns the admin who signs in with a name and a password; `null` when they are not right, or the admin is
   * disabled. An unknown name takes as long as a wrong password. A few are checked at once, the others wait: limit how
   * often one may try.
   */
  async checkPassword(name: string, password: string, options?: CallOptions): Promise<Admin | null> {
    const operation = "admins.check_password";
    onlyOptions(operation, options);
    const args = { name, password };
    return this.#calls.call(operation, args, (json: Json) => maybe(json, readAdmin), options);
  }

  /**
   * Creates an API key of an admin: `name` is for people, up to 100 characters. `scopes` restrict it: `*`, `*:read`, a
   * noun such as `keys`, or `keys:read`, `keys:change`; without any it may what the admin may. The token is shown now
   * and never again.
   *
   * Rejects with NotFoundError; InvalidInputError with the `field`; LimitReachedError when the admin has 100 of them;
   * PermissionDeniedError when the call has less to give.
   */
  async createApiKey(
    admin: AdminLike,
    name: string,
    options: CallOptions & { readonly scopes?: Iterable<string> | undefined; readonly expiresIn?: Length | null | undefined } = {},
  ): Promise<NewApiKey> {
    const operation = "admins.create_api_key";
    onlyOptions(operation, options, "scopes", "expiresIn");
    const args = {
      admin: adminRef(operation, "admin", admin),
      name,
      scopes: put(options.scopes, (value) => list(operation, "scopes", value)),
      expires_in: put(options.expiresIn, (value) => lengthText(operation, "expiresIn", value)),
    };
    return this.#calls.call(operation, args, readNewApiKey, options);
  }

  /**
   * Returns the API keys of an admin, without their tokens, by id.
   *
   * Rejects with NotFoundError.
   */
  async apiKeys(admin: AdminLike, options?: CallOptions): Promise<ApiKey[]> {
    const operation = "admins.api_keys";
    onlyOptions(operation, options);
    const args = { admin: adminRef(operation, "admin", admin) };
    return this.#calls.call(operation, args, (json: Json): ApiKey[] => json.map(readApiKey), options);
  }

  /**
   * Makes an API key worthless from the next call on.
   *
   * Rejects with NotFoundError.
   */
  async revokeApiKey(id: string, options?: CallOptions): Promise<void> {
    const operation = "admins.revoke_api_key";
    onlyOptions(operation, options);
    const args = { id };
    return this.#calls.call(operation, args, () => undefined, options);
  }

  /**
   * Returns the API key that a token is of; `null` when it is of none, has expired or was revoked, or its admin is
   * disabled. Make calls with `CallContext.asAdmin`, with its admin and its scopes.
   */
  async checkApiKey(token: string, options?: CallOptions): Promise<ApiKey | null> {
    const operation = "admins.check_api_key";
    onlyOptions(operation, options);
    const args = { token };
    return this.#calls.call(operation, args, (json: Json) => maybe(json, readApiKey), options);
  }
}

/** Shows the ledger of what keys were given, and takes grants back. */
export class Grants {
  readonly #calls: Calls;

  /** @internal */
  constructor(calls: Calls) {
    this.#calls = calls;
  }

  /**
   * Returns entries of the ledger, oldest first: of a key, of a payment, of a time.
   *
   * Rejects with NotFoundError for a name or UUID of a key that does not exist; InvalidInputError about `limit`.
   */
  async find(query: GrantQuery = {}, options?: CallOptions): Promise<Grant[]> {
    const operation = "grants.find";
    onlyOptions(operation, options);
    const args = { query: writeGrantQuery(operation, query) };
    return this.#calls.call(operation, args, (json: Json): Grant[] => json.map(readGrant), options);
  }

  /**
   * Takes a grant back, as for a refund: the key has what it would have had without it. `grant` is its id, or the
   * idempotency key of the call that gave it.
   *
   * What is left is computed from the ledger: later grants are given again on what there was without this one, and
   * what happened between them stays: bytes that were used, pauses, changes by hand. A key that was created by the
   * grant ends.
   *
   * Rejects with NotFoundError for the grant, or when its key was deleted; ConflictError when it was undone before,
   * unless by a call with the same idempotency key; InvalidInputError about `grant` when a payment has given several.
   */
  async undo(
    grant: number | string,
    options: CallOptions & { readonly reason?: string | null | undefined; readonly idempotencyKey?: string | null | undefined } = {},
  ): Promise<Key> {
    const operation = "grants.undo";
    onlyOptions(operation, options, "reason", "idempotencyKey");
    const args = { grant, reason: options.reason, idempotency_key: options.idempotencyKey };
    return this.#calls.call(operation, args, readKey, options);
  }
}

/** Keeps the products of a shop: templates that keys are created and extended with. */
export class KeyTemplates {
  readonly #calls: Calls;

  /** @internal */
  constructor(calls: Calls) {
    this.#calls = calls;
  }

  /**
   * Makes sure that a template exists as described: adds it, replaces the one of its name, or does nothing. Keys that
   * were made of it stay as they are.
   *
   * Rejects with InvalidInputError with the `field`; LimitReachedError when there are 1,000 others.
   */
  async ensure(template: KeyTemplate, options?: CallOptions): Promise<Required<Omit<KeyTemplate, "days">>> {
    const operation = "templates.ensure";
    onlyOptions(operation, options);
    const args = { template: writeKeyTemplate(operation, template) };
    return this.#calls.call(operation, args, readKeyTemplate, options);
  }

  /** Returns the template, or `null`. */
  async get(name: string, options?: CallOptions): Promise<Required<Omit<KeyTemplate, "days">> | null> {
    const operation = "templates.get";
    onlyOptions(operation, options);
    const args = { name };
    return this.#calls.call(operation, args, (json: Json) => maybe(json, readKeyTemplate), options);
  }

  /** Returns all templates, sorted by name. */
  async list(options?: CallOptions): Promise<Required<Omit<KeyTemplate, "days">>[]> {
    const operation = "templates.list";
    onlyOptions(operation, options);
    return this.#calls.call(operation, {}, (json: Json): Required<Omit<KeyTemplate, "days">>[] => json.map(readKeyTemplate), options);
  }

  /**
   * Removes a template. Keys that were made of it stay as they are.
   *
   * Rejects with NotFoundError.
   */
  async remove(name: string, options?: CallOptions): Promise<void> {
    const operation = "templates.remove";
    onlyOptions(operation, options);
    const args = { name };
    return this.#calls.call(operation, args, () => undefined, options);
  }
}

/** Adds, changes and removes inbounds. */
export class Inbounds {
  readonly #calls: Calls;

  /** @internal */
  constructor(calls: Calls) {
    this.#calls = calls;
  }

  /**
   * Makes sure that the inbound exists as described: adds it, replaces the one of its tag, or does nothing. Keys that
   * lack a credential for it get one.
   *
   * Rejects with InvalidInputError for what the server program does not allow; AlreadyExistsError when another inbound
   * has the port; LimitReachedError when it has fewer addresses than keys need; PortInUseError and RejectedError when
   * the server refuses it, and then nothing of it is left. When the server does not answer, the inbound is committed
   * and comes with the next reconcile.
   */
  async ensure(inbound: Inbound, options?: CallOptions): Promise<Required<Inbound>> {
    const operation = "inbounds.ensure";
    onlyOptions(operation, options);
    const args = { inbound: writeInbound(operation, inbound) };
    return this.#calls.call(operation, args, readInbound, options);
  }

  /**
   * Gives an inbound with REALITY new keys. Links with those that it has work for `keepOld` longer, up to 366 days:
   * clients that fetch their subscription in that time notice nothing. Zero ends them at once, as after a leak. Keys
   * of an earlier rotation end now: asked for again, as after an answer that was lost, it changes them again.
   * Connections that are open may end; clients connect again. A description with keys of earlier does not bring them
   * back.
   *
   * Rejects with NotFoundError; UnsupportedError by an inbound without REALITY; InvalidInputError about `keepOld`;
   * UnavailableError while its server does not answer; RejectedError by an attached Xray that was configured with the
   * inbound.
   */
  async rotateKeys(
    tag: string,
    keepOld: Length,
    options: CallOptions & { readonly node?: string | undefined } = {},
  ): Promise<Required<Inbound>> {
    const operation = "inbounds.rotate_keys";
    onlyOptions(operation, options, "node");
    const args = { node: options.node, tag, keep_old: lengthText(operation, "keepOld", keepOld) };
    return this.#calls.call(operation, args, readInbound, options);
  }

  /** All inbounds, sorted by node and tag. */
  async list(options?: CallOptions): Promise<Required<Inbound>[]> {
    const operation = "inbounds.list";
    onlyOptions(operation, options);
    return this.#calls.call(operation, {}, (json: Json): Required<Inbound>[] => json.map(readInbound), options);
  }

  /** The inbound, or `null`. */
  async get(
    tag: string,
    options: CallOptions & { readonly node?: string | undefined } = {},
  ): Promise<Required<Inbound> | null> {
    const operation = "inbounds.get";
    onlyOptions(operation, options, "node");
    const args = { node: options.node, tag };
    return this.#calls.call(operation, args, (json: Json) => maybe(json, readInbound), options);
  }

  /**
   * Removes an inbound. Keys that were on it stay; nobody connects to it any more.
   *
   * Rejects with NotFoundError.
   */
  async remove(tag: string, options: CallOptions & { readonly node?: string | undefined } = {}): Promise<void> {
    const operation = "inbounds.remove";
    onlyOptions(operation, options, "node");
    const args = { node: options.node, tag };
    return this.#calls.call(operation, args, () => undefined, options);
  }
}

/** Says how clients reach inbounds. An inbound without hosts is reached at its server's own address. */
export class Hosts {
  readonly #calls: Calls;

  /** @internal */
  constructor(calls: Calls) {
    this.#calls = calls;
  }

  /** The hosts of every inbound that has some, sorted by node and tag. */
  async list(options?: CallOptions): Promise<InboundHosts[]> {
    const operation = "hosts.list";
    onlyOptions(operation, options);
    return this.#calls.call(operation, {}, (json: Json): InboundHosts[] => json.map(readInboundHosts), options);
  }

  /**
   * Replaces all hosts of an inbound; none gives it back its server's own address. To keep an inbound out of
   * subscriptions, give it one host that is `disabled`.
   *
   * Rejects with NotFoundError for the inbound; InvalidInputError with the `field`, `hosts[1].port`.
   */
  async set(
    tag: string,
    hosts: Iterable<Host>,
    options: CallOptions & { readonly node?: string | undefined } = {},
  ): Promise<void> {
    const operation = "hosts.set";
    onlyOptions(operation, options, "node");
    const args = {
      node: options.node,
      tag,
      hosts: each(operation, "hosts", hosts, (one) => writeHost(operation, one)),
    };
    return this.#calls.call(operation, args, () => undefined, options);
  }

  /**
   * The endpoints that a key would have on an inbound with these hosts: variables filled in, choices made. Nothing is
   * stored.
   *
   * Rejects with NotFoundError for the key or the inbound; InvalidInputError with the `field`.
   */
  async preview(
    key: KeyLike,
    tag: string,
    hosts: Iterable<Host>,
    options: CallOptions & { readonly node?: string | undefined } = {},
  ): Promise<Endpoint[]> {
    const operation = "hosts.preview";
    onlyOptions(operation, options, "node");
    const args = {
      key: keyRef(operation, "key", key),
      node: options.node,
      tag,
      hosts: each(operation, "hosts", hosts, (one) => writeHost(operation, one)),
    };
    return this.#calls.call(operation, args, (json: Json): Endpoint[] => json.map(readEndpoint), options);
  }
}

/** Gives out subscriptions: URLs, answers for clients, settings, templates, devices. */
export class Subscriptions {
  readonly #calls: Calls;

  /** @internal */
  constructor(calls: Calls) {
    this.#calls = calls;
  }

  /** The settings. */
  async settings(options?: CallOptions): Promise<Required<SubscriptionSettings>> {
    const operation = "subscriptions.settings";
    onlyOptions(operation, options);
    return this.#calls.call(operation, {}, readSubscriptionSettings, options);
  }

  /**
   * Replaces the settings, for every process that uses this store.
   *
   * Rejects with InvalidInputError with the `field`.
   */
  async configure(settings: SubscriptionSettings, options?: CallOptions): Promise<void> {
    const operation = "subscriptions.configure";
    onlyOptions(operation, options);
    const args = { settings: writeSubscriptionSettings(operation, settings) };
    return this.#calls.call(operation, args, () => undefined, options);
  }

  /**
   * Changes what is given of the settings and keeps the rest, for every process that uses this store; returns all of
   * them.
   *
   * Rejects with InvalidInputError with the `field`.
   */
  async update(patch: SettingsPatch, options?: CallOptions): Promise<Required<SubscriptionSettings>> {
    const operation = "subscriptions.update";
    onlyOptions(operation, options);
    const args = { patch: writeSettingsPatch(operation, patch) };
    return this.#calls.call(operation, args, readSubscriptionSettings, options);
  }

  /**
   * The token of a key: 28 letters, the same until its links are revoked or the signing secret is rotated.
   *
   * Rejects with NotFoundError.
   */
  async token(key: KeyLike, options?: CallOptions): Promise<string> {
    const operation = "subscriptions.token";
    onlyOptions(operation, options);
    const args = { key: keyRef(operation, "key", key) };
    return this.#calls.call(operation, args, (json: Json): string => json, options);
  }

  /**
   * The URL of a key's subscription.
   *
   * Rejects with NotFoundError; InvalidConfigError when the settings have no `baseUrl`.
   */
  async url(key: KeyLike, options?: CallOptions): Promise<string> {
    const operation = "subscriptions.url";
    onlyOptions(operation, options);
    const args = { key: keyRef(operation, "key", key) };
    return this.#calls.call(operation, args, (json: Json): string => json, options);
  }

  /**
   * A key's subscription as a client gets it, devices aside.
   *
   * Rejects with NotFoundError for the key or a template.
   */
  async render(key: KeyLike, target: RenderOptions = {}, options?: CallOptions): Promise<SubscriptionResponse> {
    const operation = "subscriptions.render";
    onlyOptions(operation, options);
    const args = { key: keyRef(operation, "key", key), target: writeRenderOptions(operation, target) };
    return this.#calls.call(operation, args, readSubscriptionResponse, options);
  }

  /**
   * The answer to an HTTP request for a subscription. `headers` are the request's, in any case and order; `format` is
   * what stands after the token in the URL, if anything does.
   *
   * A token that is not valid, or no longer, is an answer with status 404, as is an unknown `format`; only a failure
   * of the store is an error.
   */
  async forRequest(
    token: string,
    headers: RequestHeaders,
    format: string | null = null,
    options?: CallOptions,
  ): Promise<SubscriptionResponse> {
    const operation = "subscriptions.for_request";
    onlyOptions(operation, options);
    const args = { token, headers: headerPairs(operation, headers), format };
    return this.#calls.call(operation, args, readSubscriptionResponse, options);
  }

  /**
   * Makes every token and URL of the key that was given out worthless, and with `newCredentials` its share links too:
   * at once, and open connections end where the server can end them; or when `keepOld` is over, so that the customer's
   * devices can change. Until then the old URL answers with the old links. Revoked again, those of before end at once.
   *
   * Rejects with NotFoundError; InvalidInputError about `keepOld`: longer than nothing, up to 366 days.
   */
  async revoke(
    key: KeyLike,
    options: CallOptions & { readonly newCredentials?: boolean | undefined; readonly keepOld?: Length | null | undefined } = {},
  ): Promise<Key> {
    const operation = "subscriptions.revoke";
    onlyOptions(operation, options, "newCredentials", "keepOld");
    const args = {
      key: keyRef(operation, "key", key),
      new_credentials: options.newCredentials,
      keep_old: put(options.keepOld, (value) => lengthText(operation, "keepOld", value)),
    };
    return this.#calls.call(operation, args, readKey, options);
  }

  /**
   * A new secret signs from now on. Tokens of those before are honoured for `keep` longer: clients that fetch in that
   * time need nothing new only while their URL is valid, so send out the new URLs. Zero ends all of them at once, as
   * after a leak.
   *
   * Rejects with ConflictError when another process does the same.
   */
  async rotateSecret(keep: Length, options?: CallOptions): Promise<void> {
    const operation = "subscriptions.rotate_secret";
    onlyOptions(operation, options);
    const args = { keep: lengthText(operation, "keep", keep) };
    return this.#calls.call(operation, args, () => undefined, options);
  }

  /** The operator's templates, by name. */
  async templates(options?: CallOptions): Promise<Record<string, SubscriptionTemplate>> {
    const operation = "subscriptions.templates";
    onlyOptions(operation, options);
    return this.#calls.call(operation, {}, (json: Json) => Object.fromEntries(Object.entries(json).map(([name, one]) => [name, readSubscriptionTemplate(one)])), options);
  }

  /**
   * Adds a template, or replaces the one of its name (1 to 32 of `a-z 0-9 _ -`). It is checked first.
   *
   * Rejects with InvalidInputError about `name`, `contentType` or `source`, with the `line`.
   */
  async putTemplate(name: string, template: SubscriptionTemplate, options?: CallOptions): Promise<void> {
    const operation = "subscriptions.put_template";
    onlyOptions(operation, options);
    const args = { name, template: writeSubscriptionTemplate(operation, template) };
    return this.#calls.call(operation, args, () => undefined, options);
  }

  /**
   * Removes a template.
   *
   * Rejects with NotFoundError; ConflictError while a rule of the settings uses it.
   */
  async removeTemplate(name: string, options?: CallOptions): Promise<void> {
    const operation = "subscriptions.remove_template";
    onlyOptions(operation, options);
    const args = { name };
    return this.#calls.call(operation, args, () => undefined, options);
  }

  /**
   * The devices that have fetched a key's subscription, the one that came first first.
   *
   * Rejects with NotFoundError.
   */
  async devices(key: KeyLike, options?: CallOptions): Promise<ClientDevice[]> {
    const operation = "subscriptions.devices";
    onlyOptions(operation, options);
    const args = { key: keyRef(operation, "key", key) };
    return this.#calls.call(operation, args, (json: Json): ClientDevice[] => json.map(readClientDevice), options);
  }

  /**
   * Forgets a device of a key, or with `null` all of them: there is room for another one.
   *
   * Rejects with NotFoundError.
   */
  async forgetDevice(key: KeyLike, id: string | null, options?: CallOptions): Promise<void> {
    const operation = "subscriptions.forget_device";
    onlyOptions(operation, options);
    const args = { key: keyRef(operation, "key", key), id };
    return this.#calls.call(operation, args, () => undefined, options);
  }
}

/** Tells what passed, and who is online. */
export class TrafficView {
  readonly #calls: Calls;

  /** @internal */
  constructor(calls: Calls) {
    this.#calls = calls;
  }

  /**
   * Returns traffic over time, oldest first; steps without traffic are left out. The sum of all steps is what has
   * passed, to the byte.
   *
   * Rejects with NotFoundError for the key or the admin; InvalidInputError about `admin` beside a key.
   */
  async history(query: HistoryQuery = {}, options?: CallOptions): Promise<UsagePoint[]> {
    const operation = "traffic.history";
    onlyOptions(operation, options);
    const args = { query: writeHistoryQuery(operation, query) };
    return this.#calls.call(operation, args, (json: Json): UsagePoint[] => json.map(readUsagePoint), options);
  }

  /**
   * Draws a chart of a key's traffic over the last `days` (1 to 366, today included), for bots to send. `width` is in
   * pixels, 200 to 4,096.
   *
   * Rejects with NotFoundError; InvalidInputError about `days` or `width`.
   */
  async chart(
    key: KeyLike,
    options: CallOptions & { readonly days?: number | undefined; readonly theme?: Theme | undefined; readonly format?: ImageFormat | undefined; readonly width?: number | undefined } = {},
  ): Promise<Buffer> {
    const operation = "traffic.chart";
    onlyOptions(operation, options, "days", "theme", "format", "width");
    const args = {
      key: keyRef(operation, "key", key),
      days: options.days,
      theme: options.theme,
      format: options.format,
      width: options.width,
    };
    return this.#calls.call(operation, args, (text: string) => Buffer.from(text, "base64"), options);
  }

  /** Reads every server that answers now, instead of at the next interval; those of other processes too. */
  async collect(options?: CallOptions): Promise<Collected[]> {
    const operation = "traffic.collect";
    onlyOptions(operation, options);
    return this.#calls.call(operation, {}, (json: Json): Collected[] => json.map(readCollected), options);
  }

  /** Returns the keys with open connections on any server that answers, sorted by id. */
  async online(options?: CallOptions): Promise<OnlineKey[]> {
    const operation = "traffic.online";
    onlyOptions(operation, options);
    return this.#calls.call(operation, {}, (json: Json): OnlineKey[] => json.map(readOnlineKey), options);
  }

  /**
   * Returns how fast bytes pass now, between the last two readings of each server that answers: by server, and of the
   * `limit` fastest keys (1 to 1,000).
   *
   * Rejects with InvalidInputError about `limit`.
   */
  async rates(limit: number = 100, options?: CallOptions): Promise<Rates> {
    const operation = "traffic.rates";
    onlyOptions(operation, options);
    const args = { limit };
    return this.#calls.call(operation, args, readRates, options);
  }

  /**
   * Sets how much bytes through a node count against the limits of keys, in percent: 100, the default, is each byte
   * once, 0 not at all, up to 10,000. The traffic of keys and of the node stays what has passed. Every process goes by
   * it within a second.
   *
   * Rejects with InvalidInputError about `percent`.
   */
  async setCoefficient(node: string, percent: number, options?: CallOptions): Promise<void> {
    const operation = "traffic.set_coefficient";
    onlyOptions(operation, options);
    const args = { node, percent };
    return this.#calls.call(operation, args, () => undefined, options);
  }

  /** Returns how much bytes through nodes count, in percent, by node; those that are left out count once. */
  async coefficients(options?: CallOptions): Promise<Record<string, number>> {
    const operation = "traffic.coefficients";
    onlyOptions(operation, options);
    return this.#calls.call(operation, {}, (json: Json): Record<string, number> => json, options);
  }

  /**
   * Returns where one key is online from; `null` when it is not.
   *
   * Rejects with NotFoundError.
   */
  async onlineKey(key: KeyLike, options?: CallOptions): Promise<OnlineKey | null> {
    const operation = "traffic.online_key";
    onlyOptions(operation, options);
    const args = { key: keyRef(operation, "key", key) };
    return this.#calls.call(operation, args, (json: Json) => maybe(json, readOnlineKey), options);
  }
}

/** Copies and checks the store while it is in use. */
export class StoreView {
  readonly #calls: Calls;

  /** @internal */
  constructor(calls: Calls) {
    this.#calls = calls;
  }

  /**
   * Copies the store as it is now into a new file (mode 0600), while this process and others go on writing, and checks
   * the copy before it takes its name: a file under that name is a whole backup. Credentials in it are encrypted as in
   * the store. `store.work` tells how far it is. One that ends early, by an error or because the kit is closed, leaves
   * no file.
   *
   * Rejects with AlreadyExistsError when there is a file; NotFoundError when there is no such directory;
   * PermissionDeniedError; StoreFullError; StoreCorruptError when the store is damaged; UnsupportedError by a store in
   * memory.
   */
  async backUp(path: string, options?: CallOptions): Promise<Backup> {
    const operation = "store.back_up";
    onlyOptions(operation, options);
    const args = { path };
    return this.#calls.call(operation, args, readBackup, options);
  }

  /**
   * Reads the whole store, and returns what is wrong with its file. Others go on writing meanwhile; `store.work` tells
   * how far it is.
   *
   * Rejects with UnsupportedError by a store in memory.
   */
  async check(options?: CallOptions): Promise<StoreCheck> {
    const operation = "store.check";
    onlyOptions(operation, options);
    return this.#calls.call(operation, {}, readStoreCheck, options);
  }

  /**
   * Changes the passphrase that the store is encrypted under, while this process and others use it: they go on. A call
   * that is made again has nothing to do.
   *
   * First give every process both for its next start, as `passphrase` and `previousPassphrase`: so each opens the
   * store, whichever it has then. Backups keep the passphrase that they were made under.
   *
   * Rejects with PassphraseWrongError; InvalidInputError about `passphrase`; UnsupportedError by a store that is not
   * encrypted, or in memory.
   */
  async changePassphrase(previous: string, passphrase: string, options?: CallOptions): Promise<void> {
    const operation = "store.change_passphrase";
    onlyOptions(operation, options);
    const args = { previous, passphrase };
    return this.#calls.call(operation, args, () => undefined, options);
  }

  /** Returns the backups and checks that this process is doing, the oldest first: for a bar of progress. */
  async work(options?: CallOptions): Promise<StoreWork[]> {
    const operation = "store.work";
    onlyOptions(operation, options);
    return this.#calls.call(operation, {}, (json: Json): StoreWork[] => json.map(readStoreWork), options);
  }
}

/** Tells how vpnkit itself does: its background jobs, and metrics for Prometheus. */
export class HealthView {
  readonly #calls: Calls;

  /** @internal */
  constructor(calls: Calls) {
    this.#calls = calls;
  }

  /**
   * Returns the background jobs, by name and server: when each ran last in this process, how long it took, and why it
   * failed.
   */
  async jobs(options?: CallOptions): Promise<JobStatus[]> {
    const operation = "health.jobs";
    onlyOptions(operation, options);
    return this.#calls.call(operation, {}, (json: Json): JobStatus[] => json.map(readJobStatus), options);
  }

  /**
   * Returns what this process has counted and measured since the kit was opened, in the text format of OpenMetrics:
   * serve it as `application/openmetrics-text; version=1.0.0; charset=utf-8`, and Prometheus reads it.
   * `docs/metrics.md` lists all of it.
   */
  async metrics(options?: CallOptions): Promise<string> {
    const operation = "health.metrics";
    onlyOptions(operation, options);
    return this.#calls.call(operation, {}, (json: Json): string => json, options);
  }
}

/** Reads the outbox: everything that was committed, in order, also what happened while nobody listened. */
export class Events {
  readonly #calls: Calls;

  /** @internal */
  constructor(calls: Calls) {
    this.#calls = calls;
  }

  /**
   * At most `max` events after a cursor, up to 10,000; does not wait.
   *
   * Rejects with CursorExpiredError when some of them are no longer kept.
   */
  async read(after: number, max: number = 1_000, options?: CallOptions): Promise<EventBatch> {
    const operation = "events.read";
    onlyOptions(operation, options);
    const args = { after, max };
    return this.#calls.call(operation, args, readEventBatch, options);
  }

  /** The cursor of the newest event: from here on only what happens next. */
  async newest(options?: CallOptions): Promise<number> {
    const operation = "events.newest";
    onlyOptions(operation, options);
    return this.#calls.call(operation, {}, (json: Json): number => json, options);
  }

  /**
   * Returns what calls have changed, the newest first: who called, why, with which payment, and what came of it. No
   * call changes or removes what stands there; it is kept for as long as timelines are. In the name of a reseller
   * those are its own calls.
   *
   * Rejects with InvalidInputError about `limit`.
   */
  async audit(query: AuditQuery = {}, options?: CallOptions): Promise<Event[]> {
    const operation = "events.audit";
    onlyOptions(operation, options);
    const args = { query: writeAuditQuery(operation, query) };
    return this.#calls.call(operation, args, (json: Json): Event[] => json.map(readEvent), options);
  }

  /** Returns the consumers of events by name, and how far they have come. */
  async consumers(options?: CallOptions): Promise<ConsumerStatus[]> {
    const operation = "events.consumers";
    onlyOptions(operation, options);
    return this.#calls.call(operation, {}, (json: Json): ConsumerStatus[] => json.map(readConsumerStatus), options);
  }

  /**
   * Forgets a consumer: who consumes under its name begins again.
   *
   * Rejects with NotFoundError.
   */
  async removeConsumer(name: string, options?: CallOptions): Promise<void> {
    const operation = "events.remove_consumer";
    onlyOptions(operation, options);
    const args = { name };
    return this.#calls.call(operation, args, () => undefined, options);
  }

  /**
   * Everything after a cursor (0: from the beginning), then whatever comes. Keep the cursor of the last event that you
   * handled, and go on from there.
   */
  stream(after = 0, options: CallOptions = {}): EventStream {
    if (!Number.isSafeInteger(after)) throw invalid("events.stream", "after", "is no cursor", "give the `cursor` of an event");
    return new EventStream(attempt(() => this.#calls.native.events(after)), options);
  }

  /**
   * Consumes events under a name (1 to 64 of `A-Z a-z 0-9 . _ @ + -`), whose place the store keeps: each event is given at least
   * once to one of those who consume under it, in whichever process. It begins behind `after`, the first time; without that
   * with what happens next.
   *
   * Throws `InvalidInputError` about `name`; `CursorExpiredError`, from the loop, when events that were not handled are no longer
   * kept: `removeConsumer` lets it begin again.
   */
  consume(name: string, options: CallOptions & { readonly after?: number | undefined } = {}): EventConsumer {
    const { after, ...rest } = options;
    if (typeof name !== "string") throw invalid("events.consume", "name", "must be a text");
    if (after !== undefined && !Number.isSafeInteger(after)) throw invalid("events.consume", "after", "is no cursor", "give the `cursor` of an event");
    return new EventConsumer(attempt(() => this.#calls.native.consume(name, after)), rest);
  }
}

/** Keeps webhooks: each event is sent to each of them at least once, signed as Standard Webhooks are. */
export class Webhooks {
  readonly #calls: Calls;

  /** @internal */
  constructor(calls: Calls) {
    this.#calls = calls;
  }

  /**
   * Creates a webhook; it gets what happens from now on. Its secret is shown now and never again.
   *
   * Rejects with InvalidInputError with the `field`; LimitReachedError when there are 100; UnsupportedError when this
   * vpnkit sends nothing.
   */
  async create(request: CreateWebhook, options?: CallOptions): Promise<NewWebhook> {
    const operation = "webhooks.create";
    onlyOptions(operation, options);
    const args = { request: writeCreateWebhook(operation, request) };
    return this.#calls.call(operation, args, readNewWebhook, options);
  }

  /** Returns all webhooks, by id. */
  async list(options?: CallOptions): Promise<Webhook[]> {
    const operation = "webhooks.list";
    onlyOptions(operation, options);
    return this.#calls.call(operation, {}, (json: Json): Webhook[] => json.map(readWebhook), options);
  }

  /** Returns the webhook, or `null`. */
  async get(id: string, options?: CallOptions): Promise<Webhook | null> {
    const operation = "webhooks.get";
    onlyOptions(operation, options);
    const args = { id };
    return this.#calls.call(operation, args, (json: Json) => maybe(json, readWebhook), options);
  }

  /**
   * Changes a webhook. One that was disabled goes on where it was.
   *
   * Rejects with NotFoundError; InvalidInputError with the `field`.
   */
  async update(id: string, patch: WebhookPatch, options?: CallOptions): Promise<Webhook> {
    const operation = "webhooks.update";
    onlyOptions(operation, options);
    const args = { id, patch: writeWebhookPatch(operation, patch) };
    return this.#calls.call(operation, args, readWebhook, options);
  }

  /**
   * Deletes a webhook with its dead letters.
   *
   * Rejects with NotFoundError.
   */
  async delete(id: string, options?: CallOptions): Promise<void> {
    const operation = "webhooks.delete";
    onlyOptions(operation, options);
    const args = { id };
    return this.#calls.call(operation, args, () => undefined, options);
  }

  /**
   * Draws a new secret, which is shown now and never again. For `keep` requests are signed with the old ones too, so
   * that the receiver can change; zero ends them at once.
   *
   * Rejects with NotFoundError; InvalidInputError about `keep`, up to 366 days.
   */
  async rotateSecret(id: string, keep: Length, options?: CallOptions): Promise<NewWebhook> {
    const operation = "webhooks.rotate_secret";
    onlyOptions(operation, options);
    const args = { id, keep: lengthText(operation, "keep", keep) };
    return this.#calls.call(operation, args, readNewWebhook, options);
  }

  /** Returns how the deliveries of all webhooks stand, by id. */
  async status(options?: CallOptions): Promise<WebhookStatus[]> {
    const operation = "webhooks.status";
    onlyOptions(operation, options);
    return this.#calls.call(operation, {}, (json: Json): WebhookStatus[] => json.map(readWebhookStatus), options);
  }

  /**
   * Returns the events that the receiver of a webhook has refused for good, oldest first; `after` is the cursor of the
   * last event of the answer before. The newest 10,000 are kept.
   *
   * Rejects with NotFoundError; InvalidInputError about `limit`, 1 to 1,000.
   */
  async deadLetters(
    id: string,
    options: CallOptions & { readonly after?: number | null | undefined; readonly limit?: number | undefined } = {},
  ): Promise<DeadLetter[]> {
    const operation = "webhooks.dead_letters";
    onlyOptions(operation, options, "after", "limit");
    const args = { id, after: options.after, limit: options.limit };
    return this.#calls.call(operation, args, (json: Json): DeadLetter[] => json.map(readDeadLetter), options);
  }

  /**
   * Sends dead letters of a webhook again, now: that of one event, or all, oldest first, up to the first one that is
   * not accepted. Returns how many were; those are no longer kept.
   *
   * Rejects with NotFoundError for the webhook or the dead letter; UnavailableError when the first one is not
   * accepted.
   */
  async resend(id: string, cursor: number | null = null, options?: CallOptions): Promise<number> {
    const operation = "webhooks.resend";
    onlyOptions(operation, options);
    const args = { id, cursor };
    return this.#calls.call(operation, args, (json: Json): number => json, options);
  }

  /**
   * Sends `webhook.ping` to a webhook, now, to see whether its receiver accepts what is signed with its secret.
   *
   * Rejects with NotFoundError; UnavailableError when it is not accepted.
   */
  async ping(id: string, options?: CallOptions): Promise<void> {
    const operation = "webhooks.ping";
    onlyOptions(operation, options);
    const args = { id };
    return this.#calls.call(operation, args, () => undefined, options);
  }
}

/** Tells how servers do, and compares them with the store. */
export class Servers {
  readonly #calls: Calls;

  /** @internal */
  constructor(calls: Calls) {
    this.#calls = calls;
  }

  /**
   * Tells how every server does: those of this process in the order of the configuration, then those of other
   * processes. Of one that another process drives it is what that process has told last.
   */
  async status(options?: CallOptions): Promise<ServerStatus[]> {
    const operation = "servers.status";
    onlyOptions(operation, options);
    return this.#calls.call(operation, {}, (json: Json): ServerStatus[] => json.map(readServerStatus), options);
  }

  /**
   * Reads the counters of a server a last time and stops driving it; a managed one ends, also one that is to keep
   * running. Its inbounds stay in the store, and nobody is told of them until the server is added again. A process
   * that only stands by for it does so no longer. One that no process has any more is forgotten.
   *
   * Rejects with NotFoundError; InUseError when only another process has it.
   */
  async remove(id: string, options?: CallOptions): Promise<void> {
    const operation = "servers.remove";
    onlyOptions(operation, options);
    const args = { id };
    return this.#calls.call(operation, args, () => undefined, options);
  }

  /**
   * Ends a server's program, also one that is to keep running, whichever process drives it: it stays stopped until
   * `start`, also over restarts of all processes. Its keys stay, and nobody connects.
   *
   * Rejects with NotFoundError; UnsupportedError when its program is not vpnkit's to end; UnavailableError when no
   * process drives it; OperationTimeoutError when it has not ended in time.
   */
  async stop(id: string, options?: CallOptions): Promise<void> {
    const operation = "servers.stop";
    onlyOptions(operation, options);
    const args = { id };
    return this.#calls.call(operation, args, () => undefined, options);
  }

  /**
   * Starts a server again that was stopped with `stop`.
   *
   * Rejects with NotFoundError; UnavailableError when no process drives it; OperationTimeoutError when it does not
   * answer in time.
   */
  async start(id: string, options?: CallOptions): Promise<void> {
    const operation = "servers.start";
    onlyOptions(operation, options);
    const args = { id };
    return this.#calls.call(operation, args, () => undefined, options);
  }

  /**
   * Compares a server with the store now and applies the difference; returns how many steps that took.
   *
   * Rejects with NotFoundError; UnavailableError when it does not answer; RejectedError when it refuses some of it;
   * OperationTimeoutError when the process that drives it does not answer.
   */
  async reconcile(id: string, options?: CallOptions): Promise<number> {
    const operation = "servers.reconcile";
    onlyOptions(operation, options);
    const args = { id };
    return this.#calls.call(operation, args, (json: Json): number => json, options);
  }

  /**
   * The newest lines of a managed server's log, oldest first.
   *
   * Rejects with NotFoundError; OperationTimeoutError when the process that drives it does not answer.
   */
  async log(id: string, lines: number = 100, options?: CallOptions): Promise<string[]> {
    const operation = "servers.log";
    onlyOptions(operation, options);
    const args = { id, lines };
    return this.#calls.call(operation, args, (json: Json): string[] => json, options);
  }

  /**
   * Takes a server in and starts it. One that does not start is `down`, and tried again.
   *
   * It belongs to this kit until it is removed or the kit is closed; what the configuration lists is what a kit begins
   * with.
   *
   * Rejects with InvalidInputError with the `field` that cannot be read; InvalidConfigError with the `field` that does
   * not fit, or when there is a server of this node and name.
   */
  async add(server: ServerConfig, options?: CallOptions): Promise<ServerStatus> {
    const operation = "servers.add";
    onlyOptions(operation, options);
    const args = { server: writeServerConfig(operation, server) };
    return this.#calls.call(operation, args, readServerStatus, options);
  }
}
