"""Calls for asyncio: they run on vpnkit's threads, their answers are fetched by the loop."""

from __future__ import annotations

import asyncio
import json
import weakref
from collections import deque
from typing import Any

from . import _lifetime, _native
from ._native import Event
from .errors import ClosedError

_BATCH = 1_000


class _Bridge:
    """One loop's queue of answers. It knows futures but not the loop, so that it goes with the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._native = _native.Bridge()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        loop.add_reader(self._native.fileno(), self._fetch)

    def start(self, pending: _native.Pending, future: asyncio.Future[Any]) -> int:
        number = pending.start(self._native)
        self._waiting[number] = future
        return number

    def cancel(self, number: int) -> None:
        if self._waiting.pop(number, None) is not None:
            self._native.cancel(number)

    def _fetch(self) -> None:
        for number, succeeded, value in self._native.take():
            future = self._waiting.pop(number, None)
            if future is None or future.done():
                continue
            if succeeded:
                future.set_result(value)
            else:
                future.set_exception(value)


_bridges: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Bridge] = weakref.WeakKeyDictionary()


def _bridge(loop: asyncio.AbstractEventLoop) -> _Bridge:
    bridge = _bridges.get(loop)
    if bridge is None:
        bridge = _bridges[loop] = _Bridge(loop)
    return bridge


async def arrive(pending: _native.Pending) -> Any:
    """Runs a call. Cancelling stops the waiting; a change that has begun goes on to its end."""
    loop = asyncio.get_running_loop()
    bridge = _bridge(loop)
    future: asyncio.Future[Any] = loop.create_future()
    number = bridge.start(pending, future)
    try:
        return await future
    finally:
        bridge.cancel(number)


class Calls:
    """Calls of one kit."""

    __slots__ = ("native",)

    def __init__(self, native: _native.Kit) -> None:
        self.native = native

    async def call(self, operation: str, arguments: str) -> Any:
        """Waits for what the native half returns."""
        return await arrive(self.native.call(operation, arguments))

    async def json(self, operation: str, arguments: str) -> Any:
        """Waits for JSON."""
        return json.loads(await arrive(self.native.call(operation, arguments)))

    def stream(self, after: int) -> EventStream:
        return EventStream(self.native.events(after))

    def consumer(self, name: str, after: int | None) -> EventConsumer:
        return EventConsumer(self.native.consume(name, after))

    async def close(self) -> None:
        if self.native.is_forked():
            return  # It is the parent's.
        await arrive(self.native.close())
        _lifetime.closed(self.native)


class EventStream:
    """Events one by one: ``async for event in stream``. It ends when the kit is closed.

    Stopping in the middle, a timeout or a cancelled task lose nothing: the next ``async for`` over it goes on where the
    last one stopped. A stream belongs to one event loop.
    """

    _batch = _BATCH

    def __init__(self, native: _native.Stream) -> None:
        self._native = native
        self._ready: deque[Event] = deque()
        self._fetching: tuple[asyncio.AbstractEventLoop, int, asyncio.Future[list[Event]]] | None = None
        self._closed = False

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Event:
        while not self._ready:
            if self._closed:
                raise StopAsyncIteration
            try:
                fetching = self._fetching or self._fetch()
            except ClosedError:
                raise StopAsyncIteration from None  # Closed between two waits.
            # The answer belongs to the stream: the caller that waits for it may stop, another one gets it.
            await asyncio.wait([fetching[2]])
            if self._fetching is fetching:
                self._fetching = None
                events = fetching[2].result()
                self._ready.extend(events)
                self._closed = self._closed or not events
        return self._ready.popleft()

    async def aclose(self) -> None:
        """Ends the stream, also for a caller that waits for its next event."""
        self._closed = True
        if self._fetching is not None:
            loop, number, future = self._fetching
            _bridge(loop).cancel(number)
            if not future.done():
                future.set_result([])

    def _fetch(self) -> tuple[asyncio.AbstractEventLoop, int, asyncio.Future[list[Event]]]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Event]] = loop.create_future()
        number = _bridge(loop).start(self._native.next(self._batch), future)
        self._fetching = (loop, number, future)
        return self._fetching


class EventConsumer(EventStream):
    """Events one by one, each at least once to one of those who consume under the name: ``async for event in consumer``. An event
    counts as handled when the next one is asked for; leave the loop, and the last one comes again.

    It ends when the kit is closed. ``async with kit.events.consume("bot") as consumer`` lets another process have its turn at
    once in the end.
    """

    _batch = 1

    async def acknowledge(self) -> None:
        """Counts the event that was given out last as handled, without asking for the next one."""
        await arrive(self._native.acknowledge())

    async def aclose(self) -> None:
        """Ends it, also for a caller that waits for its next event; what was handled is told."""
        await super().aclose()
        try:
            await arrive(self._native.close())
        except ClosedError:
            pass

    async def __aenter__(self) -> EventConsumer:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
