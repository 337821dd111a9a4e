/** What happened. */
import type { Json } from "./convert.js";
import type { EventKind } from "./records.js";

type Of<Noun extends string> = Extract<EventKind, `${Noun}.${string}`>;

interface Happened {
  /** Its place in the stream: keep the one of the last event that you handled. */
  readonly cursor: number;
  /** When it was committed. */
  readonly at: Date;
  /** A short text for people; may be empty. Never a secret. */
  readonly detail: string;
  /** The operation that it follows from: `keys.extend`; `null` when vpnkit did it by itself. */
  readonly operation: string | null;
  /** Who called, as the application has said. */
  readonly actor: string | null;
  /** The id of the admin in whose name it was called. */
  readonly byAdmin: number | null;
  /** Why, as the application has said. */
  readonly reason: string | null;
  /** The idempotency key of the call: the payment. */
  readonly idempotencyKey: string | null;
}

/** Something happened to a key; its identities are kept for when it is gone. */
export interface KeyEvent extends Happened {
  readonly kind: Of<"key">;
  /** Its id. */
  readonly key: number;
  readonly keyUid: string;
  /** The id of the admin who owned it then. */
  readonly admin: number | null;
}

/** Something happened to an inbound. */
export interface InboundEvent extends Happened {
  readonly kind: Of<"inbound">;
  /** Its tag. */
  readonly inbound: string;
}

/** Something happened to a server. */
export interface ServerEvent extends Happened {
  readonly kind: Of<"server">;
  /** Its id. */
  readonly server: string;
}

/** Something happened to a node: none of its servers answers, or one does again. */
export interface NodeEvent extends Happened {
  readonly kind: Of<"node">;
  /** Its name. */
  readonly node: string;
}

/** Something happened to an admin. */
export interface AdminEvent extends Happened {
  readonly kind: Of<"admin">;
  /** Its id. */
  readonly admin: number;
}

/** Settings, hosts, templates, or how much a node counts, were changed. */
export interface SettingsEvent extends Happened {
  readonly kind: Of<"settings">;
  /** Which: `settings`, `hosts/main/ws`. */
  readonly settings: string;
}

/** One entry of the outbox; `kind` tells which. */
export type Event = KeyEvent | InboundEvent | ServerEvent | NodeEvent | AdminEvent | SettingsEvent;

/** @internal */
export function readEvent(json: Json): Event {
  const { kind, detail } = json;
  const cause = {
    operation: json.operation ?? null,
    actor: json.actor ?? null,
    byAdmin: json.by_admin ?? null,
    reason: json.reason ?? null,
    idempotencyKey: json.idempotency_key ?? null,
  };
  const happened = { cursor: json.cursor, at: new Date(json.at), kind, detail, ...cause };
  if (kind.startsWith("key.")) return { ...happened, key: json.key, keyUid: json.key_uid, admin: json.admin ?? null };
  if (kind.startsWith("admin.")) return { ...happened, admin: json.admin };
  if (kind.startsWith("settings.")) return { ...happened, settings: json.settings };
  if (kind.startsWith("node.")) return { ...happened, node: json.node };
  if (kind.startsWith("inbound.")) return { ...happened, inbound: json.inbound };
  return { ...happened, server: json.server };
}
