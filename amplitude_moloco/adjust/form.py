"""The parts of Adjust's form: revenue, flat parameters, addresses, consent.

Nothing here is rounded, and no value is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from ipaddress import IPv4Address
from math import isfinite
from typing import Any
from urllib.parse import quote, urlencode

from amplitude_moloco.convert.json import dumps

LEAST_REVENUE = Decimal("0.001")
MOST_REVENUE = Decimal(100_000_000_000)
MAX_AGE_SECONDS = 58 * 24 * 3600
"""Adjust refuses older events."""
_OS_NAMES = {
    "ios": "ios",
    "ipados": "ios",
    "iphone os": "ios",
    "android": "android",
    "windows": "windows",
    "macos": "macos",
    "mac os": "macos",
    "mac os x": "macos",
    "tvos": "apple-tv",
    "fire tv": "fire-tv",
}


def encode(fields: Mapping[str, str]) -> bytes:
    """Returns a form, with each value percent-encoded in UTF-8. Raises UnicodeEncodeError."""
    return urlencode(fields, quote_via=quote).encode()


def plain(value: Decimal) -> str:
    """Returns a decimal without exponent, sign of thousands or superfluous zeros."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def flat(value: object) -> str:
    """Returns a parameter's value as text; lists and objects as JSON.

    Raises TypeError or ValueError for what is neither text nor JSON.
    """
    if isinstance(value, str):
        value.encode()
        return value
    if isinstance(value, float):
        if not isfinite(value):
            raise ValueError("no finite number")
        return plain(Decimal(str(value)))
    return dumps(value).decode()


def ipv4(value: object) -> str | None:
    """Returns an IPv4 address; None for anything else, such as IPv6 or ``$remote``."""
    try:
        return str(IPv4Address(value)) if isinstance(value, str) else None
    except ValueError:
        return None


def os_name_of(event: Mapping[str, Any]) -> str | None:
    """Returns the operating system by Adjust's name; None if it is not known."""
    for name in ("os_name", "platform"):
        value = event.get(name)
        found = _OS_NAMES.get(value.strip().lower()) if isinstance(value, str) else None
        if found:
            return found
    return None


def att_status(value: object) -> str | None:
    """Returns what the user of an iOS device answered, from 0 to 3; None for anything else."""
    return _digit(value, most=3)


def tracking_enabled(value: object) -> str | None:
    """Returns 1 or 0 for whether a device may be tracked; None for anything else."""
    return str(int(value)) if isinstance(value, bool) else _digit(value, most=1)


def _digit(value: object, most: int) -> str | None:
    known = {str(number) for number in range(most + 1)}
    text = value.strip() if isinstance(value, str) else value
    is_whole = isinstance(text, (int, str)) and not isinstance(text, bool)
    return str(text) if is_whole and str(text) in known else None
