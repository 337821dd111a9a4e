"""The measurements of `languages.rs` in Python."""

import itertools
import json
import statistics
import sys
from time import perf_counter

import vpnkit
from vpnkit import CreateKey

BULK, GETS = 100_000, 20_000

with vpnkit.sync.open(f"sqlite:{sys.argv[1]}/keys.db") as kit:
    requests = [CreateKey(f"k{i}") for i in range(BULK)]
    start = perf_counter()
    made = kit.keys.create_many(requests)
    create_many = perf_counter() - start

    gets = []
    for i in range(GETS):
        id = made[i * 7919 % BULK].id
        start = perf_counter()
        assert kit.keys.get(id) is not None
        gets.append(perf_counter() - start)

    with vpnkit.sync.open("memory:") as memory:
        id = memory.keys.create().id
        own = []
        for _ in range(GETS):
            start = perf_counter()
            assert memory.keys.get(id) is not None
            own.append(perf_counter() - start)

    start = perf_counter()
    assert sum(1 for event in itertools.islice(kit.events.stream(), BULK) if event.cursor) == BULK
    events = BULK / (perf_counter() - start)

get, memory_get = (statistics.median(times) * 1e6 for times in (gets, own))
print(json.dumps({"get_us": get, "memory_us": memory_get, "create_many_s": create_many, "events_per_s": events}))
