"""An embeddable VPN control plane: keys, limits, traffic accounting and servers in your own process.

    import vpnkit

    async with vpnkit.open("sqlite:bot.db") as kit:
        key = await kit.keys.create("alice", data_limit="50 GiB", days=30)

The same without ``async``: :mod:`vpnkit.sync`. For your tests: :mod:`vpnkit.testing`. Errors: :mod:`vpnkit.errors`.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

from . import _native, errors, qr, records, sync, testing
from ._kit_async import Kit, KitView
from ._loop import EventConsumer, EventStream
from ._native import Credential, Event, Key
from ._nouns_async import Admins, Events, Grants, HealthView, Hosts, Inbounds, Keys, KeyTemplates, Servers, StoreView, Subscriptions, TrafficView, Webhooks
from ._opening import Opening
from ._restoring import restore
from ._wire import KEEP, AdminLike, Headers, Keep, KeyLike, Length, Size
from ._wire import parse_key as key_ref
from .config import to_json
from .errors import VpnkitError
from .records import *
from .records import ReminderPolicy, ServerConfig, SharingPolicy
from .sizes import GB, MB, TB, ByteSize, GiB, KiB, MiB, TiB

__all__ = [
    "GB",
    "KEEP",
    "MB",
    "TB",
    "AdminLike",
    "Admins",
    "ByteSize",
    "Credential",
    "Event",
    "EventConsumer",
    "EventStream",
    "Events",
    "GiB",
    "Grants",
    "Headers",
    "Hosts",
    "Inbounds",
    "Keep",
    "Key",
    "KeyLike",
    "KeyTemplates",
    "Keys",
    "KiB",
    "Kit",
    "KitView",
    "Length",
    "MiB",
    "Opening",
    "Servers",
    "Size",
    "StoreView",
    "HealthView",
    "Subscriptions",
    "TiB",
    "TrafficView",
    "Webhooks",
    "VpnkitError",
    "errors",
    "key_ref",
    "qr",
    "records",
    "restore",
    "stop_left_running",
    "sync",
    "testing",
]
__all__ += records.__all__


def stop_left_running(directory: str | PathLike[str]) -> bool:
    """Ends the Xray that runs on in a directory although no process drives it any more (``keep_running``), and returns whether
    there was one. What it has counted since it was read last is lost. Waits for it, ten seconds at most.

    From a shell: ``python -m vpnkit stop DIRECTORY``.

    Raises NotFoundError when there is no such directory; InUseError while a process drives it: then ``kit.servers.stop`` ends
    it.
    """
    return _native.stop_left_running(directory)


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
) -> Opening[Kit]:
    """Opens the store, starts the servers and the background work: ``async with vpnkit.open(...) as kit``, or
    ``kit = await vpnkit.open(...)`` and ``await kit.close()`` in the end.

    ``store`` is ``"sqlite:PATH"``, a path, or ``"memory:"``. ``passphrase`` encrypts credentials and private keys in it; a
    store that still has ``previous_passphrase`` gets the new one, and may be given both from then on.
    ``collect_every`` (10 seconds) is the time between two readings of a server's counters, ``reconcile_every`` (5
    minutes) that between two full comparisons of a server with the store, ``keep_events`` (30 days) how long events are
    kept, ``keep_timelines`` (180 days) how long ``keys.timeline`` has those of a key. A key's traffic is kept by the hour for ``keep_hourly`` (62 days), by the day for ``keep_daily``
    (800 days), then by the month. ``time_zone`` (UTC) is the calendar that resets of usage go by: ``"Europe/Berlin"``. ``sharing``
    is what happens to keys that are used at more addresses at once than their ``address_limit`` (an event tells of it), ``reminders``
    when events remind of the end of a key (at 80 and 90 percent of its limit, 3 days and 1 day before its end). With ``private_webhooks``
    webhooks may lead to addresses of this machine and of private networks. Without
    ``background`` only ``kit.tick()`` reads counters and ends keys.

    A server that does not start is no error: it is ``down``, ``kit.servers.status()`` and an event tell why, and it is tried
    again.

    Raises InvalidConfigError with every fault; StoreLockedError, StoreTooNewError, … of the store.
    """
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
    return Opening(config, Kit)
