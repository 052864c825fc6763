"""Reads a JSON or TOML file of settings."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.text import one_line

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_file(path: Path) -> dict[str, Any]:
    """Returns the settings in a ``.json`` or ``.toml`` file.

    Raises ConfigurationError, with the path, if the file can't be read or holds anything else.
    """
    name = one_line(path)
    kind = path.suffix.lower()
    if kind not in (".json", ".toml"):
        raise ConfigurationError(f"{name}: use a file that ends in .json or .toml")
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors on Windows may add a byte order mark
        settings = tomllib.loads(text) if kind == ".toml" else _load_json(text)
    except OSError as error:
        raise ConfigurationError(f"{name}: can't be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:  # from JSON, TOML or UTF-8
        said = one_line(error)
        if isinstance(error, UnicodeDecodeError):
            said += "; save the file as UTF-8"
        raise ConfigurationError(f"{name}: not valid {kind[1:].upper()} ({said})") from None
    if not isinstance(settings, dict):
        raise ConfigurationError(f"{name}: use an object with the settings")
    return settings


def _load_json(text: str) -> Any:
    """Raises ValueError if a key is given twice: the parser would keep the last."""
    twice: list[str] = []

    def as_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        counts = Counter(key for key, _ in pairs)
        twice.extend(repr(key) for key, count in counts.items() if count > 1)
        return dict(pairs)

    settings = json.loads(text, object_pairs_hook=as_dict)
    if twice:
        raise ValueError(f"given twice: {', '.join(twice)}; keep one of each")
    return settings


@contextmanager
def named_in_errors(path: str | PathLike[str]) -> Iterator[None]:
    """Puts the path in front of the text of each ConfigurationError raised in the block."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"{one_line(path)}: {'; '.join(error.errors)}") from None
