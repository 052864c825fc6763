"""Settings that raise when they are looked at are refused by name, as all that can't work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from inspect import signature
from typing import Any

import pytest

from amplitude_moloco import (
    BreakerPolicy,
    ConfigurationError,
    MolocoDestination,
    MolocoSettings,
    RetrySchedule,
    Sync,
    ecommerce_syncs,
)
from amplitude_moloco.adjust import AdjustEvent
from amplitude_moloco.adjust.settings import AdjustSettings
from amplitude_moloco.engine.unreadable import refusing_unreadable
from amplitude_moloco.experimental.adbrix import AdbrixEvent
from amplitude_moloco.experimental.adbrix.settings import AdbrixSettings


def fail(*arguments: Any) -> Any:
    raise RuntimeError("on purpose")


def made(base: type, *methods: str, **members: Any) -> type:
    """Returns a class of the app's, in which these methods raise."""
    return type("Odd", (base,), {**dict.fromkeys(methods, fail), **members})


class OddKind(type):
    """A class that does not even say its name."""

    def __getattribute__(cls, name: str) -> Any:
        return fail() if name == "__name__" else super().__getattribute__(name)


Make = Callable[[], Any]
ODD: dict[str, Make] = {
    "class": made(object, __class__=property(fail)),
    "attributes": made(object, "__getattribute__"),
    "truth": made(object, "__bool__"),
    "repr": made(object, "__repr__"),
    "equality": made(object, "__eq__"),
    "elements": made(object, "__iter__", "__len__"),
    "path": made(object, "__fspath__"),
    "signature": made(object, __signature__=property(fail), __call__=lambda self, event: None),
    "text": lambda: made(str, "__eq__", "__hash__", "strip", "__str__", "__iter__")("x"),
    "number": lambda: made(int, "__lt__", "__gt__", "__le__", "__ge__")(3),
    "dict": lambda: made(dict, "items", "keys", "__iter__", "__len__")(salt="x"),
    "kind": OddKind("Odd", (), {}),
    **{
        f"no {kind.__name__}": made(object, __class__=kind)
        for kind in (str, int, list, dict, Sync, RetrySchedule)
    },
}
IN: dict[str, Callable[[Any], Any]] = {
    "": lambda odd: odd,
    "in a list": lambda odd: [odd],
    "in a dict": lambda odd: {"salt": odd, "page_id": odd},
    "in an iterator": lambda odd: iter([odd]),
}
GOOD: dict[str, Any] = {
    "api_key": "key",
    "platform_id": "SHOP",
    "base_url": "http://127.0.0.1:9",
    "syncs": Sync("HOME", "Home"),
    "transport": "none",
}
ADJUST: dict[str, Any] = {
    "app_token": "abc123def456",
    "events": AdjustEvent("Home", "abc123"),
    "environment": "sandbox",
}
ADBRIX: dict[str, Any] = {"token": "abc", "events": AdbrixEvent("Home", "home")}
PLAIN = {**GOOD, "syncs": [{"event_type": "HOME", "events": ["Home"]}]}


def constructs(call: Callable[[], object]) -> None:
    """It works, or is refused in words."""
    try:
        made = call()
    except ConfigurationError:
        pass
    else:
        if isinstance(made, MolocoDestination):
            made.close()


@pytest.mark.parametrize("wrap", IN.values(), ids=IN)
@pytest.mark.parametrize("make", ODD.values(), ids=ODD)
def test_whatever_raises_is_refused_by_name(make: Make, wrap: Callable[[Any], Any]) -> None:
    """In each setting of all that has settings, alone and in a list, a dict or an iterator."""
    sync = {"event_type": "HOME", "events": "Home"}
    policies: list[tuple[Any, Mapping[str, Any], Iterable[str]]] = [
        (kind, {}, [each.name for each in fields(kind)]) for kind in (RetrySchedule, BreakerPolicy)
    ]
    for kind, good, names in [
        (MolocoSettings, GOOD, [each.name for each in fields(MolocoSettings)]),
        (MolocoDestination, GOOD, ["syncs", "hooks", "buffer", "transport"]),
        (AdjustSettings, ADJUST, [each.name for each in fields(AdjustSettings)]),
        (AdbrixSettings, ADBRIX, [each.name for each in fields(AdbrixSettings)]),
        (AdjustSettings.from_dict, {}, ["data"]),
        (AdjustSettings.from_file, {}, ["path"]),
        (MolocoSettings.from_dict, {}, ["data"]),
        (MolocoSettings.from_file, {}, ["path"]),
        (Sync, sync, signature(Sync).parameters),
        (ecommerce_syncs, {}, signature(ecommerce_syncs).parameters),
        *policies,
    ]:
        for name in names:
            constructs(lambda k=kind, g=good, n=name: k(**{**g, n: wrap(make())}))  # type: ignore[misc]
    for name in ("api_key", "platform_id", "syncs", "hash_identifiers", "id_less_fields", "retry"):
        constructs(lambda n=name: MolocoSettings.from_dict({**PLAIN, n: wrap(make())}))  # type: ignore[misc]


@pytest.mark.parametrize(
    ("settings", "refusal"),
    [
        ({"hooks": ODD["class"]()}, "hooks: found a value of type Odd, which can't be read"),
        ({"syncs": [ODD["no Sync"]()]}, "syncs: found a value of type Odd, which can't be read"),
        ({"syncs": [ODD["kind"]()]}, "syncs: found a value, which can't be read"),
        ({"hooks": iter([ODD["signature"]()])}, "hooks: found a value of type Odd, which can't be"),
    ],
)
def test_the_setting_is_named(settings: dict[str, Any], refusal: str) -> None:
    """Also where it lies in a list."""
    with pytest.raises(ConfigurationError) as caught:
        MolocoSettings(**{**GOOD, **settings})
    assert str(caught.value).startswith(refusal)


def test_events_that_an_iterator_has_handed_out_are_named() -> None:
    """They can't be looked at again, but the iterator is the only one that may have raised."""
    with pytest.raises(ConfigurationError, match="events: found a value of type list_iterator"):
        Sync("HOME", iter([ODD["class"]()]))


def test_what_no_setting_explains_is_raised_as_it_is() -> None:
    """A mistake of the library's own is not blamed on a setting."""
    with (
        pytest.raises(ZeroDivisionError),
        refusing_unreadable({"a": 1, "b": [len, b"x", {"c": 2}]}),
    ):
        _ = 1 / 0
