"""The quickstart: an Xray of your own, a key, its link, its traffic. The same program as
`examples/src/bin/quickstart.rs` and `examples/node/quickstart.mts`.

What is particular to your server comes from the environment: VPN_DIRECTORY, VPN_ADDRESS, VPN_PORT, VPN_SITE, XRAY.
"""

import asyncio
from os import environ as settings

import vpnkit
from vpnkit import GiB, Inbound, ManagedXray, Reality, Vless


async def main() -> None:
    directory = settings.get("VPN_DIRECTORY", "/var/lib/vpnkit")
    site = settings.get("VPN_SITE", "www.example.com:443")
    port = int(settings.get("VPN_PORT", "443"))

    # Starts Xray, restarts it when it dies, stops it when we close.
    address = settings.get("VPN_ADDRESS", "vpn.example.com")
    xray = ManagedXray(address, f"{directory}/xray", binary=settings.get("XRAY", "xray"))
    async with vpnkit.open(f"sqlite:{directory}/keys.db", servers=[xray]) as kit:
        # REALITY's keys are made the first time and kept from then on: links contain them.
        reality = Reality(site, [site.split(":")[0]])
        await kit.inbounds.ensure(Inbound("reality", port, Vless(vision=True), security=reality))

        # The same payment twice is one key.
        key = await kit.keys.create("alice", data_limit=GiB(50), days=30, idempotency_key="payment:1")
        for link in await kit.keys.links(key):
            print("link", link)

        print("press Enter to stop", flush=True)
        await asyncio.to_thread(input)
        await kit.traffic.collect()
        key = await kit.keys.require("alice")
        print(f"used {key.used} of {key.data_limit}")


asyncio.run(main())
