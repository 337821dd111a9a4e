"""Subscriptions from Python: what is set comes back, what is asked for is answered."""

from __future__ import annotations

import base64
import dataclasses
from datetime import timedelta

import pytest

import vpnkit
from vpnkit import Host, SubscriptionSettings, errors, testing


async def sandbox() -> testing.Sandbox:
    kit = await testing.open()
    await kit.inbounds.ensure(vpnkit.Inbound("ws", 443, vpnkit.Vless(), transport=vpnkit.WebSocket("/ws")))
    return kit


async def test_everything_that_is_set_comes_back() -> None:
    async with await sandbox() as kit:
        host = Host(
            "{USERNAME}",
            ("*.cdn.example", "b.example"),
            port=8443,
            sni=("s.example",),
            host=("h.example",),
            path="/p",
            security="tls",
            alpn=("h2",),
            fingerprint="firefox",
            allow_insecure=True,
            mux=True,
            fragment="100-200,10-20,tlshello",
            noises=("rand:10-20,10-16",),
            random_user_agent=True,
            sni_as_host=True,
            disabled=True,
        )
        await kit.hosts.set("ws", [host, Host("plain", ["a.example"])])
        [held] = await kit.hosts.list()
        assert held == vpnkit.InboundHosts("main", "ws", (host, Host("plain", ("a.example",))))
        settings = SubscriptionSettings(
            base_url="https://sub.example/s",
            title="Сеть",
            language="fa",
            notices=vpnkit.Notices(expired=("over",)),
            clients=(vpnkit.ClientRule("own/", "plain"),),
        )
        await kit.subscriptions.configure(settings)
        assert await kit.subscriptions.settings() == settings
        template = vpnkit.SubscriptionTemplate("text/plain", "{{ key.name }}")
        await kit.subscriptions.put_template("t", template)
        assert await kit.subscriptions.templates() == {"t": template}
        await kit.subscriptions.remove_template("t")
        with pytest.raises(errors.InvalidInputError) as caught:
            await kit.hosts.set("ws", [Host("r", ["a b"])])
        assert caught.value.field == "hosts[0].addresses[0]"
        with pytest.raises(errors.InvalidInputError) as caught:
            await kit.subscriptions.put_template("t", vpnkit.SubscriptionTemplate("text/plain", "{{ nothing }}"))
        assert caught.value.field == "source" and caught.value.context["line"] == "1"
        with pytest.raises(errors.InvalidInputError, match="fragment"):
            await kit.hosts.set("ws", [Host("r", ["a"], fragment="x")])


async def test_a_request_is_answered() -> None:
    async with await sandbox() as kit:
        key = await kit.keys.create("alice", device_limit=1)
        with pytest.raises(errors.InvalidConfigError):
            await kit.subscriptions.url(key)
        await kit.subscriptions.configure(SubscriptionSettings(base_url="https://sub.example/s"))
        url = await kit.subscriptions.url(key)
        token = url.rsplit("/", 1)[1]
        assert token == await kit.subscriptions.token("alice")

        answer = await kit.subscriptions.for_request(token, {"User-Agent": "v2rayNG/2.3.5"})
        assert (answer.status, answer.headers["profile-title"]) == (200, "VPN")
        assert base64.b64decode(answer.body).startswith(b"vless://")
        assert repr(answer) == "SubscriptionResponse(status=200)"
        again = await kit.subscriptions.for_request(
            token, [("if-none-match", answer.headers["etag"]), ("user-agent", "v2rayNG/2.3.5")]
        )
        assert (again.status, again.body) == (304, b"")
        named = await kit.subscriptions.for_request(token, {}, "clash-meta")
        assert named.text.startswith("mixed-port")
        for device, there in (("one", True), ("two", False)):
            served = await kit.subscriptions.for_request(token, {"x-hwid": device}, "plain")
            assert ("vless://" in served.text) is there
        [held] = await kit.subscriptions.devices(key)
        assert (held.id, held.key) == ("one", key.id)
        await kit.subscriptions.forget_device(key, "one")
        assert await kit.subscriptions.devices(key) == []

        await kit.subscriptions.rotate_secret(keep=timedelta(hours=1))
        assert (await kit.subscriptions.for_request(token, {})).status == 200
        revoked = await kit.subscriptions.revoke(key, new_credentials=True)
        assert revoked.link_revision == 1 and revoked.credentials != key.credentials
        assert (await kit.subscriptions.for_request(token, {})).status == 404


async def test_a_bot_sends_pictures() -> None:
    async with await sandbox() as kit:
        await kit.keys.create("alice")
        assert (await kit.traffic.chart("alice", theme="dark")).startswith(b"\x89PNG")
        assert (await kit.traffic.chart("alice", 7, format="svg")).startswith(b"<svg")
        with pytest.raises(errors.InvalidInputError):
            await kit.traffic.chart("alice", 0)


async def test_previews_store_nothing() -> None:
    async with await sandbox() as kit:
        key = await kit.keys.create("alice", data_limit="50 GiB")
        [seen] = await kit.hosts.preview(key, "ws", [Host("{USERNAME} {DATA_LEFT} {NOTHING}", ["{SERVER_IP}"])])
        assert (seen.remark, seen.address, seen.protocol) == ("alice 50 GiB {NOTHING}", "vpn.example", "vless")
        assert await kit.hosts.list() == []
        page = await kit.subscriptions.render(key, format="html", language="ru")
        assert 'lang="ru"' in page.text


def test_settings_are_changed_by_replacing() -> None:
    with testing.open_sync() as kit:
        settings = dataclasses.replace(kit.subscriptions.settings(), title="Example")
        kit.subscriptions.configure(settings)
        assert kit.subscriptions.settings().title == "Example"


async def test_settings_are_changed_a_field_at_a_time() -> None:
    async with testing.open() as kit:
        await kit.subscriptions.update(title="One", support_url="https://t.me/x", device_limit=3)
        settings = await kit.subscriptions.update(title="Two", support_url=None)
        assert (settings.title, settings.support_url, settings.device_limit) == ("Two", None, 3)
        with pytest.raises(errors.InvalidInputError) as fault:
            await kit.subscriptions.update(title="")
        assert fault.value.field == "title"
