// The scenario files that every language runs.
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { MiB, formatSize } from "vpnkit";
import { openSandbox } from "vpnkit/testing";

import { readJson, repository, temporary } from "./shared.mjs";

const EXTRA = new Set(["as_admin", "scopes", "by", "because", "dry_run", "as", "expect", "error", "field", "patch", "with", "expected_version", "up", "down", "headers", "format", "id"]);
const camel = (name) => name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());
const snake = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** A scenario's values as the friendly call takes them. */
const shapes = {
  data_limit: (value) => (typeof value === "number" ? `${value} B` : value),
  sold_limit: (value) => `${value} B`,
  used_limit: (value) => `${value} B`,
  expires_at: (value) => new Date(value),
  hold_until: (value) => new Date(value),
  expires_before: (value) => new Date(value),
  locked_until: (value) => new Date(value),
  reset: (value) => friendly(value),
  next_plan: (value) => friendly(value),
  hold: (value) => friendly(value),
  policy: (value) => camel(value),
};
const friendly = (given) =>
  Object.fromEntries(
    Object.entries(given).map(([name, value]) => [camel(name), value === null ? null : (shapes[name]?.(value) ?? value)]),
  );
const shown = (key) => ({
  name: key.name,
  label: key.label,
  note: key.note,
  status: snake(key.status),
  version: key.version,
  data_limit: key.dataLimit,
  used: key.used,
  remaining: key.remaining,
  up: key.traffic.up,
  down: key.traffic.down,
  expires_at: key.expiresAt?.toISOString().replace(".000Z", "Z") ?? null,
  credentials: key.credentials.length,
  replayed: key.replayed,
  labels: { ...key.labels },
  resets_at: key.resetsAt?.toISOString().replace(".000Z", "Z") ?? null,
  has_next_plan: key.nextPlan !== null,
});
const holds = (answer, expected) =>
  expected !== null && typeof expected === "object" && !Array.isArray(expected)
    ? Object.entries(expected).every(([name, value]) => holds(answer[name], value))
    : assert.deepEqual(answer, expected) === undefined;

class Run {
  keys = new Map();
  tokens = new Map();
  admins = new Map();
  apiKeys = new Map();
  cursor = 0;

  constructor(kit) {
    this.kit = kit;
  }

  async all(steps) {
    await this.kit.inbounds.ensure({ tag: "main", port: 443, protocol: { type: "vless" } });
    this.cursor = await this.kit.events.newest();
    for (const [place, step] of steps.entries()) {
      const context = `step ${place}: ${JSON.stringify(step)}`;
      if ("error" in step) {
        const failed = await this.step(step).then(() => assert.fail(context), (error) => error);
        assert.equal(failed.code, step.error, context);
        if ("field" in step) assert.equal(snake(failed.field), step.field, context);
      } else {
        const answer = await this.step(step);
        if ("expect" in step) holds(answer, step.expect);
      }
    }
  }

  /** The kit in the name that the step has. */
  view(step) {
    let kit = "by" in step ? this.kit.actingAs(step.by, { reason: step.because }) : this.kit;
    if ("as_admin" in step) kit = kit.asAdmin(this.admins.get(step.as_admin), { scopes: step.scopes });
    return "dry_run" in step ? kit.dryRun() : kit;
  }

  async step(step) {
    const kit = this.view(step);
    const [verb, argument] = Object.entries(step).find(([name]) => !EXTRA.has(name) || Object.keys(step).length === 1);
    const options = step.expected_version === undefined ? {} : { expectedVersion: step.expected_version };
    const key = () => (argument.startsWith("$") ? this.keys.get(argument) : argument);
    switch (verb) {
      case "create": {
        const made = await kit.keys.create(friendly(argument));
        this.keys.set(`$${step.as}`, made.id);
        return shown(made);
      }
      case "update":
        return shown(
          await kit.keys.update(key(), friendly(step.patch ?? {}), { ...friendly(step.with ?? {}), ...options }),
        );
      case "extend": {
        const { idempotency_key: idempotencyKey, ...extension } = step.with ?? {};
        return shown(await kit.keys.extend(key(), friendly(extension), { ...options, idempotencyKey }));
      }
      case "extend_step": {
        const { extended, skipped, replayed } = await kit.keys.extendStep(argument, friendly(step.with ?? {}));
        return { extended, skipped, replayed };
      }
      case "merge": {
        const { into, ...given } = step.with;
        const other = into.startsWith("$") ? this.keys.get(into) : into;
        return shown(await kit.keys.merge(key(), other, { ...options, ...friendly(given) }));
      }
      case "undo":
        return shown(await kit.grants.undo(argument, friendly(step.with ?? {})));
      case "template": {
        const kept = await kit.templates.ensure(friendly(argument));
        return { name: kept.name, data_limit: kept.dataLimit, on_hold: kept.onHold };
      }
      case "templates":
        return (await kit.templates.list()).map((template) => template.name);
      case "remove_template":
        return kit.templates.remove(argument);
      case "timeline":
        return (await kit.keys.timeline(key())).map(({ kind, operation, actor, reason, idempotencyKey }) => ({
          kind,
          operation,
          actor,
          reason,
          payment: idempotencyKey,
        }));
      case "grants":
        return (await kit.grants.find({ key: key() })).map((grant) => ({
          kind: grant.kind,
          policy: snake(grant.policy),
          payment: grant.idempotencyKey,
          undone: grant.undoneAt !== null,
          template: grant.template,
        }));
      case "pause":
      case "resume":
      case "begin_next_plan":
      case "enable":
      case "disable":
      case "reset_usage":
        return shown(await kit.keys[camel(verb)](key()));
      case "get":
        return shown(await kit.keys.require(key()));
      case "delete":
        return kit.keys.delete(key(), options);
      case "find":
        return (await kit.keys.find(friendly(argument))).keys.map((one) => one.name);
      case "pass":
        return this.kit.passTraffic(key(), { up: `${step.up ?? 0} B`, down: `${step.down ?? 0} B` });
      case "online":
        return this.kit.setOnline(key(), step.with.from);
      case "advance_secs":
        return this.kit.setTime(new Date((await kit.now()).getTime() + argument * 1000));
      case "tick":
        return this.kit.tick();
      case "server":
        return { down: () => this.kit.fail(), up: () => this.kit.heal(), restart: () => this.kit.restart() }[argument]();
      case "lets_in":
        return this.kit.letsIn(key(), "main");
      case "events": {
        const batch = await kit.events.read(this.cursor);
        this.cursor = batch.next;
        return batch.events.map((event) => event.kind);
      }
      default: {
        const answer = await this.adminStep(kit, verb, argument, step);
        return answer === this ? this.subscription(kit, verb, argument, step) : answer;
      }
    }
  }

  shownAdmin({ name, role, version, parent, keys, sold, used, totalUsed, admins, disabled }) {
    const below = [...this.admins].find(([, id]) => id === parent)?.[0].slice(1) ?? null;
    return { name, role, version, below, keys, sold, used, total_used: totalUsed, admins, disabled };
  }

  /** A step of admins, or of consumers of events; the run itself when it is neither. */
  async adminStep(kit, verb, argument, step) {
    const { admins, events } = kit;
    const given = step.with ?? {};
    const admin = (text = argument) => (text.startsWith("$") ? this.admins.get(text) : text);
    switch (verb) {
      case "admin": {
        const made = await admins.create(friendly(argument));
        this.admins.set(`$${step.as}`, made.id);
        return this.shownAdmin(made);
      }
      case "update_admin": {
        const options = step.expected_version === undefined ? {} : { expectedVersion: step.expected_version };
        return this.shownAdmin(await admins.update(admin(), friendly(step.patch ?? {}), options));
      }
      case "get_admin":
        return this.shownAdmin(await admins.require(admin()));
      case "admins":
        return (await admins.list()).map(({ name }) => name);
      case "reset_admin":
        return this.shownAdmin(await admins.resetUsage(admin()));
      case "disable_keys":
      case "enable_keys":
        return admins[camel(verb)](admin());
      case "hand_over":
        return admins.handOverKeys(admin(), admin(given.to));
      case "delete_admin":
        return admins.delete(admin(), given);
      case "set_password":
        return admins.setPassword(admin(), given.password);
      case "check_password":
        return (await admins.checkPassword(argument, given.password))?.name ?? null;
      case "api_key": {
        const { name, ...options } = friendly(given);
        return void this.apiKeys.set(step.as, await admins.createApiKey(admin(), name, options));
      }
      case "api_keys":
        return (await admins.apiKeys(admin())).map(({ name }) => name);
      case "check_api_key": {
        const found = await admins.checkApiKey(this.apiKeys.get(argument).token);
        return found && { name: found.name, scopes: found.scopes };
      }
      case "revoke_api_key":
        return admins.revokeApiKey(this.apiKeys.get(argument).key.id);
      case "server_status":
        return (await kit.servers.status()).length;
      case "consume": {
        const consumer = events.consume(argument, { after: given.after });
        const kinds = [];
        while (kinds.length < given.count) kinds.push((await consumer.next()).value.kind);
        await consumer.acknowledge();
        await consumer.close();
        return kinds;
      }
      case "consumers":
        return (await events.consumers()).map(({ name }) => name);
      case "remove_consumer":
        return events.removeConsumer(argument);
      default:
        return this;
    }
  }

  async subscription(kit, verb, argument, step) {
    const { hosts, subscriptions } = kit;
    const key = () => (argument.startsWith("$") ? this.keys.get(argument) : argument);
    switch (verb) {
      case "hosts":
        return hosts.set("main", argument.map(friendly));
      case "configure":
        return subscriptions.configure(friendly(argument));
      case "token":
        return void this.tokens.set(step.as, await subscriptions.token(key()));
      case "ask": {
        const answer = await subscriptions.forRequest(this.tokens.get(argument), step.headers ?? {}, step.format);
        const names = answer.body.split("\n").filter((link) => link.includes("#")).map((link) => link.split("#")[1]);
        return { status: answer.status, type: answer.headers["content-type"], title: answer.headers["profile-title"], names };
      }
      case "revoke":
        return shown(await subscriptions.revoke(key(), friendly(step.with ?? {})));
      case "lookup": {
        const found = await kit.keys.lookup(`https://sub.example/${this.tokens.get(argument)}`, friendly(step.with ?? {}));
        return found?.name ?? null;
      }
      case "rotate_secret":
        return subscriptions.rotateSecret(argument);
      case "devices":
        return (await subscriptions.devices(key())).map((device) => device.id);
      case "forget_device":
        return subscriptions.forgetDevice(key(), step.id ?? null);
      default:
        throw new Error(`unknown step ${verb}`);
    }
  }
}

const files = readdirSync(join(repository, "tests", "scenarios"));
assert.ok(files.length >= 7);
for (const file of files) {
  const { name, steps } = readJson("tests", "scenarios", file);
  test(`in memory: ${name}`, async (t) => {
    const kit = await openSandbox();
    t.after(() => kit.close());
    await new Run(kit).all(steps);
  });
  test(`in SQLite: ${name}`, async (t) => {
    const kit = await openSandbox(`sqlite:${join(temporary(t), "keys.db")}`);
    await new Run(kit).all(steps).finally(() => kit.close());
  });
}

test("a sandbox makes a month pass", async (t) => {
  const kit = await openSandbox();
  t.after(() => kit.close());
  const inbound = await kit.inbounds.ensure({ tag: "main", port: 443, protocol: { type: "vless" } });
  assert.deepEqual(await kit.inbounds.get("main"), inbound);
  const key = await kit.keys.create({ name: "alice", dataLimit: "1 GiB", days: 30 });
  const other = await kit.keys.create({ name: "bob" });
  await kit.passTraffic(key, { up: "1 MiB", down: "10 MiB" });
  await kit.passTraffic(other, { down: MiB(5) });
  await kit.advance("10 days");
  const used = await kit.keys.require(key);
  assert.deepEqual([formatSize(used.used), used.traffic.down, used.status], ["11 MiB", MiB(10), "active"]);
  const since = new Date((await kit.now()).getTime() - 30 * 86_400_000);
  assert.deepEqual((await kit.traffic.history({ key, since })).map((point) => point.traffic), [{ up: MiB(1), down: MiB(10) }]);
  assert.equal((await kit.traffic.history({ since, step: "hour" }))[0].traffic.down, MiB(15));
  assert.deepEqual((await kit.traffic.online()).map((one) => one.key), [key.id, other.id]);
  assert.deepEqual(await kit.traffic.onlineKey("alice"), { key: key.id, addresses: [] });
  await kit.advance({ days: 21 });
  assert.equal((await kit.keys.require(key)).status, "expired");
  assert.equal(await kit.letsIn(key, "main"), false);
  const [status] = await kit.servers.status();
  assert.deepEqual([status.state, status.capabilities.cutLive, status.pending], ["up", true, 0]);
  assert.equal(await kit.servers.reconcile(status.id), 0);
  assert.deepEqual(await kit.servers.log(status.id), []);
  const [[link], [endpoint]] = [await kit.keys.links(key), await kit.keys.endpoints(key)];
  assert.deepEqual([endpoint.link, endpoint.protocol, endpoint.transport, endpoint.security], [link, "vless", { type: "tcp" }, { type: "none" }]);
  await kit.refuse(other);
  await kit.fail();
  assert.equal((await kit.servers.status())[0].state, "down");
  await kit.heal();
  assert.equal((await kit.traffic.collect()).length, 1);
  await kit.inbounds.remove("main");
  assert.deepEqual(await kit.inbounds.list(), []);
});
