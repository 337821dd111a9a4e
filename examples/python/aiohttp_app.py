"""Subscriptions with aiohttp: `python aiohttp_app.py`. VPN_STORE, VPN_URL and PORT come from the environment."""

from collections.abc import AsyncGenerator
from os import environ as settings

import vpnkit
from aiohttp import web

KIT = web.AppKey("kit", vpnkit.Kit)


async def subscription(request: web.Request) -> web.Response:
    path = request.match_info
    answer = await request.app[KIT].subscriptions.for_request(path["token"], request.headers, path.get("format"))
    return web.Response(body=answer.body, status=answer.status, headers=answer.headers)


async def opened(app: web.Application) -> AsyncGenerator[None, None]:
    async with vpnkit.open(settings.get("VPN_STORE", "sqlite:bot.db")) as kit:
        base_url = settings.get("VPN_URL", "https://sub.example.com/s")
        await kit.subscriptions.configure(vpnkit.SubscriptionSettings(base_url=base_url, title="Example"))
        app[KIT] = kit
        yield


app = web.Application()
app.cleanup_ctx.append(opened)
app.add_routes([web.get("/s/{token}", subscription), web.get("/s/{token}/{format}", subscription)])

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=int(settings.get("PORT", "8080")))
