/** Ending an Xray that was left running. */
import { raised } from "./errors.js";
import { native } from "./native.js";

/**
 * Ends the Xray that runs on in a directory although no process drives it any more (`keepRunning`), and returns whether there
 * was one. What it has counted since it was read last is lost. The thread waits for it, ten seconds at most.
 *
 * Throws NotFoundError when there is no such directory, InUseError while a process drives it: then `kit.servers.stop` ends it.
 */
export function stopLeftRunning(directory: string): boolean {
  try {
    return native.stopLeftRunning(directory);
  } catch (error) {
    throw raised(error);
  }
}
