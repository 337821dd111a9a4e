"""What to open."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike, fspath
from typing import Any

from . import _wire
from ._wire import Length
from .records import ReminderPolicy, ServerConfig, SharingPolicy


def to_json(
    store: str | PathLike[str],
    *,
    servers: Sequence[ServerConfig] = (),
    passphrase: str | None = None,
    previous_passphrase: str | None = None,
    collect_every: Length | None = None,
    reconcile_every: Length | None = None,
    keep_events: Length | None = None,
    keep_timelines: Length | None = None,
    keep_hourly: Length | None = None,
    keep_daily: Length | None = None,
    time_zone: str | None = None,
    sharing: SharingPolicy | None = None,
    reminders: ReminderPolicy | None = None,
    private_webhooks: bool = False,
    background: bool = True,
) -> str:
    """The JSON that the native half reads."""
    text = store if isinstance(store, str) else f"sqlite:{fspath(store)}"
    given: dict[str, Any] = {
        "store": text,
        "servers": _wire.many(_wire.record)("open", "servers", servers),
        "background": background,
        "private_webhooks": private_webhooks,
    }
    if time_zone is not None:
        given["time_zone"] = time_zone
    if sharing is not None:
        given["sharing"] = _wire.record("open", "sharing", sharing)
    if reminders is not None:
        given["reminders"] = _wire.record("open", "reminders", reminders)
    for field, secret in (("passphrase", passphrase), ("previous_passphrase", previous_passphrase)):
        if secret is not None:
            given[field] = secret
    for field, value in (
        ("collect_every", collect_every),
        ("reconcile_every", reconcile_every),
        ("keep_events", keep_events),
        ("keep_timelines", keep_timelines),
        ("keep_hourly", keep_hourly),
        ("keep_daily", keep_daily),
    ):
        if value is not None:
            given[field] = _wire.length("open", field, value)
    return _wire.dumps(given)
