import { type CallOptions, begin, unless } from "./calls.js";
import { type Config, configJson } from "./config.js";
import { type NativeKit, native } from "./native.js";

/** @internal Opens natively; what is opened after the signal is closed again. */
export async function opened(config: Config, sandbox: boolean, { signal }: CallOptions): Promise<NativeKit> {
  signal?.throwIfAborted();
  const json = configJson(config);
  const opening = begin<NativeKit>((to, call) => native.open(to, call, json, sandbox));
  if (signal === undefined) return opening;
  try {
    return await unless(opening, signal);
  } catch (error) {
    opening.then((kit) => begin((to, call) => kit.close(to, call)).finally(() => kit.shutDown())).catch(() => undefined);
    throw error;
  }
}
