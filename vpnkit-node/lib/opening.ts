import { type CallOptions, settle } from "./calls.js";
import { type Config, configJson } from "./config.js";
import { raised } from "./errors.js";
import { type NativeKit, native } from "./native.js";

/** @internal Opens natively; what is opened after the signal is closed again. */
export async function opened(config: Config, sandbox: boolean, { signal }: CallOptions): Promise<NativeKit> {
  signal?.throwIfAborted();
  const json = configJson(config);
  let opening: Promise<NativeKit>;
  try {
    opening = native.open(json, sandbox);
  } catch (error) {
    throw raised(error);
  }
  try {
    return await settle(opening, signal);
  } catch (error) {
    opening.then((kit) => kit.close().finally(() => kit.shutDown())).catch(() => undefined);
    throw error;
  }
}
