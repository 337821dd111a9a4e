"""Forks, spawns, ends and murders of the processes that hold a kit."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import vpnkit
from vpnkit import errors


def _in_child(path: str) -> int:
    with vpnkit.sync.open(path) as kit:
        return kit.keys.create().id


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_children_open_their_own(method: str, tmp_path: Path) -> None:
    path = f"sqlite:{tmp_path}/bot.db"
    _in_child(path)
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert sorted(pool.map(_in_child, [path] * 4)) == [2, 3, 4, 5]


FORK = """
import gc, os, sys, warnings, vpnkit
from vpnkit import errors
warnings.simplefilter("error")
warnings.filterwarnings("ignore", "This process .* is multi-threaded, use of fork")
kit = vpnkit.sync.open(sys.argv[1])
kit.keys.create("parent")
stream = kit.events.stream()
if (child := os.fork()) == 0:
    for call in (lambda: kit.keys.get(1), lambda: next(stream), kit.events.stream, lambda: kit.keys.create("x")):
        try:
            call()
        except errors.ForkError as e:
            assert e.code == "forked" and "child" in e.hint
        else:
            sys.exit("no ForkError")
    del kit, stream
    gc.collect()
    try:
        vpnkit.sync.open(sys.argv[1])
    except errors.ForkError as e:
        assert "after the fork" in e.hint
    else:
        sys.exit("the parent's file was opened")
    with vpnkit.sync.open(sys.argv[1] + "-own") as own:
        own.keys.create("child")
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
print([key.name for key in kit.keys.find().keys])
kit.close()
if os.fork() == 0:
    with vpnkit.sync.open(sys.argv[1]) as later:
        later.keys.create("later")
    sys.exit(0)
assert os.wait()[1] == 0
with vpnkit.sync.open(sys.argv[1]) as again:
    print([key.name for key in again.keys.find().keys])
"""


def test_a_fork_is_told(program: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    done = program(FORK, f"sqlite:{tmp_path}/bot.db")
    assert (done.returncode, done.stdout) == (0, "['parent']\n['parent', 'later']\n"), done.stderr


FORK_AT_WORK = """
import os, sys, threading, vpnkit
kit = vpnkit.sync.open(sys.argv[1])
done = threading.Event()
def work():
    while not done.is_set():
        kit.keys.create()
        kit.keys.get(1)
workers = [threading.Thread(target=work) for _ in range(3)]
for worker in workers:
    worker.start()
for i in range(40):
    if (child := os.fork()) == 0:
        with vpnkit.sync.open(f"{sys.argv[1]}-{i}") as own:
            own.keys.create("child")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
done.set()
for worker in workers:
    worker.join()
kit.close()
"""


def test_forks_in_the_middle_of_work(program: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    """A child finds no lock of SQLite held by a thread that it does not have."""
    done = program(FORK_AT_WORK, f"sqlite:{tmp_path}/bot.db", timeout=110)
    assert done.returncode == 0, done.stderr


def test_a_child_may_end_as_it_likes(program: Callable[..., subprocess.CompletedProcess[str]], xray: str) -> None:
    """The parent's Xray and store are not the child's to stop."""
    done = program(
        """
import os, sys, tempfile, vpnkit
with tempfile.TemporaryDirectory() as directory:
    server = vpnkit.ManagedXray("127.0.0.1", directory + "/xray", binary=sys.argv[1])
    with vpnkit.sync.open(f"sqlite:{directory}/bot.db", servers=[server]) as kit:
        if (child := os.fork()) == 0:
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert kit.servers.status()[0].state == "up"
        print(kit.servers.reconcile("main/xray"))
""",
        xray,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "0"), done.stderr


OPEN_STREAM = """
import asyncio, sys, threading, vpnkit
how = sys.argv[1]
if how == "asyncio":
    async def main():
        kit = await vpnkit.open("memory:")
        async def read():
            async for event in kit.events.stream():
                pass
        reader = asyncio.create_task(read())
        await kit.keys.create("a")
        await asyncio.sleep(0.05)
        main.kept = kit, reader
    asyncio.run(main())
else:
    kit = vpnkit.sync.open("memory:")
    def read():
        for event in kit.events.stream():
            pass
    threads = [threading.Thread(target=read, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    kit.keys.create("a")
    if how == "error":
        raise SystemExit(3)
"""


@pytest.mark.parametrize(("how", "code"), [("asyncio", 0), ("threads", 0), ("error", 3)])
def test_the_interpreter_ends_while_streams_are_open(
    how: str, code: int, program: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    for _ in range(5):
        done = program(OPEN_STREAM, how, timeout=30)
        assert done.returncode == code and "panick" not in done.stderr and "Fatal" not in done.stderr, done.stderr


def _processes(needle: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and needle.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            pass
    return [pid for pid in found if pid != os.getpid()]


@pytest.mark.parametrize("how", ["forgotten", "SIGINT", "SIGTERM", "SIGKILL"])
def test_no_xray_outlives_its_bot(how: str, xray: str, tmp_path: Path) -> None:
    directory = tmp_path / "xray"
    bot = tmp_path / "bot.py"
    bot.write_text(
        """
import sys, time, vpnkit
server = vpnkit.ManagedXray("127.0.0.1", sys.argv[1], binary=sys.argv[2])
kit = vpnkit.sync.open(f"sqlite:{sys.argv[1]}.db", servers=[server])
print("ready", flush=True)
if sys.argv[3] != "forgotten":
    time.sleep(600)
"""
    )
    command = [sys.executable, str(bot), str(directory), xray, how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            if how != "forgotten":
                process.send_signal(getattr(signal, how))
            process.wait(30)
        finally:
            process.kill()
    deadline = time.monotonic() + 30
    while _processes(str(directory)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _processes(str(directory))


MURDERED = """
import asyncio, sys, vpnkit
async def main():
    async with vpnkit.open(sys.argv[1]) as kit:
        async def work(worker):
            for i in range(10_000):
                key = await kit.keys.create(f"{sys.argv[2]}-{worker}-{i}", data_limit="1 GiB", idempotency_key=f"{sys.argv[2]}:{worker}:{i}")
                print(key.name, key.id, flush=True)
                if i % 3 == 0:
                    await kit.keys.delete(key)
                    print("-" + key.name, key.id, flush=True)
        await asyncio.gather(*(work(worker) for worker in range(4)))
asyncio.run(main())
"""


def test_a_bot_killed_in_the_middle_of_its_work_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "bot.py").write_text(MURDERED)
    told: list[str] = []
    for number in range(10):
        command = [sys.executable, str(tmp_path / "bot.py"), f"sqlite:{tmp_path}/bot.db", f"r{number}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(20 + 7 * number):
                told.append(process.stdout.readline().strip())
            process.kill()
            # What it had said before it died counts too; a torn last line does not.
            told += [line.strip() for line in process.stdout if line.endswith("\n")]
    ids = {name: int(id) for name, id in (line.split() for line in told if line)}
    acknowledged = {name for name in ids if not name.startswith("-")}
    deleted = {name[1:] for name in ids if name.startswith("-")}
    with vpnkit.sync.open(tmp_path / "bot.db") as kit:
        kept = {key.name for key in kit.keys.find(limit=10_000).keys}
        assert not deleted & kept
        # A delete may have been committed and not yet told: then its event says so.
        gone = {e.key for e in kit.events.read(0, 100_000).events if e.kind == "key.deleted"}
        assert all(ids[name] in gone for name in acknowledged - kept)
        name = max(acknowledged & kept)
        round, worker, i = name.split("-")
        again = kit.keys.create(name, data_limit="1 GiB", idempotency_key=f"{round}:{worker}:{i}")
        assert again.id == ids[name]


def test_two_processes_one_store(tmp_path: Path) -> None:
    with vpnkit.sync.open(tmp_path / "bot.db") as kit:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            made = pool.apply(_in_child, [f"sqlite:{tmp_path}/bot.db"])
        stream = kit.events.stream()
        assert next(stream).key == made
        with pytest.raises(errors.NotFoundError):
            kit.keys.require(made + 1)


PRELOAD = """
import vpnkit
kit = vpnkit.sync.open("memory:")

def app(environ, start_response):
    try:
        kit.keys.get(1)
        answer = b"no error"
    except vpnkit.errors.ForkError as e:
        answer = e.code.encode()
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]
"""


def test_gunicorn_preload(tmp_path: Path) -> None:
    """A kit that the master opened is refused in its workers, clearly and at once."""
    import http.client
    import socket

    (tmp_path / "site_app.py").write_text(PRELOAD)
    socket_file = str(tmp_path / "s")
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers=2", f"--bind=unix:{socket_file}", "site_app:app"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + 60
            while not os.path.exists(socket_file) and time.monotonic() < deadline:
                time.sleep(0.05)
            connection = http.client.HTTPConnection("localhost", timeout=30)
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(30)
            connection.sock.connect(socket_file)
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"forked"
            connection.close()
        finally:
            process.terminate()
            process.wait(30)
        assert process.returncode == 0
