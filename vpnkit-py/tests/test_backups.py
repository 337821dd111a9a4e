"""Backups of a store in use, and putting one back."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
        its = kit.as_admin(reseller).store
        for call in (its.back_up(str(tmp_path / "x.db")), its.check()):
            with pytest.raises(errors.PermissionDeniedError):
                await call
    told: list[tuple[int, int]] = []
    restored = await vpnkit.restore(saved, f"sqlite:{store}", on_progress=lambda *steps: told.append(steps))
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


WRITER = """
import sys, vpnkit
with vpnkit.sync.open("sqlite:" + sys.argv[1]) as kit:
    print("open", flush=True)
    number = 0
    while True:
        # Two of each, or none.
        kit.keys.create_many([vpnkit.CreateKey(name=f"{half}-{number}", note="x" * 3_000) for half in "ab"])
        number += 1
"""


@contextmanager
def writing(store: Path) -> Iterator[None]:
    """A process that writes until it is killed."""
    with subprocess.Popen([sys.executable, "-c", WRITER, store], stdout=subprocess.PIPE) as writer:
        try:
            assert writer.stdout is not None and writer.stdout.readline() == b"open\n"
            yield
        finally:
            writer.kill()


def test_another_process_writes_all_the_time(tmp_path: Path) -> None:
    store = tmp_path / "keys.db"
    with vpnkit.sync.open(store) as kit:
        kit.keys.create_many([vpnkit.CreateKey(note="x" * 3_000) for _ in range(3_000)])
        with writing(store):
            counts = []
            for number in range(4):
                saved = tmp_path / f"saved-{number}.db"
                before = kit.keys.count().total
                backup = kit.store.back_up(str(saved))
                assert backup.keys >= before
                with vpnkit.sync.open(saved) as copy:
                    assert not copy.store.check().faults
                    halves = [copy.keys.count(search=f"{half}-").total for half in "ab"]
                assert halves[0] == halves[1]
                counts.append(halves[0])
    assert counts == sorted(counts) and counts[-1] > 0, counts


def test_a_store_that_another_process_has_open_is_not_replaced(tmp_path: Path) -> None:
    store, saved = tmp_path / "keys.db", tmp_path / "saved.db"
    with vpnkit.sync.open(store) as kit:
        kit.store.back_up(str(saved))
    with writing(store):
        words = [sys.executable, "-m", "vpnkit", "restore", str(saved), str(store)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        assert "the store is open" in done.stderr and "close it in every process" in done.stderr
    # It was killed: its write-ahead log belongs to what is replaced.
    assert vpnkit.sync.restore(saved, store).keys == 0
    with vpnkit.sync.open(store) as kit:
        assert kit.keys.count().total == 0 and not kit.store.check().faults


def two(tmp_path: Path) -> tuple[Path, Path]:
    """A store with 5,000 keys, and a backup with 10,000."""
    store, saved = tmp_path / "keys.db", tmp_path / "saved.db"
    for to, count in ((saved, 10_000), (store, 5_000)):
        made = tmp_path / "made.db"
        with vpnkit.sync.open(made) as kit:
            kit.keys.create_many([vpnkit.CreateKey(note="x" * 3_000) for _ in range(count)])
            kit.store.back_up(str(to))
        made.unlink()
    return store, saved


def test_a_process_that_is_killed_while_it_restores_leaves_one_or_the_other(tmp_path: Path) -> None:
    store, saved = two(tmp_path)
    contents = store.read_bytes()
    words = [sys.executable, "-m", "vpnkit", "restore", str(saved), str(store)]
    found = list[int]()
    for wait in (0.0, 0.0, 0.0, 0.01, 0.02, 0.05, 0.5):
        restoring = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # From when it writes into the store.
        journal, limit = Path(f"{store}-journal"), time.monotonic() + 60
        while not journal.exists() and restoring.poll() is None and time.monotonic() < limit:
            time.sleep(0.0005)
        time.sleep(wait)
        os.kill(restoring.pid, signal.SIGKILL)
        restoring.wait()
        with vpnkit.sync.open(store) as kit:
            assert not kit.store.check().faults
            found.append(kit.keys.count().total)
        for path in tmp_path.iterdir():
            if path.name.startswith((".", "keys.db")):
                path.unlink()
        store.write_bytes(contents)
    assert set(found) <= {5_000, 10_000} and 5_000 in found, found


async def test_a_restore_that_is_cancelled_leaves_the_store(tmp_path: Path) -> None:
    store, saved = await asyncio.to_thread(two, tmp_path)
    for _ in range(50):
        restoring = asyncio.ensure_future(vpnkit.restore(saved, store))
        while not Path(f"{store}-journal").exists() and not restoring.done():
            await asyncio.sleep(0)
        restoring.cancel()
        with pytest.raises(asyncio.CancelledError):
            await restoring
        async with vpnkit.open(store) as kit:
            count = (await kit.keys.count()).total
        assert sorted(path.name for path in tmp_path.iterdir()) == ["keys.db", "saved.db"]
        if count == 5_000:
            return
        # It was done by then.
        assert count == 10_000
        store.unlink()
        saved.unlink()
        await asyncio.to_thread(two, tmp_path)
    pytest.fail("no restore was cancelled in time")
