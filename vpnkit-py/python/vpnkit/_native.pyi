from collections.abc import Sequence
from datetime import datetime, timedelta
from os import PathLike
from typing import Any, Literal, final
from uuid import UUID

from .records import CertificateTerm, DataReset, EventKind, Hold, KeyStatus, NextPlan, Traffic
from .sizes import ByteSize

__all__ = [
    "after_fork",
    "before_fork",
    "Bridge",
    "Credential",
    "Event",
    "Key",
    "Kit",
    "Pending",
    "Progress",
    "Stream",
    "error_codes",
    "event_kinds",
    "format_size",
    "open",
    "operations",
    "parse_duration",
    "parse_key",
    "parse_size",
    "qr_png",
    "qr_svg",
    "qr_terminal",
    "reality_keys",
    "restore",
    "short_id",
    "stop_left_running",
]

@final
class Key:
    """A customer's key as it stands in the store."""

    @property
    def id(self) -> int:
        """Integer id, never used again."""
    @property
    def uid(self) -> UUID:
        """Globally unique id."""
    @property
    def version(self) -> int:
        """Grows by one with every change but traffic."""
    @property
    def name(self) -> str | None:
        """The handle, unique without regard to case."""
    @property
    def label(self) -> str | None:
        """Free text, need not be unique."""
    @property
    def labels(self) -> dict[str, str]:
        """What an application finds it by."""
    @property
    def note(self) -> str | None:
        """Free text for the operator."""
    @property
    def owner(self) -> int | None:
        """The id of the admin who owns it."""
    @property
    def status(self) -> KeyStatus:
        """Whether it may connect, and if not, why."""
    @property
    def data_limit(self) -> ByteSize | None:
        """How much it may use; None is unlimited."""
    @property
    def used(self) -> ByteSize:
        """Bytes that count against the limit."""
    @property
    def remaining(self) -> ByteSize | None:
        """What is left of the limit; None is unlimited."""
    @property
    def traffic(self) -> Traffic:
        """Bytes over the whole life of the key; a reset of `used` leaves them."""
    @property
    def expires_at(self) -> datetime | None:
        """When it ends, in UTC; None is never, or not known yet while it is on hold."""
    @property
    def hold(self) -> Hold | None:
        """Set while it waits for its first connection."""
    @property
    def paused_at(self) -> datetime | None:
        """Since when it is paused."""
    @property
    def reset(self) -> DataReset | None:
        """How often `used` is set to nothing."""
    @property
    def resets_at(self) -> datetime | None:
        """When that happens next."""
    @property
    def reset_at(self) -> datetime | None:
        """When `used` was last set to nothing."""
    @property
    def next_plan(self) -> NextPlan | None:
        """What it becomes when its time is over or its limit is used up."""
    @property
    def delete_after(self) -> timedelta | None:
        """How long after its time or its limit has ended it is deleted; None is never."""
    @property
    def ended_at(self) -> datetime | None:
        """Since when it is `expired` or `limited`."""
    @property
    def device_limit(self) -> int | None:
        """On how many devices its subscription may be; None is as the settings say."""
    @property
    def address_limit(self) -> int | None:
        """At how many addresses at once it may be used; None is any number."""
    @property
    def locked_until(self) -> datetime | None:
        """Until when it is locked."""
    @property
    def suspended(self) -> bool:
        """Whether the keys of its owner have used as many bytes as they may."""
    @property
    def old_links_until(self) -> datetime | None:
        """Until when the links and credentials work that it had before they were revoked."""
    @property
    def link_revision(self) -> int:
        """Grows when its links are revoked."""
    @property
    def inbounds(self) -> tuple[str, ...] | None:
        """The tags of the inbounds that it is on; None is all shared ones."""
    @property
    def credentials(self) -> tuple[Credential, ...]:
        """What it connects with."""
    @property
    def created_at(self) -> datetime:
        """When it was created."""
    @property
    def started_at(self) -> datetime | None:
        """When the time of a key that was on hold began."""
    @property
    def updated_at(self) -> datetime:
        """When it was last changed, traffic aside."""
    @property
    def first_seen_at(self) -> datetime | None:
        """When traffic of it was first seen."""
    @property
    def seen_at(self) -> datetime | None:
        """When traffic of it was last seen."""
    @property
    def replayed(self) -> bool:
        """This answer is that of an earlier call with the same idempotency key: nothing was created now."""
    def to_dict(self, /, *, secrets: bool = False) -> dict[str, Any]:
        """The key as a dict that `json.dumps` takes. Secrets are not shown unless ``secrets`` is set."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self, /) -> int: ...
    def __reduce__(self, /) -> tuple[Any, ...]: ...
    @staticmethod
    def _from_json(text: str) -> Key: ...

@final
class Credential:
    """One way of a key into one protocol from one device."""

    def __new__(
        cls, protocol: str, secret: str, *, device: str = "default", inbound: str | None = None, slot: int | None = None
    ) -> Credential:
        """An existing credential, for keys that move in from elsewhere: a UUID for vless and vmess, a password for
        trojan and shadowsocks, 32 bytes in base64 for shadowsocks-2022."""
    @property
    def protocol(self) -> Literal["vless", "vmess", "trojan", "shadowsocks", "shadowsocks-2022"]: ...
    @property
    def device(self) -> str:
        """The device that uses it."""
    @property
    def secret(self) -> str:
        """The secret itself. It is not in `repr()`."""
    @property
    def inbound(self) -> str | None:
        """The inbound that it is for, `node/tag`; None is every inbound of its protocol without addresses and
        certificates."""
    @property
    def slot(self) -> int | None:
        """Its number among the addresses of that inbound, from 0; given when it is written."""
    @property
    def certificate(self) -> CertificateTerm | None:
        """The certificate that its client presents, where the inbound asks for one."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self, /) -> int: ...
    def __reduce__(self, /) -> tuple[Any, ...]: ...
    def _json(self, /) -> str: ...
    @staticmethod
    def _from_json(text: str) -> Credential: ...

@final
class Event:
    """One entry of the outbox."""

    @property
    def cursor(self) -> int:
        """Its place in the stream: keep the one of the last event that you handled."""
    @property
    def at(self) -> datetime:
        """When it was committed."""
    @property
    def kind(self) -> EventKind:
        """What happened."""
    @property
    def key(self) -> int | None:
        """The id of the key that it is about."""
    @property
    def key_uid(self) -> UUID | None:
        """The UUID of the key that it is about."""
    @property
    def inbound(self) -> str | None:
        """The tag of the inbound that it is about."""
    @property
    def server(self) -> str | None:
        """The id of the server that it is about."""
    @property
    def node(self) -> str | None:
        """The name of the node that it is about."""
    @property
    def admin(self) -> int | None:
        """The id of the admin that it is about, or who owned the key that it is about."""
    @property
    def settings(self) -> str | None:
        """The settings that it is about: `settings`, `hosts/main/ws`."""
    @property
    def detail(self) -> str:
        """A short text for people; may be empty. Never a secret."""
    @property
    def operation(self) -> str | None:
        """The operation that it follows from: `keys.extend`; `None` when vpnkit did it by itself."""
    @property
    def actor(self) -> str | None:
        """Who called, as the application has said."""
    @property
    def by_admin(self) -> int | None:
        """The id of the admin in whose name it was called."""
    @property
    def reason(self) -> str | None:
        """Why, as the application has said."""
    @property
    def idempotency_key(self) -> str | None:
        """The idempotency key of the call: the payment."""
    def to_dict(self, /) -> dict[str, Any]:
        """The event as a dict that `json.dumps` takes."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self, /) -> int: ...
    def __reduce__(self, /) -> tuple[Any, ...]: ...
    @staticmethod
    def _from_json(text: str) -> Event: ...

@final
class Progress:
    def __new__(cls) -> Progress: ...
    def steps(self) -> tuple[int, int]: ...
    def cancel(self) -> None: ...

@final
class Pending:
    def wait(self, /, timeout_ms: int | None = None) -> Any: ...
    def start(self, /, bridge: Bridge) -> int: ...

@final
class Bridge:
    def __new__(cls) -> Bridge: ...
    def fileno(self, /) -> int: ...
    def take(self, /) -> list[tuple[int, bool, Any]]: ...
    def cancel(self, /, number: int) -> None: ...

@final
class Kit:
    def call(self, /, operation: str, arguments: str) -> Pending: ...
    def view(
        self, /, actor: str | None, reason: str | None, admin: tuple[int, list[str] | None] | None, dry_run: bool
    ) -> Kit: ...
    def events(self, /, after: int) -> Stream: ...
    def consume(self, /, name: str, after: int | None) -> Stream: ...
    def close(self, /) -> Pending: ...
    def shut_down(self, /, grace_ms: int) -> None: ...
    def is_forked(self, /) -> bool: ...

@final
class Stream:
    def next(self, /, max: int) -> Pending: ...
    def acknowledge(self, /) -> Pending: ...
    def close(self, /) -> Pending: ...

def open(config: str, sandbox: bool = False) -> Pending: ...
def restore(backup: str | PathLike[str], store: str, progress: Progress) -> Pending: ...
def before_fork() -> bool: ...
def after_fork() -> None: ...
def parse_size(text: str) -> int: ...
def format_size(bytes: int) -> str: ...
def parse_duration(text: str) -> int: ...
def parse_key(text: str) -> str: ...
def qr_png(text: str, size: int) -> bytes: ...
def qr_svg(text: str) -> str: ...
def qr_terminal(text: str) -> str: ...
def reality_keys() -> tuple[str, str]: ...
def short_id() -> str: ...
def stop_left_running(directory: str | PathLike[str]) -> bool: ...
def error_codes() -> Sequence[str]: ...
def event_kinds() -> Sequence[str]: ...
def operations() -> Sequence[str]: ...
