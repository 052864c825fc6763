"""Checks of a destination's settings.

Each returns the value to use, or raises ConfigurationError saying what to use instead.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import TypeVar

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.moloco.converter import Converter
from amplitude_moloco.moloco.identifiers import hash_identifier
from amplitude_moloco.moloco.sync import Sync, read_channel_type
from amplitude_moloco.moloco.wire.vocabulary import CURRENCIES, ChannelType

T = TypeVar("T")

TRANSPORT_VARIABLE = "MOLOCO_TRANSPORT"


def converter_of(
    syncs: Iterable[Sync],
    channel_type: ChannelType | str | None,
    default_currency: str | None,
    include_user_properties: bool | Collection[str],
    hash_identifiers: bool | Mapping[str, str] | None,
) -> Converter:
    """Returns the converter that these settings describe."""
    return Converter(
        syncs_of(syncs),
        channel_type=read_channel_type(channel_type, "channel_type"),
        default_currency=currency_of(default_currency),
        include_user_properties=names_of(include_user_properties),
        hash_identifier=hash_of(hash_identifiers),
    )


def syncs_of(syncs: Iterable[Sync]) -> tuple[Sync, ...]:
    """Returns the syncs as a tuple. There must be at least one."""
    checked = tuple(syncs)
    if not checked or not all(isinstance(sync, Sync) for sync in checked):
        raise ConfigurationError(
            "syncs: without a Sync nothing would be sent; use a list of Sync(…), or "
            "ecommerce_syncs()"
        )
    return checked


def currency_of(currency: str | None) -> str | None:
    """Returns one of MCM's currencies, or None."""
    if currency is None or currency in CURRENCIES:
        return currency
    raise ConfigurationError(
        f"default_currency: {currency!r} is not one of MCM's currencies; use one of "
        f"{', '.join(sorted(CURRENCIES))}"
    )


def names_of(names: bool | Collection[str]) -> bool | Collection[str]:
    """Returns True for all user properties, False for none, or the names of those to send."""
    if isinstance(names, bool):
        return names
    is_list = isinstance(names, Collection) and not isinstance(names, (str, Mapping))
    if not is_list or not all(isinstance(name, str) for name in names):
        raise ConfigurationError(
            "include_user_properties: use True, False, or a list of the names to send"
        )
    return frozenset(names)


def transport_of(transport: T) -> T | str:
    """Returns the setting, or "none" if the environment switches sending off."""
    switch = os.environ.get(TRANSPORT_VARIABLE, "").strip()
    if not switch:
        return transport
    if switch.lower() != "none":
        raise ConfigurationError(
            f"{TRANSPORT_VARIABLE}: found {switch!r}; use 'none', which switches sending off, or "
            f"unset the variable"
        )
    return "none"


def hash_of(setting: bool | Mapping[str, str] | None) -> Callable[[str], str] | None:
    """Returns the function that hashes an identifier; None to send identifiers unhashed."""
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
