"""What a person expects of a record beside its fields: base classes of those in `records.py`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, TypeVar, cast

from . import _native, _wire
from ._native import Key
from .errors import invalid
from .sizes import ByteSize

T = TypeVar("T")


class Expiry(_wire.Record):
    """One of ``days``, ``expires_in`` and, where there is one, ``expires_at``."""

    __slots__ = ()

    def _json(self, operation: str) -> dict[str, Any]:
        given = super()._json(operation)
        days = given.pop("days")
        times = {"days": days, "expires_in": given["expires_in"], "expires_at": given.get("expires_at")}
        several = [name for name, time in times.items() if time is not None]
        if len(several) > 1:
            raise invalid(operation, several[1], f"give `{several[0]}` or `{several[1]}`, not both")
        if days is not None:
            given["expires_in"] = length_of_days(operation, days)
        return given


def length_of_days(operation: str, count: float) -> str:
    if isinstance(count, bool) or not isinstance(count, (int, float)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise invalid(operation, "days", "must be a number of days")
    if not 0 < count <= 3_650_000:
        raise invalid(operation, "days", "must be more than 0 and at most 3650000")
    return _wire.length(operation, "days", timedelta(days=count))


class Keys:
    """The keys of a page, one by one."""

    keys: Sequence[Key]

    def __iter__(self) -> Iterator[Key]:
        return iter(self.keys)

    def __len__(self) -> int:
        return len(self.keys)


class NewKeys:
    """Makes REALITY's keys."""

    @classmethod
    def generate(cls: type[T], dest: str, server_name: str) -> T:
        """Makes new keys and a new short id in front of ``dest``, the real site of ``server_name``. Keep what it returns:
        new keys end every link that was given out."""
        private_key, public_key = _native.reality_keys()
        keys = {"private_key": private_key, "public_key": public_key, "short_ids": (_native.short_id(),)}
        made: T = cast(Any, cls)(dest, (server_name,), **keys)
        return made


class Body:
    """The body of an answer as text."""

    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


class Total:
    """Both directions together."""

    up: ByteSize
    down: ByteSize

    @property
    def total(self) -> ByteSize:
        """Both directions together."""
        return self.up + self.down
