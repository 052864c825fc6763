"""Loads the settings that a command works with, and all that can be said about them."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from amplitude_moloco import ConfigurationError, MolocoSettings
from amplitude_moloco.adjust import AdjustSettings
from amplitude_moloco.experimental.adbrix import AdbrixSettings
from amplitude_moloco.files.environment import unset_variables
from amplitude_moloco.files.reading import read_file
from amplitude_moloco.moloco.endpoint import API_KEY_VARIABLE
from amplitude_moloco.moloco.overlaps import warn_of_overlaps
from amplitude_moloco.moloco.private_host import EXPOSURE
from amplitude_moloco.partner.settings import DeliverySettings
from amplitude_moloco.text import one_line

_NO_KEY = "not-the-key"
_NAMES: Mapping[type[DeliverySettings], str] = {AdjustSettings: "Adjust", AdbrixSettings: "Adbrix"}


class Loaded(NamedTuple):
    """A settings file, checked."""

    settings: DeliverySettings | None
    """None if there is a mistake."""
    mistakes: tuple[str, ...]
    """Each with its place, and what to use instead."""
    warnings: tuple[str, ...]
    """What works, and may not be meant."""


class _Messages(logging.Handler):
    """Keeps the messages that are logged."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def load(path: Path) -> MolocoSettings:
    """Returns MCM's settings in a file, for a command that sends, whatever ``deliver`` says.

    Raises ConfigurationError with an error for each mistake, or for settings of another partner.
    """
    settings = load_any(path)
    if not isinstance(settings, MolocoSettings):
        raise ConfigurationError(
            f"{one_line(path)}: these settings are for {_NAMES[type(settings)]}, and this command "
            f"is for MCM; use a file with a platform_id"
        )
    return settings


def load_any(path: Path) -> DeliverySettings:
    """Returns any partner's settings in a file, for a command that sends.

    Raises ConfigurationError with an error for each mistake.
    """
    data = read_file(path)
    kind = kind_of(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind is MolocoSettings:
            return kind.from_dict(data, deliver=True)
        return kind.from_dict(data)


def kind_of(data: Mapping[str, Any]) -> type[DeliverySettings]:
    """Returns whose settings these are, by the names that only one partner has."""
    if {"platform_id", "syncs"}.isdisjoint(data):
        if not {"app_token", "environment"}.isdisjoint(data):
            return AdjustSettings
        if "events" in data:
            return AdbrixSettings
    return MolocoSettings


def inspect(path: Path) -> Loaded:
    """Returns the settings in a file, which need no key to be checked, and all mistakes in it.

    Raises ConfigurationError if the file can't be read at all.
    """
    data = read_file(path)
    kind = kind_of(data)
    data, found = _without_key(data) if kind is MolocoSettings else _without_token(data)
    settings = None
    mistakes: tuple[str, ...] = ()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            settings = kind.from_dict(data)
        except ConfigurationError as error:
            mistakes = error.errors
    found += dict.fromkeys(str(each.message) for each in caught)
    if isinstance(settings, MolocoSettings):
        found += _overlaps(settings)
        if host := settings.endpoint().exposed_host:
            found.append(EXPOSURE % host)
    return Loaded(settings, mistakes, tuple(found))


def _without_key(data: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Returns the settings with some key, and a warning, if the key is not set here."""
    variable = API_KEY_VARIABLE
    if data.get("deliver") is False:
        return data, []  # its app needs none either
    if "api_key" in data:
        unset = [*unset_variables({"api_key": data["api_key"]}, os.environ)]
        if not unset:
            return data, []
        warning = unset[0]
    elif os.environ.get(variable):
        return data, []
    else:
        warning = f"api_key: the environment variable {variable} is not set; set it for the app"
    return {**data, "api_key": _NO_KEY}, [f"{warning} (this check needs no key)"]


def _without_token(data: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Returns the settings with some token, and a warning, if the token is not set here."""
    unset = [*unset_variables({"token": data.get("token")}, os.environ)]
    if not unset:
        return data, []
    return {**data, "token": _NO_KEY}, [f"{unset[0]} (this check needs no token)"]


def _overlaps(settings: MolocoSettings) -> list[str]:
    messages = _Messages()
    logger = logging.getLogger(warn_of_overlaps.__module__)
    logger.addHandler(messages)
    try:
        warn_of_overlaps(settings.converter().syncs)
    finally:
        logger.removeHandler(messages)
    return messages.texts
