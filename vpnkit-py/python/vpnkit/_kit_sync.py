"""The kit for threads. Made by `twin.py` from `_kit_async.py`: change that one."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any

from . import _lifetime, _native, _wire
from ._thread import Calls
from ._nouns_sync import Admins, Events, Grants, HealthView, Hosts, Inbounds, Keys, KeyTemplates, Servers, StoreView, Subscriptions, TrafficView, Webhooks
from ._wire import KeyLike, Length, Size
from .errors import invalid
from .records import Admin


class KitView:
    """The calls of an open kit: the kit itself, or what :meth:`acting_as`, :meth:`as_admin` and :meth:`dry_run`
    return. It closes with the kit."""

    keys: Keys
    admins: Admins
    grants: Grants
    templates: KeyTemplates
    inbounds: Inbounds
    hosts: Hosts
    subscriptions: Subscriptions
    traffic: TrafficView
    events: Events
    webhooks: Webhooks
    store: StoreView
    health: HealthView
    servers: Servers

    def __init__(self, native: _native.Kit, of: KitView | None = None) -> None:
        # The kit itself: while it is used, nobody collects it.
        self._of = of
        self._calls = Calls(native)
        self.keys = Keys(self._calls)
        self.admins = Admins(self._calls)
        self.grants = Grants(self._calls)
        self.templates = KeyTemplates(self._calls)
        self.inbounds = Inbounds(self._calls)
        self.hosts = Hosts(self._calls)
        self.subscriptions = Subscriptions(self._calls)
        self.traffic = TrafficView(self._calls)
        self.events = Events(self._calls)
        self.webhooks = Webhooks(self._calls)
        self.store = StoreView(self._calls)
        self.health = HealthView(self._calls)
        self.servers = Servers(self._calls)

    def acting_as(self, actor: str, *, reason: str | None = None) -> KitView:
        """The same kit for calls in somebody's name and for a reason, as events, grants and ``keys.timeline`` tell it:
        ``kit.acting_as("support:alice", reason="asked by phone").keys.disable("bob")``. It is not checked who that is.

        Raises InvalidInputError about ``actor``, 1 to 255 visible characters, or ``reason``, up to 500 characters on one line."""
        for name, value in (("actor", actor), ("reason", "" if reason is None else reason)):
            if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise invalid("acting_as", name, f"cannot be {type(value).__name__}", 'a text, as "support:alice"')
        return KitView(self._calls.native.view(actor, reason, None, False), self)

    def as_admin(self, admin: int | Admin, *, scopes: Sequence[str] | None = None) -> KitView:
        """The same kit for calls in the name of an admin: they do and see what that one may, as it stands at the time of each
        call. Sudo may do everything, a reseller what is its own, within its quotas; what belongs to others is not there. With
        ``scopes``, as an API key has them, only what those cover: ``*``, ``*:read``, a noun such as ``keys``, ``keys:read``. Calls
        that are not allowed raise PermissionDeniedError.

        Raises InvalidInputError about ``admin`` or ``scopes``; PermissionDeniedError for a kit that makes calls in the name of an
        admin already."""
        number = admin.id if isinstance(admin, Admin) else admin
        if type(number) is not int:
            raise invalid("as_admin", "admin", f"cannot be {type(admin).__name__}", "give the admin or its id")
        if isinstance(scopes, str) or not all(isinstance(scope, str) for scope in scopes or ()):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise invalid("as_admin", "scopes", "must be a list of strings", '["keys:read"]')
        given = None if scopes is None else list(scopes)
        return KitView(self._calls.native.view(None, None, (number, given), False), self)

    def dry_run(self) -> KitView:
        """The same kit for changes that are only tried: each is checked and carried out like any other, answers what would
        be, and leaves nothing behind. Ids, credentials and links of what would be new are those of nothing.

        Calls whose effect is on servers or other processes cannot be tried: they raise UnsupportedError. Those that read do
        so."""
        return KitView(self._calls.native.view(None, None, None, True), self)

    def __repr__(self) -> str:
        return "<vpnkit.KitView of an open kit>"

    def now(self) -> datetime:
        """The time as vpnkit sees it: in a sandbox that of its own clock. Compute with it, not with the machine's."""
        time: datetime = self._calls.call("now", "{}")
        return time


class Kit(KitView):
    """Keys, limits, traffic and servers in this process: what :func:`open` returns."""

    def __init__(self, native: _native.Kit) -> None:
        super().__init__(native)
        self._closed = False
        _lifetime.opened(native)

    def tick(self) -> None:
        """Does at once what background work does in its intervals: reads the counters, ends keys whose time is over, and
        waits until servers have taken the changes over. For tests and scripts."""
        self._calls.call("tick", "{}")

    def close(self) -> None:
        """Reads the counters a last time, stops managed servers, releases the store. A second time does nothing."""
        if not self._closed:
            self._closed = True
            self._calls.close()

    def __enter__(self) -> Kit:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_closed", True) and not self._calls.native.is_forked():
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)

    def __repr__(self) -> str:
        return f"<vpnkit.sync.Kit {'closed' if self._closed else 'open'}>"


class Sandbox(Kit):
    """A kit for tests: time stands still until it is moved, and a fake server does as it is told."""

    def advance(self, by: Length) -> None:
        """Moves time forward and does what is due then."""
        length = timedelta(milliseconds=_native.parse_duration(_wire.length("sandbox", "by", by)))
        moved = (self.now() + length).isoformat()
        self._step(step="set", to=moved)
        self.tick()

    def set_time(self, to: datetime) -> None:
        """Moves time, backwards too, and does nothing else."""
        self._step(step="set", to=_wire.time("sandbox", "to", to))

    def pass_traffic(self, key: KeyLike, *, up: Size = "0 B", down: Size = "0 B") -> None:
        """Bytes pass for a key on the server; they are counted at the next :meth:`tick`."""
        sizes = {"up": _wire.size("sandbox", "up", up), "down": _wire.size("sandbox", "down", down)}
        self._step(step="pass", key=_wire.key_ref("sandbox", "key", key), **sizes)

    def set_online(self, key: KeyLike, addresses: Iterable[str]) -> None:
        """A key has connections open from these addresses, or none."""
        self._step(step="online", key=_wire.key_ref("sandbox", "key", key), **{"from": list(addresses)})

    def lets_in(self, key: KeyLike, tag: str) -> bool:
        """Whether a client with this key could connect on an inbound."""
        yes: bool = self._step(step="lets_in", key=_wire.key_ref("sandbox", "key", key), tag=tag)
        return yes

    def fail(self) -> None:
        """The server stops answering."""
        self._step(step="fail")

    def refuse(self, key: KeyLike) -> None:
        """The server refuses this key."""
        self._step(step="refuse", key=_wire.key_ref("sandbox", "key", key))

    def heal(self) -> None:
        """Nothing goes wrong any more, and the server has caught up."""
        self._step(step="heal")

    def restart(self) -> None:
        """The server is restarted: its counters begin at nothing."""
        self._step(step="restart")

    def _step(self, **step: object) -> Any:
        return self._calls.json("sandbox", _wire.dumps(step))
