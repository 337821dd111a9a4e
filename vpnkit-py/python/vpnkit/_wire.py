"""Arguments as the JSON that the native half reads. What is wrong with a value is told there; here only what JSON could
not tell: a number without a unit, a moment without a time zone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Any, Final, Literal, TypeAlias, cast
from uuid import UUID

from . import _native
from ._native import Key
from .errors import invalid
from .sizes import ByteSize

KeyLike: TypeAlias = int | str | UUID | Key
"""A key by its id, its name, its UUID, or the key itself."""

Size: TypeAlias = ByteSize | str
"""``GiB(50)`` or ``"50 GiB"``. A bare number is refused."""

Length: TypeAlias = timedelta | str
"""``timedelta(days=30)`` or ``"30 days"``. A bare number is refused."""


class Keep(Enum):
    """Leaves a field as it is."""

    KEEP = "keep"


KEEP: Final[Literal[Keep.KEEP]] = Keep.KEEP

dumps = json.JSONEncoder(separators=(",", ":")).encode


def key_ref(operation: str, key: KeyLike) -> int | str:
    if isinstance(key, Key):
        return key.id
    if isinstance(key, str):
        return f"name:{key}"
    if isinstance(key, UUID):
        return f"uid:{key}"
    if type(key) is int:
        return key
    raise invalid(operation, "key", f"cannot be {type(key).__name__}", "give an id, a name, a UUID or the key")


def key_id(operation: str, key: int | Key, field: str = "key") -> int:
    if isinstance(key, Key):
        return key.id
    if type(key) is int:
        return key
    raise invalid(operation, field, f"cannot be {type(key).__name__}", "give the key or its id")


def parse_key(text: str) -> int | str | UUID:
    """A key as it stands in a URL or a command: ``1`` and ``id:1`` are an id, a UUID and ``uid:…`` a UUID, everything else
    and ``name:1`` a name. Raises InvalidInputError."""
    kind, _, value = _native.parse_key(text).partition(":")
    match kind:
        case "id":
            return int(value)
        case "uid":
            return UUID(value)
        case _:
            return value


def of_key(operation: str, key: KeyLike) -> str:
    if type(key) is int:
        return f'{{"key":{key}}}'
    return dumps({"key": key_ref(operation, key)})


def size(operation: str, field: str, value: Size) -> int | str:
    if isinstance(value, ByteSize) and value >= 0:
        return int(value)
    if isinstance(value, str):
        return value
    hint = 'write GiB(50) or "50 GiB"; a number of bytes is ByteSize(n)'
    raise invalid(operation, field, "a size needs its unit", hint)


def moment(operation: str, field: str, value: datetime) -> str:
    if not isinstance(value, datetime) or value.tzinfo is None:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise invalid(operation, field, "needs an aware datetime", "datetime.now(timezone.utc) is one")
    try:
        return value.astimezone(timezone.utc).isoformat()
    except OverflowError:
        raise invalid(operation, field, "is outside of what can be written in UTC") from None


def length(operation: str, field: str, value: Length) -> str:
    if isinstance(value, timedelta):
        return f"{value // timedelta(milliseconds=1)} ms"
    if isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        return value
    raise invalid(operation, field, "a length of time needs its unit", 'write timedelta(days=30) or "30 days"')


def time_of(text: str) -> datetime:
    """RFC 3339 with milliseconds in UTC, as every answer has it."""
    # Python 3.10 does not read the Z.
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def days(operation: str, count: float) -> str:
    if isinstance(count, bool) or not isinstance(count, (int, float)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise invalid(operation, "days", "must be a number of days")
    if not 0 < count < 3_650_000:
        raise invalid(operation, "days", "must be more than 0")
    return length(operation, "days", timedelta(days=count))


def plain(value: Any) -> Any:
    """A record as `json.dumps` takes it: the JSON form that every language has. Secrets are left out."""
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return f"{value // timedelta(milliseconds=1)} ms"
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, (str, int, float, bool)) or value is None:
        return int(value) if isinstance(value, ByteSize) else value
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in cast("Mapping[Any, Any]", value).items()}  # type: ignore[redundant-cast]
    if isinstance(value, Iterable):
        return [plain(one) for one in cast("Iterable[Any]", value)]  # type: ignore[redundant-cast]
    return str(value)


class Record:
    """What calls return: a dataclass that knows its JSON form."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """The record as a dict that ``json.dumps`` takes. Fields with secrets are left out."""
        return {one.name: plain(getattr(self, one.name)) for one in fields(self) if one.repr}  # type: ignore[arg-type]
