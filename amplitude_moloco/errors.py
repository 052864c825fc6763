"""What this library raises, and when.

    MolocoError
    ├── ConfigurationError (also a ValueError)    a setting cannot work
    ├── BackfillError                             a backfill can't go on
    ├── ExportError                               a part of an export can't be read
    └── FetchError                                an export can't be fetched

The first is raised while a destination or a sync is constructed, never from ``track()``. A network
fault is a returned value, and what happens to an event is a fact, told to the hooks. The others
belong to ``history``.
"""

from __future__ import annotations


class MolocoError(Exception):
    """The root of all exceptions of this library."""


class ConfigurationError(MolocoError, ValueError):
    """A setting cannot work.

    The text names the place (``syncs[1].mapping.item``), what was found there and what to use
    instead. It never holds the API key.

    Attributes:
        errors: One text for each setting that cannot work.
    """

    def __init__(self, *errors: str) -> None:
        super().__init__(*errors)
        self.errors = errors

    def __str__(self) -> str:
        return "\n".join(self.errors)


class BackfillError(MolocoError):
    """A backfill can't go on: the server refuses its events, or the state can't be written."""
