"""Memory stands still."""

from __future__ import annotations

import gc
from pathlib import Path

import vpnkit

MILLION = 1_000_000


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def test_a_million_calls() -> None:
    with vpnkit.sync.open("memory:") as kit:
        kit.keys.create("alice", data_limit="50 GiB", days=30)
        for _ in range(MILLION // 10):
            kit.keys.get(1)
        gc.collect()
        before = _resident()
        for _ in range(MILLION):
            kit.keys.get(1)
        gc.collect()
        # One byte a call would be a mebibyte; the allocator may keep a few pages.
        assert _resident() - before < 2 * 2**20


async def test_many_kits() -> None:
    async def once() -> None:
        async with vpnkit.open("memory:") as kit:
            await kit.keys.create("alice")

    for _ in range(20):
        await once()
    gc.collect()
    threads, before = len(list(Path("/proc/self/task").iterdir())), _resident()
    for _ in range(200):
        await once()
    gc.collect()
    assert len(list(Path("/proc/self/task").iterdir())) <= threads
    assert _resident() - before < 8 * 2**20
