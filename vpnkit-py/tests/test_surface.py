"""The package has what the facade has: `vpnkit-bindings/surface/names.json` says what that is."""

from __future__ import annotations

import dataclasses
import inspect
import json
import pickle
from typing import Any, get_args

import pytest
from conftest import REPOSITORY

import vpnkit
from vpnkit import _native, errors, records, testing

SURFACE = json.loads((REPOSITORY / "vpnkit-bindings" / "surface" / "names.json").read_text())
NOUNS: dict[str, tuple[type, type]] = {
    "keys": (vpnkit.Keys, vpnkit.sync.Keys),
    "templates": (vpnkit.KeyTemplates, vpnkit.sync.KeyTemplates),
    "hosts": (vpnkit.Hosts, vpnkit.sync.Hosts),
    "inbounds": (vpnkit.Inbounds, vpnkit.sync.Inbounds),
    "subscriptions": (vpnkit.Subscriptions, vpnkit.sync.Subscriptions),
    "traffic": (vpnkit.TrafficView, vpnkit.sync.TrafficView),
    "events": (vpnkit.Events, vpnkit.sync.Events),
    "servers": (vpnkit.Servers, vpnkit.sync.Servers),
    "store": (vpnkit.StoreView, vpnkit.sync.StoreView),
    "health": (vpnkit.HealthView, vpnkit.sync.HealthView),
}


def calls(cls: type) -> set[str]:
    return {name for name, value in vars(cls).items() if inspect.isfunction(value) and not name.startswith("_")}


@pytest.mark.parametrize("noun", NOUNS)
def test_calls(noun: str) -> None:
    asynchronous, synchronous = NOUNS[noun]
    assert calls(asynchronous) == calls(synchronous) == set(SURFACE["calls"][noun])
    for name in calls(asynchronous) - {"stream", "consume", "iterate", "extend_all"}:
        assert inspect.iscoroutinefunction(getattr(asynchronous, name)), name
        assert not inspect.iscoroutinefunction(getattr(synchronous, name)), name
        signatures = [inspect.signature(getattr(cls, name)) for cls in (asynchronous, synchronous)]
        assert signatures[0] == signatures[1], name
        assert getattr(asynchronous, name).__doc__, name


def test_the_kit() -> None:
    nouns = set(vpnkit.KitView.__annotations__)
    assert nouns | calls(vpnkit.Kit) | calls(vpnkit.KitView) | {"open"} == set(SURFACE["calls"]["kit"])
    assert nouns == set(vpnkit.sync.KitView.__annotations__)
    assert calls(vpnkit.Kit) == calls(vpnkit.sync.Kit) and calls(vpnkit.KitView) == calls(vpnkit.sync.KitView)
    assert calls(testing.Sandbox) == calls(testing.SyncSandbox)


def names(cls: Any) -> set[str]:
    if dataclasses.is_dataclass(cls):
        return {field.name for field in dataclasses.fields(cls)}
    return {name for name, value in vars(cls).items() if inspect.isgetsetdescriptor(value)}


def parameters(call: Any) -> set[str]:
    return set(inspect.signature(call).parameters) - {"self"}


def test_data() -> None:
    data = {name: set(fields) for name, fields in SURFACE["data"].items()}
    config = data.pop("Config")
    data["CreateKey"].add("days")
    data["Extension"].add("days")
    data["KeyTemplate"].add("days")
    for name, fields in data.items():
        assert names(getattr(vpnkit, name)) == fields, name
    assert parameters(vpnkit.Keys.create) == data["CreateKey"]
    assert parameters(vpnkit.Keys.update) == data["KeyPatch"] | {"key", "idempotency_key", "expected_version"}
    assert parameters(vpnkit.Keys.find) == data["KeyQuery"]
    assert parameters(vpnkit.TrafficView.history) == data["HistoryQuery"]
    assert parameters(vpnkit.Subscriptions.render) == data["RenderOptions"] | {"key"}
    assert parameters(vpnkit.open) == parameters(vpnkit.sync.open) == config


def test_names_and_kinds() -> None:
    assert list(get_args(records.EventKind)) == SURFACE["event_kinds"] == list(_native.event_kinds())
    assert list(get_args(vpnkit.KeyStatus)) == SURFACE["key_statuses"]
    for name in vpnkit.__all__:
        assert hasattr(vpnkit, name), name


def test_every_code_has_its_class() -> None:
    classes = {cls.code: cls for cls in errors.VpnkitError.__subclasses__()}
    assert set(classes) == set(SURFACE["error_codes"]) == set(_native.error_codes())
    for code, cls in classes.items():
        assert getattr(errors, cls.__name__) is cls and cls.__module__ == "vpnkit.errors"
        error = cls(f"keys.get: {code}", operation="keys.get", hint="do that", context={"key": "7"}, retryable=True)
        copied = pickle.loads(pickle.dumps(error))
        assert type(copied) is cls and copied.__dict__ == error.__dict__ and str(copied) == str(error)
        assert (copied.code, copied.hint, copied.retryable, copied.context) == (code, "do that", True, {"key": "7"})


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [
        ("NotFoundError", LookupError),
        ("InvalidInputError", ValueError),
        ("OperationTimeoutError", TimeoutError),
        ("UnavailableError", ConnectionError),
        ("BinaryMissingError", FileNotFoundError),
        ("PermissionDeniedError", PermissionError),
    ],
)
def test_errors_are_python_s_own_too(cls: str, builtin: type[Exception]) -> None:
    assert issubclass(getattr(errors, cls), builtin)
