"""Arguments as the JSON that the native half reads. What is wrong with a value is told there; here only what JSON could
not tell: a number without a unit, a moment without a time zone."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Any, Final, Literal, TypeAlias
from uuid import UUID

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

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def key_ref(operation: str, key: KeyLike) -> dict[str, Any]:
    if isinstance(key, Key):
        return {"id": key.id}
    if isinstance(key, str):
        return {"name": key}
    if isinstance(key, UUID):
        return {"uid": str(key)}
    if type(key) is int:
        return {"id": key}
    raise invalid(operation, "key", f"cannot be {type(key).__name__}", "give an id, a name, a UUID or the key")


def key_id(operation: str, key: int | Key, field: str = "key") -> int:
    if isinstance(key, Key):
        return key.id
    if type(key) is int:
        return key
    raise invalid(operation, field, f"cannot be {type(key).__name__}", "give the key or its id")


def of_key(operation: str, key: KeyLike) -> str:
    if type(key) is int:
        return f'{{"key":{{"id":{key}}}}}'
    return dumps({"key": key_ref(operation, key)})


def size(operation: str, field: str, value: Size) -> int | str:
    if isinstance(value, ByteSize) and value >= 0:
        return int(value)
    if isinstance(value, str):
        return value
    raise invalid(operation, field, "a size needs its unit", 'write GiB(50) or "50 GiB"')


def moment(operation: str, field: str, value: datetime) -> str:
    if not isinstance(value, datetime) or value.tzinfo is None:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise invalid(operation, field, "needs an aware datetime", "datetime.now(timezone.utc) is one")
    return value.astimezone(timezone.utc).isoformat()


def length(operation: str, field: str, value: Length) -> str:
    if isinstance(value, timedelta):
        return f"{value // timedelta(milliseconds=1)} ms"
    if isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        return value
    raise invalid(operation, field, "a length of time needs its unit", 'write timedelta(days=30) or "30 days"')


def from_millis(millis: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=millis)
