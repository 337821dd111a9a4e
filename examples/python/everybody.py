"""Gives everybody who has an active key some days, once, with a bar: `python everybody.py sqlite:shop.db outage:2026-11-26 3`.

Interrupt it and start it again, here or elsewhere, as often as you like: under the same name nothing is given twice.
"""

import sys

import vpnkit
from vpnkit import sync

WIDTH = 40


def main(store: str, name: str, days: float) -> None:
    with sync.open(store, background=False) as kit:
        query = vpnkit.KeyQuery(status="active")
        total, done = kit.keys.count(status="active").total, 0
        given = again = 0
        for step in kit.keys.extend_all(name, days=days, query=query):
            done += step.extended + step.skipped
            given += 0 if step.replayed else step.extended
            again += step.extended if step.replayed else 0
            full = WIDTH * min(done, total) // max(total, 1)
            print(f"\r[{'#' * full}{'.' * (WIDTH - full)}] {done} of {total}", end="", flush=True)
        print(f"\n{given} keys were given {days:g} days, {again} had them already")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
