"""What the documents show is what happens."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import REPOSITORY


def blocks(path: str) -> list[str]:
    found = re.findall(r"```python\n(.*?)```", (REPOSITORY / path).read_text(), re.S)
    assert found, path
    return [str(block) for block in found]


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def test_the_first_key(xray: str, tmp_path: Path) -> None:
    text = blocks("docs/python.md")[0]
    lines = [line for line in text.splitlines() if line]
    assert len(lines) <= 12
    # The reader's server has another directory and port, and an xray in its search path.
    text = text.replace("/var/lib/vpnkit", str(tmp_path)).replace('"reality", 443', f'"reality", {free_port()}')
    environment = {**os.environ, "PATH": f"{Path(xray).parent}:{os.environ['PATH']}"}
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0 and re.fullmatch(r"vless://\S+@vpn\.example\.com:\d+\?\S+\n", done.stdout), done.stderr


@pytest.mark.parametrize("number", [1, 2])
def test_the_other_blocks_run(number: int, program: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """Inside a sandbox that has what the text leaves out; the first event ends the loop."""
    body = blocks("docs/python.md")[number].replace("await offer_renewal(id)", "return print('renew', id)")
    indented = "".join(f"        {line}\n" for line in body.splitlines())
    done = program(
        "import asyncio, vpnkit\n"
        "async def main():\n"
        "    async with vpnkit.testing.open() as kit:\n"
        "        cursor = 0\n"
        "        key = await kit.keys.create(data_limit='1 GiB')\n"
        "        await kit.pass_traffic(key, down='1 GiB')\n"
        "        await kit.tick()\n" + indented + "asyncio.run(main())\n"
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert done.stdout == ("renew 1\n" if number == 1 else "")


def test_renewing(program: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    body = blocks("docs/python.md")[3]
    done = program(
        "import asyncio, vpnkit\n"
        "from datetime import timedelta\n" + body + "async def main():\n"
        "    async with vpnkit.testing.open() as kit:\n"
        "        made = await kit.keys.create('alice', days=1, data_limit='1 GiB')\n"
        "        # Two payments at the same time are two months, and one that comes twice is one.\n"
        "        await asyncio.gather(*(renew(kit, 'alice', 30, '1 GiB', payment) for payment in ('a:1', 'a:2', 'a:2')))\n"
        "        key = await kit.keys.require('alice')\n"
        "        print((key.expires_at - made.expires_at).days, key.data_limit)\n"
        "asyncio.run(main())\n"
    )
    assert (done.stdout, done.stderr) == ("60 3 GiB\n", ""), done.stderr


def in_a_sandbox(path: str, before: str = "", after: str = "") -> str:
    """All blocks of a document, one after the other, inside a kit."""
    lines = [line for text in (before, *blocks(path), after) for line in text.splitlines()]
    body = "".join(f"        {line}\n" for line in lines)
    start = "import asyncio, vpnkit\nasync def main():\n    async with vpnkit.testing.open() as kit:\n"
    return f"{start}{body}asyncio.run(main())\n"


def test_the_guide_to_resellers(program: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = program(in_a_sandbox("docs/resellers.md", after="print([one.name for one in await kit.admins.list()])"))
    lines = done.stdout.splitlines()
    assert done.stderr == "" and lines[0].startswith("vpnkit_") and lines[-2:] == ["1", "[]"], done


def test_the_guide_to_events(program: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    after = """
told = asyncio.Event()
async def send(key, kind, detail):
    print(key.name, kind, detail)
    told.set()
reminding = asyncio.create_task(remind(kit, send))
while not await kit.events.consumers():
    await asyncio.sleep(0.05)
key = await kit.keys.create("bob", data_limit="1 GiB")
await kit.pass_traffic(key, down="900 MiB")
await kit.tick()
await asyncio.wait_for(told.wait(), 30)
reminding.cancel()
print(reminders.days_left)
"""
    done = program(in_a_sandbox("docs/events.md", after=after))
    lines = done.stdout.splitlines()
    assert done.stderr == "" and lines[1] == "1 None None 0" and lines[2:] == ["bob key.usage_reached 80%", "[7, 1]"], done


def test_the_guide_to_selling(program: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """All of it, one block after the other; what it defines is used as it says."""
    body = "".join(f"        {line}\n" for text in blocks("docs/selling.md") for line in text.splitlines())
    done = program(
        "import asyncio, vpnkit\n"
        "from datetime import timedelta\n"
        "async def main():\n"
        "    async with vpnkit.testing.open() as kit:\n"
        + "        GiB = vpnkit.GiB\n"
        + body
        + "        assert not mine.keys and not low.keys and [key.name for key in soon] == []\n"
        "        for payment in ('stars:1', 'stars:1'):\n"
        "            key = await bought(kit, 42, payment)\n"
        "        for payment in ('stars:2', 'stars:2'):\n"
        "            key = await renewed(kit, key.name, payment)\n"
        "        print(key.data_limit, key.replayed, (key.expires_at - await kit.now()).days)\n"
        "        for _ in range(2):\n"
        "            key = await refunded(kit, 'stars:2')\n"
        "        print(key.data_limit, key.replayed, len(await kit.grants.find(key)))\n"
        "        for _ in range(2):\n"
        "            await delivered(kit, 42, 'stars:1')\n"
        "            key = await delivered(kit, 42, 'stars:3')\n"
        "        print(key.data_limit, (await time_left(kit, key)).days, await time_left(kit, trial))\n"
        "        assert await for_everybody(kit, 7) == await for_everybody(kit, 7) == 2\n"
        "        [mine] = await kit.keys.find(labels={'telegram': '42'})\n"
        "        assert mine.id == key.id\n"
        "        await kit.inbounds.ensure(vpnkit.Inbound('main', 443, vpnkit.Vless()))\n"
        "        assert (await whose(kit, (await kit.keys.links(key))[0])).id == key.id\n"
        "        assert await whose(kit, key.name) is None\n"
        "        end, left = await preview(kit, key.name)\n"
        "        assert (end - await kit.now()).days == 30 and left == GiB(50)\n"
        "        await two_at_a_time(kit, key.name)\n"
        "        await moves(kit, key.name)\n"
        "        assert len((await kit.keys.require(key)).credentials) == 2\n"
        "        await leaked(kit, key.name)\n"
        "        assert len((await kit.keys.require(key)).credentials) == 1\n"
        "        await products(kit)\n"
        "        assert [one.name for one in await kit.templates.list()] == ['month', 'trial']\n"
        "        assert await months(kit, key.name) == []\n"
        "        await kit.keys.create('second', days=10, data_limit='1 GiB')\n"
        "        merged = await one_key(kit, await kit.keys.require('second'), key.name)\n"
        "        assert merged.data_limit == (await kit.keys.require(key)).data_limit\n"
        "        await stolen(kit, key.name)\n"
        "        [newest] = await kit.keys.timeline(key, limit=1)\n"
        "        assert (newest.kind, newest.actor) == ('key.disabled', 'support:bob')\n"
        "asyncio.run(main())\n"
    )
    said = "100 GiB True 60\n50 GiB True 2\n100 GiB 60 3 days, 0:00:00\n" + "2 of 2\n" * 2
    assert done.stderr == "" and done.stdout.startswith(said), done.stderr
    assert "reported as stolen" in done.stdout.splitlines()[5]


def test_everybody_with_a_bar(program: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    store = f"sqlite:{tmp_path / 'keys.db'}"
    made = program(
        "import vpnkit\n"
        f"with vpnkit.sync.open({store!r}) as kit:\n"
        "    kit.keys.create_many([vpnkit.CreateKey(f'k{i}', days=1) for i in range(1_203)])\n"
    )
    assert made.returncode == 0, made.stderr
    example = str(REPOSITORY / "examples" / "python" / "everybody.py")
    for said in ("1203 keys were given 3 days, 0 had them already", "0 keys were given 3 days, 1203 had them already"):
        done = subprocess.run(
            [sys.executable, example, store, "outage:1", "3"], capture_output=True, text=True, timeout=120
        )
        assert done.stdout.splitlines()[-1] == said and "1203 of 1203" in done.stdout, done.stderr


def test_the_guide_to_subscriptions(program: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """All of it, one block after the other, in a sandbox with an inbound, a key and a bot; the first block is the
    example for FastAPI, which a test of its own runs."""
    texts = blocks("docs/subscriptions.md")
    assert "for_request" in texts[0]
    body = "".join(f"        {line}\n" for text in texts[1:] for line in text.splitlines())
    done = program(
        "import asyncio, vpnkit\n"
        "from unittest.mock import AsyncMock\n"
        "async def main():\n"
        "    async with vpnkit.testing.open() as kit:\n"
        "        bot, chat = AsyncMock(), 7\n"
        "        transport = vpnkit.WebSocket('/ws')\n"
        "        await kit.inbounds.ensure(vpnkit.Inbound('ws', 443, vpnkit.Vless(), transport=transport))\n"
        "        await kit.keys.create('alice', days=30)\n"
        "        await kit.subscriptions.put_template('tv', vpnkit.SubscriptionTemplate('text/plain', ''))\n"
        "        token = await kit.subscriptions.token('alice')\n"
        "        await kit.subscriptions.for_request(token, {'x-hwid': 'one', 'x-device-model': 'P9'})\n"
        + body
        + "        assert bot.send_photo.await_args.args[1].startswith(b'\\x89PNG')\n"
        "asyncio.run(main())\n"
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert done.stdout.splitlines()[0] == "✅ 30d" and done.stdout.splitlines()[1].startswith("P9 ")


def test_the_package_readme(program: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = program(blocks("vpnkit-py/README.md")[0])
    assert done.stdout.startswith("active 50 GiB 20"), done.stderr


def test_the_module_docstrings() -> None:
    import doctest

    import vpnkit.sizes

    result = doctest.testmod(vpnkit.sizes, optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0 and result.failed == 0
