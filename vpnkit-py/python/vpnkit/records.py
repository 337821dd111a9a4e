"""What calls return, keys and events aside."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Literal, TypeVar

from ._native import Event, parse_duration
from ._wire import Record, time_of
from .inbounds import Inbound, Transport, inbound, transport
from .sizes import ByteSize

T = TypeVar("T")
Read = Callable[[Any], T]
"""Makes a record of an answer."""

EventKind = Literal[
    "key.created",
    "key.updated",
    "key.deleted",
    "key.activated",
    "key.disabled",
    "key.limited",
    "key.expired",
    "inbound.changed",
    "inbound.removed",
    "server.up",
    "server.down",
    "server.restarted",
    "key.rejected",
]
"""What happened."""


@dataclass(frozen=True)
class Traffic(Record):
    """Bytes in both directions."""

    up: ByteSize
    """Client to server."""
    down: ByteSize
    """Server to client."""

    @property
    def total(self) -> ByteSize:
        """Both directions together."""
        return self.up + self.down


@dataclass(frozen=True)
class UsagePoint(Record):
    """What passed in one hour or day. Steps without traffic are left out."""

    at: datetime
    """Start of the step."""
    traffic: Traffic


@dataclass(frozen=True)
class Collected(Record):
    """What one reading of a server's counters added."""

    keys_updated: int
    """Keys whose traffic was updated."""
    traffic: Traffic
    limited: int
    """Keys that reached their limit."""
    counter_resets: int
    """Counters that somebody else reset: their first bytes after that may be lost."""


@dataclass(frozen=True)
class OnlineAddress(Record):
    """An address that a key is online from."""

    address: IPv4Address | IPv6Address
    since: datetime
    """When it opened its newest connection."""


@dataclass(frozen=True)
class OnlineKey(Record):
    """A key that has connections open."""

    key: int
    """Its id."""
    addresses: Sequence[OnlineAddress]
    """From where."""


@dataclass(frozen=True)
class Capabilities(Record):
    """What a server can do."""

    live_accounts: bool
    """Accounts come and go without a restart."""
    live_inbounds: bool
    """Inbounds come and go without a restart."""
    live_counters: bool
    """Counters follow open connections; otherwise some bytes appear only when a connection ends."""
    cut_live: bool
    """Open connections of a key that may no longer connect are cut; otherwise they run to their end."""
    online_addresses: bool
    """Says which addresses a key is online from."""
    managed: bool
    """vpnkit starts, restarts and stops the server."""


@dataclass(frozen=True)
class ServerStatus(Record):
    """How a server does."""

    id: str
    """``node/program``."""
    node: str
    state: Literal["stopped", "up", "down"]
    reason: str | None
    """Why it is down, in one line."""
    lifetime: int | None
    """How many of its lifetimes were seen, when it answers: grows with each restart that was noticed."""
    capabilities: Capabilities
    version: str | None
    """The program's version, when it answers."""
    uptime: timedelta | None
    pending: int
    """Keys and inbounds that it has not taken over yet."""


@dataclass(frozen=True)
class Endpoint(Record):
    """Credential, inbound and host, resolved: everything a client app needs to connect."""

    key: int
    inbound: str
    remark: str
    """What the client shows."""
    address: str
    """Name or IP to dial."""
    port: int
    protocol: str
    """``vless``, ``vmess``, ``trojan``, ``shadowsocks``, ``hysteria2`` or ``wireguard``."""
    transport: Transport
    security: dict[str, Any]
    """What protects it, as the client needs it: ``type`` and what belongs to it."""
    mux: bool
    """Several streams share a connection."""
    fragment: str | None
    """How the first packets are cut into pieces."""
    noises: tuple[str, ...]
    """What is sent before the first packet of UDP."""
    user_agent: str | None
    """What HTTP transports name as their user agent."""
    secret: str = field(repr=False)
    link: str = field(repr=False)
    """The share link. It contains the secret."""


@dataclass(frozen=True)
class EventBatch(Record):
    """Events after a cursor, oldest first."""

    events: Sequence[Event]
    next: int
    """Where to go on."""


def same(answer: Any) -> Any:
    return answer


def nothing(answer: Any) -> None:
    return None


def number(answer: str) -> int:
    return int(json.loads(answer))


def flag(answer: str) -> bool:
    return bool(json.loads(answer))


def lines(answer: str) -> list[str]:
    return [str(line) for line in json.loads(answer)]




def maybe_inbound(answer: str) -> Inbound | None:
    given = json.loads(answer)
    return None if given is None else inbound(given)


def some_inbound(answer: str) -> Inbound:
    return inbound(json.loads(answer))


def inbounds(answer: str) -> list[Inbound]:
    return [inbound(given) for given in json.loads(answer)]


def line(answer: str) -> str:
    text: str = json.loads(answer)
    return text


def binary(answer: str) -> bytes:
    return base64.b64decode(json.loads(answer))


def endpoints(answer: str) -> list[Endpoint]:
    return [
        Endpoint(transport=transport(given.pop("transport")), noises=tuple(given.pop("noises")), **given)
        for given in json.loads(answer)
    ]


def batch(answer: tuple[list[Event], int]) -> EventBatch:
    return EventBatch(*answer)


def points(answer: str) -> list[UsagePoint]:
    return [UsagePoint(time_of(p["at"]), _traffic(p["traffic"])) for p in json.loads(answer)]


def collected(answer: str) -> list[Collected]:
    return [Collected(traffic=_traffic(given.pop("traffic")), **given) for given in json.loads(answer)]


def online(answer: str) -> list[OnlineKey]:
    return [_online(given) for given in json.loads(answer)]


def maybe_online(answer: str) -> OnlineKey | None:
    given = json.loads(answer)
    return None if given is None else _online(given)


def servers(answer: str) -> list[ServerStatus]:
    return [_server(given) for given in json.loads(answer)]


def _traffic(given: dict[str, int]) -> Traffic:
    return Traffic(ByteSize(given["up"]), ByteSize(given["down"]))


def _online(given: dict[str, Any]) -> OnlineKey:
    addresses = [OnlineAddress(ip_address(one["address"]), time_of(one["since"])) for one in given["addresses"]]
    return OnlineKey(given["key"], addresses)


def _server(given: dict[str, Any]) -> ServerStatus:
    uptime = given.pop("uptime")
    return ServerStatus(
        capabilities=Capabilities(**given.pop("capabilities")),
        uptime=None if uptime is None else timedelta(milliseconds=parse_duration(uptime)),
        **given,
    )
