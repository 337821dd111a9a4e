"""The synchronous twin: threads, signals, and inside a running loop."""

from __future__ import annotations

import asyncio
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import vpnkit
from vpnkit import errors


def test_a_second_thread_runs_while_a_call_waits() -> None:
    with vpnkit.sync.open("memory:") as kit:
        stream = kit.events.stream()
        waiting, found = threading.Event(), []

        def wait() -> None:
            waiting.set()
            found.append(next(stream))

        thread = threading.Thread(target=wait)
        thread.start()
        waiting.wait()
        # If the call above held the GIL, this thread would never come so far: nobody else makes the event.
        count = sum(1 for _ in range(100_000))
        kit.keys.create("alice")
        thread.join()
        assert count == 100_000 and found[0].kind == "key.created"


def test_many_threads_share_a_kit(tmp_path: Path) -> None:
    with vpnkit.sync.open(tmp_path / "bot.db") as kit, ThreadPoolExecutor(16) as pool:
        ids = list(pool.map(lambda i: kit.keys.create(f"k{i}").id, range(400)))
        assert sorted(ids) == list(range(1, 401))
        assert all(pool.map(lambda i: kit.keys.require(i).id == i, ids))


async def test_inside_a_running_loop() -> None:
    with vpnkit.sync.open("memory:") as kit:
        assert kit.keys.create("alice").id == 1
        assert await asyncio.to_thread(kit.keys.require, "alice") == kit.keys.get(1)


def test_events_with_a_time_limit() -> None:
    with vpnkit.sync.open("memory:") as kit:
        stream = kit.events.stream()
        assert stream.next(timeout="20 ms") is None
        kit.keys.create_many([vpnkit.CreateKey(), vpnkit.CreateKey()])
        assert [next(stream).key for _ in range(2)] == [1, 2]
        assert stream.next("20 ms") is None
        with pytest.raises(errors.InvalidInputError):
            stream.next(5)  # type: ignore[arg-type] # pyright: ignore
        stream.close()
        assert list(stream) == []


def test_closing_ends_the_streams_of_other_threads() -> None:
    kit = vpnkit.sync.open("memory:")
    untouched = kit.events.stream()
    with ThreadPoolExecutor(4) as pool:
        streams = [pool.submit(list, kit.events.stream()) for _ in range(4)]
        kit.keys.create("a")
        kit.close()
        assert all(len(stream.result()) <= 1 for stream in streams)
    assert list(untouched) == []
    # A caller that waits in a loop of its own gets the error too, and does not ask for ever.
    with pytest.raises(errors.ClosedError):
        while untouched.next("1 ms") is None:
            pass
    with pytest.raises(errors.ClosedError):
        kit.keys.get(1)


def test_ctrl_c_ends_a_wait() -> None:
    with vpnkit.sync.open("memory:") as kit:
        stream = kit.events.stream()
        timer = threading.Timer(0.2, signal.raise_signal, [signal.SIGINT])
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            next(stream)
        timer.join()
        kit.keys.create("a")
        assert next(stream).kind == "key.created"
