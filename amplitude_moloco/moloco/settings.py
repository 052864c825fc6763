"""Checks of a destination's settings.

Each returns the value to use, or raises ConfigurationError saying what to use instead.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any, TypeVar

from amplitude_moloco.engine.breaker import BreakerPolicy
from amplitude_moloco.engine.checks import (
    Checks,
    callables_of_one,
    instance_of,
    number,
    whole_number,
)
from amplitude_moloco.engine.retry import RetrySchedule
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.moloco.converter import Converter
from amplitude_moloco.moloco.endpoint import endpoint
from amplitude_moloco.moloco.identifiers import hash_identifier
from amplitude_moloco.moloco.overlaps import warn_of_overlaps
from amplitude_moloco.moloco.sync import Sync, read_channel_type
from amplitude_moloco.moloco.wire.event import ID_LESS_FIELDS
from amplitude_moloco.moloco.wire.vocabulary import CURRENCIES, ChannelType
from amplitude_moloco.transports.base import Endpoint

_ADDRESS = ("api_key", "platform_id", "platform_name", "base_url")
_NUMBERS = ("flush_interval_millis", "timeout_seconds", "shutdown_timeout_seconds")

T = TypeVar("T")

TRANSPORT_VARIABLE = "MOLOCO_TRANSPORT"


def checked(
    address: tuple[str | None, str, str | None, str | None],
    conversion: tuple[Any, ...],
    policies: Mapping[str, Any],
    whole_numbers: Mapping[str, Any],
    numbers: tuple[Any, Any, Any],
) -> tuple[Endpoint, Converter, dict[str, Any]]:
    """Returns the endpoint, the converter, and the engine's policies, hooks and sizes.

    Raises one ConfigurationError with everything that can't work.

    Args:
        address: The arguments of ``endpoint()``, in its order.
        conversion: The arguments of ``converter_of()``.
        policies: ``retry``, ``breaker`` and ``hooks``.
        whole_numbers: Settings that are whole numbers above 0.
        numbers: ``flush_interval_millis``, ``timeout_seconds``, ``shutdown_timeout_seconds``.
    """
    checks = Checks()
    url = checks.run(endpoint, **dict(zip(_ADDRESS, address, strict=True)))
    converter = checks.run(converter_of, *conversion)
    engine: dict[str, Any] = {
        "retry": checks.run(instance_of, "retry", RetrySchedule, policies["retry"]),
        "breaker": checks.run(instance_of, "breaker", BreakerPolicy, policies["breaker"]),
        "hooks": checks.run(callables_of_one, "hooks", policies["hooks"], "one fact"),
    }
    for name, value in whole_numbers.items():
        checks.run(whole_number, name, value)
    for name, value in zip(_NUMBERS, numbers, strict=True):
        checks.run(number, name, value)
    checks.raise_errors()
    engine |= {**whole_numbers, "flush_interval_millis": numbers[0]}
    return url, converter, engine


def converter_of(  # noqa: PLR0917  # in the order of the constructor's
    syncs: Sync | Iterable[Sync],
    channel_type: ChannelType | str | None,
    default_currency: str | None,
    include_user_properties: bool | Collection[str],
    hash_identifiers: bool | Mapping[str, str] | None,
    absent_identifiers: Iterable[str] = (),
    id_less_fields: Iterable[str] = (),
    library_as_user_agent: bool = True,
) -> Converter:
    """Returns the converter that these settings describe."""
    checks = Checks()
    all_syncs = checks.run(syncs_of, syncs)
    channel = checks.run(read_channel_type, channel_type, "channel_type")
    currency = checks.run(currency_of, default_currency)
    names = checks.run(names_of, include_user_properties)
    hash_function = checks.run(hash_of, hash_identifiers)
    words = checks.run(words_of, "absent_identifiers", absent_identifiers)
    fields = checks.run(id_less_fields_of, id_less_fields)
    flag = checks.run(flag_of, "library_as_user_agent", library_as_user_agent)
    checks.raise_errors()
    warn_of_overlaps(all_syncs)
    return Converter(
        all_syncs,
        channel_type=channel,
        default_currency=currency,
        include_user_properties=names,
        hash_identifier=hash_function,
        absent_identifiers=words,
        id_less_fields=fields,
        library_as_user_agent=flag,
    )


def syncs_of(syncs: Sync | Iterable[Sync]) -> tuple[Sync, ...]:
    """Returns one or several syncs as a tuple. There must be at least one."""
    if isinstance(syncs, Sync):
        return (syncs,)
    if not isinstance(syncs, Iterable):
        raise ConfigurationError(
            f"syncs: found {type(syncs).__name__}; use a list of Sync(…), or ecommerce_syncs()"
        )
    several = tuple(syncs)
    if not several or not all(isinstance(sync, Sync) for sync in several):
        raise ConfigurationError(
            "syncs: without a Sync nothing would be sent; use a list of Sync(…), or "
            "ecommerce_syncs()"
        )
    return several


def currency_of(currency: str | None) -> str | None:
    """Returns one of MCM's currencies, or None."""
    if currency is None or (isinstance(currency, str) and currency in CURRENCIES):
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


def words_of(name: str, words: Iterable[str]) -> frozenset[str]:
    """Returns the words of a setting that is a list of texts."""
    is_list = isinstance(words, Iterable) and not isinstance(words, (str, bytes, Mapping))
    checked = list(words) if is_list else []
    if not is_list or not all(isinstance(word, str) for word in checked):
        raise ConfigurationError(f"{name}: found {type(words).__name__}; use a list of texts")
    return frozenset(checked)


def id_less_fields_of(fields: Iterable[str]) -> frozenset[str]:
    """Returns the fields that are sent with ID_LESS too."""
    names = words_of("id_less_fields", fields)
    unknown = sorted(names.difference(ID_LESS_FIELDS))
    if unknown:
        raise ConfigurationError(
            f"id_less_fields: found {unknown[0]!r}; use any of {', '.join(ID_LESS_FIELDS)}"
        )
    return names


def flag_of(name: str, flag: bool) -> bool:
    """Returns a setting that is True or False."""
    if not isinstance(flag, bool):
        raise ConfigurationError(f"{name}: found {type(flag).__name__}; use True or False")
    return flag


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
