"""For tests of what you build on vpnkit: a kit with a clock that you move and a server that does as you say.

    async with vpnkit.testing.open() as kit:
        key = await kit.keys.create("alice", data_limit="1 GiB", days=30)
        await kit.pass_traffic(key, down="1 GiB")
        await kit.tick()
        assert (await kit.keys.require(key)).status == "limited"
"""

from __future__ import annotations

from os import PathLike

from . import _kit_sync, _native
from ._kit_async import Sandbox
from ._opening import Opening
from .config import to_json
from .records import SharingPolicy

SyncSandbox = _kit_sync.Sandbox

__all__ = ["Sandbox", "SyncSandbox", "open", "open_sync"]


def open(
    store: str | PathLike[str] = "memory:", *, time_zone: str | None = None, sharing: SharingPolicy | None = None
) -> Opening[Sandbox]:
    """Opens a sandbox for asyncio. Nothing happens by itself: call ``tick`` or ``advance``."""
    config = to_json(store, time_zone=time_zone, sharing=sharing, background=False)
    return Opening(config, Sandbox, sandbox=True)


def open_sync(
    store: str | PathLike[str] = "memory:", *, time_zone: str | None = None, sharing: SharingPolicy | None = None
) -> SyncSandbox:
    """The same for threads."""
    config = to_json(store, time_zone=time_zone, sharing=sharing, background=False)
    return SyncSandbox(_native.open(config, True).wait())
