"""Subscriptions with FastAPI: `uvicorn --no-access-log fastapi_app:app`, since that log would keep tokens.

VPN_STORE and VPN_URL come from the environment.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from os import environ as settings

import vpnkit
from fastapi import FastAPI, Request, Response


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
    async with vpnkit.open(settings.get("VPN_STORE", "sqlite:bot.db")) as kit:
        base_url = settings.get("VPN_URL", "https://sub.example.com/s")
        await kit.subscriptions.configure(vpnkit.SubscriptionSettings(base_url=base_url, title="Example"))
        app.state.kit = kit
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/s/{token}")
@app.get("/s/{token}/{format}")
async def subscription(request: Request, token: str, format: str | None = None) -> Response:
    kit: vpnkit.Kit = request.app.state.kit
    answer = await kit.subscriptions.for_request(token, request.headers, format)
    return Response(answer.body, answer.status, dict(answer.headers))
