"""Backups of a store in use, and putting one back."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import vpnkit
from vpnkit import errors


async def test_a_backup_is_put_back(tmp_path: Path) -> None:
    store, saved = tmp_path / "keys.db", tmp_path / "saved.db"
    async with vpnkit.open(store) as kit:
        await kit.keys.create("alice")
        backup = await kit.store.back_up(str(saved))
        assert (backup.path, backup.keys, backup.bytes) == (str(saved), 1, saved.stat().st_size)
        assert saved.stat().st_mode & 0o777 == 0o600
        lost = await kit.keys.create("bob")
        checked = await kit.store.check()
        assert not checked.faults and checked.tables > 10
        assert await kit.store.work() == []
        with pytest.raises(errors.AlreadyExistsError):
            await kit.store.back_up(str(saved))
        with pytest.raises(errors.InUseError):
            await vpnkit.restore(saved, store)
        reseller = await kit.admins.create("reseller", role="reseller")
        for call in (kit.as_admin(reseller).store.back_up(str(tmp_path / "x.db")), kit.as_admin(reseller).store.check()):
            with pytest.raises(errors.PermissionDeniedError):
                await call
    told: list[tuple[int, int]] = []
    restored = await vpnkit.restore(saved, f"sqlite:{store}", on_progress=lambda done, total: told.append((done, total)))
    assert (restored.path, restored.keys, restored.newest_event) == (str(store), 1, backup.newest_event)
    assert told[-1][0] == told[-1][1] > 0
    async with vpnkit.open(store) as kit:
        assert [key.name for key in await kit.keys.find()] == ["alice"]
        # Ids are not used again.
        assert (await kit.keys.create("carol")).id > lost.id
    with pytest.raises(errors.InvalidInputError) as caught:
        await vpnkit.restore(saved, "memory:")
    assert caught.value.field == "store"
    with pytest.raises(errors.NotFoundError):
        await vpnkit.restore(tmp_path / "none.db", store)


async def test_a_store_in_memory_has_no_file() -> None:
    async with vpnkit.open("memory:") as kit:
        with pytest.raises(errors.UnsupportedError):
            await kit.store.back_up("anywhere.db")


def test_from_a_shell_and_for_threads(tmp_path: Path) -> None:
    store, saved = tmp_path / "keys.db", tmp_path / "saved.db"
    with vpnkit.sync.open(store) as kit:
        kit.keys.create_many([vpnkit.CreateKey(name=f"k{n}") for n in range(3)])
        kit.store.back_up(str(saved))
    words = [sys.executable, "-m", "vpnkit", "restore"]
    done = subprocess.run([*words, saved, tmp_path / "new.db"], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("3 keys, ")
    failed = subprocess.run([*words, tmp_path / "none.db", store], capture_output=True, text=True, timeout=60)
    assert failed.returncode == 1 and "no such backup" in failed.stderr
    assert vpnkit.sync.restore(saved, store).keys == 3


def test_a_process_that_is_killed_while_it_restores_leaves_one_or_the_other(tmp_path: Path) -> None:
    store, saved = tmp_path / "keys.db", tmp_path / "saved.db"
    with vpnkit.sync.open(saved) as kit:
        kit.keys.create_many([vpnkit.CreateKey(note="x" * 3_000) for _ in range(10_000)])
    with vpnkit.sync.open(store) as kit:
        kit.keys.create_many([vpnkit.CreateKey(note="y" * 3_000) for _ in range(5_000)])
    words = [sys.executable, "-m", "vpnkit", "restore", str(saved), str(store)]
    found, size = set[int](), store.stat().st_size
    for wait in (0.0, 0.02, 0.05, 0.1, 0.2):
        restoring = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # From when it has begun to write: until then nothing can go wrong.
        limit = time.monotonic() + 60
        while not Path(f"{store}-journal").exists() and restoring.poll() is None and time.monotonic() < limit:
            time.sleep(0.001)
        time.sleep(wait)
        os.kill(restoring.pid, signal.SIGKILL)
        restoring.wait()
        with vpnkit.sync.open(store) as kit:
            assert not kit.store.check().faults
            found.add(kit.keys.count().total)
    assert found <= {5_000, 10_000} and found, (found, size)


async def test_a_restore_that_is_cancelled_leaves_the_store(tmp_path: Path) -> None:
    store, saved = tmp_path / "keys.db", tmp_path / "saved.db"
    async with vpnkit.open(saved) as kit:
        await kit.keys.create_many([vpnkit.CreateKey(note="x" * 3_000) for _ in range(10_000)])
    async with vpnkit.open(store) as kit:
        await kit.keys.create("alice")
    restoring = asyncio.ensure_future(vpnkit.restore(saved, store))
    await asyncio.sleep(0.005)
    restoring.cancel()
    with pytest.raises(asyncio.CancelledError):
        await restoring
    async with vpnkit.open(store) as kit:
        assert (await kit.keys.count()).total == 1
