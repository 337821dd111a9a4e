"""Errors: one class for each code, the same codes as in Rust and Node.

Catch :class:`VpnkitError` for all of them, or a class for one. Where Python has a class of its own for the same thing
(``LookupError``, ``TimeoutError``, …), ours is that too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar


class VpnkitError(Exception):
    """Something that vpnkit could not do. ``str()`` is one line without secrets."""

    code: ClassVar[str] = "unexpected"
    """The stable name of the kind: match on this, never on texts."""

    operation: str
    """What was being done: ``keys.create``."""
    message: str
    """The sentence without operation and context."""
    retryable: bool
    """Whether the same call may succeed later."""
    hint: str | None
    """What the human can do about it."""
    context: Mapping[str, str]
    """The facts: ``{"field": "data_limit"}``."""
    faults: tuple[str, ...]
    """Every fault of a configuration, with its path."""
    causes: tuple[str, ...]
    """What it was caused by, the nearest first."""

    def __init__(
        self,
        text: str,
        *,
        operation: str = "",
        message: str | None = None,
        retryable: bool = False,
        hint: str | None = None,
        context: Mapping[str, str] | None = None,
        faults: Iterable[str] = (),
        causes: Iterable[str] = (),
    ) -> None:
        super().__init__(text)
        self.operation = operation
        self.message = text if message is None else message
        self.retryable = retryable
        self.hint = hint
        self.context = dict(context or {})
        self.faults = tuple(faults)
        self.causes = tuple(causes)
        notes = [*self.faults, *(f"caused by: {cause}" for cause in self.causes)]
        if hint is not None:
            notes.append(f"hint: {hint}")
        if hasattr(self, "add_note"):
            for note in notes:
                self.add_note(note)

    @property
    def field(self) -> str | None:
        """The argument that is at fault."""
        return self.context.get("field")

    def __reduce__(self) -> tuple[Any, ...]:
        record = {
            "operation": self.operation,
            "message": self.message,
            "retryable": self.retryable,
            "hint": self.hint,
            "context": dict(self.context),
            "faults": self.faults,
            "causes": self.causes,
        }
        return (_rebuild, (type(self), str(self), record))


class InvalidInputError(VpnkitError, ValueError):
    """An argument is not acceptable; ``field`` names it."""

    code = "invalid_input"


class InvalidConfigError(VpnkitError, ValueError):
    """The configuration is not acceptable; ``faults`` has every fault with its path."""

    code = "invalid_config"


class NotFoundError(VpnkitError, LookupError):
    """There is no such key, inbound or server."""

    code = "not_found"


class AlreadyExistsError(VpnkitError):
    """A key name, UUID, inbound tag or port is already taken."""

    code = "already_exists"


class ConflictError(VpnkitError):
    """The version that the caller expected is no longer the current one."""

    code = "conflict"


class IdempotencyMismatchError(VpnkitError, ValueError):
    """The idempotency key belongs to an earlier request that asked for something else."""

    code = "idempotency_mismatch"


class LimitReachedError(VpnkitError):
    """A limit of the key does not allow it: it is on too many devices."""

    code = "limit_reached"


class UnsupportedError(VpnkitError):
    """The server or store cannot do this at all."""

    code = "unsupported"


class UnavailableError(VpnkitError, ConnectionError):
    """A server does not answer."""

    code = "unavailable"


class OperationTimeoutError(VpnkitError, TimeoutError):
    """Something took longer than its time limit."""

    code = "timeout"


class ClosedError(VpnkitError, RuntimeError):
    """The kit was closed before or during the call."""

    code = "closed"


class ForkError(VpnkitError, RuntimeError):
    """The process was forked after the kit was opened: open it in the child."""

    code = "forked"


class PermissionDeniedError(VpnkitError, PermissionError):
    """The operating system refused."""

    code = "permission_denied"


class PortInUseError(VpnkitError, OSError):
    """Another program listens on the port."""

    code = "port_in_use"


class BinaryMissingError(VpnkitError, FileNotFoundError):
    """The server program is not where it was looked for."""

    code = "binary_missing"


class VersionUnsupportedError(VpnkitError):
    """The server program is older than vpnkit supports."""

    code = "version_unsupported"


class RejectedError(VpnkitError):
    """The server program refused what it was given."""

    code = "rejected"


class InUseError(VpnkitError):
    """Another process has it: a server, or a directory."""

    code = "in_use"


class LeaseLostError(VpnkitError):
    """Another process does what this one did before: it was slow, or frozen, for longer than the store waits for it."""

    code = "lease_lost"


class StoreLockedError(VpnkitError):
    """Another process holds the store's write lock."""

    code = "store_locked"


class StoreReadOnlyError(VpnkitError, OSError):
    """The store cannot be written."""

    code = "store_read_only"


class StoreTooNewError(VpnkitError):
    """A newer vpnkit has written the store."""

    code = "store_too_new"


class StoreNotRecognizedError(VpnkitError):
    """The file is not a vpnkit store."""

    code = "store_not_recognized"


class PassphraseMissingError(VpnkitError):
    """The store is encrypted and no passphrase was given."""

    code = "passphrase_missing"


class PassphraseWrongError(VpnkitError):
    """The passphrase is not the store's."""

    code = "passphrase_wrong"


class StoreCorruptError(VpnkitError):
    """The store's file is damaged."""

    code = "store_corrupt"


class StoreFullError(VpnkitError, OSError):
    """No room left for the store."""

    code = "store_full"


class CursorExpiredError(VpnkitError, LookupError):
    """The events after this cursor are no longer kept."""

    code = "cursor_expired"


class UnexpectedError(VpnkitError):
    """A fault in vpnkit or in something it relies on."""

    code = "unexpected"


_CLASSES: dict[str, type[VpnkitError]] = {cls.code: cls for cls in VpnkitError.__subclasses__()}


def from_record(text: str) -> VpnkitError:
    """The exception of an error record; called from the native half."""
    record = json.loads(text)
    cls = _CLASSES.get(record.pop("code"), UnexpectedError)
    return cls(record.pop("text"), **record)


def _rebuild(cls: type[VpnkitError], text: str, record: dict[str, Any]) -> VpnkitError:
    return cls(text, **record)


def invalid(operation: str, field: str, message: str, hint: str | None = None) -> InvalidInputError:
    """The error about one argument."""
    text = f"{operation}: {message} (field={field})"
    return InvalidInputError(text, operation=operation, message=message, hint=hint, context={"field": field})
