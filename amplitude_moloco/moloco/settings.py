"""Checks of a destination's settings: each gives what is used, or says what to do instead."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial

from amplitude_moloco.engine.retry import is_positive
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.moloco.identifiers import hash_identifier
from amplitude_moloco.moloco.sync import Sync
from amplitude_moloco.moloco.wire.vocabulary import CURRENCIES


def syncs_of(syncs: Iterable[Sync]) -> tuple[Sync, ...]:
    """At least one, and all of them syncs."""
    checked = tuple(syncs)
    if not checked or not all(isinstance(sync, Sync) for sync in checked):
        raise ConfigurationError(
            "syncs: without a Sync nothing would be sent; use a list of Sync(…), or "
            "ecommerce_syncs()"
        )
    return checked


def currency_of(currency: str | None) -> str | None:
    """One of MCM's currencies, or none."""
    if currency is None or currency in CURRENCIES:
        return currency
    raise ConfigurationError(
        f"default_currency: {currency!r} is none of MCM's; use one of "
        f"{', '.join(sorted(CURRENCIES))}"
    )


def names_of(names: bool | Collection[str]) -> bool | Collection[str]:
    """All user properties, none of them, or those with these names."""
    if isinstance(names, bool):
        return names
    is_list = isinstance(names, Collection) and not isinstance(names, (str, Mapping))
    if not is_list or not all(isinstance(name, str) for name in names):
        raise ConfigurationError(
            "include_user_properties: use True, False, or a list of the names to send"
        )
    return frozenset(names)


def hash_of(setting: bool | Mapping[str, str] | None) -> Callable[[str], str] | None:
    """What hashes an identifier; None where they are sent as they are."""
    if setting is None or setting is False:
        return None
    if setting is True:
        return hash_identifier
    if isinstance(setting, Mapping) and setting.keys() == {"salt"}:
        salt = setting["salt"]
        if isinstance(salt, str) and salt:
            return partial(hash_identifier, salt=salt)
    raise ConfigurationError(
        'hash_identifiers: use True, or {"salt": "…"} for SHA-256 of salt and identifier'
    )


def whole_number(name: str, value: int) -> int:
    """A whole number above 0."""
    if isinstance(value, int) and is_positive(value):
        return value
    raise ConfigurationError(f"{name}: {value!r} can't be used; use a whole number above 0")


def number(name: str, value: float) -> float:
    """A number above 0."""
    if is_positive(value):
        return value
    raise ConfigurationError(f"{name}: {value!r} can't be used; use a number above 0")
