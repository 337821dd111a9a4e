#!/usr/bin/env node
/** `vpnkit stop DIRECTORY` ends an Xray that was left running. */
import process from "node:process";

import { VpnkitError } from "./errors.js";
import { stopLeftRunning } from "./left_running.js";

const USAGE = "usage: vpnkit stop DIRECTORY   ends the Xray that was left running in a directory";

function main(words: readonly string[]): number {
  const [command, directory] = words;
  if (command !== "stop" || directory === undefined || words.length !== 2) {
    console.error(USAGE);
    return 2;
  }
  try {
    console.log(stopLeftRunning(directory) ? "stopped" : "nothing runs there");
    return 0;
  } catch (error) {
    if (!(error instanceof VpnkitError)) throw error;
    console.error(error.hint === undefined ? error.message : `${error.message}\n${error.hint}`);
    return 1;
  }
}

process.exitCode = main(process.argv.slice(2));
