"""The ways in which asyncio calls, waits and stops waiting."""

from __future__ import annotations

import asyncio
import gc
import inspect
import time
import warnings
from pathlib import Path

import pytest
import uvloop

import vpnkit
from vpnkit import errors, testing


async def test_calls_are_coroutines() -> None:
    async with vpnkit.open("memory:") as kit:
        call = kit.keys.get("nobody")
        assert inspect.iscoroutine(call)
        assert await asyncio.create_task(call) is None
        made = await asyncio.gather(*(kit.keys.create(f"k{i}") for i in range(500)))
        assert sorted(key.id for key in made) == list(range(1, 501))
        assert (await asyncio.wait_for(kit.keys.require(1), 30)).id == 1
        # Never awaited: nothing has begun.
        forgotten = kit.keys.create("forgotten")
        forgotten.close()
        assert await kit.keys.get("forgotten") is None


async def test_a_group_fails_as_one() -> None:
    async with vpnkit.open("memory:") as kit:
        await kit.keys.create("a")
        results = await asyncio.gather(kit.keys.create("a"), kit.keys.create("b"), return_exceptions=True)
        assert isinstance(results[0], errors.AlreadyExistsError) and isinstance(results[1], vpnkit.Key)


async def test_a_cancelled_change_is_made_whole() -> None:
    async with testing.open() as kit:
        await kit.inbounds.ensure(vpnkit.Inbound("main", 443, vpnkit.Vless()))
        for i in range(200):
            task = asyncio.create_task(kit.keys.create(f"k{i}"))
            for _ in range(i % 20):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        # Those that had begun.
        found = (await kit.keys.find(limit=1000)).keys
        assert found
        # What was committed has reached the server too.
        await kit.tick()
        assert all([await kit.lets_in(key, "main") for key in found])


async def test_timeouts_end_the_waiting() -> None:
    async with vpnkit.open("memory:") as kit:
        stream = kit.events.stream()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(anext(stream), 0.05)
        await kit.keys.create("a")
        assert (await asyncio.wait_for(anext(stream), 30)).kind == "key.created"


async def test_a_stream_loses_nothing_to_cancellation() -> None:
    async with vpnkit.open("memory:") as kit:
        stream = kit.events.stream()
        seen: list[int] = []

        async def read() -> None:
            async for event in stream:
                seen.append(event.cursor)

        for i in range(200):
            reader = asyncio.create_task(read())
            await kit.keys.create(f"k{i}")
            if i % 3:
                await asyncio.sleep(0)
            reader.cancel()
            await asyncio.wait([reader])
        while len(seen) < 200:
            seen.append((await anext(stream)).cursor)
        assert seen == list(range(1, 201))


async def test_several_readers_share_a_stream() -> None:
    async with vpnkit.open("memory:") as kit:
        stream = kit.events.stream()
        readers = [asyncio.create_task(anext(stream)) for _ in range(5)]
        await asyncio.sleep(0)
        await kit.keys.create_many(vpnkit.CreateKey() for _ in range(5))
        events = await asyncio.gather(*readers)
        assert sorted(event.cursor for event in events) == [1, 2, 3, 4, 5]


async def test_closing_ends_streams_and_refuses_calls() -> None:
    kit = await vpnkit.open("memory:")
    untouched, stream = kit.events.stream(), kit.events.stream()
    reader = asyncio.create_task(anext(stream, None))
    closed = kit.events.stream()
    waiting = asyncio.create_task(anext(closed, None))
    await asyncio.sleep(0.01)
    await closed.aclose()
    assert await waiting is None
    await kit.close()
    assert await reader is None
    await kit.close()
    assert [event async for event in untouched] == []
    assert [event async for event in stream] == []
    assert await anext(closed, None) is None
    with pytest.raises(errors.ClosedError):
        await kit.keys.get(1)
    with pytest.raises(errors.ClosedError):
        kit.events.stream()
    assert repr(kit) == "<vpnkit.Kit closed>"


async def test_closing_while_calls_are_under_way(tmp_path: Path) -> None:
    kit = await vpnkit.open(tmp_path / "bot.db")
    calls = [asyncio.create_task(kit.keys.create(f"k{i}")) for i in range(200)]
    await asyncio.sleep(0.005)
    await kit.close()
    done = await asyncio.gather(*calls, return_exceptions=True)
    made = {key.name for key in done if isinstance(key, vpnkit.Key)}
    assert all(isinstance(one, (vpnkit.Key, errors.ClosedError)) for one in done), done
    async with vpnkit.open(tmp_path / "bot.db") as again:
        kept = {key.name for key in (await again.keys.find(limit=1000)).keys}
    assert made <= kept


def test_one_kit_in_several_loops() -> None:
    kit = asyncio.run(_opened())
    for i in range(10):
        assert asyncio.run(kit.keys.create(f"k{i}")).id == i + 1
    asyncio.run(kit.close())


async def _opened() -> vpnkit.Kit:
    return await vpnkit.open("memory:")


def test_a_loop_may_end_while_calls_are_under_way() -> None:
    """The answer comes when its loop is closed: nobody is called, nothing is written to the terminal."""
    kit = asyncio.run(_opened())
    for _ in range(500):

        async def leave() -> None:
            asyncio.get_running_loop().call_soon(asyncio.get_running_loop().stop)
            await kit.keys.create()

        loop = asyncio.new_event_loop()
        task = loop.create_task(leave())
        loop.run_forever()
        task.cancel()
        loop.run_until_complete(asyncio.wait([task]))
        loop.close()
    asyncio.run(kit.close())


def test_uvloop() -> None:
    async def work() -> None:
        async with vpnkit.open("memory:") as kit:
            reader = asyncio.create_task(anext(kit.events.stream()))
            await asyncio.gather(*(kit.keys.create(f"k{i}") for i in range(100)))
            assert (await reader).kind == "key.created" and await kit.keys.get(100) is not None

    for _ in range(3):
        loop = uvloop.new_event_loop()
        loop.run_until_complete(work())
        loop.close()


def test_a_call_needs_a_loop() -> None:
    kit = asyncio.run(_opened())
    call = kit.keys.get(1)
    with pytest.raises(RuntimeError):
        call.send(None)
    asyncio.run(kit.close())


def test_an_unclosed_kit_is_told_of() -> None:
    kit = asyncio.run(_opened())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del kit
        gc.collect()
    assert [str(w.message) for w in caught if w.category is ResourceWarning] == ["unclosed <vpnkit.Kit open>"]


async def test_the_loop_runs_on_while_a_call_waits() -> None:
    async with vpnkit.open("memory:") as kit:
        ticks = 0

        async def count() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        counter = asyncio.create_task(count())
        await kit.keys.create_many(vpnkit.CreateKey(f"k{i}") for i in range(20_000))
        counter.cancel()
        assert ticks > 10


async def test_what_never_waits_never_waits() -> None:
    """Attributes and `repr` of a kit that hangs: its server does not answer."""
    async with testing.open() as kit:
        await kit.fail()
        start = time.monotonic()
        for _ in range(1_000):
            assert repr(kit) and kit.keys and repr(kit.events.stream()) and hash(kit) and kit == kit
        assert time.monotonic() - start < 60
