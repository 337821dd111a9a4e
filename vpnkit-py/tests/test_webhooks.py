"""Webhooks over HTTP, into the receiver of the examples, which is killed at random: it gets every event, in order by key."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from aiohttp import ClientSession
from conftest import REPOSITORY

import vpnkit
from vpnkit import errors

PROGRAM = REPOSITORY / "examples" / "shop" / "receiver.py"


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def start(port: int, secret: str, store: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "WEBHOOK_SECRET": secret, "STORE": str(store), "PORT": str(port)}
    receiver = subprocess.Popen([sys.executable, str(PROGRAM)], env=environment, stdout=subprocess.DEVNULL)
    for _ in range(300):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return receiver
        time.sleep(0.1)
    raise AssertionError("the receiver did not start")


async def test_a_receiver_that_is_killed_gets_every_event(tmp_path: Path) -> None:
    seed = int(os.environ.get("VPNKIT_SEED", random.randrange(1 << 30)))
    print(f"VPNKIT_SEED={seed}")
    dice, port, handled = random.Random(seed), free_port(), tmp_path / "receiver.db"
    async with vpnkit.open(tmp_path / "keys.db", private_webhooks=True) as kit:
        made = await kit.webhooks.create(f"http://127.0.0.1:{port}/events", kinds=["key.*"])
        assert made.secret not in repr(made)
        receiver = start(port, made.secret, handled)
        try:
            keys = [await kit.keys.create(f"k{i}") for i in range(10)]
            for round_ in range(30):
                for key in keys:
                    await kit.keys.update(key, note=str(round_))
                if round_ % 4 == 0:
                    await asyncio.sleep(dice.random() / 2)
                    receiver.kill()
                    receiver.wait()
                    await asyncio.sleep(dice.random() / 4)
                    receiver = await asyncio.to_thread(start, port, made.secret, handled)
            # A receiver that is down is asked less and less often: it may take a while.
            for _ in range(600):
                [status] = await kit.webhooks.status()
                if status.pending == 0:
                    break
                await asyncio.sleep(0.1)
            assert status.pending == 0, status
            wanted = [event.cursor for event in (await kit.events.read(0, 10_000)).events if event.kind.startswith("key.")]
            with sqlite3.connect(handled) as store:
                got = store.execute("SELECT key, cursor FROM handled ORDER BY rowid").fetchall()
            assert sorted(cursor for _, cursor in got) == wanted
            for key in keys:
                own = [cursor for number, cursor in got if number == key.id]
                assert own == sorted(own)
            await strangers(kit, made.webhook.id, port)
        finally:
            receiver.kill()
            receiver.wait()
    # Of a machine's own network nothing is asked, unless it was allowed.
    async with vpnkit.open("memory:") as kit:
        try:
            await kit.webhooks.create(f"http://127.0.0.1:{port}/events")
        except errors.InvalidInputError as error:
            assert error.field == "url"
        else:
            raise AssertionError("a private address was taken")


async def strangers(kit: vpnkit.Kit, webhook: str, port: int) -> None:
    """Only what is signed is taken, also with a secret that has just been changed for another one."""
    await kit.webhooks.ping(webhook)
    async with ClientSession() as session:
        for headers in ({}, {"webhook-id": "a", "webhook-timestamp": "1", "webhook-signature": "v1,AAAA"}):
            async with session.post(f"http://127.0.0.1:{port}/events", data="{}", headers=headers) as answer:
                assert answer.status == 401
    await kit.webhooks.rotate_secret(webhook, keep="1 h")
    await kit.webhooks.ping(webhook)
    await kit.webhooks.rotate_secret(webhook, keep="0 s")
    try:
        await kit.webhooks.ping(webhook)
    except errors.UnavailableError as error:
        assert error.context["answer"] == "HTTP 401"
    else:
        raise AssertionError("the receiver knows a secret that it was never given")
