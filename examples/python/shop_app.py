"""A shop's API with FastAPI, for as many workers as you like: `gunicorn -w 4 -k asgi shop_app:app`, or
`uvicorn --workers 4 shop_app:app`.

Each worker opens vpnkit with the same arguments. One of them drives the server; when it ends the next one does. Xray runs on while
workers come and go.

What is particular to your server comes from the environment: VPN_DIRECTORY, VPN_ADDRESS, VPN_PORT, VPN_SITE, XRAY.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from os import environ as settings

import vpnkit
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from vpnkit import Inbound, ManagedXray, Reality, Vless

directory = settings.get("VPN_DIRECTORY", "/var/lib/vpnkit")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
    xray = ManagedXray(
        settings.get("VPN_ADDRESS", "vpn.example.com"),
        f"{directory}/xray",
        binary=settings.get("XRAY", "xray"),
        keep_running=True,
    )
    async with vpnkit.open(f"sqlite:{directory}/keys.db", servers=[xray]) as kit:
        site = settings.get("VPN_SITE", "www.example.com:443")
        reality = Reality(site, [site.split(":")[0]])
        port = int(settings.get("VPN_PORT", "443"))
        # The same in every worker: the first one adds it.
        await kit.inbounds.ensure(Inbound("reality", port, Vless(vision=True), security=reality))
        app.state.kit = kit
        yield


app = FastAPI(lifespan=lifespan)


@app.exception_handler(vpnkit.VpnkitError)
async def refused(request: Request, error: vpnkit.VpnkitError) -> JSONResponse:
    match error:
        case vpnkit.errors.NotFoundError():
            status = 404
        case vpnkit.errors.AlreadyExistsError() | vpnkit.errors.IdempotencyMismatchError():
            status = 409
        case vpnkit.errors.InvalidInputError():
            status = 422
        case _:
            status = 503 if error.retryable else 500
    return JSONResponse({"error": error.code, "message": str(error)}, status)


def the_kit(request: Request) -> vpnkit.Kit:
    kit: vpnkit.Kit = request.app.state.kit
    return kit


@app.post("/keys/{name}")
async def create(request: Request, name: str, payment: str) -> dict[str, object]:
    kit = the_kit(request)
    # The same payment twice is one key, in whichever worker it arrives.
    key = await kit.keys.create(name, data_limit="50 GiB", days=30, idempotency_key=payment)
    return {"id": key.id, "links": await kit.keys.links(key)}


@app.post("/keys/{name}/renew")
async def renew(request: Request, name: str, payment: str) -> dict[str, object]:
    # However often the provider says it, and in whichever worker, it is one month.
    key = await the_kit(request).keys.extend(name, days=30, idempotency_key=payment)
    return {"id": key.id, "expires_at": key.expires_at}


@app.post("/keys/{name}/{switch}")
async def switch(request: Request, name: str, switch: str) -> dict[str, object]:
    kit = the_kit(request)
    match switch:
        case "enable":
            key = await kit.keys.enable(name)
        case "disable":
            key = await kit.keys.disable(name)
        case _:
            raise HTTPException(404)
    return {"id": key.id, "status": key.status}


@app.get("/servers")
async def servers(request: Request) -> list[dict[str, object]]:
    status = await the_kit(request).servers.status()
    return [{"id": one.id, "state": one.state, "process": one.driver and one.driver.process} for one in status]
