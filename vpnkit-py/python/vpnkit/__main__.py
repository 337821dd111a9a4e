"""``python -m vpnkit`` from a shell: ends an Xray that was left running, puts a backup back."""

from __future__ import annotations

import argparse
import asyncio
import sys

from . import VpnkitError, restore, stop_left_running

_WIDTH = 30


def _bar(done: int, total: int) -> None:
    filled = _WIDTH * done // total if total else 0
    print(f"\r[{'#' * filled}{'.' * (_WIDTH - filled)}] {done} of {total}", end="", file=sys.stderr, flush=True)


def _stop(given: argparse.Namespace) -> None:
    print("stopped" if stop_left_running(given.directory) else "nothing runs there")


def _restore(given: argparse.Namespace) -> None:
    shows = sys.stderr.isatty()
    try:
        backup = asyncio.run(restore(given.backup, given.store, on_progress=_bar if shows else None))
    finally:
        if shows:
            print(file=sys.stderr)
    print(f"{backup.keys} keys, up to event {backup.newest_event}")


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m vpnkit")
    commands = parser.add_subparsers(required=True)
    stop = commands.add_parser("stop", help="end the Xray that was left running in a directory")
    stop.add_argument("directory")
    stop.set_defaults(run=_stop)
    back = commands.add_parser("restore", help="replace a store, which nobody has open, by a backup")
    back.add_argument("backup", help="the file of the backup")
    back.add_argument("store", help="the file of the store")
    back.set_defaults(run=_restore)
    given = parser.parse_args(words)
    try:
        given.run(given)
    except VpnkitError as error:
        print(error, file=sys.stderr)
        if error.hint is not None:
            print(f"hint: {error.hint}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
