"""Hosts and subscriptions for threads. Made by `twin.py` from `_subscriptions_async.py`: change that one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from . import _wire, records, subscriptions
from ._thread import Door
from ._native import Key
from ._wire import KeyLike, Length
from .records import Endpoint
from .subscriptions import (
    ClientDevice,
    Host,
    InboundHosts,
    Language,
    SubscriptionResponse,
    SubscriptionSettings,
    SubscriptionTemplate,
)

# In a class with a method `list`, `list[InboundHosts]` would mean the method.
_InboundHosts: TypeAlias = list[InboundHosts]
_Endpoints: TypeAlias = list[Endpoint]


class Hosts:
    """How clients reach inbounds. An inbound without hosts is reached at its server's own address."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def list(self) -> _InboundHosts:
        """The hosts of every inbound that has some, sorted by node and tag."""
        return self._door.call("hosts.list", "{}", subscriptions.hosts)

    def set(self, tag: str, hosts: Sequence[Host], *, node: str = "main") -> None:
        """Replaces all hosts of an inbound; none gives it back its server's own address. To keep an inbound out of
        subscriptions, give it one host that is ``disabled``.

        Raises NotFoundError for the inbound; InvalidInputError with the ``field``, ``hosts[1].port``.
        """
        arguments = {"node": node, "tag": tag, "hosts": subscriptions.given(hosts)}
        self._door.call("hosts.set", _wire.dumps(arguments), records.nothing)

    def preview(
        self, key: KeyLike, tag: str, hosts: Sequence[Host], *, node: str = "main"
    ) -> _Endpoints:
        """The endpoints that a key would have on an inbound with these hosts: variables filled in, choices made. Nothing
        is stored.

        Raises NotFoundError for the key or the inbound; InvalidInputError with the ``field``.
        """
        operation = "hosts.preview"
        arguments = {
            "key": _wire.key_ref(operation, key),
            "node": node,
            "tag": tag,
            "hosts": subscriptions.given(hosts),
        }
        return self._door.call(operation, _wire.dumps(arguments), records.endpoints)


class Subscriptions:
    """URLs, answers for clients, settings, templates, devices."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def settings(self) -> SubscriptionSettings:
        """The settings."""
        return self._door.call("subscriptions.settings", "{}", subscriptions.settings)

    def configure(self, settings: SubscriptionSettings) -> None:
        """Replaces the settings, for every process that uses this store. Raises InvalidInputError with the ``field``."""
        arguments = _wire.dumps({"settings": subscriptions.given(settings)})
        self._door.call("subscriptions.configure", arguments, records.nothing)

    def token(self, key: KeyLike) -> str:
        """The token of a key: 28 letters, the same until its links are revoked or the signing secret is rotated."""
        arguments = _wire.of_key("subscriptions.token", key)
        return self._door.call("subscriptions.token", arguments, records.line)

    def url(self, key: KeyLike) -> str:
        """The URL of a key's subscription. Raises InvalidConfigError when the settings have no ``base_url``."""
        arguments = _wire.of_key("subscriptions.url", key)
        return self._door.call("subscriptions.url", arguments, records.line)

    def render(
        self,
        key: KeyLike,
        *,
        client: str | None = None,
        format: str | None = None,
        language: Language | None = None,
    ) -> SubscriptionResponse:
        """A key's subscription as a client gets it: by its ``User-Agent`` (``Happ/3``), or in a format (``links``,
        ``plain``, ``xray``, ``clash``, ``clash-meta``, ``stash``, ``sing-box``, ``outline``, ``wireguard``, ``html``,
        ``template:NAME``). Without either: links.

        Raises NotFoundError for the key or a template.
        """
        operation = "subscriptions.render"
        options = {"client": client, "format": format, "language": language}
        arguments = {"key": _wire.key_ref(operation, key), "options": options}
        return self._door.call(operation, _wire.dumps(arguments), subscriptions.response)

    def for_request(
        self,
        token: str,
        headers: Mapping[str, str] | Iterable[tuple[str, str]],
        format: str | None = None,
    ) -> SubscriptionResponse:
        """The answer to an HTTP request for a subscription: send its ``status``, ``headers`` and ``body``. ``headers``
        are the request's; ``format`` is what stands after the token in the URL, if anything does.

        A token that is not valid, or no longer, is an answer with status 404.
        """
        arguments = {"token": token, "headers": subscriptions.headers(headers), "format": format}
        operation = "subscriptions.for_request"
        return self._door.call(operation, _wire.dumps(arguments), subscriptions.response)

    def revoke(self, key: KeyLike, *, new_credentials: bool = False) -> Key:
        """Makes every token and URL of the key that was given out worthless, at once. With ``new_credentials`` whoever
        has its share links is out too."""
        operation = "subscriptions.revoke"
        arguments = {"key": _wire.key_ref(operation, key), "new_credentials": new_credentials}
        revoked: Key = self._door.call(operation, _wire.dumps(arguments), records.same)
        return revoked

    def rotate_secret(self, *, keep: Length) -> None:
        """A new secret signs from now on; tokens of those before are honoured for ``keep`` longer. ``"0 s"`` ends all of
        them at once, as after a leak."""
        operation = "subscriptions.rotate_secret"
        arguments = _wire.dumps({"keep": _wire.length(operation, "keep", keep)})
        self._door.call(operation, arguments, records.nothing)

    def templates(self) -> dict[str, SubscriptionTemplate]:
        """The operator's templates, by name."""
        return self._door.call("subscriptions.templates", "{}", subscriptions.templates)

    def put_template(self, name: str, template: SubscriptionTemplate) -> None:
        """Adds a template, or replaces the one of its name (1 to 32 of ``a-z 0-9 _ -``). It is checked first.

        Raises InvalidInputError about ``name``, ``content_type`` or ``source``, with the ``line`` in the context.
        """
        arguments = _wire.dumps({"name": name, "template": subscriptions.given(template)})
        self._door.call("subscriptions.put_template", arguments, records.nothing)

    def remove_template(self, name: str) -> None:
        """Removes a template. Raises NotFoundError; ConflictError while a rule of the settings uses it."""
        arguments = _wire.dumps({"name": name})
        self._door.call("subscriptions.remove_template", arguments, records.nothing)

    def devices(self, key: KeyLike) -> list[ClientDevice]:
        """The devices that have fetched a key's subscription, the one that came first first."""
        arguments = _wire.of_key("subscriptions.devices", key)
        return self._door.call("subscriptions.devices", arguments, subscriptions.devices)

    def forget_device(self, key: KeyLike, id: str | None) -> None:
        """Forgets a device of a key, or with None all of them: there is room for another one. Raises NotFoundError."""
        operation = "subscriptions.forget_device"
        arguments = _wire.dumps({"key": _wire.key_ref(operation, key), "id": id})
        self._door.call(operation, arguments, records.nothing)
