"""Values as the JSON of calls, and back. What is wrong with a value is told by the native half; here only what JSON could
not tell: a number without a unit, a time without a zone, a text where a list belongs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields
from datetime import datetime, timedelta, timezone
from enum import Enum
from os import PathLike, fspath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypeAlias, TypeVar, cast
from uuid import UUID

from . import _native
from ._native import Credential, Key
from .errors import VpnkitError, invalid
from .sizes import ByteSize

if TYPE_CHECKING:
    from .records import Admin

KeyLike: TypeAlias = int | str | UUID | Key
"""A key by its id, its name, its UUID, or the key itself."""

AdminLike: TypeAlias = "int | str | Admin"
"""An admin by its id, its name, or the admin itself."""

Size: TypeAlias = ByteSize | str
"""``GiB(50)`` or ``"50 GiB"``. A bare number is refused."""

Length: TypeAlias = timedelta | str
"""``timedelta(days=30)`` or ``"30 days"``. A bare number is refused."""

Headers: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]
"""The headers of an HTTP request, as every web framework has them."""

Read: TypeAlias = Callable[[Any], Any]
"""Makes a value of its JSON."""

Write: TypeAlias = Callable[[str, str, Any], Any]
"""Makes JSON of a value: the operation and the field are for the error."""

R = TypeVar("R", bound="Record")


class Keep(Enum):
    """Leaves a field as it is."""

    KEEP = "keep"


KEEP: Final[Literal[Keep.KEEP]] = Keep.KEEP

EMPTY: Final[Mapping[str, Any]] = MappingProxyType({})

_encode = json.JSONEncoder(separators=(",", ":")).encode


def dumps(arguments: Any) -> str:
    """The JSON of arguments. What JSON cannot have is the caller's mistake, and told so."""
    try:
        return _encode(arguments)
    except TypeError:
        field, value = _unwritable("", arguments)
        hint = "give its name" if hasattr(value, "name") or hasattr(value, "key") else None
        raise invalid("call", field, f"cannot be {type(value).__name__}", hint) from None


def _unwritable(path: str, value: object) -> tuple[str, object]:
    """Where the value stands that JSON cannot have."""
    if not isinstance(value, dict):
        return path, value
    inside = cast("dict[str, object]", value)
    for name, one in inside.items():
        try:
            _encode(one)
        except TypeError:
            return _unwritable(name, one)
    return path, inside


class Record:
    """What calls take and return: a dataclass that knows its JSON form."""

    __slots__ = ()

    _type: ClassVar[str | None] = None
    """What tells it from the other records of its union."""
    _reads: ClassVar[Mapping[str, Read]] = {}
    """How fields are made of JSON that are not their own JSON."""
    _writes: ClassVar[Mapping[str, Write]] = {}
    """How JSON is made of them."""

    def to_dict(self) -> dict[str, Any]:
        """The record as a dict that ``json.dumps`` takes. Fields with secrets are left out."""
        values = {one.name: getattr(self, one.name) for one in fields(self) if one.repr}  # type: ignore[arg-type]
        # A patch does not have what it leaves as it is.
        shown = {name: plain(value) for name, value in values.items() if value is not KEEP}
        return shown if self._type is None else {"type": self._type, **shown}

    @classmethod
    def _read(cls: type[R], given: dict[str, Any]) -> R:
        values: dict[str, Any] = {}
        for one in fields(cls):  # type: ignore[arg-type]
            value = given.get(one.name)
            if value is None and one.default is not MISSING:
                continue
            read = cls._reads.get(one.name)
            values[one.name] = value if value is None or read is None else read(value)
        make: Callable[..., R] = cls
        return make(**values)

    def _json(self, operation: str) -> dict[str, Any]:
        given: dict[str, Any] = {} if self._type is None else {"type": self._type}
        for one in fields(self):  # type: ignore[arg-type]
            value = getattr(self, one.name)
            if value is KEEP:
                continue
            write = self._writes.get(one.name)
            given[one.name] = value if value is None or write is None else write(operation, one.name, value)
        return given


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
    """The arguments of a call that takes a key and nothing else."""
    if type(key) is int:
        return f'{{"key":{key}}}'
    return dumps({"key": key_ref(operation, "key", key)})


# From values to JSON.


def same(operation: str, field: str, value: Any) -> Any:
    return value


def mapping(operation: str, field: str, value: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(value, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise invalid(operation, field, f"cannot be {type(value).__name__}", 'give a dict: {"telegram": "42"}')
    for name, text in cast("Mapping[Any, Any]", value).items():
        if not isinstance(name, str) or not (text is None or isinstance(text, str)):
            raise invalid(operation, f"{field}.{name}", f"cannot be {type(text).__name__}", "give strings: str(42)")
    return dict(value)


def key_ref(operation: str, field: str, key: KeyLike) -> int | str:
    if isinstance(key, Key):
        return key.id
    if isinstance(key, str):
        return f"name:{key}"
    if isinstance(key, UUID):
        return f"uid:{key}"
    if type(key) is int:
        return key
    raise invalid(operation, field, f"cannot be {type(key).__name__}", "give an id, a name, a UUID or the key")


def admin_ref(operation: str, field: str, admin: AdminLike) -> int | str:
    from .records import Admin

    if isinstance(admin, Admin):
        return admin.id
    if isinstance(admin, str):
        return f"name:{admin}"
    if type(admin) is int:
        return admin
    raise invalid(operation, field, f"cannot be {type(admin).__name__}", "give an id, a name or the admin")


def key_id(operation: str, field: str, key: int | Key) -> int:
    if isinstance(key, Key):
        return key.id
    if type(key) is int:
        return key
    raise invalid(operation, field, f"cannot be {type(key).__name__}", "give the key or its id")


def size(operation: str, field: str, value: Size) -> int | str:
    if isinstance(value, ByteSize) and value >= 0:
        return int(value)
    if isinstance(value, str):
        return value
    hint = 'write GiB(50) or "50 GiB"; a number of bytes is ByteSize(n)'
    raise invalid(operation, field, "a size needs its unit", hint)


def time(operation: str, field: str, value: datetime) -> str:
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


def path(operation: str, field: str, value: str | PathLike[str]) -> str:
    return fspath(value)


def record(operation: str, field: str, value: Record) -> dict[str, Any]:
    if isinstance(value, Record):  # pyright: ignore[reportUnnecessaryIsInstance]
        return value._json(operation)
    raise invalid(operation, field, f"cannot be {type(value).__name__}", "give a record of vpnkit")


def credential(operation: str, field: str, value: Credential) -> Any:
    if isinstance(value, Credential):  # pyright: ignore[reportUnnecessaryIsInstance]
        certificate = value.certificate
        return {
            "protocol": value.protocol,
            "device": value.device,
            "secret": value.secret,
            "inbound": value.inbound,
            "slot": value.slot,
            "certificate": None if certificate is None else certificate._json(operation),
        }
    raise invalid(operation, field, f"cannot be {type(value).__name__}", "give a vpnkit.Credential")


def headers(operation: str, field: str, value: Headers) -> list[list[str]]:
    pairs = cast("Mapping[str, str]", value).items() if isinstance(value, Mapping) else value
    try:
        return [[name, one] for name, one in pairs]
    except (TypeError, ValueError):
        raise invalid(operation, field, "must be headers: a mapping, or pairs of name and value") from None


def many(write: Write) -> Write:
    """A list of what ``write`` writes."""

    def written(operation: str, field: str, value: object) -> list[Any]:
        if isinstance(value, str):
            raise invalid(operation, field, "must be a list", f"write [{value!r}]")
        if not isinstance(value, Iterable):
            raise invalid(operation, field, "must be a list")
        values = cast("Iterable[Any]", value)  # type: ignore[redundant-cast]
        return [_at(index, write, operation, field, one) for index, one in enumerate(values)]

    return written


def _at(index: int, write: Write, operation: str, field: str, value: Any) -> Any:
    try:
        return write(operation, field, value)
    except VpnkitError as error:
        # An error says which of them is at fault.
        error.context = {**error.context, "index": str(index)}
        raise


def one_or_many(operation: str, field: str, value: str | Iterable[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


# From JSON to values.


def time_of(text: str) -> datetime:
    """RFC 3339 with milliseconds in UTC, as every answer has it."""
    # Python 3.10 does not read the Z.
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def length_of(text: str) -> timedelta:
    return timedelta(milliseconds=_native.parse_duration(text))


def read_many(read: Read) -> Read:
    return lambda given: tuple(read(one) for one in given)


def read_map(read: Read) -> Read:
    return lambda given: {name: read(one) for name, one in given.items()}


def read_maybe(read: Read) -> Read:
    return lambda given: None if given is None else read(given)


def tagged(*classes: type[Record]) -> Read:
    """Reads the record of a union that ``type`` names."""
    by_type = {cls._type: cls for cls in classes}
    return lambda given: by_type[given["type"]]._read(given)


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
