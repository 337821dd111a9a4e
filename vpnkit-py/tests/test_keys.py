"""Keys as a bot uses them."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import vpnkit
from vpnkit import ByteSize, CreateKey, Credential, GiB, errors

SECRET = "11111111-2222-4333-8444-555555555555"


async def test_counts_by_status() -> None:
    async with vpnkit.open("memory:") as kit:
        owners = [(await kit.admins.create(name)).id for name in ("one", "two")]
        await kit.keys.create_many([CreateKey(f"k{i}", disabled=i == 2, owner=owners[i % 2]) for i in range(5)])
        counts = vpnkit.KeyCounts(total=5, active=4, on_hold=0, paused=0, locked=0, suspended=0, disabled=1, limited=0, expired=0)
        assert await kit.keys.count() == counts
        assert (await kit.keys.count(owner=owners[1])).to_dict()["active"] == 2
        assert (await kit.keys.count("K2", status="active")).total == 0
    with vpnkit.sync.open("memory:") as twin:
        assert twin.keys.count().total == 0


async def test_a_key_from_its_creation_to_its_end() -> None:
    async with vpnkit.open("memory:") as kit:
        key = await kit.keys.create("alice", data_limit="50 GiB", days=30, label="Алиса", note="vip")
        assert (key.id, key.name, key.label, key.note, key.status) == (1, "alice", "Алиса", "vip", "active")
        assert isinstance(key.uid, UUID) and key.data_limit == GiB(50) == key.remaining
        assert key.expires_at is not None and key.expires_at - key.created_at == timedelta(days=30)
        assert key.expires_at.tzinfo is timezone.utc
        for same in (1, "ALICE", key.uid, key):
            assert await kit.keys.get(same) == key
        assert await kit.keys.get("bob") is None

        sold = await kit.keys.update(key, data_limit=GiB(50) + GiB(50), expected_version=key.version)
        assert str(sold.data_limit) == "100 GiB" and sold.label == "Алиса"
        with pytest.raises(errors.ConflictError):
            await kit.keys.update(key, data_limit="1 GiB", expected_version=key.version)
        free = await kit.keys.update("alice", data_limit=None, expires_at=None, label=None)
        assert (free.data_limit, free.remaining, free.expires_at, free.label) == (None, None, None, None)

        assert (await kit.keys.disable(key)).status == "disabled"
        assert (await kit.keys.enable(key)).status == "active"
        assert (await kit.keys.reset_usage(key)).used == 0
        await kit.keys.delete(key)
        with pytest.raises(LookupError):
            await kit.keys.require(key)


async def test_many_keys_at_once_pages_and_searches() -> None:
    async with vpnkit.open("memory:") as kit:
        made = await kit.keys.create_many((CreateKey(f"k{i}", days=i + 1) for i in range(250)), idempotency_key="b")
        assert [key.name for key in made] == [f"k{i}" for i in range(250)]
        again = await kit.keys.create_many((CreateKey(f"k{i}", days=i + 1) for i in range(250)), idempotency_key="b")
        assert [key.id for key in again] == [key.id for key in made] and all(key.replayed for key in again)
        page = await kit.keys.find(sort="expires_at", descending=True, limit=100)
        assert page.previous is None and len(page) == 100
        names, pages = [key.name for key in page], [page]
        while page.next is not None:
            # It fits into the callback data of a Telegram button, beside a word.
            assert len(page.next) <= 40
            page = await kit.keys.find(sort="expires_at", descending=True, limit=100, page=page.next)
            names += [key.name for key in page]
            pages.append(page)
        assert names == [f"k{i}" for i in reversed(range(250))]
        back = await kit.keys.find(sort="expires_at", descending=True, limit=100, page=page.previous)
        assert back.keys == pages[-2].keys
        walked = [key.name async for key in kit.keys.iterate(sort="expires_at", descending=True, limit=7)]
        assert walked == names
        assert len((await kit.keys.find("K24", status=["active"])).keys) == 11
        assert not (await kit.keys.find(status="disabled")).keys
        assert await kit.keys.delete_many(made[:200]) == 200
        with pytest.raises(errors.NotFoundError):
            await kit.keys.delete_many([made[0].id])


async def test_the_same_payment_is_one_key() -> None:
    async with vpnkit.open("memory:") as kit:
        first = await kit.keys.create("a", data_limit="1 GiB", idempotency_key="pay:1")
        again = await kit.keys.create("a", data_limit="1 GiB", idempotency_key="pay:1")
        assert (first.id, first.replayed, again.id, again.replayed) == (1, False, 1, True)
        with pytest.raises(errors.IdempotencyMismatchError) as caught:
            await kit.keys.create("a", data_limit="2 GiB", idempotency_key="pay:1")
        assert caught.value.field == "idempotency_key"
        with pytest.raises(errors.AlreadyExistsError):
            await kit.keys.create("A", idempotency_key="pay:2")


async def test_credentials_move_in_and_are_not_shown() -> None:
    async with vpnkit.open("memory:") as kit:
        key = await kit.keys.create("old", credentials=[Credential("vless", SECRET), Credential("trojan", "pw")])
        assert {c.protocol: c.secret for c in key.credentials} == {"vless": SECRET, "trojan": "pw"}
        for shown in (repr(key), repr(key.credentials), str(key)):
            assert SECRET not in shown and "pw" not in shown
        changed = await kit.keys.update(key, credentials=[Credential("trojan", "new")])
        assert [c.secret for c in changed.credentials] == [SECRET, "new"]
    with pytest.raises(errors.InvalidInputError) as caught:
        Credential("vless", "hunter2")
    assert "hunter2" not in str(caught.value) and caught.value.field == "secret"


async def test_values_are_frozen_equal_hashable_and_picklable() -> None:
    async with vpnkit.open("memory:") as kit:
        key = await kit.keys.create("alice", data_limit="1 GiB", inbounds=[])
        event = (await kit.events.read(0)).events[0]
    for value in (key, key.credentials[0] if key.credentials else key, event, ByteSize(7), CreateKey("a", days=1)):
        copied: Any = pickle.loads(pickle.dumps(value))
        assert copied == value and hash(copied) == hash(value) and type(copied) is type(value)
        assert copy.deepcopy(value) == value
        with pytest.raises(AttributeError):
            value.name = "bob"  # type: ignore[misc, union-attr]
    match event:
        case vpnkit.Event(kind="key.created", key=1):
            pass
        case _:
            pytest.fail("an event matches by its attributes")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"name": "two words"}, "name"),
        ({"name": 5}, "name"),
        ({"label": "x" * 257}, "label"),
        ({"data_limit": 50}, "data_limit"),
        ({"data_limit": 50.0}, "data_limit"),
        ({"data_limit": True}, "data_limit"),
        ({"data_limit": "50"}, "data_limit"),
        ({"data_limit": "50 apples"}, "data_limit"),
        ({"data_limit": "0 GiB"}, "data_limit"),
        ({"data_limit": GiB(0)}, "data_limit"),
        ({"data_limit": ByteSize(-1)}, "data_limit"),
        ({"data_limit": ByteSize(2**70)}, "data_limit"),
        ({"expires_in": 30}, "expires_in"),
        ({"expires_in": "30"}, "expires_in"),
        ({"expires_in": "1 month"}, "expires_in"),
        ({"expires_in": timedelta(days=-1)}, "expires_in"),
        ({"days": 0}, "days"),
        ({"days": -1}, "days"),
        ({"days": "x"}, "days"),
        ({"days": float("nan")}, "days"),
        ({"expires_at": datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-5)))}, "expires_at"),
        ({"days": 1, "expires_in": "1 day"}, "expires_in"),
        ({"expires_at": datetime(2030, 1, 1)}, "expires_at"),
        ({"expires_at": "2030-01-01"}, "expires_at"),
        ({"expires_at": datetime(2020, 1, 1, tzinfo=timezone.utc)}, "expires_at"),
        ({"inbounds": "main"}, "inbounds"),
        ({"inbounds": ["nowhere"]}, "inbounds"),
        ({"owner": "me"}, "owner"),
        ({"disabled": "yes"}, "disabled"),
    ],
)
async def test_bad_input_names_its_field_and_makes_nothing(arguments: dict[str, Any], field: str) -> None:
    async with vpnkit.open("memory:") as kit:
        with pytest.raises(errors.VpnkitError) as caught:
            await kit.keys.create(**arguments)
        assert caught.value.field == field, caught.value
        assert isinstance(caught.value, (errors.InvalidInputError, errors.NotFoundError))
        assert not (await kit.keys.find()).keys


@pytest.mark.parametrize("key", [1.5, None, b"alice", True, object()])
async def test_what_is_no_key_is_refused(key: Any) -> None:
    async with vpnkit.open("memory:") as kit:
        for call in (kit.keys.get, kit.keys.delete, kit.keys.links, kit.traffic.online_key):
            with pytest.raises(errors.InvalidInputError) as caught:
                await call(key)
            assert caught.value.field == "key"


def test_sizes_read_and_show_themselves() -> None:
    assert ByteSize.parse("50 GB") == vpnkit.GB(50) == 50 * 10**9
    assert [str(n) for n in (GiB(1.5), vpnkit.KiB(1), ByteSize(0), vpnkit.MiB(3) - GiB(1))] == [
        "1.5 GiB",
        "1 KiB",
        "0 B",
        "-1021 MiB",
    ]
    assert f"{GiB(1)}" == "1 GiB" and f"{GiB(1):d}" == str(2**30) and repr(GiB(1)) == "ByteSize(1073741824)"
    assert type(GiB(1) + 1) is ByteSize and type(2 * GiB(1)) is ByteSize and GiB(1) / GiB(2) == 0.5
    with pytest.raises(errors.InvalidInputError):
        ByteSize.parse("5")


async def test_a_store_lives_on_in_its_file(tmp_path: Path) -> None:
    path = tmp_path / "bot.db"
    async with vpnkit.open(path, passphrase="correct horse") as kit:
        await kit.keys.create("alice")
    with vpnkit.sync.open(f"sqlite:{path}", passphrase="correct horse") as kit:
        assert kit.keys.require("alice").id == 1
    with pytest.raises(errors.PassphraseMissingError):
        await vpnkit.open(path)
    with pytest.raises(errors.PassphraseWrongError) as caught:
        await vpnkit.open(path, passphrase="hunter2")
    assert "hunter2" not in repr(caught.value)
    # Both are given until every process was started with them.
    for _ in range(2):
        async with vpnkit.open(path, passphrase="battery staple", previous_passphrase="correct horse") as kit:
            assert (await kit.keys.require("alice")).id == 1
    with pytest.raises(errors.PassphraseWrongError):
        vpnkit.sync.open(path, passphrase="correct horse")
    vpnkit.sync.open(path, passphrase="battery staple", previous_passphrase="wrong").close()
    with pytest.raises(errors.InvalidConfigError) as faults:
        vpnkit.sync.open(path, previous_passphrase="correct horse")
    assert faults.value.faults == ("previous_passphrase: needs the `passphrase` that follows it",)
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8" * 4096)
    with pytest.raises(errors.StoreNotRecognizedError):
        vpnkit.sync.open(tmp_path / "photo.jpg")


async def test_another_process_changes_the_passphrase_of_an_open_store(tmp_path: Path) -> None:
    path = f"sqlite:{tmp_path / 'bot.db'}"
    program = "import sys, vpnkit; vpnkit.sync.open(sys.argv[1], passphrase=sys.argv[2], previous_passphrase=sys.argv[3]).close()"

    async def elsewhere(passphrase: str, previous: str) -> int | None:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, path, passphrase, previous)
        return await asyncio.wait_for(process.wait(), 60)

    async with vpnkit.open(path, passphrase="first") as kit:
        await kit.keys.create("alice")
        ended = await asyncio.gather(*(elsewhere("second", "first") for _ in range(3)))
        assert ended == [0, 0, 0]
        await kit.keys.create("bob")
    with pytest.raises(errors.PassphraseWrongError):
        await vpnkit.open(path, passphrase="first")
    async with vpnkit.open(path, passphrase="second") as kit:
        assert [(await kit.keys.require(name)).id for name in ("alice", "bob")] == [1, 2]


async def test_every_fault_of_a_configuration_is_told() -> None:
    with pytest.raises(errors.InvalidConfigError) as caught:
        await vpnkit.open("memory:", passphrase="x", servers=[vpnkit.ManagedXray("vpn example", "relative")])
    assert [fault.split(":")[0] for fault in caught.value.faults] == [
        "passphrase",
        "servers[0].address",
        "servers[0].directory",
    ]
    with pytest.raises(errors.InvalidConfigError) as caught:
        await vpnkit.open("memory:", passphrase=271828)  # type: ignore[arg-type] # pyright: ignore
    assert caught.value.faults == ("passphrase: expected a string",) and "271828" not in repr(caught.value.__dict__)
    with pytest.raises(errors.InvalidConfigError) as caught:
        await vpnkit.open("postgres:nowhere")
    assert caught.value.faults[0].startswith("store:")
    with pytest.raises(errors.InvalidInputError) as input_caught:
        vpnkit.open("memory:", collect_every=5)  # type: ignore[arg-type] # pyright: ignore
    assert input_caught.value.field == "collect_every"
    with pytest.raises(errors.InvalidConfigError) as caught:
        await vpnkit.open("memory:", keep_events="1 s", keep_hourly="1 h", reconcile_every="1 ms")
    assert [fault.split(":")[0] for fault in caught.value.faults] == ["reconcile_every", "keep_events", "keep_hourly"]
    async with vpnkit.open("memory:", keep_events="90 minutes", keep_daily="365 days", collect_every="1500 ms"):
        pass


async def test_records_are_what_json_takes() -> None:
    async with vpnkit.testing.open() as kit:
        await kit.inbounds.ensure(vpnkit.Inbound("main", 443, vpnkit.Vless()))
        key = await kit.keys.create("alice", data_limit="1 GiB", days=30)
        shown = key.to_dict()
        assert shown["data_limit"] == 2**30 == shown["remaining"] and shown["expires_at"] == "2026-01-31T00:00:00.000Z"
        secret = key.credentials[0].secret
        assert secret not in json.dumps(shown) and secret in json.dumps(key.to_dict(secrets=True))
        await kit.pass_traffic(key, down="1 MiB")
        records: list[Any] = [
            *(await kit.servers.status()),
            *(await kit.traffic.collect()),
            *(await kit.traffic.online()),
            *(await kit.traffic.history(key)),
            *(await kit.keys.endpoints(key)),
            *(await kit.inbounds.list()),
            *(await kit.events.read(0)).events,
            await kit.events.read(0),
            await kit.keys.find(),
            await kit.subscriptions.settings(),
        ]
        for record in records:
            written = json.dumps(record.to_dict())
            assert secret not in written, written


def test_a_patch_in_json_has_what_it_changes() -> None:
    nothing = {"reset_usage": False, "begin_next_plan": False, "revoke_links": False, "credentials": []}
    assert vpnkit.KeyPatch().to_dict() == nothing
    assert vpnkit.KeyPatch(data_limit=None).to_dict()["data_limit"] is None


async def test_an_error_says_which_of_many_is_at_fault() -> None:
    async with vpnkit.open("memory:") as kit:
        with pytest.raises(vpnkit.errors.InvalidInputError) as caught:
            await kit.keys.create_many([CreateKey("a"), CreateKey("b", data_limit=5)])  # type: ignore[arg-type]
        assert (caught.value.field, caught.value.context["index"]) == ("data_limit", "1")
        with pytest.raises(vpnkit.errors.InvalidInputError) as caught:
            await kit.subscriptions.update(title=None)  # type: ignore[arg-type]
        assert caught.value.field == "title"
        with pytest.raises(vpnkit.errors.InvalidInputError) as caught:
            await kit.subscriptions.for_request("x", None)  # type: ignore[arg-type]
        assert caught.value.field == "headers"
        with pytest.raises(vpnkit.errors.InvalidInputError) as caught:
            await kit.hosts.set("ws", None)  # type: ignore[arg-type]
        assert caught.value.field == "hosts"


async def test_what_was_looked_up_is_told() -> None:
    async with vpnkit.open("memory:") as kit:
        key = await kit.keys.create("alice")
        for text, kind in (("1", int), (f"id:{key.id}", int), (str(key.uid), UUID), (f"uid:{key.uid}", UUID), ("alice", str)):
            ref = vpnkit.key_ref(text)
            assert type(ref) is kind and (await kit.keys.require(ref)).id == key.id
        assert vpnkit.key_ref("name:1") == "1"
        for text in ("", "id:x", "uid:x", "key:1"):
            with pytest.raises(errors.InvalidInputError):
                vpnkit.key_ref(text)
        with pytest.raises(errors.NotFoundError) as caught:
            await kit.keys.require("1")
        assert caught.value.message == 'no key is named "1"' and "number" in str(caught.value.hint)
        assert caught.value.operation == "keys.require"
        with pytest.raises(errors.NotFoundError):
            await kit.traffic.history("nobody")
        assert await kit.traffic.history("alice") == []


async def test_a_renewal_is_computed_with_the_kit_s_clock() -> None:
    async with vpnkit.testing.open() as kit:
        key = await kit.keys.create("alice", days=1)
        renewed = await kit.keys.update(key, expires_at=await kit.now() + timedelta(days=30))
        assert renewed.expires_at == await kit.now() + timedelta(days=30)


def test_qr_codes_are_pictures() -> None:
    assert vpnkit.qr.png("vless://x", 256).startswith(b"\x89PNG") and "<svg" in vpnkit.qr.svg("vless://x")
    assert "█" in vpnkit.qr.terminal("vless://x")
    for text, size, field in (("x", 5, "size"), ("x" * 5000, 512, "text")):
        with pytest.raises(errors.InvalidInputError) as caught:
            vpnkit.qr.png(text, size)
        assert caught.value.field == field
