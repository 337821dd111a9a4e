/** How callers name an admin. */
import { invalid } from "./errors.js";
import type { Admin } from "./records.js";

/** An admin by its id, its name, or the admin itself. */
export type AdminLike = number | string | Admin;

/** @internal */
export function adminRef(operation: string, field: string, admin: AdminLike): number | string {
  if (typeof admin === "number") return admin;
  if (typeof admin === "string") return `name:${admin}`;
  if (typeof admin === "object" && admin !== null && typeof admin.id === "number") return admin.id;
  throw invalid(operation, field, "is no admin", "give an id, a name or the admin");
}
