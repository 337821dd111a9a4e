// Judges Clash files: by the schema of mihomo's community, made strict (it lets unknown fields pass), and by what the
// program itself checks: names that are there twice or that nobody has.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(`${process.env.VPNKIT_JUDGES ?? process.cwd()}/package.json`);
const { parseDocument } = require("yaml");
const { Ajv2019 } = require("ajv/dist/2019.js");

const schema = JSON.parse(readFileSync(require.resolve("meta-json-schema/schemas/meta-json-schema.json"), "utf8"));
delete schema.$schema;

/** Unknown fields are faults in every object whose fields the schema names. */
const strict = (part, inProperty) => {
  if (Array.isArray(part)) return part.forEach((one) => strict(one, false));
  if (part === null || typeof part !== "object") return undefined;
  const named = part.$ref ? part.$ref.slice(2).split("/").reduce((at, step) => at[step], schema) : part;
  if (inProperty && named.type === "object" && named.properties) part.unevaluatedProperties = false;
  for (const [name, inner] of Object.entries(part)) {
    if (name === "properties") Object.values(inner).forEach((one) => strict(one, true));
    else strict(inner, false);
  }
  return undefined;
};
// Meant is "without peers", but its words are true only of peers that are no list.
for (const part of schema.definitions.proxies.definitions.wireguard.allOf) {
  if (part.if) part.if = { not: { required: ["peers"] } };
}
strict(schema.definitions.proxies, false);
const items = schema.definitions.proxies.items;
schema.definitions.proxies.items = { allOf: [items], unevaluatedProperties: false };
schema.unevaluatedProperties = false;
delete schema.additionalProperties;
const valid = new Ajv2019({ strict: false, allErrors: false, logger: false }).compile(schema);

const BUILT_IN = new Set(["DIRECT", "REJECT", "PASS", "GLOBAL", "COMPATIBLE"]);

const faults = (text) => {
  // mihomo's parser reads YAML 1.2 with the booleans of 1.1; what both versions read alike is safe.
  const [newer, older] = ["1.2", "1.1"].map((version) => parseDocument(text, { version, uniqueKeys: true }));
  const broken = [...newer.errors, ...newer.warnings].map(String);
  if (broken.length > 0) return broken;
  const config = newer.toJS();
  const found = [];
  if (JSON.stringify(config) !== JSON.stringify(older.toJS())) found.push("YAML 1.1 and 1.2 read it differently");
  if (!valid(config)) {
    const [fault] = valid.errors;
    const place = fault.instancePath.split("/");
    const proxy = place[1] === "proxies" ? JSON.stringify(config.proxies[place[2]]) : "";
    found.push(`${fault.instancePath} ${fault.message} ${JSON.stringify(fault.params)} ${proxy}`);
  }
  // The schema lets numbers stand for texts; what was 0123 would be 83 by then.
  for (const proxy of config.proxies) {
    const texts = { ...proxy, ...proxy["reality-opts"] };
    for (const field of ["name", "server", "uuid", "password", "servername", "sni", "short-id", "public-key"]) {
      if (field in texts && typeof texts[field] !== "string") found.push(`${proxy.name}: ${field} is no text`);
    }
  }
  const names = [...config.proxies, ...config["proxy-groups"]].map((one) => one.name);
  const known = new Set(names);
  if (known.size !== names.length || names.some((name) => BUILT_IN.has(name))) found.push(`a name twice: ${names}`);
  const there = (name) => known.has(name) || BUILT_IN.has(name);
  for (const group of config["proxy-groups"]) {
    if (group.proxies.length === 0) found.push(`an empty group: ${group.name}`);
    for (const name of group.proxies) if (!there(name)) found.push(`${group.name} refers to nobody: ${name}`);
  }
  for (const rule of config.rules) {
    const [kind, ...rest] = rule.split(",");
    const target = kind === "MATCH" ? rest[0] : rest[1];
    if (!there(target)) found.push(`a rule refers to nobody: ${rule}`);
  }
  if (!config.rules.at(-1).startsWith("MATCH,")) found.push("the last rule is not MATCH");
  return found;
};

let failed = false;
for (const file of process.argv.slice(2)) {
  for (const fault of faults(readFileSync(file, "utf8"))) {
    console.error(`${file}: ${fault}`);
    failed = true;
  }
}
process.exitCode = failed ? 1 : 0;
