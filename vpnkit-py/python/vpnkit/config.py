"""What to open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from os import PathLike, fspath
from typing import Any, Literal, TypeAlias

from . import _wire
from ._wire import Length

LogLevel = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True)
class ManagedXray:
    """An Xray that vpnkit runs: it writes the config, starts, restarts and stops the process."""

    address: str
    """Name or IP that clients dial."""
    directory: str | PathLike[str]
    """A directory of its own, absolute: config, API socket, lock. Created with mode 0700."""
    _: KW_ONLY
    binary: str | PathLike[str] = "xray"
    """The program; by default from the search path."""
    node: str = "main"
    """The machine it runs on."""
    live_accounting: bool = False
    """Counters follow open connections, for more CPU. Without it the bytes of a vision connection are counted when it
    ends, so a limit can be overrun by a whole download."""
    cut_connections: bool = False
    """Open connections of a key that may no longer connect are cut in the kernel. Needs CAP_NET_ADMIN; customers behind
    the same address are cut too and reconnect. Leave it off behind a proxy or CDN."""
    log_level: LogLevel = "warning"
    """How much Xray logs."""
    extra: Mapping[str, Any] | None = None
    """The operator's own ``outbounds``, ``routing`` and ``dns``, as in Xray's config."""

    def _json(self) -> dict[str, Any]:
        managed: dict[str, Any] = {
            "type": "managed_xray",
            "address": self.address,
            "node": self.node,
            "binary": fspath(self.binary),
            "directory": fspath(self.directory),
            "live_accounting": self.live_accounting,
            "cut_connections": self.cut_connections,
            "log_level": self.log_level,
        }
        if self.extra is not None:
            managed["extra"] = dict(self.extra)
        return managed


@dataclass(frozen=True)
class AttachedXray:
    """An Xray that somebody else runs: vpnkit drives it through its API. Its config needs ``api`` with
    ``HandlerService`` and ``StatsService``, ``stats``, and a ``policy`` that counts users of level 0."""

    address: str
    """Name or IP that clients dial."""
    api: str
    """``host:port`` or ``unix:/path``. The API has no password: keep it on loopback or in a socket file."""
    _: KW_ONLY
    binary: str | PathLike[str] | None = None
    """A binary of Xray: with it inbounds can be added live."""
    node: str = "main"
    """The machine it runs on."""
    live_accounting: bool = False
    """Say so when that Xray runs with ``XRAY_BUF_SPLICE=disable``; vpnkit cannot see it."""
    cut_connections: bool = False
    """As with :class:`ManagedXray`; only for an Xray on this machine."""

    def _json(self) -> dict[str, Any]:
        attached: dict[str, Any] = {
            "type": "attached_xray",
            "address": self.address,
            "node": self.node,
            "api": self.api,
            "live_accounting": self.live_accounting,
            "cut_connections": self.cut_connections,
        }
        if self.binary is not None:
            attached["binary"] = fspath(self.binary)
        return attached


Server: TypeAlias = ManagedXray | AttachedXray


def to_json(
    store: str | PathLike[str],
    *,
    servers: Sequence[Server] = (),
    passphrase: str | None = None,
    collect_every: Length | None = None,
    reconcile_every: Length | None = None,
    keep_events: Length | None = None,
    background: bool = True,
) -> str:
    """The JSON that the native half reads."""
    text = store if isinstance(store, str) else f"sqlite:{fspath(store)}"
    given: dict[str, Any] = {
        "store": text,
        "servers": [server._json() for server in servers],
        "background": background,
    }
    if passphrase is not None:
        given["passphrase"] = passphrase
    for field, value in (
        ("collect_every", collect_every),
        ("reconcile_every", reconcile_every),
        ("keep_events", keep_events),
    ):
        if value is not None:
            given[field] = _wire.length("open", field, value)
    return _wire.dumps(given)
