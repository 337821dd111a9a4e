"""Where clients arrive: a protocol over a transport, protected by something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from os import PathLike, fspath
from typing import Any, ClassVar, Literal, TypeAlias

from . import _native, _wire

ShadowsocksMethod = Literal[
    "aes-128-gcm",
    "aes-256-gcm",
    "chacha20-ietf-poly1305",
    "2022-blake3-aes-128-gcm",
    "2022-blake3-aes-256-gcm",
]
XhttpMode = Literal["auto", "packet-up", "stream-up", "stream-one"]


class _Tagged:
    """A value that JSON tells from its siblings by ``type``."""

    _type: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        """The value as a dict that ``json.dumps`` takes. Secrets are left out."""
        shown = {one.name: _wire.plain(getattr(self, one.name)) for one in fields(self) if one.repr}  # type: ignore[arg-type]
        return {"type": self._type, **shown}

    def _json(self) -> dict[str, Any]:
        given: dict[str, Any] = {"type": self._type}
        for one in fields(self):  # type: ignore[arg-type]
            value = getattr(self, one.name)
            if value is not None:
                given[one.name] = value
        return given


@dataclass(frozen=True)
class Vless(_Tagged):
    """VLESS."""

    _type = "vless"
    vision: bool = False
    """The flow ``xtls-rprx-vision``: over TCP with TLS or REALITY only."""


@dataclass(frozen=True)
class Vmess(_Tagged):
    """VMess."""

    _type = "vmess"


@dataclass(frozen=True)
class Trojan(_Tagged):
    """Trojan."""

    _type = "trojan"


@dataclass(frozen=True)
class Shadowsocks(_Tagged):
    """Shadowsocks."""

    _type = "shadowsocks"
    method: ShadowsocksMethod
    """The cipher."""
    server_key: str | None = field(default=None, repr=False)
    """The server's key of a 2022 method, in standard base64."""


Protocol: TypeAlias = Vless | Vmess | Trojan | Shadowsocks


@dataclass(frozen=True)
class Tcp(_Tagged):
    """Plain TCP (Xray calls it raw)."""

    _type = "tcp"


@dataclass(frozen=True)
class WebSocket(_Tagged):
    """WebSocket."""

    _type = "web_socket"
    path: str = "/"
    host: str | None = None
    """The ``Host`` header; the client's address without it."""


@dataclass(frozen=True)
class Grpc(_Tagged):
    """gRPC."""

    _type = "grpc"
    service_name: str


@dataclass(frozen=True)
class HttpUpgrade(_Tagged):
    """HTTP upgrade."""

    _type = "http_upgrade"
    path: str = "/"
    host: str | None = None


@dataclass(frozen=True)
class Xhttp(_Tagged):
    """XHTTP (split HTTP)."""

    _type = "xhttp"
    path: str = "/"
    host: str | None = None
    mode: XhttpMode = "auto"


Transport: TypeAlias = Tcp | WebSocket | Grpc | HttpUpgrade | Xhttp


@dataclass(frozen=True)
class NoSecurity(_Tagged):
    """Nothing of its own."""

    _type = "none"


@dataclass(frozen=True)
class Tls(_Tagged):
    """TLS."""

    _type = "tls"
    server_name: str
    """The name on the certificate, which clients send as SNI."""
    certificate_file: str | PathLike[str]
    """PEM chain."""
    key_file: str | PathLike[str]
    """PEM key."""
    alpn: Sequence[str] = ()
    """Offered protocols; empty leaves it to the server."""
    pinned_sha256: str | None = None
    """SHA-256 of the certificate in hex, which clients of a self-signed one pin."""

    def _json(self) -> dict[str, Any]:
        files = {"certificate_file": fspath(self.certificate_file), "key_file": fspath(self.key_file)}
        return {**super()._json(), **files}


@dataclass(frozen=True)
class Reality(_Tagged):
    """REALITY. Keep it: new keys end every link that was given out."""

    _type = "reality"
    dest: str
    """The real TLS 1.3 site behind it: ``host:port``."""
    server_names: Sequence[str]
    """The names that clients may send; the first one goes into links."""
    private_key: str = field(repr=False)
    """X25519, base64url without padding."""
    public_key: str
    """Belongs to ``private_key``; goes into links."""
    short_ids: Sequence[str]
    """At least one; the first one goes into links."""

    @classmethod
    def generate(cls, dest: str, server_name: str) -> Reality:
        """New keys and a new short id in front of ``dest``, the real site of ``server_name``."""
        private_key, public_key = _native.reality_keys()
        return cls(dest, (server_name,), private_key, public_key, (_native.short_id(),))


Security: TypeAlias = NoSecurity | Tls | Reality


@dataclass(frozen=True)
class Inbound(_wire.Record):
    """A listening endpoint of a server.

    >>> Inbound("reality", 443, Vless(vision=True), security=Reality.generate("www.example.com:443", "www.example.com"))
    Inbound(tag='reality', port=443, ...)
    """

    tag: str
    """The name, unique on its node: 1 to 64 of ``A-Z a-z 0-9 . _ -``."""
    port: int
    """The port to listen on."""
    protocol: Protocol
    """What is spoken."""
    _: KW_ONLY
    transport: Transport = Tcp()
    """What carries it."""
    security: Security = NoSecurity()
    """What protects it."""
    listen: str = "0.0.0.0"
    """The address to listen on."""
    node: str = "main"
    """The machine."""
    dedicated_to: int | None = None
    """The id of the key that has it for itself; it goes with the key."""

    def _json(self) -> dict[str, Any]:
        given: dict[str, Any] = {one.name: getattr(self, one.name) for one in fields(self)}
        for name in ("protocol", "transport", "security"):
            given[name] = given[name]._json()
        return given


def _read(classes: tuple[type[Any], ...], given: dict[str, Any]) -> Any:
    kind = given.pop("type")
    cls = next(c for c in classes if c._type == kind)
    return cls(**{name: tuple(v) if isinstance(v, list) else v for name, v in given.items()})  # pyright: ignore


def protocol(given: dict[str, Any]) -> Protocol:
    read: Protocol = _read((Vless, Vmess, Trojan, Shadowsocks), given)
    return read


def transport(given: dict[str, Any]) -> Transport:
    read: Transport = _read((Tcp, WebSocket, Grpc, HttpUpgrade, Xhttp), given)
    return read


def inbound(given: dict[str, Any]) -> Inbound:
    security: Security = _read((NoSecurity, Tls, Reality), given.pop("security"))
    return Inbound(
        given.pop("tag"),
        given.pop("port"),
        protocol(given.pop("protocol")),
        transport=transport(given.pop("transport")),
        security=security,
        **given,
    )
