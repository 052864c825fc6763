"""Placeholders in settings that a shell, a template or a person did not replace."""

from __future__ import annotations

import re

from amplitude_moloco.errors import ConfigurationError

# As in shells and templates. No key, name or path has these anywhere: ${KEY}, $(key), {{ key }}
_EXPANSION = r"\$\{.*?\}|\$\(.*?\)|\{\{.*?\}\}"
# $KEY as in shells, %KEY% as on Windows, <your key> as in documentation.
_WHOLE = re.compile(rf".*(?:{_EXPANSION}).*|\$[A-Z_][A-Z0-9_]*|%\w+%|<.*>", re.DOTALL)
# In an address or a path, %20a%20 is percent-encoded.
_PART = re.compile(
    rf"{_EXPANSION}|\$[A-Z_][A-Z0-9_]*\b|%(?![0-9A-Fa-f]{{2}})\w+%|<[^>]*>", re.DOTALL
)


def refuse_placeholder(name: str, text: object) -> None:
    """Raises ConfigurationError if this text of a setting is a placeholder. Never quotes it."""
    if isinstance(text, str) and _WHOLE.fullmatch(text):
        raise _refusal(name)


def refuse_placeholders(name: str, address: object) -> None:
    """Raises ConfigurationError if a part of this address or path is a placeholder."""
    if isinstance(address, str) and (_WHOLE.fullmatch(address) or _PART.search(address)):
        raise _refusal(name)


def _refusal(name: str) -> ConfigurationError:
    return ConfigurationError(
        f"{name}: looks like a placeholder that was not replaced by its value; use the value"
    )
