"""The same for threads: ``with vpnkit.sync.open("sqlite:bot.db") as kit``. Every call waits without the GIL; a kit may be
used by several threads at once, also inside a running event loop."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

from . import _native, _restoring
from ._kit_sync import Kit, KitView
from ._nouns_sync import Admins, Events, Grants, HealthView, Hosts, Inbounds, Keys, KeyTemplates, Servers, StoreView, Subscriptions, TrafficView, Webhooks
from ._thread import EventConsumer, EventStream
from ._wire import Length
from .config import to_json
from .records import Backup, ReminderPolicy, ServerConfig, SharingPolicy

__all__ = [
    "Admins",
    "EventConsumer",
    "EventStream",
    "Events",
    "Grants",
    "Hosts",
    "Inbounds",
    "KeyTemplates",
    "Keys",
    "Kit",
    "KitView",
    "Servers",
    "StoreView",
    "HealthView",
    "Subscriptions",
    "TrafficView",
    "Webhooks",
    "open",
    "restore",
]


def open(
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
) -> Kit:
    """Opens the store, starts the servers and the background work. The arguments are those of :func:`vpnkit.open`."""
    config = to_json(
        store,
        servers=servers,
        passphrase=passphrase,
        previous_passphrase=previous_passphrase,
        collect_every=collect_every,
        reconcile_every=reconcile_every,
        keep_events=keep_events,
        keep_timelines=keep_timelines,
        keep_hourly=keep_hourly,
        keep_daily=keep_daily,
        time_zone=time_zone,
        sharing=sharing,
        reminders=reminders,
        private_webhooks=private_webhooks,
        background=background,
    )
    return Kit(_native.open(config).wait())


def restore(backup: str | PathLike[str], store: str | PathLike[str]) -> Backup:
    """Replaces a store by a backup. The thread waits for it; the arguments are those of :func:`vpnkit.restore`."""
    return _restoring.read(_restoring.begun(backup, store, _native.Progress()).wait())
