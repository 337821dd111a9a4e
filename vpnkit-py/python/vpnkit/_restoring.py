"""Putting a backup back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from os import PathLike, fspath

from . import _native
from ._loop import arrive
from .errors import VpnkitError
from .records import Backup

_EVERY = 0.1


def begun(
    backup: str | PathLike[str], store: str | PathLike[str], progress: _native.Progress
) -> _native.Pending:
    """Describes the call."""
    return _native.restore(fspath(backup), fspath(store), progress)


def read(answer: str) -> Backup:
    """Reads its answer."""
    return Backup._read(json.loads(answer))


async def restore(
    backup: str | PathLike[str],
    store: str | PathLike[str],
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> Backup:
    """Replaces a store by a backup, or makes one of it where there is none: ``await vpnkit.restore("/backups/keys.db", "sqlite:bot.db")``.
    Nobody may have the store open. A copy of the backup is made beside the store and checked before; a process that is killed
    meanwhile leaves the store as it was. ``store`` is a path, or ``"sqlite:PATH"``. ``on_progress`` is told some times a second how many steps
    are done, and how many there are in all. From a shell: ``python -m vpnkit restore BACKUP STORE``.

    What happened since the backup is undone: payments, keys, traffic that was counted. Ids of keys and cursors of events are
    not used again. The passphrase is that of the backup. A call that is cancelled leaves the store as it was, unless it was done
    by then. A store that is too damaged to be opened has to be moved away first, with the files beside it.

    Raises NotFoundError; StoreCorruptError when the backup is damaged; StoreNotRecognizedError when one of them is no store;
    StoreTooNewError; InUseError while the store is open; StoreFullError; PermissionDeniedError.
    """
    progress = _native.Progress()
    restoring = asyncio.ensure_future(arrive(begun(backup, store, progress)))
    try:
        while not (await asyncio.wait({restoring}, timeout=_EVERY))[0]:
            if on_progress is not None:
                on_progress(*progress.steps())
    except BaseException:
        # Until it has ended the store cannot be opened.
        progress.cancel()
        try:
            await asyncio.shield(restoring)
        except VpnkitError:
            pass
        raise
    answer = read(restoring.result())
    if on_progress is not None:
        on_progress(*progress.steps())
    return answer
