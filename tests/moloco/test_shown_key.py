"""Reports of errors show local variables: neither the key nor the salt is among them."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

import amplitude_moloco
from amplitude_moloco import ConfigurationError, MolocoDestination, MolocoSettings, Sync
from amplitude_moloco.transports.secret import Secret

KEY, SALT = "a-key-that-is-nobodys-business", "a-salt-that-is-nobodys-business"
PACKAGE = str(Path(amplitude_moloco.__file__).parent)
HASH = {"salt": SALT}
SYNCS = [{"event_type": "HOME", "events": ["Home"]}]
WRONG: dict[str, Any] = {"api_key": KEY, "hash_identifiers": HASH, "transport": "pigeon"}
PLAIN = {**WRONG, "platform_id": "SHOP", "platform_name": "shop", "syncs": SYNCS}
GOOD: dict[str, Any] = {**PLAIN, "syncs": Sync("HOME", "Home"), "transport": "none"}
TOML = f'api_key = "{KEY}"\nhash_identifiers = {{ salt = "{SALT}" }}\n'


def from_file(kind: Any, folder: Path, name: str, text: str, **more: Any) -> None:
    path = folder / name
    path.write_text(text)
    kind.from_file(path, **more)


@pytest.mark.parametrize("kind", [MolocoDestination, MolocoSettings])
@pytest.mark.parametrize(
    "construct",
    [
        lambda kind, _: kind(**WRONG),
        lambda kind, _: kind(KEY, "SHOP", Sync("HOME", "Home"), hash_identifiers=HASH),
        lambda kind, _: kind(**{**WRONG, "api_key": KEY.encode(), "hash_identifiers": [SALT]}),
        lambda kind, _: kind(**{**WRONG, "hash_identifiers": MappingProxyType(HASH)}),
        lambda kind, _: kind(**{**WRONG, "hash_identifiers": SALT}),
        lambda kind, _: kind(**{**WRONG, "hash_identifiers": {"salt": SALT.encode()}}),
        lambda kind, _: kind(**WRONG, bogus=1),
        lambda kind, _: kind.from_dict(PLAIN),
        lambda kind, _: kind.from_dict({**PLAIN, "bogus": 1}),
        lambda kind, _: kind.from_dict({}, **WRONG),
        lambda kind, folder: from_file(kind, folder, "a.toml", f"{TOML}bogus = 1"),
        lambda kind, folder: from_file(kind, folder, "a.toml", f"{TOML}bogus"),
        lambda kind, folder: from_file(kind, folder, "a.toml", f"{TOML}{TOML}"),
        lambda kind, folder: from_file(kind, folder, "a.json", f'{{"api_key": "{KEY}",}}'),
        lambda kind, folder: from_file(kind, folder, "a.json", "{}", **WRONG),
    ],
)
def test_no_frame_of_a_refusal_shows_the_key(
    kind: type, construct: Callable[[type, Path], object], tmp_path: Path
) -> None:
    """Whatever is wrong, and however the settings were given."""
    with pytest.raises((ConfigurationError, TypeError)) as caught:
        construct(kind, tmp_path)
    report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    shown = [str(caught.value)]
    errors: list[traceback.TracebackException | None] = [report]
    while error := errors.pop() if errors else None:
        ours = [each for each in error.stack if each.filename.startswith((PACKAGE, "<string>"))]
        shown += [f"{name}={value}" for each in ours for name, value in (each.locals or {}).items()]
        errors += [each for each in (error.__cause__, error.__context__) if each is not None]
    assert not [each for each in shown if KEY in each or SALT in each]


@pytest.mark.parametrize("copied", [lambda each: each, replace, copy.copy, copy.deepcopy])
def test_no_attribute_of_settings_shows_the_key(copied: Callable[[MolocoSettings], Any]) -> None:
    """Neither do the settings as a whole, nor a copy of them."""
    settings = copied(MolocoSettings(**{**GOOD, "hash_identifiers": HASH}))
    assert not any(word in repr((settings, vars(settings))) for word in (KEY, SALT))
    assert (settings.api_key, settings.hash_identifiers) == (KEY, HASH)


def test_too_many_arguments_are_refused_as_usual() -> None:
    """The constructor takes what the settings take."""
    with pytest.raises(TypeError, match="positional arguments"):
        MolocoDestination(*map(str, range(40)))  # type: ignore[arg-type]


def test_settings_that_are_no_dict_are_refused_as_usual() -> None:
    """There is nothing in them to hide."""
    with pytest.raises(ConfigurationError, match="settings: found list; use a dict"):
        MolocoDestination.from_dict([])  # type: ignore[arg-type]


def test_a_part_of_a_key_is_not_shown() -> None:
    """Some reports cut a long text, and show the beginning."""
    key = Secret(KEY)
    assert repr(key[:10]) == repr(key[3]) == "'[key]'"
    assert key[:5] == KEY[:5]
