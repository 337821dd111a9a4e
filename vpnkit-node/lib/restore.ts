/** Putting a backup back. */
import { type CallOptions, begin } from "./calls.js";
import { onlyOptions } from "./convert.js";
import { invalid } from "./errors.js";
import { native } from "./native.js";
import { type Backup, readBackup } from "./records.js";

/** What `restore` takes beside what every call takes. */
export interface RestoreOptions extends CallOptions {
  /** Is told some times a second how far it is. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

const EVERY = 100;

/**
 * Replaces a store by a backup, or makes one of it where there is none: `await restore("/backups/keys.db", "sqlite:bot.db")`. Nobody may
 * have the store open; it is a path, or `sqlite:PATH`. A copy of the backup is made beside the store and checked before; a process that is
 * killed meanwhile leaves the store as it was.
 *
 * What happened since the backup is undone: payments, keys, traffic that was counted. Ids of keys and cursors of events are not used
 * again. The passphrase is that of the backup. A signal that is aborted in time leaves the store as it was. A store that is too damaged to
 * be opened has to be moved away first, with the files beside it.
 *
 * Rejects with NotFoundError; StoreCorruptError when the backup is damaged; StoreNotRecognizedError when one of them is no store;
 * StoreTooNewError; InUseError while the store is open; StoreFullError; PermissionDeniedError.
 */
export async function restore(backup: string, store: string, options: RestoreOptions = {}): Promise<Backup> {
  const operation = "store.restore";
  onlyOptions(operation, options, "signal", "onProgress");
  if (typeof backup !== "string" || backup === "") throw invalid(operation, "backup", "must be a path");
  if (typeof store !== "string") throw invalid(operation, "store", "must be a text", '"sqlite:bot.db"');
  const { signal, onProgress } = options;
  signal?.throwIfAborted();
  const progress = new native.NativeProgress();
  const cancel = () => progress.cancel();
  signal?.addEventListener("abort", cancel, { once: true });
  const told = onProgress && setInterval(() => onProgress(...progress.steps()), EVERY);
  try {
    // Waited for to its end, also when it was aborted: until then the store cannot be opened.
    const answer = readBackup(JSON.parse(await begin<string>((to, call) => native.restore(to, call, backup, store, progress))));
    onProgress?.(...progress.steps());
    return answer;
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener("abort", cancel);
    clearInterval(told);
  }
}
