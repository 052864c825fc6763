"""``${NAME}`` in settings from plain data: stands for the environment variable of that name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_MAX_DEPTH = 20
"""No setting is nested as deeply. What is, is refused elsewhere."""


def expand(settings: Any, variables: Mapping[str, str], depth: int = 0) -> Any:
    """Returns a copy in which each variable in a text is replaced by its value.

    A variable that is not set stays as it is. A value is used as it is, whatever it contains.
    """
    if isinstance(settings, str):
        return _VARIABLE.sub(lambda found: variables.get(found[1], found[0]), settings)
    if depth < _MAX_DEPTH and isinstance(settings, Mapping):
        return {key: expand(value, variables, depth + 1) for key, value in settings.items()}
    if depth < _MAX_DEPTH and isinstance(settings, list):
        return [expand(value, variables, depth + 1) for value in settings]
    return settings


def unset_variables(
    settings: Any, variables: Mapping[str, str], place: str = "", depth: int = 0
) -> Iterator[str]:
    """Yields a text for each variable that is not set, with its place."""
    if isinstance(settings, str):
        for name in _VARIABLE.findall(settings):
            if name not in variables:
                yield f"{place}: the environment variable {name} is not set; set it, or use a value"
    elif depth < _MAX_DEPTH and isinstance(settings, Mapping):
        for key, value in settings.items():
            yield from unset_variables(value, variables, f"{place}.{key}".lstrip("."), depth + 1)
    elif depth < _MAX_DEPTH and isinstance(settings, list):
        for index, value in enumerate(settings):
            yield from unset_variables(value, variables, f"{place}[{index}]", depth + 1)
