"""The bounds of a buffer: how many events, how many bytes."""

from __future__ import annotations

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.text import shown

_MOST = 2**63 - 1  # what SQLite can store


def bound(name: str, value: int) -> int:
    """Returns a bound that any buffer can keep. Raises ConfigurationError for anything else."""
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MOST:
        return value
    raise ConfigurationError(
        f"buffer: {name}={shown(value)} can't be used; use a whole number from 1 to {_MOST}"
    )
