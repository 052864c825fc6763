"""Loads the settings that a command works with, and all that can be said about them."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path
from typing import Any, NamedTuple

from amplitude_moloco import ConfigurationError, MolocoSettings
from amplitude_moloco.adjust import AdjustSettings
from amplitude_moloco.files.environment import unset_variables
from amplitude_moloco.moloco.endpoint import API_KEY_VARIABLE
from amplitude_moloco.moloco.file import read_file
from amplitude_moloco.moloco.overlaps import warn_of_overlaps
from amplitude_moloco.moloco.private_host import EXPOSURE
from amplitude_moloco.text import one_line

_NO_KEY = "not-the-key"
AnySettings = MolocoSettings | AdjustSettings


class Loaded(NamedTuple):
    """A settings file, checked."""

    settings: AnySettings | None
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
    data = read_file(path)
    if _is_of_adjust(data):
        raise ConfigurationError(
            f"{one_line(path)}: app_token: these settings are for Adjust, and this command is for "
            f"MCM; use a file with a platform_id"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return MolocoSettings.from_dict(data, deliver=True)


def inspect(path: Path) -> Loaded:
    """Returns the settings in a file, which need no key to be checked, and all mistakes in it.

    Raises ConfigurationError if the file can't be read at all.
    """
    data = read_file(path)
    kind: type[AnySettings] = AdjustSettings if _is_of_adjust(data) else MolocoSettings
    data, found = _without_token(data) if kind is AdjustSettings else _without_key(data)
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
    """Returns Adjust's settings, and a warning, without a token that is not set here."""
    unset = [*unset_variables({"token": data.get("token")}, os.environ)]
    if not unset:
        return data, []
    kept = {name: value for name, value in data.items() if name != "token"}
    return kept, [f"{unset[0]} (this check needs no token)"]


def _is_of_adjust(data: dict[str, Any]) -> bool:
    return "app_token" in data and "platform_id" not in data


def _overlaps(settings: MolocoSettings) -> list[str]:
    messages = _Messages()
    logger = logging.getLogger(warn_of_overlaps.__module__)
    logger.addHandler(messages)
    try:
        warn_of_overlaps(settings.converter().syncs)
    finally:
        logger.removeHandler(messages)
    return messages.texts
