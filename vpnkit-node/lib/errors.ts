/** Errors: one class for each code, the same codes as in Rust and Python. */
import { camel } from "./names.js";

/** The stable name of what went wrong: match on this, never on texts. */
export type ErrorCode =
  | "invalid_input"
  | "invalid_config"
  | "not_found"
  | "already_exists"
  | "limit_reached"
  | "idempotency_mismatch"
  | "conflict"
  | "unsupported"
  | "unavailable"
  | "timeout"
  | "closed"
  | "forked"
  | "permission_denied"
  | "port_in_use"
  | "binary_missing"
  | "version_unsupported"
  | "rejected"
  | "in_use"
  | "lease_lost"
  | "store_locked"
  | "store_read_only"
  | "store_too_new"
  | "store_not_recognized"
  | "passphrase_missing"
  | "passphrase_wrong"
  | "store_corrupt"
  | "store_full"
  | "cursor_expired"
  | "unexpected";

interface ErrorRecord {
  code: string;
  operation: string;
  text: string;
  message: string;
  retryable: boolean;
  hint: string | null;
  context: Record<string, string>;
  faults: string[];
  causes: string[];
}

/** Something that vpnkit could not do. `message` is one line without secrets. */
export class VpnkitError extends Error {
  /** The stable name of the kind. */
  readonly code: ErrorCode;
  /** What was being done: `keys.create`. */
  readonly operation: string;
  /** Whether the same call may succeed later. */
  readonly retryable: boolean;
  /** What the human can do about it. */
  readonly hint: string | undefined;
  /** The facts: `{ field: "dataLimit" }`. */
  readonly context: Readonly<Record<string, string>>;
  /** Every fault of a configuration, with its path. */
  readonly faults: readonly string[];
  /** What it was caused by, the nearest first. */
  readonly causes: readonly string[];

  /** @internal */
  constructor(record: ErrorRecord) {
    super(record.text);
    this.name = new.target.name;
    this.code = record.code as ErrorCode;
    this.operation = record.operation;
    this.retryable = record.retryable;
    this.hint = record.hint ?? undefined;
    this.context = record.context;
    this.faults = record.faults;
    this.causes = record.causes;
  }

  /** @internal The same of one thing in a list. */
  at(index: number): this {
    const { code, operation, retryable, faults, causes } = this;
    const context = { ...this.context, index: String(index) };
    const known = this.constructor as new (record: ErrorRecord) => this;
    const text = `${this.message} (index=${index})`;
    return new known({ code, operation, text, message: text, retryable, hint: this.hint ?? null, context, faults: [...faults], causes: [...causes] });
  }

  /** What `JSON.stringify` writes: everything but the stack. */
  toJSON(): Record<string, unknown> {
    const { name, code, operation, message, retryable, hint, context, faults, causes } = this;
    return { name, code, operation, message, retryable, hint, context, faults, causes };
  }

  /** The argument that is at fault, by its name in JavaScript. */
  get field(): string | undefined {
    return this.context["field"];
  }
}

/** An argument is not acceptable; `field` names it. */
export class InvalidInputError extends VpnkitError {}
/** The configuration is not acceptable; `faults` has every fault with its path. */
export class InvalidConfigError extends VpnkitError {}
/** There is no such key, inbound or server. */
export class NotFoundError extends VpnkitError {}
/** A key name, UUID, inbound tag or port is already taken. */
export class AlreadyExistsError extends VpnkitError {}
/** The version that the caller expected is no longer the current one. */
export class ConflictError extends VpnkitError {}
/** The idempotency key belongs to an earlier request that asked for something else. */
export class IdempotencyMismatchError extends VpnkitError {}
/** A limit of the key does not allow it: it is on too many devices. */
export class LimitReachedError extends VpnkitError {}
/** The server or store cannot do this at all. */
export class UnsupportedError extends VpnkitError {}
/** A server does not answer. */
export class UnavailableError extends VpnkitError {}
/** Something took longer than its time limit. */
export class OperationTimeoutError extends VpnkitError {}
/** The kit was closed before or during the call. */
export class ClosedError extends VpnkitError {}
/** The process was forked after the kit was opened. */
export class ForkError extends VpnkitError {}
/** The operating system refused. */
export class PermissionDeniedError extends VpnkitError {}
/** Another program listens on the port. */
export class PortInUseError extends VpnkitError {}
/** The server program is not where it was looked for. */
export class BinaryMissingError extends VpnkitError {}
/** The server program is older than vpnkit supports. */
export class VersionUnsupportedError extends VpnkitError {}
/** The server program refused what it was given. */
export class RejectedError extends VpnkitError {}
/** Another process has it: a server, or a directory. */
export class InUseError extends VpnkitError {}
/** Another process does what this one did before: it was slow, or frozen, for longer than the store waits for it. */
export class LeaseLostError extends VpnkitError {}
/** Another process holds the store's write lock. */
export class StoreLockedError extends VpnkitError {}
/** The store cannot be written. */
export class StoreReadOnlyError extends VpnkitError {}
/** A newer vpnkit has written the store. */
export class StoreTooNewError extends VpnkitError {}
/** The file is not a vpnkit store. */
export class StoreNotRecognizedError extends VpnkitError {}
/** The store is encrypted and no passphrase was given. */
export class PassphraseMissingError extends VpnkitError {}
/** The passphrase is not the store's. */
export class PassphraseWrongError extends VpnkitError {}
/** The store's file is damaged. */
export class StoreCorruptError extends VpnkitError {}
/** No room left for the store. */
export class StoreFullError extends VpnkitError {}
/** The events after this cursor are no longer kept. */
export class CursorExpiredError extends VpnkitError {}
/** A fault in vpnkit or in something it relies on. */
export class UnexpectedError extends VpnkitError {}

const CLASSES: Record<ErrorCode, new (record: ErrorRecord) => VpnkitError> = {
  invalid_input: InvalidInputError,
  invalid_config: InvalidConfigError,
  not_found: NotFoundError,
  already_exists: AlreadyExistsError,
  conflict: ConflictError,
  limit_reached: LimitReachedError,
  idempotency_mismatch: IdempotencyMismatchError,
  unsupported: UnsupportedError,
  unavailable: UnavailableError,
  timeout: OperationTimeoutError,
  closed: ClosedError,
  forked: ForkError,
  permission_denied: PermissionDeniedError,
  port_in_use: PortInUseError,
  binary_missing: BinaryMissingError,
  version_unsupported: VersionUnsupportedError,
  rejected: RejectedError,
  in_use: InUseError,
  lease_lost: LeaseLostError,
  store_locked: StoreLockedError,
  store_read_only: StoreReadOnlyError,
  store_too_new: StoreTooNewError,
  store_not_recognized: StoreNotRecognizedError,
  passphrase_missing: PassphraseMissingError,
  passphrase_wrong: PassphraseWrongError,
  store_corrupt: StoreCorruptError,
  store_full: StoreFullError,
  cursor_expired: CursorExpiredError,
  unexpected: UnexpectedError,
};

/** @internal What a native function throws has the record of an error as its text. */
export function raised(error: unknown): unknown {
  return error instanceof Error && error.message.startsWith("{") ? recorded(error.message) : error;
}

/** @internal The one place where the record of an error becomes ours. */
export function recorded(text: string): VpnkitError {
  const record = JSON.parse(text) as ErrorRecord;
  const { field } = record.context;
  if (field !== undefined) record.context["field"] = camel(field);
  if (record.text.includes("unknown field")) {
    // What there is instead, as JavaScript writes it.
    const fields = (said: string): string => said.replace(/`[a-z]+(_[a-z]+)+`/g, (name) => camel(name));
    record.text = fields(record.text);
    record.message = fields(record.message);
    record.causes = record.causes.map(fields);
    record.faults = record.faults.map(fields);
  }
  const known = CLASSES[record.code as ErrorCode] ?? UnexpectedError;
  return new known(record);
}

/** @internal The error about one argument. */
export function invalid(operation: string, field: string, message: string, hint?: string): InvalidInputError {
  return new InvalidInputError({
    code: "invalid_input",
    operation,
    text: `${operation}: ${message} (field=${field})`,
    message,
    retryable: false,
    hint: hint ?? null,
    context: { field },
    faults: [],
    causes: [],
  });
}

/** @internal Runs a native function that may fail at once. */
export function attempt<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw raised(error);
  }
}
