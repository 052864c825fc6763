"""The settings of a relay: those of the app, as far as delivery needs them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from amplitude_moloco.buffers.redis.address import is_redis, without_stage
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.files.reading import read_file
from amplitude_moloco.moloco.file import READY_SYNCS
from amplitude_moloco.moloco.settings import MolocoSettings
from amplitude_moloco.moloco.sync import Sync
from amplitude_moloco.wiring import durable_buffer_of

_FIXED = (
    "api_key platform_id platform_name base_url buffer connections timeout_seconds ca_bundle "
    "transport retry breaker"
).split()
"""The settings that a relay uses from its start to its end."""


class Configuration(NamedTuple):
    """What a file says."""

    settings: MolocoSettings
    syncs: tuple[Sync, ...]
    """The syncs in the file: a relay needs their names, for its metrics alone."""

    def changes_from(self, other: Configuration) -> Iterator[str]:
        """Yields the names of settings that differ, and that are used from the next start on."""
        for name in _FIXED:
            if getattr(self.settings, name) != getattr(other.settings, name):
                yield name


def read_configuration(path: Path) -> Configuration:
    """Returns what a settings file says. Raises ConfigurationError with an error for each mistake.

    ``deliver`` has no effect, so that apps and relays can share a file, and ``syncs`` may be
    missing. A stage before Redis is the apps' alone: a relay stores nothing new, and may run where
    there is no such file.
    """
    data: dict[str, Any] = read_file(path)
    if "platform_id" not in data and "events" in data:
        raise ConfigurationError(
            "events: these settings are for Adjust or Adbrix, and a relay delivers to MCM; use a "
            "file with a platform_id"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are for the app
        settings = MolocoSettings.from_dict({"syncs": READY_SYNCS, **data}, deliver=True)
        buffer = durable_buffer_of("buffer: a relay", settings.buffer)
        if isinstance(buffer, str) and is_redis(buffer):
            settings = replace(settings, buffer=without_stage(buffer))
    if settings.chosen_transport() == "none":
        raise ConfigurationError(
            "transport: 'none' would lose all events; leave it out, and unset MOLOCO_TRANSPORT"
        )
    syncs = settings.converter().syncs if "syncs" in data else ()
    return Configuration(settings, syncs)
