"""What a cron job does: opens the store without servers, changes keys, and ends. The process that drives the servers applies it.

VPN_DIRECTORY comes from the environment; the names of keys that are to be switched off are arguments.
"""

import sys
from os import environ as settings

import vpnkit

with vpnkit.sync.open(f"sqlite:{settings.get('VPN_DIRECTORY', '/var/lib/vpnkit')}/keys.db") as kit:
    for name in sys.argv[1:]:
        key = kit.keys.disable(name)
        # Whether the server has it by now, and why it has not.
        for placed in kit.keys.placement(key):
            print(key.id, placed.server, placed.state, placed.reason or "")
