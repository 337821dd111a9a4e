"""A shop as a Telegram bot (aiogram): trials, purchases, renewals with each policy, refunds, reminders, QR codes, resellers, and what
its operator asks.

Run as many as you like on one store and one port: `python shop.py & python shop.py`. None of them keeps anything but the kit: orders
are the provider's, what was given for them stands in the kit's ledger. So a worker may be killed at any moment.

What is particular to your shop comes from the environment: BOT_TOKEN, BOT_SECRET (of Telegram's requests to the bot), PROVIDER and
PROVIDER_SECRET, ADMINS (Telegram ids), STORE, BASE_URL (of subscriptions), PORT; TELEGRAM_API where it is not Telegram's own.
"""

import asyncio
import hmac
import json
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from os import environ as settings
from typing import Any

import vpnkit
from aiogram import Bot, Dispatcher, F
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import PRODUCTION, TelegramAPIServer
from aiogram.exceptions import TelegramBadRequest, TelegramForbiddenError
from aiogram.filters import Command, CommandObject
from aiogram.types import BufferedInputFile, Message, User
from aiogram.webhook.aiohttp_server import SimpleRequestHandler, setup_application
from aiohttp import ClientSession, ClientTimeout, web
from vpnkit import GiB

ADMINS = {int(one) for one in settings.get("ADMINS", "").split(",") if one}
PROVIDER = settings.get("PROVIDER", "https://pay.example.com")
# Without them anybody could write what they like: they are needed.
PROVIDER_SECRET, BOT_SECRET = settings["PROVIDER_SECRET"].encode(), settings["BOT_SECRET"]
if not PROVIDER_SECRET or not BOT_SECRET:
    raise SystemExit("PROVIDER_SECRET and BOT_SECRET are empty")


@dataclass(frozen=True)
class Plan:
    """What is sold, and what a renewal does with what the customer still has."""

    days: int
    volume: vpnkit.ByteSize
    price: int
    policy: vpnkit.records.RenewPolicy


PLANS = {
    "month": Plan(30, GiB(50), 300, "carry_over"),
    "fresh": Plan(30, GiB(100), 500, "reset"),
    "days": Plan(7, GiB(10), 90, "reset_data"),
    "volume": Plan(1, GiB(20), 100, "reset_time"),
    "year": Plan(365, GiB(600), 3000, "remaining_to_total"),
}

shop = Dispatcher()
# Elsewhere who writes may be many: a channel, an anonymous admin of a group.
shop.message.filter(F.chat.type == "private")


def name_of(telegram: int) -> str:
    return f"tg-{telegram}"


async def deliver(kit: vpnkit.Kit, telegram: int, plan: Plan, payment: str) -> vpnkit.Key:
    """Gives what was paid for, once, however often and wherever it is called."""
    name = name_of(telegram)
    try:
        return await kit.keys.create(
            name,
            days=plan.days,
            data_limit=plan.volume,
            labels={"telegram": str(telegram)},
            idempotency_key=payment,
        )
    except (vpnkit.errors.AlreadyExistsError, vpnkit.errors.IdempotencyMismatchError):
        # A customer already, or this payment was a renewal when it came the first time.
        return await kit.keys.extend(
            name, days=plan.days, data_limit=plan.volume, policy=plan.policy, idempotency_key=payment
        )


async def send_key(bot: Bot, kit: vpnkit.Kit, chat: int, key: vpnkit.Key, said: str) -> None:
    url = await kit.subscriptions.url(key)
    left = "no limit" if key.remaining is None else f"{key.remaining} left"
    ends = f"until {key.expires_at:%Y-%m-%d}" if key.expires_at else "from your first connection on"
    text = f"{said}\n{left}, {ends}\n{url}"
    await bot.send_photo(chat, BufferedInputFile(vpnkit.qr.png(url), "qr.png"), caption=text)


@shop.message(Command("start"))
async def start(message: Message) -> None:
    await message.answer(f"/trial, /buy {' | '.join(PLANS)}, /status")


@shop.message(Command("trial"))
async def trial(message: Message, kit: vpnkit.Kit, bot: Bot, event_from_user: User) -> None:
    telegram = event_from_user.id
    try:
        key = await kit.keys.create(
            name_of(telegram),
            days=3,
            data_limit=GiB(2),
            on_hold=True,
            labels={"telegram": str(telegram)},
            idempotency_key=f"trial:{telegram}",
        )
    except (vpnkit.errors.AlreadyExistsError, vpnkit.errors.NotFoundError):
        await message.answer("One trial for each customer.")
        return
    await send_key(bot, kit, message.chat.id, key, "Three days, from your first connection on.")


@shop.message(Command("buy"))
async def buy(message: Message, command: CommandObject, provider: ClientSession, event_from_user: User) -> None:
    plan = PLANS.get(command.args or "")
    if plan is None:
        await message.answer(f"One of: {', '.join(PLANS)}")
        return
    order = {"telegram": event_from_user.id, "plan": command.args, "amount": plan.price}
    async with provider.post(f"{PROVIDER}/invoices", json=order) as answer:
        answer.raise_for_status()
        invoice = await answer.json()
    await message.answer(f"Pay here: {invoice['url']}")


@shop.message(Command("status"))
async def status(message: Message, kit: vpnkit.Kit, bot: Bot, event_from_user: User) -> None:
    key = await kit.keys.get(name_of(event_from_user.id))
    if key is None:
        await message.answer("Nothing yet: /trial or /buy")
    else:
        await send_key(bot, kit, message.chat.id, key, f"Your key is {key.status}.")


def reseller_name(telegram: int) -> str:
    return f"r-{telegram}"


def sold(admin: vpnkit.Admin) -> str:
    keys = "any number of" if admin.key_limit is None else admin.key_limit
    volume = "any volume" if admin.sold_limit is None else admin.sold_limit
    return f"{admin.keys} of {keys} keys, {admin.sold} of {volume} sold"


@shop.message(Command("reseller"), F.from_user.id.in_(ADMINS))
async def reseller(message: Message, command: CommandObject, kit: vpnkit.Kit) -> None:
    """`/reseller TELEGRAM_ID KEYS GIB`: takes a reseller on, or changes what one may sell."""
    words = (command.args or "").split()
    if len(words) != 3 or not all(word.isdecimal() and len(word) < 16 for word in words):
        await message.answer("/reseller TELEGRAM_ID KEYS GIB")
        return
    telegram, keys, volume = map(int, words)
    name = reseller_name(telegram)
    try:
        admin = await kit.admins.create(name, labels={"telegram": words[0]}, key_limit=keys, sold_limit=GiB(volume))
    except vpnkit.errors.AlreadyExistsError:
        admin = await kit.admins.update(name, key_limit=keys, sold_limit=GiB(volume))
    await message.answer(f"{name}: {sold(admin)}")


@shop.message(Command("sell"))
async def sell(message: Message, command: CommandObject, kit: vpnkit.Kit, bot: Bot, event_from_user: User) -> None:
    """`/sell NAME PLAN`: a key of a reseller's own customer. What he may sell, the kit knows."""
    admin = await kit.admins.get(reseller_name(event_from_user.id))
    name, _, asked = (command.args or "").strip().partition(" ")
    plan = PLANS.get(asked)
    if admin is None or plan is None:
        await message.answer("Resellers: /sell NAME PLAN")
        return
    try:
        key = await kit.as_admin(admin).keys.create(
            name, days=plan.days, data_limit=plan.volume, idempotency_key=f"sale:{message.message_id}"
        )
    except vpnkit.errors.LimitReachedError as error:
        await message.answer(f"No more of it for now ({error.context.get('quota')}): {sold(admin)}")
    except (
        vpnkit.errors.AlreadyExistsError,
        vpnkit.errors.InvalidInputError,
        vpnkit.errors.PermissionDeniedError,
    ) as error:
        await message.answer(str(error))
    else:
        await send_key(bot, kit, message.chat.id, key, f"Sold to {name}.")


@shop.message(Command("find"), F.from_user.id.in_(ADMINS))
async def find(message: Message, command: CommandObject, kit: vpnkit.Kit) -> None:
    lines: list[str] = []
    for key in await kit.keys.find(labels={"telegram": (command.args or "").strip()}):
        lines.append(f"{key.name}: {key.status}, {key.used} of {key.data_limit}, until {key.expires_at}")
        for grant in await kit.grants.find(key):
            undone = f", undone: {grant.undone_because}" if grant.undone_at else ""
            lines.append(f"  {grant.at:%Y-%m-%d %H:%M} {grant.kind} {grant.idempotency_key} {grant.policy}{undone}")
    # Telegram takes no longer message.
    await message.answer("\n".join(lines)[:4_096] or "Nobody.")


@shop.message(Command("refund"), F.from_user.id.in_(ADMINS))
async def refund(message: Message, command: CommandObject, provider: ClientSession) -> None:
    # Only asked for here: what follows comes from the provider, also when this worker dies now.
    async with provider.post(f"{PROVIDER}/refunds", json={"payment": command.args}) as answer:
        await message.answer("On its way." if answer.ok else "The provider knows no such payment.")


async def paid(request: web.Request) -> web.Response:
    """The provider's callback. It comes again until it gets a 200."""
    body = await request.read()
    signature = hmac.new(PROVIDER_SECRET, body, "sha256").hexdigest()
    if not hmac.compare_digest(signature, request.headers.get("X-Signature", "")):
        return web.Response(status=403)
    told: dict[str, Any] = json.loads(body)
    kit, bot = request.app[KIT], request.app[BOT]
    payment, telegram = f"provider:{told['payment']}", int(told["telegram"])
    plan = PLANS[told["plan"]]
    if told["event"] == "refunded":
        # Also when the payment itself was not told yet: then it is given first.
        await deliver(kit, telegram, plan, payment)
        key = await kit.grants.undo(payment, "refunded", idempotency_key=f"refund:{payment}")
        said = "Your money is on its way back."
    else:
        key = await deliver(kit, telegram, plan, payment)
        said = "Thank you!"
    # Also the second time: a worker may have died here the first time, and the customer was told nothing.
    await send_key(bot, kit, telegram, key, said)
    return web.Response()


REMINDERS = {
    "key.usage_reached": "You have used {detail} of your volume. More: /buy",
    "key.expires_soon": "Your key ends in {detail}. Renew it: /buy",
    "key.limited": "Your volume is used up. More: /buy",
    "key.expired": "Your key has ended. Renew it: /buy",
}


async def remind(kit: vpnkit.Kit, bot: Bot) -> None:
    """Tells customers what becomes of their keys. One of the workers does it, and when it dies another one goes on."""
    async with kit.events.consume("reminders") as consumer:
        async for event in consumer:
            said = REMINDERS.get(event.kind)
            key = await kit.keys.get(event.key) if said and event.key else None
            # Keys of resellers have none: their customers are not ours.
            if said and key and (chat := key.labels.get("telegram")):
                # A customer who has blocked the bot is told nothing.
                with suppress(TelegramForbiddenError, TelegramBadRequest):
                    await bot.send_message(int(chat), said.format(detail=event.detail))


async def keep_reminding(kit: vpnkit.Kit, bot: Bot) -> None:
    while True:
        try:
            return await remind(kit, bot)
        except Exception:
            # The event that it failed at comes again.
            logging.exception("a reminder failed")
            await asyncio.sleep(5)


KIT, BOT = web.AppKey("kit", vpnkit.Kit), web.AppKey("bot", Bot)


async def resources(app: web.Application) -> AsyncIterator[None]:
    async with (
        vpnkit.open(settings.get("STORE", "sqlite:shop.db")) as kit,
        ClientSession(timeout=ClientTimeout(total=10)) as provider,
    ):
        base = settings.get("BASE_URL", "https://vpn.example.com/s")
        await kit.subscriptions.configure(vpnkit.SubscriptionSettings(base_url=base))
        app[KIT] = shop["kit"] = kit
        shop["provider"] = provider
        reminding = asyncio.create_task(keep_reminding(kit, app[BOT]))
        yield
        reminding.cancel()
        with suppress(asyncio.CancelledError):
            await reminding


def main() -> None:
    api = settings.get("TELEGRAM_API")
    session = AiohttpSession(api=TelegramAPIServer.from_base(api) if api else PRODUCTION)
    bot = Bot(settings["BOT_TOKEN"], session=session)
    app = web.Application()
    app[BOT] = bot
    app.cleanup_ctx.append(resources)
    app.router.add_post("/paid", paid)
    # Handled before it is answered: a message that a worker dies with comes again.
    handler = SimpleRequestHandler(shop, bot, handle_in_background=False, secret_token=BOT_SECRET)
    handler.register(app, path="/telegram")
    setup_application(app, shop, bot=bot)
    web.run_app(app, host="127.0.0.1", port=int(settings.get("PORT", "8080")), reuse_port=True, print=None)


if __name__ == "__main__":
    main()
