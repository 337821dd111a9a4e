"""What is asked of keys."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from typing import Any, Literal

from . import _wire
from ._native import Credential, Key
from ._wire import KEEP, Keep, Length, Size
from .errors import invalid

KeyStatus = Literal["active", "disabled", "limited", "expired"]
"""Whether a key may connect, and if not, why."""

SortBy = Literal["id", "name", "expires_at", "used"]
"""By what keys are sorted."""


@dataclass(frozen=True)
class CreateKey:
    """A key to be created. Everything is optional: without a limit it is unlimited, without a time it never ends.

    Give one of ``days``, ``expires_in`` (both from the creation on) and ``expires_at``.
    """

    name: str | None = None
    """The handle: 1 to 64 of ``A-Z a-z 0-9 . _ @ + -``, unique without regard to case."""
    _: KW_ONLY
    label: str | None = None
    """Free text, up to 256 characters."""
    note: str | None = None
    """Free text for the operator, up to 4,000 characters."""
    owner: int | None = None
    """The id of the owning admin."""
    data_limit: Size | None = None
    """``GiB(50)`` or ``"50 GiB"``; None is unlimited."""
    days: float | None = None
    """So many times 24 hours."""
    expires_in: Length | None = None
    """``timedelta(days=30)`` or ``"30 days"``."""
    expires_at: datetime | None = None
    """An aware datetime in the future."""
    device_limit: int | None = None
    """On how many devices its subscription may be, at least 1; None is as the settings say."""
    inbounds: Sequence[str] | None = None
    """Tags of inbounds; None is all shared ones, also those that come later."""
    credentials: Sequence[Credential] = ()
    """Existing ones, for keys that move in from elsewhere; missing ones are made."""
    disabled: bool = False
    """Created switched off."""
    idempotency_key: str | None = None
    """The same text again returns the first key instead of a second one: a payment id."""

    def _json(self, operation: str = "keys.create") -> dict[str, Any]:
        given: dict[str, Any] = {}
        for name in ("name", "label", "note", "owner", "device_limit", "idempotency_key"):
            value = getattr(self, name)
            if value is not None:
                given[name] = value
        if self.data_limit is not None:
            given["data_limit"] = _wire.size(operation, "data_limit", self.data_limit)
        times = [t for t in ("days", "expires_in", "expires_at") if getattr(self, t) is not None]
        if len(times) > 1:
            raise invalid(operation, times[1], f"give `{times[0]}` or `{times[1]}`, not both")
        if self.days is not None:
            given["expires_in"] = _wire.days(operation, self.days)
        if self.expires_in is not None:
            given["expires_in"] = _wire.length(operation, "expires_in", self.expires_in)
        if self.expires_at is not None:
            given["expires_at"] = _wire.moment(operation, "expires_at", self.expires_at)
        if self.inbounds is not None:
            given["inbounds"] = only(operation, self.inbounds)
        if self.credentials:
            given["credentials"] = credentials(self.credentials)
        if self.disabled is not False:
            given["disabled"] = self.disabled
        return given


@dataclass(frozen=True)
class Page(_wire.Record):
    """A page of keys, and where the pages beside it begin. It can be iterated."""

    keys: Sequence[Key]
    next: str | None
    """The page after it: give it to ``find(page=...)``; None on the last one. At most 40 characters."""
    previous: str | None
    """The page before it; None on the first one."""

    def __iter__(self) -> Iterator[Key]:
        return iter(self.keys)

    def __len__(self) -> int:
        return len(self.keys)


def patch(
    *,
    name: str | None | Keep,
    label: str | None | Keep,
    note: str | None | Keep,
    owner: int | None | Keep,
    data_limit: Size | None | Keep,
    expires_at: datetime | None | Keep,
    device_limit: int | None | Keep,
    inbounds: Sequence[str] | None | Keep,
    enabled: bool | Keep,
    reset_usage: bool,
    revoke_links: bool,
    new_credentials: Sequence[Credential],
) -> dict[str, Any]:
    """The JSON of a change: fields that are kept are left out, None takes the value away."""
    operation = "keys.update"
    given: dict[str, Any] = {}
    for field, value in (
        ("name", name),
        ("label", label),
        ("note", note),
        ("owner", owner),
        ("device_limit", device_limit),
    ):
        if value is not KEEP:
            given[field] = value
    if data_limit is not KEEP:
        given["data_limit"] = None if data_limit is None else _wire.size(operation, "data_limit", data_limit)
    if expires_at is not KEEP:
        given["expires_at"] = None if expires_at is None else _wire.moment(operation, "expires_at", expires_at)
    if inbounds is not KEEP:
        given["inbounds"] = None if inbounds is None else only(operation, inbounds)
    if enabled is not KEEP:
        given["enabled"] = enabled
    if reset_usage is not False:
        given["reset_usage"] = reset_usage
    if revoke_links is not False:
        given["revoke_links"] = revoke_links
    if new_credentials:
        given["credentials"] = credentials(new_credentials)
    return given


def credentials(all: Iterable[Credential]) -> list[Any]:
    """Credentials as requests carry them."""
    return [json.loads(credential._json()) for credential in all]


def only(operation: str, tags: Sequence[str]) -> list[str]:
    """A selection of inbounds."""
    if isinstance(tags, str):
        raise invalid(operation, "inbounds", "must be a list of tags", f"write [{tags!r}]")
    return list(tags)
