"""Records: what calls take and return. Written by `make generate`: change the description in Rust."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from os import PathLike
from typing import Any, Literal, TypeAlias

from . import _sugar, _wire
from ._native import Credential, Event, Key
from ._wire import KEEP, AdminLike, Keep, KeyLike, Length, Record, Size
from .sizes import ByteSize

__all__ = [
    "AddressPool",
    "Admin",
    "AdminPatch",
    "AdminRole",
    "ApiKey",
    "AttachedXray",
    "AuditQuery",
    "Backup",
    "Capabilities",
    "CertificateTerm",
    "ClientDevice",
    "ClientReality",
    "ClientRule",
    "ClientSecurity",
    "ClientTls",
    "Collected",
    "ConsumerStatus",
    "CreateAdmin",
    "CreateKey",
    "CreateWebhook",
    "CredentialKind",
    "DataReset",
    "DeadLetter",
    "Driver",
    "Egress",
    "Endpoint",
    "EventBatch",
    "EventKind",
    "ExtendedStep",
    "Extension",
    "Grant",
    "GrantKind",
    "GrantQuery",
    "Grpc",
    "HistoryQuery",
    "Hold",
    "Host",
    "HostSecurity",
    "HttpUpgrade",
    "ImageFormat",
    "Inbound",
    "InboundHosts",
    "JobStatus",
    "KeyCounts",
    "KeyPatch",
    "KeyQuery",
    "KeyRate",
    "KeyRotation",
    "KeyStatus",
    "KeyTemplate",
    "KeysOfDeleted",
    "Language",
    "LogLevel",
    "ManagedXray",
    "NewApiKey",
    "NewWebhook",
    "NextPlan",
    "NoClientSecurity",
    "NoSecurity",
    "Notices",
    "OnlineAddress",
    "OnlineKey",
    "Page",
    "Placement",
    "PlacementState",
    "PreviousKeys",
    "Protocol",
    "Rates",
    "Reality",
    "ReminderPolicy",
    "RenderOptions",
    "RenewPolicy",
    "ResetPeriod",
    "Security",
    "ServerCondition",
    "ServerConfig",
    "ServerRate",
    "ServerStatus",
    "SettingsPatch",
    "Shadowsocks",
    "ShadowsocksMethod",
    "SharingAction",
    "SharingPolicy",
    "Sort",
    "StoreCheck",
    "StoreWork",
    "SubscriptionResponse",
    "SubscriptionSettings",
    "SubscriptionTemplate",
    "Tcp",
    "Terms",
    "Theme",
    "Tls",
    "Traffic",
    "Transport",
    "Trojan",
    "UsagePoint",
    "UsageStep",
    "Vless",
    "Vmess",
    "WebSocket",
    "Webhook",
    "WebhookPatch",
    "WebhookStatus",
    "Xhttp",
    "XhttpMode",
]


@dataclass(frozen=True)
class AddressPool(Record):
    """The addresses inside the tunnel that an inbound gives its clients: one of each family for each device of a key.
    The first address of a range is the network's own, the second one the server's, the last IPv4 one the broadcast
    address."""

    _: KW_ONLY
    v4: str | None = None
    """The IPv4 network: ``10.8.0.0/16``."""
    v6: str | None = None
    """The IPv6 network: ``fd00:8::/64``."""


AdminRole = Literal[
    "sudo",
    "reseller",
]
"""What an admin may do."""


@dataclass(frozen=True)
class Admin(Record):
    """An admin as it stands in the store. What it has and uses counts all that is below it, too."""

    id: int
    """Integer id, never used again."""
    version: int
    """Grows by one with every change, keys and traffic aside."""
    name: str
    """The handle, unique among admins without regard to case."""
    role: AdminRole
    """What it may do."""
    parent: int | None
    """The admin above it; what it has counts against that one's quotas, too."""
    note: str | None
    """Free text for the operator."""
    labels: Mapping[str, str]
    """What an application remembers of it: a Telegram id."""
    disabled: bool
    """It may do nothing any more; its keys go on."""
    key_limit: int | None
    """How many keys there may be at once; None is any number."""
    sold_limit: ByteSize | None
    """How many bytes may be sold: the data limits of keys, however they were given. With it, no key is unlimited or
    gets its volume again and again. None is any number."""
    used_limit: ByteSize | None
    """How many bytes keys may use. When they have, all keys are ``suspended`` until there is more. None is any number."""
    admin_limit: int
    """How many admins may be below it."""
    inbounds: Sequence[str] | None
    """Tags of the inbounds that it may put keys on; None is all."""
    nodes: Sequence[str] | None
    """The nodes that it may put keys on; None is all."""
    templates: Sequence[str] | None
    """The names of the templates that it may sell; with them, nothing else. None is anything."""
    keys: int
    """How many keys there are."""
    sold: ByteSize
    """Bytes that were sold: what was given less what was taken back unused."""
    used: ByteSize
    """Bytes that keys have used since :meth:`used` was last set to nothing."""
    total_used: ByteSize
    """Bytes that keys have used altogether."""
    admins: int
    """How many admins are below it."""
    created_at: datetime
    """When it was created."""
    updated_at: datetime
    """When it was last changed, keys and traffic aside."""
    _reads = {
        "sold_limit": ByteSize,
        "used_limit": ByteSize,
        "inbounds": tuple,
        "nodes": tuple,
        "templates": tuple,
        "sold": ByteSize,
        "used": ByteSize,
        "total_used": ByteSize,
        "created_at": _wire.time_of,
        "updated_at": _wire.time_of,
    }


@dataclass(frozen=True)
class AdminPatch(Record):
    """A change of an admin. Fields that are not named stay as they are."""

    _: KW_ONLY
    name: str | Keep = KEEP
    """The handle."""
    role: AdminRole | Keep = KEEP
    """What it may do."""
    note: str | None | Keep = KEEP
    """Free text for the operator."""
    labels: Mapping[str, str | None] | Keep = KEEP
    """Labels to set; those whose value is None go, the others stay."""
    disabled: bool | Keep = KEEP
    """True lets it do nothing any more, False takes that back."""
    key_limit: int | None | Keep = KEEP
    """How many keys there may be at once; None is any number."""
    sold_limit: Size | None | Keep = KEEP
    """How many bytes may be sold; None is any number."""
    used_limit: Size | None | Keep = KEEP
    """How many bytes keys may use; None is any number."""
    admin_limit: int | Keep = KEEP
    """How many admins may be below it."""
    inbounds: Sequence[str] | None | Keep = KEEP
    """Tags of the inbounds that it may put keys on; None is all."""
    nodes: Sequence[str] | None | Keep = KEEP
    """The nodes that it may put keys on; None is all."""
    templates: Sequence[str] | None | Keep = KEEP
    """The names of the templates that it may sell; None is anything."""
    reset_usage: bool = False
    """Sets the bytes that its keys have used to nothing: those that were suspended may connect again."""
    reset_sold: bool = False
    """Sets the bytes that it has sold to nothing."""
    _writes = {
        "labels": _wire.mapping,
        "sold_limit": _wire.size,
        "used_limit": _wire.size,
        "inbounds": _wire.many(_wire.same),
        "nodes": _wire.many(_wire.same),
        "templates": _wire.many(_wire.same),
    }


@dataclass(frozen=True)
class ApiKey(Record):
    """An API key, without its token."""

    id: str
    """Its id, part of its token."""
    admin: int
    """Whose it is."""
    name: str
    """What people call it."""
    scopes: Sequence[str] | None
    """What it is restricted to; None is everything that the admin may."""
    created_at: datetime
    """When it was created."""
    expires_at: datetime | None
    """When it ends; None is never."""
    _reads = {"scopes": tuple, "created_at": _wire.time_of, "expires_at": _wire.time_of}


@dataclass(frozen=True)
class AuditQuery(Record):
    """Which calls: those that have changed something, the newest first. The default finds all, 100 at a time."""

    actor: str | None = None
    """Only of who has called, as the application has said (``acting_as``)."""
    _: KW_ONLY
    by_admin: int | None = None
    """Only in the name of this admin (``as_admin``)."""
    operation: str | None = None
    """Only this operation: ``keys.extend``."""
    since: datetime | None = None
    """Only from this time on."""
    until: datetime | None = None
    """Only before this time."""
    before: int | None = None
    """The cursor of the last event of the answer before."""
    limit: int = 100
    """At most so many events: 1 to 1,000."""
    _writes = {"since": _wire.time, "until": _wire.time}


@dataclass(frozen=True)
class Backup(Record):
    """A copy of a store in a file of its own."""

    path: str
    """Where the file is."""
    bytes: int
    """Its size, in bytes."""
    keys: int
    """How many keys are in it."""
    newest_event: int
    """The newest event in it: what happened later is not."""


@dataclass(frozen=True)
class Capabilities(Record):
    """What a server can do: data, constant for the instance."""

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
    keeps_running: bool
    """The server runs on when the process that drives it ends. Until another one drives it, expiry and limits do not
    hold."""


@dataclass(frozen=True)
class CertificateTerm(Record):
    """Which certificate a credential holds, and until when it is valid."""

    serial: int
    """The serial number, unique on its inbound."""
    expires_at: datetime
    """The end of its validity."""
    _reads = {"expires_at": _wire.time_of}
    _writes = {"expires_at": _wire.time}


@dataclass(frozen=True)
class ClientDevice(Record):
    """A device that has fetched a key's subscription, as the client app names it (``x-hwid`` and its family). Apps say
    what they like, so this keeps honest customers to what they paid for; it does not stop forgers."""

    key: int
    """Whose subscription."""
    id: str
    """``x-hwid``: unique for the key."""
    os: str | None
    """``x-device-os``: Android, iOS, Windows."""
    os_version: str | None
    """``x-ver-os``."""
    model: str | None
    """``x-device-model``."""
    user_agent: str | None
    """The app."""
    first_seen: datetime
    """When it came first."""
    last_seen: datetime
    """When it came last, to the hour."""
    _reads = {"first_seen": _wire.time_of, "last_seen": _wire.time_of}


@dataclass(frozen=True)
class ClientRule(Record):
    """A rule: who names itself so gets this."""

    user_agent: str
    """What the ``User-Agent`` begins with, without regard to case. A ``*`` in front: what it contains."""
    format: str
    """The format it gets: ``links``, ``plain``, ``xray``, ``clash``, ``clash-meta``, ``stash``, ``sing-box``,
    ``outline``, ``wireguard``, ``html`` or ``template:NAME``."""


@dataclass(frozen=True)
class NoClientSecurity(Record):
    """Nothing."""

    _type = "none"


@dataclass(frozen=True)
class ClientTls(Record):
    """TLS."""

    _type = "tls"
    sni: str
    """The name to ask for."""
    alpn: Sequence[str]
    """Protocols to offer; empty leaves it to the client."""
    fingerprint: str
    """The browser to look like."""
    pinned_sha256: str | None
    """SHA-256 of the certificate in hex, when it is self-signed."""
    allow_insecure: bool
    """Any certificate will do."""
    _reads = {"alpn": tuple}


@dataclass(frozen=True)
class ClientReality(Record):
    """REALITY."""

    _type = "reality"
    sni: str
    """The name to ask for."""
    public_key: str
    """The server's X25519 key, base64url."""
    short_id: str
    """The short id."""
    fingerprint: str
    """The browser to look like."""


ClientSecurity: TypeAlias = NoClientSecurity | ClientTls | ClientReality
"""The client's side of ``Security``: no private keys, no files."""

_ClientSecurity = _wire.tagged(NoClientSecurity, ClientTls, ClientReality)


@dataclass(frozen=True)
class Traffic(_sugar.Total, Record):
    """Bytes in both directions."""

    up: ByteSize
    """Client to server."""
    down: ByteSize
    """Server to client."""
    _reads = {"up": ByteSize, "down": ByteSize}


@dataclass(frozen=True)
class Collected(Record):
    """What one reading added."""

    server: str
    """Of which server."""
    keys_updated: int
    """Keys whose traffic was updated."""
    traffic: Traffic
    """Bytes that were added."""
    limited: int
    """Keys that reached their limit."""
    counter_resets: int
    """Counters that somebody else reset: their first bytes after that may be lost."""
    _reads = {"traffic": Traffic._read}


@dataclass(frozen=True)
class ConsumerStatus(Record):
    """A consumer of events, and how far it has come."""

    name: str
    """Its name."""
    cursor: int
    """The cursor of the last event that was handled."""
    pending: int
    """How many events are behind that one, those that are no longer kept included."""


@dataclass(frozen=True)
class CreateAdmin(Record):
    """An admin to be created: a reseller without limits, unless something else is said."""

    name: str
    """The handle: 1 to 64 of ``A-Z a-z 0-9 . _ @ + -``, unique among admins without regard to case."""
    _: KW_ONLY
    role: AdminRole = "reseller"
    """What it may do."""
    parent: AdminLike | None = None
    """The admin above it."""
    note: str | None = None
    """Free text, up to 4,000 characters."""
    labels: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    """What an application remembers of it: up to 16 names (1 to 32 of ``a-z 0-9 _ -``) with values of 1 to 128
    characters."""
    disabled: bool = False
    """Created switched off."""
    key_limit: int | None = None
    """How many keys there may be at once; None is any number."""
    sold_limit: Size | None = None
    """How many bytes may be sold; None is any number."""
    used_limit: Size | None = None
    """How many bytes keys may use; None is any number."""
    admin_limit: int = 0
    """How many admins may be below it."""
    inbounds: Sequence[str] | None = None
    """Tags of the inbounds that it may put keys on; all by default."""
    nodes: Sequence[str] | None = None
    """The nodes that it may put keys on; all by default."""
    templates: Sequence[str] | None = None
    """The names of the templates that it may sell, and nothing else; anything by default."""
    _writes = {
        "parent": _wire.admin_ref,
        "labels": _wire.mapping,
        "sold_limit": _wire.size,
        "used_limit": _wire.size,
        "inbounds": _wire.many(_wire.same),
        "nodes": _wire.many(_wire.same),
        "templates": _wire.many(_wire.same),
    }


ResetPeriod = Literal[
    "day",
    "week",
    "month",
    "year",
]
"""How often what counts against the limit is set to nothing."""


@dataclass(frozen=True)
class DataReset(Record):
    """When what counts against the limit is set to nothing, again and again. A limited key may connect again then."""

    every: ResetPeriod
    """How often."""
    _: KW_ONLY
    rolling: bool = False
    """Whether periods are counted from when the key's time began, at that time of the day; otherwise they are those of
    the calendar. A month that is too short ends on its last day: from January 31 to February 28 to March 31."""
    since: datetime | None = None
    """Since when rolling periods are counted; None is since the key's time began. A pause moves it."""
    time_zone: str | None = None
    """Whose calendar; None is the kit's own time zone."""
    _reads = {"since": _wire.time_of}
    _writes = {"since": _wire.time}


@dataclass(frozen=True)
class NextPlan(Record):
    """What a key becomes when its time is over or its limit is used up, once. The form is Marzban's ``next_plan``."""

    _: KW_ONLY
    data_limit: ByteSize | None = None
    """The new limit; None is unlimited. One of this and ``duration`` is needed."""
    duration: timedelta | None = None
    """How long the key lasts from then on; None is for ever."""
    add_remaining_traffic: bool = False
    """Whether what is left of the old limit is added to the new one."""
    fire_on_either: bool = True
    """Whether it begins as soon as the time is over or the limit is used up; otherwise when both are."""
    _reads = {"data_limit": ByteSize, "duration": _wire.length_of}
    _writes = {"data_limit": _wire.size, "duration": _wire.length}


CredentialKind = Literal[
    "vless",
    "vmess",
    "trojan",
    "shadowsocks",
    "shadowsocks-2022",
]
"""A family of credentials."""


@dataclass(frozen=True)
class CreateKey(_sugar.Expiry, Record):
    """A key to be created. Everything is optional: without a limit it is unlimited, without a time it never ends.

    Its JSON leaves out what came with later versions unless it is given: a payment that was told to an earlier
    version is known by it.
    """

    name: str | None = None
    """The handle: 1 to 64 of ``A-Z a-z 0-9 . _ @ + -``, unique without regard to case."""
    _: KW_ONLY
    label: str | None = None
    """Free text, up to 256 characters."""
    labels: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    """What it is found by: up to 16 names (1 to 32 of ``a-z 0-9 _ -``) with values of 1 to 128 characters."""
    note: str | None = None
    """Free text, up to 4,000 characters."""
    owner: int | None = None
    """The id of the owning admin."""
    data_limit: Size | None = None
    """At least one byte; None is unlimited."""
    expires_at: datetime | None = None
    """A time in the future; None is never. Not together with ``expires_in``."""
    days: float | None = None
    """So many times 24 hours."""
    expires_in: Length | None = None
    """From the creation on. Not together with ``expires_at``."""
    on_hold: bool = False
    """Whether its time begins with its first connection: ``expires_in`` is how long it lasts from then on."""
    hold_until: datetime | None = None
    """When the time of a key on hold begins without a connection; None waits for ever."""
    reset: DataReset | None = None
    """How often its usage is set to nothing; None is never."""
    next_plan: NextPlan | None = None
    """What it becomes when its time is over or its limit is used up."""
    delete_after: Length | None = None
    """How long after its time or its limit has ended it is deleted; None is never."""
    device_limit: int | None = None
    """On how many devices its subscription may be, at least 1; None is as the settings say."""
    address_limit: int | None = None
    """At how many addresses at once it may be used, at least 1; None is any number. What happens to one that is used
    at more, the configuration says."""
    inbounds: Sequence[str] | None = None
    """Tags of inbounds; all shared ones by default, also those that come later."""
    credentials: Sequence[Credential] = ()
    """Existing credentials, for keys that move in from elsewhere; missing ones are made."""
    disabled: bool = False
    """Created switched off."""
    template: str | None = None
    """The name of a template: it says what is not given here."""
    idempotency_key: str | None = None
    """The same text again returns the first key instead of a second one: a payment, scoped by its provider as in
    ``yookassa:2d9f``. It is kept for good, and cannot be used for an extension too."""
    _writes = {
        "labels": _wire.mapping,
        "data_limit": _wire.size,
        "expires_at": _wire.time,
        "expires_in": _wire.length,
        "hold_until": _wire.time,
        "reset": _wire.record,
        "next_plan": _wire.record,
        "delete_after": _wire.length,
        "inbounds": _wire.many(_wire.same),
        "credentials": _wire.many(_wire.credential),
    }


@dataclass(frozen=True)
class CreateWebhook(Record):
    """A webhook to be created."""

    url: str
    """Where events are sent: ``https://`` or ``http://``, up to 2,048 bytes."""
    _: KW_ONLY
    kinds: Sequence[str] = ()
    """The kinds of events that it gets: ``key.created``, or all of a subject as ``key.*``; empty is all."""
    admin: int | None = None
    """Only what is about this admin, or about keys that it owns; None is everything."""
    note: str | None = None
    """Free text, up to 4,000 characters."""
    disabled: bool = False
    """Created switched off."""
    _writes = {"kinds": _wire.many(_wire.same)}


EventKind = Literal[
    "key.created",
    "key.updated",
    "key.deleted",
    "key.activated",
    "key.disabled",
    "key.limited",
    "key.expired",
    "key.paused",
    "key.locked",
    "key.address_limit",
    "key.device_limit",
    "key.revoked",
    "key.on_hold",
    "key.started",
    "key.reset",
    "key.next_plan",
    "key.extended",
    "key.merged",
    "key.grant_undone",
    "inbound.changed",
    "inbound.removed",
    "inbound.rejected",
    "server.up",
    "server.down",
    "node.up",
    "node.down",
    "server.restarted",
    "server.drift",
    "key.rejected",
    "key.suspended",
    "key.usage_reached",
    "key.expires_soon",
    "admin.created",
    "admin.updated",
    "admin.deleted",
    "admin.quota_near",
    "admin.quota_reached",
    "settings.changed",
]
"""What happened."""


@dataclass(frozen=True)
class DeadLetter(Record):
    """An event that a receiver has refused for good."""

    webhook: str
    """Which webhook."""
    event: Event
    """The event."""
    at: datetime
    """When it was given up."""
    attempts: int
    """How often it was sent."""
    error: str
    """What was answered last: ``HTTP 400``."""
    _reads = {"at": _wire.time_of}


@dataclass(frozen=True)
class Driver(Record):
    """The process that drives a server."""

    process: int
    """Its process id."""
    host: str
    """The machine, or container, that it runs on."""
    here: bool
    """Whether it is this kit."""


@dataclass(frozen=True)
class Egress(Record):
    """What customers may reach through a server: everything but its loopback services and private networks, by address
    and by name, unless it is allowed here. Its public addresses are reached like those of any other server."""

    _: KW_ONLY
    allow: Sequence[str] = ()
    """Private destinations that customers may reach all the same: an address, a network or a name, each with or
    without a port: ``10.0.0.5``, ``10.0.0.0/8``, ``10.0.0.5:53``, ``[fd00::5]:53``, ``wiki.internal``,
    ``wiki.internal:443``. A network that holds everything (``0.0.0.0/0``, ``::/0``) takes the protection away."""
    block_smtp: bool = False
    """Blocks TCP port 25, so that customers cannot send mail in the server's name."""
    block_bittorrent: bool = False
    """Blocks BitTorrent where its handshake can be recognized; what is encrypted passes."""
    _writes = {"allow": _wire.many(_wire.same)}


XhttpMode = Literal[
    "auto",
    "packet-up",
    "stream-up",
    "stream-one",
]
"""How XHTTP sends."""


@dataclass(frozen=True)
class Tcp(Record):
    """Plain TCP (Xray calls it raw)."""

    _type = "tcp"


@dataclass(frozen=True)
class WebSocket(Record):
    """WebSocket."""

    _type = "web_socket"
    path: str = "/"
    """Starts with ``/``."""
    host: str | None = None
    """The ``Host`` header; the client's address without it."""


@dataclass(frozen=True)
class Grpc(Record):
    """gRPC."""

    _type = "grpc"
    service_name: str
    """The service name."""


@dataclass(frozen=True)
class HttpUpgrade(Record):
    """HTTP upgrade."""

    _type = "http_upgrade"
    path: str = "/"
    """Starts with ``/``."""
    host: str | None = None
    """The ``Host`` header."""


@dataclass(frozen=True)
class Xhttp(Record):
    """XHTTP (split HTTP)."""

    _type = "xhttp"
    path: str = "/"
    """Starts with ``/``."""
    host: str | None = None
    """The ``Host`` header."""
    mode: XhttpMode = "auto"
    """How it sends."""


Transport: TypeAlias = Tcp | WebSocket | Grpc | HttpUpgrade | Xhttp
"""What carries the protocol."""

_Transport = _wire.tagged(Tcp, WebSocket, Grpc, HttpUpgrade, Xhttp)


@dataclass(frozen=True)
class Endpoint(Record):
    """Credential, inbound and host, resolved: everything a client app needs to connect. It contains secrets."""

    key: int
    """Whose it is."""
    inbound: str
    """The tag of the inbound behind it."""
    remark: str
    """What the client shows."""
    address: str
    """Name or IP to dial."""
    port: int
    """Port to dial."""
    protocol: str
    """``vless``, ``vmess``, ``trojan``, ``shadowsocks``, ``hysteria2`` or ``wireguard``."""
    transport: Transport
    """What to speak it over."""
    security: ClientSecurity
    """What protects it, as the client needs it."""
    mux: bool
    """Whether several streams share a connection."""
    fragment: str | None
    """How the first packets are cut into pieces."""
    noises: Sequence[str]
    """What is sent before the first packet of UDP."""
    user_agent: str | None
    """What HTTP transports name as their user agent."""
    secret: str = field(repr=False)
    """What identifies the customer: a UUID, a password, a private key."""
    link: str = field(repr=False)
    """The share link. It contains the secret."""
    _reads = {"transport": _Transport, "security": _ClientSecurity, "noises": tuple}


@dataclass(frozen=True)
class EventBatch(Record):
    """Events after a cursor, oldest first."""

    events: Sequence[Event]
    """At most as many as asked for."""
    next: int
    """Where to go on: the cursor of the last event, or the one that was asked for."""
    _reads = {"events": tuple}


@dataclass(frozen=True)
class ExtendedStep(Record):
    """What one step of an extension of many keys has done."""

    extended: int
    """How many keys were extended."""
    skipped: int
    """Keys that the query finds and that would have been given nothing: those that never end, for instance. 0 when
    ``replayed``."""
    next: int | None
    """Where to go on; None when all is done."""
    replayed: bool
    """The step had been done before under this idempotency key: nothing was given now."""


RenewPolicy = Literal[
    "carry_over",
    "reset",
    "reset_time",
    "reset_data",
    "remaining_to_total",
]
"""What happens to what a key still has when it is extended. These are the five ways in which shops renew."""


@dataclass(frozen=True)
class Extension(_sugar.Expiry, Record):
    """What a key is given. What is left out stays, but for what the policy sets to nothing."""

    _: KW_ONLY
    days: float | None = None
    """So many times 24 hours."""
    expires_in: Length | None = None
    """The time to give. A key that never ends keeps it so unless the policy counts from now."""
    data_limit: Size | None = None
    """The volume to give, at least one byte. An unlimited key stays so when volume is added."""
    unlimited: bool = False
    """Makes the key unlimited; not together with ``data_limit``."""
    template: str | None = None
    """The name of a template: it says what is not given here."""
    policy: RenewPolicy = "carry_over"
    """What happens to what the key still has."""
    reason: str | None = None
    """Why, for the ledger: up to 4,000 characters."""
    _writes = {"expires_in": _wire.length, "data_limit": _wire.size}


GrantKind = Literal[
    "created",
    "extended",
    "next_plan",
]
"""What was done."""


@dataclass(frozen=True)
class Terms(Record):
    """When a key ends and how much it may use, at one instant."""

    expires_at: datetime | None
    """When it ends; None is never, or not known yet while it is on hold."""
    hold: timedelta | None
    """How long it lasts from its first connection on, while it waits for that."""
    data_limit: ByteSize | None
    """How much it may use; None is unlimited."""
    used: ByteSize
    """Bytes that count against the limit."""
    reset_at: datetime | None
    """When ``used`` was last set to nothing."""
    _reads = {
        "expires_at": _wire.time_of,
        "hold": _wire.length_of,
        "data_limit": ByteSize,
        "used": ByteSize,
        "reset_at": _wire.time_of,
    }


@dataclass(frozen=True)
class Grant(Record):
    """An entry of the ledger: what a key was given, and what it had before and after."""

    id: int
    """Integer id, never used again."""
    key: int
    """The key. The entry stays when it is deleted."""
    key_uid: str
    """The UUID of the key."""
    owner: int | None
    """The admin who owned the key then."""
    at: datetime
    """When it was given."""
    kind: GrantKind
    """What was done."""
    idempotency_key: str | None
    """The idempotency key of the call: the payment."""
    expires_in: timedelta | None
    """The time that was given."""
    data_limit: ByteSize | None
    """The volume that was given."""
    unlimited: bool
    """It made the key unlimited."""
    template: str | None
    """The template that it was made of."""
    merged_from: int | None
    """The key that it is what was left of: that one was merged into this one."""
    policy: RenewPolicy
    """What happened to what the key had."""
    reason: str | None
    """Why."""
    actor: str | None
    """Who gave it, as the application has said."""
    by_admin: int | None
    """The admin in whose name it was given."""
    counted_from: datetime
    """Since when its time counts: ``at``, or when the key was paused."""
    before: Terms
    """What the key had before. An undone grant is taken out of those of later entries."""
    after: Terms
    """What it had afterwards."""
    undone_at: datetime | None
    """When it was undone."""
    undone_because: str | None
    """Why it was undone."""
    _reads = {
        "at": _wire.time_of,
        "expires_in": _wire.length_of,
        "data_limit": ByteSize,
        "counted_from": _wire.time_of,
        "before": Terms._read,
        "after": Terms._read,
        "undone_at": _wire.time_of,
    }


@dataclass(frozen=True)
class GrantQuery(Record):
    """Which entries of the ledger, oldest first. The default is the first 100 of all."""

    key: KeyLike | None = None
    """Only of this key, by id also when it was deleted."""
    _: KW_ONLY
    idempotency_key: str | None = None
    """Only of this idempotency key: of a payment."""
    since: datetime | None = None
    """Only from this time on."""
    until: datetime | None = None
    """Only before this time."""
    after: int | None = None
    """Only those behind this entry: the last one of the answer before."""
    limit: int = 100
    """At most so many: 1 to 1,000."""
    _writes = {"key": _wire.key_ref, "since": _wire.time, "until": _wire.time}


UsageStep = Literal[
    "hour",
    "day",
    "month",
]
"""The width of one point."""


@dataclass(frozen=True)
class HistoryQuery(Record):
    """Which traffic to sum, as callers ask for it. The default is everything, by day."""

    key: KeyLike | None = None
    """Only of this key; without it of all."""
    _: KW_ONLY
    admin: AdminLike | None = None
    """Only of the keys that this admin and those below it owned then; not together with ``key``."""
    node: str | None = None
    """Only through this node; without it through all."""
    since: datetime | None = None
    """From the hour of this time on; without it from the beginning."""
    until: datetime | None = None
    """Up to this time, exclusive; without it up to now."""
    step: UsageStep = "day"
    """The width of a point."""
    time_zone: str | None = None
    """Whose days and months; None is the kit's own time zone. Traffic is kept by UTC hours: where days begin at half
    past, such an hour counts for the day in which it begins."""
    _writes = {"key": _wire.key_ref, "admin": _wire.admin_ref, "since": _wire.time, "until": _wire.time}


@dataclass(frozen=True)
class Hold(Record):
    """A key on hold may connect; its time begins with its first bytes."""

    duration: timedelta
    """How long the key lasts from its first connection on."""
    _: KW_ONLY
    until: datetime | None = None
    """When its time begins without a connection; None waits for ever."""
    _reads = {"duration": _wire.length_of, "until": _wire.time_of}
    _writes = {"duration": _wire.length, "until": _wire.time}


HostSecurity = Literal[
    "inbound_default",
    "none",
    "tls",
]
"""What protects the connection to a host."""


@dataclass(frozen=True)
class Host(Record):
    """How clients reach an inbound. An inbound may have several; each gives its keys one endpoint. What is left out is
    the inbound's own.

    Lists are choices: each key gets one of them, the same for a day. A ``*`` in ``addresses``, ``sni`` and ``host``
    becomes eight random hexadecimal digits, the same for a day. Variables such as ``{USERNAME}`` are filled in in
    ``remark``, ``addresses`` and ``path``.
    """

    remark: str
    """What the client shows: 1 to 256 characters."""
    addresses: Sequence[str]
    """Names or IPs to dial; at least one."""
    _: KW_ONLY
    port: int | None = None
    """The port to dial."""
    sni: Sequence[str] = ()
    """Names to ask for in TLS."""
    host: Sequence[str] = ()
    """Values of the HTTP header ``Host``."""
    path: str | None = None
    """The HTTP path, or the gRPC service name."""
    security: HostSecurity = "inbound_default"
    """What protects the connection up to whatever stands before the inbound: a CDN may end TLS."""
    alpn: Sequence[str] = ()
    """Protocols to offer in TLS: ``h3``, ``h2``, ``http/1.1``."""
    fingerprint: str | None = None
    """The browser to look like: ``chrome``, ``firefox``, ``safari``, ``ios``, ``android``, ``edge``, ``360``, ``qq``,
    ``random`` or ``randomized``."""
    allow_insecure: bool = False
    """Whether clients accept any certificate. Anybody on the way can then read and change what passes. Xray refuses it
    since 26.1.31: pin the certificate of the inbound instead."""
    mux: bool = False
    """Whether several streams share a connection. Not with vision."""
    fragment: str | None = None
    """How the first packets are cut into pieces: ``length,interval,packets``, e.g. ``100-200,10-20,tlshello``."""
    noises: Sequence[str] = ()
    """What is sent before the first packet of UDP: ``type:packet,delay``, e.g. ``rand:10-20,10-16``."""
    random_user_agent: bool = False
    """Whether HTTP transports name a browser as their user agent."""
    sni_as_host: bool = False
    """Whether the name asked for in TLS is the ``Host`` header too."""
    disabled: bool = False
    """Left out of subscriptions."""
    _reads = {"addresses": tuple, "sni": tuple, "host": tuple, "alpn": tuple, "noises": tuple}
    _writes = {
        "addresses": _wire.many(_wire.same),
        "sni": _wire.many(_wire.same),
        "host": _wire.many(_wire.same),
        "alpn": _wire.many(_wire.same),
        "noises": _wire.many(_wire.same),
    }


ImageFormat = Literal[
    "png",
    "svg",
]
"""What a picture is written as."""


ShadowsocksMethod = Literal[
    "aes-128-gcm",
    "aes-256-gcm",
    "chacha20-ietf-poly1305",
    "2022-blake3-aes-128-gcm",
    "2022-blake3-aes-256-gcm",
]
"""A Shadowsocks cipher."""


@dataclass(frozen=True)
class Vless(Record):
    """VLESS."""

    _type = "vless"
    vision: bool = False
    """The flow ``xtls-rprx-vision``: over TCP with TLS or REALITY only."""


@dataclass(frozen=True)
class Vmess(Record):
    """VMess."""

    _type = "vmess"


@dataclass(frozen=True)
class Trojan(Record):
    """Trojan."""

    _type = "trojan"


@dataclass(frozen=True)
class Shadowsocks(Record):
    """Shadowsocks."""

    _type = "shadowsocks"
    method: ShadowsocksMethod
    """The cipher."""
    server_key: str | None = field(default=None, repr=False)
    """The server's key of a 2022 method, in standard base64."""


Protocol: TypeAlias = Vless | Vmess | Trojan | Shadowsocks
"""What is spoken inside the transport."""

_Protocol = _wire.tagged(Vless, Vmess, Trojan, Shadowsocks)


@dataclass(frozen=True)
class KeyRotation(Record):
    """When keys or a secret are replaced by new ones, without a call. What was given out with those of before works
    for ``keep_old`` longer."""

    every: timedelta
    """Between two changes: an hour to 1,000 days."""
    keep_old: timedelta
    """How long the keys of before still work, up to ``every``."""
    _reads = {"every": _wire.length_of, "keep_old": _wire.length_of}
    _writes = {"every": _wire.length, "keep_old": _wire.length}


@dataclass(frozen=True)
class PreviousKeys(Record):
    """The REALITY keys that an inbound had before, while links with them still work."""

    private_key: str = field(repr=False)
    """X25519, base64url without padding."""
    public_key: str
    """Belongs to ``private_key``."""
    until: datetime
    """Until when links with it work."""
    _reads = {"until": _wire.time_of}
    _writes = {"until": _wire.time}


@dataclass(frozen=True)
class NoSecurity(Record):
    """Nothing of its own."""

    _type = "none"


@dataclass(frozen=True)
class Tls(Record):
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
    _reads = {"alpn": tuple}
    _writes = {"certificate_file": _wire.path, "key_file": _wire.path, "alpn": _wire.many(_wire.same)}


@dataclass(frozen=True)
class Reality(_sugar.NewKeys, Record):
    """REALITY."""

    _type = "reality"
    dest: str
    """The real TLS 1.3 site behind it: ``host:port``."""
    server_names: Sequence[str]
    """The names that clients may send; each key gets one of them."""
    _: KW_ONLY
    private_key: str = field(default="", repr=False)
    """X25519, base64url without padding. Left out, it is the one that the inbound has, or a new one. With ``rotation``
    it is the one to begin with."""
    public_key: str = ""
    """Belongs to ``private_key``; goes into links. Left out, it is computed."""
    short_ids: Sequence[str] = ()
    """Each key gets one of them. Left out, they are those that the inbound has, or a new one."""
    rotation: KeyRotation | None = None
    """When it gets new keys by itself, counted from the last change of keys; None is never. Links with those of before
    work for ``keep_old`` longer: clients that fetch their subscription in that time notice nothing."""
    previous: PreviousKeys | None = None
    """The keys that it had before, while links with them still work. Given with the keys that the inbound has, it
    stays as it is."""
    retired: Sequence[str] = ()
    """The public keys that it had earlier, the last 50: described with one of those it keeps the keys that it has, so
    that nothing brings back what was changed, after a leak for instance. Given with the keys that the inbound has,
    it stays as it is."""
    keys_since: datetime | None = None
    """Since when ``rotation`` counts. Given with the keys that the inbound has, it stays as it is."""
    _reads = {
        "server_names": tuple,
        "short_ids": tuple,
        "rotation": KeyRotation._read,
        "previous": PreviousKeys._read,
        "retired": tuple,
        "keys_since": _wire.time_of,
    }
    _writes = {
        "server_names": _wire.many(_wire.same),
        "short_ids": _wire.many(_wire.same),
        "rotation": _wire.record,
        "previous": _wire.record,
        "retired": _wire.many(_wire.same),
        "keys_since": _wire.time,
    }


Security: TypeAlias = NoSecurity | Tls | Reality
"""What protects the transport."""

_Security = _wire.tagged(NoSecurity, Tls, Reality)


@dataclass(frozen=True)
class Inbound(Record):
    """A listening endpoint of a server."""

    tag: str
    """The name, unique on its node: 1 to 64 of ``A-Z a-z 0-9 . _ -``."""
    port: int
    """The port to listen on."""
    protocol: Protocol
    """What is spoken."""
    _: KW_ONLY
    node: str = "main"
    """The machine."""
    server: str | None = None
    """The server that runs it: ``node/name``. Without it, ``ensure`` keeps the one that it has, or chooses the first
    server of the node that can run it."""
    listen: str = "0.0.0.0"
    """The address to listen on."""
    transport: Transport = Tcp()
    """What carries it."""
    security: Security = NoSecurity()
    """What protects it."""
    dedicated_to: int | None = None
    """Only this key is on it, and it goes with the key."""
    addresses: AddressPool | None = None
    """The addresses inside the tunnel that its clients get, for protocols that carry packets."""
    certificate_lifetime: timedelta | None = None
    """How long the certificate of a client is valid, at least an hour, for protocols whose clients present one."""
    _reads = {
        "protocol": _Protocol,
        "transport": _Transport,
        "security": _Security,
        "addresses": AddressPool._read,
        "certificate_lifetime": _wire.length_of,
    }
    _writes = {
        "protocol": _wire.record,
        "transport": _wire.record,
        "security": _wire.record,
        "dedicated_to": _wire.key_id,
        "addresses": _wire.record,
        "certificate_lifetime": _wire.length,
    }


@dataclass(frozen=True)
class InboundHosts(Record):
    """The hosts of one inbound."""

    node: str
    """The inbound's machine."""
    tag: str
    """The inbound's name."""
    hosts: Sequence[Host]
    """Its hosts, in the order in which clients show them."""
    _reads = {"hosts": _wire.read_many(Host._read)}


@dataclass(frozen=True)
class JobStatus(Record):
    """A background job as it goes in this process."""

    name: str
    """What it does: ``settle``, ``readings``. ``docs/metrics.md`` lists them."""
    server: str | None
    """The server that it is done for; None: for the whole store."""
    here: bool
    """Whether this process does it. Of a store that several processes use, one does each job; the others stand by."""
    runs: int
    """Runs that have ended since the kit was opened."""
    last_run: datetime | None
    """When the last run began that has ended."""
    duration: timedelta | None
    """How long it took."""
    succeeded_at: datetime | None
    """When the last run ended that did not fail."""
    failing_since: datetime | None
    """When the first run failed of those that have failed since then; None while it does not fail."""
    error: str | None
    """Why the last run failed; None when it did not."""
    _reads = {
        "last_run": _wire.time_of,
        "duration": _wire.length_of,
        "succeeded_at": _wire.time_of,
        "failing_since": _wire.time_of,
    }


KeyStatus = Literal[
    "active",
    "on_hold",
    "disabled",
    "paused",
    "locked",
    "suspended",
    "limited",
    "expired",
]
"""Whether a key may connect, and if not, why."""


@dataclass(frozen=True)
class KeyCounts(Record):
    """How many keys a query finds on all its pages, by their status."""

    total: int
    """All of them."""
    active: int
    """Those that may connect, and whose time runs."""
    on_hold: int
    """Those that may connect, and whose time begins with their first connection."""
    paused: int
    """Those that were paused."""
    locked: int
    """Those that are locked for a while."""
    suspended: int
    """Those whose owner's keys have used as many bytes as they may."""
    disabled: int
    """Those that were switched off by hand."""
    limited: int
    """Those that have used up their data limit."""
    expired: int
    """Those whose time is over."""


@dataclass(frozen=True)
class KeyPatch(Record):
    """A change of a key. Fields that are not named stay as they are."""

    _: KW_ONLY
    name: str | None | Keep = KEEP
    """The handle."""
    label: str | None | Keep = KEEP
    """Free text."""
    labels: Mapping[str, str | None] | Keep = KEEP
    """Labels to set; those whose value is None go, the others stay."""
    note: str | None | Keep = KEEP
    """Free text for the operator."""
    owner: int | None | Keep = KEEP
    """The id of the owning admin."""
    data_limit: Size | None | Keep = KEEP
    """The data limit; None is unlimited."""
    expires_at: datetime | None | Keep = KEEP
    """The expiry; None is never. A time in the past ends the key at once."""
    hold: Hold | None | Keep = KEEP
    """Puts it on hold: its time begins with its next connection. None begins its time now."""
    paused: bool | Keep = KEEP
    """True pauses it and keeps the time that is left to it, False resumes it."""
    reset: DataReset | None | Keep = KEEP
    """How often its usage is set to nothing; None is never."""
    next_plan: NextPlan | None | Keep = KEEP
    """What it becomes when its time is over or its limit is used up; None is nothing else."""
    delete_after: Length | None | Keep = KEEP
    """How long after its time or its limit has ended it is deleted; None is never."""
    device_limit: int | None | Keep = KEEP
    """On how many devices its subscription may be; None is as the settings say."""
    address_limit: int | None | Keep = KEEP
    """At how many addresses at once it may be used; None is any number."""
    locked_until: datetime | None | Keep = KEEP
    """Locks it until then: it may not connect, and its time goes on. None unlocks it."""
    inbounds: Sequence[str] | None | Keep = KEEP
    """Tags of inbounds; None is all shared ones."""
    enabled: bool | Keep = KEEP
    """False switches it off by hand, True takes that back."""
    reset_usage: bool = False
    """Sets ``used`` to nothing."""
    begin_next_plan: bool = False
    """Begins its next plan now."""
    revoke_links: bool = False
    """Makes every token and URL of its subscription that was given out worthless."""
    keep_old_links: Length | Keep = KEEP
    """How long the links and credentials that are replaced still work; None is no longer. Together with
    ``revoke_links``."""
    credentials: Sequence[Credential] = ()
    """Replaces the credentials of the same protocol, device and inbound, adds the others."""
    _writes = {
        "labels": _wire.mapping,
        "data_limit": _wire.size,
        "expires_at": _wire.time,
        "hold": _wire.record,
        "reset": _wire.record,
        "next_plan": _wire.record,
        "delete_after": _wire.length,
        "locked_until": _wire.time,
        "inbounds": _wire.many(_wire.same),
        "keep_old_links": _wire.length,
        "credentials": _wire.many(_wire.credential),
    }


Sort = Literal[
    "id",
    "name",
    "expires_at",
    "used",
]
"""By what keys are sorted. Ties are broken by id; keys without the value come last in ascending order."""


@dataclass(frozen=True)
class KeyQuery(Record):
    """Which keys. The default finds all, sorted by id, 100 a page."""

    search: str | None = None
    """Only with this text in name, label or note, without regard to case."""
    _: KW_ONLY
    status: KeyStatus | Sequence[KeyStatus] = ()
    """Only with one of these statuses; empty is any."""
    owner: int | None = None
    """Only of this owner."""
    labels: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    """Only with all of these labels, exactly."""
    expires_before: datetime | None = None
    """Only those that end before this time, or have ended."""
    used_percent: int | None = None
    """Only those that have used at least so many percent of their limit: 1 to 100. All keys are looked at."""
    sort: Sort = "id"
    """Sorted by."""
    descending: bool = False
    """From the largest to the smallest."""
    limit: int = 100
    """At most so many keys a page: 1 to 10,000."""
    page: str | None = None
    """The ``next`` or ``previous`` of another page; without it the first page."""
    _writes = {"status": _wire.one_or_many, "labels": _wire.mapping, "expires_before": _wire.time}


@dataclass(frozen=True)
class KeyRate(Record):
    """How fast bytes pass for a key, over all servers."""

    key: int
    """Which key."""
    up: ByteSize
    """Bytes a second from the client."""
    down: ByteSize
    """Bytes a second to the client."""
    _reads = {"up": ByteSize, "down": ByteSize}


@dataclass(frozen=True)
class KeyTemplate(_sugar.Expiry, Record):
    """A product: what a key gets that is created or extended with it."""

    name: str
    """What it is called: 1 to 64 of ``A-Z a-z 0-9 . _ @ + -``."""
    _: KW_ONLY
    data_limit: ByteSize | None = None
    """At least one byte; None is unlimited."""
    days: float | None = None
    """So many times 24 hours."""
    expires_in: timedelta | None = None
    """How long a key lasts; None is for ever."""
    on_hold: bool = False
    """Whether its time begins with its first connection."""
    hold_for: timedelta | None = None
    """How long it waits for that; None is for ever."""
    reset: DataReset | None = None
    """How often its usage is set to nothing; None is never."""
    next_plan: NextPlan | None = None
    """What it becomes when its time is over or its limit is used up."""
    delete_after: timedelta | None = None
    """How long after its end it is deleted; None is never."""
    device_limit: int | None = None
    """On how many devices its subscription may be; None is as the settings say."""
    address_limit: int | None = None
    """At how many addresses at once it may be used; None is any number."""
    inbounds: Sequence[str] | None = None
    """Tags of inbounds; all shared ones by default."""
    labels: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    """What it is found by."""
    name_prefix: str | None = None
    """What stands before the name that is given."""
    name_suffix: str | None = None
    """What stands behind the name that is given."""
    _reads = {
        "data_limit": ByteSize,
        "expires_in": _wire.length_of,
        "hold_for": _wire.length_of,
        "reset": DataReset._read,
        "next_plan": NextPlan._read,
        "delete_after": _wire.length_of,
        "inbounds": tuple,
    }
    _writes = {
        "data_limit": _wire.size,
        "expires_in": _wire.length,
        "hold_for": _wire.length,
        "reset": _wire.record,
        "next_plan": _wire.record,
        "delete_after": _wire.length,
        "inbounds": _wire.many(_wire.same),
        "labels": _wire.mapping,
    }


KeysOfDeleted = Literal[
    "refuse",
    "delete",
    "release",
]
"""What becomes of the keys of an admin that is deleted."""


Language = Literal[
    "en",
    "ru",
    "fa",
    "zh",
]
"""A language that customers read."""


LogLevel = Literal[
    "debug",
    "info",
    "warning",
    "error",
]
"""How much Xray logs."""


@dataclass(frozen=True)
class NewApiKey(Record):
    """An API key that was created."""

    key: ApiKey
    """The API key."""
    token: str = field(repr=False)
    """What it is used with. It is kept nowhere: show it now."""
    _reads = {"key": ApiKey._read}


@dataclass(frozen=True)
class Webhook(Record):
    """A webhook as it stands in the store, without its secrets."""

    id: str
    """Its id."""
    url: str
    """Where events are sent, by ``POST``."""
    kinds: Sequence[str]
    """The kinds of events that it gets: ``key.created``, or all of a subject as ``key.*``; empty is all."""
    admin: int | None
    """Only what is about this admin, or about keys that it owns; None is everything."""
    note: str | None
    """Free text for the operator."""
    disabled: bool
    """Nothing is sent; what happens meanwhile is sent later."""
    created_at: datetime
    """When it was created."""
    _reads = {"kinds": tuple, "created_at": _wire.time_of}


@dataclass(frozen=True)
class NewWebhook(Record):
    """A webhook that was created, or got a new secret."""

    webhook: Webhook
    """The webhook."""
    secret: str = field(repr=False)
    """What receivers verify signatures with: ``whsec_…``. It is not shown again."""
    _reads = {"webhook": Webhook._read}


@dataclass(frozen=True)
class Notices(Record):
    """What a client shows instead of servers: lines with variables. An empty list is the text of the settings'
    language."""

    _: KW_ONLY
    limited: Sequence[str] = ()
    """The data limit is used up."""
    expired: Sequence[str] = ()
    """Its time is over."""
    disabled: Sequence[str] = ()
    """Switched off."""
    paused: Sequence[str] = ()
    """Paused."""
    locked: Sequence[str] = ()
    """Locked for a while."""
    devices: Sequence[str] = ()
    """On too many devices."""
    empty: Sequence[str] = ()
    """No inbound or host yet."""
    _reads = {
        "limited": tuple,
        "expired": tuple,
        "disabled": tuple,
        "paused": tuple,
        "locked": tuple,
        "devices": tuple,
        "empty": tuple,
    }
    _writes = {
        "limited": _wire.many(_wire.same),
        "expired": _wire.many(_wire.same),
        "disabled": _wire.many(_wire.same),
        "paused": _wire.many(_wire.same),
        "locked": _wire.many(_wire.same),
        "devices": _wire.many(_wire.same),
        "empty": _wire.many(_wire.same),
    }


@dataclass(frozen=True)
class OnlineAddress(Record):
    """An address that a key is online from."""

    address: IPv4Address | IPv6Address
    """The address."""
    since: datetime
    """When it opened its newest connection."""
    _reads = {"address": ip_address, "since": _wire.time_of}


@dataclass(frozen=True)
class OnlineKey(Record):
    """A key that has connections open."""

    key: int
    """Which key."""
    addresses: Sequence[OnlineAddress]
    """From where."""
    _reads = {"addresses": _wire.read_many(OnlineAddress._read)}


@dataclass(frozen=True)
class Page(_sugar.Keys, Record):
    """A page of keys, and where the pages beside it begin."""

    keys: Sequence[Key]
    """The keys of this page."""
    next: str | None
    """The page after it; None on the last one."""
    previous: str | None
    """The page before it; None on the first one."""
    _reads = {"keys": tuple}


PlacementState = Literal[
    "installed",
    "pending",
    "rejected",
    "unknown",
]
"""Whether a server has taken a key over."""


@dataclass(frozen=True)
class Placement(Record):
    """A server that a key belongs on, and whether it has taken the key over."""

    server: str
    """The server."""
    inbounds: Sequence[str]
    """The key's inbounds there."""
    state: PlacementState
    """Whether it has taken the key over."""
    reason: str | None
    """Why it has not, in one line."""
    _reads = {"inbounds": tuple}


@dataclass(frozen=True)
class ServerRate(Record):
    """How fast bytes pass through a server."""

    server: str
    """Which server."""
    node: str
    """Its node."""
    up: ByteSize
    """Bytes a second from clients."""
    down: ByteSize
    """Bytes a second to clients."""
    keys: int
    """Keys that bytes have passed for."""
    _reads = {"up": ByteSize, "down": ByteSize}


@dataclass(frozen=True)
class Rates(Record):
    """How fast bytes pass now: between the last two readings of each server."""

    servers: Sequence[ServerRate]
    """The servers that answer, sorted by id."""
    keys: Sequence[KeyRate]
    """The fastest keys, the fastest first."""
    _reads = {"servers": _wire.read_many(ServerRate._read), "keys": _wire.read_many(KeyRate._read)}


@dataclass(frozen=True)
class ReminderPolicy(Record):
    """When events remind of the end of a key, each once for each limit and each end."""

    _: KW_ONLY
    usage_percents: Sequence[int] = ()
    """Shares of the data limit, in percent: ``key.usage_reached`` when one is passed; of several that are passed at
    once the highest."""
    days_left: Sequence[int] = ()
    """Days before the end: ``key.expires_soon``. A key that was sold for no longer is not told of."""
    _writes = {"usage_percents": _wire.many(_wire.same), "days_left": _wire.many(_wire.same)}


@dataclass(frozen=True)
class RenderOptions(Record):
    """What a client asks for."""

    _: KW_ONLY
    client: str | None = None
    """Its ``User-Agent``, or the beginning of it: ``Happ/3``, ``clash-verge``."""
    format: str | None = None
    """The format, whatever the client: ``links``, ``plain``, ``xray``, ``clash``, ``clash-meta``, ``stash``,
    ``sing-box``, ``outline``, ``wireguard``, ``html`` or ``template:NAME``."""
    language: Language | None = None
    """The language of the page."""


ServerCondition = Literal[
    "stopped",
    "up",
    "down",
    "unattended",
]
"""Whether a server answers."""


@dataclass(frozen=True)
class ManagedXray(Record):
    """An Xray that vpnkit runs."""

    _type = "managed_xray"
    address: str
    """Name or IP that clients dial."""
    directory: str | PathLike[str]
    """A directory of its own, absolute: config, API socket, lock. Created with mode 0700."""
    _: KW_ONLY
    node: str = "main"
    """The machine it runs on. Default: ``main``."""
    name: str = "xray"
    """Its name on the machine. A second Xray there needs one of its own."""
    binary: str | PathLike[str] = "xray"
    """The program. Default: ``xray`` from the search path."""
    live_accounting: bool = False
    """Counters follow open connections: vision's splice is switched off (``XRAY_BUF_SPLICE=disable``). Without it the
    bytes of a vision connection are counted when it ends, so a limit can be overrun by a whole download. The price
    is CPU: bytes go through Xray instead of through the kernel."""
    cut_connections: bool = False
    """Connections of a key that may no longer connect are cut, by closing the TCP connections from its addresses to
    vpnkit's inbounds in the kernel. Needs CAP_NET_ADMIN. The price: customers behind the same address are cut too
    (and reconnect), and behind a proxy or CDN that address is the proxy's, so leave it off there."""
    keep_running: bool = False
    """It runs on when this process closes, is redeployed or crashes, so that no customer's connection ends: the next
    process that opens the same store with the same server takes it over. While nobody does, expiry and limits do
    not hold. It is ended by ``servers.stop``."""
    log_level: LogLevel = "warning"
    """How much Xray logs."""
    egress: Egress = Egress()
    """What customers may reach through it. Default: not this machine, and no private network."""
    extra: Any = field(default=None, repr=False)
    """The operator's own ``outbounds``, ``routing`` and ``dns``, as in Xray's config. Rules come after those of
    ``egress``; with a ``dns`` of its own, names with changing answers are its servers' business. It may hold
    passwords, so it is not shown."""
    _writes = {"binary": _wire.path, "directory": _wire.path, "egress": _wire.record}


@dataclass(frozen=True)
class AttachedXray(Record):
    """An Xray that somebody else runs."""

    _type = "attached_xray"
    address: str
    """Name or IP that clients dial."""
    api: str
    """``unix:/path`` or ``host:port``. The API has no password: keep it in a socket file. A port on loopback is
    reached by customers too, unless the routing of that Xray blocks private addresses."""
    _: KW_ONLY
    node: str = "main"
    """The machine it runs on. Default: ``main``."""
    name: str = "xray"
    """Its name on the machine. A second Xray there needs one of its own."""
    binary: str | PathLike[str] | None = None
    """A binary of Xray, for ``xray api adi``: with it inbounds can be added live."""
    cut_connections: bool = False
    """As with ``ManagedXray.cut_connections``; only for an Xray on this machine, in this network namespace."""
    live_accounting: bool = False
    """Say so when that Xray runs with ``XRAY_BUF_SPLICE=disable``; vpnkit cannot see it."""
    _writes = {"binary": _wire.path}


ServerConfig: TypeAlias = ManagedXray | AttachedXray
"""A server to drive."""


@dataclass(frozen=True)
class ServerStatus(Record):
    """How a server does."""

    id: str
    """``node/name``."""
    node: str
    """Its node."""
    program: str
    """Its program: ``xray``."""
    address: str
    """Name or IP that clients dial, unless an inbound has hosts of its own."""
    driver: Driver | None
    """The process that drives it, which says all this of it; None when there is none."""
    state: ServerCondition
    """Whether it answers."""
    reason: str | None
    """Why it is down, in one line."""
    lifetime: int | None
    """How many of its lifetimes were seen, when it answers: grows with each restart that was noticed."""
    capabilities: Capabilities
    """What it can do."""
    version: str | None
    """The program's version, when it answers."""
    uptime: timedelta | None
    """How long it has been running, when it answers."""
    pending: int
    """Keys and inbounds that it has not taken over yet."""
    set_aside: Mapping[str, str]
    """Inbounds that it refuses, by tag, and why: they are tried again, and everything else goes on."""
    warnings: Sequence[str]
    """What its operator should change, when it answers: customers may reach the API of an attached Xray, for instance."""
    _reads = {"driver": Driver._read, "capabilities": Capabilities._read, "uptime": _wire.length_of, "warnings": tuple}


@dataclass(frozen=True)
class SettingsPatch(Record):
    """A change of the settings: what is left out stays, None takes a value away. Lists and notices are replaced as a
    whole."""

    _: KW_ONLY
    base_url: str | None | Keep = KEEP
    """Where subscriptions are served."""
    title: str | Keep = KEEP
    """The name that clients show."""
    update_interval_hours: int | Keep = KEEP
    """How often clients ask again, 1 to 720 hours."""
    support_url: str | None | Keep = KEEP
    """Where customers get help."""
    web_page_url: str | None | Keep = KEEP
    """The service's own site."""
    announce: str | None | Keep = KEEP
    """A message that clients show."""
    announce_url: str | None | Keep = KEEP
    """Where the message leads."""
    routing: str | None | Keep = KEEP
    """Routing rules of Happ."""
    language: Language | Keep = KEEP
    """The language of notices."""
    utc_offset_minutes: int | Keep = KEEP
    """The time zone of dates, in minutes east of UTC."""
    notices: Notices | Keep = KEEP
    """What a client shows instead of servers."""
    device_limit: int | None | Keep = KEEP
    """On how many devices a key without a limit of its own may be."""
    require_device: bool | Keep = KEEP
    """Whether a client that names no device gets nothing where there is a limit."""
    clients: Sequence[ClientRule] | Keep = KEEP
    """Which client gets which format."""
    secret_rotation: KeyRotation | None | Keep = KEEP
    """When another secret signs URLs."""
    _writes = {"notices": _wire.record, "clients": _wire.many(_wire.record), "secret_rotation": _wire.record}


SharingAction = Literal[
    "warn",
    "lock",
    "rotate",
]
"""What happens to a key that is used at more addresses at once than its ``address_limit``."""


@dataclass(frozen=True)
class SharingPolicy(Record):
    """How keys are kept from being shared. An IPv6 network of 64 bits is one address: a single device has many of
    those."""

    action: SharingAction = "warn"
    """What happens."""
    _: KW_ONLY
    lock_for: Length = "10 minutes"
    """For how long it is locked."""
    check_every: Length = "30 seconds"
    """How often servers are asked who is online."""
    checks: int = 2
    """How many times in a row it must be too many: a phone that changes from one network to another is at two for a
    moment."""
    _writes = {"lock_for": _wire.length, "check_every": _wire.length}


@dataclass(frozen=True)
class StoreCheck(Record):
    """What a check of the store has found."""

    tables: int
    """How many tables were read, with their indexes."""
    faults: Sequence[str]
    """What is wrong, at most 100; empty is a sound store."""
    _reads = {"faults": tuple}


@dataclass(frozen=True)
class StoreWork(Record):
    """Long work on the store that this process is doing."""

    operation: str
    """The operation: ``store.back_up``."""
    done: int
    """Steps that are done."""
    total: int
    """Steps in all; 0 before that is known."""
    since: datetime
    """When it was begun."""
    _reads = {"since": _wire.time_of}


@dataclass(frozen=True)
class SubscriptionResponse(_sugar.Body, Record):
    """What a subscription answers: any web framework can send it."""

    status: int
    """200, 304 when the client has it already, 404 for a token that is not (or no longer) valid, 503 when there is too
    much to do."""
    headers: Mapping[str, str] = field(repr=False)
    """Names in lower case, each once; values are visible ASCII."""
    body: bytes = field(repr=False)
    """UTF-8; it contains secrets."""
    _reads = {"body": str.encode}


@dataclass(frozen=True)
class SubscriptionSettings(Record):
    """What the operator says of all subscriptions."""

    _: KW_ONLY
    base_url: str | None = None
    """Where subscriptions are served: a URL is this, ``/`` and the token. Without it there are tokens but no URLs."""
    title: str = "VPN"
    """The name that clients show: 1 to 100 characters, with variables. Default: ``VPN``."""
    update_interval_hours: int = 12
    """How often clients ask again, 1 to 720 hours. Default: 12."""
    support_url: str | None = None
    """Where customers get help: a URL, ``https:``, ``tg:`` or ``mailto:``."""
    web_page_url: str | None = None
    """The service's own site. Default: the page of the subscription."""
    announce: str | None = None
    """A message that clients show: up to 200 characters, with variables."""
    announce_url: str | None = None
    """Where the message leads."""
    routing: str | None = None
    """Routing rules of Happ, as it imports them: ``happ://routing/onadd/…``."""
    language: Language = "en"
    """The language of notices, of ``{STATUS_TEXT}``, and of the page for browsers that ask for no known one."""
    utc_offset_minutes: int = 0
    """The time zone of dates, in minutes east of UTC: 210 is Tehran."""
    notices: Notices = Notices()
    """What a client shows instead of servers when a key may not connect."""
    device_limit: int | None = None
    """On how many devices a key without a limit of its own may be, as clients tell it by ``x-hwid``."""
    require_device: bool = False
    """Whether a client that names no device gets nothing where there is a limit. Browsers always get their page."""
    clients: Sequence[ClientRule] = ()
    """Which client gets which format; comes before what is known of clients."""
    secret_rotation: KeyRotation | None = None
    """When another secret signs URLs, without a call; None is never. URLs of before work for ``keep_old`` longer, and
    then no more: only for services that give their customers the URL again and again."""
    _reads = {
        "notices": Notices._read,
        "clients": _wire.read_many(ClientRule._read),
        "secret_rotation": KeyRotation._read,
    }
    _writes = {"notices": _wire.record, "clients": _wire.many(_wire.record), "secret_rotation": _wire.record}


@dataclass(frozen=True)
class SubscriptionTemplate(Record):
    """A format of the operator's own, in the language of Jinja.

    It sees ``title``, ``url``, ``now``, ``notice`` (lines, empty for a key that may connect), ``key`` (``{{ key.id
    }}``, ``name``, ``label``, ``status``, ``used``, ``{{ key.data_limit }}``, ``remaining``, ``percentage``, ``{{
    key.expires_at }}``) and ``endpoints``, each with ``remark``, ``address``, ``port``, ``protocol``,
    ``transport``, ``security``, ``secret``, ``link``, and ``xray``, ``clash`` and ``{{ endpoint.sing_box }}``: the
    objects that these programs read, ``none`` where they cannot use the endpoint. Filters besides Jinja's own:
    ``tojson``, ``urlencode``, ``base64``. Sizes are bytes, times seconds since 1970. A name that is not there is an
    error.
    """

    content_type: str
    """The media type of what it writes."""
    source: str
    """Its text."""


Theme = Literal[
    "light",
    "dark",
]
"""Light or dark."""


@dataclass(frozen=True)
class UsagePoint(Record):
    """What passed in one step. Steps without traffic are left out."""

    at: datetime
    """Start of the step."""
    traffic: Traffic
    """Bytes in both directions."""
    step: UsageStep
    """How wide it is: what is old is kept by UTC days, then by months, and cannot be told apart any more."""
    _reads = {"at": _wire.time_of, "traffic": Traffic._read}


@dataclass(frozen=True)
class WebhookPatch(Record):
    """A change of a webhook. Fields that are not named stay as they are."""

    _: KW_ONLY
    url: str | Keep = KEEP
    """Where events are sent."""
    kinds: Sequence[str] | Keep = KEEP
    """The kinds of events that it gets; empty is all."""
    admin: int | None | Keep = KEEP
    """Only what is about this admin, or about keys that it owns; None is everything."""
    note: str | None | Keep = KEEP
    """Free text for the operator."""
    disabled: bool | Keep = KEEP
    """True sends nothing any more, False goes on where it was."""
    _writes = {"kinds": _wire.many(_wire.same)}


@dataclass(frozen=True)
class WebhookStatus(Record):
    """How the deliveries of a webhook stand."""

    id: str
    """Which webhook."""
    cursor: int
    """Up to which event everything was delivered."""
    pending: int
    """How many events are behind that one, those that it does not get included."""
    dead_letters: int
    """How many events were given up."""
    delivered_at: datetime | None
    """When an event was last delivered, since a process has the deliveries."""
    failing_since: datetime | None
    """Since when nothing gets through."""
    error: str | None
    """Why."""
    _reads = {"delivered_at": _wire.time_of, "failing_since": _wire.time_of}
