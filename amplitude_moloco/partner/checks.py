"""Checks of settings that all partners have, one by one.

Each returns the value to use, or raises ConfigurationError saying what to use instead.
"""

from __future__ import annotations

import os
from os import PathLike
from typing import TypeVar

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.partner.placeholders import refuse_placeholder, refuse_placeholders
from amplitude_moloco.text import shown

T = TypeVar("T")

TRANSPORT_VARIABLE = "MOLOCO_TRANSPORT"


def switched(transport: T) -> T | str:
    """Returns the setting, or "none" if the environment switches sending off."""
    switch = os.environ.get(TRANSPORT_VARIABLE, "").strip()
    if not switch:
        refuse_placeholder("transport", transport)
        return transport
    if switch.lower() != "none":
        raise ConfigurationError(
            f"{TRANSPORT_VARIABLE}: found {switch!r}; use 'none', which switches sending off, or "
            f"unset the variable"
        )
    return "none"


def ca_bundle_of(path: str | PathLike[str] | None) -> str | PathLike[str] | None:
    """Returns the path of certificates, or None. The transport reads the file."""
    refuse_placeholders("ca_bundle", path)
    if path is not None and not (isinstance(path, (str, PathLike)) and path):
        raise ConfigurationError(
            f"ca_bundle: found {shown(path)}; use the path of a PEM file or of a directory of "
            f"certificates, or None"
        )
    return path


def one_of(name: str, value: object, choices: tuple[str, ...]) -> str:
    """Returns one of these values. Raises ConfigurationError for any other."""
    if isinstance(value, str) and value in choices:
        return value
    raise ConfigurationError(f"{name}: found {shown(value)}; use {' or '.join(map(repr, choices))}")
