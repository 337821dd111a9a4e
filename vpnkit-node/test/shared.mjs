// What the tests share: the repository, temporary directories, programs of their own.
import { execFile, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The tests run in the tree, and as a copy beside the packed package. */
export const repository = process.env.VPNKIT_REPOSITORY ?? join(dirname(fileURLToPath(import.meta.url)), "..", "..");

export const read = (...path) => readFileSync(join(repository, ...path), "utf8");
export const readJson = (...path) => JSON.parse(read(...path));

/** The pinned Xray; its absence is a failure, not a skip. */
export function xray() {
  const binary = process.env.VPNKIT_XRAY_BIN;
  if (!binary) throw new Error("VPNKIT_XRAY_BIN names no Xray: run `make xray`");
  return binary;
}

export function temporary(t) {
  const directory = mkdtempSync(join(tmpdir(), "vpnkit-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Beside the tests, so that `vpnkit` is found. */
export function program(t, text, extension = "mjs") {
  const file = join(dirname(fileURLToPath(import.meta.url)), `program-${process.pid}-${Math.random().toString(36).slice(2)}.${extension}`);
  writeFileSync(file, text);
  t.after(() => rmSync(file, { force: true }));
  return file;
}

/** Runs a program of its own; resolves to its code, its output and how long it lived after it said "last". */
export function run(t, text, { args = [], extension = "mjs", limit = 60_000 } = {}) {
  const file = program(t, text, extension);
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [file, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    let [out, err, last] = ["", "", 0];
    child.stdout.setEncoding("utf8").on("data", (text) => {
      out += text;
      if (last === 0 && out.includes("last\n")) last = performance.now();
    });
    child.stderr.setEncoding("utf8").on("data", (text) => (err += text));
    const timer = setTimeout(() => child.kill("SIGKILL"), limit);
    child.on("error", reject);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, out, err, after: performance.now() - last });
    });
  });
}

export const command = (program, ...args) =>
  new Promise((resolve) => {
    execFile(program, args, { maxBuffer: 1 << 26 }, (error, stdout, stderr) => resolve({ code: error?.code ?? 0, stdout, stderr }));
  });
