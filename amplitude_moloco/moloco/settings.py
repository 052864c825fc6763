"""Checks of a destination's settings.

Each returns the value to use, or raises ConfigurationError saying what to use instead.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any

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
from amplitude_moloco.moloco.wire.vocabulary import CURRENCIES, ChannelType
from amplitude_moloco.transports.base import Endpoint

_ADDRESS = ("api_key", "platform_id", "platform_name", "base_url")
_NUMBERS = ("flush_interval_millis", "timeout_seconds", "shutdown_timeout_seconds")


def checked(
    address: tuple[str | None, str, str | None, str | None],
    conversion: tuple[Any, ...],
    policies: Mapping[str, Any],
    whole_numbers: Mapping[str, Any],
    numbers: tuple[Any, Any, Any],
) -> tuple[Endpoint, Converter, dict[str, Any]]:
    """Returns the endpoint, the converter, and the engine's policies and hooks.

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
    engine = {
        "retry": checks.run(instance_of, "retry", RetrySchedule, policies["retry"]),
        "breaker": checks.run(instance_of, "breaker", BreakerPolicy, policies["breaker"]),
        "hooks": checks.run(callables_of_one, "hooks", policies["hooks"], "one fact"),
    }
    for name, value in whole_numbers.items():
        checks.run(whole_number, name, value)
    for name, value in zip(_NUMBERS, numbers, strict=True):
        checks.run(number, name, value)
    checks.raise_errors()
    return url, converter, engine


def converter_of(
    syncs: Sync | Iterable[Sync],
    channel_type: ChannelType | str | None,
    default_currency: str | None,
    include_user_properties: bool | Collection[str],
    hash_identifiers: bool | Mapping[str, str] | None,
) -> Converter:
    """Returns the converter that these settings describe."""
    checks = Checks()
    all_syncs = checks.run(syncs_of, syncs)
    channel = checks.run(read_channel_type, channel_type, "channel_type")
    currency = checks.run(currency_of, default_currency)
    names = checks.run(names_of, include_user_properties)
    hash_function = checks.run(hash_of, hash_identifiers)
    checks.raise_errors()
    warn_of_overlaps(all_syncs)
    return Converter(
        all_syncs,
        channel_type=channel,
        default_currency=currency,
        include_user_properties=names,
        hash_identifier=hash_function,
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
