"""Kits that are open when the interpreter ends are closed then: the last bytes are counted, no Xray stays behind. And
nothing of SQLite is in the middle of anything when the process forks."""

from __future__ import annotations

import atexit
import os
import weakref

from . import _native
from .errors import VpnkitError

GRACE_MS = 5_000
"""How long threads that are still at work are waited for."""

_open: weakref.WeakSet[_native.Kit] = weakref.WeakSet()


def opened(kit: _native.Kit) -> None:
    _open.add(kit)


def closed(kit: _native.Kit) -> None:
    """Ends its threads; after its close."""
    _open.discard(kit)
    kit.shut_down(GRACE_MS)


os.register_at_fork(before=_native.before_fork, after_in_parent=_native.after_fork)


@atexit.register
def _close_all() -> None:
    for kit in list(_open):
        if kit.is_forked():
            continue
        try:
            kit.close().wait(GRACE_MS)
        except VpnkitError:
            pass  # Nobody waits for the outcome any more.
        kit.shut_down(GRACE_MS)
