// Builds the native half with cargo and the rest with TypeScript into `dist`. `--debug` builds without optimisation.
import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import process from "node:process";

const here = import.meta.dirname;
const require = createRequire(import.meta.url);
const run = (program, ...args) => execFileSync(program, args, { cwd: here, stdio: ["ignore", "pipe", "inherit"] }).toString();

const tsc = join(here, "node_modules", "typescript", "bin", "tsc");
// `npm install ./vpnkit-node` runs this and installs nothing of what it needs.
if (!existsSync(tsc)) run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund");

const release = !process.argv.includes("--debug");
run("cargo", "build", "--locked", "--lib", ...(release ? ["--release"] : []));
const { target_directory: target } = JSON.parse(run("cargo", "metadata", "--locked", "--no-deps", "--format-version=1"));

rmSync(join(here, "dist"), { recursive: true, force: true });
mkdirSync(join(here, "dist"));
const native = join(here, "dist", `vpnkit.${process.platform}-${process.arch}.node`);
copyFileSync(join(target, release ? "release" : "debug", "libvpnkit_node.so"), native);
if (release) run("strip", "--strip-unneeded", native);
run(process.execPath, tsc, "--project", here);

// One copy of the code for `import` and `require`: two would be two classes of every error.
for (const name of ["index", "testing"]) {
  const exported = Object.keys(require(join(here, "dist", `${name}.js`))).sort();
  writeFileSync(
    join(here, "dist", `${name}.mjs`),
    `import all from "./${name}.js";\nexport const { ${exported.join(", ")} } = all;\n`,
  );
  const types = readFileSync(join(here, "dist", `${name}.d.ts`), "utf8");
  writeFileSync(join(here, "dist", `${name}.d.mts`), types);
}
