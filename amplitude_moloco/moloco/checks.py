"""Checks of a destination's settings, one by one.

Each returns the value to use, or raises ConfigurationError saying what to use instead.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial

from amplitude_moloco.engine.checks import Checks, listed
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.moloco.identifiers import hash_identifier
from amplitude_moloco.moloco.sync import Sync, read_channel_type
from amplitude_moloco.moloco.wire.event import ID_LESS_FIELDS
from amplitude_moloco.moloco.wire.vocabulary import CURRENCIES, ChannelType
from amplitude_moloco.partner.placeholders import refuse_placeholder
from amplitude_moloco.text import is_unicode, shown

DELIVER_VARIABLE = "MOLOCO_DELIVER"


def syncs_of(syncs: Sync | Iterable[Sync]) -> tuple[Sync, ...]:
    """Returns one or several syncs as a tuple. There must be at least one."""
    if isinstance(syncs, Sync):
        return (syncs,)
    if not isinstance(syncs, Iterable) or isinstance(syncs, (str, bytes, Mapping)):
        raise ConfigurationError(
            f"syncs: found {type(syncs).__name__}; use a list of Sync(…), or ecommerce_syncs()"
        )
    several = tuple(listed("syncs", syncs))
    if not several:
        raise ConfigurationError(
            "syncs: without a Sync nothing would be sent; use a list of Sync(…), or "
            "ecommerce_syncs()"
        )
    checks = Checks()
    for index, sync in enumerate(several):
        checks.run(_check_sync, index, sync)
    checks.raise_errors()
    return several


def _check_sync(index: int, sync: object) -> None:
    if isinstance(sync, Sync):
        return
    advice = "use Sync(…)"
    if isinstance(sync, Iterable) and not isinstance(sync, (str, bytes, Mapping)):
        advice = "use one flat list: [*ecommerce_syncs(), Sync(…)]"
    raise ConfigurationError(f"syncs[{index}]: found {type(sync).__name__}; {advice}")


def channel_type_of(channel_type: ChannelType | str | None) -> ChannelType | None:
    """Returns one of MCM's channel types, or None."""
    refuse_placeholder("channel_type", channel_type)
    return read_channel_type(channel_type, "channel_type")


def currency_of(currency: str | None) -> str | None:
    """Returns one of MCM's currencies, or None."""
    refuse_placeholder("default_currency", currency)
    if currency is None or (isinstance(currency, str) and currency in CURRENCIES):
        return currency
    raise ConfigurationError(
        f"default_currency: {shown(currency)} is not one of MCM's currencies; use one of "
        f"{', '.join(sorted(CURRENCIES))}"
    )


def names_of(names: bool | Collection[str]) -> bool | Collection[str]:
    """Returns True for all user properties, False for none, or the names of those to send."""
    if isinstance(names, bool):
        return names
    is_list = isinstance(names, Collection) and not isinstance(names, (str, bytes, Mapping))
    checked = listed("include_user_properties", names) if is_list else []
    if not is_list or not all(isinstance(name, str) for name in checked):
        raise ConfigurationError(
            "include_user_properties: use True, False, or a list of the names to send"
        )
    return frozenset(checked)


def words_of(name: str, words: Iterable[str]) -> frozenset[str]:
    """Returns the words of a setting that is a list of texts."""
    is_list = isinstance(words, Iterable) and not isinstance(words, (str, bytes, Mapping))
    checked = listed(name, words) if is_list else []
    if not is_list or not all(isinstance(word, str) for word in checked):
        raise ConfigurationError(f"{name}: found {type(words).__name__}; use a list of texts")
    return frozenset(checked)


def id_less_fields_of(fields: Iterable[str]) -> frozenset[str]:
    """Returns the fields that are sent with ID_LESS too."""
    names = words_of("id_less_fields", fields)
    unknown = sorted(names.difference(ID_LESS_FIELDS))
    if unknown:
        raise ConfigurationError(
            f"id_less_fields: found {shown(unknown[0])}; use any of {', '.join(ID_LESS_FIELDS)}"
        )
    return names


def flag_of(name: str, flag: bool) -> bool:
    """Returns a setting that is True or False."""
    if not isinstance(flag, bool):
        raise ConfigurationError(f"{name}: found {type(flag).__name__}; use True or False")
    return flag


def deliver_of(deliver: bool | None) -> bool:
    """Returns whether this process sends; None: as the environment says, by default it does."""
    if deliver is not None:
        return flag_of("deliver", deliver)
    found = os.environ.get(DELIVER_VARIABLE, "").strip()
    if found.lower() not in ("", "true", "false"):
        raise ConfigurationError(
            f"{DELIVER_VARIABLE}: found {shown(found)}; use 'true' or 'false', or unset the "
            f"variable"
        )
    return found.lower() != "false"


def hash_of(setting: bool | Mapping[str, str] | None) -> Callable[[str], str] | None:
    """Returns the function that hashes an identifier; None to send identifiers unhashed."""
    if setting is None or setting is False:
        return None
    if setting is True:
        return hash_identifier
    if isinstance(setting, Mapping) and setting.keys() == {"salt"}:
        salt = setting["salt"]
        refuse_placeholder("hash_identifiers", salt)
        if isinstance(salt, str) and salt and is_unicode(salt):
            return partial(hash_identifier, salt=salt)
    raise ConfigurationError(
        'hash_identifiers: use True, or {"salt": "…"} for SHA-256 of salt and identifier'
    )
