"""Builds settings from plain data and from files, for any partner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from amplitude_moloco.arguments import hidden, shortened
from amplitude_moloco.engine.unreadable import refusing_unreadable
from amplitude_moloco.errors import ConfigurationError

if TYPE_CHECKING:
    from amplitude_moloco.files.loading import Shape

Settings = TypeVar("Settings")


def settings_of_data(
    kind: Callable[..., Settings],
    shape: Callable[[], Shape],
    data: Mapping[str, Any],
    more: Mapping[str, Any],
) -> Settings:
    """Returns settings from plain data, as JSON has it.

    Raises ConfigurationError with the place of each mistake: an unknown key, a wrong type, a
    missing field, a value that can't work.
    """
    data, more = hidden(kind, data), hidden(kind, more)

    def load() -> Settings:
        from amplitude_moloco.files.loading import arguments_of  # needs the extra "config"

        with refusing_unreadable(data if type(data) is dict else {"settings": data}):
            return kind(**arguments_of(kind, data, more, shape()))

    return shortened(load)


def settings_of_file(
    kind: Callable[..., Settings],
    shape: Callable[[], Shape],
    path: str | PathLike[str],
    more: Mapping[str, Any],
) -> Settings:
    """Returns settings from a JSON or TOML file; raises as ``settings_of_data``, with the path."""
    with refusing_unreadable({"path": path}):
        if not isinstance(path, (str, PathLike)):
            raise ConfigurationError(
                f"path: found {type(path).__name__}; use the path of a .json or .toml file"
            )
        path = Path(fspath(path))  # Path alone may look at it only later
    more = hidden(kind, more)

    def load() -> Settings:
        from amplitude_moloco.files.reading import named_in_errors, read_file  # as above

        data = hidden(kind, shortened(lambda: read_file(path)))
        with named_in_errors(path):
            return settings_of_data(kind, shape, data, more)

    return shortened(load)
