"""The shop of the examples, in several workers that are killed at any moment, beside stand-ins for Telegram and the provider: in the
end the provider's books and the ledger agree."""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import random
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, MultipartReader, web
from conftest import REPOSITORY

import vpnkit

SECRET, BOT_SECRET, ADMIN = b"between the provider and the shop", "between-telegram-and-the-bot", 1
CUSTOMERS = range(100, 124)
KILLED = 8
DAYS = {"month": 30, "fresh": 30, "days": 7, "volume": 1, "year": 365}


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@dataclass
class Provider:
    """Takes money, and tells the shop of each payment and refund until it gets a 200, sometimes once more, sometimes late."""

    shop: str
    dice: random.Random
    paid: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    refunded: set[str] = field(default_factory=set[str])
    telling: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])
    told: int = 0

    async def invoice(self, request: web.Request) -> web.Response:
        order = await request.json()
        payment = f"p{len(self.paid)}"
        self.paid[payment] = order
        self.tell(payment, "paid")
        return web.json_response({"url": f"https://pay.example/{payment}"})

    async def refund(self, request: web.Request) -> web.Response:
        payment = (await request.json())["payment"]
        if payment not in self.paid:
            return web.Response(status=404)
        self.refunded.add(payment)
        self.tell(payment, "refunded")
        return web.Response()

    def tell(self, payment: str, event: str) -> None:
        for _ in range(self.dice.choice([1, 2, 3])):
            task = asyncio.create_task(self.until_heard(payment, event, self.dice.random()))
            self.telling.add(task)
            task.add_done_callback(self.telling.discard)

    async def until_heard(self, payment: str, event: str, late: float) -> None:
        await asyncio.sleep(late)
        order = self.paid[payment]
        body = json.dumps({"payment": payment, "event": event, "telegram": order["telegram"], "plan": order["plan"]})
        headers = {"X-Signature": hmac.new(SECRET, body.encode(), "sha256").hexdigest()}
        await until_ok(f"{self.shop}/paid", body, headers)
        self.told += 1


async def until_ok(url: str, body: str, headers: dict[str, str]) -> None:
    async with ClientSession(timeout=ClientTimeout(total=20)) as session:
        for _ in range(600):
            with suppress(ClientError, TimeoutError, ConnectionError):
                async with session.post(url, data=body, headers=headers) as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.1)
    raise AssertionError(f"{url} did not take {body}")


@dataclass
class Telegram:
    """What the bot asks of Telegram, answered and remembered."""

    said: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    pictures: int = 0
    updates: int = 0

    async def method(self, request: web.Request) -> web.Response:
        fields: dict[str, str] = {}
        if request.content_type == "multipart/form-data":
            reader = await request.multipart()
            assert isinstance(reader, MultipartReader)
            while (part := await reader.next()) is not None:
                assert not isinstance(part, MultipartReader)
                content = await part.read(decode=False)
                if part.filename:
                    assert bytes(content).startswith(b"\x89PNG")
                    self.pictures += 1
                else:
                    fields[part.name or ""] = bytes(content).decode()
        else:
            fields = {name: str(value) for name, value in (await request.post()).items()}
        if "chat_id" in fields:
            self.said.append((int(fields["chat_id"]), fields.get("text") or fields.get("caption") or ""))
        chat = {"id": int(fields.get("chat_id", 1)), "type": "private"}
        message = {"message_id": 1, "date": 1_767_225_600, "chat": chat, "text": "sent"}
        return web.json_response({"ok": True, "result": message})

    async def write(self, shop: str, customer: int, text: str) -> None:
        """A message of a customer; Telegram sends it again until the bot has handled it."""
        self.updates += 1
        person = {"id": customer, "is_bot": False, "first_name": "A"}
        length = len(text.split()[0])
        message = {
            "message_id": self.updates,
            "date": 1_767_225_600,
            "chat": {"id": customer, "type": "private"},
            "from": person,
            "text": text,
            "entities": [{"type": "bot_command", "offset": 0, "length": length}],
        }
        update = json.dumps({"update_id": self.updates, "message": message})
        headers = {"X-Telegram-Bot-Api-Secret-Token": BOT_SECRET, "Content-Type": "application/json"}
        await until_ok(f"{shop}/telegram", update, headers)

    def heard(self, customer: int) -> str:
        return "\n".join(text for chat, text in self.said if chat == customer)


class Workers:
    def __init__(self, store: Path, telegram: str, provider: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.store = store
        self.environment = {
            **os.environ,
            "BOT_TOKEN": "42:TEST",
            "BOT_SECRET": BOT_SECRET,
            "PROVIDER": provider,
            "PROVIDER_SECRET": SECRET.decode(),
            "ADMINS": str(ADMIN),
            "STORE": f"sqlite:{store}",
            "PORT": str(self.port),
            "TELEGRAM_API": telegram,
        }
        self.all: list[subprocess.Popen[bytes]] = []
        self.killed = 0

    def start(self) -> None:
        program = REPOSITORY / "examples" / "shop" / "shop.py"
        self.all.append(subprocess.Popen([sys.executable, str(program)], env=self.environment))

    def kill(self, dice: random.Random) -> None:
        victim = self.all.pop(dice.randrange(len(self.all)))
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        self.killed += 1
        self.start()

    def stop(self) -> None:
        for worker in self.all:
            worker.terminate()
        for worker in self.all:
            # One that has just been started may not have got to its handler.
            assert worker.wait(30) in (0, -signal.SIGTERM)

    def end(self) -> None:
        for worker in self.all:
            worker.kill()
            worker.wait()


async def serve(*routes: web.RouteDef) -> tuple[web.AppRunner, str]:
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner, f"http://127.0.0.1:{port}"


async def test_the_books_agree_when_workers_die(tmp_path: Path) -> None:
    seed = int(os.environ.get("VPNKIT_SEED", random.randrange(1 << 30)))
    print(f"VPNKIT_SEED={seed}")
    dice = random.Random(seed)
    telegram = Telegram()
    provider = Provider("", dice)
    apis, api = await serve(web.post("/bot42:TEST/{method}", telegram.method))
    pays, pay = await serve(web.post("/invoices", provider.invoice), web.post("/refunds", provider.refund))
    workers = Workers(tmp_path / "shop.db", api, pay)
    provider.shop = workers.url
    for _ in range(3):
        workers.start()
    try:
        await sell(dice, telegram, provider, workers)
        await balance(provider, workers.store)
    finally:
        workers.end()
        await apis.cleanup()
        await pays.cleanup()


async def sell(dice: random.Random, telegram: Telegram, provider: Provider, workers: Workers) -> None:
    """Customers buy and the operator refunds, while workers die."""
    await telegram.write(workers.url, 100, "/start")

    async def customer(number: int) -> None:
        if number % 3 == 0:
            await telegram.write(workers.url, number, "/trial")
        bought = 0
        while bought < 3 or workers.killed < KILLED:
            await telegram.write(workers.url, number, f"/buy {dice.choice(list(DAYS))}")
            await asyncio.sleep(3 * dice.random())
            bought += 1
        own = [payment for payment, order in provider.paid.items() if order["telegram"] == number]
        if number % 2 == 0:
            await telegram.write(workers.url, ADMIN, f"/refund {dice.choice(own)}")

    customers = asyncio.gather(*(customer(number) for number in CUSTOMERS))
    while not customers.done() or provider.telling:
        # Now and then there is time to start up.
        await asyncio.sleep(dice.choice([0.2, 0.5, 2.5]))
        if workers.killed < 2 * KILLED:
            workers.kill(dice)
    await customers
    assert provider.told > len(provider.paid) and provider.refunded

    # A stranger's callback is refused.
    async with ClientSession() as session:
        forged = json.dumps({"payment": "p0", "event": "refunded", "telegram": 100, "plan": "month"})
        async with session.post(f"{workers.url}/paid", data=forged, headers={"X-Signature": "0"}) as answer:
            assert answer.status == 403
        async with session.post(f"{workers.url}/telegram", data="{}") as answer:
            assert answer.status == 401
    # Only an admin's question is answered.
    await telegram.write(workers.url, ADMIN, "/find 100")
    assert "tg-100" in telegram.heard(ADMIN)
    await telegram.write(workers.url, 101, "/find 100")
    assert "tg-100" not in telegram.heard(101)
    await telegram.write(workers.url, 100, "/status")
    assert telegram.heard(100).count("https://vpn.example.com/s/") >= 2 and telegram.pictures > 24
    workers.stop()


async def test_resellers_sell_and_customers_are_reminded(tmp_path: Path) -> None:
    telegram = Telegram()
    apis, api = await serve(web.post("/bot42:TEST/{method}", telegram.method))
    workers = Workers(tmp_path / "shop.db", api, "http://127.0.0.1:1")
    for _ in range(2):
        workers.start()
    try:
        await telegram.write(workers.url, 50, "/sell anna month")
        assert "Resellers:" in telegram.heard(50)
        await telegram.write(workers.url, 50, "/reseller 50 9 9")
        await telegram.write(workers.url, ADMIN, "/reseller 50 2 70")
        assert "r-50: 0 of 2 keys" in telegram.heard(ADMIN)
        await telegram.write(workers.url, 50, "/sell anna month")
        await telegram.write(workers.url, 50, "/sell boris month")
        await telegram.write(workers.url, 50, "/sell clara volume")
        await telegram.write(workers.url, 50, "/sell dora days")
        heard = telegram.heard(50)
        assert "Sold to anna." in heard and "Sold to clara." in heard and telegram.pictures == 2
        assert "(sold)" in heard and "(keys)" in heard, heard
        await telegram.write(workers.url, 101, "/trial")
        async with vpnkit.open(tmp_path / "shop.db", background=False) as kit:
            [admin] = await kit.admins.list()
            assert (admin.name, admin.keys, admin.sold) == ("r-50", 2, vpnkit.GiB(70))
            now = await kit.now()
            await kit.keys.update("tg-101", hold=None, expires_at=now + timedelta(days=9))
            await kit.keys.update("tg-101", expires_at=now - timedelta(seconds=1))
            await kit.keys.update("anna", expires_at=now - timedelta(seconds=1))
        workers.all[0].kill()
        for _ in range(300):
            if "Your key has ended" in telegram.heard(101):
                break
            await asyncio.sleep(0.1)
        assert telegram.heard(101).count("Your key has ended") >= 1
        assert "ended" not in telegram.heard(50)
    finally:
        workers.end()
        await apis.cleanup()


async def balance(provider: Provider, store: Path) -> None:
    """The books of the provider beside the ledger."""
    async with vpnkit.open(store, background=False) as kit:
        ledger = {grant.idempotency_key: grant for grant in await kit.grants.find(limit=1_000)}
        count = len(await kit.grants.find(limit=1_000))
        trials = {key for key in ledger if key and key.startswith("trial:")}
        # Each payment is one entry of its customer, each refund an undone one, and there is nothing else.
        assert count == len(ledger) == len(provider.paid) + len(trials)
        for payment, order in provider.paid.items():
            grant = ledger[f"provider:{payment}"]
            [key] = await kit.keys.find(labels={"telegram": str(order["telegram"])})
            assert (grant.key, grant.expires_in) == (key.id, timedelta(days=DAYS[order["plan"]])), payment
            assert (grant.undone_at is not None) == (payment in provider.refunded), payment
        for number in CUSTOMERS:
            key = await kit.keys.require(f"tg-{number}")
            assert (f"trial:{number}" in trials) == (number % 3 == 0)
            # The newest entry that counts says what the key has; nobody has connected.
            counting = [grant for grant in await kit.grants.find(key) if grant.undone_at is None]
            if counting:
                last = counting[-1].after
                assert (key.expires_at, key.data_limit) == (last.expires_at, last.data_limit), number
