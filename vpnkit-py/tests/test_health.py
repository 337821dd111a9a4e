"""How vpnkit itself does, and what is changed while it runs: passphrases, keys, secrets."""

import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

import vpnkit
from vpnkit import errors, testing


async def test_jobs_and_metrics() -> None:
    async with await vpnkit.open("memory:") as kit:
        await kit.keys.create("alice")
        jobs = await kit.health.jobs()
        assert {job.name for job in jobs} >= {"settle", "reminders", "rotation", "prune", "follow", "leases"}
        assert not [job for job in jobs if job.failing_since or job.error]
        text = await kit.health.metrics()
        assert text.endswith("# EOF\n")
        assert re.search(r'^vpnkit_operation_seconds_count\{operation="keys.create"\} 1$', text, re.M), text
        assert "alice" not in text
    with vpnkit.sync.open("memory:") as kit:
        assert kit.health.jobs() and "vpnkit_commit_seconds" in kit.health.metrics()


async def test_reality_keys_are_rotated() -> None:
    async with testing.open() as kit:
        rotation = vpnkit.KeyRotation(every=timedelta(days=30), keep_old=timedelta(days=7))

        def described() -> vpnkit.Inbound:
            security = vpnkit.Reality("site.test:443", ["site.test"], rotation=rotation)
            return vpnkit.Inbound("main", 443, vpnkit.Vless(vision=True), security=security)

        async def reality() -> vpnkit.Reality:
            found = await kit.inbounds.get("main")
            assert found is not None and isinstance(found.security, vpnkit.Reality)
            return found.security

        await kit.inbounds.ensure(described())
        first = await reality()
        assert first.rotation == rotation
        await kit.advance(timedelta(0))
        await kit.advance(timedelta(days=31))
        second = await reality()
        assert second.public_key != first.public_key and second.keys_since is not None
        assert second.previous is not None and second.previous.public_key == first.public_key
        assert first.private_key not in repr(second)
        # What an application says at every start changes nothing of it, nor does what it has read.
        await kit.inbounds.ensure(described())
        read = await kit.inbounds.get("main")
        assert read is not None
        await kit.inbounds.ensure(read)
        assert await reality() == second
        await kit.advance(timedelta(days=8))
        assert (await reality()).previous is None
        rotated = await kit.inbounds.rotate_keys("main", timedelta(0))
        assert isinstance(rotated.security, vpnkit.Reality)
        assert rotated.security.public_key != second.public_key and rotated.security.previous is None
        with pytest.raises(errors.NotFoundError):
            await kit.inbounds.rotate_keys("none", timedelta(hours=1))
        await kit.subscriptions.update(secret_rotation=rotation)
        assert (await kit.subscriptions.settings()).secret_rotation == rotation
        with pytest.raises(errors.InvalidInputError) as wrong:
            await kit.subscriptions.update(
                secret_rotation=vpnkit.KeyRotation(every=timedelta(days=1), keep_old=timedelta(days=2))
            )
        assert wrong.value.field == "secret_rotation.keep_old"


async def test_the_passphrase_of_a_store_in_use(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    async with await vpnkit.open(path, passphrase="old one") as kit:
        with pytest.raises(errors.PassphraseWrongError) as wrong:
            await kit.store.change_passphrase("another", "new one")
        assert "another" not in str(wrong.value)
        with pytest.raises(errors.InvalidInputError):
            await kit.store.change_passphrase("old one", "")
        await kit.store.change_passphrase("old one", "new one")
        await kit.keys.create("alice")
    with pytest.raises(errors.PassphraseWrongError):
        await vpnkit.open(path, passphrase="old one")
    async with await vpnkit.open(path, passphrase="new one", previous_passphrase="old one") as kit:
        assert await kit.keys.get("alice")
    async with await vpnkit.open("memory:") as kit:
        with pytest.raises(errors.UnsupportedError):
            await kit.store.change_passphrase("a", "b")


def run(log: str | None, directory: Path) -> str:
    server = f"vpnkit.ManagedXray('127.0.0.1', {str(directory)!r}, binary='/nowhere/xray')"
    code = f"import vpnkit\nwith vpnkit.sync.open('memory:', servers=[{server}]) as kit:\n    kit.keys.create('secret-name')"
    environment = {name: value for name, value in os.environ.items() if name != "VPNKIT_LOG"}
    if log is not None:
        environment["VPNKIT_LOG"] = log
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert not done.stdout
    return done.stderr


def test_a_log_is_written_when_it_is_asked_for(tmp_path: Path) -> None:
    assert run(None, tmp_path) == "" == run("error", tmp_path)
    assert "not a filter of logs" in run("vpnkit=nonsense=x", tmp_path)
    told = run("trace", tmp_path)
    assert "the server does not start" in told and "secret-name" not in told
