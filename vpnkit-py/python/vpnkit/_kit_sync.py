"""The kit for threads. Made by `twin.py` from `_kit_async.py`: change that one."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Literal, TypeAlias

from . import _lifetime, _native, _wire, keys, records
from ._thread import Door, EventStream
from ._native import Credential, Key
from ._subscriptions_sync import Hosts, Subscriptions
from ._wire import KEEP, Keep, KeyLike, Length, Size
from .inbounds import Inbound
from .keys import CreateKey, KeyStatus, Page, SortBy
from .records import Collected, Endpoint, EventBatch, OnlineKey, ServerStatus, UsagePoint
from .subscriptions import Theme

# In a class with a method `list`, `list[Inbound]` would mean the method.
_Inbounds: TypeAlias = list[Inbound]


class Keys:
    """Creates, finds, changes and deletes keys. Every change is committed before a server hears of it; a server that is
    down delays a key, it never loses one."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def create(
        self,
        name: str | None = None,
        *,
        label: str | None = None,
        note: str | None = None,
        owner: int | None = None,
        data_limit: Size | None = None,
        days: float | None = None,
        expires_in: Length | None = None,
        expires_at: datetime | None = None,
        device_limit: int | None = None,
        inbounds: Sequence[str] | None = None,
        credentials: Sequence[Credential] = (),
        disabled: bool = False,
        idempotency_key: str | None = None,
    ) -> Key:
        """Creates a key with its credentials; the arguments are those of :class:`vpnkit.CreateKey`.

        Returns once it is committed and the servers have it, or have had two seconds for it.

        Raises InvalidInputError with the ``field``; NotFoundError for an inbound that does not exist;
        AlreadyExistsError when the name is taken.
        """
        request = CreateKey(
            name,
            label=label,
            note=note,
            owner=owner,
            data_limit=data_limit,
            days=days,
            expires_in=expires_in,
            expires_at=expires_at,
            device_limit=device_limit,
            inbounds=inbounds,
            credentials=credentials,
            disabled=disabled,
            idempotency_key=idempotency_key,
        )
        return self._key("keys.create", _wire.dumps({"request": request._json()}))

    def create_many(
        self, requests: Iterable[CreateKey], *, idempotency_key: str | None = None
    ) -> list[Key]:
        """Creates many keys in one transaction: all of them or none. The result has the order of the requests.

        Raises as :meth:`create`, with the ``index`` of the request that is at fault in the context. Idempotency keys of
        the single requests are refused; give the whole batch one.
        """
        operation = "keys.create_many"
        given = [request._json(operation) for request in requests]
        arguments = _wire.dumps({"requests": given, "idempotency_key": idempotency_key})
        created: list[Key] = self._door.call(operation, arguments, records.same)
        return created

    def get(self, key: KeyLike) -> Key | None:
        """The key, or None."""
        found: Key | None = self._door.call("keys.get", _wire.of_key("keys.get", key), records.same)
        return found

    def require(self, key: KeyLike) -> Key:
        """The key. Raises NotFoundError."""
        return self._key("keys.require", _wire.of_key("keys.require", key))

    def find(
        self,
        search: str | None = None,
        *,
        status: KeyStatus | Sequence[KeyStatus] = (),
        owner: int | None = None,
        sort: SortBy = "id",
        descending: bool = False,
        limit: int = 100,
        page: str | None = None,
    ) -> Page:
        """A page of keys: those with this text in name, label or note, with one of these statuses, of this owner.

        ``limit`` is the size of a page, 1 to 10,000; ``page`` is the ``next`` or ``previous`` of another page. Ties are
        broken by id; keys without the value that is sorted by come last.
        """
        query = {
            "search": search,
            "status": [status] if isinstance(status, str) else list(status),
            "owner": owner,
            "sort": sort,
            "descending": descending,
            "limit": limit,
            "page": page,
        }
        found, following, previous = self._door.call("keys.find", _wire.dumps({"query": query}), records.same)
        return Page(found, following, previous)

    def iterate(
        self,
        search: str | None = None,
        *,
        status: KeyStatus | Sequence[KeyStatus] = (),
        owner: int | None = None,
        sort: SortBy = "id",
        descending: bool = False,
        limit: int = 1_000,
    ) -> Iterator[Key]:
        """All keys that :meth:`find` finds, over all pages; ``limit`` is the size of a page."""
        page: str | None = None
        while True:
            found = self.find(
                search, status=status, owner=owner, sort=sort, descending=descending, limit=limit, page=page
            )
            for key in found.keys:
                yield key
            page = found.next
            if page is None:
                return

    def update(
        self,
        key: KeyLike,
        *,
        name: str | None | Keep = KEEP,
        label: str | None | Keep = KEEP,
        note: str | None | Keep = KEEP,
        owner: int | None | Keep = KEEP,
        data_limit: Size | None | Keep = KEEP,
        expires_at: datetime | None | Keep = KEEP,
        device_limit: int | None | Keep = KEEP,
        inbounds: Sequence[str] | None | Keep = KEEP,
        enabled: bool | Keep = KEEP,
        reset_usage: bool = False,
        revoke_links: bool = False,
        credentials: Sequence[Credential] = (),
        expected_version: int | None = None,
    ) -> Key:
        """Changes what is given and keeps the rest. None takes a value away: unlimited, never, no name, all inbounds.

        Credentials replace those of the same protocol and device; ``revoke_links`` makes every subscription URL that was
        given out worthless. With ``expected_version`` the key is changed only if
        nobody changed it since.

        Raises NotFoundError, ConflictError, InvalidInputError, AlreadyExistsError (name).
        """
        patch = keys.patch(
            name=name,
            label=label,
            note=note,
            owner=owner,
            data_limit=data_limit,
            expires_at=expires_at,
            device_limit=device_limit,
            inbounds=inbounds,
            enabled=enabled,
            reset_usage=reset_usage,
            revoke_links=revoke_links,
            new_credentials=credentials,
        )
        arguments: dict[str, object] = {"key": _wire.key_ref("keys.update", key), "patch": patch}
        if expected_version is not None:
            arguments["expected_version"] = expected_version
        return self._key("keys.update", _wire.dumps(arguments))

    def enable(self, key: KeyLike) -> Key:
        """Lets a key that was disabled connect again, unless its time or limit is over."""
        return self._key("keys.enable", _wire.of_key("keys.enable", key))

    def disable(self, key: KeyLike) -> Key:
        """Switches a key off by hand."""
        return self._key("keys.disable", _wire.of_key("keys.disable", key))

    def reset_usage(self, key: KeyLike) -> Key:
        """Sets what counts against the limit to nothing; the key's total traffic stays."""
        return self._key("keys.reset_usage", _wire.of_key("keys.reset_usage", key))

    def delete(self, key: KeyLike, *, expected_version: int | None = None) -> None:
        """Deletes a key, its credentials and the inbounds that are dedicated to it. Its id is never used again.

        Raises NotFoundError, ConflictError.
        """
        arguments = {"key": _wire.key_ref("keys.delete", key), "expected_version": expected_version}
        self._door.call("keys.delete", _wire.dumps(arguments), records.nothing)

    def delete_many(self, all: Iterable[int | Key]) -> int:
        """Deletes these keys in one transaction, all of them or none; returns how many.

        Raises NotFoundError with the first key that does not exist.
        """
        ids = [_wire.key_id("keys.delete_many", key, "ids") for key in all]
        return self._door.call("keys.delete_many", _wire.dumps({"ids": ids}), records.number)

    def endpoints(self, key: KeyLike) -> list[Endpoint]:
        """Everything a client needs to connect with this key. A key that may not connect has the same endpoints; they
        just do not work."""
        arguments = _wire.of_key("keys.endpoints", key)
        return self._door.call("keys.endpoints", arguments, records.endpoints)

    def links(self, key: KeyLike) -> list[str]:
        """Share links, one for each endpoint. They contain secrets."""
        return self._door.call("keys.links", _wire.of_key("keys.links", key), records.lines)

    def _key(self, operation: str, arguments: str) -> Key:
        key: Key = self._door.call(operation, arguments, records.same)
        return key


class Inbounds:
    """Adds, changes and removes inbounds."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def ensure(self, inbound: Inbound) -> Inbound:
        """Makes sure that the inbound exists as described: adds it, replaces the one of its tag, or does nothing. Keys
        that lack a credential for it get one.

        Raises InvalidInputError for what the server program does not allow; AlreadyExistsError when another inbound has
        the port; PortInUseError and RejectedError when the server refuses it, and then nothing is changed. When the
        server does not answer, the inbound is committed and comes with the next reconcile.
        """
        arguments = _wire.dumps({"inbound": inbound._json()})
        return self._door.call("inbounds.ensure", arguments, records.some_inbound)

    def list(self) -> _Inbounds:
        """All inbounds, sorted by node and tag."""
        return self._door.call("inbounds.list", "{}", records.inbounds)

    def get(self, tag: str, *, node: str = "main") -> Inbound | None:
        """The inbound, or None."""
        arguments = _wire.dumps({"node": node, "tag": tag})
        return self._door.call("inbounds.get", arguments, records.maybe_inbound)

    def remove(self, tag: str, *, node: str = "main") -> None:
        """Removes an inbound. Keys that were on it stay; nobody connects to it any more. Raises NotFoundError."""
        arguments = _wire.dumps({"node": node, "tag": tag})
        self._door.call("inbounds.remove", arguments, records.nothing)


class TrafficView:
    """History and who is online."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def chart(
        self,
        key: KeyLike,
        days: int = 30,
        *,
        theme: Theme = "light",
        width: int = 1080,
        format: Literal["png", "svg"] = "png",
    ) -> bytes:
        """A chart of a key's traffic over the last ``days``, today included, for bots to send. ``width`` is in pixels, 200
        to 4,096.

        Raises NotFoundError; InvalidInputError about ``days`` (1 to 366) or ``width``.
        """
        operation = "traffic.chart"
        arguments = {
            "key": _wire.key_ref(operation, key),
            "days": days,
            "theme": theme,
            "format": format,
            "width": width,
        }
        return self._door.call(operation, _wire.dumps(arguments), records.binary)

    def history(
        self,
        key: KeyLike | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        node: str | None = None,
        step: Literal["hour", "day"] = "day",
    ) -> list[UsagePoint]:
        """Traffic over time, oldest first; steps without traffic are left out. Without ``key`` and ``node``: of all; without
        ``since``: from the beginning. Raises NotFoundError."""
        operation = "traffic.history"
        query = {
            "key": None if key is None else _wire.key_ref(operation, key),
            "node": node,
            "since": None if since is None else _wire.moment(operation, "since", since),
            "until": None if until is None else _wire.moment(operation, "until", until),
            "step": step,
        }
        return self._door.call(operation, _wire.dumps({"query": query}), records.points)

    def collect(self) -> list[Collected]:
        """Reads every server that answers now, instead of at the next interval."""
        return self._door.call("traffic.collect", "{}", records.collected)

    def online(self) -> list[OnlineKey]:
        """Keys with open connections on any server that answers, sorted by id."""
        return self._door.call("traffic.online", "{}", records.online)

    def online_key(self, key: KeyLike) -> OnlineKey | None:
        """Where one key is online from; None when it is not. Raises NotFoundError."""
        arguments = _wire.of_key("traffic.online_key", key)
        return self._door.call("traffic.online_key", arguments, records.maybe_online)


class Events:
    """Reads the outbox: everything that was committed, in order, also what happened while nobody listened."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def read(self, after: int, max: int = 1_000) -> EventBatch:
        """At most ``max`` events after a cursor; does not wait. Raises CursorExpiredError when some of them are no longer
        kept."""
        arguments = _wire.dumps({"after": after, "max": max})
        return self._door.call("events.read", arguments, records.batch)

    def newest(self) -> int:
        """The cursor of the newest event: from here on only what happens next."""
        return self._door.call("events.newest", "{}", records.number)

    def stream(self, after: int = 0) -> EventStream:
        """Everything after a cursor (0: from the beginning), then whatever comes. Keep the cursor of the last event that
        you handled, and go on from there."""
        return self._door.stream(after)


class Servers:
    """Status, log and reconcile of servers."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def status(self) -> list[ServerStatus]:
        """How every server does."""
        return self._door.call("servers.status", "{}", records.servers)

    def reconcile(self, id: str) -> int:
        """Compares a server with the store now and applies the difference; returns how many steps that took.

        Raises NotFoundError; UnavailableError when it does not answer; RejectedError when it refuses some of it.
        """
        return self._door.call("servers.reconcile", _wire.dumps({"id": id}), records.number)

    def log(self, id: str, lines: int = 100) -> list[str]:
        """The newest lines of a managed server's log, oldest first."""
        arguments = _wire.dumps({"id": id, "lines": lines})
        return self._door.call("servers.log", arguments, records.lines)


class Kit:
    """Keys, limits, traffic and servers in this process: what :func:`open` returns."""

    keys: Keys
    inbounds: Inbounds
    hosts: Hosts
    subscriptions: Subscriptions
    traffic: TrafficView
    events: Events
    servers: Servers

    def __init__(self, native: _native.Kit) -> None:
        self._door = Door(native)
        self._closed = False
        self.keys = Keys(self._door)
        self.inbounds = Inbounds(self._door)
        self.hosts = Hosts(self._door)
        self.subscriptions = Subscriptions(self._door)
        self.traffic = TrafficView(self._door)
        self.events = Events(self._door)
        self.servers = Servers(self._door)
        _lifetime.opened(native)

    def now(self) -> datetime:
        """The time as vpnkit sees it: in a sandbox that of its own clock. Compute with it, not with the machine's."""
        time: datetime = self._door.call("now", "{}", records.same)
        return time

    def tick(self) -> None:
        """Does at once what background work does in its intervals: reads the counters, ends keys whose time is over, and
        waits until servers have taken the changes over. For tests and scripts."""
        self._door.call("tick", "{}", records.nothing)

    def close(self) -> None:
        """Reads the counters a last time, stops managed servers, releases the store. A second time does nothing."""
        if not self._closed:
            self._closed = True
            self._door.close()

    def __enter__(self) -> Kit:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_closed", True) and not self._door.native.is_forked():
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)

    def __repr__(self) -> str:
        return f"<vpnkit.sync.Kit {'closed' if self._closed else 'open'}>"


class Sandbox(Kit):
    """A kit for tests: time stands still until it is moved, and a fake server does as it is told."""

    def advance(self, by: Length) -> None:
        """Moves time forward and does what is due then."""
        length = timedelta(milliseconds=_native.parse_duration(_wire.length("sandbox", "by", by)))
        moved = (self.now() + length).isoformat()
        self._step(records.nothing, step="set", to=moved)
        self.tick()

    def set_time(self, to: datetime) -> None:
        """Moves time, backwards too, and does nothing else."""
        self._step(records.nothing, step="set", to=_wire.moment("sandbox", "to", to))

    def pass_traffic(self, key: KeyLike, *, up: Size = "0 B", down: Size = "0 B") -> None:
        """Bytes pass for a key on the server; they are counted at the next :meth:`tick`."""
        sizes = {"up": _wire.size("sandbox", "up", up), "down": _wire.size("sandbox", "down", down)}
        self._step(records.nothing, step="pass", key=_wire.key_ref("sandbox", key), **sizes)

    def lets_in(self, key: KeyLike, tag: str) -> bool:
        """Whether a client with this key could connect on an inbound."""
        return self._step(records.flag, step="lets_in", key=_wire.key_ref("sandbox", key), tag=tag)

    def fail(self) -> None:
        """The server stops answering."""
        self._step(records.nothing, step="fail")

    def refuse(self, key: KeyLike) -> None:
        """The server refuses this key."""
        self._step(records.nothing, step="refuse", key=_wire.key_ref("sandbox", key))

    def heal(self) -> None:
        """Nothing goes wrong any more, and the server has caught up."""
        self._step(records.nothing, step="heal")

    def restart(self) -> None:
        """The server is restarted: its counters begin at nothing."""
        self._step(records.nothing, step="restart")

    def _step(self, read: records.Read[records.T], **step: object) -> records.T:
        return self._door.call("sandbox", _wire.dumps(step), read)
