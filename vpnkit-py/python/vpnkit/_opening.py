"""Opening for asyncio."""

from __future__ import annotations

from collections.abc import Callable, Generator
from types import TracebackType
from typing import Any, Generic, TypeVar

from . import _native
from ._kit_async import Kit
from ._loop import arrive

K = TypeVar("K", bound=Kit)


class Opening(Generic[K]):
    """A kit that is about to be opened: ``await`` it, or use it with ``async with``."""

    def __init__(self, config: str, kit: Callable[[_native.Kit], K], sandbox: bool = False) -> None:
        self._config = config
        self._make = kit
        self._sandbox = sandbox
        self._kit: K | None = None

    async def _open(self) -> K:
        return self._make(await arrive(_native.open(self._config, self._sandbox)))

    def __await__(self) -> Generator[Any, None, K]:
        return self._open().__await__()

    async def __aenter__(self) -> K:
        self._kit = await self._open()
        return self._kit

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._kit is not None:
            await self._kit.close()
