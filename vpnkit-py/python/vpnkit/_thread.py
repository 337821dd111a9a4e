"""Calls for threads: they wait without the GIL, and Ctrl-C interrupts them."""

from __future__ import annotations

import json
from collections import deque
from typing import Any

from . import _lifetime, _native
from ._native import Event
from ._wire import Length, length
from .errors import ClosedError, OperationTimeoutError

_BATCH = 1_000


class Calls:
    """Calls of one kit."""

    __slots__ = ("native",)

    def __init__(self, native: _native.Kit) -> None:
        self.native = native

    def call(self, operation: str, arguments: str) -> Any:
        """Waits for what the native half returns."""
        return self.native.call(operation, arguments).wait()

    def json(self, operation: str, arguments: str) -> Any:
        """Waits for JSON."""
        return json.loads(self.native.call(operation, arguments).wait())

    def stream(self, after: int) -> EventStream:
        return EventStream(self.native.events(after))

    def consumer(self, name: str, after: int | None) -> EventConsumer:
        return EventConsumer(self.native.consume(name, after))

    def close(self) -> None:
        if self.native.is_forked():
            return  # It is the parent's.
        self.native.close().wait()
        _lifetime.closed(self.native)


class EventStream:
    """Events one by one: ``for event in stream``. It ends when the kit is closed, also by another thread."""

    _batch = _BATCH

    def __init__(self, native: _native.Stream) -> None:
        self._native = native
        self._ready: deque[Event] = deque()
        self._closed = False

    def __iter__(self) -> EventStream:
        return self

    def __next__(self) -> Event:
        try:
            event = self.next()
        except ClosedError:
            event = None
        if event is None:
            raise StopIteration
        return event

    def next(self, timeout: Length | None = None) -> Event | None:
        """Waits for the next event, at most so long; None when the time is over, or the stream or the kit was closed meanwhile.

        Raises ClosedError when the kit was closed before.
        """
        if not self._ready and not self._closed:
            try:
                events: list[Event] = self._native.next(self._batch).wait(_millis(timeout))
            except OperationTimeoutError:
                return None
            self._ready.extend(events)
        return self._ready.popleft() if self._ready else None

    def close(self) -> None:
        """Ends the stream."""
        self._closed = True


class EventConsumer(EventStream):
    """Events one by one, each at least once to one of those who consume under the name: ``for event in consumer``. An event
    counts as handled when the next one is asked for; leave the loop, and the last one comes again.

    It ends when the kit is closed. ``with kit.events.consume("bot") as consumer`` lets another process have its turn at once in
    the end.
    """

    _batch = 1

    def acknowledge(self) -> None:
        """Counts the event that was given out last as handled, without asking for the next one."""
        self._native.acknowledge().wait()

    def close(self) -> None:
        """Ends it; what was handled is told."""
        super().close()
        try:
            self._native.close().wait()
        except ClosedError:
            pass

    def __enter__(self) -> EventConsumer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _millis(timeout: Length | None) -> int | None:
    return None if timeout is None else _native.parse_duration(length("events.stream", "timeout", timeout))
