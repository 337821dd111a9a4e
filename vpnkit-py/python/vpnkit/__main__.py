"""``python -m vpnkit stop DIRECTORY`` ends an Xray that was left running."""

from __future__ import annotations

import argparse
import sys

from . import VpnkitError, stop_left_running


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m vpnkit")
    commands = parser.add_subparsers(required=True)
    stop = commands.add_parser("stop", help="end the Xray that was left running in a directory")
    stop.add_argument("directory")
    given = parser.parse_args(words)
    try:
        stopped = stop_left_running(given.directory)
    except VpnkitError as error:
        print(error, file=sys.stderr)
        return 1
    print("stopped" if stopped else "nothing runs there")
    return 0


if __name__ == "__main__":
    sys.exit(main())
