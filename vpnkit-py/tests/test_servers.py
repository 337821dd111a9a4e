"""Inbounds and servers cross in both directions."""

from __future__ import annotations

import pickle
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import vpnkit
from vpnkit import (
    AddressPool,
    AttachedXray,
    Credential,
    Grpc,
    HttpUpgrade,
    Inbound,
    NoSecurity,
    Protocol,
    Reality,
    Security,
    Shadowsocks,
    Tcp,
    Tls,
    Transport,
    Trojan,
    Vless,
    Vmess,
    WebSocket,
    Xhttp,
    errors,
    testing,
)

KEY = "AAAAAAAAAAAAAAAAAAAAAA=="
PROTOCOLS: list[Protocol] = [
    Vless(vision=True),
    Vmess(),
    Trojan(),
    Shadowsocks("aes-256-gcm"),
    Shadowsocks("2022-blake3-aes-128-gcm", KEY),
]
TRANSPORTS: list[Transport] = [
    Tcp(),
    WebSocket("/a", "h.test"),
    Grpc("service"),
    HttpUpgrade("/b"),
    Xhttp("/c", mode="packet-up"),
]
SECURITIES: list[Security] = [
    NoSecurity(),
    Tls("site.test", Path("/etc/cert.pem"), "/etc/key.pem", alpn=("h2",), pinned_sha256="ab" * 32),
    Reality.generate("example.com:443", "example.com"),
]


async def test_every_kind_of_inbound_comes_back_as_it_went() -> None:
    async with testing.open() as kit:
        key = await kit.keys.create()
        number = 0
        for protocol in PROTOCOLS:
            for transport in TRANSPORTS:
                for security in SECURITIES:
                    number += 1
                    inbound = Inbound(
                        f"i{number}",
                        number,
                        protocol,
                        transport=transport,
                        security=security,
                        listen="::1",
                        dedicated_to=key.id if number % 2 else None,
                    )
                    back = await kit.inbounds.ensure(inbound)
                    assert back == await kit.inbounds.get(inbound.tag)
                    assert (back.tag, back.port, back.listen, back.dedicated_to) == (
                        inbound.tag,
                        inbound.port,
                        "::1",
                        inbound.dedicated_to,
                    )
                    assert (back.protocol, back.transport) == (protocol, transport)
                    if not isinstance(security, Tls):
                        assert back.security == security
                    for secret in (KEY, getattr(security, "private_key", KEY)):
                        assert secret not in repr(back)
        assert len(await kit.inbounds.list()) == number == 75
        assert len(await kit.keys.endpoints(key)) == 75
        await kit.inbounds.remove("i1")
        with pytest.raises(errors.NotFoundError):
            await kit.inbounds.remove("i1")
        with pytest.raises(errors.InvalidInputError) as caught:
            await kit.inbounds.ensure(Inbound("two words", 1, Vless()))
        assert caught.value.field == "tag"


async def test_an_xray_that_nobody_runs_is_down_and_no_reason_not_to_open() -> None:
    xray = AttachedXray("vpn.example.com", "127.0.0.1:1", cut_connections=False, live_accounting=True)
    async with vpnkit.open("memory:", servers=[xray], collect_every="5 s") as kit:
        [status] = await kit.servers.status()
        assert (status.id, status.state, status.version, status.uptime) == ("main/xray", "down", None, None)
        assert status.reason and not status.capabilities.managed
        with pytest.raises(ConnectionError) as caught:
            await kit.servers.reconcile(status.id)
        assert isinstance(caught.value, errors.UnavailableError) and caught.value.retryable
        with pytest.raises(errors.NotFoundError):
            await kit.servers.log("main/openvpn")


async def test_a_missing_xray_is_told() -> None:
    server = vpnkit.ManagedXray("127.0.0.1", "/nonexistent/xray", binary="/nonexistent/bin")
    async with vpnkit.open("memory:", servers=[server]) as kit:
        [status] = await kit.servers.status()
        assert status.state == "down" and status.reason is not None and "/nonexistent" in status.reason
        kinds = [event.kind for event in (await kit.events.read(0)).events]
        assert kinds == ["server.down"]


async def test_servers_come_and_go() -> None:
    async with vpnkit.open("memory:") as kit:
        with pytest.raises(errors.InvalidConfigError) as fault:
            await kit.servers.add(vpnkit.ManagedXray("vpn.example", "not/absolute"))
        assert fault.value.field == "directory"
        # Nobody answers there: it is down, tried again, and no reason not to go on.
        status = await kit.servers.add(AttachedXray("vpn.example", "127.0.0.1:1", name="far"))
        assert (status.id, status.state, status.address) == ("main/far", "down", "vpn.example")
        inbound = await kit.inbounds.ensure(Inbound("a", 443, Vless()))
        assert inbound.server == "main/far"
        key = await kit.keys.create("alice")
        [placed] = await kit.keys.placement(key)
        assert (placed.server, placed.inbounds, placed.state) == ("main/far", ("a",), "pending")
        assert placed.reason and placed.to_dict()["state"] == "pending"
        await kit.servers.remove("main/far")
        assert await kit.servers.status() == [] and await kit.keys.links(key) == []
        with pytest.raises(errors.NotFoundError):
            await kit.servers.remove("main/far")


async def test_reality_keys_are_kept() -> None:
    async with testing.open() as kit:
        reality = Reality("site.test:443", ["site.test"])
        assert "private" not in repr(reality)
        first = await kit.inbounds.ensure(Inbound("r", 443, Vless(vision=True), security=reality))
        assert isinstance(first.security, Reality) and first.security.public_key
        again = await kit.inbounds.ensure(Inbound("r", 443, Vless(vision=True), security=reality))
        assert again == first


async def test_a_credential_of_one_inbound_has_its_address_and_certificate() -> None:
    async with testing.open() as kit:
        pool = AddressPool(v4="10.8.0.0/29", v6="fd00:8::/64")
        given = Inbound("vpn", 1194, Vless(), addresses=pool, certificate_lifetime=timedelta(days=365))
        inbound = await kit.inbounds.ensure(given)
        assert inbound.addresses == pool and inbound.certificate_lifetime == timedelta(days=365)
        assert await kit.inbounds.ensure(inbound) == inbound, "it is given again as it came"
        key = await kit.keys.create("alice")
        [credential] = key.credentials
        assert (credential.inbound, credential.slot) == ("main/vpn", 0)
        certificate = credential.certificate
        assert certificate is not None and certificate.serial == 1
        assert certificate.expires_at == await kit.now() + timedelta(days=365)
        assert pickle.loads(pickle.dumps(key)) == key
        copy = await kit.keys.update(key, credentials=key.credentials)
        assert copy.credentials == key.credentials
        with pytest.raises(errors.InvalidInputError, match="certificates are made by the server"):
            await kit.keys.create(credentials=[Credential("vless", str(uuid4()), inbound="main/vpn")])
        # One without a certificate moves in with its address.
        await kit.inbounds.remove("vpn")
        await kit.inbounds.ensure(Inbound("vpn", 1194, Vless(), addresses=pool))
        await kit.keys.delete(key)
        moved = Credential("vless", credential.secret, inbound="main/vpn", slot=3)
        assert "slot=3" in repr(moved) and credential.secret not in repr(moved)
        again = await kit.keys.create("alice", credentials=[moved])
        assert [c.slot for c in again.credentials] == [3]
        for _ in range(4):
            await kit.keys.create()
        with pytest.raises(errors.LimitReachedError, match="every address"):
            await kit.keys.create("one.too.many")
        with pytest.raises(errors.InvalidInputError) as caught:
            await kit.inbounds.ensure(Inbound("bad", 1195, Vless(), addresses=AddressPool(v4="10.0.0.5/8")))
        assert caught.value.field == "addresses.v4"
    bad: list[tuple[str, Any]] = [("slot", -1), ("slot", 2**32), ("slot", "1"), ("slot", True), ("slot", 1.5)]
    bad += [("inbound", "vpn"), ("inbound", "/"), ("inbound", "a/b/c")]
    for field, value in bad:
        with pytest.raises(errors.InvalidInputError) as caught:
            Credential("vless", credential.secret, **{field: value})
        assert caught.value.field == field, (field, value)
