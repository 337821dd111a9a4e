"""A receiver of vpnkit's webhooks (aiohttp): looks who has sent them, and handles each event once.

WEBHOOK_SECRET is what `kit.webhooks.create` has shown, STORE where it is written down what was handled, PORT where it listens. The
requests are those of Standard Webhooks, for which there are libraries too.
"""

import base64
import binascii
import hmac
import json
import sqlite3
import time
from os import environ as settings
from typing import Any

from aiohttp import web

SECRET = base64.b64decode(settings["WEBHOOK_SECRET"].removeprefix("whsec_"))
# Who has written down a request may send it again: not for long.
OLDEST = 300

store = sqlite3.connect(settings.get("STORE", "receiver.db"), isolation_level=None)
store.execute("CREATE TABLE IF NOT EXISTS handled (id TEXT PRIMARY KEY, type TEXT, key INTEGER, cursor INTEGER)")


def is_signed(request: web.Request, body: bytes) -> bool:
    sent, given = request.headers.get("webhook-timestamp", ""), request.headers.get("webhook-signature", "")
    if not sent.isdecimal() or abs(time.time() - int(sent)) > OLDEST:
        return False
    signed = f"{request.headers.get('webhook-id', '')}.{sent}.".encode() + body
    wanted = hmac.digest(SECRET, signed, "sha256")
    for one in given.split():
        version, _, text = one.partition(",")
        try:
            # Several while a secret is changed for another one.
            if version == "v1" and hmac.compare_digest(base64.b64decode(text, validate=True), wanted):
                return True
        except binascii.Error:
            pass
    return False


def handle(event: dict[str, Any]) -> None:
    """What your application does with an event."""
    print(event["kind"], event.get("key"), event["detail"], flush=True)


async def events(request: web.Request) -> web.Response:
    body = await request.read()
    if not is_signed(request, body):
        return web.Response(status=401)
    told = json.loads(body)
    event = told["data"]
    # At least once is what is promised: written down with what is done, it is done once.
    store.execute("BEGIN IMMEDIATE")
    try:
        new = store.execute(
            "INSERT INTO handled VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (request.headers["webhook-id"], told["type"], event.get("key"), event.get("cursor")),
        )
        if new.rowcount and told["type"] != "webhook.ping":
            handle(event)
        store.execute("COMMIT")
    except BaseException:
        store.execute("ROLLBACK")
        raise
    return web.Response(status=204)


app = web.Application()
app.router.add_post("/events", events)

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=int(settings.get("PORT", "8090")), print=None)
