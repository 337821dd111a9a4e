"""Subscriptions: how clients reach inbounds, what they are told, what they get."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime
from typing import Any, Literal, cast

from . import _wire

Language = Literal["en", "ru", "fa", "zh"]
"""A language that customers read."""

HostSecurity = Literal["inbound_default", "none", "tls"]
"""What protects the connection to a host."""

Theme = Literal["light", "dark"]
"""The colours of a chart."""


@dataclass(frozen=True)
class Host(_wire.Record):
    """How clients reach an inbound. What is left out is the inbound's own.

    Sequences are choices: each key gets one of them, the same for a day. A ``*`` in ``addresses``, ``sni`` and ``host``
    becomes eight random hexadecimal digits. Variables such as ``{USERNAME}`` are filled in in ``remark``, ``addresses``
    and ``path``.
    """

    remark: str
    """What the client shows: 1 to 256 characters."""
    addresses: Sequence[str]
    """Names or IPs to dial; at least one."""
    _: KW_ONLY
    port: int | None = None
    sni: Sequence[str] = ()
    """Names to ask for in TLS."""
    host: Sequence[str] = ()
    """Values of the HTTP header ``Host``."""
    path: str | None = None
    """The HTTP path, or the gRPC service name."""
    security: HostSecurity = "inbound_default"
    alpn: Sequence[str] = ()
    """Of ``h3``, ``h2``, ``http/1.1``."""
    fingerprint: str | None = None
    """The browser to look like: ``chrome``, ``firefox``, ``safari``, ``randomized``, …"""
    allow_insecure: bool = False
    """Any certificate will do. Anybody on the way can then read what passes, and Xray refuses it since 26.1.31."""
    mux: bool = False
    """Several streams share a connection. Not with vision."""
    fragment: str | None = None
    """``length,interval,packets``: ``100-200,10-20,tlshello``."""
    noises: Sequence[str] = ()
    """``type:packet,delay``: ``rand:10-20,10-16``."""
    random_user_agent: bool = False
    sni_as_host: bool = False
    """The name asked for in TLS is the ``Host`` header too."""
    disabled: bool = False
    """Left out of subscriptions."""


@dataclass(frozen=True)
class InboundHosts(_wire.Record):
    """The hosts of one inbound."""

    node: str
    tag: str
    hosts: Sequence[Host]


@dataclass(frozen=True)
class Notices(_wire.Record):
    """What a client shows instead of servers: lines with variables. Without any: a text in the settings' language."""

    _: KW_ONLY
    limited: Sequence[str] = ()
    expired: Sequence[str] = ()
    disabled: Sequence[str] = ()
    devices: Sequence[str] = ()
    """On too many devices."""
    empty: Sequence[str] = ()
    """No inbound or host yet."""


@dataclass(frozen=True)
class ClientRule(_wire.Record):
    """Who names itself so gets this format."""

    user_agent: str
    """What the ``User-Agent`` begins with, without regard to case. A ``*`` in front: what it contains."""
    format: str
    """``links``, ``xray``, ``clash-meta``, ``sing-box``, …, or ``template:NAME``."""


@dataclass(frozen=True)
class SubscriptionSettings(_wire.Record):
    """What the operator says of all subscriptions."""

    _: KW_ONLY
    base_url: str | None = None
    """Where subscriptions are served: a URL is this, ``/`` and the token."""
    title: str = "VPN"
    """The name that clients show; with variables."""
    update_interval_hours: int = 12
    """How often clients ask again."""
    support_url: str | None = None
    web_page_url: str | None = None
    """The service's own site. Default: the page of the subscription."""
    announce: str | None = None
    """A message that clients show, up to 200 characters; with variables."""
    announce_url: str | None = None
    routing: str | None = None
    """Routing rules of Happ: ``happ://routing/onadd/…``."""
    language: Language = "en"
    """Of notices, of ``{STATUS_TEXT}``, and of the page for browsers that ask for no known one."""
    utc_offset_minutes: int = 0
    """The time zone of dates: 210 is Tehran."""
    notices: Notices = field(default_factory=Notices)
    device_limit: int | None = None
    """On how many devices a key without a limit of its own may be."""
    require_device: bool = False
    """A client that names no device gets nothing where there is a limit."""
    clients: Sequence[ClientRule] = ()
    """Come before what is known of clients."""


@dataclass(frozen=True)
class SubscriptionTemplate(_wire.Record):
    """A format of the operator's own, in the language of Jinja."""

    content_type: str
    source: str


@dataclass(frozen=True)
class SubscriptionResponse(_wire.Record):
    """What a subscription answers: any web framework can send it."""

    status: int
    """200, 304 when the client has it already, 404 for a token that is not (or no longer) valid."""
    headers: Mapping[str, str] = field(repr=False)
    """Names in lower case. One has the URL, and with it the token."""
    body: bytes = field(repr=False)
    """UTF-8. It contains secrets."""

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


@dataclass(frozen=True)
class ClientDevice(_wire.Record):
    """A device that has fetched a key's subscription, as the client app names it."""

    key: int
    id: str
    """``x-hwid``: unique for the key."""
    os: str | None
    os_version: str | None
    model: str | None
    user_agent: str | None
    first_seen: datetime
    last_seen: datetime
    """To the hour."""


def given(value: Any) -> Any:
    """A dataclass of this file as the JSON that requests carry."""
    if dataclasses.is_dataclass(value):
        return {one.name: given(getattr(value, one.name)) for one in dataclasses.fields(value)}
    return [given(one) for one in cast("Sequence[Any]", value)] if isinstance(value, (list, tuple)) else value


def headers(all: Mapping[str, str] | Iterable[tuple[str, str]]) -> list[list[str]]:
    """Headers of a request."""
    pairs = cast("Mapping[str, str]", all).items() if isinstance(all, Mapping) else all
    return [[name, value] for name, value in pairs]


def hosts(answer: str) -> list[InboundHosts]:
    return [InboundHosts(one["node"], one["tag"], [_host(host) for host in one["hosts"]]) for one in json.loads(answer)]


def _host(answer: dict[str, Any]) -> Host:
    return Host(**_tuples(answer))


def settings(answer: str) -> SubscriptionSettings:
    read = json.loads(answer)
    notices = Notices(**_tuples(read.pop("notices")))
    clients = tuple(ClientRule(**rule) for rule in read.pop("clients"))
    return SubscriptionSettings(notices=notices, clients=clients, **read)


def _tuples(answer: dict[str, Any]) -> dict[str, Any]:
    lists = {name: cast("list[str]", value) for name, value in answer.items() if isinstance(value, list)}
    return {**answer, **{name: tuple(value) for name, value in lists.items()}}


def response(answer: str) -> SubscriptionResponse:
    read = json.loads(answer)
    return SubscriptionResponse(read["status"], read["headers"], read["body"].encode())


def templates(answer: str) -> dict[str, SubscriptionTemplate]:
    return {name: SubscriptionTemplate(**one) for name, one in json.loads(answer).items()}


def devices(answer: str) -> list[ClientDevice]:
    def device(one: dict[str, Any]) -> ClientDevice:
        first, last = (_wire.time_of(one.pop(f"{name}_seen")) for name in ("first", "last"))
        return ClientDevice(first_seen=first, last_seen=last, **one)

    return [device(one) for one in json.loads(answer)]
