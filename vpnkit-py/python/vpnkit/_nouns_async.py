"""Every call, for asyncio. Written by `make generate`: change the description in Rust."""

from __future__ import annotations

import builtins
from base64 import b64decode
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime

from . import _wire
from ._native import Credential, Event, Key
from ._loop import Calls, EventConsumer, EventStream
from ._wire import EMPTY, KEEP, AdminLike, Headers, Keep, KeyLike, Length, Size
from .records import (
    Admin,
    AdminPatch,
    AdminRole,
    ApiKey,
    AuditQuery,
    Backup,
    ClientDevice,
    ClientRule,
    Collected,
    ConsumerStatus,
    CreateAdmin,
    CreateKey,
    CreateWebhook,
    DataReset,
    DeadLetter,
    Endpoint,
    EventBatch,
    ExtendedStep,
    Extension,
    Grant,
    GrantQuery,
    HistoryQuery,
    Hold,
    Host,
    ImageFormat,
    Inbound,
    InboundHosts,
    JobStatus,
    KeyCounts,
    KeyPatch,
    KeyQuery,
    KeyRotation,
    KeyStatus,
    KeyTemplate,
    KeysOfDeleted,
    Language,
    NewApiKey,
    NewWebhook,
    NextPlan,
    Notices,
    OnlineKey,
    Page,
    Placement,
    Rates,
    RenderOptions,
    RenewPolicy,
    ServerConfig,
    ServerStatus,
    SettingsPatch,
    Sort,
    StoreCheck,
    StoreWork,
    SubscriptionResponse,
    SubscriptionSettings,
    SubscriptionTemplate,
    Theme,
    UsagePoint,
    UsageStep,
    Webhook,
    WebhookPatch,
    WebhookStatus,
)


class Keys:
    """Creates, finds, changes and deletes keys. Every change is committed before it is applied to a server; a server
    that is down delays a key, it never loses one."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def create(
        self,
        name: str | None = None,
        *,
        label: str | None = None,
        labels: Mapping[str, str] = EMPTY,
        note: str | None = None,
        owner: int | None = None,
        data_limit: Size | None = None,
        expires_at: datetime | None = None,
        days: float | None = None,
        expires_in: Length | None = None,
        on_hold: bool = False,
        hold_until: datetime | None = None,
        reset: DataReset | None = None,
        next_plan: NextPlan | None = None,
        delete_after: Length | None = None,
        device_limit: int | None = None,
        address_limit: int | None = None,
        inbounds: Sequence[str] | None = None,
        credentials: Sequence[Credential] = (),
        disabled: bool = False,
        template: str | None = None,
        idempotency_key: str | None = None,
    ) -> Key:
        """Creates a key with its credentials.

        Returns once it is committed and the servers have it, or have had two seconds for it.

        The arguments are the fields of ``CreateKey``.

        Raises InvalidInputError with the ``field``; NotFoundError for an inbound that does not exist;
        AlreadyExistsError when the name is taken.
        """
        request = CreateKey(
            name=name,
            label=label,
            labels=labels,
            note=note,
            owner=owner,
            data_limit=data_limit,
            expires_at=expires_at,
            days=days,
            expires_in=expires_in,
            on_hold=on_hold,
            hold_until=hold_until,
            reset=reset,
            next_plan=next_plan,
            delete_after=delete_after,
            device_limit=device_limit,
            address_limit=address_limit,
            inbounds=inbounds,
            credentials=credentials,
            disabled=disabled,
            template=template,
            idempotency_key=idempotency_key,
        )
        arguments = {"request": request._json("keys.create")}
        answer: Key = await self._calls.call("keys.create", _wire.dumps(arguments))
        return answer

    async def create_many(self, requests: Iterable[CreateKey], *, idempotency_key: str | None = None) -> list[Key]:
        """Creates many keys in one transaction: all of them or none. The result has the order of the requests.

        Raises as with :meth:`create`, with the ``index`` of the request that is at fault. Idempotency keys of the
        single requests are refused; give the whole batch one.
        """
        arguments = {
            "requests": _wire.many(_wire.record)("keys.create_many", "requests", requests),
            "idempotency_key": idempotency_key,
        }
        answer: list[Key] = await self._calls.call("keys.create_many", _wire.dumps(arguments))
        return answer

    async def get(self, key: KeyLike) -> Key | None:
        """Returns the key, or None."""
        answer: Key | None = await self._calls.call("keys.get", _wire.of_key("keys.get", key))
        return answer

    async def require(self, key: KeyLike) -> Key:
        """Returns the key.

        Raises NotFoundError.
        """
        answer: Key = await self._calls.call("keys.require", _wire.of_key("keys.require", key))
        return answer

    async def find(
        self,
        search: str | None = None,
        *,
        status: KeyStatus | Sequence[KeyStatus] = (),
        owner: int | None = None,
        labels: Mapping[str, str] = EMPTY,
        expires_before: datetime | None = None,
        used_percent: int | None = None,
        sort: Sort = "id",
        descending: bool = False,
        limit: int = 100,
        page: str | None = None,
    ) -> Page:
        """Returns a page of keys: those with this text in name, label or note, with one of these statuses, of this
        owner.

        The arguments are the fields of ``KeyQuery``.

        Raises InvalidInputError about ``limit`` or ``page``.
        """
        query = KeyQuery(
            status=status,
            search=search,
            owner=owner,
            labels=labels,
            expires_before=expires_before,
            used_percent=used_percent,
            sort=sort,
            descending=descending,
            limit=limit,
            page=page,
        )
        arguments = {"query": query._json("keys.find")}
        return Page(*await self._calls.call("keys.find", _wire.dumps(arguments)))

    async def iterate(
        self,
        search: str | None = None,
        *,
        status: KeyStatus | Sequence[KeyStatus] = (),
        owner: int | None = None,
        labels: Mapping[str, str] = EMPTY,
        expires_before: datetime | None = None,
        used_percent: int | None = None,
        sort: Sort = "id",
        descending: bool = False,
        limit: int = 1_000,
    ) -> AsyncIterator[Key]:
        """Walks through everything that :meth:`find` finds, over all pages; ``limit`` is the size of a page."""
        page: str | None = None
        while True:
            found = await self.find(
                search=search,
                status=status,
                owner=owner,
                labels=labels,
                expires_before=expires_before,
                used_percent=used_percent,
                sort=sort,
                descending=descending,
                limit=limit,
                page=page,
            )
            for key in found.keys:
                yield key
            page = found.next
            if page is None:
                return

    async def lookup(self, text: str, *, revoked: bool = False) -> Key | None:
        """Returns the key that a link is of, as a customer pastes it: a subscription URL or a deep link with one, a
        share link, the text of a whole subscription; None when it is of no key. The work is that of a few look-ups
        by index.

        Only what the customer of the key alone has finds it: no names and no ids. Links that were revoked find
        nothing unless ``revoked`` is set: who has a stolen link is not to be shown its new one. A link of
        Shadowsocks 2022 with a key of 128 bits is not found by itself.
        """
        arguments = {"text": text, "revoked": revoked}
        answer: Key | None = await self._calls.call("keys.lookup", _wire.dumps(arguments))
        return answer

    async def count(
        self,
        search: str | None = None,
        *,
        status: KeyStatus | Sequence[KeyStatus] = (),
        owner: int | None = None,
        labels: Mapping[str, str] = EMPTY,
        expires_before: datetime | None = None,
        used_percent: int | None = None,
        sort: Sort = "id",
        descending: bool = False,
        limit: int = 100,
        page: str | None = None,
    ) -> KeyCounts:
        """Counts the keys that a query finds on all its pages, by their status; order and size of pages do not matter.

        The arguments are the fields of ``KeyQuery``.
        """
        query = KeyQuery(
            status=status,
            search=search,
            owner=owner,
            labels=labels,
            expires_before=expires_before,
            used_percent=used_percent,
            sort=sort,
            descending=descending,
            limit=limit,
            page=page,
        )
        arguments = {"query": query._json("keys.count")}
        return KeyCounts._read(await self._calls.json("keys.count", _wire.dumps(arguments)))

    async def update(
        self,
        key: KeyLike,
        *,
        name: str | None | Keep = KEEP,
        label: str | None | Keep = KEEP,
        labels: Mapping[str, str | None] | Keep = KEEP,
        note: str | None | Keep = KEEP,
        owner: int | None | Keep = KEEP,
        data_limit: Size | None | Keep = KEEP,
        expires_at: datetime | None | Keep = KEEP,
        hold: Hold | None | Keep = KEEP,
        paused: bool | Keep = KEEP,
        reset: DataReset | None | Keep = KEEP,
        next_plan: NextPlan | None | Keep = KEEP,
        delete_after: Length | None | Keep = KEEP,
        device_limit: int | None | Keep = KEEP,
        address_limit: int | None | Keep = KEEP,
        locked_until: datetime | None | Keep = KEEP,
        inbounds: Sequence[str] | None | Keep = KEEP,
        enabled: bool | Keep = KEEP,
        reset_usage: bool = False,
        begin_next_plan: bool = False,
        revoke_links: bool = False,
        keep_old_links: Length | Keep = KEEP,
        credentials: Sequence[Credential] = (),
        idempotency_key: str | None = None,
        expected_version: int | None = None,
    ) -> Key:
        """Changes a key. With ``expected_version``, only if nobody changed it since.

        A payment changes it once, however late it comes again: the same idempotency key, in whichever process,
        returns the key as it is. So what is sold by a change, such as a next plan or a usage that is set to
        nothing, is not given twice. It is kept for good and may not be that of another call.

        The arguments are the fields of ``KeyPatch``.

        Raises NotFoundError, ConflictError, InvalidInputError, AlreadyExistsError (name); IdempotencyMismatchError
        when the idempotency key was used for something else.
        """
        patch = KeyPatch(
            name=name,
            label=label,
            labels=labels,
            note=note,
            owner=owner,
            data_limit=data_limit,
            expires_at=expires_at,
            hold=hold,
            paused=paused,
            reset=reset,
            next_plan=next_plan,
            delete_after=delete_after,
            device_limit=device_limit,
            address_limit=address_limit,
            locked_until=locked_until,
            inbounds=inbounds,
            enabled=enabled,
            reset_usage=reset_usage,
            begin_next_plan=begin_next_plan,
            revoke_links=revoke_links,
            keep_old_links=keep_old_links,
            credentials=credentials,
        )
        arguments = {
            "key": _wire.key_ref("keys.update", "key", key),
            "patch": patch._json("keys.update"),
            "idempotency_key": idempotency_key,
            "expected_version": expected_version,
        }
        answer: Key = await self._calls.call("keys.update", _wire.dumps(arguments))
        return answer

    async def extend(
        self,
        key: KeyLike,
        *,
        days: float | None = None,
        expires_in: Length | None = None,
        data_limit: Size | None = None,
        unlimited: bool = False,
        template: str | None = None,
        policy: RenewPolicy = "carry_over",
        reason: str | None = None,
        idempotency_key: str | None = None,
        expected_version: int | None = None,
    ) -> Key:
        """Gives a key time and volume, computed in the store from what it has then. What the key still has is treated
        as the policy says.

        A payment grants once: the same idempotency key again, in whichever process, returns the key and gives
        nothing. It is kept for good and may not be that of another call. Each extension is an entry of the ledger,
        which ``Grants.undo`` takes back.

        The arguments are the fields of ``Extension``.

        Raises NotFoundError; InvalidInputError with the ``field``; ConflictError; IdempotencyMismatchError when the
        idempotency key was used for something else.
        """
        extension = Extension(
            days=days,
            expires_in=expires_in,
            data_limit=data_limit,
            unlimited=unlimited,
            template=template,
            policy=policy,
            reason=reason,
        )
        arguments = {
            "key": _wire.key_ref("keys.extend", "key", key),
            "extension": extension._json("keys.extend"),
            "idempotency_key": idempotency_key,
            "expected_version": expected_version,
        }
        answer: Key = await self._calls.call("keys.extend", _wire.dumps(arguments))
        return answer

    async def extend_step(
        self,
        idempotency_key: str,
        *,
        days: float | None = None,
        expires_in: Length | None = None,
        data_limit: Size | None = None,
        unlimited: bool = False,
        template: str | None = None,
        policy: RenewPolicy = "carry_over",
        reason: str | None = None,
        query: KeyQuery | None = None,
        after: int | Key | None = None,
    ) -> ExtendedStep:
        """Extends the next keys that a query finds, at most 500 in one transaction, in the order of their ids; to be
        called again with ``after`` set to ``ExtendedStep.next`` until that is None. For an outage that everybody is
        given three days for.

        Each step is done once under its idempotency key: who was interrupted begins again without ``after``, in
        whichever process, and nothing is given twice. Order and size of pages of the query do not matter. Servers
        are not waited for.

        The arguments are the fields of ``Extension``.

        Raises InvalidInputError with the ``field``; IdempotencyMismatchError when the idempotency key was used for
        another extension.
        """
        extension = Extension(
            days=days,
            expires_in=expires_in,
            data_limit=data_limit,
            unlimited=unlimited,
            template=template,
            policy=policy,
            reason=reason,
        )
        arguments = {
            "extension": extension._json("keys.extend_step"),
            "idempotency_key": idempotency_key,
            "query": None if query is None else _wire.record("keys.extend_step", "query", query),
            "after": None if after is None else _wire.key_id("keys.extend_step", "after", after),
        }
        return ExtendedStep._read(await self._calls.json("keys.extend_step", _wire.dumps(arguments)))

    async def extend_all(
        self,
        idempotency_key: str,
        *,
        days: float | None = None,
        expires_in: Length | None = None,
        data_limit: Size | None = None,
        unlimited: bool = False,
        template: str | None = None,
        policy: RenewPolicy = "carry_over",
        reason: str | None = None,
        query: KeyQuery | None = None,
    ) -> AsyncIterator[ExtendedStep]:
        """Extends all keys that a query finds, step by step: each step is told once it is committed, for a bar of progress
        beside :meth:`count`. Interrupted, the same call begins again, in whichever process, and gives nothing twice.

        Arguments and errors as with :meth:`extend_step`."""
        after: int | None = None
        while True:
            step = await self.extend_step(
                idempotency_key=idempotency_key,
                days=days,
                expires_in=expires_in,
                data_limit=data_limit,
                unlimited=unlimited,
                template=template,
                policy=policy,
                reason=reason,
                query=query,
                after=after,
            )
            yield step
            after = step.next
            if after is None:
                return

    async def pause(self, key: KeyLike) -> Key:
        """Pauses a key: it may not connect, and the time that is left to it is kept until it is resumed."""
        answer: Key = await self._calls.call("keys.pause", _wire.of_key("keys.pause", key))
        return answer

    async def resume(self, key: KeyLike) -> Key:
        """Resumes a key that was paused: its end moves by the length of the pause."""
        answer: Key = await self._calls.call("keys.resume", _wire.of_key("keys.resume", key))
        return answer

    async def begin_next_plan(self, key: KeyLike) -> Key:
        """Begins the next plan of a key now, whatever is left of what it has.

        Raises NotFoundError for the key, and when it has no next plan.
        """
        answer: Key = await self._calls.call("keys.begin_next_plan", _wire.of_key("keys.begin_next_plan", key))
        return answer

    async def enable(self, key: KeyLike) -> Key:
        """Lets a key that was disabled connect again, unless its time or limit is over."""
        answer: Key = await self._calls.call("keys.enable", _wire.of_key("keys.enable", key))
        return answer

    async def disable(self, key: KeyLike) -> Key:
        """Switches a key off by hand."""
        answer: Key = await self._calls.call("keys.disable", _wire.of_key("keys.disable", key))
        return answer

    async def reset_usage(self, key: KeyLike) -> Key:
        """Sets what counts against the limit to nothing; the key's total traffic stays. A limited key may connect
        again."""
        answer: Key = await self._calls.call("keys.reset_usage", _wire.of_key("keys.reset_usage", key))
        return answer

    async def delete(self, key: KeyLike, *, expected_version: int | None = None) -> None:
        """Deletes a key, its credentials and the inbounds that are dedicated to it. Its id is never used again.

        Raises NotFoundError, ConflictError.
        """
        arguments = {"key": _wire.key_ref("keys.delete", "key", key), "expected_version": expected_version}
        await self._calls.call("keys.delete", _wire.dumps(arguments))

    async def merge(
        self,
        key: KeyLike,
        into: KeyLike,
        *,
        idempotency_key: str | None = None,
        expected_version: int | None = None,
    ) -> Key:
        """Merges two keys of one customer: ``into`` is given what is left of ``key``, its volume, its time and the
        labels that it has not itself, and ``key`` is deleted with its links, in one transaction. The ledger has it
        as an extension, with the idempotency key.

        Only like is added to like.

        Raises NotFoundError; ConflictError about the version of ``into``; InvalidInputError about ``into`` when
        they cannot be added up, about ``key`` when it is disabled or locked, or has a next plan;
        IdempotencyMismatchError.
        """
        arguments = {
            "key": _wire.key_ref("keys.merge", "key", key),
            "into": _wire.key_ref("keys.merge", "into", into),
            "idempotency_key": idempotency_key,
            "expected_version": expected_version,
        }
        answer: Key = await self._calls.call("keys.merge", _wire.dumps(arguments))
        return answer

    async def delete_many(self, ids: Iterable[int | Key]) -> int:
        """Deletes these keys in one transaction, all of them or none; returns how many.

        Raises NotFoundError with the first key that does not exist.
        """
        arguments = {"ids": _wire.many(_wire.key_id)("keys.delete_many", "ids", ids)}
        answer: int = await self._calls.json("keys.delete_many", _wire.dumps(arguments))
        return answer

    async def timeline(self, key: KeyLike, *, before: int | None = None, limit: int = 100) -> list[Event]:
        """Returns what has happened to a key, the newest first: what, when, by which call, who made it, why, with
        which payment. Also of a key that was deleted, by its id.

        ``before`` is the cursor of the last one of the answer before. What is older than the timelines are kept is
        gone.

        Raises NotFoundError for a name or UUID of a key that does not exist; InvalidInputError about ``limit``, 1
        to 1,000.
        """
        arguments = {"key": _wire.key_ref("keys.timeline", "key", key), "before": before, "limit": limit}
        answer: list[Event] = await self._calls.call("keys.timeline", _wire.dumps(arguments))
        return answer

    async def endpoints(self, key: KeyLike) -> list[Endpoint]:
        """Everything a client needs to connect with this key: one endpoint for each credential, inbound and host. A
        key that may not connect has the same endpoints; they just do not work."""
        answer = await self._calls.json("keys.endpoints", _wire.of_key("keys.endpoints", key))
        return [Endpoint._read(one) for one in answer]

    async def links(self, key: KeyLike) -> list[str]:
        """Share links, one for each endpoint."""
        answer: list[str] = await self._calls.json("keys.links", _wire.of_key("keys.links", key))
        return answer

    async def placement(self, key: KeyLike) -> list[Placement]:
        """Tells which servers a key belongs on, and whether they have taken it over. A change of a key is committed
        before it is applied to servers, so a server that is down, or slow, has it later.

        Raises NotFoundError.
        """
        answer = await self._calls.json("keys.placement", _wire.of_key("keys.placement", key))
        return [Placement._read(one) for one in answer]


class Admins:
    """Keeps admins: a tree of sudo and resellers with quotas, passwords and API keys."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def create(
        self,
        name: str,
        *,
        role: AdminRole = "reseller",
        parent: AdminLike | None = None,
        note: str | None = None,
        labels: Mapping[str, str] = EMPTY,
        disabled: bool = False,
        key_limit: int | None = None,
        sold_limit: Size | None = None,
        used_limit: Size | None = None,
        admin_limit: int = 0,
        inbounds: Sequence[str] | None = None,
        nodes: Sequence[str] | None = None,
        templates: Sequence[str] | None = None,
        password: str | None = None,
    ) -> Admin:
        """Creates an admin. Called in the name of a reseller, it stands below that one unless ``parent`` names another
        one below it.

        The arguments are the fields of ``CreateAdmin``.

        Raises InvalidInputError with the ``field``; AlreadyExistsError when the name is taken; NotFoundError for
        the parent; LimitReachedError when there are as many admins as there may be; PermissionDeniedError.
        """
        request = CreateAdmin(
            name=name,
            role=role,
            parent=parent,
            note=note,
            labels=labels,
            disabled=disabled,
            key_limit=key_limit,
            sold_limit=sold_limit,
            used_limit=used_limit,
            admin_limit=admin_limit,
            inbounds=inbounds,
            nodes=nodes,
            templates=templates,
        )
        arguments = {"request": request._json("admins.create"), "password": password}
        return Admin._read(await self._calls.json("admins.create", _wire.dumps(arguments)))

    async def get(self, admin: AdminLike) -> Admin | None:
        """Returns the admin with what it has and uses, or None."""
        arguments = {"admin": _wire.admin_ref("admins.get", "admin", admin)}
        answer = await self._calls.json("admins.get", _wire.dumps(arguments))
        return None if answer is None else Admin._read(answer)

    async def require(self, admin: AdminLike) -> Admin:
        """Returns the admin with what it has and uses.

        Raises NotFoundError.
        """
        arguments = {"admin": _wire.admin_ref("admins.require", "admin", admin)}
        return Admin._read(await self._calls.json("admins.require", _wire.dumps(arguments)))

    async def current(self) -> Admin | None:
        """Returns the admin in whose name calls are made; None for those of the application itself."""
        answer = await self._calls.json("admins.current", "{}")
        return None if answer is None else Admin._read(answer)

    async def list(self, below: AdminLike | None = None) -> builtins.list[Admin]:
        """Returns all admins by id, or one and those below it.

        Raises NotFoundError for the one.
        """
        arguments = {"below": None if below is None else _wire.admin_ref("admins.list", "below", below)}
        answer = await self._calls.json("admins.list", _wire.dumps(arguments))
        return [Admin._read(one) for one in answer]

    async def update(
        self,
        admin: AdminLike,
        *,
        name: str | Keep = KEEP,
        role: AdminRole | Keep = KEEP,
        note: str | None | Keep = KEEP,
        labels: Mapping[str, str | None] | Keep = KEEP,
        disabled: bool | Keep = KEEP,
        key_limit: int | None | Keep = KEEP,
        sold_limit: Size | None | Keep = KEEP,
        used_limit: Size | None | Keep = KEEP,
        admin_limit: int | Keep = KEEP,
        inbounds: Sequence[str] | None | Keep = KEEP,
        nodes: Sequence[str] | None | Keep = KEEP,
        templates: Sequence[str] | None | Keep = KEEP,
        reset_usage: bool = False,
        reset_sold: bool = False,
        expected_version: int | None = None,
    ) -> Admin:
        """Changes an admin. With ``expected_version``, only if nobody changed it since. A limit that is lower than
        what there is takes nothing away: there is no more until there is less.

        The arguments are the fields of ``AdminPatch``.

        Raises NotFoundError, ConflictError, InvalidInputError, AlreadyExistsError (name); PermissionDeniedError for
        an admin about itself.
        """
        patch = AdminPatch(
            name=name,
            role=role,
            note=note,
            labels=labels,
            disabled=disabled,
            key_limit=key_limit,
            sold_limit=sold_limit,
            used_limit=used_limit,
            admin_limit=admin_limit,
            inbounds=inbounds,
            nodes=nodes,
            templates=templates,
            reset_usage=reset_usage,
            reset_sold=reset_sold,
        )
        arguments = {
            "admin": _wire.admin_ref("admins.update", "admin", admin),
            "patch": patch._json("admins.update"),
            "expected_version": expected_version,
        }
        return Admin._read(await self._calls.json("admins.update", _wire.dumps(arguments)))

    async def reset_usage(self, admin: AdminLike) -> Admin:
        """Sets the bytes that the keys of an admin have used to nothing: those that its quota had stopped may connect
        again. What the admins above it count stays.

        Raises NotFoundError; PermissionDeniedError for an admin about itself.
        """
        arguments = {"admin": _wire.admin_ref("admins.reset_usage", "admin", admin)}
        return Admin._read(await self._calls.json("admins.reset_usage", _wire.dumps(arguments)))

    async def disable_keys(self, admin: AdminLike) -> int:
        """Switches off all keys of an admin that may connect or are suspended, in steps of 500; returns how many.
        Interrupted, the same call goes on. Keys of the admins below it stay as they are.

        Raises NotFoundError.
        """
        arguments = {"admin": _wire.admin_ref("admins.disable_keys", "admin", admin)}
        answer: int = await self._calls.json("admins.disable_keys", _wire.dumps(arguments))
        return answer

    async def enable_keys(self, admin: AdminLike) -> int:
        """Lets all keys of an admin go on that were switched off, by this or one by one, in steps of 500; returns how
        many.

        Raises NotFoundError.
        """
        arguments = {"admin": _wire.admin_ref("admins.enable_keys", "admin", admin)}
        answer: int = await self._calls.json("admins.enable_keys", _wire.dumps(arguments))
        return answer

    async def hand_over_keys(self, admin: AdminLike, to: AdminLike) -> int:
        """Gives all keys of an admin to another one, in steps of 500; returns how many. They count against the quotas
        of that one: what is beyond them stays where it was, and ``changed`` of the error says how many were given.

        Raises NotFoundError; LimitReachedError when a quota has no room for more.
        """
        arguments = {
            "admin": _wire.admin_ref("admins.hand_over_keys", "admin", admin),
            "to": _wire.admin_ref("admins.hand_over_keys", "to", to),
        }
        answer: int = await self._calls.json("admins.hand_over_keys", _wire.dumps(arguments))
        return answer

    async def delete(
        self,
        admin: AdminLike,
        *,
        keys: KeysOfDeleted = "refuse",
        expected_version: int | None = None,
    ) -> None:
        """Deletes an admin with its password and API keys. What becomes of its keys ``keys`` says; those are done
        first, in steps of 500, and interrupted the same call goes on.

        Raises NotFoundError; ConflictError when there are admins below it, whose quotas are its own too, or when it
        has keys, unless ``keys`` says what becomes of them; PermissionDeniedError for an admin about itself, or
        when keys of a reseller would have no owner.
        """
        arguments = {
            "admin": _wire.admin_ref("admins.delete", "admin", admin),
            "keys": keys,
            "expected_version": expected_version,
        }
        await self._calls.call("admins.delete", _wire.dumps(arguments))

    async def set_password(self, admin: AdminLike, password: str | None) -> None:
        """Sets the password of an admin, 8 to 1,024 bytes, or takes it away: then nobody signs in with one. Only its
        Argon2id hash is kept.

        Raises NotFoundError; InvalidInputError about ``password``.
        """
        arguments = {"admin": _wire.admin_ref("admins.set_password", "admin", admin), "password": password}
        await self._calls.call("admins.set_password", _wire.dumps(arguments))

    async def check_password(self, name: str, password: str) -> Admin | None:
        """Returns the admin who signs in with a name and a password; None when they are not right, or the admin is
        disabled. An unknown name takes as long as a wrong password. A few are checked at once, the others wait:
        limit how often one may try."""
        arguments = {"name": name, "password": password}
        answer = await self._calls.json("admins.check_password", _wire.dumps(arguments))
        return None if answer is None else Admin._read(answer)

    async def create_api_key(
        self,
        admin: AdminLike,
        name: str,
        *,
        scopes: Sequence[str] | None = None,
        expires_in: Length | None = None,
    ) -> NewApiKey:
        """Creates an API key of an admin: ``name`` is for people, up to 100 characters. ``scopes`` restrict it: ``*``,
        ``*:read``, a noun such as ``keys``, or ``keys:read``, ``keys:change``; without any it may what the admin
        may. The token is shown now and never again.

        Raises NotFoundError; InvalidInputError with the ``field``; LimitReachedError when the admin has 100 of
        them; PermissionDeniedError when the call has less to give.
        """
        arguments = {
            "admin": _wire.admin_ref("admins.create_api_key", "admin", admin),
            "name": name,
            "scopes": None if scopes is None else _wire.many(_wire.same)("admins.create_api_key", "scopes", scopes),
            "expires_in": None if expires_in is None else _wire.length("admins.create_api_key", "expires_in", expires_in),
        }
        return NewApiKey._read(await self._calls.json("admins.create_api_key", _wire.dumps(arguments)))

    async def api_keys(self, admin: AdminLike) -> builtins.list[ApiKey]:
        """Returns the API keys of an admin, without their tokens, by id.

        Raises NotFoundError.
        """
        arguments = {"admin": _wire.admin_ref("admins.api_keys", "admin", admin)}
        answer = await self._calls.json("admins.api_keys", _wire.dumps(arguments))
        return [ApiKey._read(one) for one in answer]

    async def revoke_api_key(self, id: str) -> None:
        """Makes an API key worthless from the next call on.

        Raises NotFoundError.
        """
        arguments = {"id": id}
        await self._calls.call("admins.revoke_api_key", _wire.dumps(arguments))

    async def check_api_key(self, token: str) -> ApiKey | None:
        """Returns the API key that a token is of; None when it is of none, has expired or was revoked, or its admin is
        disabled. Make calls with ``CallContext.as_admin``, with its admin and its scopes."""
        arguments = {"token": token}
        answer = await self._calls.json("admins.check_api_key", _wire.dumps(arguments))
        return None if answer is None else ApiKey._read(answer)


class Grants:
    """Shows the ledger of what keys were given, and takes grants back."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def find(
        self,
        key: KeyLike | None = None,
        *,
        idempotency_key: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        after: int | None = None,
        limit: int = 100,
    ) -> list[Grant]:
        """Returns entries of the ledger, oldest first: of a key, of a payment, of a time.

        The arguments are the fields of ``GrantQuery``.

        Raises NotFoundError for a name or UUID of a key that does not exist; InvalidInputError about ``limit``.
        """
        query = GrantQuery(
            key=key,
            idempotency_key=idempotency_key,
            since=since,
            until=until,
            after=after,
            limit=limit,
        )
        arguments = {"query": query._json("grants.find")}
        answer = await self._calls.json("grants.find", _wire.dumps(arguments))
        return [Grant._read(one) for one in answer]

    async def undo(self, grant: int | str, reason: str | None = None, *, idempotency_key: str | None = None) -> Key:
        """Takes a grant back, as for a refund: the key has what it would have had without it. ``grant`` is its id, or
        the idempotency key of the call that gave it.

        What is left is computed from the ledger: later grants are given again on what there was without this one,
        and what happened between them stays: bytes that were used, pauses, changes by hand. A key that was created
        by the grant ends.

        Raises NotFoundError for the grant, or when its key was deleted; ConflictError when it was undone before,
        unless by a call with the same idempotency key; InvalidInputError about ``grant`` when a payment has given
        several.
        """
        arguments = {"grant": grant, "reason": reason, "idempotency_key": idempotency_key}
        answer: Key = await self._calls.call("grants.undo", _wire.dumps(arguments))
        return answer


class KeyTemplates:
    """Keeps the products of a shop: templates that keys are created and extended with."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def ensure(self, template: KeyTemplate) -> KeyTemplate:
        """Makes sure that a template exists as described: adds it, replaces the one of its name, or does nothing. Keys
        that were made of it stay as they are.

        Raises InvalidInputError with the ``field``; LimitReachedError when there are 1,000 others.
        """
        arguments = {"template": _wire.record("templates.ensure", "template", template)}
        return KeyTemplate._read(await self._calls.json("templates.ensure", _wire.dumps(arguments)))

    async def get(self, name: str) -> KeyTemplate | None:
        """Returns the template, or None."""
        arguments = {"name": name}
        answer = await self._calls.json("templates.get", _wire.dumps(arguments))
        return None if answer is None else KeyTemplate._read(answer)

    async def list(self) -> builtins.list[KeyTemplate]:
        """Returns all templates, sorted by name."""
        answer = await self._calls.json("templates.list", "{}")
        return [KeyTemplate._read(one) for one in answer]

    async def remove(self, name: str) -> None:
        """Removes a template. Keys that were made of it stay as they are.

        Raises NotFoundError.
        """
        arguments = {"name": name}
        await self._calls.call("templates.remove", _wire.dumps(arguments))


class Inbounds:
    """Adds, changes and removes inbounds."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def ensure(self, inbound: Inbound) -> Inbound:
        """Makes sure that the inbound exists as described: adds it, replaces the one of its tag, or does nothing. Keys
        that lack a credential for it get one.

        Raises InvalidInputError for what the server program does not allow; AlreadyExistsError when another inbound
        has the port; LimitReachedError when it has fewer addresses than keys need; PortInUseError and RejectedError
        when the server refuses it, and then nothing of it is left. When the server does not answer, the inbound is
        committed and comes with the next reconcile.
        """
        arguments = {"inbound": _wire.record("inbounds.ensure", "inbound", inbound)}
        return Inbound._read(await self._calls.json("inbounds.ensure", _wire.dumps(arguments)))

    async def rotate_keys(self, tag: str, keep_old: Length, *, node: str = "main") -> Inbound:
        """Gives an inbound with REALITY new keys. Links with those that it has work for ``keep_old`` longer, up to 366
        days: clients that fetch their subscription in that time notice nothing. Zero ends them at once, as after a
        leak. Keys of an earlier rotation end now: asked for again, as after an answer that was lost, it changes
        them again. Connections that are open may end; clients connect again. A description with keys of earlier
        does not bring them back.

        Raises NotFoundError; UnsupportedError by an inbound without REALITY; InvalidInputError about ``keep_old``;
        UnavailableError while its server does not answer; RejectedError by an attached Xray that was configured
        with the inbound.
        """
        arguments = {"node": node, "tag": tag, "keep_old": _wire.length("inbounds.rotate_keys", "keep_old", keep_old)}
        return Inbound._read(await self._calls.json("inbounds.rotate_keys", _wire.dumps(arguments)))

    async def list(self) -> builtins.list[Inbound]:
        """All inbounds, sorted by node and tag."""
        answer = await self._calls.json("inbounds.list", "{}")
        return [Inbound._read(one) for one in answer]

    async def get(self, tag: str, *, node: str = "main") -> Inbound | None:
        """The inbound, or None."""
        arguments = {"node": node, "tag": tag}
        answer = await self._calls.json("inbounds.get", _wire.dumps(arguments))
        return None if answer is None else Inbound._read(answer)

    async def remove(self, tag: str, *, node: str = "main") -> None:
        """Removes an inbound. Keys that were on it stay; nobody connects to it any more.

        Raises NotFoundError.
        """
        arguments = {"node": node, "tag": tag}
        await self._calls.call("inbounds.remove", _wire.dumps(arguments))


class Hosts:
    """Says how clients reach inbounds. An inbound without hosts is reached at its server's own address."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def list(self) -> builtins.list[InboundHosts]:
        """The hosts of every inbound that has some, sorted by node and tag."""
        answer = await self._calls.json("hosts.list", "{}")
        return [InboundHosts._read(one) for one in answer]

    async def set(self, tag: str, hosts: Iterable[Host], *, node: str = "main") -> None:
        """Replaces all hosts of an inbound; none gives it back its server's own address. To keep an inbound out of
        subscriptions, give it one host that is ``disabled``.

        Raises NotFoundError for the inbound; InvalidInputError with the ``field``, ``hosts[1].port``.
        """
        arguments = {"node": node, "tag": tag, "hosts": _wire.many(_wire.record)("hosts.set", "hosts", hosts)}
        await self._calls.call("hosts.set", _wire.dumps(arguments))

    async def preview(
        self,
        key: KeyLike,
        tag: str,
        hosts: Iterable[Host],
        *,
        node: str = "main",
    ) -> builtins.list[Endpoint]:
        """The endpoints that a key would have on an inbound with these hosts: variables filled in, choices made.
        Nothing is stored.

        Raises NotFoundError for the key or the inbound; InvalidInputError with the ``field``.
        """
        arguments = {
            "key": _wire.key_ref("hosts.preview", "key", key),
            "node": node,
            "tag": tag,
            "hosts": _wire.many(_wire.record)("hosts.preview", "hosts", hosts),
        }
        answer = await self._calls.json("hosts.preview", _wire.dumps(arguments))
        return [Endpoint._read(one) for one in answer]


class Subscriptions:
    """Gives out subscriptions: URLs, answers for clients, settings, templates, devices."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def settings(self) -> SubscriptionSettings:
        """The settings."""
        return SubscriptionSettings._read(await self._calls.json("subscriptions.settings", "{}"))

    async def configure(self, settings: SubscriptionSettings) -> None:
        """Replaces the settings, for every process that uses this store.

        Raises InvalidInputError with the ``field``.
        """
        arguments = {"settings": _wire.record("subscriptions.configure", "settings", settings)}
        await self._calls.call("subscriptions.configure", _wire.dumps(arguments))

    async def update(
        self,
        *,
        base_url: str | None | Keep = KEEP,
        title: str | Keep = KEEP,
        update_interval_hours: int | Keep = KEEP,
        support_url: str | None | Keep = KEEP,
        web_page_url: str | None | Keep = KEEP,
        announce: str | None | Keep = KEEP,
        announce_url: str | None | Keep = KEEP,
        routing: str | None | Keep = KEEP,
        language: Language | Keep = KEEP,
        utc_offset_minutes: int | Keep = KEEP,
        notices: Notices | Keep = KEEP,
        device_limit: int | None | Keep = KEEP,
        require_device: bool | Keep = KEEP,
        clients: Sequence[ClientRule] | Keep = KEEP,
        secret_rotation: KeyRotation | None | Keep = KEEP,
    ) -> SubscriptionSettings:
        """Changes what is given of the settings and keeps the rest, for every process that uses this store; returns
        all of them.

        The arguments are the fields of ``SettingsPatch``.

        Raises InvalidInputError with the ``field``.
        """
        patch = SettingsPatch(
            base_url=base_url,
            title=title,
            update_interval_hours=update_interval_hours,
            support_url=support_url,
            web_page_url=web_page_url,
            announce=announce,
            announce_url=announce_url,
            routing=routing,
            language=language,
            utc_offset_minutes=utc_offset_minutes,
            notices=notices,
            device_limit=device_limit,
            require_device=require_device,
            clients=clients,
            secret_rotation=secret_rotation,
        )
        arguments = {"patch": patch._json("subscriptions.update")}
        return SubscriptionSettings._read(await self._calls.json("subscriptions.update", _wire.dumps(arguments)))

    async def token(self, key: KeyLike) -> str:
        """The token of a key: 28 letters, the same until its links are revoked or the signing secret is rotated.

        Raises NotFoundError.
        """
        answer: str = await self._calls.json("subscriptions.token", _wire.of_key("subscriptions.token", key))
        return answer

    async def url(self, key: KeyLike) -> str:
        """The URL of a key's subscription.

        Raises NotFoundError; InvalidConfigError when the settings have no ``base_url``.
        """
        answer: str = await self._calls.json("subscriptions.url", _wire.of_key("subscriptions.url", key))
        return answer

    async def render(
        self,
        key: KeyLike,
        *,
        client: str | None = None,
        format: str | None = None,
        language: Language | None = None,
    ) -> SubscriptionResponse:
        """A key's subscription as a client gets it, devices aside.

        The arguments are the fields of ``RenderOptions``.

        Raises NotFoundError for the key or a template.
        """
        target = RenderOptions(
            client=client,
            format=format,
            language=language,
        )
        arguments = {
            "key": _wire.key_ref("subscriptions.render", "key", key),
            "target": target._json("subscriptions.render"),
        }
        return SubscriptionResponse._read(await self._calls.json("subscriptions.render", _wire.dumps(arguments)))

    async def for_request(self, token: str, headers: Headers, format: str | None = None) -> SubscriptionResponse:
        """The answer to an HTTP request for a subscription. ``headers`` are the request's, in any case and order;
        ``format`` is what stands after the token in the URL, if anything does.

        A token that is not valid, or no longer, is an answer with status 404, as is an unknown ``format``; only a
        failure of the store is an error.
        """
        arguments = {
            "token": token,
            "headers": _wire.headers("subscriptions.for_request", "headers", headers),
            "format": format,
        }
        return SubscriptionResponse._read(await self._calls.json("subscriptions.for_request", _wire.dumps(arguments)))

    async def revoke(self, key: KeyLike, *, new_credentials: bool = False, keep_old: Length | None = None) -> Key:
        """Makes every token and URL of the key that was given out worthless, and with ``new_credentials`` its share
        links too: at once, and open connections end where the server can end them; or when ``keep_old`` is over, so
        that the customer's devices can change. Until then the old URL answers with the old links. Revoked again,
        those of before end at once.

        Raises NotFoundError; InvalidInputError about ``keep_old``: longer than nothing, up to 366 days.
        """
        arguments = {
            "key": _wire.key_ref("subscriptions.revoke", "key", key),
            "new_credentials": new_credentials,
            "keep_old": None if keep_old is None else _wire.length("subscriptions.revoke", "keep_old", keep_old),
        }
        answer: Key = await self._calls.call("subscriptions.revoke", _wire.dumps(arguments))
        return answer

    async def rotate_secret(self, keep: Length) -> None:
        """A new secret signs from now on. Tokens of those before are honoured for ``keep`` longer: clients that fetch
        in that time need nothing new only while their URL is valid, so send out the new URLs. Zero ends all of them
        at once, as after a leak.

        Raises ConflictError when another process does the same.
        """
        arguments = {"keep": _wire.length("subscriptions.rotate_secret", "keep", keep)}
        await self._calls.call("subscriptions.rotate_secret", _wire.dumps(arguments))

    async def templates(self) -> dict[str, SubscriptionTemplate]:
        """The operator's templates, by name."""
        answer = await self._calls.json("subscriptions.templates", "{}")
        return {name: SubscriptionTemplate._read(one) for name, one in answer.items()}

    async def put_template(self, name: str, template: SubscriptionTemplate) -> None:
        """Adds a template, or replaces the one of its name (1 to 32 of ``a-z 0-9 _ -``). It is checked first.

        Raises InvalidInputError about ``name``, ``content_type`` or ``source``, with the ``line``.
        """
        arguments = {"name": name, "template": _wire.record("subscriptions.put_template", "template", template)}
        await self._calls.call("subscriptions.put_template", _wire.dumps(arguments))

    async def remove_template(self, name: str) -> None:
        """Removes a template.

        Raises NotFoundError; ConflictError while a rule of the settings uses it.
        """
        arguments = {"name": name}
        await self._calls.call("subscriptions.remove_template", _wire.dumps(arguments))

    async def devices(self, key: KeyLike) -> list[ClientDevice]:
        """The devices that have fetched a key's subscription, the one that came first first.

        Raises NotFoundError.
        """
        answer = await self._calls.json("subscriptions.devices", _wire.of_key("subscriptions.devices", key))
        return [ClientDevice._read(one) for one in answer]

    async def forget_device(self, key: KeyLike, id: str | None) -> None:
        """Forgets a device of a key, or with None all of them: there is room for another one.

        Raises NotFoundError.
        """
        arguments = {"key": _wire.key_ref("subscriptions.forget_device", "key", key), "id": id}
        await self._calls.call("subscriptions.forget_device", _wire.dumps(arguments))


class TrafficView:
    """Tells what passed, and who is online."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def history(
        self,
        key: KeyLike | None = None,
        *,
        admin: AdminLike | None = None,
        node: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        step: UsageStep = "day",
        time_zone: str | None = None,
    ) -> list[UsagePoint]:
        """Returns traffic over time, oldest first; steps without traffic are left out. The sum of all steps is what
        has passed, to the byte.

        The arguments are the fields of ``HistoryQuery``.

        Raises NotFoundError for the key or the admin; InvalidInputError about ``admin`` beside a key.
        """
        query = HistoryQuery(
            key=key,
            admin=admin,
            node=node,
            since=since,
            until=until,
            step=step,
            time_zone=time_zone,
        )
        arguments = {"query": query._json("traffic.history")}
        answer = await self._calls.json("traffic.history", _wire.dumps(arguments))
        return [UsagePoint._read(one) for one in answer]

    async def chart(
        self,
        key: KeyLike,
        days: int = 30,
        *,
        theme: Theme = "light",
        format: ImageFormat = "png",
        width: int = 1_080,
    ) -> bytes:
        """Draws a chart of a key's traffic over the last ``days`` (1 to 366, today included), for bots to send.
        ``width`` is in pixels, 200 to 4,096.

        Raises NotFoundError; InvalidInputError about ``days`` or ``width``.
        """
        arguments = {
            "key": _wire.key_ref("traffic.chart", "key", key),
            "days": days,
            "theme": theme,
            "format": format,
            "width": width,
        }
        return b64decode(await self._calls.json("traffic.chart", _wire.dumps(arguments)))

    async def collect(self) -> list[Collected]:
        """Reads every server that answers now, instead of at the next interval; those of other processes too."""
        answer = await self._calls.json("traffic.collect", "{}")
        return [Collected._read(one) for one in answer]

    async def online(self) -> list[OnlineKey]:
        """Returns the keys with open connections on any server that answers, sorted by id."""
        answer = await self._calls.json("traffic.online", "{}")
        return [OnlineKey._read(one) for one in answer]

    async def rates(self, limit: int = 100) -> Rates:
        """Returns how fast bytes pass now, between the last two readings of each server that answers: by server, and
        of the ``limit`` fastest keys (1 to 1,000).

        Raises InvalidInputError about ``limit``.
        """
        arguments = {"limit": limit}
        return Rates._read(await self._calls.json("traffic.rates", _wire.dumps(arguments)))

    async def set_coefficient(self, node: str, percent: int) -> None:
        """Sets how much bytes through a node count against the limits of keys, in percent: 100, the default, is each
        byte once, 0 not at all, up to 10,000. The traffic of keys and of the node stays what has passed. Every
        process goes by it within a second.

        Raises InvalidInputError about ``percent``.
        """
        arguments = {"node": node, "percent": percent}
        await self._calls.call("traffic.set_coefficient", _wire.dumps(arguments))

    async def coefficients(self) -> dict[str, int]:
        """Returns how much bytes through nodes count, in percent, by node; those that are left out count once."""
        answer: dict[str, int] = await self._calls.json("traffic.coefficients", "{}")
        return answer

    async def online_key(self, key: KeyLike) -> OnlineKey | None:
        """Returns where one key is online from; None when it is not.

        Raises NotFoundError.
        """
        answer = await self._calls.json("traffic.online_key", _wire.of_key("traffic.online_key", key))
        return None if answer is None else OnlineKey._read(answer)


class StoreView:
    """Copies and checks the store while it is in use."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def back_up(self, path: str) -> Backup:
        """Copies the store as it is now into a new file (mode 0600), while this process and others go on writing, and
        checks the copy before it takes its name: a file under that name is a whole backup. Credentials in it are
        encrypted as in the store. ``store.work`` tells how far it is. One that ends early, by an error or because
        the kit is closed, leaves no file.

        Raises AlreadyExistsError when there is a file; NotFoundError when there is no such directory;
        PermissionDeniedError; StoreFullError; StoreCorruptError when the store is damaged; UnsupportedError by a
        store in memory.
        """
        arguments = {"path": path}
        return Backup._read(await self._calls.json("store.back_up", _wire.dumps(arguments)))

    async def check(self) -> StoreCheck:
        """Reads the whole store, and returns what is wrong with its file. Others go on writing meanwhile;
        ``store.work`` tells how far it is.

        Raises UnsupportedError by a store in memory.
        """
        return StoreCheck._read(await self._calls.json("store.check", "{}"))

    async def change_passphrase(self, previous: str, passphrase: str) -> None:
        """Changes the passphrase that the store is encrypted under, while this process and others use it: they go on.
        A call that is made again has nothing to do.

        First give every process both for its next start, as ``passphrase`` and ``previous_passphrase``: so each
        opens the store, whichever it has then. Backups keep the passphrase that they were made under.

        Raises PassphraseWrongError; InvalidInputError about ``passphrase``; UnsupportedError by a store that is not
        encrypted, or in memory.
        """
        arguments = {"previous": previous, "passphrase": passphrase}
        await self._calls.call("store.change_passphrase", _wire.dumps(arguments))

    async def work(self) -> list[StoreWork]:
        """Returns the backups and checks that this process is doing, the oldest first: for a bar of progress."""
        answer = await self._calls.json("store.work", "{}")
        return [StoreWork._read(one) for one in answer]


class HealthView:
    """Tells how vpnkit itself does: its background jobs, and metrics for Prometheus."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def jobs(self) -> list[JobStatus]:
        """Returns the background jobs, by name and server: when each ran last in this process, how long it took, and
        why it failed."""
        answer = await self._calls.json("health.jobs", "{}")
        return [JobStatus._read(one) for one in answer]

    async def metrics(self) -> str:
        """Returns what this process has counted and measured since the kit was opened, in the text format of
        OpenMetrics: serve it as ``application/openmetrics-text; version=1.0.0; charset=utf-8``, and Prometheus
        reads it. ``docs/metrics.md`` lists all of it."""
        answer: str = await self._calls.json("health.metrics", "{}")
        return answer


class Events:
    """Reads the outbox: everything that was committed, in order, also what happened while nobody listened."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def read(self, after: int, max: int = 1_000) -> EventBatch:
        """At most ``max`` events after a cursor, up to 10,000; does not wait.

        Raises CursorExpiredError when some of them are no longer kept.
        """
        arguments = {"after": after, "max": max}
        return EventBatch(*await self._calls.call("events.read", _wire.dumps(arguments)))

    async def newest(self) -> int:
        """The cursor of the newest event: from here on only what happens next."""
        answer: int = await self._calls.json("events.newest", "{}")
        return answer

    async def audit(
        self,
        actor: str | None = None,
        *,
        by_admin: int | None = None,
        operation: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[Event]:
        """Returns what calls have changed, the newest first: who called, why, with which payment, and what came of it.
        No call changes or removes what stands there; it is kept for as long as timelines are. In the name of a
        reseller those are its own calls.

        The arguments are the fields of ``AuditQuery``.

        Raises InvalidInputError about ``limit``.
        """
        query = AuditQuery(
            actor=actor,
            by_admin=by_admin,
            operation=operation,
            since=since,
            until=until,
            before=before,
            limit=limit,
        )
        arguments = {"query": query._json("events.audit")}
        answer: list[Event] = await self._calls.call("events.audit", _wire.dumps(arguments))
        return answer

    async def consumers(self) -> list[ConsumerStatus]:
        """Returns the consumers of events by name, and how far they have come."""
        answer = await self._calls.json("events.consumers", "{}")
        return [ConsumerStatus._read(one) for one in answer]

    async def remove_consumer(self, name: str) -> None:
        """Forgets a consumer: who consumes under its name begins again.

        Raises NotFoundError.
        """
        arguments = {"name": name}
        await self._calls.call("events.remove_consumer", _wire.dumps(arguments))

    def stream(self, after: int = 0) -> EventStream:
        """Everything after a cursor (0: from the beginning), then whatever comes. Keep the cursor of the last event that
        you handled, and go on from there."""
        return self._calls.stream(after)

    def consume(self, name: str, *, after: int | None = None) -> EventConsumer:
        """Consumes events under a name (1 to 64 of ``A-Z a-z 0-9 . _ @ + -``), whose place the store keeps: each event is given
        at least once to one of those who consume under it, in whichever process. It begins behind ``after``, the first time;
        without that with what happens next.

        Raises InvalidInputError about ``name``; CursorExpiredError, from the loop, when events that were not handled are no
        longer kept: :meth:`remove_consumer` lets it begin again."""
        return self._calls.consumer(name, after)


class Webhooks:
    """Keeps webhooks: each event is sent to each of them at least once, signed as Standard Webhooks are."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def create(
        self,
        url: str,
        *,
        kinds: Sequence[str] = (),
        admin: int | None = None,
        note: str | None = None,
        disabled: bool = False,
    ) -> NewWebhook:
        """Creates a webhook; it gets what happens from now on. Its secret is shown now and never again.

        The arguments are the fields of ``CreateWebhook``.

        Raises InvalidInputError with the ``field``; LimitReachedError when there are 100; UnsupportedError when
        this vpnkit sends nothing.
        """
        request = CreateWebhook(
            url=url,
            kinds=kinds,
            admin=admin,
            note=note,
            disabled=disabled,
        )
        arguments = {"request": request._json("webhooks.create")}
        return NewWebhook._read(await self._calls.json("webhooks.create", _wire.dumps(arguments)))

    async def list(self) -> builtins.list[Webhook]:
        """Returns all webhooks, by id."""
        answer = await self._calls.json("webhooks.list", "{}")
        return [Webhook._read(one) for one in answer]

    async def get(self, id: str) -> Webhook | None:
        """Returns the webhook, or None."""
        arguments = {"id": id}
        answer = await self._calls.json("webhooks.get", _wire.dumps(arguments))
        return None if answer is None else Webhook._read(answer)

    async def update(
        self,
        id: str,
        *,
        url: str | Keep = KEEP,
        kinds: Sequence[str] | Keep = KEEP,
        admin: int | None | Keep = KEEP,
        note: str | None | Keep = KEEP,
        disabled: bool | Keep = KEEP,
    ) -> Webhook:
        """Changes a webhook. One that was disabled goes on where it was.

        The arguments are the fields of ``WebhookPatch``.

        Raises NotFoundError; InvalidInputError with the ``field``.
        """
        patch = WebhookPatch(
            url=url,
            kinds=kinds,
            admin=admin,
            note=note,
            disabled=disabled,
        )
        arguments = {"id": id, "patch": patch._json("webhooks.update")}
        return Webhook._read(await self._calls.json("webhooks.update", _wire.dumps(arguments)))

    async def delete(self, id: str) -> None:
        """Deletes a webhook with its dead letters.

        Raises NotFoundError.
        """
        arguments = {"id": id}
        await self._calls.call("webhooks.delete", _wire.dumps(arguments))

    async def rotate_secret(self, id: str, keep: Length) -> NewWebhook:
        """Draws a new secret, which is shown now and never again. For ``keep`` requests are signed with the old ones
        too, so that the receiver can change; zero ends them at once.

        Raises NotFoundError; InvalidInputError about ``keep``, up to 366 days.
        """
        arguments = {"id": id, "keep": _wire.length("webhooks.rotate_secret", "keep", keep)}
        return NewWebhook._read(await self._calls.json("webhooks.rotate_secret", _wire.dumps(arguments)))

    async def status(self) -> builtins.list[WebhookStatus]:
        """Returns how the deliveries of all webhooks stand, by id."""
        answer = await self._calls.json("webhooks.status", "{}")
        return [WebhookStatus._read(one) for one in answer]

    async def dead_letters(self, id: str, *, after: int | None = None, limit: int = 100) -> builtins.list[DeadLetter]:
        """Returns the events that the receiver of a webhook has refused for good, oldest first; ``after`` is the
        cursor of the last event of the answer before. The newest 10,000 are kept.

        Raises NotFoundError; InvalidInputError about ``limit``, 1 to 1,000.
        """
        arguments = {"id": id, "after": after, "limit": limit}
        answer = await self._calls.json("webhooks.dead_letters", _wire.dumps(arguments))
        return [DeadLetter._read(one) for one in answer]

    async def resend(self, id: str, cursor: int | None = None) -> int:
        """Sends dead letters of a webhook again, now: that of one event, or all, oldest first, up to the first one
        that is not accepted. Returns how many were; those are no longer kept.

        Raises NotFoundError for the webhook or the dead letter; UnavailableError when the first one is not
        accepted.
        """
        arguments = {"id": id, "cursor": cursor}
        answer: int = await self._calls.json("webhooks.resend", _wire.dumps(arguments))
        return answer

    async def ping(self, id: str) -> None:
        """Sends ``webhook.ping`` to a webhook, now, to see whether its receiver accepts what is signed with its
        secret.

        Raises NotFoundError; UnavailableError when it is not accepted.
        """
        arguments = {"id": id}
        await self._calls.call("webhooks.ping", _wire.dumps(arguments))


class Servers:
    """Tells how servers do, and compares them with the store."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def status(self) -> list[ServerStatus]:
        """Tells how every server does: those of this process in the order of the configuration, then those of other
        processes. Of one that another process drives it is what that process has told last."""
        answer = await self._calls.json("servers.status", "{}")
        return [ServerStatus._read(one) for one in answer]

    async def remove(self, id: str) -> None:
        """Reads the counters of a server a last time and stops driving it; a managed one ends, also one that is to
        keep running. Its inbounds stay in the store, and nobody is told of them until the server is added again. A
        process that only stands by for it does so no longer. One that no process has any more is forgotten.

        Raises NotFoundError; InUseError when only another process has it.
        """
        arguments = {"id": id}
        await self._calls.call("servers.remove", _wire.dumps(arguments))

    async def stop(self, id: str) -> None:
        """Ends a server's program, also one that is to keep running, whichever process drives it: it stays stopped
        until :meth:`start`, also over restarts of all processes. Its keys stay, and nobody connects.

        Raises NotFoundError; UnsupportedError when its program is not vpnkit's to end; UnavailableError when no
        process drives it; OperationTimeoutError when it has not ended in time.
        """
        arguments = {"id": id}
        await self._calls.call("servers.stop", _wire.dumps(arguments))

    async def start(self, id: str) -> None:
        """Starts a server again that was stopped with :meth:`stop`.

        Raises NotFoundError; UnavailableError when no process drives it; OperationTimeoutError when it does not
        answer in time.
        """
        arguments = {"id": id}
        await self._calls.call("servers.start", _wire.dumps(arguments))

    async def reconcile(self, id: str) -> int:
        """Compares a server with the store now and applies the difference; returns how many steps that took.

        Raises NotFoundError; UnavailableError when it does not answer; RejectedError when it refuses some of it;
        OperationTimeoutError when the process that drives it does not answer.
        """
        arguments = {"id": id}
        answer: int = await self._calls.json("servers.reconcile", _wire.dumps(arguments))
        return answer

    async def log(self, id: str, lines: int = 100) -> list[str]:
        """The newest lines of a managed server's log, oldest first.

        Raises NotFoundError; OperationTimeoutError when the process that drives it does not answer.
        """
        arguments = {"id": id, "lines": lines}
        answer: list[str] = await self._calls.json("servers.log", _wire.dumps(arguments))
        return answer

    async def add(self, server: ServerConfig) -> ServerStatus:
        """Takes a server in and starts it. One that does not start is ``down``, and tried again.

        It belongs to this kit until it is removed or the kit is closed; what the configuration lists is what a kit
        begins with.

        Raises InvalidInputError with the ``field`` that cannot be read; InvalidConfigError with the ``field`` that
        does not fit, or when there is a server of this node and name.
        """
        arguments = {"server": _wire.record("servers.add", "server", server)}
        return ServerStatus._read(await self._calls.json("servers.add", _wire.dumps(arguments)))
