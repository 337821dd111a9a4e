"""The scenario files that every language runs, for asyncio and for threads."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY

import vpnkit
from vpnkit import ByteSize, CreateKey, Inbound, Key, Vless, errors, testing

FILES = sorted((REPOSITORY / "tests" / "scenarios").glob("*.json"))
EXTRA = {"as_admin", "scopes", "by", "because", "dry_run", "as", "expect", "error", "field", "patch", "with", "expected_version", "up", "down", "headers", "format", "id"}


def request(given: dict[str, Any]) -> dict[str, Any]:
    """A scenario's `create` as the arguments of the friendly call."""
    arguments = dict(given)
    if isinstance(arguments.get("data_limit"), int):
        arguments["data_limit"] = ByteSize(arguments["data_limit"])
    for name in ("expires_at", "hold_until", "expires_before", "locked_until"):
        if arguments.get(name) is not None:
            arguments[name] = moment(arguments[name])
    if arguments.get("reset") is not None:
        arguments["reset"] = vpnkit.DataReset(**arguments["reset"])
    if arguments.get("next_plan") is not None:
        plan = arguments["next_plan"]
        if isinstance(plan.get("data_limit"), int):
            plan = {**plan, "data_limit": ByteSize(plan["data_limit"])}
        arguments["next_plan"] = vpnkit.NextPlan(**plan)
    if arguments.get("hold") is not None:
        arguments["hold"] = vpnkit.Hold(**arguments["hold"])
    return arguments


def patch(given: dict[str, Any]) -> dict[str, Any]:
    """A scenario's `patch` as the arguments of the friendly call."""
    return request(given)


def sizes(given: dict[str, Any]) -> dict[str, Any]:
    """What is said of an admin, as the arguments of the friendly call."""
    limits = ("sold_limit", "used_limit")
    return {name: ByteSize(value) if name in limits and value is not None else value for name, value in given.items()}


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def shown(key: Key) -> dict[str, Any]:
    ends = key.expires_at
    return {
        "name": key.name,
        "label": key.label,
        "note": key.note,
        "status": key.status,
        "version": key.version,
        "data_limit": key.data_limit,
        "used": key.used,
        "remaining": key.remaining,
        "up": key.traffic.up,
        "down": key.traffic.down,
        "expires_at": ends and ends.isoformat().replace("+00:00", "Z"),
        "credentials": len(key.credentials),
        "replayed": key.replayed,
        "labels": key.labels,
        "resets_at": key.resets_at and key.resets_at.isoformat().replace("+00:00", "Z"),
        "has_next_plan": key.next_plan is not None,
    }


def holds(answer: Any, expected: Any) -> bool:
    if isinstance(answer, dict) and isinstance(expected, dict):
        return all(name in answer and holds(answer[name], value) for name, value in expected.items())
    return bool(answer == expected)


class Run:
    def __init__(self, kit: testing.Sandbox) -> None:
        self.kit = kit
        self.keys: dict[str, int] = {}
        self.tokens: dict[str, str] = {}
        self.admins: dict[str, int] = {}
        self.api_keys: dict[str, vpnkit.NewApiKey] = {}
        self.cursor = 0

    def key(self, text: str) -> int | str:
        return self.keys[text[1:]] if text.startswith("$") else text

    def view(self, step: dict[str, Any]) -> vpnkit.KitView:
        """The kit in the name that the step has."""
        kit: vpnkit.KitView = self.kit
        if "by" in step:
            kit = kit.acting_as(step["by"], reason=step.get("because"))
        if "as_admin" in step:
            kit = kit.as_admin(self.admins[step["as_admin"][1:]], scopes=step.get("scopes"))
        return kit.dry_run() if "dry_run" in step else kit

    def admin(self, text: str) -> int | str:
        return self.admins[text[1:]] if text.startswith("$") else text

    def shown_admin(self, admin: vpnkit.Admin) -> dict[str, Any]:
        below = [name for name, number in self.admins.items() if number == admin.parent]
        return {
            "name": admin.name,
            "role": admin.role,
            "version": admin.version,
            "below": below[0] if below else None,
            "keys": admin.keys,
            "sold": admin.sold,
            "used": admin.used,
            "total_used": admin.total_used,
            "admins": admin.admins,
            "disabled": admin.disabled,
        }

    async def admin_step(self, kit: vpnkit.KitView, verb: str, argument: Any, step: dict[str, Any]) -> Any:
        """A step of admins, or of consumers of events; `Run` itself when it is neither."""
        admins = kit.admins
        given = step.get("with", {})
        match verb:
            case "admin":
                made = await admins.create(**sizes(argument))
                self.admins[step.get("as", "")] = made.id
                return self.shown_admin(made)
            case "update_admin":
                changed = sizes(step.get("patch", {}))
                version = step.get("expected_version")
                return self.shown_admin(await admins.update(self.admin(argument), expected_version=version, **changed))
            case "get_admin":
                return self.shown_admin(await admins.require(self.admin(argument)))
            case "admins":
                return [admin.name for admin in await admins.list()]
            case "reset_admin":
                return self.shown_admin(await admins.reset_usage(self.admin(argument)))
            case "disable_keys" | "enable_keys":
                return await getattr(admins, verb)(self.admin(argument))
            case "hand_over":
                return await admins.hand_over_keys(self.admin(argument), self.admin(given["to"]))
            case "delete_admin":
                return await admins.delete(self.admin(argument), **given)
            case "set_password":
                return await admins.set_password(self.admin(argument), given["password"])
            case "check_password":
                found = await admins.check_password(argument, given["password"])
                return found and found.name
            case "api_key":
                self.api_keys[step["as"]] = await admins.create_api_key(self.admin(argument), **given)
                return None
            case "api_keys":
                return [key.name for key in await admins.api_keys(self.admin(argument))]
            case "check_api_key":
                key = await admins.check_api_key(self.api_keys[argument].token)
                return key and {"name": key.name, "scopes": key.scopes and list(key.scopes)}
            case "revoke_api_key":
                return await admins.revoke_api_key(self.api_keys[argument].key.id)
            case "server_status":
                return len(await kit.servers.status())
            case "consume":
                consumer = kit.events.consume(argument, after=given.get("after"))
                events = [(await anext(consumer)).kind for _ in range(given["count"])]
                await consumer.acknowledge()
                await consumer.aclose()
                return events
            case "consumers":
                return [one.name for one in await kit.events.consumers()]
            case "remove_consumer":
                return await kit.events.remove_consumer(argument)
            case _:
                return self

    async def step(self, step: dict[str, Any]) -> Any:
        verb = next(name for name in step if name not in EXTRA or len(step) == 1)
        argument, kit = step[verb], self.view(step)
        keys = kit.keys
        version = step.get("expected_version")
        match verb:
            case "create":
                key = await keys.create(**request(argument))
                self.keys[step.get("as", "")] = key.id
                return shown(key)
            case "update":
                changed = patch(step.get("patch", {}))
                given = step.get("with", {})
                return shown(await keys.update(self.key(argument), expected_version=version, **given, **changed))
            case "extend":
                given = request(step.get("with", {}))
                return shown(await keys.extend(self.key(argument), expected_version=version, **given))
            case "extend_step":
                done = await keys.extend_step(argument, **request(step.get("with", {})))
                return {"extended": done.extended, "skipped": done.skipped, "replayed": done.replayed}
            case "merge":
                given = dict(step["with"])
                into = self.key(given.pop("into"))
                return shown(await keys.merge(self.key(argument), into, expected_version=version, **given))
            case "undo":
                return shown(await kit.grants.undo(argument, **step.get("with", {})))
            case "template":
                kept = await kit.templates.ensure(vpnkit.KeyTemplate(**request(argument)))
                return {"name": kept.name, "data_limit": kept.data_limit, "on_hold": kept.on_hold}
            case "templates":
                return [template.name for template in await kit.templates.list()]
            case "remove_template":
                return await kit.templates.remove(argument)
            case "timeline":
                return [
                    {
                        "kind": event.kind,
                        "operation": event.operation,
                        "actor": event.actor,
                        "reason": event.reason,
                        "payment": event.idempotency_key,
                    }
                    for event in await keys.timeline(self.key(argument))
                ]
            case "grants":
                return [
                    {
                        "kind": grant.kind,
                        "policy": grant.policy,
                        "payment": grant.idempotency_key,
                        "undone": grant.undone_at is not None,
                        "template": grant.template,
                    }
                    for grant in await self.kit.grants.find(self.key(argument))
                ]
            case "enable" | "disable" | "reset_usage" | "pause" | "resume" | "begin_next_plan":
                return shown(await getattr(keys, verb)(self.key(argument)))
            case "get":
                return shown(await keys.require(self.key(argument)))
            case "delete":
                return await keys.delete(self.key(argument), expected_version=version)
            case "find":
                return [key.name for key in await keys.find(**request(argument))]
            case "pass":
                sizes = {way: ByteSize(step.get(way, 0)) for way in ("up", "down")}
                return await self.kit.pass_traffic(self.key(argument), **sizes)
            case "online":
                return await self.kit.set_online(self.key(argument), step["with"]["from"])
            case "advance_secs":
                return await self.kit.set_time(await self.kit.now() + timedelta(seconds=argument))
            case "tick":
                return await self.kit.tick()
            case "server":
                return await {"down": self.kit.fail, "up": self.kit.heal, "restart": self.kit.restart}[argument]()
            case "lets_in":
                return await self.kit.lets_in(self.key(argument), "main")
            case "events":
                batch = await self.kit.events.read(self.cursor)
                self.cursor = batch.next
                return [event.kind for event in batch.events]
            case _:
                answer = await self.admin_step(kit, verb, argument, step)
                return await self.subscription(kit, verb, argument, step) if answer is self else answer

    async def subscription(self, kit: vpnkit.KitView, verb: str, argument: Any, step: dict[str, Any]) -> Any:
        subscriptions = kit.subscriptions
        match verb:
            case "hosts":
                return await kit.hosts.set("main", [vpnkit.Host(**host) for host in argument])
            case "configure":
                notices = vpnkit.Notices(**argument.get("notices", {}))
                settings = vpnkit.SubscriptionSettings(**{**argument, "notices": notices})
                return await subscriptions.configure(settings)
            case "token":
                self.tokens[step["as"]] = await subscriptions.token(self.key(argument))
                return None
            case "ask":
                answer = await subscriptions.for_request(
                    self.tokens[argument], step.get("headers", {}), step.get("format")
                )
                return {
                    "status": answer.status,
                    "type": answer.headers.get("content-type"),
                    "title": answer.headers.get("profile-title"),
                    "names": [link.split("#")[1] for link in answer.text.splitlines() if "#" in link],
                }
            case "revoke":
                return shown(await subscriptions.revoke(self.key(argument), **step.get("with", {})))
            case "lookup":
                link = f"https://sub.example/{self.tokens[argument]}"
                found = await kit.keys.lookup(link, **step.get("with", {}))
                return found and found.name
            case "rotate_secret":
                return await subscriptions.rotate_secret(keep=argument)
            case "devices":
                return [device.id for device in await subscriptions.devices(self.key(argument))]
            case "forget_device":
                return await subscriptions.forget_device(self.key(argument), step.get("id"))
            case _:
                raise AssertionError(f"unknown step {verb}")

    async def all(self, scenario: dict[str, Any]) -> None:
        await self.kit.inbounds.ensure(Inbound("main", 443, Vless()))
        self.cursor = await self.kit.events.newest()
        for number, step in enumerate(scenario["steps"]):
            place = f"step {number}: {step}"
            if "error" in step:
                with pytest.raises(errors.VpnkitError) as caught:
                    await self.step(step)
                assert caught.value.code == step["error"], place
                assert "field" not in step or caught.value.field == step["field"], place
            else:
                answer = await self.step(step)
                assert "expect" not in step or holds(answer, step["expect"]), f"{place}: {answer}"


class Awaited:
    """A synchronous object whose calls can be awaited: so one runner serves both kits, and never waits."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, "close" if name == "aclose" else name)
        if name in ("acting_as", "as_admin", "dry_run", "consume"):
            return lambda *given, **named: Awaited(value(*given, **named))
        if not callable(value):
            return Awaited(value)

        async def call(*arguments: Any, **named: Any) -> Any:
            return value(*arguments, **named)

        return call

    async def __anext__(self) -> Any:
        return next(self._inner)


def test_there_are_scenarios() -> None:
    assert len(FILES) >= 6


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
@pytest.mark.parametrize("store", ["memory", "sqlite"])
async def test_asyncio(file: Path, store: str, tmp_path: Path) -> None:
    async with testing.open("memory:" if store == "memory" else tmp_path / "keys.db") as kit:
        await Run(kit).all(json.loads(file.read_text()))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
@pytest.mark.parametrize("store", ["memory", "sqlite"])
async def test_threads(file: Path, store: str, tmp_path: Path) -> None:
    with testing.open_sync("memory:" if store == "memory" else tmp_path / "keys.db") as kit:
        await Run(Awaited(kit)).all(json.loads(file.read_text()))  # type: ignore[arg-type]


async def test_a_sandbox_makes_a_month_pass() -> None:
    async with testing.open() as kit:
        await kit.inbounds.ensure(Inbound("main", 443, Vless()))
        key = await kit.keys.create("alice", data_limit="1 GiB", days=30)
        other = (await kit.keys.create_many([CreateKey("bob")]))[0]
        await kit.pass_traffic(key, up="1 MiB", down="10 MiB")
        await kit.pass_traffic(other, down="5 MiB")
        await kit.advance("10 days")
        used = await kit.keys.require(key)
        assert (str(used.used), used.traffic.total, used.status) == ("11 MiB", vpnkit.MiB(11), "active")
        history = await kit.traffic.history(key, since=await kit.now() - timedelta(days=30))
        assert [point.traffic.down for point in history] == [vpnkit.MiB(10)]
        total = await kit.traffic.history(since=await kit.now() - timedelta(days=30), until=await kit.now())
        assert sum(point.traffic.total for point in total) in (0, vpnkit.MiB(16))
        online = await kit.traffic.online()
        assert [one.key for one in online] == [key.id, other.id]
        assert (await kit.traffic.online_key("alice")) == online[0]
        assert await kit.lets_in(key, "main")
        await kit.advance(timedelta(days=21))
        assert (await kit.keys.require(key)).status == "expired" and not await kit.lets_in(key, "main")
        [status] = await kit.servers.status()
        assert (status.state, status.capabilities.cut_live, status.pending) == ("up", True, 0)
        assert await kit.servers.reconcile(status.id) == 0 and await kit.servers.log(status.id) == []
        [link] = await kit.keys.links(key)
        [endpoint] = await kit.keys.endpoints(key)
        assert link == endpoint.link and endpoint.address == "vpn.example" and link not in repr(endpoint)
        assert endpoint.protocol == "vless" and endpoint.transport == vpnkit.Tcp()
        await kit.refuse(other)
        await kit.fail()
        assert (await kit.servers.status())[0].state == "down"
        await kit.heal()
        assert await kit.traffic.collect() != []
